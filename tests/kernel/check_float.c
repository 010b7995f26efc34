/* SPDX-License-Identifier: MIT
 *
 * The slots that compute in float: each against plain C byte by byte, and against double precision
 * within a bound that grows with what was summed.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/checkasm.h"

enum { A, B, C, D, WANT_A, WANT_B, WANT_C };

static const lethe_kernels *const ref = &lethe_kernels_ref;

static const char *of(check_kind kind) {
    return check_kind_name(kind);
}

/* As the kind, or plain: a huge number times a plain one stays finite. */
static check_kind or_plain(check_kind kind) {
    return check_below(2) ? kind : CHECK_PLAIN;
}

/* A result against the exact sum of n products. */
static bool near_exact(float got, double want, size_t n, double sizes, check_kind kind) {
    if (kind == CHECK_INFINITE || !check_bounded(sizes)) return true;
    double off = fabs((double)got - want);
    if (off <= check_bound(n, sizes)) return true;
    return check_fail("length %zu, %s: %.9g is %.3g from the exact value, allowed %.3g", n,
                      of(kind), (double)got, off, check_bound(n, sizes));
}

static void dot_once(const lethe_kernels *k, check_kind kind, size_t n, size_t off) {
    const float *a = check_floats(A, n, kind, off);
    const float *b = check_floats(B, n, or_plain(kind), check_offset());
    float got = k->dot(a, b, n), want = ref->dot(a, b, n);
    check_calls++;
    if (!check_same(got, want, kind)) {
        check_fail("length %zu, offset %zu, %s: %.9g, plain C gives %.9g", n, off, of(kind),
                   (double)got, (double)want);
        return;
    }
    double exact = 0, sizes = 0;
    for (size_t i = 0; i < n; i++) {
        exact += (double)a[i] * (double)b[i];
        sizes += fabs((double)a[i] * (double)b[i]);
    }
    near_exact(got, exact, n, sizes, kind);
}

void check_dot(const lethe_kernels *k) {
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++)
            for (size_t turn = 0; turn < CHECK_TURNS; turn++)
                dot_once(k, kind, check_length(l), check_turn(turn));
}

static void sumsq_once(const lethe_kernels *k, check_kind kind, size_t n, size_t off) {
    const float *a = check_floats(A, n, kind, off);
    double got = k->sumsq(a, n), want = ref->sumsq(a, n);
    check_calls++;
    if (memcmp(&got, &want, sizeof got) && !(kind == CHECK_INFINITE && isnan(got) && isnan(want))) {
        check_fail("length %zu, offset %zu, %s: %.17g, plain C gives %.17g", n, off, of(kind), got,
                   want);
        return;
    }
    if (kind == CHECK_INFINITE) return;
    /* Squares of floats are exact in double. Neumaier's sum: errors of the additions beside it. */
    double sum = 0, rest = 0;
    for (size_t i = 0; i < n; i++) {
        double square = (double)a[i] * (double)a[i], next = sum + square;
        rest += sum > square ? (sum - next) + square : (square - next) + sum;
        sum = next;
    }
    double off_by = fabs((got - sum) - rest);
    if (!(off_by <= (double)(n + 1) * DBL_EPSILON / 2 * sum * 1.01))
        check_fail("length %zu, %s: %.17g is %.3g off", n, of(kind), got, off_by);
}

void check_sumsq(const lethe_kernels *k) {
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++)
            for (size_t turn = 0; turn < CHECK_TURNS; turn++)
                sumsq_once(k, kind, check_length(l), check_turn(turn));
}

/* Output [n] in buffer A against that of plain C. */
static bool same_output(const float *got, const float *want, size_t n, check_kind kind) {
    check_calls++;
    size_t i = check_differs(got, want, n, kind);
    if (i < n)
        return check_fail("length %zu, %s: element %zu is %.9g, plain C gives %.9g", n, of(kind), i,
                          (double)got[i], (double)want[i]);
    return true;
}

static void axpy_once(const lethe_kernels *k, check_kind kind, size_t n, size_t off) {
    float alpha = check_draw(or_plain(kind));
    float *y = check_floats(A, n, or_plain(kind), off);
    const float *x = check_floats(B, n, kind, check_offset());
    float *want = check_copy(WANT_A, y, n * sizeof *y, 0),
          *was = check_copy(C, y, n * sizeof *y, 0);
    k->axpy(y, alpha, x, n);
    ref->axpy(want, alpha, x, n);
    if (!check_canaries(A, "y") || !same_output(y, want, n, kind)) return;
    for (size_t i = 0; i < n; i++) {
        double term = (double)alpha * (double)x[i], sizes = fabs((double)was[i]) + fabs(term);
        if (!near_exact(y[i], (double)was[i] + term, 1, sizes, kind)) return;
    }
}

void check_axpy(const lethe_kernels *k) {
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++)
            for (size_t turn = 0; turn < CHECK_TURNS; turn++)
                axpy_once(k, kind, check_length(l), check_turn(turn));
}

