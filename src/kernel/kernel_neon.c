/* SPDX-License-Identifier: MIT
 *
 * NEON of 64-bit Arm. The sixteen partial sums of kernel_ref.c are four registers; products and
 * sums are rounded one by one (never vfmaq), so the bytes are the same. Tails go through a copy
 * padded with zeros: lanes beyond the row add +0 to a sum that began with +0, which changes
 * nothing.
 */
#include <arm_neon.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/digits.h"
#include "kernel/gather.h"
#include "kernel/kernel_sets.h"

#define LANES 16

typedef struct quad {
    float32x4_t q[4];
} quad;

static inline quad quad_all(float x) {
    float32x4_t v = vdupq_n_f32(x);
    return (quad){{v, v, v, v}};
}

static inline quad quad_load(const float *p) {
    return (quad){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}

static inline void quad_store(float *p, quad v) {
    for (size_t r = 0; r < 4; r++) vst1q_f32(p + 4 * r, v.q[r]);
}

/* n < LANES: only the first n numbers. */
static inline quad quad_some(const float *p, size_t n) {
    if (n >= LANES) return quad_load(p);
    float copy[LANES] = {0};
    memcpy(copy, p, n * sizeof *p);
    return quad_load(copy);
}

static inline void quad_put(float *p, quad v, size_t n) {
    if (n >= LANES) {
        quad_store(p, v);
        return;
    }
    float copy[LANES];
    quad_store(copy, v);
    memcpy(p, copy, n * sizeof *p);
}

static inline float32x4_t add_product(float32x4_t acc, float32x4_t a, float32x4_t b) {
    return vaddq_f32(acc, vmulq_f32(a, b));
}

static inline quad quad_add_product(quad acc, quad a, quad b) {
    for (size_t r = 0; r < 4; r++) acc.q[r] = add_product(acc.q[r], a.q[r], b.q[r]);
    return acc;
}

/* Halves onto halves, as fold() of kernel_ref.c. */
static inline float fold(quad v) {
    float32x4_t s = vaddq_f32(vaddq_f32(v.q[0], v.q[2]), vaddq_f32(v.q[1], v.q[3]));
    float32x2_t h = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}

static float neon_dot(const float *a, const float *b, size_t n) {
    quad acc = quad_all(0);
    for (size_t i = 0; i < n; i += LANES)
        acc = quad_add_product(acc, quad_some(a + i, n - i), quad_some(b + i, n - i));
    return fold(acc);
}

/* Four rows at a time share the loads of x. */
static void neon_gather_dot(float *out, size_t d, const float *x, const float *rows,
                            const int32_t *index, size_t count) {
    size_t j = 0;
    for (; j + 4 <= count; j += 4) {
        const float *r[4];
        quad s[4];
        for (size_t l = 0; l < 4; l++) {
            r[l] = rows + (size_t)index[j + l] * d;
            s[l] = quad_all(0);
        }
        for (size_t i = 0; i < d; i += LANES) {
            quad v = quad_some(x + i, d - i);
            for (size_t l = 0; l < 4; l++)
                s[l] = quad_add_product(s[l], v, quad_some(r[l] + i, d - i));
        }
        for (size_t l = 0; l < 4; l++) out[j + l] = fold(s[l]);
    }
    for (; j < count; j++) out[j] = neon_dot(x, rows + (size_t)index[j] * d, d);
}

/* Thirty-two partial sums in double: sixteen registers. */
static double neon_sumsq(const float *a, size_t n) {
    float64x2_t acc[LANES];
    for (size_t l = 0; l < LANES; l++) acc[l] = vdupq_n_f64(0);
    for (size_t i = 0; i < n; i += 2 * LANES)
        for (size_t half = 0; half < 2 && i + half * LANES < n; half++) {
            quad v = quad_some(a + i + half * LANES, n - i - half * LANES);
            float64x2_t *to = acc + 8 * half;
            for (size_t r = 0; r < 4; r++) {
                float64x2_t low = vcvt_f64_f32(vget_low_f32(v.q[r]));
                float64x2_t high = vcvt_high_f64_f32(v.q[r]);
                to[2 * r] = vaddq_f64(to[2 * r], vmulq_f64(low, low));
                to[2 * r + 1] = vaddq_f64(to[2 * r + 1], vmulq_f64(high, high));
            }
        }
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) acc[l] = vaddq_f64(acc[l], acc[l + half]);
    return vgetq_lane_f64(acc[0], 0) + vgetq_lane_f64(acc[0], 1);
}

