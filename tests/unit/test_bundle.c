/* SPDX-License-Identifier: MIT
 *
 * Files of tensors, whatever the container: what is in them is found, and every kind of bad file is
 * refused with its reason.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/bundle.h"
#include "format/safetensors.h"
#include "support/containers.h"
#include "support/packs.h"

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
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n";
    refused_bytes("pointer.pt", pointer, sizeof pointer - 1, "git lfs pull");
    refused_bytes("text.pt", "The old man walked", 18, "neither safetensors nor");
}

/* ---- zip archives --------------------------------------------------------------------------- */

static void refused_zip(const char *name, const raw_member *member, size_t n, const char *says) {
    lethe_strbuf zip = {0};
    raw_zip(&zip, member, n);
    refused_bytes(name, zip.data, zip.len, says);
    lethe_strbuf_free(&zip);
}

static lethe_bundle *open_bytes(const char *name, const lethe_strbuf *bytes) {
    lethe_err err = {0};
    lethe_bundle *b = NULL;
    assert_int_equal(bytes->status, LETHE_OK);
    assert_ok(lethe_write_file(at(name), bytes->data, bytes->len, &err), &err);
    assert_ok(lethe_bundle_open(&b, at(name), &err), &err);
    return b;
}

#define HEADER_2x3 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
static const float six[6] = {1, 2, 3, 4, 5, 6};

static void npy_2x3(lethe_strbuf *out) {
    raw_npy(out, HEADER_2x3, six, sizeof six);
}

static void zip_members(void **state) {
    (void)state;
    lethe_strbuf a = {0}, zip = {0};
    npy_2x3(&a);
    const raw_member fine[] = {
        {.name = "W.npy", .data = a.data, .n = a.len},
        {.name = "dir/", .data = "", .n = 0},
        {.name = "dir/V.npy", .data = a.data, .n = a.len, .zip64 = true},
    };
    raw_zip(&zip, fine, 3);
    lethe_bundle *b = open_bytes("a.npz", &zip);
    assert_int_equal(lethe_bundle_container(b), LETHE_NPZ);
    assert_int_equal(lethe_bundle_count(b), 2);
    assert_memory_equal(lethe_bundle_find(b, "W")->data, six, sizeof six);
    assert_memory_equal(lethe_bundle_find(b, "dir/V")->data, six, sizeof six);
    lethe_bundle_close(&b);
    lethe_strbuf_free(&zip);

    raw_member m = {.name = "W.npy", .data = a.data, .n = a.len};
    static const char *const names[] = {"../W.npy", "/etc/W.npy", "a/../W.npy", "a\\W.npy", ".."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        m.name = names[i];
        refused_zip("out.npz", &m, 1, "has a name that leads out of the archive");
    }
    m.name = "a\nb.npy";
    refused_zip("control.npz", &m, 1, "control characters");
    m.name = "W.txt";
    refused_zip("text.npz", &m, 1, "member \"W.txt\" is not an array");
    refused_zip("twice.npz", (raw_member[]){fine[0], fine[0]}, 2, "\"W.npy\" is there twice");
    refused_zip("none.npz", &m, 0, "a zip archive without files");
    m = fine[0];
    m.method = 12;
    refused_zip("bzip2.npz", &m, 1, "W.npy");
    m = fine[0];
    m.flags = 1;
    refused_zip("secret.npz", &m, 1, "encrypted");
    lethe_strbuf_free(&a);
}

/* Claims that the file cannot hold. */
static void zip_claims(void **state) {
    (void)state;
    lethe_strbuf a = {0};
    npy_2x3(&a);
    raw_member m = {.name = "W.npy", .data = a.data, .n = a.len};
    m.size = (uint64_t)2 << 30; /* stored: packed to a different size */
    refused_zip("claim.npz", &m, 1, "claims 2147483648 bytes");
    m.packed = m.size;
    refused_zip("claim.npz", &m, 1, "W.npy");
    m.method = 8;
    refused_zip("claim.npz", &m, 1, "W.npy");
    m.packed = 0;
    refused_zip("claim.npz", &m, 1, "claims 2147483648 bytes");
    m.zip64 = true;
    m.size = UINT64_MAX - 1;
    refused_zip("claim.npz", &m, 1, "W.npy");
    m.packed = UINT64_MAX - 1;
    m.method = 0;
    refused_zip("claim.npz", &m, 1, "W.npy");
    m = (raw_member){.name = "W.npy", .data = a.data, .n = a.len, .method = 8};
    refused_zip("garbage.npz", &m, 1, "W.npy");
    lethe_strbuf_free(&a);
}

