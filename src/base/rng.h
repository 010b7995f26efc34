/* SPDX-License-Identifier: MIT
 *
 * Random numbers: xoshiro256** seeded through splitmix64 (Blackman and Vigna). The state is plain
 * data, so a checkpoint can store it and a resumed run draws the same numbers. Not for secrets.
 * One state belongs to one thread.
 */
#ifndef LETHE_BASE_RNG_H
#define LETHE_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct lethe_rng {
    uint64_t s[4];
} lethe_rng;

/* `stream` gives independent sequences for one seed (initialisation, data order, sampling). */
lethe_rng lethe_rng_make(uint64_t seed, uint64_t stream);
uint64_t lethe_rng_u64(lethe_rng *r);
uint64_t lethe_rng_below(lethe_rng *r, uint64_t n); /* uniform in [0, n); n > 0; unbiased */
double lethe_rng_uniform(lethe_rng *r);             /* [0, 1), 53 bits */
double lethe_rng_normal(lethe_rng *r);              /* N(0, 1); draws two numbers every time */

#endif
