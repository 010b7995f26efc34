/* SPDX-License-Identifier: MIT
 *
 * Every architecture with every norm against its formula written out in double precision: which
 * latents fire, their values, and the reconstruction.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "sae/arch.h"
#include "sae/encoder.h"
#include "sae/params.h"
#include "support/plain_sae.h"

static lethe_err err;

static lethe_codes encode(const lethe_sae *s, const float *x, size_t n) {
    lethe_encoder e;
    lethe_codes c;
    assert_ok(lethe_encoder_open(&e, s, &err), &err);
    assert_ok(lethe_codes_alloc(&c, n, s->k, &err), &err);
    assert_ok(lethe_encode(&e, x, n, &c, NULL, &err), &err);
    lethe_encoder_close(&e);
    return c;
}

/* Also the order, and that the places nobody needs say so. */
static void check_token(const lethe_sae *s, const lethe_codes *c, size_t t, const plain_truth *o) {
    double *z = plain_take(s->m, sizeof *z);
    float before = INFINITY;
    int32_t last = -1;
    for (size_t i = 0; i < c->k; i++) {
        int32_t j = c->index[t * c->k + i];
        float v = c->value[t * c->k + i];
        assert_true(j >= 0 && (size_t)j < s->m && v >= 0 && v <= before);
        if (v > 0 && v == before) assert_true(j > last);
        assert_true(z[j] == 0);
        z[j] = (double)v;
        before = v;
        last = j;
    }
    for (size_t j = 0; j < s->m; j++)
        if (!o->doubtful[j]) assert_true(fabs(z[j] - o->z[j]) < 1e-5 * (1 + fabs(o->z[j])));
    lethe_free(z);
}

static void check(lethe_arch arch, lethe_norm norm, bool raw, size_t n, size_t d, size_t m) {
    lethe_sae s = plain_sae_make(arch, norm, raw, d, m);
    lethe_rng r = lethe_rng_make(n, d * m);
    float *x = plain_take(n * d, sizeof *x), *hat = plain_take(n * d, sizeof *hat);
    plain_normals(x, n * d, norm == LETHE_NORM_NONE ? 0 : 3, norm == LETHE_NORM_NONE ? 1 : 7, &r);
    for (size_t t = 0; t < n; t += 3) x[t * d + d / 3] *= 20; /* an outlying dimension */
    lethe_codes c = encode(&s, x, n);
    lethe_sae_decode(&s, &c, hat);
    plain_truth o = plain_truth_make(d, m);
    size_t most = 0, sure = 0;
    for (size_t t = 0; t < n; t++) {
        plain_sae_encode(&s, x + t * d, &o);
        check_token(&s, &c, t, &o);
        size_t fired = 0;
        bool doubt = false;
        for (size_t j = 0; j < m; j++) fired += o.z[j] > 0, doubt |= o.doubtful[j];
        if (fired > most) most = fired;
        double size = 0;
        for (size_t i = 0; i < d; i++) size = fmax(size, fabs(o.x_hat[i]));
        for (size_t i = 0; i < d && !doubt; i++)
            assert_true(fabs((double)hat[t * d + i] - o.x_hat[i]) < 1e-5 * (1 + size));
        sure += !doubt;
    }
    assert_true(sure > n / 2);
    if (arch != LETHE_ARCH_TOPK) assert_true(c.k + 2 >= most && c.k <= most + 2);
    assert_true((c.scale != NULL) == (norm != LETHE_NORM_NONE));
    plain_truth_free(&o);
    lethe_codes_free(&c);
    lethe_free(x);
    lethe_free(hat);
    lethe_sae_free(&s);
}

static void test_formulas(void **state) {
    (void)state;
    static const size_t shapes[][3] = {/* n, d, m */
                                       {1, 2, 1},
                                       {3, 33, 97},
                                       {18, 65, 250},
                                       {70, 40, 133}};
    for (lethe_arch a = 0; a < LETHE_ARCH_COUNT; a++)
        for (lethe_norm l = 0; l < LETHE_NORM_COUNT; l++)
            for (int raw = 0; raw < 2; raw++)
                for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                    check(a, l, raw, shapes[i][0], shapes[i][1], shapes[i][2]);
}

