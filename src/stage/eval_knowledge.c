/* SPDX-License-Identifier: MIT
 *
 * Knowledge memorisation and truth ratio.
 *
 *   knowledge   ROUGE-L F1 of the greedy answer to a question, at most 32 tokens, cut at a blank
 *               line or the next "Question:", against the right answer (MUSE, Shi et al. 2024)
 *   truth       R = exp(-mean loss of the wrong answers) / exp(-loss of the right one), losses per
 *               token (TOFU, Maini et al. 2024, as in open-unlearning). What is reported per item
 * is in [0, 1]: min(R, 1/R) for what is to be forgotten, where 1 means that right and wrong are as
 * likely; max(0, 1 - R) for what is to be kept.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/eval_answers.h"
#include "stage/probe_batch.h"
#include "stage/rouge.h"

#define ANSWER_TOKENS 32u

/* The question as the model is asked it: the user's message, or "Question: ..", with the first
 * `shots` others of the domain and their answers before it. Not owned texts go into *probe; `text`
 * and `turn` keep what was made. */
static lethe_status pose(const lethe_questions *q, size_t i, size_t shots, lethe_strbuf *text,
                         char *turn[LETHE_PROBE_TURNS], lethe_probe *probe, lethe_err *err) {
    const lethe_question *asked = &q->item[i];
    size_t shown = 0;
    lethe_strbuf_clear(text);
    *probe = (lethe_probe){.prompt = asked->prompt, .target = asked->target, .chat = asked->chat};
    probe->turn = turn;
    for (size_t j = 0; j < q->n && shown < shots; j++) {
        const lethe_question *e = &q->item[j];
        if (j == i || e->chat != asked->chat || strcmp(e->domain, asked->domain) != 0 ||
            !strcmp(e->fact, asked->fact))
            continue;
        if (!asked->chat) {
            lethe_strbuf_addf(text, "Question: %s\nAnswer: %s\n\n", e->prompt, e->target);
        } else if (probe->n_turns + 2 <= LETHE_PROBE_TURNS) {
            turn[probe->n_turns++] = e->prompt;
            turn[probe->n_turns++] = e->target;
        }
        shown++;
    }
    if (asked->chat) return LETHE_OK;
    lethe_strbuf_addf(text, "Question: %s\nAnswer:", asked->prompt);
    probe->prompt = (char *)(uintptr_t)lethe_strbuf_str(text);
    return text->status == LETHE_OK ? LETHE_OK
                                    : lethe_fail(err, text->status, "out of memory: questions");
}

/* ---- answers --------------------------------------------------------------------------------- */

static void cut_answer(char *text) {
    char *end = strstr(text, "\n\n"), *next = strstr(text, "\nQuestion");
    if (next && (!end || next < end)) end = next;
    if (end) *end = '\0';
}

static lethe_status judge(const lethe_eval_job *job, const lethe_questions *q,
                          const lethe_answers *a, lethe_err *err) {
    static const lethe_measure_kind kind = {
        .name = "knowledge_rouge_l", .title = "answers, ROUGE-L", .unit = "ratio"};
    for (size_t i = 0; i < q->n; i++) {
        const lethe_question *one = &q->item[i];
        double value[LETHE_SIDES] = {0};
        char *text[LETHE_SIDES];
        for (int s = 0; s < LETHE_SIDES; s++) {
            if (!(text[s] = a->text[s][i])) continue;
            cut_answer(text[s]);
            lethe_rouge r;
            LETHE_TRY(
                lethe_rouge_l(one->target, strlen(one->target), text[s], strlen(text[s]), &r, err));
            value[s] = r.f1;
        }
        lethe_measure *m;
        LETHE_TRY(lethe_eval_measure(job, &kind, one->domain, &m, err));
        LETHE_TRY(lethe_eval_add_texts(m, one->prompt, one->target, lethe_question_shared_fact(one),
                                       value, text, err));
    }
    return LETHE_OK;
}

lethe_status lethe_eval_run_knowledge(const lethe_eval_job *job, const lethe_questions *q,
                                      lethe_err *err) {
    if (!q->n || !lethe_eval_wants(job, "knowledge")) return LETHE_OK;
    lethe_answers a = {0};
    lethe_strbuf text = {0};
    lethe_sampling greedy = lethe_sampling_defaults();
    greedy.max_tokens = ANSWER_TOKENS;
    lethe_status st = lethe_answers_make(&a, q->n, 1, err);
    for (size_t i = 0; i < q->n && st == LETHE_OK; i++) {
        lethe_probe probe;
        char *turn[LETHE_PROBE_TURNS];
        st = pose(q, i, job->opts->shots, &text, turn, &probe, err);
        if (st == LETHE_OK) st = lethe_probe_prompt_tokens(job->lm, &probe, &a.tokens[i], err);
    }
    for (int s = 0; s < (job->ablation ? LETHE_SIDES : 1) && st == LETHE_OK; s++)
        st = lethe_answers_run(job, &a, (lethe_eval_side)s, &greedy,
                               s ? "answers, ablated" : "answers", err);
    if (st == LETHE_OK) st = judge(job, q, &a, err);
    lethe_strbuf_free(&text);
    lethe_answers_free(&a);
    return st;
}

