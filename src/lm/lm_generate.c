/* SPDX-License-Identifier: MIT
 *
 * Generation: n_seq slots share each decode call. A slot feeds its prompt in as many calls as it
 * takes, then one token a call; when its sequence ends the next waiting prompt takes its place.
 */
#include "lm_sample.h"

typedef struct slot {
    bool busy;
    size_t seq;
    lethe_tokens history; /* prompt and answer */
    size_t prompt, fed;   /* tokens of the prompt; tokens already in the cache */
    int32_t row;          /* of its logits in this call; -1: none */
    lm_sampler sampler;
} slot;

typedef struct generation {
    lethe_lm *lm;
    const lethe_seq *prompts;
    size_t n_prompts, next;
    const lethe_sampling *sampling;
    lethe_strbuf *out;
    lethe_token_fn fn;
    void *user;
    slot *slot; /* [lm->n_seq] */
    bool all_rows;
} generation;

static void release(slot *s) {
    lethe_lm_sampler_close(&s->sampler);
    lethe_tokens_free(&s->history);
    s->busy = false;
}

static bool has_room(const generation *g, const slot *s) {
    return s->history.n < g->lm->ctx_len && s->history.n - s->prompt < g->sampling->max_tokens;
}

/* Puts the next prompt that can be continued at all into the slot. */
static lethe_status fill(generation *g, slot *s, lethe_err *err) {
    while (!s->busy && g->next < g->n_prompts) {
        const lethe_seq *p = &g->prompts[g->next];
        s->seq = g->next++;
        s->prompt = p->n;
        s->fed = s->history.n = 0;
        for (size_t i = 0; i < p->n; i++)
            LETHE_TRY(lethe_tokens_push(&s->history, p->token[i], err));
        if (!has_room(g, s)) continue;
        LETHE_TRY(lethe_lm_sampler_open(&s->sampler, g->lm, g->sampling, s->seq, err));
        for (size_t i = 0; i < p->n; i++) lethe_lm_sampler_accept(&s->sampler, p->token[i]);
        s->busy = true;
    }
    return LETHE_OK;
}

/* What every slot has not fed yet, as far as the call has room. */
static void push_slot(generation *g, size_t at) {
    slot *s = &g->slot[at];
    lm_batch *b = &g->lm->batch;
    s->row = -1;
    while (s->busy && s->fed < s->history.n && b->n < b->cap) {
        bool want = s->fed + 1 == s->history.n, row = want || g->all_rows;
        if (row && b->n_out == g->lm->max_out) return;
        if (want) s->row = (int32_t)b->n;
        lethe_lm_batch_push(b, s->history.id[s->fed], (int32_t)s->fed, (int32_t)at, (int32_t)s->seq,
                            row, want);
        s->fed++;
    }
}

/* The next token of a slot; *over when its sequence ends with or before it. */
static lethe_status advance(generation *g, slot *s, bool *over, lethe_err *err) {
    const float *logits = llama_get_logits_ith(g->lm->ctx, s->row);
    if (!logits) return lethe_fail(err, LETHE_FAIL, "libllama gave no logits");
    int32_t token;
    LETHE_TRY(lethe_lm_sampler_next(&s->sampler, logits, &s->history, &token, err));
    *over = token < 0 || lethe_lm_is_eog(g->lm, token);
    if (*over) return LETHE_OK;
    LETHE_TRY(lethe_tokens_push(&s->history, token, err));
    lethe_lm_sampler_accept(&s->sampler, token);
    lethe_strbuf piece = {0};
    lethe_lm_piece(g->lm, token, false, &piece);
    if (g->out) lethe_strbuf_add(&g->out[s->seq], lethe_strbuf_str(&piece), piece.len);
    lethe_status st = g->out && piece.status == LETHE_OK ? g->out[s->seq].status : piece.status;
    if (st != LETHE_OK) st = lethe_fail(err, st, "no memory for the generated text");
    bool go_on =
        st == LETHE_OK && (!g->fn || g->fn(g->user, s->seq, token, lethe_strbuf_str(&piece)));
    lethe_strbuf_free(&piece);
    *over = !go_on || !has_room(g, s);
    return st;
}

static lethe_status step(generation *g, lethe_err *err) {
    lethe_lm *lm = g->lm;
    lethe_lm_batch_clear(&lm->batch);
    for (size_t i = 0; i < lm->n_seq; i++) push_slot(g, i);
    LETHE_TRY(lethe_lm_decode(lm, err));
    for (size_t i = 0; i < lm->n_seq; i++) {
        slot *s = &g->slot[i];
        bool over = false;
        if (s->row < 0) continue;
        LETHE_TRY(advance(g, s, &over, err));
        if (!over) continue;
        llama_memory_seq_rm(llama_get_memory(lm->ctx), (llama_seq_id)i, -1, -1);
        release(s);
        LETHE_TRY(fill(g, s, err));
    }
    return LETHE_OK;
}

static bool any_busy(const generation *g) {
    for (size_t i = 0; i < g->lm->n_seq; i++)
        if (g->slot[i].busy) return true;
    return false;
}

static lethe_status check(const lethe_lm *lm, const lethe_seq *prompts, size_t n,
                          const lethe_sampling *s, lethe_err *err) {
    LETHE_TRY(lethe_lm_check_seqs(lm, prompts, n, err));
    LETHE_TRY(lethe_lm_check_sampling(s, err));
    for (size_t i = 0; i < n; i++)
        if (!prompts[i].n)
            return lethe_fail(err, LETHE_USAGE, "prompt %zu is empty: nothing to go on from", i);
    return LETHE_OK;
}

lethe_status lethe_lm_generate(lethe_lm *lm, const lethe_seq *prompts, size_t n_prompts,
                               const lethe_sampling *s, lethe_strbuf *out, lethe_token_fn fn,
                               void *user, lethe_err *err) {
    LETHE_TRY(check(lm, prompts, n_prompts, s, err));
    generation g = {.lm = lm,
                    .prompts = prompts,
                    .n_prompts = n_prompts,
                    .sampling = s,
                    .out = out,
                    .fn = fn,
                    .user = user,
                    .all_rows = lethe_lm_has_tap_at(lm, lm->info.n_layer - 1)};
    LETHE_TRY(lethe_zalloc(&g.slot, lm->n_seq, sizeof *g.slot, "sequences", err));
    lethe_status st = lethe_lm_run_begin(lm, INT_MAX, err);
    for (size_t i = 0; st == LETHE_OK && i < lm->n_seq; i++) st = fill(&g, &g.slot[i], err);
    while (st == LETHE_OK && any_busy(&g)) st = step(&g, err);
    for (size_t i = 0; i < lm->n_seq; i++) release(&g.slot[i]);
    lethe_free(g.slot);
    return lethe_lm_run_end(lm, st);
}
