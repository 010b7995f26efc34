/* SPDX-License-Identifier: MIT
 *
 * A chat in lines: prompts from standard input, answers on standard output, all else on standard
 * error. For pipes, scripts and screen readers.
 */
#ifndef LETHE_FRONT_TUI_PLAIN_H
#define LETHE_FRONT_TUI_PLAIN_H

#include "front/tui/session.h"

/* Loads the model and talks until the end of the input or /quit. With config.json one JSON object a
 * prompt. Ctrl-C ends an answer, or the chat while it waits for a prompt. Fails: as loading, asking
 * and running do; where a person types, a refused prompt is only said so. */
lethe_status lethe_plain_run(lethe_session *s, lethe_err *err);

#endif
