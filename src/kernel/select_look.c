/* SPDX-License-Identifier: MIT
 *
 * The first and the second look at one tile of tokens x latents (the bounds: kernel/sieve.h).
 *
 * A seat's threshold only rises: it is the k-th largest lower bound met so far (or a guess, which
 * select.c checks in the end). A latent whose upper bound is below it cannot be among the k
 * largest, nor equal to the last of them.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/select_internal.h"

/* Packing a block of latents pays from this many tokens on. */
#define FEW_FOR_SIFT 8

static void digits_of(const lethe_select_job *job, const float *x, size_t i,
                      lethe_select_bench *b) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = job->d, ld = job->from->sieve->ld;
    uint8_t *hi = b->hi + i * ld, *lo = b->lo + i * ld;
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
    b->whole[i] = b->digits[i].norm + 1.001f * sqrtf(out_square);
}

void lethe_select_digits(const lethe_select_job *job, const uint32_t *token, size_t nt,
                         lethe_select_bench *b) {
    for (size_t i = 0; i < nt; i++) digits_of(job, job->x + (size_t)token[i] * job->d, i, b);
}

float lethe_select_kth(float *lower, size_t n, size_t k) {
    if (k > n) return -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (isnan(lower[i])) lower[i] = -INFINITY;
    /* Hoare's selection: what is larger goes left. */
    size_t left = 0, right = n - 1, want = k - 1;
    while (left < right) {
        float pivot = lower[left + (right - left) / 2];
        size_t i = left, j = right;
        for (;;) {
            while (lower[i] > pivot) i++;
            while (lower[j] < pivot) j--;
            if (i >= j) break;
            float t = lower[i];
            lower[i++] = lower[j];
            lower[j--] = t;
        }
        /* left .. j are not smaller than the pivot, j + 1 .. right not larger. */
        if (want <= j)
            right = j;
        else
            left = j + 1;
    }
    return lower[want];
}

void lethe_seat_begin(lethe_seat *seat, float whole, float guess, size_t k, size_t cap) {
    *seat = (lethe_seat){.whole = whole,
                         .guess = guess,
                         .threshold = fmaxf(guess, -FLT_MAX),
                         .full = !isfinite(whole),
                         .next = 2 * k + 16 < cap ? 2 * k + 16 : cap,
                         .list = seat->list};
}

/* The threshold becomes the k-th largest lower bound, and candidates that it has overtaken go;
 * those that hold the bound stay. False when too many are left all the same. */
static bool raise_threshold(lethe_seat *seat, size_t k, size_t cap, float *lower) {
    for (size_t i = 0; i < seat->count; i++) lower[i] = seat->list[i].lower;
    seat->threshold = fmaxf(seat->threshold, lethe_select_kth(lower, seat->count, k));
    size_t kept = 0;
    for (size_t i = 0; i < seat->count; i++)
        if (!(seat->list[i].upper < seat->threshold)) seat->list[kept++] = seat->list[i];
    seat->count = kept;
    seat->next = kept + k + 16 < cap ? kept + k + 16 : cap;
    return kept <= cap - cap / 4;
}

/* Nothing passes this seat any more: select.c computes the token in full. */
static void give_up(lethe_seat *seat) {
    seat->full = true;
    seat->threshold = INFINITY;
}

