/* SPDX-License-Identifier: MIT
 *
 * Calibration against brute force. The SAE is the identity with a bias, so that a latent's
 * activation is one number of the row; those are quarters, so that equal activations with different
 * verdicts are common.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sae/encoder.h"
#include "stage/calibrate.h"
#include "stage/gate.h"

#define D 12
#define K 3
#define N 7
#define ROWS (40 * LETHE_CALIBRATION_BLOCK + 100)

static lethe_err err;
static lethe_sae sae;
static lethe_patch patch;
static float *x; /* [ROWS, D] */
/* Latent 10 never fires but is positive often, latent 11 is never positive. */
static const int32_t feature[N] = {2, 0, 10, 5, 11, 7, 3};
#define POSITIVE 2
#define NEVER 4

static void fill(void) {
    static const size_t strong[K] = {1, 6, 9}; /* not among the features */
    lethe_rng r = lethe_rng_make(3, 0);
    assert_ok(lethe_sae_alloc(&sae, D, D, K, &err), &err);
    for (size_t i = 0; i < D; i++) sae.W_enc[i * D + i] = sae.W_dec[i * D + i] = 1;
    sae.W_enc[10 * D + 10] = 0.0625f;
    sae.b_enc[11] = -100;
    assert_ok(lethe_alloc(&x, ROWS, D * sizeof *x, "rows", &err), &err);
    for (size_t i = 0; i < ROWS * D; i++)
        x[i] = rintf(4 * (1 + 2 * (float)lethe_rng_normal(&r))) / 4;
    for (size_t t = 0; t < ROWS;
         t++) { /* the top K of each row are above 0 and above latent 10's */
        bool hard = lethe_rng_uniform(&r) < 0.3; /* here much is quiet that elsewhere fires */
        for (size_t i = 0; i < K; i++)
            x[t * D + strong[i]] = fabsf(x[t * D + strong[i]]) + (hard ? 3 : 1);
    }
    assert_ok(lethe_patch_from_sae(&patch, &sae, feature, N, &err), &err);
}

/* ---- brute force ----------------------------------------------------------------------------- */

static size_t first = 0, last = ROWS; /* rows that are looked at */

static bool held_out(size_t row) {
    return (row - first) / LETHE_CALIBRATION_BLOCK % 5 == 4;
}

static float act[ROWS * N];
static bool fired[ROWS * N];
static float least_kth = INFINITY;

static void verdicts(void) {
    lethe_codes c;
    assert_ok(lethe_codes_alloc(&c, ROWS, K, &err), &err);
    lethe_encoder e;
    assert_ok(lethe_encoder_open(&e, &sae, &err), &err);
    assert_ok(lethe_encode(&e, x, ROWS, &c, NULL, &err), &err);
    lethe_encoder_close(&e);
    lethe_gate_activations(&patch, x, ROWS, act);
    for (size_t t = 0; t < ROWS; t++) {
        for (size_t j = 0; j < K; j++)
            for (size_t i = 0; i < N; i++)
                if (c.index[t * K + j] == feature[i] && c.value[t * K + j] > 0)
                    fired[t * N + i] = true;
        float kth = c.value[t * K + K - 1];
        if (!held_out(t) && kth < least_kth) least_kth = kth;
    }
    lethe_codes_free(&c);
}

/* Calibration rows at which the threshold disagrees with the exact gate. */
static size_t cost(size_t i, float threshold) {
    size_t wrong = 0;
    for (size_t t = first; t < last; t++)
        if (!held_out(t)) wrong += (act[t * N + i] > threshold) != fired[t * N + i];
    return wrong;
}

static size_t fires(size_t i) {
    size_t n = 0;
    for (size_t t = first; t < last; t++) n += !held_out(t) && fired[t * N + i];
    return n;
}

static float largest(size_t i) {
    float most = 0;
    for (size_t t = first; t < last; t++)
        if (!held_out(t) && act[t * N + i] > most) most = act[t * N + i];
    return most;
}

/* The rule of calibrate.h: all activations are quarters, so every possible cut is in the middle of
 * two neighbours that occur, or above all. */
