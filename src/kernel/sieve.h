/* SPDX-License-Identifier: MIT
 *
 * The encoder in 16 bits a weight, as two 8-bit digits, with what is needed to say how wrong a dot
 * product made from the digits can be. It finds the latents that can be among the k largest; only
 * those are then computed in float32 (kernel/select.h), so the result is that of the whole product.
 *
 * Let a token be x = t (p + p'/254) + r and a latent's row w = s (q + q'/254) + v: the digits p,
 * p', q, q' are integers of -127 .. 127, t and s the scales. Every norm is Euclidean, and every
 * inequality below is Cauchy and Schwarz's. With e = x - t p and f = w - s q,
 *
 *     x.w - ts p.q  =  e.(s q) + x.f
 *     |x.w - ts p.q|  <=  |e| (|w| + |f|) + |x| |f|                          first look
 *
 * with the product of the token's second digits as well,
 *
 *     x.w - ts (p.q + p'.q / 254)  =  r.w + (x - r).f
 *     |...|  <=  |r| |w| + (|x| + |r|) |f|                                     second look
 *
 * and with that of the latent's,
 *
 *     x.w - ts (p.q + (p.q' + p'.q) / 254)  =  (e - r).(f - v) + r.w + (x - r).v
 *     |...|  <=  (|e| + |r|) (|f| + |v|) + |r| |w| + (|x| + |r|) |v|           third look
 *
 * The first look costs one 8-bit product and tells most latents apart from the k largest; about one
 * in a hundred needs the second, whose bound is half as wide, and some of those the third, whose
 * bound is some hundred times tighter. With few tokens the latents' digits are what takes the time,
 * and the token's second digits come along for nothing: the first look then has the second's bound
 * (a "fine" one, select_internal.h).
 *
 * What counts is not x.w but the float32 number that the slot `dot` makes of it. Its 16 partial
 * sums of d / 16 products each and their folding err by at most (d / 16 + 6) 2^-24 |x| |w|, and the
 * looks themselves, in float32, by less than 2^-18 |x| |w| + 2^-19 |bias|. LETHE_SIEVE_SLACK(d)
 * |x| |w| covers both with a factor of two to spare, and LETHE_SIEVE_TINY what underflow can do to
 * numbers near the smallest normal one.
 *
 * A few dimensions of a residual stream are often many times larger than all others and would make
 * the scale t coarse. select.c takes them out of x, so that above x is the rest of the token, and
 * adds their share in float32; only the slack is then that of the whole token.
 */
#ifndef LETHE_KERNEL_SIEVE_H
#define LETHE_KERNEL_SIEVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LETHE_SIEVE_SLACK(d) ((float)(d)*0x1p-27f + 0x1p-17f)
#define LETHE_SIEVE_TINY 1e-34f

/* Rows wider than this do not fit the 32-bit sums of digits. */
#define LETHE_SIEVE_WIDEST 32768

typedef struct lethe_sieve {
    size_t m, d, ld;          /* ld: bytes from row to row */
    int8_t *hi, *lo;          /* [m, ld] digits, zero beyond d */
    float *scale;             /* [m] s */
    float *norm;              /* [m] at least |w| + |f| */
    float *err1;              /* [m] at least |f| */
    float *err2;              /* [m] at least |v| */
    int32_t *sum_hi, *sum_lo; /* [m] sums of the digits */
} lethe_sieve;

/* Room for m rows of d numbers, all zero. Fails: USAGE (d > LETHE_SIEVE_WIDEST), NOMEM. */
lethe_status lethe_sieve_alloc(lethe_sieve *out, size_t m, size_t d, lethe_err *err);
void lethe_sieve_free(lethe_sieve *s); /* accepts a zeroed one; zeroes it */

/* Row j is w [d] now. Threads: safe for different rows. */
void lethe_sieve_set(lethe_sieve *s, size_t j, const float *w);

/* All rows are those of w [m, d]. */
void lethe_sieve_set_all(lethe_sieve *s, const float *w);

#endif
