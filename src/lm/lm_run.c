/* SPDX-License-Identifier: MIT
 *
 * Runs of fresh sequences: capture, forward, score.
 *
 * Short sequences share a decode call. The KV cache is one for all sequences, and each token's
 * attention is computed over every used cell and masked, so a group is small: whole sequences of
 * pack_tokens together, or one longer sequence alone, in several calls if need be.
 */
#include <math.h>
#include <string.h>

#include "lm_internal.h"

typedef struct run {
    lethe_lm *lm;
    const lethe_seq *seqs;
    size_t n_seqs;
    const size_t *first; /* first position of a sequence whose logits are wanted; NULL: 0 */
    lethe_logits_fn fn;  /* NULL: no logits */
    void *user;
    bool all_rows; /* every token is an output: a tap in the last layer wants it */
} run;

static lethe_status flush(run *r, lethe_err *err) {
    lethe_lm *lm = r->lm;
    lm_batch *b = &lm->batch;
    if (!b->n) return LETHE_OK;
    LETHE_TRY(lethe_lm_decode(lm, err));
    for (size_t i = 0; i < b->n; i++) {
        if (!b->want[i]) continue;
        const float *logits = llama_get_logits_ith(lm->ctx, (int32_t)i);
        if (!logits) return lethe_fail(err, LETHE_FAIL, "libllama gave no logits");
        LETHE_TRY(r->fn(r->user, (size_t)b->seq[i], (size_t)b->raw.pos[i], logits, err));
    }
    lethe_lm_batch_clear(b);
    return LETHE_OK;
}

static bool wanted(const run *r, size_t s, size_t pos) {
    return r->fn && pos >= (r->first ? r->first[s] : 0);
}

static size_t count_rows(const run *r, size_t s) {
    size_t n = r->seqs[s].n, first = r->first ? r->first[s] : 0;
    if (r->all_rows) return n;
    return r->fn && first < n ? n - first : 0;
}

/* Sequences [s, end) run together: whole and in one call, or a long one alone. */
static size_t group_end(const run *r, size_t s) {
    size_t tokens = 0, rows = 0, end = s;
    while (end < r->n_seqs && end - s < r->lm->max_pack) {
        tokens += r->seqs[end].n;
        rows += count_rows(r, end);
        if (end > s && (tokens > r->lm->pack_tokens || rows > r->lm->max_out)) break;
        end++;
    }
    return end;
}

static lethe_status run_group(run *r, size_t s, size_t end, lethe_err *err) {
    lm_batch *b = &r->lm->batch;
    lethe_lm_batch_clear(b);
    for (size_t i = s; i < end; i++) {
        for (size_t p = 0; p < r->seqs[i].n; p++) {
            bool want = wanted(r, i, p), row = want || r->all_rows;
            if (b->n == b->cap || (row && b->n_out == r->lm->max_out)) LETHE_TRY(flush(r, err));
            lethe_lm_batch_push(b, r->seqs[i].token[p], (int32_t)p, (int32_t)(i - s), (int32_t)i,
                                row, want);
        }
    }
    LETHE_TRY(flush(r, err));
    llama_memory_clear(llama_get_memory(r->lm->ctx), false);
    return LETHE_OK;
}

static lethe_status run_all(run *r, int stop_site, lethe_err *err) {
    LETHE_TRY(lethe_lm_check_seqs(r->lm, r->seqs, r->n_seqs, err));
    r->all_rows = lethe_lm_has_tap_at(r->lm, r->lm->info.n_layer - 1);
    lethe_status st = lethe_lm_run_begin(r->lm, stop_site, err);
    for (size_t s = 0; st == LETHE_OK && s < r->n_seqs;) {
        size_t end = group_end(r, s);
        st = run_group(r, s, end, err);
        s = end;
    }
    return lethe_lm_run_end(r->lm, st);
}

