/* SPDX-License-Identifier: MIT */
#include "sae/sae.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "sae/params.h"
#include "sae/rows.h"

static const char *const archs[LETHE_ARCH_COUNT] = {"topk", "relu", "jumprelu", "gated"};
static const char *const norms[LETHE_NORM_COUNT] = {"none", "rescale", "layer"};

static bool find_name(const char *const *names, int count, const char *name, int *out) {
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name)) {
            *out = i;
            return true;
        }
    return false;
}

const char *lethe_arch_name(lethe_arch a) {
    return a < LETHE_ARCH_COUNT ? archs[a] : "?";
}

bool lethe_arch_from_name(const char *name, lethe_arch *out) {
    int i;
    if (!find_name(archs, LETHE_ARCH_COUNT, name, &i)) return false;
    *out = (lethe_arch)i;
    return true;
}

const char *lethe_norm_name(lethe_norm n) {
    return n < LETHE_NORM_COUNT ? norms[n] : "?";
}

bool lethe_norm_from_name(const char *name, lethe_norm *out) {
    int i;
    if (!find_name(norms, LETHE_NORM_COUNT, name, &i)) return false;
    *out = (lethe_norm)i;
    return true;
}

static lethe_status check_sizes(lethe_arch arch, size_t d, size_t m, size_t k, lethe_err *err) {
    bool topk = arch == LETHE_ARCH_TOPK;
    if (d == 0 || m == 0 || (topk && k == 0))
        return lethe_fail(err, LETHE_USAGE, "a dictionary of %zu x %zu with k %zu: none may be 0",
                          m, d, k);
    if (!topk && k)
        return lethe_fail(err, LETHE_USAGE, "a %s dictionary has no k, got %zu",
                          lethe_arch_name(arch), k);
    if (k > m)
        return lethe_fail(err, LETHE_USAGE,
                          "k %zu is more than the dictionary's %zu latents (lower --k or raise "
                          "--expansion)",
                          k, m);
    if (m > INT32_MAX || d > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "a dictionary of %zu x %zu is too large", m, d);
    return LETHE_OK;
}

lethe_status lethe_sae_alloc_as(lethe_sae *out, lethe_arch arch, size_t d, size_t m, size_t k,
                                lethe_err *err) {
    LETHE_TRY(check_sizes(arch, d, m, k, err));
    lethe_sae sae = {.d = d, .m = m, .k = k, .arch = arch};
    lethe_status st = LETHE_OK;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT && !st; p++)
        st = lethe_zalloc(lethe_param_slot(&sae, p), lethe_param_rows(p, d, m),
                          lethe_param_cols(p, d, m) * sizeof(float), lethe_params[p].name, err);
    for (lethe_extra x = 0; x < LETHE_EXTRA_COUNT && !st; x++)
        if (lethe_extras[x].arch == arch)
            st = lethe_zalloc(lethe_extra_slot(&sae, x), m, sizeof(float), lethe_extras[x].name,
                              err);
    if (st) {
        lethe_sae_free(&sae);
        return st;
    }
    *out = sae;
    return LETHE_OK;
}

lethe_status lethe_sae_alloc(lethe_sae *out, size_t d, size_t m, size_t k, lethe_err *err) {
    return lethe_sae_alloc_as(out, LETHE_ARCH_TOPK, d, m, k, err);
}

void lethe_sae_free(lethe_sae *sae) {
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) lethe_free(*lethe_param_slot(sae, p));
    for (lethe_extra x = 0; x < LETHE_EXTRA_COUNT; x++) lethe_free(*lethe_extra_slot(sae, x));
    *sae = (lethe_sae){0};
}

static lethe_status check_finite(const float *v, size_t n, const char *name, const char *path,
                                 lethe_err *err) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": element %zu is not a finite number",
                              path, name, i);
    return LETHE_OK;
}

lethe_status lethe_sae_check_finite(const lethe_sae *sae, const char *path, lethe_err *err) {
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        LETHE_TRY(
            check_finite(lethe_param_data(sae, p),
                         lethe_param_rows(p, sae->d, sae->m) * lethe_param_cols(p, sae->d, sae->m),
                         lethe_params[p].name, path, err));
    for (lethe_extra x = 0; x < LETHE_EXTRA_COUNT; x++) {
        const float *v = lethe_extra_data(sae, x);
        if (v) LETHE_TRY(check_finite(v, sae->m, lethe_extras[x].name, path, err));
    }
    return LETHE_OK;
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
    c.room = count;
    *out = c;
    return LETHE_OK;
}

void lethe_codes_free(lethe_codes *c) {
    lethe_free(c->index);
    lethe_free(c->value);
    lethe_free(c->scale);
    lethe_free(c->shift);
    *c = (lethe_codes){0};
}

int32_t lethe_codes_spare(const int32_t *index, size_t n, bool *seen) {
    memset(seen, 0, (n + 1) * sizeof *seen);
    for (size_t i = 0; i < n; i++)
        if ((size_t)index[i] <= n) seen[index[i]] = true;
    int32_t j = 0;
    while (seen[j]) j++;
    return j;
}

void lethe_sae_decode(const lethe_sae *sae, const lethe_codes *codes, float *x_hat) {
    lethe_rows_decode(x_hat, codes->n, sae->d, sae->b_dec, sae->W_dec, codes);
    if (codes->scale) lethe_rows_affine(x_hat, codes->n, sae->d, codes->scale, codes->shift);
}
