/* SPDX-License-Identifier: MIT */
#include "front/serve/engine_parts.h"

#include <math.h>

#include "base/mem.h"

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
        const lethe_engine_slot *s = &e->slot[i];
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
    lethe_engine_slot *s = &e->slot[i];
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
    lethe_engine_slot *s = &e->slot[i];
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

/* Behind all others that wait, so that a job of many answers gets its slots in turn with them. */
static void step_back(lethe_engine *e, lethe_job *j) {
    lethe_job **at = &e->waiting;
    while (*at != j) at = &(*at)->next;
    *at = j->next;
    while (*at) at = &(*at)->next;
    *at = j;
    j->next = NULL;
}

void lethe_engine_schedule(lethe_engine *e) {
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
            lethe_job_drop(e, j, &why);
            continue;
        }
        if (first) j->begun(j->user);
        if (j->started == j->total)
            lethe_job_leave(e, j);
        else
            step_back(e, j);
    }
}
void lethe_slot_free(lethe_engine *e, size_t i) {
    lethe_engine_slot *s = &e->slot[i];
    lethe_live_stop(e->live, i);
    for (size_t r = 0; r < s->n_rows; r++) lethe_free(s->row[r].mark);
    lethe_free(s->row);
    s->row = NULL;
    s->n_rows = 0;
    s->job = NULL;
    s->waits = false;
    atomic_fetch_sub(&e->metrics->busy, 1);
}

static lethe_counts counts_of(const lethe_engine *e, size_t i) {
    const lethe_engine_slot *s = &e->slot[i];
    return (lethe_counts){s->job->prompt[s->index / s->job->ask->n].n,
                          lethe_live_reused(e->live, i), s->generated};
}

void lethe_slot_end(lethe_engine *e, size_t i, const char *reason) {
    lethe_engine_slot *s = &e->slot[i];
    lethe_job *j = s->job;
    size_t index = s->index;
    lethe_counts c = counts_of(e, i);
    if (j->ask->kind == LETHE_ASK_TRACE) j->traced(j->user, e->lm, s->row, s->n_rows);
    lethe_slot_free(e, i);
    lethe_job_ended(e, j, index, reason, &c);
}
