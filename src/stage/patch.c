/* SPDX-License-Identifier: MIT */
#include "stage/patch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "sae/arch.h"
#include "sae/rows.h"
#include "stage/ablate.h"
#include "stage/features.h"

#define FORMAT_TAG "lethe-patch-1"
#define FORMAT_TAG_2 "lethe-patch-2" /* of an SAE that is no topk, or norms its input */
#define FORMAT_TAG_3 "lethe-patch-3" /* with a guard by evidence */

static lethe_status allocate(lethe_patch *p, size_t n, size_t d, lethe_err *err) {
    *p = (lethe_patch){.n = n, .d = d};
    lethe_status st = lethe_alloc(&p->W_enc, n, d * sizeof(float), "encoder rows", err);
    if (!st) st = lethe_alloc(&p->W_dec, n, d * sizeof(float), "decoder rows", err);
    if (!st) st = lethe_alloc(&p->b_enc, n, sizeof(float), "biases", err);
    if (!st) st = lethe_zalloc(&p->threshold, n, sizeof(float), "thresholds", err);
    if (!st) st = lethe_alloc(&p->centre, n, sizeof(float), "centres of features", err);
    if (!st) st = lethe_alloc(&p->mean, n, sizeof(float), "mean activations", err);
    if (!st) st = lethe_alloc(&p->evidence, n, 2 * sizeof(float), "what features say", err);
    if (!st) st = lethe_alloc(&p->enc_sum, n, sizeof(float), "sums of encoder rows", err);
    if (!st) st = lethe_alloc(&p->feature, n, sizeof *p->feature, "feature numbers", err);
    if (st) lethe_patch_free(p);
    return st;
}

void lethe_patch_free(lethe_patch *p) {
    lethe_free(p->W_enc);
    lethe_free(p->b_enc);
    lethe_free(p->threshold);
    lethe_free(p->W_dec);
    lethe_free(p->centre);
    lethe_free(p->mean);
    lethe_free(p->evidence);
    lethe_free(p->feature);
    lethe_free(p->enc_sum);
    *p = (lethe_patch){0};
}

static void sum_encoder(lethe_patch *p) {
    for (size_t i = 0; i < p->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < p->d; j++) sum += (double)p->W_enc[i * p->d + j];
        p->enc_sum[i] = (float)sum;
    }
}

/* ---- from an SAE ----------------------------------------------------------------------------- */

