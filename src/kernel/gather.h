/* SPDX-License-Identifier: MIT
 *
 * What the gather_sum of every instruction set fetches ahead. Rows come in no order, so that the
 * processor cannot guess the next one.
 */
#ifndef LETHE_KERNEL_GATHER_H
#define LETHE_KERNEL_GATHER_H

#include <stddef.h>
#include <stdint.h>

/* Rows that are on their way while one is added up: 8 KiB in strips of 128 columns. */
#define LETHE_GATHER_AHEAD 16

/* The arguments of gather_sum. */
typedef struct lethe_gather {
    const float *rows;
    size_t ld;
    const int32_t *index;
    const float *coef;
    size_t count, more;
} lethe_gather;

/* What to fetch while row j is added up in the strip that begins with column `at`: the row
 * LETHE_GATHER_AHEAD further on; behind the last row those of the next strip, which begins with
 * column `next`, or in the last strip (next 0) those of the next call. */
static inline const float *lethe_gather_ahead(const lethe_gather *g, size_t j, size_t at,
                                              size_t next) {
    size_t ahead = j + LETHE_GATHER_AHEAD, column = at, end = g->count;
    if (ahead >= end) {
        column = next;
        if (next)
            ahead -= g->count;
        else
            end += g->more;
    }
    return g->rows + (size_t)g->index[ahead < end ? ahead : j] * g->ld + column;
}

#endif
