/* SPDX-License-Identifier: MIT
 *
 * Rows are kept as their latents one after the other, so that memory grows with what is active and
 * not with the row that has most.
 */
#include "stage/encode.h"

#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "sae/encoder.h"
#include "sae/rows.h"

#define BATCH 1024u  /* rows encoded at once */
#define TOGETHER 64u /* rows written at once */

typedef struct fit { /* running sums for FVU */
    double *sum, *squares, error, fired;
} fit;

/* All rows encoded. */
typedef struct kept {
    const lethe_sae *sae;
    size_t rows, k; /* k: columns of the file */
    size_t *end;    /* [rows]: a row's latents are those before end, from the end before it */
    int32_t *index; /* topk: all k of them; else those that fired */
    float *value;
    size_t n, index_cap, value_cap;
    float *scale, *shift; /* [rows]; NULL: norm none */
} kept;

static void kept_free(kept *a) {
    lethe_free(a->end);
    lethe_free(a->index);
    lethe_free(a->value);
    lethe_free(a->scale);
    lethe_free(a->shift);
}

static lethe_status kept_alloc(kept *a, lethe_err *err) {
    static const char what[] = "encoded rows";
    LETHE_TRY(lethe_alloc(&a->end, a->rows, sizeof *a->end, what, err));
    if (a->sae->norm == LETHE_NORM_NONE) return LETHE_OK;
    LETHE_TRY(lethe_alloc(&a->scale, a->rows, sizeof *a->scale, what, err));
    return lethe_alloc(&a->shift, a->rows, sizeof *a->shift, what, err);
}

static size_t first_of(const kept *a, size_t row) {
    return row ? a->end[row - 1] : 0;
}

/* Rows `at` and on, codes->n of them. */
static lethe_status keep(kept *a, size_t at, const lethe_codes *codes, lethe_err *err) {
    const size_t k = codes->k;
    bool topk = a->sae->arch == LETHE_ARCH_TOPK;
    for (size_t t = 0; t < codes->n; t++) {
        size_t n = topk ? k : lethe_fired(codes->value + t * k, k), to = a->n + n;
        LETHE_TRY(lethe_grow(&a->index, &a->index_cap, a->n, to, sizeof *a->index, "codes", err));
        LETHE_TRY(lethe_grow(&a->value, &a->value_cap, a->n, to, sizeof *a->value, "codes", err));
        if (n) memcpy(a->index + a->n, codes->index + t * k, n * sizeof *a->index);
        if (n) memcpy(a->value + a->n, codes->value + t * k, n * sizeof *a->value);
        a->end[at + t] = a->n = to;
        if (n > a->k) a->k = n;
        if (!a->scale) continue;
        a->scale[at + t] = codes->scale[t];
        a->shift[at + t] = codes->shift[t];
    }
    return LETHE_OK;
}

static void measure(fit *f, const float *x, const float *hat, size_t n, size_t d,
                    const lethe_codes *codes) {
    for (size_t i = 0; i < n * d; i++) {
        double v = x[i], e = v - hat[i];
        f->error += e * e;
        f->sum[i % d] += v;
        f->squares[i % d] += v * v;
    }
    for (size_t i = 0; i < n * codes->k; i++) f->fired += codes->value[i] > 0;
}

static lethe_status encode_all(kept *a, lethe_source *source, fit *f, const lethe_env *env,
                               lethe_err *err) {
    const lethe_sae *sae = a->sae;
    size_t d = sae->d, rows = a->rows, got = 1, most = lethe_encode_batch(sae, BATCH);
    float *x = NULL, *hat = NULL;
    lethe_encoder encoder = {0};
    lethe_codes codes = {0};
    lethe_status st = lethe_encoder_open(&encoder, sae, err);
    if (!st) st = lethe_codes_alloc(&codes, most, sae->k, err);
    if (!st) st = lethe_alloc(&x, most, d * sizeof *x, "a batch of rows", err);
    if (!st) st = lethe_alloc(&hat, most, d * sizeof *hat, "a batch of rows", err);
    for (size_t at = 0; at < rows && !st && got; at += got) {
        st = lethe_source_next(source, x, most, &got, err);
        codes.n = got;
        if (!st) st = lethe_encode(&encoder, x, got, &codes, NULL, err);
        if (st) break;
        lethe_sae_decode(sae, &codes, hat);
        measure(f, x, hat, got, d, &codes);
        st = keep(a, at, &codes, err);
        lethe_report_progress(env, &(lethe_progress){.stage = "encode",
                                                     .done = (double)(at + got),
                                                     .total = (double)rows,
                                                     .unit = "rows",
                                                     .detail = "",
                                                     .finished = at + got == rows});
        if (lethe_stop_requested()) st = lethe_fail(err, LETHE_STOPPED, "stopped while encoding");
    }
    lethe_encoder_close(&encoder);
    lethe_codes_free(&codes);
    lethe_free(x);
    lethe_free(hat);
    return st;
}

