/* SPDX-License-Identifier: MIT
 *
 * Choosing features from counts made by hand: thresholds, near texts, ties, scaled options, errors.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stage/features.h"

#define M 6

static lethe_err err;

static lethe_feature_counts counts(uint64_t tokens, const uint64_t fires[M], double mean) {
    lethe_feature_counts c;
    assert_ok(lethe_feature_counts_alloc(&c, M, &err), &err);
    c.tokens = tokens;
    for (size_t i = 0; i < M; i++) {
        c.fires[i] = fires[i];
        c.sum[i] = mean * (double)fires[i];
    }
    return c;
}

static const uint64_t forget_fires[M] = {100, 500, 100, 3000, 70, 0};
static const uint64_t retain_fires[M] = {0, 10, 0, 0, 60, 5};

static void formulas(void **state) {
    (void)state;
    lethe_feature_counts f = counts(10000, forget_fires, 2), r = counts(20000, retain_fires, 0.5);
    lethe_feature_opts o = lethe_feature_defaults();
    lethe_feature_set s;
    assert_ok(lethe_features_select(&s, &f, &r, NULL, &o, &err), &err);
    /* 3 is too frequent (0.3), 4 has ratio 86/76, 5 never fires */
    assert_int_equal(s.passed, 3);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.removed.max_freq, 1);
    assert_int_equal(s.removed.min_ratio, 2);
    assert_int_equal(s.removed.min_freq, 1);
    assert_int_equal(s.removed.min_forget_fires, 1);
    assert_int_equal(s.removed.diff, 0);
    const lethe_feature *one = NULL, *zero = NULL;
    size_t at0 = 9, at2 = 9;
    for (size_t i = 0; i < s.n; i++) {
        if (s.item[i].index == 1) one = &s.item[i];
        if (s.item[i].index == 0) zero = &s.item[i], at0 = i;
        if (s.item[i].index == 2) at2 = i;
    }
    assert_non_null(one);
    assert_non_null(zero);
    assert_int_equal(at2, at0 + 1); /* equal scores: lower index first */
    double ratio = 516.0 / 26.0, act = 2 / (0.5 + 1e-4), diff = 0.05 - 0.0005;
    assert_true(fabs(one->ratio - ratio) < 1e-12);
    assert_true(fabs(one->act_ratio - act) < 1e-8);
    assert_true(fabs(one->diff - diff) < 1e-15);
    assert_true(fabs(one->score - diff * log1p(ratio) * log1p(act)) < 1e-9);
    assert_true(zero->retain.mean == 0 && zero->near.fires == 0);
    lethe_feature_set_free(&s);
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
}

/* What features say to a guard, by the formula of features.h; NaN where sizes are not known. */
static void evidence(void **state) {
    (void)state;
    static const uint64_t near_fires[M] = {0, 20, 0, 0, 0, 0};
    lethe_feature_counts f = counts(10000, forget_fires, 2), r = counts(20000, retain_fires, 0.5),
                         n = counts(10000, near_fires, 1);
    lethe_feature_opts o = lethe_feature_defaults();
    o.near_weight = 0;
    for (int near = 0; near < 2; near++) {
        lethe_feature_set s;
        float *out = NULL;
        assert_ok(lethe_features_select(&s, &f, &r, near ? &n : NULL, &o, &err), &err);
        assert_int_equal(s.n, 3);
        assert_ok(lethe_feature_set_evidence(&s, &out, &err), &err);
        for (size_t i = 0; i < s.n; i++) {
            size_t j = (size_t)s.item[i].index;
            double p = ((double)forget_fires[j] + 0.5) / 10001;
            double q = ((double)retain_fires[j] + 0.5) / 20001;
            double q2 = ((double)near_fires[j] + 0.5) / 10001;
            if (near && q2 > q) q = q2;
            assert_true(fabs((double)out[2 * i] - log(p / q)) < 1e-6);
            assert_true(fabs((double)out[2 * i + 1] - log((1 - p) / (1 - q))) < 1e-8);
        }
        lethe_free(out);
        s.forget_tokens = 0; /* as of a file that does not say */
        assert_ok(lethe_feature_set_evidence(&s, &out, &err), &err);
        for (size_t i = 0; i < 2 * s.n; i++) assert_true(isnan(out[i]));
        lethe_free(out);
        lethe_feature_set_free(&s);
    }
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
    lethe_feature_counts_free(&n);
}

