/* SPDX-License-Identifier: MIT
 *
 * The second and the third look (the bounds: kernel/sieve.h). A tile's hits come as lists by token;
 * they are looked at latent by latent, so that a latent's digits are fetched once for all its
 * tokens, and the next one's meanwhile; and the products of the second strip by strip of the
 * dimensions, so that the tokens' digits stay in a cache however wide they are.
 */
#include <math.h>
#include <string.h>

#include "kernel/select_internal.h"

typedef struct latent {
    size_t place;
    const int8_t *lo; /* [ld] second digits */
    float scale, bias, norm, err1, err2;
    int32_t offset_hi, offset_lo; /* what the 128 added to a token's digits does to a product */
} latent;

static latent latent_at(const lethe_select_job *job, size_t s, size_t place) {
    const lethe_sieve *sv = job->from->sieve;
    size_t row = lethe_place_row(job, place);
    return (latent){.place = place,
                    .lo = sv->lo + row * sv->ld,
                    .scale = sv->scale[row],
                    .bias = job->sel[s].bias[row],
                    .norm = sv->norm[row],
                    .err1 = sv->err1[row],
                    .err2 = sv->err2[row],
                    .offset_hi = 128 * sv->sum_hi[row],
                    .offset_lo = 128 * sv->sum_lo[row]};
}

/* What a product of digits says of token i and the latent. */
static inline float estimate(const lethe_select_job *job, size_t i, const latent *w, float digits,
                             const lethe_select_bench *b) {
    float a = b->error[i].scale * w->scale * digits + w->bias;
    for (size_t o = 0; o < job->outliers; o++)
        a += b->x_out[i * LETHE_OUTLIERS + o] * job->w_out[o * job->m + w->place];
    return a;
}

/* How wrong it can be when the digits are `off` wrong. The rounding of float32 in the lines above
 * is within LETHE_SIEVE_SLACK, that of these within the factor. */
static inline float error_of(float a, const latent *w, float off) {
    off += (fabsf(a) + fabsf(w->bias)) * 0x1p-19f;
    return off * 1.0001f + LETHE_SIEVE_TINY;
}

static inline float second_error(const lethe_token_error *x, const latent *w) {
    return x->r * w->norm + x->xr * w->err1;
}

static inline float third_error(const lethe_token_error *x, const latent *w) {
    return x->er * (w->err1 + w->err2) + x->r * w->norm + x->xr * w->err2;
}

/* The second look at one latent and n tokens, c and lo their products: those whose numbers may
 * reach their thresholds go to the front. Returns how many. */
static size_t second_look(const lethe_select_job *job, const latent *w, uint32_t *token, int32_t *c,
                          int32_t *lo, size_t n, const lethe_seat *seat,
                          const lethe_select_bench *b) {
    size_t left = 0;
    for (size_t q = 0; q < n; q++) {
        size_t i = token[q];
        int32_t second = lo[q] - w->offset_hi;
        int32_t first = job->fine ? c[q] - lethe_second_share(second) : c[q];
        float digits = (float)first + (float)second * (1.0f / LETHE_LO_DIGIT);
        float a = estimate(job, i, w, digits, b);
        float upper = a + error_of(a, w, second_error(&b->error[i], w));
        /* One in two passes: no branch foretells that. */
        token[left] = (uint32_t)i;
        c[left] = first;
        lo[left] = second;
        left += !(upper < seat[i].threshold);
    }
    return left;
}

/* One latent and n tokens, c and lo their products so far. Overwrites all three. */
static void finish_latent(const lethe_select_job *job, size_t s, size_t place, uint32_t *token,
                          int32_t *c, int32_t *lo, size_t n, const lethe_seat *seat,
                          lethe_select_bench *b, lethe_found *found, void *user) {
    const latent w = latent_at(job, s, place);
    int32_t *hi = b->todo.hi;
    size_t left = second_look(job, &w, token, c, lo, n, seat, b);
    b->stats.second += n;
    b->stats.third += left;
    if (!left) return;
    memset(hi, 0, left * sizeof *hi);
    lethe_kernels_get()->dots_rows(hi, b->hi, token, left, w.lo, job->from->sieve->ld);
    for (size_t q = 0; q < left; q++) {
        size_t i = token[q];
        float cross = (float)lo[q] + (float)(hi[q] - w.offset_lo);
        float a = estimate(job, i, &w, (float)c[q] + cross * (1.0f / LETHE_LO_DIGIT), b);
        float off = error_of(a, &w, third_error(&b->error[i], &w));
        if (a + off < seat[i].threshold) continue;
        found(user, i, (lethe_candidate){(int32_t)place, a - off, a + off});
    }
}

