/* SPDX-License-Identifier: MIT
 *
 * Speed of single slots, on one thread, on data that is in the cache as far as it fits. Each figure
 * is the best of several rounds: nanoseconds a call, and a rate.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/run.h"
#include "kernel/checkasm.h"

enum { A, B, C, D, E, F, OUT, OUT_2 };
enum { GATHERED = 32, ROWS = 50 };

typedef struct work {
    const lethe_kernels *k;
    size_t n;
    lethe_bound bound;
    lethe_adam adam;
    void *p[8]; /* by buffer */
} work;

static volatile double sink; /* keeps results alive */

/* amount: what one call does, in the unit of the rate, times 1e9. */
static void measure(const char *what, void (*run)(work *), work *w, double amount,
                    const char *unit) {
    double best = 1e9;
    size_t times = 1;
    for (int round = 0; round < 8;) {
        double start = lethe_seconds();
        for (size_t i = 0; i < times; i++) run(w);
        double took = lethe_seconds() - start;
        if (took < 2e-3) { /* too short to measure */
            times *= 2;
            continue;
        }
        if (took / (double)times < best) best = took / (double)times;
        round++;
    }
    printf("  %-10s %-11s %-16s %12.1f ns %9.2f %s\n", check_slot_name(), check_table(), what,
           best * 1e9, amount / best * 1e-9, unit);
}

static work floats(const lethe_kernels *k, size_t n) {
    work w = {.k = k, .n = n};
    for (unsigned i = A; i <= D; i++) w.p[i] = check_floats(i, n, CHECK_PLAIN, 0);
    return w;
}

static const size_t sizes[] = {192, 768, 4096};
enum { SIZES = sizeof sizes / sizeof *sizes };

static const char *label(size_t n) {
    static char text[32];
    snprintf(text, sizeof text, "%zu", n);
    return text;
}

/* A slot of vectors of n numbers: `rate` operations or bytes a number. */
static void vectors(const lethe_kernels *k, void (*run)(work *), double rate, const char *unit) {
    for (size_t i = 0; i < SIZES; i++) {
        work w = floats(k, sizes[i]);
        measure(label(sizes[i]), run, &w, rate * (double)sizes[i], unit);
    }
}

static void run_dot(work *w) {
    sink = (double)w->k->dot(w->p[A], w->p[B], w->n);
}
void bench_dot(const lethe_kernels *k) {
    vectors(k, run_dot, 2, "GFLOP/s");
}

static void run_sumsq(work *w) {
    sink = w->k->sumsq(w->p[A], w->n);
}
void bench_sumsq(const lethe_kernels *k) {
    vectors(k, run_sumsq, 2, "GFLOP/s");
}

static void run_axpy(work *w) {
    w->k->axpy(w->p[A], 1e-7f, w->p[B], w->n);
}
void bench_axpy(const lethe_kernels *k) {
    vectors(k, run_axpy, 2, "GFLOP/s");
}

static void run_scale(work *w) {
    w->k->scale(w->p[A], -1.0f, w->n);
}
void bench_scale(const lethe_kernels *k) {
    vectors(k, run_scale, 2 * sizeof(float), "GB/s");
}

static work gather(const lethe_kernels *k, size_t d) {
    work w = floats(k, d);
    w.p[B] = check_floats(B, ROWS * d, CHECK_PLAIN, 0);
    w.p[E] = check_floats(E, GATHERED, CHECK_PLAIN, 0);
    int32_t *index = check_place(F, GATHERED * sizeof *index, 0);
    for (size_t j = 0; j < GATHERED; j++) index[j] = (int32_t)check_below(ROWS);
    w.p[F] = index;
    w.p[OUT] = check_floats(OUT, GATHERED, CHECK_PLAIN, 0);
    return w;
}

static void run_gather_sum(work *w) {
    w->k->gather_sum(w->p[A], w->n, w->p[B], w->n, w->p[F], w->p[E], GATHERED, 0);
}

