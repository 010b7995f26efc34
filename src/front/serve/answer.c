/* SPDX-License-Identifier: MIT */
#include "front/serve/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "format/jsonio.h"

void lethe_answer_open(lethe_answer *a) {
    a->logprob = a->logprobs ? json_array() : NULL;
    a->traced = a->trace ? json_array() : NULL;
    a->ok = (!a->logprobs || a->logprob) && (!a->trace || a->traced);
}

void lethe_answer_close(lethe_answer *a) {
    lethe_strbuf_free(&a->text);
    json_decref(a->logprob);
    json_decref(a->traced);
    *a = (lethe_answer){0};
}

/* ---- what a token brings along --------------------------------------------------------------- */

static int by_value(const void *pa, const void *pb) {
    const lethe_mark *a = pa, *b = pb;
    if (a->value != b->value) return a->value < b->value ? 1 : -1;
    if (a->removal != b->removal) return a->removal < b->removal ? -1 : 1;
    return (a->feature > b->feature) - (a->feature < b->feature);
}

static json_t *mark_json(int32_t feature, int removal, double value) {
    return json_pack("{s:i, s:i, s:o}", "feature", (int)feature, "removal", removal, "value",
                     lethe_json_real(value));
}

json_t *lethe_marks_json(lethe_mark *mark, size_t n) {
    if (n) qsort(mark, n, sizeof *mark, by_value);
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n; i++)
        lethe_json_append(list, mark_json(mark[i].feature, mark[i].removal, mark[i].value), &ok);
    if (ok) return list;
    json_decref(list);
    return NULL;
}

/* The token of the list that has the feature: where to keep its largest value. */
static json_t *same(const json_t *list, const json_t *mark) {
    size_t i;
    json_t *m;
    json_array_foreach(list, i, m) {
        if (json_equal(json_object_get(m, "feature"), json_object_get(mark, "feature")) &&
            json_equal(json_object_get(m, "removal"), json_object_get(mark, "removal")))
            return m;
    }
    return NULL;
}

json_t *lethe_traced_merge(const json_t *traced) {
    if (json_array_size(traced) == 1)
        return json_deep_copy(json_object_get(json_array_get(traced, 0), "fired"));
    json_t *all = NULL, *token;
    size_t i;
    json_array_foreach(traced, i, token) {
        const json_t *fired = json_object_get(token, "fired");
        if (!json_is_array(fired)) continue;
        if (!all) all = json_array();
        size_t j;
        json_t *m;
        json_array_foreach(fired, j, m) {
            json_t *have = same(all, m);
            if (!have)
                json_array_append_new(all, json_deep_copy(m));
            else if (json_number_value(json_object_get(m, "value")) >
                     json_number_value(json_object_get(have, "value")))
                json_object_set(have, "value", json_object_get(m, "value"));
        }
    }
    return all ? all : json_null();
}

json_t *lethe_bytes_json(const char *s, size_t n) {
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n; i++) lethe_json_append(list, json_integer((unsigned char)s[i]), &ok);
    return list;
}

static json_t *choice_json(const char *piece, size_t n, double logprob) {
    return json_pack("{s:o, s:o, s:o}", "token", lethe_json_text(piece, n), "logprob",
                     lethe_json_real(logprob), "bytes", lethe_bytes_json(piece, n));
}

static json_t *logprob_json(const lethe_answer *a, const lethe_said *s) {
    json_t *entry = choice_json(s->piece, s->piece_len, s->logprob), *top = json_array();
    bool ok = entry && top;
    lethe_strbuf piece = {0};
    for (size_t i = 0; i < s->n_top; i++) {
        lethe_strbuf_clear(&piece);
        a->piece(a->piece_user, s->top[i].token, &piece);
        lethe_json_append(top, choice_json(lethe_strbuf_str(&piece), piece.len, s->top[i].logprob),
                          &ok);
    }
    ok = ok && !piece.status;
    lethe_strbuf_free(&piece);
    if (!ok || json_object_set(entry, "top_logprobs", top)) {
        json_decref(entry);
        entry = NULL;
    }
    json_decref(top);
    return entry;
}

