/* SPDX-License-Identifier: MIT
 *
 * Which latents are about the text to forget? Per-latent statistics of each corpus, thresholds, a
 * ranking, and the file that carries the choice.
 *
 *     f      = fires / tokens                                    firing frequency on a corpus
 *     mean   = sum of activations / (fires + 1e-8)               over the tokens where it fired
 *     ratio  = (n_forget + s) / (n_retain + s)                   smoothed ratio of fires
 *     act    = mean_forget / (mean_retain + eps)                 ratio of mean activations
 *     diff   = F_forget - retain_weight * F_retain - near_weight * F_near
 *              with F = f, or, weighed by activation, F = sum of activations / tokens
 *     score  = diff * log1p(ratio) * log1p(act)
 *
 * That is the selection diff-means. act-squared is the one of dynamic SAE guardrails (Muhamed et
 * al. 2025, arXiv 2504.08192):
 *
 *     A      = (sum of activations / tokens)^2                   on a corpus
 *     kept   A_forget >= its 5th percentile, and A_forget / (A_retain + 1e-21) >= its 95th
 *     rank   by A_forget
 *
 * with percentiles over the latents that fire on the forget text at all (a dead one says nothing),
 * interpolated between ranks; where near texts are given, A_retain is the larger of both. Neither
 * thresholds nor sort_by matter to it. effect (effect.h) takes the best of diff-means and ranks
 * them anew by what ablating each alone does to the model.
 *
 * "near" texts are those that resemble the forget text and must be kept (other fantasy, when Harry
 * Potter is to go). Where given they are weighed in diff; with near_in_retain they also
 * count as retain text everywhere else. Without them everything is the reference experiment's.
 */
#ifndef LETHE_STAGE_FEATURES_H
#define LETHE_STAGE_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/strbuf.h"
#include "sae/sae.h"

/* ---- statistics of one corpus ---------------------------------------------------------------- */

typedef struct lethe_feature_counts {
    size_t m;
    uint64_t tokens;
    uint64_t *fires; /* [m] tokens where the latent fired (activation > 0) */
    double *sum;     /* [m] of its activations */
} lethe_feature_counts;

lethe_status lethe_feature_counts_alloc(lethe_feature_counts *out, size_t m, lethe_err *err);
void lethe_feature_counts_free(lethe_feature_counts *c); /* accepts a zeroed one; zeroes it */

/* Adds the tokens of codes; one after the other, so the same order gives the same bytes. skip
 * (NULL: none) marks tokens to leave out. Not safe on one `c` from several threads; merge instead.
 */
void lethe_feature_counts_add(lethe_feature_counts *c, const lethe_codes *codes, const bool *skip);

/* into += from; both of one m. */
void lethe_feature_counts_merge(lethe_feature_counts *into, const lethe_feature_counts *from);

/* ---- choice ---------------------------------------------------------------------------------- */

/* What diff is made of. A latent that belongs to the forget text often fires elsewhere, but weakly:
 * by activation it is charged for how strongly, by fires (the reference) only for how often. */
typedef enum lethe_weigh_by { LETHE_WEIGH_FIRES, LETHE_WEIGH_ACTIVATION } lethe_weigh_by;
const char *lethe_weigh_by_name(lethe_weigh_by w); /* "fires", "activation" */
bool lethe_weigh_by_from_name(const char *name, lethe_weigh_by *out);

typedef enum lethe_sort_by {
    LETHE_SORT_RATIO,
    LETHE_SORT_SCORE,
    LETHE_SORT_DIFF,
    LETHE_SORT_ACT_RATIO,
    LETHE_SORT_RANDOM, /* the control: any latents that fire on the forget text, thresholds aside */
    LETHE_SORT_COUNT
} lethe_sort_by;
const char *
lethe_sort_by_name(lethe_sort_by s); /* "ratio", "score", "diff", "act-ratio", "random" */
bool lethe_sort_by_from_name(const char *name, lethe_sort_by *out); /* "act_ratio" too */

typedef enum lethe_select {
    LETHE_SELECT_DIFF_MEANS,
    LETHE_SELECT_ACT_SQUARED,
    LETHE_SELECT_EFFECT, /* to lethe_features_select: diff-means */
    LETHE_SELECT_COUNT
} lethe_select_by;
const char *lethe_select_name(lethe_select_by s); /* "diff-means", "act-squared", "effect" */
bool lethe_select_from_name(const char *name, lethe_select_by *out);

