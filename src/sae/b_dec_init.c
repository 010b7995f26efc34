/* SPDX-License-Identifier: MIT
 *
 * Where b_dec starts: zero, the mean of a sample, or its geometric median (the point with the least
 * sum of distances, which a few huge rows cannot pull away), by Weiszfeld's iteration
 *     y <- sum of x_i / |x_i - y|  over  sum of 1 / |x_i - y|.
 */
#include <assert.h>
#include <math.h>

#include "base/mem.h"
#include "base/run.h"
#include "sae/rows.h"
#include "sae/trainer_internal.h"

#define ROUNDS 100
#define SETTLED 1e-6

static void mean_of(const float *x, size_t n, size_t d, const float *weight, double total,
                    double *sum, float *y) {
    lethe_rows_sum(sum, x, n, d, weight);
    for (size_t i = 0; i < d; i++) y[i] = (float)(sum[i] / total);
}

/* weight[t] = 1 / max(|x_t - y|, floor); returns the sum of weights. The floor keeps a row that y
 * has come to sit on from taking all the weight. */
static double weigh(const float *x, size_t n, size_t d, const float *y, double floor,
                    float *weight) {
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t t = 0; t < n; t++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++) {
            double e = (double)x[t * d + i] - (double)y[i];
            sum += e * e;
        }
        weight[t] = (float)(1 / fmax(sqrt(sum), floor));
    }
    double total = 0;
    for (size_t t = 0; t < n; t++) total += (double)weight[t];
    return total;
}

static lethe_status geometric_median(lethe_trainer *t, const float *x, size_t n, float *y,
                                     lethe_err *err) {
    size_t d = t->sae.d;
    float *weight, *before = NULL;
    double *dist = NULL;
    LETHE_TRY(lethe_alloc(&weight, n, sizeof *weight, "weights of a sample", err));
    lethe_status st = lethe_alloc(&before, d, sizeof *before, "a median", err);
    if (!st) st = lethe_alloc(&dist, n, sizeof *dist, "distances of a sample", err);
    if (st) goto done;
    mean_of(x, n, d, NULL, (double)n, t->sum, y);
    double radius = sqrt(lethe_rows_sumsq(x, n, d, y, dist) / (double)n);
    for (int round = 0; round < ROUNDS && radius > 0; round++) {
        for (size_t i = 0; i < d; i++) before[i] = y[i];
        double total = weigh(x, n, d, before, 1e-6 * radius, weight);
        mean_of(x, n, d, weight, total, t->sum, y);
        double moved = 0;
        for (size_t i = 0; i < d; i++)
            moved += ((double)y[i] - (double)before[i]) * ((double)y[i] - (double)before[i]);
        if (sqrt(moved) <= SETTLED * radius) break;
    }
done:
    lethe_free(weight);
    lethe_free(before);
    lethe_free(dist);
    return st;
}

lethe_status lethe_trainer_init_b_dec(lethe_trainer *t, const float *x, size_t n, lethe_err *err) {
    assert(t->step == 0);
    if (t->recipe.b_dec_init == LETHE_BDEC_ZERO) return LETHE_OK;
    if (n == 0) return lethe_fail(err, LETHE_USAGE, "no activations to take b_dec from");
    float *y;
    size_t d = t->sae.d;
    LETHE_TRY(lethe_alloc(&y, d, sizeof *y, "b_dec", err));
    lethe_status st = LETHE_OK;
    if (t->recipe.b_dec_init == LETHE_BDEC_MEAN)
        mean_of(x, n, d, NULL, (double)n, t->sum, y);
    else
        st = geometric_median(t, x, n, y, err);
    for (size_t i = 0; i < d && !st; i++)
        if (!isfinite(y[i]))
            st = lethe_fail(err, LETHE_NONFINITE,
                            "the activations that b_dec starts from are not all finite");
    for (size_t i = 0; i < d && !st; i++) t->sae.b_dec[i] = y[i];
    lethe_free(y);
    return st;
}
