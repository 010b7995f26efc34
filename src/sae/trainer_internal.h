/* SPDX-License-Identifier: MIT
 *
 * The trainer from inside: what the files of a training step share, and what the tests look at.
 */
#ifndef LETHE_SAE_TRAINER_INTERNAL_H
#define LETHE_SAE_TRAINER_INTERNAL_H

#include "base/strbuf.h"
#include "kernel/kernel.h"
#include "sae/params.h"
#include "sae/trainer.h"

/* The (token, latent) pairs that fired, sorted by latent and within a latent by token: what a row
 * of a gradient is the sum over. */
typedef struct lethe_pairs {
    size_t *start;  /* [m + 1]: pairs of latent j are start[j] .. start[j + 1] - 1 */
    int32_t *token; /* [cap] */
    float *value;   /* [cap] the code z: coefficient of W_dec's gradient */
    float *slope;   /* [cap] dL/da: coefficient of W_enc's and b_enc's */
    size_t parts;   /* of the tokens, each with its own counters while it is sorted */
    size_t *count;  /* [parts, m] */
} lethe_pairs;

struct lethe_trainer {
    lethe_sae sae;
    lethe_sieve sieve;   /* of W_enc, kept up to date */
    lethe_recipe recipe; /* resolved */
    size_t batch;
    uint64_t total_steps;

    /* State beside the parameters; a checkpoint holds it. */
    uint64_t step;    /* all steps, skipped ones included */
    uint64_t updates; /* Adam's t */
    float *m1[LETHE_PARAM_COUNT], *m2[LETHE_PARAM_COUNT];
    uint64_t *idle; /* [m] steps or tokens since a latent fired */

    /* Gradients of the last batch. Rows of W_enc and W_dec that are not touched are zero and not
     * written; b_enc and b_dec are written whole. */
    float *grad[LETHE_PARAM_COUNT];
    bool *touched;     /* [m] */
    double *row_sumsq; /* [m] of all parameters of a latent */
    float *parts;      /* [lethe_backward_blocks(m), d] shares of db_dec */

    lethe_select_stats looks; /* of all steps since the trainer opened */
    float ratio, aux_ratio;   /* what the last selections leave for the next (kernel/select.h) */
    lethe_pool scratch;       /* the selections' own */

    /* The batch. */
    float *centred; /* [n, d] x - b_dec */
    float *resid;   /* [n, d] r = x^ - x, for the auxiliary loss alone */
    float *dx_hat;  /* [n, d] dL/dx^ */
    lethe_codes codes;
    float *slope; /* [n, k] dL/da of the codes, unless backward.c computes them by latent */
    lethe_pairs pairs;
    double *row_scratch; /* [batch] */
    double *sum;         /* [d] */
    float *mean;         /* [d] */

    /* The auxiliary loss; allocated only when the recipe has one. */
    size_t dead;
    float *dead_bias; /* [m] b_enc of dead latents, -infinity for live ones */
    lethe_codes aux;  /* aux.k: dead latents a token, aux_k_now of them used */
    float *aux_in;    /* [n, d] what the reference's kind encodes, e - b_dec; else NULL: centred */
    float *aux_dx;    /* [n, d] dL/de^ */
    float *aux_slope; /* [n, aux.k] */
    lethe_pairs aux_pairs;
    int32_t *dead_list; /* [dead] */
};

/* Losses and gradients of a batch, into t->grad and *stats (all but lr); parameters untouched.
 * project: take the part of W_dec's gradient parallel to its rows away. stats->skipped when loss or
 * norm is not finite. Fails: NOMEM. */
lethe_status lethe_trainer_gradients(lethe_trainer *t, const float *x, size_t n, bool project,
                                     lethe_step_stats *stats, lethe_err *err);

/* The factor that clips a gradient of this norm: min(1, clip / (norm + 1e-6)); 1 when clip is 0. */
double lethe_clip_scale(double norm, double clip);

/* Adam's numbers at its update-th update (the first is 1). */
lethe_adam lethe_adam_at(const lethe_recipe *r, uint64_t update, double grad_scale, double lr);

/* Learning rate of step s, counted from 0. */
double lethe_recipe_lr(const lethe_recipe *r, uint64_t s, uint64_t total_steps);

/* Every number of a resolved recipe as text, one per field: equal text, equal training. */
void lethe_recipe_text(const lethe_recipe *r, lethe_strbuf *out);

/* Idle for more than recipe.dead_after. */
bool lethe_latent_dead(const lethe_trainer *t, size_t j);

/* ---- parts of a step ------------------------------------------------------------------------ */

/* aux.c: is the auxiliary loss on in this step? Counts the dead and sets dead_bias. */
bool lethe_aux_begin(lethe_trainer *t);

/* aux.c: from t->centred, t->resid and (LETHE_AUX_NORMALISED) t->aux already selected: the loss,
 * aux_dx and aux_slope; the reference's kind also sets aux_in, takes its part out of t->dx_hat and
 * then sets t->slope, if that is wanted. */
lethe_status lethe_aux_loss(lethe_trainer *t, size_t n, double *loss, lethe_err *err);

/* aux.c: |e^ - e|^2 of a token's e^ [d], e = -resid [d]; e_hat becomes scale (e^ - e), its gradient
 * with lethe_aux_scale's: that of the loss coef |e^ - e|^2 / norm, 0 where norm is 0. */
double lethe_aux_row(float *e_hat, const float *resid, size_t d, float scale);
float lethe_aux_scale(double norm, double coef);

/* backward.c: g -= (g . u) u with u = w / max(|w|, 1e-12); g, w [d]. */
void lethe_project_row(float *g, const float *w, size_t d);

/* backward.c: gradients from dx_hat, the codes, their slopes and, with_aux, the auxiliary ones.
 * Returns the global norm. */
double lethe_backward(lethe_trainer *t, size_t n, bool with_aux, bool project);

size_t lethe_backward_blocks(size_t m);

/* backward.c: does it compute the slopes of n tokens' codes itself? Else they are wanted before. */
bool lethe_slopes_by_latent(const lethe_trainer *t, size_t n);

/* backward.c: slope[t, i] = dx[t] . W_dec[index[t, i]] where the code is positive, else 0. */
void lethe_token_slopes(const lethe_sae *sae, const int32_t *index, size_t fired, size_t k,
                        const float *dx, float *slope);

lethe_status lethe_pairs_alloc(lethe_pairs *p, size_t m, size_t cap, lethe_err *err);
void lethe_pairs_free(lethe_pairs *p);

/* optim.c: one Adam update with the gradients, rows of W_dec normalised again. */
void lethe_update(lethe_trainer *t, double grad_scale, double lr);

#endif
