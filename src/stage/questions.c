/* SPDX-License-Identifier: MIT */
#include "stage/questions.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/choice.h"

static void question_free(lethe_question *q) {
    lethe_free(q->domain);
    lethe_free(q->fact);
    lethe_free(q->prompt);
    lethe_free(q->target);
    for (size_t i = 0; i < q->n_options; i++) lethe_free(q->option[i]);
    lethe_free(q->option);
}

void lethe_questions_free(lethe_questions *q) {
    for (size_t i = 0; i < q->n; i++) question_free(&q->item[i]);
    lethe_free(q->item);
    *q = (lethe_questions){0};
}

/* ---- one item -------------------------------------------------------------------------------- */

static lethe_status copy(const char *s, char **out, lethe_err *err) {
    *out = lethe_strdup(s);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: questions");
}

/* The string under the first of the keys that is there; want: it must be. */
static lethe_status words(const lethe_json_ref *item, const char *a, const char *b, bool want,
                          char **out, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(item, a), other = b ? lethe_json_key(item, b) : r;
    if (!r.value && other.value) r = other;
    if (!r.value && !want) return LETHE_OK;
    const char *s;
    LETHE_TRY(lethe_json_want_string(&r, &s, err));
    if (!*s) return lethe_json_fail(&r, err, "a string that is not empty");
    return copy(s, out, err);
}

static lethe_status read_options(const lethe_json_ref *list, lethe_question *q, lethe_err *err) {
    size_t n;
    LETHE_TRY(lethe_json_want_list(list, &n, err));
    LETHE_TRY(lethe_zalloc(&q->option, n, sizeof *q->option, "options of a question", err));
    for (; q->n_options < n; q->n_options++) {
        lethe_json_ref one = lethe_json_item(list, q->n_options);
        const char *s;
        LETHE_TRY(lethe_json_want_string(&one, &s, err));
        LETHE_TRY(copy(s, &q->option[q->n_options], err));
    }
    return LETHE_OK;
}

/* {"text"}: the first blank at or behind the middle parts it. */
static lethe_status halve(const lethe_json_ref *r, lethe_question *q, lethe_err *err) {
    const char *s;
    LETHE_TRY(lethe_json_want_string(r, &s, err));
    size_t n = strlen(s), at = n / 2;
    while (at < n && s[at] != ' ') at++;
    if (!at || at + 1 >= n) return lethe_json_fail(r, err, "a text of several words");
    LETHE_TRY(copy(s, &q->prompt, err));
    q->prompt[at] = '\0';
    return copy(s + at, &q->target, err);
}

static lethe_status read_passage(const lethe_json_ref *item, lethe_question *q, lethe_err *err) {
    lethe_json_ref text = lethe_json_key(item, "text");
    if (text.value) return halve(&text, q, err);
    LETHE_TRY(words(item, "prompt", NULL, true, &q->prompt, err));
    return words(item, "target", "gt", true, &q->target, err);
}

static lethe_status read_knowledge(const lethe_json_ref *item, lethe_question *q, lethe_err *err) {
    LETHE_TRY(words(item, "question", "prompt", true, &q->prompt, err));
    LETHE_TRY(words(item, "answer", "target", true, &q->target, err));
    lethe_json_ref wrong = lethe_json_key(item, "wrong"),
                   other = lethe_json_key(item, "perturbed_answer");
    if (!wrong.value && other.value) wrong = other;
    return wrong.value ? read_options(&wrong, q, err) : LETHE_OK;
}

static lethe_status read_choice(const lethe_json_ref *item, lethe_question *q, lethe_err *err) {
    LETHE_TRY(words(item, "question", "prompt", true, &q->prompt, err));
    lethe_json_ref list = lethe_json_key(item, "choices"), answer = lethe_json_key(item, "answer");
    LETHE_TRY(read_options(&list, q, err));
    if (q->n_options < 2 || q->n_options > LETHE_CHOICE_OPTIONS)
        return lethe_json_fail(&list, err, "2 to %d choices", LETHE_CHOICE_OPTIONS);
    int64_t index = -1;
    const char *letter = json_string_value(answer.value);
    if (letter && letter[0] >= 'A' && !letter[1]) index = letter[0] - 'A';
    if (!letter) LETHE_TRY(lethe_json_want_int(&answer, 0, (int64_t)q->n_options - 1, &index, err));
    if (index < 0 || (size_t)index >= q->n_options)
        return lethe_json_fail(&answer, err, "an index below %zu, or a letter up to %c",
                               q->n_options, (char)('A' + (int)q->n_options - 1));
    q->answer = (size_t)index;
    return copy(q->option[q->answer], &q->target, err);
}

static lethe_status read_item(const lethe_json_ref *item, lethe_questions_kind kind,
                              const char *name, lethe_question *q, lethe_err *err) {
    LETHE_TRY(lethe_json_want_object(item, err));
    lethe_json_ref chat = lethe_json_key(item, "chat");
    if (chat.value) LETHE_TRY(lethe_json_want_bool(&chat, &q->chat, err));
    LETHE_TRY(words(item, "domain", NULL, false, &q->domain, err));
    LETHE_TRY(words(item, "fact", NULL, false, &q->fact, err));
    if (!q->domain) LETHE_TRY(copy(name, &q->domain, err));
    if (kind == LETHE_QUESTIONS_PASSAGES) LETHE_TRY(read_passage(item, q, err));
    if (kind == LETHE_QUESTIONS_KNOWLEDGE) LETHE_TRY(read_knowledge(item, q, err));
    if (kind == LETHE_QUESTIONS_CHOICE) LETHE_TRY(read_choice(item, q, err));
    q->fact_named = q->fact != NULL;
    if (q->fact) return LETHE_OK;
    q->fact = kind == LETHE_QUESTIONS_PASSAGES ? lethe_strdup(q->prompt)
                                               : lethe_fact_of_target(q->target);
    return q->fact ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: questions");
}

