/* SPDX-License-Identifier: MIT */
#include "sae/encoder.h"

#include <assert.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "kernel/above.h"
#include "sae/arch.h"
#include "sae/rows.h"

/* Tokens encoded at a time: bounds the memory for centred rows and running top-ks. */
#define CHUNK 2048

/* Codes of a batch in which every latent fires, and the fewest tokens that make one. */
#define MOST_CODES ((size_t)1 << 24)
#define LEAST_BATCH 16

size_t lethe_encode_batch(const lethe_sae *sae, size_t want) {
    if (sae->arch == LETHE_ARCH_TOPK) return want;
    size_t most = MOST_CODES / sae->m;
    if (most < LEAST_BATCH) most = LEAST_BATCH;
    return want < most ? want : most;
}

static lethe_status set_floors(lethe_encoder *e, lethe_err *err) {
    const lethe_sae *sae = e->sae;
    if (sae->arch == LETHE_ARCH_TOPK) return LETHE_OK;
    LETHE_TRY(lethe_alloc(&e->floor, sae->m, sizeof *e->floor, "floors of latents", err));
    LETHE_TRY(lethe_alloc(&e->gain, sae->m, sizeof *e->gain, "gains of latents", err));
    for (size_t j = 0; j < sae->m; j++) {
        e->gain[j] = lethe_arch_gain(sae, j);
        e->floor[j] = lethe_arch_floor(sae, j, e->gain[j]);
    }
    return LETHE_OK;
}

lethe_status lethe_encoder_open(lethe_encoder *out, const lethe_sae *sae, lethe_err *err) {
    lethe_encoder e = {.sae = sae};
    lethe_status st = lethe_sieve_alloc(&e.sieve, sae->m, sae->d, err);
    if (!st) st = set_floors(&e, err);
    if (st) {
        lethe_encoder_close(&e);
        return st;
    }
    lethe_sieve_set_all(&e.sieve, sae->W_enc);
    *out = e;
    return LETHE_OK;
}

void lethe_encoder_close(lethe_encoder *e) {
    lethe_sieve_free(&e->sieve);
    lethe_free(e->floor);
    lethe_free(e->gain);
    *e = (lethe_encoder){0};
}

/* ---- topk ------------------------------------------------------------------------------------ */

static lethe_status encode_topk(const lethe_encoder *e, const float *u, size_t n, int32_t *index,
                                float *value, lethe_select_stats *stats, lethe_err *err) {
    const lethe_latents from = {.w = e->sae->W_enc, .sieve = &e->sieve};
    lethe_selection sel = {.bias = e->sae->b_enc, .k = e->sae->k, .index = index, .value = value};
    LETHE_TRY(lethe_select(u, n, &from, &sel, 1, stats, err));
    lethe_relu(value, n * e->sae->k);
    return LETHE_OK;
}

/* ---- the others ------------------------------------------------------------------------------ */

/* Active latents of all tokens so far, one after the other. */
typedef struct active {
    uint64_t *key;       /* the value's bits, which for positive floats rise with it, above those of
                            the index, which are turned over: larger keys come first */
    size_t *end;         /* [n] of each token */
    size_t n, cap, most; /* most: of a token */
} active;

static uint64_t key_of(float value, int32_t index) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint64_t)bits << 32 | (uint32_t) ~(uint32_t)index;
}

