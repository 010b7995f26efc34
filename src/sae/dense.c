/* SPDX-License-Identifier: MIT */
#include "sae/dense.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/gemm.h"
#include "kernel/kernel.h"
#include "kernel/topk.h"
#include "sae/rows.h"
#include "sae/trainer_internal.h"

struct lethe_dense {
    lethe_sae sae;
    lethe_recipe recipe; /* resolved */
    size_t batch;
    uint64_t total_steps, step, updates;
    float *grad[LETHE_PARAM_COUNT], *m1[LETHE_PARAM_COUNT], *m2[LETHE_PARAM_COUNT];
    uint64_t *idle; /* [m] steps or tokens since a latent fired */

    float *a;         /* [n, m] pre-activations, later dL/da */
    float *z, *aux_z; /* [n, m] */
    float *centred, *resid, *dx,
        *d_in;              /* [n, d] x - b_dec, x^ - x, dL/dx^, dL/d(encoder's input) */
    float *aux_in, *aux_dx; /* [n, d] the auxiliary encoder's input, dL/de^ */
    float *dead_bias;       /* [m] b_enc of dead latents, -infinity for live ones */
    float *mean;            /* [d] */
    double *sum;            /* [the larger of d and m] */
    double *row_scratch;    /* [the larger of n and m] */
    lethe_codes codes, aux_codes;
    uint64_t *key; /* [threads, largest k] */
    size_t key_cap, threads;
};

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

/* ---- memory --------------------------------------------------------------------------------- */

static lethe_status alloc_state(lethe_dense *t, size_t d, size_t m, lethe_err *err) {
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        size_t rows = lethe_param_rows(p, d, m), bytes = lethe_param_cols(p, d, m) * sizeof(float);
        LETHE_TRY(lethe_alloc(&t->grad[p], rows, bytes, "gradients", err));
        LETHE_TRY(lethe_zalloc(&t->m1[p], rows, bytes, "Adam's first moments", err));
        LETHE_TRY(lethe_zalloc(&t->m2[p], rows, bytes, "Adam's second moments", err));
    }
    return lethe_zalloc(&t->idle, m, sizeof *t->idle, "idle counters", err);
}

static lethe_status alloc_batch(lethe_dense *t, size_t d, size_t m, size_t k, lethe_err *err) {
    size_t n = t->batch, aux_k = t->recipe.aux == LETHE_AUX_NONE ? 0 : t->recipe.aux_k;
    float **const narrow[] = {&t->centred, &t->resid, &t->dx, &t->d_in, &t->aux_in, &t->aux_dx};
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
        LETHE_TRY(lethe_alloc(narrow[i], n, d * sizeof(float), "a dense batch", err));
    LETHE_TRY(lethe_alloc(&t->a, n, m * sizeof *t->a, "dense pre-activations", err));
    LETHE_TRY(lethe_alloc(&t->z, n, m * sizeof *t->z, "dense codes", err));
    if (aux_k) LETHE_TRY(lethe_alloc(&t->aux_z, n, m * sizeof *t->z, "dense codes", err));
    LETHE_TRY(lethe_codes_alloc(&t->codes, n, k, err));
    LETHE_TRY(lethe_codes_alloc(&t->aux_codes, n, aux_k ? aux_k : 1, err));
    LETHE_TRY(lethe_alloc(&t->dead_bias, m, sizeof *t->dead_bias, "biases of the dead", err));
    LETHE_TRY(lethe_alloc(&t->mean, d, sizeof *t->mean, "a mean", err));
    LETHE_TRY(lethe_alloc(&t->sum, max_size(d, m), sizeof *t->sum, "a sum", err));
    LETHE_TRY(
        lethe_alloc(&t->row_scratch, max_size(n, m), sizeof *t->row_scratch, "sums of rows", err));
    t->threads = (size_t)lethe_threads();
    t->key_cap = max_size(k, aux_k);
    return lethe_alloc(&t->key, t->threads, t->key_cap * sizeof *t->key, "keys", err);
}

