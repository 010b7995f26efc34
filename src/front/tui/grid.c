/* SPDX-License-Identifier: MIT */
#include "front/tui/grid.h"

#include <string.h>
#include <wchar.h>

#include "base/mem.h"
#include "base/utf8.h"

static const lethe_glyph unknown = {"\xEF\xBF\xBD", 1}, blank = {" ", 1};

/* Columns of a code point: -1 for controls and what the locale cannot show. */
static int width_of(uint32_t c) {
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return -1;
    return c < 0x7f ? 1 : wcwidth((wchar_t)c);
}

lethe_glyph lethe_glyph_next(const char *text, size_t n, size_t *pos) {
    size_t start = *pos, len;
    uint32_t c = lethe_utf8_next(text, n, pos);
    if (c == '\t' || c == '\n') return blank;
    int width = width_of(c);
    len = *pos - start;
    if (c == 0xFFFD || width < 1) return unknown; /* a combining character alone, too */
    lethe_glyph g = {.width = width > 2 ? 2 : width};
    memcpy(g.text, text + start, len);
    while (*pos < n) { /* what combines with it, as far as there is room */
        size_t next = *pos;
        uint32_t mark = lethe_utf8_next(text, n, &next);
        if (mark < 0x300 || mark == 0xFFFD || width_of(mark) != 0) break;
        if (len + (next - *pos) < sizeof g.text) {
            memcpy(g.text + len, text + *pos, next - *pos);
            len += next - *pos;
        }
        *pos = next;
    }
    return g;
}

int lethe_text_columns(const char *text, size_t n) {
    int columns = 0;
    for (size_t i = 0; i < n;) columns += lethe_glyph_next(text, n, &i).width;
    return columns;
}

lethe_status lethe_grid_reset(lethe_grid *g, int rows, int cols, lethe_err *err) {
    if (rows != g->rows || cols != g->cols) {
        size_t n;
        lethe_grid_free(g);
        if (!lethe_mul_size((size_t)rows, (size_t)cols, &n))
            return lethe_fail(err, LETHE_NOMEM, "the screen is too large");
        LETHE_TRY(lethe_alloc(&g->cell, n, sizeof *g->cell, "the screen", err));
        g->rows = rows;
        g->cols = cols;
    }
    for (int i = 0; i < rows; i++) lethe_grid_fill(g, i, 0, cols, " ", 0);
    g->cursor_row = g->cursor_col = 0;
    return LETHE_OK;
}

void lethe_grid_free(lethe_grid *g) {
    lethe_free(g->cell);
    *g = (lethe_grid){0};
}

static lethe_cell *at(lethe_grid *g, int row, int col) {
    return &g->cell[(size_t)row * (size_t)g->cols + (size_t)col];
}

int lethe_grid_put(lethe_grid *g, int row, int col, int end, const char *text, size_t n,
                   unsigned look) {
    if (end > g->cols) end = g->cols;
    if (row < 0 || row >= g->rows || col < 0) return col;
    for (size_t i = 0; i < n;) {
        lethe_glyph glyph = lethe_glyph_next(text, n, &i);
        if (col + glyph.width > end) break;
        *at(g, row, col) = (lethe_cell){glyph, look};
        if (glyph.width == 2) *at(g, row, col + 1) = (lethe_cell){{"", 0}, look};
        col += glyph.width;
    }
    return col;
}

void lethe_grid_fill(lethe_grid *g, int row, int col, int n, const char *glyph, unsigned look) {
    for (int i = 0; i < n; i++)
        lethe_grid_put(g, row, col + i, col + n, glyph, strlen(glyph), look);
}

void lethe_grid_row(const lethe_grid *g, int row, lethe_strbuf *out) {
    size_t from = out->len, end = from;
    for (int col = 0; col < g->cols; col++) {
        const lethe_cell *c = &g->cell[(size_t)row * (size_t)g->cols + (size_t)col];
        lethe_strbuf_adds(out, c->glyph.text);
        if (c->glyph.width && strcmp(c->glyph.text, " ") != 0) end = out->len;
    }
    if (out->status || !out->data) return;
    out->len = end;
    out->data[end] = '\0';
}