static void packed(void **state) {
    (void)state;
    lethe_strbuf a = {0};
    npy_2x3(&a);
    pack_zip(at("p.npz"), &(pack_member){.name = "W.npy", .data = a.data, .n = a.len}, 1);
    lethe_err err = {0};
    lethe_bundle *b = NULL;
    assert_ok(lethe_bundle_open(&b, at("p.npz"), &err), &err);
    assert_memory_equal(lethe_bundle_find(b, "W")->data, six, sizeof six);
    lethe_bundle_close(&b);
    /* A checksum that does not fit. */
    size_t n;
    unsigned char *bytes = pack_slurp(at("p.npz"), &n);
    for (size_t i = 0; i + 4 < n; i++)
        if (!memcmp(bytes + i, "PK\1\2", 4)) bytes[i + 16] ^= 1;
    refused_bytes("crc.npz", bytes, n, "W.npy");
    free(bytes);
    lethe_strbuf_free(&a);
}

/* 100 MB of zeros in 100 KB, and 3 MB of them that 60 members share. */
static void bombs(void **state) {
    (void)state;
    size_t n = (size_t)100 << 20, size;
    char *zeros = calloc(n, 1);
    assert_non_null(zeros);
    pack_zip(at("bomb.npz"), &(pack_member){.name = "W.npy", .data = zeros, .n = n}, 1);
    refused(at("bomb.npz"), LETHE_FORMAT, "unpacking member \"W.npy\" would take 104857600 bytes");

    lethe_strbuf a = {0};
    raw_npy(&a, "{'descr': '|u1', 'fortran_order': False, 'shape': (3145728,)}", zeros, 3145728);
    pack_zip(at("few.npz"), &(pack_member){.name = "W.npy", .data = a.data, .n = a.len}, 1);
    unsigned char *bytes = pack_slurp(at("few.npz"), &size);
    size_t name = (size_t)bytes[26] | (size_t)bytes[27] << 8,
           extra = (size_t)bytes[28] | (size_t)bytes[29] << 8;
    size_t from = 30 + name + extra, to = from;
    while (memcmp(bytes + to, "PK\1\2", 4)) to++;
    uint32_t crc;
    memcpy(&crc, bytes + to + 16, 4);
    raw_member m[60];
    char names[60][16];
    for (size_t i = 0; i < 60; i++) {
        snprintf(names[i], sizeof *names, "W%zu.npy", i);
        m[i] = (raw_member){.name = names[i],
                            .size = a.len,
                            .packed = to - from,
                            .method = 8,
                            .crc = crc,
                            .same_as = 1,
                            .data = "",
                            .n = 0};
    }
    m[0].data = bytes + from;
    m[0].n = to - from;
    refused_zip("shared.npz", m, 60, "would take");
    lethe_strbuf one = {0};
    raw_zip(&one, m, 1);
    lethe_bundle *b = open_bytes("one.npz", &one);
    assert_int_equal(lethe_bundle_find(b, "W0")->count, 3145728);
    lethe_bundle_close(&b);
    lethe_strbuf_free(&one);
    lethe_strbuf_free(&a);
    free(bytes);
    free(zeros);
}

/* ---- NumPy ---------------------------------------------------------------------------------- */