static void scale_once(const lethe_kernels *k, check_kind kind, size_t n, size_t off) {
    float alpha = check_draw(or_plain(kind));
    float *x = check_floats(A, n, kind, off), *want = check_copy(WANT_A, x, n * sizeof *x, 0);
    const float *was = check_copy(C, x, n * sizeof *x, 0);
    k->scale(x, alpha, n);
    ref->scale(want, alpha, n);
    if (!check_canaries(A, "x") || !same_output(x, want, n, kind)) return;
    for (size_t i = 0; i < n; i++) /* exact in double, so rounded once */
        if (!check_same(x[i], (float)((double)was[i] * (double)alpha), CHECK_INFINITE)) {
            check_fail("length %zu, %s: %.9g times %.9g gives %.9g", n, of(kind), (double)was[i],
                       (double)alpha, (double)x[i]);
            return;
        }
}

void check_scale(const lethe_kernels *k) {
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++)
            for (size_t turn = 0; turn < CHECK_TURNS; turn++)
                scale_once(k, kind, check_length(l), check_turn(turn));
}

/* ---- gathers ---------------------------------------------------------------------------------
 */

enum { ROWS = 9, COUNTS = 12 }; /* counts 0 to 9, 17, 35 */

static size_t count_at(size_t i) {
    return i <= 9 ? i : i == 10 ? 17 : 35;
}

static int32_t *some_index(unsigned buffer, size_t count) {
    int32_t *index = check_place(buffer, count * sizeof *index, check_offset());
    for (size_t j = 0; j < count; j++) index[j] = (int32_t)check_below(ROWS);
    return index;
}

static void gather_sum_once(const lethe_kernels *k, check_kind kind, size_t d, const float *rows,
                            size_t count, size_t off) {
    const int32_t *index = some_index(C, count);
    const float *coef = check_floats(D, count, or_plain(kind), check_offset());
    float *out = check_floats(A, d, or_plain(kind), off);
    float *want = check_copy(WANT_A, out, d * sizeof *out, 0);
    const float *was = check_copy(WANT_B, out, d * sizeof *out, 0);
    k->gather_sum(out, d, rows, d, index, coef, count, 0);
    ref->gather_sum(want, d, rows, d, index, coef, count, 0);
    if (!check_canaries(A, "out") || !same_output(out, want, d, kind)) return;
    for (size_t i = 0; i < d; i++) {
        double exact = (double)was[i], sizes = fabs(exact);
        for (size_t j = 0; j < count; j++) {
            double term = (double)coef[j] * (double)rows[(size_t)index[j] * d + i];
            exact += term;
            sizes += fabs(term);
        }
        if (!near_exact(out[i], exact, count, sizes, kind)) return;
    }
}

static void gather_dot_once(const lethe_kernels *k, check_kind kind, size_t d, const float *rows,
                            size_t count, size_t off) {
    const int32_t *index = some_index(C, count);
    const float *x = check_floats(D, d, or_plain(kind), check_offset());
    float *out = check_place(A, count * sizeof *out, off);
    k->gather_dot(out, d, x, rows, index, count);
    check_canaries(A, "out");
    check_calls++;
    for (size_t j = 0; j < count; j++) {
        const float *row = rows + (size_t)index[j] * d;
        float dot = ref->dot(x, row, d);
        if (!check_same(out[j], dot, kind)) {
            check_fail("d %zu, count %zu, %s: product %zu is %.9g, dot gives %.9g", d, count,
                       of(kind), j, (double)out[j], (double)dot);
            return;
        }
        double exact = 0, sizes = 0;
        for (size_t i = 0; i < d; i++) {
            exact += (double)x[i] * (double)row[i];
            sizes += fabs((double)x[i] * (double)row[i]);
        }
        if (!near_exact(out[j], exact, d, sizes, kind)) return;
    }
}

/* A strip of wider rows, and more of them to come: what the other columns hold is not touched. */
static void gather_strip_once(const lethe_kernels *k, check_kind kind, size_t width, size_t ld,
                              const float *rows, size_t count, size_t off) {
    const int32_t *index = some_index(C, count + ROWS);
    const float *coef = check_floats(D, count, or_plain(kind), check_offset());
    float *out = check_floats(A, width, or_plain(kind), off);
    float *want = check_copy(WANT_A, out, width * sizeof *out, 0);
    k->gather_sum(out, width, rows, ld, index, coef, count, ROWS);
    for (size_t j = 0; j < count; j++)
        ref->axpy(want, coef[j], rows + (size_t)index[j] * ld, width);
    if (check_canaries(A, "out")) same_output(out, want, width, kind);
}

static void check_gather_strips(const lethe_kernels *k) {
    size_t turn = 0;
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++) {
            size_t width = check_length(l), ld = width + check_below(70);
            const float *rows = check_floats(B, ROWS * ld, kind, check_offset());
            gather_strip_once(k, kind, width, ld, rows, count_at(check_below(COUNTS)),
                              check_turn(turn++));
        }
}

