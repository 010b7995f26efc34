/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "stage/eval_parts.h"

typedef struct prompts {
    lethe_tokens *tokens; /* [n] */
    lethe_seq *seq;       /* [n], views of tokens */
    lethe_strbuf *text;   /* [n] completions */
    size_t n;
} prompts;

static void prompts_free(prompts *b) {
    for (size_t i = 0; b->tokens && i < b->n; i++) lethe_tokens_free(&b->tokens[i]);
    for (size_t i = 0; b->text && i < b->n; i++) lethe_strbuf_free(&b->text[i]);
    lethe_free(b->tokens);
    lethe_free(b->seq);
    lethe_free(b->text);
}

static lethe_status prompts_fill(const lethe_eval_job *job, const lethe_prompts *p, prompts *b,
                                 lethe_err *err) {
    b->n = p->n;
    LETHE_TRY(lethe_zalloc(&b->tokens, p->n, sizeof *b->tokens, "tokens of the prompts", err));
    LETHE_TRY(lethe_zalloc(&b->text, p->n, sizeof *b->text, "completions", err));
    LETHE_TRY(lethe_alloc(&b->seq, p->n, sizeof *b->seq, "tokens of the prompts", err));
    size_t ctx = lethe_lm_ctx_len(job->lm);
    for (size_t i = 0; i < p->n; i++) {
        lethe_tokens *t = &b->tokens[i];
        LETHE_TRY(lethe_prompt_tokens(job->lm, p->item[i].prompt, p->item[i].chat, t, err));
        if (!t->n || t->n >= ctx)
            return lethe_fail(err, LETHE_USAGE,
                              "prompt %zu (\"%.60s\") is %zu tokens long, the context %zu: raise "
                              "--ctx-len or shorten it",
                              i, p->item[i].prompt, t->n, ctx);
        b->seq[i] = (lethe_seq){t->id, t->n};
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

typedef struct watch {
    const lethe_eval_job *job;
    lethe_eval_side side;
    uint64_t tokens;
} watch;

static bool on_token(void *user, size_t seq, int32_t token, const char *piece) {
    watch *w = user;
    (void)seq;
    (void)token;
    (void)piece;
    w->tokens++;
    lethe_report_progress(
        w->job->env,
        &(lethe_progress){.stage = w->side == LETHE_BASELINE ? "complete" : "complete, ablated",
                          .done = (double)w->tokens,
                          .unit = "tokens",
                          .detail = ""});
    return !lethe_stop_requested();
}

/* A generation may end in the middle of a character: its bytes become U+FFFD, so that the text is
 * valid UTF-8 wherever it goes. NUL, which a C string cannot hold, becomes U+FFFD as well. */
static lethe_status clean(const lethe_strbuf *b, char **out, lethe_err *err) {
    lethe_strbuf t = {0};
    const char *s = lethe_strbuf_str(b);
    for (size_t i = 0; i < b->len;) {
        size_t good = lethe_utf8_valid_prefix(s + i, b->len - i), text = strnlen(s + i, good);
        lethe_strbuf_add(&t, s + i, text);
        i += text;
        if (i < b->len) {
            lethe_strbuf_adds(&t, "\xef\xbf\xbd");
            i++;
        }
    }
    *out = t.status == LETHE_OK ? lethe_strdup(lethe_strbuf_str(&t)) : NULL;
    lethe_strbuf_free(&t);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: completions");
}

static lethe_status generate(const lethe_eval_job *job, prompts *b, lethe_eval_side side,
                             lethe_err *err) {
    watch w = {job, side, 0};
    LETHE_TRY(lethe_eval_switch(job, side, err));
    /* In one call: a sequence's random stream is seeded with its index. */
    LETHE_TRY(
        lethe_lm_generate(job->lm, b->seq, b->n, &job->opts->sampling, b->text, on_token, &w, err));
    LETHE_TRY(lethe_eval_stop(err));
    lethe_report_progress(
        job->env,
        &(lethe_progress){.stage = side == LETHE_BASELINE ? "complete" : "complete, ablated",
                          .done = (double)w.tokens,
                          .total = (double)w.tokens,
                          .unit = "tokens",
                          .detail = "",
                          .finished = true});
    return LETHE_OK;
}

static lethe_status collect(lethe_eval_result *r, prompts *b, lethe_eval_side side,
                            lethe_err *err) {
    lethe_eval_quality *mean = &r->quality[side];
    for (size_t i = 0; i < b->n; i++) {
        lethe_eval_completion *c = &r->completion[i];
        lethe_text_quality *q = &c->quality[side];
        LETHE_TRY(clean(&b->text[i], &c->text[side], err));
        lethe_strbuf_clear(&b->text[i]);
        LETHE_TRY(lethe_text_judge(c->text[side], strlen(c->text[side]), q, err));
        mean->distinct_2 += q->distinct_2;
        mean->distinct_3 += q->distinct_3;
        mean->stuttering_rate += q->stutters;
        mean->degeneration_rate += q->degenerate;
    }
    mean->distinct_2 /= (double)b->n;
    mean->distinct_3 /= (double)b->n;
    mean->stuttering_rate /= (double)b->n;
    mean->degeneration_rate /= (double)b->n;
    return LETHE_OK;
}

lethe_status lethe_eval_run_completions(const lethe_eval_job *job, const lethe_prompts *p,
                                        lethe_err *err) {
    prompts b = {0};
    lethe_status st = make_result(p, job->result, err);
    if (st == LETHE_OK) st = prompts_fill(job, p, &b, err);
    int sides = job->ablation ? LETHE_SIDES : 1;
    for (int s = 0; s < sides && st == LETHE_OK; s++) {
        st = generate(job, &b, (lethe_eval_side)s, err);
        if (st == LETHE_OK) st = collect(job->result, &b, (lethe_eval_side)s, err);
    }
    prompts_free(&b);
    return st;
}
