/* SPDX-License-Identifier: MIT
 *
 * Product and selection against naive references. Small integers first: every product is exact in
 * float32 and ties are everywhere, so indices must agree one by one. Then real numbers, where the
 * k largest of all float32 dot products must come out, whatever the sieve did on the way.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "kernel/kernel.h"
#include "kernel/select.h"
#include "kernel/topk.h"

static lethe_err err;

typedef struct problem {
    size_t n, d, m, k;
    float *x, *w, *bias;
    int32_t *index;
    float *value;
} problem;

static void *take(size_t n, size_t size) {
    void *p;
    assert_ok(lethe_zalloc(&p, n, size, "test data", &err), &err);
    return p;
}

static problem problem_make(size_t n, size_t d, size_t m, size_t k) {
    return (problem){.n = n,
                     .d = d,
                     .m = m,
                     .k = k,
                     .x = take(n * d, sizeof(float)),
                     .w = take(m * d, sizeof(float)),
                     .bias = take(m, sizeof(float)),
                     .index = take(n * k, sizeof(int32_t)),
                     .value = take(n * k, sizeof(float))};
}

static void problem_free(problem *p) {
    lethe_free(p->x);
    lethe_free(p->w);
    lethe_free(p->bias);
    lethe_free(p->index);
    lethe_free(p->value);
}

static float small(lethe_rng *r, uint64_t range) {
    return (float)lethe_rng_below(r, 2 * range + 1) - (float)range;
}

static void fill(problem *p, lethe_rng *r, uint64_t range) {
    for (size_t i = 0; i < p->n * p->d; i++) p->x[i] = small(r, range);
    for (size_t i = 0; i < p->m * p->d; i++) p->w[i] = small(r, range);
    for (size_t i = 0; i < p->m; i++) p->bias[i] = small(r, range);
}

static lethe_sieve sieve_of(const problem *p) {
    lethe_sieve s;
    assert_ok(lethe_sieve_alloc(&s, p->m, p->d, &err), &err);
    lethe_sieve_set_all(&s, p->w);
    return s;
}

static lethe_select_stats select_after(problem *p, float *ratio) {
    lethe_selection sel = {
        .bias = p->bias, .k = p->k, .index = p->index, .value = p->value, .ratio = ratio};
    lethe_sieve sieve = sieve_of(p);
    const lethe_latents from = {.w = p->w, .sieve = &sieve};
    lethe_select_stats stats = {0};
    assert_ok(lethe_select(p->x, p->n, &from, &sel, 1, &stats, &err), &err);
    lethe_sieve_free(&sieve);
    return stats;
}

static lethe_select_stats select_now(problem *p) {
    return select_after(p, NULL);
}

typedef struct scored {
    double value; /* -infinity for NaN */
    size_t index;
} scored;

static int by_rank(const void *pa, const void *pb) {
    const scored *a = pa, *b = pb;
    if (a->value != b->value) return a->value < b->value ? 1 : -1;
    return a->index < b->index ? -1 : 1;
}

static void check_row(const problem *p, size_t t, scored *all) {
    for (size_t j = 0; j < p->m; j++) {
        float a = 0;
        for (size_t i = 0; i < p->d; i++) a += p->x[t * p->d + i] * p->w[j * p->d + i];
        a += p->bias[j];
        all[j] = (scored){isnan(a) ? -INFINITY : (double)a, j};
    }
    qsort(all, p->m, sizeof *all, by_rank);
    for (size_t i = 0; i < p->k; i++) {
        assert_int_equal(p->index[t * p->k + i], all[i].index);
        assert_true((double)p->value[t * p->k + i] == all[i].value);
    }
}

static void check_all(const problem *p) {
    scored *all = take(p->m, sizeof *all);
    for (size_t t = 0; t < p->n; t++) check_row(p, t, all);
    lethe_free(all);
}

static void check_shape(size_t n, size_t d, size_t m, size_t k, uint64_t range) {
    problem p = problem_make(n, d, m, k);
    lethe_rng r = lethe_rng_make(n * 31 + d, m * 7 + k);
    fill(&p, &r, range);
    select_now(&p);
    check_all(&p);
    problem_free(&p);
}

