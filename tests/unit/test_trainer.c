/* SPDX-License-Identifier: MIT
 *
 * A training step against a dense reference in double precision, whose gradients are finite
 * differences of its loss; and what a step promises: the same bytes at any number of threads,
 * batches that are not finite skipped, memory failures reported.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "sae/trainer_internal.h"

enum { D = 7, M = 23, K = 3, N = 19, DEAD = 9 };

static lethe_err err;

static void random_floats(float *x, size_t n, double scale, lethe_rng *r) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * lethe_rng_normal(r));
}

static lethe_sae random_sae(size_t d, size_t m, size_t k, lethe_rng *r) {
    lethe_sae sae;
    assert_ok(lethe_sae_alloc(&sae, d, m, k, &err), &err);
    lethe_sae_init(&sae, 3);
    random_floats(sae.W_enc, m * d, 0.5, r);
    random_floats(sae.b_enc, m, 0.3, r);
    random_floats(sae.b_dec, d, 0.5, r);
    return sae;
}

/* ---- the dense reference -------------------------------------------------------------------- */

typedef struct model {
    double p[LETHE_PARAM_COUNT][M * D];
} model;

/* What is constant in the loss: the batch, who is dead, the target of the auxiliary loss. */
typedef struct setting {
    const float *x;
    lethe_aux_kind aux;
    bool normalise;
    size_t aux_k;
    bool dead[M];
    double target[N * D];
} setting;

/* z[M] = relu(top k of a), only where allowed. */
static void top(const double *a, const bool *allowed, size_t k, double *z) {
    bool taken[M] = {false};
    memset(z, 0, M * sizeof *z);
    for (size_t s = 0; s < k; s++) {
        size_t best = M;
        for (size_t j = 0; j < M; j++)
            if (!taken[j] && (!allowed || allowed[j]) && (best == M || a[j] > a[best])) best = j;
        if (best == M) return;
        taken[best] = true;
        z[best] = fmax(a[best], 0);
    }
}

static void encode(const model *w, const double *in, double *a) {
    for (size_t j = 0; j < M; j++) {
        a[j] = w->p[LETHE_B_ENC][j];
        for (size_t i = 0; i < D; i++)
            a[j] += w->p[LETHE_W_ENC][j * D + i] * (in[i] - w->p[LETHE_B_DEC][i]);
    }
}

static void decode(const model *w, const double *z, bool bias, double *out) {
    for (size_t i = 0; i < D; i++) {
        out[i] = bias ? w->p[LETHE_B_DEC][i] : 0;
        for (size_t j = 0; j < M; j++) out[i] += z[j] * w->p[LETHE_W_DEC][j * D + i];
    }
}

static double variance_of(const double *x) {
    double sum = 0;
    for (size_t i = 0; i < D; i++) {
        double mean = 0;
        for (size_t t = 0; t < N; t++) mean += x[t * D + i] / N;
        for (size_t t = 0; t < N; t++) sum += (x[t * D + i] - mean) * (x[t * D + i] - mean);
    }
    return sum;
}

/* The loss; error[N, D] = x - x^, where asked for. */
static double loss_of(const model *w, const setting *s, double *error, double *recon, double *aux) {
    double square = 0, aux_square = 0, x[N * D];
    for (size_t i = 0; i < N * D; i++) x[i] = (double)s->x[i];
    for (size_t t = 0; t < N; t++) {
        double a[M], z[M], x_hat[D], e[D], e_hat[D];
        encode(w, x + t * D, a);
        top(a, NULL, K, z);
        decode(w, z, true, x_hat);
        for (size_t i = 0; i < D; i++) {
            e[i] = x[t * D + i] - x_hat[i];
            square += e[i] * e[i];
            if (error) error[t * D + i] = e[i];
        }
        if (s->aux == LETHE_AUX_REFERENCE) encode(w, e, a);
        top(a, s->dead, s->aux_k, z);
        decode(w, z, false, e_hat);
        for (size_t i = 0; i < D; i++)
            aux_square += (e_hat[i] - s->target[t * D + i]) * (e_hat[i] - s->target[t * D + i]);
    }
    *recon = square / (s->normalise ? variance_of(x) : N * D);
    *aux = aux_square / (s->aux == LETHE_AUX_REFERENCE ? N * D : variance_of(s->target));
    return *recon + (s->aux == LETHE_AUX_NONE ? 0 : *aux / 32);
}

