/* SPDX-License-Identifier: MIT
 *
 * A token's marks are known when the next decode call has read it, so with a trace each token waits
 * in its slot for one call.
 */
#include "front/serve/engine_parts.h"

#include <string.h>

#include "base/mem.h"

static void add_mark(lethe_engine *e, lethe_mark **mark, size_t *n, size_t *cap, lethe_mark m) {
    if (lethe_grow(mark, cap, *n, *n + 1, sizeof **mark, "features that fired", NULL))
        e->no_memory = true;
    else
        (*mark)[(*n)++] = m;
}

void lethe_engine_on_firing(void *user, const lethe_firing *f) {
    lethe_engine *e = user;
    if (f->seq < 0 || (size_t)f->seq >= e->n_slots) return;
    lethe_engine_slot *s = &e->slot[f->seq];
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

static bool say(lethe_engine *e, lethe_engine_slot *s, const lethe_said *said) {
    lethe_job *j = s->job;
    if (!j->spoke) lethe_histogram_add(&e->metrics->first_token, lethe_seconds() - j->came);
    j->spoke = true;
    if (!s->cut && !j->said(j->user, s->index, said)) s->cut = true;
    return !s->cut;
}

/* The token that waited; known: the model has read it since. */
bool lethe_slot_say_waiting(lethe_engine *e, lethe_engine_slot *s, bool known) {
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

static void keep_waiting(lethe_engine *e, lethe_engine_slot *s, const lethe_live_event *ev) {
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

static bool on_token(lethe_engine *e, lethe_engine_slot *s, const lethe_live_event *ev) {
    s->generated++;
    atomic_fetch_add(&e->metrics->generated[lethe_job_forgets(s->job)], 1);
    if (!s->job->ask->trace)
        return say(e, s,
                   &(lethe_said){.piece = ev->piece,
                                 .piece_len = ev->piece_len,
                                 .logprob = ev->logprob,
                                 .top = ev->top,
                                 .n_top = ev->n_top});
    if (!lethe_slot_say_waiting(e, s, true)) return false;
    keep_waiting(e, s, ev);
    return true;
}

bool lethe_engine_on_event(void *user, const lethe_live_event *ev) {
    lethe_engine *e = user;
    lethe_engine_slot *s = &e->slot[ev->slot];
    if (!s->job) return false;
    bool trace = s->job->ask->kind == LETHE_ASK_TRACE, more = true;
    if (ev->token >= 0 && !trace) more = on_token(e, s, ev);
    if (ev->end == LETHE_LIVE_GOES_ON) return more;
    if (!s->cut) lethe_slot_say_waiting(e, s, ev->end == LETHE_LIVE_EOG);
    lethe_slot_end(e, ev->slot, s->cut || ev->end == LETHE_LIVE_EOG ? "stop" : "length");
    return more;
}