/* A second look at token i of the tile and the latent of this place, c its first product. */
static void second_look(const lethe_select_job *job, size_t s, size_t i, size_t place, int32_t c,
                        lethe_seat *seat, lethe_select_bench *b) {
    const lethe_sieve *sv = job->from->sieve;
    const lethe_digits *x = &b->digits[i];
    size_t ld = sv->ld, row = lethe_place_row(job, place);
    int32_t cross = lethe_kernels_get()->dot_cross(b->hi + i * ld, b->lo + i * ld,
                                                   sv->hi + row * ld, sv->lo + row * ld, ld);
    double digits =
        (double)c + ((double)cross - 128 * ((double)sv->sum_lo[row] + (double)sv->sum_hi[row])) *
                        (1.0 / LETHE_LO_DIGIT);
    float bias = job->sel[s].bias[row];
    double a = (double)x->scale * (double)sv->scale[row] * digits + (double)bias;
    for (size_t o = 0; o < job->outliers; o++)
        a += (double)b->x_out[i * LETHE_OUTLIERS + o] * (double)job->w_out[o * job->m + place];
    float w = sv->norm[row], w_err2 = sv->err2[row];
    float off = (x->err1 + x->err2) * (sv->err1[row] + w_err2) + x->err2 * w +
                (x->norm + x->err2) * w_err2 + LETHE_SIEVE_SLACK(job->d) * b->whole[i] * w +
                (fabsf((float)a) + fabsf(bias)) * 0x1p-20f;
    off = off * 1.0001f + LETHE_SIEVE_TINY; /* for the rounding of this line and the last */
    float upper = (float)a + off, lower = (float)a - off;
    b->stats.second++;
    if (upper < seat->threshold) return;
    seat->list[seat->count++] =
        (lethe_candidate){.place = (int32_t)place, .lower = lower, .upper = upper};
    if (seat->count == seat->next && !raise_threshold(seat, job->sel[s].k, job->cap[s], b->lower))
        give_up(seat);
}

/* The digits of a latent that is looked at soon: mostly not in the cache yet. */
static void fetch(const lethe_select_job *job, size_t place) {
    const lethe_sieve *sv = job->from->sieve;
    const int8_t *lo = sv->lo + lethe_place_row(job, place) * sv->ld;
    for (size_t l = 0; l < sv->ld && l < 1024; l += 64) __builtin_prefetch(lo + l);
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
            const lethe_digits *x = &b->digits[i];
            b->bound[s * nt + i] = (lethe_bound){
                .scale = x->scale,
                .err = x->err1 + LETHE_SIEVE_SLACK(job->d) * b->whole[i],
                .norm = x->norm,
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

/* The first look at nt tokens and nm latents, the bounds set. The row of products in c becomes that
 * of the hits' products. */
static void first_look(const lethe_select_job *job, size_t nt, size_t at, size_t nm,
                       lethe_select_bench *b) {
    const lethe_kernels *kern = lethe_kernels_get();
    size_t ld = job->from->sieve->ld;
    const int8_t *w = rows_hi(job, at, nm, b);
    if (kern->sift && nm % 16 == 0 && nt >= FEW_FOR_SIFT) {
        kern->sift(b->hi, nt, w, job->sum_hi + at, nm, ld, b->bound, job->n_sel, b->hit, b->c,
                   b->hits, b->packed);
        return;
    }
    kern->dots_i8(b->c, nm, b->hi, nt, w, job->sum_hi + at, nm, ld);
    for (size_t s = job->n_sel; s-- > 0;) /* the products are those of selection 0 */
        for (size_t i = 0; i < nt; i++) {
            size_t row = s * nt + i;
            int32_t *hit = b->hit + row * nm, *c = b->c + row * nm;
            const int32_t *product = b->c + i * nm;
            size_t hits = kern->may_pass(product, nm, &b->bound[row], hit);
            for (size_t h = 0; h < hits; h++) c[h] = product[hit[h]];
            b->hits[row] = (uint32_t)hits;
        }
}

void lethe_select_look(const lethe_select_job *job, size_t nt, size_t first, size_t end,
                       lethe_seat *seats, size_t stride, lethe_select_bench *b) {
    for (size_t at = first, nm; at < end; at += nm) {
        nm = end - at < job->tile_m ? end - at : job->tile_m;
        set_bounds(job, nt, at, seats, stride, b);
        first_look(job, nt, at, nm, b);
        for (size_t s = 0; s < job->n_sel; s++)
            for (size_t i = 0; i < nt; i++) {
                lethe_seat *seat = &seats[s * stride + i];
                size_t row = s * nt + i;
                for (size_t h = 0; h < b->hits[row] && !seat->full; h++) {
                    if (h + 2 < b->hits[row]) fetch(job, at + (size_t)b->hit[row * nm + h + 2]);
                    second_look(job, s, i, at + (size_t)b->hit[row * nm + h], b->c[row * nm + h],
                                seat, b);
                }
            }
        b->stats.pairs += nt * nm * job->n_sel;
    }
}
