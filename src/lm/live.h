/* SPDX-License-Identifier: MIT
 *
 * Live sequences: texts that go on, each in a slot of its own, token by token and side by side in
 * shared decode calls. A slot keeps what the model computed (the KV cache) when its answer is over,
 * so the next turn of a conversation runs only what is new. This is what chat and server stand on;
 * lethe_lm_generate is for prompts that are all there at once.
 *
 * To hooks a slot's rows are those of sequence number `slot`. What an edit did to rows stays in the
 * cache: whoever changes an edit calls lethe_live_forget for the slots it is for.
 *
 * Thread rule: that of the model. While a lethe_live is open nothing else may run on its model.
 */
#ifndef LETHE_LM_LIVE_H
#define LETHE_LM_LIVE_H

#include "lm/lm.h"

typedef struct lethe_live lethe_live;

#define LETHE_LIVE_MOST_TOP 20 /* alternatives told of a token */

typedef struct lethe_live_request {
    const int32_t *token; /* [n] the whole text so far, copied */
    size_t n;
    lethe_sampling sampling; /* max_tokens 0: as many as fit the context */
    uint64_t stream;         /* with sampling.seed gives the random stream */
    size_t top;              /* alternatives wanted with each token, <= LETHE_LIVE_MOST_TOP */
    bool logprob;            /* log-probabilities wanted (also of the alternatives) */
} lethe_live_request;

typedef struct lethe_live_choice {
    int32_t token;
    double logprob; /* of the model as it runs, before penalties and temperature */
} lethe_live_choice;

typedef enum lethe_live_end {
    LETHE_LIVE_GOES_ON,
    LETHE_LIVE_EOG,    /* an end-of-generation token; it is no token of the answer */
    LETHE_LIVE_LENGTH, /* max_tokens, or the context is full */
    LETHE_LIVE_CUT     /* fn returned false */
} lethe_live_end;

/* A new token of a slot, or its end. */
typedef struct lethe_live_event {
    size_t slot;
    int32_t token; /* -1: an end without one */
    const char
        *piece; /* its text, perhaps part of a UTF-8 sequence; [piece_len], valid in the call */
    size_t piece_len;
    double logprob;               /* where wanted, else 0 */
    const lethe_live_choice *top; /* [n_top] likeliest first */
    size_t n_top;
    lethe_live_end end; /* with the last event of an answer */
} lethe_live_event;

/* Return false to end that slot's answer: one more event tells of it, with LETHE_LIVE_CUT. May call
 * lethe_live_begin and lethe_live_stop for other slots. */
typedef bool (*lethe_live_fn)(void *user, const lethe_live_event *event);

/* One slot for each of the model's n_seq sequences. Fails: NOMEM, USAGE (no weights). */
lethe_status lethe_live_open(lethe_live **out, lethe_lm *lm, lethe_live_fn fn, void *user,
                             lethe_err *err);
void lethe_live_close(lethe_live **live);
size_t lethe_live_slots(const lethe_live *live);

/* Begins an answer to request->token in a slot that is not busy. What the cache holds of the same
 * beginning is kept. Fails: USAGE (no tokens, more than the context has room for, a sampling number
 * out of range, a token out of range), NOMEM; the slot is then as it was. */
lethe_status lethe_live_begin(lethe_live *live, size_t slot, const lethe_live_request *request,
                              lethe_err *err);
bool lethe_live_busy(const lethe_live *live, size_t slot);

/* Ends the answer without an event; what was computed stays. Nothing on a slot that is not busy. */
void lethe_live_stop(lethe_live *live, size_t slot);

/* Drops what the cache holds; the next answer runs its text from the start. Ends an answer. */
void lethe_live_forget(lethe_live *live, size_t slot);

/* Tokens of the text, prompt and answer, that the slot holds; and how many of the last prompt were
 * in the cache already. */
const lethe_tokens *lethe_live_text(const lethe_live *live, size_t slot);
size_t lethe_live_reused(const lethe_live *live, size_t slot);

/* How much of its prompt a busy slot has run, 0 .. 1. */
double lethe_live_prefilled(const lethe_live *live, size_t slot);

/* One decode call for all busy slots, one token of each whose text is run; *any: something is still
 * busy. Prompts are fed in parts so that others need not wait for a long one. Fails: what decoding
 * or a hook fails with; all slots are then idle and empty. */
lethe_status lethe_live_step(lethe_live *live, bool *any, lethe_err *err);

#endif
