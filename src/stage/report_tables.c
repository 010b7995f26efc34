/* SPDX-License-Identifier: MIT
 *
 * The tables of a report, from its figures.
 */
#include <string.h>

#include "base/utf8.h"
#include "stage/report_parts.h"

/* ---- making a table ------------------------------------------------------------------------- */

/* columns: titles with '|' between; one that begins with '#' is of numbers. */
static json_t *table_new(const char *id, const char *title, const char *note, const char *columns,
                         bool *ok) {
    json_t *t = json_object(), *list = json_array();
    lethe_json_put(t, "id", json_string(id), ok);
    lethe_json_put(t, "title", json_string(title), ok);
    lethe_json_put(t, "note", json_string(note), ok);
    while (*columns) {
        size_t n = strcspn(columns, "|");
        bool number = columns[0] == '#';
        json_t *column = json_object();
        lethe_json_put(column, "title", json_stringn(columns + number, n - number), ok);
        lethe_json_put(column, "number", json_boolean(number), ok);
        lethe_json_append(list, column, ok);
        columns += n + (columns[n] == '|');
    }
    lethe_json_put(t, "columns", list, ok);
    lethe_json_put(t, "rows", json_array(), ok);
    return t;
}

static json_t *row_new(json_t *table, bool *ok) {
    json_t *row = json_array();
    lethe_json_append(json_object_get(table, "rows"), row, ok);
    return row;
}

static void put_text(json_t *row, const char *s, bool *ok) {
    lethe_json_append(row, lethe_json_text(s, strlen(s)), ok);
}

static void put_value(json_t *row, const report_value *v, const char *format, bool *ok) {
    lethe_json_append(row, lethe_report_cell(v, format), ok);
}

static void put_plain(json_t *row, double v, const char *format, bool *ok) {
    put_value(row, &(report_value){.known = true, .v = v}, format, ok);
}

static void put_sides(json_t *row, const report_value v[REPORT_SIDES], const char *format,
                      const char *shift, bool *ok) {
    put_value(row, &v[REPORT_BEFORE], format, ok);
    put_value(row, &v[REPORT_AFTER], format, ok);
    put_value(row, &v[REPORT_SHIFT], shift, ok);
}

/* A string, number or bool of a file, as it is; nothing else. */
static void put_json(json_t *row, const json_t *v, bool *ok) {
    if (json_is_string(v))
        lethe_json_append(row, json_deep_copy(v), ok);
    else if (json_is_number(v))
        put_plain(row, json_number_value(v), json_is_integer(v) ? "count" : "real", ok);
    else if (json_is_boolean(v))
        put_text(row, json_is_true(v) ? "yes" : "no", ok);
    else
        lethe_json_append(row, json_null(), ok);
}

/* Keeps a table that has rows. */
static void keep(json_t *list, json_t *table, bool *ok) {
    if (json_array_size(json_object_get(table, "rows")) || !*ok)
        lethe_json_append(list, table, ok);
    else
        json_decref(table);
}

/* ---- domains -------------------------------------------------------------------------------- */

#define INTERVALS "Small figures: 95 % bootstrap intervals; wordings of a fact are drawn together. "

static bool any_interval(const lethe_report *r) {
    for (size_t i = 0; i < r->n_domains; i++)
        if (r->domain[i].logprob[0].interval || r->domain[i].recall[0].interval) return true;
    return false;
}

static void domain_tables(const lethe_report *r, json_t *list, bool *ok) {
    bool intervals = any_interval(r);
    json_t *recall = table_new(
        "recall", "Recall by domain",
        intervals ? INTERVALS "A question counts when every token of its answer is the likeliest."
                  : "A question counts when every token of its answer is the likeliest.",
        "Domain|#Questions|#Before|#After|#Change", ok);
    json_t *logprob = table_new("logprob", "Log-probability of the right answer by domain",
                                intervals ? INTERVALS "Nats a token: nearer to 0 is surer."
                                          : "Nats a token: nearer to 0 is surer.",
                                "Domain|#Questions|#Before|#After|#Change", ok);
    for (size_t i = 0; i < r->n_domains; i++) {
        const report_domain *d = &r->domain[i];
        report_value n = {.known = d->n > 0, .v = (double)d->n};
        char name[128];
        strcpy(name, d->title);
        if (d->forget) strcat(name, " (to forget)");
        if (d->recall[REPORT_BEFORE].known) {
            json_t *row = row_new(recall, ok);
            put_text(row, name, ok);
            put_value(row, &n, "count", ok);
            put_sides(row, d->recall, "share", "points", ok);
        }
        json_t *row = row_new(logprob, ok);
        put_text(row, name, ok);
        put_value(row, &n, "count", ok);
        put_sides(row, d->logprob, "nats", "nats+", ok);
    }
    keep(list, recall, ok);
    keep(list, logprob, ok);
}

