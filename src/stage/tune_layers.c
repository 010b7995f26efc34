/* SPDX-License-Identifier: MIT
 *
 * Which layers are searched, and what a trial on one of them needs: opened when it is first asked
 * for.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stage/pipeline_run.h"
#include "stage/tune_parts.h"

/* Share of --minutes that training SAEs may take. */
#define TRAINING_SHARE 0.45

lethe_status lethe_tune_copy_config(const lethe_config *from, lethe_config *out, lethe_err *err) {
    json_t *j = lethe_config_to_json(from);
    if (!j) return lethe_fail(err, LETHE_NOMEM, "out of memory for settings");
    lethe_status st = lethe_config_init(out, err);
    if (!st) st = lethe_config_from_json(out, j, NULL, "settings", NULL, err);
    json_decref(j);
    return st;
}

/* Settings, directory and pipeline of one layer: the run's own, or one below it. */
static lethe_status layer_branch(tuning *t, lethe_tune_layer *l, int layer, lethe_err *err) {
    LETHE_TRY(lethe_tune_copy_config(t->p->config, &l->config, err));
    l->config.layer = layer;
    if (t->p->config->sae && layer == t->p->config->layer) /* run.json does not keep it */
        LETHE_TRY(
            lethe_config_set(&l->config, lethe_setting_find("sae"), t->p->config->sae, true, err));
    char name[64];
    snprintf(name, sizeof name, "tune/layer-%d", layer);
    char *dir =
        layer == t->p->config->layer ? lethe_strdup(t->p->dir) : lethe_path_join(t->p->dir, name);
    lethe_status st = dir ? lethe_config_set(&l->config, lethe_setting_find("out"), dir, true, err)
                          : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_free(dir);
    if (!st) st = lethe_pipeline_branch(&l->p, t->p, &l->config, err);
    l->p.resume_if_possible = true;
    return st;
}

lethe_status lethe_tune_layer_open(tuning *t, int layer, lethe_tune_layer **out, lethe_err *err) {
    size_t i = 0;
    while (t->layer[i].ready && t->layer[i].config.layer != layer) i++;
    lethe_tune_layer *l = *out = &t->layer[i];
    if (l->ready) return LETHE_OK;
    double start = lethe_seconds();
    lethe_log(t->p->env, LETHE_LOG_INFO, "layer %d: harvest, SAE and statistics", layer);
    lethe_lm_clear_hooks(t->p->lm);
    LETHE_TRY(layer_branch(t, l, layer, err));
    lethe_train_result trained = {0};
    lethe_sae_meta meta;
    lethe_stage_info info;
    if (!l->config.sae) LETHE_TRY(lethe_pipeline_train(&l->p, &trained, &meta, &info, err));
    LETHE_TRY(lethe_run_sae(&l->p, &l->sae, &l->meta, l->sae_hash, err));
    LETHE_TRY(lethe_pipeline_counts(&l->p, &l->sae, &l->counts, err));
    lethe_lm_clear_hooks(t->p->lm);
    l->ready = true;
    l->seconds = lethe_seconds() - start;
    return LETHE_OK;
}

void lethe_tune_layer_close(lethe_tune_layer *l) {
    lethe_ablation_close(&l->ablation);
    lethe_role_counts_free(&l->counts);
    lethe_feature_set_free(&l->effect);
    lethe_sae_free(&l->sae);
    lethe_pipeline_close(&l->p);
    lethe_config_free(&l->config);
}

/* The layer of the settings, then those around it, nearest first; the last layer's stream goes
 * straight to the output, and the first quarter's is about words more than meaning. */
static void auto_layers(const lethe_pipeline *p, lethe_tune_space *s) {
    int n = lethe_lm_get_info(p->lm)->n_layer, own = (int)p->config->layer;
    int least = n / 4, most = n - 2;
    s->n_layers = 0;
    s->layer[s->n_layers++] = own;
    int stride = n > 12 ? n / 8 : 1;
    for (int step = stride; step < n && s->n_layers < LETHE_TUNE_AUTO_LAYERS; step += stride)
        for (int sign = -1; sign <= 1 && s->n_layers < LETHE_TUNE_AUTO_LAYERS; sign += 2) {
            int layer = own + sign * step;
            if (layer >= least && layer <= most) s->layer[s->n_layers++] = layer;
        }
}

static lethe_status given_layers(const lethe_pipeline *p, const char *list, lethe_tune_space *s,
                                 lethe_err *err) {
    for (const char *at = list; *at;) {
        char *end;
        long layer = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || layer < 0 || layer > INT32_MAX ||
            s->n_layers == LETHE_TUNE_LAYERS)
            return lethe_fail(err, LETHE_USAGE,
                              "--layers: got \"%s\", want auto or at most %u numbers with commas "
                              "between",
                              list, LETHE_TUNE_LAYERS);
        LETHE_TRY(lethe_lm_check_layer(p->lm, (int)layer, err));
        for (size_t i = 0; i < s->n_layers; i++)
            if (s->layer[i] == (int)layer)
                return lethe_fail(err, LETHE_USAGE, "--layers: layer %ld is there twice", layer);
        s->layer[s->n_layers++] = (int)layer;
        at = *end ? end + 1 : end;
    }
    return s->n_layers ? LETHE_OK : lethe_fail(err, LETHE_USAGE, "--layers: no layer is given");
}

static int by_layer(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* With a limit of time: as many layers as may be trained within their share of it, judged by the
 * first one. */
lethe_status lethe_tune_set_layers(tuning *t, lethe_err *err) {
    lethe_tune_space *s = &t->out->space;
    if (strcmp(t->opts->layers, "auto")) {
        LETHE_TRY(given_layers(t->p, t->opts->layers, s, err));
    } else {
        auto_layers(t->p, s);
        lethe_tune_layer *first;
        LETHE_TRY(lethe_tune_layer_open(t, s->layer[0], &first, err));
        double each = fmax(first->seconds, 1), most = 60 * t->opts->minutes * TRAINING_SHARE;
        size_t n = t->opts->minutes > 0 ? (size_t)(most / each) : s->n_layers;
        if (n < 1) n = 1;
        if (s->n_layers > n) s->n_layers = n;
    }
    qsort(s->layer, s->n_layers, sizeof *s->layer, by_layer); /* neighbours are alike */
    return LETHE_OK;
}