/* Adds what the second digits of n tokens from dimension l on make of a row of a latent's first. */
static void add_products(int32_t *lo, const lethe_select_job *job, const uint32_t *token, size_t n,
                         const int8_t *row, size_t l, const lethe_select_bench *b) {
    size_t ld = job->from->sieve->ld, size = ld - l < LETHE_STRIP ? ld - l : LETHE_STRIP;
    lethe_kernels_get()->dots_rows(lo, b->lo + l * job->tile_n, token, n, row + l, size);
}

void lethe_select_closer(const lethe_select_job *job, size_t s, size_t i, size_t place, int32_t c,
                         const lethe_seat *seat, lethe_select_bench *b, lethe_found *found,
                         void *user) {
    const lethe_sieve *sv = job->from->sieve;
    const int8_t *row = sv->hi + lethe_place_row(job, place) * sv->ld;
    uint32_t token = (uint32_t)i;
    int32_t lo = 0;
    for (size_t l = 0; l < sv->ld; l += LETHE_STRIP) add_products(&lo, job, &token, 1, row, l, b);
    finish_latent(job, s, place, &token, &c, &lo, 1, seat, b, found, user);
}

/* ---- a block of latents -----------------------------------------------------------------------
 */

/* A counting sort by latent of the hits from todo.next to todo.keep that belong to the block.
 * Returns their number. */
static size_t by_latent(size_t nt, size_t at, size_t nm, const lethe_hits *hits, lethe_todo *todo) {
    const int32_t stop = (int32_t)(at + nm);
    uint32_t *start = todo->start;
    memset(start, 0, (nm + 1) * sizeof *start);
    for (size_t i = 0; i < nt; i++)
        for (size_t h = todo->next[i]; h < todo->keep[i] && hits[i].list[h].place < stop; h++)
            start[(size_t)hits[i].list[h].place - at + 1]++;
    for (size_t j = 0; j < nm; j++) start[j + 1] += start[j];
    size_t all = start[nm];
    for (size_t i = 0; i < nt; i++)
        for (size_t *h = &todo->next[i]; *h < todo->keep[i] && hits[i].list[*h].place < stop;
             ++*h) {
            const lethe_hit *hit = &hits[i].list[*h];
            uint32_t to = start[(size_t)hit->place - at]++;
            todo->token[to] = (uint32_t)i;
            todo->c[to] = hit->c;
        }
    /* start[j] ran ahead to where latent j ends. */
    memmove(start + 1, start, nm * sizeof *start);
    start[0] = 0;
    return all;
}

/* The first latent from j on that has hits, or nm. */
static size_t next_hit(const uint32_t *start, size_t j, size_t nm) {
    while (j < nm && start[j + 1] == start[j]) j++;
    return j;
}

/* Digits that are read soon, mostly not in the cache yet. */
static void fetch(const int8_t *digits, size_t size) {
    for (size_t l = 0; l < size && l < LETHE_STRIP; l += 64) __builtin_prefetch(digits + l);
}

void lethe_select_closer_block(const lethe_select_job *job, size_t s, size_t nt, size_t at,
                               size_t nm, const lethe_hits *hits, const lethe_seat *seat,
                               lethe_select_bench *b, lethe_found *found, void *user) {
    const lethe_sieve *sv = job->from->sieve;
    lethe_todo *todo = &b->todo;
    const uint32_t *start = todo->start;
    size_t all = by_latent(nt, at, nm, hits, todo), ld = sv->ld;
    memset(todo->lo, 0, all * sizeof *todo->lo);
    for (size_t l = 0; all && l < ld; l += LETHE_STRIP)
        for (size_t j = next_hit(start, 0, nm), next; j < nm; j = next) {
            next = next_hit(start, j + 1, nm);
            if (next < nm) fetch(sv->hi + lethe_place_row(job, at + next) * ld + l, ld - l);
            add_products(todo->lo + start[j], job, todo->token + start[j], start[j + 1] - start[j],
                         sv->hi + lethe_place_row(job, at + j) * ld, l, b);
        }
    for (size_t j = next_hit(start, 0, nm), next; all && j < nm; j = next) {
        next = next_hit(start, j + 1, nm);
        if (next < nm) fetch(sv->lo + lethe_place_row(job, at + next) * ld, ld);
        finish_latent(job, s, at + j, todo->token + start[j], todo->c + start[j],
                      todo->lo + start[j], start[j + 1] - start[j], seat, b, found, user);
    }
}
