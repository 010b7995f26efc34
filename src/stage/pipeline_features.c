/* SPDX-License-Identifier: MIT
 *
 * Feature statistics over the corpora, in one pass, and the choice.
 */
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "sae/encoder.h"
#include "stage/effect.h"
#include "stage/pipeline_run.h"

lethe_status lethe_pipeline_feature_opts(const lethe_config *c, lethe_feature_opts *out,
                                         lethe_err *err) {
    *out = lethe_feature_defaults();
    if (!lethe_sort_by_from_name(c->sort_by, &out->sort_by))
        return lethe_fail(err, LETHE_USAGE,
                          "--sort-by: got \"%s\", want ratio, score, diff, act-ratio or random",
                          c->sort_by);
    if (!lethe_select_from_name(c->select, &out->select))
        return lethe_fail(err, LETHE_USAGE,
                          "--select: got \"%s\", want diff-means, act-squared or effect",
                          c->select);
    if (out->select == LETHE_SELECT_ACT_SQUARED && out->sort_by != LETHE_SORT_SCORE)
        return lethe_fail(err, LETHE_USAGE,
                          "--sort-by %s has no say in --select act-squared (add: --select "
                          "diff-means)",
                          c->sort_by);
    if (c->effect_windows < 1 || c->effect_windows > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "--effect-windows: got %lld, want at least 1",
                          (long long)c->effect_windows);
    if (c->effect_candidates < 0)
        return lethe_fail(err, LETHE_USAGE, "--effect-candidates: got %lld, want 0 or more",
                          (long long)c->effect_candidates);
    out->effect_windows = (size_t)c->effect_windows;
    out->forget_percentile = c->forget_percentile;
    out->ratio_percentile = c->ratio_percentile;
    if (c->num_features < 1)
        return lethe_fail(err, LETHE_USAGE, "--num-features: got %lld, want at least 1",
                          (long long)c->num_features);
    out->num_features = (size_t)c->num_features;
    out->min_freq = c->min_freq;
    out->min_forget_fires = (double)c->min_forget_fires;
    out->max_retain_freq = c->max_retain_freq;
    out->max_freq = c->max_freq;
    out->min_ratio = c->min_ratio;
    out->ratio_smoothing = c->ratio_smoothing;
    out->activation_eps = c->activation_eps;
    if (!lethe_weigh_by_from_name(c->weigh_by, &out->weigh_by))
        return lethe_fail(err, LETHE_USAGE, "--weigh-by: got \"%s\", want fires or activation",
                          c->weigh_by);
    out->retain_weight = c->retain_weight;
    out->near_weight = c->near_weight;
    out->near_in_retain = c->near_in_retain;
    out->equalise = c->equalise;
    out->seed = (uint64_t)c->seed;
    return LETHE_OK;
}

typedef struct tally {
    const lethe_sae *sae;
    lethe_encoder encoder;
    lethe_feature_counts count[LETHE_ROLES];
    lethe_codes codes;
    bool *skip; /* [LETHE_RUN_ROWS] */
} tally;

static lethe_status tally_open(tally *t, const lethe_sae *sae, lethe_err *err) {
    t->sae = sae;
    LETHE_TRY(lethe_encoder_open(&t->encoder, sae, err));
    for (int r = 0; r < LETHE_ROLES; r++)
        LETHE_TRY(lethe_feature_counts_alloc(&t->count[r], sae->m, err));
    LETHE_TRY(lethe_codes_alloc(&t->codes, LETHE_RUN_ROWS, sae->k, err));
    return lethe_alloc(&t->skip, LETHE_RUN_ROWS, sizeof *t->skip, "a batch of rows", err);
}

static void tally_close(tally *t) {
    for (int r = 0; r < LETHE_ROLES; r++) lethe_feature_counts_free(&t->count[r]);
    lethe_encoder_close(&t->encoder);
    lethe_codes_free(&t->codes);
    lethe_free(t->skip);
}