lethe_status lethe_dense_open(lethe_dense **out, lethe_sae *sae, const lethe_recipe *recipe,
                              size_t batch, uint64_t total_steps, lethe_err *err) {
    assert(sae->arch == LETHE_ARCH_TOPK && sae->norm == LETHE_NORM_NONE && !sae->raw_input);
    if (batch == 0 || batch > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "a batch of %zu tokens: want 1 to %d", batch,
                          INT32_MAX);
    lethe_dense *t;
    LETHE_TRY(lethe_zalloc(&t, 1, sizeof *t, "a dense trainer", err));
    t->recipe = *recipe;
    lethe_recipe_resolve(&t->recipe, sae->d, sae->m, batch, total_steps);
    t->batch = batch;
    t->total_steps = total_steps;
    lethe_status st = alloc_state(t, sae->d, sae->m, err);
    if (!st) st = alloc_batch(t, sae->d, sae->m, sae->k, err);
    if (st) {
        lethe_dense_close(&t);
        return st;
    }
    t->sae = *sae;
    *sae = (lethe_sae){0};
    *out = t;
    return LETHE_OK;
}

void lethe_dense_close(lethe_dense **tp) {
    lethe_dense *t = *tp;
    if (!t) return;
    lethe_sae_free(&t->sae);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        lethe_free(t->grad[p]);
        lethe_free(t->m1[p]);
        lethe_free(t->m2[p]);
    }
    lethe_codes_free(&t->codes);
    lethe_codes_free(&t->aux_codes);
    void *const rest[] = {t->idle,      t->a,    t->z,    t->aux_z,       t->centred,
                          t->resid,     t->dx,   t->d_in, t->aux_in,      t->aux_dx,
                          t->dead_bias, t->mean, t->sum,  t->row_scratch, t->key};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) lethe_free(rest[i]);
    lethe_free(t);
    *tp = NULL;
}

const lethe_sae *lethe_dense_sae(const lethe_dense *t) {
    return &t->sae;
}

/* ---- dead latents --------------------------------------------------------------------------- */

static void hold_dead(const lethe_recipe *r, uint64_t *idle, size_t n, uint64_t *step) {
    double after = 2 * r->dead_after;
    uint64_t long_ago = after > 2000 ? (uint64_t)after : 2000;
    for (size_t j = 0; j < n; j++) idle[j] = long_ago;
    if (n && *step < r->aux_start) *step = r->aux_start;
}

void lethe_dense_hold_dead(lethe_dense *t, size_t n) {
    assert(n <= t->sae.m);
    hold_dead(&t->recipe, t->idle, n, &t->step);
}

void lethe_trainer_hold_dead(lethe_trainer *t, size_t n) {
    assert(n <= t->sae.m);
    hold_dead(&t->recipe, t->idle, n, &t->step);
}

static bool aux_begin(lethe_dense *t, size_t *dead) {
    *dead = 0;
    for (size_t j = 0; j < t->sae.m; j++) {
        bool is = (double)t->idle[j] > t->recipe.dead_after;
        *dead += is;
        t->dead_bias[j] = is ? t->sae.b_enc[j] : -INFINITY;
    }
    if (t->recipe.aux == LETHE_AUX_NONE || *dead == 0 || t->step < t->recipe.aux_start)
        return false;
    t->aux_codes.k = t->recipe.aux_k < *dead ? t->recipe.aux_k : *dead;
    return true;
}

/* ---- one step ------------------------------------------------------------------------------- */

/* The k largest of a + bias [m]. Blocks that hold nothing above the threshold are passed over, by a
 * loop that a compiler can vectorise. */
static void top_row(lethe_topk *top, const float *a, const float *bias, size_t m) {
    enum { BLOCK = 64 };
    for (size_t at = 0; at < m; at += BLOCK) {
        size_t end = m - at < BLOCK ? m : at + BLOCK;
        int any = 0;
        for (size_t j = at; j < end; j++) any |= a[j] + bias[j] > top->threshold;
        for (size_t j = at; j < end && any; j++)
            if (a[j] + bias[j] > top->threshold) lethe_topk_offer(top, a[j] + bias[j], (uint32_t)j);
    }
}

