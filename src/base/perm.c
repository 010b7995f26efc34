/* SPDX-License-Identifier: MIT */
#include "base/perm.h"

#include "base/rng.h"

lethe_perm lethe_perm_make(uint64_t n, uint64_t seed, uint64_t stream) {
    lethe_perm p = {.n = n, .half_bits = 1};
    while (p.half_bits < 32 && (1ull << (2 * p.half_bits)) < n) p.half_bits++;
    lethe_rng r = lethe_rng_make(seed, stream);
    for (int i = 0; i < 4; i++) p.key[i] = lethe_rng_u64(&r);
    return p;
}

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t lethe_perm_at(const lethe_perm *p, uint64_t i) {
    uint64_t mask = (1ull << p->half_bits) - 1;
    do {
        uint64_t left = i >> p->half_bits, right = i & mask;
        for (int round = 0; round < 4; round++) {
            uint64_t t = left ^ (mix(right + p->key[round]) & mask);
            left = right;
            right = t;
        }
        i = left << p->half_bits | right;
    } while (i >= p->n);
    return i;
}
