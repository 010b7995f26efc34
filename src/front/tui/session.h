/* SPDX-License-Identifier: MIT
 *
 * What lies behind a chat, whatever it looks like: model, removal and conversation, the switches,
 * and the commands that a line beginning with '/' gives.
 */
#ifndef LETHE_FRONT_TUI_SESSION_H
#define LETHE_FRONT_TUI_SESSION_H

#include "front/prepare.h"
#include "stage/talk.h"

typedef struct lethe_session {
    lethe_invocation *in; /* its config holds the sampling settings, which /set changes */
    lethe_use use;
    lethe_talk *talk;
    bool ready;        /* the model is loaded, as the thread that talks knows: it sets this */
    bool forgetting;   /* the switch */
    bool both;         /* answer every prompt both ways */
    bool marks;        /* show where a removed feature fired */
    char heading[400]; /* "lethe-demo, 150 features of layer 2 at direction 0.3 (gated), ..." */
} lethe_session;

/* The switches as the command line has them; no model yet. */
void lethe_session_init(lethe_session *s, lethe_invocation *in);

/* Opens model, removal and conversation; may take long, and may run in another thread while
 * lethe_session_command is used, until `ready` is set. Fails: as lethe_use_open and
 * lethe_talk_open. */
lethe_status lethe_session_load(lethe_session *s, lethe_err *err);
void lethe_session_close(lethe_session *s);

/* Asks, as the switches are. Fails: as lethe_talk_ask. */
lethe_status lethe_session_ask(lethe_session *s, const char *prompt, lethe_err *err);

/* What a command did. */
typedef struct lethe_reply {
    lethe_strbuf text; /* to be shown; owned */
    bool quit, help;   /* asked for */
} lethe_reply;

/* Is the line a command? "//x" is not: it says "/x". */
bool lethe_session_is_command(const char *line);

/* Runs it. Fails, with nothing changed: USAGE (unknown, a wrong value), IO (/save). */
lethe_status lethe_session_command(lethe_session *s, const char *line, lethe_reply *reply,
                                   lethe_err *err);

/* All commands, a line each. */
void lethe_session_help(lethe_strbuf *out);

/* What flipping the switch means for the next answer, in a line. */
void lethe_session_flip(lethe_session *s, char *out, size_t size);

#endif
