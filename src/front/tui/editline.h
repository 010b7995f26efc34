/* SPDX-License-Identifier: MIT
 *
 * The line that a person types: UTF-8 with a cursor, and the lines typed before.
 */
#ifndef LETHE_FRONT_TUI_EDITLINE_H
#define LETHE_FRONT_TUI_EDITLINE_H

#include <stddef.h>

#include "base/strbuf.h"

typedef struct lethe_editline { /* zeroed: empty */
    lethe_strbuf text;
    size_t cursor;                     /* a byte between two characters */
    char **past;                       /* [n_past] owned, oldest first */
    size_t n_past, cap_past, recalled; /* recalled == n_past: what is typed now */
    char *draft;                       /* what was typed when recalling began; owned */
} lethe_editline;

typedef enum lethe_edit {
    LETHE_EDIT_LEFT,
    LETHE_EDIT_RIGHT,
    LETHE_EDIT_HOME,
    LETHE_EDIT_END,
    LETHE_EDIT_BACKSPACE,
    LETHE_EDIT_DELETE,
    LETHE_EDIT_KILL_LINE,
    LETHE_EDIT_KILL_WORD,
    LETHE_EDIT_EARLIER,
    LETHE_EDIT_LATER
} lethe_edit;

void lethe_editline_insert(lethe_editline *e, const char *text, size_t n); /* whole characters */
void lethe_editline_do(lethe_editline *e, lethe_edit what);

/* Empties the line and keeps it among the past; owned; NULL: blank, or no memory. */
char *lethe_editline_take(lethe_editline *e);
void lethe_editline_free(lethe_editline *e);

#endif
