/* SPDX-License-Identifier: MIT
 *
 * The inequalities of kernel/sieve.h, on random rows and on rows made to be as wrong as can be.
 */
#include "kernel/sieve.h"

#include <math.h>

#include "kernel/checkasm.h"

enum { X, W, X_HI, X_LO, W_HI, W_LO };

/* Rows whose products all round the same way in their partial sum: of eight candidates a place the
 * one that adds most to the error. */
static void one_way(float *x, float *w, size_t d) {
    float sum[16] = {0};
    for (size_t i = 0; i < d; i++) {
        double most = -1;
        float next = 0;
        for (int t = 0; t < 8; t++) {
            float a = 1 + fabsf(check_draw(CHECK_PLAIN)) / 8;
            float b = 1 + fabsf(check_draw(CHECK_PLAIN)) / 8;
            float p = a * b, s = sum[i % 16] + p;
            double wrong = (double)s - ((double)sum[i % 16] + (double)a * (double)b);
            if (wrong < most && t) continue;
            most = wrong, next = s, x[i] = a, w[i] = b;
        }
        sum[i % 16] = next;
    }
}

static double exact_dot(const float *x, const float *w, size_t d) {
    double sum = 0;
    for (size_t i = 0; i < d; i++) sum += (double)x[i] * (double)w[i];
    return sum;
}

static void slack_holds(const lethe_kernels *k, const float *x, const float *w, size_t d) {
    double off = fabs((double)k->dot(x, w, d) - exact_dot(x, w, d));
    double sizes = check_norm(x, d) * check_norm(w, d), tiny = (double)LETHE_SIEVE_TINY;
    double sums = ((double)d / 16 + 6) * 0x1p-24 * sizes;
    check_calls++;
    if (!(off <= sums + tiny))
        check_fail("d %zu: dot is %.3g off, the header allows the sums %.3g", d, off, sums);
    if (!(off <= (double)LETHE_SIEVE_SLACK(d) * sizes + tiny))
        check_fail("d %zu: dot is %.3g off, the slack is %.3g", d, off,
                   (double)LETHE_SIEVE_SLACK(d) * sizes);
}

/* Digits as the encoder holds them: of a token with 128 added. */
static int8_t *digits_of(const lethe_kernels *k, const float *v, size_t d, size_t ld,
                         unsigned buffer, int8_t **lo, lethe_digits *g) {
    int8_t *hi = check_place(buffer, ld, check_byte_offset());
    *lo = check_place(buffer + 1, ld, check_byte_offset());
    k->digits(v, d, hi, *lo, g);
    for (size_t l = d; l < ld; l++) hi[l] = (*lo)[l] = 0;
    return hi;
}

static void looks_hold(const lethe_kernels *k, const float *x, const float *w, size_t d) {
    size_t ld = (d + LETHE_DIGIT_PAD - 1) / LETHE_DIGIT_PAD * LETHE_DIGIT_PAD;
    int8_t *x_lo, *w_lo;
    lethe_digits gx, gw;
    int8_t *x_hi = digits_of(k, x, d, ld, X_HI, &x_lo, &gx);
    int8_t *w_hi = digits_of(k, w, d, ld, W_HI, &w_lo, &gw);
    uint8_t *p = (uint8_t *)x_hi, *p_lo = (uint8_t *)x_lo;
    for (size_t l = 0; l < ld; l++) p[l] ^= 0x80, p_lo[l] ^= 0x80;
    int32_t c = 0;
    k->dots_i8(&c, 1, p, 1, w_hi, &gw.sum_hi, 1, ld);
    uint32_t first_row = 0;
    int32_t raw_lo = 0, raw_hi = 0;
    k->dots_rows(&raw_lo, p_lo, &first_row, 1, w_hi, ld);
    k->dots_rows(&raw_hi, p, &first_row, 1, w_lo, ld);
    double lo = (double)raw_lo - 128.0 * gw.sum_hi, hi = (double)raw_hi - 128.0 * gw.sum_lo;
    double ts = (double)gx.scale * (double)gw.scale, want = exact_dot(x, w, d);
    double e = (double)gx.err1, r = (double)gx.err2, f = (double)gw.err1, v = (double)gw.err2;
    double nx = (double)gx.norm, nw = (double)gw.norm, tiny = (double)LETHE_SIEVE_TINY;
    check_calls++;
    double first = fabs(want - ts * c), allowed = e * (nw + f) + nx * f;
    if (!(first <= allowed * (1 + 1e-9) + tiny))
        check_fail("d %zu: the first look is %.3g off, its bound is %.3g", d, first, allowed);
    double second = fabs(want - ts * (c + lo / LETHE_LO_DIGIT));
    allowed = r * nw + (nx + r) * f;
    if (!(second <= allowed * (1 + 1e-9) + tiny))
        check_fail("d %zu: the second look is %.3g off, its bound is %.3g", d, second, allowed);
    double third = fabs(want - ts * (c + (lo + hi) / LETHE_LO_DIGIT));
    allowed = (e + r) * (f + v) + r * nw + (nx + r) * v;
    if (!(third <= allowed * (1 + 1e-9) + tiny))
        check_fail("d %zu: the third look is %.3g off, its bound is %.3g", d, third, allowed);
}

void check_sieve(const lethe_kernels *k) {
    static const size_t widths[] = {1, 15, 16, 17, 64, 100, 192, 768, 1000, 4096, 32768};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int round = 0; round < 12; round++) {
            size_t d = widths[i];
            check_kind kind = round < 6 ? CHECK_PLAIN : round < 9 ? CHECK_SPREAD : CHECK_ZEROS;
            float *x = check_floats(X, d, kind, 0);
            float *w = check_floats(W, d, round % 2 ? kind : CHECK_PLAIN, 0);
            looks_hold(k, x, w, d);
            slack_holds(k, x, w, d);
            if (round % 4 == 0) { /* as wrong as the digits can be: all halves of a unit */
                for (size_t l = 1; l < d; l++) x[l] = w[l] = 0.5f / 127;
                x[0] = w[0] = 1;
                looks_hold(k, x, w, d);
                one_way(x, w, d);
                slack_holds(k, x, w, d);
                looks_hold(k, x, w, d);
            }
        }
}
