/* SPDX-License-Identifier: MIT
 *
 * Two hold a call, the engine until `finished` and the reader until lethe_call_leave; who goes last
 * frees it. Answers and counts belong to the engine's thread and need no lock.
 */
#include "front/serve/call.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "format/jsonio.h"
#include "front/serve/reply.h"

struct lethe_call {
    lethe_engine *engine;
    lethe_lm *lm; /* the engine's thread only */
    lethe_ask ask;
    lethe_job job;
    lethe_reply_head head;
    lethe_call_reader reader;
    const char *stop[LETHE_ASK_MOST_STOPS + 1];

    lethe_answer *answer; /* [n_answers] */
    json_t **choice;      /* [n_answers] whole ones; NULL: not ended, or a stream */
    size_t n_answers;
    lethe_usage usage;
    bool forgets;
    lethe_strbuf scratch;

    pthread_mutex_t lock; /* of what follows */
    lethe_strbuf out;
    size_t read;
    int status; /* 0: not known */
    bool streams, done, asleep;
    bool broken; /* ended because the client had left */
    bool slow;   /* the stream was broken off: the reader is too far behind */
    int held;    /* by how many */
};

/* ---- both sides ------------------------------------------------------------------------------ */

static void let_go(lethe_call *t) {
    pthread_mutex_lock(&t->lock);
    bool last = --t->held == 0;
    pthread_mutex_unlock(&t->lock);
    if (!last) return;
    for (size_t i = 0; t->answer && i < t->n_answers; i++) lethe_answer_close(&t->answer[i]);
    for (size_t i = 0; t->choice && i < t->n_answers; i++) json_decref(t->choice[i]);
    lethe_free(t->answer);
    lethe_free(t->choice);
    lethe_ask_free(&t->ask);
    lethe_strbuf_free(&t->scratch);
    lethe_strbuf_free(&t->out);
    pthread_mutex_destroy(&t->lock);
    lethe_free(t);
}

static void wake(lethe_call *t) { /* locked */
    if (!t->asleep) return;
    t->asleep = false;
    t->reader.wake(t->reader.user);
}

/* A stream has grown. A reader that does not read must not make it grow without end. Locked. */
static void grown(lethe_call *t) {
    if (t->out.len - t->read > t->reader.most && !t->slow) {
        t->slow = true;
        lethe_engine_cancel(t->engine, &t->job);
    }
    wake(t);
}

/* ---- the engine's side ----------------------------------------------------------------------- */

static void on_begun(void *user) {
    lethe_call *t = user;
    if (!t->ask.stream) return;
    pthread_mutex_lock(&t->lock);
    t->status = 200;
    t->streams = true;
    for (size_t i = 0; i < t->n_answers; i++) lethe_chunk_role(&t->out, &t->head, i);
    grown(t);
    pthread_mutex_unlock(&t->lock);
}

/* What an answer has to show goes into the stream. */
static void show(lethe_call *t, size_t i, bool last) {
    lethe_answer *a = &t->answer[i];
    json_t *logprob, *traced;
    size_t offset = a->offset;
    if (!lethe_answer_take(a, last, &t->scratch, &logprob, &traced)) return;
    pthread_mutex_lock(&t->lock);
    lethe_chunk_text(&t->out, &t->head, i, &t->scratch, offset, logprob, traced);
    grown(t);
    pthread_mutex_unlock(&t->lock);
}

static bool on_said(void *user, size_t i, const lethe_said *said) {
    lethe_call *t = user;
    bool more = lethe_answer_add(&t->answer[i], said);
    if (t->ask.stream) show(t, i, false);
    return more && t->answer[i].ok;
}

static void on_ended(void *user, size_t i, const char *reason, const lethe_counts *c) {
    lethe_call *t = user;
    if (i % t->ask.n == 0) { /* the prompt is one for all its answers */
        t->usage.prompt += c->prompt;
        t->usage.cached += c->cached;
    }
    t->usage.completion += c->generated;
    if (t->ask.kind == LETHE_ASK_TRACE) return;
    if (t->ask.stream) {
        show(t, i, true);
        pthread_mutex_lock(&t->lock);
        lethe_chunk_end(&t->out, &t->head, i, reason);
        grown(t);
        pthread_mutex_unlock(&t->lock);
        return;
    }
    json_t *logprob, *traced;
    lethe_answer_take(&t->answer[i], true, &t->scratch, &logprob, &traced);
    t->choice[i] = lethe_reply_choice(&t->head, i, &t->scratch, logprob, traced, reason);
}

