/* SPDX-License-Identifier: MIT
 *
 * The other half of the questions: what no choice has seen, asked in the end.
 */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "stage/tune_parts.h"

/* The reference experiment: difference of means, its own thresholds, the 100 best, scale -3, and no
 * texts but forget and retain. */
static lethe_status report_reference(tuning *t, lethe_gauge *g, lethe_trial *trial,
                                     lethe_err *err) {
    lethe_feature_opts o = lethe_feature_defaults();
    trial->params = (lethe_tune_params){.layer = (int)t->p->config->layer,
                                        .num_features = o.num_features,
                                        .select = lethe_tune_select_of(&o),
                                        .how = lethe_intervention_scale(-3)};
    return lethe_tune_measure(t, g, trial, &o, false, true, err);
}

static int by_damage(const void *a, const void *b) {
    const lethe_trial *x = a, *y = b;
    return (x->point.damage > y->point.damage) - (x->point.damage < y->point.damage);
}

/* The same removal on the other half; without time left it is marked as not measured. */
static lethe_status again(tuning *t, lethe_gauge *g, lethe_trial *trial, bool must,
                          lethe_err *err) {
    double gone = lethe_seconds() - t->start;
    if (!must && t->opts->minutes > 0 && gone > 60 * t->opts->minutes) {
        trial->failed = true;
        return LETHE_OK;
    }
    if (trial->number) return lethe_tune_try(t, g, trial, true, err);
    *trial = t->out->report.given;
    return LETHE_OK;
}

static lethe_status report_front(tuning *t, lethe_gauge *g, lethe_err *err) {
    lethe_tune_result *r = t->out;
    lethe_tune_report *o = &r->report;
    LETHE_TRY(lethe_zalloc(&o->front, r->n, sizeof *o->front, "the front", err));
    for (size_t i = 0; i < r->n;
         i++) /* the last round may choose what a trial's questions did not */
        if ((!r->trial[i].rank && !r->trial[i].failed) || i == r->chosen)
            o->front[o->n_front++] = r->trial[i];
    qsort(o->front, o->n_front, sizeof *o->front, by_damage);
    uint64_t wanted = r->trial[r->chosen].number;
    for (size_t i = 0; i < o->n_front; i++)
        if (o->front[i].number == wanted) o->chosen = i;
    LETHE_TRY(again(t, g, &o->front[o->chosen], true, err));
    for (size_t i = 0; i < o->n_front; i++)
        if (i != o->chosen) LETHE_TRY(again(t, g, &o->front[i], false, err));
    return LETHE_OK;
}

static bool same_kind(const lethe_tune_params *a, const lethe_tune_params *b) {
    return a->select == b->select && a->how.method == b->how.method &&
           a->how.gated == b->how.gated && a->how.unit == b->how.unit &&
           a->how.guard == b->how.guard && (!a->how.guard || a->how.guard_by == b->how.guard_by);
}

/* Of every method, ranking and guard the trial with the least cost. */
static lethe_status report_best(tuning *t, lethe_gauge *g, lethe_err *err) {
    lethe_tune_result *r = t->out;
    lethe_tune_report *o = &r->report;
    LETHE_TRY(lethe_zalloc(&o->best, r->n, sizeof *o->best, "the best of each method", err));
    for (size_t i = 1; i < r->n; i++) {
        size_t at = 0;
        while (at < o->n_best && !same_kind(&o->best[at].params, &r->trial[i].params)) at++;
        if (at < o->n_best &&
            lethe_tune_cost(t, o->best[at].point) <= lethe_tune_cost(t, r->trial[i].point))
            continue;
        o->best[at] = r->trial[i];
        if (at == o->n_best) o->n_best++;
    }
    for (size_t i = 0; i < o->n_best; i++) {
        lethe_tune_show(t, false);
        LETHE_TRY(again(t, g, &o->best[i], false, err));
    }
    return LETHE_OK;
}

lethe_status lethe_tune_report_half(tuning *t, lethe_err *err) {
    lethe_tune_report *o = &t->out->report;
    lethe_gauge *g = NULL;
    LETHE_TRY(lethe_tune_gauge(t, LETHE_SPLIT_REPORT, true, &g, err));
    o->baseline = *lethe_gauge_baseline(g);
    lethe_status st = lethe_tune_measure_given(t, g, &o->given, err);
    if (!st) st = report_reference(t, g, &o->reference, err);
    if (!st) st = report_front(t, g, err);
    if (!st && t->opts->compare) st = report_best(t, g, err);
    lethe_gauge_close(&g);
    return st;
}
