/* SPDX-License-Identifier: MIT
 *
 * Streams of text: the same bytes whatever wraps them, however they are asked for; what is cut off,
 * damaged or of another kind is refused with its name; memory stays the same.
 */
#include "support/packs.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/spool.h"
#include "format/text_stream.h"

static char *path, *zip_path;
static char text[300000];

static lethe_status read_path(uint64_t *bytes, lethe_err *err) {
    lethe_text_stream *s;
    LETHE_TRY(lethe_text_stream_open(&s, path, path, err));
    lethe_status st = lethe_text_stream_count(s, bytes, err);
    lethe_text_stream_close(&s);
    return st;
}

/* All of a stream in steps of one size, and all of it by looking ahead. */
static void same_text(lethe_text_stream *s, size_t step, const char *want, size_t n) {
    lethe_err err = {0};
    char *buf = malloc(step);
    size_t seen = 0, got;
    for (size_t turn = 0; seen < n; turn++) {
        if (turn % 3 == 2) {
            const char *at;
            size_t ahead = step < LETHE_TEXT_STREAM_PEEK ? step : LETHE_TEXT_STREAM_PEEK;
            assert_ok(lethe_text_stream_peek(s, ahead, &at, &got, &err), &err);
            assert_true(got >= ahead || got == n - seen);
            assert_memory_equal(at, want + seen, got);
            got = got / 2 + 1;
            lethe_text_stream_skip(s, got);
        } else {
            assert_ok(lethe_text_stream_read(s, buf, step, &got, &err), &err);
            assert_int_equal(got, n - seen < step ? n - seen : step);
            assert_memory_equal(buf, want + seen, got);
        }
        seen += got;
    }
    assert_int_equal(seen, n);
    assert_ok(lethe_text_stream_read(s, buf, step, &got, &err), &err);
    assert_int_equal(got, 0);
    free(buf);
}

static const size_t steps[] = {1, 7, 4096, 65536, sizeof text + 1};
#define N_STEPS (sizeof steps / sizeof *steps)

static void check_file(const void *packed, size_t packed_n, const char *want, size_t n) {
    lethe_err err = {0};
    pack_spill(path, packed, packed_n);
    for (size_t i = n > 100000; i < N_STEPS; i++) {
        lethe_text_stream *s;
        assert_ok(lethe_text_stream_open(&s, path, "name", &err), &err);
        same_text(s, steps[i], want, n);
        lethe_text_stream_close(&s);
    }
}

static void whatever_wraps_it(void **state) {
    (void)state;
    const size_t lengths[] = {0, 1, 5, 65535, 65536, 65537, sizeof text};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i], g, z;
        unsigned char *gz = pack_gzip(text, n, &g), *zst = pack_zstd(text, n, &z);
        check_file(text, n, text, n);
        check_file(gz, g, text, n);
        check_file(zst, z, text, n);
        const pack_member member[] = {{.name = "a", .data = text, .n = n},
                                      {.name = "b.gz", .data = gz, .n = g},
                                      {.name = "c.zst", .data = zst, .n = z, .stored = true}};
        pack_zip(zip_path, member, 3);
        lethe_zip *archive;
        lethe_err err = {0};
        assert_ok(lethe_zip_open(&archive, zip_path, &err), &err);
        for (size_t m = 0; m < 3; m++) {
            lethe_text_stream *s;
            assert_ok(lethe_text_stream_open_member(&s, archive, m, "name", &err), &err);
            same_text(s, 777, text, n);
            lethe_text_stream_close(&s);
        }
        lethe_zip_close(&archive);
        free(gz);
        free(zst);
    }
}

