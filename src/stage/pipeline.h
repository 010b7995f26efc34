/* SPDX-License-Identifier: MIT
 *
 * The stages of a removal, each reading what the last one wrote into the run directory:
 *
 *     text, model -> harvest -> train -> sae.safetensors
 *     text, model, SAE       -> features -> features.json
 *     model, SAE, features   -> eval     -> eval.json
 *     text, model, SAE, features -> patch -> patch.safetensors
 *     model, a patch         -> eval     -> eval.json
 *
 * run.json records configuration, versions and fingerprints. A stage's key is the fingerprint of
 * all that its result depends on; a stage whose result is there with the same key is not done
 * again.
 */
#ifndef LETHE_STAGE_PIPELINE_H
#define LETHE_STAGE_PIPELINE_H

#include "base/hash.h"
#include "stage/calibrate.h"
#include "stage/config.h"
#include "stage/eval.h"
#include "stage/features.h"
#include "stage/train.h"
#include "stage/windows.h"

typedef struct lethe_pipeline {
    lethe_config *config; /* borrowed; settings left open (layer -1, ctx-len 0) are resolved here */
    const lethe_env *env;
    char *dir;      /* the run directory */
    json_t *record; /* run.json */
    lethe_lm *lm;
    lethe_hook hook;
    bool has_patch; /* config->patch was given: what it holds, and its file's fingerprint */
    lethe_patch patch;
    char patch_hash[LETHE_HASH_HEX];
    lethe_corpus *corpus[LETHE_ROLES];
    char corpus_hash[LETHE_ROLES][LETHE_HASH_HEX];
    bool resume_if_possible; /* train: go on from a checkpoint that fits, start again otherwise */
} lethe_pipeline;

/* Opens run directory and model, and the patch of config->patch. Fails: USAGE (settings that make
 * no sense), FORMAT, NOTFOUND, IO, MISMATCH (a patch of another model, layer or hook). */
lethe_status lethe_pipeline_open(lethe_pipeline *p, lethe_config *config, const char *version,
                                 const lethe_env *env, lethe_err *err);
void lethe_pipeline_close(lethe_pipeline *p);

/* The layer for --layer -1: the middle one, 15 of 32. */
int lethe_pipeline_middle_layer(int n_layer);

/* The model's window for --ctx-len: itself, or, if 0, what fits the model. Fails: USAGE, and as
 * lethe_lm_open. */
lethe_status lethe_pipeline_ctx_len(const lethe_config *c, const lethe_env *env, size_t *out,
                                    lethe_err *err);

/* Path of a file of the run; owned. */
lethe_status lethe_pipeline_path(const lethe_pipeline *p, const char *name, char **out,
                                 lethe_err *err);

typedef struct lethe_stage_info {
    bool reused;                         /* the result was there already */
    lethe_corpus_size size[LETHE_ROLES]; /* of what was counted; unknown when reused */
    double seconds;
} lethe_stage_info;

/* Every stage: result as of now, also when reused. */
lethe_status lethe_pipeline_train(lethe_pipeline *p, lethe_train_result *result,
                                  lethe_sae_meta *meta, lethe_stage_info *info, lethe_err *err);
lethe_status lethe_pipeline_features(lethe_pipeline *p, lethe_feature_set *result,
                                     lethe_stage_info *info, lethe_err *err);
lethe_status lethe_pipeline_eval(lethe_pipeline *p, lethe_eval_result *result, lethe_err *err);

/* Calibrates the compact gate of the run's chosen features on its texts and writes the patch to
 * config->to or the run's patch.safetensors; *path: owned. Done whenever it is asked for. */
lethe_status lethe_pipeline_patch(lethe_pipeline *p, lethe_patch *result,
                                  lethe_calibration_result *calibration, char **path,
                                  lethe_err *err);

/* The evaluation as eval.json has it, the settings under config.settings; new reference. */
lethe_status lethe_pipeline_eval_json(const lethe_config *c, const lethe_eval_result *r,
                                      json_t **out, lethe_err *err);

/* Settings as options of the parts. */
lethe_status lethe_pipeline_recipe(const lethe_config *c, lethe_recipe *out, lethe_err *err);
lethe_status lethe_pipeline_train_opts(const lethe_config *c, lethe_train_opts *out,
                                       lethe_err *err);
lethe_status lethe_pipeline_feature_opts(const lethe_config *c, lethe_feature_opts *out,
                                         lethe_err *err);
lethe_status lethe_pipeline_hook(const lethe_config *c, lethe_hook *out, lethe_err *err);

/* "forget  documents  tokens  share" for the given roles. */
void lethe_corpus_table(const lethe_corpus_size size[], size_t ctx_len, lethe_strbuf *out);

#endif
