/* SPDX-License-Identifier: MIT
 *
 * The intervention against the reference experiment's hook: four scales with their statistics.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "stage/ablate.h"

#define K 8
#define ROWS (4 * 48)

static lethe_st *hook, *train;
static lethe_sae sae;
static lethe_err err;
static int32_t feature[20];
static float *x;

static float *tensor(const lethe_st *st, const char *name) {
    const lethe_tensor *t = lethe_st_find(st, name);
    if (!t) fail_msg("%s is missing", name);
    float *out = NULL;
    assert_ok(lethe_alloc(&out, t->count, sizeof *out, name, &err), &err);
    assert_ok(lethe_tensor_to_f32(t, 0, t->count, out, &err), &err);
    return out;
}

/* The SAE is that after fifty training steps; files have W_enc [d, m], memory [m, d]. */
static void load(void) {
    const lethe_tensor *w = lethe_st_find(train, "step50.W_dec");
    assert_ok(lethe_sae_alloc(&sae, w->shape[1], w->shape[0], K, &err), &err);
    float *enc = tensor(train, "step50.W_enc"), *dec = tensor(train, "step50.W_dec"),
          *b_enc = tensor(train, "step50.b_enc"), *b_dec = tensor(train, "step50.b_dec");
    for (size_t i = 0; i < sae.m; i++)
        for (size_t j = 0; j < sae.d; j++) sae.W_enc[i * sae.d + j] = enc[j * sae.m + i];
    memcpy(sae.W_dec, dec, sae.m * sae.d * sizeof *dec);
    memcpy(sae.b_enc, b_enc, sae.m * sizeof *b_enc);
    memcpy(sae.b_dec, b_dec, sae.d * sizeof *b_dec);
    lethe_free(enc);
    lethe_free(dec);
    lethe_free(b_enc);
    lethe_free(b_dec);
    x = tensor(hook, "x");
    const lethe_tensor *f = lethe_st_find(hook, "feature_indices");
    assert_int_equal(f->count, 20);
    assert_ok(lethe_tensor_to_i32(f, 0, 20, feature, &err), &err);
}

static float *copy_of_x(void) {
    float *y = NULL;
    assert_ok(lethe_alloc(&y, ROWS * sae.d, sizeof *y, "rows", &err), &err);
    memcpy(y, x, ROWS * sae.d * sizeof *y);
    return y;
}

static lethe_ablation *open_at(double scale) {
    lethe_ablation *a = NULL;
    assert_ok(lethe_ablation_open(&a, &sae, feature, 20, scale, &err), &err);
    return a;
}

/* In one call and row by row, as in decoding. */
static void apply(lethe_ablation *a, float *y, size_t rows_at_once, const bool *skip) {
    for (size_t i = 0; i < ROWS; i += rows_at_once)
        assert_ok(
            lethe_ablation_apply(a, y + i * sae.d, rows_at_once, skip ? skip + i : NULL, &err),
            &err);
}

static void four_scales(void **state) {
    (void)state;
    static const struct {
        double scale;
        const char *name;
    } all[] = {{0, "out_scale0"}, {-1, "out_scale-1"}, {-3, "out_scale-3"}, {-5, "out_scale-5"}};
    for (size_t i = 0; i < 4; i++)
        for (size_t step = 1; step <= ROWS; step *= ROWS) {
            lethe_ablation *a = open_at(all[i].scale);
            float *y = copy_of_x(), *want = tensor(hook, all[i].name);
            apply(a, y, step, NULL);
            assert_close(y, want, ROWS * sae.d, 5e-6, all[i].name);
            const lethe_hook_stats *s = lethe_ablation_stats(a);
            assert_int_equal(s->rows, ROWS);
            assert_int_equal(s->positions, 3840);
            assert_int_equal(s->fired, 148); /* at scale 0, too */
            assert_true(fabs(s->activation_sum - 643.9497680664062) < 643.95 * 5e-6);
            /* the reference leaves 74 of 192 rows untouched */
            assert_int_equal(s->rows - s->rows_fired, 74);
            lethe_ablation_close(&a);
            lethe_free(y);
            lethe_free(want);
        }
}

/* Scale 1 changes no bit, and rows where nothing fired keep theirs at any scale. */
static void untouched_bytes(void **state) {
    (void)state;
    lethe_ablation *a = open_at(1);
    float *y = copy_of_x();
    apply(a, y, ROWS, NULL);
    assert_memory_equal(y, x, ROWS * sae.d * sizeof *x);
    assert_int_equal(lethe_ablation_stats(a)->fired, 148);
    assert_ok(lethe_ablation_set_strength(a, -3, &err), &err);
    lethe_ablation_reset_stats(a);
    apply(a, y, ROWS, NULL);
    size_t same = 0;
    for (size_t t = 0; t < ROWS; t++)
        same += !memcmp(y + t * sae.d, x + t * sae.d, sae.d * sizeof *x);
    assert_int_equal(same, 74);
    lethe_ablation_close(&a);
    lethe_free(y);
}

static void skipped_rows(void **state) {
    (void)state;
    lethe_ablation *a = open_at(-3);
    float *y = copy_of_x(), *want = tensor(hook, "out_scale-3");
    bool skip[ROWS];
    for (size_t t = 0; t < ROWS; t++) skip[t] = t % 5 == 0 || t % 7 == 6;
    apply(a, y, ROWS, skip);
    size_t kept = 0;
    for (size_t t = 0; t < ROWS; t++) {
        kept += !skip[t];
        if (skip[t])
            assert_memory_equal(y + t * sae.d, x + t * sae.d, sae.d * sizeof *x);
        else
            assert_true(test_rel_error(y + t * sae.d, want + t * sae.d, sae.d) < 5e-6);
    }
    assert_int_equal(lethe_ablation_stats(a)->rows, kept);
    lethe_ablation_close(&a);
    lethe_free(y);
    lethe_free(want);
}

static void bad_features(void **state) {
    (void)state;
    lethe_ablation *a = NULL;
    const int32_t outside[] = {0, (int32_t)sae.m}, negative[] = {-1}, twice[] = {3, 4, 3};
    assert_int_equal(lethe_ablation_open(&a, &sae, outside, 2, 0, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "feature 512 does not exist"));
    assert_int_equal(lethe_ablation_open(&a, &sae, negative, 1, 0, &err), LETHE_USAGE);
    assert_int_equal(lethe_ablation_open(&a, &sae, twice, 3, 0, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "feature 3 is given twice"));
    assert_int_equal(lethe_ablation_open(&a, &sae, twice, 0, 0, &err), LETHE_USAGE);
    assert_int_equal(lethe_ablation_open(&a, &sae, twice, 2, NAN, &err), LETHE_USAGE);
    assert_null(a);
}

int main(void) {
    const char *a = test_shared("golden/sae/hook.safetensors"),
               *b = test_shared("golden/sae/train50.safetensors");
    if (!a || !b) return LETHE_TEST_SKIPPED;
    if (lethe_st_open(&hook, a, &err) != LETHE_OK || lethe_st_open(&train, b, &err) != LETHE_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    load();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_scales),
        cmocka_unit_test(untouched_bytes),
        cmocka_unit_test(skipped_rows),
        cmocka_unit_test(bad_features),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_free(x);
    lethe_sae_free(&sae);
    lethe_st_close(&hook);
    lethe_st_close(&train);
    return rc;
}