static void test_shapes(void **state) {
    (void)state;
    for (size_t n = 1; n <= 70; n++) check_shape(n, 1 + n % 13, 3 + 2 * n, 1 + n % 3, 3);
    static const size_t shapes[][4] = {
        {1, 1, 1, 1},      {3, 7, 33, 33},     {5, 33, 511, 16}, {5, 33, 513, 511},
        {2, 31, 1537, 1},  {257, 5, 97, 97},   {300, 9, 601, 8}, {513, 3, 1025, 5},
        {1, 65, 5003, 32}, {1, 2, 4096, 4096},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_shape(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], 5);
}

/* All equal, all negative, both zeros: ties go to the lower index. */
static void test_ties(void **state) {
    (void)state;
    problem p = problem_make(4, 3, 700, 50);
    select_now(&p);
    check_all(&p);
    for (size_t j = 0; j < p.m; j++) p.bias[j] = j % 2 ? 0.0f : -0.0f;
    select_now(&p);
    check_all(&p);
    for (size_t j = 0; j < p.m; j++) p.bias[j] = -1.0f - (float)(j % 5);
    select_now(&p);
    check_all(&p);
    assert_true(p.value[0] == -1.0f);
    problem_free(&p);

    uint64_t key[4];
    int32_t index[4];
    float value[4];
    const float zeros[] = {-0.0f, -1.0f, 0.0f, -0.0f, 0.0f, -2.0f};
    lethe_topk t;
    lethe_topk_begin(&t, 4, key);
    for (uint32_t i = 6; i-- > 0;) lethe_topk_offer(&t, zeros[i], 10 + i); /* any order */
    lethe_topk_end(&t, NULL, 20, index, value);
    assert_memory_equal(index, ((const int32_t[]){10, 12, 13, 14}), sizeof index);
}

static void test_not_finite(void **state) {
    (void)state;
    problem p = problem_make(6, 4, 600, 40);
    lethe_rng r = lethe_rng_make(5, 5);
    fill(&p, &r, 3);
    p.x[0] = NAN;                /* row 0: nothing but NaN */
    p.x[1 * p.d + 2] = INFINITY; /* row 1: +-infinity, NaN where the weight is 0 */
    for (size_t j = 0; j < p.m; j += 3) p.bias[j] = NAN;
    for (size_t j = 1; j < p.m; j += 3) p.bias[j] = -INFINITY;
    p.bias[599] = INFINITY;
    select_now(&p);
    check_all(&p);
    assert_int_equal(p.index[2 * p.k], 599);
    assert_true(isinf(p.value[2 * p.k]) && p.value[2 * p.k] > 0);
    for (size_t i = 0; i < p.k; i++) assert_int_equal(p.index[i], i);
    /* Too few numbers: the rest is filled with the lowest indices not taken, as -infinity. */
    for (size_t j = 0; j < p.m; j++) p.bias[j] = NAN;
    p.bias[7] = 1;
    select_now(&p);
    check_all(&p);
    problem_free(&p);
}

/* One product for two selections; the second may only take every fifth latent. */
static void test_two_selections(void **state) {
    (void)state;
    problem p = problem_make(70, 11, 1234, 6), q = problem_make(70, 11, 1234, 9);
    lethe_rng r = lethe_rng_make(9, 9);
    fill(&p, &r, 4);
    memcpy(q.x, p.x, p.n * p.d * sizeof *p.x);
    memcpy(q.w, p.w, p.m * p.d * sizeof *p.w);
    for (size_t j = 0; j < q.m; j++) q.bias[j] = j % 5 ? -INFINITY : p.bias[j];
    const lethe_selection sel[2] = {{.bias = p.bias, .k = p.k, .index = p.index, .value = p.value},
                                    {.bias = q.bias, .k = q.k, .index = q.index, .value = q.value}};
    lethe_sieve sieve = sieve_of(&p);
    const lethe_latents from = {.w = p.w, .sieve = &sieve};
    assert_ok(lethe_select(p.x, p.n, &from, sel, 2, NULL, &err), &err);
    lethe_sieve_free(&sieve);
    check_all(&p);
    check_all(&q);
    problem_free(&p);
    problem_free(&q);
}

static void test_threads(void **state) {
    (void)state;
    problem p = problem_make(301, 37, 3001, 12);
    lethe_rng r = lethe_rng_make(3, 4);
    for (size_t i = 0; i < p.n * p.d; i++) p.x[i] = (float)lethe_rng_normal(&r);
    for (size_t i = 0; i < p.m * p.d; i++) p.w[i] = (float)lethe_rng_normal(&r);
    int32_t *index = take(p.n * p.k, sizeof *index);
    float *value = take(p.n * p.k, sizeof *value);
    for (int threads = 1; threads <= 4; threads++) {
        lethe_threads_set(threads);
        select_now(&p);
        if (threads == 1) {
            memcpy(index, p.index, p.n * p.k * sizeof *index);
            memcpy(value, p.value, p.n * p.k * sizeof *value);
        }
        assert_memory_equal(index, p.index, p.n * p.k * sizeof *index);
        assert_memory_equal(value, p.value, p.n * p.k * sizeof *value);
    }
    lethe_threads_set(0);
    lethe_free(index);
    lethe_free(value);
    problem_free(&p);
}

