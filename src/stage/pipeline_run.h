/* SPDX-License-Identifier: MIT
 *
 * run.json and what the stages share; private to the pipeline.
 */
#ifndef LETHE_STAGE_PIPELINE_RUN_H
#define LETHE_STAGE_PIPELINE_RUN_H

#include "stage/pipeline.h"

/* Fingerprint of a JSON object (moved), by its sorted text. */
lethe_status lethe_run_key(json_t *object, char out[LETHE_HASH_HEX], lethe_err *err);

/* True when stage `name` is recorded with this key and `file` of the run exists. */
bool lethe_run_done(const lethe_pipeline *p, const char *name, const char *key, const char *file);

/* The figures recorded with a stage; borrowed, NULL when there are none. */
const json_t *lethe_run_figures(const lethe_pipeline *p, const char *name);

/* Records a stage (figures moved) and writes run.json. */
lethe_status lethe_run_record(lethe_pipeline *p, const char *name, const char *key, json_t *figures,
                              lethe_err *err);

/* Opens the corpora of forget, near and retain and takes their fingerprints, once. need_both:
 * forget and retain must be given. */
lethe_status lethe_run_corpora(lethe_pipeline *p, bool need_both, lethe_err *err);

lethe_mix_opts lethe_run_mix_opts(const lethe_pipeline *p);
lethe_harvest_opts lethe_run_harvest_opts(const lethe_pipeline *p);

/* What rows are taken from: model, layer, corpora, windows; new reference. */
json_t *lethe_run_rows_identity(const lethe_pipeline *p);

/* The SAE of the run (or --sae) with its path; checked against model, layer and hook. */
lethe_status lethe_run_sae(const lethe_pipeline *p, lethe_sae *sae, lethe_sae_meta *meta,
                           char hash[LETHE_HASH_HEX], lethe_err *err);

#endif
