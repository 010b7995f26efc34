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
