/* SPDX-License-Identifier: MIT
 *
 * Lethe's own file, the reference experiment's checkpoints, and state dictionaries with nothing
 * about them: top-k with --k.
 *
 *   Lethe       W_enc [d, m], b_enc [m], W_dec [m, d], b_dec [d], by architecture threshold or
 * r_mag and b_mag [m]; metadata, all strings: format lethe-sae-1, architecture, norm, raw_input (1)
 * where they are not topk, none and 0, k, layer, hook, model_name, model_hash, recipe, seed, steps,
 * tokens reference   sae_state_dict with the first four, "args" with k, layer and model_name; layer
 * L is the stream behind block L linear      encoder.weight [m, d], encoder.bias [m],
 * decoder.weight [d, m], b_dec [d] bare        the first four
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sae/layout_parts.h"

static const lethe_names W_names = {"W_enc", "b_enc", "W_dec", "b_dec", true, false};

static bool has_W(const lethe_layout_source *s) {
    return lethe_layout_tensor(s, "W_enc") || lethe_layout_tensor(s, "W_dec");
}

/* ---- metadata -------------------------------------------------------------------------------- */

static const char *meta_text(const lethe_layout_source *s, const char *key) {
    return json_string_value(json_object_get(lethe_bundle_values(s->bundle), key));
}

/* A decimal number that is the whole string; *out stays where it is missing. */
static lethe_status meta_number(const lethe_layout_source *s, const char *key, uint64_t most,
                                bool *there, uint64_t *out, lethe_err *err) {
    const char *text = meta_text(s, key);
    *there = text != NULL;
    if (!text) return LETHE_OK;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || errno || *end || v > most)
        return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"%s\" is \"%.40s\", want a number",
                          s->weights, key, text);
    *out = v;
    return LETHE_OK;
}

static void copy_text(const lethe_layout_source *s, const char *key, char *out, size_t size) {
    const char *text = meta_text(s, key);
    snprintf(out, size, "%s", text ? text : "");
}

static lethe_status read_meta(const lethe_layout_source *s, lethe_sae_meta *meta, lethe_err *err) {
    uint64_t layer = 0;
    bool there;
    copy_text(s, "model_name", meta->model_name, sizeof meta->model_name);
    copy_text(s, "model_hash", meta->model_hash, sizeof meta->model_hash);
    copy_text(s, "recipe", meta->recipe, sizeof meta->recipe);
    LETHE_TRY(meta_number(s, "layer", INT32_MAX, &there, &layer, err));
    if (there) meta->layer = (int)layer;
    LETHE_TRY(meta_number(s, "seed", UINT64_MAX, &there, &meta->seed, err));
    LETHE_TRY(meta_number(s, "steps", UINT64_MAX, &there, &meta->steps, err));
    LETHE_TRY(meta_number(s, "tokens", UINT64_MAX, &there, &meta->tokens, err));
    const char *hook = meta_text(s, "hook");
    if (!hook) return LETHE_OK;
    if (strcmp(hook, "pre") != 0 && strcmp(hook, "post") != 0)
        return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"hook\" is \"%.40s\", want pre or post",
                          s->weights, hook);
    meta->hook = strcmp(hook, "post") == 0;
    return LETHE_OK;
}

static lethe_status read_k(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    uint64_t k = 0;
    bool there;
    LETHE_TRY(meta_number(s, "k", INT32_MAX, &there, &k, err));
    if (there && !k && !s->k)
        return lethe_fail(err, LETHE_FORMAT, "%s: k is 0, want 1 to %zu (the number of latents)",
                          s->weights, p->m);
    return lethe_plan_k(s, p, (int64_t)k, err);
}

/* ---- Lethe ----------------------------------------------------------------------------------- */

static bool is_lethe(const lethe_layout_source *s) {
    const char *format = meta_text(s, "format");
    return format && !strncmp(format, "lethe-sae-", 10);
}

static lethe_status bad_meta(const lethe_layout_source *s, const char *key, const char *want,
                             lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"%s\" is \"%.40s\", want %s", s->weights,
                      key, meta_text(s, key), want);
}

