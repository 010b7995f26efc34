/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stage/eval_parts.h"
#include "stage/probe_batch.h"

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
                                 .fact = lethe_strdup(from->fact),
                                 .chat = from->chat};
        r->domain[to->domain].n++;
        if (!to->prompt || !to->target || !to->fact) {
            r->n_probes++; /* so that the half-made one is freed, too */
            return lethe_fail(err, LETHE_NOMEM, "out of memory: results of the probes");
        }
    }
    return LETHE_OK;
}

static void collect(lethe_eval_result *r, const lethe_probe_batch *b, lethe_eval_side side) {
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
    lethe_probe_batch b = {0};
    lethe_status st = make_result(probes, job->result, err);
    if (st == LETHE_OK)
        st = lethe_probe_batch_fill(job->lm, probes, job->opts->reference_tokens, &b, err);
    int sides = job->ablation ? LETHE_SIDES : 1;
    for (int s = 0; s < sides && st == LETHE_OK; s++) {
        st = lethe_eval_switch(job, (lethe_eval_side)s, err);
        if (st == LETHE_OK)
            st = lethe_probe_batch_score(job->lm, &b, s ? "probes, ablated" : "probes", job->env,
                                         err);
        if (st == LETHE_OK) collect(job->result, &b, (lethe_eval_side)s);
    }
    lethe_probe_batch_free(&b);
    return st;
}
