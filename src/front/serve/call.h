/* SPDX-License-Identifier: MIT
 *
 * A request under way, between the engine's thread, which writes the reply, and the connection's
 * thread, which reads it. The reader may wait: `sleep` is called when there is nothing to read yet,
 * `wake` once when there is, both while the call is locked, so that they alternate.
 */
#ifndef LETHE_SERVE_CALL_H
#define LETHE_SERVE_CALL_H

#include <sys/types.h>

#include "front/serve/engine.h"

typedef struct lethe_call lethe_call;

typedef struct lethe_call_reader {
    void (*sleep)(void *user);
    void (*wake)(void *user); /* the engine's thread; must not call back */
    void *user;
    size_t most; /* bytes of a stream that may wait for it; with more the stream is broken off */
} lethe_call_reader;

/* Starts a request. ask: moved, on success only; model: what the reply names, borrowed for as long
 * as the call lives. Fails, *why filled: as lethe_engine_submit, NOMEM. */
lethe_status lethe_call_open(lethe_call **out, lethe_engine *e, lethe_lm *lm, lethe_ask *ask,
                             const lethe_forgetting *how, const char *model,
                             const lethe_call_reader *reader, lethe_refusal *why);

/* HTTP status of the reply; 0: not known yet, the reader sleeps. Once known a reply that is no
 * stream is whole. */
int lethe_call_status(lethe_call *t);
bool lethe_call_streams(const lethe_call *t); /* once the status is known: SSE follows */

/* Up to max bytes of the reply; 0: none yet, the reader sleeps; -1: that was all. */
ssize_t lethe_call_read(lethe_call *t, char *to, size_t max);
size_t lethe_call_left(lethe_call *t); /* bytes to read, now */

/* The client is gone: the answer is not worth going on with. The call lives on, and goes to
 * its end. Any thread, also with locks held. */
void lethe_call_hang_up(lethe_call *t);

/* The reader will not come again. True: the reply was written to its end. */
bool lethe_call_leave(lethe_call **t);

#endif
