/* SPDX-License-Identifier: MIT
 *
 * Which measures are made, and those that follow from what the other parts of the evaluation found:
 * recall, log-probability, perplexity, KL, degeneration, familiarity.
 */
#include <string.h>

#include "format/jsonio.h"
#include "stage/attack.h"
#include "stage/eval_parts.h"
#include "stage/lexicon.h"
#include "stage/mention.h"

/* Those that --measures chooses among; the others cost nothing beside what is done anyway. */
static const char *const choosable[] = {"verbatim", "extraction", "knowledge",
                                        "truth",    "choice",     "familiarity"};
#define CHOOSABLE (sizeof choosable / sizeof *choosable)

bool lethe_eval_wants(const lethe_eval_job *job, const char *name) {
    return lethe_list_names(job->opts->measures, name);
}

lethe_status lethe_eval_check_measures(const char *list, lethe_err *err) {
    if (!strcmp(list, "all") || !strcmp(list, "none")) return LETHE_OK;
    for (const char *p = list; *p;) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        bool known = !n;
        for (size_t i = 0; i < CHOOSABLE; i++)
            known = known || (strlen(choosable[i]) == n && !strncmp(p, choosable[i], n));
        if (!known)
            return lethe_fail(err, LETHE_USAGE,
                              "--measures: no measure \"%.*s\"; there are: verbatim, extraction, "
                              "knowledge, truth, choice, familiarity; or all, or none",
                              (int)n, p);
        p += n;
    }
    return LETHE_OK;
}

lethe_status lethe_eval_measure(const lethe_eval_job *job, const lethe_measure_kind *kind,
                                const char *domain, lethe_measure **out, lethe_err *err) {
    lethe_measure_kind k = *kind;
    if (k.group != LETHE_MEASURE_ATTACK)
        k.group = domain && job->forget && !strcmp(domain, job->forget) ? LETHE_MEASURE_FORGET
                                                                        : LETHE_MEASURE_RETAIN;
    return lethe_measures_open(&job->result->measures, &k, domain, out, err);
}

lethe_status lethe_eval_add_texts(lethe_measure *m, const char *prompt, const char *target,
                                  const char *fact, const double value[LETHE_SIDES],
                                  char *const text[LETHE_SIDES], lethe_err *err) {
    lethe_measure_item *item;
    bool ok = true;
    LETHE_TRY(lethe_measure_add(m, prompt, target, fact, value[0], value[1], &item, err));
    for (int s = 0; s < LETHE_SIDES; s++) {
        if (!text[s]) continue;
        item->more[s] = json_object();
        lethe_json_put(item->more[s], "text", lethe_json_text(text[s], strlen(text[s])), &ok);
    }
    return ok ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: measures");
}

/* ---- probes ---------------------------------------------------------------------------------- */

static lethe_status of_probes(const lethe_eval_job *job, lethe_err *err) {
    static const lethe_measure_kind recall = {.name = "recall", .title = "recall", .unit = "share"},
                                    logprob = {.name = "logprob",
                                               .title = "log-probability a token",
                                               .unit = "nats"};
    const lethe_eval_result *r = job->result;
    for (int pass = 0; pass < 2; pass++) /* so that the table has the recalls together */
        for (size_t i = 0; i < r->n_probes; i++) {
            const lethe_eval_probe *p = &r->probe[i];
            lethe_measure *m;
            LETHE_TRY(lethe_eval_measure(job, pass ? &logprob : &recall, r->domain[p->domain].name,
                                         &m, err));
            double a = pass ? p->logprob[0] : p->recall[0], b = pass ? p->logprob[1] : p->recall[1];
            LETHE_TRY(lethe_measure_add(m, p->prompt, p->target, p->fact, a, b, NULL, err));
        }
    return LETHE_OK;
}

/* ---- text ------------------------------------------------------------------------------------ */

static lethe_status of_text(const lethe_eval_job *job, lethe_err *err) {
    static const lethe_measure_kind kind[] = {
        {.name = "perplexity",
         .title = "perplexity",
         .unit = "perplexity",
         .rises = true,
         .exponential = true},
        {.name = "kl", .title = "KL divergence a token", .unit = "nats", .rises = true},
        {.name = "top1_agreement", .title = "most likely token stays", .unit = "share"}};
    const lethe_eval_text *t = &job->result->text;
    for (int k = 0; k < (job->ablation ? 3 : 1); k++) {
        lethe_measure *m;
        LETHE_TRY(lethe_eval_measure(job, &kind[k], NULL, &m, err));
        for (uint64_t i = 0; i < t->windows; i++) {
            const lethe_eval_window *w = &t->window[i];
            double n = (double)w->tokens;
            double value[3][LETHE_SIDES] = {
                {w->nll[0] / n, w->nll[1] / n}, {0, w->kl / n}, {1, (double)w->same_top / n}};
            lethe_measure_item *item;
            LETHE_TRY(lethe_measure_add(m, NULL, NULL, NULL, value[k][0], value[k][1], &item, err));
            item->weight = n;
        }
    }
    return LETHE_OK;
}

