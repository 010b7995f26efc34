/* SPDX-License-Identifier: MIT
 *
 * A conversation cut into the lines of a window of some width. A line has one piece of text, or two
 * where answers stand side by side.
 */
#ifndef LETHE_FRONT_TUI_PIECES_H
#define LETHE_FRONT_TUI_PIECES_H

#include "front/tui/grid.h"
#include "stage/talk.h"

typedef struct lethe_piece {
    const char *text; /* borrowed: of the conversation or constant; NULL: nothing here */
    size_t start, len;
    char own[120];                /* the text where it is not borrowed: text == NULL, len > 0 */
    const lethe_talk_text *marks; /* tokens of `text`; NULL: none to show */
    unsigned look;
} lethe_piece;

typedef struct lethe_piece_line {
    lethe_piece piece[2];
    bool two; /* side by side */
} lethe_piece_line;

typedef struct lethe_pieces { /* zeroed: empty */
    lethe_piece_line *line;   /* [n] */
    size_t n, cap;
    int cols; /* width of the window */
    bool marks;
} lethe_pieces;

/* Width from which on answers stand side by side, and where the second begins. */
#define LETHE_PIECES_TWO 50
int lethe_pieces_second(int cols);

/* Where the line of text[n] from `start` on ends that is at most cols wide, and where the next one
 * begins: at blanks if it can be, at a line feed if there is one. cols >= 1. */
void lethe_wrap_line(const char *text, size_t n, size_t start, int cols, size_t *end, size_t *next);

/* Appends. The conversation and the texts are borrowed as long as the pieces are used. Fails:
 * NOMEM. */
lethe_status lethe_pieces_turn(lethe_pieces *p, const lethe_talk_turn *turn, lethe_err *err);
lethe_status lethe_pieces_text(lethe_pieces *p, const char *text, unsigned look, lethe_err *err);
lethe_status lethe_pieces_blank(lethe_pieces *p, lethe_err *err);
void lethe_pieces_free(lethe_pieces *p);

/* Draws line i at (row, col). */
void lethe_pieces_draw(const lethe_pieces *p, size_t i, lethe_grid *g, int row, int col);

#endif
