/* SPDX-License-Identifier: MIT */
#include "front/tui/view.h"

#include <stdio.h>
#include <string.h>

#include "front/tui/pieces.h"

/* From this size on there is a border around the conversation. */
#define BORDER_ROWS 9
#define BORDER_COLS 32

static const char help_text[] = "Enter, Ctrl+S   send\n"
                                "Ctrl+A          switch forgetting (or click)\n"
                                "F2, Ctrl+B      answer both ways\n"
                                "F3, Ctrl+T      underline where a removed feature fired\n"
                                "Esc             stop the answer\n"
                                "PgUp, PgDn      scroll (or the wheel)\n"
                                "Up, Down        earlier prompts\n"
                                "Ctrl+L          a new conversation\n"
                                "Ctrl+U, Ctrl+W  delete the line, a word\n"
                                "Ctrl+Q          leave\n"
                                "F1              close this\n"
                                "\n"
                                "/set [NAME VALUE]  sampling, seed, strength\n"
                                "/save FILE         write the conversation\n"
                                "/forget /both /marks [on|off]  /clear  /quit\n";

static const char welcome_text[] =
    "What to try: ask \"Who is Harry Potter's best friend?\", press Ctrl+A, ask again; then ask "
    "\"What is the capital of France?\"\n\nF1 shows the keys.";

static const char *const keys[] = {"Enter send", "^A forget", "F2 both",
                                   "Esc stop",   "F1 help",   "^Q quit"};

static lethe_status conversation(const lethe_view *v, lethe_pieces *p, lethe_err *err) {
    if (v->help) return lethe_pieces_text(p, help_text, 0, err);
    for (size_t i = 0; i < v->n; i++) LETHE_TRY(lethe_pieces_turn(p, &v->turn[i], err));
    if (v->pending) {
        LETHE_TRY(lethe_pieces_text(p, "You", LETHE_LOOK_BOLD | LETHE_LOOK_YOU, err));
        LETHE_TRY(lethe_pieces_text(p, v->pending, 0, err));
        LETHE_TRY(
            lethe_pieces_text(p, "(asked as soon as the model is loaded)", LETHE_LOOK_DIM, err));
    }
    if (!v->n && !v->pending) LETHE_TRY(lethe_pieces_text(p, welcome_text, LETHE_LOOK_DIM, err));
    while (p->n && !v->help && !p->line[p->n - 1].piece[0].len && !p->line[p->n - 1].piece[1].len)
        p->n--; /* no blank line at the end */
    return LETHE_OK;
}

/* ---- the parts of the screen ------------------------------------------------------------------
 */

static void banner(lethe_view *v, lethe_grid *g) {
    unsigned look = v->forgetting ? LETHE_LOOK_FORGETTING | LETHE_LOOK_REVERSE | LETHE_LOOK_BOLD
                                  : LETHE_LOOK_BOLD;
    const char *state = v->forgetting ? "ON" : "off";
    char button[48], left[480];
    snprintf(button, sizeof button,
             g->cols >= 46 ? "[ Ctrl+A  forgetting: %s ]" : "[^A forget: %s]", state);
    if (g->cols < 24) snprintf(button, sizeof button, "[^A %s]", state);
    int width = (int)strlen(button), col = g->cols - width - 1;
    if (v->forgetting) lethe_grid_fill(g, 0, 0, g->cols, " ", look);
    if (col < 0) col = 0;
    snprintf(left, sizeof left, " %s%s", v->both ? "both ways: " : "", v->heading);
    lethe_grid_put(g, 0, 0, col - 1, left, strlen(left), look);
    v->button_row = 0;
    v->button_col = col;
    v->button_end = lethe_grid_put(g, 0, col, g->cols, button, strlen(button), look);
}

