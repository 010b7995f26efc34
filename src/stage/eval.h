/* SPDX-License-Identifier: MIT
 *
 * Does the model still know (forget), and is it otherwise the same (retain)? The baseline against
 * the model with an ablation attached:
 *
 *   probes       mean per-token log-probability of each target, and recall: was every token of the
 *                target the most likely one (top-1)?
 *   completions  of a prompt set, side by side, with distinct-2, distinct-3, stuttering,
 * degeneration text         perplexity, and mean KL(p_baseline || p_ablated) in nats of the
 * next-token distribution over the same positions, and how often the most likely token stays
 *   activity     how often the chosen features fired meanwhile
 *   measures     all of these once more with intervals, and, where their files are given: verbatim
 *                memorisation, extraction strength, knowledge, truth ratio, multiple choice,
 *                familiarity, and recall under attack (docs/evaluation.md)
 *
 * How a text is cut: each document of the corpus (a file, a JSON line; with `paragraphs`, each
 * piece between blank lines) into windows of up to ctx_len tokens, each starting with BOS if the
 * model wants one. BOS is not scored; every other token is scored once. Without BOS a window begins
 * with the last token of the one before, for context, so only a document's very first token goes
 * unscored.
 */
#ifndef LETHE_STAGE_EVAL_H
#define LETHE_STAGE_EVAL_H

#include <jansson.h>

#include "stage/ablate.h"
#include "stage/corpus.h"
#include "stage/measure.h"
#include "stage/probes.h"
#include "stage/questions.h"
#include "stage/split.h"
#include "stage/textmetrics.h"

/* All borrowed; NULL leaves that part out. */
typedef struct lethe_eval_inputs {
    const lethe_probes *probes;
    const lethe_prompts *prompts;
    lethe_corpus *text; /* retain text for perplexity and KL; read from its start */
    const lethe_questions *passages, *knowledge, *choice;
    const char *attack_file;             /* attack.h */
    const struct lethe_lexicon *lexicon; /* for familiarity; NULL: the forget domain's targets */
} lethe_eval_inputs;

typedef struct lethe_eval_opts {
    lethe_sampling sampling;   /* of the completions; greedy, 64 tokens */
    bool reference_tokens;     /* probes tokenised as in the reference experiment */
    uint64_t text_tokens;      /* most tokens of text to score; 0: all; 20,000 */
    size_t text_ctx;           /* window of the text; 0: the model's ctx_len */
    bool paragraphs;           /* blank lines part documents; false: a file is one stream */
    bool special_too;          /* ablate at BOS and other special positions, too; false */
    lethe_split split;         /* of the text; the caller splits probes and questions; all */
    const char *forget_domain; /* borrowed; NULL: the probes' first */
    const char *measures;      /* of the added ones: names with commas between, all, none; "all" */
    const char *attacks;       /* a list (attack.h), on the forget domain's probes; "none" */
    size_t items;              /* at most of an attack; 0: all; 100 */
    size_t samples;            /* answers to a question in the attack "sampling"; 8 */
    size_t shots;              /* questions shown with their answers before one asked; 0 */
    bool choice_by_text;       /* score the options' own words; false: letters behind a list */
    size_t choice_orders;      /* orders a list is shown in; 0: all; 4 */
} lethe_eval_opts;

lethe_eval_opts lethe_eval_defaults(void);

typedef struct lethe_eval_probe {
    size_t domain;
    char *prompt, *target, *fact;
    bool chat;
    size_t tokens; /* of the target, as scored */
    double logprob[LETHE_SIDES];
    bool recall[LETHE_SIDES];
} lethe_eval_probe;

typedef struct lethe_eval_domain {
    char *name;
    size_t n;
    double logprob[LETHE_SIDES]; /* mean over items of the mean per-token log-probability */
    double recall[LETHE_SIDES];  /* share of items */
} lethe_eval_domain;

typedef struct lethe_eval_completion {
    char *prompt, *domain;
    bool chat;
    char *text[LETHE_SIDES]; /* NUL-terminated, valid UTF-8 */
    lethe_text_quality quality[LETHE_SIDES];
} lethe_eval_completion;

typedef struct lethe_eval_quality { /* means over the completions */
    double distinct_2, distinct_3, stuttering_rate, degeneration_rate;
} lethe_eval_quality;

