/* SPDX-License-Identifier: MIT
 *
 * A screen as a grid of cells, without a terminal: drawing fills it, terminal.h shows it, tests
 * read it. A character that is two columns wide fills its cell and leaves the next one empty (width
 * 0). Widths are the locale's (wcwidth), so LC_CTYPE is to be set to one with UTF-8.
 */
#ifndef LETHE_FRONT_TUI_GRID_H
#define LETHE_FRONT_TUI_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

/* Looks, to be or-ed. The two colours have a meaning, and each look that uses one has a second sign
 * of it, for screens without colour. */
enum {
    LETHE_LOOK_BOLD = 1,
    LETHE_LOOK_DIM = 2,
    LETHE_LOOK_REVERSE = 4,
    LETHE_LOOK_UNDERLINE = 8,
    LETHE_LOOK_FORGETTING = 16, /* orange */
    LETHE_LOOK_YOU = 32         /* cyan */
};

/* A character with what combines with it, as UTF-8. */
typedef struct lethe_glyph {
    char text[20];
    int width; /* 1 or 2 */
} lethe_glyph;

typedef struct lethe_cell {
    lethe_glyph glyph; /* width 0: covered by the wide one before */
    unsigned look;
} lethe_cell;

typedef struct lethe_grid {
    int rows, cols;
    lethe_cell *cell; /* [rows, cols] */
    int cursor_row, cursor_col;
} lethe_grid;

/* The glyph at *pos of text[n], *pos < n, which moves behind it. Controls and bytes that are not
 * UTF-8 are U+FFFD, a tab or line feed is a blank: nothing in it moves a cursor. */
lethe_glyph lethe_glyph_next(const char *text, size_t n, size_t *pos);

int lethe_text_columns(const char *text, size_t n);

/* All cells blank. Fails: NOMEM. A grid without rows or columns is fine. */
lethe_status lethe_grid_reset(lethe_grid *g, int rows, int cols, lethe_err *err);
void lethe_grid_free(lethe_grid *g);

/* Writes text[n] from (row, col) on, up to column `end`, as far as it is on the grid; returns the
 * column behind it. */
int lethe_grid_put(lethe_grid *g, int row, int col, int end, const char *text, size_t n,
                   unsigned look);

/* n copies of a glyph one column wide. */
void lethe_grid_fill(lethe_grid *g, int row, int col, int n, const char *glyph, unsigned look);

/* A row as text, without the blanks at its end: for tests. */
void lethe_grid_row(const lethe_grid *g, int row, lethe_strbuf *out);

#endif
