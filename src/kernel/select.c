/* SPDX-License-Identifier: MIT */
#include "kernel/select.h"

#include <assert.h>
#include <omp.h>

#include "base/mem.h"
#include "base/run.h"
#include "kernel/gemm.h"
#include "kernel/topk.h"

/* Tile of the product. Fixed, because a library may round differently at another size; 512 KB, so
 * that it stays in a core's second-level cache with the rows it is made of. */
#define TILE_N 256
#define TILE_M 512

/* Products smaller than this many multiply-adds are not worth waking other threads for: a token of
 * a small model while it generates. */
#define ALONE (1 << 20)

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

/* How the grid of tiles is shared out. A task is a tile of tokens times a run of latent tiles
 * ("part"). Several parts are only made to give every thread something to do; they cannot change
 * the result, since the order of topk.h is total and the tiles stay the same. */
typedef struct plan {
    size_t n, m, d, rows, cols; /* rows, cols: tiles along n and m */
    size_t parts, cols_a_part;
} plan;

static plan plan_make(size_t n, size_t m, size_t d, int threads) {
    plan p = {.n = n, .m = m, .d = d, .rows = ceil_div(n, TILE_N), .cols = ceil_div(m, TILE_M)};
    size_t wanted = threads > 1 ? ceil_div(4 * (size_t)threads, p.rows) : 1;
    p.cols_a_part = ceil_div(p.cols, min_size(wanted, p.cols));
    p.parts = ceil_div(p.cols, p.cols_a_part);
    return p;
}

/* Memory of one selection: a running top-k for each token of each part. */
typedef struct running {
    lethe_topk *state; /* [parts, n] */
    uint64_t *key;     /* [parts, n, k] */
} running;

static void running_free(running *r, size_t n_sel) {
    for (size_t s = 0; s < n_sel; s++) {
        lethe_free(r[s].state);
        lethe_free(r[s].key);
    }
}

static lethe_status running_alloc(running *r, const plan *p, size_t k, lethe_err *err) {
    size_t count = 0;
    if (!lethe_mul_size(p->parts, p->n, &count))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: %zu tokens at once", p->n);
    LETHE_TRY(lethe_alloc(&r->state, count, sizeof *r->state, "a running top-k", err));
    LETHE_TRY(lethe_alloc(&r->key, count, k * sizeof *r->key, "keys of a top-k", err));
    for (size_t i = 0; i < count; i++) lethe_topk_begin(&r->state[i], k, r->key + i * k);
    return LETHE_OK;
}

static lethe_status run_task(const plan *p, size_t task, const float *x, const float *w,
                             const lethe_selection *sel, size_t n_sel, running *run, float *tile,
                             int32_t *hit, lethe_err *err) {
    size_t part = task % p->parts, first = task / p->parts * TILE_N;
    size_t n = min_size(TILE_N, p->n - first);
    size_t end = min_size(p->cols, (part + 1) * p->cols_a_part);
    for (size_t c = part * p->cols_a_part; c < end; c++) {
        size_t base = c * TILE_M, m = min_size(TILE_M, p->m - base);
        LETHE_TRY(lethe_gemm_nt(n, m, p->d, x + first * p->d, p->d, w + base * p->d, p->d, tile,
                                TILE_M, err));
        for (size_t s = 0; s < n_sel; s++)
            for (size_t i = 0; i < n; i++)
                lethe_topk_put(&run[s].state[part * p->n + first + i], tile + i * TILE_M,
                               sel[s].bias + base, m, base, hit);
    }
    return LETHE_OK;
}

/* Merges the parts into the first one and writes the result of token i. */
static void finish(const plan *p, size_t i, const lethe_selection *sel, running *run) {
    for (size_t part = 1; part < p->parts; part++)
        lethe_topk_merge(&run->state[i], &run->state[part * p->n + i]);
    lethe_topk_end(&run->state[i], p->m, sel->index + i * sel->k, sel->value + i * sel->k);
}

lethe_status lethe_select(const float *x, size_t n, const float *w, size_t m, size_t d,
                          const lethe_selection *sel, size_t n_sel, lethe_err *err) {
    enum { MOST = 4 };
    assert(n_sel <= MOST && m <= INT32_MAX);
    if (n == 0) return LETHE_OK;
    int threads = (double)n * (double)m * (double)d < ALONE ? 1 : lethe_threads();
    plan p = plan_make(n, m, d, threads);
    running run[MOST] = {0};
    float *tiles = NULL;
    int32_t *hits = NULL;
    lethe_status st = LETHE_OK;
    for (size_t s = 0; s < n_sel; s++)
        if ((st = running_alloc(&run[s], &p, sel[s].k, err))) goto done;
    size_t most_rows = min_size(n, TILE_N);
    if ((st = lethe_alloc(&tiles, (size_t)threads * most_rows, TILE_M * sizeof *tiles,
                          "tiles of pre-activations", err)))
        goto done;
    if ((st = lethe_alloc(&hits, (size_t)threads * TILE_M, sizeof *hits, "hits of a tile", err)))
        goto done;

    size_t tasks = p.rows * p.parts;
#pragma omp parallel num_threads(threads)
    {
        lethe_gemm_enter();
        size_t me = (size_t)omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < tasks; task++) {
            lethe_err e = {0};
            lethe_status got = run_task(&p, task, x, w, sel, n_sel, run,
                                        tiles + me * most_rows * TILE_M, hits + me * TILE_M, &e);
            if (got) {
#pragma omp critical(lethe_select_failed)
                {
                    st = got;
                    if (err) *err = e;
                }
            }
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < n; i++)
            for (size_t s = 0; s < n_sel; s++) finish(&p, i, &sel[s], &run[s]);
    }
done:
    running_free(run, n_sel);
    lethe_free(tiles);
    lethe_free(hits);
    return st;
}