static void run_gather_dot(work *w) {
    w->k->gather_dot(w->p[OUT], w->n, w->p[A], w->p[B], w->p[F], GATHERED);
}

static void gathers(const lethe_kernels *k, void (*run)(work *)) {
    for (size_t i = 0; i < SIZES; i++) {
        work w = gather(k, sizes[i]);
        char what[32];
        snprintf(what, sizeof what, "%d x %zu", GATHERED, w.n);
        measure(what, run, &w, 2.0 * GATHERED * (double)w.n, "GFLOP/s");
    }
}

void bench_gather_sum(const lethe_kernels *k) {
    gathers(k, run_gather_sum);
}
void bench_gather_dot(const lethe_kernels *k) {
    gathers(k, run_gather_dot);
}

static void run_adam(work *w) {
    w->k->adam(w->p[A], w->p[B], w->p[C], w->p[D], w->n, &w->adam);
}

void bench_adam(const lethe_kernels *k) {
    for (size_t i = 0; i < SIZES; i++) {
        work w = floats(k, sizes[i]);
        float *m2 = w.p[C];
        for (size_t j = 0; j < w.n; j++) m2[j] *= m2[j];
        w.adam = (lethe_adam){1, 0.9f, 0.999f, 0.1f, 0.001f, 1e-8f, 1, 1e-4f};
        measure(label(w.n), run_adam, &w, 7.0 * sizeof(float) * (double)w.n, "GB/s");
    }
}

static void run_digits(work *w) {
    lethe_digits g;
    w->k->digits(w->p[A], w->n, w->p[OUT], w->p[OUT_2], &g);
    sink = (double)g.norm;
}

void bench_digits(const lethe_kernels *k) {
    for (size_t i = 0; i < SIZES; i++) {
        work w = floats(k, sizes[i]);
        w.p[OUT] = check_place(OUT, w.n, 0);
        w.p[OUT_2] = check_place(OUT_2, w.n, 0);
        measure(label(w.n), run_digits, &w, sizeof(float) * (double)w.n, "GB/s");
    }
}

/* A tile of tokens by latents, as select.c asks for it. */
enum { TOKENS = 32, LATENTS = 128 };

static void *some_bytes(unsigned buffer, size_t n) {
    uint8_t *p = check_place(buffer, n, 0);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)check_below(256);
    return p;
}

static void run_dots_i8(work *w) {
    w->k->dots_i8(w->p[OUT], LATENTS, w->p[A], TOKENS, w->p[B], w->p[C], LATENTS, w->n);
}

void bench_dots_i8(const lethe_kernels *k) {
    for (size_t i = 0; i < SIZES; i++) {
        size_t ld = sizes[i];
        work w = {.k = k, .n = ld};
        w.p[A] = some_bytes(A, TOKENS * ld);
        w.p[B] = some_bytes(B, LATENTS * ld);
        int32_t *sum = w.p[C] = check_place(C, LATENTS * sizeof *sum, 0);
        memset(sum, 0, LATENTS * sizeof *sum);
        w.p[OUT] = check_place(OUT, TOKENS * LATENTS * sizeof(int32_t), 0);
        char what[32];
        snprintf(what, sizeof what, "%d x %d x %zu", TOKENS, LATENTS, ld);
        measure(what, run_dots_i8, &w, 2.0 * TOKENS * LATENTS * (double)ld, "GOP/s");
    }
}

/* As many tokens as meet one latent in a tile. */
enum { MET = 4 };

static void run_dots_rows(work *w) {
    static const uint32_t row[MET] = {2, 0, 3, 1};
    int32_t c[MET] = {0};
    w->k->dots_rows(c, w->p[A], row, MET, w->p[B], w->n);
    sink = (double)c[0];
}

void bench_dots_rows(const lethe_kernels *k) {
    for (size_t i = 0; i < SIZES; i++) {
        work w = {.k = k, .n = sizes[i]};
        for (unsigned j = A; j <= B; j++) w.p[j] = some_bytes(j, j == A ? MET * w.n : w.n);
        char what[32];
        snprintf(what, sizeof what, "%d x %zu", MET, w.n);
        measure(what, run_dots_rows, &w, 2.0 * MET * (double)w.n, "GOP/s");
    }
}

