/* SPDX-License-Identifier: MIT
 *
 * What the parts of checkasm share: inputs of every kind in buffers whose neighbourhood is watched,
 * comparisons, and the report of a difference. No library but libc and libm: the program is also
 * built for other processors and run under emulation (tools/check-arm.sh).
 */
#ifndef LETHE_TESTS_CHECKASM_H
#define LETHE_TESTS_CHECKASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/kernel.h"

/* ---- the slots, one row each ------------------------------------------------------------------
 */

typedef struct check_slot {
    const char *name;
    size_t at; /* offset of the pointer in lethe_kernels */
    void (*check)(const lethe_kernels *k);
    void (*bench)(const lethe_kernels *k);
} check_slot;

void check_dot(const lethe_kernels *k);
void check_sumsq(const lethe_kernels *k);
void check_axpy(const lethe_kernels *k);
void check_scale(const lethe_kernels *k);
void check_gather_sum(const lethe_kernels *k);
void check_gather_dot(const lethe_kernels *k);
void check_adam(const lethe_kernels *k);
void check_digits(const lethe_kernels *k);
void check_dots_i8(const lethe_kernels *k);
void check_dots_rows(const lethe_kernels *k);
void check_may_pass(const lethe_kernels *k);
void check_sift(const lethe_kernels *k);

/* What kernel/sieve.h claims, with the slots of this table together: the error of dot against the
 * slack, and both looks against their bounds. */
void check_sieve(const lethe_kernels *k);

void bench_dot(const lethe_kernels *k);
void bench_sumsq(const lethe_kernels *k);
void bench_axpy(const lethe_kernels *k);
void bench_scale(const lethe_kernels *k);
void bench_gather_sum(const lethe_kernels *k);
void bench_gather_dot(const lethe_kernels *k);
void bench_adam(const lethe_kernels *k);
void bench_digits(const lethe_kernels *k);
void bench_dots_i8(const lethe_kernels *k);
void bench_dots_rows(const lethe_kernels *k);
void bench_may_pass(const lethe_kernels *k);
void bench_sift(const lethe_kernels *k);

/* ---- report ----------------------------------------------------------------------------------
 */

/* Where the program is, for reports of differences and of crashes. */
void check_at(const char *table, const char *slot);
const char *check_table(void);
const char *check_slot_name(void);

/* One difference; the first few of a slot are printed, all are counted. Returns false. */
bool check_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

extern size_t check_calls; /* compared so far */

/* ---- inputs ----------------------------------------------------------------------------------
 */

void check_seed(uint64_t seed);
size_t check_below(size_t n); /* uniform in [0, n) */

/* Lengths 0 to 70 and larger odd ones. */
enum { CHECK_LENGTHS = 79, CHECK_LONGEST = 4095 };
size_t check_length(size_t i);

typedef enum check_kind {
    CHECK_PLAIN,    /* -1 .. 1 */
    CHECK_SPREAD,   /* 2^-40 .. 2^40 */
    CHECK_TINY,     /* denormals, around the smallest normal number, zeros */
    CHECK_LARGE,    /* up to the largest number, so that sums overflow */
    CHECK_ZEROS,    /* mostly zeros of both signs */
    CHECK_ANY,      /* all of these */
    CHECK_INFINITE, /* some infinities and NaN among plain ones */
    CHECK_KINDS
} check_kind;

const char *check_kind_name(check_kind kind);
float check_draw(check_kind kind);

/* Buffers of CHECK_BUFFER bytes between pages that may not be touched. What is placed in one has
 * canaries on both sides (as floats: NaN), or, at the offset CHECK_END, ends where the page does.
 * Other offsets are bytes from a multiple of 64. Contents are undefined. */
enum { CHECK_BUFFERS = 12, CHECK_BUFFER = 1 << 20, CHECK_END = 64 };
void *check_place(unsigned buffer, size_t bytes, size_t offset);

size_t check_offset(void);      /* a multiple of four at random, or CHECK_END */
size_t check_byte_offset(void); /* any at random, or CHECK_END */
size_t check_turn(size_t turn); /* 0, 4, .. 60, CHECK_END in turn */
enum { CHECK_TURNS = 17 };      /* as many */

float *check_floats(unsigned buffer, size_t n, check_kind kind, size_t offset);
void *check_copy(unsigned buffer, const void *from, size_t bytes, size_t offset);

/* Whether the canaries around what was last placed there still live; reports it when not. */
bool check_canaries(unsigned buffer, const char *what);

/* ---- comparisons -----------------------------------------------------------------------------
 */

/* The same bytes; with kind INFINITE one NaN is as good as another. */
bool check_same(float got, float want, check_kind kind);
/* Of n numbers: the first place that differs, or n. */
size_t check_differs(const float *got, const float *want, size_t n, check_kind kind);

/* What a sum of n products in float may be off, with sizes = the sum of their magnitudes; products
 * below the smallest normal number lose up to half a unit of the smallest denormal each. */
double check_bound(size_t n, double sizes);
/* Whether sums of that size stay finite, so that the bound says something. */
bool check_bounded(double sizes);

double check_norm(const float *x, size_t n); /* Euclidean, in double */

#endif
