/* SPDX-License-Identifier: MIT
 *
 * Tiles of tokens go over the latents block by block. A floor does not depend on the other latents,
 * so each block is finished at once: first look, closer looks at what it let pass, float32 for what
 * is left. Threads note what they find; the notes are sorted by token in the end.
 */
#include "kernel/above.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "kernel/select_internal.h"

/* Dot products at a time. */
#define DOTS 64

typedef struct pair {
    uint32_t token;
    int32_t row;
    float dot;
} pair;

/* What a thread has and finds. */
typedef struct finder {
    lethe_select_bench bench;
    lethe_seat *seat; /* [tile_n] */
    pair *pair;
    size_t n, cap;
    lethe_status st;
    lethe_err err;
} finder;

typedef struct work {
    lethe_select_job job;
    lethe_selection sel;
    const float *floor;
    float *bias;     /* [sieve's m] -floor */
    uint32_t *token; /* [n] 0, 1, ... */
    int threads;
    size_t tile_n, tiles, parts;
    finder *finder; /* [threads] */
    lethe_pool pool;
} work;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

void lethe_above_free(lethe_above *a) {
    lethe_free(a->start);
    lethe_free(a->index);
    lethe_free(a->dot);
    *a = (lethe_above){0};
}

static void work_free(work *w) {
    for (int t = 0; w->finder && t < w->threads; t++) lethe_free(w->finder[t].pair);
    lethe_free(w->finder);
    lethe_pool_free(&w->pool);
}

static lethe_status work_alloc(work *w, lethe_err *err) {
    lethe_select_job *job = &w->job;
    size_t m = job->from->sieve->m, threads = (size_t)w->threads;
    LETHE_TRY(lethe_pool_take(job->pool, &w->bias, m, sizeof *w->bias, "floors of latents", err));
    for (size_t j = 0; j < m; j++) w->bias[j] = -w->floor[j];
    w->sel = (lethe_selection){.bias = w->bias, .k = 1};
    job->sel = &w->sel;
    job->n_sel = 1;
    LETHE_TRY(lethe_select_job_open(job, w->threads, err));
    job->room = job->tile_m; /* nothing waits longer than for its block */
    LETHE_TRY(
        lethe_pool_take(job->pool, &w->token, job->n, sizeof *w->token, "a list of tokens", err));
    for (size_t t = 0; t < job->n; t++) w->token[t] = (uint32_t)t;
    LETHE_TRY(lethe_zalloc(&w->finder, threads, sizeof *w->finder, "scratch of threads", err));
    for (size_t t = 0; t < threads; t++) {
        finder *f = &w->finder[t];
        LETHE_TRY(lethe_select_bench_open(job, threads, &f->bench, err));
        LETHE_TRY(lethe_pool_take(job->pool, &f->seat, job->tile_n, sizeof *f->seat,
                                  "a tile of tokens", err));
    }
    /* Tokens are shared out first; parts of the latents only give every thread something to do. */
    size_t share = ceil_div(job->n, 4 * threads);
    w->tile_n = least(job->tile_n, share > LETHE_FEW_TOKENS ? share : LETHE_FEW_TOKENS);
    w->tiles = ceil_div(job->n, w->tile_n);
    w->parts = w->tiles < threads
                   ? least(ceil_div(2 * threads, w->tiles), ceil_div(job->m, job->tile_m))
                   : 1;
    return LETHE_OK;
}

/* ---- a block of latents -----------------------------------------------------------------------
 */

/* Notes those of n latents whose number is above the floor. */
static lethe_status note(const work *w, finder *f, uint32_t token, const int32_t *row, size_t n) {
    const lethe_select_job *job = &w->job;
    float dot[DOTS];
    lethe_kernels_get()->gather_dot(dot, job->d, job->x + (size_t)token * job->d, job->from->w, row,
                                    n);
    f->bench.stats.exact += n;
    LETHE_TRY(
        lethe_grow(&f->pair, &f->cap, f->n, f->n + n, sizeof *f->pair, "active latents", &f->err));
    for (size_t i = 0; i < n; i++)
        if (dot[i] > w->floor[row[i]]) f->pair[f->n++] = (pair){token, row[i], dot[i]};
    return LETHE_OK;
}

/* What closer looks leave goes to the front of a token's hits: it has heard of those already. */
static void keep(void *user, size_t i, lethe_candidate is) {
    lethe_select_bench *b = user;
    b->hits[i].list[b->hits[i].count++].place = is.place;
}

/* The nm latents from place `at` on, and token i of the tile that begins with `first`. */
static lethe_status sort_out(const work *w, finder *f, size_t first, size_t i, size_t at,
                             size_t nm) {
    const lethe_select_job *job = &w->job;
    const lethe_hits *hits = &f->bench.hits[i];
    bool full = f->seat[i].full;
    size_t n = 0, count = full ? nm : hits->count;
    int32_t row[DOTS];
    for (size_t h = 0; h < count; h++) {
        size_t place = full ? at + h : (size_t)hits->list[h].place;
        row[n++] = (int32_t)lethe_place_row(job, place);
        if (n < DOTS) continue;
        LETHE_TRY(note(w, f, (uint32_t)(first + i), row, n));
        n = 0;
    }
    return n ? note(w, f, (uint32_t)(first + i), row, n) : LETHE_OK;
}