/* header, bytes of data, what it says (NULL: it opens) */
static const struct {
    const char *header;
    size_t data;
    const char *says;
} arrays[] = {
    {HEADER_2x3, 24, NULL},
    {"{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}", 24, NULL},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}   \n", 24, NULL},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': ()}", 4, NULL},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (6,)}", 24, NULL},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (0, 18446744073709551615)}", 0, NULL},
    {"{'descr': '|b1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 3)}", 3, NULL},
    {HEADER_2x3, 23, "got 23 bytes of data, its shape and dtype want 24 (cut off?)"},
    {HEADER_2x3, 25, "got 25 bytes of data, its shape and dtype want 24"},
    {"", 0, "the header ends at byte 0, want a dictionary"},
    {"[]", 0, "want a dictionary"},
    {"{", 0, "want text in quotes"},
    {"{}", 0, "lacks descr"},
    {"{'descr': '<f4'}", 4, "lacks fortran_order"},
    {"{'descr': '<f4', 'fortran_order': False}", 4, "lacks shape"},
    {"{'descr': '<f4', 'descr': '<f4'}", 4, "has \"descr\" twice"},
    {"{'descr': '<f4', 'other': 1}", 4, "has \"other\""},
    {"{'descr' '<f4'}", 4, "want a colon"},
    {"{'descr': '<f4' 'shape': ()}", 4, "want a comma or '}'"},
    {"{'descr': '<f4}", 4, "want the closing quote"},
    {"{'descr': '\\x3cf4'}", 4, "want the closing quote"},
    {"{'descr': f4}", 4, "want text in quotes"},
    {"{'descr': '|O'}", 8, "Python objects"},
    {"{'descr': '|V2'}", 8, "bfloat16"},
    {"{'descr': '<c8'}", 8, "dtype \"<c8\" is not read"},
    {"{'descr': '!f4'}", 8, "dtype \"!f4\" is not read"},
    {"{'descr': '<f4x'}", 8, "dtype \"<f4x\" is not read"},
    {"{'descr': ''}", 8, "dtype \"\" is not read"},
    {"{'descr': [('a', '<f4')]}", 8, "holds records"},
    {"{'fortran_order': 0}", 8, "want True or False"},
    {"{'shape': 3}", 8, "want a tuple of sizes"},
    {"{'shape': (3)}", 8, "want a comma"},
    {"{'shape': (3 4)}", 8, "want a comma"},
    {"{'shape': (-1,)}", 8, "want a size"},
    {"{'shape': (,)}", 8, "want a size"},
    {"{'shape': (1,1,1,1,1,1,1,1,1)}", 8, "more than 8 dimensions"},
    {"{'shape': (18446744073709551616,)}", 8, "too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", 4,
     "its shape is too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,)}", 4,
     "its shape is too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (536870912,)}", 4,
     "got 4 bytes of data, its shape and dtype want 2147483648"},
    {HEADER_2x3 "{}", 24, "want nothing more"},
};

static void npy_headers(void **state) {
    (void)state;
    static const char data[32];
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        lethe_strbuf a = {0};
        raw_npy(&a, arrays[i].header, data, arrays[i].data);
        if (arrays[i].says) {
            refused_bytes("a.npy", a.data, a.len, arrays[i].says);
        } else {
            lethe_bundle *b = open_bytes("a.npy", &a);
            assert_int_equal(lethe_bundle_container(b), LETHE_NPY);
            const lethe_tensor *t = lethe_bundle_find(b, "data");
            assert_int_equal(t->count * lethe_dtype_size(t->dtype), arrays[i].data);
            lethe_bundle_close(&b);
        }
        lethe_strbuf_free(&a);
    }
    refused_bytes("a.npy", "\x93NUMPY\4\0\0\0", 10, "version 4.0");
    refused_bytes("a.npy", "\x93NUMPY\1\1\0\0", 10, "version 1.1");
    refused_bytes("a.npy", "\x93NUMPY\1\0\xff\xff{}", 12, "its header claims 65535 bytes");
    refused_bytes("a.npy", "\x93NUMPY\2\0\xff\xff\xff\xff{}", 14, "claims 4294967295 bytes");
    refused_bytes("a.npy", "\x93NUMPY\3\0\0\0", 10, "cut off");
}

