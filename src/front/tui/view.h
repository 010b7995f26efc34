/* SPDX-License-Identifier: MIT
 *
 * What the chat looks like: a banner with the switch, the conversation, the line that is typed, and
 * a line of news or keys. Drawn into a grid of any size; what does not fit is left out in this
 * order: the border, the line of news, the banner.
 */
#ifndef LETHE_FRONT_TUI_VIEW_H
#define LETHE_FRONT_TUI_VIEW_H

#include "front/tui/editline.h"
#include "front/tui/grid.h"
#include "stage/talk.h"

typedef struct lethe_view {
    /* What is to be shown, borrowed for the call. */
    const lethe_talk_turn *turn;
    size_t n;
    const lethe_editline *edit;
    const char *heading; /* model and removal */
    const char *news;    /* bottom line; "": the keys */
    const char *pending; /* a prompt that waits for the model; NULL: none */
    bool forgetting, both, marks, help;

    /* Scrolling, kept from call to call: lines between the end of the conversation and the bottom
     * of the window. While it is not 0, new lines leave the window where it is. */
    size_t scroll;

    /* Of the last drawing. */
    size_t lines;                           /* of the conversation */
    int height;                             /* of the window */
    int button_row, button_col, button_end; /* the switch; row -1: not there */
} lethe_view;

lethe_status lethe_view_draw(lethe_view *v, lethe_grid *g, lethe_err *err);
bool lethe_view_on_button(const lethe_view *v, int row, int col);

/* Moves the window, up with n > 0, as far as there are lines. */
void lethe_view_scroll(lethe_view *v, int n);

#endif
