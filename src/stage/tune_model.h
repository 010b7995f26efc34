/* SPDX-License-Identifier: MIT
 *
 * Which genome is worth a trial, by those that had one: a tree-structured Parzen estimator
 * (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"). Good are the quarter of
 * the trials that cost least (at least four), of one layer, ranking and method the three best only,
 * so that the first kind of removal that works does not take all trials; bad are the others. Each
 * gene has two densities
 *
 *   l(v) = (1 / size + sum over good trials of K(v, v_i)) / normaliser,    g(v): of bad trials
 *
 * with K = 1 at the same value, and 1/2, 1/4, 1/8 one, two, three on in lists that have an order.
 * Expected improvement grows with l / g, so of some draws from l the one with the largest product
 * of l / g over its genes is taken.
 */
#ifndef LETHE_STAGE_TUNE_MODEL_H
#define LETHE_STAGE_TUNE_MODEL_H

#include <stdbool.h>

#include "stage/tune_space.h"

/* tried, cost [n], n >= 1; a cost that is not finite is a bad one. tried[0] may come again: it is
 * only the nearest to the removal of the settings. scratch [n]. False when every draw was tried
 * before. Depends on its arguments alone. */
bool lethe_genome_promising(const lethe_tune_space *s, const lethe_genome *tried,
                            const double *cost, size_t n, bool *scratch, lethe_rng *r,
                            lethe_genome *out);

/* One step aside from what costs least: of the four best removals that differ in layer, ranking or
 * method any, its number of features, strength or guard one place up or down. Arguments and result
 * as above. */
bool lethe_genome_beside(const lethe_tune_space *s, const lethe_genome *tried, const double *cost,
                         size_t n, bool *scratch, lethe_rng *r, lethe_genome *out);

#endif