/* Members one after the other, an empty one among them, and what may lie between and behind. */
static void several_parts(void **state) {
    (void)state;
    static const unsigned char skip[] = {0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z'};
    for (int zstd = 0; zstd < 2; zstd++) {
        unsigned char *all = calloc(1, 400000);
        size_t n = 0;
        const size_t cut[] = {0, 70000, 70000, 70001, sizeof text};
        for (size_t i = 0; i < 4; i++) {
            size_t k, len = cut[i + 1] - cut[i];
            unsigned char *one =
                zstd ? pack_zstd(text + cut[i], len, &k) : pack_gzip(text + cut[i], len, &k);
            memcpy(all + n, one, k);
            n += k;
            free(one);
            if (zstd) memcpy(all + n, skip, sizeof skip);
            if (zstd) n += sizeof skip;
        }
        check_file(all, n, text, sizeof text);
        if (!zstd) check_file(all, n + 1000, text, sizeof text); /* zeros: a tape's blocks */
        free(all);
    }
}

static void refused(const char *says) {
    lethe_err err = {0};
    uint64_t n;
    lethe_status st = read_path(&n, &err);
    if (st != LETHE_FORMAT) fail_msg("status %d for \"%s\": %s", (int)st, says, err.text);
    assert_ptr_equal(strstr(err.text, path), err.text);
    if (!strstr(err.text, says)) fail_msg("\"%s\" lacks \"%s\"", err.text, says);
}

static void damaged(void **state) {
    (void)state;
    for (int zstd = 0; zstd < 2; zstd++) {
        size_t n;
        unsigned char *p = zstd ? pack_zstd(text, 2000, &n) : pack_gzip(text, 2000, &n);
        p = realloc(p, n + 16);
        for (size_t keep = zstd ? 4 : 2; keep < n; keep++) {
            pack_spill(path, p, keep);
            refused("cut off");
        }
        memcpy(p + n, "garbage", 7);
        pack_spill(path, p, n + 7);
        char says[64];
        snprintf(says, sizeof says, "got 0x67 at byte %zu, want the end", n);
        refused(says);
        p[n] = 0; /* zeros and then something */
        pack_spill(path, p, n + 7);
        refused(zstd ? "got 0x00" : "got 0x61");
        p[n - 2] ^= 1; /* gzip: the length at the end; zstd: the checksum */
        pack_spill(path, p, n);
        refused(zstd ? "checksum" : "incorrect length check");
        p[n - 2] ^= 1;
        if (!zstd) {
            p[n - 6] ^= 1;
            pack_spill(path, p, n);
            refused("incorrect data check");
            p[n - 6] ^= 1;
        }
        size_t read = 0;
        for (size_t i = 0; i < n; i++) { /* any byte: a message, or the same text after all */
            p[i] ^= 0x41;
            pack_spill(path, p, n);
            lethe_err err = {0};
            uint64_t got;
            lethe_status st = read_path(&got, &err);
            if (st) assert_non_null(strstr(err.text, path));
            read += !st;
            p[i] ^= 0x41;
        }
        assert_true(read < 12);
        free(p);
    }
}

static void other_kinds(void **state) {
    (void)state;
    static const struct {
        const char *head;
        size_t n;
        const char *says;
    } kind[] = {
        {"PAR1\x15\x04", 6, "is Parquet"},
        {"ARROW1\0\0", 8, "is an Arrow file"},
        {"BZh61AY&SYxxxx", 14, "is packed with bzip2"},
        {"\xfd"
         "7zXZ\0",
         6, "is packed with xz"},
        {"\x04\x22\x4d\x18", 4, "is packed with lz4"},
        {"7z\xbc\xaf\x27\x1c", 6, "is a 7z archive"},
        {"\xff\xfeh\0i\0", 6, "is UTF-16 text"},
        {"\xfe\xff\0h", 4, "is UTF-16 text"},
    };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        pack_spill(path, kind[i].head, kind[i].n);
        refused(kind[i].says);
        refused("(convert it: ");
        bool zip;
        lethe_err err = {0};
        assert_int_equal(lethe_text_look(path, &zip, &err), LETHE_FORMAT);
        for (size_t keep = 0; keep < kind[i].n; keep++) { /* too short to be one: text */
            uint64_t n;
            pack_spill(path, kind[i].head, keep);
            lethe_status st = read_path(&n, &err);
            if (!st) assert_int_equal(n, keep);
        }
    }
    static const char *const text_after_all[] = {"PAR1 of the course", "BZh is no word", "PK",
                                                 "7z and more", "ARROW1 is text"};
    for (size_t i = 0; i < sizeof text_after_all / sizeof *text_after_all; i++)
        check_file(text_after_all[i], strlen(text_after_all[i]), text_after_all[i],
                   strlen(text_after_all[i]));
    const pack_member inner = {.name = "a.txt", .data = "a", .n = 1};
    pack_zip(path, &inner, 1);
    bool zip;
    lethe_err err = {0};
    assert_ok(lethe_text_look(path, &zip, &err), &err);
    assert_true(zip);
    refused("is a zip archive where none can be read");
}

static long peak_kib(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_maxrss;
}

