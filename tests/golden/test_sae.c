/* SPDX-License-Identifier: MIT
 *
 * The dictionary and the reference recipe against vectors of the reference experiment: forward,
 * losses, every gradient before and after projection and clipping, the auxiliary loss, parameters
 * and moments over fifty steps. "5e-6 of a tensor's largest value" is the vectors' own tolerance;
 * summed over steps a little more is allowed, within ten times their measured noise.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "kernel/select.h"
#include "sae/encoder.h"
#include "sae/trainer_internal.h"

#define TOL 5e-6

enum { D = 64, M = 512, K = 8, N = 256, BATCHES = 25 };

static lethe_err err;

static lethe_st *open_file(const char *name) {
    lethe_st *st;
    char path[64];
    snprintf(path, sizeof path, "golden/sae/%s.safetensors", name);
    assert_ok(lethe_st_open(&st, test_shared(path), &err), &err);
    return st;
}

/* A tensor of the file as float32; owned. */
static float *read_tensor(const lethe_st *st, const char *name, size_t *count) {
    const lethe_tensor *t = lethe_st_find(st, name);
    if (!t) fail_msg("%s: no tensor %s", lethe_st_path(st), name);
    float *x;
    assert_ok(lethe_alloc(&x, t->count, sizeof *x, name, &err), &err);
    if (t->dtype == LETHE_I64) {
        int32_t *i;
        assert_ok(lethe_alloc(&i, t->count, sizeof *i, name, &err), &err);
        assert_ok(lethe_tensor_to_i32(t, 0, t->count, i, &err), &err);
        for (size_t e = 0; e < t->count; e++) x[e] = (float)i[e];
        lethe_free(i);
    } else {
        assert_ok(lethe_tensor_to_f32(t, 0, t->count, x, &err), &err);
    }
    if (count) *count = t->count;
    return x;
}

static double read_scalar(const lethe_st *st, const char *name) {
    float *x = read_tensor(st, name, NULL);
    double v = (double)x[0];
    lethe_free(x);
    return v;
}

/* PREFIX.NAME of each parameter, W_enc turned into [m, d]; owned by the caller. */
static bool read_params(const lethe_st *st, const char *prefix, float *out[LETHE_PARAM_COUNT],
                        lethe_param p) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", prefix, lethe_params[p].name);
    if (!lethe_st_find(st, name)) return false;
    float *x = read_tensor(st, name, NULL);
    out[p] = x;
    if (!lethe_params[p].transposed) return true;
    float *turned;
    assert_ok(lethe_alloc(&turned, (size_t)D * M, sizeof *turned, name, &err), &err);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < M; j++) turned[j * D + i] = x[i * M + j];
    lethe_free(x);
    out[p] = turned;
    return true;
}

static size_t param_count(lethe_param p) {
    return lethe_param_rows(p, D, M) * lethe_param_cols(p, D, M);
}

/* Compares `got` with every tensor PREFIX.NAME that the file has; at least `least` of them. */
static void check_params(const lethe_st *st, const char *prefix, float *const got[], double tol,
                         size_t least) {
    size_t found = 0;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        float *want[LETHE_PARAM_COUNT] = {0};
        if (!read_params(st, prefix, want, p)) continue;
        found++;
        char what[96];
        snprintf(what, sizeof what, "%s.%s", prefix, lethe_params[p].name);
        assert_close(got[p], want[p], param_count(p), tol, what);
        lethe_free(want[p]);
    }
    assert_true(found >= least);
}

/* The gradients with rows that nothing touched written out as zeros. */
static void dense_gradients(lethe_trainer *t, double scale, float *out[LETHE_PARAM_COUNT]) {
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        size_t cols = lethe_param_cols(p, D, M), rows = lethe_param_rows(p, D, M);
        assert_ok(lethe_zalloc(&out[p], rows, cols * sizeof *out[p], "gradients", &err), &err);
        for (size_t j = 0; j < rows; j++)
            for (size_t i = 0; i < cols && (!lethe_params[p].by_latent || t->touched[j]); i++)
                out[p][j * cols + i] = (float)((double)t->grad[p][j * cols + i] * scale);
    }
}

