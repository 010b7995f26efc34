/* SPDX-License-Identifier: MIT
 *
 * safetensors: what is written is read back; every kind of bad header is refused with its reason.
 */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"

static const char *dir;

static char *at(const char *name) {
    return lethe_path_join(dir, name);
}

static void round_trip(void **state) {
    (void)state;
    char *path = at("a.safetensors");
    lethe_err err = {0};
    lethe_st_writer *w;
    assert_ok(lethe_st_create(&w, path, &err), &err);
    float x[6] = {1, 2, 3, -4, 5.5f, 1e-3f};
    int32_t ids[4] = {7, 8, 9, -1};
    lethe_st_begin(w, "rows", LETHE_F32, 2, (size_t[]){0, 3});
    lethe_st_put(w, x, 3 * sizeof *x);
    lethe_st_put(w, x + 3, 3 * sizeof *x);
    lethe_st_begin(w, "ids", LETHE_I32, 1, (size_t[]){4});
    lethe_st_put(w, ids, sizeof ids);
    lethe_st_begin(w, "half", LETHE_BF16, 1, (size_t[]){6});
    lethe_st_put_f32_as(w, LETHE_BF16, x, 6);
    lethe_st_set_meta(w, "k", "32");
    assert_ok(lethe_st_commit(&w, &err), &err);

    lethe_st *st;
    assert_ok(lethe_st_open(&st, path, &err), &err);
    assert_int_equal(lethe_st_count(st), 3);
    assert_string_equal(lethe_st_meta(st, "k"), "32");
    assert_null(lethe_st_meta(st, "none"));
    const lethe_tensor *t;
    assert_ok(lethe_st_want(st, "rows", 2, (size_t[]){0, 3}, &t, &err), &err);
    assert_int_equal(t->shape[0], 2);
    float y[6];
    assert_ok(lethe_tensor_to_f32(t, 0, 6, y, &err), &err);
    assert_memory_equal(x, y, sizeof x);
    int32_t back[4];
    assert_ok(lethe_tensor_to_i32(lethe_st_find(st, "ids"), 0, 4, back, &err), &err);
    assert_memory_equal(ids, back, sizeof ids);
    assert_ok(lethe_tensor_to_f32(lethe_st_find(st, "half"), 0, 6, y, &err), &err);
    assert_close(y, x, 6, 1.0 / 256, "bf16");
    assert_int_equal(lethe_st_want(st, "rows", 2, (size_t[]){5, 3}, &t, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "got shape [2, 3], want [5, 3]"));
    lethe_st_close(&st);
    lethe_free(path);
}

static void short_tensor_is_not_written(void **state) {
    (void)state;
    char *path = at("short.safetensors");
    lethe_err err = {0};
    lethe_st_writer *w;
    assert_ok(lethe_st_create(&w, path, &err), &err);
    lethe_st_begin(w, "x", LETHE_F32, 1, (size_t[]){4});
    lethe_st_put(w, "abcd", 4);
    assert_int_equal(lethe_st_commit(&w, &err), LETHE_FAIL);
    assert_false(lethe_path_exists(path));
    lethe_free(path);
}

/* header text, bytes of data behind it, what the message must contain */
static const struct {
    const char *header;
    size_t data;
    const char *says;
} bad[] = {
    {"[]", 0, "not an object"},
    {"{", 0, "bad safetensors header"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4,
     "bad safetensors header"},
    {"{\"a\":{\"dtype\":\"Q7\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype Q7"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype (missing)"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape must be"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "negative"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
     "too large"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,4]}}", 4,
     "too large"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "want 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "hole"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, "overlap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 9, "behind the last"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "must be a string"},
    {"{\"__metadata__\":3}", 0, "must be an object"},
};

static void write_raw(const char *path, uint64_t hlen, const char *header, size_t data) {
    FILE *f = fopen(path, "wb");
    for (int i = 0; i < 8; i++) fputc((int)(hlen >> (8 * i) & 0xff), f);
    fputs(header, f);
    for (size_t i = 0; i < data; i++) fputc(0, f);
    fclose(f);
}

static void bad_headers(void **state) {
    (void)state;
    char *path = at("bad.safetensors");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_raw(path, strlen(bad[i].header), bad[i].header, bad[i].data);
        lethe_err err = {0};
        lethe_st *st = NULL;
        assert_int_equal(lethe_st_open(&st, path, &err), LETHE_FORMAT);
        assert_null(st);
        if (!strstr(err.text, bad[i].says)) print_error("case %zu says: %s\n", i, err.text);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_non_null(strstr(err.text, "bad.safetensors"));
    }
    write_raw(path, 1ull << 40, "{}", 0);
    lethe_err err = {0};
    lethe_st *st = NULL;
    assert_int_equal(lethe_st_open(&st, path, &err), LETHE_FORMAT);
    assert_int_equal(lethe_st_open(&st, dir, &err), LETHE_FORMAT);
    char *none = at("none.safetensors");
    assert_int_equal(lethe_st_open(&st, none, &err), LETHE_NOTFOUND);
    lethe_free(none);
    lethe_free(path);
}

/* A good file cut at any length is refused, never read past its end. */
static void truncated(void **state) {
    (void)state;
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    char *path = at("cut.safetensors");
    size_t whole = 8 + strlen(header) + 8;
    for (size_t n = 0; n < whole; n++) {
        write_raw(path, strlen(header), header, 8);
        FILE *f = fopen(path, "r+b");
        char buf[256];
        assert_int_equal(fread(buf, 1, whole, f), whole);
        fclose(f);
        f = fopen(path, "wb");
        fwrite(buf, 1, n, f);
        fclose(f);
        lethe_err err = {0};
        lethe_st *st = NULL;
        assert_int_equal(lethe_st_open(&st, path, &err), LETHE_FORMAT);
    }
    lethe_free(path);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(short_tensor_is_not_written),
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(truncated),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
