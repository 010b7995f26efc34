/* SPDX-License-Identifier: MIT
 *
 * What the commands share: where a command's settings come from, and printing.
 */
#ifndef LETHE_FRONT_PREPARE_H
#define LETHE_FRONT_PREPARE_H

#include <jansson.h>

#include "front/command.h"
#include "stage/pipeline.h"

/* config.out = runs/NAME, for a command line without --out. */
lethe_status lethe_default_out(lethe_invocation *in, lethe_err *err);

/* Completes the settings of a command that works in a run directory: --config FILE, or the run's
 * own run.json, or, without --model, the embedded default; with one --patch FILE, layer, hook,
 * method and the rule for special positions are the patch's unless the command line has them. Sets
 * config.out; makes paths absolute, so that run.json holds wherever it is read. */
lethe_status lethe_prepare_run(lethe_invocation *in, lethe_err *err);

/* prepare_run and the pipeline in one. */
lethe_status lethe_prepare_pipeline(lethe_invocation *in, lethe_pipeline *p, lethe_err *err);

/* A model with its removal, for commands that talk with them instead of making them. */
typedef struct lethe_use {
    lethe_pipeline pipeline; /* the model is pipeline.lm */
    lethe_removal removal;   /* attached to it, on in every sequence; those of several patches are
                                joined to removal.ablation in the order of config.patch */
} lethe_use;

/* Opens what the command line asks for: patches (--patch FILE..), or an SAE and its features
 * (--sae,
 * --features, or those of the run --out or runs/MODEL), with a model (--model, or the run's); or,
 * where it names none of these, the embedded default with the patch that is shipped beside it. With
 * patches no run is looked at unless --out names one. n_seq sequences at once, of --ctx-len tokens;
 * where that is not given, what the model was trained with, at most 4096. Nothing is written. *u
 * stays where it is until lethe_use_close, as the removal points into it. Fails: USAGE, NOTFOUND,
 * FORMAT, MISMATCH, NOMEM. */
lethe_status lethe_use_open(lethe_use *u, lethe_invocation *in, size_t n_seq, lethe_err *err);
void lethe_use_close(lethe_use *u); /* accepts a zeroed one; zeroes it */

/* Prints a JSON object (moved) on standard output. */
lethe_status lethe_print_json(json_t *object, lethe_err *err);

/* One line about what the encoder's sieve did; nothing for a training that was done before it had
 * one. */
void lethe_print_looks(const lethe_train_result *r);

/* Figures of a finished training, as JSON and as text for people. */
json_t *lethe_train_figures(const lethe_train_result *r);
void lethe_print_training(const lethe_pipeline *p, const lethe_train_result *r,
                          const lethe_stage_info *info);

#endif
