/* SPDX-License-Identifier: MIT
 *
 * The training run around sae/trainer.h: epochs over a source of rows, progress, checkpoints, stop
 * and resume. A resumed run ends with the same bytes as one that was never interrupted.
 */
#ifndef LETHE_STAGE_TRAIN_H
#define LETHE_STAGE_TRAIN_H

#include "sae/trainer.h"
#include "stage/source.h"
#include "stage/train_curve.h"

typedef struct lethe_train_opts {
    size_t m, k;      /* latents, active latents a token; m 0: expansion * d */
    double expansion; /* 16 */
    const char *init; /* SAE to start from, or NULL: tied random initialisation */
    lethe_recipe recipe;
    size_t batch;               /* tokens a step */
    uint64_t epochs, max_steps; /* max_steps 0: no limit */
    uint64_t save_every;        /* steps between checkpoints; 0: none on the way */
    uint64_t seed;
    bool resume; /* go on from the checkpoint if there is one */
    const char
        *identity; /* what is trained on, as one line; a checkpoint of something else is refused */
} lethe_train_opts;
lethe_train_opts lethe_train_defaults(void);

typedef struct lethe_train_result {
    uint64_t steps, skipped, tokens, resumed_at;
    double recon_loss, fvu, l0; /* of the finished SAE, over a sample of the rows */
    size_t m;                   /* latents in all */
    size_t dead;                /* latents that have not fired for long; see recipe.dead_after */
    double seconds;             /* of this call */
    /* What the sieve of the encoder did in this call (kernel/select.h). */
    double second_looks;     /* share of (token, latent) pairs looked at twice */
    double exact_per_token;  /* float32 dot products a token */
    uint64_t full;           /* tokens computed in full */
    lethe_train_curve curve; /* of this call */
} lethe_train_result;

/* Trains and writes sae_path; checkpoint_path (NULL: none) holds the state on the way and is
 * removed when the SAE is written. meta: layer, hook and model are filled in by the caller, the
 * rest here. Fails: USAGE (k > m), MISMATCH (the checkpoint belongs to something else), NONFINITE
 * (three steps in a row were skipped; says the likely cause), STOPPED (state saved; says how to go
 * on), IO, NOMEM. */
lethe_status lethe_train_run(lethe_source *source, const lethe_train_opts *opts,
                             lethe_sae_meta *meta, const char *sae_path,
                             const char *checkpoint_path, const lethe_env *env,
                             lethe_train_result *result, lethe_err *err);

/* Whether training can go on with the SAE of this file: a topk without a norm that takes b_dec off
 * its input. Reads no matrix. Fails: USAGE (it cannot), and as lethe_sae_describe. */
lethe_status lethe_train_check_init(const char *path, lethe_err *err);

#endif