/* ---- ordinary text -------------------------------------------------------------------------- */

static void quality_table(const lethe_report *r, json_t *list, bool *ok) {
    json_t *t =
        table_new("quality", "Ordinary text and the quality of completions",
                  "Perplexity and KL divergence on held-out text to keep. A completion counts "
                  "as degenerate when it stutters or too few of its 3-grams differ.",
                  "Figure|#Before|#After|#Change", ok);
    const struct {
        const char *title;
        const report_value *v;
        const char *format, *shift;
    } pair[] = {{"Perplexity", r->perplexity, "ppl", "real+"},
                {"Distinct 3-grams", r->distinct_3, "share", "points"},
                {"Degenerate completions", r->degeneration, "share", "points"}};
    const struct {
        const char *title;
        const report_value *v;
        const char *format;
    } one[] = {{"KL divergence from the unchanged model, nats a token", &r->kl, "kl"},
               {"Positions where the likeliest token stays", &r->top1, "share"},
               {"Positions where a chosen feature fired", &r->activity, "share"},
               {"the same, on ordinary text", &r->activity_text, "share"}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        if (!pair[i].v[REPORT_BEFORE].known) continue;
        json_t *row = row_new(t, ok);
        put_text(row, pair[i].title, ok);
        put_sides(row, pair[i].v, pair[i].format, pair[i].shift, ok);
    }
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        if (!one[i].v->known) continue;
        json_t *row = row_new(t, ok);
        put_text(row, one[i].title, ok);
        lethe_json_append(row, json_null(), ok);
        put_value(row, one[i].v, one[i].format, ok);
        lethe_json_append(row, json_null(), ok);
    }
    keep(list, t, ok);
}

/* ---- measures and attacks ------------------------------------------------------------------- */

void lethe_report_measure_title(const json_t *m, char *out, size_t size) {
    const char *title = json_string_value(json_object_get(m, "title")),
               *group = json_string_value(json_object_get(m, "group"));
    if (!title) title = json_string_value(json_object_get(m, "name"));
    if (!title) title = "?";
    if (group && !strcmp(group, "attack") && !strncmp(title, "recall, ", 8)) title += 8;
    size_t n = lethe_utf8_valid_prefix(title, strnlen(title, size - 1));
    memcpy(out, title, n);
    out[n] = '\0';
    if (out[0] >= 'a' && out[0] <= 'z') out[0] = (char)(out[0] - 'a' + 'A');
}

report_value lethe_report_measured(const json_t *m, const char *side) {
    const json_t *o = json_object_get(m, side), *mean = json_object_get(o, "mean"),
                 *low = json_object_get(o, "low"), *high = json_object_get(o, "high");
    report_value v = {.known = json_is_number(mean), .v = json_number_value(mean)};
    v.interval = json_is_number(low) && json_is_number(high);
    v.low = json_number_value(low);
    v.high = json_number_value(high);
    return v;
}

/* A figure that another table has already, when that table is there. */
static bool shown_elsewhere(const lethe_report *r, const char *name) {
    static const char *const domains[] = {"recall", "logprob"};
    static const char *const text[] = {"perplexity", "kl", "top1_agreement", "degeneration",
                                       "distinct_3"};
    for (size_t i = 0; name && i < sizeof domains / sizeof *domains; i++)
        if (!strcmp(name, domains[i])) return r->n_domains > 0;
    for (size_t i = 0; name && i < sizeof text / sizeof *text; i++)
        if (!strcmp(name, text[i])) return r->perplexity[REPORT_BEFORE].known;
    return false;
}

