/* SPDX-License-Identifier: MIT
 *
 * Searching for the removal that forgets most and damages least: over layers, rankings and numbers
 * of features, methods, strengths and guards (tune_space.h). Every layer is harvested and has its
 * SAE trained once, in a run directory of its own; a trial then chooses features from statistics
 * that are there, hangs the intervention on the open model and asks the gauge (gauge.h).
 *
 *   left    = (recall + recall under the worst attack) / (2 x recall of the baseline)
 *   damage  = KL on retain text (nats a token) + recall lost on the other domains
 *
 * Both are to be small. Trial 0 is the removal as the settings have it. A start of trials spread
 * evenly over everything is followed by what a model of the trials so far expects to gain most by
 * (tune_model.h), and one time in four by a child of what is best so far: parents are drawn by
 * binary tournament on rank and crowding (tune_front.h), as in NSGA-II. The whole front is kept.
 *
 * All trials ask some of the half "tune" of facts and text (split.h). The six with the least left +
 * weight x damage are then asked all of that half, and what has the least there is chosen
 * (tune_final.c). In the end the chosen removal, the one of the settings, the reference
 * experiment's and the whole front are measured on the half "report", which no choice has seen.
 *
 * In the run directory: tune.json (all of it), tuned.json (settings: lethe forget --config),
 * tune/trials.jsonl (a line a trial as they come; an interrupted search goes on from it), and
 * tune/layer-N/ (a run directory for each layer but the run's own).
 */
#ifndef LETHE_STAGE_TUNE_H
#define LETHE_STAGE_TUNE_H

#include "stage/gauge.h"
#include "stage/pipeline.h"
#include "stage/tune_front.h"
#include "stage/tune_space.h"

/* Trials of the last round, at most. */
#define LETHE_TUNE_FINALISTS 6u

typedef struct lethe_trial {
    uint64_t number;
    lethe_genome genome;
    lethe_tune_params params; /* guard_threshold as calibrated */
    size_t features;          /* chosen; fewer than asked for where fewer passed */
    bool failed;              /* no feature passed: the figures are NaN */
    lethe_gauge_figures figures;
    double kl_open; /* of the first windows with the guard open all along; NaN without one */
    lethe_point point;
    uint32_t rank; /* 0: on the front */
    double seconds;
} lethe_trial;

/* On the half "report". */
typedef struct lethe_tune_report {
    lethe_gauge_figures baseline;
    lethe_trial given, reference; /* trial 0's removal, and the reference experiment's */
    lethe_trial *front;           /* [n_front], by rising damage */
    size_t n_front, chosen;       /* chosen: its place in front */
    lethe_trial *best; /* [n_best] of every method and ranking the best trial, if asked for */
    size_t n_best;
} lethe_tune_report;

typedef struct lethe_tune_result {
    lethe_tune_space space;
    uint64_t key_trials; /* trials that were there from before */
    lethe_gauge_figures baseline;
    const char *attack[LETHE_GAUGE_ATTACKS]; /* names; owned by attack_names */
    char *attack_names;
    size_t n_attacks;
    lethe_trial *trial; /* [n] */
    size_t n, cap;
    size_t chosen;      /* place among the trials */
    lethe_trial *final; /* [n_final] the last round: the best once more, by more questions */
    size_t n_final;
    lethe_tune_report report;
    double weight, seconds;
    char *chosen_dir; /* the run directory that now holds the chosen removal */
} lethe_tune_result;

typedef struct lethe_tune_opts {
    uint64_t trials;    /* at most, those of before included; 0: no limit */
    double minutes;     /* at most, training included; 0: no limit */
    const char *layers; /* "auto", or numbers with commas between */
    double weight;      /* of damage in the choice */
    bool fresh;         /* forget trials of before */
    bool compare;       /* report the best of every method and ranking, too */
} lethe_tune_opts;

/* Needs probes and texts in the pipeline's settings. Fails: USAGE, STOPPED (what was done is kept),
 * as the stages and the gauge. *out: owned. */
lethe_status lethe_pipeline_tune(lethe_pipeline *p, const lethe_tune_opts *opts,
                                 lethe_tune_result *out, lethe_err *err);
void lethe_tune_result_free(lethe_tune_result *r); /* accepts a zeroed one; zeroes it */

lethe_status lethe_tune_json(const lethe_tune_result *r, json_t **out, lethe_err *err);
void lethe_tune_table(const lethe_tune_result *r, lethe_strbuf *out);

/* The trials as a plot of damage against what is left, in characters. */
void lethe_tune_plot(const lethe_tune_result *r, size_t columns, size_t lines, lethe_strbuf *out);

#endif
