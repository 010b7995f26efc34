/* SPDX-License-Identifier: MIT
 *
 * Each method with each gate against plain loops in double precision; the guard row by row and at
 * once, on rows and on the demonstration model; two removals at once.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/run.h"
#include "sae/encoder.h"
#include "stage/ablate.h"
#include "stage/probes.h"

#define D 37
#define N 11
#define M 64
#define K 16
#define ROWS 150

static lethe_err err;
static lethe_sae sae;
static lethe_patch patch;
static float x[ROWS * D], mean[N], evidence[2 * N];
static double z[ROWS][2][N]; /* activations where feature i fired by the exact, the compact gate */
static const int32_t feature[N] = {3, 50, 7, 22, 41, 0, 63, 12, 30, 9, 17};

static void fill(void) {
    lethe_rng r = lethe_rng_make(11, 0);
    assert_ok(lethe_sae_alloc(&sae, D, M, K, &err), &err);
    lethe_sae_init(&sae, 5);
    for (size_t i = 0; i < M; i++) sae.b_enc[i] = 0.1f * (float)lethe_rng_normal(&r);
    for (size_t i = 0; i < D; i++) sae.b_dec[i] = (float)lethe_rng_normal(&r);
    for (size_t i = 0; i < M * D; i++) sae.W_dec[i] *= 1.5f; /* rows that are not unit */
    for (size_t i = 0; i < ROWS * D; i++) x[i] = 2 * (float)lethe_rng_normal(&r);
    for (size_t i = 0; i < N; i++) {
        mean[i] = 1 + 0.25f * (float)i;
        evidence[2 * i] = 0.25f + 0.125f * (float)i;
        evidence[2 * i + 1] = -0.0625f * (float)(i % 4);
    }
    assert_ok(lethe_patch_from_sae(&patch, &sae, feature, N, &err), &err);
    for (size_t i = 0; i < N; i++) patch.threshold[i] = 1 + 0.25f * (float)i;
    memcpy(patch.mean, mean, sizeof mean);
    memcpy(patch.evidence, evidence, sizeof evidence);
    lethe_codes c;
    lethe_encoder e;
    assert_ok(lethe_codes_alloc(&c, ROWS, K, &err), &err);
    assert_ok(lethe_encoder_open(&e, &sae, &err), &err);
    assert_ok(lethe_encode(&e, x, ROWS, &c, NULL, &err), &err);
    lethe_encoder_close(&e);
    for (size_t t = 0; t < ROWS; t++)
        for (size_t i = 0; i < N; i++) {
            for (size_t j = t * K; j < (t + 1) * K; j++)
                if (c.index[j] == feature[i] && c.value[j] > 0) z[t][0][i] = (double)c.value[j];
            double a = (double)sae.b_enc[feature[i]];
            for (size_t j = 0; j < D; j++)
                a += (double)sae.W_enc[(size_t)feature[i] * D + j] *
                     ((double)x[t * D + j] - (double)sae.b_dec[j]);
            if (a > (double)patch.threshold[i]) z[t][1][i] = a;
        }
    lethe_codes_free(&c);
}

/* What the formulas of intervene.h say of row t. */
static void by_the_formula(const lethe_intervention *how, int gate, size_t t, double *y) {
    const float *row = x + t * D;
    double norm = 0;
    bool any = false;
    for (size_t j = 0; j < D; j++) norm += (double)row[j] * (double)row[j];
    for (size_t i = 0; i < N; i++) any |= z[t][gate][i] > 0;
    for (size_t j = 0; j < D; j++) y[j] = (double)row[j];
    for (size_t i = 0; i < N; i++) {
        const float *w = sae.W_dec + (size_t)feature[i] * D;
        double length = 0, along = 0, by = 0, a = z[t][gate][i];
        for (size_t j = 0; j < D; j++) {
            length += (double)w[j] * (double)w[j];
            along += ((double)row[j] - (double)sae.b_dec[j]) * (double)w[j];
        }
        length = sqrt(length);
        along /= length;
        if (how->method == LETHE_METHOD_SCALE && a > 0) by = (how->strength - 1) * a;
        if (how->method == LETHE_METHOD_CLAMP && a > 0)
            by = -how->strength *
                     (how->unit == LETHE_CLAMP_NORM ? sqrt(norm) / length : (double)mean[i]) -
                 a;
        if (how->method == LETHE_METHOD_DIRECTION && along > 0 && (any || !how->gated))
            by = -how->strength * along / length;
        for (size_t j = 0; j < D; j++) y[j] += by * (double)w[j];
    }
}

