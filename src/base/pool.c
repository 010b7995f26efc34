/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

/* A block may be twice what is asked for, and a little: more is kept for what needs it. */
#define LITTLE 4096

/* Rewinds that a block may idle: callers of two kinds may take turns. */
#define MOST_IDLE 4

static lethe_pool_block *best_free(const lethe_pool *pool, size_t bytes) {
    lethe_pool_block *best = NULL;
    for (size_t i = 0; i < pool->n; i++) {
        lethe_pool_block *b = &pool->block[i];
        if (b->taken || b->bytes < bytes || (b->bytes - bytes > LITTLE && b->bytes / 2 > bytes))
            continue;
        if (!best || b->bytes < best->bytes) best = b;
    }
    return best;
}

lethe_status lethe_pool_take(lethe_pool *pool, void *out_ptr, size_t n, size_t size,
                             const char *what, lethe_err *err) {
    size_t bytes = SIZE_MAX; /* which lethe_alloc refuses, with its message */
    lethe_pool_block *b = lethe_mul_size(n, size, &bytes) ? best_free(pool, bytes) : NULL;
    if (!b) {
        void *p = NULL;
        LETHE_TRY(lethe_grow(&pool->block, &pool->cap, pool->n, pool->n + 1, sizeof *pool->block,
                             what, err));
        LETHE_TRY(lethe_alloc(&p, n, size, what, err));
        b = &pool->block[pool->n++];
        *b = (lethe_pool_block){.p = p, .bytes = bytes};
    }
    b->taken = true;
    memcpy(out_ptr, &b->p, sizeof b->p); /* a T** passed as void*, as in lethe_alloc */
    return LETHE_OK;
}

void lethe_pool_rewind(lethe_pool *pool) {
    size_t kept = 0;
    for (size_t i = 0; i < pool->n; i++) {
        lethe_pool_block b = pool->block[i];
        b.idle = b.taken ? 0 : b.idle + 1;
        b.taken = false;
        if (b.idle > MOST_IDLE)
            lethe_free(b.p);
        else
            pool->block[kept++] = b;
    }
    pool->n = kept;
}

void lethe_pool_free(lethe_pool *pool) {
    for (size_t i = 0; i < pool->n; i++) lethe_free(pool->block[i].p);
    lethe_free(pool->block);
    *pool = (lethe_pool){0};
}
