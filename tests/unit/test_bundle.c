/* SPDX-License-Identifier: MIT
 *
 * Files of tensors, whatever the container: what is in them is found, and every kind of bad file is
 * refused with its reason.
 */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/bundle.h"
#include "format/safetensors.h"

static const char *dir;

static const char *at(const char *name) {
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof *path, "%s/%s", dir, name);
    return p;
}

static void safetensors(void **state) {
    (void)state;
    const char *path = at("a.safetensors");
    lethe_err err = {0};
    lethe_st_writer *w;
    assert_ok(lethe_st_create(&w, path, &err), &err);
    const float x[6] = {1, 2, 3, -4, 5.5f, 1e-3f};
    lethe_st_put_f32(w, "W_dec", 2, (size_t[]){2, 3}, x);
    lethe_st_set_meta(w, "k", "32");
    assert_ok(lethe_st_commit(&w, &err), &err);

    lethe_bundle *b = NULL;
    assert_ok(lethe_bundle_open(&b, path, &err), &err);
    assert_int_equal(lethe_bundle_container(b), LETHE_SAFETENSORS);
    assert_string_equal(lethe_container_name(LETHE_SAFETENSORS), "safetensors");
    assert_string_equal(lethe_bundle_path(b), path);
    assert_int_equal(lethe_bundle_count(b), 1);
    const lethe_tensor *t = NULL;
    assert_ok(lethe_bundle_want(b, "W_dec", 2, (size_t[]){0, 3}, &t, &err), &err);
    assert_ptr_equal(t, lethe_bundle_at(b, 0));
    assert_memory_equal(t->data, x, sizeof x);
    assert_null(lethe_bundle_find(b, "W_enc"));
    assert_int_equal(lethe_bundle_want(b, "W_enc", 2, (size_t[]){0, 3}, &t, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "a.safetensors: tensor \"W_enc\" is missing"));
    assert_int_equal(lethe_bundle_want(b, "W_dec", 2, (size_t[]){0, 4}, &t, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "got shape [2, 3], want [*, 4]"));
    assert_string_equal(json_string_value(json_object_get(lethe_bundle_values(b), "k")), "32");
    lethe_bundle_close(&b);
    assert_null(b);
    lethe_bundle_close(&b);
}

static void refused(const char *path, lethe_status want, const char *says) {
    lethe_err err = {0};
    lethe_bundle *b = NULL;
    lethe_status st = lethe_bundle_open(&b, path, &err);
    if (st != want || !strstr(err.text, says))
        print_error("got status %d, \"%s\"; want %d, \"%s\"\n", (int)st, err.text, (int)want, says);
    assert_int_equal(st, want);
    assert_null(b);
    assert_non_null(strstr(err.text, says));
    assert_non_null(strstr(err.text, path));
}

static void refused_bytes(const char *name, const void *data, size_t n, const char *says) {
    lethe_err err = {0};
    assert_ok(lethe_write_file(at(name), data, n, &err), &err);
    refused(at(name), LETHE_FORMAT, says);
}

static void not_a_container(void **state) {
    (void)state;
    refused(at("none.pt"), LETHE_NOTFOUND, "No such file");
    refused(dir, LETHE_FORMAT, "not a regular file");
    refused_bytes("empty.pt", "", 0, "0 bytes");
    refused_bytes("text.pt", "The old man walked", 18, "neither safetensors nor");
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors),
        cmocka_unit_test(not_a_container),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
