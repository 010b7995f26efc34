/* SPDX-License-Identifier: MIT
 *
 * The kernels in plain C: the definition of what each slot computes. Sums run in LANES independent
 * accumulators, element i in lane i % LANES, and the lanes are folded pairwise at the end: an order
 * that a compiler can put into vector registers without leave to reorder anything.
 */
#include <float.h>
#include <math.h>

#include "kernel/digits.h"
#include "kernel/kernel.h"

#define LANES 16

static float fold(float acc[LANES]) {
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) acc[l] += acc[l + half];
    return acc[0];
}

static float ref_dot(const float *restrict a, const float *restrict b, size_t n) {
    float acc[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) acc[l] += a[i + l] * b[i + l];
    for (size_t l = 0; i + l < n; l++) acc[l] += a[i + l] * b[i + l];
    return fold(acc);
}

static double ref_sumsq(const float *a, size_t n) {
    double acc[2 * LANES] = {0};
    for (size_t i = 0; i < n; i++) acc[i % (2 * LANES)] += (double)a[i] * (double)a[i];
    for (size_t half = LANES; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) acc[l] += acc[l + half];
    return acc[0];
}

static void ref_axpy(float *restrict y, float alpha, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += alpha * x[i];
}

static void ref_scale(float *x, float alpha, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] *= alpha;
}

/* Four rows a pass: one load and store of out for four multiply-adds. */
static void ref_gather_sum(float *restrict out, size_t width, const float *restrict rows, size_t ld,
                           const int32_t *restrict index, const float *restrict coef, size_t count,
                           size_t more) {
    (void)more;
    size_t j = 0;
    for (; j + 4 <= count; j += 4) {
        const float *r0 = rows + (size_t)index[j] * ld, *r1 = rows + (size_t)index[j + 1] * ld;
        const float *r2 = rows + (size_t)index[j + 2] * ld, *r3 = rows + (size_t)index[j + 3] * ld;
        const float c0 = coef[j], c1 = coef[j + 1], c2 = coef[j + 2], c3 = coef[j + 3];
        for (size_t i = 0; i < width; i++)
            out[i] = (((out[i] + c0 * r0[i]) + c1 * r1[i]) + c2 * r2[i]) + c3 * r3[i];
    }
    for (; j < count; j++) ref_axpy(out, coef[j], rows + (size_t)index[j] * ld, width);
}

static void ref_gather_dot(float *restrict out, size_t d, const float *restrict x,
                           const float *restrict rows, const int32_t *restrict index,
                           size_t count) {
    for (size_t j = 0; j < count; j++) out[j] = ref_dot(x, rows + (size_t)index[j] * d, d);
}

static void ref_digits(const float *restrict v, size_t n, int8_t *restrict hi, int8_t *restrict lo,
                       lethe_digits *restrict out) {
    float acc[LANES] = {0}, most = 0;
    for (size_t i = 0; i < n; i++) {
        acc[i % LANES] += v[i] * v[i];
        most = fabsf(v[i]) > most ? fabsf(v[i]) : most;
    }
    float square = fold(acc);
    if (!(square < FLT_MAX) || most < LETHE_DIGITS_SMALLEST) {
        lethe_digits_none(n, square, most, hi, lo, out);
        return;
    }
    float scale = most / 127, inv = 127 / most, lo_inv = inv * LETHE_LO_DIGIT;
    float rest[LANES] = {0};
    int32_t sum_hi = 0, sum_lo = 0;
    for (size_t i = 0; i < n; i++) {
        float h = rintf(v[i] * inv), r = v[i] - h * scale, l = rintf(r * lo_inv);
        rest[i % LANES] += r * r;
        hi[i] = (int8_t)h;
        lo[i] = (int8_t)l;
        sum_hi += (int8_t)h;
        sum_lo += (int8_t)l;
    }
    lethe_digits_norms(n, scale, square, fold(rest), out);
    out->sum_hi = sum_hi;
    out->sum_lo = sum_lo;
}

static void ref_dots_i8(int32_t *restrict c, size_t ldc, const uint8_t *restrict a, size_t na,
                        const int8_t *restrict b, const int32_t *restrict b_sum, size_t nb,
                        size_t ld) {
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < nb; j++) {
            int32_t sum = -128 * b_sum[j];
            for (size_t l = 0; l < ld; l++) sum += a[i * ld + l] * b[j * ld + l];
            c[i * ldc + j] = sum;
        }
}

static void ref_dots_rows(int32_t *restrict c, const uint8_t *restrict a,
                          const uint32_t *restrict row, size_t n, const int8_t *restrict b,
                          size_t ld) {
    for (size_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (size_t l = 0; l < ld; l++) sum += a[row[i] * ld + l] * b[l];
        c[i] += sum;
    }
}

static size_t ref_may_pass(const int32_t *restrict c, size_t n, const lethe_bound *restrict b,
                           int32_t *restrict hit) {
    size_t hits = 0;
    for (size_t i = 0; i < n; i++) {
        float upper = (float)c[i] * (b->scale * b->w_scale[i]);
        upper = upper + b->err * b->w_norm[i];
        upper = upper + b->norm * b->w_err[i];
        for (size_t o = 0; o < b->outliers; o++)
            upper = upper + b->x_out[o] * b->w_out[o * b->w_out_stride + i];
        upper = upper + b->bias[i];
        hit[hits] = (int32_t)i;
        hits += !(upper < b->threshold);
    }
    return hits;
}

static float flush(float x) {
    return fabsf(x) < FLT_MIN ? 0.0f : x;
}

static void ref_adam(float *restrict p, float *restrict m1, float *restrict m2,
                     const float *restrict g, size_t n, const lethe_adam *restrict k) {
    const lethe_adam c = *k;
    if (!g) {
        for (size_t i = 0; i < n; i++) {
            float a = flush(m1[i] - m1[i] * c.one_beta1), b = flush(m2[i] * c.beta2);
            m1[i] = a;
            m2[i] = b;
            p[i] -= c.step * (a / (sqrtf(b) * c.inv_sqrt_bias2 + c.eps));
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        float s = g[i] * c.grad_scale;
        float a = flush(m1[i] + (s - m1[i]) * c.one_beta1);
        float b = flush(m2[i] * c.beta2 + c.one_beta2 * (s * s));
        m1[i] = a;
        m2[i] = b;
        p[i] -= c.step * (a / (sqrtf(b) * c.inv_sqrt_bias2 + c.eps));
    }
}

const lethe_kernels lethe_kernels_ref = {
    .name = "ref",
    .dot = ref_dot,
    .sumsq = ref_sumsq,
    .axpy = ref_axpy,
    .scale = ref_scale,
    .gather_sum = ref_gather_sum,
    .gather_dot = ref_gather_dot,
    .digits = ref_digits,
    .dots_i8 = ref_dots_i8,
    .dots_rows = ref_dots_rows,
    .may_pass = ref_may_pass,
    .sift = NULL,
    .adam = ref_adam,
};
