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

/* Rows of the corpora of all roles, each once, in the mix's order: x [n, d] and role [n] of up to
 * LETHE_RUN_ROWS rows a call. They come from the training's stored activations where the store
 * holds just these, else from the model. stage: its name, for progress. The corpora are open.
 * Fails: what the model or fn fails with, STOPPED. */
#define LETHE_RUN_ROWS 2048u
typedef lethe_status (*lethe_run_rows_fn)(void *user, const float *x, const uint8_t *role, size_t n,
                                          lethe_err *err);
lethe_status lethe_run_rows(lethe_pipeline *p, const char *stage, lethe_run_rows_fn fn, void *user,
                            lethe_err *err);

/* The same with what each row is: token and position in its window. Rows of a window follow each
 * other with rising positions, of which some may be missing (lethe_harvest_opts). */
typedef struct lethe_run_batch {
    const float *x;                  /* [n, d] */
    const uint8_t *role;             /* [n] */
    const int32_t *token, *position; /* [n] */
    size_t n;                        /* at most LETHE_RUN_ROWS */
} lethe_run_batch;
typedef lethe_status (*lethe_run_batch_fn)(void *user, const lethe_run_batch *b, lethe_err *err);
lethe_status lethe_run_batches(lethe_pipeline *p, const char *stage, lethe_run_batch_fn fn,
                               void *user, lethe_err *err);

/* The SAE of the run (or --sae) with its path; checked against model, layer and hook. */
lethe_status lethe_run_sae(const lethe_pipeline *p, lethe_sae *sae, lethe_sae_meta *meta,
                           char hash[LETHE_HASH_HEX], lethe_err *err);

/* The chosen features of the run (or --features), checked against the SAE they are for. */
lethe_status lethe_run_features(const lethe_pipeline *p, const lethe_sae *sae, const char *sae_hash,
                                lethe_feature_set *out, lethe_err *err);

#endif