static lethe_status add(lethe_questions *q, lethe_questions_kind kind, const lethe_json_ref *item,
                        const char *name, lethe_err *err) {
    LETHE_TRY(lethe_grow(&q->item, &q->cap, q->n, q->n + 1, sizeof *q->item, "questions", err));
    q->item[q->n] = (lethe_question){0};
    return read_item(item, kind, name, &q->item[q->n++], err);
}

/* ---- a file ---------------------------------------------------------------------------------- */

static lethe_status read_line(lethe_questions *q, lethe_questions_kind kind, const char *s,
                              size_t n, size_t line, const char *path, const char *name,
                              lethe_err *err) {
    json_error_t bad;
    json_t *j = json_loadb(s, n, JSON_REJECT_DUPLICATES, &bad);
    if (!j)
        return lethe_fail(err, LETHE_FORMAT, "%s:%zu: not a JSON object on one line: %s", path,
                          line, bad.text);
    lethe_json_ref item = lethe_json_top(j, path);
    snprintf(item.where, sizeof item.where, "line %zu", line);
    lethe_status st = add(q, kind, &item, name, err);
    json_decref(j);
    return st;
}

static lethe_status read_lines(lethe_questions *q, lethe_questions_kind kind, const lethe_map *map,
                               const char *name, lethe_err *err) {
    const char *s = (const char *)map->data;
    for (size_t i = 0, line = 1; i < map->size; line++) {
        const char *end = memchr(s + i, '\n', map->size - i);
        size_t stop = end ? (size_t)(end - s) : map->size, blank = i;
        while (blank < stop && strchr(" \t\r", s[blank]) && s[blank]) blank++;
        if (blank < stop)
            LETHE_TRY(read_line(q, kind, s + i, stop - i, line, map->path, name, err));
        i = stop + 1;
    }
    return LETHE_OK;
}

static lethe_status read_list(lethe_questions *q, lethe_questions_kind kind, const char *path,
                              const char *name, lethe_err *err) {
    json_t *j = NULL;
    LETHE_TRY(lethe_json_load(&j, path, err));
    lethe_json_ref top = lethe_json_top(j, path);
    size_t n = 0;
    lethe_status st = lethe_json_want_list(&top, &n, err);
    for (size_t i = 0; i < n && st == LETHE_OK; i++) {
        lethe_json_ref item = lethe_json_item(&top, i);
        st = add(q, kind, &item, name, err);
    }
    json_decref(j);
    return st;
}

/* The file's name without folder and ending. */
static char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    char *name = lethe_strdup(slash ? slash + 1 : path), *dot = name ? strchr(name, '.') : NULL;
    if (dot && dot > name) *dot = '\0';
    return name;
}

lethe_status lethe_questions_load(lethe_questions *q, lethe_questions_kind kind, const char *path,
                                  lethe_err *err) {
    size_t before = q->n;
    lethe_map map;
    LETHE_TRY(lethe_map_open(&map, path, err));
    char *name = base_name(path);
    size_t first = 0;
    while (first < map.size && strchr(" \t\r\n", (char)map.data[first]) && map.data[first]) first++;
    bool is_list = first < map.size && map.data[first] == '[';
    lethe_status st = !name     ? lethe_fail(err, LETHE_NOMEM, "out of memory: questions")
                      : is_list ? read_list(q, kind, path, name, err)
                                : read_lines(q, kind, &map, name, err);
    if (st == LETHE_OK && q->n == before)
        st = lethe_fail(err, LETHE_FORMAT, "%s: no items in it, want at least one JSON object",
                        path);
    lethe_free(name);
    lethe_map_close(&map);
    return st;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* How many items there are of the domain of item i, and how many of them up to i. */
static void rank(const lethe_questions *q, size_t i, size_t *have, size_t *seen) {
    *have = *seen = 0;
    for (size_t j = 0; j < q->n; j++)
        if (!strcmp(q->item[j].domain, q->item[i].domain)) {
            ++*have;
            *seen += j <= i;
        }
}

void lethe_questions_keep(lethe_questions *q, lethe_split split, size_t most) {
    size_t kept = 0;
    for (size_t i = 0; i < q->n; i++)
        if (lethe_split_has(split, q->item[i].fact))
            q->item[kept++] = q->item[i];
        else
            question_free(&q->item[i]);
    q->n = kept;
    /* marked first, as the ranks are of what is there now */
    for (size_t i = 0; most && i < q->n; i++) {
        size_t have, seen;
        rank(q, i, &have, &seen);
        if (have > most && seen * most / have == (seen - 1) * most / have)
            q->item[i].answer = SIZE_MAX;
    }
    kept = 0;
    for (size_t i = 0; i < q->n; i++)
        if (q->item[i].answer != SIZE_MAX)
            q->item[kept++] = q->item[i];
        else
            question_free(&q->item[i]);
    q->n = kept;
}