static lethe_ablation *open_it(int gate, const lethe_intervention *how) {
    lethe_ablation *a = NULL;
    if (gate == 0)
        assert_ok(lethe_ablation_open_with(&a, &sae, feature, N,
                                           &(lethe_feature_facts){mean, evidence}, how, &err),
                  &err);
    else
        assert_ok(lethe_ablation_open_patch(&a, &patch, &err), &err);
    assert_ok(lethe_ablation_set(a, how, &err), &err);
    return a;
}

static void apply(lethe_ablation *a, float *y, size_t at_once) {
    memcpy(y, x, sizeof x);
    for (size_t t = 0; t < ROWS; t += at_once)
        assert_ok(
            lethe_ablation_apply(a, y + t * D, ROWS - t < at_once ? ROWS - t : at_once, NULL, &err),
            &err);
}

static const lethe_intervention all[] = {
    {.method = LETHE_METHOD_SCALE, .strength = -3},
    {.method = LETHE_METHOD_CLAMP, .strength = 0},
    {.method = LETHE_METHOD_CLAMP, .strength = 2},
    {.method = LETHE_METHOD_CLAMP, .strength = 0.5, .unit = LETHE_CLAMP_NORM},
    {.method = LETHE_METHOD_DIRECTION, .strength = 1},
    {.method = LETHE_METHOD_DIRECTION, .strength = 0.5, .gated = true},
};
#define METHODS (sizeof all / sizeof *all)

static void methods(void **state) {
    (void)state;
    static float y[ROWS * D], again[ROWS * D];
    for (size_t m = 0; m < METHODS; m++)
        for (int gate = 0; gate < 2; gate++) {
            lethe_ablation *a = open_it(gate, &all[m]);
            apply(a, y, ROWS);
            size_t fired = 0;
            for (size_t t = 0; t < ROWS; t++) {
                double want[D];
                by_the_formula(&all[m], gate, t, want);
                for (size_t j = 0; j < D; j++)
                    assert_true(fabs((double)y[t * D + j] - want[j]) < 2e-4);
                bool any = false;
                for (size_t i = 0; i < N; i++) any |= z[t][gate][i] > 0;
                fired += any;
                if (!any && (all[m].method != LETHE_METHOD_DIRECTION || all[m].gated))
                    assert_memory_equal(y + t * D, x + t * D, D * sizeof *x);
            }
            const lethe_hook_stats *s = lethe_ablation_stats(a);
            bool always = all[m].method == LETHE_METHOD_DIRECTION && !all[m].gated;
            assert_true(fired > 10 && fired < ROWS);
            assert_int_equal(s->rows_fired, fired);
            assert_int_equal(s->rows_acted, always ? ROWS : fired);
            for (int threads = 1; threads < 4; threads++) { /* the same bytes in any pieces */
                lethe_threads_set(threads);
                apply(a, again, (size_t)(threads * threads));
                assert_memory_equal(again, y, sizeof y);
            }
            lethe_threads_set(0);
            lethe_ablation_close(&a);
        }
}

