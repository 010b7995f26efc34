/* SPDX-License-Identifier: MIT */
#include "front/tui/editline.h"

#include <string.h>

#include "base/mem.h"

static const char *text_of(const lethe_editline *e) {
    return lethe_strbuf_str(&e->text);
}

/* Steps over bytes that go on with a character. */
static size_t before(const lethe_editline *e, size_t at) {
    if (at) at--;
    while (at && ((unsigned char)text_of(e)[at] & 0xC0) == 0x80) at--;
    return at;
}

static size_t behind(const lethe_editline *e, size_t at) {
    if (at < e->text.len) at++;
    while (at < e->text.len && ((unsigned char)text_of(e)[at] & 0xC0) == 0x80) at++;
    return at;
}

/* Replaces the bytes from..to by text[n]; the cursor comes behind them. */
static void replace(lethe_editline *e, size_t from, size_t to, const char *text, size_t n) {
    lethe_strbuf next = {0};
    lethe_strbuf_add(&next, text_of(e), from);
    lethe_strbuf_add(&next, text, n);
    lethe_strbuf_add(&next, text_of(e) + to, e->text.len - to);
    if (next.status) { /* no memory: the line stays as it was */
        lethe_strbuf_free(&next);
        return;
    }
    lethe_strbuf_free(&e->text);
    e->text = next;
    e->cursor = from + n;
}

void lethe_editline_insert(lethe_editline *e, const char *text, size_t n) {
    replace(e, e->cursor, e->cursor, text, n);
}

static size_t word_before(const lethe_editline *e) {
    size_t at = e->cursor;
    while (at && text_of(e)[at - 1] == ' ') at--;
    while (at && text_of(e)[at - 1] != ' ') at--;
    return at;
}

static void recall(lethe_editline *e, size_t to) {
    if (to > e->n_past) return;
    if (e->recalled == e->n_past) {
        lethe_free(e->draft);
        e->draft = lethe_strdup(text_of(e));
    }
    const char *line = to == e->n_past ? e->draft : e->past[to];
    e->recalled = to;
    replace(e, 0, e->text.len, line ? line : "", line ? strlen(line) : 0);
}

void lethe_editline_do(lethe_editline *e, lethe_edit what) {
    switch (what) {
    case LETHE_EDIT_LEFT: e->cursor = before(e, e->cursor); break;
    case LETHE_EDIT_RIGHT: e->cursor = behind(e, e->cursor); break;
    case LETHE_EDIT_HOME: e->cursor = 0; break;
    case LETHE_EDIT_END: e->cursor = e->text.len; break;
    case LETHE_EDIT_BACKSPACE: replace(e, before(e, e->cursor), e->cursor, "", 0); break;
    case LETHE_EDIT_DELETE: replace(e, e->cursor, behind(e, e->cursor), "", 0); break;
    case LETHE_EDIT_KILL_LINE: replace(e, 0, e->text.len, "", 0); break;
    case LETHE_EDIT_KILL_WORD: replace(e, word_before(e), e->cursor, "", 0); break;
    case LETHE_EDIT_EARLIER:
        if (e->recalled) recall(e, e->recalled - 1);
        break;
    case LETHE_EDIT_LATER: recall(e, e->recalled + 1); break;
    }
}

char *lethe_editline_take(lethe_editline *e) {
    size_t blanks = strspn(text_of(e), " ");
    if (text_of(e)[blanks] == '\0') return NULL;
    char *line = lethe_strdup(text_of(e) + blanks), *copy = lethe_strdup(line);
    if (!line || !copy ||
        lethe_grow(&e->past, &e->cap_past, e->n_past, e->n_past + 1, sizeof *e->past, "", NULL)) {
        lethe_free(copy);
        return line;
    }
    bool same = e->n_past && !strcmp(e->past[e->n_past - 1], copy);
    if (same)
        lethe_free(copy);
    else
        e->past[e->n_past++] = copy;
    e->recalled = e->n_past;
    replace(e, 0, e->text.len, "", 0);
    return line;
}

void lethe_editline_free(lethe_editline *e) {
    for (size_t i = 0; i < e->n_past; i++) lethe_free(e->past[i]);
    lethe_free(e->past);
    lethe_free(e->draft);
    lethe_strbuf_free(&e->text);
    *e = (lethe_editline){0};
}