static json_t *traced_json(const lethe_said *s) {
    json_t *fired = json_null();
    if (s->known) {
        lethe_mark *copy = malloc(sizeof *copy * (s->n_marks + 1));
        if (!copy) return NULL;
        if (s->n_marks) memcpy(copy, s->mark, s->n_marks * sizeof *copy);
        fired = lethe_marks_json(copy, s->n_marks);
        free(copy);
    }
    return json_pack("{s:o, s:o}", "piece", lethe_json_text(s->piece, s->piece_len), "fired",
                     fired);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Where the first stop string begins at or after `from`; the length of the text: nowhere. */
static size_t find_stop(const lethe_answer *a, size_t from) {
    size_t best = a->text.len;
    for (size_t i = 0; i < a->n_stops; i++) {
        const char *start = lethe_strbuf_str(&a->text) + from;
        const char *hit = memmem(start, a->text.len - from, a->stop[i], strlen(a->stop[i]));
        size_t place = hit ? from + (size_t)(hit - start) : a->text.len;
        if (place < best) best = place;
    }
    return best;
}

bool lethe_answer_add(lethe_answer *a, const lethe_said *s) {
    if (a->stopped) return false;
    size_t longest = 0, before = a->text.len;
    for (size_t i = 0; i < a->n_stops; i++)
        if (strlen(a->stop[i]) > longest) longest = strlen(a->stop[i]);
    lethe_strbuf_add(&a->text, s->piece, s->piece_len);
    if (a->text.status) a->ok = false;
    if (a->logprobs) lethe_json_append(a->logprob, logprob_json(a, s), &a->ok);
    if (a->trace) lethe_json_append(a->traced, traced_json(s), &a->ok);
    size_t place = a->n_stops ? find_stop(a, before > longest ? before - longest : 0) : a->text.len;
    if (place == a->text.len) return true;
    a->stopped = true;
    a->text.len = place;
    a->text.data[place] = '\0';
    return false;
}

/* Bytes at the end that may be the beginning of a stop string. */
static size_t maybe_stop(const lethe_answer *a) {
    size_t most = 0;
    for (size_t i = 0; i < a->n_stops; i++) {
        size_t n = strlen(a->stop[i]) - 1;
        if (n > a->text.len) n = a->text.len;
        for (; n > most; n--)
            if (!memcmp(a->text.data + a->text.len - n, a->stop[i], n)) most = n;
    }
    return most;
}

/* Bytes at the end that begin a character which is not whole: at most three. Bytes that can be no
 * character are not waited for. */
static size_t partial(const char *s, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)s[n - back];
        if ((c & 0xC0) == 0x80) continue;
        size_t want = c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 1;
        return c < 0xF5 && want > back ? back : 0;
    }
    return 0;
}

bool lethe_answer_take(lethe_answer *a, bool last, lethe_strbuf *text, json_t **logprob,
                       json_t **traced) {
    *logprob = *traced = NULL;
    lethe_strbuf_clear(text);
    size_t n = a->text.len;
    if (!last && n) {
        size_t hold = a->n_stops ? maybe_stop(a) : 0;
        n -= hold;
        n -= partial(a->text.data, n);
    }
    if (!n && !(last && (json_array_size(a->logprob) || json_array_size(a->traced)))) return false;
    lethe_strbuf_add(text, lethe_strbuf_str(&a->text), n);
    if (n) memmove(a->text.data, a->text.data + n, a->text.len - n + 1);
    a->text.len -= n;
    a->offset += n;
    *logprob = a->logprob;
    *traced = a->traced;
    a->logprob = a->logprobs ? json_array() : NULL;
    a->traced = a->trace ? json_array() : NULL;
    if (text->status || (a->logprobs && !a->logprob) || (a->trace && !a->traced)) a->ok = false;
    return true;
}
