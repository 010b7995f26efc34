/* SPDX-License-Identifier: MIT
 *
 * The dictionary itself: allocation and its limits, initialisation, encode and decode against a
 * naive reference, files, and the trainer's checkpoints.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "format/safetensors.h"
#include "sae/encoder.h"
#include "sae/trainer_internal.h"

static lethe_err err;
static const char *dir;

static const char *in_dir(const char *name) {
    static char path[4][512];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static void random_floats(float *x, size_t n, double scale, lethe_rng *r) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * lethe_rng_normal(r));
}

static lethe_sae random_sae(size_t d, size_t m, size_t k, uint64_t seed) {
    lethe_sae sae;
    lethe_rng r = lethe_rng_make(seed, 1);
    assert_ok(lethe_sae_alloc(&sae, d, m, k, &err), &err);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        random_floats(*lethe_param_slot(&sae, p),
                      lethe_param_rows(p, d, m) * lethe_param_cols(p, d, m), 1, &r);
    return sae;
}

static void assert_same_sae(const lethe_sae *a, const lethe_sae *b) {
    assert_true(a->d == b->d && a->m == b->m && a->k == b->k);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        assert_memory_equal(lethe_param_data(a, p), lethe_param_data(b, p),
                            lethe_param_rows(p, a->d, a->m) * lethe_param_cols(p, a->d, a->m) *
                                sizeof(float));
}

/* ---- memory and initialisation -------------------------------------------------------------- */

static void test_limits(void **state) {
    (void)state;
    lethe_sae sae = {0};
    assert_int_equal(lethe_sae_alloc(&sae, 4, 8, 9, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "k 9 is more than the dictionary's 8 latents"));
    assert_int_equal(lethe_sae_alloc(&sae, 0, 8, 1, &err), LETHE_USAGE);
    assert_int_equal(lethe_sae_alloc(&sae, 4, 0, 0, &err), LETHE_USAGE);
    assert_int_equal(lethe_sae_alloc(&sae, 4, 8, 0, &err), LETHE_USAGE);
    assert_int_equal(lethe_sae_alloc(&sae, 4, (size_t)1 << 40, 8, &err), LETHE_USAGE);
    assert_null(sae.W_enc);
    size_t allowed = 0;
    for (;; allowed++) {
        lethe_mem_fail_after(allowed);
        lethe_status st = lethe_sae_alloc(&sae, 4, 8, 2, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK) break;
        assert_int_equal(st, LETHE_NOMEM);
        assert_null(sae.W_enc);
    }
    assert_int_equal(allowed, LETHE_PARAM_COUNT);
    lethe_sae_free(&sae);
    lethe_sae_free(&sae);
}

static void test_kinds(void **state) {
    (void)state;
    for (lethe_arch a = 0; a < LETHE_ARCH_COUNT; a++) {
        bool topk = a == LETHE_ARCH_TOPK;
        lethe_arch back = LETHE_ARCH_COUNT;
        assert_true(lethe_arch_from_name(lethe_arch_name(a), &back) && back == a);
        lethe_sae sae = {0};
        assert_int_equal(lethe_sae_alloc_as(&sae, a, 4, 8, topk ? 0 : 3, &err), LETHE_USAGE);
        size_t allowed = 0;
        for (;; allowed++) {
            lethe_mem_fail_after(allowed);
            lethe_status st = lethe_sae_alloc_as(&sae, a, 4, 8, topk ? 3 : 0, &err);
            lethe_mem_fail_after(SIZE_MAX);
            if (st == LETHE_OK) break;
            assert_int_equal(st, LETHE_NOMEM);
            assert_null(sae.W_enc);
        }
        assert_int_equal(sae.arch, a);
        size_t extras = 0;
        for (lethe_extra x = 0; x < LETHE_EXTRA_COUNT; x++) {
            assert_true((lethe_extra_data(&sae, x) != NULL) == (lethe_extras[x].arch == a));
            extras += lethe_extras[x].arch == a;
        }
        assert_int_equal(allowed, LETHE_PARAM_COUNT + extras);
        assert_ok(lethe_sae_check_finite(&sae, "s", &err), &err);
        sae.b_enc[5] = NAN;
        assert_int_equal(lethe_sae_check_finite(&sae, "s", &err), LETHE_FORMAT);
        assert_non_null(strstr(err.text, "s: \"b_enc\": element 5 is not a finite number"));
        lethe_sae_free(&sae);
    }
    for (lethe_norm n = 0; n < LETHE_NORM_COUNT; n++) {
        lethe_norm back = LETHE_NORM_COUNT;
        assert_true(lethe_norm_from_name(lethe_norm_name(n), &back) && back == n);
    }
    lethe_arch a;
    lethe_norm n;
    assert_false(lethe_arch_from_name("sparsemax", &a) || lethe_norm_from_name("batch", &n));
}