/* ---- real numbers: the k largest of what the plain C `dot` says, bit by bit ---------------------
 */

/* rows [n_rows]: the latents to select from. */
static void check_exact(const problem *p, const int32_t *rows, size_t n_rows) {
    scored *all = take(n_rows, sizeof *all);
    for (size_t t = 0; t < p->n; t++) {
        for (size_t i = 0; i < n_rows; i++) {
            size_t j = rows ? (size_t)rows[i] : i;
            float a = lethe_kernels_ref.dot(p->x + t * p->d, p->w + j * p->d, p->d) + p->bias[j];
            all[i] = (scored){(double)a, j};
        }
        qsort(all, n_rows, sizeof *all, by_rank);
        for (size_t i = 0; i < p->k; i++) {
            assert_int_equal(p->index[t * p->k + i], all[i].index);
            assert_true((double)p->value[t * p->k + i] == all[i].value);
        }
    }
    lethe_free(all);
}

typedef enum { PLAIN, OUTLYING, NEAR_TIES, UNEVEN, KINDS } kind;

static problem real_problem(size_t n, size_t d, size_t m, size_t k, kind what, uint64_t seed) {
    problem p = problem_make(n, d, m, k);
    lethe_rng r = lethe_rng_make(seed, 17);
    for (size_t i = 0; i < n * d; i++) p.x[i] = (float)lethe_rng_normal(&r);
    for (size_t i = 0; i < m * d; i++) p.w[i] = (float)lethe_rng_normal(&r);
    for (size_t j = 0; j < m; j++) p.bias[j] = 0.1f * (float)lethe_rng_normal(&r);
    /* Dimensions of massive size, as a residual stream has them. */
    for (size_t t = 0; what == OUTLYING && t < n; t++) {
        p.x[t * d + 3] *= 40;
        p.x[t * d + d / 2] = 200 + p.x[t * d + d / 2];
    }
    /* Rows that differ by the last bit of one weight, and equal ones. */
    for (size_t j = 8; what == NEAR_TIES && j < m; j++) {
        memcpy(p.w + j * d, p.w + j % 8 * d, d * sizeof *p.w);
        p.bias[j] = p.bias[j % 8];
        if (j % 3) p.w[j * d + j % d] = nextafterf(p.w[j * d + j % d], 9);
    }
    /* Rows and tokens of very different length. */
    for (size_t j = 0; what == UNEVEN && j < m; j++)
        for (size_t i = 0; i < d; i++) p.w[j * d + i] *= powf(10, (float)(j % 13) - 6);
    for (size_t t = 0; what == UNEVEN && t < n; t++)
        for (size_t i = 0; i < d; i++) p.x[t * d + i] *= powf(10, (float)(t % 11) - 5);
    return p;
}

static void test_exact(void **state) {
    (void)state;
    static const size_t shapes[][4] = {
        {1, 192, 700, 8},   {70, 65, 1001, 9},   {600, 100, 900, 16},
        {1100, 33, 777, 5}, {30, 2100, 1100, 8}, /* wider than a strip of a second look */
        {2, 2100, 1100, 8}, {3, 192, 4000, 8},   {7, 65, 1001, 9}, /* fine first looks */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (kind what = PLAIN; what < KINDS; what++) {
            problem p =
                real_problem(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], what, i);
            lethe_select_stats s = select_now(&p);
            check_exact(&p, NULL, p.m);
            /* The sieve must have done its work, or this tests the fallback alone. */
            if (what == PLAIN && p.n == 600) {
                assert_int_equal(s.full, 0);
                assert_true(s.second < s.pairs / 4);
                assert_true(s.third < s.second);
                assert_true(s.exact < s.tokens * (p.k + 4));
            }
            /* First digits alone, which massive dimensions make coarse, leave three times as many
             * (a guess of the threshold that does not hold, half of all). */
            if (what == OUTLYING && p.n == 3) assert_true(s.second < s.pairs / 40);
            problem_free(&p);
        }
}

