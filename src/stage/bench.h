/* SPDX-License-Identifier: MIT
 *
 * Measurements of speed. Each is a race: two or more ways to do one piece of work, run in turn (A B
 * A B ...) after a warm-up that is not counted, in one process on one machine; what is told are
 * medians with minima and maxima, and ratios of medians. bench/README.md is the protocol.
 *
 *   train    a training step of an SAE                 against the dense reference (sae/dense.h)
 *   encode   exact encode and selection of a batch     against the encoder's product alone
 *   gate     the intervention on a single row          against reading the encoder once
 *   harvest  prefill up to layer L, rows recorded      against its share of the plain prefill
 *   decode   tokens with the intervention              against tokens without
 *
 * The first three run on random rows of a stated shape, the others on a model.
 */
#ifndef LETHE_STAGE_BENCH_H
#define LETHE_STAGE_BENCH_H

#include <jansson.h>

#include "base/strbuf.h"
#include "lm/lm.h"
#include "sae/trainer.h"
#include "stage/config.h"

enum {
    LETHE_BENCH_TRAIN = 1 << 0,
    LETHE_BENCH_ENCODE = 1 << 1,
    LETHE_BENCH_GATE = 1 << 2,
    LETHE_BENCH_HARVEST = 1 << 3,
    LETHE_BENCH_DECODE = 1 << 4,
    LETHE_BENCH_LM = LETHE_BENCH_HARVEST | LETHE_BENCH_DECODE /* those that need a model */
};

typedef struct lethe_bench_opts {
    unsigned what;    /* LETHE_BENCH_* */
    size_t d, m, k;   /* of the random rows and their SAE */
    double expansion; /* m / d as it was asked for; also of the model's random SAE */
    size_t batch;     /* tokens a step, tokens encoded at once */
    size_t rounds;    /* counted runs of each side; decode: times new_tokens */
    double dead;      /* share of latents held dead before every step; 0 to less than 1 */
    lethe_recipe recipe;
    bool reference;    /* train: race the dense reference */
    bool scaling;      /* train: race a single thread */
    size_t n_features; /* random features of the intervention */
    double scale;
    uint64_t seed;
    const char *model, *sae, *features; /* borrowed; sae, features NULL: random */
    const char *patch;     /* borrowed; NULL: of the same features, calibrated on random tokens */
    int layer, gpu_layers; /* layer -1: the SAE's own, or the middle one */
    size_t ctx_len;        /* tokens of the prefill */
    size_t new_tokens;     /* decode: of each side a round, in turn one by one */
} lethe_bench_opts;

/* From the settings; c->model must be set when the parts need one (read for its width when --d is
 * not given). Fails: USAGE (a setting out of range, by name), as lethe_lm_open. */
lethe_status lethe_bench_opts_make(lethe_bench_opts *out, const lethe_config *c,
                                   const lethe_env *env, lethe_err *err);

/* The parts that --what names, separated by commas. Fails: USAGE. */
lethe_status lethe_bench_what(const char *names, unsigned *out, lethe_err *err);

enum { LETHE_BENCH_SIDES = 3, LETHE_BENCH_RACES = 5 };

typedef struct lethe_bench_side {
    const char *key;   /* in JSON: "lethe", "dense", ... */
    const char *label; /* for people */
    double *seconds;   /* [n] owned, in the order of the rounds */
    size_t n;
    double min, median, max;
    double ratio; /* median of the base side over this one's; 0 for the base and without one */
} lethe_bench_side;

typedef struct lethe_bench_race {
    const char *key;
    lethe_bench_side side[LETHE_BENCH_SIDES];
    size_t n_sides;
    int base;          /* the side that the others are compared with; -1: none */
    double tokens;     /* of one run */
    double share;      /* of the base's time that counts: 1, or a part of the layers */
    json_t *figures;   /* owned: further figures, an object */
    lethe_strbuf note; /* the same for people, in lines */
} lethe_bench_race;

typedef struct lethe_bench_result {
    lethe_bench_race race[LETHE_BENCH_RACES];
    size_t n;
    bool has_model;
    lethe_lm_info model; /* where a model was used */
    int layer;
    double
        sgemm_gflops; /* of the dense library, 1024 x 1024 x 1024 on all threads, best of eight */
} lethe_bench_result;

/* Runs the parts, one after the other. Fails: NOMEM, STOPPED, what a part fails with. */
lethe_status lethe_bench_run(const lethe_bench_opts *o, const lethe_env *env,
                             lethe_bench_result *out, lethe_err *err);
void lethe_bench_result_free(lethe_bench_result *r); /* accepts a zeroed one */

/* The result with machine and shape: a table, and one object (new reference): machine, shape, one
 * key a race with its sides ("seconds", "tokens_per_second", "ratio"), peak_rss_mib. */
void lethe_bench_table(const lethe_bench_opts *o, const lethe_bench_result *r, lethe_strbuf *out);
lethe_status lethe_bench_json(const lethe_bench_opts *o, const lethe_bench_result *r, json_t **out,
                              lethe_err *err);

/* Random rows x [n, d] with the look of a residual stream: a low-rank structure of rectified
 * normals, noise, and a few dimensions of massive size. Deterministic in seed. Fails: NOMEM. */
lethe_status lethe_bench_rows(float *x, size_t n, size_t d, uint64_t seed, lethe_err *err);

#endif
