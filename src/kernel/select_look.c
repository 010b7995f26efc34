/* SPDX-License-Identifier: MIT
 *
 * The first look at tiles of tokens x latents (the bounds: kernel/sieve.h). What it lets pass waits
 * in a list a token until all latents were seen: it is much better known then which of them matter
 * (select_again.c).
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/select_internal.h"

/* Of token i of the nt of a tile. */
static void digits_of(const lethe_select_job *job, const float *x, size_t i, size_t nt,
                      lethe_select_bench *b) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = job->d, ld = job->from->sieve->ld;
    uint8_t *hi = b->hi + i * ld, *lo = b->own_lo;
    const float *rest = x;
    float out_square = 0;
    if (job->outliers) {
        memcpy(b->rest, x, d * sizeof *x);
        for (size_t o = 0; o < job->outliers; o++) {
            float v = x[job->dim[o]];
            b->x_out[i * LETHE_OUTLIERS + o] = v;
            b->rest[job->dim[o]] = 0;
            out_square += v * v;
        }
        rest = b->rest;
    }
    kern->digits(rest, d, (int8_t *)hi, (int8_t *)lo, &b->digits[i]);
    for (size_t l = 0; l < ld; l++) { /* 128 added to a digit, and for the padding */
        hi[l] = (uint8_t)(l < d ? hi[l] ^ 0x80 : 0x80);
        lo[l] = (uint8_t)(l < d ? lo[l] ^ 0x80 : 0x80);
    }
    for (size_t l = 0; l < ld; l += LETHE_STRIP) {
        size_t size = ld - l < LETHE_STRIP ? ld - l : LETHE_STRIP;
        memcpy(b->lo + l * job->tile_n + i * size, lo + l, size);
    }
    if (job->fine) memcpy(b->hi + (nt + i) * ld, lo, ld);
    b->whole[i] = b->digits[i].norm + 1.001f * sqrtf(out_square);
    const lethe_digits *g = &b->digits[i];
    float slack = LETHE_SIEVE_SLACK(d) * b->whole[i], r = g->err2 + slack, xr = g->norm + g->err2;
    b->error[i] = (lethe_token_error){.scale = g->scale,
                                      .first_w = job->fine ? r + LETHE_SHARE_ERROR * g->scale
                                                           : g->err1 + slack,
                                      .first_f = job->fine ? xr : g->norm,
                                      .er = g->err1 + g->err2,
                                      .r = r,
                                      .xr = xr};
}

void lethe_select_digits(const lethe_select_job *job, const uint32_t *token, size_t nt,
                         lethe_select_bench *b) {
    for (size_t i = 0; i < nt; i++) digits_of(job, job->x + (size_t)token[i] * job->d, i, nt, b);
}

/* The rows of the digits from place `first` on. */
static const int8_t *rows_hi(const lethe_select_job *job, size_t first, size_t nm,
                             lethe_select_bench *b) {
    const lethe_sieve *sv = job->from->sieve;
    if (!job->from->rows) return sv->hi + first * sv->ld;
    for (size_t j = 0; j < nm; j++)
        memcpy(b->w_hi + j * sv->ld, sv->hi + (size_t)job->from->rows[first + j] * sv->ld, sv->ld);
    return b->w_hi;
}

/* Bounds for nt tokens and the latents from place `at` on. */
static void set_bounds(const lethe_select_job *job, size_t nt, size_t at, const lethe_seat *seats,
                       size_t stride, lethe_select_bench *b) {
    for (size_t s = 0; s < job->n_sel; s++)
        for (size_t i = 0; i < nt; i++) {
            const lethe_token_error *x = &b->error[i];
            b->bound[s * nt + i] = (lethe_bound){
                .scale = x->scale,
                .err = x->first_w,
                .norm = x->first_f,
                .threshold = seats[s * stride + i].threshold,
                .w_scale = job->scale + at,
                .w_norm = job->norm + at,
                .w_err = job->err1 + at,
                .bias = job->bias[s] + at,
                .outliers = job->outliers,
                .x_out = b->x_out + i * LETHE_OUTLIERS,
                .w_out = job->outliers ? job->w_out + at : NULL,
                .w_out_stride = job->m,
            };
        }
}

/* The first look at nt tokens and nm latents, the bounds set; next: latents of the block after it,
 * or 0. There is room for all of them. */
static void first_look(const lethe_select_job *job, size_t nt, size_t at, size_t nm, size_t next,
                       lethe_select_bench *b) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t ld = job->from->sieve->ld;
    const int8_t *w = rows_hi(job, at, nm, b);
    if (kern->sift && nm % 16 == 0 && nt >= LETHE_FEW_TO_LOOK) {
        bool straight_on = next >= nm && !job->from->rows;
        kern->sift(b->hi, nt, w, job->sum_hi + at, nm, ld, b->bound, job->n_sel, (int32_t)at,
                   b->hits, straight_on ? w + nm * ld : NULL, b->sift);
        return;
    }
    kern->dots_i8(b->c, nm, b->hi, job->fine ? 2 * nt : nt, w, job->sum_hi + at, nm, ld);
    for (size_t p = 0; p < (job->fine ? nt * nm : 0); p++)
        b->c[p] += lethe_second_share(b->c[nt * nm + p]);
    for (size_t row = 0; row < job->n_sel * nt; row++) {
        const int32_t *product = b->c + row % nt * nm;
        lethe_hits *to = &b->hits[row];
        size_t n = kern->may_pass(product, nm, &b->bound[row], b->hit);
        for (size_t h = 0; h < n; h++) {
            to->list[to->count++] = (lethe_hit){(int32_t)at + b->hit[h], product[b->hit[h]]};
        }
    }
}

void lethe_select_screen(const lethe_select_job *job, size_t nt, size_t at, size_t nm, size_t next,
                         const lethe_seat *seats, size_t stride, lethe_select_bench *b) {
    set_bounds(job, nt, at, seats, stride, b);
    first_look(job, nt, at, nm, next, b);
    b->stats.pairs += nt * nm * job->n_sel;
}

/* Every token has room for nm more hits afterwards. */
static void make_room(const lethe_select_job *job, size_t nt, size_t nm, lethe_seat *seats,
                      size_t stride, lethe_select_bench *b) {
    for (size_t s = 0; s < job->n_sel; s++)
        for (size_t i = 0; i < nt; i++) {
            lethe_hits *hits = &b->hits[s * nt + i];
            if (hits->count + nm > job->room)
                lethe_select_relieve(job, s, i, seats + s * stride, hits, b);
        }
}

void lethe_select_look(const lethe_select_job *job, size_t nt, size_t first, size_t end,
                       lethe_seat *seats, size_t stride, lethe_select_bench *b) {
    for (size_t row = 0; row < job->n_sel * nt; row++) b->hits[row].count = 0;
    for (size_t at = first, nm; at < end; at += nm) {
        nm = end - at < job->tile_m ? end - at : job->tile_m;
        make_room(job, nt, nm, seats, stride, b);
        lethe_select_screen(job, nt, at, nm, end - at - nm, seats, stride, b);
    }
    for (size_t s = 0; s < job->n_sel; s++)
        lethe_select_again(job, s, nt, first, end, seats + s * stride, b->hits + s * nt, b);
}
