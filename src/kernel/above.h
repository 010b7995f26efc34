/* SPDX-License-Identifier: MIT
 *
 * Which latents a token exceeds a floor of: all pairs of a token x and a latent j with
 * dot(w[j], x) > floor[j], the encoder of every architecture that has thresholds in place of a
 * top-k. Like lethe_select it screens all pairs by the sieve (kernel/sieve.h, with the bias
 * -floor[j] and the threshold 0) and computes in float32 the few that the bounds leave in doubt or
 * prove to be above.
 *
 * The result is exact: the pairs are those that the slot `dot` of the kernel table puts above the
 * floor, and their numbers are its bytes, at any number of threads and with any table.
 */
#ifndef LETHE_KERNEL_ABOVE_H
#define LETHE_KERNEL_ABOVE_H

#include "kernel/select.h"

typedef struct lethe_above {
    size_t n;       /* tokens */
    size_t *start;  /* [n + 1]: the pairs of token t are start[t] .. start[t + 1] - 1 */
    int32_t *index; /* the latent, rising within a token */
    float *dot;
} lethe_above;

/* x [n, d], row-major, any alignment; m < 2^31; floor [m], by latent: -infinity takes all that is a
 * number above it, +infinity or NaN leaves a latent out. Memory grows with the pairs found, not
 * with n x m. stats: as of lethe_select. Owned. Fails: NOMEM. */
lethe_status lethe_select_above(lethe_above *out, const float *x, size_t n,
                                const lethe_latents *from, const float *floor,
                                lethe_select_stats *stats, lethe_err *err);
void lethe_above_free(lethe_above *a); /* accepts a zeroed one; zeroes it */

#endif
