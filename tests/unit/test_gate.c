/* SPDX-License-Identifier: MIT
 *
 * The compact gate: what it does to rows against plain loops in double precision; what it takes out
 * of an SAE against the exact encoder; the same bytes however rows and threads are cut.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "sae/encoder.h"
#include "stage/ablate.h"
#include "stage/gate.h"

#define D 37
#define N 11
#define ROWS 300

static lethe_err err;
static lethe_sae sae;
static lethe_patch patch;
static float x[ROWS * D];
static const int32_t feature[N] = {3, 50, 7, 22, 41, 0, 63, 12, 30, 9, 17};

static void fill(void) {
    lethe_rng r = lethe_rng_make(11, 0);
    assert_ok(lethe_sae_alloc(&sae, D, 64, 16, &err), &err);
    lethe_sae_init(&sae, 5);
    for (size_t i = 0; i < sae.m; i++) sae.b_enc[i] = 0.1f * (float)lethe_rng_normal(&r);
    for (size_t i = 0; i < D; i++) sae.b_dec[i] = (float)lethe_rng_normal(&r);
    for (size_t i = 0; i < ROWS * D; i++) x[i] = 2 * (float)lethe_rng_normal(&r);
    assert_ok(lethe_patch_from_sae(&patch, &sae, feature, N, &err), &err);
    for (size_t i = 0; i < N; i++) patch.threshold[i] = 0.25f * (float)i;
    patch.how.strength = -3;
}

/* a_i in double, straight from the SAE. */
static double activation(const float *row, size_t i) {
    size_t latent = (size_t)feature[i];
    double a = (double)sae.b_enc[latent];
    for (size_t j = 0; j < D; j++)
        a += (double)sae.W_enc[latent * D + j] * ((double)row[j] - (double)sae.b_dec[j]);
    return a;
}

typedef struct plain { /* what the formula says */
    double y[ROWS * D];
    lethe_hook_stats stats;
} plain;

static void by_the_formula(plain *p, double scale, const bool *skip) {
    *p = (plain){0};
    for (size_t t = 0; t < ROWS; t++) {
        const float *row = x + t * D;
        bool any = false;
        for (size_t j = 0; j < D; j++) p->y[t * D + j] = (double)row[j];
        if (skip && skip[t]) continue;
        for (size_t i = 0; i < N; i++) {
            double a = activation(row, i);
            /* no row of this test is so close that rounding decides */
            assert_true(fabs(a - (double)patch.threshold[i]) > 1e-5);
            if (a <= (double)patch.threshold[i]) continue;
            any = true;
            p->stats.fired++;
            p->stats.activation_sum += a;
            for (size_t j = 0; j < D; j++)
                p->y[t * D + j] += (scale - 1) * a * (double)sae.W_dec[(size_t)feature[i] * D + j];
        }
        p->stats.rows_fired += any;
        p->stats.rows++;
        p->stats.positions += N;
    }
}

static lethe_ablation *open_it(double scale) {
    lethe_ablation *a = NULL;
    assert_ok(lethe_ablation_open_patch(&a, &patch, &err), &err);
    assert_true(lethe_ablation_how(a)->strength == -3);
    assert_int_equal(lethe_ablation_size(a), N);
    assert_true(lethe_ablation_compact(a));
    assert_ok(lethe_ablation_set_strength(a, scale, &err), &err);
    return a;
}

static void apply(lethe_ablation *a, float *y, size_t at_once, const bool *skip) {
    memcpy(y, x, sizeof x);
    for (size_t t = 0; t < ROWS; t += at_once) {
        size_t n = ROWS - t < at_once ? ROWS - t : at_once;
        assert_ok(lethe_ablation_apply(a, y + t * D, n, skip ? skip + t : NULL, &err), &err);
    }
}

static void against_the_formula(void **state) {
    (void)state;
    static plain want;
    static float y[ROWS * D];
    bool skip[ROWS];
    for (size_t t = 0; t < ROWS; t++) skip[t] = t % 7 == 0;
    static const double scales[] = {0, -3, 0.5, -20};
    for (size_t s = 0; s < 4; s++)
        for (int skipping = 0; skipping < 2; skipping++) {
            lethe_ablation *a = open_it(scales[s]);
            apply(a, y, ROWS, skipping ? skip : NULL);
            by_the_formula(&want, scales[s], skipping ? skip : NULL);
            for (size_t i = 0; i < ROWS * D; i++)
                assert_true(fabs((double)y[i] - want.y[i]) < 1e-4 * (1 + fabs(scales[s])));
            const lethe_hook_stats *got = lethe_ablation_stats(a);
            assert_int_equal(got->rows, want.stats.rows);
            assert_int_equal(got->rows_fired, want.stats.rows_fired);
            assert_int_equal(got->positions, want.stats.positions);
            assert_int_equal(got->fired, want.stats.fired);
            assert_true(fabs(got->activation_sum / want.stats.activation_sum - 1) < 1e-5);
            assert_true(got->rows_fired > 0 && got->rows_fired < got->rows);
            lethe_ablation_close(&a);
        }
}

