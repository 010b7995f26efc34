/* SPDX-License-Identifier: MIT
 *
 * The terminal: the only file that knows ncurses. Shows grids, reads keys and the mouse.
 */
#ifndef LETHE_FRONT_TUI_TERMINAL_H
#define LETHE_FRONT_TUI_TERMINAL_H

#include "front/tui/grid.h"

typedef enum lethe_key_kind {
    LETHE_KEY_NONE, /* nothing came in time */
    LETHE_KEY_TEXT, /* characters: text */
    LETHE_KEY_SEND,
    LETHE_KEY_SWITCH,
    LETHE_KEY_BOTH,
    LETHE_KEY_MARKS,
    LETHE_KEY_STOP,
    LETHE_KEY_BREAK, /* Ctrl+C */
    LETHE_KEY_QUIT,
    LETHE_KEY_CLEAR,
    LETHE_KEY_HELP,
    LETHE_KEY_PAGE_UP,
    LETHE_KEY_PAGE_DOWN,
    LETHE_KEY_WHEEL_UP,
    LETHE_KEY_WHEEL_DOWN,
    LETHE_KEY_CLICK, /* at row, col */
    LETHE_KEY_RESIZE,
    LETHE_KEY_EDIT /* edit: what to do to the line (editline.h) */
} lethe_key_kind;

typedef struct lethe_key {
    lethe_key_kind kind;
    char text[8]; /* UTF-8, NUL-terminated */
    int row, col, edit;
} lethe_key;

/* Takes over the terminal. False: standard input or output is none, or its kind is not known
 * ($TERM); then nothing was changed. */
bool lethe_terminal_open(void);
void lethe_terminal_close(void); /* gives it back as it was; may be called twice */

void lethe_terminal_size(int *rows, int *cols);
void lethe_terminal_show(const lethe_grid *g);

/* Waits at most so many milliseconds. */
lethe_key lethe_terminal_key(int milliseconds);

#endif
