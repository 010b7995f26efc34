/* SPDX-License-Identifier: MIT
 *
 * The dense reference against the trainer: the same losses and, after several steps, the same
 * parameters to rounding, for both recipes, with and without dead latents. Two programs of the same
 * arithmetic, so a mistake in one of them shows; and the whole products they stand on, against
 * double precision.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "kernel/gemm.h"
#include "sae/dense.h"

enum { D = 40, M = 200, K = 6, N = 70, STEPS = 8 };

static lethe_err err;

static void random_floats(float *x, size_t n, double scale, lethe_rng *r) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * lethe_rng_normal(r));
}

/* ---- products ------------------------------------------------------------------------------- */

static void check_product(lethe_gemm_kind kind, size_t n, size_t m, size_t k, float beta,
                          lethe_rng *r) {
    float *a, *b, *c;
    assert_ok(lethe_alloc(&a, n * k, sizeof *a, "a", &err), &err);
    assert_ok(lethe_alloc(&b, k * m, sizeof *b, "b", &err), &err);
    assert_ok(lethe_alloc(&c, n * m, sizeof *c, "c", &err), &err);
    random_floats(a, n * k, 1, r);
    random_floats(b, k * m, 1, r);
    double *want;
    assert_ok(lethe_alloc(&want, n * m, 2 * sizeof *want, "wanted", &err), &err);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            /* What is there before must not matter when beta is 0. */
            c[i * m + j] = beta == 0.0f ? NAN : (float)lethe_rng_normal(r);
            double sum = beta == 0.0f ? 0 : (double)beta * (double)c[i * m + j], size = fabs(sum);
            for (size_t q = 0; q < k; q++) {
                double x = (double)a[kind == LETHE_GEMM_TN ? q * n + i : i * k + q];
                double y = (double)b[kind == LETHE_GEMM_NT ? j * k + q : q * m + j];
                sum += x * y;
                size += fabs(x * y);
            }
            want[2 * (i * m + j)] = sum;
            want[2 * (i * m + j) + 1] = size;
        }
    assert_ok(lethe_gemm(kind, n, m, k, a, b, beta, c, &err), &err);
    for (size_t i = 0; i < n * m; i++)
        if (!(fabs((double)c[i] - want[2 * i]) <= (double)(k + 2) * 6e-8 * want[2 * i + 1] + 1e-30))
            fail_msg("kind %d, %zu x %zu x %zu, beta %g, element %zu: got %.9g, want %.9g", kind, n,
                     m, k, (double)beta, i, (double)c[i], want[2 * i]);
    lethe_free(a);
    lethe_free(b);
    lethe_free(c);
    lethe_free(want);
}

static void test_products(void **state) {
    (void)state;
    static const size_t size[][3] = {{1, 1, 1}, {1, 9, 33}, {7, 5, 3}, {17, 64, 31}, {40, 33, 65}};
    lethe_rng r = lethe_rng_make(5, 0);
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int kind = LETHE_GEMM_NN; kind <= LETHE_GEMM_TN; kind++)
            for (int beta = 0; beta < 2; beta++)
                check_product((lethe_gemm_kind)kind, size[s][0], size[s][1], size[s][2],
                              (float)beta, &r);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static lethe_sae start(void) {
    lethe_sae sae;
    assert_ok(lethe_sae_alloc(&sae, D, M, K, &err), &err);
    lethe_sae_init(&sae, 3);
    lethe_rng r = lethe_rng_make(4, 0);
    random_floats(sae.b_enc, M, 0.05, &r);
    random_floats(sae.b_dec, D, 0.1, &r);
    return sae;
}

static void close_to(double got, double want, double rel, const char *what, int step) {
    if (!(fabs(got - want) <= rel * fabs(want)))
        fail_msg("step %d: %s is %.9g of the trainer, %.9g of the dense reference", step, what, got,
                 want);
}