/* One removal, and sequences that want it by method scale, stronger, off, or as it is. */
static void sequences(void **state) {
    (void)state;
    static float want[4][ROWS * D], y[ROWS * D];
    static int32_t seq[ROWS], pos[ROWS], token[ROWS];
    static const lethe_intervention how[4] = {
        {.method = LETHE_METHOD_DIRECTION, .strength = 1},
        {.method = LETHE_METHOD_SCALE, .strength = -3},
        {.method = LETHE_METHOD_DIRECTION, .strength = 2},
        {.method = LETHE_METHOD_SCALE, .strength = 1},
    };
    for (int gate = 0; gate < 2; gate++) {
        size_t acted[4] = {0};
        for (size_t i = 0; i < 4; i++) {
            lethe_ablation *a = open_it(gate, &how[i]);
            apply(a, want[i], ROWS);
            lethe_ablation_close(&a);
        }
        lethe_ablation *a = open_it(gate, &how[0]);
        assert_ok(lethe_ablation_scale_in(a, 0, 1, -3, &err), &err);
        assert_ok(lethe_ablation_strength_in(a, LETHE_ALL_REMOVALS, 2, 2, &err), &err);
        assert_ok(lethe_ablation_switch(a, 0, 3, false, &err), &err);
        assert_int_equal(lethe_ablation_scale_in(a, 0, 1, INFINITY, &err), LETHE_USAGE);
        assert_int_equal(lethe_ablation_strength_in(a, 0, 1, -3, &err), LETHE_USAGE);
        for (size_t t = 0; t < ROWS; t++) {
            seq[t] = (int32_t)(t / 3 % 4);
            bool any = false;
            for (size_t i = 0; i < N; i++) any |= z[t][gate][i] > 0;
            acted[seq[t]] += seq[t] == 1 ? any : seq[t] != 3;
        }
        memcpy(y, x, sizeof x);
        const lethe_rows rows = {ROWS, D, token, pos, seq, y};
        assert_ok(lethe_ablation_rows(a, &rows, NULL, &err), &err);
        for (size_t t = 0; t < ROWS; t++)
            assert_memory_equal(y + t * D, want[seq[t]] + t * D, D * sizeof *y);
        assert_int_equal(lethe_ablation_stats(a)->rows_acted, acted[0] + acted[1] + acted[2]);
        /* Its own again. */
        assert_ok(lethe_ablation_scale_in(a, 0, 1, NAN, &err), &err);
        memcpy(y, x, sizeof x);
        assert_ok(lethe_ablation_rows(a, &rows, NULL, &err), &err);
        for (size_t t = 0; t < ROWS; t++)
            assert_memory_equal(y + t * D, want[seq[t] == 1 ? 0 : seq[t]] + t * D, D * sizeof *y);
        lethe_ablation_close(&a);
    }
}

/* Other features for an open ablation are those of a new one. */
static void choosing(void **state) {
    (void)state;
    static float y[ROWS * D], want[ROWS * D];
    const int32_t other[] = {5, 60}, bad[] = {5, 5};
    const float other_mean[] = {2, 3};
    lethe_ablation *a = open_it(0, &all[0]), *b = NULL;
    apply(a, want, ROWS);
    assert_int_equal(
        lethe_ablation_choose(a, bad, 2, &(lethe_feature_facts){other_mean, NULL}, &all[2], &err),
        LETHE_USAGE);
    apply(a, y, ROWS);
    assert_memory_equal(y, want, sizeof y);
    assert_ok(
        lethe_ablation_choose(a, other, 2, &(lethe_feature_facts){other_mean, NULL}, &all[2], &err),
        &err);
    assert_ok(lethe_ablation_open_with(&b, &sae, other, 2, &(lethe_feature_facts){other_mean, NULL},
                                       &all[2], &err),
              &err);
    apply(a, y, ROWS);
    apply(b, want, ROWS);
    assert_memory_equal(y, want, sizeof y);
    assert_int_equal(lethe_ablation_size(a), 2);
    lethe_ablation_close(&a);
    lethe_ablation_close(&b);
}

/* Behind a guard a row is either as without one, or as it came; row by row is as all at once. */
static void opens_at(lethe_ablation *a, const lethe_intervention *how, const float *free_y,
                     size_t opened) {
    static float y[ROWS * D], again[ROWS * D];
    assert_ok(lethe_ablation_set(a, how, &err), &err);
    apply(a, y, ROWS);
    for (size_t t = 0; t < ROWS; t++)
        assert_memory_equal(y + t * D, (t >= opened ? free_y : x) + t * D, D * sizeof *x);
    assert_ok(lethe_ablation_set(a, how, &err), &err); /* forgets the sequence */
    apply(a, again, 1);
    assert_memory_equal(again, y, sizeof y);
}