static void check_gradients(lethe_trainer *t, const setting *s) {
    static model w;
    double recon, aux, worst = 0, largest = 0;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        size_t cols = lethe_param_cols(p, D, M), count = lethe_param_rows(p, D, M) * cols;
        for (size_t i = 0; i < count; i++) w.p[p][i] = (double)lethe_param_data(&t->sae, p)[i];
    }
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) {
        size_t cols = lethe_param_cols(p, D, M), count = lethe_param_rows(p, D, M) * cols;
        for (size_t i = 0; i < count; i++) {
            const double step = 1e-6, at = w.p[p][i];
            w.p[p][i] = at + step;
            double up = loss_of(&w, s, NULL, &recon, &aux);
            w.p[p][i] = at - step;
            double down = loss_of(&w, s, NULL, &recon, &aux);
            w.p[p][i] = at;
            double want = (up - down) / (2 * step);
            double got =
                lethe_params[p].by_latent && !t->touched[i / cols] ? 0 : (double)t->grad[p][i];
            if (!(fabs(got - want) <= worst)) worst = fabs(got - want);
            if (fabs(want) > largest) largest = fabs(want);
        }
    }
    if (!(worst <= 2e-6 * largest))
        fail_msg("kind %d: gradients are off by %g of %g", (int)s->aux, worst, largest);
}

static void test_gradients(void **state) {
    (void)state;
    lethe_rng r = lethe_rng_make(11, 0);
    for (int aux_kind = LETHE_AUX_NONE; aux_kind <= LETHE_AUX_NORMALISED; aux_kind++)
        for (size_t aux_k = 2; aux_k <= DEAD + 2; aux_k += 3) {
            lethe_sae sae = random_sae(D, M, K, &r);
            lethe_recipe recipe = lethe_recipe_reference();
            recipe.aux = (lethe_aux_kind)aux_kind;
            recipe.aux_k = aux_k;
            recipe.aux_start = 0;
            lethe_trainer *t;
            assert_ok(lethe_trainer_open(&t, &sae, &recipe, N, 10, &err), &err);
            static setting s;
            float x[N * D];
            random_floats(x, N * D, 1.5, &r);
            s = (setting){.x = x, .aux = recipe.aux, .aux_k = aux_k < DEAD ? aux_k : DEAD};
            s.normalise = recipe.aux == LETHE_AUX_NORMALISED;
            for (size_t j = 0; j < DEAD; j++) {
                s.dead[2 * j] = true;
                t->idle[2 * j] = 1001;
            }
            lethe_step_stats stats;
            assert_ok(lethe_trainer_gradients(t, x, N, false, &stats, &err), &err);
            assert_int_equal(stats.dead, DEAD);

            static model w;
            double recon, aux;
            for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
                for (size_t i = 0; i < lethe_param_rows(p, D, M) * lethe_param_cols(p, D, M); i++)
                    w.p[p][i] = (double)lethe_param_data(&t->sae, p)[i];
            loss_of(&w, &s, s.target, &recon, &aux);
            double total = loss_of(&w, &s, NULL, &recon, &aux);
            assert_true(fabs(stats.total_loss - total) <= 1e-6 * total);
            assert_true(fabs((s.normalise ? stats.fvu : stats.recon_loss) - recon) <= 1e-6 * recon);
            if (recipe.aux != LETHE_AUX_NONE) assert_true(fabs(stats.aux_loss - aux) <= 1e-6 * aux);
            check_gradients(t, &s);
            lethe_trainer_close(&t);
        }
}

/* After projection no row of W_dec's gradient has a part along the row; the norm is of all of it.
 */