static void formats_of(const char *unit, const char **format, const char **shift) {
    *format = "real";
    *shift = "real+";
    if (!unit) return;
    if (!strcmp(unit, "share")) {
        *format = "share";
        *shift = "points";
    } else if (!strcmp(unit, "nats") || !strcmp(unit, "ratio")) {
        *format = "nats";
        *shift = "nats+";
    } else if (!strcmp(unit, "perplexity")) {
        *format = "ppl";
    }
}

static void measure_table(const lethe_report *r, const char *group, json_t *t, json_t *list,
                          bool *ok) {
    size_t i;
    json_t *m;
    json_array_foreach(json_object_get(r->eval, "measures"), i, m) {
        const char *of = json_string_value(json_object_get(m, "group"));
        if (!of || strcmp(of, group)) continue;
        if (shown_elsewhere(r, json_string_value(json_object_get(m, "name")))) continue;
        char title[128];
        lethe_report_measure_title(m, title, sizeof title);
        const char *unit = json_string_value(json_object_get(m, "unit")), *format, *shift;
        formats_of(unit, &format, &shift);
        json_t *row = row_new(t, ok);
        put_text(row, title, ok);
        const char *domain = json_string_value(json_object_get(m, "domain"));
        for (size_t d = 0; domain && d < r->n_domains; d++)
            if (!strcmp(r->domain[d].key, domain)) domain = r->domain[d].title;
        put_text(row, domain ? domain : "", ok);
        const json_t *n = json_object_get(m, "n");
        put_json(row, json_is_integer(n) ? n : NULL, ok);
        const report_value before = lethe_report_measured(m, "baseline"),
                           after = lethe_report_measured(m, "ablated");
        report_value change = lethe_report_measured(m, "difference");
        if (!change.known)
            change = (report_value){.known = before.known && after.known, .v = after.v - before.v};
        put_value(row, &before, format, ok);
        put_value(row, &after, format, ok);
        put_value(row, &change, shift, ok);
        const char *way = json_string_value(json_object_get(m, "forgetting"));
        put_text(row, way ? way : "", ok);
    }
    keep(list, t, ok);
}

static void measure_tables(const lethe_report *r, json_t *list, bool *ok) {
    measure_table(r, "forget",
                  table_new("forget", "What was to be forgotten, measured other ways",
                            INTERVALS "The last column says which way a figure goes when more is "
                                      "forgotten.",
                            "Measure|Domain|#Items|#Before|#After|#Change|Forgetting", ok),
                  list, ok);
    measure_table(r, "attack",
                  table_new("attack", "Under attack: ways of asking that might bring it back",
                            INTERVALS "The last column says which way a figure goes when more is "
                                      "forgotten.",
                            "Attack|Domain|#Items|#Before|#After|#Change|Forgetting", ok),
                  list, ok);
    measure_table(r, "retain",
                  table_new("retain", "What was to be kept",
                            INTERVALS "The last column says which way damage goes.",
                            "Measure|Domain|#Items|#Before|#After|#Change|Damage", ok),
                  list, ok);
}

/* ---- judges --------------------------------------------------------------------------------- */

