/* SPDX-License-Identifier: MIT
 *
 * AVX-512 with VNNI: 64 products of bytes an instruction. A block of four tokens by four latents
 * keeps its sixteen sums in registers, so that it loads one register for every two products.
 */
#include <immintrin.h>
#include <string.h>

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

/* Up to four tokens by one latent: its digits are loaded once for all of them, and eight sums hide
 * each other's latency. */
static inline __attribute__((always_inline)) void rows_some(int32_t *c, const uint8_t *a,
                                                            const uint32_t *row, size_t na,
                                                            const int8_t *b, size_t ld) {
    __m512i s0[4], s1[4];
    const uint8_t *x[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < na; i++) {
        s0[i] = s1[i] = _mm512_setzero_si512();
        x[i] = a + row[i] * ld;
    }
    size_t l = 0;
    for (; l + 128 <= ld; l += 128) {
        __m512i w0 = load(b + l), w1 = load(b + l + 64);
#pragma GCC unroll 4
        for (size_t i = 0; i < na; i++) {
            s0[i] = _mm512_dpbusd_epi32(s0[i], load(x[i] + l), w0);
            s1[i] = _mm512_dpbusd_epi32(s1[i], load(x[i] + l + 64), w1);
        }
    }
    __m512i sum[4], rest = l < ld ? load(b + l) : _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        sum[i] = i < na ? _mm512_add_epi32(s0[i], s1[i]) : _mm512_setzero_si512();
        if (i < na && l < ld) sum[i] = _mm512_dpbusd_epi32(sum[i], load(x[i] + l), rest);
    }
    __mmask8 there = (__mmask8)((1 << na) - 1);
    __m128i before = _mm_maskz_loadu_epi32(there, c);
    _mm_mask_storeu_epi32(c, there, _mm_add_epi32(before, fold_lanes(fold4(sum))));
}

static void vnni_dots_rows(int32_t *c, const uint8_t *a, const uint32_t *row, size_t n,
                           const int8_t *b, size_t ld) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) rows_some(c + i, a, row + i, 4, b, ld);
    if (n - i == 3) rows_some(c + i, a, row + i, 3, b, ld);
    if (n - i == 2) rows_some(c + i, a, row + i, 2, b, ld);
    if (n - i == 1) rows_some(c + i, a, row + i, 1, b, ld);
}

/* ---- sift -------------------------------------------------------------------------------------
 */

/* Sixteen rows of ld bytes as [ld / 4][16][4]: four bytes of each row side by side, so that a
 * register holds sixteen latents and no sum has to be folded. Transposes 16 x 16 words of 32 bits
 * at a time. */
static void pack16(int8_t *out, const int8_t *rows, size_t ld) {
    for (size_t l = 0; l < ld; l += 64) {
        __m512i r[16], t[16];
        for (size_t j = 0; j < 16; j++) {
            r[j] = load(rows + j * ld + l);
            /* No prefetcher follows sixteen streams. */
            _mm_prefetch((const char *)(rows + (16 + j) * ld + l), _MM_HINT_T0);
        }
        for (size_t j = 0; j < 16; j += 2) {
            t[j] = _mm512_unpacklo_epi32(r[j], r[j + 1]);
            t[j + 1] = _mm512_unpackhi_epi32(r[j], r[j + 1]);
        }
        for (size_t j = 0; j < 16; j += 4) {
            r[j] = _mm512_unpacklo_epi64(t[j], t[j + 2]);
            r[j + 1] = _mm512_unpackhi_epi64(t[j], t[j + 2]);
            r[j + 2] = _mm512_unpacklo_epi64(t[j + 1], t[j + 3]);
            r[j + 3] = _mm512_unpackhi_epi64(t[j + 1], t[j + 3]);
        }
        /* r[4 q + e] has word e of its four 128-bit lanes for rows 4 q .. 4 q + 3. */
        for (size_t e = 0; e < 4; e++) {
            __m512i a = _mm512_shuffle_i32x4(r[e], r[4 + e], 0x88);
            __m512i b = _mm512_shuffle_i32x4(r[e], r[4 + e], 0xdd);
            __m512i c = _mm512_shuffle_i32x4(r[8 + e], r[12 + e], 0x88);
            __m512i d = _mm512_shuffle_i32x4(r[8 + e], r[12 + e], 0xdd);
            t[e] = _mm512_shuffle_i32x4(a, c, 0x88);
            t[4 + e] = _mm512_shuffle_i32x4(b, d, 0x88);
            t[8 + e] = _mm512_shuffle_i32x4(a, c, 0xdd);
            t[12 + e] = _mm512_shuffle_i32x4(b, d, 0xdd);
        }
        for (size_t w = 0; w < 16; w++) _mm512_storeu_si512(out + (l / 4 + w) * 64, t[w]);
    }
}

static inline __m512i places_from(int32_t first) {
    return _mm512_add_epi32(_mm512_set1_epi32(first), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8,
                                                                        9, 10, 11, 12, 13, 14, 15));
}

/* The tokens' numbers of the bounds, side by side: those of twelve are a line or two of the cache.
 */
