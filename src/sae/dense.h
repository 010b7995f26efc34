/* SPDX-License-Identifier: MIT
 *
 * The training step written the obvious way, dense matrices and nothing left out: what the fast one
 * (trainer.h) is measured against and has to agree with. Six products of size n x d x m a step, and
 * six more with the auxiliary loss:
 *
 *     a  = (x - b_dec) W_enc^T + b_enc,  z = ReLU(TopK(a, k))      [n, m]
 *     x^ = z W_dec + b_dec
 *     dz = dx^ W_dec^T,  da = dz where z > 0, else 0               [n, m]
 *     dW_dec = z^T dx^,  dW_enc = da^T (x - b_dec),  d(x - b_dec) = da W_enc
 *
 * Products are those of the dense library on all threads, all else runs in parallel loops, so it is
 * no straw man; it takes n x m floats two times (three with an auxiliary loss) and memory for
 * parameters, gradients and moments like the other. Numbers agree with the trainer's to rounding,
 * and its bytes are not promised.
 */
#ifndef LETHE_SAE_DENSE_H
#define LETHE_SAE_DENSE_H

#include "sae/trainer.h"

typedef struct lethe_dense lethe_dense;

/* As lethe_trainer_open; sae: moved on success. */
lethe_status lethe_dense_open(lethe_dense **out, lethe_sae *sae, const lethe_recipe *recipe,
                              size_t batch, uint64_t total_steps, lethe_err *err);
void lethe_dense_close(lethe_dense **t);

const lethe_sae *lethe_dense_sae(const lethe_dense *t); /* borrowed, changes with each step */

/* As lethe_trainer_step, every field of *stats included. */
lethe_status lethe_dense_step(lethe_dense *t, const float *x, size_t n, lethe_step_stats *stats,
                              lethe_err *err);

/* For measurements, of either: makes the first n latents dead, as if they had not fired for long,
 * and begins the auxiliary loss if it has not begun. A latent that fires lives again, so it is
 * called before every step. */
void lethe_dense_hold_dead(lethe_dense *t, size_t n);
void lethe_trainer_hold_dead(lethe_trainer *t, size_t n);

#endif