/* Encodes n rows and books each under its role. */
static lethe_status tally_rows(void *user, const float *x, const uint8_t *role, size_t n,
                               lethe_err *err) {
    tally *t = user;
    for (size_t at = 0; at < n; at += t->codes.n) {
        t->codes.n = lethe_encode_batch(t->sae, n - at);
        LETHE_TRY(lethe_encode(&t->encoder, x + at * t->sae->d, t->codes.n, &t->codes, NULL, err));
        for (int r = 0; r < LETHE_ROLES; r++) {
            bool any = false;
            for (size_t i = 0; i < t->codes.n; i++) any |= !(t->skip[i] = role[at + i] != r);
            if (any) lethe_feature_counts_add(&t->count[r], &t->codes, t->skip);
        }
    }
    return LETHE_OK;
}

void lethe_role_counts_free(lethe_role_counts *c) {
    for (int r = 0; r < LETHE_ROLES; r++) lethe_feature_counts_free(&c->role[r]);
    *c = (lethe_role_counts){0};
}

lethe_status lethe_pipeline_counts(lethe_pipeline *p, const lethe_sae *sae, lethe_role_counts *out,
                                   lethe_err *err) {
    tally t = {0};
    LETHE_TRY(lethe_run_corpora(p, true, err));
    lethe_status st = tally_open(&t, sae, err);
    if (!st) st = lethe_run_rows(p, "features", tally_rows, &t, err);
    for (int r = 0; r < LETHE_ROLES && !st; r++) {
        out->role[r] = t.count[r];
        t.count[r] = (lethe_feature_counts){0};
    }
    tally_close(&t);
    return st;
}

/* Windows of all texts, short ones: a feature's effect is soon seen. */
static lethe_status effect_windows(lethe_pipeline *p, lethe_mix **mix, lethe_err *err) {
    lethe_mix_opts o = lethe_run_mix_opts(p);
    if (o.ctx_len > LETHE_EFFECT_CTX) o.ctx_len = LETHE_EFFECT_CTX;
    return lethe_mix_open(mix, p->lm, p->corpus, &o, p->env, err);
}

static lethe_status rank_by_effect(lethe_pipeline *p, const lethe_sae *sae,
                                   const lethe_feature_opts *o, lethe_feature_set *set,
                                   lethe_err *err) {
    lethe_mix *mix = NULL;
    int32_t *index = NULL;
    double *effect = NULL;
    lethe_effect_opts eo = {.layer = (int)p->config->layer,
                            .hook = p->hook,
                            .windows = o->effect_windows,
                            .retain_weight = o->retain_weight,
                            .near_weight = o->near_weight};
    lethe_status st = lethe_feature_set_indices(set, &index, err);
    if (!st) st = lethe_alloc(&effect, set->n, sizeof *effect, "effects of features", err);
    if (!st) st = effect_windows(p, &mix, err);
    if (!st) st = lethe_effect_measure(p->lm, sae, mix, index, set->n, &eo, effect, p->env, err);
    if (!st) st = lethe_effect_rank(set, effect, o->num_features, err);
    lethe_mix_close(&mix);
    lethe_free(index);
    lethe_free(effect);
    return st;
}

static size_t candidates(const lethe_config *c, const lethe_feature_opts *o) {
    return c->effect_candidates ? (size_t)c->effect_candidates : 2 * o->num_features;
}

lethe_status lethe_pipeline_choose(lethe_pipeline *p, const lethe_sae *sae,
                                   const lethe_role_counts *counts, const lethe_feature_opts *o,
                                   lethe_feature_set *out, lethe_err *err) {
    bool near = p->corpus[LETHE_NEAR] != NULL, effect = o->select == LETHE_SELECT_EFFECT;
    lethe_feature_opts first = *o;
    if (effect) first.num_features = candidates(p->config, o);
    LETHE_TRY(lethe_features_select(out, &counts->role[LETHE_FORGET], &counts->role[LETHE_RETAIN],
                                    near ? &counts->role[LETHE_NEAR] : NULL, &first, err));
    if (!effect) return LETHE_OK;
    out->opts.num_features = o->num_features;
    lethe_status st = rank_by_effect(p, sae, o, out, err);
    if (st) lethe_feature_set_free(out);
    return st;
}