/* All counts with short rows, one at random with long ones; alignments by turns. */
static void each_gather(const lethe_kernels *k,
                        void (*once)(const lethe_kernels *, check_kind, size_t, const float *,
                                     size_t, size_t)) {
    size_t turn = 0;
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++) {
            size_t d = check_length(l);
            const float *rows = check_floats(B, ROWS * d, kind, check_offset());
            if (d <= 70)
                for (size_t i = 0; i < COUNTS; i++)
                    once(k, kind, d, rows, count_at(i), check_turn(turn++));
            else
                once(k, kind, d, rows, count_at(check_below(COUNTS)), check_turn(turn++));
        }
}

void check_gather_sum(const lethe_kernels *k) {
    each_gather(k, gather_sum_once);
    check_gather_strips(k);
}

void check_gather_dot(const lethe_kernels *k) {
    each_gather(k, gather_dot_once);
}

/* ---- Adam ------------------------------------------------------------------------------------
 */

static lethe_adam some_adam(check_kind kind) {
    lethe_adam c = {.grad_scale = fabsf(check_draw(or_plain(kind))),
                    .beta1 = 0.9f,
                    .beta2 = check_below(2) ? 0.999f : 0.0f,
                    .eps = check_below(2) ? 1e-8f : 6.25e-10f,
                    .inv_sqrt_bias2 = 1 + (float)check_below(30),
                    .step = 0.01f};
    c.one_beta1 = 1 - c.beta1;
    c.one_beta2 = 1 - c.beta2;
    return c;
}

/* One element in double; moments of plain numbers only, where nothing is flushed. */
static bool adam_near(const float *got, const float *was, const float *g, const lethe_adam *c) {
    double s = g ? (double)c->grad_scale * (double)*g : 0;
    double a = (double)was[1] + (s - (double)was[1]) * (double)c->one_beta1;
    double b = (double)was[2] * (double)c->beta2 + (double)c->one_beta2 * s * s;
    double below = sqrt(b) * (double)c->inv_sqrt_bias2 + (double)c->eps;
    double size = fabs((double)was[1]) + fabs(s), step = (double)c->step;
    double size_p = fabs((double)was[0]) + step * size / below;
    bool m1 = fabs((double)got[1] - a) <= 1e-6 * size + (double)FLT_MIN;
    bool m2 = fabs((double)got[2] - b) <= 1e-6 * b + (double)FLT_MIN;
    /* A flushed second moment moves the step by more than rounding does. */
    bool p =
        b < 1e-30 || fabs((double)got[0] - ((double)was[0] - step * a / below)) <= 2e-6 * size_p;
    return (m1 && m2 && p) ||
           check_fail("p %.9g m1 %.9g m2 %.9g became %.9g %.9g %.9g, exactly "
                      "%.9g %.9g %.9g",
                      (double)was[0], (double)was[1], (double)was[2], (double)got[0],
                      (double)got[1], (double)got[2], (double)was[0] - step * a / below, a, b);
}

static void adam_once(const lethe_kernels *k, check_kind kind, size_t n, size_t off, bool zero) {
    lethe_adam c = some_adam(kind);
    float *p = check_floats(A, n, or_plain(kind), off);
    float *m1 = check_floats(B, n, kind, check_offset());
    float *m2 = check_floats(C, n, kind, check_offset());
    const float *g = zero ? NULL : check_floats(D, n, or_plain(kind), check_offset());
    for (size_t i = 0; i < n; i++) m2[i] = fabsf(m2[i]);
    size_t bytes = n * sizeof *p;
    float *want_p = check_copy(WANT_A, p, bytes, 0), *want_m1 = check_copy(WANT_B, m1, bytes, 0);
    float *want_m2 = check_copy(WANT_C, m2, bytes, 0);
    float was[3] = {n ? p[n - 1] : 0, n ? m1[n - 1] : 0, n ? m2[n - 1] : 0};
    k->adam(p, m1, m2, g, n, &c);
    ref->adam(want_p, want_m1, want_m2, g, n, &c);
    if (!check_canaries(A, "p") || !check_canaries(B, "m1") || !check_canaries(C, "m2")) return;
    if (!same_output(p, want_p, n, kind) || !same_output(m1, want_m1, n, kind) ||
        !same_output(m2, want_m2, n, kind))
        return;
    for (size_t i = 0; i < n; i++)
        if ((m1[i] != 0 && fabsf(m1[i]) < FLT_MIN) || (m2[i] != 0 && fabsf(m2[i]) < FLT_MIN)) {
            check_fail("length %zu, %s: a denormal moment lingers at %zu", n, of(kind), i);
            return;
        }
    if (n && kind == CHECK_PLAIN)
        adam_near((const float[]){p[n - 1], m1[n - 1], m2[n - 1]}, was, g ? g + n - 1 : NULL, &c);
}

void check_adam(const lethe_kernels *k) {
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++)
            for (size_t turn = 0; turn < CHECK_TURNS; turn++) {
                adam_once(k, kind, check_length(l), check_turn(turn), false);
                if (turn % 4 == 0) adam_once(k, kind, check_length(l), check_turn(turn), true);
            }
}
