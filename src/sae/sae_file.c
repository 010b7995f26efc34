/* SPDX-License-Identifier: MIT
 *
 * A dictionary as a safetensors file: W_enc [d, m], b_enc [m], W_dec [m, d], b_dec [d] in float32,
 * and metadata, all strings: "format" lethe-sae-1, "k", "layer", "hook" (pre or post),
 * "model_name", "model_hash", "recipe", "seed", "steps", "tokens". What is not known is left out.
 */
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "sae/params.h"

/* Rows of the [d, m] matrix in a file that are turned at a time. */
#define TURN 16

/* ---- reading -------------------------------------------------------------------------------- */

static lethe_status read_meta(const lethe_st *st, lethe_sae_meta *meta, lethe_err *err) {
    *meta = (lethe_sae_meta){.layer = -1, .hook = -1};
    lethe_st_meta_text(st, "model_name", meta->model_name, sizeof meta->model_name);
    lethe_st_meta_text(st, "model_hash", meta->model_hash, sizeof meta->model_hash);
    lethe_st_meta_text(st, "recipe", meta->recipe, sizeof meta->recipe);
    bool there;
    uint64_t layer = 0;
    LETHE_TRY(lethe_st_meta_number(st, "layer", INT32_MAX, &there, &layer, err));
    if (there) meta->layer = (int)layer;
    LETHE_TRY(lethe_st_meta_number(st, "seed", UINT64_MAX, &there, &meta->seed, err));
    LETHE_TRY(lethe_st_meta_number(st, "steps", UINT64_MAX, &there, &meta->steps, err));
    LETHE_TRY(lethe_st_meta_number(st, "tokens", UINT64_MAX, &there, &meta->tokens, err));
    const char *hook = lethe_st_meta(st, "hook");
    if (!hook) return LETHE_OK;
    if (strcmp(hook, "pre") != 0 && strcmp(hook, "post") != 0)
        return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"hook\" is \"%.40s\", want pre or post",
                          lethe_st_path(st), hook);
    meta->hook = strcmp(hook, "post") == 0;
    return LETHE_OK;
}

static lethe_status find_k(const lethe_st *st, size_t m, size_t k_override, size_t *k,
                           lethe_err *err) {
    bool there;
    uint64_t value = 0;
    LETHE_TRY(lethe_st_meta_number(st, "k", SIZE_MAX, &there, &value, err));
    if (k_override)
        *k = k_override;
    else if (there)
        *k = (size_t)value;
    else
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: does not say how many latents are active a token (give it: --k N)",
                          lethe_st_path(st));
    if (*k == 0 || *k > m)
        return lethe_fail(err, k_override ? LETHE_USAGE : LETHE_FORMAT,
                          "%s: k is %zu, want 1 to %zu (the number of latents)", lethe_st_path(st),
                          *k, m);
    return LETHE_OK;
}

/* out[m, d] = the tensor [d, m]. */
static lethe_status read_turned(const lethe_tensor *t, size_t d, size_t m, float *out,
                                lethe_err *err) {
    float *strip;
    LETHE_TRY(lethe_alloc(&strip, m, TURN * sizeof *strip, "rows of W_enc", err));
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < d && !st; i += TURN) {
        size_t rows = d - i < TURN ? d - i : TURN;
        st = lethe_tensor_to_f32(t, i * m, rows * m, strip, err);
        if (st) break;
        for (size_t j = 0; j < m; j++)
            for (size_t r = 0; r < rows; r++) out[j * d + i + r] = strip[r * m + j];
    }
    lethe_free(strip);
    return st;
}

static lethe_status read_param(const lethe_st *st, lethe_sae *sae, lethe_param p, lethe_err *err) {
    const lethe_param_info *info = &lethe_params[p];
    size_t rows = lethe_param_rows(p, sae->d, sae->m), cols = lethe_param_cols(p, sae->d, sae->m);
    size_t shape[2] = {rows, cols};
    if (info->transposed) {
        shape[0] = cols;
        shape[1] = rows;
    } else if (!info->matrix) {
        shape[0] = rows * cols;
    }
    const lethe_tensor *t;
    LETHE_TRY(lethe_st_want(st, info->name, info->matrix ? 2 : 1, shape, &t, err));
    float *out = *lethe_param_slot(sae, p);
    lethe_status got = info->transposed ? read_turned(t, sae->d, sae->m, out, err)
                                        : lethe_tensor_to_f32(t, 0, t->count, out, err);
    if (got) return lethe_err_prefix(err, "%s: \"%s\"", lethe_st_path(st), info->name);
    return LETHE_OK;
}

