/* SPDX-License-Identifier: MIT
 *
 * Rows of activations: the store on disk, the sources that hand them out, the harvest's filter.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/source.h"

#define D 5

static const char *dir;

static void fill(float *x, int32_t *token, uint8_t *role, size_t n, size_t first) {
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < D; j++) x[i * D + j] = (float)((first + i) * 10 + j);
        token[i] = (int32_t)(first + i);
        role[i] = (uint8_t)((first + i) % 3);
    }
}

static char *make_store(const char *name, lethe_dtype dtype, size_t rows, const json_t *identity) {
    lethe_err err = {0};
    char *path = lethe_path_join(dir, name);
    lethe_store_writer *w;
    assert_ok(lethe_store_create(&w, path, D, dtype, identity, &err), &err);
    float x[7 * D];
    int32_t token[7];
    uint8_t role[7];
    for (size_t at = 0; at < rows; at += 7) {
        size_t n = rows - at < 7 ? rows - at : 7;
        fill(x, token, role, n, at);
        assert_ok(lethe_store_put(w, x, token, token, role, n, &err), &err);
    }
    assert_ok(lethe_store_commit(&w, &err), &err);
    return path;
}

static void store_round_trip(void **state) {
    (void)state;
    lethe_err err = {0};
    json_t *id = json_pack("{s:s, s:i}", "model", "abc", "layer", 3);
    char *path = make_store("store", LETHE_F32, 50, id);
    lethe_store *s;
    assert_ok(lethe_store_open(&s, path, id, &err), &err);
    assert_int_equal(lethe_store_rows(s), 50);
    assert_int_equal(lethe_store_d(s), D);
    uint64_t want[] = {49, 0, 7, 7, 13};
    float x[5 * D];
    lethe_store_read(s, want, 5, x);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < D; j++) assert_true(x[i * D + j] == (float)(want[i] * 10 + j));
    uint8_t role[10];
    lethe_store_read_roles(s, 11, 10, role);
    for (size_t i = 0; i < 10; i++) assert_int_equal(role[i], (11 + i) % 3);
    lethe_store_close(&s);

    json_object_set_new(id, "layer", json_integer(4));
    assert_int_equal(lethe_store_open(&s, path, id, &err), LETHE_MISMATCH);
    assert_non_null(strstr(err.text, "another layer: got 3, want 4"));
    json_decref(id);

    /* Every byte of the data is covered by the checksum; the tail of the file is data. */
    char *shard = lethe_path_join(path, "shard-00000.safetensors");
    lethe_map m;
    assert_ok(lethe_map_open(&m, shard, &err), &err);
    unsigned char *copy = malloc(m.size);
    size_t size = m.size;
    memcpy(copy, m.data, size);
    lethe_map_close(&m);
    for (size_t k = 1; k < 1200; k += 97) {
        copy[size - k] ^= 0x40;
        assert_ok(lethe_write_file(shard, copy, size, &err), &err);
        assert_int_equal(lethe_store_open(&s, path, NULL, &err), LETHE_FORMAT);
        assert_non_null(strstr(err.text, "damaged"));
        copy[size - k] ^= 0x40;
    }
    assert_ok(lethe_write_file(shard, copy, size - 100, &err), &err);
    assert_int_equal(lethe_store_open(&s, path, NULL, &err), LETHE_FORMAT);
    free(copy);
    lethe_free(shard);
    assert_true(lethe_store_exists(path));
    lethe_store_remove(path);
    assert_false(lethe_path_exists(path));
    assert_int_equal(lethe_store_open(&s, path, NULL, &err), LETHE_NOTFOUND);
    lethe_free(path);
}

static void unfinished_store_is_none(void **state) {
    (void)state;
    lethe_err err = {0};
    json_t *id = json_object();
    char *path = lethe_path_join(dir, "half");
    lethe_store_writer *w;
    assert_ok(lethe_store_create(&w, path, D, LETHE_BF16, id, &err), &err);
    float x[D] = {1};
    int32_t token = 1;
    uint8_t role = 0;
    assert_ok(lethe_store_put(w, x, &token, &token, &role, 1, &err), &err);
    assert_false(lethe_store_exists(path));
    lethe_store_abort(&w);
    assert_false(lethe_path_exists(path));
    json_decref(id);
    lethe_free(path);
}

/* Draws an epoch in batches of 8; returns the order of rows, 0 .. n - 1. */
static size_t draw_epoch(lethe_source *s, size_t *order) {
    float x[8 * D];
    size_t n = 0, got;
    lethe_err err = {0};
    do {
        assert_ok(lethe_source_next(s, x, 8, &got, &err), &err);
        for (size_t i = 0; i < got; i++) order[n++] = (size_t)x[i * D] / 10;
    } while (got == 8);
    return n;
}

