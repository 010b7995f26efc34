/* SPDX-License-Identifier: MIT
 *
 * What the judges say, counted: judge.json and the tables for people.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/bootstrap.h"
#include "stage/judge.h"
#include "stage/kappa.h"

typedef struct tally {
    size_t count[LETHE_SIDES][LETHE_JUDGE_CLASSES];
    size_t unjudged[LETHE_SIDES];
    lethe_interval explicit_share[LETHE_SIDES], difference; /* of pairs with both sides judged */
} tally;

/* Is pair i of this domain? NULL: of any. */
static bool counts(const lethe_judging *j, size_t i, const char *domain) {
    return !domain || !strcmp(j->pair[i].domain, domain);
}

/* 1 for each Explicit label of a side, 0 for another class; of both sides for the pairs that have
 * both. a, b: room for pairs. */
static lethe_status shares(const lethe_judging *j, size_t judge, const char *domain, double *a,
                           double *b, tally *t, lethe_err *err) {
    lethe_bootstrap_opts o = lethe_bootstrap_defaults();
    lethe_bootstrap_items items = {0};
    o.seed = j->seed;
    for (size_t s = 0; s < j->sides; s++) {
        size_t n = 0;
        for (size_t i = 0; i < j->n; i++) {
            lethe_judge_class is = lethe_judging_label(j, judge, i, (lethe_eval_side)s)->is;
            if (is >= 0 && counts(j, i, domain)) a[n++] = is == LETHE_JUDGE_EXPLICIT;
        }
        items.n = n;
        LETHE_TRY(lethe_bootstrap_mean(a, &items, &o, &t->explicit_share[s], err));
    }
    if (j->sides < LETHE_SIDES) return LETHE_OK;
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) {
        lethe_judge_class x = lethe_judging_label(j, judge, i, LETHE_BASELINE)->is,
                          y = lethe_judging_label(j, judge, i, LETHE_ABLATED)->is;
        if (x < 0 || y < 0 || !counts(j, i, domain)) continue;
        a[n] = x == LETHE_JUDGE_EXPLICIT;
        b[n++] = y == LETHE_JUDGE_EXPLICIT;
    }
    items.n = n;
    return lethe_bootstrap_difference(a, b, &items, &o, &t->difference, err);
}

static lethe_status tally_of(const lethe_judging *j, size_t judge, const char *domain, tally *t,
                             lethe_err *err) {
    *t = (tally){0};
    for (size_t i = 0; i < j->n; i++)
        for (size_t s = 0; s < j->sides && counts(j, i, domain); s++) {
            lethe_judge_class is = lethe_judging_label(j, judge, i, (lethe_eval_side)s)->is;
            if (is >= 0)
                t->count[s][is]++;
            else
                t->unjudged[s]++;
        }
    double *x;
    LETHE_TRY(lethe_alloc(&x, 2 * j->n, sizeof *x, "labels as numbers", err));
    lethe_status st = shares(j, judge, domain, x, x + j->n, t, err);
    lethe_free(x);
    return st;
}

static lethe_status agreement(const lethe_judging *j, size_t a, size_t b, lethe_kappa *out,
                              lethe_err *err) {
    size_t n = j->n * j->sides;
    int *x;
    LETHE_TRY(lethe_alloc(&x, 2 * n, sizeof *x, "labels as numbers", err));
    for (size_t i = 0; i < n; i++) {
        x[i] = j->judge[a].label[i].is;
        x[n + i] = j->judge[b].label[i].is;
    }
    lethe_status st = lethe_kappa_of(x, x + n, n, LETHE_JUDGE_CLASSES, out, err);
    lethe_free(x);
    return st;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *text(const char *s) {
    return lethe_json_text(s, strlen(s));
}

static json_t *interval_json(const lethe_interval *i, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "mean", lethe_json_real(i->mean), ok);
    lethe_json_put(o, "low", lethe_json_real(i->low), ok);
    lethe_json_put(o, "high", lethe_json_real(i->high), ok);
    lethe_json_put(o, "n", json_integer((json_int_t)i->n), ok);
    return o;
}

