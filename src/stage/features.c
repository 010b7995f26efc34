/* SPDX-License-Identifier: MIT
 *
 * Counting and choosing. With finite activations all metrics are finite: the corpora have tokens,
 * smoothing and eps are positive.
 */
#include "stage/features.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

/* ---- statistics of one corpus ---------------------------------------------------------------- */

lethe_status lethe_feature_counts_alloc(lethe_feature_counts *out, size_t m, lethe_err *err) {
    lethe_feature_counts c = {.m = m};
    lethe_status st = lethe_zalloc(&c.fires, m, sizeof *c.fires, "fire counts of the latents", err);
    if (st == LETHE_OK)
        st = lethe_zalloc(&c.sum, m, sizeof *c.sum, "activation sums of the latents", err);
    if (st == LETHE_OK)
        *out = c;
    else
        lethe_feature_counts_free(&c);
    return st;
}

void lethe_feature_counts_free(lethe_feature_counts *c) {
    lethe_free(c->fires);
    lethe_free(c->sum);
    *c = (lethe_feature_counts){0};
}

void lethe_feature_counts_add(lethe_feature_counts *c, const lethe_codes *codes, const bool *skip) {
    for (size_t t = 0; t < codes->n; t++) {
        if (skip && skip[t]) continue;
        c->tokens++;
        for (size_t j = t * codes->k; j < (t + 1) * codes->k; j++) {
            if (!(codes->value[j] > 0)) continue;
            size_t i = (size_t)codes->index[j];
            assert(i < c->m);
            c->fires[i]++;
            c->sum[i] += (double)codes->value[j];
        }
    }
}

void lethe_feature_counts_merge(lethe_feature_counts *into, const lethe_feature_counts *from) {
    assert(into->m == from->m);
    into->tokens += from->tokens;
    for (size_t i = 0; i < into->m; i++) {
        into->fires[i] += from->fires[i];
        into->sum[i] += from->sum[i];
    }
}

/* ---- options --------------------------------------------------------------------------------- */

static const char *const sort_names[LETHE_SORT_COUNT] = {"ratio", "score", "diff", "act-ratio",
                                                         "random"};

const char *lethe_sort_by_name(lethe_sort_by s) {
    return s < LETHE_SORT_COUNT ? sort_names[s] : "?";
}

bool lethe_sort_by_from_name(const char *name, lethe_sort_by *out) {
    for (int s = 0; s < LETHE_SORT_COUNT; s++)
        if (!strcmp(name, sort_names[s])) {
            *out = (lethe_sort_by)s;
            return true;
        }
    if (strcmp(name, "act_ratio") != 0) return false;
    *out = LETHE_SORT_ACT_RATIO;
    return true;
}

static const char *const select_names[LETHE_SELECT_COUNT] = {"diff-means", "act-squared", "effect"};

const char *lethe_select_name(lethe_select_by s) {
    return s < LETHE_SELECT_COUNT ? select_names[s] : "?";
}

bool lethe_select_from_name(const char *name, lethe_select_by *out) {
    for (int s = 0; s < LETHE_SELECT_COUNT; s++)
        if (!strcmp(name, select_names[s])) {
            *out = (lethe_select_by)s;
            return true;
        }
    return false;
}

static const char *const weigh_names[] = {"fires", "activation"};

const char *lethe_weigh_by_name(lethe_weigh_by w) {
    return weigh_names[w == LETHE_WEIGH_ACTIVATION];
}

bool lethe_weigh_by_from_name(const char *name, lethe_weigh_by *out) {
    for (int w = 0; w < 2; w++)
        if (!strcmp(name, weigh_names[w])) {
            *out = (lethe_weigh_by)w;
            return true;
        }
    return false;
}

lethe_feature_opts lethe_feature_defaults(void) {
    return (lethe_feature_opts){.min_freq = 0.001,
                                .min_forget_fires = 64,
                                .max_retain_freq = 0.005,
                                .max_freq = 0.2,
                                .min_ratio = 2,
                                .ratio_smoothing = 16,
                                .activation_eps = 1e-4,
                                .retain_weight = 1,
                                .near_weight = 3,
                                .equalise = false,
                                .sort_by = LETHE_SORT_SCORE,
                                .forget_percentile = 5,
                                .ratio_percentile = 95,
                                .effect_windows = 2,
                                .num_features = 100};
}