static void check_gradients(lethe_trainer *t, const lethe_st *st, const char *prefix, double scale,
                            size_t least) {
    float *g[LETHE_PARAM_COUNT];
    dense_gradients(t, scale, g);
    check_params(st, prefix, g, TOL, least);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) lethe_free(g[p]);
}

static void check_scalar(double got, const lethe_st *st, const char *name, double tol) {
    double want = read_scalar(st, name);
    if (!(fabs(got - want) <= tol * fabs(want)))
        fail_msg("%s: got %.9g, want %.9g", name, got, want);
}

static lethe_trainer *start(void) {
    lethe_st *st = open_file("init");
    lethe_sae sae;
    assert_ok(lethe_sae_alloc(&sae, D, M, K, &err), &err);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        float *x[LETHE_PARAM_COUNT] = {0};
        assert_true(read_params(st, "init", x, p));
        memcpy(*lethe_param_slot(&sae, p), x[p], param_count(p) * sizeof(float));
        lethe_free(x[p]);
    }
    lethe_st_close(&st);
    lethe_trainer *t;
    lethe_recipe r = lethe_recipe_reference();
    assert_ok(lethe_trainer_open(&t, &sae, &r, N, 1000, &err), &err);
    assert_null(sae.W_enc); /* moved */
    return t;
}

static float *read_batches(void) {
    lethe_st *st = open_file("batches");
    size_t count;
    float *x = read_tensor(st, "batches", &count);
    assert_int_equal(count, (size_t)BATCHES * N * D);
    lethe_st_close(&st);
    return x;
}

static void check_forward(lethe_trainer *t, const lethe_st *st, const float *x, size_t n) {
    lethe_codes c;
    assert_ok(lethe_codes_alloc(&c, n, K, &err), &err);
    lethe_encoder e;
    assert_ok(lethe_encoder_open(&e, &t->sae, &err), &err);
    assert_ok(lethe_encode(&e, x, n, &c, NULL, &err), &err);
    lethe_encoder_close(&e);
    float *z, *x_hat, *want = read_tensor(st, "z", NULL);
    assert_ok(lethe_zalloc(&z, n * M, sizeof *z, "z", &err), &err);
    for (size_t i = 0; i < n * K; i++) z[i / K * M + (size_t)c.index[i]] = c.value[i];
    assert_close(z, want, n * M, TOL, "z");
    lethe_free(want);
    assert_ok(lethe_alloc(&x_hat, n * D, sizeof *x_hat, "x_hat", &err), &err);
    lethe_sae_decode(&t->sae, &c, x_hat);
    want = read_tensor(st, "x_hat", NULL);
    assert_close(x_hat, want, n * D, TOL, "x_hat");
    lethe_free(want);
    lethe_free(z);
    lethe_free(x_hat);
    lethe_codes_free(&c);
}

/* All pre-activations: a selection of k = m takes every one of them. */
static void check_preactivations(lethe_trainer *t, const lethe_st *st, const float *x) {
    float *centred, *value, *pre, *want = read_tensor(st, "pre_acts", NULL);
    int32_t *index;
    size_t count = (size_t)N * M;
    assert_ok(lethe_alloc(&centred, (size_t)N * D, sizeof *centred, "x", &err), &err);
    assert_ok(lethe_alloc(&value, count, sizeof *value, "values", &err), &err);
    assert_ok(lethe_alloc(&pre, count, sizeof *pre, "pre-activations", &err), &err);
    assert_ok(lethe_alloc(&index, count, sizeof *index, "indices", &err), &err);
    for (size_t i = 0; i < (size_t)N * D; i++) centred[i] = x[i] - t->sae.b_dec[i % D];
    lethe_selection sel = {.bias = t->sae.b_enc, .k = M, .index = index, .value = value};
    const lethe_latents all = {.w = t->sae.W_enc, .sieve = &t->sieve};
    assert_ok(lethe_select(centred, N, &all, &sel, 1, NULL, &err), &err);
    for (size_t i = 0; i < count; i++) pre[i / M * M + (size_t)index[i]] = value[i];
    assert_close(pre, want, count, TOL, "pre_acts");
    lethe_free(centred);
    lethe_free(value);
    lethe_free(pre);
    lethe_free(index);
    lethe_free(want);
}