static void npy_orders(void **state) {
    (void)state;
    /* i + 10 j + 100 k at [i, j, k] of a shape of 2, 3, 4, first dimension dense, big-endian */
    unsigned char data[24 * 2];
    size_t n = 0;
    for (int k = 0; k < 4; k++)
        for (int j = 0; j < 3; j++)
            for (int i = 0; i < 2; i++, n += 2) {
                data[n] = (unsigned char)((i + 10 * j + 100 * k) >> 8);
                data[n + 1] = (unsigned char)(i + 10 * j + 100 * k);
            }
    lethe_strbuf a = {0};
    raw_npy(&a, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3, 4)}", data, sizeof data);
    lethe_bundle *b = open_bytes("f.npy", &a);
    const lethe_tensor *t = lethe_bundle_at(b, 0);
    assert_int_equal(t->dtype, LETHE_I16);
    for (int i = 0; i < 24; i++) {
        int16_t x;
        memcpy(&x, (const char *)t->data + 2 * i, 2);
        assert_int_equal(x, i / 12 + 10 * (i / 4 % 3) + 100 * (i % 4));
    }
    lethe_bundle_close(&b);
    lethe_strbuf_free(&a);
}

/* Larger than a tile in both directions. */
static void turned(void **state) {
    (void)state;
    enum { R = 101, C = 75 };
    static float from[R * C];
    for (int i = 0; i < R * C; i++) from[i] = (float)i;
    lethe_strbuf a = {0};
    raw_npy(&a, "{'descr': '<f4', 'fortran_order': True, 'shape': (75, 101)}", from, sizeof from);
    lethe_bundle *b = open_bytes("t.npy", &a);
    const float *x = lethe_bundle_at(b, 0)->data;
    for (int i = 0; i < C; i++)
        for (int j = 0; j < R; j++) assert_true(x[i * R + j] == from[j * C + i]);
    lethe_bundle_close(&b);
    lethe_strbuf_free(&a);
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static const float numbers[24] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                  12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};

/* An archive of {"x": view, "y": view}; y may be NULL. byteorder: NULL, "little", "big", .. */
static void checkpoint(lethe_strbuf *zip, const py_view *x, const py_view *y, const char *order) {
    lethe_strbuf p = {0};
    lethe_strbuf_adds(&p, "\x80\x02}(");
    py_text(&p, "x");
    py_tensor(&p, x);
    if (y) {
        py_text(&p, "y");
        py_tensor(&p, y);
    }
    lethe_strbuf_adds(&p, "u.");
    raw_member m[4] = {
        {.name = "sae/data.pkl", .data = p.data, .n = p.len},
        {.name = "sae/data/0", .data = numbers, .n = sizeof numbers},
        {.name = "sae/version", .data = "3\n", .n = 2},
    };
    size_t n = 3;
    if (order) m[n++] = (raw_member){.name = "sae/byteorder", .data = order, .n = strlen(order)};
    raw_zip(zip, m, n);
    lethe_strbuf_free(&p);
}

static void view_gives(const py_view *v, const char *order, const float *want, size_t n) {
    lethe_strbuf zip = {0};
    checkpoint(&zip, v, NULL, order);
    lethe_bundle *b = open_bytes("v.pt", &zip);
    assert_int_equal(lethe_bundle_container(b), LETHE_TORCH);
    const lethe_tensor *t = lethe_bundle_find(b, "x");
    assert_int_equal(t->count, n);
    assert_int_equal(t->ndim, v->ndim);
    for (size_t i = 0; i < t->ndim; i++) assert_int_equal(t->shape[i], v->shape[i]);
    assert_memory_equal(t->data, want, n * sizeof *want);
    lethe_bundle_close(&b);
    lethe_strbuf_free(&zip);
}

