/* SPDX-License-Identifier: MIT */
#include "front/tui/pieces.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

int lethe_pieces_second(int cols) {
    return (cols - 1) / 2 + 2;
}

void lethe_wrap_line(const char *text, size_t n, size_t start, int cols, size_t *end,
                     size_t *next) {
    size_t at = start, blank = 0; /* behind the last blank that fits */
    int used = 0;
    while (at < n && text[at] != '\n') {
        size_t from = at;
        lethe_glyph g = lethe_glyph_next(text, n, &at);
        bool space = text[from] == ' ';
        if (used + g.width > cols && !space) {
            *next = blank ? blank : from > start ? from : at;
            *end = blank ? blank - 1 : *next;
            return;
        }
        used += g.width;
        if (space) blank = at;
    }
    *end = at;
    *next = at < n ? at + 1 : at;
}

static lethe_status add_line(lethe_pieces *p, lethe_piece_line **out, lethe_err *err) {
    LETHE_TRY(lethe_grow(&p->line, &p->cap, p->n, p->n + 1, sizeof *p->line, "lines", err));
    *out = &p->line[p->n++];
    **out = (lethe_piece_line){0};
    return LETHE_OK;
}

/* A piece of column `at` (of two, where `two`) in the line `i`, which is made if there is none. */
static lethe_status add_piece(lethe_pieces *p, size_t i, int at, bool two, const lethe_piece *piece,
                              lethe_err *err) {
    lethe_piece_line *l = NULL;
    if (i >= p->n)
        LETHE_TRY(add_line(p, &l, err));
    else
        l = &p->line[i];
    l->piece[at] = *piece;
    l->two = two;
    return LETHE_OK;
}

static int width_of(const lethe_pieces *p, int at, bool two) {
    int second = lethe_pieces_second(p->cols);
    int w = !two ? p->cols : at ? p->cols - second : second - 3;
    return w < 1 ? 1 : w;
}

/* Wraps text[n] into lines from *i on. */
static lethe_status wrap(lethe_pieces *p, size_t *i, int at, bool two, const char *text, size_t n,
                         const lethe_talk_text *marks, unsigned look, lethe_err *err) {
    for (size_t start = 0, end, next; start < n; start = next) {
        lethe_wrap_line(text, n, start, width_of(p, at, two), &end, &next);
        lethe_piece piece = {
            .text = text, .start = start, .len = end - start, .marks = marks, .look = look};
        LETHE_TRY(add_piece(p, (*i)++, at, two, &piece, err));
    }
    return LETHE_OK;
}

static lethe_status own(lethe_pieces *p, size_t *i, int at, bool two, const char *text,
                        unsigned look, lethe_err *err) {
    lethe_piece piece = {.look = look};
    snprintf(piece.own, sizeof piece.own, "%s", text);
    piece.len = strlen(piece.own);
    return add_piece(p, (*i)++, at, two, &piece, err);
}

static lethe_status answer(lethe_pieces *p, size_t *i, int side, int at, bool two,
                           const lethe_talk_answer *a, lethe_err *err) {
    bool forgetting = side == LETHE_TALK_FORGETTING;
    char label[40], remark[200], line[120];
    snprintf(label, sizeof label, "Model, %s", lethe_talk_side_name(side));
    LETHE_TRY(own(p, i, at, two, label, LETHE_LOOK_BOLD | (forgetting ? LETHE_LOOK_FORGETTING : 0u),
                  err));
    size_t ready = lethe_talk_ready(a);
    LETHE_TRY(wrap(p, i, at, two, lethe_strbuf_str(&a->text.text), ready,
                   p->marks ? &a->text : NULL, 0, err));
    if (!ready && a->end == LETHE_TALK_RUNS)
        LETHE_TRY(own(p, i, at, two, "...", LETHE_LOOK_DIM, err));
    lethe_talk_remark(a, remark, sizeof remark);
    const size_t n = strlen(remark);
    for (size_t start = 0, end, next; start < n; start = next) {
        lethe_wrap_line(remark, n, start, width_of(p, at, two) - 2, &end, &next);
        snprintf(line, sizeof line, "%s%.*s%s", start ? " " : "(", (int)(end - start),
                 remark + start, next >= n ? ")" : "");
        LETHE_TRY(own(p, i, at, two, line, LETHE_LOOK_DIM, err));
    }
    return LETHE_OK;
}

lethe_status lethe_pieces_blank(lethe_pieces *p, lethe_err *err) {
    lethe_piece_line *l;
    return add_line(p, &l, err);
}

lethe_status lethe_pieces_text(lethe_pieces *p, const char *text, unsigned look, lethe_err *err) {
    size_t i = p->n;
    return wrap(p, &i, 0, false, text, strlen(text), NULL, look, err);
}

lethe_status lethe_pieces_turn(lethe_pieces *p, const lethe_talk_turn *turn, lethe_err *err) {
    size_t i = p->n;
    LETHE_TRY(own(p, &i, 0, false, "You", LETHE_LOOK_BOLD | LETHE_LOOK_YOU, err));
    LETHE_TRY(wrap(p, &i, 0, false, lethe_strbuf_str(&turn->prompt.text), turn->prompt.text.len,
                   p->marks ? &turn->prompt : NULL, 0, err));
    bool two = turn->answer[0].there && turn->answer[1].there && p->cols >= LETHE_PIECES_TWO;
    size_t top = i;
    for (int s = 0; s < LETHE_TALK_SIDES; s++) {
        if (!turn->answer[s].there) continue;
        if (two) i = top;
        LETHE_TRY(answer(p, &i, s, two ? s : 0, two, &turn->answer[s], err));
    }
    return lethe_pieces_blank(p, err);
}

void lethe_pieces_free(lethe_pieces *p) {
    lethe_free(p->line);
    *p = (lethe_pieces){0};
}

static bool fired_at(const lethe_talk_text *marks, size_t byte, size_t *from) {
    while (*from < marks->n && marks->token[*from].start + marks->token[*from].len <= byte) ++*from;
    return *from < marks->n && marks->token[*from].start <= byte && marks->token[*from].fired;
}

static void draw_piece(const lethe_piece *p, lethe_grid *g, int row, int col, int end) {
    const char *text = p->text ? p->text : p->own;
    size_t stop = p->start + p->len, from = 0;
    for (size_t i = p->start; i < stop;) {
        size_t begin = i;
        lethe_glyph_next(text, stop, &i);
        bool fired = p->marks && fired_at(p->marks, begin, &from);
        col = lethe_grid_put(g, row, col, end, text + begin, i - begin,
                             p->look | (fired ? LETHE_LOOK_UNDERLINE : 0u));
    }
}

void lethe_pieces_draw(const lethe_pieces *p, size_t i, lethe_grid *g, int row, int col) {
    const lethe_piece_line *l = &p->line[i];
    int second = lethe_pieces_second(p->cols);
    draw_piece(&l->piece[0], g, row, col, col + (l->two ? second - 3 : p->cols));
    if (!l->two) return;
    lethe_grid_put(g, row, col + second - 2, col + second, "\xE2\x94\x82", 3, LETHE_LOOK_DIM);
    draw_piece(&l->piece[1], g, row, col + second, col + p->cols);
}
