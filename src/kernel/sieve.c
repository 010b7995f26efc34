/* SPDX-License-Identifier: MIT */
#include "kernel/sieve.h"

#include "base/mem.h"
#include "base/run.h"
#include "kernel/kernel.h"

lethe_status lethe_sieve_alloc(lethe_sieve *out, size_t m, size_t d, lethe_err *err) {
    if (d > LETHE_SIEVE_WIDEST)
        return lethe_fail(err, LETHE_USAGE, "a dictionary of width %zu: at most %d is supported", d,
                          LETHE_SIEVE_WIDEST);
    lethe_sieve s = {.m = m, .d = d};
    s.ld = (d + LETHE_DIGIT_PAD - 1) / LETHE_DIGIT_PAD * LETHE_DIGIT_PAD;
    lethe_status st = lethe_zalloc(&s.hi, m, s.ld, "digits of the encoder", err);
    if (!st) st = lethe_zalloc(&s.lo, m, s.ld, "digits of the encoder", err);
    if (!st) st = lethe_zalloc(&s.scale, m, sizeof *s.scale, "scales of the encoder", err);
    if (!st) st = lethe_zalloc(&s.norm, m, sizeof *s.norm, "norms of the encoder", err);
    if (!st) st = lethe_zalloc(&s.err1, m, sizeof *s.err1, "norms of the encoder", err);
    if (!st) st = lethe_zalloc(&s.err2, m, sizeof *s.err2, "norms of the encoder", err);
    if (!st) st = lethe_zalloc(&s.sum_hi, m, sizeof *s.sum_hi, "sums of the encoder", err);
    if (!st) st = lethe_zalloc(&s.sum_lo, m, sizeof *s.sum_lo, "sums of the encoder", err);
    if (st) {
        lethe_sieve_free(&s);
        return st;
    }
    *out = s;
    return LETHE_OK;
}

void lethe_sieve_free(lethe_sieve *s) {
    lethe_free(s->hi);
    lethe_free(s->lo);
    lethe_free(s->scale);
    lethe_free(s->norm);
    lethe_free(s->err1);
    lethe_free(s->err2);
    lethe_free(s->sum_hi);
    lethe_free(s->sum_lo);
    *s = (lethe_sieve){0};
}

void lethe_sieve_set(lethe_sieve *s, size_t j, const float *w) {
    lethe_digits g;
    lethe_kernels_get()->digits(w, s->d, s->hi + j * s->ld, s->lo + j * s->ld, &g);
    s->scale[j] = g.scale;
    s->norm[j] = g.norm + g.err1;
    s->err1[j] = g.err1;
    s->err2[j] = g.err2;
    s->sum_hi[j] = g.sum_hi;
    s->sum_lo[j] = g.sum_lo;
}

void lethe_sieve_set_all(lethe_sieve *s, const float *w) {
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t j = 0; j < s->m; j++) lethe_sieve_set(s, j, w + j * s->d);
}
