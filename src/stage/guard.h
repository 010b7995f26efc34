/* SPDX-License-Identifier: MIT
 *
 * The guard: is this sequence about the forget text? Dynamic SAE guardrails (Muhamed et al. 2025,
 * "SAEs can improve unlearning: dynamic sparse autoencoder guardrails for precision unlearning in
 * LLMs", arXiv 2504.08192) act on a prompt only where the share of its positions at which any
 * chosen feature fires passes a threshold that few ordinary sequences pass.
 *
 * A share of the whole prompt cannot be known while its first tokens run, and with a KV cache
 * nothing can be taken back; harmless text before the question dilutes it. So here it is causal,
 * and over a window of W positions. With f_t = 1 where any chosen feature fired at position t:
 *
 *     share_t = (f_{t-W+1} + .. + f_t) / W            positions before the first count as quiet
 *     share_t = (f_0 + .. + f_t) / max(t + 1, 32)     W = 0: all positions so far
 *     most_t  = max(share_0, .., share_t)
 *
 * and the intervention acts at position t where most_t > threshold: once a window has passed it,
 * the rest of the sequence is guarded, so that harmless text after the question closes nothing
 * again. Padding before the question only moves it (W = 0, for comparison, is diluted by it).
 * Special positions do not count at all. Since most_t depends on positions up to t alone, a prompt
 * fed at once and one fed token by token give the same.
 *
 * The state belongs to a sequence: what fired at each position. A position that was there before
 * rewinds its sequence to what it was then; position 0 starts a new one.
 */
#ifndef LETHE_STAGE_GUARD_H
#define LETHE_STAGE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LETHE_GUARD_LEAST 32u     /* smallest denominator of the share of all positions so far */
#define LETHE_GUARD_QUANTILE 0.95 /* of ordinary sequences stay below the calibrated threshold */

typedef struct lethe_guard { /* zeroed: no sequence yet */
    struct lethe_guard_seq *seq;
    size_t n, cap;
} lethe_guard;

typedef enum lethe_guard_sight {
    LETHE_GUARD_SKIPPED, /* a special position */
    LETHE_GUARD_QUIET,
    LETHE_GUARD_FIRED
} lethe_guard_sight;

void lethe_guard_free(lethe_guard *g); /* accepts a zeroed one; zeroes it: forgets all sequences */

/* Position pos of sequence seq (both >= 0), after all that come before it there; positions left out
 * are as skipped. *most: most_t. All calls between two lethe_guard_free have the same window.
 * Fails: NOMEM. */
lethe_status lethe_guard_see(lethe_guard *g, int32_t seq, int32_t pos, lethe_guard_sight sight,
                             size_t window, double *most, lethe_err *err);

/* Positions of the sequence so far, and its most; 0 for one never seen. */
int32_t lethe_guard_length(const lethe_guard *g, int32_t seq);
double lethe_guard_most(const lethe_guard *g, int32_t seq);

/* The threshold: the smallest of the values [n], n >= 1, that at least the share q of them do not
 * exceed. Sorts them. */
double lethe_guard_quantile(double *value, size_t n, double q);

#endif
