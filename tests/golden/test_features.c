/* SPDX-License-Identifier: MIT
 *
 * Feature statistics and all rankings against the reference experiment's. Where metrics are equal
 * its order is arbitrary, so order is compared only between different metrics, and sets throughout.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "sae/encoder.h"
#include "stage/features.h"

#define CTX 64 /* only whole windows of this length count */
#define K 8

static lethe_st *file;
static lethe_sae sae;
static lethe_err err;

static float *tensor(const char *name, size_t *count) {
    const lethe_tensor *t = lethe_st_find(file, name);
    if (!t) fail_msg("%s is missing", name);
    float *x = NULL;
    assert_ok(lethe_alloc(&x, t->count, sizeof *x, name, &err), &err);
    assert_ok(lethe_tensor_to_f32(t, 0, t->count, x, &err), &err);
    if (count) *count = t->count;
    return x;
}

static void load_sae(void) {
    const lethe_tensor *w = lethe_st_find(file, "sae.W_dec");
    assert_ok(lethe_sae_alloc(&sae, w->shape[1], w->shape[0], K, &err), &err);
    float *enc = tensor("sae.W_enc", NULL), *dec = tensor("sae.W_dec", NULL),
          *b_enc = tensor("sae.b_enc", NULL), *b_dec = tensor("sae.b_dec", NULL);
    for (size_t i = 0; i < sae.m; i++)
        for (size_t j = 0; j < sae.d; j++) sae.W_enc[i * sae.d + j] = enc[j * sae.m + i];
    memcpy(sae.W_dec, dec, sae.m * sae.d * sizeof *dec);
    memcpy(sae.b_enc, b_enc, sae.m * sizeof *b_enc);
    memcpy(sae.b_dec, b_dec, sae.d * sizeof *b_dec);
    lethe_free(enc);
    lethe_free(dec);
    lethe_free(b_enc);
    lethe_free(b_dec);
}

/* Counts over the whole windows of `name`, in batches of `batch` tokens. */
static lethe_feature_counts count(const char *name, size_t k, size_t batch) {
    size_t n;
    float *x = tensor(name, &n);
    n = n / sae.d / CTX * CTX;
    lethe_feature_counts c;
    assert_ok(lethe_feature_counts_alloc(&c, sae.m, &err), &err);
    lethe_sae view = sae;
    view.k = k;
    for (size_t i = 0; i < n; i += batch) {
        size_t rows = n - i < batch ? n - i : batch;
        lethe_codes codes;
        assert_ok(lethe_codes_alloc(&codes, rows, k, &err), &err);
        lethe_encoder e;
        assert_ok(lethe_encoder_open(&e, &view, &err), &err);
        assert_ok(lethe_encode(&e, x + i * sae.d, rows, &codes, NULL, &err), &err);
        lethe_encoder_close(&e);
        lethe_feature_counts_add(&c, &codes, NULL);
        lethe_codes_free(&codes);
    }
    lethe_free(x);
    return c;
}

/* One latent's figure against the reference's; absent in the file: not compared. */
static void check(const char *stats, const char *what, const double *got, double rel) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", stats, what);
    if (!lethe_st_find(file, name)) return;
    float *want = tensor(name, NULL), *mine = NULL;
    assert_ok(lethe_alloc(&mine, sae.m, sizeof *mine, what, &err), &err);
    for (size_t i = 0; i < sae.m; i++) mine[i] = (float)got[i];
    assert_close(mine, want, sae.m, rel, name);
    lethe_free(want);
    lethe_free(mine);
}

typedef struct variant {
    const char *name;
    const char *stats; /* NULL: not stored */
    lethe_sort_by by;
    size_t k, n;
    bool loose, defaults;
} variant;

