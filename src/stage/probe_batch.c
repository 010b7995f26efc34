/* SPDX-License-Identifier: MIT */
#include "stage/probe_batch.h"

#include "base/mem.h"

void lethe_probe_batch_free(lethe_probe_batch *b) {
    for (size_t i = 0; b->tokens && i < b->n; i++) lethe_tokens_free(&b->tokens[i]);
    lethe_free(b->tokens);
    lethe_free(b->seq);
    lethe_free(b->prompt_len);
    lethe_free(b->out);
    *b = (lethe_probe_batch){0};
}

lethe_status lethe_probe_batch_fill(const lethe_lm *lm, const lethe_probes *p, bool reference,
                                    lethe_probe_batch *b, lethe_err *err) {
    b->n = p->n;
    LETHE_TRY(lethe_zalloc(&b->tokens, p->n, sizeof *b->tokens, "tokens of the probes", err));
    LETHE_TRY(lethe_alloc(&b->seq, p->n, sizeof *b->seq, "tokens of the probes", err));
    LETHE_TRY(lethe_alloc(&b->prompt_len, p->n, sizeof *b->prompt_len, "probes", err));
    LETHE_TRY(lethe_zalloc(&b->out, p->n, sizeof *b->out, "scores of the probes", err));
    size_t ctx = lethe_lm_ctx_len(lm);
    for (size_t i = 0; i < p->n; i++) {
        LETHE_TRY(
            lethe_probe_tokens(lm, &p->item[i], reference, &b->tokens[i], &b->prompt_len[i], err));
        if (b->tokens[i].n > ctx)
            return lethe_fail(
                err, LETHE_USAGE,
                "probe %zu (%s: \"%.60s\") is %zu tokens long, the context %zu: raise "
                "--ctx-len or shorten it",
                i, p->domain[p->item[i].domain], p->item[i].prompt, b->tokens[i].n, ctx);
        b->seq[i] = (lethe_seq){b->tokens[i].id, b->tokens[i].n};
    }
    return LETHE_OK;
}

lethe_status lethe_probe_batch_score(lethe_lm *lm, lethe_probe_batch *b, const char *stage,
                                     const lethe_env *env, lethe_err *err) {
    size_t step = 4 * lethe_lm_n_seq(lm);
    for (size_t i = 0; i < b->n; i += step) {
        if (lethe_stop_requested())
            return lethe_fail(err, LETHE_STOPPED, "evaluation stopped on request");
        size_t n = b->n - i < step ? b->n - i : step;
        LETHE_TRY(lethe_lm_score(lm, b->seq + i, b->prompt_len + i, n, b->out + i, err));
        lethe_report_progress(env, &(lethe_progress){.stage = stage,
                                                     .done = (double)(i + n),
                                                     .total = (double)b->n,
                                                     .unit = "probes",
                                                     .detail = "",
                                                     .finished = i + n == b->n});
    }
    return LETHE_OK;
}
