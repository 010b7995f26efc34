/* SPDX-License-Identifier: MIT
 *
 * Reading the results. What the report shows as a number is checked here or where a table is made;
 * a part of another type than it should be is an error that names the place, a part that is not
 * there is left out.
 */
#include <float.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "stage/report_parts.h"

const char *const lethe_report_classes[4] = {"Explicit", "Thematic", "Accidental", "None"};

json_t *lethe_report_at(const json_t *top, const char *path) {
    json_t *at = (json_t *)(uintptr_t)top; /* jansson's getters take const and give what is not */
    char key[96];
    while (at && *path) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof key) return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        at = json_object_get(at, key);
        path += n + (path[n] == '.');
    }
    return at;
}

/* ---- values --------------------------------------------------------------------------------- */

/* value = object[key]; not known where that is absent or null. */
static lethe_status get_value(const lethe_json_ref *object, const char *key, report_value *out,
                              lethe_err *err) {
    lethe_json_ref r = lethe_json_key(object, key);
    if (!r.value || json_is_null(r.value)) return LETHE_OK;
    LETHE_TRY(lethe_json_want_real(&r, -DBL_MAX, DBL_MAX, &out->v, err));
    out->known = true;
    return LETHE_OK;
}

static bool range_of(const json_t *o, report_value *out) {
    const json_t *low = json_object_get(o, "low"), *high = json_object_get(o, "high");
    if (json_is_array(o)) {
        low = json_array_get(o, 0);
        high = json_array_get(o, 1);
    }
    out->interval = json_is_number(low) && json_is_number(high);
    if (!out->interval) return false;
    out->low = json_number_value(low);
    out->high = json_number_value(high);
    return true;
}

static report_value difference(const report_value *before, const report_value *after) {
    return (report_value){.known = before->known && after->known, .v = after->v - before->v};
}

/* An object at a place that may be missing; its value is NULL then. */
static lethe_status get_object(const lethe_json_ref *in, const char *key, lethe_json_ref *out,
                               lethe_err *err) {
    *out = lethe_json_key(in, key);
    if (!out->value || json_is_null(out->value)) {
        out->value = NULL;
        return LETHE_OK;
    }
    return lethe_json_want_object(out, err);
}

/* ---- domains -------------------------------------------------------------------------------- */

static void title_of(const char *key, char *out, size_t size) {
    static const char *const known[][2] = {
        {"hp", "Harry Potter"},       {"harry_potter", "Harry Potter"}, {"magic", "Generic magic"},
        {"fantasy", "Other fantasy"}, {"real_world", "The real world"}, {"oz", "Oz"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i][0], key)) {
            strncpy(out, known[i][1], size - 1);
            return;
        }
    size_t n = lethe_utf8_valid_prefix(key, strnlen(key, size - 1));
    memcpy(out, key, n);
    for (size_t i = 0; i < n; i++)
        if (out[i] == '_') out[i] = ' ';
    if (out[0] >= 'a' && out[0] <= 'z') out[0] = (char)(out[0] - 'a' + 'A');
}

/* The domain to forget: the one that the settings or a forget measure name, else one that is called
 * so, else the first. */
static size_t forget_domain(const lethe_report *r) {
    static const char *const names[] = {"forget", "target", "hp", "harry_potter"};
    size_t i;
    json_t *m;
    const char *set = json_string_value(json_object_get(r->config, "forget_domain"));
    for (size_t d = 0; set && d < r->n_domains; d++)
        if (!strcmp(set, r->domain[d].key)) return d;
    json_array_foreach(json_object_get(r->eval, "measures"), i, m) {
        const char *group = json_string_value(json_object_get(m, "group")),
                   *domain = json_string_value(json_object_get(m, "domain"));
        for (size_t d = 0; group && domain && !strcmp(group, "forget") && d < r->n_domains; d++)
            if (!strcmp(domain, r->domain[d].key)) return d;
    }
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (size_t d = 0; d < r->n_domains; d++)
            if (!strcmp(names[k], r->domain[d].key)) return d;
    return 0;
}

static void count_probes(lethe_report *r) {
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(r->eval, "probes"), i, p) {
        const char *domain = json_string_value(json_object_get(p, "domain"));
        for (size_t d = 0; domain && d < r->n_domains; d++)
            if (!strcmp(domain, r->domain[d].key)) r->domain[d].n++;
    }
}

