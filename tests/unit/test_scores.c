/* SPDX-License-Identifier: MIT
 *
 * ROUGE-L, Cohen's kappa, the bootstrap and multiple choice against worked examples computed by
 * other code (tests/data/make_scores.py), and the edges of their contracts.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "format/jsonio.h"
#include "stage/bootstrap.h"
#include "stage/choice.h"
#include "stage/kappa.h"
#include "stage/rouge.h"

static lethe_err err;
static json_t *cases;

static double real(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    if (json_is_null(v)) return (double)NAN;
    if (!json_is_number(v)) fail_msg("%s is no number", key);
    return json_number_value(v);
}

static int whole(const json_t *o, const char *key) {
    return (int)json_integer_value(json_object_get(o, key));
}

/* Both NaN, or close. */
static void near(const char *what, size_t i, double got, double want, double tolerance) {
    if (isnan(got) && isnan(want)) return;
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s, case %zu: got %.17g, want %.17g", what, i, got, want);
}

static double *reals(const json_t *list, size_t *n) {
    double *x = NULL;
    *n = json_array_size(list);
    assert_ok(lethe_alloc(&x, *n, sizeof *x, "numbers", &err), &err);
    for (size_t i = 0; i < *n; i++) x[i] = json_number_value(json_array_get(list, i));
    return x;
}

static const json_t *all(const char *name, size_t least) {
    const json_t *list = json_object_get(cases, name);
    assert_true(json_array_size(list) >= least);
    return list;
}

/* ---- ROUGE-L --------------------------------------------------------------------------------- */

static void rouge(void **state) {
    (void)state;
    const json_t *list = all("rouge_l", 40), *c;
    size_t i;
    json_array_foreach(list, i, c) {
        const json_t *a = json_object_get(c, "target"), *b = json_object_get(c, "prediction");
        lethe_rouge r;
        assert_ok(lethe_rouge_l(json_string_value(a), json_string_length(a), json_string_value(b),
                                json_string_length(b), &r, &err),
                  &err);
        assert_int_equal(r.target_tokens, whole(c, "target_tokens"));
        assert_int_equal(r.prediction_tokens, whole(c, "prediction_tokens"));
        assert_int_equal(r.common, whole(c, "common"));
        near("precision", i, r.precision, real(c, "precision"), 1e-15);
        near("recall", i, r.recall, real(c, "recall"), 1e-15);
        near("f1", i, r.f1, real(c, "f1"), 1e-15);
    }
}

/* Cut sequences, lone bytes and NUL part tokens; nothing is read past the end. */
static void rouge_bytes(void **state) {
    (void)state;
    lethe_rouge r;
    assert_ok(lethe_rouge_l("a\xff"
                            "b\0c\xe2\x84",
                            8, "a b c", 5, &r, &err),
              &err);
    assert_int_equal(r.target_tokens, 3);
    assert_int_equal(r.common, 3);
    assert_ok(lethe_rouge_l("abc", 2, "ab", 2, &r, &err), &err);
    assert_int_equal(r.common, 1);
}

static void rouge_memory(void **state) {
    (void)state;
    lethe_status st = LETHE_NOMEM;
    lethe_rouge r;
    size_t k = 0;
    for (; st == LETHE_NOMEM && k < 100; k++) {
        lethe_mem_fail_after(k);
        st = lethe_rouge_l("one two", 7, "two one", 7, &r, &err);
        lethe_mem_fail_after(SIZE_MAX);
    }
    assert_ok(st, &err);
    assert_int_equal(k, 6); /* two a text, a row, and none */
}

/* ---- kappa ----------------------------------------------------------------------------------- */

static void kappa(void **state) {
    (void)state;
    const json_t *list = all("kappa", 15), *c;
    size_t i;
    json_array_foreach(list, i, c) {
        int a[256], b[256];
        const json_t *ja = json_object_get(c, "a"), *jb = json_object_get(c, "b");
        size_t n = json_array_size(ja);
        assert_true(n <= 256 && n == json_array_size(jb));
        for (size_t k = 0; k < n; k++) {
            a[k] = (int)json_integer_value(json_array_get(ja, k));
            b[k] = (int)json_integer_value(json_array_get(jb, k));
        }
        lethe_kappa got;
        assert_ok(lethe_kappa_of(a, b, n, whole(c, "classes"), &got, &err), &err);
        assert_int_equal(got.n, whole(c, "n"));
        near("observed", i, got.observed, real(c, "observed"), 1e-15);
        near("expected", i, got.expected, real(c, "expected"), 1e-15);
        near("kappa", i, got.kappa, real(c, "kappa"), 1e-14);
    }
    near("the textbook's", 0, real(json_array_get(list, 0), "kappa"), 0.4, 1e-15);
}

