/* SPDX-License-Identifier: MIT
 *
 * What the engine's files share. All of it belongs to the engine's thread, but for what the lock
 * is of.
 *
 *     engine.c         opening, what comes in, the thread's round
 *     engine_prompt.c  a request's text to tokens, and what can be wrong with it
 *     engine_slot.c    which answer gets which slot
 *     engine_event.c   from what the model tells of a token to the job it is for
 *     engine_job.c     how a job ends, in its time or before it
 */
#ifndef LETHE_SERVE_ENGINE_PARTS_H
#define LETHE_SERVE_ENGINE_PARTS_H

#include <pthread.h>

#include "front/serve/engine.h"
#include "lm/live.h"

typedef struct lethe_engine_slot {
    lethe_job *job; /* NULL: free */
    size_t index;   /* which answer of it */
    lethe_forgetting how;
    bool named;    /* the removals were told of `how` */
    uint64_t used; /* round of the last answer */
    size_t generated;
    bool cut; /* the job wants no more of it */
    /* With a trace: the token that waits. */
    bool waits;
    int32_t pos; /* of it in the text */
    lethe_strbuf piece;
    double logprob;
    lethe_live_choice top[LETHE_LIVE_MOST_TOP];
    size_t n_top;
    lethe_mark *mark;
    size_t n_marks, cap_marks;
    lethe_trace_row *row; /* [n_rows] of a traced text */
    size_t n_rows;
} lethe_engine_slot;

struct lethe_engine {
    lethe_lm *lm;
    lethe_ablation *removal;
    int n_removals;
    lethe_live *live;
    lethe_engine_opts opts;
    lethe_metrics *metrics;
    bool plain_chat;
    size_t longest_piece; /* bytes of the longest token */

    pthread_t thread;
    pthread_mutex_t lock; /* of the next four */
    pthread_cond_t news, idle;
    lethe_job *inbox; /* newest first */
    size_t alive;     /* jobs not finished */
    bool draining, closing;

    /* The thread's. */
    lethe_job *waiting;      /* next first: jobs with answers that have no slot yet */
    lethe_engine_slot *slot; /* [n_slots] */
    size_t n_slots;
    uint64_t round;
    bool no_memory; /* for marks */
};

/* ---- engine_job.c ---------------------------------------------------------------------------- */

bool lethe_job_forgets(const lethe_job *j);

/* The job's last call; it may be gone after this. Its slots are free already. why: borrowed; NULL:
 * all its answers are whole. */
void lethe_job_finish(lethe_engine *e, lethe_job *j, const lethe_refusal *why);

/* Out of the list of those that wait for a slot; nothing where it is not there. */
void lethe_job_leave(lethe_engine *e, lethe_job *j);

/* Ends it before its time: frees its slots, leaves the list, finishes. */
void lethe_job_drop(lethe_engine *e, lethe_job *j, const lethe_refusal *why);

/* One of its answers is over and has no slot any more; with the last of them it is finished. */
void lethe_job_ended(lethe_engine *e, lethe_job *j, size_t index, const char *reason,
                     const lethe_counts *c);

/* Its answers end where they are; a job without any is refused. */
void lethe_job_out_of_time(lethe_engine *e, lethe_job *j);

/* ---- engine_slot.c --------------------------------------------------------------------------- */

/* Puts answers that wait into free slots, as many as there are. */
void lethe_engine_schedule(lethe_engine *e);

void lethe_slot_free(lethe_engine *e, size_t i);

/* Its answer is over: tells the job, frees the slot. */
void lethe_slot_end(lethe_engine *e, size_t i, const char *reason);

/* ---- engine_event.c -------------------------------------------------------------------------- */

/* The token that waited in the slot, if one did; known: the model has read it since. False: the
 * job wants no more. */
bool lethe_slot_say_waiting(lethe_engine *e, lethe_engine_slot *s, bool known);

/* As lethe_live_fn and lethe_firing_fn; user: the engine. */
bool lethe_engine_on_event(void *user, const lethe_live_event *ev);
void lethe_engine_on_firing(void *user, const lethe_firing *f);

/* ---- engine_prompt.c ------------------------------------------------------------------------- */

/* Fills j->prompt. Fails, *why filled: 400 (empty, or too long), 500. */
lethe_status lethe_engine_tokens(lethe_engine *e, lethe_job *j, lethe_refusal *why);

/* Is the strength one that the methods of the removals know? Fails, *why filled: 400. */
lethe_status lethe_engine_check_strength(const lethe_engine *e, const lethe_job *j,
                                         lethe_refusal *why);

size_t lethe_engine_longest_piece(const lethe_lm *lm); /* bytes of the longest token */
bool lethe_engine_no_template(const lethe_lm *lm);     /* or none that libllama knows */

#endif