static void near_texts(void **state) {
    (void)state;
    static const uint64_t near_fires[M] = {0, 200, 40, 0, 0, 0};
    lethe_feature_counts f = counts(10000, forget_fires, 2), r = counts(20000, retain_fires, 0.5),
                         n = counts(10000, near_fires, 1);
    lethe_feature_opts o = lethe_feature_defaults();
    o.max_retain_freq = 0.1;
    o.min_ratio = 1;
    o.sort_by = LETHE_SORT_DIFF;
    o.near_in_retain = true;
    lethe_feature_set s;
    assert_ok(lethe_features_select(&s, &f, &r, &n, &o, &err), &err);
    assert_int_equal(s.retain_tokens, 30000);
    assert_int_equal(s.near_tokens, 10000);
    /* 1: 0.05 - 210/30000 - 3 * 0.02 < 0 and 2: 0.01 - 40/30000 - 3 * 0.004 < 0 go */
    assert_true(s.removed.diff >= 2);
    for (size_t i = 0; i < s.n; i++) assert_true(s.item[i].index != 1 && s.item[i].index != 2);
    o.near_weight = 1; /* now 1 stays: near counted once as retain, once weighed */
    lethe_feature_set_free(&s);
    assert_ok(lethe_features_select(&s, &f, &r, &n, &o, &err), &err);
    assert_int_equal(s.item[0].index, 1);
    assert_true(fabs(s.item[0].diff - (0.05 - 210.0 / 30000 - 0.02)) < 1e-15);
    assert_int_equal(s.item[0].retain.fires, 210);
    assert_true(fabs(s.item[0].retain.mean - 205.0 / 210) < 1e-9);
    assert_true(fabs(s.item[0].ratio - 516.0 / 226) < 1e-12);
    lethe_feature_set_free(&s);
    o.equalise = true; /* 210 fires in 30,000 tokens are 70 in 10,000 */
    assert_ok(lethe_features_select(&s, &f, &r, &n, &o, &err), &err);
    assert_true(fabs(s.item[0].ratio - 516.0 / 86) < 1e-12);
    lethe_feature_set_free(&s);
    o.near_in_retain = false; /* near texts weigh in diff alone; 10 fires in 20,000 are 5 */
    assert_ok(lethe_features_select(&s, &f, &r, &n, &o, &err), &err);
    assert_int_equal(s.retain_tokens, 20000);
    assert_int_equal(s.item[0].index, 1);
    assert_true(fabs(s.item[0].diff - (0.05 - 0.0005 - 0.02)) < 1e-15);
    assert_true(fabs(s.item[0].ratio - 516.0 / 21) < 1e-12);
    assert_true(fabs(s.item[0].retain.mean - 0.5) < 1e-9);
    lethe_feature_set_free(&s);
    /* By activation: the same, each frequency times the mean activation on that text. */
    o.weigh_by = LETHE_WEIGH_ACTIVATION;
    o.retain_weight = 2;
    assert_ok(lethe_features_select(&s, &f, &r, &n, &o, &err), &err);
    assert_int_equal(s.item[0].index, 1);
    assert_true(fabs(s.item[0].diff - (0.05 * 2 - 2 * 0.0005 * 0.5 - 0.02 * 1)) < 1e-9);
    lethe_feature_set_free(&s);
    /* The control draws from all that fire, by its seed. */
    o.sort_by = LETHE_SORT_RANDOM;
    o.max_freq = 0; /* thresholds do not matter to it */
    o.num_features = M;
    assert_ok(lethe_features_select(&s, &f, &r, &n, &o, &err), &err);
    size_t fire = 0;
    for (size_t i = 0; i < M; i++) fire += forget_fires[i] > 0;
    assert_int_equal(s.n, fire);
    lethe_feature_set_free(&s);
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
    lethe_feature_counts_free(&n);
}

