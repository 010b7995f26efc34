/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/run.h"
#include "kernel/kernel.h"
#include "sae/rows.h"
#include "sae/trainer_internal.h"

double lethe_clip_scale(double norm, double clip) {
    return clip > 0 ? fmin(1.0, clip / (norm + 1e-6)) : 1.0;
}

lethe_adam lethe_adam_at(const lethe_recipe *r, uint64_t update, double grad_scale, double lr) {
    double time = (double)update;
    return (lethe_adam){
        .grad_scale = (float)grad_scale,
        .beta1 = (float)r->beta1,
        .beta2 = (float)r->beta2,
        .one_beta1 = (float)(1 - r->beta1),
        .one_beta2 = (float)(1 - r->beta2),
        .eps = (float)r->eps,
        .inv_sqrt_bias2 = (float)(1 / sqrt(1 - pow(r->beta2, time))),
        .step = (float)(lr / (1 - pow(r->beta1, time))),
    };
}

static void update_param(lethe_trainer *t, lethe_param p, size_t first, size_t n, bool zero,
                         const lethe_adam *c) {
    float *param = *lethe_param_slot(&t->sae, p);
    lethe_kernels_get()->adam(param + first, t->m1[p] + first, t->m2[p] + first,
                              zero ? NULL : t->grad[p] + first, n, c);
}

/* A latent that did not fire has a zero gradient, but its momentum still moves it. */
void lethe_update(lethe_trainer *t, double grad_scale, double lr) {
    const lethe_adam c = lethe_adam_at(&t->recipe, ++t->updates, grad_scale, lr);
    size_t d = t->sae.d, m = t->sae.m;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        if (!lethe_params[p].by_latent) update_param(t, p, 0, lethe_param_cols(p, d, m), false, &c);
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t j = 0; j < m; j++) {
        for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
            if (!lethe_params[p].by_latent) continue;
            size_t cols = lethe_param_cols(p, d, m);
            update_param(t, p, j * cols, cols, !t->touched[j], &c);
        }
        lethe_row_normalise(t->sae.W_dec + j * d, d);
        lethe_sieve_set(&t->sieve, j, t->sae.W_enc + j * d);
    }
}