/* 400 MiB out of less than one, within the memory of the streams. */
static void bombs(void **state) {
    (void)state;
    size_t mib = 1 << 20, k;
    char *blank = malloc(mib);
    memset(blank, ' ', mib);
    for (int how = 0; how < 3; how++) {
        unsigned char *one = how == 1 ? pack_zstd(blank, mib, &k) : pack_gzip(blank, mib, &k);
        unsigned char *all = malloc(400 * k);
        for (size_t i = 0; i < 400; i++) memcpy(all + i * k, one, k);
        pack_spill(path, all, 400 * k);
        const pack_member m = {.name = "bomb.gz", .data = all, .n = 400 * k};
        pack_zip(zip_path, &m, 1); /* 400 MiB in 400 KiB in less still */
        free(all);
        free(one);
        lethe_err err = {0};
        uint64_t n;
        long before = peak_kib();
        if (how < 2) {
            assert_ok(read_path(&n, &err), &err);
        } else {
            lethe_zip *z;
            lethe_text_stream *s;
            assert_ok(lethe_zip_open(&z, zip_path, &err), &err);
            assert_ok(lethe_text_stream_open_member(&s, z, 0, "bomb", &err), &err);
            assert_ok(lethe_text_stream_count(s, &n, &err), &err);
            lethe_text_stream_close(&s);
            lethe_zip_close(&z);
        }
        assert_int_equal(n, 400 * mib);
        assert_in_range(peak_kib() - before, 0, 20000);
    }
    free(blank);
}

/* A frame of a few bytes that wants a window of gigabytes. */
static void window_claims(void **state) {
    (void)state;
    /* Magic; no single segment, no checksum; window descriptor; an empty last block. */
    unsigned char frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00};
    pack_spill(path, frame, sizeof frame);
    refused("its window takes more memory than the 128 MiB allowed");
    frame[5] = 17 << 3;
    pack_spill(path, frame, sizeof frame);
    lethe_err err = {0};
    uint64_t n;
    assert_ok(read_path(&n, &err), &err);
    assert_int_equal(n, 0);
}

static void no_memory(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        size_t n = 1000;
        unsigned char *p = how == 0   ? pack_gzip(text, 1000, &n)
                           : how == 1 ? pack_zstd(text, 1000, &n)
                                      : NULL;
        pack_spill(path, p ? (const void *)p : text, n);
        free(p);
        for (size_t k = 0;; k++) {
            lethe_err err = {0};
            uint64_t bytes;
            lethe_mem_fail_after(k);
            lethe_status st = read_path(&bytes, &err);
            lethe_mem_fail_after(SIZE_MAX);
            if (!st) break;
            assert_int_equal(st, LETHE_NOMEM);
        }
    }
    lethe_text_stream *s;
    lethe_err err = {0};
    assert_int_equal(lethe_text_stream_open(&s, "/nowhere/x", "x", &err), LETHE_NOTFOUND);
}

/* What comes through a pipe can be read as often as one likes, packed or not. */
static void pipes(void **state) {
    (void)state;
    char *fifo = lethe_path_join(test_temp_dir(), "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_true(lethe_spool_wants(fifo));
    assert_true(lethe_spool_wants("-"));
    assert_false(lethe_spool_wants(path));
    assert_false(lethe_spool_wants(test_temp_dir()));
    assert_false(lethe_spool_wants("/nowhere/x"));
    size_t n;
    unsigned char *gz = pack_gzip(text, sizeof text, &n);
    pid_t child = fork();
    if (!child) {
        pack_spill(fifo, gz, n);
        _exit(0);
    }
    for (int round = 0; round < 3; round++) {
        lethe_err err = {0};
        lethe_text_stream *s, *other;
        assert_ok(lethe_text_stream_open(&s, fifo, "pipe", &err), &err);
        assert_ok(lethe_text_stream_open(&other, fifo, "pipe", &err), &err);
        same_text(s, 1000, text, sizeof text);
        same_text(other, 100000, text, sizeof text);
        lethe_text_stream_close(&other);
        lethe_text_stream_close(&s);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free(gz);
    lethe_free(fifo);
}

int main(void) {
    path = lethe_path_join(test_temp_dir(), "text.bin");
    zip_path = lethe_path_join(test_temp_dir(), "text.zip");
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i * i / 7 % 23 + i / 5000 % 3);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bombs), /* first: the peak of memory is the process's */
        cmocka_unit_test(whatever_wraps_it),
        cmocka_unit_test(several_parts),
        cmocka_unit_test(damaged),
        cmocka_unit_test(other_kinds),
        cmocka_unit_test(window_claims),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(pipes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_free(path);
    lethe_free(zip_path);
    test_temp_remove();
    return failed;
}
