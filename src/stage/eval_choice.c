/* SPDX-License-Identifier: MIT
 *
 * Multiple choice by log-probability (choice.h has the scoring).
 *
 *   by letters  the question, its options behind A. B. C. .., and "Answer:"; what is compared is
 * the log-probability of each letter as the next token. In several orders of the options, evenly
 * spaced among all, so that a model that likes a letter gains nothing: with 4 of 24, each option
 * stands first once. by text     the question alone; compared is each option's own log-probability
 * a token (as acc_norm of evaluation harnesses). For models too small to know letters.
 */
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/choice.h"
#include "stage/eval_parts.h"
#include "stage/probe_batch.h"

/* One question under one order (by letters), or all of one question (by text): `options` probes in
 * a row. */
typedef struct posed {
    lethe_probes probes;
    lethe_probe_batch batch;
    uint8_t *order; /* [orders of all questions, LETHE_CHOICE_OPTIONS] */
    size_t *orders; /* [n questions] */
    size_t *start;  /* [n_orders] first probe under that order */
    size_t n_orders, cap_orders, cap_start;
    double *logprob[LETHE_SIDES]; /* [probes] */
} posed;

static void posed_free(posed *p) {
    lethe_probes_free(&p->probes);
    lethe_probe_batch_free(&p->batch);
    lethe_free(p->order);
    lethe_free(p->orders);
    lethe_free(p->start);
    for (int s = 0; s < LETHE_SIDES; s++) lethe_free(p->logprob[s]);
}

static lethe_status add(posed *p, const lethe_question *q, const char *prompt, const char *target,
                        lethe_err *err) {
    lethe_probe probe = {.prompt = (char *)(uintptr_t)prompt,
                         .target = (char *)(uintptr_t)target,
                         .fact = q->fact,
                         .chat = q->chat};
    return lethe_probes_add(&p->probes, &probe, err);
}

static lethe_status pose_letters(posed *p, const lethe_question *q, const uint8_t *order,
                                 lethe_strbuf *text, lethe_err *err) {
    lethe_strbuf_clear(text);
    lethe_strbuf_addf(text, "%s\n", q->prompt);
    for (size_t j = 0; j < q->n_options; j++)
        lethe_strbuf_addf(text, "%c. %s\n", (char)('A' + (int)j), q->option[order[j]]);
    lethe_strbuf_adds(text, "Answer:");
    if (text->status != LETHE_OK) return lethe_fail(err, text->status, "out of memory: choices");
    for (size_t j = 0; j < q->n_options; j++) {
        char letter[] = {' ', (char)('A' + (int)j), '\0'};
        LETHE_TRY(add(p, q, lethe_strbuf_str(text), letter + q->chat, err));
    }
    return LETHE_OK;
}

static lethe_status pose_text(posed *p, const lethe_question *q, lethe_strbuf *text,
                              lethe_err *err) {
    for (size_t j = 0; j < q->n_options; j++) {
        lethe_strbuf_clear(text);
        lethe_strbuf_addf(text, "%s%s", q->chat ? "" : " ", q->option[j]);
        if (text->status != LETHE_OK)
            return lethe_fail(err, text->status, "out of memory: choices");
        LETHE_TRY(add(p, q, q->prompt, lethe_strbuf_str(text), err));
    }
    return LETHE_OK;
}

static lethe_status pose(const lethe_eval_job *job, const lethe_questions *q, posed *p,
                         lethe_strbuf *text, lethe_err *err) {
    size_t d;
    LETHE_TRY(lethe_probes_domain(&p->probes, "choice", &d, err));
    LETHE_TRY(lethe_zalloc(&p->orders, q->n, sizeof *p->orders, "choices", err));
    for (size_t i = 0; i < q->n; i++) {
        const lethe_question *one = &q->item[i];
        size_t all = lethe_choice_orders(one->n_options), most = job->opts->choice_orders;
        size_t n = job->opts->choice_by_text ? 1 : !most || most > all ? all : most;
        p->orders[i] = n;
        LETHE_TRY(lethe_grow(&p->order, &p->cap_orders, p->n_orders, p->n_orders + n,
                             LETHE_CHOICE_OPTIONS, "orders of choices", err));
        LETHE_TRY(lethe_grow(&p->start, &p->cap_start, p->n_orders, p->n_orders + n,
                             sizeof *p->start, "orders of choices", err));
        for (size_t r = 0; r < n; r++) {
            p->start[p->n_orders] = p->probes.n;
            uint8_t *order = p->order + LETHE_CHOICE_OPTIONS * p->n_orders++;
            lethe_choice_order(one->n_options, r * all / n, order);
            LETHE_TRY(job->opts->choice_by_text ? pose_text(p, one, text, err)
                                                : pose_letters(p, one, order, text, err));
        }
    }
    return lethe_probe_batch_fill(job->lm, &p->probes, false, &p->batch, err);
}

static size_t group_end(const posed *p, size_t g) {
    return g + 1 < p->n_orders ? p->start[g + 1] : p->batch.n;
}

/* Letters of one order stand behind the same prompt, and each is one token: then one run of the
 * prompt tells the log-probabilities of all. */
static bool share_prompts(const posed *p) {
    const lethe_probe_batch *b = &p->batch;
    for (size_t g = 0; g < p->n_orders; g++) {
        size_t first = p->start[g], n = b->prompt_len[first];
        for (size_t i = first; i < group_end(p, g); i++)
            if (b->prompt_len[i] != n || b->seq[i].n != n + 1 ||
                memcmp(b->seq[i].token, b->seq[first].token, n * sizeof *b->seq[i].token) != 0)
                return false;
    }
    return true;
}

typedef struct shared {
    const posed *p;
    double *logprob;
    size_t n_vocab;
} shared;