static void test_projection(void **state) {
    (void)state;
    lethe_rng r = lethe_rng_make(12, 0);
    lethe_sae sae = random_sae(D, M, K, &r);
    lethe_recipe recipe = lethe_recipe_reference();
    lethe_trainer *t;
    assert_ok(lethe_trainer_open(&t, &sae, &recipe, N, 10, &err), &err);
    float x[N * D];
    random_floats(x, N * D, 1.5, &r);
    lethe_step_stats s;
    assert_ok(lethe_trainer_gradients(t, x, N, true, &s, &err), &err);
    double total = 0;
    size_t touched = 0;
    for (size_t i = 0; i < D; i++)
        total += (double)t->grad[LETHE_B_DEC][i] * (double)t->grad[LETHE_B_DEC][i];
    for (size_t j = 0; j < M; j++) {
        if (!t->touched[j]) continue;
        touched++;
        double along = 0, size = 0;
        for (size_t i = 0; i < D; i++) {
            double g = (double)t->grad[LETHE_W_DEC][j * D + i];
            double e = (double)t->grad[LETHE_W_ENC][j * D + i];
            along += g * (double)t->sae.W_dec[j * D + i];
            size += g * g;
            total += g * g + e * e;
        }
        total += (double)t->grad[LETHE_B_ENC][j] * (double)t->grad[LETHE_B_ENC][j];
        assert_true(fabs(along) <= 1e-6 * sqrt(size));
    }
    assert_true(touched > 0);
    assert_true(fabs(s.grad_norm - sqrt(total)) <= 1e-6 * s.grad_norm);
    assert_true(lethe_clip_scale(4, 1) < 0.2500001 && lethe_clip_scale(4, 1) > 0.2499999);
    assert_true(lethe_clip_scale(0.5, 1) == 1 && lethe_clip_scale(100, 0) == 1);
    lethe_trainer_close(&t);
}

/* ---- promises of a step --------------------------------------------------------------------- */

static const size_t BIG_D = 37, BIG_M = 1100, BIG_K = 5, BIG_N = 400;

static lethe_trainer *big_trainer(lethe_recipe recipe, uint64_t steps) {
    lethe_sae sae;
    assert_ok(lethe_sae_alloc(&sae, BIG_D, BIG_M, BIG_K, &err), &err);
    lethe_sae_init(&sae, 5);
    lethe_trainer *t;
    assert_ok(lethe_trainer_open(&t, &sae, &recipe, BIG_N, steps, &err), &err);
    return t;
}

static float *big_batch(uint64_t seed) {
    float *x;
    assert_ok(lethe_alloc(&x, BIG_N * BIG_D, sizeof *x, "a batch", &err), &err);
    lethe_rng r = lethe_rng_make(seed, 1);
    random_floats(x, BIG_N * BIG_D, 1, &r);
    return x;
}

/* Recipes with their auxiliary loss on from the second step, b_dec from a sample. */
static lethe_recipe eager(lethe_recipe r, lethe_bias_init init) {
    r.dead_after = 0;
    r.aux_start = 1;
    r.b_dec_init = init;
    return r;
}

static void run_steps(lethe_trainer *t, int steps) {
    for (int i = 0; i < steps; i++) {
        float *x = big_batch((uint64_t)i);
        lethe_step_stats s;
        size_t n = i % 2 ? BIG_N : BIG_N - 33;
        assert_ok(lethe_trainer_step(t, x, n, &s, &err), &err);
        assert_false(s.skipped);
        assert_true(i == 0 || (s.dead > 0 && s.aux_loss > 0));
        lethe_free(x);
    }
}

static void assert_same_params(const lethe_sae *a, const lethe_sae *b) {
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        assert_memory_equal(lethe_param_data(a, p), lethe_param_data(b, p),
                            lethe_param_rows(p, a->d, a->m) * lethe_param_cols(p, a->d, a->m) *
                                sizeof(float));
}