static void check_losses(const lethe_step_stats *s, const lethe_st *st, const char *prefix) {
    char name[96];
    snprintf(name, sizeof name, "%srecon_loss", prefix);
    check_scalar(s->recon_loss, st, name, TOL);
    snprintf(name, sizeof name, "%saux_loss", prefix);
    check_scalar(s->aux_loss, st, name, TOL);
    snprintf(name, sizeof name, "%stotal_loss", prefix);
    check_scalar(s->total_loss, st, name, TOL);
}

static void test_forward_backward(void **state) {
    (void)state;
    float *x = read_batches();
    lethe_st *st = open_file("forward_backward");
    lethe_trainer *t = start();
    lethe_step_stats s;
    check_forward(t, st, x, N);
    check_preactivations(t, st, x);
    assert_ok(lethe_trainer_gradients(t, x, N, false, &s, &err), &err);
    check_losses(&s, st, "");
    check_gradients(t, st, "grad_raw", 1, 4);
    assert_ok(lethe_trainer_gradients(t, x, N, true, &s, &err), &err);
    check_scalar(s.grad_norm, st, "grad_norm", TOL);
    check_gradients(t, st, "grad_noparallel", 1, 1);
    check_gradients(t, st, "grad_clipped", lethe_clip_scale(s.grad_norm, t->recipe.clip), 4);
    lethe_trainer_close(&t);
    lethe_st_close(&st);
    lethe_free(x);
}

static void test_forward_backward_small(void **state) {
    (void)state;
    lethe_st *st = open_file("forward_backward_small");
    lethe_trainer *t = start();
    float *x = read_tensor(st, "x", NULL), *b = read_tensor(st, "b_enc", NULL);
    memcpy(t->sae.b_enc, b, M * sizeof *b);
    lethe_step_stats s;
    check_forward(t, st, x, N / 4);
    assert_ok(lethe_trainer_gradients(t, x, N / 4, false, &s, &err), &err);
    check_losses(&s, st, "");
    check_gradients(t, st, "grad_raw", 1, 4);
    assert_ok(lethe_trainer_gradients(t, x, N / 4, true, &s, &err), &err);
    check_scalar(s.grad_norm, st, "grad_norm", TOL);
    check_gradients(t, st, "grad_noparallel", 1, 1);
    lethe_trainer_close(&t);
    lethe_st_close(&st);
    lethe_free(x);
    lethe_free(b);
}

static void set_idle(lethe_trainer *t, size_t n, uint64_t idle) {
    lethe_st *st = open_file("aux");
    float *order = read_tensor(st, "dead_order", NULL);
    for (size_t i = 0; i < n; i++) t->idle[(size_t)order[i]] = idle;
    lethe_free(order);
    lethe_st_close(&st);
}

