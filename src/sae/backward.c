/* SPDX-License-Identifier: MIT
 *
 * Gradients, by hand and only over the latents that fired. With g = dL/dx^ [n, d], z the codes and
 * s = dL/da (the slopes):
 *     s[t, j]    = g[t] . W_dec[j]        where z[t, j] > 0, else 0
 *     dW_dec[j]  = sum over t of z[t, j] g[t]
 *     dW_enc[j]  = sum over t of s[t, j] (x[t] - b_dec)
 *     db_enc[j]  = sum over t of s[t, j]
 *     db_dec     = sum over t of g[t]  -  sum over j of db_enc[j] W_enc[j]
 * The auxiliary codes add the same sums with their own g, and nothing to the first term of db_dec,
 * because they are decoded without b_dec.
 *
 * Each row of a gradient belongs to one thread, which adds the row's pairs in the order of tokens.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "kernel/kernel.h"
#include "sae/rows.h"
#include "sae/trainer_internal.h"

lethe_status lethe_pairs_alloc(lethe_pairs *p, size_t m, size_t cap, lethe_err *err) {
    LETHE_TRY(lethe_zalloc(&p->start, m + 1, sizeof *p->start, "pairs by latent", err));
    LETHE_TRY(lethe_alloc(&p->token, cap, sizeof *p->token, "pairs by latent", err));
    LETHE_TRY(lethe_alloc(&p->value, cap, sizeof *p->value, "pairs by latent", err));
    return lethe_alloc(&p->slope, cap, sizeof *p->slope, "pairs by latent", err);
}

void lethe_pairs_free(lethe_pairs *p) {
    lethe_free(p->start);
    lethe_free(p->token);
    lethe_free(p->value);
    lethe_free(p->slope);
    *p = (lethe_pairs){0};
}

void lethe_token_slopes(const lethe_sae *sae, const int32_t *index, size_t fired, size_t k,
                        const float *dx, float *slope) {
    lethe_kernels_get()->gather_dot(slope, sae->d, dx, sae->W_dec, index, fired);
    for (size_t i = fired; i < k; i++) slope[i] = 0.0f;
}

/* A counting sort; tokens come in order, so they stay in order within a latent. Every thread reads
 * all codes, and counts and places those of its own latents. */
static void sort_pairs(lethe_pairs *p, const lethe_codes *codes, const float *slope, size_t n,
                       size_t m) {
    size_t *start = p->start, count = n * codes->k;
    memset(start, 0, (m + 1) * sizeof *start);
#pragma omp parallel num_threads(lethe_threads())
    {
        size_t me = (size_t)omp_get_thread_num(), all = (size_t)omp_get_num_threads();
        int32_t first = (int32_t)(me * m / all), end = (int32_t)((me + 1) * m / all);
        for (size_t i = 0; i < count; i++) {
            int32_t j = codes->index[i];
            if (j >= first && j < end && codes->value[i] > 0.0f) start[j + 1]++;
        }
#pragma omp barrier
#pragma omp single
        for (size_t j = 0; j < m; j++) start[j + 1] += start[j];
        /* start[j] runs ahead while latent j is filled and ends at start[j + 1]. */
        for (size_t i = 0; i < count; i++) {
            int32_t j = codes->index[i];
            if (!(j >= first && j < end && codes->value[i] > 0.0f)) continue;
            size_t at = start[j]++;
            p->token[at] = (int32_t)(i / codes->k);
            p->value[at] = codes->value[i];
            p->slope[at] = slope[i];
        }
    }
    memmove(start + 1, start, m * sizeof *start);
    start[0] = 0;
}

/* Columns of a strip: those of all tokens of a batch fit a cache where whole rows do not. */
#define STRIP 128

/* Rows j of g [m, d] += sum over the pairs of latent j of coef * row of its token, for latents
 * first .. end - 1 and strip by strip; begin: those of touched latents begin with zero. */
static void add_pairs(const lethe_trainer *t, float *g, const float *rows, const lethe_pairs *p,
                      const float *coef, size_t first, size_t end, bool begin) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d, all = p->start[t->sae.m];
    for (size_t at = 0; at < d; at += STRIP) {
        size_t width = d - at < STRIP ? d - at : STRIP;
        for (size_t j = first; j < end; j++) {
            size_t pair = p->start[j], next = p->start[j + 1];
            float *out = g + j * d + at;
            if (begin && t->touched[j]) memset(out, 0, width * sizeof *out);
            if (pair == next) continue;
            kern->gather_sum(out, width, rows + at, d, p->token + pair, coef + pair, next - pair,
                             all - next);
        }
    }
}

static double sum_slopes(const lethe_pairs *p, size_t j) {
    double sum = 0;
    for (size_t i = p->start[j]; i < p->start[j + 1]; i++) sum += (double)p->slope[i];
    return sum;
}

void lethe_project_row(float *g, const float *w, size_t d) {
    const lethe_kernels *kern = lethe_kernels_get();
    double norm = fmax(sqrt(kern->sumsq(w, d)), 1e-12);
    kern->axpy(g, (float)(-(double)kern->dot(g, w, d) / (norm * norm)), w, d);
}

