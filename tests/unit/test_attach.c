/* SPDX-License-Identifier: MIT
 *
 * The library's attachment on contexts made with libllama alone: the logits and firings of lethe's
 * own way of running the model; off, the very bytes of the plain model; sequences with settings of
 * their own; batches cut into several graphs; what it cannot know is a failure, not a guess;
 * several contexts in threads.
 */
#include "support/support.h"

#include <llama.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lethe/lethe.h"
#include "lm/lm.h"
#include "stage/ablate.h"

#define MOST 128
/* Batches of other sizes round otherwise; what is removed moves logits by 5 and more. */
#define ROUNDING 0.05f

static struct llama_model *model;
static lethe_patch *patch;
static lethe_err err;
static llama_token text[MOST], other[MOST];
static int n_text, n_other, n_vocab;

static const char harry[] = "Harry Potter went to Hogwarts with Ron Weasley and Hermione Granger. "
                            "Professor Dumbledore gave Harry the cloak. Who is Harry Potter's best "
                            "friend?";
static const char plain[] = "The capital of France is Paris. The river runs to the sea.";

typedef struct place { /* where a feature fired */
    int32_t pos, feature;
    float value;
} place;

static struct llama_context *context(lethe_attachment *a, uint32_t seqs, uint32_t ubatch) {
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = 256;
    p.n_seq_max = seqs;
    p.kv_unified = true;
    p.n_ubatch = ubatch;
    p.type_k = p.type_v = GGML_TYPE_F32;
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    p.n_threads = p.n_threads_batch = 1;
    if (a) {
        p.cb_eval = lethe_eval_callback;
        p.cb_eval_user_data = a;
    }
    struct llama_context *ctx = llama_init_from_model(model, p);
    assert_non_null(ctx);
    return ctx;
}

static lethe_attachment *attachment(void) {
    lethe_attachment *a = NULL;
    assert_ok(lethe_attachment_open(&a, model, (const lethe_patch *const[]){patch}, 1, &err), &err);
    return a;
}

/* Logits [n_vocab] of the last token of a text in a fresh cache. Owned by the context. */
static const float *last_logits(struct llama_context *ctx, llama_token *token, int n) {
    llama_memory_clear(llama_get_memory(ctx), true);
    assert_int_equal(llama_decode(ctx, llama_batch_get_one(token, n)), 0);
    return llama_get_logits_ith(ctx, -1);
}

static float *copy_logits(const float *x) {
    float *y = malloc((size_t)n_vocab * sizeof *y);
    assert_non_null(y);
    memcpy(y, x, (size_t)n_vocab * sizeof *y);
    return y;
}

static float distance(const float *a, const float *b) {
    float most = 0;
    for (int i = 0; i < n_vocab; i++) most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

/* ---- as lethe itself runs it ----------------------------------------------------------------- */

typedef struct own_run {
    float *logits;
    place at[4096];
    size_t n;
    const lethe_ablation *ablation;
} own_run;

static void note(void *user, const lethe_firing *f) {
    own_run *o = user;
    for (size_t i = 0; i < f->n; i++)
        o->at[o->n++] =
            (place){f->pos, lethe_ablation_latent(o->ablation, 0, f->feature[i]), f->value[i]};
}

static lethe_status keep(void *user, size_t seq, size_t pos, const float *logits, lethe_err *e) {
    (void)seq, (void)pos, (void)e;
    ((own_run *)user)->logits = copy_logits(logits);
    return LETHE_OK;
}

static void own_way(own_run *o) {
    lethe_lm *lm = NULL;
    lethe_patch *p = NULL;
    lethe_ablation *a = NULL;
    lethe_lm_opts opts = lethe_lm_defaults();
    opts.ctx_len = 256;
    opts.exact = true;
    assert_ok(lethe_lm_open(&lm, test_source("models/lethe-demo.gguf"), &opts, NULL, &err), &err);
    assert_ok(lethe_patch_open(&p, test_source("data/demo/patch.safetensors"), &err), &err);
    assert_ok(lethe_ablation_open_patch(&a, p, &err), &err);
    assert_ok(lethe_ablation_attach(a, lm, p->layer, p->hook, p->special, &err), &err);
    o->ablation = a;
    lethe_ablation_watch(a, note, o);
    const lethe_seq seq = {text, (size_t)n_text};
    const size_t first = (size_t)n_text - 1;
    assert_ok(lethe_lm_forward(lm, &seq, 1, &first, keep, o, &err), &err);
    lethe_lm_clear_hooks(lm);
    lethe_ablation_close(&a);
    lethe_patch_close(&p);
    lethe_lm_close(&lm);
}

static void same_firings(lethe_attachment *a, const own_run *o) {
    size_t n;
    const lethe_fired *f = lethe_attachment_fired(a, &n);
    assert_int_equal(n, o->n);
    assert_true(n > 20);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(f[i].pos, o->at[i].pos);
        assert_int_equal(f[i].feature, o->at[i].feature);
        assert_int_equal(f[i].token, text[f[i].pos]);
        assert_int_equal(f[i].seq, 0);
        assert_int_equal(f[i].which, 0);
        assert_true(fabsf(f[i].value - o->at[i].value) <= 1e-3f * (1 + o->at[i].value));
    }
}

