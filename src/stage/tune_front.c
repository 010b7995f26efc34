/* SPDX-License-Identifier: MIT */
#include "stage/tune_front.h"

#include <math.h>

static double or_worst(double x) {
    return isnan(x) ? INFINITY : x;
}

bool lethe_point_beats(lethe_point a, lethe_point b) {
    double al = or_worst(a.left), bl = or_worst(b.left);
    double ad = or_worst(a.damage), bd = or_worst(b.damage);
    return al <= bl && ad <= bd && (al < bl || ad < bd);
}

void lethe_front_rank(const lethe_point *p, size_t n, uint32_t *rank) {
    for (size_t i = 0; i < n; i++) rank[i] = UINT32_MAX;
    size_t left = n;
    for (uint32_t r = 0; left; r++) {
        /* Points of this rank are told from those before by UINT32_MAX - 1 until the round is over.
         */
        for (size_t i = 0; i < n; i++) {
            if (rank[i] != UINT32_MAX) continue;
            bool beaten = false;
            for (size_t j = 0; j < n && !beaten; j++)
                beaten = rank[j] >= UINT32_MAX - 1 && lethe_point_beats(p[j], p[i]);
            if (!beaten) rank[i] = UINT32_MAX - 1;
        }
        for (size_t i = 0; i < n; i++)
            if (rank[i] == UINT32_MAX - 1) {
                rank[i] = r;
                left--;
            }
    }
}

static double value(lethe_point p, int objective) {
    return or_worst(objective ? p.damage : p.left);
}

/* Insertion sort: a few hundred points, nearly in order the second time. */
static void sort_by(const lethe_point *p, int objective, size_t *at, size_t n) {
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j && value(p[at[j]], objective) < value(p[at[j - 1]], objective); j--) {
            size_t t = at[j];
            at[j] = at[j - 1];
            at[j - 1] = t;
        }
}

static void crowd(const lethe_point *p, const size_t *at, size_t n, int objective,
                  double *crowding) {
    double least = value(p[at[0]], objective), most = value(p[at[n - 1]], objective);
    crowding[at[0]] = crowding[at[n - 1]] = INFINITY;
    if (!(most > least) || isinf(most)) return;
    for (size_t i = 1; i + 1 < n; i++)
        crowding[at[i]] +=
            (value(p[at[i + 1]], objective) - value(p[at[i - 1]], objective)) / (most - least);
}

void lethe_front_crowding(const lethe_point *p, const uint32_t *rank, size_t n, double *crowding,
                          size_t *scratch) {
    uint32_t ranks = 0;
    for (size_t i = 0; i < n; i++) {
        crowding[i] = 0;
        if (rank[i] >= ranks) ranks = rank[i] + 1;
    }
    for (uint32_t r = 0; r < ranks; r++) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            if (rank[i] == r) scratch[count++] = i;
        for (int objective = 0; objective < 2; objective++) {
            sort_by(p, objective, scratch, count);
            crowd(p, scratch, count, objective, crowding);
        }
    }
}
