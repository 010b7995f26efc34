/* SPDX-License-Identifier: MIT */
#include "sae/trainer.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "kernel/kernel.h"
#include "sae/rows.h"
#include "sae/trainer_internal.h"

/* ---- memory --------------------------------------------------------------------------------- */

static lethe_status alloc_params(lethe_trainer *t, size_t d, size_t m, lethe_err *err) {
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        size_t rows = lethe_param_rows(p, d, m), bytes = lethe_param_cols(p, d, m) * sizeof(float);
        LETHE_TRY(lethe_alloc(&t->grad[p], rows, bytes, "gradients", err));
        LETHE_TRY(lethe_zalloc(&t->m1[p], rows, bytes, "Adam's first moments", err));
        LETHE_TRY(lethe_zalloc(&t->m2[p], rows, bytes, "Adam's second moments", err));
    }
    LETHE_TRY(lethe_zalloc(&t->idle, m, sizeof *t->idle, "idle counters", err));
    LETHE_TRY(lethe_zalloc(&t->touched, m, sizeof *t->touched, "flags of latents", err));
    LETHE_TRY(lethe_alloc(&t->parts, lethe_backward_blocks(m), d * sizeof *t->parts,
                          "shares of a gradient", err));
    return lethe_zalloc(&t->row_sumsq, m, sizeof *t->row_sumsq, "norms of gradients", err);
}

static lethe_status alloc_batch(lethe_trainer *t, size_t d, size_t m, size_t k, lethe_err *err) {
    size_t n = t->batch, row = d * sizeof(float), pairs = 0;
    if (!lethe_mul_size(n, k, &pairs))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: a batch of %zu tokens", n);
    LETHE_TRY(lethe_alloc(&t->centred, n, row, "centred activations of a batch", err));
    LETHE_TRY(lethe_alloc(&t->resid, n, row, "errors of a batch", err));
    LETHE_TRY(lethe_alloc(&t->dx_hat, n, row, "gradients of a batch", err));
    LETHE_TRY(lethe_codes_alloc(&t->codes, n, k, err));
    LETHE_TRY(lethe_alloc(&t->slope, pairs, sizeof *t->slope, "slopes of a batch", err));
    LETHE_TRY(lethe_pairs_alloc(&t->pairs, m, pairs, err));
    LETHE_TRY(lethe_alloc(&t->row_scratch, n, sizeof *t->row_scratch, "sums of a batch", err));
    LETHE_TRY(lethe_alloc(&t->sum, d, sizeof *t->sum, "a sum", err));
    return lethe_alloc(&t->mean, d, sizeof *t->mean, "a mean", err);
}

static lethe_status alloc_aux(lethe_trainer *t, size_t d, size_t m, lethe_err *err) {
    size_t n = t->batch, row = d * sizeof(float), pairs = 0;
    if (!lethe_mul_size(n, t->recipe.aux_k, &pairs))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: a batch of %zu tokens", n);
    LETHE_TRY(lethe_alloc(&t->dead_bias, m, sizeof *t->dead_bias, "biases of the dead", err));
    LETHE_TRY(lethe_codes_alloc(&t->aux, n, t->recipe.aux_k, err));
    LETHE_TRY(lethe_alloc(&t->aux_dx, n, row, "auxiliary gradients of a batch", err));
    LETHE_TRY(lethe_alloc(&t->aux_slope, pairs, sizeof *t->aux_slope, "auxiliary slopes", err));
    LETHE_TRY(lethe_pairs_alloc(&t->aux_pairs, m, pairs, err));
    if (t->recipe.aux != LETHE_AUX_REFERENCE) return LETHE_OK;
    LETHE_TRY(lethe_alloc(&t->aux_in, n, row, "auxiliary input of a batch", err));
    return lethe_alloc(&t->dead_list, m, sizeof *t->dead_list, "list of the dead", err);
}