lethe_status lethe_sae_load(lethe_sae *out, lethe_sae_meta *meta, const char *path,
                            size_t k_override, lethe_err *err) {
    lethe_st *st;
    LETHE_TRY(lethe_st_open(&st, path, err));
    lethe_sae sae = {0};
    lethe_sae_meta read;
    const lethe_tensor *w;
    size_t k = 0;
    lethe_status got = lethe_st_want(st, "W_dec", 2, (const size_t[]){0, 0}, &w, err);
    if (!got) got = find_k(st, w->shape[0], k_override, &k, err);
    if (!got) got = read_meta(st, &read, err);
    if (!got) {
        got = lethe_sae_alloc(&sae, w->shape[1], w->shape[0], k, err);
        if (got == LETHE_USAGE) got = lethe_fail(err, LETHE_FORMAT, "%s: \"W_dec\" is empty", path);
    }
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT && !got; p++) got = read_param(st, &sae, p, err);
    if (!got) got = lethe_sae_check_finite(&sae, path, err);
    lethe_st_close(&st);
    if (got) {
        lethe_sae_free(&sae);
        return got;
    }
    *out = sae;
    if (meta) *meta = read;
    return LETHE_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

static lethe_status put_turned(lethe_st_writer *w, const float *x, size_t d, size_t m,
                               lethe_err *err) {
    float *strip;
    LETHE_TRY(lethe_alloc(&strip, m, TURN * sizeof *strip, "rows of W_enc", err));
    for (size_t i = 0; i < d; i += TURN) {
        size_t rows = d - i < TURN ? d - i : TURN;
        for (size_t j = 0; j < m; j++)
            for (size_t r = 0; r < rows; r++) strip[r * m + j] = x[j * d + i + r];
        lethe_st_put(w, strip, rows * m * sizeof *strip);
    }
    lethe_free(strip);
    return LETHE_OK;
}

static void put_meta(lethe_st_writer *w, const lethe_sae *sae, const lethe_sae_meta *meta) {
    lethe_st_set_meta(w, "format", "lethe-sae-1");
    lethe_st_set_meta_number(w, "k", sae->k);
    if (!meta) return;
    if (meta->model_name[0]) lethe_st_set_meta(w, "model_name", meta->model_name);
    if (meta->model_hash[0]) lethe_st_set_meta(w, "model_hash", meta->model_hash);
    if (meta->layer >= 0) lethe_st_set_meta_number(w, "layer", (uint64_t)meta->layer);
    if (meta->hook >= 0) lethe_st_set_meta(w, "hook", meta->hook ? "post" : "pre");
    if (meta->recipe[0]) lethe_st_set_meta(w, "recipe", meta->recipe);
    lethe_st_set_meta_number(w, "seed", meta->seed);
    lethe_st_set_meta_number(w, "steps", meta->steps);
    lethe_st_set_meta_number(w, "tokens", meta->tokens);
}

lethe_status lethe_sae_save(const lethe_sae *sae, const lethe_sae_meta *meta, const char *path,
                            lethe_err *err) {
    lethe_st_writer *w;
    LETHE_TRY(lethe_st_create(&w, path, err));
    put_meta(w, sae, meta);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        const lethe_param_info *info = &lethe_params[p];
        const float *x = lethe_param_data(sae, p);
        size_t rows = lethe_param_rows(p, sae->d, sae->m),
               cols = lethe_param_cols(p, sae->d, sae->m);
        if (!info->transposed) {
            size_t count = rows * cols;
            lethe_st_put_f32(w, info->name, info->matrix ? 2 : 1,
                             info->matrix ? (const size_t[]){rows, cols} : &count, x);
            continue;
        }
        lethe_st_begin(w, info->name, LETHE_F32, 2, (const size_t[]){cols, rows});
        lethe_status st = put_turned(w, x, cols, rows, err);
        if (st) {
            lethe_st_abort(&w);
            return st;
        }
    }
    return lethe_st_commit(&w, err);
}