/* Statistics of every latent: a choice that no threshold narrows. */
static void check_stats(const variant *v, const lethe_feature_counts *f,
                        const lethe_feature_counts *r, double smoothing) {
    lethe_feature_opts o = lethe_feature_defaults();
    o.min_freq = -1;
    o.min_forget_fires = 1e-9; /* above 0, which asks for the scaled one; rounds no latent in */
    o.max_retain_freq = o.max_freq = 2;
    o.min_ratio = -1;
    o.ratio_smoothing = smoothing;
    o.num_features = sae.m;
    lethe_feature_set s;
    assert_ok(lethe_features_select(&s, f, r, NULL, &o, &err), &err);
    double *col[9];
    for (int c = 0; c < 9; c++)
        assert_ok(lethe_zalloc(&col[c], sae.m, sizeof **col, "columns", &err), &err);
    for (size_t i = 0; i < sae.m; i++) { /* latents that never fired on the forget text */
        col[3][i] = (double)r->fires[i] / (double)r->tokens;
        col[1][i] = (double)r->fires[i];
        col[5][i] = r->sum[i] / ((double)r->fires[i] + 1e-8);
        col[6][i] = smoothing / (col[1][i] + smoothing);
        col[7][i] = -col[3][i] * log1p(col[6][i]) * log1p(0);
    }
    for (size_t i = 0; i < s.n; i++) {
        const lethe_feature *a = &s.item[i];
        double row[9] = {(double)a->forget.fires,
                         (double)a->retain.fires,
                         a->forget.freq,
                         a->retain.freq,
                         a->forget.mean,
                         a->retain.mean,
                         a->ratio,
                         a->score,
                         a->act_ratio};
        for (int c = 0; c < 9; c++) col[c][a->index] = row[c];
    }
    static const char *const what[9] = {"target_fire_count",
                                        "neutral_fire_count",
                                        "target_freq",
                                        "neutral_freq",
                                        "target_mean_activation",
                                        "neutral_mean_activation",
                                        "specificity_ratio",
                                        "score",
                                        "act_ratio"};
    for (int c = 0; c < 9; c++) {
        check(v->stats, what[c], col[c], 5e-6);
        lethe_free(col[c]);
    }
    lethe_feature_set_free(&s);
}

static double metric(const lethe_feature *f, lethe_sort_by by) {
    return by == LETHE_SORT_RATIO   ? f->ratio
           : by == LETHE_SORT_DIFF  ? f->diff
           : by == LETHE_SORT_SCORE ? f->score
                                    : f->act_ratio;
}

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void check_ranking(const variant *v, const lethe_feature_set *s) {
    char name[96];
    size_t n;
    snprintf(name, sizeof name, "%s.metric", v->name);
    float *want_metric = tensor(name, &n), *got = NULL;
    assert_int_equal(n, v->n);
    assert_int_equal(s->n, v->n);
    assert_ok(lethe_alloc(&got, n, sizeof *got, "metrics", &err), &err);
    for (size_t i = 0; i < n; i++) got[i] = (float)metric(&s->item[i], v->by);
    assert_close(got, want_metric, n, 5e-6, name);

    snprintf(name, sizeof name, "%s.indices", v->name);
    const lethe_tensor *t = lethe_st_find(file, name);
    int32_t *want = NULL, *mine = NULL;
    assert_ok(lethe_alloc(&want, n, sizeof *want, "indices", &err), &err);
    assert_ok(lethe_tensor_to_i32(t, 0, n, want, &err), &err);
    assert_ok(lethe_feature_set_indices(s, &mine, &err), &err);
    for (size_t i = 0; i < n;) { /* runs of one metric, each as a set */
        size_t end = i + 1;
        while (end < n && want_metric[end] == want_metric[i]) end++;
        /* the run at the cut may be a different part of those equal at the cut */
        if (end < n || end - i == 1) {
            qsort(want + i, end - i, sizeof *want, by_value);
            qsort(mine + i, end - i, sizeof *mine, by_value);
            for (size_t j = i; j < end; j++)
                if (want[j] != mine[j])
                    fail_msg("%s: place %zu is latent %d, want %d", v->name, j, mine[j], want[j]);
        }
        i = end;
    }
    lethe_free(want_metric);
    lethe_free(got);
    lethe_free(want);
    lethe_free(mine);
}