static lethe_status read_domains(lethe_report *r, const lethe_json_ref side[REPORT_SHIFT],
                                 lethe_err *err) {
    lethe_json_ref logprobs[2] = {0}, recall[2] = {0};
    for (int s = 0; s < REPORT_SHIFT; s++) {
        if (!side[s].value) continue;
        LETHE_TRY(get_object(&side[s], "logprobs", &logprobs[s], err));
        LETHE_TRY(get_object(&side[s], "recall", &recall[s], err));
    }
    size_t n = json_object_size(logprobs[0].value);
    if (!n) return LETHE_OK;
    LETHE_TRY(lethe_zalloc(&r->domain, n, sizeof *r->domain, "the domains of a report", err));
    const char *key;
    json_t *v;
    static const char *const where[REPORT_SIDES] = {"baseline", "ablated", "difference"};
    json_t *intervals = lethe_report_at(r->eval, "metrics.intervals");
    json_object_foreach(logprobs[0].value, key, v) {
        report_domain *d = &r->domain[r->n_domains++];
        d->key = key;
        title_of(key, d->title, sizeof d->title);
        for (int s = 0; s < REPORT_SHIFT; s++) {
            if (logprobs[s].value) LETHE_TRY(get_value(&logprobs[s], key, &d->logprob[s], err));
            if (recall[s].value) LETHE_TRY(get_value(&recall[s], key, &d->recall[s], err));
        }
        d->logprob[REPORT_SHIFT] = difference(&d->logprob[0], &d->logprob[1]);
        d->recall[REPORT_SHIFT] = difference(&d->recall[0], &d->recall[1]);
        for (int s = 0; s < REPORT_SHIFT; s++) {
            json_t *of = json_object_get(intervals, where[s]);
            range_of(json_object_get(json_object_get(of, "logprobs"), key), &d->logprob[s]);
            range_of(json_object_get(json_object_get(of, "recall"), key), &d->recall[s]);
        }
        json_t *of = json_object_get(intervals, "summary");
        range_of(json_object_get(json_object_get(of, "logprob_shifts"), key), &d->logprob[2]);
        range_of(json_object_get(json_object_get(of, "recall_shifts"), key), &d->recall[2]);
    }
    count_probes(r);
    r->domain[forget_domain(r)].forget = true;
    return LETHE_OK;
}

const report_domain *lethe_report_forgotten(const lethe_report *r) {
    for (size_t i = 0; i < r->n_domains; i++)
        if (r->domain[i].forget) return &r->domain[i];
    return NULL;
}

/* Recall of all that is to be kept: over items where their number is known, else over domains. */
static void sum_kept(lethe_report *r) {
    for (size_t i = 0; i < r->n_domains; i++) r->n_keep += r->domain[i].forget ? 0 : r->domain[i].n;
    for (int s = 0; s < REPORT_SHIFT; s++) {
        double sum = 0, weight = 0;
        for (size_t i = 0; i < r->n_domains; i++) {
            const report_domain *d = &r->domain[i];
            if (d->forget || !d->recall[s].known) continue;
            double w = r->n_keep ? (double)d->n : 1;
            sum += w * d->recall[s].v;
            weight += w;
        }
        if (weight > 0) r->recall_keep[s] = (report_value){.known = true, .v = sum / weight};
    }
    r->recall_keep[REPORT_SHIFT] = difference(&r->recall_keep[0], &r->recall_keep[1]);
}

/* ---- the rest of the metrics ---------------------------------------------------------------- */

static lethe_status read_pair(const lethe_report *r, const lethe_json_ref side[REPORT_SHIFT],
                              const char *key, report_value out[REPORT_SIDES], lethe_err *err) {
    static const char *const where[REPORT_SHIFT] = {"baseline", "ablated"};
    json_t *intervals = lethe_report_at(r->eval, "metrics.intervals");
    for (int s = 0; s < REPORT_SHIFT; s++) {
        if (side[s].value) LETHE_TRY(get_value(&side[s], key, &out[s], err));
        range_of(json_object_get(json_object_get(intervals, where[s]), key), &out[s]);
    }
    out[REPORT_SHIFT] = difference(&out[0], &out[1]);
    return LETHE_OK;
}

/* Share of fired positions; the reference names its counts otherwise. */
static report_value fired_share(const json_t *activity) {
    report_value v = {0};
    const json_t *rate = json_object_get(activity, "row_rate");
    if (!rate) rate = json_object_get(activity, "fired_rate");
    if (json_is_number(rate)) v = (report_value){.known = true, .v = json_number_value(rate)};
    return v;
}

