/* SPDX-License-Identifier: MIT
 *
 * The parts of an evaluation, for eval.c alone. Each fills its section of the result, switching the
 * ablation on and off as it needs.
 */
#ifndef LETHE_STAGE_EVAL_PARTS_H
#define LETHE_STAGE_EVAL_PARTS_H

#include "stage/eval.h"

typedef struct lethe_eval_job {
    lethe_lm *lm;
    lethe_ablation *ablation; /* NULL: baseline alone */
    int layer;
    lethe_hook hook;
    const lethe_eval_opts *opts;
    const lethe_env *env;
    lethe_eval_result *result;
    const char *forget; /* name of the domain; NULL: not known */
} lethe_eval_job;

/* Attaches or detaches the ablation. */
lethe_status lethe_eval_switch(const lethe_eval_job *job, lethe_eval_side side, lethe_err *err);

/* STOPPED when a stop was asked for, OK otherwise. */
lethe_status lethe_eval_stop(lethe_err *err);

lethe_status lethe_eval_run_probes(const lethe_eval_job *job, const lethe_probes *probes,
                                   lethe_err *err);
lethe_status lethe_eval_run_completions(const lethe_eval_job *job, const lethe_prompts *prompts,
                                        lethe_err *err);
lethe_status lethe_eval_run_text(const lethe_eval_job *job, lethe_corpus *text, lethe_err *err);

/* ---- measures -------------------------------------------------------------------------------- */

/* True when the added measure `name` is asked for. */
bool lethe_eval_wants(const lethe_eval_job *job, const char *name);

/* A measure of the job's result in the group of the domain: forget or retain (NULL: retain). */
lethe_status lethe_eval_measure(const lethe_eval_job *job, const lethe_measure_kind *kind,
                                const char *domain, lethe_measure **out, lethe_err *err);

/* Adds an item of two answers: the texts go with the values. */
lethe_status lethe_eval_add_texts(lethe_measure *m, const char *prompt, const char *target,
                                  const char *fact, const double value[LETHE_SIDES],
                                  char *const text[LETHE_SIDES], lethe_err *err);

/* What the other parts found out already, as measures: probes, text, completions. */
lethe_status lethe_eval_measure_found(const lethe_eval_job *job, const lethe_probes *probes,
                                      const struct lethe_lexicon *lexicon, lethe_err *err);

/* verbatim, extraction; knowledge, truth; choice. */
lethe_status lethe_eval_run_passages(const lethe_eval_job *job, const lethe_questions *q,
                                     lethe_err *err);
lethe_status lethe_eval_run_knowledge(const lethe_eval_job *job, const lethe_questions *q,
                                      lethe_err *err);
lethe_status lethe_eval_run_truth(const lethe_eval_job *job, const lethe_questions *q,
                                  lethe_err *err);
lethe_status lethe_eval_run_choice(const lethe_eval_job *job, const lethe_questions *q,
                                   lethe_err *err);

/* All attacks but sampling, and sampling. */
lethe_status lethe_eval_run_attacks(const lethe_eval_job *job, const lethe_probes *probes,
                                    const char *file, lethe_err *err);
lethe_status lethe_eval_run_sampling(const lethe_eval_job *job, const lethe_probes *probes,
                                     lethe_err *err);

#endif
