/* SPDX-License-Identifier: MIT */
#include "stage/harvest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define MEDIAN_ROWS 1024u
#define HELD_FLOATS ((size_t)4 << 20)

struct lethe_harvester {
    lethe_lm *lm;
    lethe_window_source source;
    lethe_harvest_opts opts;
    lethe_harvest_stats stats;
    size_t d, ctx, batch; /* batch: windows at once */
    int32_t *token;       /* [batch, ctx] */
    lethe_seq *seq;       /* [batch] */
    uint8_t *seq_role;    /* [batch] */
    float *raw;           /* [batch, ctx, d]: the tap writes here, in (window, position) order */
    int32_t *row_token, *row_pos;
    uint8_t *row_role;
};

lethe_harvest_opts lethe_harvest_defaults(void) {
    return (lethe_harvest_opts){.hook = LETHE_HOOK_POST, .outlier_factor = 10};
}

static lethe_status mix_next(void *user, int32_t *token, size_t cap, size_t *n, lethe_role *role,
                             lethe_err *err) {
    (void)cap; /* the mix was opened with the context's length */
    return lethe_mix_next(user, token, n, role, err);
}

static lethe_status mix_restart(void *user, uint64_t skip, lethe_err *err) {
    return lethe_mix_restart(user, skip, err);
}

lethe_window_source lethe_mix_source(lethe_mix *m) {
    return (lethe_window_source){mix_next, mix_restart, m};
}

static lethe_status tap(void *user, const lethe_rows *rows, lethe_err *err) {
    lethe_harvester *h = user;
    (void)err;
    for (size_t i = 0; i < rows->n; i++) {
        size_t at = (size_t)rows->seq[i] * h->ctx + (size_t)rows->pos[i];
        memcpy(h->raw + at * h->d, rows->x + i * h->d, h->d * sizeof(float));
    }
    return LETHE_OK;
}

/* Runs up to max windows; *n of them are in seq, token and raw. */
static lethe_status run(lethe_harvester *h, size_t max, size_t *n, lethe_err *err) {
    *n = 0;
    if (max > h->batch) max = h->batch;
    while (*n < max) {
        size_t len;
        lethe_role role = LETHE_RETAIN;
        LETHE_TRY(h->source.next(h->source.user, h->token + *n * h->ctx, h->ctx, &len, &role, err));
        if (!len) break;
        h->seq[*n] = (lethe_seq){h->token + *n * h->ctx, len};
        h->seq_role[*n] = (uint8_t)role;
        ++*n;
    }
    if (!*n) return LETHE_OK;
    lethe_lm_clear_hooks(h->lm);
    LETHE_TRY(lethe_lm_add_tap(h->lm, h->opts.layer, h->opts.hook, tap, h, err));
    lethe_status st = lethe_lm_capture(h->lm, h->seq, *n, err);
    lethe_lm_clear_hooks(h->lm);
    return st;
}

