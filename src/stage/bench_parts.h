/* SPDX-License-Identifier: MIT
 *
 * The parts of a measurement, for the bench_*.c files alone.
 */
#ifndef LETHE_STAGE_BENCH_PARTS_H
#define LETHE_STAGE_BENCH_PARTS_H

#include "stage/bench.h"
#include "stage/patch.h"

/* One run of a side. *seconds: of what counts, so that what a run has to prepare does not. */
typedef lethe_status (*lethe_bench_fn)(void *user, double *seconds, lethe_err *err);

/* A new race of the result; sides are added in the order they run in. */
lethe_bench_race *lethe_bench_begin(lethe_bench_result *r, const char *key, double tokens,
                                    lethe_err *err); /* NULL: no memory */
void lethe_bench_add(lethe_bench_race *race, const char *key, const char *label, bool base);

/* Each side once uncounted, then `rounds` times each, in turn, each round beginning with another
 * one; then the statistics. before (NULL: none) prepares a round for all sides. warmed (NULL: none)
 * is called after the first side's warm-up, before the second side's. */
typedef struct lethe_bench_plan {
    lethe_bench_fn fn[LETHE_BENCH_SIDES];
    lethe_status (*before)(void *user, size_t round, lethe_err *err);
    lethe_status (*warmed)(void *user, lethe_err *err);
    void *user;
} lethe_bench_plan;
lethe_status lethe_bench_alternate(lethe_bench_race *race, const lethe_bench_plan *plan,
                                   size_t rounds, const lethe_env *env, lethe_err *err);

/* The largest size that the process ever had in memory. */
double lethe_bench_peak_mib(void);

/* The first n of a random order of 0 .. m - 1; owned. */
lethe_status lethe_bench_features(int32_t **out, size_t n, size_t m, uint64_t seed, lethe_err *err);

/* A patch of these features whose thresholds are calibrated on x [n, d]: the compact gate that
 * belongs to them. */
lethe_status lethe_bench_patch(lethe_patch *out, const lethe_sae *sae, const int32_t *feature,
                               size_t n_features, double scale, const float *x, size_t n,
                               lethe_err *err);

lethe_status lethe_bench_train(const lethe_bench_opts *o, const lethe_env *env,
                               lethe_bench_result *r, lethe_err *err);
lethe_status lethe_bench_encode(const lethe_bench_opts *o, const lethe_env *env,
                                lethe_bench_result *r, lethe_err *err);
lethe_status lethe_bench_gate(const lethe_bench_opts *o, const lethe_env *env,
                              lethe_bench_result *r, lethe_err *err);
lethe_status lethe_bench_lm(const lethe_bench_opts *o, const lethe_env *env, lethe_bench_result *r,
                            lethe_err *err);

#endif