static void views(void **state) {
    (void)state;
    view_gives(&(py_view){"FloatStorage", "0", 24, 0, 2, {4, 6}, {6, 1}}, NULL, numbers, 24);
    view_gives(&(py_view){"FloatStorage", "0", 24, 6, 1, {6}, {1}}, "little", numbers + 6, 6);
    view_gives(&(py_view){"FloatStorage", "0", 24, 7, 0, {0}, {0}}, NULL, numbers + 7, 1);
    view_gives(&(py_view){"FloatStorage", "0", 24, 9, 2, {0, 3}, {3, 1}}, NULL, numbers, 0);
    view_gives(&(py_view){"FloatStorage", "0", 24, 99, 2, {0, INT64_MAX}, {INT64_MAX, 1}}, NULL,
               numbers, 0);
    view_gives(&(py_view){"FloatStorage", "0", 24, 0, 3, {1, 6, 1}, {99, 1, 77}}, NULL, numbers, 6);
    view_gives(&(py_view){"FloatStorage", "0", 24, 0, 2, {3, 2}, {1, 6}}, NULL,
               (float[]){0, 6, 1, 7, 2, 8}, 6);
    view_gives(&(py_view){"FloatStorage", "0", 24, 1, 2, {2, 2}, {12, 3}}, NULL,
               (float[]){1, 4, 13, 16}, 4);
    view_gives(&(py_view){"FloatStorage", "0", 24, 0, 2, {2, 3}, {0, 1}}, NULL,
               (float[]){0, 1, 2, 0, 1, 2}, 6);
    view_gives(&(py_view){"FloatStorage", "0", 24, 1, 4, {2, 1, 2, 2}, {2, 9, 12, 1}}, NULL,
               (float[]){1, 2, 13, 14, 3, 4, 15, 16}, 8);
    /* The numbers' bytes turned round, and back by this test. */
    float swapped[24];
    for (int i = 0; i < 24; i++) {
        const unsigned char *from = (const unsigned char *)&numbers[i];
        unsigned char to[4] = {from[3], from[2], from[1], from[0]};
        memcpy(&swapped[i], to, 4);
    }
    view_gives(&(py_view){"FloatStorage", "0", 24, 0, 1, {24}, {1}}, "big", swapped, 24);
}

static void storage_types(void **state) {
    (void)state;
    static const struct {
        const char *name;
        lethe_dtype type;
    } types[] = {
        {"FloatStorage", LETHE_F32},  {"HalfStorage", LETHE_F16}, {"BFloat16Storage", LETHE_BF16},
        {"DoubleStorage", LETHE_F64}, {"LongStorage", LETHE_I64}, {"IntStorage", LETHE_I32},
        {"ShortStorage", LETHE_I16},  {"CharStorage", LETHE_I8},  {"ByteStorage", LETHE_U8},
        {"BoolStorage", LETHE_BOOL},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        lethe_strbuf zip = {0};
        py_view x = {types[i].name, "0", 12, 2, 1, {3}, {1}},
                y = {types[i].name, "0", 12, 11, 0, {0}, {0}};
        checkpoint(&zip, &x, &y, "little");
        lethe_bundle *b = open_bytes("t.pt", &zip);
        const lethe_tensor *t = lethe_bundle_find(b, "x"), *u = lethe_bundle_find(b, "y");
        size_t size = lethe_dtype_size(types[i].type);
        assert_int_equal(t->dtype, types[i].type);
        assert_memory_equal(t->data, (const char *)numbers + 2 * size, 3 * size);
        assert_memory_equal(u->data, (const char *)numbers + 11 * size, size);
        lethe_bundle_close(&b);
        lethe_strbuf_free(&zip);
    }
}

