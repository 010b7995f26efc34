/* SPDX-License-Identifier: MIT
 *
 * The slots around the 8-bit digits (kernel/sieve.h). All but `digits` and `may_pass` are whole
 * numbers, and there is one right answer.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/checkasm.h"

enum { A, B, C, D, E, F, OUT, WANT };

static const lethe_kernels *const ref = &lethe_kernels_ref;

/* ---- digits ----------------------------------------------------------------------------------
 */

/* Norms that are at least and not much more than the true ones; digits that are the nearest. The
 * factors allow for rounding in float, far below a hundredth of a unit of a digit. */
static bool digits_hold(const float *v, size_t n, const int8_t *hi, const int8_t *lo,
                        const lethe_digits *g) {
    double scale = (double)g->scale, e1 = 0, e2 = 0;
    int32_t sum_hi = 0, sum_lo = 0;
    for (size_t i = 0; i < n; i++) {
        double r1 = (double)v[i] - scale * hi[i];
        double r2 = (double)v[i] - scale * (hi[i] + (double)lo[i] / LETHE_LO_DIGIT);
        e1 += r1 * r1;
        e2 += r2 * r2;
        sum_hi += hi[i];
        sum_lo += lo[i];
        if (hi[i] < -127 || lo[i] < -127)
            return check_fail("n %zu: digits %d %d at %zu", n, hi[i], lo[i], i);
        if (scale > 0 && !(fabs(r1) <= 0.501 * scale && fabs(r2) <= 0.51 / LETHE_LO_DIGIT * scale))
            return check_fail("n %zu: %.9g told as %.9g (%d + %d / 254)", n, (double)v[i], scale,
                              hi[i], lo[i]);
    }
    e1 = sqrt(e1), e2 = sqrt(e2);
    double norm = check_norm(v, n);
    if (sum_hi != g->sum_hi || sum_lo != g->sum_lo)
        return check_fail("n %zu: sums %d %d, digits add to %d %d", n, g->sum_hi, g->sum_lo, sum_hi,
                          sum_lo);
    if (!((double)g->norm >= norm && (double)g->err1 >= e1 && (double)g->err2 >= e2))
        return check_fail("n %zu: norms %.9g %.9g %.9g are no bounds of %.9g %.9g %.9g", n,
                          (double)g->norm, (double)g->err1, (double)g->err2, norm, e1, e2);
    double widest = 0.52 / LETHE_LO_DIGIT * scale * sqrt((double)n);
    if (scale > 0 && !((double)g->norm <= 1.003 * norm &&
                       (double)g->err1 <= 1.003 * e1 + 0.011 * scale && (double)g->err2 <= widest))
        return check_fail("n %zu: norms %.9g %.9g %.9g are far above %.9g %.9g %.9g", n,
                          (double)g->norm, (double)g->err1, (double)g->err2, norm, e1, e2);
    return true;
}

static void digits_once(const lethe_kernels *k, check_kind kind, size_t n, size_t off) {
    float *v = check_floats(A, n, kind, check_offset());
    for (size_t i = 0; kind == CHECK_TINY && off % 8 == 0 && i < n; i++) /* smallest of all */
        v[i] = (float)check_below(3) * 0x1p-149f;
    int8_t *hi = check_place(OUT, n, off), *lo = check_place(E, n, check_byte_offset());
    int8_t *want_hi = check_place(WANT, n, 0), *want_lo = check_place(F, n, 0);
    lethe_digits *got = check_place(B, sizeof *got, check_offset()), want;
    k->digits(v, n, hi, lo, got);
    ref->digits(v, n, want_hi, want_lo, &want);
    check_calls++;
    if (!check_canaries(OUT, "hi") || !check_canaries(E, "lo") || !check_canaries(B, "out")) return;
    if (memcmp(hi, want_hi, n) || memcmp(lo, want_lo, n) || memcmp(got, &want, sizeof want)) {
        check_fail("n %zu, offset %zu, %s: not the digits and norms of plain C", n, off,
                   check_kind_name(kind));
        return;
    }
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite = finite && isfinite(v[i]);
    if (finite)
        digits_hold(v, n, hi, lo, got);
    else if (got->scale != 0 || !isinf(got->norm) || !isinf(got->err1) || !isinf(got->err2))
        check_fail("n %zu: a row that is not finite has scale %.9g, norm %.9g", n,
                   (double)got->scale, (double)got->norm);
}

void check_digits(const lethe_kernels *k) {
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++) {
        for (size_t l = 0; l < CHECK_LENGTHS; l++)
            for (size_t off = 0; off <= CHECK_END; off++)
                digits_once(k, kind, check_length(l), off);
        digits_once(k, kind, 1 << 15, check_byte_offset());
    }
}

/* ---- products of bytes -----------------------------------------------------------------------
 */

