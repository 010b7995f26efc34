/* SPDX-License-Identifier: MIT
 *
 * AVX-512 (F, BW, DQ, VL). Sixteen lanes are the sixteen partial sums of kernel_ref.c; products and
 * sums are rounded one by one, so the bytes are the same. Where a row has a tail, lanes beyond it
 * add +0 to a sum that began with +0, which changes nothing.
 */
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernel/digits.h"
#include "kernel/gather.h"
#include "kernel/kernel_sets.h"

#define LANES 16

static inline __mmask16 tail_mask(size_t left) {
    return (__mmask16)((1u << left) - 1);
}

/* Halves onto halves, as fold() of kernel_ref.c. */
static inline float fold(__m512 v) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

static inline __m512 add_product(__m512 acc, __m512 a, __m512 b) {
    return _mm512_add_ps(acc, _mm512_mul_ps(a, b));
}

static float avx512_dot(const float *a, const float *b, size_t n) {
    __m512 acc = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        acc = add_product(acc, _mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
    if (i < n) {
        __mmask16 k = tail_mask(n - i);
        acc = add_product(acc, _mm512_maskz_loadu_ps(k, a + i), _mm512_maskz_loadu_ps(k, b + i));
    }
    return fold(acc);
}

/* The next rows are on their way while these are added up. */
static inline void fetch_rows(const float *rows, const int32_t *index, size_t count, size_t d) {
    for (size_t j = 0; j < count; j++) {
        const char *row = (const char *)(rows + (size_t)index[j] * d);
        for (size_t at = 0; at < d * sizeof(float) && at < 512; at += 64)
            _mm_prefetch(row + at, _MM_HINT_T0);
    }
}

/* Four rows at a time: one chain of additions is slower than the loads. */
static void avx512_gather_dot(float *out, size_t d, const float *x, const float *rows,
                              const int32_t *index, size_t count) {
    size_t j = 0;
    for (; j + 4 <= count; j += 4) {
        const float *r0 = rows + (size_t)index[j] * d, *r1 = rows + (size_t)index[j + 1] * d;
        const float *r2 = rows + (size_t)index[j + 2] * d, *r3 = rows + (size_t)index[j + 3] * d;
        size_t left = count - j - 4;
        fetch_rows(rows, index + j + 4, left < 4 ? left : 4, d);
        __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
        size_t i = 0;
        for (; i + LANES <= d; i += LANES) {
            __m512 v = _mm512_loadu_ps(x + i);
            s0 = add_product(s0, v, _mm512_loadu_ps(r0 + i));
            s1 = add_product(s1, v, _mm512_loadu_ps(r1 + i));
            s2 = add_product(s2, v, _mm512_loadu_ps(r2 + i));
            s3 = add_product(s3, v, _mm512_loadu_ps(r3 + i));
        }
        if (i < d) {
            __mmask16 k = tail_mask(d - i);
            __m512 v = _mm512_maskz_loadu_ps(k, x + i);
            s0 = add_product(s0, v, _mm512_maskz_loadu_ps(k, r0 + i));
            s1 = add_product(s1, v, _mm512_maskz_loadu_ps(k, r1 + i));
            s2 = add_product(s2, v, _mm512_maskz_loadu_ps(k, r2 + i));
            s3 = add_product(s3, v, _mm512_maskz_loadu_ps(k, r3 + i));
        }
        out[j] = fold(s0), out[j + 1] = fold(s1), out[j + 2] = fold(s2), out[j + 3] = fold(s3);
    }
    for (; j < count; j++) out[j] = avx512_dot(x, rows + (size_t)index[j] * d, d);
}

static double avx512_sumsq(const float *a, size_t n) {
    __m512d acc[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(),
                      _mm512_setzero_pd()};
    for (size_t i = 0; i < n; i += 2 * LANES)
        for (size_t l = 0; l < 4 && i + 8 * l < n; l++) {
            size_t left = n - i - 8 * l;
            __mmask8 k = left < 8 ? (__mmask8)tail_mask(left) : 0xff;
            __m512d v = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(k, a + i + 8 * l));
            acc[l] = _mm512_add_pd(acc[l], _mm512_mul_pd(v, v));
        }
    __m512d v = _mm512_add_pd(_mm512_add_pd(acc[0], acc[2]), _mm512_add_pd(acc[1], acc[3]));
    __m256d h = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    __m128d q = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}

