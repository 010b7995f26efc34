/* SPDX-License-Identifier: MIT
 *
 * The inner loops of the dictionary, one documented slot an operation. kernel_ref.c fills the whole
 * table in plain C; a file for an instruction set replaces single slots, and lethe_kernels_get
 * picks the table once, when it is first asked.
 *
 * Rules for every slot: any alignment, any length (0 included), no overlap between an output and an
 * input unless said, no state: safe from any thread. A slot adds in the order that kernel_ref.c
 * shows, rounds after every operation and contracts nothing, so that every table gives the same
 * bytes for the same finite arguments, whatever the machine.
 */
#ifndef LETHE_KERNEL_KERNEL_H
#define LETHE_KERNEL_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Numbers of one Adam update, the same for all parameters of a step. */
typedef struct lethe_adam {
    float grad_scale;   /* clipping: the gradient is multiplied by this first */
    float beta1, beta2; /* decay of the first and second moment */
    float one_beta1, one_beta2;
    float eps;
    float inv_sqrt_bias2; /* 1 / sqrt(1 - beta2^t) */
    float step;           /* lr / (1 - beta1^t) */
} lethe_adam;

/* A row v in 8-bit digits, v = scale (hi + lo / LETHE_LO_DIGIT) + a rest (kernel/sieve.h). All
 * three norms are rounded up; a row that cannot be told in digits (not finite, or huge) has scale
 * 0, digits 0 and infinite norms. */
typedef struct lethe_digits {
    float scale;
    float norm; /* at least |v| */
    float err1; /* at least |v - scale hi| */
    float err2; /* at least |v - scale (hi + lo / LETHE_LO_DIGIT)| */
    int32_t sum_hi, sum_lo;
} lethe_digits;

#define LETHE_LO_DIGIT 254

/* Rows of digits are padded with zeros to a multiple of this many bytes. */
#define LETHE_DIGIT_PAD 64

/* Tokens that sift takes at a time, where there are so many. */
#define LETHE_SIFT_TURN 12

/* sift may write this many hits beyond the last. */
#define LETHE_SIFT_SLACK 16

/* What tells for one token and a run of latents whether a latent can be among the k largest: see
 * kernel/sieve.h for what the numbers are. */
typedef struct lethe_bound {
    float scale, err, norm; /* of the token */
    float threshold;        /* not below it: may be among the k largest */
    const float *w_scale;   /* [n] of the latents */
    const float *w_norm;    /* [n] */
    const float *w_err;     /* [n] */
    const float *bias;      /* [n] */
    size_t outliers;        /* dimensions kept in float */
    const float *x_out;     /* [outliers] the token there */
    const float *w_out;     /* [outliers, w_out_stride] the latents there */
    size_t w_out_stride;
} lethe_bound;

/* Bytes that sift wants for nb latents of ld digits and nt tokens: the digits in another order, and
 * the tokens' numbers of the bounds side by side. nb ld is a multiple of the alignment of a float.
 */
static inline size_t lethe_sift_scratch(size_t nb, size_t ld, size_t nt, size_t sets,
                                        size_t outliers) {
    return nb * ld + nt * (3 + sets + outliers) * sizeof(float) + 2 * sets * nt * 72;
}

/* What sift has let pass of one token, in the order in which it was met. */
typedef struct lethe_hit {
    int32_t place; /* of the latent */
    int32_t c;     /* its product */
} lethe_hit;

typedef struct lethe_hits {
    size_t count;
    lethe_hit *list;
} lethe_hits;

