/* SPDX-License-Identifier: MIT
 *
 * Zip archives: members come out as they went in, however small the reads; what is cut off,
 * damaged, encrypted or no archive is refused with the archive's name.
 */
#include "support/packs.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/zip.h"

static char *path;
static char big[100000];

static const pack_member members[] = {{.name = "folder/"},
                                      {.name = "folder/a.txt", .data = "alpha", .n = 5},
                                      {.name = "big", .data = big, .n = sizeof big},
                                      {.name = "kept", .data = big, .n = 1000, .stored = true},
                                      {.name = "../e\nvil", .data = "e", .n = 1},
                                      {.name = "empty", .data = "", .n = 0}};
#define N_MEMBERS (sizeof members / sizeof *members)

static void members_come_out(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_zip *z;
    pack_zip(path, members, N_MEMBERS);
    assert_ok(lethe_zip_open(&z, path, &err), &err);
    assert_int_equal(lethe_zip_count(z), N_MEMBERS);
    for (size_t i = 1; i < N_MEMBERS; i++) {
        assert_string_equal(lethe_zip_name(z, i), members[i].name);
        assert_int_equal(lethe_zip_size(z, i), members[i].n);
        const size_t steps[] = {1, 7, 4096, sizeof big + 1};
        for (size_t s = 0; s < 4; s++) {
            lethe_zip_member *m;
            assert_ok(lethe_zip_member_open(&m, z, i, &err), &err);
            char *buf = malloc(steps[s]);
            size_t seen = 0, got;
            do {
                assert_ok(lethe_zip_member_read(m, buf, steps[s], &got, &err), &err);
                assert_true(seen + got <= members[i].n);
                assert_memory_equal(buf, (const char *)members[i].data + seen, got);
                seen += got;
            } while (got == steps[s]);
            assert_int_equal(seen, members[i].n);
            free(buf);
            lethe_zip_member_close(&m);
        }
    }
    char shown[64], cut[8];
    lethe_zip_show(z, 4, shown, sizeof shown);
    assert_non_null(strstr(shown, "../e?vil"));
    lethe_zip_show(z, 4, cut, sizeof cut);
    assert_int_equal(strlen(cut), sizeof cut - 1);
    assert_string_equal(lethe_zip_name(z, N_MEMBERS), "");
    lethe_zip_close(&z);
}

static lethe_status read_all(lethe_err *err) {
    lethe_zip *z;
    LETHE_TRY(lethe_zip_open(&z, path, err));
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < lethe_zip_count(z) && !st; i++) {
        lethe_zip_member *m;
        st = lethe_zip_member_open(&m, z, i, err);
        if (st) break;
        char buf[512];
        size_t got = sizeof buf;
        while (!st && got == sizeof buf) st = lethe_zip_member_read(m, buf, sizeof buf, &got, err);
        lethe_zip_member_close(&m);
    }
    lethe_zip_close(&z);
    return st;
}

static void refused(lethe_status st, const lethe_err *err, const char *text) {
    if (st != LETHE_FORMAT) fail_msg("status %d: %s", (int)st, err->text);
    assert_non_null(strstr(err->text, path));
    if (!strstr(err->text, text)) fail_msg("\"%s\" lacks \"%s\"", err->text, text);
}

static void cut_off_anywhere(void **state) {
    (void)state;
    pack_zip(path, members, 2);
    size_t n;
    unsigned char *data = pack_slurp(path, &n);
    for (size_t keep = 0; keep < n; keep++) {
        lethe_err err = {0};
        pack_spill(path, data, keep);
        refused(read_all(&err), &err, "not a whole zip archive");
    }
    free(data);
}

static void damaged(void **state) {
    (void)state;
    const pack_member one = {.name = "a.txt", .data = "the quick fox", .n = 13, .stored = true};
    pack_zip(path, &one, 1);
    size_t n;
    unsigned char *data = pack_slurp(path, &n);
    unsigned char *text = memmem(data, n, "quick", 5);
    assert_non_null(text);
    text[0] = 'Q';
    pack_spill(path, data, n);
    lethe_err err = {0};
    refused(read_all(&err), &err, "/a.txt: damaged after");
    free(data);

    const pack_member secret = {.name = "s.txt", .data = "hidden", .n = 6, .encrypted = true};
    pack_zip(path, &secret, 1);
    refused(read_all(&err), &err, "/s.txt: is encrypted");
}

/* Sizes that say "look at the Zip64 field" where there is none: libzip's word for it is ENOENT. */
static void missing_zip64(void **state) {
    (void)state;
    const pack_member one = {.name = "a.txt", .data = "the quick fox", .n = 13};
    pack_zip(path, &one, 1);
    size_t n;
    unsigned char *data = pack_slurp(path, &n), *entry = memmem(data, n, "PK\1\2", 4);
    assert_non_null(entry);
    memset(entry + 20, 0xff, 8);
    pack_spill(path, data, n);
    lethe_err err = {0};
    refused(read_all(&err), &err, "not a whole zip archive");
    free(data);
}

/* Any byte changed: never more than a message, and never other text under a name. */
static void every_byte_changed(void **state) {
    (void)state;
    const pack_member some[] = {{.name = "a.txt", .data = "alpha alpha alpha", .n = 17},
                                {.name = "b", .data = "beta", .n = 4, .stored = true}};
    pack_zip(path, some, 2);
    size_t n, read = 0;
    unsigned char *data = pack_slurp(path, &n);
    for (size_t i = 0; i < n; i++) {
        lethe_err err = {0};
        data[i] ^= 0x81;
        pack_spill(path, data, n);
        lethe_status st = read_all(&err);
        if (st) assert_non_null(strstr(err.text, path));
        read += !st;
        data[i] ^= 0x81;
    }
    assert_in_range(read, 1, n - 1);
    free(data);
}

static void no_archive(void **state) {
    (void)state;
    lethe_zip *z;
    lethe_err err = {0};
    assert_int_equal(lethe_zip_open(&z, "/nowhere/x.zip", &err), LETHE_NOTFOUND);
    pack_spill(path, "just text", 9);
    refused(read_all(&err), &err, "not a whole zip archive");
    pack_zip(path, members, N_MEMBERS);
    for (size_t k = 0;; k++) { /* every allocation of ours fails once */
        lethe_mem_fail_after(k);
        lethe_status st = read_all(&err);
        lethe_mem_fail_after(SIZE_MAX);
        if (!st) break;
        assert_int_equal(st, LETHE_NOMEM);
    }
}

int main(void) {
    path = lethe_path_join(test_temp_dir(), "x.zip");
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)('a' + i * i / 7 % 23);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_out),
        cmocka_unit_test(cut_off_anywhere),
        cmocka_unit_test(damaged),
        cmocka_unit_test(no_archive),
        cmocka_unit_test(every_byte_changed),
        cmocka_unit_test(missing_zip64),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_free(path);
    test_temp_remove();
    return failed;
}