/* counts, unjudged and explicit_share of a tally, into o. */
static void put_tally(const lethe_judging *j, const tally *t, json_t *o, bool *ok) {
    json_t *all = json_object(), *unjudged = json_object(), *share = json_object();
    for (size_t s = 0; s < j->sides; s++) {
        const char *side = lethe_judge_side_name((lethe_eval_side)s);
        json_t *c = json_object();
        for (int k = 0; k < LETHE_JUDGE_CLASSES; k++)
            lethe_json_put(c, lethe_judge_class_name((lethe_judge_class)k),
                           json_integer((json_int_t)t->count[s][k]), ok);
        lethe_json_put(all, side, c, ok);
        lethe_json_put(unjudged, side, json_integer((json_int_t)t->unjudged[s]), ok);
        lethe_json_put(share, side, interval_json(&t->explicit_share[s], ok), ok);
    }
    if (j->sides == LETHE_SIDES)
        lethe_json_put(share, "difference", interval_json(&t->difference, ok), ok);
    lethe_json_put(o, "counts", all, ok);
    lethe_json_put(o, "unjudged", unjudged, ok);
    lethe_json_put(o, "explicit_share", share, ok);
}

static lethe_status put_domains(const lethe_judging *j, size_t judge, json_t *o, bool *ok,
                                lethe_err *err) {
    json_t *domains = json_object();
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < j->n && !st; i++) {
        const char *name = j->pair[i].domain;
        tally t;
        if (!*name || json_object_get(domains, name)) continue;
        st = tally_of(j, judge, name, &t, err);
        if (st) break;
        json_t *d = json_object();
        put_tally(j, &t, d, ok);
        lethe_json_put(domains, name, d, ok);
    }
    lethe_json_put(o, "by_domain", domains, ok);
    return st;
}

static lethe_status judge_json(const lethe_judging *j, size_t judge, json_t *list, bool *ok,
                               lethe_err *err) {
    tally t;
    LETHE_TRY(tally_of(j, judge, NULL, &t, err));
    const lethe_judge *g = &j->judge[judge];
    json_t *o = json_object();
    lethe_json_put(o, "name", text(g->name), ok);
    lethe_json_put(o, "kind", text(lethe_judge_kind_name(g->kind)), ok);
    put_tally(j, &t, o, ok);
    lethe_status st = put_domains(j, judge, o, ok, err);
    lethe_json_append(list, o, ok);
    return st;
}

static void labels_json(const lethe_judging *j, size_t judge, json_t *list, bool *ok) {
    for (size_t i = 0; i < j->n; i++)
        for (size_t s = 0; s < j->sides; s++) {
            lethe_eval_side side = (lethe_eval_side)s;
            const lethe_judge_label *l = lethe_judging_label(j, judge, i, side);
            if (l->is == LETHE_JUDGE_OPEN) continue;
            json_t *o = json_object();
            lethe_json_put(o, "index", json_integer((json_int_t)i), ok);
            lethe_json_put(o, "side", text(lethe_judge_side_name(side)), ok);
            lethe_json_put(o, "judge", text(j->judge[judge].name), ok);
            lethe_json_put(o, "class",
                           l->is >= 0 ? text(lethe_judge_class_name(l->is)) : json_null(), ok);
            lethe_json_put(o, "reason", text(l->reason ? l->reason : ""), ok);
            lethe_json_put(o, "key", text(j->pair[i].key[s]), ok);
            lethe_json_append(list, o, ok);
        }
}

static lethe_status agreement_json(const lethe_judging *j, json_t *list, bool *ok, lethe_err *err) {
    for (size_t a = 0; a < j->n_judges; a++)
        for (size_t b = a + 1; b < j->n_judges; b++) {
            lethe_kappa k;
            LETHE_TRY(agreement(j, a, b, &k, err));
            json_t *o = json_object();
            lethe_json_put(o, "a", text(j->judge[a].name), ok);
            lethe_json_put(o, "b", text(j->judge[b].name), ok);
            lethe_json_put(o, "n", json_integer((json_int_t)k.n), ok);
            lethe_json_put(o, "kappa", lethe_json_real(k.kappa), ok);
            lethe_json_put(o, "observed", lethe_json_real(k.observed), ok);
            lethe_json_put(o, "expected", lethe_json_real(k.expected), ok);
            lethe_json_append(list, o, ok);
        }
    return LETHE_OK;
}