static float best(size_t i) {
    float most = largest(i), at = most, high = most;
    size_t least = cost(i, most);
    for (int q = (int)(4 * most) - 1; q >= 0; q--) {
        float low = (float)q / 4;
        bool occurs = q == 0;
        for (size_t t = first; t < last && !occurs; t++)
            occurs = !held_out(t) && act[t * N + i] == low;
        if (!occurs) continue;
        size_t c = cost(i, low);
        if (c < least) {
            least = c;
            at = (low + high) / 2;
        }
        high = low;
    }
    return at;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static lethe_calibration_result calibrate(size_t keep, size_t held, size_t at_once,
                                          float *threshold) {
    lethe_calibration *c = NULL;
    lethe_calibration_result r;
    assert_ok(lethe_calibration_open(&c, &sae, &patch, keep, held, &err), &err);
    for (size_t t = first; t < last; t += at_once)
        assert_ok(
            lethe_calibration_add(c, x + t * D, last - t < at_once ? last - t : at_once, &err),
            &err);
    assert_ok(lethe_calibration_finish(c, threshold, &r, &err), &err);
    lethe_calibration_close(&c);
    return r;
}

static void least_disagreement(void **state) {
    (void)state;
    float got[N];
    size_t rows = 0, mixed = 0, most_fires = 0;
    for (size_t t = 0; t < ROWS; t++) rows += !held_out(t);
    lethe_calibration_result r = calibrate(ROWS, 0, 1000, got);
    assert_int_equal(r.rows, rows);
    assert_int_equal(r.never_fired, 2);
    for (size_t i = 0; i < N; i++) {
        if (i == POSITIVE || i == NEVER) continue;
        assert_true(got[i] == best(i));
        mixed += cost(i, got[i]) > 0;
        if (fires(i) > most_fires) most_fires = fires(i);
    }
    assert_true(mixed >= 4); /* no threshold is right everywhere: there was something to weigh */
    assert_true(most_fires < r.rows / 2);
    /* However little of the other rows is kept, as long as all that fired are. */
    float few[N];
    r = calibrate(most_fires, 0, 1000, few);
    assert_int_equal(r.thinned, 0);
    assert_memory_equal(few, got, sizeof got);
}

/* On few rows equal sums are common, and so are features that it is best never to fire. */
static void few_rows(void **state) {
    (void)state;
    size_t silent = 0;
    for (size_t o = 0; o < 300; o++) {
        float got[N], few[N];
        first = 7 * o;
        last = first + 5 + o % 60;
        size_t most_fires = 1;
        calibrate(ROWS, 0, 1000, got);
        for (size_t i = 0; i < N; i++) {
            if (!fires(i)) continue;
            assert_true(got[i] == best(i));
            silent += got[i] == largest(i);
            if (fires(i) > most_fires) most_fires = fires(i);
        }
        calibrate(most_fires, 0, 1000, few);
        assert_memory_equal(few, got, sizeof got);
    }
    first = 0;
    last = ROWS;
    assert_true(silent > 10);
}

static void never_fired(void **state) {
    (void)state;
    float got[N];
    calibrate(0, 0, ROWS, got);
    assert_int_equal(fires(POSITIVE) + fires(NEVER), 0);
    assert_true(largest(POSITIVE) > 0);
    assert_true(largest(NEVER) == 0);
    assert_true(least_kth > 0);
    assert_true(got[POSITIVE] == fmaxf(largest(POSITIVE), least_kth));
    assert_true(got[NEVER] == least_kth);
}

static double share(size_t part, size_t whole) {
    return (double)part / (double)whole;
}

/* Figures of the held-out blocks of which every `every`-th is looked at. */
static void check_figures(const lethe_calibration_result *r, const float *threshold) {
    size_t rows = 0, right = 0, both = 0, exact = 0, compact = 0;
    size_t row_right = 0, row_both = 0, row_exact = 0, row_compact = 0;
    double due = 0, met = 0;
    for (size_t t = 0; t < ROWS; t++) {
        if (!held_out(t) || t / LETHE_CALIBRATION_BLOCK / 5 % r->held_every) continue;
        bool any_exact = false, any_compact = false;
        rows++;
        for (size_t i = 0; i < N; i++) {
            bool e = fired[t * N + i], c = act[t * N + i] > threshold[i];
            right += e == c;
            both += e && c;
            exact += e;
            compact += c;
            any_exact |= e;
            any_compact |= c;
            due += e ? (double)act[t * N + i] : 0;
            met += e && c ? (double)act[t * N + i] : 0;
        }
        row_right += any_exact == any_compact;
        row_both += any_exact && any_compact;
        row_exact += any_exact;
        row_compact += any_compact;
    }
    const lethe_gate_figures *f = &r->figures;
    assert_int_equal(f->held_out, rows);
    assert_true(f->agreement == share(right, rows * N));
    assert_true(f->precision == share(both, compact));
    assert_true(f->recall == share(both, exact));
    assert_true(f->row_agreement == share(row_right, rows));
    assert_true(f->row_precision == share(row_both, row_compact));
    assert_true(f->row_recall == share(row_both, row_exact));
    assert_true(fabs(f->activation_recall - met / due) < 1e-12);
    assert_true(f->recall > 0.3 && f->recall < 1 && f->precision < 1);
}

static void held_out_figures(void **state) {
    (void)state;
    float got[N];
    lethe_calibration_result r = calibrate(0, 0, 333, got);
    assert_int_equal(r.held_every, 1);
    check_figures(&r, got);
    /* Eight blocks are held out; room for two, so every fourth stays. */
    r = calibrate(0, 2 * LETHE_CALIBRATION_BLOCK * N, 333, got);
    assert_int_equal(r.held_every, 4);
    check_figures(&r, got);
    assert_int_equal(r.figures.held_out, 2 * LETHE_CALIBRATION_BLOCK);
}

static void any_batches(void **state) {
    (void)state;
    float want[N], got[N];
    lethe_calibration_result a = calibrate(300, 0, ROWS, want);
    assert_true(a.thinned > 0);
    for (size_t at_once = 17; at_once < ROWS; at_once = at_once * 8 + 1) {
        lethe_calibration_result b = calibrate(300, 0, at_once, got);
        assert_memory_equal(got, want, sizeof want);
        assert_true(a.figures.recall == b.figures.recall);
    }
}

/* A sample of the rows gives nearly as good a threshold as all of them. */
static void thinned(void **state) {
    (void)state;
    float got[N];
    lethe_calibration_result r = calibrate(400, 0, 1000, got);
    assert_true(r.thinned >= 4);
    for (size_t i = 0; i < N; i++) {
        if (i == POSITIVE || i == NEVER) continue;
        size_t c = cost(i, got[i]), least = cost(i, best(i));
        if (c > least + least / 10 + 5) fail_msg("feature %zu: %zu, best %zu", i, c, least);
    }
}

static void nothing(void **state) {
    (void)state;
    lethe_calibration *c = NULL;
    lethe_calibration_result r;
    float got[N];
    assert_ok(lethe_calibration_open(&c, &sae, &patch, 0, 0, &err), &err);
    assert_int_equal(lethe_calibration_finish(c, got, &r, &err), LETHE_USAGE);
    /* Too few rows for a held-out block: thresholds, but no figures. */
    assert_ok(lethe_calibration_add(c, x, 50, &err), &err);
    assert_ok(lethe_calibration_finish(c, got, &r, &err), &err);
    assert_int_equal(r.figures.held_out, 0);
    assert_true(isnan(r.figures.agreement) && isnan(r.figures.precision) &&
                isnan(r.figures.recall));
    lethe_calibration_close(&c);
    assert_null(c);
}

static void no_memory(void **state) {
    (void)state;
    lethe_status st = LETHE_NOMEM;
    for (size_t k = 0; st == LETHE_NOMEM; k++) {
        lethe_calibration *c = NULL;
        lethe_mem_fail_after(k);
        st = lethe_calibration_open(&c, &sae, &patch, 0, 0, &err);
        if (!st) st = lethe_calibration_add(c, x, 5 * LETHE_CALIBRATION_BLOCK, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st) assert_int_equal(st, LETHE_NOMEM);
        lethe_calibration_close(&c);
        assert_true(k < 1000);
    }
    assert_ok(st, &err);
}

int main(void) {
    fill();
    verdicts();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_disagreement),
        cmocka_unit_test(never_fired),
        cmocka_unit_test(few_rows),
        cmocka_unit_test(held_out_figures),
        cmocka_unit_test(any_batches),
        cmocka_unit_test(thinned),
        cmocka_unit_test(nothing),
        cmocka_unit_test(no_memory),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_free(x);
    lethe_patch_free(&patch);
    lethe_sae_free(&sae);
    return rc;
}
