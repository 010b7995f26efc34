/* SPDX-License-Identifier: MIT
 *
 * Verbatim memorisation and extraction strength: does the model go on with a text as the text does?
 *
 *   verbatim     ROUGE-L F1 of the greedy continuation of a passage's prompt, as many tokens as the
 *                target has, at most 128, against the target (MUSE, Shi et al. 2024)
 *   extraction   1 - k / n with n the passage's tokens and k the length of the shortest prefix from
 *                which greedy decoding gives the whole rest (Carlini et al. 2023, as in
 *                open-unlearning). Greedy decoding follows the text exactly where each next token
 * is the likeliest after the true ones, so one pass over the text tells: k is the position behind
 * the last token that was not.
 */
#include <string.h>

#include "base/mem.h"
#include "stage/eval_answers.h"
#include "stage/rouge.h"

#define LONGEST 128u

/* ---- verbatim -------------------------------------------------------------------------------- */

typedef struct passages {
    lethe_answers answers;
    lethe_seq *whole;          /* [n] prompt and target */
    lethe_tokens *tokens;      /* [n] what they view */
    size_t *prompt_len;        /* [n] */
    size_t *last[LETHE_SIDES]; /* [n] position behind the last token that was not the likeliest */
    lethe_eval_side side;
    size_t n, n_vocab;
} passages;

static void passages_free(passages *p) {
    lethe_answers_free(&p->answers);
    for (size_t i = 0; p->tokens && i < p->n; i++) lethe_tokens_free(&p->tokens[i]);
    lethe_free(p->tokens);
    lethe_free(p->whole);
    lethe_free(p->prompt_len);
    for (int s = 0; s < LETHE_SIDES; s++) lethe_free(p->last[s]);
}

static lethe_status passages_make(const lethe_eval_job *job, const lethe_questions *q, passages *p,
                                  lethe_err *err) {
    size_t ctx = lethe_lm_ctx_len(job->lm), cut = 0;
    p->n = q->n;
    p->n_vocab = lethe_lm_get_info(job->lm)->n_vocab;
    LETHE_TRY(lethe_zalloc(&p->tokens, q->n, sizeof *p->tokens, "tokens of passages", err));
    LETHE_TRY(lethe_zalloc(&p->whole, q->n, sizeof *p->whole, "tokens of passages", err));
    LETHE_TRY(lethe_zalloc(&p->prompt_len, q->n, sizeof *p->prompt_len, "passages", err));
    for (int s = 0; s < LETHE_SIDES; s++)
        LETHE_TRY(lethe_zalloc(&p->last[s], q->n, sizeof *p->last[s], "passages", err));
    for (size_t i = 0; i < q->n; i++) {
        const lethe_question *one = &q->item[i];
        lethe_probe probe = {.prompt = one->prompt, .target = one->target, .chat = one->chat};
        lethe_tokens *t = &p->tokens[i];
        LETHE_TRY(lethe_probe_tokens(job->lm, &probe, false, t, &p->prompt_len[i], err));
        if (p->prompt_len[i] >= ctx)
            return lethe_fail(err, LETHE_USAGE,
                              "passage %zu (\"%.60s\"): its prompt is %zu tokens long, the context "
                              "%zu: raise --ctx-len or shorten it",
                              i, one->prompt, p->prompt_len[i], ctx);
        if (t->n > ctx) {
            t->n = ctx;
            cut++;
        }
        p->whole[i] = (lethe_seq){t->id, t->n};
    }
    if (cut)
        lethe_log(job->env, LETHE_LOG_WARN,
                  "passages: %zu are longer than the context of %zu tokens and were cut", cut, ctx);
    return LETHE_OK;
}

static lethe_status verbatim_prompts(passages *p, size_t *longest, lethe_err *err) {
    LETHE_TRY(lethe_answers_make(&p->answers, p->n, 1, err));
    *longest = 1;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t j = 0; j < p->prompt_len[i]; j++)
            LETHE_TRY(lethe_tokens_push(&p->answers.tokens[i], p->tokens[i].id[j], err));
        size_t target = p->whole[i].n - p->prompt_len[i];
        if (target > *longest) *longest = target;
    }
    if (*longest > LONGEST) *longest = LONGEST;
    return LETHE_OK;
}

static lethe_status rouge_f1(const char *target, const char *text, double *out, lethe_err *err) {
    lethe_rouge r;
    LETHE_TRY(lethe_rouge_l(target, strlen(target), text, strlen(text), &r, err));
    *out = r.f1;
    return LETHE_OK;
}