lethe_status lethe_trainer_open(lethe_trainer **out, lethe_sae *sae, const lethe_recipe *recipe,
                                size_t batch, uint64_t total_steps, lethe_err *err) {
    assert(sae->arch == LETHE_ARCH_TOPK && sae->norm == LETHE_NORM_NONE && !sae->raw_input);
    if (batch == 0 || batch > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "a batch of %zu tokens: want 1 to %d", batch,
                          INT32_MAX);
    lethe_trainer *t;
    LETHE_TRY(lethe_zalloc(&t, 1, sizeof *t, "a trainer", err));
    t->recipe = *recipe;
    lethe_recipe_resolve(&t->recipe, sae->d, sae->m, batch, total_steps);
    t->batch = batch;
    t->ratio = t->aux_ratio = -INFINITY;
    t->total_steps = total_steps;
    lethe_status st = lethe_sieve_alloc(&t->sieve, sae->m, sae->d, err);
    if (!st) st = alloc_params(t, sae->d, sae->m, err);
    if (!st) st = alloc_batch(t, sae->d, sae->m, sae->k, err);
    if (!st && t->recipe.aux != LETHE_AUX_NONE) st = alloc_aux(t, sae->d, sae->m, err);
    if (st) {
        lethe_trainer_close(&t);
        return st;
    }
    lethe_sieve_set_all(&t->sieve, sae->W_enc);
    t->sae = *sae;
    *sae = (lethe_sae){0};
    *out = t;
    return LETHE_OK;
}

void lethe_trainer_close(lethe_trainer **tp) {
    lethe_trainer *t = *tp;
    if (!t) return;
    lethe_sae_free(&t->sae);
    lethe_sieve_free(&t->sieve);
    lethe_pool_free(&t->scratch);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        lethe_free(t->grad[p]);
        lethe_free(t->m1[p]);
        lethe_free(t->m2[p]);
    }
    lethe_codes_free(&t->codes);
    lethe_codes_free(&t->aux);
    lethe_pairs_free(&t->pairs);
    lethe_pairs_free(&t->aux_pairs);
    void *const rest[] = {t->parts,   t->idle,   t->touched,     t->row_sumsq,
                          t->centred, t->resid,  t->dx_hat,      t->slope,
                          t->sum,     t->mean,   t->row_scratch, t->dead_bias,
                          t->aux_in,  t->aux_dx, t->aux_slope,   t->dead_list};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) lethe_free(rest[i]);
    lethe_free(t);
    *tp = NULL;
}

const lethe_sae *lethe_trainer_sae(const lethe_trainer *t) {
    return &t->sae;
}

uint64_t lethe_trainer_steps(const lethe_trainer *t) {
    return t->step;
}

lethe_encoder lethe_trainer_encoder(const lethe_trainer *t) {
    return (lethe_encoder){.sae = &t->sae, .sieve = t->sieve};
}

const lethe_select_stats *lethe_trainer_looks(const lethe_trainer *t) {
    return &t->looks;
}

size_t lethe_trainer_dead(const lethe_trainer *t) {
    size_t dead = 0;
    for (size_t j = 0; j < t->sae.m; j++) dead += lethe_latent_dead(t, j);
    return dead;
}

/* ---- one step ------------------------------------------------------------------------------- */

/* Codes of the centred batch, and with_aux those of the dead latents from the same product. */
static lethe_status forward(lethe_trainer *t, size_t n, bool with_aux, lethe_err *err) {
    const lethe_sae *s = &t->sae;
    size_t n_sel = with_aux && t->recipe.aux == LETHE_AUX_NORMALISED ? 2 : 1;
    const lethe_selection sel[2] = {{.bias = s->b_enc,
                                     .k = s->k,
                                     .index = t->codes.index,
                                     .value = t->codes.value,
                                     .ratio = &t->ratio},
                                    {.bias = t->dead_bias,
                                     .k = t->aux.k,
                                     .index = t->aux.index,
                                     .value = t->aux.value,
                                     .ratio = &t->aux_ratio}};
    const lethe_latents all = {.w = s->W_enc, .sieve = &t->sieve, .scratch = &t->scratch};
    LETHE_TRY(lethe_select(t->centred, n, &all, sel, n_sel, &t->looks, err));
    t->codes.n = n;
    lethe_relu(t->codes.value, n * s->k);
    return LETHE_OK;
}

