/* SPDX-License-Identifier: MIT */
#include "stage/tune_model.h"

#include <math.h>
#include <string.h>

#define DRAWS 48
#define GOOD_LEAST 4
#define GOOD_SHARE 4 /* one of so many */
#define GOOD_VARIANTS 3
#define BESIDE 4
#define REACH 3 /* steps that a value speaks for beside its own */

/* Lists are shorter than this. */
#define MOST_VALUES LETHE_TUNE_LAYERS

typedef struct density {
    double p[LETHE_GENES][MOST_VALUES];
} density;

/* Marks so many trials of least cost, at most `most` variants of one removal. */
static void mark_good(const lethe_genome *tried, const double *cost, size_t n, size_t want,
                      size_t most, bool *good) {
    memset(good, 0, n * sizeof *good);
    for (size_t taken = 0; taken < want; taken++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            if (good[i] || !isfinite(cost[i]) || (best < n && cost[i] >= cost[best])) continue;
            size_t variants = 0;
            for (size_t o = 0; o < n; o++)
                variants += good[o] && lethe_genome_alike(&tried[o], &tried[i]);
            if (variants < most) best = i;
        }
        if (best == n) return;
        good[best] = true;
    }
}

static void add(const lethe_tune_space *s, density *d, const lethe_genome *x) {
    for (int g = 0; g < LETHE_GENES; g++) {
        size_t size = lethe_tune_gene_size(s, (lethe_gene)g), at = x->gene[g];
        d->p[g][at] += 1;
        if (!lethe_gene_in_order((lethe_gene)g)) continue;
        double share = 1;
        for (size_t step = 1; step <= REACH; step++) {
            share *= 0.5;
            if (at >= step) d->p[g][at - step] += share;
            if (at + step < size) d->p[g][at + step] += share;
        }
    }
}

static void begin(const lethe_tune_space *s, density *d) {
    for (int g = 0; g < LETHE_GENES; g++) {
        size_t size = lethe_tune_gene_size(s, (lethe_gene)g);
        for (size_t v = 0; v < size; v++) d->p[g][v] = 1 / (double)size;
    }
}

static void normalise(const lethe_tune_space *s, density *d) {
    for (int g = 0; g < LETHE_GENES; g++) {
        size_t size = lethe_tune_gene_size(s, (lethe_gene)g);
        double sum = 0;
        for (size_t v = 0; v < size; v++) sum += d->p[g][v];
        for (size_t v = 0; v < size; v++) d->p[g][v] /= sum;
    }
}

static lethe_genome draw(const lethe_tune_space *s, const density *d, lethe_rng *r) {
    lethe_genome x;
    for (int g = 0; g < LETHE_GENES; g++) {
        size_t last = lethe_tune_gene_size(s, (lethe_gene)g) - 1, v = 0;
        double u = lethe_rng_uniform(r);
        while (v < last && u >= d->p[g][v]) u -= d->p[g][v++];
        x.gene[g] = (uint8_t)v;
    }
    return x;
}

static bool among(const lethe_genome *tried, size_t n, const lethe_genome *x) {
    for (size_t i = 1; i < n; i++)
        if (lethe_genome_equal(&tried[i], x)) return true;
    return false;
}

bool lethe_genome_promising(const lethe_tune_space *s, const lethe_genome *tried,
                            const double *cost, size_t n, bool *scratch, lethe_rng *r,
                            lethe_genome *out) {
    double best = -INFINITY;
    density good, bad;
    size_t quarter = n / GOOD_SHARE > GOOD_LEAST ? n / GOOD_SHARE : GOOD_LEAST;
    mark_good(tried, cost, n, quarter, GOOD_VARIANTS, scratch);
    begin(s, &good);
    begin(s, &bad);
    for (size_t i = 0; i < n; i++) add(s, scratch[i] ? &good : &bad, &tried[i]);
    normalise(s, &good);
    normalise(s, &bad);
    for (int i = 0; i < DRAWS; i++) {
        lethe_genome x = draw(s, &good, r);
        double gain = 0;
        for (int g = 0; g < LETHE_GENES; g++)
            gain += log(good.p[g][x.gene[g]] / bad.p[g][x.gene[g]]);
        if (gain > best && !among(tried, n, &x)) {
            best = gain;
            *out = x;
        }
    }
    return best > -INFINITY;
}

bool lethe_genome_beside(const lethe_tune_space *s, const lethe_genome *tried, const double *cost,
                         size_t n, bool *scratch, lethe_rng *r, lethe_genome *out) {
    static const lethe_gene may_change[] = {LETHE_GENE_FEATURES, LETHE_GENE_STRENGTH,
                                            LETHE_GENE_STRENGTH, LETHE_GENE_GUARD};
    mark_good(tried, cost, n, BESIDE, 1, scratch);
    size_t from[BESIDE], kinds = 0;
    for (size_t i = 0; i < n; i++)
        if (scratch[i]) from[kinds++] = i;
    for (int i = 0; kinds && i < DRAWS; i++) {
        *out = tried[from[lethe_rng_below(r, kinds)]];
        lethe_gene g = may_change[lethe_rng_below(r, sizeof may_change / sizeof *may_change)];
        size_t size = lethe_tune_gene_size(s, g), now = out->gene[g];
        bool up = lethe_rng_below(r, 2);
        if (up ? now + 1 == size : now == 0) continue;
        out->gene[g] = (uint8_t)(up ? now + 1 : now - 1);
        if (!among(tried, n, out)) return true;
    }
    return false;
}
