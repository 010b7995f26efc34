/* SPDX-License-Identifier: MIT
 *
 * The pairs above a floor against the naive loop in plain C: the same pairs, the same bytes,
 * whatever the sieve did on the way.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "kernel/above.h"
#include "kernel/kernel.h"

static lethe_err err;

typedef struct problem {
    size_t n, d, m;
    float *x, *w, *floor;
} problem;

static void *take(size_t n, size_t size) {
    void *p;
    assert_ok(lethe_zalloc(&p, n, size, "test data", &err), &err);
    return p;
}

static problem problem_make(size_t n, size_t d, size_t m) {
    return (problem){.n = n,
                     .d = d,
                     .m = m,
                     .x = take(n * d, sizeof(float)),
                     .w = take(m * d, sizeof(float)),
                     .floor = take(m, sizeof(float))};
}

static void problem_free(problem *p) {
    lethe_free(p->x);
    lethe_free(p->w);
    lethe_free(p->floor);
}

static void normals(float *x, size_t n, double scale, lethe_rng *r) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * lethe_rng_normal(r));
}

static lethe_sieve sieve_of(const problem *p) {
    lethe_sieve s;
    assert_ok(lethe_sieve_alloc(&s, p->m, p->d, &err), &err);
    lethe_sieve_set_all(&s, p->w);
    return s;
}

/* Checks every pair; returns how many there are. */
static size_t check(const problem *p, const int32_t *rows, size_t n_rows) {
    lethe_sieve sieve = sieve_of(p);
    const lethe_latents from = {.w = p->w, .sieve = &sieve, .rows = rows, .n_rows = n_rows};
    lethe_select_stats stats = {0};
    lethe_above a;
    assert_ok(lethe_select_above(&a, p->x, p->n, &from, p->floor, &stats, &err), &err);
    assert_int_equal(a.n, p->n);
    assert_int_equal(a.start[0], 0);
    for (size_t t = 0; t < p->n; t++) {
        size_t at = a.start[t];
        for (size_t i = 0; i < (rows ? n_rows : p->m); i++) {
            size_t j = rows ? (size_t)rows[i] : i;
            float dot = lethe_kernels_ref.dot(p->x + t * p->d, p->w + j * p->d, p->d);
            if (!(dot > p->floor[j])) continue;
            assert_true(at < a.start[t + 1]);
            assert_int_equal(a.index[at], j);
            assert_memory_equal(&a.dot[at++], &dot, sizeof dot);
        }
        assert_int_equal(at, a.start[t + 1]);
    }
    size_t count = a.start[p->n];
    assert_int_equal(stats.tokens, p->n);
    assert_true(stats.exact >= count);
    lethe_above_free(&a);
    lethe_sieve_free(&sieve);
    return count;
}

static const size_t shapes[][3] = {/* n, d, m */
                                   {1, 1, 1},     {1, 7, 3},     {2, 3, 257},   {3, 64, 16},
                                   {17, 33, 97},  {13, 65, 300}, {70, 65, 251}, {401, 5, 31},
                                   {90, 40, 700}, {9, 1300, 60}};

/* Products of small integers are exact, so many of them are the floor itself. */
static void test_ties(void **state) {
    (void)state;
    size_t count = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        problem p = problem_make(shapes[s][0], shapes[s][1], shapes[s][2]);
        lethe_rng r = lethe_rng_make(s, 1);
        for (size_t i = 0; i < p.n * p.d; i++) p.x[i] = (float)lethe_rng_below(&r, 5) - 2;
        for (size_t i = 0; i < p.m * p.d; i++) p.w[i] = (float)lethe_rng_below(&r, 5) - 2;
        for (size_t i = 0; i < p.m; i++) p.floor[i] = (float)lethe_rng_below(&r, 7) - 3;
        count += check(&p, NULL, 0);
        problem_free(&p);
    }
    assert_true(count > 10000);
}

/* Real numbers, few above the floor; some floors are the very product of a token, or one float
 * beside it. */
static void test_reals(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int outlying = 0; outlying < 2; outlying++) {
            problem p = problem_make(shapes[s][0], shapes[s][1], shapes[s][2]);
            lethe_rng r = lethe_rng_make(s, 2);
            normals(p.x, p.n * p.d, 3, &r);
            normals(p.w, p.m * p.d, 0.1, &r);
            for (size_t t = 0; t < p.n && outlying; t++) p.x[t * p.d + p.d / 2] *= 300;
            for (size_t j = 0; j < p.m; j++) {
                const float *x = p.x + j % p.n * p.d;
                float dot = lethe_kernels_ref.dot(x, p.w + j * p.d, p.d);
                p.floor[j] = j % 4 == 0   ? dot
                             : j % 4 == 1 ? nextafterf(dot, -INFINITY)
                             : j % 4 == 2 ? nextafterf(dot, INFINITY)
                                          : 0.7f * sqrtf((float)p.d);
            }
            check(&p, NULL, 0);
            problem_free(&p);
        }
}

