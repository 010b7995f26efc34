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

static lethe_status check(const double *x, const lethe_bootstrap_items *items,
                          const lethe_bootstrap_opts *o, lethe_err *err) {
    const double *weight = items->weight;
    if (o->resamples < 1 || !(o->level > 0 && o->level < 1))
        return lethe_fail(
            err, LETHE_USAGE,
            "bootstrap: got %zu resamples and a level of %g, want at least 1 resample "
            "and a level between 0 and 1",
            o->resamples, o->level);
    for (size_t i = 0; i < items->n; i++)
        if (!isfinite(x[i]) || (weight && !(isfinite(weight[i]) && weight[i] > 0)))
            return lethe_fail(
                err, LETHE_NONFINITE,
                "bootstrap: item %zu is %g with weight %g, want a finite number and a "
                "positive weight (leave such items out)",
                i, x[i], weight ? weight[i] : 1.0);
    return LETHE_OK;
}

/* What a group adds to numerator and denominator of a mean. */
typedef struct share {
    double sum, whole;
} share;

static void add_up(const double *x, const lethe_bootstrap_items *items, share *group) {
    for (size_t i = 0; i < items->n; i++) {
        double w = items->weight ? items->weight[i] : 1;
        share *g = &group[items->group ? items->group[i] : i];
        g->sum += w * x[i];
        g->whole += w;
    }
}

static double mean_of(const share *group, size_t n) {
    double sum = 0, whole = 0;
    for (size_t g = 0; g < n; g++) {
        sum += group[g].sum;
        whole += group[g].whole;
    }
    return sum / whole;
}

static double resample(const share *group, size_t n, uint64_t seed, size_t r) {
    lethe_rng rng = lethe_rng_make(seed, LETHE_BOOTSTRAP_STREAM + r);
    double sum = 0, whole = 0;
    for (size_t k = 0; k < n; k++) {
        const share *g = &group[lethe_rng_below(&rng, n)];
        sum += g->sum;
        whole += g->whole;
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

lethe_status lethe_bootstrap_mean(const double *x, const lethe_bootstrap_items *items,
                                  const lethe_bootstrap_opts *o, lethe_interval *out,
                                  lethe_err *err) {
    const size_t n = items->group ? items->n_groups : items->n;
    LETHE_TRY(check(x, items, o, err));
    if (n == 0) {
        *out = (lethe_interval){(double)NAN, (double)NAN, (double)NAN, 0};
        return LETHE_OK;
    }
    share *group;
    double *means = NULL;
    LETHE_TRY(lethe_zalloc(&group, n, sizeof *group, "groups of a bootstrap", err));
    lethe_status st = lethe_alloc(&means, o->resamples, sizeof *means, "means of a bootstrap", err);
    if (!st) {
        add_up(x, items, group);
        double mean = mean_of(group, n), tail = (1 - o->level) / 2;
#pragma omp parallel for schedule(static) num_threads(lethe_threads())
        for (size_t r = 0; r < o->resamples; r++) means[r] = resample(group, n, o->seed, r);
        qsort(means, o->resamples, sizeof *means, rising);
        *out = (lethe_interval){mean, quantile(means, o->resamples, tail),
                                quantile(means, o->resamples, 1 - tail), items->n};
        if (n == 1) out->low = out->high = mean;
    }
    lethe_free(means);
    lethe_free(group);
    return st;
}

/* A pair is one item, its difference: the mean is linear, so this is the difference of the means.
 */
lethe_status lethe_bootstrap_difference(const double *a, const double *b,
                                        const lethe_bootstrap_items *items,
                                        const lethe_bootstrap_opts *o, lethe_interval *out,
                                        lethe_err *err) {
    double *x;
    LETHE_TRY(lethe_alloc(&x, items->n, sizeof *x, "differences of a bootstrap", err));
    for (size_t i = 0; i < items->n; i++) x[i] = b[i] - a[i];
    lethe_status st = lethe_bootstrap_mean(x, items, o, out, err);
    lethe_free(x);
    return st;
}