/* What the selections other than diff-means depend on besides. */
static json_t *select_identity(const lethe_config *c, const lethe_feature_opts *o) {
    switch (o->select) {
    case LETHE_SELECT_ACT_SQUARED:
        return json_pack("{s:s, s:f, s:f}", "by", "act-squared", "forget_percentile",
                         o->forget_percentile, "ratio_percentile", o->ratio_percentile);
    case LETHE_SELECT_EFFECT:
        return json_pack("{s:s, s:I, s:I}", "by", "effect", "windows",
                         (json_int_t)o->effect_windows, "candidates", (json_int_t)candidates(c, o));
    case LETHE_SELECT_DIFF_MEANS:
    case LETHE_SELECT_COUNT: break;
    }
    return json_string("diff-means");
}

static lethe_status features_key(const lethe_pipeline *p, const lethe_feature_opts *o, size_t k,
                                 const char *sae_hash, char key[LETHE_HASH_HEX], lethe_err *err) {
    json_t *all = json_pack(
        "{s:s, s:I, s:o?, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:b, s:b, s:i, s:I, "
        "s:o}",
        "sae", sae_hash, "k", (json_int_t)k, "rows", lethe_run_rows_identity(p), "min_freq",
        o->min_freq, "min_forget_fires", o->min_forget_fires, "max_retain_freq", o->max_retain_freq,
        "max_freq", o->max_freq, "min_ratio", o->min_ratio, "ratio_smoothing", o->ratio_smoothing,
        "activation_eps", o->activation_eps, "near_weight", o->near_weight, "retain_weight",
        o->retain_weight, "weigh_by", (int)o->weigh_by, "near_in_retain", o->near_in_retain,
        "equalise", o->equalise, "sort_by", (int)o->sort_by, "num_features",
        (json_int_t)o->num_features, "select", select_identity(p->config, o));
    return lethe_run_key(all, key, err);
}

lethe_status lethe_pipeline_features(lethe_pipeline *p, lethe_feature_set *result,
                                     lethe_stage_info *info, lethe_err *err) {
    *info = (lethe_stage_info){0};
    lethe_feature_opts o;
    LETHE_TRY(lethe_pipeline_feature_opts(p->config, &o, err));
    LETHE_TRY(lethe_run_corpora(p, true, err));
    lethe_sae sae = {0};
    lethe_sae_meta meta;
    char sae_hash[LETHE_HASH_HEX], key[LETHE_HASH_HEX], *path = NULL;
    LETHE_TRY(lethe_run_sae(p, &sae, &meta, sae_hash, err));
    lethe_role_counts counts = {0};
    double start = lethe_seconds();
    lethe_status st = features_key(p, &o, sae.k, sae_hash, key, err);
    if (!st) st = lethe_pipeline_path(p, "features.json", &path, err);
    if (!st && lethe_run_done(p, "features", key, "features.json")) {
        info->reused = true;
        st = lethe_feature_set_load(result, path, err);
        goto done;
    }
    if (!st) st = lethe_pipeline_counts(p, &sae, &counts, err);
    if (!st) st = lethe_pipeline_choose(p, &sae, &counts, &o, result, err);
    if (!st) {
        result->sae = meta;
        memcpy(result->sae_hash, sae_hash, sizeof result->sae_hash);
        st = lethe_feature_set_save(result, path, err);
    }
    info->seconds = lethe_seconds() - start;
    if (!st)
        st = lethe_run_record(
            p, "features", key,
            json_pack("{s:I, s:f}", "features", (json_int_t)result->n, "seconds", info->seconds),
            err);
done:
    lethe_role_counts_free(&counts);
    lethe_sae_free(&sae);
    lethe_free(path);
    return st;
}
