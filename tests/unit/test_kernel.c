/* SPDX-License-Identifier: MIT
 *
 * Every slot of the kernel table against double precision: lengths 0 to 70 and larger odd ones, all
 * offsets within a vector register, canaries behind each output. A sum of n products may be off by
 * (n + 1) eps / 2 times the sum of their sizes.
 */
#include "support/support.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernel/kernel.h"

enum { MOST = 4099, ROWS = 9 };

static lethe_err err;
static lethe_rng rng;
static const lethe_kernels *kern;
static const size_t large[] = {127, 129, 513, 1023, 4099};

static size_t length_at(size_t i) {
    return i <= 70 ? i : large[i - 71];
}
enum { LENGTHS = 71 + sizeof large / sizeof *large };

static float *noise(size_t n) {
    float *x;
    assert_ok(lethe_alloc(&x, n, sizeof *x, "noise", &err), &err);
    for (size_t i = 0; i < n; i++) x[i] = (float)lethe_rng_normal(&rng);
    return x;
}

static double bound(size_t n, double sizes) {
    return (double)(n + 1) * (double)FLT_EPSILON / 2 * sizes * 1.01;
}

static void test_dot_sumsq(void **state) {
    (void)state;
    float *a = noise(MOST + 16), *b = noise(MOST + 16);
    for (size_t l = 0; l < LENGTHS; l++)
        for (size_t off = 0; off < 16; off++) {
            size_t n = length_at(l);
            double want = 0, sizes = 0, squares = 0;
            for (size_t i = 0; i < n; i++) {
                want += (double)a[off + i] * (double)b[i];
                sizes += fabs((double)a[off + i] * (double)b[i]);
                squares += (double)a[off + i] * (double)a[off + i];
            }
            assert_true(fabs((double)kern->dot(a + off, b, n) - want) <= bound(n, sizes));
            assert_true(fabs(kern->sumsq(a + off, n) - squares) <= 1e-13 * squares);
        }
    lethe_free(a);
    lethe_free(b);
}

static void test_axpy_scale(void **state) {
    (void)state;
    float *x = noise(MOST + 16), *y = noise(MOST + 17), *was = noise(MOST + 17);
    for (size_t l = 0; l < LENGTHS; l++)
        for (size_t off = 0; off < 16; off++) {
            size_t n = length_at(l);
            memcpy(was, y, (MOST + 17) * sizeof *y);
            kern->axpy(y + off, 0.375f, x, n);
            for (size_t i = 0; i < n; i++) {
                double want = (double)was[off + i] + 0.375 * (double)x[i];
                double size = fabs((double)was[off + i]) + fabs(0.375 * (double)x[i]);
                assert_true(fabs((double)y[off + i] - want) <= bound(1, size));
            }
            assert_true(y[off + n] == was[off + n]);
            memcpy(was, y, (MOST + 17) * sizeof *y);
            kern->scale(y + off, -0.5f, n);
            for (size_t i = 0; i < n; i++) assert_true(y[off + i] == -0.5f * was[off + i]);
            assert_true(y[off + n] == was[off + n]);
        }
    lethe_free(x);
    lethe_free(y);
    lethe_free(was);
}

static void check_gather(size_t d, size_t count, const float *rows, float *out) {
    int32_t index[16];
    float coef[16], dots[17];
    for (size_t j = 0; j < count; j++) {
        index[j] = (int32_t)lethe_rng_below(&rng, ROWS);
        coef[j] = (float)lethe_rng_normal(&rng);
    }
    float *was = noise(d + 1);
    memcpy(out, was, (d + 1) * sizeof *out);
    kern->gather_sum(out, d, rows, index, coef, count);
    for (size_t i = 0; i < d; i++) {
        double want = (double)was[i], size = fabs(want);
        for (size_t j = 0; j < count; j++) {
            double term = (double)coef[j] * (double)rows[(size_t)index[j] * d + i];
            want += term;
            size += fabs(term);
        }
        assert_true(fabs((double)out[i] - want) <= bound(count + 1, size));
    }
    assert_true(out[d] == was[d]);
    dots[count] = 42.0f;
    kern->gather_dot(dots, d, was, rows, index, count);
    for (size_t j = 0; j < count; j++) {
        double want = 0, size = 0;
        for (size_t i = 0; i < d; i++) {
            double term = (double)was[i] * (double)rows[(size_t)index[j] * d + i];
            want += term;
            size += fabs(term);
        }
        assert_true(fabs((double)dots[j] - want) <= bound(d, size));
    }
    assert_true(dots[count] == 42.0f);
    lethe_free(was);
}

