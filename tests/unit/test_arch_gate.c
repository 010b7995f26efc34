/* SPDX-License-Identifier: MIT
 *
 * The intervention with SAEs of every kind: each method behind each gate against the formulas in
 * double precision; both gates agree; what a patch file keeps; what calibration says.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "stage/ablate.h"
#include "stage/calibrate.h"
#include "stage/gate.h"
#include "support/plain_sae.h"

#define D 40
#define M 96
#define N 9
#define ROWS 70

static lethe_err err;
static const int32_t feature[N] = {3, 50, 7, 22, 41, 1, 95, 12, 30};
static float x[ROWS * D], mean[N];

static void rows_for(lethe_norm norm) {
    lethe_rng r = lethe_rng_make(9, (uint64_t)norm);
    bool none = norm == LETHE_NORM_NONE;
    plain_normals(x, ROWS * D, none ? 0 : 2, none ? 1 : 6, &r);
    for (size_t i = 0; i < N; i++) mean[i] = 0.5f + 0.25f * (float)i;
}

/* ---- the formulas ---------------------------------------------------------------------------- */

/* What is done to u = (x - shift) / scale, carried back to x. */
static void by_the_formula(const lethe_sae *s, const lethe_intervention *how, const float *row,
                           const plain_truth *o, double *y) {
    double length_x = 0;
    bool any = false;
    for (size_t j = 0; j < D; j++) length_x += (double)row[j] * (double)row[j];
    for (size_t i = 0; i < N; i++) any |= o->z[feature[i]] > 0;
    for (size_t j = 0; j < D; j++) y[j] = (double)row[j];
    for (size_t i = 0; i < N; i++) {
        const float *w = s->W_dec + (size_t)feature[i] * D;
        double length = 0, along = 0, by = 0, z = o->z[feature[i]];
        for (size_t j = 0; j < D; j++) {
            double u = ((double)row[j] - o->shift) / o->scale;
            length += (double)w[j] * (double)w[j];
            along += (u - (double)s->b_dec[j]) * (double)w[j];
        }
        length = sqrt(length);
        along /= length;
        double to = (double)mean[i];
        if (how->unit == LETHE_CLAMP_NORM) to = sqrt(length_x) / (o->scale * length);
        if (how->method == LETHE_METHOD_SCALE && z > 0) by = (how->strength - 1) * z;
        if (how->method == LETHE_METHOD_CLAMP && z > 0) by = -how->strength * to - z;
        if (how->method == LETHE_METHOD_DIRECTION && along > 0 && (any || !how->gated))
            by = -how->strength * along / length;
        for (size_t j = 0; j < D; j++) y[j] += o->scale * by * (double)w[j];
    }
}

static const lethe_intervention all[] = {
    {.method = LETHE_METHOD_SCALE, .strength = -3},
    {.method = LETHE_METHOD_CLAMP, .strength = 2},
    {.method = LETHE_METHOD_CLAMP, .strength = 0.5, .unit = LETHE_CLAMP_NORM},
    {.method = LETHE_METHOD_DIRECTION, .strength = 1},
    {.method = LETHE_METHOD_DIRECTION, .strength = 0.5, .gated = true},
};
#define METHODS (sizeof all / sizeof *all)

static lethe_patch patch_of(const lethe_sae *s) {
    lethe_patch p;
    assert_ok(lethe_patch_from_sae(&p, s, feature, N, &err), &err);
    memcpy(p.mean, mean, sizeof mean);
    return p;
}

static void check(const lethe_sae *s, const lethe_intervention *how, lethe_ablation *a) {
    static float y[ROWS * D], parts[ROWS * D];
    memcpy(y, x, sizeof x);
    memcpy(parts, x, sizeof x);
    assert_ok(lethe_ablation_set(a, how, &err), &err);
    lethe_ablation_reset_stats(a);
    assert_ok(lethe_ablation_apply(a, y, ROWS, NULL, &err), &err);
    size_t sure = 0, fired = 0;
    plain_truth o = plain_truth_make(D, M);
    for (size_t t = 0; t < ROWS; t++) {
        double want[D];
        bool doubt = false;
        plain_sae_encode(s, x + t * D, &o);
        for (size_t i = 0; i < N; i++) {
            doubt |= o.doubtful[feature[i]];
            fired += o.z[feature[i]] > 0;
        }
        if (doubt) continue;
        sure++;
        by_the_formula(s, how, x + t * D, &o, want);
        for (size_t j = 0; j < D; j++)
            assert_true(fabs((double)y[t * D + j] - want[j]) < 3e-5 * (1 + o.scale));
    }
    plain_truth_free(&o);
    assert_true(sure > ROWS - 5 && fired > 20);
    assert_true(llabs((long long)lethe_ablation_stats(a)->fired - (long long)fired) <= 2);
    for (size_t t = 0; t < ROWS; t += 7)
        assert_ok(lethe_ablation_apply(a, parts + t * D, 7, NULL, &err), &err);
    assert_memory_equal(parts, y, sizeof y);
}