static void test_aux(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t dead, grads;
        uint64_t idle, step;
    } cases[] = {
        {"many_dead", M / 3, 4, 1001, 100},   {"few_dead_k_lt_32", 5, 3, 1001, 100},
        {"exactly_32", 32, 1, 1001, 100},     {"none_dead", 0, 1, 1001, 100},
        {"too_early_99", M / 3, 1, 1001, 99}, {"ticks_1000_is_alive", M / 3, 1, 1000, 100},
    };
    float *batches = read_batches(), *x = batches + 2 * N * D;
    lethe_st *st = open_file("aux");
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        lethe_trainer *t = start();
        set_idle(t, cases[c].dead, cases[c].idle);
        t->step = cases[c].step;
        lethe_step_stats s;
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s.", cases[c].name);
        assert_ok(lethe_trainer_gradients(t, x, N, false, &s, &err), &err);
        check_losses(&s, st, prefix);
        snprintf(prefix, sizeof prefix, "%s.grad_raw", cases[c].name);
        check_gradients(t, st, prefix, 1, cases[c].grads);
        assert_ok(lethe_trainer_gradients(t, x, N, true, &s, &err), &err);
        snprintf(prefix, sizeof prefix, "%s.grad_norm", cases[c].name);
        check_scalar(s.grad_norm, st, prefix, TOL);
        snprintf(prefix, sizeof prefix, "%s.grad_noparallel", cases[c].name);
        check_gradients(t, st, prefix, 1, c == 0);
        lethe_trainer_close(&t);
    }
    lethe_st_close(&st);
    lethe_free(batches);
}

static void check_state(lethe_trainer *t, const lethe_st *st, int step, bool with_moments) {
    char prefix[64];
    snprintf(prefix, sizeof prefix, "step%d", step);
    char first[96];
    snprintf(first, sizeof first, "%s.W_dec", prefix);
    if (!lethe_st_find(st, first)) return;
    float *params[LETHE_PARAM_COUNT], idle[M];
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) params[p] = *lethe_param_slot(&t->sae, p);
    check_params(st, prefix, params, TOL, 4);
    snprintf(prefix, sizeof prefix, "step%d.ticks_since_active", step);
    float *want = read_tensor(st, prefix, NULL);
    for (size_t j = 0; j < M; j++) idle[j] = (float)t->idle[j];
    assert_memory_equal(idle, want, sizeof idle);
    lethe_free(want);
    snprintf(prefix, sizeof prefix, "step%d.exp_avg", step);
    check_params(st, prefix, t->m1, TOL, with_moments ? 4 : 0);
    snprintf(prefix, sizeof prefix, "step%d.exp_avg_sq", step);
    check_params(st, prefix, t->m2, TOL, with_moments ? 4 : 0);
}

static void train(const char *file, int steps, size_t dead, uint64_t first_step) {
    float *batches = read_batches();
    lethe_st *st = open_file(file);
    float *recon = read_tensor(st, "recon_loss", NULL), *aux = read_tensor(st, "aux_loss", NULL),
          *num_dead = read_tensor(st, "num_dead_before_step", NULL);
    lethe_trainer *t = start();
    set_idle(t, dead, 1001);
    t->step = first_step;
    for (int i = 0; i < steps; i++) {
        lethe_step_stats s;
        assert_ok(lethe_trainer_step(t, batches + (size_t)(i % BATCHES) * N * D, N, &s, &err),
                  &err);
        float got_recon = (float)s.recon_loss, got_aux = (float)s.aux_loss;
        assert_close(&got_recon, recon + i, 1, TOL, "recon_loss");
        if (aux[i] != 0.0f)
            assert_close(&got_aux, aux + i, 1, TOL, "aux_loss");
        else
            assert_true(got_aux == 0.0f);
        assert_int_equal(s.dead, (size_t)num_dead[i]);
        assert_false(s.skipped);
        check_state(t, st, i + 1, first_step == 0 && i == 0);
    }
    assert_int_equal(lethe_trainer_steps(t), first_step + (uint64_t)steps);
    lethe_trainer_close(&t);
    lethe_st_close(&st);
    lethe_free(recon);
    lethe_free(aux);
    lethe_free(num_dead);
    lethe_free(batches);
}

static void test_train50(void **state) {
    (void)state;
    train("train50", 50, 0, 0);
}

static void test_train_aux10(void **state) {
    (void)state;
    train("train_aux10", 10, M / 3, 100);
}

int main(void) {
    if (!test_shared("golden/sae/init.safetensors")) return LETHE_TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_backward),
        cmocka_unit_test(test_forward_backward_small),
        cmocka_unit_test(test_aux),
        cmocka_unit_test(test_train50),
        cmocka_unit_test(test_train_aux10),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
