/* SPDX-License-Identifier: MIT
 *
 * Text metrics against the reference experiment's verdicts on 45 texts, and the edges of the rules.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/textmetrics.h"

static lethe_err err;

static double number(const json_t *item, const char *key) {
    json_t *v = json_object_get(item, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static bool verdict(const json_t *item, const char *key) {
    json_t *v = json_object_get(item, key);
    assert_true(json_is_boolean(v));
    return json_is_true(v);
}

/* jansson refuses NUL in strings unless told; one of the texts has it. */
static json_t *load(const char *path) {
    json_error_t e;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (!j) fail_msg("%s: %s", path, e.text);
    return j;
}

static void check(size_t i, const json_t *item) {
    const json_t *text = json_object_get(item, "text");
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    static const char *const key[] = {"distinct_1", "distinct_2", "distinct_3", "distinct_4"};
    for (size_t k = 0; k < 4; k++) {
        double got = -1, want = number(item, key[k]);
        assert_ok(lethe_text_distinct(s, n, k + 1, &got, &err), &err);
        if (fabs(got - want) > 1e-15)
            fail_msg("text %zu, %s: got %.17g, want %.17g", i, key[k], got, want);
    }
    bool stutters = false;
    assert_ok(lethe_text_stutters(s, n, &stutters, &err), &err);
    lethe_text_quality q;
    assert_ok(lethe_text_judge(s, n, &q, &err), &err);
    if (stutters != verdict(item, "stuttering")) fail_msg("text %zu: stuttering %d", i, stutters);
    if (q.degenerate != verdict(item, "degenerated"))
        fail_msg("text %zu: degenerate %d", i, q.degenerate);
    assert_int_equal(q.stutters, stutters);
    assert_true(fabs(q.distinct_2 - number(item, "distinct_2")) < 1e-15);
    assert_true(fabs(q.distinct_3 - number(item, "distinct_3")) < 1e-15);
}

static void reference(void **state) {
    (void)state;
    json_t *all = load(test_source("tests/data/text_metrics.json"));
    assert_int_equal(json_array_size(all), 45);
    for (size_t i = 0; i < json_array_size(all); i++) check(i, json_array_get(all, i));
    json_decref(all);
}

static bool stutters(const char *s) {
    bool out = false;
    assert_ok(lethe_text_stutters(s, strlen(s), &out, &err), &err);
    return out;
}

static void overlaps_do_not_count(void **state) {
    (void)state;
    assert_false(stutters("aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));   /* 29: twice without overlap */
    assert_true(stutters("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));   /* 30 */
    assert_true(stutters("0123456789a0123456789b0123456789")); /* ends with the third */
    assert_false(stutters("0123456789a0123456789b012345678")); /* one short */
}

/* 30 code points in 60 bytes: lengths are code points, not bytes. */
static void code_points(void **state) {
    (void)state;
    char text[61] = "";
    for (int i = 0; i < 29; i++) strcat(text, "\xc3\xa9");
    assert_false(stutters(text));
    strcat(text, "\xc3\xa9");
    assert_true(stutters(text));
}

static void bad_bytes(void **state) {
    (void)state;
    double got = 0; /* three words that read alike as U+FFFD */
    assert_ok(lethe_text_distinct("\xff \xfe \x80", 5, 1, &got, &err), &err);
    assert_true(fabs(got - 1.0 / 3) < 1e-15);
}

static void no_memory(void **state) {
    (void)state;
    lethe_status st = LETHE_NOMEM;
    lethe_text_quality q;
    const char *text = "one two three one two three one two three one two three";
    size_t k = 0;
    for (; st == LETHE_NOMEM && k < 100; k++) {
        lethe_mem_fail_after(k);
        st = lethe_text_judge(text, strlen(text), &q, &err);
        lethe_mem_fail_after(SIZE_MAX);
    }
    assert_ok(st, &err);
    assert_int_equal(k, 7); /* code points, words, numbers, and a sort for each metric */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference),   cmocka_unit_test(overlaps_do_not_count),
        cmocka_unit_test(code_points), cmocka_unit_test(bad_bytes),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
