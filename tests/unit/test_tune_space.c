/* SPDX-License-Identifier: MIT
 *
 * Genomes: every draw is within the space, the start covers it evenly, children resemble their
 * parents, numbers and genes belong together.
 */
#include <string.h>

#include "stage/tune_space.h"
#include "support/support.h"

static lethe_tune_space space(void) {
    return (lethe_tune_space){.layer = {3, 5, 8}, .n_layers = 3, .effect = true};
}

static void check_within(const lethe_tune_space *s, const lethe_genome *g) {
    for (int i = 0; i < LETHE_GENES; i++)
        assert_true(g->gene[i] < lethe_tune_gene_size(s, (lethe_gene)i));
    const lethe_tune_params p = lethe_tune_params_of(s, g);
    assert_true(p.layer == 3 || p.layer == 5 || p.layer == 8);
    assert_true(p.num_features > 0);
    lethe_intervention how = p.how;
    how.guard_threshold = 0.5;
    lethe_err err = {0};
    assert_ok(lethe_intervention_check(&how, &err), &err);
}

static void test_start(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    enum { N = 72 };
    for (int g = 0; g < LETHE_GENES; g++) {
        size_t count[64] = {0}, size = lethe_tune_gene_size(&s, (lethe_gene)g);
        for (uint64_t i = 0; i < N; i++) {
            lethe_genome x = lethe_genome_start(&s, i, N, 7);
            check_within(&s, &x);
            count[x.gene[g]]++;
        }
        for (size_t v = 0; v < size; v++) /* evenly, to a rounding */
            assert_in_range(count[v], N / size, (N + size - 1) / size);
    }
}

static void test_child(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    lethe_rng r = lethe_rng_make(1, 2);
    size_t changed = 0, other = 0;
    enum { N = 2000 };
    for (int i = 0; i < N; i++) {
        lethe_genome a = lethe_genome_start(&s, lethe_rng_below(&r, 24), 24, 1);
        lethe_genome b = lethe_genome_start(&s, lethe_rng_below(&r, 24), 24, 2);
        lethe_genome c = lethe_genome_child(&s, &a, &b, &r);
        check_within(&s, &c);
        for (int g = 0; g < LETHE_GENES; g++) {
            changed += c.gene[g] != a.gene[g] && c.gene[g] != b.gene[g];
            other += c.gene[g] == b.gene[g] && a.gene[g] != b.gene[g];
        }
    }
    assert_in_range(changed, N / 3, N);
    assert_true(other > N);
}

/* The same seed and number give the same genome; another seed another one. */
static void test_seed(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    size_t differ = 0;
    for (uint64_t i = 0; i < 24; i++) {
        lethe_genome a = lethe_genome_start(&s, i, 24, 1), b = lethe_genome_start(&s, i, 24, 1);
        lethe_genome c = lethe_genome_start(&s, i, 24, 2);
        assert_true(lethe_genome_equal(&a, &b));
        differ += !lethe_genome_equal(&a, &c);
    }
    assert_true(differ > 12);
}

static void test_near(void **state) {
    (void)state;
    const lethe_tune_space s = space();
    for (uint64_t i = 0; i < 72; i++) {
        lethe_genome g = lethe_genome_start(&s, i, 72, 3);
        lethe_tune_params p = lethe_tune_params_of(&s, &g);
        lethe_genome back = lethe_genome_near(&s, &p);
        assert_true(lethe_genome_equal(&g, &back));
    }
}

static void test_select(void **state) {
    (void)state;
    for (size_t i = 0; lethe_tune_select_name(i); i++) {
        lethe_feature_opts o = lethe_feature_defaults();
        lethe_tune_select_apply(lethe_tune_select_name(i), &o);
        assert_string_equal(lethe_tune_select_of(&o), lethe_tune_select_name(i));
    }
}

/* What asks for more features than pass is the removal that asks for the least of those. */
static void test_features_end(void **state) {
    (void)state;
    static const struct {
        size_t passed, asked;
    } cases[] = {{1, 16}, {16, 16}, {17, 24}, {100, 100}, {101, 125}, {399, 400}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        lethe_tune_space s = space();
        lethe_genome g = lethe_genome_start(&s, 0, 24, 1), other = g;
        size_t last = lethe_tune_gene_size(&s, LETHE_GENE_FEATURES) - 1;
        other.gene[LETHE_GENE_LAYER] = (uint8_t)((g.gene[LETHE_GENE_LAYER] + 1) % 3);
        lethe_tune_features_end(&s, &g, cases[c].passed);
        for (size_t i = 0; i <= last; i++) {
            g.gene[LETHE_GENE_FEATURES] = other.gene[LETHE_GENE_FEATURES] = (uint8_t)i;
            size_t before = lethe_tune_params_of(&s, &g).num_features;
            lethe_genome_settle(&s, &g);
            lethe_genome_settle(&s, &other);
            size_t now = lethe_tune_params_of(&s, &g).num_features;
            assert_int_equal(now, before < cases[c].asked ? before : cases[c].asked);
            assert_int_equal(other.gene[LETHE_GENE_FEATURES], i); /* nothing is known of it */
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),  cmocka_unit_test(test_child),
        cmocka_unit_test(test_seed),   cmocka_unit_test(test_near),
        cmocka_unit_test(test_select), cmocka_unit_test(test_features_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