static lethe_status check_opts(const lethe_feature_opts *o, lethe_err *err) {
    const struct {
        const char *name;
        double value;
    } finite[] = {{"--min-freq", o->min_freq},
                  {"--max-retain-freq", o->max_retain_freq},
                  {"--max-freq", o->max_freq},
                  {"--min-ratio", o->min_ratio}};
    for (size_t i = 0; i < sizeof finite / sizeof *finite; i++)
        if (!isfinite(finite[i].value))
            return lethe_fail(err, LETHE_USAGE, "%s is %g, must be a finite number", finite[i].name,
                              finite[i].value);
    const struct {
        const char *name;
        double value;
        bool zero; /* allowed */
    } positive[] = {{"--min-forget-fires", o->min_forget_fires, true},
                    {"--ratio-smoothing", o->ratio_smoothing, true},
                    {"--activation-eps", o->activation_eps, false},
                    {"--retain-weight", o->retain_weight, true},
                    {"--near-weight", o->near_weight, true}};
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++) {
        double v = positive[i].value;
        if (!isfinite(v) || v < 0 || (v == 0 && !positive[i].zero))
            return lethe_fail(err, LETHE_USAGE, "%s is %g, must be %s", positive[i].name, v,
                              positive[i].zero ? "0 or more" : "more than 0");
    }
    const struct {
        const char *name;
        double value;
    } percentile[] = {{"--forget-percentile", o->forget_percentile},
                      {"--ratio-percentile", o->ratio_percentile}};
    for (size_t i = 0; i < 2; i++)
        if (!(percentile[i].value >= 0 && percentile[i].value <= 100))
            return lethe_fail(err, LETHE_USAGE, "%s is %g, must be 0 to 100", percentile[i].name,
                              percentile[i].value);
    if (o->select >= LETHE_SELECT_COUNT)
        return lethe_fail(err, LETHE_USAGE, "--select must be diff-means, act-squared or effect");
    if (!o->effect_windows)
        return lethe_fail(err, LETHE_USAGE, "--effect-windows is 0, must be at least 1");
    if (o->sort_by >= LETHE_SORT_COUNT)
        return lethe_fail(err, LETHE_USAGE,
                          "--sort-by must be ratio, score, diff, act-ratio or random");
    if (!o->num_features)
        return lethe_fail(err, LETHE_USAGE, "--num-features is 0, must be at least 1");
    return LETHE_OK;
}

/* 64 fires are the reference's bar on a corpus of whole novels; a small corpus has rare latents
 * that matter and never fire that often. */
static void resolve_opts(lethe_feature_opts *o, uint64_t forget_tokens) {
    if (o->min_forget_fires == 0)
        o->min_forget_fires = fmin(64, fmax(8, floor((double)forget_tokens / 10000)));
    if (o->ratio_smoothing == 0) o->ratio_smoothing = fmax(1, o->min_forget_fires / 4);
}

/* ---- choice ---------------------------------------------------------------------------------- */

static lethe_corpus_stats stats_of(const lethe_feature_counts *c, size_t i) {
    return (lethe_corpus_stats){.fires = c->fires[i],
                                .freq = (double)c->fires[i] / (double)c->tokens,
                                .mean = c->sum[i] / ((double)c->fires[i] + 1e-8)};
}

/* F of the formula for diff. */
static double weight_of(const lethe_feature_set *s, const lethe_corpus_stats *c) {
    return s->opts.weigh_by == LETHE_WEIGH_ACTIVATION ? c->freq * c->mean : c->freq;
}

/* The reference demands no positive difference; whoever weighs the sides does. */
static bool wants_positive_diff(const lethe_feature_set *s) {
    return s->has_near || s->opts.retain_weight != 1 || s->opts.weigh_by != LETHE_WEIGH_FIRES;
}

static lethe_feature feature_of(const lethe_feature_set *s, size_t i,
                                const lethe_feature_counts *forget,
                                const lethe_feature_counts *retain,
                                const lethe_feature_counts *near) {
    lethe_feature f = {.index = (int32_t)i};
    f.forget = stats_of(forget, i);
    f.retain = stats_of(retain, i);
    if (near) f.near = stats_of(near, i);
    if (near && s->opts.near_in_retain) {
        f.retain.fires += f.near.fires;
        f.retain.freq = (double)f.retain.fires / (double)s->retain_tokens;
        f.retain.mean = (retain->sum[i] + near->sum[i]) / ((double)f.retain.fires + 1e-8);
    }
    double n_retain = (double)f.retain.fires;
    if (s->opts.equalise) n_retain *= (double)s->forget_tokens / (double)s->retain_tokens;
    double smooth = s->opts.ratio_smoothing;
    f.ratio = ((double)f.forget.fires + smooth) / (n_retain + smooth);
    f.act_ratio = f.forget.mean / (f.retain.mean + s->opts.activation_eps);
    f.diff = weight_of(s, &f.forget) - s->opts.retain_weight * weight_of(s, &f.retain);
    if (near) f.diff -= s->opts.near_weight * weight_of(s, &f.near);
    f.score = f.diff * log1p(f.ratio) * log1p(f.act_ratio);
    return f;
}

