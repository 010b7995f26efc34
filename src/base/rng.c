/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <math.h>

static uint64_t splitmix(uint64_t *x) {
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

lethe_rng lethe_rng_make(uint64_t seed, uint64_t stream) {
    uint64_t x = seed;
    uint64_t y = splitmix(&x) ^ (stream * 0xd1342543de82ef95u);
    lethe_rng r;
    for (int i = 0; i < 4; i++) r.s[i] = splitmix(&y);
    return r;
}

static uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

uint64_t lethe_rng_u64(lethe_rng *r) {
    uint64_t *s = r->s, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

uint64_t lethe_rng_below(lethe_rng *r, uint64_t n) {
    /* Rejects the tail that would favour small numbers. */
    uint64_t limit = UINT64_MAX - (UINT64_MAX % n + 1) % n, x;
    do x = lethe_rng_u64(r);
    while (x > limit);
    return x % n;
}

double lethe_rng_uniform(lethe_rng *r) {
    return (double)(lethe_rng_u64(r) >> 11) * 0x1p-53;
}

double lethe_rng_normal(lethe_rng *r) {
    /* Box-Muller; the second value is dropped so that the state alone tells what comes next. */
    double u = 1.0 - lethe_rng_uniform(r), v = lethe_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925286766559 * v);
}