static void test_threads(void **state) {
    (void)state;
    const lethe_recipe recipes[] = {
        eager(lethe_recipe_reference(), LETHE_BDEC_MEAN),
        eager(lethe_recipe_default(), LETHE_BDEC_GEOMETRIC_MEDIAN),
    };
    for (size_t i = 0; i < 2; i++) {
        lethe_trainer *first = NULL;
        for (int threads = 1; threads <= 4; threads++) {
            lethe_threads_set(threads);
            lethe_trainer *t = big_trainer(recipes[i], 6);
            float *x = big_batch(99);
            assert_ok(lethe_trainer_init_b_dec(t, x, BIG_N, &err), &err);
            lethe_free(x);
            run_steps(t, 6);
            if (!first) {
                first = t;
                continue;
            }
            assert_same_params(&first->sae, &t->sae);
            lethe_trainer_close(&t);
        }
        lethe_trainer_close(&first);
    }
    lethe_threads_set(0);
}

/* Many pairs a latent: one thread adds the rows up in sweeps, strip by strip, and takes the slopes
 * by token; four threads, for which the sweeps would be too few, go latent by latent. */
static void test_sweeps(void **state) {
    (void)state;
    enum { WIDE = 150, LATENTS = 1100, MANY = 50, TOKENS = 400, HELD_DEAD = 300 };
    float *x;
    assert_ok(lethe_alloc(&x, TOKENS, WIDE * sizeof *x, "a batch", &err), &err);
    lethe_rng r = lethe_rng_make(3, 8);
    random_floats(x, (size_t)TOKENS * WIDE, 1, &r);
    const lethe_recipe recipes[] = {lethe_recipe_reference(), lethe_recipe_default()};
    for (size_t i = 0; i < 2; i++) {
        lethe_trainer *t[2];
        for (int s = 0; s < 2; s++) {
            lethe_threads_set(s ? 4 : 1);
            lethe_sae sae;
            assert_ok(lethe_sae_alloc(&sae, WIDE, LATENTS, MANY, &err), &err);
            lethe_sae_init(&sae, 5);
            lethe_recipe recipe = eager(recipes[i], LETHE_BDEC_ZERO);
            recipe.aux_start = 0;
            assert_ok(lethe_trainer_open(&t[s], &sae, &recipe, TOKENS, 9, &err), &err);
            for (size_t j = 0; j < HELD_DEAD; j++) t[s]->idle[j] = 1000000;
            assert_int_equal(lethe_slopes_by_latent(t[s], TOKENS), s);
            lethe_step_stats stats;
            assert_ok(lethe_trainer_step(t[s], x, TOKENS, &stats, &err), &err);
            assert_true(!stats.skipped && stats.aux_loss > 0);
        }
        assert_same_params(&t[0]->sae, &t[1]->sae);
        lethe_trainer_close(&t[0]);
        lethe_trainer_close(&t[1]);
    }
    lethe_threads_set(0);
    lethe_free(x);
}

static void test_rows_stay_unit(void **state) {
    (void)state;
    lethe_trainer *t = big_trainer(eager(lethe_recipe_default(), LETHE_BDEC_ZERO), 6);
    run_steps(t, 6);
    for (size_t j = 0; j < BIG_M; j++) {
        double square = 0;
        for (size_t i = 0; i < BIG_D; i++)
            square += (double)t->sae.W_dec[j * BIG_D + i] * (double)t->sae.W_dec[j * BIG_D + i];
        assert_true(fabs(square - 1) < 1e-6);
    }
    lethe_trainer_close(&t);
}

static void test_not_finite(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++)
        for (int kind = 0; kind < 2; kind++) {
            lethe_trainer *t = big_trainer(
                eager(kind ? lethe_recipe_default() : lethe_recipe_reference(), LETHE_BDEC_ZERO),
                9);
            run_steps(t, 3);
            lethe_trainer *same = big_trainer(t->recipe, 9);
            run_steps(same, 3);
            float *x = big_batch(7);
            for (size_t i = 0; i < BIG_D; i++) x[40 * BIG_D + i] = i % 2 ? bad[b] : -bad[b];
            lethe_step_stats s;
            assert_ok(lethe_trainer_step(t, x, BIG_N, &s, &err), &err);
            assert_true(s.skipped);
            assert_int_equal(lethe_trainer_steps(t), 4);
            assert_int_equal(t->updates, 3);
            assert_same_params(&t->sae, &same->sae);
            assert_memory_equal(t->idle, same->idle, BIG_M * sizeof *t->idle);
            lethe_free(x);
            lethe_trainer_close(&t);
            lethe_trainer_close(&same);
        }
}

