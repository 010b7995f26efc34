/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stage/eval_parts.h"

/* All probes as token sequences. */
typedef struct batch {
    lethe_tokens *tokens;    /* [n] */
    lethe_seq *seq;          /* [n], views of tokens */
    size_t *prompt_len;      /* [n] */
    lethe_target_score *out; /* [n] */
    size_t n;
} batch;

static void batch_free(batch *b) {
    for (size_t i = 0; b->tokens && i < b->n; i++) lethe_tokens_free(&b->tokens[i]);
    lethe_free(b->tokens);
    lethe_free(b->seq);
    lethe_free(b->prompt_len);
    lethe_free(b->out);
}

static lethe_status batch_fill(const lethe_eval_job *job, const lethe_probes *p, batch *b,
                               lethe_err *err) {
    b->n = p->n;
    LETHE_TRY(lethe_zalloc(&b->tokens, p->n, sizeof *b->tokens, "tokens of the probes", err));
    LETHE_TRY(lethe_alloc(&b->seq, p->n, sizeof *b->seq, "tokens of the probes", err));
    LETHE_TRY(lethe_alloc(&b->prompt_len, p->n, sizeof *b->prompt_len, "probes", err));
    LETHE_TRY(lethe_zalloc(&b->out, p->n, sizeof *b->out, "scores of the probes", err));
    size_t ctx = lethe_lm_ctx_len(job->lm);
    for (size_t i = 0; i < p->n; i++) {
        LETHE_TRY(lethe_probe_tokens(job->lm, &p->item[i], job->opts->reference_tokens,
                                     &b->tokens[i], &b->prompt_len[i], err));
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

static lethe_status make_result(const lethe_probes *p, lethe_eval_result *r, lethe_err *err) {
    LETHE_TRY(lethe_zalloc(&r->domain, p->n_domains, sizeof *r->domain, "domains", err));
    for (; r->n_domains < p->n_domains; r->n_domains++)
        if (!(r->domain[r->n_domains].name = lethe_strdup(p->domain[r->n_domains])))
            return lethe_fail(err, LETHE_NOMEM, "out of memory: domains");
    LETHE_TRY(lethe_zalloc(&r->probe, p->n, sizeof *r->probe, "results of the probes", err));
    for (r->n_probes = 0; r->n_probes < p->n; r->n_probes++) {
        const lethe_probe *from = &p->item[r->n_probes];
        lethe_eval_probe *to = &r->probe[r->n_probes];
        *to = (lethe_eval_probe){.domain = from->domain,
                                 .prompt = lethe_strdup(from->prompt),
                                 .target = lethe_strdup(from->target),
                                 .chat = from->chat};
        r->domain[to->domain].n++;
        if (!to->prompt || !to->target) {
            r->n_probes++; /* so that the half-made one is freed, too */
            return lethe_fail(err, LETHE_NOMEM, "out of memory: results of the probes");
        }
    }
    return LETHE_OK;
}

/* In pieces, so that progress is seen and a stop request heard. */
static lethe_status score(const lethe_eval_job *job, batch *b, lethe_eval_side side,
                          lethe_err *err) {
    size_t step = 4 * lethe_lm_n_seq(job->lm);
    LETHE_TRY(lethe_eval_switch(job, side, err));
    for (size_t i = 0; i < b->n; i += step) {
        LETHE_TRY(lethe_eval_stop(err));
        size_t n = b->n - i < step ? b->n - i : step;
        LETHE_TRY(lethe_lm_score(job->lm, b->seq + i, b->prompt_len + i, n, b->out + i, err));
        lethe_report_progress(
            job->env,
            &(lethe_progress){.stage = side == LETHE_BASELINE ? "probes" : "probes, ablated",
                              .done = (double)(i + n),
                              .total = (double)b->n,
                              .unit = "probes",
                              .detail = "",
                              .finished = i + n == b->n});
    }
    return LETHE_OK;
}

static void collect(lethe_eval_result *r, const batch *b, lethe_eval_side side) {
    for (size_t i = 0; i < b->n; i++) {
        lethe_eval_probe *p = &r->probe[i];
        p->tokens = b->out[i].n;
        p->logprob[side] = b->out[i].sum_logprob / (double)b->out[i].n;
        p->recall[side] = b->out[i].all_top1;
        r->domain[p->domain].logprob[side] += p->logprob[side];
        r->domain[p->domain].recall[side] += p->recall[side];
    }
    for (size_t d = 0; d < r->n_domains; d++) {
        r->domain[d].logprob[side] /= (double)r->domain[d].n;
        r->domain[d].recall[side] /= (double)r->domain[d].n;
    }
}

lethe_status lethe_eval_run_probes(const lethe_eval_job *job, const lethe_probes *probes,
                                   lethe_err *err) {
    batch b = {0};
    lethe_status st = make_result(probes, job->result, err);
    if (st == LETHE_OK) st = batch_fill(job, probes, &b, err);
    int sides = job->ablation ? LETHE_SIDES : 1;
    for (int s = 0; s < sides && st == LETHE_OK; s++) {
        st = score(job, &b, (lethe_eval_side)s, err);
        if (st == LETHE_OK) collect(job->result, &b, (lethe_eval_side)s);
    }
    batch_free(&b);
    return st;
}