static double norm(const float *x, size_t d) {
    double s = 0;
    for (size_t i = 0; i < d; i++) s += (double)x[i] * (double)x[i];
    return sqrt(s);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool special(const lethe_harvester *h, int32_t token) {
    return !h->opts.keep_special && lethe_lm_is_special(h->lm, token);
}

/* The outliers' threshold and the share of rows that stay, from the first windows. */
static lethe_status calibrate(lethe_harvester *h, lethe_err *err) {
    h->stats.keep_share = 1;
    if (h->opts.outlier_factor <= 0) return LETHE_OK;
    double *norms;
    size_t n = 0, seen = 0, windows, cap = MEDIAN_ROWS + h->batch * h->ctx;
    LETHE_TRY(lethe_alloc(&norms, cap, sizeof *norms, "norms", err));
    lethe_status st = LETHE_OK;
    while (n < MEDIAN_ROWS && !(st = run(h, h->batch, &windows, err)) && windows)
        for (size_t w = 0; w < windows; w++)
            for (size_t i = 0; i < h->seq[w].n; i++, seen++)
                if (!lethe_lm_is_special(h->lm, h->seq[w].token[i]))
                    norms[n++] = norm(h->raw + (w * h->ctx + i) * h->d, h->d);
    if (!st && n) {
        qsort(norms, n, sizeof *norms, by_value);
        h->stats.max_norm = h->opts.outlier_factor * norms[n / 2];
        size_t outliers = 0;
        while (outliers < n && norms[n - 1 - outliers] > h->stats.max_norm) outliers++;
        size_t kept = (h->opts.keep_special ? seen : n) - outliers;
        h->stats.keep_share = (double)kept / (double)seen;
    }
    lethe_free(norms);
    return st ? st : h->source.restart(h->source.user, 0, err);
}

lethe_status lethe_harvester_open(lethe_harvester **out, lethe_lm *lm, lethe_window_source source,
                                  const lethe_harvest_opts *opts, lethe_err *err) {
    LETHE_TRY(lethe_lm_check_layer(lm, opts->layer, err));
    lethe_harvester *h;
    LETHE_TRY(lethe_zalloc(&h, 1, sizeof *h, "a harvester", err));
    h->lm = lm;
    h->source = source;
    h->opts = *opts;
    h->d = lethe_lm_get_info(lm)->d_model;
    h->ctx = lethe_lm_ctx_len(lm);
    /* Short windows come many at a time; what is held stays small for a wide model. */
    size_t fit = HELD_FLOATS / (h->ctx * h->d), least = lethe_lm_n_seq(lm);
    h->batch = fit < least ? least : fit > 64 ? 64 : fit;
    size_t rows = h->batch * h->ctx;
    lethe_status st = lethe_alloc(&h->raw, rows, h->d * sizeof(float), "a batch of rows", err);
    if (!st) st = lethe_alloc(&h->token, rows, sizeof *h->token, "a batch of windows", err);
    if (!st) st = lethe_alloc(&h->row_token, rows, sizeof *h->token, "a batch of windows", err);
    if (!st) st = lethe_alloc(&h->row_pos, rows, sizeof *h->token, "a batch of windows", err);
    if (!st) st = lethe_alloc(&h->row_role, rows, 1, "a batch of windows", err);
    if (!st) st = lethe_alloc(&h->seq, h->batch, sizeof *h->seq, "a batch of windows", err);
    if (!st) st = lethe_alloc(&h->seq_role, h->batch, 1, "a batch of windows", err);
    if (!st) st = calibrate(h, err);
    if (st)
        lethe_harvester_close(&h);
    else
        *out = h;
    return st;
}

void lethe_harvester_close(lethe_harvester **hp) {
    lethe_harvester *h = *hp;
    if (!h) return;
    lethe_free(h->raw);
    lethe_free(h->token);
    lethe_free(h->row_token);
    lethe_free(h->row_pos);
    lethe_free(h->row_role);
    lethe_free(h->seq);
    lethe_free(h->seq_role);
    lethe_free(h);
    *hp = NULL;
}

lethe_status lethe_harvester_next(lethe_harvester *h, size_t max_windows, lethe_harvest_rows *rows,
                                  lethe_err *err) {
    if (lethe_stop_requested()) return lethe_fail(err, LETHE_STOPPED, "stopped during the harvest");
    size_t windows, n = 0;
    LETHE_TRY(run(h, max_windows, &windows, err));
    for (size_t w = 0; w < windows; w++) {
        for (size_t i = 0; i < h->seq[w].n; i++) {
            const float *x = h->raw + (w * h->ctx + i) * h->d;
            int32_t token = h->seq[w].token[i];
            if (special(h, token)) {
                h->stats.special++;
                continue;
            }
            if (h->stats.max_norm > 0 && norm(x, h->d) > h->stats.max_norm) {
                h->stats.outliers++;
                continue;
            }
            memmove(h->raw + n * h->d, x, h->d * sizeof *x); /* n <= its own place: to the front */
            h->row_token[n] = token;
            h->row_pos[n] = (int32_t)i;
            h->row_role[n++] = h->seq_role[w];
        }
    }
    h->stats.windows += windows;
    for (size_t w = 0; w < windows; w++) h->stats.tokens += h->seq[w].n;
    h->stats.rows += n;
    *rows = (lethe_harvest_rows){n, h->raw, h->row_token, h->row_pos, h->row_role, windows};
    return LETHE_OK;
}

lethe_status lethe_harvester_restart(lethe_harvester *h, uint64_t skip_windows, lethe_err *err) {
    h->stats =
        (lethe_harvest_stats){.max_norm = h->stats.max_norm, .keep_share = h->stats.keep_share};
    return h->source.restart(h->source.user, skip_windows, err);
}

const lethe_harvest_stats *lethe_harvester_stats(const lethe_harvester *h) {
    return &h->stats;
}
