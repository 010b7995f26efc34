/* SPDX-License-Identifier: MIT
 *
 * The cross products of digits that a second look needs. A tile's come as a list by token; they are
 * made latent by latent, so that a latent's digits are fetched once for all its tokens, and the
 * next one's meanwhile.
 */
#include <string.h>

#include "kernel/select_internal.h"

int32_t lethe_select_cross(const lethe_select_job *job, size_t i, size_t place,
                           const lethe_select_bench *b) {
    const lethe_sieve *sv = job->from->sieve;
    size_t at = lethe_place_row(job, place) * sv->ld;
    uint32_t token = (uint32_t)i;
    int32_t cross;
    lethe_kernels_get()->dots_cross(&cross, b->hi, b->lo, &token, 1, sv->hi + at, sv->lo + at,
                                    sv->ld);
    return cross;
}

/* A counting sort by latent. */
static void by_latent(lethe_todo *todo, size_t at, size_t nm, const lethe_hits *hits) {
    memset(todo->start, 0, (nm + 1) * sizeof *todo->start);
    for (size_t q = 0; q < todo->n; q++) {
        size_t j = (size_t)hits[todo->token[q]].place[todo->hit[q]] - at;
        todo->cross[q] = (int32_t)j; /* for the second pass */
        todo->start[j + 1]++;
    }
    for (size_t j = 0; j < nm; j++) todo->start[j + 1] += todo->start[j];
    for (size_t q = 0; q < todo->n; q++) {
        uint32_t to = todo->start[todo->cross[q]]++;
        todo->row[to] = todo->token[q];
        todo->order[to] = (uint32_t)q;
    }
    /* start[j] ran ahead to where latent j ends. */
    memmove(todo->start + 1, todo->start, nm * sizeof *todo->start);
    todo->start[0] = 0;
}

/* The digits of a latent that is looked at soon: mostly not in the cache yet. */
static void fetch(const lethe_select_job *job, size_t place) {
    const lethe_sieve *sv = job->from->sieve;
    size_t at = lethe_place_row(job, place) * sv->ld;
    for (size_t l = 0; l < sv->ld && l < 1024; l += 64) {
        __builtin_prefetch(sv->lo + at + l);
        __builtin_prefetch(sv->hi + at + l);
    }
}

void lethe_select_crosses(const lethe_select_job *job, size_t at, const lethe_hits *hits,
                          lethe_select_bench *b) {
    const lethe_kernels *kern = lethe_kernels_get();
    const lethe_sieve *sv = job->from->sieve;
    lethe_todo *todo = &b->todo;
    size_t nm = job->m - at < job->tile_m ? job->m - at : job->tile_m;
    by_latent(todo, at, nm, hits);
    for (size_t j = 0, next = 0; j < nm; j++) {
        size_t first = todo->start[j], n = todo->start[j + 1] - first;
        if (!n) continue;
        for (next = next > j ? next : j + 1; next < nm; next++)
            if (todo->start[next + 1] > todo->start[next]) break;
        if (next < nm) fetch(job, at + next);
        size_t w = lethe_place_row(job, at + j) * sv->ld;
        kern->dots_cross(todo->product + first, b->hi, b->lo, todo->row + first, n, sv->hi + w,
                         sv->lo + w, sv->ld);
    }
    for (size_t r = 0; r < todo->n; r++) todo->cross[todo->order[r]] = todo->product[r];
}
