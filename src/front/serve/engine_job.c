/* SPDX-License-Identifier: MIT */
#include "front/serve/engine_parts.h"

#include "base/mem.h"

bool lethe_job_forgets(const lethe_job *j) {
    return j->how.on != 0;
}

void lethe_job_finish(lethe_engine *e, lethe_job *j, const lethe_refusal *why) {
    for (size_t i = 0; i < LETHE_ASK_MOST_PROMPTS; i++) lethe_tokens_free(&j->prompt[i]);
    lethe_histogram_add(&e->metrics->whole, lethe_seconds() - j->came);
    j->finished(j->user, why); /* the job may be gone after this */
    pthread_mutex_lock(&e->lock);
    if (--e->alive == 0) pthread_cond_broadcast(&e->idle);
    pthread_mutex_unlock(&e->lock);
}

void lethe_job_leave(lethe_engine *e, lethe_job *j) {
    lethe_job **at = &e->waiting;
    while (*at && *at != j) at = &(*at)->next;
    if (!*at) return;
    *at = j->next;
    atomic_fetch_sub(&e->metrics->queued, 1);
}

/* Ends a job before its time. */
void lethe_job_drop(lethe_engine *e, lethe_job *j, const lethe_refusal *why) {
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job == j) lethe_slot_free(e, i);
    lethe_job_leave(e, j);
    lethe_job_finish(e, j, why);
}

/* One of its answers is over. */
void lethe_job_ended(lethe_engine *e, lethe_job *j, size_t index, const char *reason,
                     const lethe_counts *c) {
    atomic_fetch_add(&e->metrics->answers[lethe_job_forgets(j)], 1);
    atomic_fetch_add(&e->metrics->prompt[lethe_job_forgets(j)], c->prompt);
    atomic_fetch_add(&e->metrics->cached[lethe_job_forgets(j)], c->cached);
    j->ended(j->user, index, reason, c);
    if (--j->open == 0) lethe_job_finish(e, j, NULL);
}

/* Out of time: answers end where they are; a job without any is refused. */
void lethe_job_out_of_time(lethe_engine *e, lethe_job *j) {
    if (!j->started || j->ask->kind == LETHE_ASK_TRACE) {
        lethe_refusal why = {0};
        lethe_refuse(&why, 503, "timeout", "", "the request was not answered in %g seconds",
                     e->opts.seconds);
        lethe_job_drop(e, j, &why);
        return;
    }
    size_t left = j->total - j->started; /* of those that j has no slot for yet */
    lethe_job_leave(e, j);
    j->open += 1; /* keeps it until the last line */
    for (size_t i = 0; i < e->n_slots; i++)
        if (e->slot[i].job == j) {
            if (!e->slot[i].cut) lethe_slot_say_waiting(e, &e->slot[i], false);
            lethe_slot_end(e, i, "length");
        }
    for (size_t k = 0; k < left; k++)
        lethe_job_ended(e, j, j->started + k, "length", &(lethe_counts){0});
    if (--j->open == 0) lethe_job_finish(e, j, NULL);
}