static bool keeps(lethe_feature_set *s, const lethe_feature *f) {
    const lethe_feature_opts *o = &s->opts;
    bool min_freq = f->forget.freq > o->min_freq;
    bool min_fires = (double)f->forget.fires >= o->min_forget_fires;
    bool max_retain = f->retain.freq < o->max_retain_freq;
    bool max_freq = f->forget.freq < o->max_freq;
    bool min_ratio = f->ratio > o->min_ratio;
    bool diff = !wants_positive_diff(s) || f->diff > 0;
    s->removed.min_freq += !min_freq;
    s->removed.min_forget_fires += !min_fires;
    s->removed.max_retain_freq += !max_retain;
    s->removed.max_freq += !max_freq;
    s->removed.min_ratio += !min_ratio;
    s->removed.diff += !diff;
    if (o->sort_by == LETHE_SORT_RANDOM) return f->forget.fires > 0;
    return min_freq && min_fires && max_retain && max_freq && min_ratio && diff;
}

typedef struct ranked {
    double metric;
    lethe_feature f;
} ranked;

static double metric_of(const lethe_feature *f, const lethe_feature_opts *o) {
    switch (o->sort_by) {
    case LETHE_SORT_RATIO: return f->ratio;
    case LETHE_SORT_DIFF: return f->diff;
    case LETHE_SORT_ACT_RATIO: return f->act_ratio;
    case LETHE_SORT_RANDOM: {
        lethe_rng r = lethe_rng_make(o->seed, (uint64_t)f->index);
        return lethe_rng_uniform(&r);
    }
    case LETHE_SORT_SCORE:
    case LETHE_SORT_COUNT: break;
    }
    return f->score;
}

static int better_first(const void *pa, const void *pb) {
    const ranked *a = pa, *b = pb;
    if (a->metric != b->metric) return a->metric > b->metric ? -1 : 1;
    return (a->f.index > b->f.index) - (a->f.index < b->f.index);
}

/* ---- act-squared ----------------------------------------------------------------------------- */

static double squared(const lethe_corpus_stats *c) {
    double mean = c->freq * c->mean; /* over all tokens, not those where it fired */
    return mean * mean;
}

static double squared_ratio(const lethe_feature *f) {
    double retain = squared(&f->retain), near = squared(&f->near);
    return squared(&f->forget) / ((near > retain ? near : retain) + 1e-21);
}