static void neon_axpy(float *y, float alpha, const float *x, size_t n) {
    const quad c = quad_all(alpha);
    for (size_t i = 0; i < n; i += LANES)
        quad_put(y + i, quad_add_product(quad_some(y + i, n - i), c, quad_some(x + i, n - i)),
                 n - i);
}

static void neon_scale(float *x, float alpha, size_t n) {
    const float32x4_t c = vdupq_n_f32(alpha);
    for (size_t i = 0; i < n; i += LANES) {
        quad v = quad_some(x + i, n - i);
        for (size_t r = 0; r < 4; r++) v.q[r] = vmulq_f32(v.q[r], c);
        quad_put(x + i, v, n - i);
    }
}

/* `quads` of columns, the last of them `last` wide. */
static inline __attribute__((always_inline)) void
sum_strip(float *out, const lethe_gather *g, size_t at, size_t quads, size_t last, size_t next) {
    quad acc[4];
    for (size_t r = 0; r < quads; r++)
        acc[r] = quad_some(out + at + r * LANES, r + 1 < quads ? LANES : last);
    for (size_t j = 0; j < g->count; j++) {
        const float *row = g->rows + (size_t)g->index[j] * g->ld + at;
        const float *ahead = lethe_gather_ahead(g, j, at, next);
        const quad c = quad_all(g->coef[j]);
        for (size_t r = 0; r < quads; r++) {
            __builtin_prefetch(ahead + r * LANES);
            acc[r] = quad_add_product(acc[r], c,
                                      quad_some(row + r * LANES, r + 1 < quads ? LANES : last));
        }
    }
    for (size_t r = 0; r < quads; r++)
        quad_put(out + at + r * LANES, acc[r], r + 1 < quads ? LANES : last);
}

