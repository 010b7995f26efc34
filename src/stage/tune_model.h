/* SPDX-License-Identifier: MIT
 *
 * Which genome is worth a trial, by those that had one: a Gaussian process over the logarithm of
 * the cost, and the genome of the largest expected improvement (Jones et al. 1998, "Efficient
 * Global Optimization of Expensive Black-Box Functions").
 *
 * With z the costs' logarithms, brought to mean 0 and variance 1, and k the covariance
 *
 *   k(a, b) = product over genes of   exp(-(a_g - b_g)^2 / (2 l_g^2))   where a list has an order
 *                                     1 where alike, r_g where not        in the others
 *
 * a genome x is expected to have m(x) = k(x)' (K + s I)^-1 z, with the variance
 * v(x) = 1 - k(x)' (K + s I)^-1 k(x), and to improve on the least, b, by
 *
 *   EI(x) = sqrt(v) (u Phi(u) + phi(u)),   u = (b - m) / sqrt(v)
 *
 * l_g, r_g and the noise s are fixed, near what is most likely by the trials of searches on SAEs of
 * three seeds on the embedded default: how features are ranked hardly matters, methods differ, and
 * five places of strength are as much as three of the guard.
 */
#ifndef LETHE_STAGE_TUNE_MODEL_H
#define LETHE_STAGE_TUNE_MODEL_H

#include <stdbool.h>

#include "base/err.h"
#include "stage/tune_space.h"

/* tried, cost [n], n >= 1; settled genomes (lethe_genome_settle); a cost that is not finite counts
 * as the worst of those that are. The cost of a trial that was not asked its attacks is what is
 * certain of it, so too low; it is beaten all the same, so b is never such a one. *found is false
 * when every draw was tried before; *out is then of no use. tried[0] may come again: it is only the
 * nearest to the removal of the settings. Depends on its arguments alone. Fails: NOMEM. */
lethe_status lethe_genome_promising(const lethe_tune_space *s, const lethe_genome *tried,
                                    const double *cost, size_t n, lethe_rng *r, lethe_genome *out,
                                    bool *found, lethe_err *err);

#endif
