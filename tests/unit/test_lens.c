/* SPDX-License-Identifier: MIT
 *
 * The logit lens against the model itself: what the model says of the next token is what the lens
 * says of the row that left its last layer. Heads: a quantised one, and, where the reference models
 * are at hand, tied embeddings and logits that are capped (Gemma 2).
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lm/lm.h"
#include "support/tiny_model.h"

enum { N = 37 };

typedef struct rows {
    size_t d, v, seen;
    float *x, *logits, *lens; /* [N, d], [N, v], [N, v] */
} rows;

static lethe_status tap(void *user, const lethe_rows *r, lethe_err *err) {
    (void)err;
    rows *to = user;
    for (size_t i = 0; i < r->n; i++)
        memcpy(to->x + (size_t)r->pos[i] * r->d, r->x + i * r->d, r->d * sizeof *r->x);
    return LETHE_OK;
}

static lethe_status keep_logits(void *user, size_t seq, size_t pos, const float *logits,
                                lethe_err *err) {
    (void)seq;
    (void)err;
    rows *to = user;
    memcpy(to->logits + pos * to->v, logits, to->v * sizeof *logits);
    return LETHE_OK;
}

static lethe_status keep_lens(void *user, size_t i, const float *logits, lethe_err *err) {
    (void)err;
    rows *to = user;
    assert_int_equal(i, to->seen);
    to->seen++;
    memcpy(to->lens + i * to->v, logits, to->v * sizeof *logits);
    return LETHE_OK;
}

/* ctx: also one that makes the lens take several runs. */
static void compare(const char *path, size_t ctx, const char *what) {
    lethe_err err = {0};
    lethe_lm *lm;
    lethe_lm_opts o = lethe_lm_defaults();
    o.hash = false;
    o.exact = true;
    o.ctx_len = ctx;
    assert_ok(lethe_lm_open(&lm, path, &o, NULL, &err), &err);
    const lethe_lm_info *info = lethe_lm_get_info(lm);
    rows r = {.d = info->d_model, .v = info->n_vocab};
    assert_ok(lethe_alloc(&r.x, N, r.d * sizeof *r.x, "rows", &err), &err);
    assert_ok(lethe_alloc(&r.logits, N, r.v * sizeof *r.x, "logits", &err), &err);
    assert_ok(lethe_alloc(&r.lens, N, r.v * sizeof *r.x, "logits", &err), &err);
    int32_t token[N];
    for (int i = 0; i < N; i++) token[i] = 5 + (i * i * 7) % 200;
    assert_ok(lethe_lm_add_tap(lm, info->n_layer - 1, LETHE_HOOK_POST, tap, &r, &err), &err);
    lethe_seq seq = {token, N};
    assert_ok(lethe_lm_forward(lm, &seq, 1, NULL, keep_logits, &r, &err), &err);
    assert_ok(lethe_lm_lens(lm, r.x, N, keep_lens, &r, &err), &err);
    assert_int_equal(r.seen, N);
    assert_close(r.lens, r.logits, N * r.v, 2e-5, what);

    /* It leaves no hook behind: the model answers as before. */
    float *again = r.lens, *first = r.logits;
    r.logits = again;
    assert_ok(lethe_lm_forward(lm, &seq, 1, NULL, keep_logits, &r, &err), &err);
    assert_close(again, first, N * r.v, 1e-6, "logits after the lens");
    lethe_free(r.x);
    lethe_free(again);
    lethe_free(first);
    lethe_lm_close(&lm);
}

static void test_random_head(void **state) {
    (void)state;
    const char *path = test_tiny_model(test_temp_dir());
    compare(path, 0, "random model");
    compare(path, 40, "random model, a short context");
    test_temp_remove();
}

static void test_demonstration(void **state) {
    (void)state;
    compare(test_source("models/lethe-demo.gguf"), 0, "the demonstration model");
}

static void test_reference_heads(void **state) {
    (void)state;
    static const char *const models[] = {"golden/backbone/llama.gguf", "golden/backbone/gemma.gguf",
                                         "golden/backbone/gemma2.gguf"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (!test_shared(models[i])) skip();
        compare(test_shared(models[i]), 0, models[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_head),
                                       cmocka_unit_test(test_demonstration),
                                       cmocka_unit_test(test_reference_heads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