lethe_status lethe_patch_from_sae(lethe_patch *out, const lethe_sae *sae, const int32_t *feature,
                                  size_t n, lethe_err *err) {
    LETHE_TRY(lethe_features_check(feature, n, sae->m, err));
    lethe_patch p;
    LETHE_TRY(allocate(&p, n, sae->d, err));
    p.k = sae->k;
    p.m = sae->m;
    p.arch = sae->arch;
    p.norm = sae->norm;
    p.how = lethe_intervention_scale(1);
    p.figures = (lethe_gate_figures){0, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    size_t d = sae->d;
    for (size_t i = 0; i < n; i++) {
        size_t latent = (size_t)feature[i];
        const float *w = sae->W_enc + latent * d;
        const float *back = sae->W_dec + latent * d;
        /* In double: they are the same for every row, so their errors would be, too. */
        double shift = sae->raw_input ? 0 : lethe_row_dot(w, sae->b_dec, d);
        lethe_jump jump = lethe_arch_jump(sae, latent);
        p.b_enc[i] = (float)(jump.bias - jump.gain * shift);
        p.threshold[i] = (float)jump.threshold;
        p.feature[i] = feature[i];
        for (size_t j = 0; j < d; j++) p.W_enc[i * d + j] = (float)(jump.gain * (double)w[j]);
        memcpy(p.W_dec + i * d, back, d * sizeof *back);
        p.centre[i] = (float)lethe_row_dot(back, sae->b_dec, d);
        p.mean[i] = NAN;
        p.evidence[2 * i] = p.evidence[2 * i + 1] = NAN;
    }
    sum_encoder(&p);
    *out = p;
    return LETHE_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

typedef struct figure {
    const char *key;
    size_t offset; /* of a double in lethe_gate_figures */
} figure;

#define FIGURE(name) \
    { #name, offsetof(lethe_gate_figures, name) }
static const figure figures[] = {
    FIGURE(agreement),     FIGURE(precision),  FIGURE(recall),           FIGURE(row_agreement),
    FIGURE(row_precision), FIGURE(row_recall), FIGURE(activation_recall)};
#define N_FIGURES (sizeof figures / sizeof *figures)

static void put_method(lethe_st_writer *w, const lethe_intervention *how) {
    bool scale = how->method == LETHE_METHOD_SCALE;
    lethe_st_set_meta(w, "method", lethe_method_name(how->method));
    lethe_st_set_meta_real(w, scale ? "scale" : "strength", how->strength);
    if (how->method == LETHE_METHOD_CLAMP)
        lethe_st_set_meta(w, "clamp_unit", lethe_clamp_unit_name(how->unit));
    if (how->method == LETHE_METHOD_DIRECTION) lethe_st_set_meta_number(w, "gated", how->gated);
    if (!how->guard) return;
    lethe_st_set_meta_real(w, "guard", how->guard_threshold);
    if (how->guard_by == LETHE_GUARD_SHARE)
        lethe_st_set_meta_number(w, "guard_window", how->guard_window);
    else
        lethe_st_set_meta(w, "guard_by", lethe_guard_by_name(how->guard_by));
}

static const char *format_of(const lethe_patch *p) {
    if (p->how.guard && p->how.guard_by == LETHE_GUARD_EVIDENCE) return FORMAT_TAG_3;
    return p->arch == LETHE_ARCH_TOPK && p->norm == LETHE_NORM_NONE ? FORMAT_TAG : FORMAT_TAG_2;
}

static void put_meta(lethe_st_writer *w, const lethe_patch *p) {
    lethe_st_set_meta(w, "format", format_of(p));
    if (p->arch != LETHE_ARCH_TOPK) lethe_st_set_meta(w, "architecture", lethe_arch_name(p->arch));
    if (p->norm != LETHE_NORM_NONE) lethe_st_set_meta(w, "norm", lethe_norm_name(p->norm));
    lethe_st_set_meta(w, "model_name", p->model_name);
    lethe_st_set_meta(w, "model_hash", p->model_hash);
    lethe_st_set_meta_number(w, "layer", (uint64_t)p->layer);
    lethe_st_set_meta(w, "hook", lethe_hook_name((int)p->hook));
    put_method(w, &p->how);
    lethe_st_set_meta_number(w, "special", p->special);
    lethe_st_set_meta_number(w, "k", p->k);
    lethe_st_set_meta_number(w, "latents", p->m);
    lethe_st_set_meta(w, "sae_hash", p->sae_hash);
    lethe_st_set_meta_number(w, "rows", p->rows);
    lethe_st_set_meta_number(w, "held_out", p->figures.held_out);
    for (size_t i = 0; i < N_FIGURES; i++) {
        double v;
        memcpy(&v, (const char *)&p->figures + figures[i].offset, sizeof v);
        if (isfinite(v)) lethe_st_set_meta_real(w, figures[i].key, v);
    }
}

lethe_status lethe_patch_save(const lethe_patch *p, const char *path, lethe_err *err) {
    const size_t matrix[] = {p->n, p->d}, list[] = {p->n}, pairs[] = {p->n, 2};
    lethe_st_writer *w;
    LETHE_TRY(lethe_st_create(&w, path, err));
    put_meta(w, p);
    lethe_st_put_f32(w, "W_enc", 2, matrix, p->W_enc);
    lethe_st_put_f32(w, "b_enc", 1, list, p->b_enc);
    lethe_st_put_f32(w, "threshold", 1, list, p->threshold);
    lethe_st_put_f32(w, "W_dec", 2, matrix, p->W_dec);
    lethe_st_begin(w, "features", LETHE_I32, 1, list);
    lethe_st_put(w, p->feature, p->n * sizeof *p->feature);
    if (lethe_all_known(p->centre, p->n)) lethe_st_put_f32(w, "centre", 1, list, p->centre);
    if (lethe_all_known(p->mean, p->n)) lethe_st_put_f32(w, "mean", 1, list, p->mean);
    if (lethe_all_known(p->evidence, 2 * p->n))
        lethe_st_put_f32(w, "evidence", 2, pairs, p->evidence);
    return lethe_st_commit(&w, err);
}

/* A number that must be there, lo <= it <= hi. */
static lethe_status want_number(const lethe_st *st, const char *key, uint64_t lo, uint64_t hi,
                                uint64_t *out, lethe_err *err) {
    bool there;
    LETHE_TRY(lethe_st_meta_number(st, key, hi, &there, out, err));
    if (!there || *out < lo)
        return lethe_fail(
            err, LETHE_FORMAT, "%s: metadata \"%s\" is %s, want a number from %llu on",
            lethe_st_path(st), key, there ? "too small" : "missing", (unsigned long long)lo);
    return LETHE_OK;
}

/* A fingerprint that must be there. */
static lethe_status want_hash(const lethe_st *st, const char *key, char out[LETHE_HASH_HEX],
                              lethe_err *err) {
    const char *s = lethe_st_meta(st, key);
    if (!s || strlen(s) != LETHE_HASH_HEX - 1)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: metadata \"%s\" is \"%.40s\", want a fingerprint of %d digits",
                          lethe_st_path(st), key, s ? s : "", LETHE_HASH_HEX - 1);
    memcpy(out, s, LETHE_HASH_HEX);
    return LETHE_OK;
}

static lethe_status read_figures(const lethe_st *st, lethe_gate_figures *f, lethe_err *err) {
    LETHE_TRY(want_number(st, "held_out", 0, UINT64_MAX, &f->held_out, err));
    for (size_t i = 0; i < N_FIGURES; i++) {
        bool there;
        double v = NAN;
        LETHE_TRY(lethe_st_meta_real(st, figures[i].key, &there, &v, err));
        if (there && !(v >= 0 && v <= 1))
            return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"%s\" is %g, want 0 to 1",
                              lethe_st_path(st), figures[i].key, v);
        memcpy((char *)f + figures[i].offset, &v, sizeof v);
    }
    return LETHE_OK;
}

static lethe_status read_guard(const lethe_st *st, lethe_intervention *how, lethe_err *err) {
    uint64_t v = 0;
    LETHE_TRY(lethe_st_meta_real(st, "guard", &how->guard, &how->guard_threshold, err));
    if (!how->guard) return LETHE_OK;
    const char *by = lethe_st_meta(st, "guard_by");
    if (by && !lethe_guard_by_from_name(by, &how->guard_by))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: metadata \"guard_by\" is \"%.40s\", want share or evidence",
                          lethe_st_path(st), by);
    if (how->guard_by == LETHE_GUARD_EVIDENCE) return LETHE_OK;
    LETHE_TRY(want_number(st, "guard_window", 0, INT32_MAX, &v, err));
    how->guard_window = (size_t)v;
    return LETHE_OK;
}

