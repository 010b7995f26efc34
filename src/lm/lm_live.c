/* SPDX-License-Identifier: MIT
 *
 * Live sequences. A decode call first takes the next token of every slot that is answering, then
 * parts of the prompts that are still to be run, beginning with another slot each time.
 */
#include "lm/live.h"

#include <math.h>
#include <string.h>

#include "lm_sample.h"

/* Prompt tokens of one slot in a call while others wait for their next token. */
#define PROMPT_PART 128

typedef struct live_slot {
    bool busy;
    lethe_tokens text;           /* prompt and answer */
    size_t held;                 /* tokens of it in the cache */
    size_t prompt, reused, most; /* tokens of prompt; in the cache before; of the answer, at most */
    int32_t row;                 /* of its logits in this call; -1: none */
    lm_sampler sampler;
    bool logprob;
    size_t top;
} live_slot;

struct lethe_live {
    lethe_lm *lm;
    lethe_live_fn fn;
    void *user;
    live_slot *slot; /* [lm->n_seq] */
    size_t turn;     /* the slot whose prompt comes first */
    bool all_rows;   /* hooks in the last layer want every row */
};

/* ---- slots ----------------------------------------------------------------------------------- */

lethe_status lethe_live_open(lethe_live **out, lethe_lm *lm, lethe_live_fn fn, void *user,
                             lethe_err *err) {
    lethe_live *l;
    LETHE_TRY(lethe_lm_check_seqs(lm, NULL, 0, err));
    LETHE_TRY(lethe_zalloc(&l, 1, sizeof *l, "live sequences", err));
    *l = (lethe_live){.lm = lm, .fn = fn, .user = user};
    lethe_status st = lethe_zalloc(&l->slot, lm->n_seq, sizeof *l->slot, "live sequences", err);
    if (st == LETHE_OK) {
        st = lethe_lm_run_begin(lm, INT_MAX, err);
        lethe_lm_log_leave();
    }
    if (st == LETHE_OK)
        *out = l;
    else
        lethe_live_close(&l);
    return st;
}

void lethe_live_close(lethe_live **live) {
    lethe_live *l = *live;
    if (!l) return;
    for (size_t i = 0; l->slot && i < l->lm->n_seq; i++) {
        lethe_lm_sampler_close(&l->slot[i].sampler);
        lethe_tokens_free(&l->slot[i].text);
    }
    lethe_free(l->slot);
    llama_memory_clear(llama_get_memory(l->lm->ctx), false);
    lethe_free(l);
    *live = NULL;
}

size_t lethe_live_slots(const lethe_live *l) {
    return l->lm->n_seq;
}

bool lethe_live_busy(const lethe_live *l, size_t slot) {
    return l->slot[slot].busy;
}

void lethe_live_stop(lethe_live *l, size_t slot) {
    live_slot *s = &l->slot[slot];
    lethe_lm_sampler_close(&s->sampler);
    s->busy = false;
}

void lethe_live_forget(lethe_live *l, size_t slot) {
    lethe_live_stop(l, slot);
    llama_memory_seq_rm(llama_get_memory(l->lm->ctx), (llama_seq_id)slot, -1, -1);
    l->slot[slot].held = l->slot[slot].text.n = 0;
}

const lethe_tokens *lethe_live_text(const lethe_live *l, size_t slot) {
    return &l->slot[slot].text;
}

size_t lethe_live_reused(const lethe_live *l, size_t slot) {
    return l->slot[slot].reused;
}

