/* SPDX-License-Identifier: MIT
 *
 * The engine: one thread that owns the model and its live sequences. Requests come in as jobs
 * through a bounded queue; each answer of a job gets a slot, with its own forgetting, and all
 * slots that are busy share each decode call. What a slot's cache holds is reused by the next
 * prompt with the same beginning and the same forgetting.
 */
#ifndef LETHE_SERVE_ENGINE_H
#define LETHE_SERVE_ENGINE_H

#include <stdatomic.h>

#include "front/serve/answer.h"
#include "front/serve/metrics.h"
#include "front/serve/request.h"
#include "stage/ablate.h"

typedef struct lethe_forgetting {
    uint64_t on;     /* bit r: removal r is at work */
    double strength; /* of each of them; NAN: their own */
    bool scale;      /* it is a factor of method scale, whatever their methods */
} lethe_forgetting;

typedef struct lethe_counts {
    size_t prompt, cached, generated; /* tokens */
} lethe_counts;

/* A token of a text that was traced. */
typedef struct lethe_trace_row {
    int32_t token;
    bool acted;
    lethe_mark *mark; /* [n] */
    size_t n, cap;
} lethe_trace_row;

/* A request on its way. The first fields are the caller's, who keeps the job and what it points to
 * until `finished` has been called. All functions are called from the engine's thread, none before
 * lethe_engine_submit has succeeded; they may not call the engine but for lethe_engine_cancel. */
typedef struct lethe_job {
    const lethe_ask *ask; /* borrowed */
    lethe_forgetting how;
    uint64_t seed;
    void *user;
    void (*begun)(void *user); /* it has its first slot: nothing in the request was wrong */
    /* A token of answer `index`; false ends it: `ended` comes next, with reason "stop". */
    bool (*said)(void *user, size_t index, const lethe_said *said);
    /* reason: "stop" or "length". Tokens that come no more are counted in. */
    void (*ended)(void *user, size_t index, const char *reason, const lethe_counts *counts);
    /* Of a trace, before finished: row [n], marks unsorted. */
    void (*traced)(void *user, const lethe_lm *lm, lethe_trace_row *row, size_t n);
    /* The last call. why: NULL, or why there is no (whole) answer. */
    void (*finished)(void *user, const lethe_refusal *why);

    /* The engine's. */
    atomic_bool cancelled;
    struct lethe_job *next;
    lethe_tokens prompt[LETHE_ASK_MOST_PROMPTS];
    size_t started, open, total; /* answers: begun, not ended, all */
    double came;                 /* lethe_seconds */
    bool spoke;
} lethe_job;

typedef struct lethe_engine_opts {
    size_t queue;   /* requests that may wait beside one for each slot */
    double seconds; /* a request may take, waiting included */
} lethe_engine_opts;

typedef struct lethe_engine lethe_engine;

/* lm with the removal attached; both, and metrics, are borrowed and belong to the engine's thread
 * until lethe_engine_close. Fails: NOMEM, FAIL (no thread), as lethe_live_open. */
lethe_status lethe_engine_open(lethe_engine **out, lethe_lm *lm, lethe_ablation *removal,
                               const lethe_engine_opts *opts, lethe_metrics *metrics,
                               lethe_err *err);

/* Refuses new jobs and lets those that are there end, for at most `seconds`; what is left then is
 * refused. Returns when all are finished. */
void lethe_engine_drain(lethe_engine *e, double seconds);
void lethe_engine_close(lethe_engine **e); /* drains for 0 seconds */

/* Any thread. Fails, *why filled: 429 (the queue is full), 503 (it is draining). */
lethe_status lethe_engine_submit(lethe_engine *e, lethe_job *job, lethe_refusal *why);

/* Any thread, without a lock: nobody waits for the job any more; `finished` comes all the same, if
 * it has not yet. */
void lethe_engine_cancel(lethe_engine *e, lethe_job *job);

/* The conversation of a model without a (known) chat template is told as "role: text" lines. */
bool lethe_engine_plain_chat(const lethe_engine *e);

#endif
