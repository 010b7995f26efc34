/* SPDX-License-Identifier: MIT
 *
 * The thread's round: take what came in, turn its text into tokens, drop what nobody waits for any
 * more, put answers into free slots, one decode call.
 *
 * A token's marks are known when the next decode call has read it, so with a trace each token waits
 * in its slot for one call.
 */
#include "front/serve/engine.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "lm/live.h"

typedef struct slot {
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
} slot;

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
    lethe_job *waiting; /* oldest first: answers that have no slot yet */
    slot *slot;         /* [n_slots] */
    size_t n_slots;
    uint64_t round;
    bool no_memory; /* for marks */
};

/* ---- the life of a job ----------------------------------------------------------------------- */

static bool forgets(const lethe_job *j) {
    return j->how.on != 0;
}

static void finish(lethe_engine *e, lethe_job *j, const lethe_refusal *why) {
    for (size_t i = 0; i < LETHE_ASK_MOST_PROMPTS; i++) lethe_tokens_free(&j->prompt[i]);
    lethe_histogram_add(&e->metrics->whole, lethe_seconds() - j->came);
    j->finished(j->user, why); /* the job may be gone after this */
    pthread_mutex_lock(&e->lock);
    if (--e->alive == 0) pthread_cond_broadcast(&e->idle);
    pthread_mutex_unlock(&e->lock);
}

static void leave_waiting(lethe_engine *e, lethe_job *j) {
    lethe_job **at = &e->waiting;
    while (*at && *at != j) at = &(*at)->next;
    if (!*at) return;
    *at = j->next;
    atomic_fetch_sub(&e->metrics->queued, 1);
}

static void free_slot(lethe_engine *e, size_t i) {
    slot *s = &e->slot[i];
    lethe_live_stop(e->live, i);
    for (size_t r = 0; r < s->n_rows; r++) lethe_free(s->row[r].mark);
    lethe_free(s->row);
    s->row = NULL;
    s->n_rows = 0;
    s->job = NULL;
    s->waits = false;
    atomic_fetch_sub(&e->metrics->busy, 1);
}

/* Ends a job before its time. */
static void drop(lethe_engine *e, lethe_job *j, const lethe_refusal *why) {
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job == j) free_slot(e, i);
    leave_waiting(e, j);
    finish(e, j, why);
}

/* One of its answers is over. */
static void ended(lethe_engine *e, lethe_job *j, size_t index, const char *reason,
                  const lethe_counts *c) {
    atomic_fetch_add(&e->metrics->answers[forgets(j)], 1);
    atomic_fetch_add(&e->metrics->prompt[forgets(j)], c->prompt);
    atomic_fetch_add(&e->metrics->cached[forgets(j)], c->cached);
    j->ended(j->user, index, reason, c);
    if (--j->open == 0) finish(e, j, NULL);
}

static lethe_counts counts_of(const lethe_engine *e, size_t i) {
    const slot *s = &e->slot[i];
    return (lethe_counts){s->job->prompt[s->index / s->job->ask->n].n,
                          lethe_live_reused(e->live, i), s->generated};
}

static void end_slot(lethe_engine *e, size_t i, const char *reason) {
    slot *s = &e->slot[i];
    lethe_job *j = s->job;
    size_t index = s->index;
    lethe_counts c = counts_of(e, i);
    if (j->ask->kind == LETHE_ASK_TRACE) j->traced(j->user, e->lm, s->row, s->n_rows);
    free_slot(e, i);
    ended(e, j, index, reason, &c);
}

/* ---- what the model tells -------------------------------------------------------------------- */

static void add_mark(lethe_engine *e, lethe_mark **mark, size_t *n, size_t *cap, lethe_mark m) {
    if (lethe_grow(mark, cap, *n, *n + 1, sizeof **mark, "features that fired", NULL))
        e->no_memory = true;
    else
        (*mark)[(*n)++] = m;
}

