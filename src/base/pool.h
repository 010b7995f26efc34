/* SPDX-License-Identifier: MIT
 *
 * Blocks that are kept for the next time: what a call needs for itself, when calls like it follow
 * each other. Given back to malloc and asked for again they lie elsewhere each time, in pages that
 * nobody has touched yet. All blocks are taken one by one and given back together.
 */
#ifndef LETHE_BASE_POOL_H
#define LETHE_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct lethe_pool_block {
    void *p;
    size_t bytes;
    unsigned idle; /* rewinds since it was last taken */
    bool taken;
} lethe_pool_block;

/* {0}: empty. Threads: one at a time. */
typedef struct lethe_pool {
    lethe_pool_block *block;
    size_t n, cap;
} lethe_pool;

/* n * size bytes as from lethe_alloc, uninitialised, the pool's own until it is rewound: a free
 * block that fits, or a new one. `what` names the thing for the message. Fails: NOMEM. */
lethe_status lethe_pool_take(lethe_pool *pool, void *out_ptr, size_t n, size_t size,
                             const char *what, lethe_err *err);

/* Gives all blocks back to the pool. Those that the last few rewinds found free are released. */
void lethe_pool_rewind(lethe_pool *pool);

/* Releases all blocks; the pool is empty then. */
void lethe_pool_free(lethe_pool *pool);

#endif
