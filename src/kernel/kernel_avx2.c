/* SPDX-License-Identifier: MIT
 *
 * AVX2. The sixteen partial sums of kernel_ref.c are two registers; products and sums are rounded
 * one by one, so the bytes are the same. Tails go through a copy padded with zeros: lanes beyond
 * the row add +0 to a sum that began with +0, which changes nothing.
 */
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernel/digits.h"
#include "kernel/gather.h"
#include "kernel/kernel_sets.h"

#define LANES 16

typedef struct pair {
    __m256 lo, hi;
} pair;

static inline pair pair_zero(void) {
    return (pair){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

static inline pair pair_load(const float *p) {
    return (pair){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline pair pair_tail(const float *p, size_t n) {
    float copy[LANES] = {0};
    memcpy(copy, p, n * sizeof *p);
    return pair_load(copy);
}

static inline void pair_store(float *p, pair v) {
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}

static inline void pair_store_tail(float *p, pair v, size_t n) {
    float copy[LANES];
    pair_store(copy, v);
    memcpy(p, copy, n * sizeof *p);
}

/* n < LANES: only the first n numbers. */
static inline pair pair_some(const float *p, size_t n) {
    return n < LANES ? pair_tail(p, n) : pair_load(p);
}

static inline void pair_put(float *p, pair v, size_t n) {
    if (n < LANES)
        pair_store_tail(p, v, n);
    else
        pair_store(p, v);
}

static inline __m256 add_product(__m256 acc, __m256 a, __m256 b) {
    return _mm256_add_ps(acc, _mm256_mul_ps(a, b));
}

static inline pair pair_add_product(pair acc, pair a, pair b) {
    return (pair){add_product(acc.lo, a.lo, b.lo), add_product(acc.hi, a.hi, b.hi)};
}

static inline float fold(pair v) {
    __m256 h = _mm256_add_ps(v.lo, v.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

static float avx2_dot(const float *a, const float *b, size_t n) {
    pair acc = pair_zero();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        acc = pair_add_product(acc, pair_load(a + i), pair_load(b + i));
    if (i < n) acc = pair_add_product(acc, pair_tail(a + i, n - i), pair_tail(b + i, n - i));
    return fold(acc);
}

/* Four rows at a time: one chain of additions is slower than the loads. */
static void avx2_gather_dot(float *out, size_t d, const float *x, const float *rows,
                            const int32_t *index, size_t count) {
    size_t j = 0;
    for (; j + 4 <= count; j += 4) {
        const float *r[4];
        pair s[4];
        for (size_t l = 0; l < 4; l++) {
            r[l] = rows + (size_t)index[j + l] * d;
            s[l] = pair_zero();
        }
        size_t i = 0;
        for (; i + LANES <= d; i += LANES) {
            pair v = pair_load(x + i);
            for (size_t l = 0; l < 4; l++) s[l] = pair_add_product(s[l], v, pair_load(r[l] + i));
        }
        if (i < d) {
            pair v = pair_tail(x + i, d - i);
            for (size_t l = 0; l < 4; l++)
                s[l] = pair_add_product(s[l], v, pair_tail(r[l] + i, d - i));
        }
        for (size_t l = 0; l < 4; l++) out[j + l] = fold(s[l]);
    }
    for (; j < count; j++) out[j] = avx2_dot(x, rows + (size_t)index[j] * d, d);
}

static double avx2_sumsq(const float *a, size_t n) {
    __m256d acc[8];
    for (size_t l = 0; l < 8; l++) acc[l] = _mm256_setzero_pd();
    for (size_t i = 0; i < n; i += 2 * LANES) {
        float copy[2 * LANES] = {0};
        const float *from = a + i;
        if (n - i < 2 * LANES) from = memcpy(copy, a + i, (n - i) * sizeof *a);
        for (size_t l = 0; l < 8; l++) {
            __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(from + 4 * l));
            acc[l] = _mm256_add_pd(acc[l], _mm256_mul_pd(v, v));
        }
    }
    for (size_t half = 4; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) acc[l] = _mm256_add_pd(acc[l], acc[l + half]);
    __m128d q = _mm_add_pd(_mm256_castpd256_pd128(acc[0]), _mm256_extractf128_pd(acc[0], 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}

static void avx2_axpy(float *y, float alpha, const float *x, size_t n) {
    const pair c = {_mm256_set1_ps(alpha), _mm256_set1_ps(alpha)};
    for (size_t i = 0; i < n; i += LANES)
        pair_put(y + i, pair_add_product(pair_some(y + i, n - i), c, pair_some(x + i, n - i)),
                 n - i);
}

static void avx2_scale(float *x, float alpha, size_t n) {
    const __m256 c = _mm256_set1_ps(alpha);
    for (size_t i = 0; i < n; i += LANES) {
        pair v = pair_some(x + i, n - i);
        pair_put(x + i, (pair){_mm256_mul_ps(v.lo, c), _mm256_mul_ps(v.hi, c)}, n - i);
    }
}

/* `pairs` registers of columns, the last pair of them `last` wide. */
static inline __attribute__((always_inline)) void
sum_strip(float *out, const lethe_gather *g, size_t at, size_t pairs, size_t last, size_t next) {
    pair acc[4];
    for (size_t r = 0; r < pairs; r++)
        acc[r] = pair_some(out + at + r * LANES, r + 1 < pairs ? LANES : last);
    for (size_t j = 0; j < g->count; j++) {
        const float *row = g->rows + (size_t)g->index[j] * g->ld + at;
        const float *ahead = lethe_gather_ahead(g, j, at, next);
        const pair c = {_mm256_set1_ps(g->coef[j]), _mm256_set1_ps(g->coef[j])};
        for (size_t r = 0; r < pairs; r++) {
            _mm_prefetch((const char *)(ahead + r * LANES), _MM_HINT_T0);
            acc[r] = pair_add_product(acc[r], c,
                                      pair_some(row + r * LANES, r + 1 < pairs ? LANES : last));
        }
    }
    for (size_t r = 0; r < pairs; r++)
        pair_put(out + at + r * LANES, acc[r], r + 1 < pairs ? LANES : last);
}

/* Sums of up to 64 columns stay in registers while all rows pass. */
static void avx2_gather_sum(float *out, size_t width, const float *rows, size_t ld,
                            const int32_t *index, const float *coef, size_t count, size_t more) {
    const lethe_gather g = {rows, ld, index, coef, count, more};
    size_t at = 0;
    for (size_t end; at + 4 * LANES <= width; at = end) {
        end = at + 4 * LANES;
        sum_strip(out, &g, at, 4, LANES, end < width ? end : 0);
    }
    for (; at + LANES < width; at += LANES) sum_strip(out, &g, at, 1, LANES, at + LANES);
    if (at < width) sum_strip(out, &g, at, 1, width - at, 0);
}

/* ---- digits -----------------------------------------------------------------------------------
 */

static inline __m256 absolute(__m256 x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

static int32_t add_up(__m256i v) {
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}

typedef struct split {
    __m256 inv, lo_inv, scale;
    pair rest; /* sums of squares */
    __m256i sum_hi, sum_lo;
} split;

/* Digits of eight numbers; rest: their rests. */
static inline __m256 split_eight(split *s, __m256 x, __m256i *h, __m256i *l) {
    *h = _mm256_cvtps_epi32(_mm256_mul_ps(x, s->inv)); /* to even, as rintf */
    __m256 r = _mm256_sub_ps(x, _mm256_mul_ps(_mm256_cvtepi32_ps(*h), s->scale));
    *l = _mm256_cvtps_epi32(_mm256_mul_ps(r, s->lo_inv));
    s->sum_hi = _mm256_add_epi32(s->sum_hi, *h);
    s->sum_lo = _mm256_add_epi32(s->sum_lo, *l);
    return r;
}

/* Sixteen 32-bit numbers as bytes. */
static inline __m128i to_bytes(__m256i a, __m256i b) {
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

static void split_all(split *s, const float *v, size_t n, int8_t *hi, int8_t *lo) {
    for (size_t i = 0; i < n; i += LANES) {
        pair x = pair_some(v + i, n - i), r;
        __m256i h0, h1, l0, l1;
        r.lo = split_eight(s, x.lo, &h0, &l0);
        r.hi = split_eight(s, x.hi, &h1, &l1);
        s->rest = pair_add_product(s->rest, r, r);
        __m128i h = to_bytes(h0, h1), l = to_bytes(l0, l1);
        memcpy(hi + i, &h, n - i < LANES ? n - i : LANES);
        memcpy(lo + i, &l, n - i < LANES ? n - i : LANES);
    }
}

static void avx2_digits(const float *v, size_t n, int8_t *hi, int8_t *lo, lethe_digits *out) {
    pair acc = pair_zero(), big = pair_zero();
    for (size_t i = 0; i < n; i += LANES) {
        pair x = pair_some(v + i, n - i);
        acc = pair_add_product(acc, x, x);
        big.lo = _mm256_max_ps(absolute(x.lo), big.lo); /* a NaN in x leaves big alone */
        big.hi = _mm256_max_ps(absolute(x.hi), big.hi);
    }
    float sizes[LANES], most = 0, square = fold(acc);
    pair_store(sizes, big);
    for (size_t i = 0; i < LANES; i++) most = sizes[i] > most ? sizes[i] : most;
    if (!(square < FLT_MAX) || most < LETHE_DIGITS_SMALLEST) {
        lethe_digits_none(n, square, most, hi, lo, out);
        return;
    }
    float scale = most / 127, inv = 127 / most;
    split s = {.inv = _mm256_set1_ps(inv),
               .lo_inv = _mm256_set1_ps(inv * LETHE_LO_DIGIT),
               .scale = _mm256_set1_ps(scale),
               .rest = pair_zero(),
               .sum_hi = _mm256_setzero_si256(),
               .sum_lo = _mm256_setzero_si256()};
    split_all(&s, v, n, hi, lo);
    lethe_digits_norms(n, scale, square, fold(s.rest), out);
    out->sum_hi = add_up(s.sum_hi);
    out->sum_lo = add_up(s.sum_lo);
}

/* ---- the sieve's looks ------------------------------------------------------------------------
 */

/* Eight upper bounds, from place i on. */
static inline __m256 upper_bound(const int32_t *c, size_t i, const lethe_bound *b) {
    __m256i ci = _mm256_loadu_si256((const __m256i *)(const void *)(c + i));
    __m256 scale = _mm256_mul_ps(_mm256_set1_ps(b->scale), _mm256_loadu_ps(b->w_scale + i));
    __m256 u = _mm256_mul_ps(_mm256_cvtepi32_ps(ci), scale);
    u = add_product(u, _mm256_set1_ps(b->err), _mm256_loadu_ps(b->w_norm + i));
    u = add_product(u, _mm256_set1_ps(b->norm), _mm256_loadu_ps(b->w_err + i));
    for (size_t o = 0; o < b->outliers; o++)
        u = add_product(u, _mm256_set1_ps(b->x_out[o]),
                        _mm256_loadu_ps(b->w_out + o * b->w_out_stride + i));
    return _mm256_add_ps(u, _mm256_loadu_ps(b->bias + i));
}

static size_t avx2_may_pass(const int32_t *c, size_t n, const lethe_bound *b, int32_t *hit) {
    const __m256 threshold = _mm256_set1_ps(b->threshold);
    size_t hits = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 pass = _mm256_cmp_ps(upper_bound(c, i, b), threshold, _CMP_NLT_UQ);
        for (unsigned bits = (unsigned)_mm256_movemask_ps(pass); bits; bits &= bits - 1)
            hit[hits++] = (int32_t)i + __builtin_ctz(bits);
    }
    for (; i < n; i++) {
        float u = (float)c[i] * (b->scale * b->w_scale[i]);
        u = u + b->err * b->w_norm[i];
        u = u + b->norm * b->w_err[i];
        for (size_t o = 0; o < b->outliers; o++)
            u = u + b->x_out[o] * b->w_out[o * b->w_out_stride + i];
        u = u + b->bias[i];
        if (!(u < b->threshold)) hit[hits++] = (int32_t)i;
    }
    return hits;
}

/* The instruction that multiplies bytes saturates, so they are widened to 16 bits first. */
static inline __m256i widen_u8(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256i widen_i8(const int8_t *p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* na x nb sums; na 3 or 1, nb 3 or 1, so that they stay in registers. */
static inline __attribute__((always_inline)) void block(int32_t *c, size_t ldc, const uint8_t *a,
                                                        size_t na, const int8_t *b,
                                                        const int32_t *b_sum, size_t nb,
                                                        size_t ld) {
    __m256i acc[3][3];
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < nb; j++) acc[i][j] = _mm256_setzero_si256();
    for (size_t l = 0; l < ld; l += 16) {
        __m256i w[3];
        for (size_t j = 0; j < nb; j++) w[j] = widen_i8(b + j * ld + l);
        for (size_t i = 0; i < na; i++) {
            __m256i x = widen_u8(a + i * ld + l);
            for (size_t j = 0; j < nb; j++)
                acc[i][j] = _mm256_add_epi32(acc[i][j], _mm256_madd_epi16(x, w[j]));
        }
    }
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < nb; j++) c[i * ldc + j] = add_up(acc[i][j]) - 128 * b_sum[j];
}

static void avx2_dots_i8(int32_t *c, size_t ldc, const uint8_t *a, size_t na, const int8_t *b,
                         const int32_t *b_sum, size_t nb, size_t ld) {
    size_t j = 0;
    for (; j + 3 <= nb; j += 3) {
        size_t i = 0;
        for (; i + 3 <= na; i += 3)
            block(c + i * ldc + j, ldc, a + i * ld, 3, b + j * ld, b_sum + j, 3, ld);
        for (; i < na; i++)
            block(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, b_sum + j, 3, ld);
    }
    for (; j < nb; j++)
        for (size_t i = 0; i < na; i++)
            block(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, b_sum + j, 1, ld);
}

static void avx2_dots_rows(int32_t *c, const uint8_t *a, const uint32_t *row, size_t n,
                           const int8_t *b, size_t ld) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t *x = a + row[i] * ld;
        __m256i s0 = _mm256_setzero_si256(), s1 = s0;
        for (size_t l = 0; l < ld; l += 32) {
            s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(widen_u8(x + l), widen_i8(b + l)));
            s1 =
                _mm256_add_epi32(s1, _mm256_madd_epi16(widen_u8(x + l + 16), widen_i8(b + l + 16)));
        }
        c[i] += add_up(_mm256_add_epi32(s0, s1));
    }
}

/* ---- Adam -------------------------------------------------------------------------------------
 */

static inline __m256 flush(__m256 x) {
    return _mm256_and_ps(x, _mm256_cmp_ps(absolute(x), _mm256_set1_ps(FLT_MIN), _CMP_NLT_UQ));
}

static inline void adam_eight(__m256 *p, __m256 *m1, __m256 *m2, __m256 g, bool zero,
                              const lethe_adam *c) {
    const __m256 one1 = _mm256_set1_ps(c->one_beta1), beta2 = _mm256_set1_ps(c->beta2);
    __m256 a = *m1, b = *m2;
    if (zero) {
        a = flush(_mm256_sub_ps(a, _mm256_mul_ps(a, one1)));
        b = flush(_mm256_mul_ps(b, beta2));
    } else {
        __m256 s = _mm256_mul_ps(g, _mm256_set1_ps(c->grad_scale));
        a = flush(add_product(a, _mm256_sub_ps(s, a), one1));
        b = flush(add_product(_mm256_mul_ps(b, beta2), _mm256_set1_ps(c->one_beta2),
                              _mm256_mul_ps(s, s)));
    }
    *m1 = a;
    *m2 = b;
    __m256 below = _mm256_mul_ps(_mm256_sqrt_ps(b), _mm256_set1_ps(c->inv_sqrt_bias2));
    below = _mm256_add_ps(below, _mm256_set1_ps(c->eps));
    *p = _mm256_sub_ps(*p, _mm256_mul_ps(_mm256_set1_ps(c->step), _mm256_div_ps(a, below)));
}

static void avx2_adam(float *p, float *m1, float *m2, const float *g, size_t n,
                      const lethe_adam *c) {
    for (size_t i = 0; i < n; i += LANES) {
        pair v = pair_some(p + i, n - i), a = pair_some(m1 + i, n - i);
        pair b = pair_some(m2 + i, n - i), s = g ? pair_some(g + i, n - i) : pair_zero();
        adam_eight(&v.lo, &a.lo, &b.lo, s.lo, !g, c);
        adam_eight(&v.hi, &a.hi, &b.hi, s.hi, !g, c);
        pair_put(p + i, v, n - i);
        pair_put(m1 + i, a, n - i);
        pair_put(m2 + i, b, n - i);
    }
}

void lethe_overlay_avx2(lethe_kernels *k) {
    k->dot = avx2_dot;
    k->sumsq = avx2_sumsq;
    k->axpy = avx2_axpy;
    k->scale = avx2_scale;
    k->gather_sum = avx2_gather_sum;
    k->gather_dot = avx2_gather_dot;
    k->digits = avx2_digits;
    k->dots_i8 = avx2_dots_i8;
    k->dots_rows = avx2_dots_rows;
    k->may_pass = avx2_may_pass;
    k->adam = avx2_adam;
}
