/* SPDX-License-Identifier: MIT
 *
 * The dot-product instructions of Armv8.2: sixteen products of signed bytes an instruction, four to
 * a sum. Tokens are unsigned with 128 added; turning the first bit over takes it off.
 */
#include <arm_neon.h>

#include "kernel/kernel_sets.h"

static inline int8x16_t load_token(const uint8_t *p) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(0x80)));
}

/* Four tokens or one by four latents: sixteen sums in registers. */
static inline __attribute__((always_inline)) void by_four(int32_t *c, size_t ldc, const uint8_t *a,
                                                          size_t na, const int8_t *b, size_t ld) {
    int32x4_t acc[4][4];
    for (size_t i = 0; i < na; i++)
        for (size_t j = 0; j < 4; j++) acc[i][j] = vdupq_n_s32(0);
    for (size_t l = 0; l < ld; l += 16) {
        int8x16_t w[4];
        for (size_t j = 0; j < 4; j++) w[j] = vld1q_s8(b + j * ld + l);
        for (size_t i = 0; i < na; i++) {
            int8x16_t x = load_token(a + i * ld + l);
            for (size_t j = 0; j < 4; j++) acc[i][j] = vdotq_s32(acc[i][j], x, w[j]);
        }
    }
    for (size_t i = 0; i < na; i++) {
        int32x4_t low = vpaddq_s32(acc[i][0], acc[i][1]), high = vpaddq_s32(acc[i][2], acc[i][3]);
        vst1q_s32(c + i * ldc, vpaddq_s32(low, high));
    }
}

static inline int32_t one(const uint8_t *a, const int8_t *b, size_t ld) {
    int32x4_t acc = vdupq_n_s32(0);
    for (size_t l = 0; l < ld; l += 16) acc = vdotq_s32(acc, load_token(a + l), vld1q_s8(b + l));
    return vaddvq_s32(acc);
}

/* The sums of b are not needed: the 128 is off before the product. */
static void neondot_dots_i8(int32_t *c, size_t ldc, const uint8_t *a, size_t na, const int8_t *b,
                            const int32_t *b_sum, size_t nb, size_t ld) {
    (void)b_sum;
    size_t j = 0;
    for (; j + 4 <= nb; j += 4) {
        size_t i = 0;
        for (; i + 4 <= na; i += 4) by_four(c + i * ldc + j, ldc, a + i * ld, 4, b + j * ld, ld);
        for (; i < na; i++) by_four(c + i * ldc + j, ldc, a + i * ld, 1, b + j * ld, ld);
    }
    for (; j < nb; j++)
        for (size_t i = 0; i < na; i++) c[i * ldc + j] = one(a + i * ld, b + j * ld, ld);
}

/* sum of a b = sum of (a - 128) b + 128 times the sum of b */
static void neondot_dots_rows(int32_t *c, const uint8_t *a, const uint32_t *row, size_t n,
                              const int8_t *b, size_t ld) {
    int32x4_t sums = vdupq_n_s32(0);
    for (size_t l = 0; l < ld; l += 16) sums = vdotq_s32(sums, vdupq_n_s8(1), vld1q_s8(b + l));
    int32_t offset = 128 * vaddvq_s32(sums);
    for (size_t i = 0; i < n; i++) c[i] += one(a + row[i] * ld, b, ld) + offset;
}

void lethe_overlay_neondot(lethe_kernels *k) {
    k->dots_i8 = neondot_dots_i8;
    k->dots_rows = neondot_dots_rows;
}