lethe_status lethe_lm_capture(lethe_lm *lm, const lethe_seq *seqs, size_t n_seqs, lethe_err *err) {
    int last = INT_MIN;
    for (size_t h = 0; h < lm->n_hooks; h++)
        if (!lm->hook[h].edit && lm->hook[h].site > last) last = lm->hook[h].site;
    if (last == INT_MIN)
        return lethe_fail(err, LETHE_USAGE, "nothing to capture: no tap was added");
    run r = {.lm = lm, .seqs = seqs, .n_seqs = n_seqs};
    return run_all(&r, last, err);
}

lethe_status lethe_lm_forward(lethe_lm *lm, const lethe_seq *seqs, size_t n_seqs,
                              const size_t *first, lethe_logits_fn fn, void *user, lethe_err *err) {
    run r = {.lm = lm, .seqs = seqs, .n_seqs = n_seqs, .first = first, .fn = fn, .user = user};
    return run_all(&r, INT_MAX, err);
}

/* ---- scoring -------------------------------------------------------------------------------- */

/* log softmax(l)_t = l_t - max - log sum exp(l - max) */
double lethe_logprob(const float *logits, size_t n_vocab, int32_t token) {
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n_vocab; i++)
        if ((double)logits[i] > max) max = (double)logits[i];
    for (size_t i = 0; i < n_vocab; i++) sum += exp((double)logits[i] - max);
    return (double)logits[token] - max - log(sum);
}

typedef struct scoring {
    const lethe_seq *seqs; /* whole, with the last token */
    size_t n_vocab;
    lethe_target_score *out;
} scoring;

static lethe_status score_one(void *user, size_t seq, size_t pos, const float *logits,
                              lethe_err *err) {
    scoring *s = user;
    int32_t target = s->seqs[seq].token[pos + 1];
    lethe_target_score *o = &s->out[seq];
    double lp = lethe_logprob(logits, s->n_vocab, target);
    if (!isfinite(lp))
        return lethe_fail(err, LETHE_NONFINITE,
                          "sequence %zu, position %zu: the model's logits are not finite", seq,
                          pos);
    o->sum_logprob += lp;
    o->n++;
    for (size_t i = 0; i < s->n_vocab && o->all_top1; i++)
        if (logits[i] > logits[target] || (logits[i] == logits[target] && (int32_t)i < target))
            o->all_top1 = false;
    return LETHE_OK;
}

lethe_status lethe_lm_score(lethe_lm *lm, const lethe_seq *seqs, const size_t *prompt_len,
                            size_t n_seqs, lethe_target_score *out, lethe_err *err) {
    LETHE_TRY(lethe_lm_check_seqs(lm, seqs, n_seqs, err));
    lethe_seq *fed = NULL; /* without the last token, which predicts nothing that is scored */
    size_t *first = NULL;
    lethe_status st = lethe_alloc(&fed, n_seqs, sizeof *fed, "sequences to score", err);
    if (st == LETHE_OK) st = lethe_alloc(&first, n_seqs, sizeof *first, "sequences to score", err);
    for (size_t s = 0; st == LETHE_OK && s < n_seqs; s++) {
        if (!prompt_len[s] || prompt_len[s] >= seqs[s].n)
            st = lethe_fail(err, LETHE_USAGE,
                            "sequence %zu: a prompt of %zu out of %zu tokens leaves nothing to "
                            "score (prompt and target need a token each)",
                            s, prompt_len[s], seqs[s].n);
        else {
            fed[s] = (lethe_seq){seqs[s].token, seqs[s].n - 1};
            first[s] = prompt_len[s] - 1;
            out[s] = (lethe_target_score){.all_top1 = true};
        }
    }
    scoring sc = {.seqs = seqs, .n_vocab = lm->info.n_vocab, .out = out};
    if (st == LETHE_OK) st = lethe_lm_forward(lm, fed, n_seqs, first, score_one, &sc, err);
    lethe_free(fed);
    lethe_free(first);
    return st;
}
