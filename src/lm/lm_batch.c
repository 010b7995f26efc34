/* SPDX-License-Identifier: MIT
 *
 * One decode call: the batch, its checks, and what libllama's answer means.
 */
#include <assert.h>
#include <string.h>

#include "lm_internal.h"

lethe_status lethe_lm_batch_open(lm_batch *b, size_t cap, lethe_err *err) {
    b->raw = llama_batch_init((int32_t)cap, 0, 1);
    b->cap = cap;
    LETHE_TRY(lethe_alloc(&b->seq, cap, sizeof *b->seq, "a batch", err));
    LETHE_TRY(lethe_alloc(&b->want, cap, sizeof *b->want, "a batch", err));
    LETHE_TRY(lethe_alloc(&b->out_token, cap, sizeof *b->out_token, "a batch", err));
    LETHE_TRY(lethe_alloc(&b->out_pos, cap, sizeof *b->out_pos, "a batch", err));
    return lethe_alloc(&b->out_seq, cap, sizeof *b->out_seq, "a batch", err);
}

void lethe_lm_batch_close(lm_batch *b) {
    if (b->cap) llama_batch_free(b->raw);
    lethe_free(b->seq);
    lethe_free(b->want);
    lethe_free(b->out_token);
    lethe_free(b->out_pos);
    lethe_free(b->out_seq);
    memset(b, 0, sizeof *b);
}

void lethe_lm_batch_clear(lm_batch *b) {
    b->n = b->n_out = 0;
    b->raw.n_tokens = 0;
}

void lethe_lm_batch_push(lm_batch *b, int32_t token, int32_t pos, int32_t slot, int32_t seq,
                         bool row, bool want) {
    size_t i = b->n++;
    assert(i < b->cap && (row || !want));
    b->raw.n_tokens = (int32_t)b->n;
    b->raw.token[i] = token;
    b->raw.pos[i] = pos;
    b->raw.n_seq_id[i] = 1;
    b->raw.seq_id[i][0] = slot;
    b->raw.logits[i] = row;
    b->seq[i] = seq;
    b->want[i] = want;
    if (!row) return;
    b->out_token[b->n_out] = token;
    b->out_pos[b->n_out] = pos;
    b->out_seq[b->n_out++] = seq;
}

lethe_status lethe_lm_check_seqs(const lethe_lm *lm, const lethe_seq *seqs, size_t n_seqs,
                                 lethe_err *err) {
    if (!lm->ctx)
        return lethe_fail(err, LETHE_USAGE, "%s was opened for its tokenizer only", lm->path);
    if (n_seqs > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "%zu sequences are too many in one call", n_seqs);
    for (size_t s = 0; s < n_seqs; s++) {
        if (seqs[s].n > lm->ctx_len)
            return lethe_fail(err, LETHE_USAGE,
                              "sequence %zu has %zu tokens, but the context holds %zu (raise "
                              "--ctx-len or shorten the text)",
                              s, seqs[s].n, lm->ctx_len);
        for (size_t i = 0; i < seqs[s].n; i++) {
            int32_t t = seqs[s].token[i];
            if (t >= 0 && (size_t)t < lm->info.n_vocab) continue;
            return lethe_fail(err, LETHE_USAGE,
                              "sequence %zu, position %zu: token %d is outside the model's "
                              "vocabulary of %zu",
                              s, i, (int)t, lm->info.n_vocab);
        }
    }
    return LETHE_OK;
}

/* Layer 0's input has no name of its own (see lm_hooks.c); one token through the start of the graph
 * tells where it is. */
static lethe_status learn_input(lethe_lm *lm, lethe_err *err) {
    lethe_lm_batch_clear(&lm->batch);
    int32_t token = lm->info.bos >= 0 ? lm->info.bos : 0;
    lethe_lm_batch_push(&lm->batch, token, 0, 0, 0, false, false);
    lm->learning = true;
    lethe_status st = lethe_lm_decode(lm, err);
    lm->learning = false;
    llama_memory_clear(llama_get_memory(lm->ctx), false);
    LETHE_TRY(st);
    if (lm->input.known) return LETHE_OK;
    return lethe_fail(err, LETHE_FAIL,
                      "cannot find the input of layer 0 in the graph of architecture %s (use "
                      "the stream after a layer instead)",
                      lm->info.arch);
}

lethe_status lethe_lm_run_begin(lethe_lm *lm, int stop_site, lethe_err *err) {
    lethe_lm_log_enter(&lm->env);
    llama_memory_clear(llama_get_memory(lm->ctx), false);
    lm->stop_site = stop_site;
    if (lm->input.known || !lethe_lm_has_hook_at(lm, LETHE_LM_SITE_INPUT)) return LETHE_OK;
    return learn_input(lm, err);
}

lethe_status lethe_lm_run_end(lethe_lm *lm, lethe_status st) {
    llama_memory_clear(llama_get_memory(lm->ctx), st != LETHE_OK);
    lethe_lm_log_leave();
    return st;
}

/* Threads meet after every node of the graph and spin while they wait, so on small work a second
 * one costs more than it brings, and very much more on a machine that is busy otherwise. */
static int threads_for(const lethe_lm *lm) {
    const uint64_t worth = 16u << 20; /* products a thread should have to itself */
    uint64_t share = lm->info.n_params * lm->batch.n / worth;
    int all = lethe_threads();
    return share >= (uint64_t)all ? all : share > 1 ? (int)share : 1;
}

lethe_status lethe_lm_decode(lethe_lm *lm, lethe_err *err) {
    if (lethe_stop_requested()) return lethe_fail(err, LETHE_STOPPED, "stopped on request");
    llama_set_n_threads(lm->ctx, threads_for(lm), threads_for(lm));
    lm->node = 0;
    lm->checked = lm->layer0 = lm->stopped = false;
    lm->input_tensor = NULL;
    lm->status = LETHE_OK;
    lm->err = err;
    for (size_t h = 0; h < lm->n_hooks; h++) lm->hook[h].seen = false;
    int32_t rc = llama_decode(lm->ctx, lm->batch.raw);
    lm->err = NULL;
    if (lm->status != LETHE_OK) return lm->status;
    if (rc == 0) return lm->learning ? LETHE_OK : lethe_lm_check_seen(lm, err);
    if (lethe_stop_requested()) return lethe_fail(err, LETHE_STOPPED, "stopped on request");
    const char *said = lethe_lm_log_errors();
    lethe_status st = rc == 1 || strstr(said, "alloc") ? LETHE_NOMEM : LETHE_FAIL;
    return lethe_fail(err, st, "libllama could not run %zu tokens (code %d): %s", lm->batch.n,
                      (int)rc, said[0] ? said : "no reason given");
}
