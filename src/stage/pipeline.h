/* SPDX-License-Identifier: MIT
 *
 * The stages of a removal, each reading what the last one wrote into the run directory:
 *
 *     text, model -> harvest -> train -> sae.safetensors
 *     text, model, SAE       -> features -> features.json
 *     model, SAE, features   -> eval     -> eval.json, and with a lexicon judge.json
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
#include "stage/inspect.h"
#include "stage/train.h"
#include "stage/windows.h"

typedef struct lethe_pipeline {
    lethe_config *config; /* borrowed; settings left open (layer -1, ctx-len 0) are resolved here */
    const lethe_env *env;
    char *dir;      /* the run directory */
    json_t *record; /* run.json */
    lethe_lm *lm;
    lethe_hook hook;
    lethe_patch *patch; /* [n_patches] of config->patch, and their files' fingerprints */
    char (*patch_hash)[LETHE_HASH_HEX];
    size_t n_patches;
    lethe_corpus *corpus[LETHE_ROLES];
    char corpus_hash[LETHE_ROLES][LETHE_HASH_HEX];
    bool borrows_lm;         /* of another pipeline: not closed with this one */
    bool resume_if_possible; /* train: go on from a checkpoint that fits, start again otherwise */
} lethe_pipeline;

/* Opens run directory and model, and the patches of config->patch. Fails: USAGE (settings that make
 * no sense), FORMAT, NOTFOUND, IO, MISMATCH (a patch of another model, layer or hook). */
lethe_status lethe_pipeline_open(lethe_pipeline *p, lethe_config *config, const char *version,
                                 const lethe_env *env, lethe_err *err);
void lethe_pipeline_close(lethe_pipeline *p);

/* Model and patches alone, for who uses a removal: config->out is at most read from, nothing is
 * written and record stays NULL, so no stage can be run. n_seq sequences at once, of
 * config->ctx_len tokens (0: what lethe_lm_open takes). Fails: as lethe_pipeline_open. */
lethe_status lethe_pipeline_open_model(lethe_pipeline *p, lethe_config *config, size_t n_seq,
                                       const lethe_env *env, lethe_err *err);

/* Another run directory, config->out, on a pipeline's open model: settings of its own (borrowed),
 * the layer and window given. Close it before `from`. Fails: as lethe_pipeline_open. */
lethe_status lethe_pipeline_branch(lethe_pipeline *p, const lethe_pipeline *from,
                                   lethe_config *config, lethe_err *err);

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

/* Cards of the chosen features, written to cards.json (*saved); with config->feature of a feature
 * that is not chosen, of this one alone, not written. Done whenever it is asked for. */
lethe_status lethe_pipeline_inspect(lethe_pipeline *p, lethe_cards *result, bool *saved,
                                    lethe_err *err);

/* The evaluation as eval.json has it, the settings under config.settings; new reference. */
lethe_status lethe_pipeline_eval_json(const lethe_config *c, const lethe_eval_result *r,
                                      json_t **out, lethe_err *err);

/* ---- choosing features again and again ------------------------------------------------------- */

/* Statistics of an SAE's latents on each of the run's texts; of near only where there is such text.
 */
typedef struct lethe_role_counts {
    lethe_feature_counts role[LETHE_ROLES];
} lethe_role_counts;
void lethe_role_counts_free(lethe_role_counts *c); /* accepts a zeroed one; zeroes it */

/* One pass over the texts. The SAE belongs to config->layer. */
lethe_status lethe_pipeline_counts(lethe_pipeline *p, const lethe_sae *sae, lethe_role_counts *out,
                                   lethe_err *err);

/* The features that opts choose from them; select effect runs the model, the others are a matter of
 * milliseconds. With lethe_ablation_open_set, or lethe_ablation_choose_set on one that is open, and
 * lethe_ablation_set this is all that a search over removals needs: model, SAE and statistics stay
 * open. Neither the SAE's description nor its fingerprint is filled in. Fails: as
 * lethe_features_select and lethe_effect_measure. */
lethe_status lethe_pipeline_choose(lethe_pipeline *p, const lethe_sae *sae,
                                   const lethe_role_counts *counts, const lethe_feature_opts *opts,
                                   lethe_feature_set *out, lethe_err *err);

/* ---- the removal, for who evaluates or uses it ----------------------------------------------- */

/* What a removal is made of, kept as long as it is used, and where it is: the ablation points into
 * it. */
typedef struct lethe_removal {
    lethe_ablation *ablation; /* goes to config->layer and p->hook; others are joined to it */
    lethe_sae sae;            /* of the exact gate; empty with patches */
    lethe_feature_set features;
    char hash[LETHE_HASH_HEX]; /* of what it was taken from */
} lethe_removal;

/* The run's SAE and features with the exact gate, done as the settings say; or the patches of the
 * pipeline, which must outlive it: a single one done as the settings say (lethe_prepare_run takes
 * those of the patch), several each by itself. Calibrates the guard where it is "auto". */
lethe_status lethe_pipeline_removal(lethe_pipeline *p, lethe_removal *out, lethe_err *err);
void lethe_removal_close(lethe_removal *r); /* accepts a zeroed one; zeroes it */

/* The guard's threshold for this ablation, at this site of the model as it is: the quantile
 * LETHE_GUARD_QUANTILE of what its statistic reaches in the windows of the run's retain text, or of
 * its near text where that is more. At most max_tokens tokens are read (0: LETHE_GUARD_TOKENS). The
 * ablation keeps its intervention; only guard_by and guard_window of it matter. Fails: USAGE (no
 * retain text), STOPPED. */
#define LETHE_GUARD_TOKENS 131072u
lethe_status lethe_pipeline_guard(lethe_pipeline *p, lethe_ablation *a, int layer, lethe_hook hook,
                                  uint64_t max_tokens, double *threshold, lethe_err *err);

/* Settings as options of the parts. guard_auto: guard_threshold is to be calibrated. */
lethe_status lethe_pipeline_intervention(const lethe_config *c, lethe_intervention *out,
                                         bool *guard_auto, lethe_err *err);
/* max_new_tokens 0 is left as it is. Fails: USAGE, naming what is wanted. */
lethe_status lethe_pipeline_sampling(const lethe_config *c, lethe_sampling *out, lethe_err *err);
lethe_status lethe_pipeline_recipe(const lethe_config *c, lethe_recipe *out, lethe_err *err);
lethe_status lethe_pipeline_train_opts(const lethe_config *c, lethe_train_opts *out,
                                       lethe_err *err);
lethe_status lethe_pipeline_feature_opts(const lethe_config *c, lethe_feature_opts *out,
                                         lethe_err *err);
lethe_status lethe_pipeline_hook(const lethe_config *c, lethe_hook *out, lethe_err *err);

/* "forget  documents  tokens  share" for the given roles. */
void lethe_corpus_table(const lethe_corpus_size size[], size_t ctx_len, lethe_strbuf *out);

#endif