static void rankings(void **state) {
    (void)state;
    static const variant all[] = {
        {"ratio", NULL, LETHE_SORT_RATIO, K, 40, false, false},
        {"score", "stats_score", LETHE_SORT_SCORE, K, 40, false, false},
        {"diff", NULL, LETHE_SORT_DIFF, K, 40, false, false},
        {"act_ratio", NULL, LETHE_SORT_ACT_RATIO, K, 40, false, false},
        {"ratio_loose", "stats_ratio_loose", LETHE_SORT_RATIO, K, 60, true, false},
        {"score_loose", NULL, LETHE_SORT_SCORE, K, 60, true, false},
        {"diff_loose", NULL, LETHE_SORT_DIFF, K, 60, true, false},
        {"act_ratio_loose", NULL, LETHE_SORT_ACT_RATIO, K, 60, true, false},
        {"score_seed_defaults", NULL, LETHE_SORT_SCORE, K, 20, false, true},
        {"score_k_half", "stats_score_k_half", LETHE_SORT_SCORE, K / 2, 40, false, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const variant *v = &all[i];
        lethe_feature_opts o = lethe_feature_defaults();
        o.sort_by = v->by;
        o.num_features = v->n;
        if (!v->defaults) {
            o.min_forget_fires = 8;
            o.max_retain_freq = 0.02;
            o.min_ratio = 1.2;
        }
        if (v->loose) {
            o.min_freq = o.min_ratio = -1;
            o.max_retain_freq = o.max_freq = 2;
            o.min_forget_fires = 1e-9;
            o.ratio_smoothing = 1;
        }
        lethe_feature_counts f = count("target_acts", v->k, 192),
                             r = count("neutral_acts", v->k, 192);
        lethe_feature_set s;
        assert_ok(lethe_features_select(&s, &f, &r, NULL, &o, &err), &err);
        check_ranking(v, &s);
        lethe_feature_set_free(&s);
        if (v->stats) check_stats(v, &f, &r, v->loose ? 1 : 16);
        lethe_feature_counts_free(&f);
        lethe_feature_counts_free(&r);
    }
}

static void none_valid(void **state) {
    (void)state;
    lethe_feature_counts f = count("target_acts", K, 512), r = count("neutral_acts", K, 512);
    lethe_feature_opts o = lethe_feature_defaults();
    o.min_ratio = 1e9;
    lethe_feature_set s = {0};
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_FAIL);
    assert_non_null(strstr(err.text, "--min-ratio 1e+09 failed 512"));
    assert_null(s.item);
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
}

/* Batch by batch or all at once: the same counts. (Sums may differ in the last bit: the encoder's
 * product rounds by the shape of its batch.) Merged parts add up. */
static void batches_and_merge(void **state) {
    (void)state;
    lethe_feature_counts one = count("target_acts", K, 100000), many = count("target_acts", K, 7);
    assert_int_equal(one.tokens, many.tokens);
    assert_memory_equal(one.fires, many.fires, sae.m * sizeof *one.fires);
    for (size_t i = 0; i < sae.m; i++)
        assert_true(fabs(one.sum[i] - many.sum[i]) <= 1e-5 * one.sum[i]);
    lethe_feature_counts_merge(&many, &one);
    assert_int_equal(many.tokens, 2 * one.tokens);
    for (size_t i = 0; i < sae.m; i++) {
        assert_int_equal(many.fires[i], 2 * one.fires[i]);
        assert_true(fabs(many.sum[i] - 2 * one.sum[i]) <= 2e-5 * one.sum[i]);
    }
    lethe_feature_counts_free(&one);
    lethe_feature_counts_free(&many);
}

int main(void) {
    const char *path = test_shared("golden/sae/features.safetensors");
    if (!path) return LETHE_TEST_SKIPPED;
    if (lethe_st_open(&file, path, &err) != LETHE_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    load_sae();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rankings),
        cmocka_unit_test(none_valid),
        cmocka_unit_test(batches_and_merge),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_sae_free(&sae);
    lethe_st_close(&file);
    return rc;
}
