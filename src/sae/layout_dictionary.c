/* SPDX-License-Identifier: MIT
 *
 * dictionary_learning: ae.pt, a state dictionary, beside a config.json whose "trainer" says which
 * class of dictionary it is. Without one, the tensors tell, but for TopK and BatchTopK, which have
 * the same. A threshold of -1 is one that training has not set.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "sae/layout_parts.h"

typedef enum dict_kind {
    UNKNOWN,
    STANDARD,
    NEW,
    GATED,
    TOPK,
    BATCH_TOPK,
    EITHER_TOPK,
    MATRYOSHKA,
    JUMPRELU
} dict_kind;

static const struct {
    const char *name;
    dict_kind kind;
} classes[] = {
    {"AutoEncoder", STANDARD},
    {"AutoEncoderNew", NEW},
    {"GatedAutoEncoder", GATED},
    {"AutoEncoderTopK", TOPK},
    {"BatchTopKSAE", BATCH_TOPK},
    {"MatryoshkaBatchTopKSAE", MATRYOSHKA},
    {"JumpReluAutoEncoder", JUMPRELU},
    /* of trainers, for configurations without dict_class */
    {"TopKTrainer", TOPK},
    {"TrainerTopK", TOPK},
    {"BatchTopKTrainer", BATCH_TOPK},
    {"TrainerBatchTopK", BATCH_TOPK},
    {"MatryoshkaBatchTopKTrainer", MATRYOSHKA},
    {"JumpReluTrainer", JUMPRELU},
    {"TrainerJumpRelu", JUMPRELU},
    {"GatedSAETrainer", GATED},
    {"GatedAnnealTrainer", GATED},
};

static bool has(const lethe_layout_source *s, const char *name) {
    return lethe_layout_tensor(s, name) != NULL;
}

static dict_kind kind_of_tensors(const lethe_layout_source *s) {
    bool pt = lethe_bundle_container(s->bundle) == LETHE_TORCH;
    if (has(s, "W_enc") && has(s, "W_dec")) {
        if (has(s, "group_sizes")) return MATRYOSHKA;
        return has(s, "threshold") && pt ? JUMPRELU : UNKNOWN;
    }
    if (!has(s, "encoder.weight") || !has(s, "decoder.weight")) return UNKNOWN;
    if (has(s, "gate_bias")) return GATED;
    if (has(s, "k") || has(s, "threshold")) return EITHER_TOPK;
    if (has(s, "bias")) return STANDARD;
    return has(s, "decoder.bias") && pt ? NEW : UNKNOWN;
}

static bool has_config(const lethe_layout_source *s) {
    return s->cfg[LETHE_CONFIG] && json_is_object(json_object_get(s->cfg[LETHE_CONFIG], "trainer"));
}

static bool is(const lethe_layout_source *s) {
    return has_config(s) || kind_of_tensors(s) != UNKNOWN;
}

static dict_kind find_class(const char *name) {
    for (size_t i = 0; name && i < sizeof classes / sizeof *classes; i++)
        if (!strcmp(name, classes[i].name)) return classes[i].kind;
    return UNKNOWN;
}

static lethe_status find_kind(const lethe_layout_source *s, const lethe_json_ref *trainer,
                              dict_kind *out, lethe_err *err) {
    const char *dict = NULL, *by = NULL;
    dict_kind tensors = kind_of_tensors(s);
    *out = tensors;
    if (trainer->value) {
        LETHE_TRY(lethe_cfg_text(trainer, "dict_class", &dict, err));
        LETHE_TRY(lethe_cfg_text(trainer, "trainer_class", &by, err));
        lethe_json_ref r = lethe_json_key(trainer, "dict_class");
        *out = find_class(dict ? dict : by);
        if (dict && *out == UNKNOWN)
            return lethe_json_fail(&r, err,
                                   "AutoEncoder, AutoEncoderNew, GatedAutoEncoder, "
                                   "AutoEncoderTopK, BatchTopKSAE, MatryoshkaBatchTopKSAE or "
                                   "JumpReluAutoEncoder");
        if (*out == UNKNOWN) *out = tensors;
    }
    if (*out == EITHER_TOPK && s->k) *out = TOPK;
    if (*out == EITHER_TOPK)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: AutoEncoderTopK or BatchTopKSAE? Their tensors are alike (put its "
                          "config.json beside it, or pass --k N to take the N largest of a token)",
                          s->weights);
    if (*out == UNKNOWN)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: config.json is dictionary_learning's, the tensors are not",
                          s->weights);
    return LETHE_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* The first of the names b_dec has had. */
static const char *b_dec_name(const lethe_layout_source *s) {
    static const char *const names[] = {"b_dec", "bias", "decoder_bias", "decoder.bias"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (has(s, names[i])) return names[i];
    return names[0];
}

/* k as a tensor: a whole number of some type; 0: not there. */
static lethe_status k_tensor(const lethe_layout_source *s, int64_t *k, lethe_err *err) {
    const lethe_tensor *t = lethe_layout_tensor(s, "k");
    int32_t v;
    *k = 0;
    if (!t) return LETHE_OK;
    if (t->count != 1)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"k\": got %zu elements, want one", s->weights,
                          t->count);
    if (lethe_tensor_to_i32(t, 0, 1, &v, err)) return lethe_err_prefix(err, "%s", s->weights);
    if (v < 1)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"k\" is %d, want at least 1", s->weights, v);
    *k = v;
    return LETHE_OK;
}