static float value_of(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int32_t index_of(uint64_t key) {
    return (int32_t) ~(uint32_t)key;
}

static int falling(const void *pa, const void *pb) {
    const uint64_t *a = pa, *b = pb;
    return (*a < *b) - (*a > *b);
}

/* Tokens `at` and on, n of them. */
static lethe_status add_active(const lethe_encoder *e, const float *u, size_t at, size_t n,
                               active *to, lethe_select_stats *stats, lethe_err *err) {
    const lethe_latents from = {.w = e->sae->W_enc, .sieve = &e->sieve};
    lethe_above above;
    LETHE_TRY(lethe_select_above(&above, u, n, &from, e->floor, stats, err));
    lethe_status st = lethe_grow(&to->key, &to->cap, to->n, to->n + above.start[n], sizeof *to->key,
                                 "active latents", err);
    for (size_t t = 0; t < n && !st; t++) {
        size_t first = to->n;
        for (size_t i = above.start[t]; i < above.start[t + 1]; i++) {
            size_t j = (size_t)above.index[i];
            float z = lethe_arch_value(e->sae, j, e->gain[j], above.dot[i]);
            if (z > 0) to->key[to->n++] = key_of(z, above.index[i]);
        }
        to->end[at + t] = to->n;
        if (to->n - first > to->most) to->most = to->n - first;
    }
    lethe_above_free(&above);
    return st;
}

static lethe_status codes_room(lethe_codes *codes, size_t n, size_t k, lethe_err *err) {
    size_t count = 0;
    if (!lethe_mul_size(n, k, &count))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: codes of %zu tokens", n);
    codes->k = k;
    if (count <= codes->room) return LETHE_OK;
    lethe_free(codes->index);
    lethe_free(codes->value);
    codes->index = NULL, codes->value = NULL, codes->room = 0;
    LETHE_TRY(lethe_alloc(&codes->index, count, sizeof *codes->index, "codes", err));
    LETHE_TRY(lethe_alloc(&codes->value, count, sizeof *codes->value, "codes", err));
    codes->room = count;
    return LETHE_OK;
}

/* Codes of n tokens from what is active, which is sorted on the way. */
static lethe_status lay_out(active *a, size_t n, lethe_codes *codes, lethe_err *err) {
    size_t k = a->most ? a->most : 1;
    LETHE_TRY(codes_room(codes, n, k, err));
    bool *seen;
    size_t threads = (size_t)lethe_threads();
    LETHE_TRY(lethe_alloc(&seen, threads, k * sizeof *seen, "codes", err));
#pragma omp parallel for num_threads((int)threads) schedule(static) if (n > LEAST_BATCH)
    for (size_t t = 0; t < n; t++) {
        size_t first = t ? a->end[t - 1] : 0, count = a->end[t] - first;
        uint64_t *key = a->key + first;
        if (count > 1) qsort(key, count, sizeof *key, falling);
        int32_t *index = codes->index + t * k, spare = 0;
        float *value = codes->value + t * k;
        for (size_t c = 0; c < count; c++) {
            index[c] = index_of(key[c]);
            value[c] = value_of(key[c]);
        }
        if (count < k)
            spare = lethe_codes_spare(index, count, seen + (size_t)omp_get_thread_num() * k);
        for (size_t c = count; c < k; c++) {
            index[c] = spare;
            value[c] = 0;
        }
    }
    lethe_free(seen);
    return LETHE_OK;
}

/* ---- all ------------------------------------------------------------------------------------- */

static lethe_status norm_room(lethe_codes *codes, size_t n, lethe_err *err) {
    if (codes->scale && n <= codes->tokens) return LETHE_OK;
    lethe_free(codes->scale);
    lethe_free(codes->shift);
    codes->scale = NULL, codes->shift = NULL, codes->tokens = 0;
    LETHE_TRY(lethe_alloc(&codes->scale, n, sizeof *codes->scale, "scales of tokens", err));
    LETHE_TRY(lethe_alloc(&codes->shift, n, sizeof *codes->shift, "means of tokens", err));
    codes->tokens = n;
    return LETHE_OK;
}

lethe_status lethe_encode(const lethe_encoder *e, const float *x, size_t n, lethe_codes *codes,
                          lethe_select_stats *stats, lethe_err *err) {
    const lethe_sae *sae = e->sae;
    bool topk = sae->arch == LETHE_ARCH_TOPK, normed = sae->norm != LETHE_NORM_NONE;
    assert(codes->n >= n && (!topk || codes->k == sae->k));
    size_t d = sae->d, k = sae->k, most = lethe_encode_batch(sae, n < CHUNK ? n : CHUNK);
    if (normed) LETHE_TRY(norm_room(codes, codes->n, err));
    active a = {0};
    float *u = NULL;
    lethe_status st = lethe_alloc(&u, most, d * sizeof *u, "centred activations", err);
    if (!st && !topk) st = lethe_alloc(&a.end, n, sizeof *a.end, "active latents", err);
    for (size_t at = 0; at < n && !st; at += most) {
        size_t now = n - at < most ? n - at : most;
        lethe_norm_rows(sae, x + at * d, now, u, normed ? codes->scale + at : NULL,
                        normed ? codes->shift + at : NULL);
        if (topk)
            st = encode_topk(e, u, now, codes->index + at * k, codes->value + at * k, stats, err);
        else
            st = add_active(e, u, at, now, &a, stats, err);
    }
    if (!st && !topk) st = lay_out(&a, n, codes, err);
    lethe_free(u);
    lethe_free(a.key);
    lethe_free(a.end);
    return st;
}