static void test_dead_by_tokens_and_steps(void **state) {
    (void)state;
    lethe_recipe r = lethe_recipe_default();
    r.dead_after = (double)(2 * BIG_N) - 0.5;
    lethe_trainer *t = big_trainer(r, 9);
    float *x;
    assert_ok(lethe_zalloc(&x, BIG_N * BIG_D, sizeof *x, "a batch", &err), &err);
    lethe_step_stats s; /* nothing fires on zeros */
    for (int i = 0; i < 3; i++) assert_ok(lethe_trainer_step(t, x, BIG_N, &s, &err), &err);
    assert_int_equal(s.dead, BIG_M); /* before the third step: 800 > 799.5 */
    assert_int_equal(t->idle[0], 3 * BIG_N);
    assert_int_equal(lethe_trainer_dead(t), BIG_M);
    assert_true(s.l0 == 0);
    lethe_trainer_close(&t);
    r.dead_in_tokens = false;
    r.dead_after = 2;
    t = big_trainer(r, 9);
    for (int i = 0; i < 3; i++) assert_ok(lethe_trainer_step(t, x, BIG_N, &s, &err), &err);
    assert_int_equal(s.dead, 0);
    assert_int_equal(lethe_trainer_dead(t), BIG_M);
    lethe_trainer_close(&t);
    lethe_free(x);
}

static void test_schedule(void **state) {
    (void)state;
    lethe_recipe r = lethe_recipe_reference();
    assert_true(lethe_recipe_lr(&r, 0, 100) == 1e-4 && lethe_recipe_lr(&r, 99, 100) == 1e-4);
    r.lr = 1, r.warmup = 10, r.decay = 0.25;
    assert_true(fabs(lethe_recipe_lr(&r, 0, 100) - 0.1) < 1e-12);
    assert_true(fabs(lethe_recipe_lr(&r, 8, 100) - 0.9) < 1e-12);
    assert_true(lethe_recipe_lr(&r, 9, 100) == 1 && lethe_recipe_lr(&r, 75, 100) == 1);
    assert_true(fabs(lethe_recipe_lr(&r, 99, 100) - 0.04) < 1e-12);
    assert_true(lethe_recipe_lr(&r, 100, 100) == 0 && lethe_recipe_lr(&r, 200, 100) == 0);
}

/* The mean of a sample is pulled away by one huge row, the geometric median is not. */
static void test_b_dec_init(void **state) {
    (void)state;
    lethe_recipe r = lethe_recipe_default();
    float *x = big_batch(3);
    for (size_t i = 0; i < BIG_N * BIG_D; i++) x[i] += 2.0f;
    for (size_t i = 0; i < BIG_D; i++) x[i] = 1e5f;
    for (int kind = LETHE_BDEC_ZERO; kind <= LETHE_BDEC_GEOMETRIC_MEDIAN; kind++) {
        r.b_dec_init = (lethe_bias_init)kind;
        lethe_trainer *t = big_trainer(r, 9);
        assert_ok(lethe_trainer_init_b_dec(t, x, BIG_N, &err), &err);
        for (size_t i = 0; i < BIG_D; i++) {
            double mean = 0;
            for (size_t n = 0; n < BIG_N; n++) mean += (double)x[n * BIG_D + i] / (double)BIG_N;
            double got = (double)t->sae.b_dec[i];
            if (kind == LETHE_BDEC_ZERO) assert_true(got == 0);
            if (kind == LETHE_BDEC_MEAN) assert_true(fabs(got - mean) < 1e-4 * mean);
            if (kind == LETHE_BDEC_GEOMETRIC_MEDIAN) assert_true(fabs(got - 2) < 0.3);
        }
        lethe_trainer_close(&t);
    }
    /* Against a direct search along random directions: no step lowers the sum of distances. */
    r.b_dec_init = LETHE_BDEC_GEOMETRIC_MEDIAN;
    lethe_trainer *t = big_trainer(r, 9);
    assert_ok(lethe_trainer_init_b_dec(t, x, BIG_N, &err), &err);
    lethe_rng rng = lethe_rng_make(8, 8);
    for (int trial = 0; trial <= 20; trial++) {
        double sum[2] = {0}, move[64];
        for (size_t i = 0; i < BIG_D; i++) move[i] = 0.02 * lethe_rng_normal(&rng);
        for (size_t n = 0; n < BIG_N; n++)
            for (int side = 0; side < 2; side++) {
                double square = 0;
                for (size_t i = 0; i < BIG_D; i++) {
                    double e = (double)x[n * BIG_D + i] - (double)t->sae.b_dec[i] - side * move[i];
                    square += e * e;
                }
                sum[side] += sqrt(square);
            }
        assert_true(sum[0] < sum[1]);
    }
    lethe_trainer_close(&t);
    t = big_trainer(r, 9);
    x[5] = NAN;
    assert_int_equal(lethe_trainer_init_b_dec(t, x, BIG_N, &err), LETHE_NONFINITE);
    assert_int_equal(lethe_trainer_init_b_dec(t, x, 0, &err), LETHE_USAGE);
    lethe_trainer_close(&t);
    lethe_free(x);
}

