/* SPDX-License-Identifier: MIT */
#include "sae/encoder.h"

#include <assert.h>

#include "base/mem.h"
#include "sae/rows.h"

/* Tokens encoded at a time: bounds the memory for centred rows and running top-ks. */
#define CHUNK 2048

lethe_status lethe_encoder_open(lethe_encoder *out, const lethe_sae *sae, lethe_err *err) {
    lethe_encoder e = {.sae = sae};
    LETHE_TRY(lethe_sieve_alloc(&e.sieve, sae->m, sae->d, err));
    lethe_sieve_set_all(&e.sieve, sae->W_enc);
    *out = e;
    return LETHE_OK;
}

void lethe_encoder_close(lethe_encoder *e) {
    lethe_sieve_free(&e->sieve);
    e->sae = NULL;
}

lethe_status lethe_encode(const lethe_encoder *e, const float *x, size_t n, lethe_codes *codes,
                          lethe_select_stats *stats, lethe_err *err) {
    const lethe_sae *sae = e->sae;
    assert(codes->n >= n && codes->k == sae->k);
    size_t d = sae->d, k = sae->k, most = n < CHUNK ? n : CHUNK;
    const lethe_latents from = {.w = sae->W_enc, .sieve = &e->sieve};
    float *centred;
    LETHE_TRY(lethe_alloc(&centred, most, d * sizeof *centred, "centred activations", err));
    lethe_status st = LETHE_OK;
    for (size_t at = 0; at < n && !st; at += most) {
        size_t now = n - at < most ? n - at : most;
        lethe_rows_sub(centred, x + at * d, now, d, sae->b_dec);
        lethe_selection sel = {.bias = sae->b_enc,
                               .k = k,
                               .index = codes->index + at * k,
                               .value = codes->value + at * k};
        st = lethe_select(centred, now, &from, &sel, 1, stats, err);
        if (!st) lethe_relu(sel.value, now * k);
    }
    lethe_free(centred);
    return st;
}
