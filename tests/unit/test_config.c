/* SPDX-License-Identifier: MIT
 *
 * The settings table: names, defaults, JSON there and back, and files with mistakes.
 */
#include "support/support.h"

#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/config.h"

static void names_are_one(void **state) {
    (void)state;
    for (size_t i = 0; i < lethe_settings_count; i++) {
        const lethe_setting *s = &lethe_settings[i];
        assert_ptr_equal(lethe_setting_find(s->name), s);
        assert_non_null(s->help);
        assert_true(s->kind == LETHE_KIND_FLAG ? !s->arg : s->arg != NULL);
    }
    assert_ptr_equal(lethe_setting_find("batch_size"), lethe_setting_find("batch-size"));
    assert_ptr_equal(lethe_setting_find("ablation_scale"), lethe_setting_find("scale"));
    assert_ptr_equal(lethe_setting_find("expansion_factor"), lethe_setting_find("expansion"));
    assert_null(lethe_setting_find("batch"));
    assert_null(lethe_setting_find(""));
}

static void there_and_back(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_config a = {0}, b = {0};
    assert_ok(lethe_config_init(&a, &err), &err);
    assert_ok(lethe_config_init(&b, &err), &err);
    assert_ok(lethe_config_set(&a, lethe_setting_find("lr"), "0.003", true, &err), &err);
    assert_ok(lethe_config_set(&a, lethe_setting_find("epochs"), "7", true, &err), &err);
    assert_ok(lethe_config_set(&a, lethe_setting_find("forget"), "/x", true, &err), &err);
    assert_ok(lethe_config_set(&a, lethe_setting_find("forget"), "y", false, &err), &err);
    assert_ok(lethe_config_set(&a, lethe_setting_find("no-shuffle"), "true", true, &err), &err);
    json_t *j = lethe_config_to_json(&a);
    assert_ok(lethe_config_from_json(&b, j, "/dir", "test", NULL, &err), &err);
    assert_true(b.lr == 0.003);
    assert_int_equal(b.epochs, 7);
    assert_int_equal(b.forget.n, 2);
    assert_string_equal(b.forget.item[0], "/x");
    assert_string_equal(b.forget.item[1], "/dir/y");
    assert_true(b.no_shuffle);
    assert_null(b.model);

    /* What the command line has set stays. */
    bool set[256] = {false};
    set[lethe_setting_find("epochs") - lethe_settings] = true;
    b.epochs = 1;
    assert_ok(lethe_config_from_json(&b, j, NULL, "test", set, &err), &err);
    assert_int_equal(b.epochs, 1);
    json_decref(j);
    lethe_config_free(&a);
    lethe_config_free(&b);
}

static void mistakes(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"[]", "must be an object"},
        {"{\"nothing\": 1}", "unknown setting \"nothing\""},
        {"{\"json\": true}", "unknown setting \"json\""},
        {"{\"epochs\": \"3\"}", "want a whole number"},
        {"{\"epochs\": 3.5}", "want a whole number"},
        {"{\"lr\": \"fast\"}", "want a number"},
        {"{\"no_shuffle\": 1}", "want true or false"},
        {"{\"forget\": \"a\"}", "want a list of paths"},
        {"{\"forget\": [1]}", "item 0 is not a string"},
        {"{\"model\": 3}", "want a path"},
        {"{\"model\": ", "bad.json: line 1"},
    };
    const char *dir = test_temp_dir();
    char *path = lethe_path_join(dir, "bad.json");
    lethe_config c = {0};
    lethe_err err = {0};
    assert_ok(lethe_config_init(&c, &err), &err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(lethe_write_file(path, bad[i].json, strlen(bad[i].json), &err), &err);
        assert_int_equal(lethe_config_load(&c, path, NULL, &err), LETHE_FORMAT);
        if (!strstr(err.text, bad[i].says)) print_error("case %zu says: %s\n", i, err.text);
        assert_non_null(strstr(err.text, bad[i].says));
    }
    assert_int_equal(
        lethe_config_set(&c, lethe_setting_find("k"), "9999999999999999999", true, &err),
        LETHE_USAGE);
    assert_int_equal(lethe_config_set(&c, lethe_setting_find("lr"), "nan", true, &err),
                     LETHE_USAGE);
    lethe_config_free(&c);
    lethe_free(path);
    test_temp_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_one),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
