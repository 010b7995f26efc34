/* SPDX-License-Identifier: MIT
 *
 * A quick measurement, made again and again on one model: a search puts one removal after the other
 * on it and asks each time how much was forgotten and what it cost. Questions and text are
 * tokenised and the baseline is measured once, when the gauge is opened; a run is one pass over a
 * few hundred short sequences and a few thousand tokens of text.
 *
 * The gauge attaches nothing: the caller puts the edits on the model, runs the gauge, and takes
 * them off. So it knows nothing of how something is removed.
 *
 *   forget    recall and mean log-probability of the forget domain's probes
 *   attacks   recall under each (attack.h; all that only need scoring, so not `sampling`)
 *   retain    recall and mean log-probability of all other domains' probes
 *   text      mean KL(p_baseline || p_now) in nats a token, and perplexity
 */
#ifndef LETHE_STAGE_GAUGE_H
#define LETHE_STAGE_GAUGE_H

#include "stage/corpus.h"
#include "stage/split.h"

#define LETHE_GAUGE_ATTACKS 32u /* at most */

typedef struct lethe_gauge_opts {
    lethe_split split;         /* which half of facts and windows; LETHE_SPLIT_ALL */
    const char *forget_domain; /* of the probes; NULL: their first */
    const char *attacks;       /* a list (attack.h); "all" */
    const char *attack_file;   /* or NULL */
    uint64_t seed;             /* of the attacks; 0 */
    size_t forget_items;       /* at most, at even distances; 0: all; 200 */
    size_t attack_items;       /* of each attack; 60 */
    size_t retain_items;       /* of each other domain; 60 */
    uint64_t text_tokens;      /* 3,000; fewer where their logits need more than 512 MiB */
    bool paragraphs;           /* as in lethe_eval_opts; false */
} lethe_gauge_opts;

lethe_gauge_opts lethe_gauge_defaults(void);

typedef struct lethe_gauge_figures {
    double forget_recall, forget_logprob; /* share; nats a token */
    double retain_recall, retain_logprob; /* NaN without other domains */
    double attack_recall[LETHE_GAUGE_ATTACKS];
    double worst_attack;   /* the largest of them and of the plain recall */
    double kl, perplexity; /* NaN without a text; kl of the baseline is 0 */
    bool partial; /* ended before the attacks: those are NaN, worst_attack is the plain recall */
    double seconds;
} lethe_gauge_figures;

/* Asked before the attacks, which take most of the time: is it clear by now that this one is not
 * wanted? worst_attack can only rise. */
typedef bool (*lethe_gauge_enough_fn)(void *user, const lethe_gauge_figures *so_far);

typedef struct lethe_gauge lethe_gauge;

/* Measures the baseline: the model's hooks are cleared. lm is borrowed and must outlive the gauge;
 * probes and text (may be NULL) are read here only. env (may be NULL) is borrowed. Fails: USAGE (no
 * such domain, nothing in this half, a text without tokens), as lethe_attacks_load and
 * lethe_lm_score. One gauge belongs to one thread, the model's. */
lethe_status lethe_gauge_open(lethe_gauge **out, lethe_lm *lm, const lethe_probes *probes,
                              lethe_corpus *text, const lethe_gauge_opts *opts,
                              const lethe_env *env, lethe_err *err);
void lethe_gauge_close(lethe_gauge **g);

const lethe_gauge_figures *lethe_gauge_baseline(const lethe_gauge *g);
size_t lethe_gauge_attacks(const lethe_gauge *g);
const char *lethe_gauge_attack(const lethe_gauge *g, size_t i); /* name; borrowed */
size_t lethe_gauge_items(const lethe_gauge *g);    /* probes and attacks a run scores */
uint64_t lethe_gauge_tokens(const lethe_gauge *g); /* of text */
size_t lethe_gauge_windows(const lethe_gauge *g);  /* that it is read in */

/* Measures the model with the hooks that it has now. enough NULL: all of it. Fails: as
 * lethe_lm_score, STOPPED. */
lethe_status lethe_gauge_run(lethe_gauge *g, lethe_gauge_enough_fn enough, void *user,
                             lethe_gauge_figures *out, lethe_err *err);

/* The KL of the text's first windows alone (SIZE_MAX: of all), with the hooks that the model has
 * now; NaN without a text. Fails as lethe_lm_forward. */
lethe_status lethe_gauge_kl(lethe_gauge *g, size_t windows, double *kl, lethe_err *err);

#endif
