/* SPDX-License-Identifier: MIT
 *
 * The course of a training: few points, each the mean of the steps it stands for.
 */
#include "support/support.h"

#include <math.h>

#include "stage/train_curve.h"

static void test_points(void **state) {
    (void)state;
    static const uint64_t lengths[] = {0, 1, 2, 127, 128, 129, 256, 257, 1000, 12345};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        lethe_train_curve c = {0};
        for (uint64_t s = 1; s <= lengths[l]; s++)
            lethe_train_curve_add(&c, s, (double)s, 2.0 * (double)s, (size_t)s);
        assert_true(c.n <= LETHE_CURVE_POINTS);
        assert_true(lengths[l] < LETHE_CURVE_POINTS || c.n >= LETHE_CURVE_POINTS / 2);
        uint64_t before = 0;
        for (size_t i = 0; i < c.n; i++) { /* the mean of before + 1 .. step */
            const lethe_curve_point *p = &c.point[i];
            assert_int_equal(p->step - before, c.stride);
            double mean = ((double)before + 1 + (double)p->step) / 2;
            assert_true(fabs(p->loss - mean) < 1e-9 * mean);
            assert_true(fabs(p->fvu - 2 * mean) < 1e-9 * mean);
            assert_true(fabs(p->dead - mean) < 1e-9 * mean);
            before = p->step;
        }
        assert_int_equal(before + c.in_sum, lengths[l]);
        json_t *j = lethe_train_curve_json(&c);
        assert_int_equal(json_array_size(json_object_get(j, "step")), c.n);
        assert_int_equal(json_array_size(json_object_get(j, "fvu")), c.n);
        json_decref(j);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_points)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
