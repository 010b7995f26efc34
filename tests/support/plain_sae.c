/* SPDX-License-Identifier: MIT */
#include "support/plain_sae.h"

#include <math.h>

#include "base/mem.h"
#include "support/support.h"

static lethe_err err;

void plain_normals(float *x, size_t n, double mean, double scale, lethe_rng *r) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(mean + scale * lethe_rng_normal(r));
}

/* About one latent in eight fires. */
lethe_sae plain_sae_make(lethe_arch arch, lethe_norm norm, bool raw, size_t d, size_t m) {
    lethe_rng r = lethe_rng_make((uint64_t)arch * 100 + (uint64_t)norm * 10 + raw, d);
    lethe_sae s;
    size_t k = m / 8 ? m / 8 : 1;
    assert_ok(lethe_sae_alloc_as(&s, arch, d, m, arch == LETHE_ARCH_TOPK ? k : 0, &err), &err);
    s.norm = norm;
    s.raw_input = raw;
    double row = 1 / sqrt((double)d);
    plain_normals(s.W_enc, m * d, 0, row, &r);
    plain_normals(s.W_dec, m * d, 0, row, &r);
    plain_normals(s.b_enc, m, -1.2, 0.1, &r);
    plain_normals(s.b_dec, d, 0.2, 0.3, &r);
    if (s.threshold) {
        plain_normals(s.threshold, m, 0.5, 0.3, &r);
        plain_normals(s.b_enc, m, -0.5, 0.3, &r);
        s.threshold[0] = -0.5f; /* as 0 */
    }
    if (s.r_mag) {
        plain_normals(s.r_mag, m, 0.1, 0.4, &r);
        plain_normals(s.b_mag, m, -0.8, 0.6, &r);
        s.r_mag[0] = -200; /* exp is 0 in float */
        s.b_mag[0] = 0.25f;
    }
    return s;
}

void *plain_take(size_t n, size_t size) {
    void *p;
    assert_ok(lethe_zalloc(&p, n, size, "test data", &err), &err);
    return p;
}

void plain_sae_encode(const lethe_sae *s, const float *x, plain_truth *o) {
    const size_t d = s->d, m = s->m;
    double shift = 0, scale = 1, divide = 1, sum = 0, squares = 0;
    for (size_t i = 0; i < d; i++) sum += (double)x[i];
    for (size_t i = 0; i < d; i++) squares += (double)x[i] * (double)x[i];
    if (s->norm == LETHE_NORM_RESCALE) divide = scale = sqrt(squares) / sqrt((double)d);
    if (s->norm == LETHE_NORM_LAYER) {
        double var = 0;
        shift = sum / (double)d;
        for (size_t i = 0; i < d; i++) var += ((double)x[i] - shift) * ((double)x[i] - shift);
        scale = sqrt(var / (double)(d - 1));
        divide = scale + 1e-5;
    }
    o->scale = scale;
    o->shift = shift;
    for (size_t i = 0; i < d; i++)
        o->u[i] = ((double)x[i] - shift) / divide - (s->raw_input ? 0 : (double)s->b_dec[i]);
    for (size_t j = 0; j < m; j++) {
        double p = 0, a, mag;
        for (size_t i = 0; i < d; i++) p += (double)s->W_enc[j * d + i] * o->u[i];
        o->a[j] = a = p + (double)s->b_enc[j];
        o->doubtful[j] = fabs(a) < 1e-5;
        o->z[j] = fmax(a, 0);
        if (s->arch == LETHE_ARCH_JUMPRELU) {
            o->doubtful[j] |= fabs(a - (double)s->threshold[j]) < 1e-5;
            if (!(a > (double)s->threshold[j])) o->z[j] = 0;
        }
        if (s->arch == LETHE_ARCH_GATED) {
            mag = exp((double)s->r_mag[j]) * p + (double)s->b_mag[j];
            o->z[j] = a > 0 ? fmax(mag, 0) : 0;
        }
    }
    for (size_t j = 0; j < m && s->arch == LETHE_ARCH_TOPK; j++) {
        size_t above = 0;
        for (size_t l = 0; l < m; l++) above += o->a[l] > o->a[j];
        if (above >= s->k) o->z[j] = 0;
    }
    for (size_t i = 0; i < d; i++) {
        o->x_hat[i] = (double)s->b_dec[i];
        for (size_t j = 0; j < m; j++) o->x_hat[i] += o->z[j] * (double)s->W_dec[j * d + i];
        o->x_hat[i] = o->x_hat[i] * scale + shift;
    }
}

plain_truth plain_truth_make(size_t d, size_t m) {
    return (plain_truth){.u = plain_take(d, sizeof(double)),
                         .a = plain_take(m, sizeof(double)),
                         .z = plain_take(m, sizeof(double)),
                         .x_hat = plain_take(d, sizeof(double)),
                         .doubtful = plain_take(m, sizeof(bool))};
}

void plain_truth_free(plain_truth *o) {
    lethe_free(o->u);
    lethe_free(o->a);
    lethe_free(o->z);
    lethe_free(o->x_hat);
    lethe_free(o->doubtful);
}