static void judge_tables(const lethe_report *r, json_t *list, bool *ok) {
    json_t *judges = lethe_report_judges(r), *judge;
    if (!judges) *ok = false;
    json_t *t = table_new("judge", "Completions by class",
                          "Explicit: says what was to be forgotten. Thematic: stays in its world. "
                          "Accidental: a chance likeness. Names that the prompt brings do not "
                          "count.",
                          "Judge|Class|#Before|#After|#Change", ok);
    size_t i;
    json_array_foreach(judges, i, judge) {
        const char *name = json_string_value(json_object_get(judge, "name"));
        for (size_t c = 0; c < 4; c++) {
            double before = lethe_report_judged(judge, false, lethe_report_classes[c]),
                   after = lethe_report_judged(judge, true, lethe_report_classes[c]);
            if (before < 0 && after < 0) continue;
            report_value v[REPORT_SIDES] = {
                {.known = before >= 0, .v = before},
                {.known = after >= 0, .v = after},
                {.known = before >= 0 && after >= 0, .v = after - before}};
            json_t *row = row_new(t, ok);
            put_text(row, name ? name : "judge", ok);
            put_text(row, lethe_report_classes[c], ok);
            put_sides(row, v, "count", "real+", ok);
        }
    }
    json_decref(judges);
    keep(list, t, ok);
    json_t *a = table_new("agreement", "Do the judges agree?",
                          "Cohen's kappa: 1 is full agreement, 0 what chance gives.",
                          "Judge|Judge|#Labels|#Agreed|#Kappa", ok);
    json_t *pair;
    json_array_foreach(json_object_get(r->judge, "agreement"), i, pair) {
        json_t *row = row_new(a, ok), *seen = json_object_get(pair, "observed"),
               *kappa = json_object_get(pair, "kappa"), *n = json_object_get(pair, "n");
        put_json(row, json_object_get(pair, "a"), ok);
        put_json(row, json_object_get(pair, "b"), ok);
        put_json(row, json_is_integer(n) ? n : NULL, ok);
        put_value(row, &(report_value){.known = json_is_number(seen), .v = json_number_value(seen)},
                  "share", ok);
        put_value(row,
                  &(report_value){.known = json_is_number(kappa), .v = json_number_value(kappa)},
                  "nats", ok);
    }
    keep(list, a, ok);
}

/* ---- the search ----------------------------------------------------------------------------- */

static void tune_table(const lethe_report *r, json_t *list, bool *ok) {
    static const char *const keys[] = {"layer",    "num_features", "select", "method", "strength",
                                       "guard_by", "guard",        "forget", "damage"};
    json_t *t = table_new(
        "tune", "The best trade-offs that were found",
        "No other trial forgets more at less damage. Measured on the part of the "
        "questions that the search was given.",
        "Trial|#Layer|#Features|Selection|Method|#Strength|Guard by|Guard|#Forget|#Damage", ok);
    const json_t *chosen = json_object_get(r->tune, "chosen");
    size_t i;
    json_t *trial;
    json_array_foreach(json_object_get(r->tune, "trials"), i, trial) {
        if (!json_is_true(json_object_get(trial, "front"))) continue;
        const json_t *number = json_object_get(trial, "number");
        json_t *row = row_new(t, ok);
        char name[64];
        bool is_chosen = json_is_integer(chosen) && json_is_integer(number) &&
                         json_integer_value(chosen) == json_integer_value(number);
        snprintf(name, sizeof name, "%lld%s", (long long)json_integer_value(number),
                 is_chosen ? " (chosen)" : "");
        put_text(row, name, ok);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            put_json(row, json_object_get(trial, keys[k]), ok);
    }
    keep(list, t, ok);
}

/* One removal on the half that was held back. */
static void tuned_row(json_t *t, const char *name, const json_t *figures, bool *ok) {
    static const struct {
        const char *key, *format;
    } column[] = {{"forget_recall", "share"},
                  {"worst_attack", "share"},
                  {"retain_recall", "share"},
                  {"kl", "nats"},
                  {"perplexity", "real"}};
    if (!json_is_object(figures)) return;
    json_t *row = row_new(t, ok);
    put_text(row, name, ok);
    for (size_t c = 0; c < sizeof column / sizeof *column; c++) {
        const json_t *v = json_object_get(figures, column[c].key);
        put_value(row, &(report_value){.known = json_is_number(v), .v = json_number_value(v)},
                  column[c].format, ok);
    }
}

static void tuned_table(const lethe_report *r, json_t *list, bool *ok) {
    const json_t *split = json_object_get(r->tune, "report_split");
    json_t *t = table_new("tuned", "On the half that the search did not see",
                          "Other facts and other text than those the trials were chosen by: the "
                          "figures to quote.",
                          "Removal|#Recall|#Worst attack|#Recall elsewhere|#KL|#Perplexity", ok);
    static const char *const who[][2] = {{"chosen", "chosen by the search"},
                                         {"given", "the settings it began with"},
                                         {"reference", "the reference experiment's"}};
    tuned_row(t, "none", json_object_get(split, "baseline"), ok);
    for (size_t i = 0; i < sizeof who / sizeof *who; i++)
        tuned_row(t, who[i][1], json_object_get(json_object_get(split, who[i][0]), "figures"), ok);
    keep(list, t, ok);
}