static void bad_views(void **state) {
    (void)state;
    static const struct {
        py_view v;
        const char *says;
    } bad[] = {
        {{"FloatStorage", "0", 24, 0, 1, {25}, {1}}, "reaches to element 25 of a storage of 24"},
        {{"FloatStorage", "0", 24, 24, 0, {0}, {0}}, "reaches to element 25 of a storage of 24"},
        {{"FloatStorage", "0", 24, INT64_MAX, 0, {0}, {0}}, "of a storage of 24"},
        {{"FloatStorage", "0", 24, 0, 2, {4, 6}, {7, 1}}, "reaches to element 27"},
        {{"FloatStorage", "0", 25, 0, 1, {1}, {1}},
         "got 96 bytes of data in member \"sae/data/0\", want 100"},
        {{"FloatStorage", "0", (int64_t)1 << 29, 0, 1, {(int64_t)1 << 29}, {1}}, "want 2147483648"},
        {{"FloatStorage", "0", INT64_MAX, 0, 1, {1}, {1}}, "a storage of 9223372036854775807"},
        {{"FloatStorage", "0", 24, 0, 1, {25}, {0}}, "25 elements in a storage of 24 (an expanded"},
        {{"FloatStorage", "0", 24, 0, 2, {(int64_t)1 << 32, (int64_t)1 << 32}, {0, 0}},
         "too large"},
        {{"FloatStorage", "0", 24, 0, 2, {3, 3}, {INT64_MAX, INT64_MAX}}, "too large"},
        {{"FloatStorage", "0", 24, 0, 1, {-1}, {1}}, "is -1, want no negative number"},
        {{"FloatStorage", "0", 24, 0, 1, {1}, {-1}}, "is -1, want no negative number"},
        {{"FloatStorage", "0", 24, -1, 1, {1}, {1}}, "is -1, want no negative number"},
        {{"FloatStorage", "0", -1, 0, 1, {1}, {1}}, "is -1, want no negative number"},
        {{"FloatStorage", "1", 24, 0, 1, {1}, {1}}, "member \"sae/data/1\", is missing"},
        {{"FloatStorage", "../../etc/passwd", 24, 0, 1, {1}, {1}}, "is missing"},
        {{"FloatStorage", "0", 24, 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}},
         "a tensor of 9 dimensions"},
        {{"QInt8Storage", "0", 24, 0, 1, {1}, {1}}, "calls torch.QInt8Storage"},
        {{"UntypedStorage", "0", 24, 0, 1, {1}, {1}}, "does not say its dtype"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lethe_strbuf zip = {0};
        checkpoint(&zip, &bad[i].v, NULL, NULL);
        refused_bytes("v.pt", zip.data, zip.len, bad[i].says);
        lethe_strbuf_free(&zip);
    }
    lethe_strbuf zip = {0};
    checkpoint(&zip, &(py_view){"FloatStorage", "0", 24, 0, 1, {1}, {1}}, NULL, "middle");
    refused_bytes("v.pt", zip.data, zip.len, "byteorder is \"middle\", want little or big");
    lethe_strbuf_free(&zip);
}

/* Many turned copies of one storage. */
static void copied_often(void **state) {
    (void)state;
    lethe_strbuf p = {0}, zip = {0};
    float *big = calloc(1 << 18, sizeof *big);
    assert_non_null(big);
    lethe_strbuf_adds(&p, "\x80\x02](");
    for (int i = 0; i < 100; i++)
        py_tensor(&p, &(py_view){"FloatStorage", "0", 1 << 18, 0, 2, {512, 512}, {1, 512}});
    lethe_strbuf_adds(&p, "e.");
    const raw_member m[] = {{.name = "a/data.pkl", .data = p.data, .n = p.len},
                            {.name = "a/data/0", .data = big, .n = sizeof *big << 18}};
    raw_zip(&zip, m, 2);
    refused_bytes("often.pt", zip.data, zip.len, "tensors that are not contiguous would take");
    lethe_strbuf_free(&zip);
    lethe_strbuf_free(&p);
    free(big);
}

