/* SPDX-License-Identifier: MIT
 *
 * SAELens: cfg.json and sae_weights.safetensors with W_enc [d, m], W_dec [m, d], b_dec and, by
 * architecture, b_enc, threshold, or b_gate, b_mag, r_mag. Version 6 keeps what belongs to the
 * model under "metadata"; before, all was on top, and a top-k SAE was of architecture "standard"
 * with another activation function.
 */
#include <float.h>
#include <string.h>

#include "sae/layout_parts.h"

static bool is(const lethe_layout_source *s) {
    const json_t *c = s->cfg[LETHE_CFG];
    return c && lethe_layout_tensor(s, "W_enc") && lethe_layout_tensor(s, "W_dec") &&
           (json_object_get(c, "d_sae") || json_object_get(c, "architecture") ||
            json_object_get(c, "hook_point") || json_object_get(c, "hook_name"));
}

static lethe_status say_unknown(const lethe_json_ref *cfg, const char *key, const char *want,
                                lethe_err *err) {
    lethe_json_ref r = lethe_json_key(cfg, key);
    return lethe_json_fail(&r, err, "%s", want);
}

/* ---- architecture ---------------------------------------------------------------------------- */

static lethe_status read_k(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *in,
                           lethe_err *err) {
    int64_t k = 0;
    LETHE_TRY(lethe_cfg_int(in, "k", 1, INT32_MAX, &k, NULL, err));
    return lethe_plan_k(s, p, k, err);
}

static lethe_status topk(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *cfg,
                         bool old, lethe_err *err) {
    lethe_json_ref kwargs = lethe_json_key(cfg, "activation_fn_kwargs");
    p->arch = LETHE_ARCH_TOPK;
    if (!old || json_object_get(cfg->value, "k")) return read_k(s, p, cfg, err);
    if (!kwargs.value) return lethe_plan_k(s, p, 0, err);
    LETHE_TRY(lethe_json_want_object(&kwargs, err));
    return read_k(s, p, &kwargs, err);
}

static lethe_status standard(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *cfg,
                             lethe_err *err) {
    const char *fn = "relu", *key = "activation_fn";
    LETHE_TRY(lethe_cfg_text(cfg, "activation_fn", &fn, err));
    if (json_object_get(cfg->value, "activation_fn_str")) key = "activation_fn_str";
    LETHE_TRY(lethe_cfg_text(cfg, "activation_fn_str", &fn, err));
    if (!strcmp(fn, "topk")) return topk(s, p, cfg, true, err);
    if (strcmp(fn, "relu") != 0) return say_unknown(cfg, key, "relu or topk", err);
    p->arch = LETHE_ARCH_RELU;
    return LETHE_OK;
}

static lethe_status jumprelu(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    p->arch = LETHE_ARCH_JUMPRELU;
    p->threshold_log =
        !lethe_layout_tensor(s, "threshold") && lethe_layout_tensor(s, "log_threshold");
    return lethe_layout_vector(s, p->threshold_log ? "log_threshold" : "threshold", p->m,
                               &p->threshold, err);
}

/* As it is while training: one threshold, kept as a running mean. */
static lethe_status batch_topk(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    const lethe_tensor *t = lethe_layout_tensor(s, "topk_threshold");
    if (lethe_layout_tensor(s, "threshold") || !t) return jumprelu(s, p, err);
    p->arch = LETHE_ARCH_JUMPRELU;
    if (t->count != 1)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": got %zu elements, want one", s->weights,
                          t->name, t->count);
    p->threshold = t;
    p->threshold_one = true;
    return LETHE_OK;
}

static lethe_status gated(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    p->arch = LETHE_ARCH_GATED;
    LETHE_TRY(lethe_layout_vector(s, "b_gate", p->m, &p->b_enc, err));
    LETHE_TRY(lethe_layout_vector(s, "r_mag", p->m, &p->r_mag, err));
    return lethe_layout_vector(s, "b_mag", p->m, &p->b_mag, err);
}

static lethe_status architecture(const lethe_layout_source *s, lethe_plan *p,
                                 const lethe_json_ref *cfg, lethe_err *err) {
    const char *a = "standard";
    LETHE_TRY(lethe_cfg_text(cfg, "architecture", &a, err));
    if (strstr(a, "transcoder") || strstr(a, "crosscoder")) {
        char what[120];
        snprintf(what, sizeof what, "is a %.60s (%s)", a, "cfg.json");
        return lethe_layout_refuse(s, what, err);
    }
    if (!strcmp(a, "gated")) return gated(s, p, err);
    LETHE_TRY(lethe_layout_vector(s, "b_enc", p->m, &p->b_enc, err));
    if (!strcmp(a, "standard")) return standard(s, p, cfg, err);
    if (!strcmp(a, "topk")) return topk(s, p, cfg, false, err);
    if (!strcmp(a, "jumprelu")) return jumprelu(s, p, err);
    if (!strcmp(a, "batchtopk") || !strcmp(a, "matryoshka_batchtopk")) return batch_topk(s, p, err);
    return say_unknown(cfg, "architecture",
                       "standard, gated, jumprelu, topk, batchtopk or matryoshka_batchtopk", err);
}

/* ---- what is done to the input --------------------------------------------------------------- */

/* The mean norm of the model's rows, which the weights do not know, was taken from a sample while
 * training; SAELens keeps what it found in a file beside them. */