typedef struct token_side {
    float *scale, *err, *norm; /* [nt] */
    float *threshold;          /* [sets, nt] */
    float *x_out;              /* [outliers, nt] */
} token_side;

static token_side token_side_from(float *scratch, const lethe_bound *b, size_t nt, size_t sets) {
    token_side t = {.scale = scratch,
                    .err = scratch + nt,
                    .norm = scratch + 2 * nt,
                    .threshold = scratch + 3 * nt,
                    .x_out = scratch + (3 + sets) * nt};
    for (size_t i = 0; i < nt; i++) {
        t.scale[i] = b[i].scale;
        t.err[i] = b[i].err;
        t.norm[i] = b[i].norm;
        for (size_t o = 0; o < b[i].outliers; o++) t.x_out[o * nt + i] = b[i].x_out[o];
    }
    for (size_t r = 0; r < sets * nt; r++) t.threshold[r] = b[r].threshold;
    return t;
}

/* Adds those to a token's hits. Whole registers, as a store under a mask is slow; narrow ones where
 * they do, as nearly always: a wide one mostly crosses into a line that is not in the cache yet. */
static inline void add_hits(lethe_hits *hits, __mmask16 pass, __m512i place, __m512i c) {
    lethe_hit *to = hits->list + hits->count;
    size_t more = (size_t)__builtin_popcount((unsigned)pass);
    hits->count += more;
    place = _mm512_maskz_compress_epi32(pass, place);
    c = _mm512_maskz_compress_epi32(pass, c);
    if (more <= 2) {
        _mm_storeu_si128((__m128i *)(void *)to, _mm_unpacklo_epi32(_mm512_castsi512_si128(place),
                                                                   _mm512_castsi512_si128(c)));
        return;
    }
    const __m512i pairs = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i rest = _mm512_add_epi32(pairs, _mm512_set1_epi32(8));
    _mm512_storeu_si512(to, _mm512_permutex2var_epi32(place, pairs, c));
    _mm512_storeu_si512(to + 8, _mm512_permutex2var_epi32(place, rest, c));
}

typedef struct sifting {
    const uint8_t *a;
    size_t nt, nb, ld, sets;
    const int32_t *b_sum;
    const lethe_bound *bound;
    token_side token;
    int32_t first;
    lethe_hits *hits;
    const char *next;        /* what is left to fetch */
    size_t next_size, share; /* bytes, and how many at a time */
} sifting;

/* Fetches some of the next block into the second-level cache, so that packing it need not wait. */
static inline void fetch_share(sifting *s) {
    if (!s->next_size) return; /* next may be NULL */
    size_t n = s->next_size < s->share ? s->next_size : s->share;
    for (size_t l = 0; l < n; l += 64) _mm_prefetch(s->next + l, _MM_HINT_T1);
    s->next += n;
    s->next_size -= n;
}

/* Fetches the lines that hits of the tokens i .. i + na - 1 will be added to. */
static inline void fetch_ends(const sifting *s, size_t i, size_t na) {
    for (size_t set = 0; set < s->sets; set++)
        for (size_t q = 0; q < na; q++) {
            const lethe_hits *h = s->hits + set * s->nt + i + q;
            __builtin_prefetch(h->list + h->count, 1);
        }
}

/* Upper bounds of sixteen latents from place j on for tokens i .. i + na - 1, but for the bias:
 * that is a set's own. */
static inline __attribute__((always_inline)) void bounds_without_bias(__m512 *upper,
                                                                      const __m512i *c,
                                                                      const sifting *s, size_t i,
                                                                      size_t na, size_t j) {
    const lethe_bound *b = s->bound; /* the latents' numbers are the same in all */
    const token_side *t = &s->token;
    const __m512 scale = _mm512_loadu_ps(b->w_scale + j), norm = _mm512_loadu_ps(b->w_norm + j);
    const __m512 err = _mm512_loadu_ps(b->w_err + j);
    for (size_t q = 0; q < na; q++) {
        __m512 u = _mm512_mul_ps(_mm512_cvtepi32_ps(c[q]),
                                 _mm512_mul_ps(_mm512_set1_ps(t->scale[i + q]), scale));
        u = _mm512_add_ps(u, _mm512_mul_ps(_mm512_set1_ps(t->err[i + q]), norm));
        upper[q] = _mm512_add_ps(u, _mm512_mul_ps(_mm512_set1_ps(t->norm[i + q]), err));
    }
    for (size_t o = 0; o < b->outliers; o++) {
        const __m512 w = _mm512_loadu_ps(b->w_out + o * b->w_out_stride + j);
        const float *x = t->x_out + o * s->nt + i;
        for (size_t q = 0; q < na; q++)
            upper[q] = _mm512_add_ps(upper[q], _mm512_mul_ps(_mm512_set1_ps(x[q]), w));
    }
}

/* Tokens i .. i + na - 1 by the latents of one or two packed registers from place j on: na times
 * `wide` sums stay in registers. The loops over them are unrolled, and only copies are indexed
 * later, or gcc would keep the sums in memory. */
