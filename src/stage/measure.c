/* SPDX-License-Identifier: MIT */
#include "stage/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FAR 1e9

void lethe_measures_free(lethe_measures *m) {
    for (size_t i = 0; i < m->n; i++) {
        lethe_measure *one = &m->item[i];
        for (size_t j = 0; j < one->n; j++) {
            lethe_free(one->item[j].prompt);
            lethe_free(one->item[j].target);
            lethe_free(one->item[j].fact);
            for (int s = 0; s < LETHE_SIDES; s++) json_decref(one->item[j].more[s]);
        }
        lethe_free(one->item);
        lethe_free(one->name);
        lethe_free(one->title);
        lethe_free(one->domain);
    }
    lethe_free(m->item);
    *m = (lethe_measures){0};
}

static bool same_domain(const char *a, const char *b) {
    return a && b ? !strcmp(a, b) : a == b;
}

static lethe_measure *find(const lethe_measures *m, const char *name, const char *domain) {
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->item[i].name, name) && same_domain(m->item[i].domain, domain))
            return &m->item[i];
    return NULL;
}

const lethe_measure *lethe_measures_find(const lethe_measures *m, const char *name,
                                         const char *domain) {
    return find(m, name, domain);
}

lethe_status lethe_measures_open(lethe_measures *m, const lethe_measure_kind *kind,
                                 const char *domain, lethe_measure **out, lethe_err *err) {
    if ((*out = find(m, kind->name, domain))) return LETHE_OK;
    LETHE_TRY(lethe_grow(&m->item, &m->cap, m->n, m->n + 1, sizeof *m->item, "measures", err));
    lethe_measure *one = &m->item[m->n++];
    *one = (lethe_measure){.group = kind->group,
                           .name = lethe_strdup(kind->name),
                           .title = lethe_strdup(kind->title),
                           .domain = lethe_strdup(domain),
                           .rises = kind->rises,
                           .exponential = kind->exponential};
    snprintf(one->unit, sizeof one->unit, "%s", kind->unit);
    if (!one->name || !one->title || (domain && !one->domain))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: measures");
    *out = one;
    return LETHE_OK;
}

static double within(double x) {
    return x > FAR ? FAR : x < -FAR ? -FAR : x;
}

lethe_status lethe_measure_add(lethe_measure *m, const char *prompt, const char *target,
                               const char *fact, double baseline, double ablated,
                               lethe_measure_item **out, lethe_err *err) {
    if (isnan(baseline) || isnan(ablated))
        return lethe_fail(err, LETHE_NONFINITE, "%s: item %zu is not a number", m->name, m->n);
    LETHE_TRY(lethe_grow(&m->item, &m->cap, m->n, m->n + 1, sizeof *m->item, "measures", err));
    lethe_measure_item *item = &m->item[m->n++];
    *item = (lethe_measure_item){.prompt = lethe_strdup(prompt),
                                 .target = lethe_strdup(target),
                                 .fact = lethe_strdup(fact),
                                 .value = {within(baseline), within(ablated)},
                                 .weight = 1};
    if (out) *out = item;
    return (prompt && !item->prompt) || (target && !item->target) || (fact && !item->fact)
               ? lethe_fail(err, LETHE_NOMEM, "out of memory: measures")
               : LETHE_OK;
}

/* exp of all three; with one baseline held, the difference of b and a is a (exp(log b - log a) -
 * 1), which at the mean is exactly b - a. */
static void exponentiate(lethe_measure *m) {
    double base = exp(m->side[LETHE_BASELINE].mean);
    for (int s = 0; s < LETHE_SIDES; s++) {
        lethe_interval *i = &m->side[s];
        i->mean = exp(i->mean);
        i->low = exp(i->low);
        i->high = exp(i->high);
    }
    lethe_interval *d = &m->difference;
    d->mean = base * expm1(d->mean);
    d->low = base * expm1(d->low);
    d->high = base * expm1(d->high);
}

/* What finish() works with, for as many items as the largest measure has. */
typedef struct columns {
    double *side[LETHE_SIDES], *weight;
    const lethe_measure_item **by_fact;
    size_t *group;
} columns;

static int by_fact(const void *pa, const void *pb) {
    const lethe_measure_item *a = *(const lethe_measure_item *const *)pa;
    const lethe_measure_item *b = *(const lethe_measure_item *const *)pb;
    int order = a->fact && b->fact ? strcmp(a->fact, b->fact) : !!a->fact - !!b->fact;
    return order ? order : (a > b) - (a < b);
}

/* Numbers the facts in the order in which they are met. Returns how many there are. */
static size_t number_facts(const lethe_measure *m, columns *c) {
    size_t facts = 0, first = 0;
    for (size_t i = 0; i < m->n; i++) c->by_fact[i] = &m->item[i];
    qsort(c->by_fact, m->n, sizeof *c->by_fact, by_fact);
    for (size_t i = 0; i < m->n; i++) { /* each item gets the first of its fact */
        const lethe_measure_item *item = c->by_fact[i];
        bool same = i && item->fact && c->by_fact[i - 1]->fact &&
                    !strcmp(item->fact, c->by_fact[i - 1]->fact);
        size_t at = (size_t)(item - m->item);
        first = same ? first : at;
        c->group[at] = first;
    }
    for (size_t i = 0; i < m->n; i++) /* the first of a fact comes before its others */
        c->group[i] = c->group[i] == i ? facts++ : c->group[c->group[i]];
    return facts;
}

static lethe_status finish(lethe_measure *m, bool has_ablation, columns *c, lethe_err *err) {
    lethe_bootstrap_opts o = lethe_bootstrap_defaults();
    o.resamples = 1000;
    double *a = c->side[LETHE_BASELINE], *b = c->side[LETHE_ABLATED];
    for (size_t i = 0; i < m->n; i++) {
        a[i] = m->item[i].value[LETHE_BASELINE];
        b[i] = m->item[i].value[LETHE_ABLATED];
        c->weight[i] = m->item[i].weight;
    }
    m->facts = number_facts(m, c);
    const lethe_bootstrap_items items = {m->n, c->weight, c->group, m->facts};
    LETHE_TRY(lethe_bootstrap_mean(a, &items, &o, &m->side[LETHE_BASELINE], err));
    if (has_ablation) {
        LETHE_TRY(lethe_bootstrap_mean(b, &items, &o, &m->side[LETHE_ABLATED], err));
        LETHE_TRY(lethe_bootstrap_difference(a, b, &items, &o, &m->difference, err));
    }
    if (m->exponential) exponentiate(m);
    return LETHE_OK;
}

lethe_status lethe_measures_finish(lethe_measures *m, bool has_ablation, lethe_err *err) {
    static const char what[] = "items of a measure";
    size_t most = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->item[i].n > most) most = m->item[i].n;
    columns c = {0};
    lethe_status st = LETHE_OK;
    for (int s = 0; s < LETHE_SIDES && !st; s++)
        st = lethe_alloc(&c.side[s], most, sizeof *c.side[s], what, err);
    if (!st) st = lethe_alloc(&c.weight, most, sizeof *c.weight, what, err);
    if (!st) st = lethe_alloc(&c.by_fact, most, sizeof *c.by_fact, what, err);
    if (!st) st = lethe_alloc(&c.group, most, sizeof *c.group, what, err);
    for (size_t i = 0; i < m->n && !st; i++) st = finish(&m->item[i], has_ablation, &c, err);
    for (int s = 0; s < LETHE_SIDES; s++) lethe_free(c.side[s]);
    lethe_free(c.weight);
    lethe_free(c.by_fact);
    lethe_free(c.group);
    return st;
}