static void avx512_axpy(float *y, float alpha, const float *x, size_t n) {
    const __m512 c = _mm512_set1_ps(alpha);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(y + i, add_product(_mm512_loadu_ps(y + i), c, _mm512_loadu_ps(x + i)));
    if (i < n) {
        __mmask16 k = tail_mask(n - i);
        _mm512_mask_storeu_ps(
            y + i, k,
            add_product(_mm512_maskz_loadu_ps(k, y + i), c, _mm512_maskz_loadu_ps(k, x + i)));
    }
}

static void avx512_scale(float *x, float alpha, size_t n) {
    const __m512 c = _mm512_set1_ps(alpha);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), c));
    if (i < n) {
        __mmask16 k = tail_mask(n - i);
        _mm512_mask_storeu_ps(x + i, k, _mm512_mul_ps(_mm512_maskz_loadu_ps(k, x + i), c));
    }
}

/* Columns `at` and on, `regs` registers of them, the last of them masked by k; `next`: where the
 * next strip begins, 0 for none. */
static inline __attribute__((always_inline)) void
sum_strip(float *out, const lethe_gather *g, size_t at, size_t regs, __mmask16 k, size_t next) {
    __m512 acc[8];
    for (size_t r = 0; r < regs; r++)
        acc[r] = _mm512_maskz_loadu_ps(r + 1 < regs ? 0xffff : k, out + at + r * LANES);
    for (size_t j = 0; j < g->count; j++) {
        const float *row = g->rows + (size_t)g->index[j] * g->ld + at;
        const float *ahead = lethe_gather_ahead(g, j, at, next);
        const __m512 c = _mm512_set1_ps(g->coef[j]);
        for (size_t r = 0; r < regs; r++) {
            _mm_prefetch(ahead + r * LANES, _MM_HINT_T0);
            acc[r] = add_product(acc[r], c,
                                 _mm512_maskz_loadu_ps(r + 1 < regs ? 0xffff : k, row + r * LANES));
        }
    }
    for (size_t r = 0; r < regs; r++)
        _mm512_mask_storeu_ps(out + at + r * LANES, r + 1 < regs ? 0xffff : k, acc[r]);
}

/* Sums of up to 128 columns stay in registers while all rows pass. */
static void avx512_gather_sum(float *out, size_t width, const float *rows, size_t ld,
                              const int32_t *index, const float *coef, size_t count, size_t more) {
    const lethe_gather g = {rows, ld, index, coef, count, more};
    size_t at = 0;
    for (size_t end; at + 8 * LANES <= width; at = end) {
        end = at + 8 * LANES;
        sum_strip(out, &g, at, 8, 0xffff, end < width ? end : 0);
    }
    for (size_t end; at + 4 * LANES <= width; at = end) {
        end = at + 4 * LANES;
        sum_strip(out, &g, at, 4, 0xffff, end < width ? end : 0);
    }
    for (; at + LANES < width; at += LANES) sum_strip(out, &g, at, 1, 0xffff, at + LANES);
    if (at < width) sum_strip(out, &g, at, 1, tail_mask(width - at), 0);
}

/* ---- digits -----------------------------------------------------------------------------------
 */

typedef struct split {
    __m512 inv, lo_inv, scale;
    __m512 rest; /* sums of squares */
    __m512i sum_hi, sum_lo;
} split;

static inline void split_some(split *s, const float *v, __mmask16 k, int8_t *hi, int8_t *lo) {
    __m512 x = _mm512_maskz_loadu_ps(k, v);
    __m512i h = _mm512_cvtps_epi32(_mm512_mul_ps(x, s->inv)); /* to even, as rintf */
    __m512 r = _mm512_sub_ps(x, _mm512_mul_ps(_mm512_cvtepi32_ps(h), s->scale));
    __m512i l = _mm512_cvtps_epi32(_mm512_mul_ps(r, s->lo_inv));
    s->rest = add_product(s->rest, r, r);
    s->sum_hi = _mm512_add_epi32(s->sum_hi, h);
    s->sum_lo = _mm512_add_epi32(s->sum_lo, l);
    _mm512_mask_cvtepi32_storeu_epi8(hi, k, h);
    _mm512_mask_cvtepi32_storeu_epi8(lo, k, l);
}