static void test_gather(void **state) {
    (void)state;
    float *rows = noise((size_t)ROWS * MOST), *out = noise(MOST + 1);
    for (size_t l = 0; l < LENGTHS; l++)
        for (size_t count = 0; count <= 9; count++) check_gather(length_at(l), count, rows, out);
    lethe_free(rows);
    lethe_free(out);
}

static void test_adam(void **state) {
    (void)state;
    const lethe_adam c = {.grad_scale = 0.5f,
                          .beta1 = 0.9f,
                          .beta2 = 0.999f,
                          .one_beta1 = 0.1f,
                          .one_beta2 = 0.001f,
                          .eps = 1e-8f,
                          .inv_sqrt_bias2 = 3.0f,
                          .step = 0.01f};
    float *p = noise(MOST + 1), *m1 = noise(MOST + 1), *m2 = noise(MOST + 1), *g = noise(MOST);
    for (size_t l = 0; l < LENGTHS; l++)
        for (int zero = 0; zero < 2; zero++) {
            size_t n = length_at(l);
            float *p0 = noise(n + 1), *a0 = noise(n + 1), *b0 = noise(n + 1);
            for (size_t i = 0; i <= n; i++) b0[i] = fabsf(b0[i]);
            memcpy(p, p0, (n + 1) * sizeof *p);
            memcpy(m1, a0, (n + 1) * sizeof *p);
            memcpy(m2, b0, (n + 1) * sizeof *p);
            kern->adam(p, m1, m2, zero ? NULL : g, n, &c);
            for (size_t i = 0; i < n; i++) {
                double s = zero ? 0 : 0.5 * (double)g[i];
                double a = (double)a0[i] + (s - (double)a0[i]) * 0.1;
                double b = (double)b0[i] * 0.999 + 0.001 * s * s;
                assert_true(fabs((double)m1[i] - a) <= 1e-6 * (fabs((double)a0[i]) + fabs(s)));
                assert_true(fabs((double)m2[i] - b) <= 1e-6 * b);
                double want = (double)p0[i] - 0.01 * a / (sqrt(b) * 3 + 1e-8);
                double size =
                    fabs((double)p0[i]) + 0.01 * (fabs((double)a0[i]) + fabs(s)) / (sqrt(b) * 3);
                assert_true(fabs((double)p[i] - want) <= 2e-6 * size);
            }
            assert_true(p[n] == p0[n] && m1[n] == a0[n] && m2[n] == b0[n]);
            lethe_free(p0);
            lethe_free(a0);
            lethe_free(b0);
        }
    /* Moments too small to matter become zero and do not linger as denormals. */
    p[0] = 1.0f, m1[0] = 1e-38f, m2[0] = 1.1755e-38f;
    kern->adam(p, m1, m2, NULL, 1, &c);
    assert_true(p[0] == 1.0f && m1[0] == 0.0f && m2[0] == 0.0f);
    lethe_free(p);
    lethe_free(m1);
    lethe_free(m2);
    lethe_free(g);
}

int main(void) {
    kern = lethe_kernels_get();
    rng = lethe_rng_make(1, 7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dot_sumsq),
        cmocka_unit_test(test_axpy_scale),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_adam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