/* ---- truth ratio ----------------------------------------------------------------------------- */

/* Right and wrong answers of all questions that have wrong ones: the right one first. */
static lethe_status pose_all(const lethe_questions *q, lethe_probes *out, lethe_err *err) {
    lethe_strbuf text = {0};
    lethe_status st = LETHE_OK;
    size_t d = 0;
    if (st == LETHE_OK) st = lethe_probes_domain(out, "truth", &d, err);
    for (size_t i = 0; i < q->n; i++) {
        const lethe_question *one = &q->item[i];
        for (size_t j = 0; one->n_options && j <= one->n_options && st == LETHE_OK; j++) {
            lethe_probe probe;
            char *turn[LETHE_PROBE_TURNS];
            lethe_strbuf target = {0};
            st = pose(q, i, 0, &text, turn, &probe, err);
            /* behind "Answer:" comes a blank, which belongs to the answer's first token */
            lethe_strbuf_addf(&target, "%s%s", one->chat ? "" : " ",
                              j ? one->option[j - 1] : one->target);
            probe.target = (char *)(uintptr_t)lethe_strbuf_str(&target);
            if (st == LETHE_OK && target.status != LETHE_OK)
                st = lethe_fail(err, target.status, "out of memory: questions");
            if (st == LETHE_OK) st = lethe_probes_add(out, &probe, err);
            lethe_strbuf_free(&target);
        }
    }
    lethe_strbuf_free(&text);
    return st;
}

/* R of the question whose answers' log-probabilities a token are l[n], the right one first. */
static double truth_ratio(const double *l, size_t n) {
    double wrong = 0;
    for (size_t j = 1; j < n; j++) wrong += l[j];
    return exp(wrong / (double)(n - 1) - l[0]);
}

static lethe_status add_truth(const lethe_eval_job *job, const lethe_question *one,
                              const double ratio[LETHE_SIDES], lethe_err *err) {
    static const lethe_measure_kind forget = {.name = "truth_ratio",
                                              .title = "truth ratio, nearer 1",
                                              .unit = "ratio",
                                              .rises = true},
                                    retain = {.name = "truth_ratio",
                                              .title = "truth ratio, 1 - R",
                                              .unit = "ratio"};
    bool is_forget = job->forget && !strcmp(one->domain, job->forget);
    double value[LETHE_SIDES] = {0};
    lethe_measure_item *item;
    lethe_measure *m;
    bool ok = true;
    for (int s = 0; s < LETHE_SIDES; s++)
        value[s] = is_forget ? fmin(ratio[s], 1 / ratio[s]) : fmax(0, 1 - ratio[s]);
    LETHE_TRY(lethe_eval_measure(job, is_forget ? &forget : &retain, one->domain, &m, err));
    LETHE_TRY(lethe_measure_add(m, one->prompt, one->target, lethe_question_shared_fact(one),
                                value[0], value[1], &item, err));
    for (int s = 0; s < LETHE_SIDES; s++) {
        item->more[s] = json_object();
        lethe_json_put(item->more[s], "ratio", lethe_json_real(ratio[s]), &ok);
    }
    return ok ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: measures");
}

lethe_status lethe_eval_run_truth(const lethe_eval_job *job, const lethe_questions *q,
                                  lethe_err *err) {
    if (!lethe_eval_wants(job, "truth")) return LETHE_OK;
    lethe_probes posed = {0};
    lethe_probe_batch batch = {0};
    double *logprob[LETHE_SIDES] = {NULL};
    lethe_status st = pose_all(q, &posed, err);
    if (st == LETHE_OK) st = lethe_probe_batch_fill(job->lm, &posed, false, &batch, err);
    for (int s = 0; s < LETHE_SIDES && st == LETHE_OK; s++)
        st = lethe_zalloc(&logprob[s], posed.n, sizeof *logprob[s], "scores of answers", err);
    for (int s = 0; s < (job->ablation ? LETHE_SIDES : 1) && st == LETHE_OK && posed.n; s++) {
        st = lethe_eval_switch(job, (lethe_eval_side)s, err);
        if (st == LETHE_OK)
            st = lethe_probe_batch_score(job->lm, &batch, s ? "truth, ablated" : "truth", job->env,
                                         err);
        for (size_t i = 0; i < posed.n && st == LETHE_OK; i++)
            logprob[s][i] = batch.out[i].sum_logprob / (double)batch.out[i].n;
    }
    for (size_t i = 0, at = 0; i < q->n && st == LETHE_OK; i++) {
        size_t n = q->item[i].n_options ? q->item[i].n_options + 1 : 0;
        if (!n) continue;
        double ratio[LETHE_SIDES];
        for (int s = 0; s < LETHE_SIDES; s++) ratio[s] = truth_ratio(logprob[s] + at, n);
        st = add_truth(job, &q->item[i], ratio, err);
        at += n;
    }
    for (int s = 0; s < LETHE_SIDES; s++) lethe_free(logprob[s]);
    lethe_probe_batch_free(&batch);
    lethe_probes_free(&posed);
    return st;
}
