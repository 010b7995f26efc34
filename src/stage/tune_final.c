/* SPDX-License-Identifier: MIT
 *
 * The last round of a search: a trial asks few questions, so that there can be many, and the least
 * cost of many is partly luck. The best of them are asked all questions of their half; the choice
 * is by that.
 */
#include <math.h>

#include "base/mem.h"
#include "stage/tune_parts.h"

/* Of one layer, ranking and method so many at most: kinds differ more than variants. */
#define VARIANTS 2

/* Whether it adds something to those that are in. */
static bool adds(const lethe_tune_result *r, const lethe_trial *x) {
    size_t variants = 0;
    for (size_t i = 0; i < r->n_final; i++) {
        const lethe_trial *y = &r->final[i];
        if (x->number == y->number) return false;
        if (!lethe_genome_alike(&x->genome, &y->genome)) continue;
        /* The same removal by another name: more features asked for than passed. */
        if (x->features == y->features && x->point.left == y->point.left &&
            x->point.damage == y->point.damage)
            return false;
        if (++variants == VARIANTS) return false;
    }
    return true;
}

/* The trials of least cost, the least first, into r->final. */
static lethe_status pick(tuning *t, lethe_err *err) {
    lethe_tune_result *r = t->out;
    LETHE_TRY(lethe_alloc(&r->final, LETHE_TUNE_FINALISTS, sizeof *r->final, "a last round", err));
    while (r->n_final < LETHE_TUNE_FINALISTS) {
        const lethe_trial *best = NULL;
        for (size_t i = 0; i < r->n; i++) {
            const lethe_trial *x = &r->trial[i];
            if (x->failed || x->figures.partial || isinf(lethe_tune_cost(t, x->point)) ||
                !adds(r, x))
                continue;
            if (!best || lethe_tune_cost(t, x->point) < lethe_tune_cost(t, best->point)) best = x;
        }
        if (!best) break;
        r->final[r->n_final++] = *best;
    }
    return LETHE_OK;
}

lethe_status lethe_tune_final(tuning *t, lethe_err *err) {
    lethe_tune_result *r = t->out;
    LETHE_TRY(pick(t, err));
    if (r->n_final < 2) return LETHE_OK;
    lethe_gauge *g = NULL;
    LETHE_TRY(lethe_tune_gauge(t, LETHE_SPLIT_TUNE, true, &g, err));
    lethe_status st = LETHE_OK;
    uint64_t chosen = r->trial[r->chosen].number;
    for (size_t i = 0; i < r->n_final && !st; i++) {
        lethe_trial *x = &r->final[i];
        lethe_tune_show(t, false);
        st =
            x->number ? lethe_tune_try(t, g, x, true, err) : lethe_tune_measure_given(t, g, x, err);
        if (st || !(lethe_tune_cost(t, x->point) < t->dearest)) continue;
        t->dearest = lethe_tune_cost(t, x->point);
        chosen = x->number;
    }
    t->dearest = INFINITY;
    lethe_gauge_close(&g);
    for (size_t i = 0; i < r->n; i++)
        if (r->trial[i].number == chosen) r->chosen = i;
    return st;
}