static void test_init(void **state) {
    (void)state;
    lethe_sae a = random_sae(33, 70, 4, 1), b = random_sae(33, 70, 4, 2);
    lethe_threads_set(3);
    lethe_sae_init(&a, 42);
    lethe_threads_set(1);
    lethe_sae_init(&b, 42);
    lethe_threads_set(0);
    assert_same_sae(&a, &b);
    assert_memory_equal(a.W_enc, a.W_dec, 33 * 70 * sizeof(float));
    for (size_t j = 0; j < 70; j++) {
        double square = 0;
        for (size_t i = 0; i < 33; i++)
            square += (double)a.W_dec[j * 33 + i] * (double)a.W_dec[j * 33 + i];
        assert_true(fabs(square - 1) < 1e-6);
        assert_true(a.b_enc[j] == 0.0f);
    }
    for (size_t i = 0; i < 33; i++) assert_true(a.b_dec[i] == 0.0f);
    lethe_sae_init(&b, 43);
    assert_memory_not_equal(a.W_dec, b.W_dec, 33 * 70 * sizeof(float));
    lethe_sae_free(&a);
    lethe_sae_free(&b);
}

/* ---- encode and decode ---------------------------------------------------------------------- */

/* Every latent that the naive top-k takes with room to spare must be among the codes, and each
 * code's value must be its pre-activation. */
static void check_codes(const lethe_sae *s, const float *x, const lethe_codes *c, size_t t) {
    double a[256], taken_least = INFINITY, left_most = -INFINITY;
    bool taken[256] = {false};
    assert_true(s->m <= 256);
    for (size_t j = 0; j < s->m; j++) {
        a[j] = (double)s->b_enc[j];
        for (size_t i = 0; i < s->d; i++)
            a[j] +=
                (double)s->W_enc[j * s->d + i] * ((double)x[t * s->d + i] - (double)s->b_dec[i]);
    }
    float before = INFINITY;
    for (size_t i = 0; i < s->k; i++) {
        int32_t j = c->index[t * s->k + i];
        float value = c->value[t * s->k + i];
        assert_true(j >= 0 && (size_t)j < s->m && !taken[j]);
        assert_true(value <= before);
        before = value;
        taken[j] = true;
        assert_true(fabs((double)value - fmax(a[j], 0)) < 1e-4);
        if (a[j] < taken_least) taken_least = a[j];
    }
    for (size_t j = 0; j < s->m; j++)
        if (!taken[j] && a[j] > left_most) left_most = a[j];
    assert_true(left_most <= taken_least + 1e-4);
}