static void test_some_rows(void **state) {
    (void)state;
    problem p = problem_make(80, 37, 500);
    lethe_rng r = lethe_rng_make(5, 3);
    normals(p.x, p.n * p.d, 1, &r);
    normals(p.w, p.m * p.d, 1, &r);
    normals(p.floor, p.m, 8, &r);
    int32_t rows[200];
    for (int32_t i = 0; i < 200; i++) rows[i] = 2 * i + (i > 100);
    assert_true(check(&p, rows, 200) > 0);
    problem_free(&p);
}

static void test_not_finite(void **state) {
    (void)state;
    problem p = problem_make(100, 48, 90);
    lethe_rng r = lethe_rng_make(6, 3);
    normals(p.x, p.n * p.d, 1, &r);
    normals(p.w, p.m * p.d, 1, &r);
    normals(p.floor, p.m, 5, &r);
    p.x[3 * 48 + 2] = NAN;
    p.x[7 * 48 + 1] = INFINITY;
    p.x[9 * 48 + 5] = 3e38f;
    p.x[9 * 48 + 6] = -3e38f;
    memset(p.x + 11 * 48, 0, 48 * sizeof *p.x);
    p.floor[1] = -INFINITY;
    p.floor[2] = INFINITY;
    p.floor[3] = NAN;
    p.floor[4] = -3e38f;
    p.floor[5] = -0.0f;
    memset(p.w + 6 * 48, 0, 48 * sizeof *p.w);
    p.floor[6] = 0;
    assert_true(check(&p, NULL, 0) > 100);
    problem_free(&p);
}

static void test_no_tokens(void **state) {
    (void)state;
    problem p = problem_make(0, 4, 3);
    assert_int_equal(check(&p, NULL, 0), 0);
    problem_free(&p);
}

/* Many tokens with one thread and a few with three, where the latents are cut into parts. */
static void test_threads(void **state) {
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        lethe_threads_set(threads);
        for (size_t n = 1; n <= 50; n += 49) {
            problem p = problem_make(n, 96, 12000);
            lethe_rng r = lethe_rng_make(n, 4);
            normals(p.x, p.n * p.d, 1, &r);
            normals(p.w, p.m * p.d, 1, &r);
            for (size_t j = 0; j < p.m; j++) p.floor[j] = j % 3 ? 22 : 5;
            assert_true(check(&p, NULL, 0) > 0);
            problem_free(&p);
        }
    }
    lethe_threads_set(0);
}

/* What makes it worth having: few second looks, few products. */
static void test_screens(void **state) {
    (void)state;
    problem p = problem_make(256, 256, 4096);
    lethe_rng r = lethe_rng_make(8, 4);
    normals(p.x, p.n * p.d, 1, &r);
    normals(p.w, p.m * p.d, 1, &r);
    for (size_t j = 0; j < p.m; j++) p.floor[j] = 40; /* 2.5 deviations: 0.6 % */
    lethe_sieve sieve = sieve_of(&p);
    const lethe_latents from = {.w = p.w, .sieve = &sieve};
    lethe_select_stats stats = {0};
    lethe_above a;
    assert_ok(lethe_select_above(&a, p.x, p.n, &from, p.floor, &stats, &err), &err);
    print_message("%zu above of %llu; second looks %llu, products %llu\n", a.start[p.n],
                  (unsigned long long)stats.pairs, (unsigned long long)stats.second,
                  (unsigned long long)stats.exact);
    assert_true(stats.second < stats.pairs / 20);
    assert_true(stats.exact < a.start[p.n] + a.start[p.n] / 50);
    lethe_above_free(&a);
    lethe_sieve_free(&sieve);
    problem_free(&p);
}

static void test_no_memory(void **state) {
    (void)state;
    problem p = problem_make(9, 16, 40);
    lethe_rng r = lethe_rng_make(7, 3);
    normals(p.x, p.n * p.d, 1, &r);
    normals(p.w, p.m * p.d, 1, &r);
    lethe_sieve sieve = sieve_of(&p);
    int32_t rows[] = {1, 5, 30};
    const lethe_latents from = {.w = p.w, .sieve = &sieve, .rows = rows, .n_rows = 3};
    lethe_above a = {0};
    size_t allowed = 0;
    for (;; allowed++) {
        lethe_mem_fail_after(allowed);
        lethe_status st = lethe_select_above(&a, p.x, p.n, &from, p.floor, NULL, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK) break;
        assert_int_equal(st, LETHE_NOMEM);
        assert_null(a.start);
    }
    assert_true(allowed > 20);
    lethe_above_free(&a);
    lethe_sieve_free(&sieve);
    problem_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ties),      cmocka_unit_test(test_reals),
        cmocka_unit_test(test_some_rows), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_no_tokens), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_screens),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