/* The gates of a topk differ by nature: test_gate and test_intervene. Its exact one is here, too.
 */
static void test_methods(void **state) {
    (void)state;
    for (lethe_arch arch = 0; arch < LETHE_ARCH_COUNT; arch++)
        for (lethe_norm norm = 0; norm < LETHE_NORM_COUNT; norm++)
            for (int raw = 0; raw < 2; raw++) {
                rows_for(norm);
                lethe_sae s = plain_sae_make(arch, norm, raw, D, M);
                lethe_patch p = patch_of(&s);
                lethe_ablation *exact, *compact;
                assert_ok(lethe_ablation_open_with(&exact, &s, feature, N,
                                                   &(lethe_feature_facts){mean, NULL}, &all[0],
                                                   &err),
                          &err);
                assert_ok(lethe_ablation_open_patch(&compact, &p, &err), &err);
                for (size_t m = 0; m < METHODS; m++) {
                    check(&s, &all[m], exact);
                    if (arch != LETHE_ARCH_TOPK) check(&s, &all[m], compact);
                }
                lethe_ablation_close(&exact);
                lethe_ablation_close(&compact);
                lethe_patch_free(&p);
                lethe_sae_free(&s);
            }
}

/* The compact gate of a topk with a norm sees the pre-activations of the normed row. */
static void test_activations(void **state) {
    (void)state;
    for (lethe_norm norm = 0; norm < LETHE_NORM_COUNT; norm++)
        for (int raw = 0; raw < 2; raw++) {
            rows_for(norm);
            lethe_sae s = plain_sae_make(LETHE_ARCH_TOPK, norm, raw, D, M);
            lethe_patch p = patch_of(&s);
            float a[ROWS * N];
            lethe_gate_activations(&p, x, ROWS, a);
            plain_truth o = plain_truth_make(D, M);
            for (size_t t = 0; t < ROWS; t++) {
                plain_sae_encode(&s, x + t * D, &o);
                for (size_t i = 0; i < N; i++)
                    assert_true(fabs((double)a[t * N + i] - o.a[feature[i]]) < 1e-5);
            }
            plain_truth_free(&o);
            lethe_patch_free(&p);
            lethe_sae_free(&s);
        }
}

/* ---- the file -------------------------------------------------------------------------------- */

static void test_file(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/patch.safetensors", test_temp_dir());
    for (lethe_arch arch = 0; arch < LETHE_ARCH_COUNT; arch++)
        for (lethe_norm norm = 0; norm < LETHE_NORM_COUNT; norm++) {
            rows_for(norm);
            lethe_sae s = plain_sae_make(arch, norm, false, D, M);
            lethe_patch p = patch_of(&s), back;
            memset(p.model_hash, 'a', 32);
            memset(p.sae_hash, 'b', 32);
            p.hook = LETHE_HOOK_POST;
            assert_ok(lethe_patch_save(&p, path, &err), &err);
            lethe_st *st;
            assert_ok(lethe_st_open(&st, path, &err), &err);
            bool plain = arch == LETHE_ARCH_TOPK && norm == LETHE_NORM_NONE;
            assert_string_equal(lethe_st_meta(st, "format"),
                                plain ? "lethe-patch-1" : "lethe-patch-2");
            assert_true((lethe_st_meta(st, "architecture") != NULL) == (arch != LETHE_ARCH_TOPK));
            assert_true((lethe_st_meta(st, "norm") != NULL) == (norm != LETHE_NORM_NONE));
            lethe_st_close(&st);
            assert_ok(lethe_patch_load(&back, path, &err), &err);
            assert_true(back.arch == arch && back.norm == norm && back.k == s.k && back.m == M);
            float a[ROWS * N], b[ROWS * N];
            lethe_gate_activations(&p, x, ROWS, a);
            lethe_gate_activations(&back, x, ROWS, b);
            assert_memory_equal(a, b, sizeof a);
            assert_memory_equal(p.threshold, back.threshold, N * sizeof(float));
            lethe_patch_free(&p);
            lethe_patch_free(&back);
            lethe_sae_free(&s);
        }
}

