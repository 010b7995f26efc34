/* SPDX-License-Identifier: MIT
 *
 * Recall of the forget domain under attack: attack.h says what the attacks are. The score of a
 * probe is that of the plain one, whether every token of its target was the likeliest; of sampling,
 * it is whether the target's words are in the answer.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/attack.h"
#include "stage/eval_answers.h"
#include "stage/mention.h"
#include "stage/probe_batch.h"

#define SAMPLE_TOKENS 24u

static size_t forget_domain(const lethe_eval_job *job, const lethe_probes *p) {
    for (size_t d = 0; d < p->n_domains; d++)
        if (!strcmp(p->domain[d], job->forget)) return d;
    return SIZE_MAX;
}

/* ---- scored attacks -------------------------------------------------------------------------- */

static lethe_status make(const lethe_eval_job *job, const lethe_probes *probes, const char *file,
                         lethe_probes *out, lethe_err *err) {
    const lethe_eval_opts *o = job->opts;
    size_t left_out;
    LETHE_TRY(lethe_attacks_make(probes, forget_domain(job, probes), o->attacks, o->sampling.seed,
                                 out, err));
    if (file) LETHE_TRY(lethe_attacks_load(file, job->forget, o->attacks, out, err));
    lethe_probes_split(out, o->split);
    lethe_probes_thin(out, o->items);
    LETHE_TRY(lethe_attacks_fit(job->lm, out, &left_out, err));
    if (left_out)
        lethe_log(job->env, LETHE_LOG_WARN,
                  "attacks: %zu questions are longer than the context of %zu tokens, left out",
                  left_out, lethe_lm_ctx_len(job->lm));
    return LETHE_OK;
}

/* What was asked, turns included, for people. */
static lethe_status add_result(lethe_measure *m, const lethe_probe *q, const double recall[],
                               const double logprob[], lethe_err *err) {
    lethe_strbuf said = {0};
    for (size_t i = 0; i < q->n_turns; i++)
        lethe_strbuf_addf(&said, "%s: %s\n", i % 2 ? "assistant" : "user", q->turn[i]);
    lethe_strbuf_adds(&said, q->prompt);
    lethe_status st =
        said.status != LETHE_OK ? lethe_fail(err, said.status, "out of memory: attacks") : LETHE_OK;
    lethe_measure_item *item;
    bool ok = true;
    if (st == LETHE_OK)
        st = lethe_measure_add(m, lethe_strbuf_str(&said), q->target, q->fact, recall[0], recall[1],
                               &item, err);
    lethe_strbuf_free(&said);
    for (int s = 0; s < LETHE_SIDES && st == LETHE_OK; s++) {
        item->more[s] = json_object();
        lethe_json_put(item->more[s], "logprob", lethe_json_real(logprob[s]), &ok);
    }
    return st == LETHE_OK && !ok ? lethe_fail(err, LETHE_NOMEM, "out of memory: attacks") : st;
}

static lethe_status attack_measure(const lethe_eval_job *job, const char *attack, lethe_measure **m,
                                   lethe_err *err) {
    char name[128], title[128];
    snprintf(name, sizeof name, "attack_%s", attack);
    snprintf(title, sizeof title, "recall, %s", attack);
    for (char *c = title; *c; c++)
        if (*c == '_') *c = ' ';
    lethe_measure_kind kind = {
        .group = LETHE_MEASURE_ATTACK, .name = name, .title = title, .unit = "share"};
    return lethe_eval_measure(job, &kind, job->forget, m, err);
}

typedef struct scores {
    double *recall[LETHE_SIDES], *logprob[LETHE_SIDES]; /* [n] */
} scores;

static lethe_status score(const lethe_eval_job *job, lethe_probe_batch *b, scores *r,
                          lethe_err *err) {
    for (int s = 0; s < LETHE_SIDES; s++) {
        LETHE_TRY(lethe_zalloc(&r->recall[s], b->n, sizeof(double), "scores of attacks", err));
        LETHE_TRY(lethe_zalloc(&r->logprob[s], b->n, sizeof(double), "scores of attacks", err));
    }
    for (int s = 0; s < (job->ablation ? LETHE_SIDES : 1); s++) {
        LETHE_TRY(lethe_eval_switch(job, (lethe_eval_side)s, err));
        LETHE_TRY(
            lethe_probe_batch_score(job->lm, b, s ? "attacks, ablated" : "attacks", job->env, err));
        for (size_t i = 0; i < b->n; i++) {
            r->recall[s][i] = b->out[i].all_top1;
            r->logprob[s][i] = b->out[i].sum_logprob / (double)b->out[i].n;
        }
    }
    return LETHE_OK;
}