static void scaled_options(void **state) {
    (void)state;
    static const struct {
        uint64_t tokens;
        double fires, smoothing;
    } want[] = {{10000, 8, 2}, {120000, 12, 3}, {1000000, 64, 16}};
    for (size_t i = 0; i < 3; i++) {
        lethe_feature_counts f = counts(want[i].tokens, forget_fires, 2),
                             r = counts(want[i].tokens, retain_fires, 1);
        lethe_feature_opts o = lethe_feature_defaults();
        o.min_forget_fires = o.ratio_smoothing = 0;
        o.min_freq = 0;
        o.num_features = 1;
        lethe_feature_set s;
        assert_ok(lethe_features_select(&s, &f, &r, NULL, &o, &err), &err);
        assert_int_equal(s.n, 1);
        assert_true(s.opts.min_forget_fires == want[i].fires);
        assert_true(s.opts.ratio_smoothing == want[i].smoothing);
        lethe_feature_set_free(&s);
        lethe_feature_counts_free(&f);
        lethe_feature_counts_free(&r);
    }
}

static void none_left(void **state) {
    (void)state;
    lethe_feature_counts f = counts(10000, forget_fires, 2), r = counts(20000, retain_fires, 1);
    lethe_feature_opts o = lethe_feature_defaults();
    o.min_forget_fires = 4000;
    lethe_feature_set s = {0};
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_FAIL);
    assert_non_null(strstr(err.text, "--min-forget-fires 4000 failed 6"));
    assert_non_null(strstr(err.text, "--max-freq 0.2 failed 1"));
    assert_null(s.item);
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
}

static void bad_options(void **state) {
    (void)state;
    lethe_feature_counts f = counts(10000, forget_fires, 2), r = counts(20000, retain_fires, 1),
                         empty = counts(0, retain_fires, 1);
    lethe_feature_set s;
    lethe_feature_opts o = lethe_feature_defaults();
    o.activation_eps = 0;
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "--activation-eps is 0"));
    o = lethe_feature_defaults();
    o.ratio_smoothing = -1;
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_USAGE);
    o = lethe_feature_defaults();
    o.min_ratio = NAN;
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "--min-ratio"));
    o = lethe_feature_defaults();
    o.num_features = 0;
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_USAGE);
    o = lethe_feature_defaults();
    assert_int_equal(lethe_features_select(&s, &f, &empty, NULL, &o, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "the retain text"));
    assert_int_equal(lethe_features_select(&s, &f, &r, &empty, &o, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "the near text"));
    f.sum[2] = INFINITY;
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_NONFINITE);
    assert_non_null(strstr(err.text, "latent 2"));
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
    lethe_feature_counts_free(&empty);
}

