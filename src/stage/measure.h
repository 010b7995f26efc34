/* SPDX-License-Identifier: MIT
 *
 * Figures with their intervals and what they are the means of. A measure is one figure about one
 * domain: a mean over items, baseline and ablated, each with the 95 % interval of bootstrap.h, and
 * the difference with that of the pairs. docs/evaluation.md says what each measure is.
 */
#ifndef LETHE_STAGE_MEASURE_H
#define LETHE_STAGE_MEASURE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/strbuf.h"
#include "stage/bootstrap.h"

/* Which of the two models a figure is about; indexes the pairs below. */
typedef enum lethe_eval_side { LETHE_BASELINE, LETHE_ABLATED, LETHE_SIDES } lethe_eval_side;

typedef enum lethe_measure_group {
    LETHE_MEASURE_FORGET,
    LETHE_MEASURE_RETAIN,
    LETHE_MEASURE_ATTACK
} lethe_measure_group;

/* What kind of figure it is; strings are borrowed and copied by those who keep them. */
typedef struct lethe_measure_kind {
    lethe_measure_group group;
    const char *name;  /* "verbatim_rouge_l" */
    const char *title; /* for people */
    const char *unit;  /* "share", "nats", "ratio" */
    bool rises;        /* with forgetting; in LETHE_MEASURE_RETAIN: with damage */
    bool exponential;  /* the figure is exp of the items' mean: perplexity. Of the difference then
                          only the ratio of the two is resampled, with the baseline held */
} lethe_measure_kind;

typedef struct lethe_measure_item { /* owned */
    char *prompt, *target;          /* NULL: there is none */
    char *fact;                     /* items of one fact are drawn together; NULL: its own */
    double value[LETHE_SIDES];      /* finite */
    double weight;                  /* 1; tokens of a window */
    json_t *more[LETHE_SIDES];      /* an object: what else is to be kept of it; or NULL */
} lethe_measure_item;

typedef struct lethe_measure { /* owned */
    lethe_measure_group group;
    char *name, *title, *domain; /* domain NULL: of none */
    char unit[16];
    bool rises, exponential;
    lethe_measure_item *item; /* [n] */
    size_t n, cap;
    size_t facts;                                 /* how many are independent; once finished */
    lethe_interval side[LETHE_SIDES], difference; /* once finished */
} lethe_measure;

typedef struct lethe_measures {
    lethe_measure *item; /* [n] in the order of reporting */
    size_t n, cap;
} lethe_measures;

void lethe_measures_free(lethe_measures *m); /* accepts a zeroed one; zeroes it */

/* The measure of that name and domain (NULL: of none), which is added if it is not there; *out is
 * valid until the next call. Fails: NOMEM. */
lethe_status lethe_measures_open(lethe_measures *m, const lethe_measure_kind *kind,
                                 const char *domain, lethe_measure **out, lethe_err *err);
const lethe_measure *lethe_measures_find(const lethe_measures *m, const char *name,
                                         const char *domain);

/* Adds an item with weight 1; *out (may be NULL): it, until the next call. prompt, target and fact
 * are copied, NULL for none. Values that are not finite are pulled to +-1e9, so that an infinite
 * loss still counts as a large one; NaN is a failure. Fails: NONFINITE, NOMEM. */
lethe_status lethe_measure_add(lethe_measure *m, const char *prompt, const char *target,
                               const char *fact, double baseline, double ablated,
                               lethe_measure_item **out, lethe_err *err);

/* Means and intervals of all. Fails: as lethe_bootstrap_mean. */
lethe_status lethe_measures_finish(lethe_measures *m, bool has_ablation, lethe_err *err);

/* {"mean", "low", "high"}. */
json_t *lethe_interval_json(const lethe_interval *i, bool *ok);

/* The list "measures" of eval.json: group, name, title, domain, unit, n, facts, forgetting,
 * baseline, ablated, difference. New reference; *ok as lethe_json_put. */
json_t *lethe_measures_json(const lethe_measures *m, bool has_ablation, bool *ok);

/* eval_items.jsonl: {"measure", "domain", "item", "prompt", "target", "baseline": {"value", ..},
 * "ablated": {..}} a line. Fails: IO, NOMEM. */
lethe_status lethe_measures_save(const lethe_measures *m, bool has_ablation, const char *path,
                                 lethe_err *err);

/* For people: a line a measure, with intervals. */
void lethe_measures_table(const lethe_measures *m, bool has_ablation, lethe_strbuf *out);

#endif
