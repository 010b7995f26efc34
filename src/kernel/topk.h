/* SPDX-License-Identifier: MIT
 *
 * A running top-k: numbers come in pieces, the k largest so far are kept. The order is total, so
 * the result does not depend on how the numbers were cut into pieces: larger value first, lower
 * index first where values are equal (+0 and -0 are). NaN is never taken, nor is -infinity; where
 * fewer than k other numbers came, the remaining places get the lowest indices not taken, with
 * value -infinity.
 *
 * Inside, a number and its index are one 64-bit key whose unsigned order is that order, and the
 * keys are kept sorted: once many numbers have come hardly any passes the threshold, so the cost is
 * that of one comparison a number.
 */
#ifndef LETHE_KERNEL_TOPK_H
#define LETHE_KERNEL_TOPK_H

#include <stddef.h>
#include <stdint.h>

/* State of one row; the keys live in the caller's memory. */
typedef struct lethe_topk {
    size_t k, count; /* count <= k keys, falling */
    size_t seen;     /* numbers that came */
    float threshold; /* the k-th largest so far, or -infinity */
    uint64_t *key;   /* [k], borrowed */
} lethe_topk;

void lethe_topk_begin(lethe_topk *t, size_t k, uint64_t *key);

/* Takes a[i] + bias[i] as the number of index base + i, for i < n. Indices must rise from call to
 * call. hit: scratch, room for n. */
void lethe_topk_put(lethe_topk *t, const float *a, const float *bias, size_t n, size_t base,
                    int32_t *hit);

/* Takes the keys of another state, of any indices. */
void lethe_topk_merge(lethe_topk *t, const lethe_topk *from);

/* index[k], value[k]: in order. m: number of all indices, m >= k. */
void lethe_topk_end(const lethe_topk *t, size_t m, int32_t *index, float *value);

#endif
