/* SPDX-License-Identifier: MIT
 *
 * A row belongs to one thread, which computes all of its activations from the row as it came before
 * it adds anything. What fired is counted afterwards by one thread, from the activations, so that
 * the sum of activations is the same however rows were shared out.
 */
#include "stage/gate.h"

#include <assert.h>

#include "base/run.h"
#include "kernel/kernel.h"

/* A single decoded token is over before another thread has woken up. */
#define FEW 8

static void row_activations(const lethe_patch *p, const lethe_kernels *kern, const float *x,
                            float *a) {
    for (size_t i = 0; i < p->n; i++) a[i] = kern->dot(x, p->W_enc + i * p->d, p->d) + p->b_enc[i];
}

void lethe_gate_activations(const lethe_patch *p, const float *x, size_t n, float *a) {
    const lethe_kernels *kern = lethe_kernels_get();
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++) row_activations(p, kern, x + t * p->d, a + t * p->n);
}

static void row_apply(const lethe_patch *p, const lethe_kernels *kern, double scale, float *x,
                      const float *a) {
    for (size_t i = 0; i < p->n; i++) {
        if (!(a[i] > p->threshold[i])) continue;
        float c = (float)((scale - 1.0) * (double)a[i]);
        if (c != 0) kern->axpy(x, c, p->W_dec + i * p->d, p->d); /* 0: not even -0 becomes +0 */
    }
}

static void count_row(const lethe_patch *p, const float *a, lethe_hook_stats *stats) {
    bool any = false;
    for (size_t i = 0; i < p->n; i++) {
        if (!(a[i] > p->threshold[i])) continue;
        any = true;
        stats->fired++;
        stats->activation_sum += (double)a[i];
    }
    stats->rows_fired += any;
}

void lethe_gate_apply(const lethe_patch *p, double scale, float *x, size_t n, float *a,
                      lethe_hook_stats *stats) {
    assert(n <= LETHE_GATE_ROWS);
    const lethe_kernels *kern = lethe_kernels_get();
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++) {
        row_activations(p, kern, x + t * p->d, a + t * p->n);
        row_apply(p, kern, scale, x + t * p->d, a + t * p->n);
    }
    for (size_t t = 0; t < n; t++) count_row(p, a + t * p->n, stats);
    stats->rows += n;
    stats->positions += (uint64_t)n * p->n;
}