static void save_with(const char *path, lethe_arch arch, lethe_norm norm, size_t k) {
    lethe_sae s = plain_sae_make(LETHE_ARCH_RELU, LETHE_NORM_NONE, false, D, M);
    lethe_patch p = patch_of(&s);
    memset(p.model_hash, 'a', 32);
    memset(p.sae_hash, 'b', 32);
    p.arch = arch;
    p.norm = norm;
    p.k = k;
    assert_ok(lethe_patch_save(&p, path, &err), &err);
    lethe_patch_free(&p);
    lethe_sae_free(&s);
}

static void test_bad_files(void **state) {
    (void)state;
    char path[512];
    lethe_patch p;
    snprintf(path, sizeof path, "%s/patch.safetensors", test_temp_dir());
    static const struct {
        lethe_arch arch;
        lethe_norm norm;
        size_t k;
        const char *says;
    } bad[] = {
        {LETHE_ARCH_COUNT, 0, 0, "\"architecture\" is \"?\", want topk, relu, jumprelu or gated"},
        {0, LETHE_NORM_COUNT, 4, "\"norm\" is \"?\", want none, rescale or layer"},
        {LETHE_ARCH_TOPK, 0, 0, "\"k\" is too small, want a number from 1 on"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        save_with(path, bad[i].arch, bad[i].norm, bad[i].k);
        assert_int_equal(lethe_patch_load(&p, path, &err), LETHE_FORMAT);
        if (!strstr(err.text, bad[i].says)) fail_msg("%s", err.text);
    }
    test_temp_remove();
}

/* ---- calibration ----------------------------------------------------------------------------- */

/* Features that fire at none of the rows that are not held out. */
static size_t quiet(const lethe_sae *s, const float *many, size_t n) {
    bool fires[N] = {false};
    size_t count = 0;
    plain_truth o = plain_truth_make(D, M);
    for (size_t t = 0; t < n; t++) {
        if (t / LETHE_CALIBRATION_BLOCK % 5 == 4) continue;
        plain_sae_encode(s, many + t * D, &o);
        for (size_t i = 0; i < N; i++) fires[i] |= o.z[feature[i]] > 0;
    }
    plain_truth_free(&o);
    for (size_t i = 0; i < N; i++) count += !fires[i];
    return count;
}

static void test_calibration(void **state) {
    (void)state;
    enum { MANY = 3000 };
    float *many = plain_take((size_t)MANY * D, sizeof *many);
    for (lethe_arch arch = LETHE_ARCH_RELU; arch < LETHE_ARCH_COUNT; arch++)
        for (lethe_norm norm = 0; norm < LETHE_NORM_COUNT; norm++) {
            lethe_rng r = lethe_rng_make(4, 4);
            bool none = norm == LETHE_NORM_NONE;
            plain_normals(many, (size_t)MANY * D, none ? 0 : 2, none ? 1 : 6, &r);
            lethe_sae s = plain_sae_make(arch, norm, false, D, M);
            s.b_enc[feature[2]] = -50; /* never fires */
            if (s.b_mag) s.b_mag[feature[2]] = -50;
            lethe_patch p = patch_of(&s);
            float own[N], threshold[N];
            memcpy(own, p.threshold, sizeof own);
            lethe_calibration *c;
            lethe_calibration_result result;
            assert_ok(lethe_calibration_open(&c, &s, &p, 0, 0, &err), &err);
            assert_ok(lethe_calibration_add(c, many, MANY, &err), &err);
            assert_ok(lethe_calibration_finish(c, threshold, &result, &err), &err);
            assert_memory_equal(threshold, own, sizeof own);
            size_t never = quiet(&s, many, MANY);
            assert_true(never > 0 && never < 4);
            assert_int_equal(result.never_fired, never);
            assert_int_equal(result.rows + result.figures.held_out, MANY);
            assert_true(result.figures.held_out == 512);
            assert_true(result.figures.agreement > 0.9995);
            assert_true(result.figures.recall > 0.99 && result.figures.precision > 0.99);
            lethe_calibration_close(&c);
            lethe_patch_free(&p);
            lethe_sae_free(&s);
        }
    lethe_free(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),     cmocka_unit_test(test_activations),
        cmocka_unit_test(test_file),        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_calibration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