static void avx512_digits(const float *v, size_t n, int8_t *hi, int8_t *lo, lethe_digits *out) {
    __m512 acc = _mm512_setzero_ps(), big = acc;
    size_t i = 0;
    for (; i < n; i += LANES) {
        __m512 x = _mm512_maskz_loadu_ps(n - i < LANES ? tail_mask(n - i) : 0xffff, v + i);
        acc = add_product(acc, x, x);
        big = _mm512_max_ps(_mm512_abs_ps(x), big); /* a NaN in x leaves big alone */
    }
    float square = fold(acc), most = _mm512_reduce_max_ps(big);
    if (!(square < FLT_MAX) || most < LETHE_DIGITS_SMALLEST) {
        lethe_digits_none(n, square, most, hi, lo, out);
        return;
    }
    float scale = most / 127, inv = 127 / most;
    split s = {.inv = _mm512_set1_ps(inv),
               .lo_inv = _mm512_set1_ps(inv * LETHE_LO_DIGIT),
               .scale = _mm512_set1_ps(scale),
               .rest = _mm512_setzero_ps(),
               .sum_hi = _mm512_setzero_si512(),
               .sum_lo = _mm512_setzero_si512()};
    for (i = 0; i < n; i += LANES)
        split_some(&s, v + i, n - i < LANES ? tail_mask(n - i) : 0xffff, hi + i, lo + i);
    lethe_digits_norms(n, scale, square, fold(s.rest), out);
    out->sum_hi = _mm512_reduce_add_epi32(s.sum_hi);
    out->sum_lo = _mm512_reduce_add_epi32(s.sum_lo);
}

/* ---- the sieve's looks ------------------------------------------------------------------------
 */

static size_t avx512_may_pass(const int32_t *c, size_t n, const lethe_bound *b, int32_t *hit) {
    const __m512 scale = _mm512_set1_ps(b->scale), err = _mm512_set1_ps(b->err);
    const __m512 norm = _mm512_set1_ps(b->norm), threshold = _mm512_set1_ps(b->threshold);
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t hits = 0;
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 k = n - i < LANES ? tail_mask(n - i) : 0xffff;
        __m512 u = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(k, c + i));
        u = _mm512_mul_ps(u, _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(k, b->w_scale + i)));
        u = add_product(u, err, _mm512_maskz_loadu_ps(k, b->w_norm + i));
        u = add_product(u, norm, _mm512_maskz_loadu_ps(k, b->w_err + i));
        for (size_t o = 0; o < b->outliers; o++)
            u = add_product(u, _mm512_set1_ps(b->x_out[o]),
                            _mm512_maskz_loadu_ps(k, b->w_out + o * b->w_out_stride + i));
        u = _mm512_add_ps(u, _mm512_maskz_loadu_ps(k, b->bias + i));
        __mmask16 pass = _mm512_mask_cmp_ps_mask(k, u, threshold, _CMP_NLT_UQ);
        if (pass) {
            _mm512_mask_compressstoreu_epi32(hit + hits, pass, place);
            hits += (size_t)__builtin_popcount((unsigned)pass);
        }
        place = _mm512_add_epi32(place, _mm512_set1_epi32(LANES));
    }
    return hits;
}

/* Without VNNI bytes are widened to 16 bits first. */
static inline __m512i widen_u8(const uint8_t *p) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline __m512i widen_i8(const int8_t *p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline __attribute__((always_inline)) void block(int32_t *c, size_t ldc, const uint8_t *a,
                                                        size_t na, const int8_t *b,
                                                        const int32_t *b_sum, size_t nb,
                                                        size_t ld) {
    __m512i acc[4][4];
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < nb; j++) acc[i][j] = _mm512_setzero_si512();
    for (size_t l = 0; l < ld; l += 32) {
        __m512i w[4];
        for (size_t j = 0; j < nb; j++) w[j] = widen_i8(b + j * ld + l);
        for (size_t i = 0; i < na; i++) {
            __m512i x = widen_u8(a + i * ld + l);
            for (size_t j = 0; j < nb; j++)
                acc[i][j] = _mm512_add_epi32(acc[i][j], _mm512_madd_epi16(x, w[j]));
        }
    }
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < nb; j++)
            c[i * ldc + j] = _mm512_reduce_add_epi32(acc[i][j]) - 128 * b_sum[j];
}

