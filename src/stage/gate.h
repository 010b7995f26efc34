/* SPDX-License-Identifier: MIT
 *
 * The compact gate: the chosen features alone decide whether they fired, each by a threshold of its
 * own in place of the top-k over the whole SAE:
 *
 *     a_i = W_enc_i . x + (b_enc_i - W_enc_i . b_dec), fired where a_i > threshold_i
 *
 * That is a JumpReLU, and of a relu, jumprelu or gated SAE no approximation: each latent of theirs
 * is one (sae/arch.h), with the threshold that it has. With a norm W_enc_i . u takes the place of
 * W_enc_i . x, computed as (W_enc_i . x - shift <1, W_enc_i>) inverse, and the row's scale and
 * shift go along with what fired.
 *
 * A row costs n products of length d: for 100 features of a model of width 4096, 0.4 million
 * multiplications where a token of the model itself takes billions. calibrate.h finds the
 * thresholds; intervene.h does what is to be done about those that fired; ablate.h is both.
 */
#ifndef LETHE_STAGE_GATE_H
#define LETHE_STAGE_GATE_H

#include "stage/intervene.h"
#include "stage/patch.h"

/* a [n, p->n] = the activations a_i of x [n, d]. The same bytes at any number of threads. */
void lethe_gate_activations(const lethe_patch *p, const float *x, size_t n, float *a);

/* Which features fired at the rows x [n, d], in the order of the patch; fires->cap = p->n. A row
 * with a NaN fires nothing. With a norm fires->scale and shift [n] are set. Allocates nothing. */
void lethe_gate_fires(const lethe_patch *p, const float *x, size_t n, lethe_fires *fires);

#endif
