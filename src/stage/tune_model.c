/* SPDX-License-Identifier: MIT */
#include "stage/tune_model.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* The model's time grows with the square of these: the best half and the newest of the others. */
#define MOST 320

/* What is looked at: all that differ in one gene from the best so far, some that differ in up to
 * two, and any. */
#define AROUND 8
#define PAIRS 500
#define ANY 3000

#define NOISE 0.02 /* s */

/* A thousandth is less than a question: nothing is better than that. */
#define LEAST_COST 1e-3

/* l_g, in places, of the lists that have an order. */
static const double length[LETHE_GENES] = {
    [LETHE_GENE_LAYER] = 1.2,
    [LETHE_GENE_FEATURES] = 4,
    [LETHE_GENE_STRENGTH] = 5,
    [LETHE_GENE_GUARD] = 3,
};

/* r_g of the others. */
static const double unlike[LETHE_GENES] = {
    [LETHE_GENE_SELECT] = 0.85,
    [LETHE_GENE_METHOD] = 0.4,
};

typedef struct process {
    size_t n;
    size_t *of;    /* [n] places in tried, the least cost first */
    double *z;     /* [n] */
    double *lower; /* [n, n] L of L L' = K + s I; only below and on the diagonal */
    double *alpha; /* [n] (K + s I)^-1 z */
    double *k;     /* [n] scratch */
} process;

static void process_free(process *p) {
    void *const all[] = {p->of, p->z, p->lower, p->alpha, p->k};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) lethe_free(all[i]);
}

static double covariance(const lethe_genome *a, const lethe_genome *b) {
    double sum = 0, product = 1;
    for (int g = 0; g < LETHE_GENES; g++) {
        double off = (double)a->gene[g] - b->gene[g];
        if (lethe_gene_in_order((lethe_gene)g))
            sum += off * off / (2 * length[g] * length[g]);
        else if (off != 0)
            product *= unlike[g];
    }
    return product * exp(-sum);
}

/* ---- the process ----------------------------------------------------------------------------- */

static bool costs_less(const double *cost, size_t a, size_t b) {
    bool fa = isfinite(cost[a]), fb = isfinite(cost[b]);
    if (fa != fb) return fa;
    return fa && cost[a] != cost[b] ? cost[a] < cost[b] : a < b;
}

/* All by cost; of more than MOST those that cost least, then the newest. */
static void take(process *p, const double *cost, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at && costs_less(cost, i, p->of[at - 1]); at--) p->of[at] = p->of[at - 1];
        p->of[at] = i;
    }
    p->n = n;
    for (size_t oldest = 0; p->n > MOST; oldest++) {
        size_t at = MOST / 2;
        while (at < p->n && p->of[at] != oldest) at++;
        if (at == p->n) continue;
        p->n--;
        memmove(p->of + at, p->of + at + 1, (p->n - at) * sizeof *p->of);
    }
}

static void standardise(process *p, const double *cost) {
    double worst = log(LEAST_COST), mean = 0, square = 0;
    for (size_t i = 0; i < p->n; i++) {
        double c = cost[p->of[i]];
        p->z[i] = isfinite(c) ? log(fmax(c, LEAST_COST)) : INFINITY;
        if (isfinite(c) && p->z[i] > worst) worst = p->z[i];
    }
    for (size_t i = 0; i < p->n; i++) {
        if (isinf(p->z[i])) p->z[i] = worst;
        mean += p->z[i] / (double)p->n;
    }
    for (size_t i = 0; i < p->n; i++) square += (p->z[i] - mean) * (p->z[i] - mean) / (double)p->n;
    double deviation = square > 1e-12 ? sqrt(square) : 1; /* less is rounding */
    for (size_t i = 0; i < p->n; i++) p->z[i] = (p->z[i] - mean) / deviation;
}

/* x = L^-1 x */
static void solve_lower(const process *p, double *x) {
    for (size_t i = 0; i < p->n; i++) {
        double sum = x[i];
        for (size_t j = 0; j < i; j++) sum -= p->lower[i * p->n + j] * x[j];
        x[i] = sum / p->lower[i * p->n + i];
    }
}

/* x = L'^-1 x */
static void solve_upper(const process *p, double *x) {
    for (size_t i = p->n; i-- > 0;) {
        x[i] /= p->lower[i * p->n + i];
        for (size_t j = 0; j < i; j++) x[j] -= p->lower[i * p->n + j] * x[i];
    }
}

