/* SPDX-License-Identifier: MIT
 *
 * A running top-k: numbers come one by one, the k largest so far are kept. The order is total, so
 * the result does not depend on the order in which they came: larger value first, lower index first
 * where values are equal (+0 and -0 are). NaN is never taken, nor is -infinity; where fewer than k
 * other numbers came, the remaining places get the lowest indices not taken, with value -infinity.
 *
 * Inside, a number and its index are one 64-bit key whose unsigned order is that order, and the
 * keys are kept sorted.
 */
#ifndef LETHE_KERNEL_TOPK_H
#define LETHE_KERNEL_TOPK_H

#include <stddef.h>
#include <stdint.h>

/* State of one row; the keys live in the caller's memory. */
typedef struct lethe_topk {
    size_t k, count; /* count <= k keys, falling when there are k */
    float threshold; /* the k-th largest so far, or -infinity */
    uint64_t *key;   /* [k], borrowed */
} lethe_topk;

void lethe_topk_begin(lethe_topk *t, size_t k, uint64_t *key);

/* Takes the number `value` of this index, if it is among the k largest. */
void lethe_topk_offer(lethe_topk *t, float value, uint32_t index);

/* Takes the keys of another state, of other indices. */
void lethe_topk_merge(lethe_topk *t, const lethe_topk *from);

/* index[k], value[k]: in order. rows [m]: all indices, rising; NULL: 0 to m - 1. m >= k. */
void lethe_topk_end(const lethe_topk *t, const int32_t *rows, size_t m, int32_t *index,
                    float *value);

#endif
