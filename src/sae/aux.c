/* SPDX-License-Identifier: MIT
 *
 * The auxiliary loss: dead latents explain what the live ones left over, e = x - x^ = -r, through
 * e^ = sum over the dead latents chosen for a token of q W_dec[j], without b_dec.
 *
 * LETHE_AUX_NORMALISED: q are the largest pre-activations of x itself among the dead; e is a
 * constant. loss = sum (e^ - e)^2 / sum (e - mean of e)^2, 0 where that is 0 / 0.
 *
 * LETHE_AUX_REFERENCE: e is encoded once more, as if it were an x (so b_dec goes out twice); loss =
 * mean (e^ - e)^2. Only the target e is constant: what enters the encoder is not, so a gradient
 * also reaches the live latents through x^.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "kernel/kernel.h"
#include "kernel/select.h"
#include "sae/rows.h"
#include "sae/trainer_internal.h"

bool lethe_latent_dead(const lethe_trainer *t, size_t j) {
    return (double)t->idle[j] > t->recipe.dead_after;
}

bool lethe_aux_begin(lethe_trainer *t) {
    t->dead = 0;
    for (size_t j = 0; j < t->sae.m; j++) {
        bool dead = lethe_latent_dead(t, j);
        t->dead += dead;
        if (t->recipe.aux != LETHE_AUX_NONE) t->dead_bias[j] = dead ? t->sae.b_enc[j] : -INFINITY;
    }
    if (t->recipe.aux == LETHE_AUX_NONE || t->dead == 0 || t->step < t->recipe.aux_start)
        return false;
    t->aux.k = t->recipe.aux_k < t->dead ? t->recipe.aux_k : t->dead;
    return true;
}

/* The reference's choice: top dead latents of (e - b_dec). Only the dead enter the product. */
static lethe_status select_reference(lethe_trainer *t, size_t n, lethe_err *err) {
    const lethe_sae *s = &t->sae;
    size_t d = s->d, dead = 0;
    for (size_t j = 0; j < s->m; j++)
        if (t->dead_bias[j] != -INFINITY) t->dead_list[dead++] = (int32_t)j;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < d; c++) t->aux_in[i * d + c] = -t->resid[i * d + c] - s->b_dec[c];
    const lethe_latents from = {
        .w = s->W_enc, .sieve = &t->sieve, .rows = t->dead_list, .n_rows = dead};
    const lethe_selection sel = {
        .bias = s->b_enc, .k = t->aux.k, .index = t->aux.index, .value = t->aux.value};
    return lethe_select(t->aux_in, n, &from, &sel, 1, &t->looks, err);
}

/* dx_hat -= sum of slope * W_enc: the path of e through the encoder back to x^. */
static void into_live(lethe_trainer *t, size_t n) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d, k = t->aux.k;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n; i++) {
        float *slope = t->aux_slope + i * k;
        size_t fired = lethe_fired(t->aux.value + i * k, k);
        for (size_t s = 0; s < fired; s++) slope[s] = -slope[s];
        kern->gather_sum(t->dx_hat + i * d, d, t->sae.W_enc, t->aux.index + i * k, slope, fired);
        for (size_t s = 0; s < fired; s++) slope[s] = -slope[s];
    }
}

double lethe_aux_error(float *e_hat, const float *resid, size_t n, size_t d, double norm,
                       double coef, double *row_scratch) {
    float *diff = e_hat; /* e^ - e = e^ + r */
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n * d; i++) diff[i] += resid[i];
    double sum = lethe_rows_sumsq(diff, n, d, NULL, row_scratch);
    float scale = norm > 0 ? (float)(coef * 2 / norm) : 0;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n * d; i++) diff[i] *= scale;
    return norm > 0 ? sum / norm : 0;
}

lethe_status lethe_aux_loss(lethe_trainer *t, size_t n, double *loss, lethe_err *err) {
    size_t d = t->sae.d;
    double norm = (double)n * (double)d;
    if (t->recipe.aux == LETHE_AUX_REFERENCE) {
        LETHE_TRY(select_reference(t, n, err));
    } else {
        memcpy(t->aux_in, t->centred, n * d * sizeof *t->aux_in);
        norm = lethe_rows_spread(t->resid, n, d, t->mean, t->sum, t->row_scratch);
    }
    lethe_relu(t->aux.value, n * t->aux.k);
    t->aux.n = n;
    lethe_rows_decode(t->aux_dx, n, d, NULL, t->sae.W_dec, &t->aux);
    *loss = lethe_aux_error(t->aux_dx, t->resid, n, d, norm, t->recipe.aux_coef, t->row_scratch);
    lethe_code_slopes(&t->sae, &t->aux, n, t->aux_dx, t->aux_slope);
    if (t->recipe.aux == LETHE_AUX_REFERENCE) into_live(t, n);
    return LETHE_OK;
}