/* ---- features ------------------------------------------------------------------------------- */

static void feature_table(const lethe_report *r, json_t *list, bool *ok) {
    json_t *t = table_new("features", "The features that were removed",
                          "How often each fires on the three texts, and its share of what all of "
                          "them do on the text to forget.",
                          "Feature|#Share of the effect|#Forget|#Near|#Retain|Promotes", ok);
    size_t i, j;
    json_t *f, *token;
    json_array_foreach(json_object_get(r->cards, "features"), i, f) {
        json_t *row = row_new(t, ok), *index = json_object_get(f, "index"),
               *share = json_object_get(f, "share");
        char name[32];
        snprintf(name, sizeof name, "%lld", (long long)json_integer_value(index));
        put_text(row, name, ok);
        put_value(row,
                  &(report_value){.known = json_is_number(share), .v = json_number_value(share)},
                  "share", ok);
        static const char *const roles[] = {"forget", "near", "retain"};
        for (int k = 0; k < 3; k++) {
            const json_t *freq = json_object_get(
                json_object_get(json_object_get(f, "statistics"), roles[k]), "freq");
            put_value(row,
                      &(report_value){.known = json_is_number(freq), .v = json_number_value(freq)},
                      "rate", ok);
        }
        lethe_strbuf words = {0};
        json_array_foreach(json_object_get(f, "promotes"), j, token) {
            const json_t *s = json_object_get(token, "token");
            if (j >= 5 || !json_is_string(s)) break;
            if (j) lethe_strbuf_adds(&words, " \xC2\xB7 ");
            lethe_strbuf_add(&words, json_string_value(s), json_string_length(s));
        }
        if (words.status) *ok = false;
        lethe_json_append(row, lethe_json_text(lethe_strbuf_str(&words), words.len), ok);
        lethe_strbuf_free(&words);
    }
    keep(list, t, ok);
}

json_t *lethe_report_tables(const lethe_report *r) {
    bool ok = true;
    json_t *list = json_array();
    domain_tables(r, list, &ok);
    measure_tables(r, list, &ok);
    quality_table(r, list, &ok);
    judge_tables(r, list, &ok);
    tune_table(r, list, &ok);
    tuned_table(r, list, &ok);
    feature_table(r, list, &ok);
    if (ok && list) return list;
    json_decref(list);
    return NULL;
}

/* ---- item by item --------------------------------------------------------------------------- */

json_t *lethe_report_items(const lethe_report *r) {
    static const char *const probe_keys[] = {
        "domain",         "prompt",           "target",         "baseline_recall",
        "ablated_recall", "baseline_logprob", "ablated_logprob"};
    static const char *const side_keys[] = {"domain", "prompt", "baseline", "ablated"};
    bool ok = true;
    size_t i;
    json_t *list = json_array(), *item;
    json_t *probes = table_new("probes", "Every question", "",
                               "Domain|Question|Answer|Known before|Known after|#Log-probability "
                               "before|#Log-probability after",
                               &ok);
    json_array_foreach(json_object_get(r->eval, "probes"), i, item) {
        json_t *row = row_new(probes, &ok);
        for (size_t k = 0; k < sizeof probe_keys / sizeof *probe_keys; k++)
            put_json(row, json_object_get(item, probe_keys[k]), &ok);
    }
    keep(list, probes, &ok);
    json_t *sides =
        table_new("completions", "Every completion", "", "Domain|Prompt|Before|After", &ok);
    json_array_foreach(json_object_get(r->eval, "side_by_side"), i, item) {
        json_t *row = row_new(sides, &ok);
        for (size_t k = 0; k < sizeof side_keys / sizeof *side_keys; k++)
            put_json(row, json_object_get(item, side_keys[k]), &ok);
    }
    keep(list, sides, &ok);
    if (ok && list) return list;
    json_decref(list);
    return NULL;
}