/* z [n, m] = ReLU(TopK(a + bias, codes->k)), and the same as codes. */
static void top_rows(lethe_dense *t, size_t n, const float *bias, float *z, lethe_codes *codes) {
    size_t m = t->sae.m, k = codes->k;
    codes->n = n;
#pragma omp parallel for num_threads((int)t->threads) schedule(static)
    for (size_t i = 0; i < n; i++) {
        size_t me = (size_t)omp_get_thread_num();
        int32_t *index = codes->index + i * k;
        float *value = codes->value + i * k, *row = z + i * m;
        lethe_topk top;
        lethe_topk_begin(&top, k, t->key + me * t->key_cap);
        top_row(&top, t->a + i * m, bias, m);
        lethe_topk_end(&top, NULL, m, index, value);
        lethe_relu(value, k);
        memset(row, 0, m * sizeof *row);
        for (size_t s = 0; s < k; s++) row[index[s]] = value[s];
    }
}

/* Gradients of one pass through encoder and decoder, added to those that are there (first: in their
 * place): g = dL/d(decoder's output) [n, d], in = the encoder's input [n, d]. t->d_in = dL/din. */
static lethe_status backward(lethe_dense *t, size_t n, const float *z, const float *g,
                             const float *in, bool first, lethe_err *err) {
    const lethe_sae *s = &t->sae;
    size_t d = s->d, m = s->m;
    float beta = first ? 0.0f : 1.0f, *b_enc = t->grad[LETHE_B_ENC], *b_dec = t->grad[LETHE_B_DEC];
    LETHE_TRY(lethe_gemm(LETHE_GEMM_NT, n, m, d, g, s->W_dec, 0, t->a, err));
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n * m; i++) t->a[i] = z[i] > 0.0f ? t->a[i] : 0.0f;
    LETHE_TRY(lethe_gemm(LETHE_GEMM_TN, m, d, n, z, g, beta, t->grad[LETHE_W_DEC], err));
    LETHE_TRY(lethe_gemm(LETHE_GEMM_TN, m, d, n, t->a, in, beta, t->grad[LETHE_W_ENC], err));
    LETHE_TRY(lethe_gemm(LETHE_GEMM_NN, n, d, m, t->a, s->W_enc, 0, t->d_in, err));
    lethe_rows_sum(t->sum, t->a, n, m, NULL);
    for (size_t j = 0; j < m; j++) b_enc[j] = (first ? 0.0f : b_enc[j]) + (float)t->sum[j];
    lethe_rows_sum(t->sum, t->d_in, n, d, NULL);
    for (size_t i = 0; i < d; i++) b_dec[i] = (first ? 0.0f : b_dec[i]) - (float)t->sum[i];
    return LETHE_OK;
}

/* The auxiliary loss and its gradients; the formulas are those of aux.c. */
static lethe_status auxiliary(lethe_dense *t, size_t n, double *loss, lethe_err *err) {
    const lethe_sae *s = &t->sae;
    size_t d = s->d, m = s->m;
    double norm = (double)n * (double)d;
    const float *in = t->centred;
    if (t->recipe.aux == LETHE_AUX_REFERENCE) {
        in = t->aux_in;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < d; c++)
                t->aux_in[i * d + c] = -t->resid[i * d + c] - s->b_dec[c];
        LETHE_TRY(lethe_gemm(LETHE_GEMM_NT, n, m, d, in, s->W_enc, 0, t->a, err));
    } else {
        norm = lethe_rows_spread(t->resid, n, d, t->mean, t->sum, t->row_scratch);
    }
    top_rows(t, n, t->dead_bias, t->aux_z, &t->aux_codes);
    float *e_hat = t->aux_dx;
    LETHE_TRY(lethe_gemm(LETHE_GEMM_NN, n, d, m, t->aux_z, s->W_dec, 0, e_hat, err));
    float scale = lethe_aux_scale(norm, t->recipe.aux_coef);
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n; i++)
        t->row_scratch[i] = lethe_aux_row(e_hat + i * d, t->resid + i * d, d, scale);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += t->row_scratch[i];
    *loss = norm > 0 ? sum / norm : 0;
    LETHE_TRY(backward(t, n, t->aux_z, e_hat, in, true, err));
    if (t->recipe.aux != LETHE_AUX_REFERENCE) return LETHE_OK;
        /* e = x - x^: what reached the encoder's input goes on into x^. */
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n * d; i++) t->dx[i] -= t->d_in[i];
    return LETHE_OK;
}

