/* SPDX-License-Identifier: MIT
 *
 * Choosing by effect: how much does ablating a feature alone move the model, on the text to forget
 * and on the text to keep? What a feature fires on says little about what it does: many that fire
 * on the forget text alone are read by nothing behind them.
 *
 *     drop   = -(sum of the change of log p(token | before)) / tokens     on some windows of a text
 *     effect = drop_forget - retain_weight max(drop_retain, 0) - near_weight max(drop_near, 0)
 *
 * in nats a token, with the feature alone pushed back as far as it pointed (x - 2 z_i w_i, that is
 * scale -1; times the row's scale where the SAE norms its input, whatever the removal is done with
 * later). Attribution by gradients (Farrell et al. 2024, arXiv 2410.19278; Marks et al. 2024,
 * "Sparse feature circuits", arXiv 2403.19647) approximates this to first order, from one backward
 * pass; there is none here, and the real thing is affordable, because a feature changes nothing
 * before it first fires and nothing at all where it does not:
 *
 *   1. Up to LETHE_EFFECT_POOL windows of each text, spread evenly over it, run once: the
 * baseline's log-probabilities, and how often each candidate fires in each window.
 *   2. Each candidate runs on the few windows of each text in which it fires most, many candidates
 *      in one batch, scored from where it first fires. The drop is scaled up by fires in the whole
 *      pool over fires in those windows.
 *
 * The cost is at most candidates x windows x texts windows of at most LETHE_EFFECT_CTX tokens.
 */
#ifndef LETHE_STAGE_EFFECT_H
#define LETHE_STAGE_EFFECT_H

#include "stage/features.h"
#include "stage/windows.h"

#define LETHE_EFFECT_POOL 48u
#define LETHE_EFFECT_CTX 128u

typedef struct lethe_effect_opts {
    int layer;
    lethe_hook hook;
    size_t windows; /* of each text that a candidate is tried on; >= 1 */
    double retain_weight, near_weight;
} lethe_effect_opts;

/* effect [n] of the candidates, latents of sae. mix: windows of the texts, at most LETHE_EFFECT_CTX
 * tokens each; restarted first. The model's hooks are cleared before and after. The same mix gives
 * the same figures. Fails: USAGE (no forget or no retain windows), STOPPED, what the model fails
 * with. */
lethe_status lethe_effect_measure(lethe_lm *lm, const lethe_sae *sae, lethe_mix *mix,
                                  const int32_t *candidate, size_t n, const lethe_effect_opts *opts,
                                  double *effect, const lethe_env *env, lethe_err *err);

/* Writes effect [set->n] into the scores of a set, puts the largest first and keeps the first
 * `most` of those above 0. Fails: FAIL (none is above 0). */
lethe_status lethe_effect_rank(lethe_feature_set *set, const double *effect, size_t most,
                               lethe_err *err);

#endif
