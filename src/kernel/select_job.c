/* SPDX-License-Identifier: MIT
 *
 * What a call needs before anybody looks: the latents' figures by place, the outlying dimensions,
 * the sizes of tiles, and the scratch of a thread.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/run.h"
#include "kernel/select_internal.h"

/* Products smaller than this many multiply-adds are not worth waking other threads for: a token of
 * a small model while it generates. */
#define ALONE (1 << 20)

/* A tile: what its digits may take of the second-level cache, and limits. Tokens come in multiples
 * of LETHE_SIFT_TURN, latents of 16. */
#define TOKEN_BYTES (1 << 20)
#define LATENT_BYTES (3 << 17)
#define MOST_TOKENS 660
#define MOST_LATENTS 512

/* Latents at a time for closer looks. The more, the seldomer are a strip of the tokens' digits
 * fetched into the second-level cache. */
#define CLOSE_LATENTS 1024

/* One latent in WAITING_SHARE may wait for a closer look (at width 4096 one in six passes a first
 * look that has no guess, and one in thirty with a guess), within WAITING_BYTES for a tile: less
 * than gets huge pages (base/mem.c), so that of the lists only what is used is resident. */
#define WAITING_SHARE 4
#define WAITING_BYTES ((8 << 20) - 4096)

/* Fewer tokens than this say little about which dimensions are outlying, and more than the second
 * number nothing new. */
#define OUTLIERS_FROM 64
#define OUTLIERS_ASKED 512
#define OUTLYING 1.5f /* times the size of the seventeenth */

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

int lethe_select_threads(const lethe_select_job *job) {
    double work = (double)job->n * (double)job->m * (double)job->d;
    return work < ALONE ? 1 : lethe_threads();
}

/* ---- the scratch of a thread ------------------------------------------------------------------
 */

static lethe_status hits_alloc(const lethe_select_job *job, lethe_select_bench *b, lethe_err *err) {
    static const char what[] = "hits of tokens";
    size_t nt = job->tile_n, rows = nt * job->n_sel, room = job->room;
    size_t each = room + LETHE_SIFT_SLACK;
    LETHE_TRY(lethe_pool_take(job->pool, &b->hits, rows, sizeof *b->hits, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->waiting, rows, each * sizeof *b->waiting, what, err));
    for (size_t r = 0; r < rows; r++) b->hits[r] = (lethe_hits){.list = b->waiting + r * each};
    LETHE_TRY(lethe_pool_take(job->pool, &b->reach.upper, room, sizeof *b->reach.upper, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->reach.lower, room, sizeof *b->reach.lower, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->reach.spill, room, sizeof *b->reach.spill, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->todo.keep, nt, sizeof *b->todo.keep, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->todo.next, nt, sizeof *b->todo.next, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->todo.sure, nt, sizeof *b->todo.sure, what, err));
    size_t block = job->close_m * sizeof(uint32_t);
    LETHE_TRY(lethe_pool_take(job->pool, &b->todo.start, job->close_m + 1, sizeof *b->todo.start,
                              what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->todo.token, nt, block, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->todo.c, nt, block, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->todo.lo, nt, block, what, err));
    return lethe_pool_take(job->pool, &b->todo.hi, nt, sizeof *b->todo.hi, what, err);
}

lethe_status lethe_select_bench_open(const lethe_select_job *job, size_t threads,
                                     lethe_select_bench *b, lethe_err *err) {
    size_t cap = 0, k = 0;
    for (size_t s = 0; s < job->n_sel; s++) {
        cap = max_size(cap, job->cap[s]);
        k = max_size(k, job->sel[s].k);
    }
    static const char what[] = "a tile of tokens and latents";
    size_t nt = job->tile_n, nm = job->tile_m, ld = job->from->sieve->ld;
    size_t sums = job->fine ? 2 * nt : nt;
    LETHE_TRY(lethe_pool_take(job->pool, &b->hi, sums, ld, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->lo, nt, ld, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->own_lo, ld, 1, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->digits, nt, sizeof *b->digits, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->error, nt, sizeof *b->error, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->whole, nt, sizeof *b->whole, what, err));
    LETHE_TRY(
        lethe_pool_take(job->pool, &b->x_out, nt, LETHE_OUTLIERS * sizeof *b->x_out, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->rest, job->d, sizeof *b->rest, what, err));
    if (job->from->rows) LETHE_TRY(lethe_pool_take(job->pool, &b->w_hi, nm, ld, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->c, sums, nm * sizeof *b->c, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->hit, nm, sizeof *b->hit, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->bound, nt, job->n_sel * sizeof *b->bound, what, err));
    LETHE_TRY(hits_alloc(job, b, err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->sift, 1,
                              lethe_sift_scratch(nm, ld, nt, job->n_sel, job->outliers), what,
                              err));
    LETHE_TRY(lethe_pool_take(job->pool, &b->lower, cap, threads * sizeof *b->lower, what, err));
    return lethe_pool_take(job->pool, &b->key, k, LETHE_FULL_TOKENS * sizeof *b->key, what, err);
}

