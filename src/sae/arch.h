/* SPDX-License-Identifier: MIT
 *
 * The formulas of sae.h, each written once: what a latent makes of its encoder's product, and what
 * a norm makes of a token.
 */
#ifndef LETHE_SAE_ARCH_H
#define LETHE_SAE_ARCH_H

#include "sae/sae.h"

/* Latent j's z, p = W_enc_j (u - c) in float32; of topk for a latent that is among the k. gain:
 * lethe_arch_gain of it. */
float lethe_arch_value(const lethe_sae *sae, size_t j, float gain, float p);

/* exp(r_mag) of gated, else 1. */
float lethe_arch_gain(const lethe_sae *sae, size_t j);

/* A number that p is above wherever lethe_arch_value is: not of topk, which is no matter of p
 * alone. Nearly always the largest such number. */
float lethe_arch_floor(const lethe_sae *sae, size_t j, float gain);

/* The latent as a JumpReLU: z = a [a > threshold] with a = gain p + bias, threshold >= 0. Of topk
 * the threshold is 0: the top-k's is no constant. Of gated, whose two affine functions of p share
 * their weights, [p + b_gate > 0] ReLU(e^r p + b_mag) is that with
 * threshold = max(0, b_mag - e^r b_gate) (Rajamanoharan et al. 2024, arXiv 2404.16014, appendix).
 */
typedef struct lethe_jump {
    double gain, bias, threshold;
} lethe_jump;
lethe_jump lethe_arch_jump(const lethe_sae *sae, size_t j);

/* Of one token: u = (x - shift) inverse, and norm^-1(v) = v scale + shift. A token of zeros that
 * would be divided by 0 has inverse 0: u = 0 and x^ = shift. */
typedef struct lethe_token_norm {
    float shift, inverse, scale;
} lethe_token_norm;
lethe_token_norm lethe_norm_token(lethe_norm norm, const float *x, size_t d);

/* out [n, d] = u - c of x [n, d], a row a thread; scale and shift [n]: of each token, not written
 * with norm none. out may be x. */
void lethe_norm_rows(const lethe_sae *sae, const float *x, size_t n, float *out, float *scale,
                     float *shift);

#endif
