/* SPDX-License-Identifier: MIT
 *
 * What the tests share: cmocka with its includes, paths of reference data, temporary folders,
 * tolerances.
 */
#ifndef LETHE_TESTS_SUPPORT_H
#define LETHE_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

#define LETHE_TEST_SKIPPED 77 /* CTest's SKIP_RETURN_CODE */

/* Path of a file below ../shared (or $LETHE_SHARED); NULL where it is missing. Static memory, eight
 * paths are kept. In CI (CI=true) a missing file fails the program instead. */
const char *test_shared(const char *relative);

/* Path of a file in the source tree. Static memory, shared with test_shared. */
const char *test_source(const char *relative);

/* A fresh temporary folder (static memory), removed by test_temp_remove. */
const char *test_temp_dir(void);
void test_temp_remove(void);

/* Fails the cmocka test with the error's text unless st is OK. */
#define assert_ok(st, err) test_assert_ok((st), (err), __FILE__, __LINE__)
void test_assert_ok(lethe_status st, const lethe_err *err, const char *file, int line);

/* max |got - want| / max |want| <= rel; prints the worst place when not. */
#define assert_close(got, want, n, rel, what) \
    test_assert_close((got), (want), (n), (rel), (what), __FILE__, __LINE__)
void test_assert_close(const float *got, const float *want, size_t n, double rel, const char *what,
                       const char *file, int line);
double test_rel_error(const float *got, const float *want, size_t n);

#endif
