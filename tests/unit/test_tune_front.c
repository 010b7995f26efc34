/* SPDX-License-Identifier: MIT
 *
 * Ranks and crowding of small sets worked out by hand, and against the definition on random ones.
 */
#include <math.h>

#include "base/rng.h"
#include "stage/tune_front.h"
#include "support/support.h"

static void test_beats(void **state) {
    (void)state;
    lethe_point a = {.1, .2}, b = {.1, .3}, c = {.05, .4}, bad = {NAN, .1};
    assert_true(lethe_point_beats(a, b));
    assert_false(lethe_point_beats(b, a));
    assert_false(lethe_point_beats(a, a));
    assert_false(lethe_point_beats(a, c));
    assert_false(lethe_point_beats(c, a));
    assert_false(lethe_point_beats(bad, a));
    assert_true(lethe_point_beats((lethe_point){.2, .1}, bad));
}

static void test_by_hand(void **state) {
    (void)state;
    /* a front of four, one behind it, one behind that */
    const lethe_point p[] = {{0, 10}, {1, 6}, {5, 5}, {10, 0}, {6, 6}, {7, 7}};
    const uint32_t want[] = {0, 0, 0, 0, 1, 2};
    uint32_t rank[6];
    double crowding[6];
    size_t scratch[6];
    lethe_front_rank(p, 6, rank);
    for (size_t i = 0; i < 6; i++) assert_int_equal(rank[i], want[i]);
    lethe_front_crowding(p, rank, 6, crowding, scratch);
    assert_true(isinf(crowding[0]) && isinf(crowding[3]) && isinf(crowding[4]));
    /* (5 - 0) / 10 + (10 - 5) / 10, and (10 - 1) / 10 + (6 - 0) / 10 */
    assert_true(fabs(crowding[1] - 1.0) < 1e-12);
    assert_true(fabs(crowding[2] - 1.5) < 1e-12);
}

enum { N = 60 };

static void test_definition(void **state) {
    (void)state;
    lethe_rng r = lethe_rng_make(4, 2);
    for (int round = 0; round < 20; round++) {
        lethe_point p[N];
        uint32_t rank[N];
        for (size_t i = 0; i < N; i++) { /* a coarse grid: ties and equal points */
            p[i] = (lethe_point){(double)lethe_rng_below(&r, 12), (double)lethe_rng_below(&r, 12)};
            if (lethe_rng_below(&r, 20) == 0) p[i].damage = NAN;
        }
        lethe_front_rank(p, N, rank);
        for (size_t i = 0; i < N; i++) {
            bool before = rank[i] == 0; /* somebody of the rank before beats it */
            for (size_t j = 0; j < N; j++) {
                if (!lethe_point_beats(p[j], p[i])) continue;
                assert_true(rank[j] < rank[i]);
                before |= rank[j] + 1 == rank[i];
            }
            assert_true(before);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beats),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