lethe_status lethe_judging_json(const lethe_judging *j, json_t **out, lethe_err *err) {
    bool ok = true;
    lethe_status st = LETHE_OK;
    json_t *top = json_object(), *judges = json_array(), *labels = json_array(),
           *agree = json_array();
    for (size_t i = 0; i < j->n_judges && !st; i++) {
        st = judge_json(j, i, judges, &ok, err);
        labels_json(j, i, labels, &ok);
    }
    if (!st) st = agreement_json(j, agree, &ok, err);
    lethe_json_put(top, "format", text("lethe-judge-1"), &ok);
    lethe_json_put(top, "judges", judges, &ok);
    lethe_json_put(top, "labels", labels, &ok);
    lethe_json_put(top, "agreement", agree, &ok);
    if (!st && !ok) st = lethe_fail(err, LETHE_NOMEM, "out of memory: the labels as JSON");
    if (st)
        json_decref(top);
    else
        *out = top;
    return st;
}

lethe_status lethe_judging_save(const lethe_judging *j, lethe_err *err) {
    json_t *o;
    LETHE_TRY(lethe_judging_json(j, &o, err));
    lethe_status st = lethe_json_save(o, j->path, err);
    json_decref(o);
    return st;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void percent(lethe_strbuf *out, const lethe_interval *i, bool sign) {
    if (isnan(i->mean))
        lethe_strbuf_adds(out, "  -");
    else
        lethe_strbuf_addf(out, sign ? "  %+.1f %% (%+.1f to %+.1f)" : "  %.1f %% (%.1f to %.1f)",
                          100 * i->mean, 100 * i->low, 100 * i->high);
}

lethe_status lethe_judging_table(const lethe_judging *j, lethe_strbuf *out, lethe_err *err) {
    int wide = 5;
    for (size_t i = 0; i < j->n_judges; i++) {
        int n = (int)strlen(j->judge[i].name);
        if (n > wide) wide = n < 40 ? n : 40;
    }
    lethe_strbuf_addf(out,
                      "%-*s  side      Explicit  Thematic  Accidental  None  unjudged  "
                      "explicit share (95 %%)\n",
                      wide, "judge");
    for (size_t i = 0; i < j->n_judges; i++) {
        tally t;
        LETHE_TRY(tally_of(j, i, NULL, &t, err));
        for (size_t s = 0; s < j->sides; s++) {
            lethe_strbuf_addf(out, "%-*.40s  %-8s  %8zu  %8zu  %10zu  %4zu  %8zu", wide,
                              s ? "" : j->judge[i].name, lethe_judge_side_name((lethe_eval_side)s),
                              t.count[s][0], t.count[s][1], t.count[s][2], t.count[s][3],
                              t.unjudged[s]);
            percent(out, &t.explicit_share[s], false);
            lethe_strbuf_adds(out, "\n");
        }
        if (j->sides < LETHE_SIDES) continue;
        lethe_strbuf_addf(out, "%-*s  %-8s  %46s", wide, "", "change", "");
        percent(out, &t.difference, true);
        lethe_strbuf_adds(out, "\n");
    }
    if (j->n_judges > 1) lethe_strbuf_adds(out, "\nagreement (Cohen's kappa)\n");
    for (size_t a = 0; a < j->n_judges; a++)
        for (size_t b = a + 1; b < j->n_judges; b++) {
            lethe_kappa k;
            LETHE_TRY(agreement(j, a, b, &k, err));
            lethe_strbuf_addf(out, "%s and %s: ", j->judge[a].name, j->judge[b].name);
            if (!k.n) {
                lethe_strbuf_adds(out, "no completion that both judged\n");
                continue;
            }
            if (isnan(k.kappa))
                lethe_strbuf_adds(out, "kappa undefined");
            else
                lethe_strbuf_addf(out, "kappa %.2f", k.kappa);
            lethe_strbuf_addf(out, ", the same class for %.1f %% of %zu\n", 100 * k.observed, k.n);
        }
    return out->status ? lethe_fail(err, LETHE_NOMEM, "out of memory: the table") : LETHE_OK;
}