static lethe_status read_metrics(lethe_report *r, const char *path, lethe_err *err) {
    lethe_json_ref top = lethe_json_top(r->eval, path), metrics, side[2] = {0}, summary;
    LETHE_TRY(lethe_json_want_object(&top, err));
    metrics = lethe_json_key(&top, "metrics");
    if (!metrics.value)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: no \"metrics\": not a file of results (want eval.json of a run, or "
                          "unified_eval_results.json)",
                          path);
    LETHE_TRY(lethe_json_want_object(&metrics, err));
    side[0] = lethe_json_key(&metrics, "baseline");
    LETHE_TRY(lethe_json_want_object(&side[0], err));
    LETHE_TRY(get_object(&metrics, "ablated", &side[1], err));
    LETHE_TRY(get_object(&metrics, "summary", &summary, err));
    for (int i = 0; i < 3; i++) { /* lists of objects, where they are there */
        static const char *const lists[] = {"side_by_side", "probes", "measures"};
        lethe_json_ref list = lethe_json_key(&top, lists[i]);
        size_t n = 0;
        if (list.value) LETHE_TRY(lethe_json_want_list(&list, &n, err));
        for (size_t j = 0; j < n; j++) {
            lethe_json_ref item = lethe_json_item(&list, j);
            LETHE_TRY(lethe_json_want_object(&item, err));
        }
    }
    r->baseline = side[0].value;
    r->ablated = side[1].value;
    r->summary = summary.value;
    r->config = json_object_get(r->eval, "config");
    LETHE_TRY(read_domains(r, side, err));
    LETHE_TRY(read_pair(r, side, "perplexity", r->perplexity, err));
    range_of(lethe_report_at(r->eval, "metrics.intervals.summary.ppl_change"), &r->perplexity[2]);
    LETHE_TRY(read_pair(r, side, "avg_distinct_3", r->distinct_3, err));
    LETHE_TRY(read_pair(r, side, "degeneration_rate", r->degeneration, err));
    if (summary.value) {
        LETHE_TRY(get_value(&summary, "kl_retain", &r->kl, err));
        LETHE_TRY(get_value(&summary, "top1_agreement", &r->top1, err));
        json_t *intervals = lethe_report_at(r->eval, "metrics.intervals.summary");
        range_of(json_object_get(intervals, "kl_retain"), &r->kl);
        range_of(json_object_get(intervals, "top1_agreement"), &r->top1);
    }
    const json_t *activity = json_object_get(summary.value, "hook_activity");
    r->activity = fired_share(activity);
    r->activity_text = fired_share(json_object_get(activity, "text"));
    sum_kept(r);
    return LETHE_OK;
}

static void find_worst_attack(lethe_report *r) {
    size_t i;
    json_t *m;
    json_array_foreach(json_object_get(r->eval, "measures"), i, m) {
        const char *group = json_string_value(json_object_get(m, "group")),
                   *unit = json_string_value(json_object_get(m, "unit")),
                   *title = json_string_value(json_object_get(m, "title"));
        json_t *v = lethe_report_at(m, "ablated.mean");
        if (!group || strcmp(group, "attack") || !unit || strcmp(unit, "share") || !title ||
            !json_is_number(v) ||
            (r->worst_attack.known && json_number_value(v) <= r->worst_attack.v))
            continue;
        json_t *base = lethe_report_at(m, "baseline.mean");
        r->worst_attack = (report_value){.known = true, .v = json_number_value(v)};
        r->worst_attack_base =
            (report_value){.known = json_is_number(base), .v = json_number_value(base)};
        lethe_report_measure_title(m, r->worst_attack_title, sizeof r->worst_attack_title);
    }
}

/* ---- judges --------------------------------------------------------------------------------- */

double lethe_report_judged(const json_t *judge, bool ablated, const char *class_name) {
    const json_t *n = json_object_get(
        json_object_get(json_object_get(judge, "counts"), ablated ? "ablated" : "baseline"),
        class_name);
    return json_is_number(n) && json_number_value(n) >= 0 ? json_number_value(n) : -1;
}

json_t *lethe_report_judges(const lethe_report *r) {
    bool ok = true;
    json_t *list = json_array(), *judge;
    size_t i;
    json_array_foreach(json_object_get(r->judge, "judges"), i, judge)
        lethe_json_append(list, json_incref(judge), &ok);
    json_t *before = json_object_get(r->baseline, "llm_judge"),
           *after = json_object_get(r->ablated, "llm_judge");
    if (json_is_object(before)) { /* the reference keeps the counts of its one judge there */
        json_t *counts = json_object(), *one = json_object();
        lethe_json_put(counts, "baseline", json_incref(before), &ok);
        if (json_is_object(after)) lethe_json_put(counts, "ablated", json_incref(after), &ok);
        lethe_json_put(one, "name", json_string("LLM judge"), &ok);
        lethe_json_put(one, "kind", json_string("api"), &ok);
        lethe_json_put(one, "counts", counts, &ok);
        lethe_json_append(list, one, &ok);
    }
    if (ok) return list;
    json_decref(list);
    return NULL;
}

