/* SPDX-License-Identifier: MIT
 *
 * Pairs and labels: reading eval.json and judge.json, and the table of judges in memory.
 */
#include "stage/judge.h"

#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"

static const char *const class_names[LETHE_JUDGE_CLASSES] = {"Explicit", "Thematic", "Accidental",
                                                             "None"};
static const char *const kind_names[LETHE_JUDGE_KINDS] = {"lexicon", "api", "manual"};
static const char *const side_names[LETHE_SIDES] = {"baseline", "ablated"};

const char *lethe_judge_class_name(lethe_judge_class c) {
    return class_names[c];
}
const char *lethe_judge_kind_name(lethe_judge_kind k) {
    return kind_names[k];
}
const char *lethe_judge_side_name(lethe_eval_side side) {
    return side_names[side];
}

static int index_of(const char *const *names, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

lethe_judge_class lethe_judge_class_of(const char *name) {
    return (lethe_judge_class)index_of(class_names, LETHE_JUDGE_CLASSES, name);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static lethe_status copy(char **out, const char *s, lethe_err *err) {
    *out = lethe_strdup(s);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: a completion to judge");
}

static lethe_status key_of(const char *prompt, const char *text, char out[LETHE_HASH_HEX],
                           lethe_err *err) {
    lethe_hasher *h;
    LETHE_TRY(lethe_hasher_open(&h, err));
    lethe_hasher_put(h, prompt, strlen(prompt) + 1); /* with the NUL: the two cannot run together */
    lethe_hasher_put(h, text, strlen(text) + 1);
    lethe_hasher_hex(h, out);
    lethe_hasher_close(&h);
    return LETHE_OK;
}

static lethe_status read_pair(lethe_judging *j, size_t i, const lethe_json_ref *item,
                              lethe_err *err) {
    lethe_judge_pair *p = &j->pair[i];
    const char *text;
    lethe_json_ref r = lethe_json_key(item, "prompt");
    LETHE_TRY(lethe_json_want_string(&r, &text, err));
    LETHE_TRY(copy(&p->prompt, text, err));
    const char *domain = json_string_value(json_object_get(item->value, "domain"));
    LETHE_TRY(copy(&p->domain, domain ? domain : "", err));
    for (int side = 0; side < LETHE_SIDES; side++) {
        r = lethe_json_key(item, side_names[side]);
        bool there = r.value && !json_is_null(r.value);
        if (side == LETHE_ABLATED && i == 0) j->sides = there ? LETHE_SIDES : 1;
        if (side == LETHE_ABLATED && !there && j->sides == 1) continue;
        LETHE_TRY(lethe_json_want_string(&r, &text, err));
        if (side == LETHE_ABLATED && j->sides == 1)
            return lethe_json_fail(&r, err, "nothing, as in the first pair");
        LETHE_TRY(copy(&p->text[side], text, err));
        LETHE_TRY(key_of(p->prompt, text, p->key[side], err));
    }
    return LETHE_OK;
}

static lethe_status read_pairs(lethe_judging *j, const char *path, lethe_err *err) {
    json_t *top;
    LETHE_TRY(lethe_json_load(&top, path, err));
    lethe_json_ref root = lethe_json_top(top, path), list = lethe_json_key(&root, "side_by_side");
    size_t n = 0;
    lethe_status st = LETHE_OK;
    if (!list.value)
        st = lethe_fail(err, LETHE_FORMAT,
                        "%s: there are no completions to judge (side_by_side): evaluate with "
                        "--prompts FILE",
                        path);
    if (!st) st = lethe_json_want_list(&list, &n, err);
    if (!st && !n) st = lethe_json_fail(&list, err, "at least one completion");
    if (!st) st = lethe_zalloc(&j->pair, n, sizeof *j->pair, "completions to judge", err);
    if (!st) j->n = n;
    for (size_t i = 0; i < n && !st; i++) {
        lethe_json_ref item = lethe_json_item(&list, i);
        st = lethe_json_want_object(&item, err);
        if (!st) st = read_pair(j, i, &item, err);
    }
    json_decref(top);
    return st;
}

/* ---- labels ---------------------------------------------------------------------------------- */

lethe_judge_label *lethe_judging_label(const lethe_judging *j, size_t judge, size_t pair,
                                       lethe_eval_side side) {
    return &j->judge[judge].label[pair * j->sides + (size_t)side];
}

static void judge_free(const lethe_judging *j, lethe_judge *g) {
    for (size_t i = 0; g->label && i < j->n * j->sides; i++) lethe_free(g->label[i].reason);
    lethe_free(g->label);
    lethe_free(g->name);
}

void lethe_judging_clear(lethe_judging *j, size_t judge) {
    for (size_t i = 0; i < j->n * j->sides; i++) {
        lethe_free(j->judge[judge].label[i].reason);
        j->judge[judge].label[i] = (lethe_judge_label){LETHE_JUDGE_OPEN, NULL};
    }
}

static size_t find(const lethe_judging *j, const char *name) {
    size_t i = 0;
    while (i < j->n_judges && strcmp(j->judge[i].name, name)) i++;
    return i;
}

lethe_status lethe_judging_judge(lethe_judging *j, const char *name, lethe_judge_kind kind,
                                 size_t *index, lethe_err *err) {
    size_t i = find(j, name);
    if (i < j->n_judges && j->judge[i].kind != kind)
        return lethe_fail(err, LETHE_USAGE,
                          "%s has a judge \"%s\" of kind %s: give this one another --judge-name",
                          j->path, name, kind_names[j->judge[i].kind]);
    *index = i;
    if (i < j->n_judges) return LETHE_OK;
    LETHE_TRY(lethe_grow(&j->judge, &j->cap, j->n_judges, j->n_judges + 1, sizeof *j->judge,
                         "judges", err));
    lethe_judge *g = &j->judge[i];
    *g = (lethe_judge){.kind = kind};
    lethe_status st = copy(&g->name, name, err);
    if (!st) st = lethe_zalloc(&g->label, j->n * j->sides, sizeof *g->label, "labels", err);
    if (st) {
        judge_free(j, g);
        return st;
    }
    j->n_judges++;
    lethe_judging_clear(j, i);
    return LETHE_OK;
}

lethe_status lethe_judging_set(lethe_judging *j, size_t judge, size_t pair, lethe_eval_side side,
                               lethe_judge_class is, const char *reason, lethe_err *err) {
    lethe_judge_label *l = lethe_judging_label(j, judge, pair, side);
    char *text = NULL;
    if (reason) LETHE_TRY(copy(&text, reason, err));
    lethe_free(l->reason);
    *l = (lethe_judge_label){is, text};
    return LETHE_OK;
}

size_t lethe_judging_done(const lethe_judging *j, size_t judge) {
    size_t n = 0;
    for (size_t i = 0; i < j->n * j->sides; i++) n += j->judge[judge].label[i].is >= 0;
    return n;
}

/* ---- judge.json ------------------------------------------------------------------------------ */

static lethe_status want_name(const lethe_json_ref *in, const char *key, const char *const *names,
                              int n, const char *want, int *out, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(in, key);
    const char *text;
    LETHE_TRY(lethe_json_want_string(&r, &text, err));
    *out = index_of(names, n, text);
    return *out < 0 ? lethe_json_fail(&r, err, "%s", want) : LETHE_OK;
}

static lethe_status read_judge(lethe_judging *j, const lethe_json_ref *item, lethe_err *err) {
    const char *name;
    int kind;
    size_t index;
    lethe_json_ref r = lethe_json_key(item, "name");
    LETHE_TRY(lethe_json_want_string(&r, &name, err));
    LETHE_TRY(want_name(item, "kind", kind_names, LETHE_JUDGE_KINDS, "lexicon, api or manual",
                        &kind, err));
    return lethe_judging_judge(j, name, (lethe_judge_kind)kind, &index, err);
}

static lethe_status read_label(lethe_judging *j, const lethe_json_ref *item, lethe_err *err) {
    const char *judge, *key, *reason = NULL;
    int64_t pair;
    int side, is = LETHE_JUDGE_FAILED;
    lethe_json_ref r = lethe_json_key(item, "judge");
    LETHE_TRY(lethe_json_want_string(&r, &judge, err));
    size_t g = find(j, judge);
    if (g == j->n_judges) return lethe_json_fail(&r, err, "a name that \"judges\" has");
    r = lethe_json_key(item, "index");
    LETHE_TRY(lethe_json_want_int(&r, 0, INT64_MAX, &pair, err));
    LETHE_TRY(want_name(item, "side", side_names, LETHE_SIDES, "baseline or ablated", &side, err));
    r = lethe_json_key(item, "class");
    if (!json_is_null(r.value))
        LETHE_TRY(want_name(item, "class", class_names, LETHE_JUDGE_CLASSES,
                            "Explicit, Thematic, Accidental, None or null", &is, err));
    r = lethe_json_key(item, "reason");
    if (r.value) LETHE_TRY(lethe_json_want_string(&r, &reason, err));
    r = lethe_json_key(item, "key");
    if (r.value)
        LETHE_TRY(lethe_json_want_string(&r, &key, err));
    else
        key = ""; /* of whatever completion */
    if ((uint64_t)pair >= j->n || (size_t)side >= j->sides ||
        strcmp(key, j->pair[pair].key[side]) != 0) {
        j->dropped++;
        return LETHE_OK;
    }
    return lethe_judging_set(j, g, (size_t)pair, (lethe_eval_side)side, (lethe_judge_class)is,
                             reason && *reason ? reason : NULL, err);
}

typedef lethe_status (*item_fn)(lethe_judging *j, const lethe_json_ref *item, lethe_err *err);

static lethe_status each(lethe_judging *j, const lethe_json_ref *top, const char *key, item_fn fn,
                         lethe_err *err) {
    lethe_json_ref list = lethe_json_key(top, key);
    size_t n = 0;
    LETHE_TRY(lethe_json_want_list(&list, &n, err));
    for (size_t i = 0; i < n; i++) {
        lethe_json_ref item = lethe_json_item(&list, i);
        LETHE_TRY(lethe_json_want_object(&item, err));
        LETHE_TRY(fn(j, &item, err));
    }
    return LETHE_OK;
}

static lethe_status read_labels(lethe_judging *j, lethe_err *err) {
    json_t *value;
    LETHE_TRY(lethe_json_load(&value, j->path, err));
    lethe_json_ref top = lethe_json_top(value, j->path), r = lethe_json_key(&top, "format");
    const char *format = "lethe-judge-1"; /* a file that does not say is taken at its word */
    lethe_status st = r.value ? lethe_json_want_string(&r, &format, err) : LETHE_OK;
    if (!st && strcmp(format, "lethe-judge-1") != 0)
        st = lethe_json_fail(&r, err, "\"lethe-judge-1\"");
    if (!st) st = each(j, &top, "judges", read_judge, err);
    if (!st) st = each(j, &top, "labels", read_label, err);
    json_decref(value);
    return st;
}

lethe_status lethe_judging_open(lethe_judging *out, const char *eval_path, const char *judge_path,
                                lethe_err *err) {
    lethe_judging j = {0};
    lethe_status st = copy(&j.path, judge_path, err);
    if (!st) st = read_pairs(&j, eval_path, err);
    if (!st && lethe_path_exists(judge_path)) st = read_labels(&j, err);
    if (st)
        lethe_judging_free(&j);
    else
        *out = j;
    return st;
}

void lethe_judging_free(lethe_judging *j) {
    for (size_t i = 0; i < j->n_judges; i++) judge_free(j, &j->judge[i]);
    lethe_free(j->judge);
    for (size_t i = 0; i < j->n; i++) {
        lethe_free(j->pair[i].prompt);
        lethe_free(j->pair[i].domain);
        for (int side = 0; side < LETHE_SIDES; side++) lethe_free(j->pair[i].text[side]);
    }
    lethe_free(j->pair);
    lethe_free(j->path);
    *j = (lethe_judging){0};
}
