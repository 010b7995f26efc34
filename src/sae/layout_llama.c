/* SPDX-License-Identifier: MIT
 *
 * Llama Scope: hyperparams.json above checkpoints/final.safetensors with encoder.weight [m, d],
 * encoder.bias, decoder.weight [d, m], decoder.bias; or, newer, config.json beside
 * sae_weights.safetensors, with the thresholds as a tensor of logarithms. Inputs are scaled to a
 * mean norm of sqrt(d) over the data set: s = sqrt(d) / mean norm, taken into the weights.
 *
 * jump_relu_threshold is in the units of the unscaled input, so the threshold is s times it (as
 * SAELens publishes them; with it the mean number of active latents comes out as their top_k). The
 * tensor of the newer files is in the scaled units already.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "sae/layout_parts.h"

static const lethe_tensor *log_threshold(const lethe_layout_source *s) {
    return lethe_layout_tensor(s, "log_jumprelu_threshold");
}

static bool is(const lethe_layout_source *s) {
    if (!lethe_layout_tensor(s, "encoder.weight") || !lethe_layout_tensor(s, "decoder.weight"))
        return false;
    return log_threshold(s) ||
           (s->cfg[LETHE_HYPER] && json_object_get(s->cfg[LETHE_HYPER], "act_fn"));
}

/* Mean norm of the data; 0: not told. */
static lethe_status mean_norm(const lethe_layout_source *s, const lethe_json_ref *cfg,
                              const char *hook, double *out, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(cfg, "dataset_average_activation_norm");
    *out = 0;
    if (r.value && !json_is_null(r.value)) {
        LETHE_TRY(lethe_json_want_object(&r, err));
        return lethe_cfg_real(&r, "in", FLT_MIN, FLT_MAX, out, NULL, err);
    }
    char name[160];
    snprintf(name, sizeof name, "dataset_average_activation_norm.%.100s", hook ? hook : "in");
    const lethe_tensor *t = lethe_layout_tensor(s, name);
    float v;
    if (!t || t->count != 1) return LETHE_OK;
    if (lethe_tensor_to_f32(t, 0, 1, &v, err)) return lethe_err_prefix(err, "%s", s->weights);
    if (!(v > 0) || !isfinite(v))
        return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\" is %g, want a norm above 0", s->weights,
                          t->name, (double)v);
    *out = (double)v;
    return LETHE_OK;
}

static lethe_status scaling(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *cfg,
                            const char *hook, double *factor, lethe_err *err) {
    const char *how = log_threshold(s) ? "dataset-wise" : "none";
    double norm;
    *factor = 1;
    LETHE_TRY(lethe_cfg_text(cfg, "norm_activation", &how, err));
    lethe_json_ref r = lethe_json_key(cfg, "norm_activation");
    LETHE_TRY(mean_norm(s, cfg, hook, &norm, err));
    /* "inference": taken into the weights by its own code. Files of before it was a choice have
     * none. */
    if (!strcmp(how, "inference") || (!r.value && norm == 0 && !log_threshold(s))) return LETHE_OK;
    if (r.value && strcmp(how, "dataset-wise") != 0)
        return lethe_json_fail(&r, err, "dataset-wise or inference");
    if (norm == 0)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: dataset_average_activation_norm is missing, the mean norm that "
                          "inputs are scaled by",
                          cfg->file);
    *factor = sqrt((double)p->d) / norm;
    p->enc_mul = *factor;
    p->dec_mul = p->b_dec_mul = 1 / *factor;
    lethe_plan_folded(p, "the data set's mean norm");
    return LETHE_OK;
}

static lethe_status activation(const lethe_layout_source *s, lethe_plan *p,
                               const lethe_json_ref *cfg, double factor, lethe_err *err) {
    const char *fn = "jumprelu";
    int64_t k = 0;
    LETHE_TRY(lethe_cfg_text(cfg, "act_fn", &fn, err));
    lethe_json_ref r = lethe_json_key(cfg, "act_fn");
    if (!strcmp(fn, "relu")) {
        p->arch = LETHE_ARCH_RELU;
        return LETHE_OK;
    }
    if (!strcmp(fn, "topk")) {
        p->arch = LETHE_ARCH_TOPK;
        LETHE_TRY(lethe_cfg_int(cfg, "top_k", 1, INT32_MAX, &k, NULL, err));
        return lethe_plan_k(s, p, k, err);
    }
    if (strcmp(fn, "jumprelu") != 0) return lethe_json_fail(&r, err, "jumprelu, relu or topk");
    p->arch = LETHE_ARCH_JUMPRELU;
    if (log_threshold(s)) {
        p->threshold_log = true;
        return lethe_layout_vector(s, "log_jumprelu_threshold", p->m, &p->threshold, err);
    }
    r = lethe_json_key(cfg, "jump_relu_threshold");
    LETHE_TRY(lethe_json_want_real(&r, 0, FLT_MAX, &p->threshold_all, err));
    p->threshold_all *= factor;
    return LETHE_OK;
}

