/* SPDX-License-Identifier: MIT
 *
 * The page's files in the program are those of web/dist/, with their types and tags, and no other
 * path finds anything.
 */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "front/web/assets_parts.h"

static lethe_err err;

static void test_files(void **state) {
    (void)state;
    size_t n = 0;
    for (const lethe_web_asset *a = lethe_web_assets; a->path; a++, n++) {
        char name[256];
        assert_int_equal(a->path[0], '/');
        snprintf(name, sizeof name, "web/dist%s", a->path);
        lethe_map file;
        assert_ok(lethe_map_open(&file, test_source(name), &err), &err);
        assert_int_equal(a->size, file.size);
        assert_memory_equal(a->data, file.data, file.size);
        lethe_map_close(&file);
        assert_ptr_equal(lethe_web_asset_find(a->path), a);
        assert_int_equal(a->etag[0], '"');
        assert_int_equal(a->etag[strlen(a->etag) - 1], '"');
        for (const lethe_web_asset *b = lethe_web_assets; b != a; b++)
            assert_string_not_equal(a->etag, b->etag);
    }
    assert_in_range(n, 3, 20);
}

static void test_paths(void **state) {
    (void)state;
    const lethe_web_asset *page = lethe_web_asset_find("/");
    assert_non_null(page);
    assert_ptr_equal(page, lethe_web_asset_find("/index.html"));
    assert_string_equal(page->type, "text/html; charset=utf-8");
    assert_string_equal(lethe_web_asset_find("/app.js")->type, "text/javascript; charset=utf-8");
    assert_string_equal(lethe_web_asset_find("/style.css")->type, "text/css; charset=utf-8");
    static const char *const none[] = {"",        "index.html",     "//",
                                       "/app.j",  "/app.js/",       "/../web/dist/app.js",
                                       "/App.js", "/%2e%2e/app.js", "/app.js?x"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(lethe_web_asset_find(none[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
