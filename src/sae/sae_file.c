/* SPDX-License-Identifier: MIT
 *
 * A dictionary as a safetensors file: W_enc [d, m], b_enc [m], W_dec [m, d], b_dec [d] in float32,
 * of a jumprelu threshold [m], of a gated r_mag [m] and b_mag [m] (b_enc is the gate's bias), and
 * metadata, all strings: "format" lethe-sae-1, "architecture" (not there: topk), "k" of topk,
 * "norm" (not there: none), "raw_input" (1; not there: 0), "layer", "hook" (pre or post),
 * "model_name", "model_hash", "recipe", "seed", "steps", "tokens". What is not known is left out.
 */
#include <string.h>

#include "base/mem.h"
#include "sae/layout_parts.h"
#include "sae/params.h"

/* Rows of the [d, m] matrix in a file that are turned at a time. */
#define TURN 16

lethe_status lethe_sae_put_turned(lethe_st_writer *w, const float *x, size_t d, size_t m,
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
    if (sae->arch == LETHE_ARCH_TOPK)
        lethe_st_set_meta_number(w, "k", sae->k);
    else
        lethe_st_set_meta(w, "architecture", lethe_arch_name(sae->arch));
    if (sae->norm != LETHE_NORM_NONE) lethe_st_set_meta(w, "norm", lethe_norm_name(sae->norm));
    if (sae->raw_input) lethe_st_set_meta_number(w, "raw_input", 1);
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
        lethe_status st = lethe_sae_put_turned(w, x, cols, rows, err);
        if (st) {
            lethe_st_abort(&w);
            return st;
        }
    }
    for (lethe_extra x = 0; x < LETHE_EXTRA_COUNT; x++)
        if (lethe_extra_data(sae, x))
            lethe_st_put_f32(w, lethe_extras[x].name, 1, &sae->m, lethe_extra_data(sae, x));
    return lethe_st_commit(&w, err);
}