static lethe_status on_logits(void *user, size_t seq, size_t pos, const float *logits,
                              lethe_err *err) {
    const shared *s = user;
    (void)err;
    for (size_t i = s->p->start[seq]; i < group_end(s->p, seq); i++)
        s->logprob[i] = lethe_logprob(logits, s->n_vocab, s->p->batch.seq[i].token[pos + 1]);
    return LETHE_OK;
}

static lethe_status score_shared(const lethe_eval_job *job, posed *p, double *logprob,
                                 lethe_err *err) {
    shared s = {p, logprob, lethe_lm_get_info(job->lm)->n_vocab};
    lethe_seq *seq = NULL;
    size_t *first = NULL;
    lethe_status st = lethe_alloc(&seq, p->n_orders, sizeof *seq, "choices", err);
    if (st == LETHE_OK) st = lethe_alloc(&first, p->n_orders, sizeof *first, "choices", err);
    for (size_t g = 0; g < p->n_orders && st == LETHE_OK; g++) {
        size_t i = p->start[g];
        seq[g] = (lethe_seq){p->batch.seq[i].token, p->batch.prompt_len[i]};
        first[g] = p->batch.prompt_len[i] - 1;
    }
    if (st == LETHE_OK) st = lethe_lm_forward(job->lm, seq, p->n_orders, first, on_logits, &s, err);
    lethe_free(seq);
    lethe_free(first);
    return st;
}

static lethe_status score(const lethe_eval_job *job, posed *p, lethe_err *err) {
    bool together = !job->opts->choice_by_text && share_prompts(p);
    for (int s = 0; s < LETHE_SIDES; s++)
        LETHE_TRY(lethe_zalloc(&p->logprob[s], p->batch.n, sizeof *p->logprob[s], "choices", err));
    for (int s = 0; s < (job->ablation ? LETHE_SIDES : 1); s++) {
        LETHE_TRY(lethe_eval_switch(job, (lethe_eval_side)s, err));
        if (together) {
            LETHE_TRY(score_shared(job, p, p->logprob[s], err));
            continue;
        }
        LETHE_TRY(lethe_probe_batch_score(job->lm, &p->batch, s ? "choice, ablated" : "choice",
                                          job->env, err));
        for (size_t i = 0; i < p->batch.n; i++)
            p->logprob[s][i] = p->batch.out[i].sum_logprob / (double)p->batch.out[i].n;
    }
    return LETHE_OK;
}

/* The scores of question q from its log-probabilities l [orders, options]. */
static lethe_status score_one(const lethe_question *q, const double *l, const uint8_t *order,
                              size_t orders, lethe_choice *out, lethe_err *err) {
    uint8_t *packed = NULL; /* [orders, options], as choice.h wants them */
    LETHE_TRY(lethe_alloc(&packed, orders, q->n_options, "orders of choices", err));
    for (size_t r = 0; r < orders; r++)
        memcpy(packed + r * q->n_options, order + r * LETHE_CHOICE_OPTIONS, q->n_options);
    lethe_status st = lethe_choice_score(l, packed, orders, q->n_options, q->answer, out, err);
    lethe_free(packed);
    return st;
}

static lethe_status add_scores(const lethe_eval_job *job, const lethe_question *q,
                               const lethe_choice c[LETHE_SIDES], lethe_err *err) {
    static const lethe_measure_kind accuracy = {.name = "choice_accuracy",
                                                .title = "multiple choice",
                                                .unit = "share"},
                                    strict = {.name = "choice_strict",
                                              .title = "multiple choice, every order",
                                              .unit = "share"};
    lethe_measure *m;
    lethe_measure_item *item;
    bool ok = true;
    LETHE_TRY(lethe_eval_measure(job, &accuracy, q->domain, &m, err));
    LETHE_TRY(lethe_measure_add(m, q->prompt, q->target, lethe_question_shared_fact(q), c[0].mean,
                                c[1].mean, &item, err));
    for (int s = 0; s < LETHE_SIDES; s++) {
        item->more[s] = json_object();
        lethe_json_put(item->more[s], "first_order", json_boolean(c[s].right), &ok);
        lethe_json_put(item->more[s], "probability", lethe_json_real(c[s].probability), &ok);
    }
    if (!ok) return lethe_fail(err, LETHE_NOMEM, "out of memory: measures");
    if (job->opts->choice_by_text) return LETHE_OK; /* no order is shown */
    LETHE_TRY(lethe_eval_measure(job, &strict, q->domain, &m, err));
    return lethe_measure_add(m, q->prompt, q->target, lethe_question_shared_fact(q), c[0].strict,
                             c[1].strict, NULL, err);
}

lethe_status lethe_eval_run_choice(const lethe_eval_job *job, const lethe_questions *q,
                                   lethe_err *err) {
    if (!q->n || !lethe_eval_wants(job, "choice")) return LETHE_OK;
    posed p = {0};
    lethe_strbuf text = {0};
    lethe_status st = pose(job, q, &p, &text, err);
    if (st == LETHE_OK) st = score(job, &p, err);
    for (size_t i = 0, at = 0, order = 0; i < q->n && st == LETHE_OK; i++) {
        const lethe_question *one = &q->item[i];
        lethe_choice c[LETHE_SIDES] = {{0}};
        for (int s = 0; s < (job->ablation ? LETHE_SIDES : 1) && st == LETHE_OK; s++)
            st = score_one(one, p.logprob[s] + at, p.order + LETHE_CHOICE_OPTIONS * order,
                           p.orders[i], &c[s], err);
        if (st == LETHE_OK) st = add_scores(job, one, c, err);
        at += p.orders[i] * one->n_options;
        order += p.orders[i];
    }
    lethe_strbuf_free(&text);
    posed_free(&p);
    return st;
}