static lethe_status read_k(const lethe_layout_source *s, lethe_plan *p,
                           const lethe_json_ref *trainer, lethe_err *err) {
    int64_t k, told = 0;
    LETHE_TRY(k_tensor(s, &k, err));
    if (trainer->value) LETHE_TRY(lethe_cfg_int(trainer, "k", 1, INT32_MAX, &told, NULL, err));
    lethe_json_ref r = lethe_json_key(trainer, "k");
    if (k && told && k != told && !s->k)
        return lethe_json_fail(&r, err, "%lld, as in the weights", (long long)k);
    p->arch = LETHE_ARCH_TOPK;
    return lethe_plan_k(s, p, k ? k : told, err);
}

static lethe_status one_threshold(const lethe_layout_source *s, lethe_plan *p,
                                  const lethe_json_ref *trainer, lethe_err *err) {
    const lethe_tensor *t = lethe_layout_tensor(s, "threshold");
    float v;
    if (!t || t->count != 1)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"threshold\": got %s, want one number",
                          s->weights, t ? "more" : "nothing");
    if (lethe_tensor_to_f32(t, 0, 1, &v, err)) return lethe_err_prefix(err, "%s", s->weights);
    if (v < 0 && s->k) return read_k(s, p, trainer, err);
    if (v < 0 || !isfinite(v))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: \"threshold\" is %g: training has not set it (pass --k N to take "
                          "the N largest of a token)",
                          s->weights, (double)v);
    p->arch = LETHE_ARCH_JUMPRELU;
    p->threshold = t;
    p->threshold_one = true;
    return LETHE_OK;
}

static lethe_status gated(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    p->arch = LETHE_ARCH_GATED;
    /* Its activations are multiplied by the decoder's norms, and divided again before decoding. */
    p->unit_decoder = true;
    lethe_plan_folded(p, "norms of the decoder's rows");
    LETHE_TRY(lethe_layout_vector(s, "gate_bias", p->m, &p->b_enc, err));
    LETHE_TRY(lethe_layout_vector(s, "r_mag", p->m, &p->r_mag, err));
    return lethe_layout_vector(s, "mag_bias", p->m, &p->b_mag, err);
}

static lethe_status by_kind(const lethe_layout_source *s, lethe_plan *p, dict_kind kind,
                            const lethe_json_ref *trainer, lethe_err *err) {
    bool W = kind == MATRYOSHKA || kind == JUMPRELU;
    lethe_names names = {.W_enc = W ? "W_enc" : "encoder.weight",
                         .b_enc = W ? "b_enc" : "encoder.bias",
                         .W_dec = W ? "W_dec" : "decoder.weight",
                         .b_dec = b_dec_name(s),
                         .enc_turned = W,
                         .dec_turned = !W};
    if (kind == GATED) names.b_enc = NULL;
    LETHE_TRY(lethe_plan_matrices(s, p, &names, err));
    p->raw_input = kind == NEW || kind == JUMPRELU;
    switch (kind) {
    case GATED: return gated(s, p, err);
    case TOPK: return read_k(s, p, trainer, err);
    case BATCH_TOPK:
    case MATRYOSHKA: return one_threshold(s, p, trainer, err);
    case JUMPRELU:
        p->arch = LETHE_ARCH_JUMPRELU;
        return lethe_layout_vector(s, "threshold", p->m, &p->threshold, err);
    default: p->arch = LETHE_ARCH_RELU; return LETHE_OK;
    }
}

static lethe_status belongs(const lethe_layout_source *s, lethe_plan *p,
                            const lethe_json_ref *trainer, lethe_err *err) {
    const char *model = NULL, *module = NULL;
    int64_t layer = -1;
    LETHE_TRY(lethe_cfg_same(trainer, "activation_dim", p->d, "the width of the decoder", err));
    LETHE_TRY(lethe_cfg_same(trainer, "dict_size", p->m, "the number of latents", err));
    LETHE_TRY(lethe_cfg_text(trainer, "lm_name", &model, err));
    LETHE_TRY(lethe_cfg_text(trainer, "submodule_name", &module, err));
    LETHE_TRY(lethe_cfg_int(trainer, "layer", 0, INT32_MAX, &layer, NULL, err));
    if (model) lethe_plan_model(p, model);
    if (module &&
        (strstr(module, "mlp") || strstr(module, "attn") || strstr(module, "attention"))) {
        char what[120];
        snprintf(what, sizeof what, "is an SAE of %.80s", module);
        return lethe_layout_refuse(s, what, err);
    }
    if (module) snprintf(p->hook_name, sizeof p->hook_name, "%s", module);
    if (layer < 0) return LETHE_OK;
    p->meta.layer = (int)layer;
    p->meta.hook = 1; /* a layer's output, which is what its buffers collect */
    return LETHE_OK;
}

static lethe_status plan(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    lethe_json_ref trainer = lethe_json_top(NULL, s->weights);
    dict_kind kind;
    if (has_config(s)) {
        lethe_json_ref cfg = lethe_layout_cfg(s, LETHE_CONFIG);
        trainer = lethe_json_key(&cfg, "trainer");
        p->config = LETHE_CONFIG;
    }
    snprintf(p->producer, sizeof p->producer, "dictionary_learning");
    LETHE_TRY(find_kind(s, &trainer, &kind, err));
    LETHE_TRY(by_kind(s, p, kind, &trainer, err));
    return trainer.value ? belongs(s, p, &trainer, err) : LETHE_OK;
}

const lethe_layout lethe_layout_dictionary_learning = {
    .name = "dictionary_learning", .is = is, .plan = plan};