/* Sums of up to 64 columns stay in registers while all rows pass. */
static void neon_gather_sum(float *out, size_t width, const float *rows, size_t ld,
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

typedef struct split {
    float32x4_t inv, lo_inv, scale;
    quad rest; /* sums of squares */
    int32x4_t sum_hi, sum_lo;
} split;

/* Sixteen 32-bit numbers as bytes. */
static inline int8x16_t to_bytes(const int32x4_t v[4]) {
    int16x8_t a = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
    int16x8_t b = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
    return vcombine_s8(vmovn_s16(a), vmovn_s16(b));
}

static inline void split_some(split *s, const float *v, size_t n, int8_t *hi, int8_t *lo) {
    quad x = quad_some(v, n), rest;
    int32x4_t h[4], l[4];
    for (size_t r = 0; r < 4; r++) {
        h[r] = vcvtnq_s32_f32(vmulq_f32(x.q[r], s->inv)); /* to even, as rintf */
        rest.q[r] = vsubq_f32(x.q[r], vmulq_f32(vcvtq_f32_s32(h[r]), s->scale));
        l[r] = vcvtnq_s32_f32(vmulq_f32(rest.q[r], s->lo_inv));
        s->sum_hi = vaddq_s32(s->sum_hi, h[r]);
        s->sum_lo = vaddq_s32(s->sum_lo, l[r]);
    }
    s->rest = quad_add_product(s->rest, rest, rest);
    int8_t bytes[2][LANES];
    vst1q_s8(bytes[0], to_bytes(h));
    vst1q_s8(bytes[1], to_bytes(l));
    memcpy(hi, bytes[0], n < LANES ? n : LANES);
    memcpy(lo, bytes[1], n < LANES ? n : LANES);
}

static void neon_digits(const float *v, size_t n, int8_t *hi, int8_t *lo, lethe_digits *out) {
    quad acc = quad_all(0), big = quad_all(0);
    for (size_t i = 0; i < n; i += LANES) {
        quad x = quad_some(v + i, n - i);
        acc = quad_add_product(acc, x, x);
        for (size_t r = 0; r < 4; r++) {
            float32x4_t size = vabsq_f32(x.q[r]); /* a NaN leaves big alone */
            big.q[r] = vbslq_f32(vcgtq_f32(size, big.q[r]), size, big.q[r]);
        }
    }
    float32x4_t most4 = vmaxq_f32(vmaxq_f32(big.q[0], big.q[1]), vmaxq_f32(big.q[2], big.q[3]));
    float square = fold(acc), most = vmaxvq_f32(most4);
    if (!(square < FLT_MAX) || most < LETHE_DIGITS_SMALLEST) {
        lethe_digits_none(n, square, most, hi, lo, out);
        return;
    }
    float scale = most / 127, inv = 127 / most;
    split s = {.inv = vdupq_n_f32(inv),
               .lo_inv = vdupq_n_f32(inv * LETHE_LO_DIGIT),
               .scale = vdupq_n_f32(scale),
               .rest = quad_all(0),
               .sum_hi = vdupq_n_s32(0),
               .sum_lo = vdupq_n_s32(0)};
    for (size_t i = 0; i < n; i += LANES) split_some(&s, v + i, n - i, hi + i, lo + i);
    lethe_digits_norms(n, scale, square, fold(s.rest), out);
    out->sum_hi = vaddvq_s32(s.sum_hi);
    out->sum_lo = vaddvq_s32(s.sum_lo);
}

/* ---- the sieve's looks ------------------------------------------------------------------------
 */

/* Four upper bounds, from place i on. */
static inline float32x4_t upper_bound(const int32_t *c, size_t i, const lethe_bound *b) {
    float32x4_t scale = vmulq_f32(vdupq_n_f32(b->scale), vld1q_f32(b->w_scale + i));
    float32x4_t u = vmulq_f32(vcvtq_f32_s32(vld1q_s32(c + i)), scale);
    u = add_product(u, vdupq_n_f32(b->err), vld1q_f32(b->w_norm + i));
    u = add_product(u, vdupq_n_f32(b->norm), vld1q_f32(b->w_err + i));
    for (size_t o = 0; o < b->outliers; o++)
        u = add_product(u, vdupq_n_f32(b->x_out[o]), vld1q_f32(b->w_out + o * b->w_out_stride + i));
    return vaddq_f32(u, vld1q_f32(b->bias + i));
}

static size_t neon_may_pass(const int32_t *c, size_t n, const lethe_bound *b, int32_t *hit) {
    const float32x4_t threshold = vdupq_n_f32(b->threshold);
    size_t hits = 0, i = 0;
    for (; i + 4 <= n; i += 4) {
        uint32x4_t below = vcltq_f32(upper_bound(c, i, b), threshold); /* never of a NaN */
        uint64_t bits = ~vget_lane_u64(vreinterpret_u64_u16(vmovn_u32(below)), 0);
        for (; bits; bits &= ~((uint64_t)0xffff << (__builtin_ctzll(bits))))
            hit[hits++] = (int32_t)i + __builtin_ctzll(bits) / 16;
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

/* 128 taken off: the same bits with the first one turned over. */
static inline int8x16_t load_token(const uint8_t *p) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(0x80)));
}

/* A product of two bytes fits 16 bits, a sum of two may not: each goes into 32 bits at once. */
static inline int32x4_t add_products(int32x4_t acc, int8x16_t a, int8x16_t b) {
    acc = vpadalq_s16(acc, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    return vpadalq_s16(acc, vmull_high_s8(a, b));
}

/* na x nb sums; na 4 or 1, nb 4 or 1, so that they stay in registers. */
static inline __attribute__((always_inline)) void
block(int32_t *c, size_t ldc, const uint8_t *a, size_t na, const int8_t *b, size_t nb, size_t ld) {
    int32x4_t acc[4][4];
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < nb; j++) acc[i][j] = vdupq_n_s32(0);
    for (size_t l = 0; l < ld; l += 16) {
        int8x16_t w[4];
        for (size_t j = 0; j < nb; j++) w[j] = vld1q_s8(b + j * ld + l);
        for (size_t i = 0; i < na; i++) {
            int8x16_t x = load_token(a + i * ld + l);
            for (size_t j = 0; j < nb; j++) acc[i][j] = add_products(acc[i][j], x, w[j]);
        }
    }
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < nb; j++) c[i * ldc + j] = vaddvq_s32(acc[i][j]);
}