/* Patches of before there were methods have only "scale". */
static lethe_status read_method(const lethe_st *st, lethe_intervention *how, lethe_err *err) {
    const char *method = lethe_st_meta(st, "method"), *unit = lethe_st_meta(st, "clamp_unit");
    const char *path = lethe_st_path(st);
    *how = (lethe_intervention){.method = LETHE_METHOD_SCALE};
    if (method && !lethe_method_from_name(method, &how->method))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: metadata \"method\" is \"%.40s\", want scale, clamp or direction",
                          path, method);
    const char *key = how->method == LETHE_METHOD_SCALE ? "scale" : "strength";
    bool there;
    uint64_t v = 0;
    LETHE_TRY(lethe_st_meta_real(st, key, &there, &how->strength, err));
    if (!there) return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"%s\" is missing", path, key);
    if (how->method == LETHE_METHOD_CLAMP &&
        !(unit && lethe_clamp_unit_from_name(unit, &how->unit)))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: metadata \"clamp_unit\" is \"%.40s\", want activation or norm", path,
                          unit ? unit : "");
    if (how->method == LETHE_METHOD_DIRECTION) LETHE_TRY(want_number(st, "gated", 0, 1, &v, err));
    how->gated = v == 1;
    LETHE_TRY(read_guard(st, how, err));
    lethe_err why;
    if (lethe_intervention_check(how, &why))
        return lethe_fail(err, LETHE_FORMAT, "%s: metadata: %s", path, why.text);
    return LETHE_OK;
}