static void test_encode_decode(void **state) {
    (void)state;
    static const size_t shapes[][4] = {/* n, d, m, k */
                                       {1, 1, 1, 1},
                                       {2, 3, 5, 5},
                                       {17, 33, 97, 8},
                                       {70, 65, 251, 32},
                                       {2050, 5, 31, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t n = shapes[i][0], d = shapes[i][1], k = shapes[i][3];
        lethe_sae s = random_sae(d, shapes[i][2], k, i);
        lethe_rng r = lethe_rng_make(i, 2);
        float *x, *x_hat;
        assert_ok(lethe_alloc(&x, n * d, sizeof *x, "x", &err), &err);
        assert_ok(lethe_alloc(&x_hat, n * d, sizeof *x, "x_hat", &err), &err);
        random_floats(x, n * d, 1, &r);
        lethe_codes c;
        assert_ok(lethe_codes_alloc(&c, n, k, &err), &err);
        lethe_encoder encoder;
        assert_ok(lethe_encoder_open(&encoder, &s, &err), &err);
        assert_ok(lethe_encode(&encoder, x, n, &c, NULL, &err), &err);
        lethe_encoder_close(&encoder);
        lethe_sae_decode(&s, &c, x_hat);
        for (size_t t = 0; t < n; t++) {
            check_codes(&s, x, &c, t);
            for (size_t e = 0; e < d; e++) {
                double want = (double)s.b_dec[e];
                for (size_t q = t * k; q < (t + 1) * k; q++)
                    want += (double)c.value[q] * (double)s.W_dec[(size_t)c.index[q] * d + e];
                assert_true(fabs((double)x_hat[t * d + e] - want) < 1e-3);
            }
        }
        lethe_codes_free(&c);
        lethe_free(x);
        lethe_free(x_hat);
        lethe_sae_free(&s);
    }
}

static void test_encode_no_memory(void **state) {
    (void)state;
    lethe_sae s = random_sae(5, 31, 3, 1);
    float x[4 * 5] = {1, 2, 3};
    lethe_codes c = {0};
    size_t allowed = 0;
    for (;; allowed++) {
        lethe_encoder encoder = {0};
        lethe_mem_fail_after(allowed);
        lethe_status st = lethe_codes_alloc(&c, 4, 3, &err);
        if (!st) st = lethe_encoder_open(&encoder, &s, &err);
        if (!st) st = lethe_encode(&encoder, x, 4, &c, NULL, &err);
        lethe_mem_fail_after(SIZE_MAX);
        lethe_encoder_close(&encoder);
        lethe_codes_free(&c);
        if (st == LETHE_OK) break;
        assert_int_equal(st, LETHE_NOMEM);
    }
    assert_true(allowed >= 6);
    lethe_sae_free(&s);
}

/* ---- files ---------------------------------------------------------------------------------- */

static void test_file(void **state) {
    (void)state;
    lethe_sae a = random_sae(37, 101, 6, 3), b;
    const lethe_sae_meta meta = {.model_name = "a \"model\"",
                                 .model_hash = "0123456789abcdef0123456789abcdef",
                                 .layer = 15,
                                 .hook = 1,
                                 .recipe = "default",
                                 .seed = UINT64_MAX,
                                 .steps = 732,
                                 .tokens = 750000};
    lethe_sae_meta got;
    const char *path = in_dir("sae.safetensors");
    assert_ok(lethe_sae_save(&a, &meta, path, &err), &err);
    assert_ok(lethe_sae_load(&b, &got, path, 0, &err), &err);
    assert_same_sae(&a, &b);
    assert_string_equal(got.model_name, meta.model_name);
    assert_string_equal(got.model_hash, meta.model_hash);
    assert_string_equal(got.recipe, meta.recipe);
    assert_true(got.layer == 15 && got.hook == 1 && got.seed == UINT64_MAX && got.steps == 732 &&
                got.tokens == 750000);
    lethe_sae_free(&b);

    assert_ok(lethe_sae_load(&b, NULL, path, 101, &err), &err);
    assert_int_equal(b.k, 101);
    lethe_sae_free(&b);
    assert_int_equal(lethe_sae_load(&b, NULL, path, 102, &err), LETHE_USAGE);

    /* The file has the field's layout: W_enc [d, m]. */
    lethe_st *st;
    const lethe_tensor *t;
    assert_ok(lethe_st_open(&st, path, &err), &err);
    assert_ok(lethe_st_want(st, "W_enc", 2, (const size_t[]){37, 101}, &t, &err), &err);
    float x;
    assert_ok(lethe_tensor_to_f32(t, 5 * 101 + 17, 1, &x, &err), &err);
    assert_true(x == a.W_enc[17 * 37 + 5]);
    lethe_st_close(&st);

    assert_ok(lethe_sae_save(&a, NULL, path, &err), &err);
    assert_ok(lethe_sae_load(&b, &got, path, 0, &err), &err);
    assert_true(got.layer == -1 && got.hook == -1 && got.model_name[0] == '\0');
    lethe_sae_free(&b);
    lethe_sae_free(&a);
}

typedef struct odd_file {
    const char *k, *hook, *layer;
    size_t enc_rows; /* of W_enc; 0: left out */
    lethe_dtype dtype;
    lethe_status want;
    const char *says;
} odd_file;

static void test_odd_files(void **state) {
    (void)state;
    static const odd_file files[] = {
        {"2", "post", "3", 3, LETHE_F32, LETHE_OK, ""},
        {"2", NULL, NULL, 3, LETHE_BF16, LETHE_OK, ""},
        {"2", NULL, NULL, 3, LETHE_F16, LETHE_OK, ""},
        {NULL, NULL, NULL, 3, LETHE_F32, LETHE_FORMAT, "--k N"},
        {"0", NULL, NULL, 3, LETHE_F32, LETHE_FORMAT, "k is 0, want 1 to 8"},
        {"9", NULL, NULL, 3, LETHE_F32, LETHE_FORMAT, "k is 9, want 1 to 8"},
        {"two", NULL, NULL, 3, LETHE_F32, LETHE_FORMAT, "\"k\" is \"two\""},
        {"2", "middle", NULL, 3, LETHE_F32, LETHE_FORMAT, "want pre or post"},
        {"2", NULL, "-4", 3, LETHE_F32, LETHE_FORMAT, "\"layer\" is \"-4\""},
        {"2", NULL, NULL, 4, LETHE_F32, LETHE_FORMAT, "W_enc"},
        {"2", NULL, NULL, 0, LETHE_F32, LETHE_FORMAT, "W_enc"},
    };
    const char *path = in_dir("odd.safetensors");
    const float x[4 * 8] = {0.5f, -2.0f, 3.0f, 4.0f};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const odd_file *f = &files[i];
        lethe_st_writer *w;
        assert_ok(lethe_st_create(&w, path, &err), &err);
        if (f->k) lethe_st_set_meta(w, "k", f->k);
        if (f->hook) lethe_st_set_meta(w, "hook", f->hook);
        if (f->layer) lethe_st_set_meta(w, "layer", f->layer);
        lethe_st_begin(w, "W_dec", f->dtype, 2, (const size_t[]){8, 3});
        lethe_st_put_f32_as(w, f->dtype, x, 24);
        if (f->enc_rows) {
            lethe_st_begin(w, "W_enc", f->dtype, 2, (const size_t[]){f->enc_rows, 8});
            lethe_st_put_f32_as(w, f->dtype, x, f->enc_rows * 8);
        }
        lethe_st_begin(w, "b_enc", f->dtype, 1, (const size_t[]){8});
        lethe_st_put_f32_as(w, f->dtype, x, 8);
        lethe_st_begin(w, "b_dec", f->dtype, 1, (const size_t[]){3});
        lethe_st_put_f32_as(w, f->dtype, x, 3);
        assert_ok(lethe_st_commit(&w, &err), &err);
        lethe_sae s = {0};
        lethe_status got = lethe_sae_load(&s, NULL, path, 0, &err);
        if (got != f->want || (got && !strstr(err.text, f->says)))
            fail_msg("file %zu: status %d, \"%s\"", i, (int)got, got ? err.text : "");
        if (!got) assert_true(s.b_enc[1] == -2.0f && s.W_enc[3] == -2.0f && s.W_dec[2] == 3.0f);
        if (got) assert_null(s.W_enc);
        lethe_sae_free(&s);
    }
    lethe_sae s = {0};
    assert_int_equal(lethe_sae_load(&s, NULL, in_dir("none"), 0, &err), LETHE_NOTFOUND);
}