/* A tile of tokens and a part of the latents. */
static lethe_status run_task(const work *w, finder *f, size_t task) {
    const lethe_select_job *job = &w->job;
    lethe_select_bench *b = &f->bench;
    size_t part = task % w->parts, first = task / w->parts * w->tile_n;
    size_t nt = least(w->tile_n, job->n - first), cols = ceil_div(job->m, job->tile_m);
    size_t end = least(job->m, cols * (part + 1) / w->parts * job->tile_m);
    lethe_select_digits(job, w->token + first, nt, b);
    for (size_t i = 0; i < nt; i++) {
        bool full = !isfinite(b->whole[i]); /* nothing is proved of it, so nothing is screened */
        f->seat[i] = (lethe_seat){.full = full, .threshold = full ? INFINITY : 0};
        b->stats.full += full && part == 0;
    }
    for (size_t at = cols * part / w->parts * job->tile_m, nm; at < end; at += nm) {
        nm = least(job->tile_m, end - at);
        for (size_t i = 0; i < nt; i++) b->hits[i].count = 0;
        lethe_select_screen(job, nt, at, nm, end - at - nm, f->seat, 0, b);
        for (size_t i = 0; i < nt; i++) {
            b->todo.next[i] = 0;
            b->todo.keep[i] = f->seat[i].full ? 0 : b->hits[i].count;
            b->hits[i].count = 0;
        }
        lethe_select_closer_block(job, 0, nt, at, nm, b->hits, f->seat, b, keep, b);
        for (size_t i = 0; i < nt; i++) LETHE_TRY(sort_out(w, f, first, i, at, nm));
    }
    return LETHE_OK;
}

/* ---- the whole call ---------------------------------------------------------------------------
 */

static int by_latent(const void *pa, const void *pb) {
    const pair *a = pa, *b = pb;
    return (a->row > b->row) - (a->row < b->row);
}

/* A counting sort by token, then each token's by latent: blocks of a tile were met in order, so
 * with one part they already are. */
static lethe_status collect(const work *w, lethe_above *out, lethe_err *err) {
    lethe_above a = {.n = w->job.n};
    pair *sorted = NULL;
    size_t count = 0;
    for (int t = 0; t < w->threads; t++) count += w->finder[t].n;
    lethe_status st = lethe_zalloc(&a.start, a.n + 2, sizeof *a.start, "active latents", err);
    if (!st) st = lethe_alloc(&a.index, count, sizeof *a.index, "active latents", err);
    if (!st) st = lethe_alloc(&a.dot, count, sizeof *a.dot, "active latents", err);
    if (!st) st = lethe_alloc(&sorted, count, sizeof *sorted, "active latents", err);
    if (st) {
        lethe_above_free(&a);
        return st;
    }
    size_t *next = a.start + 1; /* where the next pair of a token goes; in the end where they end */
    for (int t = 0; t < w->threads; t++)
        for (size_t i = 0; i < w->finder[t].n; i++) next[w->finder[t].pair[i].token + 1]++;
    for (size_t t = 0; t < a.n; t++) next[t + 1] += next[t];
    for (int t = 0; t < w->threads; t++)
        for (size_t i = 0; i < w->finder[t].n; i++)
            sorted[next[w->finder[t].pair[i].token]++] = w->finder[t].pair[i];
    for (size_t t = 0; w->parts > 1 && t < a.n; t++)
        qsort(sorted + a.start[t], a.start[t + 1] - a.start[t], sizeof *sorted, by_latent);
    for (size_t i = 0; i < count; i++) {
        a.index[i] = sorted[i].row;
        a.dot[i] = sorted[i].dot;
    }
    lethe_free(sorted);
    *out = a;
    return LETHE_OK;
}

static void add_stats(const work *w, lethe_select_stats *stats) {
    stats->tokens += w->job.n;
    for (int t = 0; t < w->threads; t++) {
        const lethe_select_stats *s = &w->finder[t].bench.stats;
        stats->pairs += s->pairs;
        stats->second += s->second;
        stats->third += s->third;
        stats->exact += s->exact;
        stats->full += s->full;
    }
}

lethe_status lethe_select_above(lethe_above *out, const float *x, size_t n,
                                const lethe_latents *from, const float *floor,
                                lethe_select_stats *stats, lethe_err *err) {
    const lethe_sieve *sv = from->sieve;
    assert(sv->m <= INT32_MAX && n < UINT32_MAX);
    if (n == 0) {
        *out = (lethe_above){0};
        return lethe_zalloc(&out->start, 1, sizeof *out->start, "active latents", err);
    }
    work w = {.job = {.x = x, .n = n, .d = sv->d, .from = from}, .floor = floor};
    w.job.pool = &w.pool;
    w.job.m = from->rows ? from->n_rows : sv->m;
    w.threads = lethe_select_threads(&w.job);
    lethe_status st = work_alloc(&w, err);
    if (!st) {
#pragma omp parallel for num_threads(w.threads) schedule(dynamic)
        for (size_t task = 0; task < w.tiles * w.parts; task++) {
            finder *f = &w.finder[omp_get_thread_num()];
            if (!f->st) f->st = run_task(&w, f, task);
        }
        for (int t = 0; t < w.threads && !st; t++) {
            st = w.finder[t].st;
            if (st && err) *err = w.finder[t].err;
        }
    }
    if (!st) st = collect(&w, out, err);
    if (!st && stats) add_stats(&w, stats);
    work_free(&w);
    return st;
}