/* Cholesky's decomposition; K + s I is positive definite, as K is a product of covariances. */
static void decompose(process *p, const lethe_genome *tried) {
    for (size_t i = 0; i < p->n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = covariance(&tried[p->of[i]], &tried[p->of[j]]) + (i == j ? NOISE : 0);
            const double *a = p->lower + i * p->n, *b = p->lower + j * p->n;
            for (size_t l = 0; l < j; l++) sum -= a[l] * b[l];
            p->lower[i * p->n + j] = i == j ? sqrt(sum) : sum / b[j];
        }
}

static lethe_status fit(process *p, const lethe_genome *tried, const double *cost, size_t n,
                        lethe_err *err) {
    static const char what[] = "a model of the trials";
    size_t most = n < MOST ? n : MOST;
    LETHE_TRY(lethe_alloc(&p->of, n, sizeof *p->of, what, err));
    LETHE_TRY(lethe_alloc(&p->z, most, sizeof *p->z, what, err));
    LETHE_TRY(lethe_alloc(&p->lower, most, most * sizeof *p->lower, what, err));
    LETHE_TRY(lethe_alloc(&p->alpha, most, sizeof *p->alpha, what, err));
    LETHE_TRY(lethe_alloc(&p->k, most, sizeof *p->k, what, err));
    take(p, cost, n);
    standardise(p, cost);
    decompose(p, tried);
    memcpy(p->alpha, p->z, p->n * sizeof *p->z);
    solve_lower(p, p->alpha);
    solve_upper(p, p->alpha);
    return LETHE_OK;
}

static double expected_improvement(const process *p, const lethe_genome *tried,
                                   const lethe_genome *x) {
    double mean = 0, variance = 1;
    for (size_t i = 0; i < p->n; i++) {
        p->k[i] = covariance(x, &tried[p->of[i]]);
        mean += p->k[i] * p->alpha[i];
    }
    solve_lower(p, p->k);
    for (size_t i = 0; i < p->n; i++) variance -= p->k[i] * p->k[i];
    double deviation = sqrt(fmax(variance, 1e-12)), u = (p->z[0] - mean) / deviation;
    return deviation * (u * 0.5 * erfc(-u * M_SQRT1_2) + exp(-u * u / 2) / sqrt(2 * M_PI));
}

/* ---- the best of many ------------------------------------------------------------------------ */

typedef struct contest {
    const lethe_tune_space *s;
    const process *p;
    const lethe_genome *tried;
    size_t n;
    double most;
    lethe_genome *out;
} contest;

static void consider(contest *c, lethe_genome x) {
    lethe_genome_settle(c->s, &x);
    if (lethe_genome_among(c->tried, c->n, &x)) return;
    double gain = expected_improvement(c->p, c->tried, &x);
    if (gain <= c->most) return;
    c->most = gain;
    *c->out = x;
}

static void redraw(const lethe_tune_space *s, lethe_genome *x, lethe_gene g, lethe_rng *r) {
    x->gene[g] = (uint8_t)lethe_rng_below(r, lethe_tune_gene_size(s, g));
}

static void consider_many(contest *c, lethe_rng *r) {
    size_t around = c->p->n < AROUND ? c->p->n : AROUND;
    for (size_t i = 0; i < around; i++)
        for (int g = 0; g < LETHE_GENES; g++) {
            lethe_genome x = c->tried[c->p->of[i]];
            size_t size = lethe_tune_gene_size(c->s, (lethe_gene)g);
            for (size_t v = 0; v < size; v++) {
                x.gene[g] = (uint8_t)v;
                consider(c, x);
            }
        }
    for (int i = 0; i < PAIRS; i++) {
        lethe_genome x = c->tried[c->p->of[lethe_rng_below(r, around)]];
        for (int twice = 0; twice < 2; twice++)
            redraw(c->s, &x, (lethe_gene)lethe_rng_below(r, LETHE_GENES), r);
        consider(c, x);
    }
    for (int i = 0; i < ANY; i++) {
        lethe_genome x;
        for (int g = 0; g < LETHE_GENES; g++) redraw(c->s, &x, (lethe_gene)g, r);
        consider(c, x);
    }
}

lethe_status lethe_genome_promising(const lethe_tune_space *s, const lethe_genome *tried,
                                    const double *cost, size_t n, lethe_rng *r, lethe_genome *out,
                                    bool *found, lethe_err *err) {
    process p = {0};
    contest c = {.s = s, .p = &p, .tried = tried, .n = n, .most = -INFINITY, .out = out};
    lethe_status st = fit(&p, tried, cost, n, err);
    if (!st) consider_many(&c, r);
    *found = c.most > -INFINITY;
    process_free(&p);
    return st;
}