static json_t *row_json(const lethe_lm *lm, lethe_trace_row *row) {
    lethe_strbuf piece = {0};
    lethe_lm_piece(lm, row->token, true, &piece);
    json_t *j = json_pack("{s:i, s:o, s:b, s:o, s:b}", "id", (int)row->token, "piece",
                          lethe_json_text(lethe_strbuf_str(&piece), piece.len), "special",
                          lethe_lm_is_special(lm, row->token), "fired",
                          lethe_marks_json(row->mark, row->n), "acted", row->acted);
    if (j && lethe_utf8_valid_prefix(lethe_strbuf_str(&piece), piece.len) != piece.len)
        json_object_set_new(j, "bytes", lethe_bytes_json(lethe_strbuf_str(&piece), piece.len));
    lethe_strbuf_free(&piece);
    return j;
}

static void on_traced(void *user, const lethe_lm *lm, lethe_trace_row *row, size_t n) {
    lethe_call *t = user;
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n; i++) lethe_json_append(list, row_json(lm, &row[i]), &ok);
    if (!ok) {
        json_decref(list);
        list = NULL;
    }
    pthread_mutex_lock(&t->lock);
    lethe_reply_json(&t->out, json_pack("{s:s, s:s, s:b, s:o}", "object", "lethe.trace", "model",
                                        t->head.model, "forget", t->forgets, "tokens", list));
    pthread_mutex_unlock(&t->lock);
}

/* All answers are there: the rest of the reply. Locked. */
static void complete(lethe_call *t) {
    if (t->ask.kind == LETHE_ASK_TRACE) return; /* on_traced wrote it */
    if (t->ask.stream) {
        if (t->ask.usage) lethe_chunk_usage(&t->out, &t->head, &t->usage);
        lethe_chunk_done(&t->out);
        return;
    }
    json_t *choices = json_array();
    bool ok = choices != NULL;
    for (size_t i = 0; i < t->n_answers; i++) {
        lethe_json_append(choices, t->choice[i], &ok);
        t->choice[i] = NULL;
    }
    if (!ok) t->out.status = LETHE_NOMEM;
    lethe_reply_whole(&t->out, &t->head, choices, &t->usage);
}