/* A row's k columns: its latents, then one that did not fire. */
static void pad(const kept *a, size_t row, int32_t *index, float *value, bool *seen) {
    size_t first = first_of(a, row), n = a->end[row] - first;
    if (n) memcpy(index, a->index + first, n * sizeof *index);
    if (n) memcpy(value, a->value + first, n * sizeof *value);
    int32_t spare = n < a->k ? lethe_codes_spare(index, n, seen) : 0;
    for (size_t i = n; i < a->k; i++) {
        index[i] = spare;
        value[i] = 0;
    }
}

/* A row of z, or of the reconstruction. */
static void put_row(const kept *a, size_t row, bool dense, float *out) {
    size_t first = first_of(a, row), n = a->end[row] - first;
    if (!dense) {
        lethe_codes one = {.n = 1,
                           .k = n,
                           .index = a->index + first,
                           .value = a->value + first,
                           .scale = a->scale ? a->scale + row : NULL,
                           .shift = a->scale ? a->shift + row : NULL};
        lethe_sae_decode(a->sae, &one, out);
        return;
    }
    memset(out, 0, a->sae->m * sizeof *out);
    for (size_t i = first; i < first + n; i++) out[a->index[i]] = a->value[i];
}

static lethe_status put_rows(lethe_st_writer *w, const kept *a, bool dense, lethe_err *err) {
    size_t width = dense ? a->sae->m : a->sae->d;
    float *out;
    LETHE_TRY(lethe_alloc(&out, TOGETHER, width * sizeof *out, "a batch of rows", err));
    for (size_t at = 0; at < a->rows; at += TOGETHER) {
        size_t n = a->rows - at < TOGETHER ? a->rows - at : TOGETHER;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
        for (size_t t = 0; t < n; t++) put_row(a, at + t, dense, out + t * width);
        lethe_st_put(w, out, n * width * sizeof *out);
    }
    lethe_free(out);
    return LETHE_OK;
}

static lethe_status put_codes(lethe_st_writer *w, const kept *a, lethe_err *err) {
    const size_t k = a->k, shape[] = {a->rows, k};
    int32_t *index = NULL;
    float *value = NULL;
    bool *seen = NULL;
    lethe_status st = lethe_alloc(&index, k, sizeof *index, "codes", err);
    if (!st) st = lethe_alloc(&value, k, sizeof *value, "codes", err);
    if (!st) st = lethe_alloc(&seen, k + 1, sizeof *seen, "codes", err);
    for (int which = 0; which < 2 && !st; which++) {
        lethe_st_begin(w, which ? "values" : "indices", which ? LETHE_F32 : LETHE_I32, 2, shape);
        for (size_t row = 0; row < a->rows; row++) {
            pad(a, row, index, value, seen);
            lethe_st_put(w, which ? (const void *)value : index, k * sizeof *value);
        }
    }
    lethe_free(index);
    lethe_free(value);
    lethe_free(seen);
    return st;
}

static lethe_status write_all(const kept *a, const char *path, bool dense, lethe_err *err) {
    lethe_st_writer *w;
    LETHE_TRY(lethe_st_create(&w, path, err));
    lethe_status st;
    if (dense) {
        lethe_st_begin(w, "z", LETHE_F32, 2, (size_t[]){a->rows, a->sae->m});
        st = put_rows(w, a, true, err);
    } else {
        st = put_codes(w, a, err);
    }
    lethe_st_begin(w, "x_hat", LETHE_F32, 2, (size_t[]){a->rows, a->sae->d});
    if (!st) st = put_rows(w, a, false, err);
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
    kept a = {.sae = sae, .rows = rows, .k = sae->k ? sae->k : 1};
    fit f = {0};
    lethe_status st = kept_alloc(&a, err);
    if (!st) st = lethe_zalloc(&f.sum, d, sizeof *f.sum, "sums", err);
    if (!st) st = lethe_zalloc(&f.squares, d, sizeof *f.squares, "sums", err);
    if (!st) st = encode_all(&a, source, &f, env, err);
    if (!st) st = write_all(&a, out_path, dense, err);
    if (!st) {
        double variance = 0, n = (double)rows;
        for (size_t j = 0; j < d; j++) variance += f.squares[j] - f.sum[j] * f.sum[j] / n;
        *result = (lethe_encode_result){rows, f.error / variance, f.fired / n};
    }
    kept_free(&a);
    lethe_free(f.sum);
    lethe_free(f.squares);
    return st;
}