static lethe_status sizes(const lethe_plan *p, const lethe_json_ref *cfg, lethe_err *err) {
    double factor = 0;
    bool there;
    LETHE_TRY(lethe_cfg_same(cfg, "d_model", p->d, "the width of decoder.weight", err));
    LETHE_TRY(lethe_cfg_same(cfg, "d_sae", p->m, "the number of latents", err));
    LETHE_TRY(lethe_cfg_real(cfg, "expansion_factor", 0, FLT_MAX, &factor, &there, err));
    if (!there || llround(factor * (double)p->d) == (long long)p->m) return LETHE_OK;
    lethe_json_ref r = lethe_json_key(cfg, "expansion_factor");
    return lethe_json_fail(&r, err, "%zu latents for a width of %zu, as in the weights", p->m,
                           p->d);
}

static lethe_status bias(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *cfg,
                         lethe_err *err) {
    bool use = true, subtract = false;
    LETHE_TRY(lethe_cfg_bool(cfg, "use_decoder_bias", &use, err));
    LETHE_TRY(lethe_cfg_bool(cfg, "apply_decoder_bias_to_pre_encoder", &subtract, err));
    p->raw_input = !subtract;
    return use ? lethe_layout_vector(s, "decoder.bias", p->d, &p->b_dec, err) : LETHE_OK;
}

/* "L15R": R is the residual stream; M, A and TC are the others. For files whose configuration has
 * no site. */
static lethe_status site_of_folder(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    for (const char *at = s->weights; (at = strchr(at, 'L')); at++) {
        int layer, n = 0;
        char kind;
        if (at == s->weights || (at[-1] != '-' && at[-1] != '/')) continue;
        if (sscanf(at, "L%4d%c%n", &layer, &kind, &n) < 2 || layer < 0 || !n) continue;
        if (at[n] && at[n] != '-' && at[n] != '/' && kind != 'T') continue;
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.%s", layer,
                 kind == 'R'   ? "hook_resid_post"
                 : kind == 'M' ? "hook_mlp_out"
                 : kind == 'A' ? "hook_attn_out"
                               : "transcoder");
        return strchr("RMAT", kind) ? lethe_plan_site(s, p, name, err) : LETHE_OK;
    }
    return LETHE_OK;
}

static lethe_status plan(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    static const lethe_names names = {
        "encoder.weight", "encoder.bias", "decoder.weight", NULL, false, true};
    lethe_json_ref cfg = lethe_json_top(NULL, s->weights);
    p->config = s->cfg[LETHE_HYPER] ? LETHE_HYPER : LETHE_CONFIG;
    if (s->cfg[p->config]) cfg = lethe_layout_cfg(s, p->config);
    if (!cfg.value)
        return lethe_fail(
            err, LETHE_FORMAT,
            "%s: a Llama Scope SAE without its config.json or hyperparams.json (fetch "
            "it into the same folder)",
            s->weights);
    const char *hook = NULL, *out = NULL;
    double factor;
    LETHE_TRY(lethe_plan_matrices(s, p, &names, err));
    LETHE_TRY(sizes(p, &cfg, err));
    LETHE_TRY(lethe_cfg_text(&cfg, "hook_point_in", &hook, err));
    LETHE_TRY(lethe_cfg_text(&cfg, "hook_point_out", &out, err));
    if (hook && out && strcmp(hook, out) != 0)
        return lethe_layout_refuse(s, "is a transcoder (hook_point_in and hook_point_out differ)",
                                   err);
    snprintf(p->producer, sizeof p->producer, "Llama Scope");
    LETHE_TRY(bias(s, p, &cfg, err));
    LETHE_TRY(scaling(s, p, &cfg, hook, &factor, err));
    LETHE_TRY(activation(s, p, &cfg, factor, err));
    return hook ? lethe_plan_site(s, p, hook, err) : site_of_folder(s, p, err);
}

const lethe_layout lethe_layout_llama_scope = {.name = "Llama Scope", .is = is, .plan = plan};