static void avx512_dots_i8(int32_t *c, size_t ldc, const uint8_t *a, size_t na, const int8_t *b,
                           const int32_t *b_sum, size_t nb, size_t ld) {
    size_t j = 0;
    for (; j + 4 <= nb; j += 4) {
        size_t i = 0;
        for (; i + 4 <= na; i += 4)
            block(c + i * ldc + j, ldc, a + i * ld, 4, b + j * ld, b_sum + j, 4, ld);
        for (; i < na; i++)
            block(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, b_sum + j, 4, ld);
    }
    for (; j < nb; j++)
        for (size_t i = 0; i < na; i++)
            block(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, b_sum + j, 1, ld);
}

static void avx512_dots_rows(int32_t *c, const uint8_t *a, const uint32_t *row, size_t n,
                             const int8_t *b, size_t ld) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t *x = a + row[i] * ld;
        __m512i s0 = _mm512_setzero_si512(), s1 = s0;
        for (size_t l = 0; l < ld; l += 64) {
            s0 = _mm512_add_epi32(s0, _mm512_madd_epi16(widen_u8(x + l), widen_i8(b + l)));
            s1 =
                _mm512_add_epi32(s1, _mm512_madd_epi16(widen_u8(x + l + 32), widen_i8(b + l + 32)));
        }
        c[i] += _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
    }
}

/* ---- Adam -------------------------------------------------------------------------------------
 */

static inline __m512 flush(__m512 x) {
    const __m512 smallest = _mm512_set1_ps(FLT_MIN);
    __mmask16 keep = _mm512_cmp_ps_mask(_mm512_abs_ps(x), smallest, _CMP_NLT_UQ);
    return _mm512_maskz_mov_ps(keep, x);
}

static void avx512_adam(float *p, float *m1, float *m2, const float *g, size_t n,
                        const lethe_adam *c) {
    const __m512 grad_scale = _mm512_set1_ps(c->grad_scale), one1 = _mm512_set1_ps(c->one_beta1);
    const __m512 beta2 = _mm512_set1_ps(c->beta2), one2 = _mm512_set1_ps(c->one_beta2);
    const __m512 inv = _mm512_set1_ps(c->inv_sqrt_bias2), eps = _mm512_set1_ps(c->eps);
    const __m512 step = _mm512_set1_ps(c->step);
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 k = n - i < LANES ? tail_mask(n - i) : 0xffff;
        __m512 a = _mm512_maskz_loadu_ps(k, m1 + i), b = _mm512_maskz_loadu_ps(k, m2 + i);
        if (g) {
            __m512 s = _mm512_mul_ps(_mm512_maskz_loadu_ps(k, g + i), grad_scale);
            a = flush(add_product(a, _mm512_sub_ps(s, a), one1));
            b = flush(add_product(_mm512_mul_ps(b, beta2), one2, _mm512_mul_ps(s, s)));
        } else {
            a = flush(_mm512_sub_ps(a, _mm512_mul_ps(a, one1)));
            b = flush(_mm512_mul_ps(b, beta2));
        }
        _mm512_mask_storeu_ps(m1 + i, k, a);
        _mm512_mask_storeu_ps(m2 + i, k, b);
        __m512 below = _mm512_add_ps(_mm512_mul_ps(_mm512_sqrt_ps(b), inv), eps);
        __m512 old = _mm512_maskz_loadu_ps(k, p + i);
        __m512 move = _mm512_mul_ps(step, _mm512_div_ps(a, below));
        _mm512_mask_storeu_ps(p + i, k, _mm512_sub_ps(old, move));
    }
}

void lethe_overlay_avx512(lethe_kernels *k) {
    k->dot = avx512_dot;
    k->sumsq = avx512_sumsq;
    k->axpy = avx512_axpy;
    k->scale = avx512_scale;
    k->gather_sum = avx512_gather_sum;
    k->gather_dot = avx512_gather_dot;
    k->digits = avx512_digits;
    k->dots_i8 = avx512_dots_i8;
    k->dots_rows = avx512_dots_rows;
    k->may_pass = avx512_may_pass;
    k->adam = avx512_adam;
}
