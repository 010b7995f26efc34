/* SPDX-License-Identifier: MIT
 *
 * Perplexity and KL divergence over a text. The baseline's logits of one group of windows are kept
 * while the same group runs ablated: memory is bounded by LOGITS_ROOM whatever the text's length.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "stage/eval_parts.h"
#include "stage/eval_windows.h"

#define LOGITS_ROOM ((size_t)1 << 30) /* bytes */

/* ---- distributions --------------------------------------------------------------------------- */

/* log sum exp, in double. */
static double log_normaliser(const float *logits, size_t n) {
    float top = logits[0];
    for (size_t i = 1; i < n; i++)
        if (logits[i] > top) top = logits[i];
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)top);
    return (double)top + log(sum);
}

/* KL = sum p (log p - log q), log p = logit - log_normaliser. A token with p = 0 adds nothing. */
static double kl_given(const float *p, double zp, const float *q, double zq, size_t n) {
    double kl = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)p[i] - zp, prob = exp(log_p);
        if (prob == 0) continue;
        kl += prob * (log_p - ((double)q[i] - zq));
    }
    return kl;
}

double lethe_kl_divergence(const float *p_logits, const float *q_logits, size_t n) {
    return kl_given(p_logits, log_normaliser(p_logits, n), q_logits, log_normaliser(q_logits, n),
                    n);
}

static size_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* ---- a group of windows ---------------------------------------------------------------------- */

typedef struct group {
    lethe_tokens *window; /* [most] */
    lethe_seq *seq;       /* [most], without the last token, after which nothing is scored */
    size_t n, most, ctx, n_vocab;
    lethe_eval_side side;
    float *base; /* [most, ctx, n_vocab] baseline logits; NULL without an ablation */
    double nll[LETHE_SIDES], kl;
    uint64_t tokens, same_top, read; /* read: windows, of both halves */
    lethe_eval_window *done;         /* [n_done] all groups' windows; this group's come last */
    size_t n_done, cap_done;
} group;

static void group_free(group *g) {
    for (size_t i = 0; g->window && i < g->most; i++) lethe_tokens_free(&g->window[i]);
    lethe_free(g->window);
    lethe_free(g->seq);
    lethe_free(g->base);
    lethe_free(g->done);
}

static lethe_status group_make(const lethe_eval_job *job, group *g, lethe_err *err) {
    const lethe_lm_info *info = lethe_lm_get_info(job->lm);
    size_t limit = lethe_lm_ctx_len(job->lm), row = info->n_vocab * sizeof(float);
    g->n_vocab = info->n_vocab;
    g->ctx = job->opts->text_ctx ? job->opts->text_ctx : limit;
    if (g->ctx > limit || g->ctx < 2)
        return lethe_fail(err, LETHE_USAGE,
                          "windows of %zu tokens for the perplexity: must be 2 to %zu, the context",
                          g->ctx, limit);
    g->most = 1;
    if (job->ablation) {
        size_t rows = LOGITS_ROOM / row;
        if (rows < g->ctx) {
            lethe_log(job->env, LETHE_LOG_WARN,
                      "text: windows of %zu tokens instead of %zu, to hold the logits of one in "
                      "%zu MiB",
                      rows, g->ctx, LOGITS_ROOM >> 20);
            g->ctx = rows;
        }
        g->most = rows / g->ctx;
    }
    size_t n_seq = lethe_lm_n_seq(job->lm);
    if (g->most > n_seq || !job->ablation) g->most = n_seq;
    LETHE_TRY(lethe_zalloc(&g->window, g->most, sizeof *g->window, "windows of text", err));
    LETHE_TRY(lethe_zalloc(&g->seq, g->most, sizeof *g->seq, "windows of text", err));
    if (job->ablation)
        LETHE_TRY(lethe_alloc(&g->base, g->most * g->ctx, row,
                              "logits of a window (a smaller "
                              "--ctx-len needs less)",
                              err));
    return LETHE_OK;
}

