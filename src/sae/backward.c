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
 * Each row of a gradient belongs to one thread, which adds the row's pairs in the order of tokens:
 * latent by latent, or where there are many pairs a latent in strips of columns, many latents in a
 * sweep. Nothing but the time depends on that.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "kernel/kernel.h"
#include "sae/rows.h"
#include "sae/trainer_internal.h"

/* More parts of the tokens than this are not counted apart: each needs a counter a latent. */
#define MOST_PARTS 16

lethe_status lethe_pairs_alloc(lethe_pairs *p, size_t m, size_t cap, lethe_err *err) {
    size_t threads = (size_t)lethe_threads();
    p->parts = threads < MOST_PARTS ? threads : MOST_PARTS;
    LETHE_TRY(lethe_alloc(&p->count, m, p->parts * sizeof *p->count, "pairs by latent", err));
    LETHE_TRY(lethe_zalloc(&p->start, m + 1, sizeof *p->start, "pairs by latent", err));
    LETHE_TRY(lethe_alloc(&p->token, cap, sizeof *p->token, "pairs by latent", err));
    LETHE_TRY(lethe_alloc(&p->value, cap, sizeof *p->value, "pairs by latent", err));
    return lethe_alloc(&p->slope, cap, sizeof *p->slope, "pairs by latent", err);
}