static void on_finished(void *user, const lethe_refusal *why) {
    lethe_call *t = user;
    lethe_refusal none = {0};
    bool ok = true;
    for (size_t i = 0; i < t->n_answers; i++) ok &= t->answer[i].ok;
    pthread_mutex_lock(&t->lock);
    if (!why) complete(t);
    if (t->slow && why && !why->status) {
        lethe_refuse(&none, 408, "client_too_slow", "",
                     "the stream was not read: more than %zu bytes of it wait", t->reader.most);
        why = &none;
    }
    if ((!ok || t->out.status) && !(why && why->status)) {
        lethe_refuse(&none, 500, "out_of_memory", "", "no memory for the answer");
        why = &none;
        lethe_strbuf_free(&t->out);
        t->out = (lethe_strbuf){0};
        t->read = 0;
    }
    if (why && why->status && t->streams)
        lethe_chunk_error(&t->out, why);
    else if (why && why->status) {
        lethe_strbuf_clear(&t->out);
        lethe_reply_error(&t->out, why);
    }
    /* 499 is nginx's for a client that went before it had an answer: it is for the counters. */
    if (!t->status) t->status = !why ? 200 : why->status ? why->status : 499;
    t->broken = why && !why->status;
    t->done = true;
    wake(t);
    pthread_mutex_unlock(&t->lock);
    let_go(t);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void piece(void *user, int32_t token, lethe_strbuf *out) {
    lethe_call *t = user;
    lethe_lm_piece(t->lm, token, true, out);
}

static lethe_status fill(lethe_call *t, lethe_refusal *why) {
    const lethe_ask *a = &t->ask;
    size_t n_stops = a->n_stops;
    memcpy(t->stop, a->stop, sizeof a->stop);
    /* A model that was taught no turns goes on with the other side's. */
    if (a->n_messages && lethe_engine_plain_chat(t->engine)) t->stop[n_stops++] = "\nuser:";
    uint64_t drawn[3] = {0};
    t->n_answers = a->n * (a->n_messages ? 1 : a->n_prompts);
    bool bad = getentropy(drawn, sizeof drawn) != 0 ||
               lethe_zalloc(&t->answer, t->n_answers, sizeof *t->answer, "answers", NULL) ||
               lethe_zalloc(&t->choice, t->n_answers, sizeof *t->choice, "answers", NULL);
    for (size_t i = 0; !bad && i < t->n_answers; i++) {
        lethe_answer *n = &t->answer[i];
        *n = (lethe_answer){.stop = t->stop,
                            .n_stops = n_stops,
                            .logprobs = a->logprobs,
                            .trace = a->trace && a->kind != LETHE_ASK_TRACE,
                            .piece = piece,
                            .piece_user = t};
        lethe_answer_open(n);
        bad = !n->ok;
    }
    if (bad) {
        lethe_refuse(why, 500, "out_of_memory", "", "no memory for the request");
        return LETHE_NOMEM;
    }
    snprintf(t->head.id, sizeof t->head.id, "%s-%016llx%08x",
             a->kind == LETHE_ASK_CHAT ? "chatcmpl" : "cmpl", (unsigned long long)drawn[1],
             (unsigned)drawn[2]);
    t->job.seed = a->seeded ? a->sampling.seed : drawn[0];
    return LETHE_OK;
}

lethe_status lethe_call_open(lethe_call **out, lethe_engine *e, lethe_lm *lm, lethe_ask *ask,
                             const lethe_forgetting *how, const char *model,
                             const lethe_call_reader *reader, lethe_refusal *why) {
    lethe_call *t;
    if (lethe_zalloc(&t, 1, sizeof *t, "a request", NULL)) {
        lethe_refuse(why, 500, "out_of_memory", "", "no memory for the request");
        return LETHE_NOMEM;
    }
    t->engine = e;
    t->lm = lm;
    t->ask = *ask;
    t->reader = *reader;
    t->forgets = how->on != 0;
    t->held = 1;
    pthread_mutex_init(&t->lock, NULL);
    t->head = (lethe_reply_head){.chat = ask->kind == LETHE_ASK_CHAT,
                                 .stream = ask->stream,
                                 .usage = ask->usage,
                                 .trace = ask->trace,
                                 .logprobs = ask->logprobs,
                                 .model = model,
                                 .created = (int64_t)time(NULL)};
    lethe_status st = fill(t, why);
    t->job.ask = &t->ask;
    t->job.how = *how;
    t->job.user = t;
    t->job.begun = on_begun;
    t->job.said = on_said;
    t->job.ended = on_ended;
    t->job.traced = on_traced;
    t->job.finished = on_finished;
    t->held = 2; /* before the engine has it */
    if (!st) st = lethe_engine_submit(e, &t->job, why);
    if (st) {
        t->ask = (lethe_ask){0}; /* still the caller's */
        t->held = 1;
        let_go(t);
        return st;
    }
    *ask = (lethe_ask){0};
    *out = t;
    return LETHE_OK;
}

/* ---- the reader's side ----------------------------------------------------------------------- */

static void sleep_now(lethe_call *t) { /* locked */
    t->asleep = true;
    t->reader.sleep(t->reader.user);
}

int lethe_call_status(lethe_call *t) {
    pthread_mutex_lock(&t->lock);
    int status = t->status;
    if (!status) sleep_now(t);
    pthread_mutex_unlock(&t->lock);
    return status;
}

bool lethe_call_streams(const lethe_call *t) {
    return t->streams;
}

ssize_t lethe_call_read(lethe_call *t, char *to, size_t max) {
    pthread_mutex_lock(&t->lock);
    size_t left = t->out.len - t->read, n = left < max ? left : max;
    ssize_t got = n ? (ssize_t)n : t->done ? -1 : 0;
    if (n) memcpy(to, t->out.data + t->read, n);
    t->read += n;
    if (t->read == t->out.len) {
        lethe_strbuf_clear(&t->out);
        t->read = 0;
    }
    if (!got) sleep_now(t);
    pthread_mutex_unlock(&t->lock);
    return got;
}

size_t lethe_call_left(lethe_call *t) {
    pthread_mutex_lock(&t->lock);
    size_t n = t->out.len - t->read;
    pthread_mutex_unlock(&t->lock);
    return n;
}

void lethe_call_hang_up(lethe_call *t) {
    lethe_engine_cancel(t->engine, &t->job); /* nothing where it is finished */
}

bool lethe_call_leave(lethe_call **tp) {
    lethe_call *t = *tp;
    pthread_mutex_lock(&t->lock);
    bool whole = t->done && !t->broken && t->read == t->out.len;
    t->asleep = false; /* nobody to wake */
    if (!t->done) lethe_engine_cancel(t->engine, &t->job);
    pthread_mutex_unlock(&t->lock);
    let_go(t);
    *tp = NULL;
    return whole;
}
