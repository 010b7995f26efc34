/* SPDX-License-Identifier: MIT
 *
 * Two objectives at once, both to be small: which points are not beaten, and how alone is each of
 * them? Non-dominated sorting and crowding distance of NSGA-II (Deb, Pratap, Agarwal and Meyarivan
 * 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II").
 */
#ifndef LETHE_STAGE_TUNE_FRONT_H
#define LETHE_STAGE_TUNE_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lethe_point {
    double left;   /* how much is still known */
    double damage; /* what it cost */
} lethe_point;

/* a is nowhere worse than b and somewhere better. A NaN is worse than any number. */
bool lethe_point_beats(lethe_point a, lethe_point b);

/* rank [n]: 0 for points that none beats (the Pareto front), 1 for those that only points of rank 0
 * beat, and so on. */
void lethe_front_rank(const lethe_point *p, size_t n, uint32_t *rank);

/* crowding [n]: within its rank the sum over both objectives of the distance between a point's
 * neighbours, as a share of the rank's extent; infinity at the ends. scratch [n]. */
void lethe_front_crowding(const lethe_point *p, const uint32_t *rank, size_t n, double *crowding,
                          size_t *scratch);

#endif
