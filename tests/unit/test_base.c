/* SPDX-License-Identifier: MIT
 *
 * The ground: memory with checks, conversions, random numbers, permutations, UTF-8, atomic writing.
 */
#include "support/support.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/dtype.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/perm.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/strbuf.h"
#include "base/utf8.h"

static void sizes_are_checked(void **state) {
    (void)state;
    size_t out = 7;
    assert_true(lethe_mul_size(1u << 20, 1u << 20, &out));
    assert_int_equal(out, 1ull << 40);
    assert_false(lethe_mul_size(SIZE_MAX, 2, &out));
    void *p = &out;
    lethe_err err = {0};
    assert_int_equal(lethe_alloc(&p, SIZE_MAX, 16, "a test", &err), LETHE_NOMEM);
    assert_ptr_equal(p, &out);
    assert_non_null(strstr(err.text, "a test"));
    assert_int_equal(lethe_alloc(&p, SIZE_MAX - 8, 1, "a test", &err), LETHE_NOMEM);
}

static void grow_keeps_what_is_there(void **state) {
    (void)state;
    int *v = NULL;
    size_t cap = 0;
    for (size_t n = 0; n < 1000; n++) {
        assert_int_equal(lethe_grow(&v, &cap, n, n + 1, sizeof *v, "numbers", NULL), LETHE_OK);
        v[n] = (int)n;
    }
    for (size_t n = 0; n < 1000; n++) assert_int_equal(v[n], n);
    lethe_free(v);
}

static void failing_allocations_are_reported(void **state) {
    (void)state;
    void *p = NULL;
    lethe_mem_fail_after(1);
    assert_int_equal(lethe_alloc(&p, 1, 1, "first", NULL), LETHE_OK);
    void *q = NULL;
    assert_int_equal(lethe_alloc(&q, 1, 1, "second", NULL), LETHE_NOMEM);
    lethe_mem_fail_after(SIZE_MAX);
    lethe_free(p);
}

/* Every half-precision value survives the way to float and back. */
static void half_precision(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = lethe_f32_from_f16((uint16_t)h);
        if (!isnan(f))
            assert_int_equal(lethe_f16_from_f32(f), h);
        else
            assert_true(isnan(lethe_f32_from_f16(lethe_f16_from_f32(f))));
        float b = lethe_f32_from_bf16((uint16_t)h);
        if (!isnan(b))
            assert_int_equal(lethe_bf16_from_f32(b), h);
        else
            assert_true(isnan(lethe_f32_from_bf16(lethe_bf16_from_f32(b))));
    }
    assert_int_equal(lethe_f16_from_f32(65504.0f), 0x7bff);
    assert_int_equal(lethe_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(lethe_f16_from_f32(0x1p-25f), 0);             /* a tie, to even */
    assert_int_equal(lethe_f16_from_f32(0x1.8p-24f), 2);           /* a tie, to even */
    assert_int_equal(lethe_f16_from_f32(1.0f + 0x1p-11f), 0x3c00); /* a tie, to even */
    assert_int_equal(lethe_bf16_from_f32(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(lethe_bf16_from_f32(1.0f + 0x1.8p-7f), 0x3f82);
}

static void random_numbers(void **state) {
    (void)state;
    lethe_rng a = lethe_rng_make(5, 1), b = lethe_rng_make(5, 1), c = lethe_rng_make(5, 2);
    double sum = 0, squares = 0;
    bool differs = false;
    for (int i = 0; i < 20000; i++) {
        uint64_t x = lethe_rng_u64(&a);
        assert_true(x == lethe_rng_u64(&b));
        differs |= x != lethe_rng_u64(&c);
    }
    assert_true(differs);
    for (int i = 0; i < 20000; i++) {
        double x = lethe_rng_normal(&a);
        sum += x;
        squares += x * x;
        assert_true(lethe_rng_below(&a, 7) < 7);
    }
    assert_true(fabs(sum / 20000) < 0.03);
    assert_true(fabs(squares / 20000 - 1) < 0.05);
}

static void permutations(void **state) {
    (void)state;
    const uint64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 1000, 4097};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t n = sizes[s];
        unsigned char *seen = calloc(1, n);
        lethe_perm p = lethe_perm_make(n, 3, 9);
        uint64_t moved = 0;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = lethe_perm_at(&p, i);
            assert_true(at < n);
            assert_int_equal(seen[at]++, 0);
            moved += at != i;
        }
        if (n >= 1000) assert_true(moved > n * 9 / 10);
        free(seen);
    }
}

