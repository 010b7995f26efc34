/* SPDX-License-Identifier: MIT */
#include "sae/rows.h"

#include <math.h>
#include <string.h>

#include "base/run.h"
#include "kernel/kernel.h"

size_t lethe_fired(const float *value, size_t k) {
    size_t fired = 0;
    while (fired < k && value[fired] > 0.0f) fired++;
    return fired;
}

void lethe_relu(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] > 0.0f ? x[i] : 0.0f;
}

float lethe_row_normalise(float *row, size_t d) {
    const lethe_kernels *kern = lethe_kernels_get();
    float norm = sqrtf(kern->dot(row, row, d));
    float floor = norm > 1e-12f ? norm : 1e-12f;
    kern->scale(row, 1 / floor, d);
    return norm;
}

/* Below this many rows a loop is over before another thread has woken up. */
#define FEW 16

double lethe_row_dot(const float *a, const float *b, size_t d) {
    double sum = 0;
    for (size_t i = 0; i < d; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

void lethe_rows_sub(float *out, const float *x, size_t n, size_t d, const float *b) {
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < d; i++) out[t * d + i] = x[t * d + i] - b[i];
}

void lethe_rows_decode(float *out, size_t n, size_t d, const float *bias, const float *w,
                       const lethe_codes *codes) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t k = codes->k;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++) {
        const float *value = codes->value + t * k;
        float *row = out + t * d;
        size_t fired = lethe_fired(value, k);
        if (bias)
            memcpy(row, bias, d * sizeof *row);
        else
            memset(row, 0, d * sizeof *row);
        kern->gather_sum(row, d, w, d, codes->index + t * k, value, fired, 0);
    }
}

void lethe_rows_affine(float *x, size_t n, size_t d, const float *scale, const float *shift) {
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < d; i++) x[t * d + i] = x[t * d + i] * scale[t] + shift[t];
}

/* Columns are dealt out in strips; within a strip, blocks of rows are summed in float and the
 * blocks in double. */
#define STRIP 512
#define BLOCK 64

/* As wide as leaves every thread a strip: nothing but the time depends on it. */
static size_t strip_of(size_t d) {
    size_t even = (d / (size_t)lethe_threads() + 16) / 16 * 16;
    return even < 64 ? 64 : even < STRIP ? even : STRIP;
}

/* c^2 less the square of its mean, summed over n rows: smaller than this share of c^2 it is the
 * rounding of the two. */
#define LOST 1e-12

static void centre_strip(float *out, const float *x, size_t n, size_t d, const float *b,
                         double *spread, size_t width) {
    double sum[STRIP] = {0}, square[STRIP] = {0};
    for (size_t t = 0; t < n; t++, x += d, out += d)
        for (size_t i = 0; i < width; i++) {
            float c = x[i] - b[i];
            out[i] = c;
            sum[i] += (double)c;
            square[i] += (double)c * (double)c;
        }
    for (size_t i = 0; i < width; i++) {
        spread[i] = square[i] - sum[i] * sum[i] / (double)n;
        if (spread[i] <= LOST * square[i]) spread[i] = 0;
    }
}

double lethe_rows_centre(float *out, const float *x, size_t n, size_t d, const float *b,
                         double *spread) {
    size_t strip = strip_of(d);
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t at = 0; at < d; at += strip)
        centre_strip(out + at, x + at, n, d, b + at, spread + at, d - at < strip ? d - at : strip);
    double total = 0;
    for (size_t i = 0; i < d; i++) total += spread[i];
    return total;
}

void lethe_rows_sum(double *out, const float *x, size_t n, size_t d, const float *weight) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t strip = strip_of(d);
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t first = 0; first < d; first += strip) {
        size_t width = d - first < strip ? d - first : strip;
        double total[STRIP] = {0};
        for (size_t at = 0; at < n; at += BLOCK) {
            size_t end = n - at < BLOCK ? n : at + BLOCK;
            float part[STRIP] = {0};
            for (size_t t = at; t < end; t++) {
                float w = weight ? weight[t] : 1.0f;
                if (w != 0.0f) kern->axpy(part, w, x + t * d + first, width);
            }
            for (size_t i = 0; i < width; i++) total[i] += (double)part[i];
        }
        memcpy(out + first, total, width * sizeof *out);
    }
}

double lethe_rows_sumsq(const float *x, size_t n, size_t d, const float *b, double *row_scratch) {
    const lethe_kernels *kern = lethe_kernels_get();
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t t = 0; t < n; t++) {
        const float *row = x + t * d;
        if (!b) {
            row_scratch[t] = kern->sumsq(row, d);
            continue;
        }
        double sum = 0;
        float part[STRIP];
        for (size_t at = 0; at < d; at += STRIP) {
            size_t width = d - at < STRIP ? d - at : STRIP;
            for (size_t i = 0; i < width; i++) part[i] = row[at + i] - b[at + i];
            sum += kern->sumsq(part, width);
        }
        row_scratch[t] = sum;
    }
    double total = 0;
    for (size_t t = 0; t < n; t++) total += row_scratch[t];
    return total;
}

double lethe_rows_spread(const float *x, size_t n, size_t d, float *mean, double *sum,
                         double *row_scratch) {
    lethe_rows_sum(sum, x, n, d, NULL);
    for (size_t i = 0; i < d; i++) mean[i] = (float)(sum[i] / (double)n);
    return lethe_rows_sumsq(x, n, d, mean, row_scratch);
}

double lethe_codes_l0(const lethe_codes *c) {
    size_t fired = 0;
    for (size_t i = 0; i < c->n * c->k; i++) fired += c->value[i] > 0.0f;
    return (double)fired / (double)c->n;
}