static inline __attribute__((always_inline)) void
sift_some(sifting *s, size_t i, size_t na, size_t j, size_t wide, const int8_t *packed) {
    const size_t ld = s->ld;
    const uint8_t *a = s->a + i * ld;
    /* Three rows a pointer: more pointers than registers would be fetched from the stack. */
    const uint8_t *row[4] = {a, a + 3 * ld, a + 6 * ld, a + 9 * ld};
    __m512i acc[12][2], sum[2][12];
    fetch_share(s);
    fetch_ends(s, i, na);
    /* The sums begin with what takes the 128 off again. */
    const __m512i zero = _mm512_setzero_si512();
    __m512i off0 = _mm512_sub_epi32(zero, _mm512_slli_epi32(load(s->b_sum + j), 7)), off1 = off0;
    if (wide == 2) off1 = _mm512_sub_epi32(zero, _mm512_slli_epi32(load(s->b_sum + j + 16), 7));
#pragma GCC unroll 12
    for (size_t q = 0; q < na; q++) {
        acc[q][0] = off0;
        acc[q][1] = off1;
    }
    for (size_t l = 0; l < ld; l += 4) {
        __m512i w0 = load(packed + l * 16), w1 = w0;
        if (wide == 2) w1 = load(packed + 16 * ld + l * 16);
#pragma GCC unroll 12
        for (size_t q = 0; q < na; q++) {
            int32_t four;
            memcpy(&four, row[q / 3] + q % 3 * ld, sizeof four);
            __m512i x = _mm512_set1_epi32(four);
            acc[q][0] = _mm512_dpbusd_epi32(acc[q][0], x, w0);
            if (wide == 2) acc[q][1] = _mm512_dpbusd_epi32(acc[q][1], x, w1);
        }
#pragma GCC unroll 4
        for (size_t r = 0; r < 4; r++) row[r] += 4;
    }
#pragma GCC unroll 12
    for (size_t q = 0; q < na; q++) {
        sum[0][q] = acc[q][0];
        sum[1][q] = acc[q][1];
    }
    for (size_t v = 0; v < wide; v++) {
        size_t place = j + 16 * v;
        const __m512i places = places_from(s->first + (int32_t)place);
        __m512 upper[12];
        bounds_without_bias(upper, sum[v], s, i, na, place);
        for (size_t set = 0; set < s->sets; set++) {
            const float *threshold = s->token.threshold + set * s->nt + i;
            const __m512 bias = _mm512_loadu_ps(s->bound[set * s->nt].bias + place);
            __mmask16 pass[12];
            unsigned some = 0;
            for (size_t q = 0; q < na; q++) {
                pass[q] = _mm512_cmp_ps_mask(_mm512_add_ps(upper[q], bias),
                                             _mm512_set1_ps(threshold[q]), _CMP_NLT_UQ);
                some |= (unsigned)(pass[q] != 0) << q;
            }
            /* One branch that cannot be foretold for all tokens, not one for each. */
            for (; some; some &= some - 1) {
                size_t q = (size_t)__builtin_ctz(some);
                add_hits(s->hits + set * s->nt + i + q, pass[q], places, sum[v][q]);
            }
        }
    }
}

static inline __attribute__((always_inline)) void sift_wide(sifting *s, size_t j, size_t wide,
                                                            const int8_t *packed) {
    size_t i = 0;
    for (; i + 12 <= s->nt; i += 12) sift_some(s, i, 12, j, wide, packed);
    for (; i + 4 <= s->nt; i += 4) sift_some(s, i, 4, j, wide, packed);
    for (; i < s->nt; i++) sift_some(s, i, 1, j, wide, packed);
}

static void vnni_sift(const uint8_t *a, size_t nt, const int8_t *b, const int32_t *b_sum, size_t nb,
                      size_t ld, const lethe_bound *bound, size_t sets, int32_t first,
                      lethe_hits *hits, const int8_t *next, void *scratch) {
    int8_t *packed = scratch;
    float *behind = (float *)(void *)(packed + nb * ld);
    sifting s = {.a = a,
                 .nt = nt,
                 .nb = nb,
                 .ld = ld,
                 .sets = sets,
                 .b_sum = b_sum,
                 .bound = bound,
                 .token = token_side_from(behind, bound, nt, sets),
                 .first = first,
                 .hits = hits,
                 .next = (const char *)next,
                 .next_size = next ? nb * ld : 0};
    size_t turns = (nb + 31) / 32 * (nt / 12 + nt % 12 / 4 + nt % 4);
    s.share = turns ? (nb * ld / turns / 64 + 1) * 64 : 0;
    for (size_t j = 0; j < nb; j += 16) pack16(packed + j * ld, b + j * ld, ld);
    size_t j = 0;
    for (; j + 32 <= nb; j += 32) sift_wide(&s, j, 2, packed + j * ld);
    for (; j < nb; j += 16) sift_wide(&s, j, 1, packed + j * ld);
}

void lethe_overlay_avx512vnni(lethe_kernels *k) {
    k->dots_i8 = vnni_dots_i8;
    k->dots_rows = vnni_dots_rows;
    k->sift = vnni_sift;
}
