/* SPDX-License-Identifier: MIT
 *
 * The guard's statistic against its formula, over every prefix: windows, skipped positions, several
 * sequences at once, rewinding.
 */
#include "support/support.h"

#include "base/mem.h"
#include "base/rng.h"
#include "stage/guard.h"

#define POSITIONS 150

static lethe_err err;

#define QUIET 0.0f
#define FIRED 1.0f

/* Of share: fired, quiet or skipped; of evidence mostly a little against, at times much for. */
static void make(float *says, lethe_guard_by by, uint64_t stream) {
    lethe_rng r = lethe_rng_make(7, stream);
    for (size_t i = 0; i < POSITIONS; i++) {
        double u = lethe_rng_uniform(&r), v = lethe_rng_uniform(&r);
        says[i] = u < 0.1 ? LETHE_GUARD_SKIPPED : u < 0.4 ? FIRED : QUIET;
        if (by == LETHE_GUARD_EVIDENCE && u >= 0.1) says[i] = (float)(u < 0.4 ? 4 * v : -v);
    }
}

static double share_after(const float *says, size_t n, size_t window) {
    double most = 0;
    for (size_t t = 0; t < n; t++) {
        size_t fired = 0, seen = 0;
        for (size_t i = t + 1; i-- > 0 && (!window || seen < window);) {
            if (isnan(says[i])) continue;
            seen++;
            fired += says[i] > 0;
        }
        size_t of = window ? window : seen < LETHE_GUARD_LEAST ? LETHE_GUARD_LEAST : seen;
        double share = (double)fired / (double)of;
        if (share > most) most = share;
    }
    return most;
}

/* The largest sum of a run of positions: what the recurrence comes to. */
static double evidence_after(const float *says, size_t n) {
    double most = 0;
    for (size_t first = 0; first < n; first++) {
        double sum = 0;
        for (size_t t = first; t < n; t++) {
            if (!isnan(says[t])) sum += (double)says[t];
            if (sum > most) most = sum;
        }
    }
    return most;
}

static void want_most(double got, const float *says, size_t n, lethe_guard_by by, size_t window) {
    if (by == LETHE_GUARD_SHARE)
        assert_true(got == share_after(says, n, window));
    else
        assert_true(fabs(got - evidence_after(says, n)) < 1e-9);
}

static double see(lethe_guard *g, int32_t seq, size_t pos, float says, lethe_guard_by by,
                  size_t window) {
    double most = -1;
    assert_ok(lethe_guard_see(g, seq, (int32_t)pos, says, by, window, &most, &err), &err);
    assert_true(most == lethe_guard_most(g, seq));
    assert_int_equal(lethe_guard_length(g, seq), pos + 1);
    return most;
}

/* The statistics: a share of windows, of all so far, evidence. */
static const struct {
    lethe_guard_by by;
    size_t window;
} kinds[] = {{LETHE_GUARD_SHARE, 0},  {LETHE_GUARD_SHARE, 1},   {LETHE_GUARD_SHARE, 4},
             {LETHE_GUARD_SHARE, 16}, {LETHE_GUARD_SHARE, 200}, {LETHE_GUARD_EVIDENCE, 0}};
#define KINDS (sizeof kinds / sizeof *kinds)

static void against_the_formula(void **state) {
    (void)state;
    float a[POSITIONS], b[POSITIONS];
    for (size_t w = 0; w < KINDS; w++) {
        const lethe_guard_by by = kinds[w].by;
        const size_t window = kinds[w].window;
        lethe_guard g = {0};
        make(a, by, 1);
        make(b, by, 2);
        for (size_t t = 0; t < POSITIONS; t++) { /* two sequences in turn */
            want_most(see(&g, 3, t, a[t], by, window), a, t + 1, by, window);
            want_most(see(&g, 0, t, b[t], by, window), b, t + 1, by, window);
        }
        assert_true(lethe_guard_most(&g, 1) == 0 && lethe_guard_most(&g, 9) == 0);
        lethe_guard_free(&g);
    }
}