static void test_subset(void **state) {
    (void)state;
    problem p = real_problem(600, 100, 900, 16, OUTLYING, 3);
    int32_t rows[300];
    for (int32_t i = 0; i < 300; i++) rows[i] = 3 * i + i % 2;
    lethe_sieve sieve = sieve_of(&p);
    const lethe_latents from = {.w = p.w, .sieve = &sieve, .rows = rows, .n_rows = 300};
    const lethe_selection sel = {.bias = p.bias, .k = p.k, .index = p.index, .value = p.value};
    assert_ok(lethe_select(p.x, p.n, &from, &sel, 1, NULL, &err), &err);
    check_exact(&p, rows, 300);
    lethe_sieve_free(&sieve);
    problem_free(&p);
}

/* Where the sieve cannot tell, tokens are computed in full, and counted. */
static void test_in_full(void **state) {
    (void)state;
    problem p = problem_make(70, 64, 3000, 8); /* all numbers are equal */
    lethe_select_stats s = select_now(&p);
    assert_int_equal(s.full, p.n);
    check_all(&p);
    p.x[0] = NAN;
    for (size_t j = 0; j < p.m; j++) p.bias[j] = (float)(j * 7919 % p.m);
    s = select_now(&p);
    assert_int_equal(s.full, 1);
    check_all(&p);
    problem_free(&p);
}

/* A pilot that knows nothing of the other tokens: their guesses are too high, and they come again.
 */
static void test_again(void **state) {
    (void)state;
    problem p = real_problem(1024, 64, 2000, 8, PLAIN, 5);
    for (size_t t = 0; t < p.n; t += 16) /* the pilot, each close to a latent */
        for (size_t i = 0; i < p.d; i++) p.x[t * p.d + i] = p.w[t * p.d + i];
    for (size_t j = 0; j < p.m; j++) /* eight copies of it */
        memcpy(p.w + j * p.d, p.w + j / 8 * 8 * p.d, p.d * sizeof *p.w);
    for (size_t t = 0; t < p.n; t += 16)
        memcpy(p.x + t * p.d, p.w + t % p.m * p.d, p.d * sizeof *p.x);
    lethe_select_stats s = select_now(&p);
    assert_true(s.again > p.n / 2);
    check_exact(&p, NULL, p.m);
    problem_free(&p);
}

/* What one call leaves for the next spares its pilot; what is wrong changes nothing but the time.
 */
static void test_ratio(void **state) {
    (void)state;
    problem p = real_problem(1024, 64, 2000, 8, PLAIN, 6);
    float ratio = -INFINITY;
    select_after(&p, &ratio);
    check_exact(&p, NULL, p.m);
    assert_true(isfinite(ratio) && ratio > 0);
    lethe_select_stats with = select_after(&p, &ratio), without = select_now(&p);
    check_exact(&p, NULL, p.m);
    assert_true(with.again < p.n / 16);
    assert_true(with.second < without.second); /* those of the pilot */
    const float wrong[] = {1e9f, -1e9f, NAN, INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ratio = wrong[i];
        lethe_select_stats s = select_after(&p, &ratio);
        check_exact(&p, NULL, p.m);
        if (i == 0) assert_int_equal(s.again, p.n);
        assert_true(isfinite(ratio) && ratio > 0 && ratio < 1e6f); /* mended for the next */
    }
    problem_free(&p);
}

static void test_no_memory(void **state) {
    (void)state;
    problem p = problem_make(20, 5, 300, 4);
    lethe_rng r = lethe_rng_make(1, 2);
    fill(&p, &r, 4);
    lethe_selection sel = {.bias = p.bias, .k = p.k, .index = p.index, .value = p.value};
    lethe_sieve sieve = sieve_of(&p);
    const lethe_latents from = {.w = p.w, .sieve = &sieve};
    size_t allowed = 0;
    for (;; allowed++) {
        lethe_mem_fail_after(allowed);
        lethe_status st = lethe_select(p.x, p.n, &from, &sel, 1, NULL, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK) break;
        assert_int_equal(st, LETHE_NOMEM);
    }
    assert_true(allowed >= 3);
    check_all(&p);
    lethe_sieve_free(&sieve);
    problem_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),     cmocka_unit_test(test_ties),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_two_selections),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_exact),      cmocka_unit_test(test_subset),
        cmocka_unit_test(test_in_full),    cmocka_unit_test(test_again),
        cmocka_unit_test(test_ratio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