static void compare(const lethe_recipe *recipe, size_t dead) {
    lethe_sae a = start(), b = start();
    lethe_trainer *t;
    lethe_dense *dense;
    assert_ok(lethe_trainer_open(&t, &a, recipe, N, STEPS, &err), &err);
    assert_ok(lethe_dense_open(&dense, &b, recipe, N, STEPS, &err), &err);
    assert_null(a.W_enc); /* moved */
    assert_null(b.W_enc);
    lethe_rng r = lethe_rng_make(6, dead);
    float x[N * D];
    for (int step = 0; step < STEPS; step++) {
        random_floats(x, N * D, 0.7, &r);
        lethe_trainer_hold_dead(t, dead);
        lethe_dense_hold_dead(dense, dead);
        size_t n = step == 3 ? N - 9 : N; /* a short batch between full ones */
        lethe_step_stats fast, slow;
        assert_ok(lethe_trainer_step(t, x, n, &fast, &err), &err);
        assert_ok(lethe_dense_step(dense, x, n, &slow, &err), &err);
        assert_false(fast.skipped || slow.skipped);
        assert_int_equal(fast.dead, slow.dead);
        assert_true(slow.dead >= dead);
        assert_true((slow.aux_loss > 0) == (dead > 0));
        close_to(fast.recon_loss, slow.recon_loss, 1e-5, "the reconstruction loss", step);
        close_to(fast.aux_loss, slow.aux_loss, 1e-5, "the auxiliary loss", step);
        close_to(fast.total_loss, slow.total_loss, 1e-5, "the loss", step);
        close_to(fast.fvu, slow.fvu, 1e-5, "FVU", step);
        close_to(fast.l0, slow.l0, 1e-9, "L0", step);
        close_to(fast.grad_norm, slow.grad_norm, 1e-4, "the gradient's norm", step);
        close_to(fast.lr, slow.lr, 0, "the learning rate", step);
    }
    const lethe_sae *got = lethe_trainer_sae(t), *want = lethe_dense_sae(dense);
    assert_close(got->W_enc, want->W_enc, M * D, 2e-5, "W_enc");
    assert_close(got->b_enc, want->b_enc, M, 2e-5, "b_enc");
    assert_close(got->W_dec, want->W_dec, M * D, 2e-5, "W_dec");
    assert_close(got->b_dec, want->b_dec, D, 2e-5, "b_dec");
    /* They moved: agreement is not that of two that stand still. */
    lethe_sae first = start();
    assert_true(test_rel_error(want->W_dec, first.W_dec, M * D) > 1e-3);
    assert_true(test_rel_error(want->W_enc, first.W_enc, M * D) > 1e-3);
    lethe_sae_free(&first);
    lethe_trainer_close(&t);
    lethe_dense_close(&dense);
}

static lethe_recipe brisk(lethe_recipe r) {
    r.lr = 1e-3;
    r.clip = 0.05; /* so that clipping has a say */
    return r;
}

static void test_reference(void **state) {
    (void)state;
    lethe_recipe r = brisk(lethe_recipe_reference());
    compare(&r, 0);
    compare(&r, 20); /* fewer than aux_k */
    compare(&r, 60);
}

static void test_default(void **state) {
    (void)state;
    lethe_recipe r = brisk(lethe_recipe_default());
    r.warmup = 2;
    compare(&r, 0);
    compare(&r, 60);
}

static void test_without_aux(void **state) {
    (void)state;
    lethe_recipe r = brisk(lethe_recipe_reference());
    r.aux = LETHE_AUX_NONE;
    compare(&r, 0);
}

/* ---- failures ------------------------------------------------------------------------------- */

static void test_not_finite(void **state) {
    (void)state;
    lethe_recipe r = lethe_recipe_reference();
    lethe_sae sae = start(), first = start();
    lethe_dense *dense;
    assert_ok(lethe_dense_open(&dense, &sae, &r, N, STEPS, &err), &err);
    float x[N * D];
    lethe_rng rng = lethe_rng_make(7, 0);
    random_floats(x, N * D, 1, &rng);
    x[17] = INFINITY;
    lethe_step_stats s;
    assert_ok(lethe_dense_step(dense, x, N, &s, &err), &err);
    assert_true(s.skipped);
    assert_memory_equal(lethe_dense_sae(dense)->W_dec, first.W_dec, M * D * sizeof(float));
    lethe_sae_free(&first);
    lethe_dense_close(&dense);
}

static void test_out_of_memory(void **state) {
    (void)state;
    lethe_recipe r = lethe_recipe_reference();
    lethe_dense *dense = NULL;
    lethe_status st = LETHE_NOMEM;
    for (size_t allowed = 0; st != LETHE_OK; allowed++) {
        assert_true(allowed < 100);
        lethe_sae sae = start();
        lethe_mem_fail_after(allowed);
        st = lethe_dense_open(&dense, &sae, &r, N, STEPS, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK) break;
        assert_int_equal(st, LETHE_NOMEM);
        assert_null(dense);
        assert_non_null(sae.W_enc); /* not moved */
        lethe_sae_free(&sae);
    }
    lethe_dense_close(&dense);
    assert_null(dense);
}

int main(void) {
    lethe_threads_set(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),   cmocka_unit_test(test_reference),
        cmocka_unit_test(test_default),    cmocka_unit_test(test_without_aux),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