static void utf8(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n, good;
    } cases[] = {
        {"plain", 5, 5},
        {"\xc3\xa9", 2, 2},
        {"a\xc3", 2, 1},
        {"\xc0\x80", 2, 0},
        {"\xed\xa0\x80", 3, 0},
        {"\xf0\x9f\x98\x80", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0},
        {"\xe0\x80\xaf", 3, 0},
        {"ok\xff", 3, 2},
        {"\x80", 1, 0},
        {"\xf0\x9f\x98", 3, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(lethe_utf8_valid_prefix(cases[i].text, cases[i].n), cases[i].good);
    size_t at = 0;
    assert_int_equal(lethe_utf8_next("\xf0\x9f\x98\x80", 4, &at), 0x1f600);
    assert_int_equal(at, 4);
}

static size_t files_in(const char *dir) {
    DIR *d = opendir(dir);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void writing_is_all_or_nothing(void **state) {
    (void)state;
    const char *dir = test_temp_dir();
    char *path = lethe_path_join(dir, "file");
    lethe_err err = {0};
    assert_ok(lethe_write_file(path, "old", 3, &err), &err);
    lethe_writer *w;
    assert_ok(lethe_writer_open(&w, path, &err), &err);
    lethe_writer_put(w, "new content", 11);
    lethe_map m;
    assert_ok(lethe_map_open(&m, path, &err), &err);
    assert_int_equal(m.size, 3); /* not before commit */
    lethe_map_close(&m);
    lethe_writer_patch(w, 0, "NEW", 3);
    assert_ok(lethe_writer_commit(&w, &err), &err);
    assert_ok(lethe_map_open(&m, path, &err), &err);
    assert_memory_equal(m.data, "NEW content", 11);
    lethe_map_close(&m);

    assert_ok(lethe_writer_open(&w, path, &err), &err);
    lethe_writer_put(w, "x", 1);
    lethe_writer_abort(&w);
    assert_int_equal(files_in(dir), 1);

    /* A process that died in the middle of a write: the next write clears its leftovers. */
    pid_t child = fork();
    if (child == 0) {
        lethe_writer *v;
        if (lethe_writer_open(&v, path, NULL)) _exit(1);
        lethe_writer_put(v, "half", 4);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(files_in(dir), 2);
    assert_ok(lethe_write_file(path, "next", 4, &err), &err);
    assert_int_equal(files_in(dir), 1);

    char *nowhere = lethe_path_join(dir, "none/file");
    assert_int_equal(lethe_writer_open(&w, nowhere, &err), LETHE_IO);
    assert_non_null(strstr(err.text, "none/file"));
    lethe_free(nowhere);
    lethe_free(path);
    test_temp_remove();
}

static void messages(void **state) {
    (void)state;
    lethe_err err = {0};
    assert_int_equal(lethe_fail(&err, LETHE_FORMAT, "file: %d", 3), LETHE_FORMAT);
    assert_string_equal(err.text, "file: 3");
    lethe_err_prefix(&err, "reading");
    assert_string_equal(err.text, "reading: file: 3");
    lethe_fail(&err, LETHE_FORMAT, "a\x1b[2J\tb\n\x7f \xc2\x9b \xc3\xa4 %s", "\xc2");
    assert_string_equal(err.text, "a?[2J\tb\n? ?? \xc3\xa4 \xc2");
    assert_int_equal(lethe_status_exit_code(LETHE_FORMAT), 3);
    assert_int_equal(lethe_status_exit_code(LETHE_USAGE), 2);
    assert_int_equal(lethe_status_exit_code(LETHE_IO), 1);
    assert_int_equal(lethe_status_exit_code(LETHE_OK), 0);
    char a[LETHE_HASH_HEX], b[LETHE_HASH_HEX];
    lethe_hash_bytes("abc", 3, a);
    lethe_hash_bytes("abd", 3, b);
    assert_string_not_equal(a, b);
    lethe_strbuf s = {0};
    for (int i = 0; i < 100; i++) lethe_strbuf_addf(&s, "%d,", i);
    assert_int_equal(s.len, 290);
    lethe_strbuf_free(&s);
}

/* A call that asks for the same gets the same; one that asks for more gets new blocks, and what
 * nobody asks for any longer is released. */
static void a_pool_keeps_its_blocks(void **state) {
    (void)state;
    lethe_err err;
    lethe_pool pool = {0};
    enum { BLOCKS = 5 };
    char *first[BLOCKS], *now[BLOCKS];
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            char **to = round ? &now[i] : &first[i];
            assert_ok(lethe_pool_take(&pool, to, (size_t)100000 >> i, 3, "a block", &err), &err);
            memset(*to, (int)round, (size_t)3 * (100000 >> i));
        }
        if (round) assert_memory_equal(now, first, sizeof now);
        lethe_pool_rewind(&pool);
    }
    assert_int_equal(pool.n, BLOCKS);
    char *more;
    assert_ok(lethe_pool_take(&pool, &more, 1000000, 1, "a larger block", &err), &err);
    memset(more, 1, 1000000);
    assert_int_equal(pool.n, BLOCKS + 1);
    lethe_pool_rewind(&pool);
    /* Far too large for it, so not wasted on it. */
    assert_ok(lethe_pool_take(&pool, &more, 10, 1, "a small block", &err), &err);
    assert_int_equal(pool.n, BLOCKS + 2);
    for (size_t round = 0; round < 5; round++) {
        lethe_pool_rewind(&pool);
        assert_ok(lethe_pool_take(&pool, &more, 10, 1, "a small block", &err), &err);
    }
    assert_int_equal(pool.n, 1);
    assert_int_equal(lethe_pool_take(&pool, &more, SIZE_MAX, 2, "too much", &err), LETHE_NOMEM);
    assert_non_null(strstr(err.text, "too much"));
    for (size_t allowed = 0; allowed < 2; allowed++) { /* the list of blocks, and the block */
        lethe_pool fresh = {0};
        lethe_mem_fail_after(allowed);
        assert_int_equal(lethe_pool_take(&fresh, &more, 10, 1, "a block", &err), LETHE_NOMEM);
        lethe_mem_fail_after(SIZE_MAX);
        lethe_pool_free(&fresh);
    }
    lethe_pool_free(&pool);
    assert_int_equal(pool.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(grow_keeps_what_is_there),
        cmocka_unit_test(failing_allocations_are_reported),
        cmocka_unit_test(half_precision),
        cmocka_unit_test(random_numbers),
        cmocka_unit_test(permutations),
        cmocka_unit_test(utf8),
        cmocka_unit_test(writing_is_all_or_nothing),
        cmocka_unit_test(messages),
        cmocka_unit_test(a_pool_keeps_its_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