static void guarded(void **state) {
    (void)state;
    static float free_y[ROWS * D];
    for (size_t m = 0; m < METHODS; m++)
        for (int gate = 0; gate < 2; gate++) {
            lethe_intervention how = all[m];
            lethe_ablation *a = open_it(gate, &how);
            apply(a, free_y, ROWS);
            how.guard = true;
            how.guard_window = 8;
            how.guard_threshold = gate ? 0.5 : 0.999;
            size_t fired = 0, opened = ROWS;
            for (size_t t = 0; t < ROWS; t++) {
                size_t in_window = 0;
                for (size_t i = t < 7 ? 0 : t - 7; i <= t; i++) {
                    bool any = false;
                    for (size_t f = 0; f < N; f++) any |= z[i][gate][f] > 0;
                    in_window += any;
                }
                if (opened == ROWS && (double)in_window / 8 > how.guard_threshold) opened = t;
                fired += in_window > 0;
            }
            lethe_ablation_reset_stats(a);
            opens_at(a, &how, free_y, opened);
            size_t acted = lethe_ablation_stats(a)->rows_acted;
            assert_true(opened > 1 && opened < ROWS / 2 && fired > 0 && acted > 0);
            lethe_ablation_close(&a);
        }
}

/* e_t of guard.h. */
static double says(int gate, size_t t) {
    double sum = 0;
    for (size_t i = 0; i < N; i++) sum += (double)evidence[2 * i + (z[t][gate][i] > 0 ? 0 : 1)];
    return sum;
}

/* The same by evidence: the sum that ordinary rows take away from. */
static void guarded_by_evidence(void **state) {
    (void)state;
    static float free_y[ROWS * D];
    for (size_t m = 0; m < METHODS; m++)
        for (int gate = 0; gate < 2; gate++) {
            lethe_intervention how = all[m];
            lethe_ablation *a = open_it(gate, &how);
            apply(a, free_y, ROWS);
            double sum = 0, most = 0;
            for (size_t t = 0; t < 20; t++) {
                sum = fmax(0, sum + says(gate, t));
                most = fmax(most, sum);
            }
            how.guard = true;
            how.guard_by = LETHE_GUARD_EVIDENCE;
            how.guard_threshold = most + 1e-3; /* opens some time after row 20 */
            size_t opened = 0;
            for (sum = 0; opened < ROWS; opened++) {
                sum = fmax(0, sum + says(gate, opened));
                if (sum > how.guard_threshold) break;
            }
            assert_true(opened >= 20 && opened < ROWS);
            opens_at(a, &how, free_y, opened);
            lethe_ablation_close(&a);
        }
    lethe_intervention how = all[0];
    how.guard = true;
    how.guard_by = LETHE_GUARD_EVIDENCE;
    how.guard_threshold = 1;
    lethe_ablation *a;
    assert_int_equal(lethe_ablation_open_with(&a, &sae, feature, N, NULL, &how, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "how often the features fire on the texts"));
}

static void bad_numbers(void **state) {
    (void)state;
    static const struct {
        lethe_intervention how;
        const char *words;
    } each[] = {
        {{.method = LETHE_METHOD_SCALE, .strength = NAN}, "--scale is nan"},
        {{.method = LETHE_METHOD_CLAMP, .strength = INFINITY}, "--strength is inf"},
        {{.method = LETHE_METHOD_CLAMP, .strength = -1}, "--strength is -1, must be 0 or more"},
        {{.method = LETHE_METHOD_DIRECTION, .strength = -0.5}, "--strength is -0.5"},
        {{.guard = true, .guard_threshold = 1.5}, "--guard is 1.5"},
        {{.guard = true, .guard_threshold = -0.1}, "--guard is -0.1"},
        {{.guard = true, .guard_threshold = NAN}, "--guard is nan"},
        {{.guard = true, .guard_by = LETHE_GUARD_EVIDENCE, .guard_threshold = -1},
         "--guard is -1, must be 0 or more nats"},
        {{.method = LETHE_METHOD_COUNT}, "--method must be"},
    };
    lethe_ablation *a = open_it(0, &all[0]);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        assert_int_equal(lethe_ablation_set(a, &each[i].how, &err), LETHE_USAGE);
        if (!strstr(err.text, each[i].words)) fail_msg("%s", err.text);
        assert_true(lethe_ablation_how(a)->strength == -3);
    }
    lethe_ablation_close(&a);
    assert_int_equal(lethe_ablation_open_with(&a, &sae, feature, N, NULL, &all[2], &err),
                     LETHE_USAGE);
    assert_non_null(strstr(err.text, "mean activations"));
    assert_ok(lethe_ablation_open_with(&a, &sae, feature, N, NULL, &all[3], &err), &err);
    lethe_ablation_close(&a);
}

/* ---- on a model ------------------------------------------------------------------------------ */

