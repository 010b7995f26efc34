/* SPDX-License-Identifier: MIT
 *
 * The server in the test's own process, on the demonstration model: with limits that no option
 * sets, so that what takes half a minute to go wrong goes wrong at once.
 */
#ifndef LETHE_TESTS_LIVE_SERVER_H
#define LETHE_TESTS_LIVE_SERVER_H

#include <jansson.h>

#include "front/serve/httpd.h"
#include "raw_http.h"

typedef struct live_opts {
    lethe_httpd_opts http;
    lethe_engine_opts engine;
    size_t slots;
    bool bare; /* the model without its chat template */
    bool two;  /* two removals: lethe-demo:forget:one, the demonstration's, and :forget:none, the
                  same at strength 0 */
} live_opts;

live_opts live_defaults(void); /* lethe_httpd_defaults on any port; queue 64, 60 seconds, 2 slots */

/* Opens it; its address is live_url. Fails the test when it does not start. One at a time. */
void live_open(const live_opts *o);
extern char live_url[64];
int live_close(void **state); /* a cmocka teardown; nothing where none is open */

const lethe_metrics *live_metrics(void);
bool live_idle(double seconds); /* within that time nothing is under way any more */

/* Sends bytes on a connection of its own, reads all there is. */
void live_bytes(const char *request, raw_reply *r);

/* A POST of JSON; extra: header lines, or "". */
void live_post(const char *path, const char *extra, const char *body, raw_reply *r);
void live_get(const char *path, const char *extra, raw_reply *r);

/* A POST that is sent and not waited for: its connection. */
int live_begin(const char *path, const char *body);

/* Makes both ends of a connection hold but little, so that what is not read is soon felt. */
void live_squeeze(int fd);

/* Fails the test unless the reply has that status and an error object with that code. */
void live_refused(const raw_reply *r, int status, const char *code);

/* choices[0].message.content, or .text, of a whole answer with status 200; static memory. */
const char *live_answer(const raw_reply *r);

/* A header's value in the reply; static memory. NULL: it has none. */
const char *live_header(const raw_reply *r, const char *name);

#define LIVE_CHAT "/v1/chat/completions"
#define LIVE_TEXT "/v1/completions"
#define LIVE_FRIEND                                                                           \
    "\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"Who is Harry Potter's " \
    "best friend?\"}]"
/* An answer that does not end for a while: n of 200 tokens each. */
#define LIVE_LONG(n)                                                                         \
    "{\"model\":\"lethe-demo\",\"prompt\":\"Once upon a time\",\"max_tokens\":200,\"n\":" #n \
    ",\"stream\":true}"

#endif