static lethe_status read_kind(const lethe_st *st, lethe_patch *p, lethe_err *err) {
    const char *arch = lethe_st_meta(st, "architecture"), *norm = lethe_st_meta(st, "norm");
    if (arch && !lethe_arch_from_name(arch, &p->arch))
        return lethe_fail(
            err, LETHE_FORMAT,
            "%s: metadata \"architecture\" is \"%.40s\", want topk, relu, jumprelu or "
            "gated",
            lethe_st_path(st), arch);
    if (norm && !lethe_norm_from_name(norm, &p->norm))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: metadata \"norm\" is \"%.40s\", want none, rescale or layer",
                          lethe_st_path(st), norm);
    return LETHE_OK;
}

static lethe_status read_meta(const lethe_st *st, lethe_patch *p, lethe_err *err) {
    uint64_t v = 0;
    int hook = -1;
    const char *name = lethe_st_meta(st, "hook");
    lethe_st_meta_text(st, "model_name", p->model_name, sizeof p->model_name);
    LETHE_TRY(want_hash(st, "model_hash", p->model_hash, err));
    LETHE_TRY(want_hash(st, "sae_hash", p->sae_hash, err));
    LETHE_TRY(want_number(st, "layer", 0, INT32_MAX, &v, err));
    p->layer = (int)v;
    if (!name || !lethe_hook_from_name(name, &hook) || hook < 0)
        return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"hook\" is \"%.40s\", want pre or post",
                          lethe_st_path(st), name ? name : "");
    p->hook = (lethe_hook)hook;
    LETHE_TRY(read_method(st, &p->how, err));
    LETHE_TRY(want_number(st, "special", 0, 1, &v, err));
    p->special = v == 1;
    LETHE_TRY(want_number(st, "latents", 1, INT32_MAX, &v, err));
    p->m = (size_t)v;
    LETHE_TRY(read_kind(st, p, err));
    LETHE_TRY(want_number(st, "k", p->arch == LETHE_ARCH_TOPK, p->m, &v, err));
    p->k = (size_t)v;
    LETHE_TRY(want_number(st, "rows", 0, UINT64_MAX, &p->rows, err));
    return read_figures(st, &p->figures, err);
}

static lethe_status read_floats(const lethe_st *st, const char *name, size_t ndim,
                                const size_t *shape, float *out, lethe_err *err) {
    const lethe_tensor *t;
    LETHE_TRY(lethe_st_want(st, name, ndim, shape, &t, err));
    lethe_status got = lethe_tensor_to_f32(t, 0, t->count, out, err);
    if (got) return lethe_err_prefix(err, "%s: \"%s\"", lethe_st_path(st), name);
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(out[i]))
            return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": element %zu is not a finite number",
                              lethe_st_path(st), name, i);
    return LETHE_OK;
}

/* A list that older patches lack; NaN where it is missing, unless it is needed. */
static lethe_status read_optional(const lethe_st *st, const char *name, size_t ndim,
                                  const size_t *shape, bool needed, float *out, lethe_err *err) {
    if (needed || lethe_st_find(st, name)) return read_floats(st, name, ndim, shape, out, err);
    size_t n = shape[0] * (ndim > 1 ? shape[1] : 1);
    for (size_t i = 0; i < n; i++) out[i] = NAN;
    return LETHE_OK;
}

