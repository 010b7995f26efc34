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

static void make(lethe_guard_sight *sight, uint64_t stream) {
    lethe_rng r = lethe_rng_make(7, stream);
    for (size_t i = 0; i < POSITIONS; i++) {
        double u = lethe_rng_uniform(&r);
        sight[i] = u < 0.1 ? LETHE_GUARD_SKIPPED : u < 0.4 ? LETHE_GUARD_FIRED : LETHE_GUARD_QUIET;
    }
}

/* most_t straight from the formula. */
static double most_after(const lethe_guard_sight *sight, size_t n, size_t window) {
    double most = 0;
    for (size_t t = 0; t < n; t++) {
        size_t fired = 0, seen = 0;
        for (size_t i = t + 1; i-- > 0 && (!window || seen < window);) {
            if (sight[i] == LETHE_GUARD_SKIPPED) continue;
            seen++;
            fired += sight[i] == LETHE_GUARD_FIRED;
        }
        size_t of = window ? window : seen < LETHE_GUARD_LEAST ? LETHE_GUARD_LEAST : seen;
        double share = (double)fired / (double)of;
        if (share > most) most = share;
    }
    return most;
}

static double see(lethe_guard *g, int32_t seq, size_t pos, lethe_guard_sight sight, size_t window) {
    double most = -1;
    assert_ok(lethe_guard_see(g, seq, (int32_t)pos, sight, window, &most, &err), &err);
    assert_true(most == lethe_guard_most(g, seq));
    assert_int_equal(lethe_guard_length(g, seq), pos + 1);
    return most;
}

static void against_the_formula(void **state) {
    (void)state;
    static const size_t windows[] = {0, 1, 4, 16, 200};
    lethe_guard_sight a[POSITIONS], b[POSITIONS];
    make(a, 1);
    make(b, 2);
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        lethe_guard g = {0};
        for (size_t t = 0; t < POSITIONS; t++) { /* two sequences in turn */
            assert_true(see(&g, 3, t, a[t], windows[w]) == most_after(a, t + 1, windows[w]));
            assert_true(see(&g, 0, t, b[t], windows[w]) == most_after(b, t + 1, windows[w]));
        }
        assert_true(lethe_guard_most(&g, 1) == 0 && lethe_guard_most(&g, 9) == 0);
        lethe_guard_free(&g);
    }
}

static void rewinding(void **state) {
    (void)state;
    lethe_guard_sight a[POSITIONS], b[POSITIONS];
    make(a, 3);
    make(b, 4);
    static const size_t windows[] = {0, 5};
    for (size_t w = 0; w < 2; w++) {
        lethe_guard g = {0};
        for (size_t t = 0; t < POSITIONS; t++) see(&g, 0, t, a[t], windows[w]);
        for (size_t t = 0; t < 40; t++) b[t] = a[t]; /* back to 40, then something else */
        for (size_t t = 40; t < 90; t++)
            assert_true(see(&g, 0, t, b[t], windows[w]) == most_after(b, t + 1, windows[w]));
        make(a, 5); /* a new sequence, shorter than the one before */
        for (size_t t = 0; t < 30; t++)
            assert_true(see(&g, 0, t, a[t], windows[w]) == most_after(a, t + 1, windows[w]));
        /* positions that were left out are as skipped */
        for (size_t t = 30; t < 35; t++) a[t] = LETHE_GUARD_SKIPPED;
        assert_true(see(&g, 0, 35, a[35], windows[w]) == most_after(a, 36, windows[w]));
        lethe_guard_free(&g);
    }
}

/* Harmless text before or after changes nothing for a window; all positions so far are diluted by
 * what comes before. */
static void padding(void **state) {
    (void)state;
    double bare = 0, padded = 0, diluted = 0;
    for (int pad = 0; pad < 2; pad++) {
        lethe_guard g = {0}, all = {0};
        size_t t = 0;
        for (; t < (pad ? 300u : 0u); t++) {
            see(&g, 0, t, LETHE_GUARD_QUIET, 8);
            see(&all, 0, t, LETHE_GUARD_QUIET, 0);
        }
        for (size_t i = 0; i < 6; i++, t++) {
            see(&g, 0, t, LETHE_GUARD_FIRED, 8);
            see(&all, 0, t, LETHE_GUARD_FIRED, 0);
        }
        for (size_t i = 0; i < 200; i++, t++) see(&g, 0, t, LETHE_GUARD_QUIET, 8);
        *(pad ? &padded : &bare) = lethe_guard_most(&g, 0);
        diluted = lethe_guard_most(&all, 0);
        lethe_guard_free(&g);
        lethe_guard_free(&all);
    }
    assert_true(bare == 0.75 && padded == 0.75);
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
        st = lethe_guard_see(&g, 2, 0, LETHE_GUARD_FIRED, 4, &most, &err);
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