/* dx_hat = scale (x^ - x), token by token, and with_resid resid = x^ - x; with_slopes the slopes
 * too, while the decoder's rows are still in the cache. Returns the sum of all (x^ - x)^2. */
static double reconstruct(lethe_trainer *t, const float *x, size_t n, float scale, bool with_resid,
                          bool with_slopes) {
    const lethe_kernels *kern = lethe_kernels_get();
    const lethe_sae *s = &t->sae;
    size_t d = s->d, k = s->k;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n; i++) {
        float *g = t->dx_hat + i * d, *r = with_resid ? t->resid + i * d : g;
        const int32_t *index = t->codes.index + i * k;
        const float *value = t->codes.value + i * k;
        size_t fired = lethe_fired(value, k);
        memcpy(r, s->b_dec, d * sizeof *r);
        kern->gather_sum(r, d, s->W_dec, d, index, value, fired, (n - i) * k - fired);
        for (size_t c = 0; c < d; c++) r[c] -= x[i * d + c];
        t->row_scratch[i] = kern->sumsq(r, d);
        for (size_t c = 0; c < d; c++) g[c] = scale * r[c];
        if (with_slopes) lethe_token_slopes(s, index, fired, k, g, t->slope + i * k);
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += t->row_scratch[i];
    return sum;
}

lethe_status lethe_trainer_gradients(lethe_trainer *t, const float *x, size_t n, bool project,
                                     lethe_step_stats *stats, lethe_err *err) {
    assert(n > 0 && n <= t->batch);
    size_t d = t->sae.d;
    *stats = (lethe_step_stats){0};
    bool with_aux = lethe_aux_begin(t);
    stats->dead = t->dead;
    double elements = (double)n * (double)d;
    double variance = lethe_rows_centre(t->centred, x, n, d, t->sae.b_dec, t->sum);
    LETHE_TRY(forward(t, n, with_aux, err));

    /* A batch without variance (a single token) falls back to the plain mean. */
    bool normalise = t->recipe.aux == LETHE_AUX_NORMALISED && variance > 0;
    /* The reference's auxiliary loss still changes dx_hat, so its slopes come there. */
    bool late = with_aux && t->recipe.aux == LETHE_AUX_REFERENCE;
    late |= lethe_slopes_by_latent(t, n);
    double error =
        reconstruct(t, x, n, (float)(2 / (normalise ? variance : elements)), with_aux, !late);
    stats->recon_loss = error / elements;
    stats->fvu = variance > 0 ? error / variance : 0;
    stats->l0 = lethe_codes_l0(&t->codes);
    stats->total_loss = normalise ? stats->fvu : stats->recon_loss;

    if (with_aux) {
        LETHE_TRY(lethe_aux_loss(t, n, &stats->aux_loss, err));
        stats->total_loss += t->recipe.aux_coef * stats->aux_loss;
    }
    stats->skipped = !isfinite(stats->total_loss);
    if (stats->skipped) return LETHE_OK;
    stats->grad_norm = lethe_backward(t, n, with_aux, project);
    stats->skipped = !isfinite(stats->grad_norm);
    return LETHE_OK;
}

static void count_idle(lethe_trainer *t, size_t n) {
    uint64_t more = t->recipe.dead_in_tokens ? n : 1;
    for (size_t j = 0; j < t->sae.m; j++)
        t->idle[j] = t->pairs.start[j] < t->pairs.start[j + 1] ? 0 : t->idle[j] + more;
}

lethe_status lethe_trainer_step(lethe_trainer *t, const float *x, size_t n, lethe_step_stats *stats,
                                lethe_err *err) {
    LETHE_TRY(lethe_trainer_gradients(t, x, n, true, stats, err));
    stats->lr = lethe_recipe_lr(&t->recipe, t->step, t->total_steps);
    if (!stats->skipped) {
        lethe_update(t, lethe_clip_scale(stats->grad_norm, t->recipe.clip), stats->lr);
        count_idle(t, n);
    }
    t->step++;
    return LETHE_OK;
}