typedef struct lethe_eval_window { /* sums over its tokens */
    uint64_t tokens, same_top;
    double nll[LETHE_SIDES], kl;
} lethe_eval_window;

typedef struct lethe_eval_text {
    uint64_t tokens; /* scored */
    uint64_t windows;
    size_t ctx;                     /* window in effect */
    double perplexity[LETHE_SIDES]; /* exp of the mean negative log-probability */
    double kl;                      /* nats a token */
    double top1_agreement;          /* share of positions */
    lethe_eval_window *window;      /* [windows] */
} lethe_eval_text;

typedef struct lethe_eval_removal {
    int layer;
    lethe_hook hook;
    bool compact, special_too;
    size_t num_features;
    lethe_intervention how;
} lethe_eval_removal;

/* Owned throughout; figures of LETHE_ABLATED are 0 without an ablation. */
typedef struct lethe_eval_result {
    char model_name[128], model_hash[33];
    bool has_ablation, has_probes, has_completions, has_text;
    bool compact; /* the ablation's gate */
    int layer;
    lethe_hook hook;
    lethe_intervention how;
    size_t num_features;
    lethe_eval_removal *removal; /* [n_removals] those joined to the ablation, itself first */
    size_t n_removals;
    lethe_eval_opts opts;
    lethe_eval_domain *domain; /* [n_domains] */
    size_t n_domains;
    lethe_eval_probe *probe; /* [n_probes] */
    size_t n_probes;
    lethe_eval_completion *completion; /* [n_completions] */
    size_t n_completions;
    lethe_eval_quality quality[LETHE_SIDES];
    lethe_eval_text text;
    lethe_measures measures;
    char *forget_domain;       /* NULL: there are no probes to tell */
    lethe_hook_stats activity; /* the whole evaluation, and its parts: */
    lethe_hook_stats activity_probes, activity_completions, activity_text;
    double seconds;
} lethe_eval_result;

/* USAGE where opts->measures names one that there is not. */
lethe_status lethe_eval_check_measures(const char *list, lethe_err *err);

/* Runs what the inputs ask for. ablation NULL: the baseline alone. The model's hooks are cleared
 * before and after, and the ablation's statistics start from zero. Fails: USAGE (nothing to do, a
 * probe longer than the model's context), MISMATCH (the SAE is of another width), FORMAT (no chat
 * template, no text), STOPPED, NOMEM. */
lethe_status lethe_eval_run(lethe_lm *lm, lethe_ablation *ablation, int layer, lethe_hook hook,
                            const lethe_eval_inputs *inputs, const lethe_eval_opts *opts,
                            const lethe_env *env, lethe_eval_result *result, lethe_err *err);
void lethe_eval_result_free(lethe_eval_result *r); /* accepts a zeroed one; zeroes it */

/* KL(p || q) in nats of the distributions softmax(p_logits) and softmax(q_logits) over n tokens, in
 * double. */
double lethe_kl_divergence(const float *p_logits, const float *q_logits, size_t n);

/* eval.json:
 *   config    what was evaluated and how, method, strength and guard among it, and removals, each
 *             with its own, where several were joined; keys of `config` (borrowed, an object or
 *             NULL) are added
 *   metrics   baseline and ablated (null without an ablation): logprobs.{domain}, recall.{domain},
 *             avg_distinct_2, avg_distinct_3, stuttering_rate, degeneration_rate, perplexity;
 *             summary: logprob_shifts.{domain}, recall_shifts.{domain}, ppl_change,
 *             ppl_change_percent, kl_retain, top1_agreement, hook_activity
 *             intervals: baseline, ablated and summary once more, {mean, low, high} at the end of
 *             each path
 *   measures  list of all measures: measure.h
 *   side_by_side   prompt, domain, chat, baseline, ablated, and their distinct-n and verdicts
 *   probes         item by item
 * Parts that were not run are absent; figures that are not finite are null. *out is owned. */
lethe_status lethe_eval_json(const lethe_eval_result *r, json_t *config, json_t **out,
                             lethe_err *err);
lethe_status lethe_eval_save(const lethe_eval_result *r, json_t *config, const char *path,
                             lethe_err *err);

/* The table for people. */
void lethe_eval_table(const lethe_eval_result *r, lethe_strbuf *out);

/* Prompt, baseline and ablated of the first `n` completions (0: all), as text for people. */
void lethe_eval_side_by_side(const lethe_eval_result *r, size_t n, lethe_strbuf *out);

#endif