static void every_row_once_an_epoch(void **state) {
    (void)state;
    lethe_err err = {0};
    json_t *id = json_object();
    char *path = make_store("epochs", LETHE_F32, 53, id);
    json_decref(id);
    lethe_store *store;
    assert_ok(lethe_store_open(&store, path, NULL, &err), &err);
    for (int kind = 0; kind < 2; kind++) {
        lethe_source *s;
        if (kind)
            assert_ok(lethe_source_from_files(&s, path, true, 9, &err), &err);
        else
            assert_ok(lethe_source_from_store(&s, store, true, 9, &err), &err);
        assert_int_equal(lethe_source_rows(s), 53);
        size_t a[53], b[53], seen[53] = {0}, same = 0;
        assert_int_equal(draw_epoch(s, a), 53);
        assert_int_equal(lethe_source_place(s).epoch, 1);
        assert_int_equal(draw_epoch(s, b), 53);
        for (size_t i = 0; i < 53; i++) {
            seen[a[i]]++;
            same += a[i] == b[i];
        }
        for (size_t i = 0; i < 53; i++) assert_int_equal(seen[i], 1);
        assert_true(same < 20); /* another order each epoch */

        /* From any place on, the same rows again. */
        float x[8 * D];
        size_t got;
        assert_ok(lethe_source_seek(s, (lethe_place){.epoch = 1, .row = 16}, &err), &err);
        assert_ok(lethe_source_next(s, x, 8, &got, &err), &err);
        for (size_t i = 0; i < 8; i++) assert_int_equal((size_t)x[i * D] / 10, b[16 + i]);
        lethe_source_close(&s);

        if (kind)
            assert_ok(lethe_source_from_files(&s, path, false, 9, &err), &err);
        else
            assert_ok(lethe_source_from_store(&s, store, false, 9, &err), &err);
        assert_int_equal(draw_epoch(s, a), 53);
        for (size_t i = 0; i < 53; i++) assert_int_equal(a[i], i);
        lethe_source_close(&s);
    }
    lethe_store_close(&store);
    lethe_free(path);
}

static void files_are_checked(void **state) {
    (void)state;
    lethe_err err = {0};
    char *path = lethe_path_join(dir, "nan.safetensors");
    float x[2 * D] = {0};
    lethe_source *s = NULL;
    lethe_st_writer *w;
    x[7] = NAN;
    assert_ok(lethe_st_create(&w, path, &err), &err);
    lethe_st_put_f32(w, "rows", 2, (size_t[]){2, D}, x);
    assert_ok(lethe_st_commit(&w, &err), &err);
    assert_int_equal(lethe_source_from_files(&s, path, false, 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "\"rows\": row 1 has a value that is not finite"));
    x[7] = 0;
    assert_ok(lethe_st_create(&w, path, &err), &err);
    lethe_st_put_f32(w, "a", 2, (size_t[]){2, D}, x);
    lethe_st_put_f32(w, "b", 2, (size_t[]){2, D}, x);
    assert_ok(lethe_st_commit(&w, &err), &err);
    assert_int_equal(lethe_source_from_files(&s, path, false, 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "want exactly one"));
    assert_null(s);
    lethe_free(path);
}

/* ---- harvest -------------------------------------------------------------------------------- */

typedef struct fixed { /* the same window again and again */
    const lethe_tokens *tokens;
    size_t left, given;
} fixed;

static lethe_status fixed_next(void *user, int32_t *token, size_t cap, size_t *n, lethe_role *role,
                               lethe_err *err) {
    fixed *f = user;
    (void)err;
    *role = LETHE_FORGET;
    *n = f->left ? f->tokens->n < cap ? f->tokens->n : cap : 0;
    memcpy(token, f->tokens->id, *n * sizeof *token);
    f->left -= f->left > 0;
    return LETHE_OK;
}

static lethe_status fixed_restart(void *user, uint64_t skip, lethe_err *err) {
    fixed *f = user;
    (void)err;
    f->left = f->given - skip;
    return LETHE_OK;
}

static void harvest_leaves_special_positions_out(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_lm_opts o = lethe_lm_defaults();
    o.ctx_len = 32;
    o.n_seq = 2;
    o.exact = true;
    lethe_lm *lm;
    assert_ok(lethe_lm_open(&lm, test_source("models/lethe-demo.gguf"), &o, NULL, &err), &err);
    lethe_tokens t = {0};
    const char *text = "The old man walked to the river and sat down.";
    assert_ok(lethe_lm_tokenize(lm, text, strlen(text), true, false, &t, &err), &err);
    assert_true(lethe_lm_is_special(lm, t.id[0]));
    for (int keep = 0; keep < 2; keep++) {
        fixed f = {&t, 3, 3};
        lethe_window_source src = {fixed_next, fixed_restart, &f};
        lethe_harvest_opts ho = lethe_harvest_defaults();
        ho.layer = 1;
        ho.keep_special = keep;
        ho.outlier_factor = keep ? 0 : 10;
        lethe_harvester *h;
        assert_ok(lethe_harvester_open(&h, lm, src, &ho, &err), &err);
        lethe_harvest_rows r;
        size_t rows = 0, windows = 0;
        float *first = NULL;
        size_t d = lethe_lm_get_info(lm)->d_model;
        for (;;) {
            assert_ok(lethe_harvester_next(h, 2, &r, &err), &err);
            if (!r.windows) break;
            assert_true(r.windows <= 2);
            for (size_t i = 0; i < r.n; i++) {
                assert_int_equal(r.role[i], LETHE_FORGET);
                assert_int_equal(r.token[i], t.id[r.position[i]]);
                assert_true(keep || r.position[i] > 0);
            }
            if (!first) {
                first = malloc(d * sizeof *first);
                memcpy(first, r.x, d * sizeof *first);
            } else {
                assert_close(r.x, first, d, 1e-5, "the same window gives the same rows");
            }
            rows += r.n;
            windows += r.windows;
        }
        assert_int_equal(windows, 3);
        assert_int_equal(rows, 3 * (t.n - (keep ? 0 : 1)));
        assert_int_equal(lethe_harvester_stats(h)->special, keep ? 0 : 3);
        free(first);
        lethe_harvester_close(&h);
    }
    lethe_tokens_free(&t);
    lethe_lm_close(&lm);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_round_trip),
        cmocka_unit_test(unfinished_store_is_none),
        cmocka_unit_test(every_row_once_an_epoch),
        cmocka_unit_test(files_are_checked),
        cmocka_unit_test(harvest_leaves_special_positions_out),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
