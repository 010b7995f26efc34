/* SPDX-License-Identifier: MIT
 *
 * A sequence keeps a number a position. Of its window it keeps the first position, how many that
 * count are in it and how many of them fired, so a position costs O(1); a rewind goes through the
 * positions again.
 */
#include "stage/guard.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct lethe_guard_seq {
    float *says; /* [n] of each position */
    size_t n, cap;
    size_t tail, counted, fired; /* share: of the window */
    double sum;                  /* evidence: g_t */
    double most;
} sequence;

static const char *const statistics[] = {"share", "evidence"};

const char *lethe_guard_by_name(lethe_guard_by by) {
    return statistics[by == LETHE_GUARD_EVIDENCE];
}

bool lethe_guard_by_from_name(const char *name, lethe_guard_by *out) {
    for (int by = 0; by < 2; by++)
        if (!strcmp(name, statistics[by])) {
            *out = (lethe_guard_by)by;
            return true;
        }
    return false;
}

void lethe_guard_free(lethe_guard *g) {
    for (size_t i = 0; i < g->n; i++) lethe_free(g->seq[i].says);
    lethe_free(g->seq);
    *g = (lethe_guard){0};
}

/* The newest position moves the window on. */
static double share_now(sequence *s, size_t window) {
    s->counted++;
    s->fired += s->says[s->n - 1] > 0;
    if (window && s->counted > window) {
        while (isnan(s->says[s->tail])) s->tail++;
        s->fired -= s->says[s->tail++] > 0;
        s->counted--;
    }
    size_t of = window ? window : s->counted > LETHE_GUARD_LEAST ? s->counted : LETHE_GUARD_LEAST;
    return (double)s->fired / (double)of;
}

static double evidence_now(sequence *s) {
    return s->sum = fmax(0, s->sum + (double)s->says[s->n - 1]);
}

/* Position s->n - 1 is the newest. */
static void count_newest(sequence *s, lethe_guard_by by, size_t window) {
    if (isnan(s->says[s->n - 1])) return;
    double now = by == LETHE_GUARD_EVIDENCE ? evidence_now(s) : share_now(s, window);
    if (now > s->most) s->most = now;
}

static void rewind_to(sequence *s, size_t n, lethe_guard_by by, size_t window) {
    s->n = s->tail = s->counted = s->fired = 0;
    s->most = s->sum = 0;
    while (s->n < n) {
        s->n++;
        count_newest(s, by, window);
    }
}

static lethe_status add_sequences(lethe_guard *g, size_t n, lethe_err *err) {
    if (n <= g->n) return LETHE_OK;
    LETHE_TRY(lethe_grow(&g->seq, &g->cap, g->n, n, sizeof *g->seq, "guarded sequences", err));
    while (g->n < n) g->seq[g->n++] = (sequence){0};
    return LETHE_OK;
}

lethe_status lethe_guard_see(lethe_guard *g, int32_t seq, int32_t pos, float says,
                             lethe_guard_by by, size_t window, double *most, lethe_err *err) {
    assert(seq >= 0 && pos >= 0);
    LETHE_TRY(add_sequences(g, (size_t)seq + 1, err));
    sequence *s = &g->seq[seq];
    size_t at = (size_t)pos;
    LETHE_TRY(lethe_grow(&s->says, &s->cap, s->n, at + 1, sizeof *s->says,
                         "positions of a guarded sequence", err));
    if (at < s->n) rewind_to(s, at, by, window);
    while (s->n < at) s->says[s->n++] = LETHE_GUARD_SKIPPED;
    s->says[s->n++] = says;
    count_newest(s, by, window);
    *most = s->most;
    return LETHE_OK;
}

int32_t lethe_guard_length(const lethe_guard *g, int32_t seq) {
    return seq >= 0 && (size_t)seq < g->n ? (int32_t)g->seq[seq].n : 0;
}

double lethe_guard_most(const lethe_guard *g, int32_t seq) {
    return seq >= 0 && (size_t)seq < g->n ? g->seq[seq].most : 0;
}

static int rising(const void *pa, const void *pb) {
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

double lethe_guard_quantile(double *value, size_t n, double q) {
    assert(n);
    qsort(value, n, sizeof *value, rising);
    double rank = ceil(q * (double)n);
    size_t at = rank < 1 ? 0 : rank > (double)n ? n - 1 : (size_t)rank - 1;
    return value[at];
}
