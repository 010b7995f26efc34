/* SPDX-License-Identifier: MIT
 *
 * AVX-512 with VNNI: 64 products of bytes an instruction. A block of four tokens by four latents
 * keeps its sixteen sums in registers, so that it loads one register for every two products.
 */
#include <immintrin.h>

#include "kernel/kernel_sets.h"

static inline __m512i load(const void *p) {
    return _mm512_loadu_si512(p);
}

/* Sums of each of four registers within 128-bit lanes, side by side. */
static inline __m512i fold4(const __m512i v[4]) {
    __m512i a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    __m512i b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

static inline __m128i fold_lanes(__m512i v) {
    __m256i h = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

/* Four tokens or one by four latents. */
static inline __attribute__((always_inline)) void by_four(int32_t *c, size_t ldc, const uint8_t *a,
                                                          size_t na, const int8_t *b,
                                                          __m128i offset, size_t ld) {
    __m512i acc[4][4];
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < 4; j++) acc[i][j] = _mm512_setzero_si512();
    for (size_t l = 0; l < ld; l += 64) {
        __m512i w0 = load(b + l), w1 = load(b + ld + l);
        __m512i w2 = load(b + 2 * ld + l), w3 = load(b + 3 * ld + l);
        for (size_t i = 0; i < na; i++) {
            __m512i x = load(a + i * ld + l);
            acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], x, w0);
            acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], x, w1);
            acc[i][2] = _mm512_dpbusd_epi32(acc[i][2], x, w2);
            acc[i][3] = _mm512_dpbusd_epi32(acc[i][3], x, w3);
        }
    }
    for (size_t i = 0; i < na; i++)
        _mm_storeu_si128((__m128i *)(void *)(c + i * ldc),
                         _mm_sub_epi32(fold_lanes(fold4(acc[i])), offset));
}

static inline int32_t one(const uint8_t *a, const int8_t *b, size_t ld) {
    __m512i acc = _mm512_setzero_si512();
    for (size_t l = 0; l < ld; l += 64) acc = _mm512_dpbusd_epi32(acc, load(a + l), load(b + l));
    return _mm512_reduce_add_epi32(acc);
}

static void vnni_dots_i8(int32_t *c, size_t ldc, const uint8_t *a, size_t na, const int8_t *b,
                         const int32_t *b_sum, size_t nb, size_t ld) {
    /* Latents whose digits stay in the first-level cache while all tokens pass by. */
    size_t strip = (24576 / ld + 4) / 4 * 4;
    size_t whole = nb / 4 * 4;
    for (size_t first = 0; first < whole; first += strip) {
        size_t end = first + strip < whole ? first + strip : whole, i = 0;
        for (; i + 4 <= na; i += 4)
            for (size_t j = first; j < end; j += 4) {
                __m128i sum = _mm_loadu_si128((const __m128i *)(const void *)(b_sum + j));
                by_four(c + i * ldc + j, ldc, a + i * ld, 4, b + j * ld, _mm_slli_epi32(sum, 7),
                        ld);
            }
        for (; i < na; i++)
            for (size_t j = first; j < end; j += 4) {
                __m128i sum = _mm_loadu_si128((const __m128i *)(const void *)(b_sum + j));
                by_four(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, _mm_slli_epi32(sum, 7),
                        ld);
            }
    }
    for (size_t j = whole; j < nb; j++)
        for (size_t i = 0; i < na; i++)
            c[i * ldc + j] = one(a + i * ld, b + j * ld, ld) - 128 * b_sum[j];
}

static int32_t vnni_dot_cross(const uint8_t *a_hi, const uint8_t *a_lo, const int8_t *b_hi,
                              const int8_t *b_lo, size_t ld) {
    __m512i s0 = _mm512_setzero_si512(), s1 = s0;
    for (size_t l = 0; l < ld; l += 64) {
        s0 = _mm512_dpbusd_epi32(s0, load(a_hi + l), load(b_lo + l));
        s1 = _mm512_dpbusd_epi32(s1, load(a_lo + l), load(b_hi + l));
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
}

void lethe_overlay_avx512vnni(lethe_kernels *k) {
    k->dots_i8 = vnni_dots_i8;
    k->dot_cross = vnni_dot_cross;
}
