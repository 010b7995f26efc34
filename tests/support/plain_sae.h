/* SPDX-License-Identifier: MIT
 *
 * A random SAE of every kind, and the formulas of sae/sae.h written out in double precision, the
 * obvious way: what tests of the encoder and of the gates compare with.
 */
#ifndef LETHE_TESTS_PLAIN_SAE_H
#define LETHE_TESTS_PLAIN_SAE_H

#include "base/rng.h"
#include "sae/sae.h"

void *plain_take(size_t n, size_t size); /* zeroed; the test fails where there is none */
void plain_normals(float *x, size_t n, double mean, double scale, lethe_rng *r);

/* About one latent in eight fires on rows of deviation 1 (with a norm, on any). */
lethe_sae plain_sae_make(lethe_arch arch, lethe_norm norm, bool raw, size_t d, size_t m);

typedef struct plain_truth {
    double *u;           /* [d] less b_dec, where it is taken off */
    double *a, *z;       /* [m] */
    double *x_hat;       /* [d] */
    bool *doubtful;      /* [m] so near the edge that rounding decides */
    double scale, shift; /* of the norm */
} plain_truth;

plain_truth plain_truth_make(size_t d, size_t m);
void plain_truth_free(plain_truth *o);
void plain_sae_encode(const lethe_sae *s, const float *x, plain_truth *o);

#endif