static void kappa_limits(void **state) {
    (void)state;
    int a[] = {0, 4}, b[] = {0, 1};
    lethe_kappa got;
    assert_int_equal(lethe_kappa_of(a, b, 2, 4, &got, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "item 1 has classes 4 and 1 of 4"));
    assert_int_equal(lethe_kappa_of(a, b, 1, 0, &got, &err), LETHE_USAGE);
    assert_int_equal(lethe_kappa_of(a, b, 1, LETHE_KAPPA_CLASSES + 1, &got, &err), LETHE_USAGE);
}

/* ---- bootstrap ------------------------------------------------------------------------------- */

static void near_interval(size_t i, const lethe_interval *got, const json_t *want) {
    near("mean", i, got->mean, real(want, "mean"), 1e-12);
    near("low", i, got->low, real(want, "low"), 1e-12);
    near("high", i, got->high, real(want, "high"), 1e-12);
}

static void bootstrap(void **state) {
    (void)state;
    const json_t *list = all("bootstrap", 7), *c;
    size_t i;
    json_array_foreach(list, i, c) {
        size_t n, nb, nw;
        double *a = reals(json_object_get(c, "a"), &n), *b = reals(json_object_get(c, "b"), &nb);
        double *w = reals(json_object_get(c, "weight"), &nw);
        assert_true(nb == n && (nw == n || nw == 0));
        lethe_bootstrap_opts o = {
            (size_t)whole(c, "resamples"), real(c, "level"),
            strtoull(json_string_value(json_object_get(c, "seed")), NULL, 10)};
        size_t ng;
        double *group = reals(json_object_get(c, "group"), &ng);
        size_t number[64], most = 0;
        assert_true(n <= 64 && (ng == n || ng == 0));
        for (size_t k = 0; k < ng; k++) {
            number[k] = (size_t)group[k];
            most = number[k] > most ? number[k] : most;
        }
        lethe_free(group);
        const lethe_bootstrap_items items = {n, nw ? w : NULL, ng ? number : NULL, most + 1};
        lethe_interval got, again;
        assert_ok(lethe_bootstrap_mean(a, &items, &o, &got, &err), &err);
        near_interval(i, &got, json_object_get(c, "mean_a"));
        assert_int_equal(got.n, n);
        assert_ok(lethe_bootstrap_difference(a, b, &items, &o, &got, &err), &err);
        near_interval(i, &got, json_object_get(c, "difference"));
        lethe_threads_set(3); /* the same bytes */
        assert_ok(lethe_bootstrap_difference(a, b, &items, &o, &again, &err), &err);
        lethe_threads_set(1);
        assert_memory_equal(&got, &again, sizeof got);
        lethe_free(a);
        lethe_free(b);
        lethe_free(w);
    }
}

static lethe_status mean_now(const double *x, const double *weight, size_t n,
                             const lethe_bootstrap_opts *o, lethe_interval *out, lethe_err *e) {
    const lethe_bootstrap_items items = {.n = n, .weight = weight};
    return lethe_bootstrap_mean(x, &items, o, out, e);
}

/* How wide it ought to be: of n coin tosses about 1.96 standard errors each way. */
static void bootstrap_width(void **state) {
    (void)state;
    double x[400];
    for (size_t i = 0; i < 400; i++) x[i] = i % 4 == 0;
    lethe_bootstrap_opts o = lethe_bootstrap_defaults();
    lethe_interval got, other;
    assert_ok(mean_now(x, NULL, 400, &o, &got, &err), &err);
    double half = 1.96 * sqrt(0.25 * 0.75 / 400);
    assert_true(got.mean == 0.25);
    assert_true(fabs((got.mean - got.low) / half - 1) < 0.12);
    assert_true(fabs((got.high - got.mean) / half - 1) < 0.12);
    /* The same tosses, each written down four times: no surer than before. */
    double four[1600];
    size_t group[1600];
    for (size_t i = 0; i < 1600; i++) {
        four[i] = x[i / 4];
        group[i] = i / 4;
    }
    const lethe_bootstrap_items grouped = {1600, NULL, group, 400};
    assert_ok(lethe_bootstrap_mean(four, &grouped, &o, &other, &err), &err);
    assert_true(other.n == 1600 && other.mean == got.mean);
    assert_true(other.low == got.low && other.high == got.high);
    o.seed = 1;
    assert_ok(mean_now(x, NULL, 400, &o, &other, &err), &err);
    assert_true(memcmp(&got, &other, sizeof got) != 0);
}