/* The sums of b are not needed: the 128 is off before the product. */
static void neon_dots_i8(int32_t *c, size_t ldc, const uint8_t *a, size_t na, const int8_t *b,
                         const int32_t *b_sum, size_t nb, size_t ld) {
    (void)b_sum;
    size_t j = 0;
    for (; j + 4 <= nb; j += 4) {
        size_t i = 0;
        for (; i + 4 <= na; i += 4) block(c + i * ldc + j, ldc, a + i * ld, 4, b + j * ld, 4, ld);
        for (; i < na; i++) block(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, 4, ld);
    }
    for (; j < nb; j++)
        for (size_t i = 0; i < na; i++)
            block(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, 1, ld);
}

/* sum of a b = sum of (a - 128) b + 128 times the sum of b */
static void neon_dots_rows(int32_t *c, const uint8_t *a, const uint32_t *row, size_t n,
                           const int8_t *b, size_t ld) {
    int32x4_t sums = vdupq_n_s32(0);
    for (size_t l = 0; l < ld; l += 16) sums = vpadalq_s16(sums, vpaddlq_s8(vld1q_s8(b + l)));
    int32_t offset = 128 * vaddvq_s32(sums);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *x = a + row[i] * ld;
        int32x4_t acc = vdupq_n_s32(0);
        for (size_t l = 0; l < ld; l += 16)
            acc = add_products(acc, load_token(x + l), vld1q_s8(b + l));
        c[i] += vaddvq_s32(acc) + offset;
    }
}

/* ---- Adam -------------------------------------------------------------------------------------
 */

static inline float32x4_t flush(float32x4_t x) {
    uint32x4_t small = vcltq_f32(vabsq_f32(x), vdupq_n_f32(FLT_MIN));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), small));
}

static inline void adam_four(float32x4_t *p, float32x4_t *m1, float32x4_t *m2, float32x4_t g,
                             bool zero, const lethe_adam *c) {
    const float32x4_t one1 = vdupq_n_f32(c->one_beta1), beta2 = vdupq_n_f32(c->beta2);
    float32x4_t a = *m1, b = *m2;
    if (zero) {
        a = flush(vsubq_f32(a, vmulq_f32(a, one1)));
        b = flush(vmulq_f32(b, beta2));
    } else {
        float32x4_t s = vmulq_f32(g, vdupq_n_f32(c->grad_scale));
        a = flush(add_product(a, vsubq_f32(s, a), one1));
        b = flush(add_product(vmulq_f32(b, beta2), vdupq_n_f32(c->one_beta2), vmulq_f32(s, s)));
    }
    *m1 = a;
    *m2 = b;
    float32x4_t below = vmulq_f32(vsqrtq_f32(b), vdupq_n_f32(c->inv_sqrt_bias2));
    below = vaddq_f32(below, vdupq_n_f32(c->eps));
    *p = vsubq_f32(*p, vmulq_f32(vdupq_n_f32(c->step), vdivq_f32(a, below)));
}

static void neon_adam(float *p, float *m1, float *m2, const float *g, size_t n,
                      const lethe_adam *c) {
    for (size_t i = 0; i < n; i += LANES) {
        quad v = quad_some(p + i, n - i), a = quad_some(m1 + i, n - i);
        quad b = quad_some(m2 + i, n - i), s = g ? quad_some(g + i, n - i) : quad_all(0);
        for (size_t r = 0; r < 4; r++) adam_four(&v.q[r], &a.q[r], &b.q[r], s.q[r], !g, c);
        quad_put(p + i, v, n - i);
        quad_put(m1 + i, a, n - i);
        quad_put(m2 + i, b, n - i);
    }
}

void lethe_overlay_neon(lethe_kernels *k) {
    k->dot = neon_dot;
    k->sumsq = neon_sumsq;
    k->axpy = neon_axpy;
    k->scale = neon_scale;
    k->gather_sum = neon_gather_sum;
    k->gather_dot = neon_gather_dot;
    k->digits = neon_digits;
    k->dots_i8 = neon_dots_i8;
    k->dots_rows = neon_dots_rows;
    k->may_pass = neon_may_pass;
    k->adam = neon_adam;
}
