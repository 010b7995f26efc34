/* SPDX-License-Identifier: MIT
 *
 * Who looks at what. The tokens are worked off in lists: with many tokens, first a pilot of a few
 * without a guess, whose thresholds tell where those of the others will lie, unless the last call's
 * tell that; then the others with that guess, which spares most second looks; then once more those
 * few whose guess turned out too high, with the threshold that they reached, which is one of their
 * own. None of this can change the result, only its cost.
 */
#include "kernel/select.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/run.h"
#include "kernel/select_internal.h"

/* The pilot has one token of PILOT_SHARE, within these limits, and is worth it from PILOT_FROM
 * tokens on. The guess is the lowest ratio that it meets, or of more than 64 the one in 64 from
 * below, less a share of what the middle one is above it: a hit more is cheap, a token that comes
 * again is not. The next call is told what PILOT_MOST tokens say. */
#define PILOT_SHARE 64
#define PILOT_LEAST 32
#define PILOT_MOST 512
#define PILOT_FROM 512
#define GUESS_MARGIN 0.3f

/* Latents at a time for tokens computed in full. */
#define FULL_LATENTS 64

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

static size_t pilot_size(size_t n) {
    return max_size(PILOT_LEAST, min_size(PILOT_MOST, n / PILOT_SHARE));
}

/* ---- what a call needs ------------------------------------------------------------------------
 */

typedef struct work {
    lethe_select_job job;
    int threads;
    size_t seats;                       /* of a selection */
    lethe_seat *seat;                   /* [n_sel, seats]: see seats_of */
    lethe_candidate *candidate;         /* lists of the seats */
    lethe_select_bench *bench;          /* [threads] */
    uint32_t *list, *again;             /* [n] tokens to work off */
    uint8_t *verdict[LETHE_SELECTIONS]; /* [n] by place in the list: how finish() ended */
    uint32_t *full;                     /* [n] places in the list */
    float *known[LETHE_SELECTIONS];     /* [n] a threshold reached before, or -infinity */
    float *ratio[LETHE_SELECTIONS];     /* [n] threshold over norm, or -infinity */
} work;

static lethe_status seats_alloc(work *w, lethe_err *err) {
    static const char what[] = "candidates of a top-k";
    const lethe_select_job *job = &w->job;
    size_t seats = w->seats, per_seat = 0;
    for (size_t s = 0; s < job->n_sel; s++) per_seat += job->cap[s];
    LETHE_TRY(lethe_pool_take(job->pool, &w->seat, seats, job->n_sel * sizeof *w->seat, what, err));
    LETHE_TRY(lethe_pool_take(job->pool, &w->candidate, seats, per_seat * sizeof *w->candidate,
                              what, err));
    lethe_candidate *c = w->candidate;
    for (size_t s = 0; s < job->n_sel; s++)
        for (size_t i = 0; i < seats; i++) {
            w->seat[s * seats + i] = (lethe_seat){.list = c};
            c += job->cap[s];
        }
    return LETHE_OK;
}

static lethe_status work_alloc(work *w, lethe_err *err) {
    lethe_select_job *job = &w->job;
    size_t n = job->n, threads = (size_t)w->threads;
    LETHE_TRY(lethe_select_job_open(job, w->threads, err));
    /* Several parts are made of fewer tiles than there are threads, and those are small. */
    w->seats = max_size(threads * job->tile_n, threads * min_size(n, threads * LETHE_FEW_TOKENS));
    LETHE_TRY(seats_alloc(w, err));
    LETHE_TRY(lethe_pool_take(job->pool, &w->bench, threads, sizeof *w->bench, "scratch of threads",
                              err));
    memset(w->bench, 0, threads * sizeof *w->bench);
    for (size_t t = 0; t < threads; t++)
        LETHE_TRY(lethe_select_bench_open(job, threads, &w->bench[t], err));
    for (size_t s = 0; s < job->n_sel; s++) {
        LETHE_TRY(
            lethe_pool_take(job->pool, &w->known[s], n, sizeof *w->known[s], "thresholds", err));
        LETHE_TRY(
            lethe_pool_take(job->pool, &w->ratio[s], n, sizeof *w->ratio[s], "thresholds", err));
        for (size_t t = 0; t < n; t++) w->known[s][t] = w->ratio[s][t] = -INFINITY;
        LETHE_TRY(lethe_pool_take(job->pool, &w->verdict[s], n, 1, "a list of tokens", err));
    }
    LETHE_TRY(lethe_pool_take(job->pool, &w->full, n, sizeof *w->full, "a list of tokens", err));
    LETHE_TRY(lethe_pool_take(job->pool, &w->list, n, sizeof *w->list, "a list of tokens", err));
    return lethe_pool_take(job->pool, &w->again, n, sizeof *w->again, "a list of tokens", err);
}