/* Three in four anywhere, else at the ends, where what saturates would saturate. */
static bool extreme(void) {
    return check_below(4) == 0;
}

static uint8_t *unsigned_bytes(unsigned buffer, size_t n, size_t off, bool ends) {
    uint8_t *a = check_place(buffer, n, off);
    for (size_t i = 0; i < n; i++)
        a[i] = (uint8_t)(ends ? 255 * (check_below(8) > 0) : check_below(256));
    return a;
}

static int8_t *signed_bytes(unsigned buffer, size_t n, size_t off, bool ends) {
    int8_t *b = check_place(buffer, n, off);
    int low = check_below(2) ? -128 : 127;
    for (size_t i = 0; i < n; i++)
        b[i] = (int8_t)(ends ? (check_below(8) ? low : -1 - low) : (int)check_below(256) - 128);
    return b;
}

static int64_t exact_product(const uint8_t *a, const int8_t *b, size_t ld, int zero) {
    int64_t sum = 0;
    for (size_t l = 0; l < ld; l++) sum += (a[l] - zero) * b[l];
    return sum;
}

static void dots_once(const lethe_kernels *k, size_t na, size_t nb, size_t ld, size_t off) {
    bool ends = extreme();
    const uint8_t *a = unsigned_bytes(A, na * ld, off, ends);
    const int8_t *b = signed_bytes(B, nb * ld, check_byte_offset(), ends);
    int32_t *b_sum = check_place(C, nb * sizeof *b_sum, check_offset());
    for (size_t j = 0; j < nb; j++) {
        b_sum[j] = 0;
        for (size_t l = 0; l < ld; l++) b_sum[j] += b[j * ld + l];
    }
    /* What lies between the rows of c must stay. */
    size_t ldc = nb + check_below(4), cells = na && nb ? (na - 1) * ldc + nb : 0;
    int32_t *c = check_place(OUT, cells * sizeof *c, check_offset());
    for (size_t i = 0; i < cells; i++) c[i] = -77;
    int32_t *want = check_copy(WANT, c, cells * sizeof *c, 0);
    k->dots_i8(c, ldc, a, na, b, b_sum, nb, ld);
    ref->dots_i8(want, ldc, a, na, b, b_sum, nb, ld);
    check_calls++;
    if (!check_canaries(OUT, "c")) return;
    for (size_t i = 0; i < cells; i++)
        if (c[i] != want[i]) {
            check_fail("%zu x %zu, ld %zu, ldc %zu: cell %zu is %d, plain C gives %d", na, nb, ld,
                       ldc, i, c[i], want[i]);
            return;
        }
    if (!cells) return;
    size_t i = check_below(na), j = check_below(nb);
    int64_t exact = exact_product(a + i * ld, b + j * ld, ld, 128);
    if (c[i * ldc + j] != exact)
        check_fail("%zu x %zu, ld %zu: %d, exactly %lld", na, nb, ld, c[i * ldc + j],
                   (long long)exact);
}

void check_dots_i8(const lethe_kernels *k) {
    static const size_t rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 35};
    static const size_t lds[] = {64, 128, 192, 576};
    enum { ROWS = sizeof rows / sizeof *rows, LDS = sizeof lds / sizeof *lds };
    size_t off = 0;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < ROWS; j++)
            for (size_t l = 0; l < LDS; l++)
                dots_once(k, rows[i], rows[j], lds[l], off++ % (CHECK_END + 1));
    for (size_t i = 0; i <= CHECK_END; i++)
        dots_once(k, check_below(10), check_below(10), LETHE_DIGIT_PAD * (1 + check_below(64)), i);
    dots_once(k, 5, 6, 1 << 15, 0);
    dots_once(k, 6, 5, 1 << 15, CHECK_END);
}

/* n tokens out of `rows`, in any order and some twice. */
static void rows_once(const lethe_kernels *k, size_t n, size_t rows, size_t ld, size_t off,
                      bool ends) {
    enum { MOST = 16 };
    const uint8_t *a = unsigned_bytes(A, rows * ld, off, ends);
    const int8_t *b = signed_bytes(B, ld, check_byte_offset(), ends);
    uint32_t row[MOST];
    int32_t want[MOST], *got = check_place(OUT, n * sizeof *got, check_offset());
    for (size_t i = 0; i < n; i++) {
        row[i] = (uint32_t)check_below(rows);
        got[i] = want[i] = (int32_t)i - 5;
    }
    k->dots_rows(got, a, row, n, b, ld);
    ref->dots_rows(want, a, row, n, b, ld);
    for (size_t i = 0; i < n; i++) {
        int64_t exact = exact_product(a + row[i] * ld, b, ld, 0) + (int64_t)i - 5;
        check_calls++;
        if (got[i] != want[i] || got[i] != exact)
            check_fail("token %zu of %zu, ld %zu, offset %zu: %d, plain C gives %d, exactly %lld",
                       i, n, ld, off, got[i], want[i], (long long)exact);
    }
    check_canaries(OUT, "c");
}