static void on_firing(void *user, const lethe_firing *f) {
    lethe_engine *e = user;
    if (f->seq < 0 || (size_t)f->seq >= e->n_slots) return;
    slot *s = &e->slot[f->seq];
    if (!s->job) return;
    atomic_fetch_add(&e->metrics->fired, 1);
    lethe_trace_row *row = NULL;
    if (s->row && f->pos >= 0 && (size_t)f->pos < s->n_rows) row = &s->row[f->pos];
    if (row && f->acted) row->acted = true;
    if (!row && !(s->waits && f->pos == s->pos)) return;
    for (size_t i = 0; i < f->n; i++) {
        lethe_mark m = {lethe_ablation_latent(e->removal, f->which, f->feature[i]), f->which,
                        (double)f->value[i]};
        if (row)
            add_mark(e, &row->mark, &row->n, &row->cap, m);
        else
            add_mark(e, &s->mark, &s->n_marks, &s->cap_marks, m);
    }
}

static bool say(lethe_engine *e, slot *s, const lethe_said *said) {
    lethe_job *j = s->job;
    if (!j->spoke) lethe_histogram_add(&e->metrics->first_token, lethe_seconds() - j->came);
    j->spoke = true;
    if (!s->cut && !j->said(j->user, s->index, said)) s->cut = true;
    return !s->cut;
}

/* The token that waited; known: the model has read it since. */
static bool say_waiting(lethe_engine *e, slot *s, bool known) {
    if (!s->waits) return true;
    s->waits = false;
    lethe_said said = {.piece = lethe_strbuf_str(&s->piece),
                       .piece_len = s->piece.len,
                       .logprob = s->logprob,
                       .top = s->top,
                       .n_top = s->n_top,
                       .mark = s->mark,
                       .n_marks = s->n_marks,
                       .known = known};
    return say(e, s, &said);
}

static void keep_waiting(lethe_engine *e, slot *s, const lethe_live_event *ev) {
    lethe_strbuf_clear(&s->piece);
    lethe_strbuf_add(&s->piece, ev->piece, ev->piece_len);
    if (s->piece.status) e->no_memory = true;
    s->logprob = ev->logprob;
    s->n_top = ev->n_top;
    memcpy(s->top, ev->top, ev->n_top * sizeof *s->top);
    s->n_marks = 0;
    s->pos = (int32_t)lethe_live_text(e->live, ev->slot)->n - 1;
    s->waits = true;
}

static bool on_token(lethe_engine *e, slot *s, const lethe_live_event *ev) {
    s->generated++;
    atomic_fetch_add(&e->metrics->generated[forgets(s->job)], 1);
    if (!s->job->ask->trace)
        return say(e, s,
                   &(lethe_said){.piece = ev->piece,
                                 .piece_len = ev->piece_len,
                                 .logprob = ev->logprob,
                                 .top = ev->top,
                                 .n_top = ev->n_top});
    if (!say_waiting(e, s, true)) return false;
    keep_waiting(e, s, ev);
    return true;
}

static bool on_event(void *user, const lethe_live_event *ev) {
    lethe_engine *e = user;
    slot *s = &e->slot[ev->slot];
    if (!s->job) return false;
    bool trace = s->job->ask->kind == LETHE_ASK_TRACE, more = true;
    if (ev->token >= 0 && !trace) more = on_token(e, s, ev);
    if (ev->end == LETHE_LIVE_GOES_ON) return more;
    if (!s->cut) say_waiting(e, s, ev->end == LETHE_LIVE_EOG);
    end_slot(e, ev->slot, s->cut || ev->end == LETHE_LIVE_EOG ? "stop" : "length");
    return more;
}

/* ---- prompts --------------------------------------------------------------------------------- */

/* "role: text" lines, for models that no template is known of. */
static lethe_status plain_chat(const lethe_lm *lm, const lethe_ask *a, lethe_tokens *out,
                               lethe_err *err) {
    lethe_strbuf b = {0};
    for (size_t i = 0; i < a->n_messages; i++)
        lethe_strbuf_addf(&b, "%s: %s\n", a->message[i].role, a->message[i].content);
    lethe_strbuf_adds(&b, "assistant:");
    lethe_status st =
        b.status ? lethe_fail(err, b.status, "no memory for the chat")
                 : lethe_lm_tokenize(lm, lethe_strbuf_str(&b), b.len, true, false, out, err);
    lethe_strbuf_free(&b);
    return st;
}

