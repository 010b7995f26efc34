/* SPDX-License-Identifier: MIT
 *
 * A batch centred in one pass, and how far its rows spread, against sums in long double.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "sae/rows.h"

static lethe_err err;

static float *take(size_t n) {
    float *p;
    assert_ok(lethe_zalloc(&p, n, sizeof *p, "rows", &err), &err);
    return p;
}

static double spread_of(const float *x, size_t n, size_t d) {
    long double sum = 0;
    for (size_t i = 0; i < d; i++) {
        long double mean = 0;
        for (size_t t = 0; t < n; t++) mean += (long double)x[t * d + i];
        mean /= (long double)n;
        for (size_t t = 0; t < n; t++) {
            long double c = (long double)x[t * d + i] - mean;
            sum += c * c;
        }
    }
    return (double)sum;
}

/* Columns with a mean that is `massive` times their spread, b near it or not. */
static void check(size_t n, size_t d, float massive, bool near) {
    float *x = take(n * d), *b = take(d), *out = take(n * d);
    double *share = NULL, first = 0;
    assert_ok(lethe_alloc(&share, d, sizeof *share, "shares", &err), &err);
    lethe_rng r = lethe_rng_make(n, d);
    for (size_t i = 0; i < n * d; i++)
        x[i] = (float)lethe_rng_normal(&r) + (i % d % 7 ? 0 : massive);
    for (size_t i = 0; i < d; i++) b[i] = near ? x[i] : (float)i / 100;
    for (int threads = 1; threads <= 3; threads++) {
        lethe_threads_set(threads);
        double got = lethe_rows_centre(out, x, n, d, b, share), want = spread_of(x, n, d);
        for (size_t i = 0; i < n * d; i++) assert_true(out[i] == x[i] - b[i % d]);
        /* c is a float, so a column that lies far from b knows its spread less well. */
        assert_true(fabs(got - want) <= (near ? 1e-6 : 1e-6 + 1e-7 * (double)massive) * want);
        if (threads == 1) first = got;
        assert_true(got == first);
    }
    lethe_threads_set(0);
    lethe_free(x);
    lethe_free(b);
    lethe_free(out);
    lethe_free(share);
}

static void test_centre(void **state) {
    (void)state;
    static const size_t widths[] = {1, 3, 63, 64, 65, 130, 513, 1040};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t n = 2; n < 200; n = 3 * n + 1) {
            check(n, widths[w], 0, false);
            check(n, widths[w], 3000, false);
            check(n, widths[w], 3000, true);
        }
}

/* Exactly nothing, not what rounding leaves: the loss is divided by it. */
static void test_no_spread(void **state) {
    (void)state;
    enum { D = 70, MOST = 100 };
    float *x = take((size_t)MOST * D), *out = take((size_t)MOST * D), b[D] = {0};
    double share[D];
    lethe_rng r = lethe_rng_make(1, 1);
    for (size_t i = 0; i < D; i++) x[i] = (float)(1000 * lethe_rng_normal(&r));
    for (size_t t = 1; t < MOST; t++) memcpy(x + t * D, x, D * sizeof *x);
    for (size_t n = 1; n <= MOST; n++) assert_true(lethe_rows_centre(out, x, n, D, b, share) == 0);
    x[5] = NAN;
    assert_true(isnan(lethe_rows_centre(out, x, MOST, D, b, share)));
    x[5] = INFINITY;
    assert_true(isnan(lethe_rows_centre(out, x, MOST, D, b, share)));
    lethe_free(x);
    lethe_free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_centre),
        cmocka_unit_test(test_no_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