/* ---- files ---------------------------------------------------------------------------------- */

static lethe_status note_file(lethe_report *r, const char *name, const char *path, lethe_err *err) {
    report_file *f = &r->file[r->n_files];
    f->name = name;
    LETHE_TRY(lethe_hash_file(path, f->hash, err));
    r->n_files++;
    return LETHE_OK;
}

/* Loads a file of the folder, if it is there (out NULL: only its fingerprint). */
static lethe_status load_part(lethe_report *r, const char *name, json_t **out, lethe_err *err) {
    char *path = lethe_path_join(r->dir, name);
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = LETHE_OK;
    if (lethe_path_exists(path)) {
        if (out) st = lethe_json_load(out, path, err);
        if (!st && out && !json_is_object(*out))
            st = lethe_fail(err, LETHE_FORMAT, "%s: got a list, want an object", path);
        if (!st) st = note_file(r, name, path, err);
    }
    lethe_free(path);
    return st;
}

static lethe_status load_run(lethe_report *r, lethe_err *err) {
    char *path = lethe_path_join(r->dir, "eval.json");
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = LETHE_OK;
    if (!lethe_path_exists(path))
        st = lethe_fail(err, LETHE_NOTFOUND,
                        "%s: there is no evaluation yet (make one with: lethe eval --out %s, or "
                        "lethe forget)",
                        path, r->dir);
    if (!st) st = lethe_json_load(&r->eval, path, err);
    if (!st) st = note_file(r, "eval.json", path, err);
    if (!st) st = read_metrics(r, path, err);
    lethe_free(path);
    LETHE_TRY(st);
    LETHE_TRY(load_part(r, "run.json", &r->run, err));
    LETHE_TRY(load_part(r, "judge.json", &r->judge, err));
    LETHE_TRY(load_part(r, "tune.json", &r->tune, err));
    LETHE_TRY(load_part(r, "cards.json", &r->cards, err));
    LETHE_TRY(load_part(r, "eval_items.jsonl", NULL, err));
    LETHE_TRY(load_part(r, "features.json", NULL, err));
    LETHE_TRY(load_part(r, "sae.safetensors", NULL, err));
    return load_part(r, "patch.safetensors", NULL, err);
}

static lethe_status load_file(lethe_report *r, const char *path, lethe_err *err) {
    LETHE_TRY(lethe_json_load(&r->eval, path, err));
    LETHE_TRY(note_file(r, r->name, path, err));
    return read_metrics(r, path, err);
}

static lethe_status split(lethe_report *r, const char *path, bool is_dir, lethe_err *err) {
    char *real = realpath(path, NULL), *at = real ? real : (char *)(uintptr_t)path;
    const char *slash = strrchr(at, '/');
    r->name = lethe_strdup(slash && slash[1] ? slash + 1 : at);
    if (is_dir) {
        r->dir = lethe_strdup(path);
    } else {
        const char *cut = strrchr(path, '/');
        r->dir = lethe_strdup(cut ? path : ".");
        if (r->dir && cut) r->dir[cut - path + (cut == path)] = '\0';
    }
    free(real);
    return r->dir && r->name ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

lethe_status lethe_report_open(lethe_report **out, const char *path, const char *version,
                               lethe_err *err) {
    lethe_report *r;
    bool is_dir = lethe_path_is_dir(path);
    if (!is_dir && !lethe_path_exists(path))
        return lethe_fail(err, LETHE_NOTFOUND,
                          "%s: no such run or file (make one with: lethe forget)", path);
    LETHE_TRY(lethe_zalloc(&r, 1, sizeof *r, "a report", err));
    strncpy(r->version, version, sizeof r->version - 1);
    lethe_status st = split(r, path, is_dir, err);
    if (!st) st = is_dir ? load_run(r, err) : load_file(r, path, err);
    if (st) {
        lethe_report_close(&r);
        return st;
    }
    find_worst_attack(r);
    *out = r;
    return LETHE_OK;
}

void lethe_report_close(lethe_report **r) {
    if (!r || !*r) return;
    lethe_report *p = *r;
    json_decref(p->eval);
    json_decref(p->run);
    json_decref(p->judge);
    json_decref(p->tune);
    json_decref(p->cards);
    lethe_free(p->domain);
    lethe_free(p->dir);
    lethe_free(p->name);
    lethe_free(p);
    *r = NULL;
}
