/* SPDX-License-Identifier: MIT */
#include "kernel/digits.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Squares are summed in float: over at most 2^15 numbers in 16 partial sums the relative error is
 * below 2^-12, which this factor makes good. */
#define ROUND_UP 1.001f

void lethe_digits_none(size_t n, float square, float most, int8_t *hi, int8_t *lo,
                       lethe_digits *out) {
    /* Among denormal numbers a product is rounded by more than the factor makes good. */
    float norm = most > 0 ? ROUND_UP * most * sqrtf((float)n) + FLT_MIN : 0;
    if (!(square < FLT_MAX)) norm = INFINITY;
    memset(hi, 0, n);
    memset(lo, 0, n);
    *out = (lethe_digits){.norm = norm, .err1 = norm, .err2 = norm};
}

void lethe_digits_norms(size_t n, float scale, float square, float rest_square, lethe_digits *out) {
    /* The hundredth of a unit covers squares lost to underflow; a rest of the second digit is at
     * most half a unit of it. */
    *out = (lethe_digits){.scale = scale,
                          .norm = ROUND_UP * sqrtf(square),
                          .err1 = ROUND_UP * sqrtf(rest_square) + 0.01f * scale,
                          .err2 = scale * sqrtf((float)n) * (0.51f / LETHE_LO_DIGIT)};
}