/* ---- completions ----------------------------------------------------------------------------- */

static double quality(const lethe_text_quality *q, int k) {
    return k == 0 ? q->degenerate : k == 1 ? q->stutters : k == 2 ? q->distinct_2 : q->distinct_3;
}

static lethe_status of_completions(const lethe_eval_job *job, lethe_err *err) {
    static const lethe_measure_kind kind[] = {
        {.name = "degeneration", .title = "degeneration", .unit = "share", .rises = true},
        {.name = "stuttering", .title = "stuttering", .unit = "share", .rises = true},
        {.name = "distinct_2", .title = "distinct-2", .unit = "ratio"},
        {.name = "distinct_3", .title = "distinct-3", .unit = "ratio"}};
    const lethe_eval_result *r = job->result;
    for (int k = 0; k < 4; k++) {
        lethe_measure *m;
        LETHE_TRY(lethe_eval_measure(job, &kind[k], NULL, &m, err));
        for (size_t i = 0; i < r->n_completions; i++) {
            const lethe_eval_completion *c = &r->completion[i];
            LETHE_TRY(lethe_measure_add(m, c->prompt, NULL, NULL, quality(&c->quality[0], k),
                                        quality(&c->quality[1], k), NULL, err));
        }
    }
    return LETHE_OK;
}

/* Does the completion name the domain, with a name that the prompt does not have? A lexicon's first
 * class tells, or, without one, the targets of the domain's probes that begin with a capital. */
static lethe_status familiar(const lethe_eval_job *job, const lethe_probes *p,
                             const lethe_lexicon *lexicon, const char *prompt, const char *text,
                             double *out, lethe_err *err) {
    *out = 0;
    if (lexicon) {
        lethe_judge_class class;
        const char *term;
        LETHE_TRY(lethe_lexicon_class(lexicon, prompt, text, &class, &term, err));
        *out = class == LETHE_JUDGE_EXPLICIT;
        return LETHE_OK;
    }
    for (size_t i = 0; p && i < p->n && *out == 0; i++) {
        const lethe_probe *q = &p->item[i];
        const char *name = q->target + strspn(q->target, " ");
        if (strcmp(p->domain[q->domain], job->forget) != 0 || *name < 'A' || *name > 'Z') continue;
        *out = lethe_text_mentions(text, name, false) && !lethe_text_mentions(prompt, name, true);
    }
    return LETHE_OK;
}

static lethe_status of_familiarity(const lethe_eval_job *job, const lethe_probes *probes,
                                   const lethe_lexicon *lexicon, lethe_err *err) {
    static const lethe_measure_kind kind = {
        .name = "familiarity", .title = "completions that name the domain", .unit = "share"};
    const lethe_eval_result *r = job->result;
    for (size_t i = 0; i < r->n_completions; i++) {
        const lethe_eval_completion *c = &r->completion[i];
        lethe_measure *m;
        if (strcmp(c->domain, job->forget) != 0) continue;
        LETHE_TRY(lethe_eval_measure(job, &kind, c->domain, &m, err));
        double value[LETHE_SIDES] = {0};
        for (int s = 0; s < LETHE_SIDES; s++)
            if (c->text[s])
                LETHE_TRY(familiar(job, probes, lexicon, c->prompt, c->text[s], &value[s], err));
        LETHE_TRY(lethe_eval_add_texts(m, c->prompt, NULL, NULL, value, c->text, err));
    }
    return LETHE_OK;
}

lethe_status lethe_eval_measure_found(const lethe_eval_job *job, const lethe_probes *probes,
                                      const struct lethe_lexicon *lexicon, lethe_err *err) {
    const lethe_eval_result *r = job->result;
    if (r->has_probes) LETHE_TRY(of_probes(job, err));
    if (r->has_text) LETHE_TRY(of_text(job, err));
    if (r->has_completions) LETHE_TRY(of_completions(job, err));
    if (r->has_completions && (probes || lexicon) && job->forget &&
        lethe_eval_wants(job, "familiarity"))
        LETHE_TRY(of_familiarity(job, probes, lexicon, err));
    return LETHE_OK;
}
