/* SPDX-License-Identifier: MIT
 *
 * Effects of features on the demonstration model against an ablation of each feature alone over all
 * windows of the texts.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/ablate.h"
#include "stage/effect.h"

#define LAYER 1
#define CTX 32
#define N 3

static lethe_err err;
static lethe_lm *lm;
static lethe_sae sae;
static lethe_corpus *corpus[LETHE_ROLES];
static lethe_mix *mix;
static const int32_t candidate[N] = {17, 3, 40};

static void open_all(const char *dir) {
    lethe_lm_opts o = lethe_lm_defaults();
    o.ctx_len = CTX;
    o.n_seq = 4;
    o.exact = true;
    o.hash = false;
    assert_ok(lethe_lm_open(&lm, test_source("models/lethe-demo.gguf"), &o, NULL, &err), &err);
    assert_ok(lethe_sae_alloc(&sae, lethe_lm_get_info(lm)->d_model, 64, 4, &err), &err);
    lethe_sae_init(&sae, 2);
    static const char *const text[LETHE_ROLES] = {
        "Harry Potter met Ron and Hermione on the train to Hogwarts. ",
        "The wizard raised a staff and the dragon fled over the hills. ",
        "The capital of France is Paris, and it lies on the river Seine. "};
    for (int r = 0; r < LETHE_ROLES; r++) {
        lethe_strbuf all = {0};
        for (int i = 0; i < 20; i++) lethe_strbuf_addf(&all, "%d %s", i * i, text[r]);
        char *path = lethe_path_join(dir, lethe_role_name((lethe_role)r));
        assert_ok(lethe_write_file(path, all.data, all.len, &err), &err);
        assert_ok(lethe_corpus_open(&corpus[r], (const char *const[]){path}, 1, NULL, &err), &err);
        lethe_free(path);
        lethe_strbuf_free(&all);
    }
    lethe_mix_opts mo = {.ctx_len = CTX, .bos = true, .shuffle = true};
    assert_ok(lethe_mix_open(&mix, lm, corpus, &mo, NULL, &err), &err);
}

static lethe_status add_up(void *user, size_t seq, size_t pos, const float *logits, lethe_err *e) {
    void **u = user;
    const lethe_seq *s = u[0];
    double *sum = u[1];
    (void)seq;
    (void)e;
    if (pos + 1 < s->n)
        *sum += lethe_logprob(logits, lethe_lm_get_info(lm)->n_vocab, s->token[pos + 1]);
    return LETHE_OK;
}

/* Mean log-probability of each text under whatever is attached. */
static void score(double mean[LETHE_ROLES]) {
    double sum[LETHE_ROLES] = {0}, tokens[LETHE_ROLES] = {0};
    assert_ok(lethe_mix_restart(mix, 0, &err), &err);
    for (;;) {
        int32_t token[CTX];
        size_t n;
        lethe_role role;
        assert_ok(lethe_mix_next(mix, token, &n, &role, &err), &err);
        if (!n) break;
        lethe_seq s = {token, n};
        void *user[] = {&s, &sum[role]};
        assert_ok(lethe_lm_forward(lm, &s, 1, NULL, add_up, user, &err), &err);
        tokens[role] += (double)(n - 1);
    }
    for (int r = 0; r < LETHE_ROLES; r++) mean[r] = sum[r] / tokens[r];
}

static void against_ablations(void **state) {
    (void)state;
    double base[LETHE_ROLES], effect[N], again[N];
    lethe_effect_opts o = {.layer = LAYER,
                           .hook = LETHE_HOOK_POST,
                           .windows = LETHE_EFFECT_POOL, /* all of them */
                           .retain_weight = 2,
                           .near_weight = 0.5};
    lethe_lm_clear_hooks(lm);
    score(base);
    assert_ok(lethe_effect_measure(lm, &sae, mix, candidate, N, &o, effect, NULL, &err), &err);
    bool moved = false;
    for (size_t i = 0; i < N; i++) {
        lethe_ablation *a = NULL;
        double with[LETHE_ROLES], drop[LETHE_ROLES];
        assert_ok(lethe_ablation_open(&a, &sae, candidate + i, 1, -1, &err), &err);
        assert_ok(lethe_ablation_attach(a, lm, LAYER, LETHE_HOOK_POST, false, &err), &err);
        score(with);
        lethe_lm_clear_hooks(lm);
        for (int r = 0; r < LETHE_ROLES; r++) drop[r] = base[r] - with[r];
        double want =
            drop[LETHE_FORGET] - 2 * fmax(drop[LETHE_RETAIN], 0) - 0.5 * fmax(drop[LETHE_NEAR], 0);
        if (!(fabs(effect[i] - want) < 1e-4 * (1 + fabs(want))))
            fail_msg("candidate %zu: effect %g, want %g", i, effect[i], want);
        moved |= fabs(want) > 0.01;
        lethe_ablation_close(&a);
    }
    assert_true(moved);
    assert_ok(lethe_effect_measure(lm, &sae, mix, candidate, N, &o, again, NULL, &err), &err);
    assert_memory_equal(again, effect, sizeof effect);
}

static void ranking(void **state) {
    (void)state;
    lethe_feature item[4] = {{.index = 5}, {.index = 4}, {.index = 3}, {.index = 2}};
    lethe_feature_set s = {.item = item, .n = 4};
    assert_ok(lethe_effect_rank(&s, (const double[]){0.1, 0.3, -1, 0.3}, 9, &err), &err);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.item[0].index, 2);
    assert_int_equal(s.item[1].index, 4);
    assert_int_equal(s.item[2].index, 5);
    assert_true(s.item[2].score == 0.1);
    assert_ok(lethe_effect_rank(&s, (const double[]){1, 2, 3}, 2, &err), &err);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.item[0].index, 5);
    assert_int_equal(lethe_effect_rank(&s, (const double[]){0, -1}, 2, &err), LETHE_FAIL);
    assert_non_null(strstr(err.text, "--effect-candidates"));
}

int main(void) {
    open_all(test_temp_dir());
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_ablations),
                                       cmocka_unit_test(ranking)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_mix_close(&mix);
    for (int r = 0; r < LETHE_ROLES; r++) lethe_corpus_close(&corpus[r]);
    lethe_sae_free(&sae);
    lethe_lm_close(&lm);
    test_temp_remove();
    return rc;
}
