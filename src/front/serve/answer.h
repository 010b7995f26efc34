/* SPDX-License-Identifier: MIT
 *
 * One answer as it grows: tokens come in, text that may be shown goes out. Text is held back where
 * a character is not whole yet, and where it could be the beginning of a stop string. Pure.
 *
 * With a trace a token is held back, too, until the model has read it: what fires on it is known
 * only then.
 */
#ifndef LETHE_SERVE_ANSWER_H
#define LETHE_SERVE_ANSWER_H

#include <jansson.h>

#include "base/strbuf.h"
#include "lm/live.h"

typedef struct lethe_mark { /* a feature that fired on a token */
    int32_t feature;        /* its latent in the SAE */
    int removal;
    double value;
} lethe_mark;

/* A token as the engine tells it. */
typedef struct lethe_said {
    const char *piece; /* [piece_len] perhaps part of a UTF-8 sequence */
    size_t piece_len;
    double logprob;
    const lethe_live_choice *top; /* [n_top] likeliest first */
    size_t n_top;
    const lethe_mark *mark; /* [n_marks] */
    size_t n_marks;
    bool known; /* the marks: the model has read the token */
} lethe_said;

/* Text of a token, for alternatives; the buffer is filled. */
typedef void (*lethe_piece_fn)(void *user, int32_t token, lethe_strbuf *out);

typedef struct lethe_answer {
    const char *const *stop; /* [n_stops] borrowed */
    size_t n_stops;
    bool logprobs, trace;
    lethe_piece_fn piece;
    void *piece_user;

    lethe_strbuf text; /* not handed out yet */
    size_t offset;     /* bytes handed out before it */
    bool stopped;      /* a stop string came; the text ends before it */
    bool ok;           /* false: no memory */
    json_t *logprob;   /* entries of tokens not handed out yet, as of chat */
    json_t *traced;    /* {"piece", "fired"} of them */
} lethe_answer;

/* Zeroed, then the first fields set by the caller. */
void lethe_answer_open(lethe_answer *a);
void lethe_answer_close(lethe_answer *a);

/* False: a stop string has come, the answer is over. Nothing is taken after that. */
bool lethe_answer_add(lethe_answer *a, const lethe_said *said);

/* What may be shown, and is now handed out: false where there is nothing. last: all that is left.
 * text: replaced; logprob and traced: new references, NULL where not asked for. */
bool lethe_answer_take(lethe_answer *a, bool last, lethe_strbuf *text, json_t **logprob,
                       json_t **traced);

/* [{"feature", "removal", "value"}], largest value first; sorts the marks. NULL: no memory. */
json_t *lethe_marks_json(lethe_mark *mark, size_t n);

json_t *lethe_bytes_json(const char *s, size_t n); /* [240, 159]; NULL: no memory */

/* Of the tokens in `traced`, all that fired, each feature once with its largest value; null where
 * it is known of none of them. New reference. */
json_t *lethe_traced_merge(const json_t *traced);

#endif
