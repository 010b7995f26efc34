/* SPDX-License-Identifier: MIT */
#include "stage/encode.h"

#include <string.h>

#include "base/mem.h"
#include "sae/encoder.h"

#define BATCH 1024u

typedef struct fit { /* running sums for FVU */
    double *sum, *squares, error, fired;
} fit;

static lethe_status encode_all(const lethe_sae *sae, lethe_source *source, lethe_codes *codes,
                               fit *f, const lethe_env *env, lethe_err *err) {
    size_t d = sae->d, k = sae->k, rows = codes->n, got = 1;
    float *x = NULL, *hat = NULL;
    lethe_encoder encoder = {0};
    lethe_status st = lethe_encoder_open(&encoder, sae, err);
    if (!st) st = lethe_alloc(&x, BATCH, d * sizeof *x, "a batch of rows", err);
    if (!st) st = lethe_alloc(&hat, BATCH, d * sizeof *hat, "a batch of rows", err);
    for (size_t at = 0; at < rows && !st && got; at += got) {
        st = lethe_source_next(source, x, BATCH, &got, err);
        if (st) break;
        lethe_codes part = {
            .n = got, .k = k, .index = codes->index + at * k, .value = codes->value + at * k};
        st = lethe_encode(&encoder, x, got, &part, NULL, err);
        if (st) break;
        lethe_sae_decode(sae, &part, hat);
        for (size_t i = 0; i < got * d; i++) {
            double v = x[i], e = v - hat[i];
            f->error += e * e;
            f->sum[i % d] += v;
            f->squares[i % d] += v * v;
        }
        for (size_t i = 0; i < got * k; i++) f->fired += part.value[i] > 0;
        lethe_report_progress(env, &(lethe_progress){.stage = "encode",
                                                     .done = (double)(at + got),
                                                     .total = (double)rows,
                                                     .unit = "rows",
                                                     .detail = "",
                                                     .finished = at + got == rows});
        if (lethe_stop_requested()) st = lethe_fail(err, LETHE_STOPPED, "stopped while encoding");
    }
    lethe_encoder_close(&encoder);
    lethe_free(x);
    lethe_free(hat);
    return st;
}

/* Writes batches of z or x_hat, one batch in memory at a time. */
static lethe_status put_rows(lethe_st_writer *w, const lethe_sae *sae, const lethe_codes *codes,
                             bool dense, lethe_err *err) {
    size_t k = sae->k, width = dense ? sae->m : sae->d;
    float *out;
    LETHE_TRY(lethe_alloc(&out, BATCH, width * sizeof *out, "a batch of rows", err));
    for (size_t at = 0; at < codes->n; at += BATCH) {
        size_t n = codes->n - at < BATCH ? codes->n - at : BATCH;
        lethe_codes part = {
            .n = n, .k = k, .index = codes->index + at * k, .value = codes->value + at * k};
        if (dense) {
            memset(out, 0, n * width * sizeof *out);
            for (size_t i = 0; i < n * k; i++)
                out[i / k * width + (size_t)part.index[i]] = part.value[i];
        } else {
            lethe_sae_decode(sae, &part, out);
        }
        lethe_st_put(w, out, n * width * sizeof *out);
    }
    lethe_free(out);
    return LETHE_OK;
}

static lethe_status write_all(const lethe_sae *sae, const lethe_codes *codes, const char *path,
                              bool dense, lethe_err *err) {
    size_t n = codes->n, k = sae->k;
    lethe_st_writer *w;
    LETHE_TRY(lethe_st_create(&w, path, err));
    lethe_status st = LETHE_OK;
    if (dense) {
        lethe_st_begin(w, "z", LETHE_F32, 2, (size_t[]){n, sae->m});
        st = put_rows(w, sae, codes, true, err);
    } else {
        lethe_st_begin(w, "indices", LETHE_I32, 2, (size_t[]){n, k});
        lethe_st_put(w, codes->index, n * k * sizeof *codes->index);
        lethe_st_put_f32(w, "values", 2, (size_t[]){n, k}, codes->value);
    }
    lethe_st_begin(w, "x_hat", LETHE_F32, 2, (size_t[]){n, sae->d});
    if (!st) st = put_rows(w, sae, codes, false, err);
    if (st) {
        lethe_st_abort(&w);
        return st;
    }
    return lethe_st_commit(&w, err);
}

lethe_status lethe_encode_rows(const lethe_sae *sae, lethe_source *source, const char *out_path,
                               bool dense, const lethe_env *env, lethe_encode_result *result,
                               lethe_err *err) {
    size_t d = sae->d, rows = (size_t)lethe_source_rows(source);
    if (lethe_source_d(source) != d)
        return lethe_fail(err, LETHE_MISMATCH,
                          "the activations are %zu wide, the SAE's W_enc is %zu x %zu",
                          lethe_source_d(source), d, sae->m);
    lethe_codes codes = {0};
    fit f = {0};
    lethe_status st = lethe_codes_alloc(&codes, rows, sae->k, err);
    if (!st) st = lethe_zalloc(&f.sum, d, sizeof *f.sum, "sums", err);
    if (!st) st = lethe_zalloc(&f.squares, d, sizeof *f.squares, "sums", err);
    codes.n = rows;
    if (!st) st = encode_all(sae, source, &codes, &f, env, err);
    if (!st) st = write_all(sae, &codes, out_path, dense, err);
    if (!st) {
        double variance = 0, n = (double)rows;
        for (size_t j = 0; j < d; j++) variance += f.squares[j] - f.sum[j] * f.sum[j] / n;
        *result = (lethe_encode_result){rows, f.error / variance, f.fired / n};
    }
    lethe_codes_free(&codes);
    lethe_free(f.sum);
    lethe_free(f.squares);
    return st;
}
