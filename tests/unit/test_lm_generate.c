/* SPDX-License-Identifier: MIT
 *
 * Generation on a real small model: greedy text, seeds, penalties, n-grams, sharing a batch, edits
 * in prefill and decode alike.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "lm/lm.h"

static const char *const prompts[] = {
    "Once upon a time, there was a",
    "The dog",
    "Lily and Tom went to the big",
    "One day",
    "She was very sad because her",
    "There was a little boy who",
    "Mom said",
};
#define N_PROMPTS (sizeof prompts / sizeof *prompts)

static lethe_lm *lm; /* four sequences at once */
static lethe_tokens tokens[N_PROMPTS];
static lethe_seq seqs[N_PROMPTS];

static int setup(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_lm_opts o = lethe_lm_defaults();
    o.n_seq = 4;
    o.exact = true;
    assert_ok(lethe_lm_open(&lm, test_shared("models/stories260K.gguf"), &o, NULL, &err), &err);
    for (size_t i = 0; i < N_PROMPTS; i++) {
        assert_ok(
            lethe_lm_tokenize(lm, prompts[i], strlen(prompts[i]), true, false, &tokens[i], &err),
            &err);
        seqs[i] = (lethe_seq){tokens[i].id, tokens[i].n};
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < N_PROMPTS; i++) lethe_tokens_free(&tokens[i]);
    lethe_lm_close(&lm);
    return 0;
}

static int no_hooks(void **state) {
    (void)state;
    lethe_lm_clear_hooks(lm);
    return 0;
}

static void generate(const lethe_seq *s, size_t n, const lethe_sampling *sampling,
                     lethe_strbuf *out) {
    lethe_err err = {0};
    for (size_t i = 0; i < n; i++) lethe_strbuf_clear(&out[i]);
    assert_ok(lethe_lm_generate(lm, s, n, sampling, out, NULL, NULL, &err), &err);
}

static void drop(lethe_strbuf *b, size_t n) {
    for (size_t i = 0; i < n; i++) lethe_strbuf_free(&b[i]);
}

static void greedy_text(void **state) {
    (void)state;
    const char *want = " little girl named Lily. She loved to play outside in the park. One day, "
                       "she saw a big, red ball.";
    lethe_strbuf out = {0};
    lethe_sampling s = lethe_sampling_defaults();
    generate(seqs, 1, &s, &out);
    assert_memory_equal(lethe_strbuf_str(&out), want, strlen(want));
    lethe_strbuf_free(&out);
}

static void sharing_a_batch_changes_nothing(void **state) {
    (void)state;
    lethe_strbuf together[N_PROMPTS] = {0}, alone = {0};
    for (int sampled = 0; sampled < 2; sampled++) {
        lethe_sampling s = lethe_sampling_defaults();
        s.max_tokens = 40;
        s.temperature = sampled ? 0.8 : 0;
        generate(seqs, N_PROMPTS, &s, together);
        /* A sequence's random stream goes by its index, so only the first can be repeated alone
         * when tokens are drawn. */
        for (size_t i = 0; i < (sampled ? 1 : N_PROMPTS); i++) {
            generate(&seqs[i], 1, &s, &alone);
            assert_string_equal(lethe_strbuf_str(&alone), lethe_strbuf_str(&together[i]));
        }
    }
    drop(together, N_PROMPTS);
    drop(&alone, 1);
}