/* What PyTorch itself wrote (tests/data/make_containers.py), the same in both protocols. */
static void written_by_pytorch(void **state) {
    (void)state;
    static const char values[] =
        "{\"state\":{},\"linear\":{},\"optimizer\":{\"state\":{\"0\":{},\"1\":{}},\"param_groups\":"
        "[{"
        "\"lr\":0.001,\"betas\":[0.9,0.999],\"eps\":1e-8,\"weight_decay\":0,\"amsgrad\":false,"
        "\"maximize\":false,\"foreach\":null,\"capturable\":false,\"differentiable\":false,"
        "\"fused\":null,\"decoupled_weight_decay\":false,\"params\":[0,1]}]},\"args\":{\"layer\":3,"
        "\"path\":\"/a/b\",\"big\":1.1805916207174113e21,\"least\":-9223372036854775808,"
        "\"nan\":null,\"t\":[1,2,[3]],\"s\":[1],\"none\":null,\"device\":\"cuda:1\","
        "\"dtype\":\"torch.bfloat16\",\"shape\":[4,6]},\"numpy\":{\"f4\":1.5,\"i8\":-3,\"b1\":true}"
        ","
        "\"list\":[null,1,{}]}";
    static const char *const files[] = {"tests/data/containers_p2.pt",
                                        "tests/data/containers_p4.pt"};
    for (size_t k = 0; k < 2; k++) {
        lethe_err err = {0};
        lethe_bundle *b = NULL;
        assert_ok(lethe_bundle_open(&b, test_source(files[k]), &err), &err);
        char *json = json_dumps(lethe_bundle_values(b), JSON_COMPACT | JSON_REAL_PRECISION(17));
        json_t *got = json_loads(json, 0, NULL), *want = json_loads(values, 0, NULL);
        if (!json_equal(got, want)) print_error("%s\n", json);
        assert_true(json_equal(got, want));
        json_decref(got);
        json_decref(want);
        free(json);
        const lethe_tensor *t = NULL;
        assert_ok(lethe_bundle_want(b, "state.turned", 2, (size_t[]){6, 4}, &t, &err), &err);
        const float *x = t->data;
        for (int i = 0; i < 24; i++) assert_true(x[i] == (float)(i % 4 * 6 + i / 4));
        assert_ok(lethe_bundle_want(b, "state.turned3", 3, (size_t[]){4, 2, 3}, &t, &err), &err);
        x = t->data;
        for (int i = 0; i < 24; i++)
            assert_true(x[i] == (float)(i / 6 + i / 3 % 2 * 12 + i % 3 * 4));
        assert_ok(lethe_bundle_want(b, "state.steps", 2, (size_t[]){2, 2}, &t, &err), &err);
        assert_memory_equal(t->data, ((float[]){0, 3, 12, 15}), 16);
        assert_ok(lethe_bundle_want(b, "state.scalar", 0, NULL, &t, &err), &err);
        assert_int_equal(t->dtype, LETHE_I64);
        assert_memory_equal(t->data, &(int64_t){7}, 8);
        assert_memory_equal(lethe_bundle_find(b, "state.i16")->data, ((int16_t[]){1, -2}), 4);
        float bf16[24];
        t = lethe_bundle_find(b, "state.bf16");
        assert_ok(lethe_tensor_to_f32(t, 0, 24, bf16, &err), &err);
        for (int i = 0; i < 24; i++) assert_true(bf16[i] == (float)(i % 4 * 6 + i / 4));
        assert_non_null(lethe_bundle_find(b, "optimizer.state.1.exp_avg"));
        assert_memory_equal(lethe_bundle_find(b, "list.2.x")->data, numbers, sizeof numbers);
        lethe_bundle_close(&b);
    }
}