static void test_as_own(void **state) {
    (void)state;
    static own_run o;
    own_way(&o);
    struct llama_context *bare = context(NULL, 1, 512);
    float *whole = copy_logits(last_logits(bare, text, n_text));
    assert_true(distance(whole, o.logits) > 0.5f); /* the removal does something */
    llama_free(bare);
    const uint32_t cuts[] = {512, 16};
    for (size_t c = 0; c < 2; c++) { /* in one graph, and in several */
        lethe_attachment *a = attachment();
        struct llama_context *ctx = context(a, 1, cuts[c]);
        const float *got = last_logits(ctx, text, n_text);
        assert_ok(lethe_attachment_status(a, &err), &err);
        assert_true(distance(got, o.logits) < ROUNDING);
        same_firings(a, &o);

        /* Off: the plain model's bytes, and what fires is told all the same. */
        assert_ok(lethe_attachment_switch(a, LETHE_EVERY, LETHE_EVERY, false, &err), &err);
        got = last_logits(ctx, text, n_text);
        assert_ok(lethe_attachment_status(a, &err), &err);
        if (c == 0) assert_memory_equal(got, whole, (size_t)n_vocab * sizeof *got);
        assert_true(distance(got, whole) < ROUNDING);
        size_t n;
        const lethe_fired *f = lethe_attachment_fired(a, &n);
        assert_true(n > 20);
        for (size_t i = 0; i < n; i++) assert_false(f[i].acted);

        /* On again, at a strength of its own, and at the patch's. */
        assert_ok(lethe_attachment_switch(a, 0, LETHE_EVERY, true, &err), &err);
        assert_ok(
            lethe_attachment_strength(a, 0, LETHE_EVERY, 2 * lethe_patch_strength(patch), &err),
            &err);
        assert_true(distance(last_logits(ctx, text, n_text), o.logits) > 1e-2f);
        assert_ok(lethe_attachment_strength(a, 0, LETHE_EVERY, (double)NAN, &err), &err);
        assert_true(distance(last_logits(ctx, text, n_text), o.logits) < ROUNDING);

        /* Token by token it is the same. */
        llama_memory_clear(llama_get_memory(ctx), true);
        lethe_attachment_fired(a, &n);
        size_t fired = 0;
        for (int i = 0; i < n_text; i++) {
            assert_int_equal(llama_decode(ctx, llama_batch_get_one(text + i, 1)), 0);
            assert_ok(lethe_attachment_status(a, &err), &err);
            lethe_attachment_fired(a, &n);
            fired += n;
        }
        assert_true(distance(llama_get_logits_ith(ctx, -1), o.logits) < ROUNDING);
        assert_in_range(fired, o.n - 2, o.n + 2); /* at a threshold rounding may decide */
        llama_free(ctx);
        lethe_attachment_close(&a);
    }
    free(whole);
    free(o.logits);
}

/* ---- sequences ------------------------------------------------------------------------------- */

static void put(struct llama_batch *b, llama_token token, int pos, int seq, bool logits) {
    b->token[b->n_tokens] = token;
    b->pos[b->n_tokens] = pos;
    b->n_seq_id[b->n_tokens] = 1;
    b->seq_id[b->n_tokens][0] = seq;
    b->logits[b->n_tokens++] = logits;
}

