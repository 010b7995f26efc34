/* SPDX-License-Identifier: MIT
 *
 * Measures: means, intervals, what is written of them.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/measure.h"
#include "stage/mention.h"

static const char *dir;
static lethe_err err;

static const lethe_measure_kind recall = {.group = LETHE_MEASURE_FORGET,
                                          .name = "recall",
                                          .title = "recall",
                                          .unit = "share"},
                                perplexity = {.group = LETHE_MEASURE_RETAIN,
                                              .name = "perplexity",
                                              .title = "perplexity",
                                              .unit = "perplexity",
                                              .rises = true,
                                              .exponential = true};

/* recall of hp: 4 items, 1 -> 0 for three of them; perplexity: two windows of 10 and 30 tokens. */
static lethe_measures sample(void) {
    lethe_measures ms = {0};
    lethe_measure *m;
    lethe_measure_item *item;
    assert_ok(lethe_measures_open(&ms, &recall, "hp", &m, &err), &err);
    for (int i = 0; i < 4; i++)
        assert_ok(lethe_measure_add(m, "Who?", "Ron", NULL, 1, i == 0, NULL, &err), &err);
    assert_ok(lethe_measures_open(&ms, &perplexity, NULL, &m, &err), &err);
    assert_ok(lethe_measure_add(m, NULL, NULL, NULL, 1, 1.5, &item, &err), &err);
    item->weight = 10;
    assert_ok(lethe_measure_add(m, NULL, NULL, NULL, 2, 2.25, &item, &err), &err);
    item->weight = 30;
    item->more[LETHE_ABLATED] = json_pack("{s:s}", "text", "so");
    return ms;
}

static void figures(void **state) {
    (void)state;
    lethe_measures ms = sample();
    assert_ok(lethe_measures_finish(&ms, true, &err), &err);
    const lethe_measure *m = lethe_measures_find(&ms, "recall", "hp");
    assert_true(m->side[0].mean == 1 && m->side[0].low == 1 && m->side[0].high == 1);
    assert_true(m->side[1].mean == 0.25 && m->side[1].low == 0 && m->side[1].high > 0.5);
    assert_true(m->difference.mean == -0.75);
    assert_null(lethe_measures_find(&ms, "recall", NULL));
    m = lethe_measures_find(&ms, "perplexity", NULL);
    double base = exp((10 * 1 + 30 * 2) / 40.0), now = exp((10 * 1.5 + 30 * 2.25) / 40.0);
    assert_true(fabs(m->side[0].mean - base) < 1e-9 && fabs(m->side[1].mean - now) < 1e-9);
    assert_true(fabs(m->difference.mean - (now - base)) < 1e-9);
    assert_true(fabs(m->side[0].low - exp(1)) < 1e-9 && fabs(m->side[0].high - exp(2)) < 1e-9);
    assert_true(m->difference.low > 0 && m->difference.low <= m->difference.mean &&
                m->difference.high >= m->difference.mean);
    lethe_measures_free(&ms);
}

/* Two facts of two and three wordings and an item of none: three that are independent. */
static void wordings_of_a_fact(void **state) {
    (void)state;
    static const char *const facts[] = {"ron", "owl", NULL, "ron", "owl", "owl"};
    lethe_measures ms = {0}, apart = {0};
    lethe_measure *m, *n;
    assert_ok(lethe_measures_open(&ms, &recall, "hp", &m, &err), &err);
    assert_ok(lethe_measures_open(&apart, &recall, "hp", &n, &err), &err);
    for (int i = 0; i < 6; i++) { /* all owls are known, the others are not */
        bool owl = facts[i] && !strcmp(facts[i], "owl");
        assert_ok(lethe_measure_add(m, "Who?", "x", facts[i], 1, owl, NULL, &err), &err);
        assert_ok(lethe_measure_add(n, "Who?", "x", NULL, 1, owl, NULL, &err), &err);
    }
    assert_ok(lethe_measures_finish(&ms, true, &err), &err);
    assert_ok(lethe_measures_finish(&apart, true, &err), &err);
    assert_true(m->n == 6 && m->facts == 3 && n->facts == 6);
    assert_true(m->side[1].mean == 0.5 && n->side[1].mean == 0.5);
    /* Once in 27 all three draws are the owl, so 1 is within; six items apart are so seldom. */
    assert_true(m->side[1].low == 0 && m->side[1].high == 1);
    assert_true(n->side[1].low > 0 && n->side[1].high < 1);
    lethe_measures_free(&ms);
    lethe_measures_free(&apart);
}

static void what_is_not_finite(void **state) {
    (void)state;
    lethe_measures ms = {0};
    lethe_measure *m;
    assert_ok(lethe_measures_open(&ms, &recall, "hp", &m, &err), &err);
    assert_ok(lethe_measure_add(m, "a", "b", NULL, -INFINITY, INFINITY, NULL, &err), &err);
    assert_true(m->item[0].value[0] == -1e9 && m->item[0].value[1] == 1e9);
    assert_int_equal(lethe_measure_add(m, "a", "b", NULL, NAN, 0, NULL, &err), LETHE_NONFINITE);
    assert_int_equal(m->n, 1);
    lethe_measures_free(&ms);
}

