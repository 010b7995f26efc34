/* SPDX-License-Identifier: MIT
 *
 * What the files of the search share; private to tune*.c.
 */
#ifndef LETHE_STAGE_TUNE_PARTS_H
#define LETHE_STAGE_TUNE_PARTS_H

#include "stage/ablate.h"
#include "stage/tune.h"

#define LETHE_TUNE_AUTO_LAYERS 4u

/* All that trials on one layer need. */
typedef struct lethe_tune_layer {
    bool ready;
    lethe_config config;
    lethe_pipeline p;
    lethe_sae sae;
    lethe_sae_meta meta;
    char sae_hash[LETHE_HASH_HEX];
    lethe_role_counts counts;
    lethe_feature_set effect; /* ranked by effect, once; empty until a trial asks for it */
    lethe_ablation *ablation; /* NULL until the first trial */
    double seconds;           /* it took */
} lethe_tune_layer;

typedef struct tuning {
    lethe_pipeline *p;
    const lethe_tune_opts *opts;
    lethe_tune_result *out;
    lethe_tune_layer
        layer[LETHE_TUNE_LAYERS + 1]; /* those of the space, and that of the settings */
    lethe_gauge *gauge;

    /* Of the trials so far, [out->n] each. */
    double *crowding, *cost;
    lethe_genome *tried; /* settled */

    lethe_tune_params given; /* what the settings say */
    double start;
    double dearest; /* a whole measurement ends before the attacks when its cost is above this */
} tuning;

/* The settings that run.json keeps; *out is the caller's to free, also after a failure. */
lethe_status lethe_tune_copy_config(const lethe_config *from, lethe_config *out, lethe_err *err);

/* A gauge on one half of the questions of the settings; thorough: on all of that half. */
lethe_status lethe_tune_gauge(const tuning *t, lethe_split half, bool thorough, lethe_gauge **out,
                              lethe_err *err);

/* Which layers the space has; opens the first where its time has to be known. */
lethe_status lethe_tune_set_layers(tuning *t, lethe_err *err);

/* The layer's material, made when it is first asked for. */
lethe_status lethe_tune_layer_open(tuning *t, int layer, lethe_tune_layer **out, lethe_err *err);

void lethe_tune_layer_close(lethe_tune_layer *l); /* accepts a zeroed one */

/* t->given: what the settings say, in numbers. */
lethe_status lethe_tune_as_given(tuning *t, lethe_err *err);

/* Measures one removal by a gauge, its features chosen by o (near: the near texts count), by its
 * own parameters, or all of it as the settings say. A removal that no feature passes for is marked
 * as failed. One that costs more than t->dearest whatever its attacks bring or, unless `whole`,
 * that a trial of before beats whatever they bring, is not asked them (figures.partial). */
lethe_status lethe_tune_measure(tuning *t, lethe_gauge *g, lethe_trial *trial,
                                const lethe_feature_opts *o, bool near, bool whole, lethe_err *err);
lethe_status lethe_tune_try(tuning *t, lethe_gauge *g, lethe_trial *trial, bool whole,
                            lethe_err *err);
lethe_status lethe_tune_measure_given(tuning *t, lethe_gauge *g, lethe_trial *trial,
                                      lethe_err *err);

/* left + weight x damage; infinity where it could not be measured. */
double lethe_tune_cost(const tuning *t, lethe_point p);

/* Progress. */
void lethe_tune_show(const tuning *t, bool finished);

/* Fills out->final and chooses by it. */
lethe_status lethe_tune_final(tuning *t, lethe_err *err);

/* Fills out->report. */
lethe_status lethe_tune_report_half(tuning *t, lethe_err *err);

/* How the features of a trial are chosen. */
lethe_status lethe_tune_feature_opts(const tuning *t, const lethe_tune_params *q,
                                     lethe_feature_opts *o, lethe_err *err);

/* They themselves. near: the near texts count. *owned: the caller frees them. Fails: FAIL (no
 * latent passes), as lethe_pipeline_choose. */
lethe_status lethe_tune_choose(tuning *t, lethe_tune_layer *l, const lethe_feature_opts *o,
                               bool near, lethe_feature_set *set, bool *owned, lethe_err *err);

/* Names of the attacks into the result. */
lethe_status lethe_tune_names(tuning *t, lethe_err *err);

/* Writes the trials so far into tune.json, and reads those of an interrupted search with the same
 * settings. */
lethe_status lethe_tune_keep(const tuning *t, lethe_err *err);
lethe_status lethe_tune_recall(tuning *t, lethe_err *err);

/* Writes tune.json, tuned.json and the run directory of the chosen removal. */
lethe_status lethe_tune_write(tuning *t, lethe_err *err);

#endif