static lethe_status average(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    double by = 0;
    bool there = false;
    if (s->cfg[LETHE_SCALER]) {
        lethe_json_ref top = lethe_layout_cfg(s, LETHE_SCALER);
        LETHE_TRY(lethe_cfg_real(&top, "scaling_factor", DBL_MIN, FLT_MAX, &by, &there, err));
    }
    if (!there)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: normalize_activations is \"expected_average_only_in\", and the "
                          "factor on the input is not told (put activation_scaler.json beside it: "
                          "{\"scaling_factor\": sqrt(d_in) / mean norm of the model's rows})",
                          s->cfg_path[LETHE_CFG]);
    p->enc_mul = by;
    p->dec_mul = p->b_dec_mul = 1 / by;
    lethe_plan_folded(p, "the factor on the input (activation_scaler.json)");
    return LETHE_OK;
}

static lethe_status normalisation(const lethe_layout_source *s, lethe_plan *p,
                                  const lethe_json_ref *cfg, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(cfg, "normalize_activations");
    const char *how = "none";
    if (json_is_boolean(r.value))
        how = json_is_true(r.value) ? "expected_average_only_in" : "none";
    else
        LETHE_TRY(lethe_cfg_text(cfg, "normalize_activations", &how, err));
    if (!strcmp(how, "none")) return LETHE_OK;
    if (!strcmp(how, "expected_average_only_in")) return average(s, p, err);
    if (!strcmp(how, "constant_norm_rescale")) {
        p->norm = LETHE_NORM_RESCALE;
        return LETHE_OK;
    }
    if (!strcmp(how, "layer_norm")) {
        p->norm = LETHE_NORM_LAYER;
        return LETHE_OK;
    }
    return lethe_json_fail(&r, err,
                           "none, expected_average_only_in, constant_norm_rescale or layer_norm");
}

static lethe_status folding(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *cfg,
                            lethe_err *err) {
    bool rescale = false, finetuned = false;
    LETHE_TRY(lethe_cfg_bool(cfg, "rescale_acts_by_decoder_norm", &rescale, err));
    LETHE_TRY(lethe_cfg_bool(cfg, "finetuning_scaling_factor", &finetuned, err));
    /* Saved as jumprelu, it is done already. */
    if (rescale && (p->arch == LETHE_ARCH_TOPK || p->threshold_one)) {
        p->unit_decoder = true;
        lethe_plan_folded(p, "norms of the decoder's rows");
    }
    if (!finetuned) return LETHE_OK;
    lethe_plan_folded(p, "scaling factors from finetuning");
    return lethe_layout_vector(s, "scaling_factor", p->m, &p->gain, err);
}

/* ---- where it belongs ------------------------------------------------------------------------ */

static lethe_status check_plain(const lethe_json_ref *in, lethe_err *err) {
    const char *reshape = "none";
    lethe_json_ref head = lethe_json_key(in, "hook_head_index"),
                   shape = lethe_json_key(in, "reshape_activations");
    if (head.value && !json_is_null(head.value))
        return lethe_json_fail(&head, err, "null: an SAE of the residual stream, not of a head");
    LETHE_TRY(lethe_cfg_text(in, "reshape_activations", &reshape, err));
    if (strcmp(reshape, "none") != 0) return lethe_json_fail(&shape, err, "none");
    return LETHE_OK;
}

/* in: "metadata" of version 6, or the top of before. */
static lethe_status belongs(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *in,
                            lethe_err *err) {
    const char *model = NULL, *hook = NULL, *version = NULL;
    int64_t layer = -1;
    LETHE_TRY(check_plain(in, err));
    LETHE_TRY(lethe_cfg_text(in, "model_name", &model, err));
    LETHE_TRY(lethe_cfg_text(in, "hook_point", &hook, err));
    LETHE_TRY(lethe_cfg_text(in, "hook_name", &hook, err));
    LETHE_TRY(lethe_cfg_text(in, "sae_lens_training_version", &version, err));
    LETHE_TRY(lethe_cfg_text(in, "sae_lens_version", &version, err));
    LETHE_TRY(lethe_cfg_int(in, "hook_layer", 0, INT32_MAX, &layer, NULL, err));
    if (layer < 0)
        LETHE_TRY(lethe_cfg_int(in, "hook_point_layer", 0, INT32_MAX, &layer, NULL, err));
    if (model) lethe_plan_model(p, model);
    if (version) snprintf(p->producer, sizeof p->producer, "SAELens %.40s", version);
    if (layer >= 0) p->meta.layer = (int)layer;
    return hook ? lethe_plan_site(s, p, hook, err) : LETHE_OK;
}

static lethe_status plan(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    static const lethe_names names = {"W_enc", NULL, "W_dec", "b_dec", true, false};
    lethe_json_ref cfg = lethe_layout_cfg(s, LETHE_CFG);
    lethe_json_ref metadata = lethe_json_key(&cfg, "metadata");
    const char *dtype = NULL;
    bool subtract = true;
    p->config = LETHE_CFG;
    LETHE_TRY(lethe_plan_matrices(s, p, &names, err));
    LETHE_TRY(lethe_cfg_same(&cfg, "d_in", p->d, "the width of W_dec", err));
    LETHE_TRY(lethe_cfg_same(&cfg, "d_sae", p->m, "the number of latents", err));
    LETHE_TRY(lethe_cfg_text(&cfg, "dtype", &dtype, err));
    LETHE_TRY(architecture(s, p, &cfg, err));
    LETHE_TRY(lethe_cfg_bool(&cfg, "apply_b_dec_to_input", &subtract, err));
    p->raw_input = !subtract;
    LETHE_TRY(normalisation(s, p, &cfg, err));
    LETHE_TRY(folding(s, p, &cfg, err));
    snprintf(p->producer, sizeof p->producer, "SAELens");
    LETHE_TRY(belongs(s, p, &cfg, err));
    if (!metadata.value || json_is_null(metadata.value)) return LETHE_OK;
    LETHE_TRY(lethe_json_want_object(&metadata, err));
    return belongs(s, p, &metadata, err);
}

const lethe_layout lethe_layout_saelens = {.name = "SAELens", .is = is, .plan = plan};