static void other_checkpoints(void **state) {
    (void)state;
    refused_bytes("old.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15,
                  "PyTorch before 1.6");
    const raw_member script[] = {{.name = "m/data.pkl", .data = "}.", .n = 2},
                                 {.name = "m/constants.pkl", .data = ").", .n = 2}};
    refused_zip("script.pt", script, 2, "TorchScript");
    /* Two tensors that dots make one name. */
    lethe_strbuf p = {0};
    const py_view v = {"FloatStorage", "0", 24, 0, 1, {1}, {1}};
    lethe_strbuf_adds(&p, "\x80\x02}(");
    py_text(&p, "a.b");
    py_tensor(&p, &v);
    py_text(&p, "a");
    lethe_strbuf_adds(&p, "}");
    py_text(&p, "b");
    py_tensor(&p, &v);
    lethe_strbuf_adds(&p, "su.");
    const raw_member m[] = {{.name = "a/data.pkl", .data = p.data, .n = p.len},
                            {.name = "a/data/0", .data = numbers, .n = sizeof numbers}};
    refused_zip("dots.pt", m, 2, "two tensors are called \"a.b\"");
    lethe_strbuf_free(&p);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* Whatever opens can be read from end to end. */
static void look_at_all(const lethe_bundle *b) {
    unsigned sum = 0;
    for (size_t i = 0; i < lethe_bundle_count(b); i++) {
        const lethe_tensor *t = lethe_bundle_at(b, i);
        const unsigned char *p = t->data;
        for (size_t k = 0; k < t->count * lethe_dtype_size(t->dtype); k++) sum += p[k];
    }
    assert_true(sum < UINT32_MAX);
    assert_true(json_is_object(lethe_bundle_values(b)));
}

/* Cut at every length it is refused; with each byte changed in three ways it is refused or opens.
 */
static void damaged(const char *name, const void *data, size_t n) {
    unsigned char *copy = malloc(n);
    assert_non_null(copy);
    for (size_t k = 0; k < n; k++) {
        pack_spill(at(name), data, k);
        refused(at(name), LETHE_FORMAT, name);
    }
    for (size_t k = 0; k < 3 * n; k++) {
        static const unsigned char change[] = {0xff, 0x01, 0x80};
        memcpy(copy, data, n);
        copy[k / 3] ^= change[k % 3];
        pack_spill(at(name), copy, n);
        lethe_err err = {0};
        lethe_bundle *b = NULL;
        lethe_status st = lethe_bundle_open(&b, at(name), &err);
        assert_true(st == LETHE_OK || st == LETHE_FORMAT);
        if (st) continue;
        look_at_all(b);
        lethe_bundle_close(&b);
    }
    free(copy);
}

static void damage(void **state) {
    (void)state;
    lethe_strbuf a = {0}, zip = {0};
    npy_2x3(&a);
    damaged("d.npy", a.data, a.len);
    checkpoint(&zip, &(py_view){"FloatStorage", "0", 24, 0, 2, {4, 6}, {6, 1}},
               &(py_view){"FloatStorage", "0", 24, 0, 2, {6, 4}, {1, 6}}, "little");
    damaged("d.pt", zip.data, zip.len);
    const pack_member m[] = {{.name = "W.npy", .data = a.data, .n = a.len},
                             {.name = "V.npy", .data = a.data, .n = a.len, .stored = true}};
    pack_zip(at("whole.npz"), m, 2);
    size_t n;
    unsigned char *bytes = pack_slurp(at("whole.npz"), &n);
    damaged("d.npz", bytes, n);
    free(bytes);
    lethe_strbuf_free(&zip);
    lethe_strbuf_free(&a);
}

static void out_of_memory(void **state) {
    (void)state;
    lethe_strbuf a = {0};
    raw_npy(&a, "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3)}", six, sizeof six);
    pack_zip(at("m.npz"), &(pack_member){.name = "W.npy", .data = a.data, .n = a.len}, 1);
    lethe_status st = LETHE_NOMEM;
    size_t k = 0;
    for (; st == LETHE_NOMEM && k < 1000; k++) {
        lethe_err err = {0};
        lethe_bundle *b = NULL;
        lethe_mem_fail_after(k);
        st = lethe_bundle_open(&b, at("m.npz"), &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_NOMEM) assert_null(b);
        lethe_bundle_close(&b);
    }
    assert_int_equal(st, LETHE_OK);
    assert_true(k > 10);
    lethe_strbuf_free(&a);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors),
        cmocka_unit_test(not_a_container),
        cmocka_unit_test(zip_members),
        cmocka_unit_test(zip_claims),
        cmocka_unit_test(packed),
        cmocka_unit_test(bombs),
        cmocka_unit_test(npy_headers),
        cmocka_unit_test(npy_orders),
        cmocka_unit_test(turned),
        cmocka_unit_test(views),
        cmocka_unit_test(storage_types),
        cmocka_unit_test(bad_views),
        cmocka_unit_test(copied_often),
        cmocka_unit_test(written_by_pytorch),
        cmocka_unit_test(other_checkpoints),
        cmocka_unit_test(damage),
        cmocka_unit_test(out_of_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