static void same_bytes(void **state) {
    (void)state;
    static float want[ROWS * D], y[ROWS * D];
    lethe_ablation *a = open_it(-3);
    lethe_threads_set(1);
    apply(a, want, 1, NULL); /* as in decoding */
    lethe_hook_stats stats = *lethe_ablation_stats(a);
    for (int threads = 1; threads <= 4; threads++)
        for (size_t at_once = 1; at_once <= ROWS; at_once = at_once * 5 + 2) {
            lethe_threads_set(threads);
            lethe_ablation_reset_stats(a);
            apply(a, y, at_once, NULL);
            assert_memory_equal(y, want, sizeof want);
            assert_memory_equal(lethe_ablation_stats(a), &stats, sizeof stats);
        }
    lethe_threads_set(0);
    lethe_ablation_close(&a);
}

/* Scale 1 changes no bit, and rows where nothing fired keep theirs at any scale. */
static void untouched_bytes(void **state) {
    (void)state;
    static float y[ROWS * D];
    lethe_ablation *a = open_it(1);
    apply(a, y, ROWS, NULL);
    assert_memory_equal(y, x, sizeof x);
    assert_true(lethe_ablation_stats(a)->fired > 0);
    assert_ok(lethe_ablation_set_strength(a, -3, &err), &err);
    lethe_ablation_reset_stats(a);
    apply(a, y, ROWS, NULL);
    size_t same = 0;
    for (size_t t = 0; t < ROWS; t++) same += !memcmp(y + t * D, x + t * D, D * sizeof *x);
    assert_int_equal(same, ROWS - lethe_ablation_stats(a)->rows_fired);
    assert_true(same > 0);
    float nan[D];
    for (size_t i = 0; i < D; i++) nan[i] = NAN;
    lethe_ablation_reset_stats(a);
    assert_ok(lethe_ablation_apply(a, nan, 1, NULL, &err), &err);
    assert_int_equal(lethe_ablation_stats(a)->fired, 0);
    lethe_ablation_close(&a);
}

static void allocates_nothing(void **state) {
    (void)state;
    static float y[ROWS * D];
    lethe_ablation *a = open_it(-3);
    lethe_mem_fail_after(0);
    apply(a, y, 1, NULL);
    apply(a, y, ROWS, NULL);
    lethe_mem_fail_after(SIZE_MAX);
    lethe_ablation_close(&a);
}

/* Where the exact gate fires a chosen feature, the compact activation is its activation. */
static void as_the_sae_has_it(void **state) {
    (void)state;
    static float a[ROWS * N];
    lethe_codes c;
    assert_ok(lethe_codes_alloc(&c, ROWS, sae.k, &err), &err);
    lethe_encoder e;
    assert_ok(lethe_encoder_open(&e, &sae, &err), &err);
    assert_ok(lethe_encode(&e, x, ROWS, &c, NULL, &err), &err);
    lethe_encoder_close(&e);
    lethe_gate_activations(&patch, x, ROWS, a);
    size_t found = 0;
    for (size_t t = 0; t < ROWS; t++)
        for (size_t j = 0; j < sae.k; j++)
            for (size_t i = 0; i < N; i++) {
                size_t at = t * sae.k + j;
                if (c.index[at] != feature[i] || !(c.value[at] > 0)) continue;
                found++;
                assert_true(fabsf(a[t * N + i] - c.value[at]) < 2e-5f);
            }
    assert_true(found > ROWS);
    assert_int_equal(patch.k, 16);
    assert_int_equal(patch.m, 64);
    assert_memory_equal(patch.feature, feature, sizeof feature);
    lethe_codes_free(&c);
}

static void bad_features(void **state) {
    (void)state;
    lethe_patch p = {0};
    const int32_t outside[] = {0, 64}, twice[] = {3, 4, 3};
    assert_int_equal(lethe_patch_from_sae(&p, &sae, outside, 2, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "feature 64 does not exist"));
    assert_int_equal(lethe_patch_from_sae(&p, &sae, twice, 3, &err), LETHE_USAGE);
    assert_int_equal(lethe_patch_from_sae(&p, &sae, twice, 0, &err), LETHE_USAGE);
    assert_null(p.W_enc);
}

static void no_memory(void **state) {
    (void)state;
    lethe_status st = LETHE_NOMEM;
    for (size_t k = 0; st == LETHE_NOMEM; k++) {
        lethe_patch p = {0};
        lethe_ablation *a = NULL;
        lethe_mem_fail_after(k);
        st = lethe_patch_from_sae(&p, &sae, feature, N, &err);
        if (!st) st = lethe_ablation_open_patch(&a, &p, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st) assert_int_equal(st, LETHE_NOMEM);
        lethe_ablation_close(&a);
        lethe_patch_free(&p);
        assert_true(k < 24);
    }
    assert_ok(st, &err);
}

int main(void) {
    fill();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_formula), cmocka_unit_test(same_bytes),
        cmocka_unit_test(untouched_bytes),     cmocka_unit_test(allocates_nothing),
        cmocka_unit_test(as_the_sae_has_it),   cmocka_unit_test(bad_features),
        cmocka_unit_test(no_memory),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_patch_free(&patch);
    lethe_sae_free(&sae);
    return rc;
}