static lethe_status read_kind(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    const char *arch = meta_text(s, "architecture"), *norm = meta_text(s, "norm");
    uint64_t raw = 0;
    bool there;
    if (strcmp(meta_text(s, "format"), "lethe-sae-1") != 0)
        return bad_meta(s, "format", "lethe-sae-1 (a newer Lethe wrote this)", err);
    if (arch && !lethe_arch_from_name(arch, &p->arch))
        return bad_meta(s, "architecture", "topk, relu, jumprelu or gated", err);
    if (norm && !lethe_norm_from_name(norm, &p->norm))
        return bad_meta(s, "norm", "none, rescale or layer", err);
    LETHE_TRY(meta_number(s, "raw_input", 1, &there, &raw, err));
    p->raw_input = raw == 1;
    return LETHE_OK;
}

static lethe_status plan_lethe(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    LETHE_TRY(read_kind(s, p, err));
    LETHE_TRY(lethe_plan_matrices(s, p, &W_names, err));
    if (p->arch == LETHE_ARCH_JUMPRELU)
        LETHE_TRY(lethe_layout_vector(s, "threshold", p->m, &p->threshold, err));
    if (p->arch == LETHE_ARCH_GATED) {
        LETHE_TRY(lethe_layout_vector(s, "r_mag", p->m, &p->r_mag, err));
        LETHE_TRY(lethe_layout_vector(s, "b_mag", p->m, &p->b_mag, err));
    }
    snprintf(p->producer, sizeof p->producer, "Lethe");
    LETHE_TRY(read_meta(s, &p->meta, err));
    return p->arch == LETHE_ARCH_TOPK ? read_k(s, p, err) : LETHE_OK;
}

const lethe_layout lethe_layout_lethe = {.name = "Lethe", .is = is_lethe, .plan = plan_lethe};

/* ---- the reference experiment ---------------------------------------------------------------- */

static bool is_reference(const lethe_layout_source *s) {
    return has_W(s) && !strcmp(s->prefix, "sae_state_dict.");
}

static lethe_status plan_reference(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    lethe_json_ref top = lethe_layout_values(s), args = lethe_json_key(&top, "args");
    int64_t k = 0, layer = -1;
    const char *model = NULL;
    LETHE_TRY(lethe_plan_matrices(s, p, &W_names, err));
    if (args.value && !json_is_null(args.value)) {
        LETHE_TRY(lethe_json_want_object(&args, err));
        LETHE_TRY(lethe_cfg_int(&args, "k", 1, INT32_MAX, &k, NULL, err));
        LETHE_TRY(lethe_cfg_int(&args, "layer", 0, INT32_MAX, &layer, NULL, err));
        LETHE_TRY(lethe_cfg_text(&args, "model_name", &model, err));
    }
    if (model) lethe_plan_model(p, model);
    snprintf(p->producer, sizeof p->producer, "the reference experiment");
    if (layer >= 0) {
        p->meta.layer = (int)layer;
        p->meta.hook = 1;
    }
    return lethe_plan_k(s, p, k, err);
}

const lethe_layout lethe_layout_reference = {
    .name = "reference checkpoint", .is = is_reference, .plan = plan_reference};

/* ---- with nothing about them ----------------------------------------------------------------- */

static bool is_linear(const lethe_layout_source *s) {
    return lethe_layout_tensor(s, "encoder.weight") && lethe_layout_tensor(s, "decoder.weight");
}

static lethe_status plan_linear(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    static const lethe_names names = {"encoder.weight", "encoder.bias", "decoder.weight",
                                      "b_dec",          false,          true};
    if (lethe_layout_tensor(s, "decoder.bias"))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: has decoder.bias: Llama Scope or dictionary_learning, which its "
                          "configuration tells (fetch hyperparams.json or config.json, too)",
                          s->weights);
    LETHE_TRY(lethe_plan_matrices(s, p, &names, err));
    LETHE_TRY(read_meta(s, &p->meta, err));
    return read_k(s, p, err);
}

const lethe_layout lethe_layout_linear = {
    .name = "state dictionary", .is = is_linear, .plan = plan_linear};

static lethe_status plan_bare(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    static const char *const more[] = {"threshold", "log_threshold", "b_gate", "r_mag"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (lethe_layout_tensor(s, more[i]))
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: has \"%s\", but no configuration says what is done to the input "
                              "(fetch cfg.json or config.json, too)",
                              s->weights, more[i]);
    LETHE_TRY(lethe_plan_matrices(s, p, &W_names, err));
    LETHE_TRY(read_meta(s, &p->meta, err));
    return read_k(s, p, err);
}

const lethe_layout lethe_layout_bare = {.name = "state dictionary", .is = has_W, .plan = plan_bare};
