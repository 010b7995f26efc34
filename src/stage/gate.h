/* SPDX-License-Identifier: MIT
 *
 * The compact gate: the chosen features alone decide whether they fired, each by a threshold of its
 * own in place of the top-k over the whole SAE:
 *
 *     a_i = W_enc_i . x + (b_enc_i - W_enc_i . b_dec)
 *     x  += sum over i with a_i > threshold_i of (scale - 1) a_i W_dec_i
 *
 * A row costs n products of length d, and a sum of length d for each feature that fired: for 100
 * features of a model of width 4096, 0.4 million multiplications where a token of the model itself
 * takes billions. calibrate.h finds the thresholds; ablate.h is the intervention around it.
 */
#ifndef LETHE_STAGE_GATE_H
#define LETHE_STAGE_GATE_H

#include "stage/ablate.h"
#include "stage/patch.h"

#define LETHE_GATE_ROWS 64u /* most rows of one call of lethe_gate_apply */

/* a [n, p->n] = the activations a_i of x [n, d]. The same bytes at any number of threads. */
void lethe_gate_activations(const lethe_patch *p, const float *x, size_t n, float *a);

/* Rewrites x [n, d], n <= LETHE_GATE_ROWS, in place and counts into stats; a [n, p->n] is scratch.
 * A row where nothing fired, or at scale 1, keeps its very bytes. A row with a NaN fires nothing.
 * Allocates nothing. The same bytes at any number of threads; one caller at a time for one stats.
 */
void lethe_gate_apply(const lethe_patch *p, double scale, float *x, size_t n, float *a,
                      lethe_hook_stats *stats);

#endif
