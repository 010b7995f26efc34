/* SPDX-License-Identifier: MIT */
#include "stage/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"

lethe_bootstrap_opts lethe_bootstrap_defaults(void) {
    return (lethe_bootstrap_opts){.resamples = 2000, .level = 0.95, .seed = 0};
}

static lethe_status check(const double *x, const double *weight, size_t n,
                          const lethe_bootstrap_opts *o, lethe_err *err) {
    if (o->resamples < 1 || !(o->level > 0 && o->level < 1))
        return lethe_fail(
            err, LETHE_USAGE,
            "bootstrap: got %zu resamples and a level of %g, want at least 1 resample "
            "and a level between 0 and 1",
            o->resamples, o->level);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || (weight && !(isfinite(weight[i]) && weight[i] > 0)))
            return lethe_fail(
                err, LETHE_NONFINITE,
                "bootstrap: item %zu is %g with weight %g, want a finite number and a "
                "positive weight (leave such items out)",
                i, x[i], weight ? weight[i] : 1.0);
    return LETHE_OK;
}

static double mean_of(const double *x, const double *weight, size_t n) {
    double sum = 0, whole = 0;
    for (size_t i = 0; i < n; i++) {
        double w = weight ? weight[i] : 1;
        sum += w * x[i];
        whole += w;
    }
    return sum / whole;
}

static double resample(const double *x, const double *weight, size_t n, uint64_t seed, size_t r) {
    lethe_rng rng = lethe_rng_make(seed, LETHE_BOOTSTRAP_STREAM + r);
    double sum = 0, whole = 0;
    for (size_t k = 0; k < n; k++) {
        size_t i = (size_t)lethe_rng_below(&rng, n);
        double w = weight ? weight[i] : 1;
        sum += w * x[i];
        whole += w;
    }
    return sum / whole;
}

static int rising(const void *pa, const void *pb) {
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static double quantile(const double *sorted, size_t n, double p) {
    double h = p * (double)(n - 1);
    size_t i = (size_t)h;
    if (i + 1 >= n) return sorted[n - 1];
    return sorted[i] + (h - (double)i) * (sorted[i + 1] - sorted[i]);
}

lethe_status lethe_bootstrap_mean(const double *x, const double *weight, size_t n,
                                  const lethe_bootstrap_opts *o, lethe_interval *out,
                                  lethe_err *err) {
    LETHE_TRY(check(x, weight, n, o, err));
    if (n < 2) {
        double only = n ? x[0] : (double)NAN;
        *out = (lethe_interval){only, only, only, n};
        return LETHE_OK;
    }
    double *means;
    LETHE_TRY(lethe_alloc(&means, o->resamples, sizeof *means, "means of a bootstrap", err));
#pragma omp parallel for schedule(static) num_threads(lethe_threads())
    for (size_t r = 0; r < o->resamples; r++) means[r] = resample(x, weight, n, o->seed, r);
    qsort(means, o->resamples, sizeof *means, rising);
    double tail = (1 - o->level) / 2;
    *out = (lethe_interval){mean_of(x, weight, n), quantile(means, o->resamples, tail),
                            quantile(means, o->resamples, 1 - tail), n};
    lethe_free(means);
    return LETHE_OK;
}

/* A pair is one item, its difference: the mean is linear, so this is the difference of the means.
 */
lethe_status lethe_bootstrap_difference(const double *a, const double *b, const double *weight,
                                        size_t n, const lethe_bootstrap_opts *o,
                                        lethe_interval *out, lethe_err *err) {
    double *x;
    LETHE_TRY(lethe_alloc(&x, n, sizeof *x, "differences of a bootstrap", err));
    for (size_t i = 0; i < n; i++) x[i] = b[i] - a[i];
    lethe_status st = lethe_bootstrap_mean(x, weight, n, o, out, err);
    lethe_free(x);
    return st;
}
