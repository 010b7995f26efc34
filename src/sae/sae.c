/* SPDX-License-Identifier: MIT */
#include "sae/sae.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "sae/params.h"
#include "sae/rows.h"

lethe_status lethe_sae_alloc(lethe_sae *out, size_t d, size_t m, size_t k, lethe_err *err) {
    if (d == 0 || m == 0 || k == 0)
        return lethe_fail(err, LETHE_USAGE, "a dictionary of %zu x %zu with k %zu: none may be 0",
                          m, d, k);
    if (k > m)
        return lethe_fail(err, LETHE_USAGE,
                          "k %zu is more than the dictionary's %zu latents (lower --k or raise "
                          "--expansion)",
                          k, m);
    if (m > INT32_MAX || d > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "a dictionary of %zu x %zu is too large", m, d);
    lethe_sae sae = {.d = d, .m = m, .k = k};
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        lethe_status st =
            lethe_zalloc(lethe_param_slot(&sae, p), lethe_param_rows(p, d, m),
                         lethe_param_cols(p, d, m) * sizeof(float), lethe_params[p].name, err);
        if (st) {
            lethe_sae_free(&sae);
            return st;
        }
    }
    *out = sae;
    return LETHE_OK;
}

void lethe_sae_free(lethe_sae *sae) {
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) lethe_free(*lethe_param_slot(sae, p));
    *sae = (lethe_sae){0};
}

void lethe_sae_init(lethe_sae *sae, uint64_t seed) {
    size_t d = sae->d;
    /* A random stream a row: the same numbers whoever draws them. */
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t j = 0; j < sae->m; j++) {
        float *row = sae->W_dec + j * d;
        lethe_rng r = lethe_rng_make(seed, (UINT64_C(1) << 40) + j);
        for (size_t i = 0; i < d; i++) row[i] = (float)lethe_rng_normal(&r);
        lethe_row_normalise(row, d);
        memcpy(sae->W_enc + j * d, row, d * sizeof *row);
    }
    memset(sae->b_enc, 0, sae->m * sizeof *sae->b_enc);
    memset(sae->b_dec, 0, d * sizeof *sae->b_dec);
}

lethe_status lethe_codes_alloc(lethe_codes *out, size_t n, size_t k, lethe_err *err) {
    lethe_codes c = {.n = n, .k = k};
    size_t count = 0;
    if (!lethe_mul_size(n, k, &count))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: codes of %zu tokens", n);
    LETHE_TRY(lethe_alloc(&c.index, count, sizeof *c.index, "codes", err));
    lethe_status st = lethe_alloc(&c.value, count, sizeof *c.value, "codes", err);
    if (st) {
        lethe_codes_free(&c);
        return st;
    }
    *out = c;
    return LETHE_OK;
}

void lethe_codes_free(lethe_codes *c) {
    lethe_free(c->index);
    lethe_free(c->value);
    *c = (lethe_codes){0};
}

void lethe_sae_decode(const lethe_sae *sae, const lethe_codes *codes, float *x_hat) {
    lethe_rows_decode(x_hat, codes->n, sae->d, sae->b_dec, sae->W_dec, codes);
}
