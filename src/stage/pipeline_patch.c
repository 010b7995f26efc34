/* SPDX-License-Identifier: MIT
 *
 * A removal as a file of its own: the chosen features' rows of the SAE, with thresholds calibrated
 * on the run's texts.
 */
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/pipeline_run.h"

static lethe_status add_rows(void *user, const float *x, const uint8_t *role, size_t n,
                             lethe_err *err) {
    (void)role;
    return lethe_calibration_add(user, x, n, err);
}

static lethe_status calibrate(lethe_pipeline *p, const lethe_sae *sae, lethe_patch *patch,
                              lethe_calibration_result *r, lethe_err *err) {
    lethe_calibration *c = NULL;
    LETHE_TRY(lethe_calibration_open(&c, sae, patch, 0, 0, err));
    lethe_status st = lethe_run_rows(p, "patch", add_rows, c, err);
    if (!st) st = lethe_calibration_finish(c, patch->threshold, r, err);
    lethe_calibration_close(&c);
    return st;
}

/* The guard's threshold, of the compact gate with the thresholds it has by now. */
static lethe_status calibrate_guard(lethe_pipeline *p, lethe_patch *patch, lethe_err *err) {
    lethe_ablation *a;
    LETHE_TRY(lethe_ablation_open_patch(&a, patch, err));
    lethe_status st =
        lethe_pipeline_guard(p, a, patch->layer, patch->hook, 0, &patch->how.guard_threshold, err);
    lethe_ablation_close(&a);
    return st;
}

/* The features' rows and all that the patch says of itself, but for thresholds and figures. */
static lethe_status take(const lethe_pipeline *p, const lethe_sae *sae, const char *sae_hash,
                         const lethe_intervention *how, lethe_patch *out, lethe_err *err) {
    lethe_feature_set set = {0};
    int32_t *index = NULL;
    float *mean = NULL, *evidence = NULL;
    LETHE_TRY(lethe_run_features(p, sae, sae_hash, &set, err));
    lethe_status st = lethe_feature_set_indices(&set, &index, err);
    if (!st) st = lethe_feature_set_means(&set, &mean, err);
    if (!st) st = lethe_feature_set_evidence(&set, &evidence, err);
    if (!st) st = lethe_patch_from_sae(out, sae, index, set.n, err);
    if (!st) memcpy(out->mean, mean, set.n * sizeof *mean);
    if (!st) memcpy(out->evidence, evidence, set.n * 2 * sizeof *evidence);
    lethe_free(index);
    lethe_free(mean);
    lethe_free(evidence);
    lethe_feature_set_free(&set);
    if (st) return st;
    const lethe_lm_info *info = lethe_lm_get_info(p->lm);
    memcpy(out->model_name, info->name, sizeof out->model_name);
    memcpy(out->model_hash, info->hash, sizeof out->model_hash);
    memcpy(out->sae_hash, sae_hash, sizeof out->sae_hash);
    out->layer = (int)p->config->layer;
    out->hook = p->hook;
    out->how = *how;
    out->special = p->config->special_too;
    return LETHE_OK;
}

static lethe_status record(lethe_pipeline *p, const lethe_patch *patch, double seconds,
                           lethe_err *err) {
    /* Always done when asked for, so its key is only a label: the SAE it was taken from. */
    return lethe_run_record(p, "patch", patch->sae_hash,
                            json_pack("{s:I, s:o, s:o, s:o, s:f}", "features", (json_int_t)patch->n,
                                      "agreement", lethe_json_real(patch->figures.agreement),
                                      "precision", lethe_json_real(patch->figures.precision),
                                      "recall", lethe_json_real(patch->figures.recall), "seconds",
                                      seconds),
                            err);
}

lethe_status lethe_pipeline_patch(lethe_pipeline *p, lethe_patch *result,
                                  lethe_calibration_result *calibration, char **path,
                                  lethe_err *err) {
    lethe_sae sae = {0};
    lethe_sae_meta meta;
    lethe_patch patch = {0};
    char sae_hash[LETHE_HASH_HEX], *to = NULL;
    lethe_intervention how;
    bool guard_auto;
    double start = lethe_seconds();
    LETHE_TRY(lethe_pipeline_intervention(p->config, &how, &guard_auto, err));
    LETHE_TRY(lethe_run_corpora(p, true, err));
    LETHE_TRY(lethe_run_sae(p, &sae, &meta, sae_hash, err));
    lethe_status st = take(p, &sae, sae_hash, &how, &patch, err);
    if (!st) st = calibrate(p, &sae, &patch, calibration, err);
    lethe_sae_free(&sae);
    if (!st && guard_auto) st = calibrate_guard(p, &patch, err);
    if (!st && p->config->to) {
        to = lethe_strdup(p->config->to);
        if (!to) st = lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    } else if (!st) {
        st = lethe_pipeline_path(p, "patch.safetensors", &to, err);
    }
    if (!st) {
        patch.rows = calibration->rows;
        patch.figures = calibration->figures;
        st = lethe_patch_save(&patch, to, err);
    }
    if (!st) st = record(p, &patch, lethe_seconds() - start, err);
    if (st) {
        lethe_patch_free(&patch);
        lethe_free(to);
        return st;
    }
    *result = patch;
    *path = to;
    return LETHE_OK;
}