/* The same bytes with one thread and three, at once and token by token. */
static void test_bytes(void **state) {
    (void)state;
    enum { N = 40, D = 96, M = 6000 };
    float *x = plain_take((size_t)N * D, sizeof *x);
    lethe_rng r = lethe_rng_make(3, 4);
    plain_normals(x, (size_t)N * D, 0.5, 2, &r);
    for (lethe_arch a = 0; a < LETHE_ARCH_COUNT; a++) {
        lethe_sae s = plain_sae_make(a, LETHE_NORM_RESCALE, false, D, M);
        lethe_threads_set(1);
        lethe_codes one = encode(&s, x, N);
        lethe_threads_set(3);
        lethe_codes three = encode(&s, x, N);
        assert_int_equal(one.k, three.k);
        assert_memory_equal(one.index, three.index, N * one.k * sizeof *one.index);
        assert_memory_equal(one.value, three.value, N * one.k * sizeof *one.value);
        assert_memory_equal(one.scale, three.scale, N * sizeof *one.scale);
        for (size_t t = 0; t < N; t++) {
            lethe_codes alone = encode(&s, x + t * D, 1);
            assert_true(alone.k <= one.k);
            for (size_t i = 0; i < alone.k; i++) {
                if (!(alone.value[i] > 0)) continue;
                assert_int_equal(alone.index[i], one.index[t * one.k + i]);
                assert_memory_equal(&alone.value[i], &one.value[t * one.k + i], sizeof(float));
            }
            assert_true(alone.k == one.k || !(one.value[t * one.k + alone.k] > 0));
            lethe_codes_free(&alone);
        }
        lethe_codes_free(&one);
        lethe_codes_free(&three);
        lethe_sae_free(&s);
    }
    lethe_threads_set(0);
    lethe_free(x);
}

/* Codes are used again and grow; more tokens than are encoded at a time; nothing and everything
 * active. */
static void test_growing(void **state) {
    (void)state;
    enum { N = 2100, D = 6, M = 20 };
    lethe_sae s = plain_sae_make(LETHE_ARCH_RELU, LETHE_NORM_LAYER, false, D, M);
    float *x = plain_take((size_t)N * D, sizeof *x);
    lethe_rng r = lethe_rng_make(3, 5);
    plain_normals(x, (size_t)N * D, 0.5, 2, &r);
    memset(x, 0, D * sizeof *x); /* a token without a deviation */
    lethe_encoder e;
    lethe_codes c;
    assert_ok(lethe_encoder_open(&e, &s, &err), &err);
    assert_ok(lethe_codes_alloc(&c, N, 0, &err), &err);
    assert_ok(lethe_encode(&e, x, 2, &c, NULL, &err), &err);
    assert_ok(lethe_encode(&e, x, N, &c, NULL, &err), &err);
    assert_true(c.scale[0] == 0 && c.shift[0] == 0);
    lethe_encoder_close(&e);
    plain_truth o = plain_truth_make(D, M);
    for (size_t t = 0; t < N; t++) {
        plain_sae_encode(&s, x + t * D, &o);
        check_token(&s, &c, t, &o);
    }
    plain_truth_free(&o);
    for (size_t j = 0; j < M; j++) s.b_enc[j] = 100;
    assert_ok(lethe_encoder_open(&e, &s, &err), &err);
    assert_ok(lethe_encode(&e, x, N, &c, NULL, &err), &err);
    lethe_encoder_close(&e);
    assert_int_equal(c.k, M);
    for (size_t j = 0; j < M; j++) s.b_enc[j] = -100;
    assert_ok(lethe_encoder_open(&e, &s, &err), &err);
    assert_ok(lethe_encode(&e, x, N, &c, NULL, &err), &err);
    assert_int_equal(c.k, 1);
    for (size_t t = 0; t < N; t++) assert_true(c.value[t] == 0 && c.index[t] == 0);
    lethe_codes_free(&c);

    size_t allowed = 0;
    for (size_t j = 0; j < M; j++) s.b_enc[j] = 100;
    lethe_encoder_close(&e);
    for (;; allowed++) {
        e = (lethe_encoder){0};
        c = (lethe_codes){0};
        lethe_mem_fail_after(allowed);
        lethe_status st = lethe_encoder_open(&e, &s, &err);
        if (!st) st = lethe_codes_alloc(&c, 20, 0, &err);
        if (!st) st = lethe_encode(&e, x, 20, &c, NULL, &err);
        lethe_mem_fail_after(SIZE_MAX);
        lethe_codes_free(&c);
        lethe_encoder_close(&e);
        if (!st) break;
        assert_int_equal(st, LETHE_NOMEM);
    }
    assert_true(allowed > 30);
    lethe_free(x);
    lethe_sae_free(&s);
}

/* Batches of the widest dictionaries stay small. */
static void test_batch(void **state) {
    (void)state;
    lethe_sae s = {.d = 8, .m = 1u << 20, .arch = LETHE_ARCH_JUMPRELU};
    assert_int_equal(lethe_encode_batch(&s, 1024), 16);
    assert_int_equal(lethe_encode_batch(&s, 3), 3);
    s.m = 16384;
    assert_int_equal(lethe_encode_batch(&s, 2048), 1024);
    s.arch = LETHE_ARCH_TOPK;
    assert_int_equal(lethe_encode_batch(&s, 2048), 2048);
}

/* What a latent is as a JumpReLU says of every product what the formula says, and no product at its
 * floor or below gives a value. */
