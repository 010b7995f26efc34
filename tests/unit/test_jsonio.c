/* SPDX-License-Identifier: MIT
 *
 * JSON files: messages say file, place, got and wanted; nothing bad is written.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"

static const char *dir;
static lethe_err err;

static json_t *parse(const char *s) {
    json_error_t e;
    json_t *j = json_loads(s, JSON_DECODE_ANY, &e);
    if (!j) fail_msg("%s: %s", s, e.text);
    return j;
}

static void expect(lethe_status st, const char *message) {
    assert_int_equal(st, LETHE_FORMAT);
    assert_string_equal(err.text, message);
}

static void bad_files(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "line 1"},
        {"{", "line 1"},
        {"{\"a\": 1,\n \"a\": 2}", "line 2"},
        {"[1, 2] x", "end of file"},
        {"\"only a string\"", "expected"},
        {"[\"\xff\"]", "not valid JSON"},
        {"[\"\\u0000\"]", "not valid JSON"},
    };
    char *path = lethe_path_join(dir, "bad.json");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(lethe_write_file(path, bad[i].text, strlen(bad[i].text), &err), &err);
        json_t *j = NULL;
        assert_int_equal(lethe_json_load(&j, path, &err), LETHE_FORMAT);
        assert_null(j);
        assert_non_null(strstr(err.text, path));
        if (!strstr(err.text, bad[i].message)) fail_msg("case %zu: %s", i, err.text);
    }
    lethe_free(path);
    json_t *j = NULL;
    assert_int_equal(lethe_json_load(&j, "/nonexistent/x.json", &err), LETHE_NOTFOUND);
}

static void places(void **state) {
    (void)state;
    json_t *j = parse("{\"a\": [1, {\"b\": \"text\", \"c\": true, \"d\": 2.5}]}");
    lethe_json_ref top = lethe_json_top(j, "f.json"), a = lethe_json_key(&top, "a"),
                   o = lethe_json_item(&a, 1), b = lethe_json_key(&o, "b"),
                   c = lethe_json_key(&o, "c"), d = lethe_json_key(&o, "d"),
                   missing = lethe_json_key(&o, "e");
    int64_t i;
    double x;
    bool t = false;
    size_t n;
    const char *s;
    assert_ok(lethe_json_want_list(&a, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_ok(lethe_json_want_string(&b, &s, &err), &err);
    assert_string_equal(s, "text");
    assert_ok(lethe_json_want_bool(&c, &t, &err), &err);
    assert_true(t);
    assert_ok(lethe_json_want_real(&d, 0, 3, &x, &err), &err);
    assert_true(x == 2.5);
    lethe_json_ref one = lethe_json_item(&a, 0);
    assert_ok(lethe_json_want_real(&one, 0, 3, &x, &err), &err); /* whole numbers are reals, too */
    assert_ok(lethe_json_want_int(&one, 1, 1, &i, &err), &err);

    expect(lethe_json_want_int(&b, 0, 9, &i, &err),
           "f.json: a[1].b: got the string \"text\", want a whole number from 0 to 9");
    expect(lethe_json_want_int(&d, 0, 9, &i, &err),
           "f.json: a[1].d: got 2.5, want a whole number from 0 to 9");
    expect(lethe_json_want_int(&one, 2, 9, &i, &err),
           "f.json: a[0]: got 1, want a whole number from 2 to 9");
    expect(lethe_json_want_real(&d, 3, 4, &x, &err),
           "f.json: a[1].d: got 2.5, want a number from 3 to 4");
    expect(lethe_json_want_string(&missing, &s, &err),
           "f.json: a[1].e: got nothing (missing), want a string");
    expect(lethe_json_want_object(&a, &err), "f.json: a: got a list of 2, want an object");
    expect(lethe_json_want_list(&top, &n, &err), "f.json: the top: got an object, want a list");
    expect(lethe_json_want_bool(&a, &t, &err), "f.json: a: got a list of 2, want true or false");
    json_decref(j);
}

/* A place that is too long for a message is cut, not overrun. */
static void long_places(void **state) {
    (void)state;
    json_t *j = parse("{}");
    lethe_json_ref r = lethe_json_top(j, "f.json");
    for (int i = 0; i < 100; i++) r = lethe_json_key(&r, "a_rather_long_key");
    assert_int_equal(strlen(r.where), sizeof r.where - 1);
    json_decref(j);
}

static void writing(void **state) {
    (void)state;
    bool ok = true;
    json_t *o = json_object();
    lethe_json_put(o, "nan", lethe_json_real(NAN), &ok);
    lethe_json_put(o, "inf", lethe_json_real(-INFINITY), &ok);
    lethe_json_put(o, "x", lethe_json_real(0.1), &ok);
    lethe_json_put(o, "s",
                   lethe_json_text("a\xc3"
                                   "b\xe2\x82",
                                   5),
                   &ok);
    assert_true(ok);
    char *path = lethe_path_join(dir, "out.json");
    assert_ok(lethe_json_save(o, path, &err), &err);
    json_decref(o);
    json_t *j = NULL;
    assert_ok(lethe_json_load(&j, path, &err), &err);
    assert_true(json_is_null(json_object_get(j, "nan")));
    assert_true(json_is_null(json_object_get(j, "inf")));
    assert_true(json_real_value(json_object_get(j, "x")) == 0.1);
    assert_string_equal(json_string_value(json_object_get(j, "s")), "a\xef\xbf\xbd"
                                                                    "b\xef\xbf\xbd\xef\xbf\xbd");
    json_decref(j);
    lethe_free(path);
    lethe_json_put(NULL, "x", json_true(), &ok);
    assert_false(ok);
    assert_int_equal(lethe_json_save(NULL, "unused", &err), LETHE_NOMEM);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files),
        cmocka_unit_test(places),
        cmocka_unit_test(long_places),
        cmocka_unit_test(writing),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return rc;
}