static size_t bytes_of(const lethe_ask *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_messages; i++) n += strlen(a->message[i].content);
    for (size_t i = 0; i < a->n_prompts; i++)
        if (strlen(a->prompt[i]) > n) n = strlen(a->prompt[i]);
    return n;
}

static lethe_status too_long(const lethe_engine *e, const lethe_ask *a, lethe_refusal *why) {
    return lethe_refuse(why, 400, "context_length_exceeded", a->n_messages ? "messages" : "prompt",
                        "the prompt does not fit: the context has %zu tokens, at least one of them "
                        "for the answer",
                        lethe_lm_ctx_len(e->lm));
}

static lethe_status tokens_of(lethe_engine *e, lethe_job *j, lethe_refusal *why) {
    const lethe_ask *a = j->ask;
    lethe_err err = {0};
    lethe_status st = LETHE_OK;
    size_t ctx = lethe_lm_ctx_len(e->lm), n = a->n_messages ? 1 : a->n_prompts;
    /* Not worth the time of tokenising: even of the longest tokens there would be too many. */
    if (bytes_of(a) / e->longest_piece >= ctx) return too_long(e, a, why);
    for (size_t i = 0; i < n && !st; i++) {
        lethe_tokens *t = &j->prompt[i];
        if (!a->n_messages)
            st = lethe_lm_tokenize(e->lm, a->prompt[i], strlen(a->prompt[i]), true, false, t, &err);
        else if (e->plain_chat)
            st = plain_chat(e->lm, a, t, &err);
        else
            st = lethe_lm_chat_tokens(e->lm, a->message, a->n_messages, true, t, &err);
        if (st) break;
        if (!t->n)
            return lethe_refuse(why, 400, "invalid_value", "prompt",
                                "prompt: empty, and the model has no token to begin with");
        if (t->n >= ctx) return too_long(e, a, why);
    }
    return st ? lethe_refuse(why, 500, "server_error", "", "%s", err.text) : LETHE_OK;
}

/* Is the strength one that the methods of the removals know? */
static lethe_status check_strength(const lethe_engine *e, const lethe_job *j, lethe_refusal *why) {
    const lethe_ablation *r = e->removal;
    for (int i = 0; i < e->n_removals && !isnan(j->how.strength);
         i++, r = lethe_ablation_next(r, NULL, NULL, NULL)) {
        lethe_intervention how = *lethe_ablation_how(r);
        lethe_err err = {0};
        how.strength = j->how.strength;
        if (j->how.scale) how.method = LETHE_METHOD_SCALE;
        if ((j->how.on >> i & 1) && lethe_intervention_check(&how, &err))
            return lethe_refuse(why, 400, "invalid_value", "lethe", "lethe.%s: %s",
                                j->how.scale ? "scale" : "strength", err.text);
    }
    return LETHE_OK;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static bool same_forgetting(const lethe_forgetting *a, const lethe_forgetting *b) {
    if (a->on != b->on) return false;
    if (!a->on) return true; /* nobody asks how strong nothing is */
    if (isnan(a->strength) || isnan(b->strength)) return isnan(a->strength) && isnan(b->strength);
    return a->scale == b->scale && a->strength == b->strength;
}

static size_t common(const lethe_tokens *a, const lethe_tokens *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->id[n] == b->id[n]) n++;
    return n;
}

/* The free slot that saves most: the one with the longest beginning of the prompt under the same
 * forgetting, else one that loses least: an empty one, or the one used longest ago. */
static bool choose_slot(const lethe_engine *e, const lethe_job *j, const lethe_tokens *prompt,
                        size_t *out) {
    size_t best = 0;
    uint64_t oldest = UINT64_MAX;
    bool found = false;
    for (size_t i = 0; i < e->n_slots; i++) {
        const slot *s = &e->slot[i];
        if (s->job) continue;
        const lethe_tokens *text = lethe_live_text(e->live, i);
        size_t shared = s->named && same_forgetting(&s->how, &j->how) ? common(text, prompt) : 0;
        /* What most prompts begin with is no reason to drop a long conversation. */
        if (shared * 2 < text->n && shared < 64) shared = 0;
        uint64_t age = text->n ? s->used : 0;
        if (found && (shared < best || (shared == best && age >= oldest))) continue;
        found = true;
        best = shared;
        oldest = age;
        *out = i;
    }
    return found;
}

