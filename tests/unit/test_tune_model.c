/* SPDX-License-Identifier: MIT
 *
 * What a search tries next: on a cost whose least is known the model gets near it in far fewer
 * trials than drawing at random, one kind of removal does not take all of them, and a step aside
 * changes one gene of a good trial by one place.
 */
#include <math.h>
#include <stdlib.h>

#include "stage/tune_model.h"
#include "support/support.h"

enum { TRIALS = 96, START = 16 };

static lethe_tune_space space(void) {
    return (lethe_tune_space){.layer = {3, 5, 8}, .n_layers = 3, .effect = true, .guard = true};
}

/* Least, 0, at layer 1, 8 places of features, ranking 2, method 4, strength 6, guard 3. */
static double cost_of(const lethe_genome *g) {
    static const int best[LETHE_GENES] = {1, 8, 2, 4, 6, 3};
    double cost = 0;
    for (int i = 0; i < LETHE_GENES; i++) {
        int off = abs(g->gene[i] - best[i]);
        cost += lethe_gene_in_order((lethe_gene)i) ? 0.05 * off : 0.3 * (off > 0);
    }
    return cost;
}

static double least(const double *cost, size_t n) {
    double best = INFINITY;
    for (size_t i = 0; i < n; i++) best = fmin(best, cost[i]);
    return best;
}

/* A search of so many trials; refine: every other one is a step aside, as long
 * as there is one that is new. */
static void search(uint64_t seed, bool refine, lethe_genome *tried, double *cost) {
    const lethe_tune_space s = space();
    bool scratch[TRIALS];
    for (size_t n = 0; n < TRIALS; n++) {
        lethe_rng r = lethe_rng_make(seed, n);
        if (n < START)
            tried[n] = lethe_genome_start(&s, n, START, seed);
        else if (!(refine && n % 2) ||
                 !lethe_genome_beside(&s, tried, cost, n, scratch, &r, &tried[n]))
            assert_true(lethe_genome_promising(&s, tried, cost, n, scratch, &r, &tried[n]));
        for (int g = 0; g < LETHE_GENES; g++)
            assert_true(tried[n].gene[g] < lethe_tune_gene_size(&s, (lethe_gene)g));
        for (size_t i = 1; i < n && n >= START; i++)
            assert_false(lethe_genome_equal(&tried[i], &tried[n]));
        cost[n] = cost_of(&tried[n]);
    }
}

static void test_finds(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    lethe_genome tried[TRIALS];
    double cost[TRIALS], model = 0, drawn = 0;
    enum { SEEDS = 10 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        search(seed, true, tried, cost);
        model += least(cost, TRIALS) / SEEDS;
        for (size_t i = 0; i < TRIALS; i++) {
            lethe_genome g = lethe_genome_start(&s, i, TRIALS, seed);
            cost[i] = cost_of(&g);
        }
        drawn += least(cost, TRIALS) / SEEDS;
    }
    print_message("least cost of %d trials: %.3f, drawn evenly %.3f\n", TRIALS, model, drawn);
    assert_true(model < 0.1);
    assert_true(model < drawn / 3);
}

/* Costs that are not finite are no good ones, and too few trials are no obstacle. */
static void test_odd(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    lethe_genome tried[5], out;
    bool scratch[5];
    double cost[5] = {NAN, INFINITY, NAN, INFINITY, NAN};
    lethe_rng r = lethe_rng_make(1, 1);
    for (size_t i = 0; i < 5; i++) tried[i] = lethe_genome_start(&s, i, 5, 1);
    assert_true(lethe_genome_promising(&s, tried, cost, 5, scratch, &r, &out));
    assert_false(lethe_genome_beside(&s, tried, cost, 5, scratch, &r, &out));
    cost[3] = 1;
    assert_true(lethe_genome_promising(&s, tried, cost, 1, scratch, &r, &out));
    assert_true(lethe_genome_beside(&s, tried, cost, 5, scratch, &r, &out));
    assert_true(lethe_genome_alike(&out, &tried[3]));
}

/* Many trials of one kind that are all the best: others are asked for all the same. */
static void test_variety(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    enum { N = 80 };
    lethe_genome tried[N], out;
    double cost[N];
    bool scratch[N];
    for (size_t i = 0; i < N; i++) {
        tried[i] = lethe_genome_start(&s, i, N, 5);
        if (i >= 40) /* one kind */
            tried[i].gene[LETHE_GENE_LAYER] = tried[i].gene[LETHE_GENE_SELECT] =
                tried[i].gene[LETHE_GENE_METHOD] = 1;
        cost[i] = i >= 40 ? 0.1 : 0.2;
    }
    size_t other = 0;
    for (uint64_t n = 0; n < 40; n++) {
        lethe_rng r = lethe_rng_make(2, n);
        assert_true(lethe_genome_promising(&s, tried, cost, N, scratch, &r, &out));
        other += !lethe_genome_alike(&out, &tried[N - 1]);
    }
    assert_in_range(other, 20, 40);
}

static void test_beside(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    lethe_genome tried[TRIALS], again[TRIALS];
    double cost[TRIALS];
    bool scratch[TRIALS];
    search(3, false, tried, cost);
    search(3, false, again, cost);
    for (size_t i = 0; i < TRIALS; i++) assert_true(lethe_genome_equal(&tried[i], &again[i]));
    for (uint64_t n = 0; n < 200; n++) {
        lethe_rng r = lethe_rng_make(4, n);
        lethe_genome out;
        assert_true(lethe_genome_beside(&s, tried, cost, TRIALS, scratch, &r, &out));
        size_t parents = 0;
        for (size_t i = 0; i < TRIALS; i++) {
            int off = 0;
            for (int g = 0; g < LETHE_GENES; g++) off += abs(out.gene[g] - tried[i].gene[g]);
            parents += off == 1 && lethe_genome_alike(&out, &tried[i]);
        }
        assert_true(parents > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_variety),
        cmocka_unit_test(test_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