/* A latent is kept when every one of these holds; the defaults are the reference experiment's. */
typedef struct lethe_feature_opts {
    double min_freq;         /* f_forget > 0.001 */
    double min_forget_fires; /* n_forget >= 64; 0: scaled, tokens / 10,000 within 8 .. 64 */
    double max_retain_freq;  /* f_retain < 0.005 */
    double max_freq;         /* f_forget < 0.2 */
    double min_ratio;        /* ratio > 2 */
    double ratio_smoothing;  /* s = 16; 0: scaled, a quarter of min_forget_fires as resolved */
    double activation_eps;   /* eps = 1e-4; > 0 */
    double retain_weight;    /* 1; other than 1, diff > 0 must hold */
    double near_weight;      /* 3; with near texts diff > 0 must hold, too */
    bool near_in_retain;     /* f_retain, n_retain, mean_retain include the near texts; false */
    bool equalise;           /* n_retain in ratio scaled to as many tokens as forget has; false */
    lethe_weigh_by weigh_by; /* fires; by activation, diff > 0 must hold */
    lethe_sort_by sort_by;   /* score */
    lethe_select_by select;  /* diff-means */
    double forget_percentile, ratio_percentile; /* of act-squared: 5, 95 */
    size_t effect_windows;                      /* of effect: windows a text and feature; 2 */
    size_t num_features;                        /* 100; fewer when fewer are kept */
    uint64_t seed;                              /* of LETHE_SORT_RANDOM */
} lethe_feature_opts;

lethe_feature_opts lethe_feature_defaults(void);

typedef struct lethe_corpus_stats {
    uint64_t fires;
    double freq, mean; /* mean 0 where it never fired */
} lethe_corpus_stats;

typedef struct lethe_feature {
    int32_t index;
    lethe_corpus_stats forget, retain, near; /* retain includes near if near_in_retain */
    double ratio, act_ratio, diff;
    double score; /* of diff-means; act-squared: A_forget; effect: the effect */
} lethe_feature;

/* How many latents fail each threshold; one latent may fail several. */
typedef struct lethe_feature_removed {
    uint64_t min_freq, min_forget_fires, max_retain_freq, max_freq, min_ratio, diff;
} lethe_feature_removed;

typedef struct lethe_feature_set {
    lethe_feature_opts opts;                            /* as resolved */
    size_t m;                                           /* latents of the SAE */
    uint64_t forget_tokens, retain_tokens, near_tokens; /* as above */
    bool has_near;
    lethe_feature_removed removed;
    size_t passed;       /* latents that no threshold removed */
    lethe_feature *item; /* [n], best first; equal metrics by index */
    size_t n;
    lethe_sae_meta sae;            /* what the features belong to; set by the caller, saved */
    char sae_hash[LETHE_HASH_HEX]; /* of the SAE's file; "" when not known */
} lethe_feature_set;

/* near: NULL or statistics of near texts. Fails: USAGE (an option out of range, a corpus without
 * tokens), FAIL (no latent is left: says how many each threshold removed), NOMEM. */
lethe_status lethe_features_select(lethe_feature_set *out, const lethe_feature_counts *forget,
                                   const lethe_feature_counts *retain,
                                   const lethe_feature_counts *near, const lethe_feature_opts *opts,
                                   lethe_err *err);
void lethe_feature_set_free(lethe_feature_set *s); /* accepts a zeroed one; zeroes it */

/* *out [n]: owned; the chosen latents' indices, best first. */
lethe_status lethe_feature_set_indices(const lethe_feature_set *s, int32_t **out, lethe_err *err);

/* *out [n]: owned; their mean activations on the forget text, in that order. */
lethe_status lethe_feature_set_means(const lethe_feature_set *s, float **out, lethe_err *err);

/* *out [n, 2]: owned; what each says to a guard (guard.h: evidence) where it fires, log(p / q), and
 * where it does not, log((1 - p) / (1 - q)), with p = (fires + 1/2) / (tokens + 1) on the forget
 * text and q the larger of those on the retain and near texts, but not above p. NaN where the
 * corpora's sizes are not known. */
lethe_status lethe_feature_set_evidence(const lethe_feature_set *s, float **out, lethe_err *err);

/* USAGE unless index [n] are 1 to m distinct latents of an SAE that has m. Fails: NOMEM, too. */
lethe_status lethe_features_check(const int32_t *index, size_t n, size_t m, lethe_err *err);

/* Corpus sizes, what the thresholds removed, and the first `rows` features (0: all) as a table. */
void lethe_feature_set_table(const lethe_feature_set *s, size_t rows, lethe_strbuf *out);

/* ---- features.json --------------------------------------------------------------------------- */

lethe_status lethe_feature_set_save(const lethe_feature_set *s, const char *path, lethe_err *err);

/* One row a feature, best first, with a line of names; for spreadsheets. */
lethe_status lethe_feature_set_save_csv(const lethe_feature_set *s, const char *path,
                                        lethe_err *err);

/* features.json, or the reference experiment's layer_L_features.pt, which lacks thresholds
 * (defaults here), numbers of tokens (0) and names ("", -1). Every key's type and range is checked,
 * indices are distinct. Fails: NOTFOUND, FORMAT. */
lethe_status lethe_feature_set_load(lethe_feature_set *out, const char *path, lethe_err *err);

#endif