/* ---- one list of tokens -----------------------------------------------------------------------
 */

typedef struct round_of {
    const uint32_t *token;
    size_t count, parts;
    size_t tile_n;      /* tokens of a tile */
    const float *ratio; /* [n_sel] guess: threshold of a token over its norm; NULL: none */
} round_of;

/* Seats of the tile that begins with the token `first` of the list; those of the next selection are
 * w->seats further on. With one part a tile is finished by the thread that looked, which uses the
 * same seats again and again; several parts meet in seats r->count apart. */
static lethe_seat *seats_of(const work *w, const round_of *r, size_t part, size_t first) {
    if (r->parts == 1) return &w->seat[(size_t)omp_get_thread_num() * w->job.tile_n];
    return &w->seat[part * r->count + first];
}

static void seats_begin(const work *w, const round_of *r, size_t first, size_t nt, lethe_seat *seat,
                        const lethe_select_bench *b) {
    for (size_t s = 0; s < w->job.n_sel; s++)
        for (size_t i = 0; i < nt; i++) {
            float guess = w->known[s][r->token[first + i]];
            if (r->ratio) guess = fmaxf(guess, r->ratio[s] * b->whole[i]);
            lethe_seat_begin(&seat[s * w->seats + i], b->whole[i], guess, w->job.sel[s].k,
                             w->job.cap[s]);
        }
}

enum { DONE, AGAIN, FULL };

/* The float32 numbers of the candidates that are left to a token, and the k largest of them. i: its
 * place in the list; seat: that of the first part. */
static int finish(const work *w, const round_of *r, size_t s, size_t i, const lethe_seat *seat,
                  lethe_select_bench *b) {
    const lethe_select_job *job = &w->job;
    const lethe_selection *sel = &job->sel[s];
    size_t t = r->token[i], n_lower = 0;
    for (size_t p = 0; p < r->parts; p++) {
        const lethe_seat *from = seat + p * r->count;
        if (from->full) return FULL;
        for (size_t c = 0; c < from->count; c++) b->lower[n_lower++] = from->list[c].lower;
    }
    float threshold = lethe_select_kth(b->lower, n_lower, sel->k);
    if (threshold < seat->guess) {
        w->known[s][t] = threshold;
        return AGAIN;
    }
    w->ratio[s][t] = threshold / seat->whole;

    lethe_topk best;
    lethe_topk_begin(&best, sel->k, b->key);
    const lethe_kernels *kern = lethe_kernels_get();
    for (size_t p = 0; p < r->parts; p++) {
        const lethe_seat *from = seat + p * r->count;
        int32_t row[64];
        float dot[64];
        size_t at = 0;
        while (at < from->count) {
            size_t n = 0;
            for (; at < from->count && n < 64; at++)
                if (!(from->list[at].upper < threshold))
                    row[n++] = (int32_t)lethe_place_row(job, (size_t)from->list[at].place);
            kern->gather_dot(dot, job->d, job->x + t * job->d, job->from->w, row, n);
            for (size_t c = 0; c < n; c++)
                lethe_topk_offer(&best, dot[c] + sel->bias[row[c]], (uint32_t)row[c]);
            b->stats.exact += n;
        }
    }
    lethe_topk_end(&best, job->from->rows, job->m, sel->index + t * sel->k,
                   sel->value + t * sel->k);
    return DONE;
}

static void finish_some(const work *w, const round_of *r, size_t first, size_t n,
                        const lethe_seat *seat, lethe_select_bench *b) {
    for (size_t s = 0; s < w->job.n_sel; s++)
        for (size_t i = 0; i < n; i++)
            w->verdict[s][first + i] =
                (uint8_t)finish(w, r, s, first + i, seat + s * w->seats + i, b);
}