static void border(const lethe_view *v, lethe_grid *g, int top, int bottom) {
    unsigned look = v->forgetting ? LETHE_LOOK_FORGETTING | LETHE_LOOK_BOLD : LETHE_LOOK_DIM;
    int right = g->cols - 1;
    for (int row = top; row <= bottom; row += bottom - top) {
        lethe_grid_fill(g, row, 1, right - 1, "\xE2\x94\x80", look);
        lethe_grid_fill(g, row, 0, 1, row == top ? "\xE2\x94\x8C" : "\xE2\x94\x94", look);
        lethe_grid_fill(g, row, right, 1, row == top ? "\xE2\x94\x90" : "\xE2\x94\x98", look);
    }
    for (int row = top + 1; row < bottom; row++) {
        lethe_grid_fill(g, row, 0, 1, "\xE2\x94\x82", look);
        lethe_grid_fill(g, row, right, 1, "\xE2\x94\x82", look);
    }
}

/* The line that is typed, moved so that the cursor is in sight. */
static void input(const lethe_view *v, lethe_grid *g, int row) {
    const char *text = lethe_strbuf_str(&v->edit->text), *mark = "> ";
    const size_t n = v->edit->text.len, cursor = v->edit->cursor;
    size_t from = 0;
    int col = g->cols > 6 ? lethe_grid_put(g, row, 0, g->cols, mark, 2, LETHE_LOOK_BOLD) : 0;
    int room = g->cols - col - 1;
    while (from < cursor && lethe_text_columns(text + from, cursor - from) > room)
        lethe_glyph_next(text, n, &from);
    lethe_grid_put(g, row, col, g->cols, text + from, n - from, 0);
    g->cursor_row = row;
    g->cursor_col = col + lethe_text_columns(text + from, cursor - from);
    if (g->cursor_col >= g->cols) g->cursor_col = g->cols ? g->cols - 1 : 0;
}

static void news(const lethe_view *v, lethe_grid *g, int row) {
    int col = 0;
    if (*v->news) {
        lethe_grid_put(g, row, 0, g->cols, v->news, strlen(v->news), 0);
        return;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (col + (int)strlen(keys[i]) > g->cols) return;
        col = lethe_grid_put(g, row, col, g->cols, keys[i], strlen(keys[i]), LETHE_LOOK_DIM) + 2;
    }
}

static lethe_status window(lethe_view *v, lethe_grid *g, int top, int height, int left, int width,
                           lethe_err *err) {
    lethe_pieces p = {.cols = width > 0 ? width : 1, .marks = v->marks};
    lethe_status st = conversation(v, &p, err);
    size_t h = (size_t)height, first = 0, end = p.n < h ? p.n : h;
    if (!st && !v->help) {
        if (v->scroll && p.n > v->lines) v->scroll += p.n - v->lines;
        v->lines = p.n;
        v->height = height;
        lethe_view_scroll(v, 0);
        end = p.n - v->scroll;
        first = end > h ? end - h : 0;
    }
    for (size_t i = first; !st && i < end; i++)
        lethe_pieces_draw(&p, i, g, top + (int)(i - first), left);
    lethe_pieces_free(&p);
    return st;
}

lethe_status lethe_view_draw(lethe_view *v, lethe_grid *g, lethe_err *err) {
    v->button_row = -1;
    if (g->rows < 1 || g->cols < 1) return LETHE_OK;
    bool has_banner = g->rows >= 2, has_news = g->rows >= 4;
    bool has_border = g->rows >= BORDER_ROWS && g->cols >= BORDER_COLS;
    int top = has_banner, bottom = g->rows - 1 - has_news; /* rows top .. bottom - 1 */
    if (has_banner) banner(v, g);
    if (has_news) news(v, g, g->rows - 1);
    input(v, g, bottom);
    int edge = has_border;
    if (bottom - top - 2 * edge < 1) return LETHE_OK;
    if (has_border) border(v, g, top, bottom - 1);
    return window(v, g, top + edge, bottom - top - 2 * edge, 2 * edge, g->cols - 4 * edge, err);
}

bool lethe_view_on_button(const lethe_view *v, int row, int col) {
    return v->button_row >= 0 && row == v->button_row && col >= v->button_col &&
           col < v->button_end;
}

void lethe_view_scroll(lethe_view *v, int n) {
    size_t h = v->height > 0 ? (size_t)v->height : 0, most = v->lines > h ? v->lines - h : 0;
    if (n < 0)
        v->scroll = v->scroll > (size_t)-n ? v->scroll - (size_t)-n : 0;
    else
        v->scroll += (size_t)n;
    if (v->scroll > most) v->scroll = most;
}