/* Logits at position pos predict token pos + 1. */
static lethe_status on_logits(void *user, size_t seq, size_t pos, const float *logits,
                              lethe_err *err) {
    group *g = user;
    (void)err;
    size_t v = g->n_vocab;
    int32_t token = g->window[seq].id[pos + 1];
    double z = log_normaliser(logits, v);
    lethe_eval_window *w = &g->done[g->n_done - g->n + seq];
    g->nll[g->side] += z - (double)logits[token];
    w->nll[g->side] += z - (double)logits[token];
    float *base = g->base ? g->base + (seq * g->ctx + pos) * v : NULL;
    if (g->side == LETHE_BASELINE) {
        g->tokens++;
        w->tokens++;
        if (base) memcpy(base, logits, v * sizeof *base);
    } else {
        double kl = kl_given(base, log_normaliser(base, v), logits, z, v);
        bool same = argmax(base, v) == argmax(logits, v);
        g->kl += kl;
        w->kl += kl;
        g->same_top += same;
        w->same_top += same;
    }
    return LETHE_OK;
}

static lethe_status group_read(group *g, lethe_cutter *c, uint64_t left, lethe_split split,
                               lethe_err *err) {
    for (g->n = 0; g->n < g->most && left;) {
        lethe_tokens *w = &g->window[g->n];
        LETHE_TRY(lethe_cutter_next(c, left, w, err));
        if (!w->n) break;
        if (!lethe_split_has_window(split, g->read++)) continue;
        g->seq[g->n++] = (lethe_seq){w->id, w->n - 1};
        left -= w->n - 1;
    }
    LETHE_TRY(lethe_grow(&g->done, &g->cap_done, g->n_done, g->n_done + g->n, sizeof *g->done,
                         "windows of text", err));
    if (g->n) memset(g->done + g->n_done, 0, g->n * sizeof *g->done); /* done may be NULL */
    g->n_done += g->n;
    return LETHE_OK;
}

static lethe_status group_run(const lethe_eval_job *job, group *g, lethe_err *err) {
    int sides = job->ablation ? LETHE_SIDES : 1;
    for (int s = 0; s < sides; s++) {
        g->side = (lethe_eval_side)s;
        LETHE_TRY(lethe_eval_switch(job, g->side, err));
        LETHE_TRY(lethe_lm_forward(job->lm, g->seq, g->n, NULL, on_logits, g, err));
    }
    return LETHE_OK;
}

/* ---- the whole text -------------------------------------------------------------------------- */

static lethe_status run(const lethe_eval_job *job, group *g, lethe_cutter *c,
                        const lethe_corpus *text, lethe_err *err) {
    uint64_t limit = job->opts->text_tokens ? job->opts->text_tokens : UINT64_MAX;
    for (;;) {
        LETHE_TRY(lethe_eval_stop(err));
        LETHE_TRY(group_read(g, c, limit - g->tokens, job->opts->split, err));
        if (!g->n) break;
        LETHE_TRY(group_run(job, g, err));
        char detail[64];
        snprintf(detail, sizeof detail, "perplexity %.3f",
                 exp(g->nll[LETHE_BASELINE] / (double)g->tokens));
        lethe_report_progress(job->env, &(lethe_progress){.stage = "perplexity",
                                                          .done = (double)g->tokens,
                                                          .total = (double)job->opts->text_tokens,
                                                          .unit = "tokens",
                                                          .detail = detail});
    }
    lethe_report_progress(job->env, &(lethe_progress){.stage = "perplexity",
                                                      .done = (double)g->tokens,
                                                      .total = (double)g->tokens,
                                                      .unit = "tokens",
                                                      .detail = "",
                                                      .finished = true});
    if (!g->tokens)
        return lethe_fail(err, LETHE_FORMAT, "%s: no text in it to measure perplexity on",
                          lethe_corpus_name(text));
    double n = (double)g->tokens;
    lethe_eval_text *t = &job->result->text;
    *t = (lethe_eval_text){.tokens = g->tokens, .windows = g->n_done, .ctx = g->ctx};
    t->perplexity[LETHE_BASELINE] = exp(g->nll[LETHE_BASELINE] / n);
    if (job->ablation) {
        t->perplexity[LETHE_ABLATED] = exp(g->nll[LETHE_ABLATED] / n);
        t->kl = g->kl / n;
        t->top1_agreement = (double)g->same_top / n;
    }
    t->window = g->done; /* theirs now */
    g->done = NULL;
    return LETHE_OK;
}

lethe_status lethe_eval_run_text(const lethe_eval_job *job, lethe_corpus *text, lethe_err *err) {
    group g = {0};
    lethe_cutter *c = NULL;
    lethe_status st = group_make(job, &g, err);
    if (st == LETHE_OK)
        st = lethe_cutter_open(&c, job->lm, text, g.ctx, job->opts->paragraphs, err);
    if (st == LETHE_OK) st = run(job, &g, c, text, err);
    group_free(&g);
    lethe_cutter_close(&c);
    return st;
}