static void test_file_no_memory(void **state) {
    (void)state;
    lethe_sae a = random_sae(5, 9, 2, 1), b = {0};
    lethe_sae_meta meta = {.layer = 1, .hook = 0}, got;
    const char *path = in_dir("memory.safetensors");
    size_t allowed[2] = {0};
    for (int call = 0; call < 2; call++)
        for (;; allowed[call]++) {
            lethe_mem_fail_after(allowed[call]);
            lethe_status st = call ? lethe_sae_load(&b, &got, path, 0, &err)
                                   : lethe_sae_save(&a, &meta, path, &err);
            lethe_mem_fail_after(SIZE_MAX);
            if (st == LETHE_OK) break;
            assert_int_equal(st, LETHE_NOMEM);
            assert_true(call || !lethe_path_exists(path));
            assert_null(b.W_enc);
        }
    assert_true(allowed[0] > 3 && allowed[1] > 6);
    assert_same_sae(&a, &b);
    lethe_sae_free(&a);
    lethe_sae_free(&b);
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

enum { D = 9, M = 40, K = 3, N = 24, STEPS = 12 };

static lethe_recipe eager_recipe(void) {
    lethe_recipe r = lethe_recipe_default();
    r.dead_after = 1;
    return r;
}

static lethe_trainer *trainer_make(const lethe_recipe *r, size_t m, uint64_t total) {
    lethe_sae sae;
    assert_ok(lethe_sae_alloc(&sae, D, m, K, &err), &err);
    lethe_sae_init(&sae, 5);
    lethe_trainer *t;
    assert_ok(lethe_trainer_open(&t, &sae, r, N, total, &err), &err);
    return t;
}

static void train(lethe_trainer *t, int steps) {
    for (int i = 0; i < steps; i++) {
        float x[N * D];
        lethe_rng r = lethe_rng_make(lethe_trainer_steps(t), 3);
        random_floats(x, N * D, 1, &r);
        lethe_step_stats s;
        assert_ok(lethe_trainer_step(t, x, N, &s, &err), &err);
    }
}

static void assert_same_state(const lethe_trainer *a, const lethe_trainer *b) {
    assert_same_sae(&a->sae, &b->sae);
    assert_true(a->step == b->step && a->updates == b->updates);
    assert_memory_equal(a->idle, b->idle, M * sizeof *a->idle);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        size_t bytes = lethe_param_rows(p, D, M) * lethe_param_cols(p, D, M) * sizeof(float);
        assert_memory_equal(a->m1[p], b->m1[p], bytes);
        assert_memory_equal(a->m2[p], b->m2[p], bytes);
    }
}