static void test_jump_and_floor(void **state) {
    (void)state;
    for (lethe_arch a = LETHE_ARCH_RELU; a < LETHE_ARCH_COUNT; a++) {
        lethe_sae s = plain_sae_make(a, LETHE_NORM_NONE, false, 4, 200);
        for (size_t j = 0; j < s.m; j++) {
            lethe_jump jump = lethe_arch_jump(&s, j);
            float gain = lethe_arch_gain(&s, j), floor = lethe_arch_floor(&s, j, gain);
            assert_true(jump.threshold >= 0);
            assert_true(lethe_arch_value(&s, j, gain, floor) == 0);
            for (float p = -3; p < 5; p += 0.03125f) {
                float z = lethe_arch_value(&s, j, gain, p);
                double v = jump.gain * (double)p + jump.bias;
                if (fabs(v - jump.threshold) < 1e-5) continue;
                assert_true(fabs((double)z - (v > jump.threshold ? v : 0)) < 1e-5);
                if (z > 0) assert_true(p > floor);
            }
            if (a == LETHE_ARCH_GATED && j == 0) continue; /* its value does not depend on p */
            assert_true(lethe_arch_value(&s, j, gain, floor + 1e-4f * (1 + fabsf(floor))) > 0);
        }
        lethe_sae_free(&s);
    }
}

static void damage(const char *path, const char *from, const char *to) {
    lethe_map map;
    assert_ok(lethe_map_open(&map, path, &err), &err);
    char *bytes = plain_take(map.size, 1);
    memcpy(bytes, map.data, map.size);
    size_t at = 0;
    while (at + strlen(from) <= map.size && memcmp(bytes + at, from, strlen(from)) != 0) at++;
    assert_true(at + strlen(from) <= map.size);
    memcpy(bytes + at, to, strlen(to));
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, map.size, f), map.size);
    fclose(f);
    lethe_free(bytes);
    lethe_map_close(&map);
}

static void test_files(void **state) {
    (void)state;
    const char *dir = test_temp_dir();
    char path[512];
    snprintf(path, sizeof path, "%s/sae.safetensors", dir);
    for (lethe_arch a = 0; a < LETHE_ARCH_COUNT; a++)
        for (lethe_norm l = 0; l < LETHE_NORM_COUNT; l++) {
            lethe_sae s = plain_sae_make(a, l, l == LETHE_NORM_LAYER, 7, 20), back;
            lethe_sae_meta meta = {.layer = 2, .hook = 1};
            assert_ok(lethe_sae_save(&s, &meta, path, &err), &err);
            assert_ok(lethe_sae_load(&back, &meta, path, 0, &err), &err);
            assert_true(back.arch == a && back.norm == l && back.k == s.k &&
                        back.raw_input == s.raw_input && meta.layer == 2);
            for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
                assert_memory_equal(lethe_param_data(&s, p), lethe_param_data(&back, p),
                                    sizeof(float) * lethe_param_rows(p, 7, 20) *
                                        lethe_param_cols(p, 7, 20));
            for (lethe_extra x = 0; x < LETHE_EXTRA_COUNT; x++)
                if (lethe_extra_data(&s, x))
                    assert_memory_equal(lethe_extra_data(&s, x), lethe_extra_data(&back, x),
                                        20 * sizeof(float));
            lethe_sae_free(&back);
            lethe_status st = lethe_sae_load(&back, NULL, path, 3, &err);
            assert_int_equal(st, a == LETHE_ARCH_TOPK ? LETHE_OK : LETHE_USAGE);
            if (st) assert_non_null(strstr(err.text, "SAE has no k, got 3 (leave out --k"));
            if (!st) lethe_sae_free(&back);
            lethe_sae_free(&s);
        }
    lethe_sae s = plain_sae_make(LETHE_ARCH_JUMPRELU, LETHE_NORM_RESCALE, false, 7, 20), back;
    static const struct {
        const char *from, *to, *says;
    } bad[] = {
        {"\"jumprelu\"", "\"sumprelu\"", "\"architecture\" is \"sumprelu\", want topk, relu"},
        {"\"rescale\"", "\"rescald\"", "\"norm\" is \"rescald\", want none, rescale or layer"},
        {"\"threshold\"", "\"thresholD\"", "\"threshold\""},
        {"\"raw_input\":\"1\"", "\"raw_input\":\"2\"", "\"raw_input\""},
    };
    s.raw_input = true;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(lethe_sae_save(&s, NULL, path, &err), &err);
        damage(path, bad[i].from, bad[i].to);
        assert_int_equal(lethe_sae_load(&back, NULL, path, 0, &err), LETHE_FORMAT);
        if (!strstr(err.text, bad[i].says)) fail_msg("%s", err.text);
    }
    s.threshold[4] = INFINITY;
    assert_ok(lethe_sae_save(&s, NULL, path, &err), &err);
    assert_int_equal(lethe_sae_load(&back, NULL, path, 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "\"threshold\": element 4 is not a finite number"));
    lethe_sae_free(&s);
    test_temp_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),       cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_growing),        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_jump_and_floor), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
