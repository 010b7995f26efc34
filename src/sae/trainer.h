/* SPDX-License-Identifier: MIT
 *
 * Training an SAE: one step a call. Who feeds it (a store, a stream, a file) is stage/train's
 * business. Gradients use only the active latents; nothing dense of size [n, m] is kept.
 *
 * Order of a step: encode, decode, losses, sparse gradients, projection of W_dec's gradient onto
 * the complement of its rows, global-norm clipping, Adam, renormalisation of W_dec's rows, idle
 * counters.
 */
#ifndef LETHE_SAE_TRAINER_H
#define LETHE_SAE_TRAINER_H

#include <stdbool.h>

#include "base/run.h"
#include "sae/encoder.h"

typedef enum lethe_aux_kind {
    LETHE_AUX_NONE,
    LETHE_AUX_REFERENCE, /* re-encodes the error with b_dec subtracted; MSE; gradient into live
                            latents */
    LETHE_AUX_NORMALISED /* dead pre-activations of x; error normalised by its own variance, and
                            the reconstruction loss by the batch's */
} lethe_aux_kind;

typedef enum lethe_bias_init {
    LETHE_BDEC_ZERO,
    LETHE_BDEC_MEAN,
    LETHE_BDEC_GEOMETRIC_MEDIAN
} lethe_bias_init;

/* Every number of a recipe; lethe_recipe_default / _reference fill it, options change single
 * fields. A field that says "by size" is filled in by lethe_recipe_resolve when the trainer opens.
 */
typedef struct lethe_recipe {
    char name[32];
    double lr; /* peak learning rate; 0: by size */
    double beta1, beta2, eps;
    double clip;   /* global norm; 0: no clipping */
    double warmup; /* steps of linear warm-up; negative: by size */
    double decay;  /* share of all steps at the end over which lr falls linearly to 0; 0: none */
    lethe_aux_kind aux;
    double aux_coef;     /* 1/32 */
    size_t aux_k;        /* dead latents a token in the auxiliary loss; 0: by size */
    size_t aux_start;    /* first step (counted from 0) with the auxiliary loss */
    double dead_after;   /* dead: no firing for more than this many (negative: by size) ... */
    bool dead_in_tokens; /* ... tokens (true) or steps (false) */
    lethe_bias_init b_dec_init;
    bool shuffle; /* stage/train: shuffle rows */
} lethe_recipe;

lethe_recipe lethe_recipe_default(void);
lethe_recipe lethe_recipe_reference(void);

/* Fills the fields left "by size" for a dictionary [m, d] trained for total_steps of `batch`
 * tokens: short trainings need larger steps and must give latents up sooner (docs/recipes.md). */
void lethe_recipe_resolve(lethe_recipe *r, size_t d, size_t m, size_t batch, uint64_t total_steps);

typedef struct lethe_step_stats {
    double recon_loss; /* mean over elements of (x^ - x)^2 */
    double aux_loss;   /* as the recipe's kind defines it, without its coefficient */
    double total_loss; /* what is minimised: recon_loss + aux_coef * aux_loss; with
                          LETHE_AUX_NORMALISED fvu in place of recon_loss */
    double fvu;        /* sum (x - x^)^2 / sum (x - mean of the batch)^2 */
    double l0;         /* mean number of latents that fired */
    size_t dead;       /* dead latents before the step */
    double grad_norm;  /* before clipping */
    double lr;
    bool skipped; /* loss or gradient not finite: parameters untouched */
} lethe_step_stats;

typedef struct lethe_trainer lethe_trainer;

/* sae: a topk without a norm that takes b_dec off its input; moved on success. total_steps is what
 * the schedule is laid out for. batch: most tokens a step. */
lethe_status lethe_trainer_open(lethe_trainer **out, lethe_sae *sae, const lethe_recipe *recipe,
                                size_t batch, uint64_t total_steps, lethe_err *err);
void lethe_trainer_close(lethe_trainer **t);

const lethe_sae *lethe_trainer_sae(const lethe_trainer *t); /* borrowed, changes with each step */
uint64_t lethe_trainer_steps(const lethe_trainer *t);       /* steps taken, skipped ones included */

/* The SAE as it is now, ready to encode: a view of the trainer's own, not to be closed. */
lethe_encoder lethe_trainer_encoder(const lethe_trainer *t);

/* What the sieve did in all steps since the trainer opened. */
const lethe_select_stats *lethe_trainer_looks(const lethe_trainer *t);

/* Latents that are dead now: idle for more than recipe.dead_after. */
size_t lethe_trainer_dead(const lethe_trainer *t);

/* Sets b_dec from a sample x [n, d] as the recipe says; before the first step. */
lethe_status lethe_trainer_init_b_dec(lethe_trainer *t, const float *x, size_t n, lethe_err *err);

/* One step on x [n, d], n <= batch. Fails: NOMEM. A non-finite loss is no failure: stats->skipped.
 */
lethe_status lethe_trainer_step(lethe_trainer *t, const float *x, size_t n, lethe_step_stats *stats,
                                lethe_err *err);

/* All the state: parameters, Adam's moments, idle counters, step; `extra` is the caller's own state
 * (data position, random state) as a string (NULL: empty), given back by load, owned. Atomic. A
 * resumed trainer goes on to the same bytes. load fails with MISMATCH when recipe or shape differ,
 * FORMAT when damaged (a checksum covers the file). */
lethe_status lethe_trainer_save(const lethe_trainer *t, const char *path, const char *extra,
                                lethe_err *err);
lethe_status lethe_trainer_load(lethe_trainer *t, const char *path, char **extra, lethe_err *err);

#endif
