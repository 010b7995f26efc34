/* SPDX-License-Identifier: MIT
 *
 * A random-looking permutation of [0, n) in constant memory: a keyed Feistel network on the
 * smallest power of four that holds n, walked until it lands below n. So an epoch over any number
 * of rows is shuffled as a whole, and the place in it is one number.
 */
#ifndef LETHE_BASE_PERM_H
#define LETHE_BASE_PERM_H

#include <stdint.h>

typedef struct lethe_perm {
    uint64_t n, key[4];
    unsigned half_bits;
} lethe_perm;

lethe_perm lethe_perm_make(uint64_t n, uint64_t seed, uint64_t stream);
uint64_t lethe_perm_at(const lethe_perm *p, uint64_t i); /* i < n */

#endif