static void test_resume(void **state) {
    (void)state;
    lethe_recipe r = eager_recipe();
    const char *path = in_dir("train.ckpt");
    lethe_trainer *whole = trainer_make(&r, M, STEPS);
    train(whole, STEPS);
    for (int cut = 0; cut <= STEPS; cut++) {
        lethe_trainer *t = trainer_make(&r, M, STEPS);
        train(t, cut);
        assert_ok(lethe_trainer_save(t, path, "{\"row\": 7}", &err), &err);
        lethe_trainer_close(&t);
        t = trainer_make(&r, M, STEPS);
        train(t, cut % 3); /* whatever it held is replaced */
        char *extra = NULL;
        assert_ok(lethe_trainer_load(t, path, &extra, &err), &err);
        assert_string_equal(extra, "{\"row\": 7}");
        lethe_free(extra);
        assert_int_equal(lethe_trainer_steps(t), cut);
        train(t, STEPS - cut);
        assert_same_state(whole, t);
        lethe_trainer_close(&t);
    }
    lethe_trainer_close(&whole);
}

static void test_checkpoint_of_another(void **state) {
    (void)state;
    lethe_recipe r = eager_recipe(), other = r;
    const char *path = in_dir("other.ckpt");
    lethe_trainer *t = trainer_make(&r, M, STEPS);
    assert_ok(lethe_trainer_save(t, path, NULL, &err), &err);
    char *extra = NULL;
    assert_ok(lethe_trainer_load(t, path, &extra, &err), &err);
    assert_string_equal(extra, "");
    lethe_free(extra);
    extra = NULL;
    lethe_trainer_close(&t);

    other.aux_coef = 0.5;
    t = trainer_make(&other, M, STEPS);
    assert_int_equal(lethe_trainer_load(t, path, &extra, &err), LETHE_MISMATCH);
    assert_non_null(strstr(err.text, "coefficient 0.5"));
    lethe_trainer_close(&t);
    t = trainer_make(&r, M + 1, STEPS);
    assert_int_equal(lethe_trainer_load(t, path, &extra, &err), LETHE_MISMATCH);
    assert_non_null(strstr(err.text, "40 x 9"));
    lethe_trainer_close(&t);
    t = trainer_make(&r, M, STEPS + 1);
    assert_int_equal(lethe_trainer_load(t, path, &extra, &err), LETHE_MISMATCH);
    assert_non_null(strstr(err.text, "12 steps"));
    assert_int_equal(lethe_trainer_load(t, in_dir("none"), &extra, &err), LETHE_NOTFOUND);
    lethe_trainer_close(&t);
    assert_null(extra);
}