static void seeds(void **state) {
    (void)state;
    lethe_strbuf a[N_PROMPTS] = {0}, b[N_PROMPTS] = {0};
    lethe_sampling s = lethe_sampling_defaults();
    s.temperature = 1;
    s.top_p = 0.95;
    s.top_k = 50;
    s.seed = 7;
    generate(seqs, N_PROMPTS, &s, a);
    generate(seqs, N_PROMPTS, &s, b);
    for (size_t i = 0; i < N_PROMPTS; i++)
        assert_string_equal(lethe_strbuf_str(&a[i]), lethe_strbuf_str(&b[i]));
    s.seed = 8;
    generate(seqs, N_PROMPTS, &s, b);
    for (size_t i = 0; i < N_PROMPTS; i++)
        assert_string_not_equal(lethe_strbuf_str(&a[i]), lethe_strbuf_str(&b[i]));
    /* The same prompt twice in one call draws from two streams. */
    lethe_seq same[] = {seqs[0], seqs[0]};
    generate(same, 2, &s, a);
    assert_string_not_equal(lethe_strbuf_str(&a[0]), lethe_strbuf_str(&a[1]));
    /* The smallest nucleus and the best one candidate are greedy. */
    lethe_sampling greedy = lethe_sampling_defaults();
    generate(seqs, 1, &greedy, a);
    s.top_k = 1;
    generate(seqs, 1, &s, b);
    assert_string_equal(lethe_strbuf_str(&a[0]), lethe_strbuf_str(&b[0]));
    s.top_k = 0;
    s.top_p = 1e-6;
    generate(seqs, 1, &s, b);
    assert_string_equal(lethe_strbuf_str(&a[0]), lethe_strbuf_str(&b[0]));
    drop(a, N_PROMPTS);
    drop(b, N_PROMPTS);
}

/* Collects the tokens of sequence 0, prompt included. */
static bool collect(void *user, size_t seq, int32_t token, const char *piece) {
    (void)piece;
    lethe_err err = {0};
    if (seq == 0) assert_ok(lethe_tokens_push(user, token, &err), &err);
    return true;
}

static void run_collect(const lethe_sampling *s, lethe_tokens *out) {
    lethe_err err = {0};
    out->n = 0;
    for (size_t i = 0; i < seqs[0].n; i++)
        assert_ok(lethe_tokens_push(out, seqs[0].token[i], &err), &err);
    assert_ok(lethe_lm_generate(lm, seqs, 1, s, NULL, collect, out, &err), &err);
}

/* n-grams that end in the answer and were there before. */
static size_t repeated_ngrams(const lethe_tokens *t, size_t n) {
    size_t repeated = 0, prompt = seqs[0].n;
    for (size_t j = prompt < n ? 0 : prompt - n + 1; j + n <= t->n; j++)
        for (size_t i = 0; i < j; i++) repeated += !memcmp(t->id + i, t->id + j, n * sizeof *t->id);
    return repeated;
}

static void no_repeated_ngram(void **state) {
    (void)state;
    lethe_tokens t = {0};
    lethe_sampling s = lethe_sampling_defaults();
    s.max_tokens = 120;
    run_collect(&s, &t);
    assert_true(repeated_ngrams(&t, 2) > 0); /* else the test says nothing */
    for (int n = 1; n <= 3; n++) {
        s.no_repeat_ngram = n;
        run_collect(&s, &t);
        assert_true(t.n > seqs[0].n + 20);
        assert_int_equal(repeated_ngrams(&t, (size_t)n), 0);
    }
    lethe_tokens_free(&t);
}

static size_t distinct(const lethe_tokens *t) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool fresh = true;
        for (size_t j = 0; j < i; j++) fresh = fresh && t->id[j] != t->id[i];
        n += fresh;
    }
    return n;
}

static void penalties_spread_the_words(void **state) {
    (void)state;
    lethe_tokens plain = {0}, t = {0};
    lethe_sampling s = lethe_sampling_defaults();
    s.max_tokens = 60;
    run_collect(&s, &plain);
    s.repeat_penalty = 1.5;
    run_collect(&s, &t);
    assert_true(distinct(&t) > distinct(&plain));
    s.repeat_penalty = 1;
    s.frequency_penalty = 1;
    run_collect(&s, &t);
    assert_true(distinct(&t) > distinct(&plain));
    lethe_tokens_free(&plain);
    lethe_tokens_free(&t);
}

