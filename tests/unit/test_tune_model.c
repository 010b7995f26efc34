/* SPDX-License-Identifier: MIT
 *
 * What a search tries next: on a cost whose least is known the model gets near it in far fewer
 * trials than drawing at random, it leaves a kind of removal that it knows to the end, and proposes
 * nothing twice.
 */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "stage/tune_model.h"
#include "support/support.h"

enum { TRIALS = 56, START = 16 };

static lethe_tune_space space(void) {
    return (lethe_tune_space){.layer = {3, 5, 8}, .n_layers = 3, .effect = true};
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

static lethe_genome next(const lethe_tune_space *s, const lethe_genome *tried, const double *cost,
                         size_t n, uint64_t seed) {
    lethe_genome out;
    bool found = false;
    lethe_err err = {0};
    lethe_rng r = lethe_rng_make(seed, n);
    assert_ok(lethe_genome_promising(s, tried, cost, n, &r, &out, &found, &err), &err);
    assert_true(found);
    return out;
}

static void search(uint64_t seed, lethe_genome *tried, double *cost) {
    const lethe_tune_space s = space();
    for (size_t n = 0; n < TRIALS; n++) {
        tried[n] =
            n < START ? lethe_genome_start(&s, n, START, seed) : next(&s, tried, cost, n, seed);
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
    enum { SEEDS = 6 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        search(seed, tried, cost);
        model += least(cost, TRIALS) / SEEDS;
        for (size_t i = 0; i < TRIALS; i++) {
            lethe_genome g = lethe_genome_start(&s, i, TRIALS, seed);
            cost[i] = cost_of(&g);
        }
        drawn += least(cost, TRIALS) / SEEDS;
    }
    print_message("least cost of %d trials: %.3f, drawn evenly %.3f\n", TRIALS, model, drawn);
    assert_true(model < 0.1);
    assert_true(model < drawn / 4);
}

/* The same trials, the same proposals. */
static void test_repeats(void **state) {
    (void)state;
    lethe_genome a[TRIALS], b[TRIALS];
    double cost[TRIALS];
    search(3, a, cost);
    search(3, b, cost);
    for (size_t i = 0; i < TRIALS; i++) assert_true(lethe_genome_equal(&a[i], &b[i]));
}

/* Costs that are not finite are no good ones, one trial is enough to go on from, and equal costs
 * have no spread to divide by. */
static void test_odd(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    lethe_genome tried[5];
    double cost[5] = {NAN, INFINITY, NAN, INFINITY, NAN};
    for (size_t i = 0; i < 5; i++) tried[i] = lethe_genome_start(&s, i, 5, 1);
    next(&s, tried, cost, 5, 1);
    cost[3] = 0;
    next(&s, tried, cost, 5, 1);
    next(&s, tried, cost, 1, 1);
    cost[0] = 0.5;
    lethe_genome near = next(&s, tried, cost, 1, 1);
    assert_false(lethe_genome_equal(&near, &tried[0])); /* all is open yet, but not this place */
}

/* Equal costs say nothing, and rounding must not make something of it: the first proposal is unlike
 * all that was tried, however many there were and whether they cost something or failed. */
static void test_equal(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    for (size_t n = 1; n <= 16; n++) {
        lethe_genome tried[16];
        double cost[16], failed[16];
        for (size_t i = 0; i < n; i++) {
            tried[i] = lethe_genome_start(&s, i, n, 1);
            cost[i] = 0.3;
            failed[i] = INFINITY;
        }
        lethe_genome a = next(&s, tried, cost, n, 1), b = next(&s, tried, failed, n, 1);
        assert_true(lethe_genome_equal(&a, &b));
    }
}

/* Memory runs out in every place. */
static void test_no_memory(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    lethe_genome tried[3], out;
    double cost[3] = {1, 2, 3};
    for (size_t i = 0; i < 3; i++) tried[i] = lethe_genome_start(&s, i, 3, 1);
    size_t allowed = 0;
    for (;; allowed++) {
        bool found;
        lethe_err err = {0};
        lethe_rng r = lethe_rng_make(1, 1);
        lethe_mem_fail_after(allowed);
        lethe_status st = lethe_genome_promising(&s, tried, cost, 3, &r, &out, &found, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK) break;
        assert_int_equal(st, LETHE_NOMEM);
    }
    assert_true(allowed >= 3);
}

/* Far more trials than the model takes: the best are among those that it takes. */
static void test_many(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    enum { N = 600 };
    static lethe_genome tried[N];
    static double cost[N];
    lethe_rng r = lethe_rng_make(6, 6);
    for (size_t i = 0; i < N; i++) {
        tried[i] = lethe_genome_start(&s, lethe_rng_below(&r, N), N, 5);
        cost[i] = cost_of(&tried[i]);
    }
    lethe_genome out = next(&s, tried, cost, N, 1);
    assert_true(cost_of(&out) < least(cost, N));
}

/* One kind is the best but is known from end to end, and nothing is gained by going on with it. */
static void test_variety(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    enum { N = 90 };
    lethe_genome tried[N];
    double cost[N];
    for (size_t i = 0; i < N; i++) {
        tried[i] = lethe_genome_start(&s, i, N, 5);
        if (i >= 10)
            tried[i].gene[LETHE_GENE_LAYER] = tried[i].gene[LETHE_GENE_SELECT] =
                tried[i].gene[LETHE_GENE_METHOD] = 1;
        cost[i] = i >= 10 ? 0.1 : 0.2;
    }
    lethe_genome out = next(&s, tried, cost, N, 2);
    assert_false(lethe_genome_alike(&out, &tried[N - 1]));
}

/* Features that do not pass are not asked for again. */
static void test_settled(void **state) {
    (void)state;
    lethe_tune_space s = space();
    lethe_genome tried[TRIALS];
    double cost[TRIALS];
    for (size_t i = 0; i < TRIALS; i++) tried[i] = lethe_genome_start(&s, i, TRIALS, 1);
    for (uint8_t layer = 0; layer < 3; layer++)
        for (uint8_t by = 0; by < 4; by++) {
            lethe_genome g = tried[0];
            g.gene[LETHE_GENE_LAYER] = layer;
            g.gene[LETHE_GENE_SELECT] = by;
            lethe_tune_features_end(&s, &g, 61); /* between the places of 48 and 64 */
        }
    for (size_t i = 0; i < TRIALS; i++) {
        cost[i] = 1 / (1 + (double)tried[i].gene[LETHE_GENE_FEATURES]);
        lethe_genome_settle(&s, &tried[i]);
        assert_true(lethe_tune_params_of(&s, &tried[i]).num_features <= 64);
    }
    for (uint64_t seed = 0; seed < 5; seed++) {
        lethe_genome out = next(&s, tried, cost, TRIALS, seed);
        assert_true(lethe_tune_params_of(&s, &out).num_features <= 64);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds),   cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_odd),     cmocka_unit_test(test_many),
        cmocka_unit_test(test_variety), cmocka_unit_test(test_settled),
        cmocka_unit_test(test_equal),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