static lethe_status read_tensors(const lethe_st *st, lethe_patch *p, lethe_err *err) {
    const size_t matrix[] = {p->n, p->d}, list[] = {p->n}, pairs[] = {p->n, 2};
    const char *path = lethe_st_path(st);
    LETHE_TRY(read_floats(st, "W_enc", 2, matrix, p->W_enc, err));
    LETHE_TRY(read_floats(st, "b_enc", 1, list, p->b_enc, err));
    LETHE_TRY(read_floats(st, "threshold", 1, list, p->threshold, err));
    LETHE_TRY(read_floats(st, "W_dec", 2, matrix, p->W_dec, err));
    const lethe_intervention *how = &p->how;
    bool by_mean = how->method == LETHE_METHOD_CLAMP && how->unit == LETHE_CLAMP_ACTIVATION;
    bool direction = how->method == LETHE_METHOD_DIRECTION;
    bool by_evidence = how->guard && how->guard_by == LETHE_GUARD_EVIDENCE;
    LETHE_TRY(read_optional(st, "centre", 1, list, direction, p->centre, err));
    LETHE_TRY(read_optional(st, "mean", 1, list, by_mean, p->mean, err));
    LETHE_TRY(read_optional(st, "evidence", 2, pairs, by_evidence, p->evidence, err));
    for (size_t i = 0; i < p->n; i++)
        if (p->threshold[i] < 0)
            return lethe_fail(err, LETHE_FORMAT, "%s: \"threshold\": element %zu is %g, want >= 0",
                              path, i, (double)p->threshold[i]);
    sum_encoder(p);
    const lethe_tensor *t;
    LETHE_TRY(lethe_st_want(st, "features", 1, list, &t, err));
    lethe_status got = lethe_tensor_to_i32(t, 0, t->count, p->feature, err);
    if (got) return lethe_err_prefix(err, "%s: \"features\"", path);
    lethe_err why;
    got = lethe_features_check(p->feature, p->n, p->m, &why);
    if (got == LETHE_USAGE) got = LETHE_FORMAT;
    return got ? lethe_fail(err, got, "%s: \"features\": %s", path, why.text) : LETHE_OK;
}

lethe_status lethe_patch_load(lethe_patch *out, const char *path, lethe_err *err) {
    lethe_st *st;
    LETHE_TRY(lethe_st_open(&st, path, err));
    lethe_patch p = {0};
    const lethe_tensor *w;
    lethe_status got = LETHE_OK;
    const char *tag = lethe_st_meta(st, "format");
    if (!tag || (strcmp(tag, FORMAT_TAG) != 0 && strcmp(tag, FORMAT_TAG_2) != 0 &&
                 strcmp(tag, FORMAT_TAG_3) != 0))
        got = lethe_fail(err, LETHE_FORMAT,
                         "%s: not a patch of this version: format \"%.40s\", want \"" FORMAT_TAG
                         "\" to \"" FORMAT_TAG_3 "\" (write one with: lethe patch)",
                         path, tag ? tag : "");
    if (!got) got = lethe_st_want(st, "W_enc", 2, (const size_t[]){0, 0}, &w, err);
    if (!got && !w->count)
        got = lethe_fail(err, LETHE_FORMAT, "%s: \"W_enc\" is empty, want at least one feature",
                         path);
    if (!got) got = allocate(&p, w->shape[0], w->shape[1], err);
    if (!got) got = read_meta(st, &p, err);
    if (!got) got = read_tensors(st, &p, err);
    lethe_st_close(&st);
    if (got)
        lethe_patch_free(&p);
    else
        *out = p;
    return got;
}

lethe_status lethe_patch_check_model(const lethe_patch *p, const lethe_lm_info *info,
                                     const char *path, lethe_err *err) {
    if (p->d != info->d_model)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: this patch is %zu wide, the model %s is %zu wide (write one for it "
                          "with: lethe patch)",
                          path, p->d, info->name, info->d_model);
    if (info->hash[0] && strcmp(p->model_hash, info->hash) != 0)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: this patch was made for another model (%s), not for %s (write one "
                          "for it with: lethe patch)",
                          path, p->model_name, info->name);
    return LETHE_OK;
}