static lethe_lm *lm;
static lethe_sae lm_sae[2];
static int32_t lm_feature[40];

static void open_model(void) {
    lethe_lm_opts o = lethe_lm_defaults();
    o.ctx_len = 128;
    o.n_seq = 4;
    o.exact = true;
    o.hash = false;
    assert_ok(lethe_lm_open(&lm, test_source("models/lethe-demo.gguf"), &o, NULL, &err), &err);
    size_t d = lethe_lm_get_info(lm)->d_model;
    for (int s = 0; s < 2; s++) {
        assert_ok(lethe_sae_alloc(&lm_sae[s], d, 256, 4, &err), &err);
        lethe_sae_init(&lm_sae[s], 3 + (uint64_t)s);
    }
    for (size_t i = 0; i < 40; i++) lm_feature[i] = (int32_t)(5 * i + 1);
}

static lethe_ablation *open_on(int s, double scale, double guard) {
    lethe_ablation *a = NULL;
    lethe_intervention how = lethe_intervention_scale(scale);
    how.guard = guard >= 0;
    how.guard_threshold = guard;
    how.guard_window = 8;
    assert_ok(lethe_ablation_open_with(&a, &lm_sae[s], lm_feature, 40, NULL, &how, &err), &err);
    return a;
}

static lethe_status take_logits(void *user, size_t seq, size_t pos, const float *logits,
                                lethe_err *e) {
    (void)e;
    float *to = user;
    size_t v = lethe_lm_get_info(lm)->n_vocab;
    if (seq == 0) memcpy(to + pos * v, logits, v * sizeof *to);
    return LETHE_OK;
}

static float *forward(const lethe_tokens *t, size_t copies) {
    size_t v = lethe_lm_get_info(lm)->n_vocab;
    float *out = NULL;
    assert_ok(lethe_alloc(&out, t->n, v * sizeof *out, "logits", &err), &err);
    lethe_seq seq[4] = {{t->id, t->n}, {t->id, t->n - 1}, {t->id + 1, t->n - 1}, {t->id, 2}};
    assert_ok(lethe_lm_forward(lm, seq, copies, NULL, take_logits, out, &err), &err);
    return out;
}

static const char *const prompt =
    "Harry Potter met Ron and Hermione on the train to Hogwarts, and then they";

/* A prompt and its continuation token by token act at the very positions, and give the very tokens,
 * that the whole text at once does; in the last layer, too. */
static void guard_with_a_cache(void **state) {
    (void)state;
    size_t v = lethe_lm_get_info(lm)->n_vocab;
    int last = lethe_lm_get_info(lm)->n_layer - 1;
    for (int layer = 1; layer <= last; layer += last - 1) {
        lethe_ablation *a = open_on(0, -2, 0.5);
        lethe_tokens t = {0};
        assert_ok(lethe_prompt_tokens(lm, prompt, false, &t, &err), &err);
        size_t n = t.n;
        lethe_sampling s = lethe_sampling_defaults();
        s.max_tokens = 24;
        lethe_strbuf out[3] = {{0}, {0}, {0}};
        lethe_seq seq[3] = {{t.id, n}, {t.id, 3}, {t.id, n}};
        lethe_lm_clear_hooks(lm);
        assert_ok(lethe_ablation_attach(a, lm, layer, LETHE_HOOK_POST, false, &err), &err);
        assert_ok(lethe_lm_generate(lm, seq, 1, &s, out, NULL, NULL, &err), &err);
        lethe_hook_stats one = *lethe_ablation_stats(a);
        lethe_ablation_reset_stats(a);
        /* among others, and again in the same call */
        lethe_strbuf many[3] = {{0}, {0}, {0}};
        assert_ok(lethe_lm_generate(lm, seq, 3, &s, many, NULL, NULL, &err), &err);
        assert_string_equal(lethe_strbuf_str(&many[0]), lethe_strbuf_str(&out[0]));
        assert_string_equal(lethe_strbuf_str(&many[2]), lethe_strbuf_str(&out[0]));
        assert_ok(lethe_lm_tokenize(lm, out[0].data, out[0].len, false, false, &t, &err), &err);
        t.n--; /* nothing follows the last token, so it is not run */
        for (size_t copies = 1; copies <= 4; copies += 3) {
            lethe_ablation_reset_stats(a);
            float *l = forward(&t, copies);
            if (copies == 1) {
                const lethe_hook_stats *whole = lethe_ablation_stats(a);
                assert_int_equal(whole->rows, one.rows);
                assert_int_equal(whole->rows_fired, one.rows_fired);
                assert_int_equal(whole->rows_acted, one.rows_acted);
                assert_true(one.rows_acted > 0 && one.rows_acted < one.rows_fired);
            }
            for (size_t i = n - 1; i < t.n; i++) {
                size_t best = 0;
                for (size_t k = 1; k < v; k++)
                    if (l[i * v + k] > l[i * v + best]) best = k;
                if (i + 1 < t.n) assert_int_equal(best, t.id[i + 1]);
            }
            lethe_free(l);
        }
        for (int i = 0; i < 3; i++) {
            lethe_strbuf_free(&out[i]);
            lethe_strbuf_free(&many[i]);
        }
        lethe_tokens_free(&t);
        lethe_lm_clear_hooks(lm);
        lethe_ablation_close(&a);
    }
}