/* ---- the job ----------------------------------------------------------------------------------
 */

/* What belongs to the latents, in the order of their places. */
static lethe_status gather(lethe_select_job *job, lethe_err *err) {
    const lethe_sieve *sv = job->from->sieve;
    const int32_t *rows = job->from->rows;
    static const char what[] = "figures of latents";
    for (size_t s = 0; s < job->n_sel; s++) {
        LETHE_TRY(
            lethe_pool_take(job->pool, &job->bias[s], job->m, sizeof *job->bias[s], what, err));
        for (size_t i = 0; i < job->m; i++) {
            float b = job->sel[s].bias[lethe_place_row(job, i)];
            job->bias[s][i] = isfinite(b) ? b + fabsf(b) * 0x1p-19f + LETHE_SIEVE_TINY : b;
        }
    }
    job->scale = sv->scale, job->norm = sv->norm, job->err1 = sv->err1, job->sum_hi = sv->sum_hi;
    if (!rows) return LETHE_OK;
    float *scale, *norm, *err1;
    int32_t *sum;
    LETHE_TRY(lethe_pool_take(job->pool, &scale, job->m, sizeof *scale, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &norm, job->m, sizeof *norm, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &err1, job->m, sizeof *err1, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &sum, job->m, sizeof *sum, what, err));
    for (size_t i = 0; i < job->m; i++) {
        scale[i] = sv->scale[rows[i]];
        norm[i] = sv->norm[rows[i]];
        err1[i] = sv->err1[rows[i]];
        sum[i] = sv->sum_hi[rows[i]];
    }
    job->scale = scale, job->norm = norm, job->err1 = err1, job->sum_hi = sum;
    return LETHE_OK;
}

/* The dimensions whose largest size in the batch, or in every so many of its tokens, stands out:
 * larger than OUTLYING times the seventeenth largest. */
static lethe_status find_outliers(lethe_select_job *job, int threads, lethe_err *err) {
    size_t d = job->d;
    if (job->n < OUTLIERS_FROM || d <= 2 * LETHE_OUTLIERS) return LETHE_OK;
    float *most;
    LETHE_TRY(lethe_pool_take(job->pool, &most, d, sizeof *most, "sizes of dimensions", err));
    memset(most, 0, d * sizeof *most);
#pragma omp parallel num_threads(threads)
    {
        size_t me = (size_t)omp_get_thread_num(), all = (size_t)omp_get_num_threads();
        size_t first = me * d / all, end = (me + 1) * d / all;
        for (size_t t = 0; t < job->n; t += 1 + (job->n - 1) / OUTLIERS_ASKED)
            for (size_t i = first; i < end; i++) {
                float v = fabsf(job->x[t * d + i]);
                most[i] = v > most[i] ? v : most[i];
            }
    }
    float top[LETHE_OUTLIERS + 1] = {0};
    for (size_t i = 0; i < d; i++)
        for (size_t r = 0; r <= LETHE_OUTLIERS; r++)
            if (most[i] > top[r]) {
                memmove(top + r + 1, top + r, (LETHE_OUTLIERS - r) * sizeof *top);
                top[r] = most[i];
                break;
            }
    for (size_t i = 0; i < d && job->outliers < LETHE_OUTLIERS; i++)
        if (most[i] > OUTLYING * top[LETHE_OUTLIERS]) job->dim[job->outliers++] = i;
    if (!job->outliers) return LETHE_OK;
    LETHE_TRY(lethe_pool_take(job->pool, &job->w_out, job->m, job->outliers * sizeof *job->w_out,
                              "encoder columns of outlying dimensions", err));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < job->m; i++)
        for (size_t o = 0; o < job->outliers; o++)
            job->w_out[o * job->m + i] = job->from->w[lethe_place_row(job, i) * d + job->dim[o]];
    return LETHE_OK;
}

lethe_status lethe_select_job_open(lethe_select_job *job, int threads, lethe_err *err) {
    size_t n = job->n, ld = job->from->sieve->ld;
    job->tile_n =
        min_size(n, min_size(MOST_TOKENS,
                             max_size(1, TOKEN_BYTES / ld / LETHE_SIFT_TURN) * LETHE_SIFT_TURN));
    job->tile_m = min_size(MOST_LATENTS, max_size(1, LATENT_BYTES / ld / 16) * 16);
    job->close_m = max_size(job->tile_m, CLOSE_LATENTS);
    job->fine = n < LETHE_FEW_TO_LOOK;
    size_t more = 0;
    for (size_t s = 0; s < job->n_sel; s++) {
        job->cap[s] = 4 * job->sel[s].k + 256;
        more += 8 * job->sel[s].k;
    }
    size_t most = WAITING_BYTES / (job->tile_n * job->n_sel * sizeof(lethe_hit));
    most -= min_size(most, more + LETHE_SIFT_SLACK);
    job->room = more + max_size(2 * job->tile_m, min_size(job->m / WAITING_SHARE, most));
    LETHE_TRY(gather(job, err));
    return find_outliers(job, threads, err);
}
