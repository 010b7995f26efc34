/* SPDX-License-Identifier: MIT
 *
 * A conversation with a model that can forget: turns of a prompt and the answers to it, each
 * written in a state of its own, the model as it is (LETHE_TALK_WHOLE) or forgetting
 * (LETHE_TALK_FORGETTING). There is one slot (lm/live.h) for each state, so both may answer a
 * prompt side by side, and what one has computed is never taken for the other: when the switch
 * flips, the other slot reads what it has not seen, and only that.
 *
 * The model is shown the whole conversation through its chat template; a model without one is shown
 * the texts, a line each. In the eyes of a state a turn's answer is its own, or else the other's.
 * Turns that do not fit the context drop out of its sight, oldest first, and stay in the
 * conversation.
 *
 * An answer that repeats itself (lethe_text_stutters) is thrown away and written once more,
 * greedily and with repetition forbidden, so the second try depends on nothing random.
 *
 * Thread rule: that of the model; while a talk is open nothing else may run on it.
 */
#ifndef LETHE_STAGE_TALK_H
#define LETHE_STAGE_TALK_H

#include "lm/live.h"
#include "stage/ablate.h"

enum { LETHE_TALK_WHOLE, LETHE_TALK_FORGETTING, LETHE_TALK_SIDES };

/* A token of a text. */
typedef struct lethe_talk_token {
    size_t start, len; /* its bytes */
    int32_t id, pos;   /* its place in the slot's text; -1: not there any more */
    bool fired;        /* a feature to be removed fired here */
    bool acted;        /* and the removal was at work */
} lethe_talk_token;

/* Bytes as the model wrote them: perhaps not UTF-8, and while an answer is being written its end
 * may be a part of a character. */
typedef struct lethe_talk_text {
    lethe_strbuf text;
    lethe_talk_token *token; /* [n] in order; of a prompt only those within it */
    size_t n, cap;
} lethe_talk_text;

typedef enum lethe_talk_end {
    LETHE_TALK_RUNS,
    LETHE_TALK_DONE,   /* the model ended it */
    LETHE_TALK_LENGTH, /* max_tokens, or the context is full */
    LETHE_TALK_STOPPED /* by lethe_talk_stop */
} lethe_talk_end;

typedef struct lethe_talk_answer {
    bool there; /* this state was asked */
    lethe_talk_text text;
    lethe_talk_end end;
    bool retried;   /* written again, as it repeated itself */
    size_t unseen;  /* older turns that did not fit the context */
    size_t prompt;  /* tokens that the model was shown */
    size_t reused;  /* of them, already in the slot's cache */
    double seconds; /* from the question to the end, or until now */
} lethe_talk_answer;

typedef struct lethe_talk_turn {
    lethe_talk_text prompt;
    lethe_talk_answer answer[LETHE_TALK_SIDES];
} lethe_talk_turn;

typedef struct lethe_talk_opts {
    lethe_sampling sampling; /* max_tokens 0: as many as fit */
    bool no_retry;           /* leave an answer that repeats itself as it is */
    const char *system;      /* shown before everything else; copied; NULL: none */
} lethe_talk_opts;

typedef struct lethe_talk lethe_talk;

/* lm has at least LETHE_TALK_SIDES sequences and the ablation attached; both are borrowed. The
 * ablation's switches of sequences 0 and 1 and its watcher are the talk's until it is closed.
 * Fails: USAGE (too few sequences), NOMEM. */
lethe_status lethe_talk_open(lethe_talk **out, lethe_lm *lm, lethe_ablation *a,
                             const lethe_talk_opts *opts, lethe_err *err);
void lethe_talk_close(lethe_talk **t);

/* From the next question on. */
void lethe_talk_sampling(lethe_talk *t, const lethe_sampling *s);

/* Another strength of forgetting from the next question on; NAN: the removal's own. Ends answers;
 * what was computed with the old one is computed again. Fails: USAGE (out of range), NOMEM. */
lethe_status lethe_talk_strength(lethe_talk *t, double strength, lethe_err *err);

/* The same by method scale, whatever the removals' methods. */
lethe_status lethe_talk_scale(lethe_talk *t, double factor, lethe_err *err);

/* A new turn: the prompt (UTF-8, copied), answered by the sides in the mask (1 << side); whatever
 * was being answered ends. Fails, with the conversation as it was: USAGE (an empty or invalid
 * prompt, one that does not fit the context, sampling out of range), FORMAT (a template that
 * libllama does not know), NOMEM. */
lethe_status lethe_talk_ask(lethe_talk *t, const char *prompt, unsigned sides, lethe_err *err);

/* One decode call. *busy: an answer is still being written. Fails: what the model fails with; no
 * answer is written then. */
lethe_status lethe_talk_step(lethe_talk *t, bool *busy, lethe_err *err);
bool lethe_talk_busy(const lethe_talk *t);
void lethe_talk_stop(lethe_talk *t);  /* answers end where they are */
void lethe_talk_clear(lethe_talk *t); /* as after open */

/* Borrowed, valid until the next call that is not const. */
const lethe_talk_turn *lethe_talk_turns(const lethe_talk *t, size_t *n);

/* "as it is", "forgetting". */
const char *lethe_talk_side_name(int side);

/* What there is to say of an answer besides its text, in a few words: "stopped; 2 older turns no
 * longer fit the context". "" for an ordinary one. */
void lethe_talk_remark(const lethe_talk_answer *a, char *out, size_t size);

/* The conversation as text, after a heading (borrowed): Markdown, each answer labelled with its
 * state; control characters and bytes that are not UTF-8 are replaced. */
void lethe_talk_transcript(const lethe_talk *t, const char *heading, lethe_strbuf *out);

/* Bytes of an answer that are whole characters: while it is being written its last character may
 * still lack bytes. */
size_t lethe_talk_ready(const lethe_talk_answer *a);

/* Appends text[n] with control characters other than line feed and tab, and bytes that are not
 * UTF-8, replaced by U+FFFD: what a model writes may hold anything, also what a terminal obeys. */
void lethe_talk_clean(const char *text, size_t n, lethe_strbuf *out);

#endif