static lethe_status set_forgetting(lethe_engine *e, size_t i, const lethe_forgetting *how,
                                   lethe_err *err) {
    slot *s = &e->slot[i];
    if (s->named && same_forgetting(&s->how, how)) return LETHE_OK;
    lethe_live_forget(e->live, i);
    s->named = false;
    for (int r = 0; r < e->n_removals; r++) {
        bool on = how->on >> r & 1;
        LETHE_TRY(lethe_ablation_switch(e->removal, r, (int32_t)i, on, err));
        double strength = on ? how->strength : (double)NAN;
        LETHE_TRY((how->scale ? lethe_ablation_scale_in : lethe_ablation_strength_in)(
            e->removal, r, (int32_t)i, strength, err));
    }
    s->how = *how;
    s->named = true;
    return LETHE_OK;
}

static lethe_status begin(lethe_engine *e, size_t i, lethe_job *j, lethe_err *err) {
    slot *s = &e->slot[i];
    const lethe_ask *a = j->ask;
    const lethe_tokens *p = &j->prompt[j->started / a->n];
    LETHE_TRY(set_forgetting(e, i, &j->how, err));
    lethe_live_request r = {.token = p->id,
                            .n = p->n,
                            .sampling = a->sampling,
                            .stream = j->started,
                            .top = a->top,
                            .logprob = a->logprobs};
    r.sampling.seed = j->seed;
    if (a->kind == LETHE_ASK_TRACE) { /* all of it is to be read */
        r.sampling.max_tokens = 1;
        lethe_live_forget(e->live, i);
        LETHE_TRY(lethe_zalloc(&s->row, p->n, sizeof *s->row, "a trace", err));
        s->n_rows = p->n;
        for (size_t t = 0; t < p->n; t++) s->row[t].token = p->id[t];
    }
    lethe_status st = lethe_live_begin(e->live, i, &r, err);
    if (st) {
        lethe_free(s->row);
        s->row = NULL;
        s->n_rows = 0;
        return st;
    }
    s->job = j;
    s->index = j->started++;
    s->used = e->round;
    s->generated = 0;
    s->cut = s->waits = false;
    s->n_marks = 0;
    atomic_fetch_add(&e->metrics->busy, 1);
    return LETHE_OK;
}