/* A task is a tile of tokens times a part of the latents. Several parts are only made to give every
 * thread something to do. */
static void run_task(const work *w, const round_of *r, size_t task, lethe_select_bench *b) {
    const lethe_select_job *job = &w->job;
    size_t part = task % r->parts, first = task / r->parts * r->tile_n;
    size_t nt = min_size(r->tile_n, r->count - first);
    size_t cols = ceil_div(job->m, job->tile_m);
    lethe_seat *seat = seats_of(w, r, part, first);
    lethe_select_digits(job, r->token + first, nt, b);
    seats_begin(w, r, first, nt, seat, b);
    lethe_select_look(job, nt, cols * part / r->parts * job->tile_m,
                      min_size(job->m, cols * (part + 1) / r->parts * job->tile_m), seat, w->seats,
                      b);
    if (r->parts == 1) finish_some(w, r, first, nt, seat, b);
}

/* Every number of the tokens at these places of the list. Their rows of latents are read
 * once for all of them. */
static void in_full(const work *w, const round_of *r, size_t s, const uint32_t *at, size_t count,
                    uint64_t *key) {
    const lethe_select_job *job = &w->job;
    const lethe_selection *sel = &job->sel[s];
    const lethe_kernels *kern = lethe_kernels_get();
    lethe_topk best[LETHE_FULL_TOKENS];
    for (size_t i = 0; i < count; i++) lethe_topk_begin(&best[i], sel->k, key + i * sel->k);
    for (size_t first = 0; first < job->m; first += FULL_LATENTS) {
        int32_t row[FULL_LATENTS];
        float dot[FULL_LATENTS];
        size_t nm = min_size(FULL_LATENTS, job->m - first);
        for (size_t j = 0; j < nm; j++) row[j] = (int32_t)lethe_place_row(job, first + j);
        for (size_t i = 0; i < count; i++) {
            const float *x = job->x + (size_t)r->token[at[i]] * job->d;
            kern->gather_dot(dot, job->d, x, job->from->w, row, nm);
            for (size_t j = 0; j < nm; j++)
                lethe_topk_offer(&best[i], dot[j] + sel->bias[row[j]], (uint32_t)row[j]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        size_t t = r->token[at[i]];
        lethe_topk_end(&best[i], job->from->rows, job->m, sel->index + t * sel->k,
                       sel->value + t * sel->k);
    }
}

/* Tokens that got FULL from selection s. */
static void all_in_full(const work *w, const round_of *r, size_t s) {
    size_t count = 0;
    uint32_t *at = w->full;
    for (size_t i = 0; i < r->count; i++)
        if (w->verdict[s][i] == FULL) at[count++] = (uint32_t)i;
    w->bench[0].stats.full += count;
#pragma omp parallel for num_threads(w->threads) schedule(dynamic)
    for (size_t g = 0; g < count; g += LETHE_FULL_TOKENS)
        in_full(w, r, s, at + g, min_size(LETHE_FULL_TOKENS, count - g),
                w->bench[omp_get_thread_num()].key);
}

/* Works off a list; returns how many of its tokens must come again: they are in w->again. */
static size_t run_list(const work *w, const uint32_t *token, size_t count, const float *ratio) {
    size_t threads = (size_t)w->threads, n_again = 0;
    round_of r = {.token = token, .count = count, .ratio = ratio};
    /* Tokens are shared out first: a part of the latents knows less about its threshold. As many
     * tiles for each thread, at least two, and whole turns of sift. */
    size_t each = max_size(2, ceil_div(count, threads * w->job.tile_n));
    size_t even = ceil_div(ceil_div(count, threads * each), LETHE_SIFT_TURN) * LETHE_SIFT_TURN;
    r.tile_n = min_size(w->job.tile_n, max_size(LETHE_FEW_TOKENS, even));
    size_t tiles = ceil_div(count, r.tile_n), cols = ceil_div(w->job.m, w->job.tile_m);
    r.parts = tiles && tiles < threads ? min_size(ceil_div(threads, tiles), cols) : 1;
#pragma omp parallel num_threads(w->threads)
    {
        lethe_select_bench *b = &w->bench[omp_get_thread_num()];
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < tiles * r.parts; task++) run_task(w, &r, task, b);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < (r.parts > 1 ? count : 0); i++)
            finish_some(w, &r, i, 1, seats_of(w, &r, 0, i), b);
    }
    for (size_t s = 0; s < w->job.n_sel; s++) all_in_full(w, &r, s);
    for (size_t i = 0; i < count; i++) {
        bool once_more = false;
        for (size_t s = 0; s < w->job.n_sel; s++) once_more |= w->verdict[s][i] == AGAIN;
        if (once_more) w->again[n_again++] = token[i];
    }
    return n_again;
}

