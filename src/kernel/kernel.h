/* SPDX-License-Identifier: MIT
 *
 * The inner loops of the dictionary, one documented slot an operation. kernel_ref.c fills the whole
 * table in plain C; a file for an instruction set replaces single slots, and lethe_kernels picks
 * the table once, at the first call.
 *
 * Rules for every slot: float32, any alignment, any length (0 included), no overlap between an
 * output and an input unless said, no state: safe from any thread. A slot adds in a fixed order
 * that depends on its lengths alone, so one table gives the same bytes for the same arguments;
 * two tables may differ by rounding.
 */
#ifndef LETHE_KERNEL_KERNEL_H
#define LETHE_KERNEL_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* Numbers of one Adam update, the same for all parameters of a step. */
typedef struct lethe_adam {
    float grad_scale;   /* clipping: the gradient is multiplied by this first */
    float beta1, beta2; /* decay of the first and second moment */
    float one_beta1, one_beta2;
    float eps;
    float inv_sqrt_bias2; /* 1 / sqrt(1 - beta2^t) */
    float step;           /* lr / (1 - beta1^t) */
} lethe_adam;

typedef struct lethe_kernels {
    const char *name; /* "ref", "avx2", ... */

    /* sum of a[i] b[i] */
    float (*dot)(const float *a, const float *b, size_t n);

    /* sum of a[i]^2, in double */
    double (*sumsq)(const float *a, size_t n);

    /* y[i] += alpha x[i] */
    void (*axpy)(float *y, float alpha, const float *x, size_t n);

    /* x[i] *= alpha */
    void (*scale)(float *x, float alpha, size_t n);

    /* out[d] += sum over j < count of coef[j] rows[index[j], :], added in the order of j. The
     * decoder with rows = W_dec [m, d]; a row of a gradient with rows = one vector a token. */
    void (*gather_sum)(float *out, size_t d, const float *rows, const int32_t *index,
                       const float *coef, size_t count);

    /* out[j] = x . rows[index[j], :] for j < count */
    void (*gather_dot)(float *out, size_t d, const float *x, const float *rows,
                       const int32_t *index, size_t count);

    /* Writes the places i < n where a[i] + bias[i] > threshold into hit (rising; room for n) and
     * returns their number. NaN is no hit. */
    size_t (*screen)(const float *a, const float *bias, size_t n, float threshold, int32_t *hit);

    /* One Adam update of n parameters, with g' = grad_scale g (g NULL: a zero gradient):
     *     m1 += (g' - m1) (1 - beta1)
     *     m2  = m2 beta2 + (1 - beta2) g'^2
     *     p  -= step m1 / (sqrt(m2) inv_sqrt_bias2 + eps)
     * Moments below the smallest normal number become 0: they could not move p, and arithmetic on
     * denormals is slow. */
    void (*adam)(float *p, float *m1, float *m2, const float *g, size_t n, const lethe_adam *c);
} lethe_kernels;

/* The table in use. Threads: safe. */
const lethe_kernels *lethe_kernels_get(void);

/* The plain C table, against which others are checked. */
extern const lethe_kernels lethe_kernels_ref;

#endif