static void ends_where_told(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_tokens t = {0};
    lethe_sampling s = lethe_sampling_defaults();
    s.max_tokens = 5;
    run_collect(&s, &t);
    assert_int_equal(t.n, seqs[0].n + 5);
    s.max_tokens = 0;
    run_collect(&s, &t);
    assert_int_equal(t.n, seqs[0].n);
    /* The context's end: 512 tokens, none of them beyond. */
    s.max_tokens = 100000;
    s.no_repeat_ngram = 2; /* so that no end of text comes before */
    run_collect(&s, &t);
    assert_true(t.n <= lethe_lm_ctx_len(lm));
    lethe_tokens_free(&t);

    lethe_seq empty = {tokens[0].id, 0};
    assert_int_equal(lethe_lm_generate(lm, &empty, 1, &s, NULL, NULL, NULL, &err), LETHE_USAGE);
    s.temperature = -1;
    assert_int_equal(lethe_lm_generate(lm, seqs, 1, &s, NULL, NULL, NULL, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "temperature"));
    lethe_stop_request();
    s = lethe_sampling_defaults();
    assert_int_equal(lethe_lm_generate(lm, seqs, 1, &s, NULL, NULL, NULL, &err), LETHE_STOPPED);
    lethe_stop_clear();
}

/* ---- edits ---------------------------------------------------------------------------------- */

typedef struct shift {
    size_t rows, decode_rows; /* all of them; those at or behind the prompt's end */
    size_t prompt;
} shift;

/* A fixed vector on every row, prompt and answer. */
static lethe_status add_vector(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    shift *s = user;
    for (size_t r = 0; r < rows->n; r++) {
        for (size_t j = 0; j < rows->d; j++)
            rows->x[r * rows->d + j] += 2.0f * sinf((float)(j * 7 + 1));
        s->decode_rows += (size_t)rows->pos[r] >= s->prompt;
    }
    s->rows += rows->n;
    return LETHE_OK;
}

typedef struct argmax {
    int32_t token;
} argmax;

static lethe_status take_argmax(void *user, size_t seq, size_t pos, const float *logits,
                                lethe_err *err) {
    (void)seq;
    (void)pos;
    (void)err;
    argmax *a = user;
    a->token = 0;
    for (int32_t i = 1; i < (int32_t)lethe_lm_get_info(lm)->n_vocab; i++)
        if (logits[i] > logits[a->token]) a->token = i;
    return LETHE_OK;
}

/* Generating with an edit, where every step sees one row, gives what prefilling the whole text
 * again for every token gives. */
static void an_edit_acts_in_prefill_and_decode_alike(void **state) {
    (void)state;
    lethe_err err = {0};
    const int n_layer = lethe_lm_get_info(lm)->n_layer;
    lethe_tokens plain = {0}, got = {0}, slow = {0};
    lethe_sampling s = lethe_sampling_defaults();
    s.max_tokens = 16;
    run_collect(&s, &plain);
    for (int layer = 0; layer < n_layer; layer++) {
        shift sh = {.prompt = seqs[0].n};
        lethe_lm_clear_hooks(lm);
        assert_ok(lethe_lm_add_edit(lm, layer, layer ? LETHE_HOOK_POST : LETHE_HOOK_PRE, add_vector,
                                    &sh, &err),
                  &err);
        run_collect(&s, &got);
        assert_true(got.n != plain.n || memcmp(got.id, plain.id, got.n * sizeof *got.id));
        assert_int_equal(sh.decode_rows, got.n - seqs[0].n - 1);
        slow.n = 0;
        for (size_t i = 0; i < got.n; i++) {
            if (i >= seqs[0].n) {
                argmax a = {-1};
                lethe_seq seq = {slow.id, slow.n};
                size_t first = slow.n - 1;
                assert_ok(lethe_lm_forward(lm, &seq, 1, &first, take_argmax, &a, &err), &err);
                assert_int_equal(a.token, got.id[i]);
            }
            assert_ok(lethe_tokens_push(&slow, got.id[i], &err), &err);
        }
    }
    lethe_tokens_free(&plain);
    lethe_tokens_free(&got);
    lethe_tokens_free(&slow);
}

int main(void) {
    if (!test_shared("models/stories260K.gguf")) return LETHE_TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_text),
        cmocka_unit_test(sharing_a_batch_changes_nothing),
        cmocka_unit_test(seeds),
        cmocka_unit_test(no_repeated_ngram),
        cmocka_unit_test(penalties_spread_the_words),
        cmocka_unit_test(ends_where_told),
        cmocka_unit_test_teardown(an_edit_acts_in_prefill_and_decode_alike, no_hooks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
