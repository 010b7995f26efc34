/* SPDX-License-Identifier: MIT
 *
 * A sequence keeps a byte a position. Of its window it keeps the first position, how many that
 * count are in it and how many of them fired, so a position costs O(1); a rewind goes through the
 * positions again.
 */
#include "stage/guard.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

typedef struct lethe_guard_seq {
    uint8_t *sight; /* [n] lethe_guard_sight of each position */
    size_t n, cap;
    size_t tail, counted, fired; /* of the window */
    double most;
} sequence;

void lethe_guard_free(lethe_guard *g) {
    for (size_t i = 0; i < g->n; i++) lethe_free(g->seq[i].sight);
    lethe_free(g->seq);
    *g = (lethe_guard){0};
}

/* Position s->n - 1 is the newest. */
static void count_newest(sequence *s, size_t window) {
    uint8_t sight = s->sight[s->n - 1];
    if (sight == LETHE_GUARD_SKIPPED) return;
    s->counted++;
    s->fired += sight == LETHE_GUARD_FIRED;
    if (window && s->counted > window) {
        while (s->sight[s->tail] == LETHE_GUARD_SKIPPED) s->tail++;
        s->fired -= s->sight[s->tail++] == LETHE_GUARD_FIRED;
        s->counted--;
    }
    size_t of = window ? window : s->counted > LETHE_GUARD_LEAST ? s->counted : LETHE_GUARD_LEAST;
    double share = (double)s->fired / (double)of;
    if (share > s->most) s->most = share;
}

static void rewind_to(sequence *s, size_t n, size_t window) {
    s->n = s->tail = s->counted = s->fired = 0;
    s->most = 0;
    while (s->n < n) {
        s->n++;
        count_newest(s, window);
    }
}

static lethe_status add_sequences(lethe_guard *g, size_t n, lethe_err *err) {
    if (n <= g->n) return LETHE_OK;
    LETHE_TRY(lethe_grow(&g->seq, &g->cap, g->n, n, sizeof *g->seq, "guarded sequences", err));
    while (g->n < n) g->seq[g->n++] = (sequence){0};
    return LETHE_OK;
}

lethe_status lethe_guard_see(lethe_guard *g, int32_t seq, int32_t pos, lethe_guard_sight sight,
                             size_t window, double *most, lethe_err *err) {
    assert(seq >= 0 && pos >= 0);
    LETHE_TRY(add_sequences(g, (size_t)seq + 1, err));
    sequence *s = &g->seq[seq];
    size_t at = (size_t)pos;
    LETHE_TRY(lethe_grow(&s->sight, &s->cap, s->n, at + 1, sizeof *s->sight,
                         "positions of a guarded sequence", err));
    if (at < s->n) rewind_to(s, at, window);
    while (s->n < at) s->sight[s->n++] = LETHE_GUARD_SKIPPED;
    s->sight[s->n++] = (uint8_t)sight;
    count_newest(s, window);
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
