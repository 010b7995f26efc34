/* SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rng.h"
#include "kernel/checkasm.h"

static lethe_rng rng;

void check_seed(uint64_t seed) {
    rng = lethe_rng_make(seed, 0);
}

size_t check_below(size_t n) {
    return (size_t)lethe_rng_below(&rng, n);
}

size_t check_length(size_t i) {
    static const size_t large[] = {127, 129, 255, 513, 767, 1023, 2049, CHECK_LONGEST};
    _Static_assert(71 + sizeof large / sizeof *large == CHECK_LENGTHS, "");
    return i <= 70 ? i : large[i - 71];
}

const char *check_kind_name(check_kind kind) {
    static const char *const names[] = {"plain", "spread",       "tiny",    "large",
                                        "zeros", "of all kinds", "infinite"};
    return names[kind];
}

static float draw_tiny(float sign) {
    switch (check_below(4)) {
    case 0: return sign * 0.0f;
    case 1: return sign * FLT_MIN * (float)(0.5 + lethe_rng_uniform(&rng));
    default: return sign * (float)check_below((size_t)1 << check_below(24)) * 0x1p-149f;
    }
}

float check_draw(check_kind kind) {
    float plain = (float)(2 * lethe_rng_uniform(&rng) - 1), sign = plain < 0 ? -1.0f : 1.0f;
    switch (kind) {
    case CHECK_SPREAD: return ldexpf(plain, (int)check_below(81) - 40);
    case CHECK_TINY: return draw_tiny(sign);
    case CHECK_LARGE: return ldexpf(plain, (int)check_below(65) + 64);
    case CHECK_ZEROS: return check_below(4) ? sign * 0.0f : plain;
    case CHECK_ANY: return check_draw((check_kind)check_below(CHECK_ANY));
    case CHECK_INFINITE:
        switch (check_below(24)) {
        case 0: return sign * INFINITY;
        case 1: return NAN;
        default: return plain;
        }
    default: return plain;
    }
}

/* ---- buffers ---------------------------------------------------------------------------------
 */

enum { MARGIN = 128 };

static struct {
    unsigned char *memory; /* [CHECK_BUFFER] between two pages */
    unsigned char *at;     /* what was placed last */
    size_t bytes;
} buffers[CHECK_BUFFERS];

/* A quiet NaN where it is read as floats, and no byte like its neighbour. */
static unsigned char canary(const unsigned char *p) {
    static const unsigned char pattern[4] = {0xa5, 0x5a, 0xe5, 0x7f};
    return pattern[(uintptr_t)p % 4];
}

static unsigned char *new_buffer(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *all = mmap(NULL, CHECK_BUFFER + 2 * page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) ||
        mprotect(all + page + CHECK_BUFFER, page, PROT_NONE)) {
        perror("checkasm: mmap");
        exit(1);
    }
    return all + page;
}

/* The canaries' end: the page's, where what was placed ends with it. */
static unsigned char *margin_end(unsigned buffer) {
    unsigned char *end = buffers[buffer].at + buffers[buffer].bytes + MARGIN;
    unsigned char *last = buffers[buffer].memory + CHECK_BUFFER;
    return end < last ? end : last;
}

void *check_place(unsigned buffer, size_t bytes, size_t offset) {
    if (buffer >= CHECK_BUFFERS || bytes + 2 * MARGIN + CHECK_END > CHECK_BUFFER) abort();
    if (!buffers[buffer].memory) buffers[buffer].memory = new_buffer();
    unsigned char *memory = buffers[buffer].memory;
    unsigned char *at =
        offset == CHECK_END ? memory + CHECK_BUFFER - bytes : memory + MARGIN + offset;
    buffers[buffer].at = at;
    buffers[buffer].bytes = bytes;
    for (unsigned char *p = at - MARGIN; p < at; p++) *p = canary(p);
    for (unsigned char *p = at + bytes; p < margin_end(buffer); p++) *p = canary(p);
    return at;
}

bool check_canaries(unsigned buffer, const char *what) {
    unsigned char *at = buffers[buffer].at;
    size_t bytes = buffers[buffer].bytes;
    for (unsigned char *p = at - MARGIN; p < at; p++)
        if (*p != canary(p)) return check_fail("wrote %td bytes before %s", at - p, what);
    for (unsigned char *p = at + bytes; p < margin_end(buffer); p++)
        if (*p != canary(p))
            return check_fail("wrote behind %s, at byte %td of %zu", what, p - at, bytes);
    return true;
}

size_t check_turn(size_t turn) {
    return 4 * (turn % CHECK_TURNS);
}

size_t check_offset(void) {
    return check_turn(check_below(CHECK_TURNS));
}

size_t check_byte_offset(void) {
    return check_below(CHECK_END + 1);
}

float *check_floats(unsigned buffer, size_t n, check_kind kind, size_t offset) {
    float *x = check_place(buffer, n * sizeof *x, offset);
    for (size_t i = 0; i < n; i++) x[i] = check_draw(kind);
    return x;
}

void *check_copy(unsigned buffer, const void *from, size_t bytes, size_t offset) {
    return memcpy(check_place(buffer, bytes, offset), from, bytes);
}

/* ---- comparisons -----------------------------------------------------------------------------
 */

bool check_same(float got, float want, check_kind kind) {
    return !memcmp(&got, &want, sizeof got) ||
           (kind == CHECK_INFINITE && isnan(got) && isnan(want));
}

size_t check_differs(const float *got, const float *want, size_t n, check_kind kind) {
    for (size_t i = 0; i < n; i++)
        if (!check_same(got[i], want[i], kind)) return i;
    return n;
}

double check_bound(size_t n, double sizes) {
    return (double)(n + 1) * (double)FLT_EPSILON / 2 * sizes * 1.01 + (double)n * 0x1p-149;
}

bool check_bounded(double sizes) {
    return sizes < (double)FLT_MAX * 0.99;
}

double check_norm(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}
