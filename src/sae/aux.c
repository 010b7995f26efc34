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
    const lethe_latents from = {.w = s->W_enc,
                                .sieve = &t->sieve,
                                .rows = t->dead_list,
                                .n_rows = dead,
                                .scratch = &t->scratch};
    const lethe_selection sel = {.bias = s->b_enc,
                                 .k = t->aux.k,
                                 .index = t->aux.index,
                                 .value = t->aux.value,
                                 .ratio = &t->aux_ratio};
    return lethe_select(t->aux_in, n, &from, &sel, 1, &t->looks, err);
}

double lethe_aux_row(float *e_hat, const float *resid, size_t d, float scale) {
    float *diff = e_hat; /* e^ - e = e^ + r */
    for (size_t c = 0; c < d; c++) diff[c] += resid[c];
    double sum = lethe_kernels_get()->sumsq(diff, d);
    for (size_t c = 0; c < d; c++) diff[c] *= scale;
    return sum;
}

float lethe_aux_scale(double norm, double coef) {
    return norm > 0 ? (float)(coef * 2 / norm) : 0;
}

/* Token i from its codes to its slopes, while its rows of W_dec are in the cache; returns
 * |e^ - e|^2. The reference's kind then follows e back through the encoder into x^, dx_hat -= sum
 * of slope * W_enc, which dx_hat's own slopes, with_slopes, have waited for. */
static double token_loss(lethe_trainer *t, size_t i, size_t n, float scale, bool with_slopes) {
    const lethe_kernels *kern = lethe_kernels_get();
    const lethe_sae *s = &t->sae;
    size_t d = s->d, k = t->aux.k, fired = lethe_fired(t->aux.value + i * k, k);
    const int32_t *index = t->aux.index + i * k;
    float *e_hat = t->aux_dx + i * d, *slope = t->aux_slope + i * k;
    memset(e_hat, 0, d * sizeof *e_hat);
    kern->gather_sum(e_hat, d, s->W_dec, d, index, t->aux.value + i * k, fired,
                     (n - i) * k - fired);
    double sum = lethe_aux_row(e_hat, t->resid + i * d, d, scale);
    lethe_token_slopes(s, index, fired, k, e_hat, slope);
    if (t->recipe.aux != LETHE_AUX_REFERENCE) return sum;

    float *g = t->dx_hat + i * d;
    for (size_t q = 0; q < fired; q++) slope[q] = -slope[q];
    kern->gather_sum(g, d, s->W_enc, d, index, slope, fired, 0);
    for (size_t q = 0; q < fired; q++) slope[q] = -slope[q];
    if (!with_slopes) return sum;
    lethe_token_slopes(s, t->codes.index + i * s->k, lethe_fired(t->codes.value + i * s->k, s->k),
                       s->k, g, t->slope + i * s->k);
    return sum;
}

lethe_status lethe_aux_loss(lethe_trainer *t, size_t n, double *loss, lethe_err *err) {
    size_t d = t->sae.d;
    double norm = (double)n * (double)d;
    if (t->recipe.aux == LETHE_AUX_REFERENCE) {
        LETHE_TRY(select_reference(t, n, err));
    } else {
        norm = lethe_rows_spread(t->resid, n, d, t->mean, t->sum, t->row_scratch);
    }
    lethe_relu(t->aux.value, n * t->aux.k);
    t->aux.n = n;
    float scale = lethe_aux_scale(norm, t->recipe.aux_coef);
    bool with_slopes = !lethe_slopes_by_latent(t, n);
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n; i++) t->row_scratch[i] = token_loss(t, i, n, scale, with_slopes);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += t->row_scratch[i];
    *loss = norm > 0 ? sum / norm : 0;
    return LETHE_OK;
}
