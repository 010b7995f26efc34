/* SPDX-License-Identifier: MIT
 *
 * A chat on the whole screen: keys in, view.h out, the conversation stepped in between. The screen
 * is usable while the model is loaded by another thread.
 */
#ifndef LETHE_FRONT_TUI_SCREEN_CHAT_H
#define LETHE_FRONT_TUI_SCREEN_CHAT_H

#include "front/tui/session.h"

/* *none: there is no terminal that can be used; nothing was done, talk in lines. Fails: what
 * loading or running the model fails with; the terminal is given back first. */
lethe_status lethe_screen_chat_run(lethe_session *s, bool *none, lethe_err *err);

#endif