static void as_json(void **state) {
    (void)state;
    lethe_measures ms = sample();
    assert_ok(lethe_measures_finish(&ms, true, &err), &err);
    bool ok = true;
    json_t *list = lethe_measures_json(&ms, true, &ok);
    assert_true(ok);
    assert_int_equal(json_array_size(list), 2);
    json_t *o = json_array_get(list, 0), *p = json_array_get(list, 1);
    assert_string_equal(json_string_value(json_object_get(o, "group")), "forget");
    assert_string_equal(json_string_value(json_object_get(o, "domain")), "hp");
    assert_string_equal(json_string_value(json_object_get(o, "forgetting")), "lower");
    assert_int_equal(json_integer_value(json_object_get(o, "n")), 4);
    assert_true(json_number_value(json_object_get(json_object_get(o, "ablated"), "mean")) == 0.25);
    assert_true(json_number_value(json_object_get(json_object_get(o, "difference"), "mean")) ==
                -0.75);
    assert_string_equal(json_string_value(json_object_get(p, "forgetting")), "higher");
    assert_true(json_is_null(json_object_get(p, "domain")));
    json_decref(list);
    list = lethe_measures_json(&ms, false, &ok);
    o = json_array_get(list, 0);
    assert_true(json_is_null(json_object_get(o, "ablated")) &&
                json_is_null(json_object_get(o, "difference")));
    json_decref(list);
    lethe_measures_free(&ms);
}

static void items_of_it(void **state) {
    (void)state;
    lethe_measures ms = sample();
    char *path = lethe_path_join(dir, "items.jsonl");
    assert_ok(lethe_measures_save(&ms, true, path, &err), &err);
    lethe_map map;
    assert_ok(lethe_map_open(&map, path, &err), &err);
    const char *s = (const char *)map.data, *end = s + map.size;
    size_t lines = 0;
    json_t *last = NULL;
    while (s < end) {
        const char *stop = memchr(s, '\n', (size_t)(end - s));
        assert_non_null(stop);
        json_decref(last);
        last = json_loadb(s, (size_t)(stop - s), 0, NULL);
        assert_non_null(last);
        s = stop + 1;
        lines++;
    }
    assert_int_equal(lines, 6);
    assert_string_equal(json_string_value(json_object_get(last, "measure")), "perplexity");
    assert_int_equal(json_integer_value(json_object_get(last, "item")), 1);
    assert_true(json_number_value(json_object_get(last, "weight")) == 30);
    json_t *ablated = json_object_get(last, "ablated");
    assert_true(json_number_value(json_object_get(ablated, "value")) == 2.25);
    assert_string_equal(json_string_value(json_object_get(ablated, "text")), "so");
    json_decref(last);
    lethe_map_close(&map);
    lethe_free(path);
    assert_int_equal(lethe_measures_save(&ms, true, "/nowhere/items.jsonl", &err), LETHE_IO);
    lethe_measures_free(&ms);
}

static void for_people(void **state) {
    (void)state;
    lethe_measures ms = sample();
    assert_ok(lethe_measures_finish(&ms, true, &err), &err);
    lethe_strbuf out = {0};
    lethe_measures_table(&ms, true, &out);
    const char *s = lethe_strbuf_str(&out);
    assert_non_null(strstr(s, "Forgotten"));
    assert_non_null(strstr(s, "recall, hp"));
    assert_non_null(strstr(s, "100.0 % [100.0, 100.0]"));
    assert_non_null(strstr(s, "25.0 % [0.0, "));
    assert_null(strstr(s, "Under attack"));
    lethe_strbuf_free(&out);
    lethe_measures_free(&ms);
}

static void no_memory(void **state) {
    (void)state;
    bool done = false;
    for (size_t n = 0; n < 100 && !done; n++) {
        lethe_measures ms = {0};
        lethe_measure *m;
        lethe_mem_fail_after(n);
        lethe_status st = lethe_measures_open(&ms, &recall, "hp", &m, &err);
        if (st == LETHE_OK) st = lethe_measure_add(m, "a", "b", NULL, 0, 1, NULL, &err);
        if (st == LETHE_OK) st = lethe_measures_finish(&ms, true, &err);
        lethe_mem_fail_after(SIZE_MAX);
        done = st == LETHE_OK;
        if (!done) assert_int_equal(st, LETHE_NOMEM);
        lethe_measures_free(&ms);
    }
    assert_true(done);
}

static void mentions(void **state) {
    (void)state;
    assert_true(lethe_text_mentions("It is Ron, I think.", " Ron", false));
    assert_true(lethe_text_mentions("Ron", "Ron.", false));
    assert_false(lethe_text_mentions("Ronald and Byron", "Ron", false));
    assert_false(lethe_text_mentions("it is ron", "Ron", false));
    assert_true(lethe_text_mentions("it is ron", "Ron", true));
    assert_true(lethe_text_mentions("in Diagon Alley.", "Diagon Alley", false));
    assert_true(lethe_text_mentions("the Ron's owl, the MacRon, Ron", "Ron", false));
    assert_false(lethe_text_mentions("R\xc3\xb4n", "R", false)); /* in a longer word */
    assert_false(lethe_text_mentions("anything", " .", false));
    assert_false(lethe_text_mentions("", "Ron", false));
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures),
        cmocka_unit_test(wordings_of_a_fact),
        cmocka_unit_test(what_is_not_finite),
        cmocka_unit_test(as_json),
        cmocka_unit_test(items_of_it),
        cmocka_unit_test(for_people),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(mentions),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return rc;
}