static void project(lethe_dense *t) {
    size_t d = t->sae.d;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t j = 0; j < t->sae.m; j++)
        lethe_project_row(t->grad[LETHE_W_DEC] + j * d, t->sae.W_dec + j * d, d);
}

static lethe_status gradients(lethe_dense *t, const float *x, size_t n, lethe_step_stats *stats,
                              lethe_err *err) {
    const lethe_sae *s = &t->sae;
    size_t d = s->d, m = s->m;
    bool with_aux = aux_begin(t, &stats->dead);
    lethe_rows_sub(t->centred, x, n, d, s->b_dec);
    LETHE_TRY(lethe_gemm(LETHE_GEMM_NT, n, m, d, t->centred, s->W_enc, 0, t->a, err));
    top_rows(t, n, s->b_enc, t->z, &t->codes);
    LETHE_TRY(lethe_gemm(LETHE_GEMM_NN, n, d, m, t->z, s->W_dec, 0, t->resid, err));
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < d; c++) t->resid[i * d + c] += s->b_dec[c] - x[i * d + c];

    double elements = (double)n * (double)d;
    double error = lethe_rows_sumsq(t->resid, n, d, NULL, t->row_scratch);
    double variance = lethe_rows_spread(x, n, d, t->mean, t->sum, t->row_scratch);
    stats->recon_loss = error / elements;
    stats->fvu = variance > 0 ? error / variance : 0;
    stats->l0 = lethe_codes_l0(&t->codes);
    bool normalise = t->recipe.aux == LETHE_AUX_NORMALISED && variance > 0;
    stats->total_loss = normalise ? stats->fvu : stats->recon_loss;
    float scale = (float)(2 / (normalise ? variance : elements));
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t i = 0; i < n * d; i++) t->dx[i] = scale * t->resid[i];

    if (with_aux) {
        LETHE_TRY(auxiliary(t, n, &stats->aux_loss, err));
        stats->total_loss += t->recipe.aux_coef * stats->aux_loss;
    }
    LETHE_TRY(backward(t, n, t->z, t->dx, t->centred, !with_aux, err));
    lethe_rows_sum(t->sum, t->dx, n, d, NULL);
    for (size_t i = 0; i < d; i++) t->grad[LETHE_B_DEC][i] += (float)t->sum[i];
    project(t);
    double total = 0;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        total += lethe_rows_sumsq(t->grad[p], lethe_param_rows(p, d, m), lethe_param_cols(p, d, m),
                                  NULL, t->row_scratch);
    stats->grad_norm = sqrt(total);
    stats->skipped = !isfinite(stats->total_loss) || !isfinite(stats->grad_norm);
    return LETHE_OK;
}

static void update(lethe_dense *t, double grad_scale, double lr) {
    const lethe_adam c = lethe_adam_at(&t->recipe, ++t->updates, grad_scale, lr);
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d, m = t->sae.m;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        float *param = *lethe_param_slot(&t->sae, p);
        size_t rows = lethe_param_rows(p, d, m), cols = lethe_param_cols(p, d, m);
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
        for (size_t j = 0; j < rows; j++)
            kern->adam(param + j * cols, t->m1[p] + j * cols, t->m2[p] + j * cols,
                       t->grad[p] + j * cols, cols, &c);
    }
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t j = 0; j < m; j++) lethe_row_normalise(t->sae.W_dec + j * d, d);
}

static void count_idle(lethe_dense *t, size_t n) {
    uint64_t more = t->recipe.dead_in_tokens ? n : 1;
    for (size_t j = 0; j < t->sae.m; j++) t->idle[j] += more;
    for (size_t i = 0; i < n * t->codes.k; i++)
        if (t->codes.value[i] > 0.0f) t->idle[t->codes.index[i]] = 0;
}

lethe_status lethe_dense_step(lethe_dense *t, const float *x, size_t n, lethe_step_stats *stats,
                              lethe_err *err) {
    assert(n > 0 && n <= t->batch);
    *stats = (lethe_step_stats){0};
    LETHE_TRY(gradients(t, x, n, stats, err));
    stats->lr = lethe_recipe_lr(&t->recipe, t->step, t->total_steps);
    if (!stats->skipped) {
        update(t, lethe_clip_scale(stats->grad_norm, t->recipe.clip), stats->lr);
        count_idle(t, n);
    }
    t->step++;
    return LETHE_OK;
}