void lethe_pairs_free(lethe_pairs *p) {
    lethe_free(p->count);
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

/* A counting sort; slope NULL: those come later. The tokens are shared out in parts, and within a
 * latent those of an earlier part come first, so that they stay in order, whatever the number of
 * parts. */
static void sort_pairs(lethe_pairs *p, const lethe_codes *codes, const float *slope, size_t n,
                       size_t m) {
    const size_t k = codes->k, parts = p->parts;
#pragma omp parallel num_threads(lethe_threads())
    {
#pragma omp for schedule(static)
        for (size_t part = 0; part < parts; part++) {
            size_t *count = p->count + part * m;
            memset(count, 0, m * sizeof *count);
            for (size_t t = part * n / parts; t < (part + 1) * n / parts; t++) {
                const int32_t *index = codes->index + t * k;
                size_t fired = lethe_fired(codes->value + t * k, k);
                for (size_t i = 0; i < fired; i++) count[index[i]]++;
            }
        }
#pragma omp single
        {
            size_t at = 0;
            for (size_t j = 0; j < m; j++) {
                p->start[j] = at;
                for (size_t part = 0; part < parts; part++) {
                    size_t here = p->count[part * m + j];
                    p->count[part * m + j] = at; /* where the part's next pair goes */
                    at += here;
                }
            }
            p->start[m] = at;
        }
#pragma omp for schedule(static)
        for (size_t part = 0; part < parts; part++) {
            size_t *next = p->count + part * m;
            for (size_t t = part * n / parts; t < (part + 1) * n / parts; t++) {
                size_t fired = lethe_fired(codes->value + t * k, k);
                for (size_t i = t * k; i < t * k + fired; i++) {
                    size_t at = next[codes->index[i]]++;
                    p->token[at] = (int32_t)t;
                    p->value[at] = codes->value[i];
                    if (slope) p->slope[at] = slope[i];
                }
            }
        }
    }
}

/* Columns of a strip: those of all tokens of a batch fit a cache where whole rows do not. */
#define STRIP 128

/* The latents whose rows are added up together, and how. */
typedef struct sweep {
    size_t first, end, strip; /* latents first .. end - 1, columns at a time */
    bool by_latent;           /* one, and its slopes too */
    bool with_aux, project;
} sweep;

/* Rows j of g [m, d] += sum over the pairs of latent j of coef * row of its token; begin: those of
 * touched latents begin with zero. */
static void add_pairs(const lethe_trainer *t, const sweep *w, float *g, const float *rows,
                      const lethe_pairs *p, const float *coef, bool begin) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d, all = p->start[t->sae.m];
    for (size_t at = 0; at < d; at += w->strip) {
        size_t width = d - at < w->strip ? d - at : w->strip;
        for (size_t j = w->first; j < w->end; j++) {
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

/* What is left of a latent when its rows are added up. */
static void finish_latent(lethe_trainer *t, const sweep *w, size_t j) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d;
    float *g_enc = t->grad[LETHE_W_ENC] + j * d, *g_dec = t->grad[LETHE_W_DEC] + j * d;
    t->grad[LETHE_B_ENC][j] = 0.0f;
    t->row_sumsq[j] = 0;
    if (!t->touched[j]) return;
    double b = sum_slopes(&t->pairs, j);
    if (w->with_aux) b += sum_slopes(&t->aux_pairs, j);
    t->grad[LETHE_B_ENC][j] = (float)b;
    if (w->project) lethe_project_row(g_dec, t->sae.W_dec + j * d, d);
    t->row_sumsq[j] = kern->sumsq(g_enc, d) + kern->sumsq(g_dec, d) + b * b;
}

/* Latents whose share of db_dec is added up in float, block by block; the blocks in double. */
#define BLOCK 64

size_t lethe_backward_blocks(size_t m) {
    return (m + BLOCK - 1) / BLOCK;
}

static bool has_pairs(const lethe_pairs *p, size_t j) {
    return p->start[j] < p->start[j + 1];
}

/* Of one latent's pairs, whose rows of dx_hat are wanted right afterwards. */
static void latent_slopes(lethe_trainer *t, size_t j) {
    lethe_pairs *p = &t->pairs;
    size_t d = t->sae.d, first = p->start[j];
    lethe_kernels_get()->gather_dot(p->slope + first, d, t->sae.W_dec + j * d, t->dx_hat,
                                    p->token + first, p->start[j + 1] - first);
}

/* The rows of a sweep, and for each block of latents part [d] = the sum of db_enc[j] W_enc[j]. */
static void add_up(lethe_trainer *t, const sweep *w) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = t->sae.d;
    for (size_t j = w->first; j < w->end; j++)
        t->touched[j] = has_pairs(&t->pairs, j) || (w->with_aux && has_pairs(&t->aux_pairs, j));
    if (w->by_latent) latent_slopes(t, w->first);
    float *g_enc = t->grad[LETHE_W_ENC], *g_dec = t->grad[LETHE_W_DEC];
    add_pairs(t, w, g_dec, t->dx_hat, &t->pairs, t->pairs.value, true);
    add_pairs(t, w, g_enc, t->centred, &t->pairs, t->pairs.slope, true);
    if (w->with_aux) {
        const float *in = t->aux_in ? t->aux_in : t->centred;
        add_pairs(t, w, g_dec, t->aux_dx, &t->aux_pairs, t->aux_pairs.value, false);
        add_pairs(t, w, g_enc, in, &t->aux_pairs, t->aux_pairs.slope, false);
    }
    for (size_t j = w->first; j < w->end; j++) {
        float *part = t->parts + j / BLOCK * d;
        if (j % BLOCK == 0) memset(part, 0, d * sizeof *part);
        finish_latent(t, w, j);
        float b = t->grad[LETHE_B_ENC][j];
        if (b != 0.0f) kern->axpy(part, b, t->sae.W_enc + j * d, d);
    }
}

/* Blocks of latents that a thread adds up together, or 1: latent by latent. With many pairs a
 * latent a strip of all tokens is read often in one sweep over many latents. Few: a row had better
 * be finished before it leaves the cache, and so had the tokens' rows of dx_hat, which its slopes
 * and its gradient both want. */
static size_t blocks_of_sweep(const lethe_trainer *t, size_t n) {
    size_t tasks = 4 * (size_t)lethe_threads(); /* for threads that are not equally fast */
    size_t blocks = lethe_backward_blocks(t->sae.m);
    if (n * t->sae.k < 16 * t->sae.m || blocks < 2 * tasks) return 1;
    return blocks / tasks < 32 ? blocks / tasks : 32;
}

bool lethe_slopes_by_latent(const lethe_trainer *t, size_t n) {
    return blocks_of_sweep(t, n) == 1;
}

/* Blocks first .. end - 1. */
static void backward_blocks(lethe_trainer *t, size_t first, size_t end, bool by_latent,
                            bool with_aux, bool project) {
    size_t m = t->sae.m, from = first * BLOCK, to = end * BLOCK < m ? end * BLOCK : m;
    size_t step = by_latent ? 1 : to - from;
    for (size_t j = from; j < to; j += step) {
        const sweep w = {.first = j,
                         .end = j + step,
                         .strip = by_latent ? t->sae.d : STRIP,
                         .by_latent = by_latent,
                         .with_aux = with_aux,
                         .project = project};
        add_up(t, &w);
    }
}

double lethe_backward(lethe_trainer *t, size_t n, bool with_aux, bool project) {
    size_t d = t->sae.d, m = t->sae.m, blocks = lethe_backward_blocks(m);
    size_t together = blocks_of_sweep(t, n);
    sort_pairs(&t->pairs, &t->codes, together > 1 ? t->slope : NULL, n, m);
    if (with_aux) sort_pairs(&t->aux_pairs, &t->aux, t->aux_slope, n, m);
#pragma omp parallel for num_threads(lethe_threads()) schedule(dynamic)
    for (size_t b = 0; b < blocks; b += together)
        backward_blocks(t, b, b + together < blocks ? b + together : blocks, together == 1,
                        with_aux, project);

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