static void bootstrap_edges(void **state) {
    (void)state;
    lethe_bootstrap_opts o = lethe_bootstrap_defaults();
    lethe_interval got;
    double x[] = {2.5, (double)NAN}, w[] = {1, 0};
    assert_ok(mean_now(x, NULL, 0, &o, &got, &err), &err);
    assert_true(isnan(got.mean) && isnan(got.low) && isnan(got.high) && got.n == 0);
    assert_ok(mean_now(x, NULL, 1, &o, &got, &err), &err);
    assert_true(got.mean == 2.5 && got.low == 2.5 && got.high == 2.5 && got.n == 1);
    assert_int_equal(mean_now(x, NULL, 2, &o, &got, &err), LETHE_NONFINITE);
    assert_non_null(strstr(err.text, "item 1 is nan"));
    x[1] = 1;
    assert_int_equal(mean_now(x, w, 2, &o, &got, &err), LETHE_NONFINITE);
    o.level = 1;
    assert_int_equal(mean_now(x, NULL, 2, &o, &got, &err), LETHE_USAGE);
    o = (lethe_bootstrap_opts){0, 0.95, 0};
    assert_int_equal(mean_now(x, NULL, 2, &o, &got, &err), LETHE_USAGE);
    o.resamples = 10;
    lethe_mem_fail_after(0);
    lethe_status st = mean_now(x, NULL, 2, &o, &got, &err);
    lethe_mem_fail_after(SIZE_MAX);
    assert_int_equal(st, LETHE_NOMEM);
}

/* ---- multiple choice ------------------------------------------------------------------------- */

static void choice(void **state) {
    (void)state;
    const json_t *list = all("choice", 20), *c;
    size_t i;
    json_array_foreach(list, i, c) {
        const json_t *rows = json_object_get(c, "logprob"), *orders = json_object_get(c, "orders");
        size_t n = json_array_size(rows), options = json_array_size(json_array_get(rows, 0));
        double l[120 * 5];
        uint8_t order[120 * 5], made[LETHE_CHOICE_OPTIONS];
        assert_true(n <= 120 && options <= 5);
        assert_true(n == 1 || n == lethe_choice_orders(options));
        for (size_t r = 0; r < n; r++) {
            lethe_choice_order(options, r, made);
            for (size_t j = 0; j < options; j++) {
                l[r * options + j] = json_number_value(json_array_get(json_array_get(rows, r), j));
                order[r * options + j] =
                    (uint8_t)json_integer_value(json_array_get(json_array_get(orders, r), j));
                assert_int_equal(made[j], order[r * options + j]);
            }
        }
        lethe_choice got;
        assert_ok(lethe_choice_score(l, n == 1 ? NULL : order, n, options,
                                     (size_t)whole(c, "answer"), &got, &err),
                  &err);
        assert_int_equal(got.right, json_is_true(json_object_get(c, "right")));
        assert_int_equal(got.strict, json_is_true(json_object_get(c, "strict")));
        near("mean", i, got.mean, real(c, "mean"), 1e-15);
        near("probability", i, got.probability, real(c, "probability"), 1e-14);
    }
}

static void choice_edges(void **state) {
    (void)state;
    lethe_choice got;
    double l[] = {-1, (double)NAN, -INFINITY, -INFINITY}, up[] = {(double)INFINITY, 0};
    uint8_t twice[] = {1, 1}, beyond[] = {0, 7};
    assert_int_equal(lethe_choice_score(l, NULL, 1, 2, 0, &got, &err), LETHE_NONFINITE);
    assert_int_equal(lethe_choice_score(up, NULL, 1, 2, 0, &got, &err), LETHE_NONFINITE);
    assert_ok(lethe_choice_score(l + 2, NULL, 1, 2, 0, &got, &err), &err);
    assert_true(got.probability == 0.5 && got.right);
    l[1] = -INFINITY;
    assert_ok(lethe_choice_score(l, NULL, 1, 2, 0, &got, &err), &err);
    assert_true(got.probability == 1 && got.strict);
    assert_int_equal(lethe_choice_score(l, NULL, 1, 2, 2, &got, &err), LETHE_USAGE);
    assert_int_equal(lethe_choice_score(l, NULL, 2, 2, 0, &got, &err), LETHE_USAGE);
    assert_int_equal(lethe_choice_score(l, NULL, 1, 9, 0, &got, &err), LETHE_USAGE);
    assert_int_equal(lethe_choice_score(l, NULL, 1, 0, 0, &got, &err), LETHE_USAGE);
    assert_int_equal(lethe_choice_score(l, twice, 1, 2, 0, &got, &err), LETHE_USAGE);
    assert_int_equal(lethe_choice_score(l, beyond, 1, 2, 0, &got, &err), LETHE_USAGE);
    assert_int_equal(lethe_choice_orders(8), 40320);
}

static int load(void **state) {
    (void)state;
    return lethe_json_load(&cases, test_source("tests/data/scores.json"), &err) != LETHE_OK;
}

static int unload(void **state) {
    (void)state;
    json_decref(cases);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rouge),           cmocka_unit_test(rouge_bytes),
        cmocka_unit_test(rouge_memory),    cmocka_unit_test(kappa),
        cmocka_unit_test(kappa_limits),    cmocka_unit_test(bootstrap),
        cmocka_unit_test(bootstrap_width), cmocka_unit_test(bootstrap_edges),
        cmocka_unit_test(choice),          cmocka_unit_test(choice_edges),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