static void schedule(lethe_engine *e) {
    while (e->waiting) {
        lethe_job *j = e->waiting;
        size_t i = 0;
        if (!choose_slot(e, j, &j->prompt[j->started / j->ask->n], &i)) return;
        lethe_err err = {0};
        bool first = !j->started;
        lethe_status st = begin(e, i, j, &err);
        if (st) {
            lethe_refusal why = {0};
            lethe_refuse(&why, st == LETHE_USAGE ? 400 : 500,
                         st == LETHE_USAGE ? "invalid_value" : "server_error", "", "%s", err.text);
            drop(e, j, &why);
            continue;
        }
        if (first) j->begun(j->user);
        if (j->started == j->total) leave_waiting(e, j);
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* New jobs, oldest first, to the end of those that wait. */
static void take_in(lethe_engine *e, lethe_job *inbox) {
    lethe_job *list = NULL;
    while (inbox) {
        lethe_job *next = inbox->next;
        inbox->next = list;
        list = inbox;
        inbox = next;
    }
    while (list) {
        lethe_job *j = list;
        list = j->next;
        lethe_refusal why = {0};
        bool bad =
            atomic_load(&j->cancelled) || tokens_of(e, j, &why) || check_strength(e, j, &why);
        if (bad) {
            atomic_fetch_sub(&e->metrics->queued, 1);
            finish(e, j, &why);
            continue;
        }
        lethe_job **at = &e->waiting;
        while (*at) at = &(*at)->next;
        j->next = NULL;
        *at = j;
    }
}

/* Out of time: answers end where they are; a job without any is refused. */
static void out_of_time(lethe_engine *e, lethe_job *j) {
    if (!j->started || j->ask->kind == LETHE_ASK_TRACE) {
        lethe_refusal why = {0};
        lethe_refuse(&why, 503, "timeout", "", "the request was not answered in %g seconds",
                     e->opts.seconds);
        drop(e, j, &why);
        return;
    }
    size_t left = j->total - j->started; /* of those that j has no slot for yet */
    leave_waiting(e, j);
    j->open += 1; /* keeps it until the last line */
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job == j) {
            if (!e->slot[i].cut) say_waiting(e, &e->slot[i], false);
            end_slot(e, i, "length");
        }
    for (size_t k = 0; k < left; k++) ended(e, j, j->started + k, "length", &(lethe_counts){0});
    if (--j->open == 0) finish(e, j, NULL);
}

static bool late(const lethe_engine *e, const lethe_job *j, double now) {
    return now - j->came > e->opts.seconds;
}

/* Jobs that nobody waits for, and those that took too long. */
static void sweep(lethe_engine *e) {
    double now = lethe_seconds();
    for (lethe_job *j = e->waiting, *next; j; j = next) {
        next = j->next;
        if (atomic_load(&j->cancelled))
            drop(e, j, &(lethe_refusal){0});
        else if (late(e, j, now))
            out_of_time(e, j);
    }
    for (size_t i = 0; i < e->n_slots; i++) {
        lethe_job *j = e->slot[i].job;
        if (j && atomic_load(&j->cancelled))
            drop(e, j, &(lethe_refusal){0});
        else if (j && late(e, j, now))
            out_of_time(e, j);
    }
}

static void refuse_all(lethe_engine *e, const lethe_refusal *why) {
    while (e->waiting) drop(e, e->waiting, why);
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job) drop(e, e->slot[i].job, why);
}

static void step(lethe_engine *e) {
    bool any;
    lethe_err err = {0};
    double start = lethe_seconds();
    lethe_status st = lethe_live_step(e->live, &any, &err);
    if (!st && e->no_memory) st = lethe_fail(&err, LETHE_NOMEM, "no memory for a trace");
    e->no_memory = false;
    atomic_fetch_add(&e->metrics->steps, 1);
    atomic_fetch_add(&e->metrics->step_us, (uint64_t)((lethe_seconds() - start) * 1e6));
    e->round++;
    if (!st) return;
    /* Those in slots have lost what the model computed; those that wait have not. */
    lethe_refusal why = {0};
    lethe_refuse(&why, 500, "server_error", "", "%s", err.text);
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job) drop(e, e->slot[i].job, &why);
}

static bool busy(const lethe_engine *e) {
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job) return true;
    return e->waiting != NULL;
}

static void *work(void *user) {
    lethe_engine *e = user;
    for (;;) {
        pthread_mutex_lock(&e->lock);
        while (!e->inbox && !e->closing && !busy(e)) pthread_cond_wait(&e->news, &e->lock);
        lethe_job *inbox = e->inbox;
        bool closing = e->closing;
        e->inbox = NULL;
        pthread_mutex_unlock(&e->lock);
        take_in(e, inbox);
        if (closing) {
            lethe_refusal why = {0};
            lethe_refuse(&why, 503, "stopping", "", "the server is ending");
            refuse_all(e, &why);
            return NULL;
        }
        sweep(e);
        schedule(e);
        step(e);
    }
}

/* ---- opening and closing --------------------------------------------------------------------- */

static size_t longest_piece(const lethe_lm *lm) {
    lethe_strbuf b = {0};
    size_t most = 1, v = lethe_lm_get_info(lm)->n_vocab;
    for (size_t i = 0; i < v; i++) {
        lethe_strbuf_clear(&b);
        lethe_lm_piece(lm, (int32_t)i, true, &b);
        if (b.len > most) most = b.len;
    }
    lethe_strbuf_free(&b);
    return most;
}

