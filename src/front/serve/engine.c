/* SPDX-License-Identifier: MIT
 *
 * The thread's round: take what came in, turn its text into tokens, drop what nobody waits for any
 * more, put answers into free slots, one decode call.
 */
#include "front/serve/engine_parts.h"

#include <time.h>

#include "base/mem.h"

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
        bool bad = atomic_load(&j->cancelled) || lethe_engine_tokens(e, j, &why) ||
                   lethe_engine_check_strength(e, j, &why);
        if (bad) {
            atomic_fetch_sub(&e->metrics->queued, 1);
            lethe_job_finish(e, j, &why);
            continue;
        }
        lethe_job **at = &e->waiting;
        while (*at) at = &(*at)->next;
        j->next = NULL;
        *at = j;
    }
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
            lethe_job_drop(e, j, &(lethe_refusal){0});
        else if (late(e, j, now))
            lethe_job_out_of_time(e, j);
    }
    for (size_t i = 0; i < e->n_slots; i++) {
        lethe_job *j = e->slot[i].job;
        if (j && atomic_load(&j->cancelled))
            lethe_job_drop(e, j, &(lethe_refusal){0});
        else if (j && late(e, j, now))
            lethe_job_out_of_time(e, j);
    }
}

static void refuse_all(lethe_engine *e, const lethe_refusal *why) {
    while (e->waiting) lethe_job_drop(e, e->waiting, why);
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job) lethe_job_drop(e, e->slot[i].job, why);
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
        if (e->slot[i].job) lethe_job_drop(e, e->slot[i].job, &why);
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
        lethe_engine_schedule(e);
        step(e);
    }
}

/* ---- opening and closing --------------------------------------------------------------------- */

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
    e->plain_chat = lethe_engine_no_template(lm);
    e->longest_piece = lethe_engine_longest_piece(lm);
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
    if (!st) st = lethe_live_open(&e->live, lm, lethe_engine_on_event, e, err);
    if (!st) lethe_ablation_watch(removal, lethe_engine_on_firing, e);
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