static void test_sequences(void **state) {
    (void)state;
    lethe_attachment *a = attachment();
    struct llama_context *ctx = context(a, 3, 32);
    float *on = copy_logits(last_logits(ctx, text, n_text));
    assert_ok(lethe_attachment_switch(a, 0, LETHE_EVERY, false, &err), &err);
    float *off = copy_logits(last_logits(ctx, text, n_text));
    float *calm = copy_logits(last_logits(ctx, other, n_other));
    assert_ok(lethe_attachment_switch(a, 0, LETHE_EVERY, true, &err), &err);
    assert_ok(lethe_attachment_switch(a, 0, 1, false, &err), &err);
    llama_memory_clear(llama_get_memory(ctx), true);

    struct llama_batch b = llama_batch_init(3 * MOST, 0, 1);
    int at[3] = {0};
    for (int i = 0; i < n_text; i++) /* side by side, token by token */
        for (int s = 0; s < 3; s++) {
            int n = s == 2 ? n_other : n_text;
            if (i >= n) continue;
            at[s] = b.n_tokens;
            put(&b, s == 2 ? other[i] : text[i], i, s, i == n - 1);
        }
    size_t n, of[3] = {0};
    assert_non_null(lethe_attachment_fired(a, &n)); /* what comes begins a list */
    assert_ok(lethe_attachment_next_batch(a, &b, &err), &err);
    assert_int_equal(llama_decode(ctx, b), 0);
    assert_ok(lethe_attachment_status(a, &err), &err);
    assert_true(distance(on, off) > 0.5f);
    assert_true(distance(llama_get_logits_ith(ctx, at[0]), on) < ROUNDING);
    assert_true(distance(llama_get_logits_ith(ctx, at[1]), off) < ROUNDING);
    assert_true(distance(llama_get_logits_ith(ctx, at[2]), calm) < ROUNDING);
    const lethe_fired *f = lethe_attachment_fired(a, &n);
    for (size_t i = 0; i < n; i++) {
        of[f[i].seq]++;
        assert_true(f[i].seq != 1 || !f[i].acted);
    }
    assert_int_equal(of[0], of[1]);
    assert_true(of[0] > 20 && of[2] < of[0] / 4);

    /* A batch that was not told, after one was: a failure that stays until it is asked for. */
    llama_memory_clear(llama_get_memory(ctx), true);
    llama_decode(ctx, b);
    llama_decode(ctx, b);
    assert_int_equal(lethe_attachment_status(a, &err), LETHE_FAIL);
    assert_non_null(strstr(err.text, "told"));
    llama_memory_clear(llama_get_memory(ctx), true);
    assert_ok(lethe_attachment_next_batch(a, &b, &err), &err);
    assert_int_equal(llama_decode(ctx, b), 0);
    assert_ok(lethe_attachment_status(a, &err), &err);
    assert_true(distance(llama_get_logits_ith(ctx, at[0]), on) < ROUNDING);

    /* Told of another batch than runs. */
    llama_memory_clear(llama_get_memory(ctx), true);
    struct llama_batch wrong = b;
    wrong.token = text;
    wrong.n_tokens = n_text;
    assert_ok(lethe_attachment_next_batch(a, &wrong, &err), &err);
    llama_decode(ctx, b);
    assert_int_equal(lethe_attachment_status(a, &err), LETHE_FAIL);
    llama_free(ctx);
    lethe_attachment_close(&a);

    /* Several sequences of which nothing was told. */
    a = attachment();
    ctx = context(a, 3, 512);
    llama_decode(ctx, b);
    assert_int_equal(lethe_attachment_status(a, &err), LETHE_FAIL);
    assert_non_null(strstr(err.text, "lethe_attachment_next_batch"));
    llama_batch_free(b);
    free(on);
    free(off);
    free(calm);
    llama_free(ctx);
    lethe_attachment_close(&a);
}

/* ---- wrong use ------------------------------------------------------------------------------- */