lethe_status lethe_eval_run_attacks(const lethe_eval_job *job, const lethe_probes *probes,
                                    const char *file, lethe_err *err) {
    lethe_probes made = {0};
    lethe_probe_batch b = {0};
    scores r = {0};
    LETHE_TRY(lethe_attacks_check(job->opts->attacks, file, err));
    lethe_status st = make(job, probes, file, &made, err);
    if (st == LETHE_OK) st = lethe_probe_batch_fill(job->lm, &made, false, &b, err);
    if (st == LETHE_OK) st = score(job, &b, &r, err);
    for (size_t i = 0; i < made.n && st == LETHE_OK; i++) {
        const lethe_probe *q = &made.item[i];
        lethe_measure *m;
        double recall[] = {r.recall[0][i], r.recall[1][i]},
               logprob[] = {r.logprob[0][i], r.logprob[1][i]};
        st = attack_measure(job, made.domain[q->domain], &m, err);
        if (st == LETHE_OK) st = add_result(m, q, recall, logprob, err);
    }
    for (int s = 0; s < LETHE_SIDES; s++) {
        lethe_free(r.recall[s]);
        lethe_free(r.logprob[s]);
    }
    lethe_probe_batch_free(&b);
    lethe_probes_free(&made);
    return st;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* One probe a fact: a chat one where there is one, as an answer is what people ask for. */
static bool chosen(const lethe_probes *p, size_t i) {
    const lethe_probe *q = &p->item[i];
    for (size_t j = 0; j < p->n; j++) {
        const lethe_probe *o = &p->item[j];
        if (j == i || o->domain != q->domain || strcmp(o->fact, q->fact) != 0) continue;
        if ((o->chat && !q->chat) || (o->chat == q->chat && j < i)) return false;
    }
    return true;
}

static lethe_status choose(const lethe_eval_job *job, const lethe_probes *probes, lethe_probes *out,
                           lethe_err *err) {
    size_t domain = forget_domain(job, probes);
    for (size_t i = 0; i < probes->n; i++) {
        lethe_probe q = probes->item[i];
        if (q.domain != domain || !chosen(probes, i)) continue;
        LETHE_TRY(lethe_probes_domain(out, job->forget, &q.domain, err));
        LETHE_TRY(lethe_probes_add(out, &q, err));
    }
    lethe_probes_thin(out, job->opts->items);
    return LETHE_OK;
}

static lethe_status count(const lethe_eval_job *job, const lethe_probes *asked,
                          const lethe_answers *a, lethe_err *err) {
    for (size_t i = 0; i < asked->n; i++) {
        const lethe_probe *q = &asked->item[i];
        double any[LETHE_SIDES] = {0}, share[LETHE_SIDES] = {0};
        char *shown[LETHE_SIDES];
        for (int s = 0; s < LETHE_SIDES; s++) {
            shown[s] = a->text[s][i * a->each];
            for (size_t k = 0; k < a->each; k++) {
                char *text = a->text[s][i * a->each + k];
                if (!text || !lethe_text_mentions(text, q->target, true)) continue;
                if (any[s] == 0) shown[s] = text; /* the first that says it */
                any[s] = 1;
                share[s] += 1 / (double)a->each;
            }
        }
        lethe_measure *m;
        LETHE_TRY(attack_measure(job, "sampling_any", &m, err));
        LETHE_TRY(lethe_eval_add_texts(m, q->prompt, q->target, q->fact, any, shown, err));
        LETHE_TRY(attack_measure(job, "sampling_mean", &m, err));
        LETHE_TRY(
            lethe_measure_add(m, q->prompt, q->target, q->fact, share[0], share[1], NULL, err));
    }
    return LETHE_OK;
}

lethe_status lethe_eval_run_sampling(const lethe_eval_job *job, const lethe_probes *probes,
                                     lethe_err *err) {
    if (!lethe_list_names(job->opts->attacks, LETHE_ATTACK_SAMPLING) || !job->opts->samples)
        return LETHE_OK;
    lethe_probes asked = {0};
    lethe_answers a = {0};
    lethe_sampling s = lethe_sampling_defaults();
    s.temperature = 1;
    s.seed = job->opts->sampling.seed;
    s.max_tokens = SAMPLE_TOKENS;
    lethe_status st = choose(job, probes, &asked, err);
    if (st == LETHE_OK && asked.n) st = lethe_answers_make(&a, asked.n, job->opts->samples, err);
    for (size_t i = 0; i < asked.n && st == LETHE_OK; i++)
        st = lethe_probe_prompt_tokens(job->lm, &asked.item[i], &a.tokens[i], err);
    for (int side = 0; side < (job->ablation ? LETHE_SIDES : 1) && st == LETHE_OK && asked.n;
         side++)
        st = lethe_answers_run(job, &a, (lethe_eval_side)side, &s,
                               side ? "sampling, ablated" : "sampling", err);
    if (st == LETHE_OK) st = count(job, &asked, &a, err);
    lethe_answers_free(&a);
    lethe_probes_free(&asked);
    return st;
}