typedef struct lethe_kernels {
    const char *name; /* "ref", "avx2", ... */

    /* sum of a[i] b[i], in 16 interleaved partial sums */
    float (*dot)(const float *a, const float *b, size_t n);

    /* sum of a[i]^2, in double, in 32 interleaved partial sums */
    double (*sumsq)(const float *a, size_t n);

    /* y[i] += alpha x[i] */
    void (*axpy)(float *y, float alpha, const float *x, size_t n);

    /* x[i] *= alpha */
    void (*scale)(float *x, float alpha, size_t n);

    /* out[width] += sum over j < count of coef[j] rows[index[j], :width], added in the order of j;
     * rows are ld numbers apart. The decoder with rows = W_dec [m, d]; a row of a gradient with
     * rows = one vector a token; either in strips of columns, where narrow rows of all tokens fit a
     * cache that wide ones do not. index goes on for `more` entries behind count: the next call's,
     * fetched meanwhile. */
    void (*gather_sum)(float *out, size_t width, const float *rows, size_t ld, const int32_t *index,
                       const float *coef, size_t count, size_t more);

    /* out[j] = dot(x, rows[index[j], :]) for j < count, the very bytes of dot */
    void (*gather_dot)(float *out, size_t d, const float *x, const float *rows,
                       const int32_t *index, size_t count);

    /* Digits of v [n]: scale = max |v| / 127, hi = round(v / scale), lo = round(LETHE_LO_DIGIT
     * (v / scale - hi)), ties to even. hi, lo [n]. */
    void (*digits)(const float *v, size_t n, int8_t *hi, int8_t *lo, lethe_digits *out);

    /* c[i, j] = sum over l < ld of (a[i, l] - 128) b[j, l], for i < na, j < nb; rows of a and b are
     * ld bytes long, a multiple of LETHE_DIGIT_PAD, 0 < ld <= 2^15; rows of c are ldc long.
     * b_sum[j]: the sum of row j of b. Exact. */
    void (*dots_i8)(int32_t *c, size_t ldc, const uint8_t *a, size_t na, const int8_t *b,
                    const int32_t *b_sum, size_t nb, size_t ld);

    /* c[i] += sum over l < ld of a[row[i], l] b[l], for i < n; rows of a are ld bytes long, ld as
     * above. Exact. */
    void (*dots_rows)(int32_t *c, const uint8_t *a, const uint32_t *row, size_t n, const int8_t *b,
                      size_t ld);

    /* Writes the places i < n (rising; room for n) whose upper bound
     *     scale w_scale[i] c[i] + err w_norm[i] + norm w_err[i]
     *         + sum over o < outliers of x_out[o] w_out[o, i] + bias[i]
     * is not below the threshold (a NaN is not) into hit; returns their number. */
    size_t (*may_pass)(const int32_t *c, size_t n, const lethe_bound *b, int32_t *hit);

    /* dots_i8 and may_pass in one, or NULL where an instruction set gains nothing from that: for
     * each of the nt tokens and each of the `sets` bounds, bound[s nt + i], the hits among the nb
     * latents are added to hits[s nt + i], latent j as place `first` + j, rising. Each has room for
     * nb + LETHE_SIFT_SLACK more (what lies beyond the new count is overwritten). nb is a multiple
     * of 16; the bounds of a token differ in bias and threshold alone, and those of a set have the
     * latents' numbers in common; scratch: lethe_sift_scratch bytes, aligned as a float.
     * next: NULL or nb ld bytes that the next call will read as b, fetched meanwhile. */
    void (*sift)(const uint8_t *a, size_t nt, const int8_t *b, const int32_t *b_sum, size_t nb,
                 size_t ld, const lethe_bound *bound, size_t sets, int32_t first, lethe_hits *hits,
                 const int8_t *next, void *scratch);

    /* One Adam update of n parameters, with g' = grad_scale g (g NULL: a zero gradient):
     *     m1 += (g' - m1) (1 - beta1)
     *     m2  = m2 beta2 + (1 - beta2) g'^2
     *     p  -= step m1 / (sqrt(m2) inv_sqrt_bias2 + eps)
     * Moments below the smallest normal number become 0: they could not move p, and arithmetic on
     * denormals is slow. */
    void (*adam)(float *p, float *m1, float *m2, const float *g, size_t n, const lethe_adam *c);
} lethe_kernels;

/* The table in use: the fastest this processor has, or the one that lethe_kernels_force or the
 * environment variable LETHE_CPU names. Threads: safe. */
const lethe_kernels *lethe_kernels_get(void);

/* The table of this name, or NULL when this build or this processor does not have it. */
const lethe_kernels *lethe_kernels_find(const char *name);

/* Names of the tables that this processor can run, the slowest first: name(0), name(1), ... until
 * NULL. */
const char *lethe_kernels_name(size_t i);

/* Takes the table of this name from now on; NULL or "auto": the fastest. Fails: USAGE (the message
 * lists the names). Call before threads are started. */
lethe_status lethe_kernels_force(const char *name, lethe_err *err);

/* The plain C table, against which others are checked. */
extern const lethe_kernels lethe_kernels_ref;

#endif