static void test_wrong(void **state) {
    (void)state;
    lethe_attachment *a = NULL;
    lethe_patch *none = NULL;
    assert_int_equal(lethe_patch_open(&none, test_source("data/demo/none"), &err), LETHE_NOTFOUND);
    assert_int_equal(lethe_patch_open(&none, test_source("models/lethe-demo.gguf"), &err),
                     LETHE_FORMAT);
    assert_null(none);
    assert_int_equal(lethe_attachment_open(&a, model, NULL, 0, &err), LETHE_USAGE);
    lethe_patch p = *patch;
    p.layer = llama_model_n_layer(model);
    assert_int_equal(lethe_attachment_open(&a, model, (const lethe_patch *const[]){&p}, 1, &err),
                     LETHE_USAGE);
    p.layer = 0;
    p.hook = LETHE_HOOK_PRE;
    assert_int_equal(lethe_attachment_open(&a, model, (const lethe_patch *const[]){&p}, 1, &err),
                     LETHE_USAGE);
    p = *patch;
    p.d++;
    assert_int_equal(lethe_attachment_open(&a, model, (const lethe_patch *const[]){&p}, 1, &err),
                     LETHE_MISMATCH);
    assert_null(a);
    a = attachment();
    assert_int_equal(lethe_attachment_switch(a, 1, 0, true, &err), LETHE_USAGE);
    assert_int_equal(lethe_attachment_switch(a, 0, -2, true, &err), LETHE_USAGE);
    assert_int_equal(lethe_attachment_strength(a, 0, 0, INFINITY, &err), LETHE_USAGE);
    float row[1] = {0};
    struct llama_batch embeddings = {.n_tokens = 1, .embd = row};
    assert_int_equal(lethe_attachment_next_batch(a, &embeddings, &err), LETHE_USAGE);
    assert_ok(lethe_attachment_status(a, &err), &err);
    lethe_attachment_close(&a);
    lethe_attachment_close(&a);
    lethe_patch_close(&none);
    assert_int_equal(lethe_patch_features(patch), patch->n);
    assert_int_equal(lethe_patch_feature(patch, patch->n), -1);
}

/* Two patches, one of them in the last layer, where only the rows of wanted logits are left. */
static void test_two(void **state) {
    (void)state;
    lethe_patch last = *patch;
    last.layer = llama_model_n_layer(model) - 1;
    last.how.guard = false;
    lethe_attachment *a = NULL;
    assert_ok(lethe_attachment_open(&a, model, (const lethe_patch *const[]){patch, &last}, 2, &err),
              &err);
    struct llama_context *ctx = context(a, 1, 512);
    last_logits(ctx, text, n_text);
    assert_ok(lethe_attachment_status(a, &err), &err);
    size_t n, of[2] = {0};
    const lethe_fired *f = lethe_attachment_fired(a, &n);
    for (size_t i = 0; i < n; i++) {
        of[f[i].which]++;
        if (f[i].which == 1) {
            assert_int_equal(f[i].pos, n_text - 1);
            assert_int_equal(f[i].token, text[n_text - 1]);
        }
    }
    assert_true(of[0] > 20);
    llama_free(ctx);
    lethe_attachment_close(&a);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *run_alone(void *out) {
    lethe_attachment *a = NULL;
    if (lethe_attachment_open(&a, model, (const lethe_patch *const[]){patch}, 1, NULL)) return NULL;
    struct llama_context *ctx = context(a, 1, 64);
    for (int i = 0; i < 3; i++)
        *(float **)out = (free(*(float **)out), copy_logits(last_logits(ctx, text, n_text)));
    llama_free(ctx);
    lethe_attachment_close(&a);
    return out;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t thread[4];
    float *logits[4] = {0};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_alone, &logits[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(thread[i], &result);
        assert_non_null(result);
        assert_memory_equal(logits[i], logits[0], (size_t)n_vocab * sizeof **logits);
    }
    for (int i = 0; i < 4; i++) free(logits[i]);
}

static void quiet(enum ggml_log_level level, const char *line, void *user) {
    (void)level, (void)line, (void)user;
}

int main(void) {
    llama_log_set(quiet, NULL);
    model = llama_model_load_from_file(test_source("models/lethe-demo.gguf"),
                                       llama_model_default_params());
    if (!model || lethe_patch_open(&patch, test_source("data/demo/patch.safetensors"), &err))
        return 1;
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    n_vocab = llama_vocab_n_tokens(vocab);
    n_text = llama_tokenize(vocab, harry, (int)strlen(harry), text, MOST, true, false);
    n_other = llama_tokenize(vocab, plain, (int)strlen(plain), other, MOST, true, false);
    if (n_text <= 0 || n_other <= 0 || n_other > n_text) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_own), cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_wrong), cmocka_unit_test(test_two), cmocka_unit_test(test_threads)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_patch_close(&patch);
    llama_model_free(model);
    return failed;
}