double lethe_live_prefilled(const lethe_live *l, size_t slot) {
    const live_slot *s = &l->slot[slot];
    return s->held >= s->prompt ? 1 : (double)s->held / (double)s->prompt;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static lethe_status check(const lethe_live *l, const lethe_live_request *r, lethe_err *err) {
    if (!r->n) return lethe_fail(err, LETHE_USAGE, "the text is empty: nothing to go on from");
    if (r->top > LETHE_LIVE_MOST_TOP)
        return lethe_fail(err, LETHE_USAGE, "%zu alternatives a token: at most %d", r->top,
                          LETHE_LIVE_MOST_TOP);
    LETHE_TRY(lethe_lm_check_sampling(&r->sampling, err));
    LETHE_TRY(lethe_lm_check_seqs(l->lm, &(lethe_seq){r->token, r->n}, 1, err));
    if (r->n == l->lm->ctx_len)
        return lethe_fail(err, LETHE_USAGE,
                          "the text fills the context of %zu tokens and leaves no room for an "
                          "answer (raise --ctx-len or shorten the text)",
                          l->lm->ctx_len);
    return LETHE_OK;
}

/* Tokens at the beginning of the request that the cache holds; at least one is left to run. */
static size_t common(const live_slot *s, const lethe_live_request *r) {
    size_t most = s->held < r->n - 1 ? s->held : r->n - 1, n = 0;
    while (n < most && s->text.id[n] == r->token[n]) n++;
    return n;
}

lethe_status lethe_live_begin(lethe_live *l, size_t slot, const lethe_live_request *r,
                              lethe_err *err) {
    live_slot *s = &l->slot[slot];
    LETHE_TRY(check(l, r, err));
    lm_sampler sampler;
    LETHE_TRY(lethe_lm_sampler_open(&sampler, l->lm, &r->sampling, (size_t)r->stream, err));
    size_t keep = common(s, r);
    lethe_status st = LETHE_OK;
    lethe_tokens text = {0};
    for (size_t i = 0; i < r->n && st == LETHE_OK; i++)
        st = lethe_tokens_push(&text, r->token[i], err);
    if (st != LETHE_OK) {
        lethe_lm_sampler_close(&sampler);
        lethe_tokens_free(&text);
        return st;
    }
    for (size_t i = 0; i < r->n; i++) lethe_lm_sampler_accept(&sampler, r->token[i]);
    lethe_tokens_free(&s->text);
    s->text = text;
    /* A recurrent model cannot take back only a part. */
    llama_memory_t mem = llama_get_memory(l->lm->ctx);
    if (keep < s->held && !llama_memory_seq_rm(mem, (llama_seq_id)slot, (llama_pos)keep, -1)) {
        llama_memory_seq_rm(mem, (llama_seq_id)slot, -1, -1);
        keep = 0;
    }
    s->held = s->reused = keep;
    s->prompt = r->n;
    size_t room = l->lm->ctx_len - r->n, want = r->sampling.max_tokens;
    s->most = want && want < room ? want : room;
    s->sampler = sampler;
    s->logprob = r->logprob;
    s->top = r->top;
    s->row = -1;
    s->busy = true;
    return LETHE_OK;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static void push(lethe_live *l, size_t at, size_t most) {
    live_slot *s = &l->slot[at];
    lm_batch *b = &l->lm->batch;
    for (size_t n = 0; n < most && s->held < s->text.n && b->n < b->cap; n++) {
        bool want = s->held + 1 == s->text.n, row = want || l->all_rows;
        if (row && b->n_out == l->lm->max_out) return;
        if (want) s->row = (int32_t)b->n;
        lethe_lm_batch_push(b, s->text.id[s->held], (int32_t)s->held, (int32_t)at, (int32_t)at, row,
                            want);
        s->held++;
    }
}

static void fill(lethe_live *l) {
    size_t n = l->lm->n_seq, answering = 0;
    lethe_lm_batch_clear(&l->lm->batch);
    for (size_t i = 0; i < n; i++) {
        live_slot *s = &l->slot[i];
        s->row = -1;
        if (!s->busy || s->held + 1 != s->text.n) continue;
        answering++;
        push(l, i, 1);
    }
    size_t part = answering ? PROMPT_PART : l->lm->batch.cap;
    for (size_t q = 0; q < n; q++) {
        size_t i = (l->turn + q) % n;
        if (l->slot[i].busy && l->slot[i].row < 0) push(l, i, part);
    }
    l->turn = (l->turn + 1) % n;
}

static void likeliest(const float *logits, size_t v, double normaliser, size_t n,
                      lethe_live_choice *top) {
    size_t have = 0;
    for (size_t t = 0; t < v; t++) {
        double lp = (double)logits[t] - normaliser;
        if (have == n && !(lp > top[n - 1].logprob)) continue;
        size_t at = have < n ? have++ : n - 1;
        for (; at > 0 && lp > top[at - 1].logprob; at--) top[at] = top[at - 1];
        top[at] = (lethe_live_choice){(int32_t)t, lp};
    }
}

/* Tells of a token, or of the end; false when the answer is to end. */
static bool tell(lethe_live *l, const lethe_live_event *e) {
    return !l->fn || l->fn(l->user, e);
}

/* The next token of a slot whose logits have come. */
static lethe_status advance(lethe_live *l, size_t at, lethe_err *err) {
    live_slot *s = &l->slot[at];
    const size_t v = l->lm->info.n_vocab;
    const float *logits = llama_get_logits_ith(l->lm->ctx, s->row);
    if (!logits) return lethe_fail(err, LETHE_FAIL, "libllama gave no logits");
    lethe_live_choice top[LETHE_LIVE_MOST_TOP];
    lethe_live_event e = {.slot = at, .token = -1, .piece = "", .top = top};
    int32_t token;
    LETHE_TRY(lethe_lm_sampler_next(&s->sampler, logits, &s->text, &token, err));
    if (token < 0 || lethe_lm_is_eog(l->lm, token)) {
        lethe_live_stop(l, at);
        e.end = LETHE_LIVE_EOG;
        tell(l, &e);
        return LETHE_OK;
    }
    if (s->logprob || s->top) {
        double normaliser = (double)logits[token] - lethe_logprob(logits, v, token);
        e.logprob = (double)logits[token] - normaliser;
        e.n_top = s->top < v ? s->top : v;
        likeliest(logits, v, normaliser, e.n_top, top);
    }
    LETHE_TRY(lethe_tokens_push(&s->text, token, err));
    lethe_lm_sampler_accept(&s->sampler, token);
    lethe_strbuf piece = {0};
    lethe_lm_piece(l->lm, token, false, &piece);
    if (piece.status != LETHE_OK) {
        lethe_status st = lethe_fail(err, piece.status, "no memory for the generated text");
        lethe_strbuf_free(&piece);
        return st;
    }
    e.token = token;
    e.piece = lethe_strbuf_str(&piece);
    e.piece_len = piece.len;
    if (s->text.n - s->prompt >= s->most) {
        lethe_live_stop(l, at);
        e.end = LETHE_LIVE_LENGTH;
        tell(l, &e);
    } else if (!tell(l, &e)) {
        lethe_live_stop(l, at);
        tell(l, &(lethe_live_event){
                    .slot = at, .token = -1, .piece = "", .top = top, .end = LETHE_LIVE_CUT});
    }
    lethe_strbuf_free(&piece);
    return LETHE_OK;
}

/* After a failure nothing that the cache holds can be trusted. */
static void drop_all(lethe_live *l) {
    llama_memory_clear(llama_get_memory(l->lm->ctx), true);
    for (size_t i = 0; i < l->lm->n_seq; i++) {
        lethe_live_stop(l, i);
        l->slot[i].held = l->slot[i].text.n = 0;
    }
}

static bool any_busy(const lethe_live *l) {
    for (size_t i = 0; i < l->lm->n_seq; i++)
        if (l->slot[i].busy) return true;
    return false;
}

lethe_status lethe_live_step(lethe_live *l, bool *any, lethe_err *err) {
    *any = any_busy(l);
    if (!*any) return LETHE_OK;
    lethe_lm_log_enter(&l->lm->env);
    l->lm->stop_site = INT_MAX;
    l->all_rows = lethe_lm_has_tap_at(l->lm, l->lm->info.n_layer - 1);
    fill(l);
    lethe_status st = lethe_lm_decode(l->lm, err);
    /* fn may begin an answer in another slot: that one has no row in this call. */
    for (size_t i = 0; st == LETHE_OK && i < l->lm->n_seq; i++)
        if (l->slot[i].busy && l->slot[i].row >= 0) st = advance(l, i, err);
    if (st != LETHE_OK) drop_all(l);
    lethe_lm_log_leave();
    *any = any_busy(l);
    return st;
}
