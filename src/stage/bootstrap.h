/* SPDX-License-Identifier: MIT
 *
 * How sure a mean over items is: the percentile bootstrap (Efron and Tibshirani 1993, chapter 13).
 * Items are drawn with replacement, as many as there are, `resamples` times; the interval runs
 * between two quantiles of the means so found. Of two sides measured on the same items the
 * difference is resampled in pairs, which leaves out how much the items differ among each other.
 * Items that stand or fall together, as wordings of one fact do, are given as groups: whole groups
 * are drawn then, as many as there are, and the interval is as wide as so few independent facts
 * make it (the cluster bootstrap: Davison and Hinkley 1997, section 3.8).
 *
 *   mean      sum_i w_i x_i / sum_i w_i, w_i = 1 without weights. Weights are for means of means:
 * with x_i the mean negative log-probability of window i and w_i its tokens it is that of all
 *             tokens, and exp of mean, low and high is the perplexity with its interval.
 *   quantile  of the sorted means y at p: linear between y[floor(h)] and the next, h = p (r - 1),
 * as numpy's default
 *
 * Resample r draws from lethe_rng_make(seed, LETHE_BOOTSTRAP_STREAM + r) and adds in the order of
 * the draws: the same bytes at any number of threads. With the same seed and n every measure sees
 * the same draws, so two intervals differ only in what was measured.
 */
#ifndef LETHE_STAGE_BOOTSTRAP_H
#define LETHE_STAGE_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LETHE_BOOTSTRAP_STREAM 0x626f6f7400000000u

typedef struct lethe_bootstrap_opts {
    size_t resamples; /* 2,000; at least 1 */
    double level;     /* of the interval; 0.95; in (0, 1) */
    uint64_t seed;
} lethe_bootstrap_opts;

lethe_bootstrap_opts lethe_bootstrap_defaults(void);

typedef struct lethe_interval {
    double mean;      /* of the items themselves, not of the resamples */
    double low, high; /* with one group both are the mean; NaN, like it, with none */
    size_t n;
} lethe_interval;

/* What the items of a mean are; all borrowed. */
typedef struct lethe_bootstrap_items {
    size_t n;
    const double *weight; /* [n], positive; NULL: 1 each */
    const size_t *group;  /* [n] below n_groups, none of them empty; NULL: each item its own */
    size_t n_groups;
} lethe_bootstrap_items;

/* x [n]. Fails: NONFINITE (an item or weight that is not finite, a weight that is not positive:
 * leave such items out), USAGE (options), NOMEM. Runs on lethe_threads() threads. */
lethe_status lethe_bootstrap_mean(const double *x, const lethe_bootstrap_items *items,
                                  const lethe_bootstrap_opts *o, lethe_interval *out,
                                  lethe_err *err);

/* The mean of b minus a, both [n]: item i of both is drawn together. As above. */
lethe_status lethe_bootstrap_difference(const double *a, const double *b,
                                        const lethe_bootstrap_items *items,
                                        const lethe_bootstrap_opts *o, lethe_interval *out,
                                        lethe_err *err);

#endif
