/* SPDX-License-Identifier: MIT
 *
 * Encode and select: the k largest of w x + bias of every token, the [n, m] matrix itself never in
 * memory, and most of it never computed in float32. Tiles of tokens x latents go through the sieve
 * (kernel/sieve.h, where the bounds are proved): one 8-bit product, then closer looks at those
 * latents that may be among the k largest, then the float32 dot products of the few that remain.
 *
 * The result is exact: index and value are those of the k largest numbers dot(w[j], x) + bias[j],
 * slot `dot` of the kernel table, ties included, at any number of threads and with any table. What
 * the sieve cannot tell (a token that is not finite, too many candidates) is computed in full.
 */
#ifndef LETHE_KERNEL_SELECT_H
#define LETHE_KERNEL_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"
#include "kernel/sieve.h"

/* Whom to select from. */
typedef struct lethe_latents {
    const float *w;           /* [m, d] */
    const lethe_sieve *sieve; /* of w */
    const int32_t *rows;      /* [n_rows] rising: these latents alone; NULL: all */
    size_t n_rows;
    lethe_pool *scratch; /* kept for the next call, one at a time; NULL: each call has its own */
} lethe_latents;

/* One product serves several selections with different biases: a bias of -infinity leaves a latent
 * out. */
typedef struct lethe_selection {
    const float *bias; /* [m] */
    size_t k;          /* 0 < k <= number of latents to select from */
    int32_t *index;    /* [n, k], out: order and ties as in topk.h */
    float *value;      /* [n, k], out */
    float *ratio;      /* where the last call's thresholds lay, over the tokens' norms: in and out,
                          -INFINITY at first. With tokens like the last call's it spares a pilot; the
                          result does not depend on it. NULL: each call asks a pilot */
} lethe_selection;

/* What the sieve did; lethe_select adds to it. */
typedef struct lethe_select_stats {
    uint64_t tokens; /* times selections */
    uint64_t pairs;  /* token and latent: first looks */
    uint64_t second; /* second looks */
    uint64_t third;  /* third looks */
    uint64_t exact;  /* float32 dot products */
    uint64_t again;  /* tokens whose threshold was guessed too high */
    uint64_t full;   /* tokens computed in full */
} lethe_select_stats;

/* x [n, d], row-major, any alignment; m < 2^31; n_sel at most LETHE_SELECTIONS. stats may be NULL;
 * its counts, unlike the result, may depend on the number of threads. Fails: NOMEM. */
#define LETHE_SELECTIONS 2
lethe_status lethe_select(const float *x, size_t n, const lethe_latents *from,
                          const lethe_selection *sel, size_t n_sel, lethe_select_stats *stats,
                          lethe_err *err);

#endif
