/* SPDX-License-Identifier: MIT
 *
 * The body of a request, JSON from outside, to a checked struct: pure, so that it can be tested and
 * fuzzed without a server or a model. docs/serve.md lists keys and ranges.
 */
#ifndef LETHE_SERVE_REQUEST_H
#define LETHE_SERVE_REQUEST_H

#include <jansson.h>

#include "lm/lm.h"

/* Why a request gets no answer, as the OpenAI API tells it. */
typedef struct lethe_refusal {
    int status;                   /* of HTTP; 0: nothing was refused */
    const char *type;             /* "invalid_request_error", ...; static */
    const char *code;             /* static; NULL: none */
    char param[64];               /* the key it is about; "": none */
    char message[LETHE_ERR_TEXT]; /* perhaps cut in the midst of a UTF-8 sequence */
} lethe_refusal;

/* Fills *out; always returns LETHE_USAGE. */
lethe_status lethe_refuse(lethe_refusal *out, int status, const char *code, const char *param,
                          const char *fmt, ...) __attribute__((format(printf, 5, 6)));

typedef enum lethe_ask_kind { LETHE_ASK_CHAT, LETHE_ASK_TEXT, LETHE_ASK_TRACE } lethe_ask_kind;

#define LETHE_ASK_MOST_MESSAGES 1024
#define LETHE_ASK_MOST_PROMPTS 16
#define LETHE_ASK_MOST_ANSWERS 16
#define LETHE_ASK_MOST_STOPS 4
#define LETHE_ASK_MOST_TOP 20

typedef struct lethe_ask {
    lethe_ask_kind kind;
    json_t *root;                /* owned; strings are borrowed from it */
    const char *model;           /* NULL: not said (trace only) */
    lethe_chat_message *message; /* [n_messages] owned list */
    size_t n_messages;
    const char *prompt[LETHE_ASK_MOST_PROMPTS];
    size_t n_prompts; /* 0 with messages */
    bool stream, usage;
    lethe_sampling sampling; /* max_tokens 0: what fits */
    bool seeded;             /* the seed was given */
    size_t n;                /* answers for each prompt */
    const char *stop[LETHE_ASK_MOST_STOPS];
    size_t n_stops;
    bool logprobs;
    size_t top;
    int forget;      /* -1: not said, 0, 1 */
    double strength; /* NAN: not said */
    bool scale;      /* it was said as a scale: method scale, whatever the removal's method */
    bool trace;
} lethe_ask;

/* body [n] need not be terminated. Fails, *why filled: USAGE, NOMEM. Threads: safe. */
lethe_status lethe_ask_parse(lethe_ask *out, lethe_ask_kind kind, const char *body, size_t n,
                             lethe_refusal *why);
void lethe_ask_free(lethe_ask *a); /* accepts a zeroed one; zeroes it */

#endif