/* ---- the whole call ---------------------------------------------------------------------------
 */

static int rising(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* What so many tokens, evenly apart, say about a selection's thresholds: a guess for others. */
static float guess_of(const work *w, size_t s, size_t size) {
    float ratio[PILOT_MOST];
    for (size_t i = 0; i < size; i++) ratio[i] = w->ratio[s][i * w->job.n / size];
    qsort(ratio, size, sizeof *ratio, rising);
    float low = ratio[size / 64], middle = ratio[size / 2];
    float guess = low - GUESS_MARGIN * (middle - low);
    return isfinite(guess) ? guess : -INFINITY;
}

/* The guesses that the last call left; false when one is missing. */
static bool last_guesses(const work *w, float *guess) {
    for (size_t s = 0; s < w->job.n_sel; s++) {
        const float *last = w->job.sel[s].ratio;
        if (!last || !isfinite(*last)) return false;
        guess[s] = *last;
    }
    return true;
}

static void run_all(work *w) {
    const size_t n = w->job.n, size = pilot_size(n);
    const bool many = n >= PILOT_FROM;
    size_t pilots = 0, rest = 0;
    float guess[LETHE_SELECTIONS];
    if (many && !last_guesses(w, guess)) {
        /* The list has the pilot first. */
        for (size_t i = 0; i < size; i++) w->list[pilots++] = (uint32_t)(i * n / size);
        run_list(w, w->list, pilots, NULL);
        for (size_t s = 0; s < w->job.n_sel; s++) guess[s] = guess_of(w, s, size);
    }
    for (size_t t = 0, p = 0; t < n; t++) {
        if (p < pilots && t == p * n / size)
            p++;
        else
            w->list[pilots + rest++] = (uint32_t)t;
    }
    size_t n_again = run_list(w, w->list + pilots, rest, many ? guess : NULL);
    w->bench[0].stats.again += n_again;
    memcpy(w->list, w->again, n_again * sizeof *w->list);
    run_list(w, w->list, n_again, NULL);
    for (size_t s = 0; s < (many ? w->job.n_sel : 0); s++)
        if (w->job.sel[s].ratio) *w->job.sel[s].ratio = guess_of(w, s, min_size(n, PILOT_MOST));
}

static void add_stats(const work *w, lethe_select_stats *stats) {
    stats->tokens += w->job.n * w->job.n_sel;
    for (int t = 0; t < w->threads; t++) {
        const lethe_select_stats *s = &w->bench[t].stats;
        stats->pairs += s->pairs;
        stats->second += s->second;
        stats->third += s->third;
        stats->exact += s->exact;
        stats->again += s->again;
        stats->full += s->full;
    }
}

lethe_status lethe_select(const float *x, size_t n, const lethe_latents *from,
                          const lethe_selection *sel, size_t n_sel, lethe_select_stats *stats,
                          lethe_err *err) {
    const lethe_sieve *sv = from->sieve;
    assert(n_sel > 0 && n_sel <= LETHE_SELECTIONS && sv->m <= INT32_MAX && n <= UINT32_MAX);
    if (n == 0) return LETHE_OK;
    lethe_pool own = {0};
    work w = {.job = {.x = x,
                      .n = n,
                      .d = sv->d,
                      .from = from,
                      .sel = sel,
                      .n_sel = n_sel,
                      .pool = from->scratch ? from->scratch : &own}};
    w.job.m = from->rows ? from->n_rows : sv->m;
    w.threads = lethe_select_threads(&w.job);
    lethe_status st = work_alloc(&w, err);
    if (!st) run_all(&w);
    if (!st && stats) add_stats(&w, stats);
    lethe_pool_rewind(w.job.pool);
    lethe_pool_free(&own);
    return st;
}