static void rewinding(void **state) {
    (void)state;
    float a[POSITIONS], b[POSITIONS];
    for (size_t w = 0; w < KINDS; w++) {
        const lethe_guard_by by = kinds[w].by;
        const size_t window = kinds[w].window;
        lethe_guard g = {0};
        make(a, by, 3);
        make(b, by, 4);
        for (size_t t = 0; t < POSITIONS; t++) see(&g, 0, t, a[t], by, window);
        for (size_t t = 0; t < 40; t++) b[t] = a[t]; /* back to 40, then something else */
        for (size_t t = 40; t < 90; t++)
            want_most(see(&g, 0, t, b[t], by, window), b, t + 1, by, window);
        make(a, by, 5); /* a new sequence, shorter than the one before */
        for (size_t t = 0; t < 30; t++)
            want_most(see(&g, 0, t, a[t], by, window), a, t + 1, by, window);
        /* positions that were left out are as skipped */
        for (size_t t = 30; t < 35; t++) a[t] = LETHE_GUARD_SKIPPED;
        want_most(see(&g, 0, 35, a[35], by, window), a, 36, by, window);
        lethe_guard_free(&g);
    }
}

/* Harmless text before or after changes nothing for a window, nor for evidence; all positions so
 * far are diluted by what comes before. */
static void padding(void **state) {
    (void)state;
    double bare[2] = {0}, diluted = 0, sum[2] = {0};
    for (int pad = 0; pad < 2; pad++) {
        lethe_guard g[3] = {{0}}; /* a window, all positions, evidence */
        const lethe_guard_by share = LETHE_GUARD_SHARE, evidence = LETHE_GUARD_EVIDENCE;
        size_t t = 0;
        for (; t < (pad ? 300u : 0u); t++) {
            see(&g[0], 0, t, QUIET, share, 8);
            see(&g[1], 0, t, QUIET, share, 0);
            see(&g[2], 0, t, -0.5f, evidence, 0);
        }
        for (size_t i = 0; i < 6; i++, t++) {
            see(&g[0], 0, t, FIRED, share, 8);
            see(&g[1], 0, t, FIRED, share, 0);
            see(&g[2], 0, t, 2.5f, evidence, 0);
        }
        for (size_t i = 0; i < 200; i++, t++) {
            see(&g[0], 0, t, QUIET, share, 8);
            see(&g[2], 0, t, -0.5f, evidence, 0);
        }
        bare[pad] = lethe_guard_most(&g[0], 0);
        diluted = lethe_guard_most(&g[1], 0);
        sum[pad] = lethe_guard_most(&g[2], 0);
        for (int i = 0; i < 3; i++) lethe_guard_free(&g[i]);
    }
    assert_true(bare[0] == 0.75 && bare[1] == 0.75);
    assert_true(sum[0] == 15 && sum[1] == 15);
    assert_true(diluted < 0.02);
}

static void quantile(void **state) {
    (void)state;
    double v[20];
    for (size_t i = 0; i < 20; i++) v[i] = (double)((i * 7) % 20);
    assert_true(lethe_guard_quantile(v, 20, 0.95) == 18);
    assert_true(lethe_guard_quantile(v, 20, 1) == 19);
    assert_true(lethe_guard_quantile(v, 20, 0.5) == 9);
    assert_true(lethe_guard_quantile(v, 20, 0) == 0);
    assert_true(lethe_guard_quantile(v, 1, 0.95) == 0);
}

static void no_memory(void **state) {
    (void)state;
    lethe_status st = LETHE_NOMEM;
    for (size_t k = 0; st == LETHE_NOMEM; k++) {
        lethe_guard g = {0};
        double most;
        lethe_mem_fail_after(k);
        st = lethe_guard_see(&g, 2, 0, FIRED, LETHE_GUARD_SHARE, 4, &most, &err);
        lethe_mem_fail_after(SIZE_MAX);
        lethe_guard_free(&g);
        assert_true(k < 5);
    }
    assert_ok(st, &err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_formula),
        cmocka_unit_test(rewinding),
        cmocka_unit_test(padding),
        cmocka_unit_test(quantile),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