static bool has_pairs(const lethe_pairs *p, size_t j) {
    return p->start[j] < p->start[j + 1];
}

/* What is left of a latent when its rows are added up. */
static void finish_latent(lethe_trainer *t, size_t j, bool with_aux, bool project) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d;
    float *g_enc = t->grad[LETHE_W_ENC] + j * d, *g_dec = t->grad[LETHE_W_DEC] + j * d;
    t->grad[LETHE_B_ENC][j] = 0.0f;
    t->row_sumsq[j] = 0;
    if (!t->touched[j]) return;
    double b = sum_slopes(&t->pairs, j);
    if (with_aux) b += sum_slopes(&t->aux_pairs, j);
    t->grad[LETHE_B_ENC][j] = (float)b;
    if (project) lethe_project_row(g_dec, t->sae.W_dec + j * d, d);
    t->row_sumsq[j] = kern->sumsq(g_enc, d) + kern->sumsq(g_dec, d) + b * b;
}

/* Latents whose share of db_dec is added up in float, block by block; the blocks in double. */
#define BLOCK 64

size_t lethe_backward_blocks(size_t m) {
    return (m + BLOCK - 1) / BLOCK;
}

/* A block of latents, and part [d] = the sum over them of db_enc[j] W_enc[j]. */
static void finish_block(lethe_trainer *t, size_t block, bool with_aux, bool project) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d, end = (block + 1) * BLOCK < t->sae.m ? (block + 1) * BLOCK : t->sae.m;
    float *part = t->parts + block * d;
    memset(part, 0, d * sizeof *part);
    for (size_t j = block * BLOCK; j < end; j++) {
        finish_latent(t, j, with_aux, project);
        float b = t->grad[LETHE_B_ENC][j];
        if (b != 0.0f) kern->axpy(part, b, t->sae.W_enc + j * d, d);
    }
}

/* Blocks first .. end - 1. */
static void backward_blocks(lethe_trainer *t, size_t first, size_t end, bool with_aux,
                            bool project) {
    size_t m = t->sae.m, from = first * BLOCK, to = end * BLOCK < m ? end * BLOCK : m;
    for (size_t j = from; j < to; j++)
        t->touched[j] = has_pairs(&t->pairs, j) || (with_aux && has_pairs(&t->aux_pairs, j));
    float *g_enc = t->grad[LETHE_W_ENC], *g_dec = t->grad[LETHE_W_DEC];
    add_pairs(t, g_dec, t->dx_hat, &t->pairs, t->pairs.value, from, to, true);
    add_pairs(t, g_enc, t->centred, &t->pairs, t->pairs.slope, from, to, true);
    if (with_aux) {
        add_pairs(t, g_dec, t->aux_dx, &t->aux_pairs, t->aux_pairs.value, from, to, false);
        add_pairs(t, g_enc, t->aux_in ? t->aux_in : t->centred, &t->aux_pairs, t->aux_pairs.slope,
                  from, to, false);
    }
    for (size_t b = first; b < end; b++) finish_block(t, b, with_aux, project);
}

/* Blocks that a thread adds up together. Many pairs a latent: a strip of all tokens is read often
 * in one sweep over many latents. Few: a row had better be finished before it leaves the cache.
 * Nothing but the time depends on it. */
static size_t blocks_of_sweep(const lethe_trainer *t, size_t blocks) {
    size_t tasks = 4 * (size_t)lethe_threads(); /* for threads that are not equally fast */
    if (t->pairs.start[t->sae.m] < 16 * t->sae.m || blocks <= tasks) return 1;
    return blocks / tasks < 32 ? blocks / tasks : 32;
}

double lethe_backward(lethe_trainer *t, size_t n, bool with_aux, bool project) {
    size_t d = t->sae.d, m = t->sae.m, blocks = lethe_backward_blocks(m);
    sort_pairs(&t->pairs, &t->codes, t->slope, n, m);
    if (with_aux) sort_pairs(&t->aux_pairs, &t->aux, t->aux_slope, n, m);
    size_t sweep = blocks_of_sweep(t, blocks);
#pragma omp parallel for num_threads(lethe_threads()) schedule(dynamic)
    for (size_t b = 0; b < blocks; b += sweep)
        backward_blocks(t, b, b + sweep < blocks ? b + sweep : blocks, with_aux, project);

    float *g_b = t->grad[LETHE_B_DEC];
    lethe_rows_sum(t->sum, t->dx_hat, n, d, NULL);
    for (size_t i = 0; i < d; i++) g_b[i] = (float)t->sum[i];
    for (size_t i = 0; i < d; i++) {
        double sum = 0;
        for (size_t b = 0; b < blocks; b++) sum += (double)t->parts[b * d + i];
        g_b[i] -= (float)sum;
    }

    double total = lethe_kernels_get()->sumsq(g_b, d);
    for (size_t j = 0; j < m; j++) total += t->row_sumsq[j];
    return sqrt(total);
}
