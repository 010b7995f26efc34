/* SPDX-License-Identifier: MIT
 *
 * The guard: is this sequence about the forget text? Dynamic SAE guardrails (Muhamed et al. 2025,
 * "SAEs can improve unlearning: dynamic sparse autoencoder guardrails for precision unlearning in
 * LLMs", arXiv 2504.08192) act on a prompt only where the share of its positions at which any
 * chosen feature fires passes a threshold that few ordinary sequences pass.
 *
 * A share of the whole prompt cannot be known while its first tokens run, and with a KV cache
 * nothing can be taken back; harmless text before the question dilutes it. So here it is causal,
 * and forgets: a statistic g_t of the positions up to t, of which the largest so far counts,
 *
 *     most_t  = max(g_0, .., g_t)
 *
 * and the intervention acts at position t where most_t > threshold: once it was passed, the rest of
 * the sequence is guarded, so that harmless text after the question closes nothing again. Two
 * statistics:
 *
 * LETHE_GUARD_SHARE, over a window of W positions. With f_t = 1 where any chosen feature fired:
 *
 *     g_t = (f_{t-W+1} + .. + f_t) / W            positions before the first count as quiet
 *     g_t = (f_0 + .. + f_t) / max(t + 1, 32)     W = 0: all positions so far
 *
 * Padding before the question only moves it (W = 0, for comparison, is diluted by it).
 *
 * LETHE_GUARD_EVIDENCE, a cumulative sum (Page 1954, "Continuous inspection schemes", Biometrika
 * 41) of what each position says for the forget text against the others, in nats:
 *
 *     g_t = max(0, g_{t-1} + e_t)
 *     e_t = sum over i that fired of log(p_i / q_i) + sum over the others of log((1-p_i) / (1-q_i))
 *
 * where chosen feature i fires at a share p_i of the positions of the forget text and q_i of those
 * of the text it is commoner in of the retain and near text (if that is more than p_i it says
 * nothing). Were features independent, g would be the log-likelihood ratio of the best split into
 * ordinary text and then text to forget. A telling feature counts for more than one that fires
 * elsewhere, too; ordinary text takes away from it, and never more than there is, so padding cannot
 * pile up credit.
 *
 * Special positions do not count at all. Since most_t depends on positions up to t alone, a prompt
 * fed at once and one fed token by token give the same.
 *
 * The state belongs to a sequence: what each position said. A position that was there before
 * rewinds its sequence to what it was then; position 0 starts a new one.
 */
#ifndef LETHE_STAGE_GUARD_H
#define LETHE_STAGE_GUARD_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LETHE_GUARD_LEAST 32u     /* smallest denominator of the share of all positions so far */
#define LETHE_GUARD_QUANTILE 0.95 /* of ordinary sequences stay below the calibrated threshold */

#define LETHE_GUARD_NEVER 1e9 /* nats: more evidence than any sequence has */

typedef enum lethe_guard_by { LETHE_GUARD_SHARE, LETHE_GUARD_EVIDENCE } lethe_guard_by;
const char *lethe_guard_by_name(lethe_guard_by by); /* "share", "evidence" */
bool lethe_guard_by_from_name(const char *name, lethe_guard_by *out);

typedef struct lethe_guard { /* zeroed: no sequence yet */
    struct lethe_guard_seq *seq;
    size_t n, cap;
} lethe_guard;

/* What a position says: to share f_t (above 0 counts as 1), to evidence e_t; NaN: nothing, it is a
 * special one. */
#define LETHE_GUARD_SKIPPED ((float)NAN)

void lethe_guard_free(lethe_guard *g); /* accepts a zeroed one; zeroes it: forgets all sequences */

/* Position pos of sequence seq (both >= 0), after all that come before it there; positions left out
 * are as skipped. *most: most_t. window: of share. All calls between two lethe_guard_free have the
 * same statistic and window. Fails: NOMEM. */
lethe_status lethe_guard_see(lethe_guard *g, int32_t seq, int32_t pos, float says,
                             lethe_guard_by by, size_t window, double *most, lethe_err *err);

/* Positions of the sequence so far, and its most; 0 for one never seen. */
int32_t lethe_guard_length(const lethe_guard *g, int32_t seq);
double lethe_guard_most(const lethe_guard *g, int32_t seq);

/* The threshold: the smallest of the values [n], n >= 1, that at least the share q of them do not
 * exceed. Sorts them. */
double lethe_guard_quantile(double *value, size_t n, double q);

#endif