static bool no_template(const lethe_lm *lm) {
    lethe_strbuf b = {0};
    lethe_chat_message m = {"user", "a"};
    lethe_err err;
    bool none = lethe_lm_chat(lm, &m, 1, true, &b, &err) != LETHE_OK;
    lethe_strbuf_free(&b);
    return none;
}

lethe_status lethe_engine_open(lethe_engine **out, lethe_lm *lm, lethe_ablation *removal,
                               const lethe_engine_opts *opts, lethe_metrics *metrics,
                               lethe_err *err) {
    lethe_engine *e;
    LETHE_TRY(lethe_zalloc(&e, 1, sizeof *e, "the engine", err));
    e->lm = lm;
    e->removal = removal;
    e->opts = *opts;
    e->metrics = metrics;
    e->n_slots = lethe_lm_n_seq(lm);
    e->plain_chat = no_template(lm);
    e->longest_piece = longest_piece(lm);
    metrics->slots = e->n_slots;
    for (const lethe_ablation *r = removal; r; r = lethe_ablation_next(r, NULL, NULL, NULL))
        e->n_removals++;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->news, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->idle, &attr);
    pthread_condattr_destroy(&attr);
    lethe_status st = lethe_zalloc(&e->slot, e->n_slots, sizeof *e->slot, "slots", err);
    if (!st) st = lethe_live_open(&e->live, lm, on_event, e, err);
    if (!st) lethe_ablation_watch(removal, on_firing, e);
    if (!st && pthread_create(&e->thread, NULL, work, e)) {
        st = lethe_fail(err, LETHE_FAIL, "no thread for the engine");
        lethe_live_close(&e->live);
    }
    if (!st) {
        *out = e;
        return LETHE_OK;
    }
    lethe_free(e->slot);
    lethe_free(e);
    return st;
}

void lethe_engine_drain(lethe_engine *e, double seconds) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)seconds;
    pthread_mutex_lock(&e->lock);
    e->draining = true;
    int late_now = 0;
    while (e->alive && !late_now) late_now = pthread_cond_timedwait(&e->idle, &e->lock, &until);
    e->closing = true;
    pthread_cond_signal(&e->news);
    while (e->alive) pthread_cond_wait(&e->idle, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

void lethe_engine_close(lethe_engine **ep) {
    lethe_engine *e = *ep;
    if (!e) return;
    lethe_engine_drain(e, 0);
    pthread_join(e->thread, NULL);
    lethe_ablation_watch(e->removal, NULL, NULL);
    lethe_live_close(&e->live);
    for (size_t i = 0; i < e->n_slots; i++) {
        lethe_strbuf_free(&e->slot[i].piece);
        lethe_free(e->slot[i].mark);
    }
    lethe_free(e->slot);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->news);
    pthread_cond_destroy(&e->idle);
    lethe_free(e);
    *ep = NULL;
}

lethe_status lethe_engine_submit(lethe_engine *e, lethe_job *job, lethe_refusal *why) {
    job->came = lethe_seconds();
    job->total = job->open = job->ask->n * (job->ask->n_messages ? 1 : job->ask->n_prompts);
    lethe_status st = LETHE_OK;
    pthread_mutex_lock(&e->lock);
    if (e->draining)
        st = lethe_refuse(why, 503, "stopping", "", "the server is ending");
    else if (e->alive >= e->n_slots + e->opts.queue)
        st = lethe_refuse(why, 429, "queue_full", "",
                          "%zu requests are being answered or wait: come again in a second",
                          e->alive);
    if (!st) {
        job->next = e->inbox;
        e->inbox = job;
        e->alive++;
        atomic_fetch_add(&e->metrics->queued, 1);
        pthread_cond_signal(&e->news);
    }
    pthread_mutex_unlock(&e->lock);
    return st;
}

void lethe_engine_cancel(lethe_engine *e, lethe_job *job) {
    (void)e; /* a job that is not finished keeps the thread awake */
    atomic_store(&job->cancelled, true);
}

bool lethe_engine_plain_chat(const lethe_engine *e) {
    return e->plain_chat;
}