static void run_may_pass(work *w) {
    sink = (double)w->k->may_pass(w->p[E], w->n, &w->bound, w->p[OUT]);
}

/* One latent in a hundred passes. */
void bench_may_pass(const lethe_kernels *k) {
    for (size_t i = 0; i < SIZES; i++) {
        work w = floats(k, sizes[i]);
        int32_t *c = w.p[E] = check_place(E, w.n * sizeof *c, 0);
        for (size_t j = 0; j < w.n; j++) c[j] = check_below(100) ? -1000000 : 1000000;
        float *scale = w.p[A];
        for (size_t j = 0; j < w.n; j++) scale[j] = 1;
        w.bound = (lethe_bound){.scale = 1,
                                .err = 1,
                                .norm = 1,
                                .w_scale = scale,
                                .w_norm = w.p[B],
                                .w_err = w.p[C],
                                .bias = w.p[D]};
        w.p[OUT] = check_place(OUT, w.n * sizeof(int32_t), 0);
        measure(label(w.n), run_may_pass, &w, 5.0 * sizeof(float) * (double)w.n, "GB/s");
    }
}

enum { SIFTED = 264, BLOCK = 256 }; /* tokens and latents of a tile */

typedef struct sift_work {
    const lethe_kernels *k;
    uint8_t *a;
    int8_t *b;
    void *scratch;
    int32_t *b_sum;
    lethe_hit *room;
    lethe_hits *hits;
    lethe_bound *bound;
    size_t ld;
} sift_work;

static sift_work sift_now;

static void run_sift(work *w) {
    (void)w;
    const sift_work *s = &sift_now;
    s->k->sift(s->a, SIFTED, s->b, s->b_sum, BLOCK, s->ld, s->bound, 1, 0, s->hits, NULL,
               s->scratch);
}

/* Nothing passes: what is left is product and comparison. */
void bench_sift(const lethe_kernels *k) {
    if (!k->sift) return;
    for (size_t i = 0; i < SIZES; i++) {
        size_t ld = sizes[i], cells = (size_t)SIFTED * BLOCK;
        sift_work s = {.k = k,
                       .a = aligned_alloc(64, SIFTED * ld),
                       .b = aligned_alloc(64, BLOCK * ld),
                       .scratch = aligned_alloc(64, lethe_sift_scratch(BLOCK, ld, SIFTED, 1, 0)),
                       .b_sum = calloc(BLOCK, sizeof(int32_t)),
                       .room = calloc(BLOCK + LETHE_SIFT_SLACK, sizeof(lethe_hit)),
                       .hits = calloc(SIFTED, sizeof(lethe_hits)),
                       .bound = calloc(SIFTED, sizeof(lethe_bound)),
                       .ld = ld};
        float *zero = calloc(BLOCK, sizeof *zero);
        if (!s.a || !s.b || !s.scratch || !s.b_sum || !s.room || !s.hits || !s.bound || !zero)
            abort();
        memset(s.a, 1, SIFTED * ld);
        memset(s.b, 1, BLOCK * ld);
        for (size_t t = 0; t < SIFTED; t++) s.hits[t].list = s.room;
        for (size_t t = 0; t < SIFTED; t++)
            s.bound[t] = (lethe_bound){
                .threshold = 1, .w_scale = zero, .w_norm = zero, .w_err = zero, .bias = zero};
        sift_now = s;
        work w = {.k = k, .n = ld};
        char what[32];
        snprintf(what, sizeof what, "%d x %d x %zu", SIFTED, BLOCK, ld);
        measure(what, run_sift, &w, 2.0 * (double)cells * (double)ld, "GOP/s");
        void *const all[] = {s.a, s.b, s.scratch, s.b_sum, s.room, s.hits, s.bound, zero};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) free(all[j]);
    }
}