void check_dots_rows(const lethe_kernels *k) {
    size_t n = 0;
    for (size_t ld = LETHE_DIGIT_PAD; ld <= 4096; ld = ld < 1024 ? ld + LETHE_DIGIT_PAD : 2 * ld)
        for (size_t off = 0; off <= CHECK_END; off++)
            rows_once(k, n++ % 11, 1 + check_below(5), ld, off, extreme());
    for (size_t i = 0; i < 8; i++) rows_once(k, 1 + i, 3, 1 << 15, check_byte_offset(), i % 2);
}

/* ---- the bound -------------------------------------------------------------------------------
 */

static float upper_bound(const lethe_bound *b, const int32_t *c, size_t i) {
    float u = (float)c[i] * (b->scale * b->w_scale[i]) + b->bias[i];
    u = u + b->err * b->w_norm[i];
    u = u + b->norm * b->w_err[i];
    for (size_t o = 0; o < b->outliers; o++)
        u = u + b->x_out[o] * b->w_out[o * b->w_out_stride + i];
    return u;
}

/* Whether place i may be told to pass (or not), by the bound in double. */
static bool verdict_fits(const lethe_bound *b, const int32_t *c, size_t i, bool passed) {
    double term[3 + 3] = {(double)c[i] * (double)b->scale * (double)b->w_scale[i],
                          (double)b->err * (double)b->w_norm[i],
                          (double)b->norm * (double)b->w_err[i]};
    for (size_t o = 0; o < b->outliers; o++)
        term[3 + o] = (double)b->x_out[o] * (double)b->w_out[o * b->w_out_stride + i];
    double u = (double)b->bias[i], sizes = fabs(u);
    for (size_t t = 0; t < 6; t++) {
        u += term[t];
        sizes += fabs(term[t]);
    }
    double off = check_bound(7, sizes), threshold = (double)b->threshold;
    return passed ? u + off >= threshold : u - off < threshold;
}

static void pass_once(const lethe_kernels *k, check_kind kind, size_t n, size_t off,
                      size_t outliers) {
    size_t stride = n + check_below(5), cells = outliers ? (outliers - 1) * stride + n : 0;
    int32_t *c = check_place(A, n * sizeof *c, off);
    for (size_t i = 0; i < n; i++) c[i] = (int32_t)check_below(1 << 30) - (1 << 29);
    float x_out[3] = {check_draw(kind), check_draw(kind), check_draw(kind)};
    lethe_bound b = {.scale = check_draw(CHECK_SPREAD) * 0x1p-30f,
                     .err = fabsf(check_draw(kind)),
                     .norm = fabsf(check_draw(kind)),
                     .threshold = check_draw(kind),
                     .w_scale = check_floats(B, n, kind, check_offset()),
                     .w_norm = check_floats(C, n, kind, check_offset()),
                     .w_err = check_floats(D, n, kind, check_offset()),
                     .bias = check_floats(E, n, kind, check_offset()),
                     .outliers = outliers,
                     .x_out = outliers ? x_out : NULL,
                     .w_out = outliers ? check_floats(F, cells, kind, check_offset()) : NULL,
                     .w_out_stride = stride};
    if (n && check_below(2)) b.threshold = upper_bound(&b, c, check_below(n)); /* a tie passes */
    int32_t *hit = check_place(OUT, n * sizeof *hit, check_offset());
    int32_t *want = check_place(WANT, n * sizeof *want, 0);
    size_t hits = k->may_pass(c, n, &b, hit), want_hits = ref->may_pass(c, n, &b, want);
    check_calls++;
    if (!check_canaries(OUT, "hit")) return;
    if (hits != want_hits || memcmp(hit, want, hits * sizeof *hit)) {
        check_fail("n %zu, %zu outliers, %s: %zu pass, or others; in plain C %zu", n, outliers,
                   check_kind_name(kind), hits, want_hits);
        return;
    }
    if (kind != CHECK_PLAIN) return;
    for (size_t i = 0, h = 0; i < n; i++) {
        bool passed = h < hits && hit[h] == (int32_t)i;
        h += passed;
        if (!verdict_fits(&b, c, i, passed)) {
            check_fail("n %zu: place %zu is told wrong (passed: %d)", n, i, passed);
            return;
        }
    }
}

void check_may_pass(const lethe_kernels *k) {
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t l = 0; l < CHECK_LENGTHS; l++)
            for (size_t turn = 0; turn < CHECK_TURNS; turn++)
                pass_once(k, kind, check_length(l), check_turn(turn), turn % 4);
}