/* Joined removals are those attached one after the other, each at its site and with its own ways.
 */
static void two_at_once(void **state) {
    (void)state;
    lethe_tokens t = {0};
    assert_ok(lethe_prompt_tokens(lm, prompt, false, &t, &err), &err);
    size_t bytes = t.n * lethe_lm_get_info(lm)->n_vocab * sizeof(float);
    lethe_ablation *a = open_on(0, -2, -1), *b = open_on(1, 0, 0.25);
    float *l[4]; /* first alone, second alone, both by hand, joined */
    for (int i = 0; i < 3; i++) {
        lethe_lm_clear_hooks(lm);
        lethe_ablation_reset_stats(a);
        lethe_ablation_reset_stats(b);
        if (i != 1) assert_ok(lethe_ablation_attach(a, lm, 1, LETHE_HOOK_POST, false, &err), &err);
        if (i != 0) assert_ok(lethe_ablation_attach(b, lm, 2, LETHE_HOOK_PRE, true, &err), &err);
        l[i] = forward(&t, 1);
    }
    lethe_hook_stats sa = *lethe_ablation_stats(a), sb = *lethe_ablation_stats(b);
    lethe_lm_clear_hooks(lm);
    const lethe_ablation *second = b;
    lethe_ablation_join(a, &b, 2, LETHE_HOOK_PRE, true);
    assert_null(b);
    int layer;
    lethe_hook hook;
    bool special;
    assert_ptr_equal(lethe_ablation_next(a, &layer, &hook, &special), second);
    assert_true(layer == 2 && hook == LETHE_HOOK_PRE && special);
    assert_null(lethe_ablation_next(second, NULL, NULL, NULL));
    lethe_ablation_reset_stats(a);
    assert_ok(lethe_ablation_attach(a, lm, 1, LETHE_HOOK_POST, false, &err), &err);
    l[3] = forward(&t, 1);
    assert_memory_equal(l[3], l[2], bytes);
    assert_memory_not_equal(l[3], l[0], bytes);
    assert_memory_not_equal(l[3], l[1], bytes);
    const lethe_hook_stats *sum = lethe_ablation_stats(a);
    assert_int_equal(sum->rows, sa.rows + sb.rows);
    assert_int_equal(sum->fired, sa.fired + sb.fired);
    assert_int_equal(sum->rows_acted, sa.rows_acted + sb.rows_acted);
    assert_true(sb.rows == sa.rows + 1); /* BOS */
    lethe_lm_clear_hooks(lm);
    for (int i = 0; i < 4; i++) lethe_free(l[i]);
    lethe_ablation_close(&a);
    lethe_tokens_free(&t);
}

int main(void) {
    fill();
    open_model();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods),
        cmocka_unit_test(choosing),
        cmocka_unit_test(guarded),
        cmocka_unit_test(guarded_by_evidence),
        cmocka_unit_test(bad_numbers),
        cmocka_unit_test(two_at_once),
        cmocka_unit_test(guard_with_a_cache),
        cmocka_unit_test(sequences),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_patch_free(&patch);
    lethe_sae_free(&sae);
    for (int s = 0; s < 2; s++) lethe_sae_free(&lm_sae[s]);
    lethe_lm_close(&lm);
    return rc;
}