static void test_no_memory(void **state) {
    (void)state;
    const lethe_recipe recipes[] = {eager(lethe_recipe_reference(), LETHE_BDEC_GEOMETRIC_MEDIAN),
                                    eager(lethe_recipe_default(), LETHE_BDEC_MEAN)};
    float *x = big_batch(1);
    for (size_t i = 0; i < 2; i++) {
        lethe_sae sae;
        lethe_trainer *t = NULL;
        lethe_step_stats s;
        assert_ok(lethe_sae_alloc(&sae, BIG_D, BIG_M, BIG_K, &err), &err);
        lethe_sae_init(&sae, 5);
        size_t allowed[3] = {0};
        for (int call = 0; call < 3; call++)
            for (;; allowed[call]++) {
                lethe_mem_fail_after(allowed[call]);
                lethe_status st = call == 0
                                      ? lethe_trainer_open(&t, &sae, &recipes[i], BIG_N, 9, &err)
                                  : call == 1 ? lethe_trainer_init_b_dec(t, x, BIG_N, &err)
                                              : lethe_trainer_step(t, x, BIG_N, &s, &err);
                lethe_mem_fail_after(SIZE_MAX);
                if (st == LETHE_OK) break;
                assert_int_equal(st, LETHE_NOMEM);
                assert_true(call > 0 || (t == NULL && sae.W_enc != NULL)); /* not moved */
            }
        assert_true(allowed[0] > 20 && allowed[1] >= 1 && allowed[2] >= 4);
        /* Once more with the auxiliary loss on. */
        for (size_t left = 0;; left++) {
            lethe_mem_fail_after(left);
            lethe_status st = lethe_trainer_step(t, x, BIG_N, &s, &err);
            lethe_mem_fail_after(SIZE_MAX);
            if (st == LETHE_OK) break;
            assert_int_equal(st, LETHE_NOMEM);
        }
        assert_int_equal(lethe_trainer_steps(t), 2);
        assert_true(s.aux_loss > 0);
        lethe_trainer_close(&t);
    }
    lethe_free(x);
}

static void test_wrong_usage(void **state) {
    (void)state;
    lethe_recipe r = lethe_recipe_default();
    lethe_sae sae;
    lethe_trainer *t = NULL;
    assert_ok(lethe_sae_alloc(&sae, 4, 8, 2, &err), &err);
    assert_int_equal(lethe_trainer_open(&t, &sae, &r, 0, 9, &err), LETHE_USAGE);
    assert_null(t);
    lethe_sae_free(&sae);
    lethe_trainer_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_projection),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_rows_stay_unit),
        cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_dead_by_tokens_and_steps),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_b_dec_init),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_wrong_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
