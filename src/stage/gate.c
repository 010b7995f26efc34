/* SPDX-License-Identifier: MIT
 *
 * A row belongs to one thread.
 */
#include "stage/gate.h"

#include "base/run.h"
#include "kernel/kernel.h"
#include "sae/arch.h"

/* A single decoded token is over before another thread has woken up. */
#define FEW 8

static void row_activations(const lethe_patch *p, const lethe_kernels *kern, const float *x,
                            float *a, lethe_token_norm *token) {
    if (p->norm == LETHE_NORM_NONE) {
        for (size_t i = 0; i < p->n; i++)
            a[i] = kern->dot(x, p->W_enc + i * p->d, p->d) + p->b_enc[i];
        return;
    }
    const lethe_token_norm k = *token = lethe_norm_token(p->norm, x, p->d);
    for (size_t i = 0; i < p->n; i++) {
        float along = kern->dot(x, p->W_enc + i * p->d, p->d) - k.shift * p->enc_sum[i];
        a[i] = along * k.inverse + p->b_enc[i];
    }
}

void lethe_gate_activations(const lethe_patch *p, const float *x, size_t n, float *a) {
    const lethe_kernels *kern = lethe_kernels_get();
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++) {
        lethe_token_norm token;
        row_activations(p, kern, x + t * p->d, a + t * p->n, &token);
    }
}

/* Moves the activations of those that fired to the front. */
static size_t keep_fired(const lethe_patch *p, float *a, int32_t *index) {
    size_t count = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (!(a[i] > p->threshold[i])) continue;
        index[count] = (int32_t)i;
        a[count++] = a[i];
    }
    return count;
}

void lethe_gate_fires(const lethe_patch *p, const float *x, size_t n, lethe_fires *fires) {
    const lethe_kernels *kern = lethe_kernels_get();
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++) {
        float *a = fires->value + t * p->n;
        lethe_token_norm token;
        row_activations(p, kern, x + t * p->d, a, &token);
        if (p->norm != LETHE_NORM_NONE) {
            fires->scale[t] = token.scale;
            fires->shift[t] = token.shift;
        }
        fires->count[t] = keep_fired(p, a, fires->index + t * p->n);
    }
}