static int rising(const void *pa, const void *pb) {
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* The q-th percentile of v [n], sorted here; between two ranks in proportion. */
static double percentile(double *v, size_t n, double q) {
    qsort(v, n, sizeof *v, rising);
    double rank = q / 100 * (double)(n - 1);
    size_t at = (size_t)rank;
    if (at + 1 >= n) return v[n - 1];
    return v[at] + (rank - (double)at) * (v[at + 1] - v[at]);
}

/* Of all [n], which fire on the forget text, those between the percentiles move to the front. */
static lethe_status cut_squared(lethe_feature_set *s, ranked *all, size_t n, lethe_err *err) {
    double *v;
    LETHE_TRY(lethe_alloc(&v, n, sizeof *v, "scores of the latents", err));
    for (size_t i = 0; i < n; i++) v[i] = squared(&all[i].f.forget);
    double least = percentile(v, n, s->opts.forget_percentile);
    for (size_t i = 0; i < n; i++) v[i] = squared_ratio(&all[i].f);
    double ratio = percentile(v, n, s->opts.ratio_percentile);
    lethe_free(v);
    for (size_t i = 0; i < n; i++) {
        double a = squared(&all[i].f.forget);
        if (a < least || squared_ratio(&all[i].f) < ratio) continue;
        all[s->passed] = all[i];
        all[s->passed].metric = all[s->passed].f.score = a;
        s->passed++;
    }
    return LETHE_OK;
}

static lethe_status none_left(const lethe_feature_set *s, lethe_err *err) {
    const lethe_feature_removed *r = &s->removed;
    const lethe_feature_opts *o = &s->opts;
    char diff[160] = "";
    if (wants_positive_diff(s))
        snprintf(diff, sizeof diff, "; forget %s > %g x retain's + %g x near's failed %llu",
                 lethe_weigh_by_name(o->weigh_by), o->retain_weight,
                 s->has_near ? o->near_weight : 0, (unsigned long long)r->diff);
    return lethe_fail(
        err, LETHE_FAIL,
        "no feature is left of %zu latents (a latent may fail several): --min-freq %g failed %llu; "
        "--min-forget-fires %g failed %llu; --max-retain-freq %g failed %llu; --max-freq %g failed "
        "%llu; --min-ratio %g failed %llu%s. Loosen the one that fails most, give more forget text "
        "(now %llu tokens), or train the SAE longer",
        s->m, o->min_freq, (unsigned long long)r->min_freq, o->min_forget_fires,
        (unsigned long long)r->min_forget_fires, o->max_retain_freq,
        (unsigned long long)r->max_retain_freq, o->max_freq, (unsigned long long)r->max_freq,
        o->min_ratio, (unsigned long long)r->min_ratio, diff, (unsigned long long)s->forget_tokens);
}

static lethe_status keep_best(lethe_feature_set *s, const ranked *all, lethe_err *err) {
    size_t n = s->passed < s->opts.num_features ? s->passed : s->opts.num_features;
    LETHE_TRY(lethe_alloc(&s->item, n, sizeof *s->item, "the chosen features", err));
    for (size_t i = 0; i < n; i++) s->item[i] = all[i].f;
    s->n = n;
    return LETHE_OK;
}

lethe_status lethe_features_select(lethe_feature_set *out, const lethe_feature_counts *forget,
                                   const lethe_feature_counts *retain,
                                   const lethe_feature_counts *near, const lethe_feature_opts *opts,
                                   lethe_err *err) {
    assert(forget->m == retain->m && (!near || near->m == forget->m));
    LETHE_TRY(check_opts(opts, err));
    lethe_feature_set s = {.opts = *opts,
                           .m = forget->m,
                           .forget_tokens = forget->tokens,
                           .retain_tokens =
                               retain->tokens + (near && opts->near_in_retain ? near->tokens : 0),
                           .near_tokens = near ? near->tokens : 0,
                           .has_near = near != NULL,
                           .sae = {.layer = -1, .hook = -1}};
    if (!forget->tokens || !retain->tokens || (near && !near->tokens))
        return lethe_fail(err, LETHE_USAGE, "the %s text gave no tokens to count features on",
                          !forget->tokens   ? "forget"
                          : !retain->tokens ? "retain"
                                            : "near");
    resolve_opts(&s.opts, forget->tokens);
    ranked *all = NULL;
    LETHE_TRY(lethe_alloc(&all, s.m, sizeof *all, "statistics of the latents", err));
    for (size_t i = 0; i < s.m; i++) {
        lethe_feature f = feature_of(&s, i, forget, retain, near);
        if (!isfinite(f.score) || !isfinite(f.act_ratio)) {
            lethe_free(all);
            return lethe_fail(err, LETHE_NONFINITE,
                              "latent %zu has activations that are not finite: the SAE is broken, "
                              "or does not belong to this model and layer",
                              i);
        }
        bool by_square = opts->select == LETHE_SELECT_ACT_SQUARED;
        if (by_square ? f.forget.fires > 0 : keeps(&s, &f))
            all[s.passed++] = (ranked){metric_of(&f, &s.opts), f};
    }
    if (opts->select == LETHE_SELECT_ACT_SQUARED && s.passed) {
        size_t n = s.passed;
        s.passed = 0;
        lethe_status cut = cut_squared(&s, all, n, err);
        if (cut) {
            lethe_free(all);
            return cut;
        }
    }
    if (s.passed) qsort(all, s.passed, sizeof *all, better_first);
    lethe_status st = s.passed ? keep_best(&s, all, err) : none_left(&s, err);
    lethe_free(all);
    if (st == LETHE_OK) *out = s;
    return st;
}

void lethe_feature_set_free(lethe_feature_set *s) {
    lethe_free(s->item);
    *s = (lethe_feature_set){0};
}

lethe_status lethe_feature_set_indices(const lethe_feature_set *s, int32_t **out, lethe_err *err) {
    LETHE_TRY(lethe_alloc(out, s->n, sizeof **out, "feature indices", err));
    for (size_t i = 0; i < s->n; i++) (*out)[i] = s->item[i].index;
    return LETHE_OK;
}

lethe_status lethe_feature_set_means(const lethe_feature_set *s, float **out, lethe_err *err) {
    LETHE_TRY(lethe_alloc(out, s->n, sizeof **out, "mean activations", err));
    for (size_t i = 0; i < s->n; i++) (*out)[i] = (float)s->item[i].forget.mean;
    return LETHE_OK;
}

/* Half a firing more than seen: a feature that never fired on some text may yet. */
static double chance(const lethe_corpus_stats *c, uint64_t tokens) {
    return ((double)c->fires + 0.5) / ((double)tokens + 1);
}

lethe_status lethe_feature_set_evidence(const lethe_feature_set *s, float **out, lethe_err *err) {
    LETHE_TRY(lethe_alloc(out, s->n, 2 * sizeof **out, "what features say to a guard", err));
    bool known = s->forget_tokens && s->retain_tokens;
    for (size_t i = 0; i < s->n; i++) {
        double p = chance(&s->item[i].forget, s->forget_tokens);
        double q = chance(&s->item[i].retain, s->retain_tokens);
        if (s->has_near) q = fmax(q, chance(&s->item[i].near, s->near_tokens));
        q = fmin(q, p); /* one that is commoner elsewhere says nothing */
        (*out)[2 * i] = known ? (float)log(p / q) : NAN;
        (*out)[2 * i + 1] = known ? (float)log((1 - p) / (1 - q)) : NAN;
    }
    return LETHE_OK;
}

static int by_number(const void *pa, const void *pb) {
    const int32_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

lethe_status lethe_features_check(const int32_t *index, size_t n, size_t m, lethe_err *err) {
    if (!n || n > m)
        return lethe_fail(err, LETHE_USAGE,
                          "%zu features to ablate, the SAE has %zu latents: give 1 to %zu", n, m,
                          m);
    int32_t *sorted;
    LETHE_TRY(lethe_alloc(&sorted, n, sizeof *sorted, "feature indices", err));
    memcpy(sorted, index, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_number);
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < n && !st; i++) {
        if (sorted[i] < 0 || (size_t)sorted[i] >= m)
            st = lethe_fail(err, LETHE_USAGE,
                            "feature %d does not exist: the SAE has latents 0 to %zu (features of "
                            "another SAE?)",
                            sorted[i], m - 1);
        else if (i && sorted[i] == sorted[i - 1])
            st = lethe_fail(err, LETHE_USAGE, "feature %d is given twice", sorted[i]);
    }
    lethe_free(sorted);
    return st;
}

void lethe_feature_set_table(const lethe_feature_set *s, size_t rows, lethe_strbuf *out) {
    const lethe_feature_removed *r = &s->removed;
    lethe_strbuf_addf(out, "tokens: forget %llu, retain %llu", (unsigned long long)s->forget_tokens,
                      (unsigned long long)s->retain_tokens);
    if (s->has_near)
        lethe_strbuf_addf(out, s->opts.near_in_retain ? " (near %llu of them)" : ", near %llu",
                          (unsigned long long)s->near_tokens);
    lethe_strbuf_addf(out,
                      "\nlatents: %zu; failing min-freq %llu, min-forget-fires %llu, "
                      "max-retain-freq %llu, max-freq %llu, min-ratio %llu",
                      s->m, (unsigned long long)r->min_freq,
                      (unsigned long long)r->min_forget_fires,
                      (unsigned long long)r->max_retain_freq, (unsigned long long)r->max_freq,
                      (unsigned long long)r->min_ratio);
    if (wants_positive_diff(s))
        lethe_strbuf_addf(out, ", difference %llu", (unsigned long long)r->diff);
    bool diff_means = s->opts.select == LETHE_SELECT_DIFF_MEANS;
    lethe_strbuf_addf(out, "; passed %zu, chosen %zu by %s\n\n", s->passed, s->n,
                      diff_means ? lethe_sort_by_name(s->opts.sort_by)
                                 : lethe_select_name(s->opts.select));
    lethe_strbuf_adds(out, " rank  latent   forget %  retain %    near %    ratio  act-ratio      "
                           "score\n");
    size_t n = rows && rows < s->n ? rows : s->n;
    for (size_t i = 0; i < n; i++) {
        const lethe_feature *f = &s->item[i];
        lethe_strbuf_addf(out, "%5zu  %6d  %9.4f %9.4f %9.4f  %7.2f  %9.4g  %9.3g\n", i + 1,
                          f->index, 100 * f->forget.freq, 100 * f->retain.freq, 100 * f->near.freq,
                          f->ratio, f->act_ratio, f->score);
    }
    if (n < s->n) lethe_strbuf_addf(out, "  ... and %zu more\n", s->n - n);
}
