/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "stage/eval_answers.h"

static lethe_status prompts_fill(const lethe_eval_job *job, const lethe_prompts *p,
                                 lethe_answers *a, lethe_err *err) {
    LETHE_TRY(lethe_answers_make(a, p->n, 1, err));
    size_t ctx = lethe_lm_ctx_len(job->lm);
    for (size_t i = 0; i < p->n; i++) {
        lethe_tokens *t = &a->tokens[i];
        LETHE_TRY(lethe_prompt_tokens(job->lm, p->item[i].prompt, p->item[i].chat, t, err));
        if (!t->n || t->n >= ctx)
            return lethe_fail(err, LETHE_USAGE,
                              "prompt %zu (\"%.60s\") is %zu tokens long, the context %zu: raise "
                              "--ctx-len or shorten it",
                              i, p->item[i].prompt, t->n, ctx);
    }
    return LETHE_OK;
}

static lethe_status make_result(const lethe_prompts *p, lethe_eval_result *r, lethe_err *err) {
    LETHE_TRY(lethe_zalloc(&r->completion, p->n, sizeof *r->completion, "completions", err));
    r->n_completions = p->n;
    for (size_t i = 0; i < p->n; i++) {
        lethe_eval_completion *c = &r->completion[i];
        c->prompt = lethe_strdup(p->item[i].prompt);
        c->domain = lethe_strdup(p->item[i].domain);
        c->chat = p->item[i].chat;
        if (!c->prompt || !c->domain) return lethe_fail(err, LETHE_NOMEM, "out of memory: prompts");
    }
    return LETHE_OK;
}

/* Takes the answers' texts over. */
static lethe_status collect(lethe_eval_result *r, lethe_answers *a, lethe_eval_side side,
                            lethe_err *err) {
    lethe_eval_quality *mean = &r->quality[side];
    for (size_t i = 0; i < a->n; i++) {
        lethe_eval_completion *c = &r->completion[i];
        lethe_text_quality *q = &c->quality[side];
        c->text[side] = a->text[side][i];
        a->text[side][i] = NULL;
        LETHE_TRY(lethe_text_judge(c->text[side], strlen(c->text[side]), q, err));
        mean->distinct_2 += q->distinct_2;
        mean->distinct_3 += q->distinct_3;
        mean->stuttering_rate += q->stutters;
        mean->degeneration_rate += q->degenerate;
    }
    mean->distinct_2 /= (double)a->n;
    mean->distinct_3 /= (double)a->n;
    mean->stuttering_rate /= (double)a->n;
    mean->degeneration_rate /= (double)a->n;
    return LETHE_OK;
}

lethe_status lethe_eval_run_completions(const lethe_eval_job *job, const lethe_prompts *p,
                                        lethe_err *err) {
    lethe_answers a = {0};
    lethe_status st = make_result(p, job->result, err);
    if (st == LETHE_OK) st = prompts_fill(job, p, &a, err);
    int sides = job->ablation ? LETHE_SIDES : 1;
    for (int s = 0; s < sides && st == LETHE_OK; s++) {
        st = lethe_answers_run(job, &a, (lethe_eval_side)s, &job->opts->sampling,
                               s ? "complete, ablated" : "complete", err);
        if (st == LETHE_OK) st = collect(job->result, &a, (lethe_eval_side)s, err);
    }
    lethe_answers_free(&a);
    return st;
}