/* Latents whose squares and ratios are known; percentiles as numpy's, by rank. */
static void act_squared(void **state) {
    (void)state;
    /* sums 1..5 on 10 tokens: A = 0.01 .. 0.25; retain sums so that the ratios are 1, 4, 9, 16, 1
     */
    lethe_feature_counts f = counts(10, (const uint64_t[M]){1, 2, 3, 4, 5, 0}, 1);
    lethe_feature_counts r = counts(10, (const uint64_t[M]){1, 1, 1, 1, 5, 9}, 1);
    lethe_feature_counts n = counts(10, (const uint64_t[M]){1, 0, 0, 4, 0, 0}, 1);
    lethe_feature_opts o = lethe_feature_defaults();
    o.select = LETHE_SELECT_ACT_SQUARED;
    o.forget_percentile = 25; /* of 0.01, 0.04, 0.09, 0.16, 0.25: rank 1, 0.04 */
    o.ratio_percentile = 50;  /* of 1, 4, 9, 16, 1: rank 2, 4 */
    lethe_feature_set s;
    assert_ok(lethe_features_select(&s, &f, &r, NULL, &o, &err), &err);
    assert_int_equal(s.passed, 3);
    const int32_t want[] = {3, 2, 1};
    for (size_t i = 0; i < 3; i++) assert_int_equal(s.item[i].index, want[i]);
    assert_true(fabs(s.item[0].score - 0.16) < 1e-7);
    lethe_feature_set_free(&s);
    /* 30 % of rank 4 is 1.2: 0.04 + 0.2 * 0.05, which latent 1 misses */
    o.forget_percentile = 30;
    o.num_features = 1;
    assert_ok(lethe_features_select(&s, &f, &r, NULL, &o, &err), &err);
    assert_int_equal(s.passed, 2);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.item[0].index, 3);
    lethe_feature_set_free(&s);
    /* near text counts where it is more: latent 3 has the ratio 1 now, of 1, 4, 9, 1, 1 */
    o.forget_percentile = 0;
    o.ratio_percentile = 75;
    assert_ok(lethe_features_select(&s, &f, &r, &n, &o, &err), &err);
    assert_int_equal(s.passed, 2);
    assert_int_equal(s.item[0].index, 2);
    lethe_feature_set_free(&s);
    o.ratio_percentile = 101;
    assert_int_equal(lethe_features_select(&s, &f, &r, NULL, &o, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "--ratio-percentile is 101"));
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
    lethe_feature_counts_free(&n);
}

static void names(void **state) {
    (void)state;
    lethe_sort_by by;
    for (int i = 0; i < LETHE_SORT_COUNT; i++) {
        assert_true(lethe_sort_by_from_name(lethe_sort_by_name((lethe_sort_by)i), &by));
        assert_int_equal(by, i);
    }
    assert_true(lethe_sort_by_from_name("act_ratio", &by));
    assert_int_equal(by, LETHE_SORT_ACT_RATIO);
    assert_false(lethe_sort_by_from_name("best", &by));
}

static void skipped_tokens(void **state) {
    (void)state;
    int32_t index[4] = {0, 1, 1, 2};
    float value[4] = {1, 0, 2, 3}; /* 0: chosen by top-k, but not firing */
    bool skip[2] = {false, true};
    lethe_codes codes = {.n = 2, .k = 2, .index = index, .value = value};
    static const uint64_t none[M] = {0};
    lethe_feature_counts c = counts(0, none, 0);
    lethe_feature_counts_add(&c, &codes, skip);
    assert_int_equal(c.tokens, 1);
    assert_int_equal(c.fires[0], 1);
    assert_int_equal(c.fires[1], 0);
    assert_int_equal(c.fires[2], 0);
    lethe_feature_counts_add(&c, &codes, NULL);
    assert_int_equal(c.tokens, 3);
    assert_int_equal(c.fires[0], 2);
    assert_int_equal(c.fires[1], 1);
    assert_true(c.sum[2] == 3);
    lethe_feature_counts_free(&c);
}

static void no_memory(void **state) {
    (void)state;
    lethe_feature_counts f = counts(10000, forget_fires, 2), r = counts(20000, retain_fires, 0.5);
    lethe_feature_opts o = lethe_feature_defaults();
    lethe_feature_set s = {0};
    lethe_status st = LETHE_NOMEM;
    size_t k = 0;
    for (; st == LETHE_NOMEM && k < 100; k++) {
        lethe_mem_fail_after(k);
        st = lethe_features_select(&s, &f, &r, NULL, &o, &err);
        lethe_mem_fail_after(SIZE_MAX);
    }
    assert_ok(st, &err);
    assert_int_equal(k, 3); /* two allocations, each of which failed once */
    lethe_feature_set_free(&s);
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(act_squared), cmocka_unit_test(formulas),
        cmocka_unit_test(near_texts),  cmocka_unit_test(scaled_options),
        cmocka_unit_test(none_left),   cmocka_unit_test(bad_options),
        cmocka_unit_test(names),       cmocka_unit_test(skipped_tokens),
        cmocka_unit_test(evidence),    cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
