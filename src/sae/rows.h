/* SPDX-License-Identifier: MIT
 *
 * Operations over the rows of a batch or of a parameter, in parallel and with fixed orders of
 * addition: each output element is computed by one thread, in double or in fixed blocks, so the
 * bytes do not depend on the number of threads.
 */
#ifndef LETHE_SAE_ROWS_H
#define LETHE_SAE_ROWS_H

#include <stddef.h>

#include "sae/sae.h"

/* How many of a token's k codes fired: values fall, so the positive ones come first. */
size_t lethe_fired(const float *value, size_t k);

/* x[i] = max(x[i], 0); NaN becomes 0. */
void lethe_relu(float *x, size_t n);

/* row /= max(|row|, 1e-12); returns |row| as it was. */
float lethe_row_normalise(float *row, size_t d);

/* a . b, in double, in order. */
double lethe_row_dot(const float *a, const float *b, size_t d);

/* out[n, d] = x[n, d] - b[d]. out may be x. */
void lethe_rows_sub(float *out, const float *x, size_t n, size_t d, const float *b);

/* The same, and returns what lethe_rows_spread does of x, all in one pass: with c = x - b and a
 * column's mean of c its deviations are sum c^2 - (sum c)^2 / n, in double, and 0 where they are
 * lost in rounding. spread [d] out: the columns' shares. */
double lethe_rows_centre(float *out, const float *x, size_t n, size_t d, const float *b,
                         double *spread);

/* out[n, d] = bias[d] (NULL: zero) + sum over the positive codes of value * w[index]. */
void lethe_rows_decode(float *out, size_t n, size_t d, const float *bias, const float *w,
                       const lethe_codes *codes);

/* x[n, d]: row t becomes row t * scale[t] + shift[t]. */
void lethe_rows_affine(float *x, size_t n, size_t d, const float *scale, const float *shift);

/* out[d] = sum over rows of weight[row] * x[row]; weight NULL: ones; rows of weight 0 are not
 * read. */
void lethe_rows_sum(double *out, const float *x, size_t n, size_t d, const float *weight);

/* sum of x[n, d]^2; b not NULL: sum of (x - b)^2. row_scratch [n]. */
double lethe_rows_sumsq(const float *x, size_t n, size_t d, const float *b, double *row_scratch);

/* sum over the rows of |x - mean|^2; mean [d] out, sum [d] scratch. */
double lethe_rows_spread(const float *x, size_t n, size_t d, float *mean, double *sum,
                         double *row_scratch);

/* Mean number of codes that fired a token. */
double lethe_codes_l0(const lethe_codes *c);

#endif