/* The target's text as far as the continuation may go, into an emptied buffer. */
static void target_text(const lethe_lm *lm, const passages *p, size_t i, size_t longest,
                        lethe_strbuf *out) {
    size_t first = p->prompt_len[i], n = p->whole[i].n - first;
    lethe_strbuf_clear(out);
    for (size_t j = 0; j < n && j < longest; j++)
        lethe_lm_piece(lm, p->whole[i].token[first + j], false, out);
}

static lethe_status verbatim(const lethe_eval_job *job, const lethe_questions *q, passages *p,
                             lethe_err *err) {
    static const lethe_measure_kind kind = {
        .name = "verbatim_rouge_l", .title = "verbatim, ROUGE-L", .unit = "ratio"};
    lethe_sampling greedy = lethe_sampling_defaults();
    LETHE_TRY(verbatim_prompts(p, &greedy.max_tokens, err));
    for (int s = 0; s < (job->ablation ? LETHE_SIDES : 1); s++)
        LETHE_TRY(lethe_answers_run(job, &p->answers, (lethe_eval_side)s, &greedy,
                                    s ? "verbatim, ablated" : "verbatim", err));
    lethe_strbuf target = {0};
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < q->n && st == LETHE_OK; i++) {
        double value[LETHE_SIDES] = {0};
        char *text[LETHE_SIDES];
        lethe_measure *m;
        target_text(job->lm, p, i, greedy.max_tokens, &target);
        if (target.status != LETHE_OK) st = lethe_fail(err, target.status, "no memory: passages");
        for (int s = 0; s < LETHE_SIDES && st == LETHE_OK; s++) {
            text[s] = p->answers.text[s][i];
            if (text[s]) st = rouge_f1(lethe_strbuf_str(&target), text[s], &value[s], err);
        }
        if (st == LETHE_OK) st = lethe_eval_measure(job, &kind, q->item[i].domain, &m, err);
        if (st == LETHE_OK)
            st = lethe_eval_add_texts(m, q->item[i].prompt, lethe_strbuf_str(&target),
                                      lethe_question_shared_fact(&q->item[i]), value, text, err);
    }
    lethe_strbuf_free(&target);
    return st;
}

/* ---- extraction ------------------------------------------------------------------------------ */

static lethe_status on_logits(void *user, size_t seq, size_t pos, const float *logits,
                              lethe_err *err) {
    passages *p = user;
    int32_t token = p->whole[seq].token[pos + 1];
    (void)err;
    for (size_t i = 0; i < p->n_vocab; i++)
        if (logits[i] > logits[token]) {
            p->last[p->side][seq] = pos + 2;
            break;
        }
    return LETHE_OK;
}

static lethe_status extraction(const lethe_eval_job *job, const lethe_questions *q, passages *p,
                               lethe_err *err) {
    static const lethe_measure_kind kind = {
        .name = "extraction_strength", .title = "extraction strength", .unit = "ratio"};
    lethe_seq *fed = NULL; /* the last token predicts nothing */
    LETHE_TRY(lethe_alloc(&fed, p->n, sizeof *fed, "passages", err));
    for (size_t i = 0; i < p->n; i++) {
        fed[i] = (lethe_seq){p->whole[i].token, p->whole[i].n - 1};
        p->last[0][i] = p->last[1][i] = 1; /* something has to be there to go on from */
    }
    lethe_status st = LETHE_OK;
    for (int s = 0; s < (job->ablation ? LETHE_SIDES : 1) && st == LETHE_OK; s++) {
        p->side = (lethe_eval_side)s;
        st = lethe_eval_switch(job, p->side, err);
        if (st == LETHE_OK) st = lethe_lm_forward(job->lm, fed, p->n, NULL, on_logits, p, err);
    }
    lethe_free(fed);
    for (size_t i = 0; i < p->n && st == LETHE_OK; i++) {
        double n = (double)p->whole[i].n;
        lethe_measure *m;
        st = lethe_eval_measure(job, &kind, q->item[i].domain, &m, err);
        if (st == LETHE_OK)
            st = lethe_measure_add(
                m, q->item[i].prompt, q->item[i].target, lethe_question_shared_fact(&q->item[i]),
                1 - (double)p->last[0][i] / n, 1 - (double)p->last[1][i] / n, NULL, err);
    }
    return st;
}

lethe_status lethe_eval_run_passages(const lethe_eval_job *job, const lethe_questions *q,
                                     lethe_err *err) {
    bool want_verbatim = lethe_eval_wants(job, "verbatim"),
         want_extraction = lethe_eval_wants(job, "extraction");
    if (!q->n || (!want_verbatim && !want_extraction)) return LETHE_OK;
    passages p = {0};
    lethe_status st = passages_make(job, q, &p, err);
    if (st == LETHE_OK && want_verbatim) st = verbatim(job, q, &p, err);
    if (st == LETHE_OK && want_extraction) st = extraction(job, q, &p, err);
    passages_free(&p);
    return st;
}
