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

#endif
