/* SPDX-License-Identifier: MIT
 *
 * Dense product and selection in one go: the k largest of x W^T + bias of every row, the [n, m]
 * matrix itself never in memory. Tiles of tokens x latents, of fixed size, are computed into a
 * buffer that stays in the cache, and a running top-k a token looks through each of them. One
 * product serves several selections with different biases: a bias of -infinity leaves a latent out.
 */
#ifndef LETHE_KERNEL_SELECT_H
#define LETHE_KERNEL_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct lethe_selection {
    const float *bias; /* [m] */
    size_t k;          /* 0 < k <= m */
    int32_t *index;    /* [n, k], out: order and ties as in topk.h */
    float *value;      /* [n, k], out */
} lethe_selection;

/* x [n, d], w [m, d], row-major, any alignment; m < 2^31. The same bytes at any number of threads.
 * Fails: NOMEM. */
lethe_status lethe_select(const float *x, size_t n, const float *w, size_t m, size_t d,
                          const lethe_selection *sel, size_t n_sel, lethe_err *err);

#endif