/* Cut off anywhere, or with any byte changed, a checkpoint is refused and the trainer is as it
 * was. */
static void test_damaged_checkpoint(void **state) {
    (void)state;
    lethe_recipe r = eager_recipe();
    const char *path = in_dir("whole.ckpt"), *bad = in_dir("bad.ckpt");
    lethe_trainer *t = trainer_make(&r, M, STEPS), *same = trainer_make(&r, M, STEPS);
    train(t, 3);
    assert_ok(lethe_trainer_save(t, path, "extra", &err), &err);
    lethe_trainer_close(&t);
    t = trainer_make(&r, M, STEPS);
    lethe_map f;
    assert_ok(lethe_map_open(&f, path, &err), &err);
    unsigned char *copy;
    assert_ok(lethe_alloc(&copy, f.size + 1, 1, "a copy", &err), &err);
    char *extra = NULL;
    for (size_t i = 0; i < 200; i++) {
        size_t at = i < 100 ? i * 3 : f.size - (i - 99) * (f.size / 110);
        memcpy(copy, f.data, f.size);
        copy[f.size] = 'x';
        assert_ok(lethe_write_file(bad, copy, at, &err), &err);
        assert_int_equal(lethe_trainer_load(t, bad, &extra, &err), LETHE_FORMAT);
        copy[at] ^= 0x40;
        assert_ok(lethe_write_file(bad, copy, f.size, &err), &err);
        assert_int_equal(lethe_trainer_load(t, bad, &extra, &err), LETHE_FORMAT);
    }
    memcpy(copy, f.data, f.size);
    assert_ok(lethe_write_file(bad, copy, f.size + 1, &err), &err);
    assert_int_equal(lethe_trainer_load(t, bad, &extra, &err), LETHE_FORMAT);
    assert_null(extra);
    assert_same_state(t, same);
    lethe_free(copy);
    lethe_map_close(&f);
    lethe_trainer_close(&t);
    lethe_trainer_close(&same);
}

static void test_checkpoint_no_memory(void **state) {
    (void)state;
    lethe_recipe r = eager_recipe();
    const char *path = in_dir("memory.ckpt");
    lethe_trainer *t = trainer_make(&r, M, STEPS);
    train(t, 2);
    char *extra = NULL;
    size_t allowed[2] = {0};
    for (int call = 0; call < 2; call++)
        for (;; allowed[call]++) {
            lethe_mem_fail_after(allowed[call]);
            lethe_status st = call ? lethe_trainer_load(t, path, &extra, &err)
                                   : lethe_trainer_save(t, path, "extra", &err);
            lethe_mem_fail_after(SIZE_MAX);
            if (st == LETHE_OK) break;
            assert_int_equal(st, LETHE_NOMEM);
            assert_null(extra);
            assert_true(call || !lethe_path_exists(path));
        }
    assert_true(allowed[0] >= 3 && allowed[1] >= 2);
    assert_string_equal(extra, "extra");
    lethe_free(extra);
    lethe_trainer_close(&t);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_encode_decode),
        cmocka_unit_test(test_encode_no_memory),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_file_no_memory),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_checkpoint_of_another),
        cmocka_unit_test(test_damaged_checkpoint),
        cmocka_unit_test(test_checkpoint_no_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
