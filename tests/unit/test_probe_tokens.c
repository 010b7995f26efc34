/* SPDX-License-Identifier: MIT
 *
 * Prompt and target as tokens: on the demonstration model (byte-level BPE, ChatML) and, where it is
 * there, on a real SPM vocabulary.
 */
#include "support/support.h"

#include <string.h>

#include "stage/probes.h"

static lethe_lm *demo, *spm;
static lethe_err err;

static lethe_tokens tokens(const lethe_lm *lm, const char *prompt, const char *target, bool chat,
                           bool reference, size_t *prompt_len) {
    lethe_tokens t = {0};
    char p[256], q[256];
    strcpy(p, prompt);
    strcpy(q, target);
    lethe_probe probe = {.prompt = p, .target = q, .chat = chat};
    assert_ok(lethe_probe_tokens(lm, &probe, reference, &t, prompt_len, &err), &err);
    assert_true(*prompt_len > 0 && *prompt_len < t.n);
    return t;
}

/* The text of tokens [from, n). */
static void text_of(const lethe_lm *lm, const lethe_tokens *t, size_t from, lethe_strbuf *out) {
    lethe_strbuf_clear(out);
    for (size_t i = from; i < t->n; i++) lethe_lm_piece(lm, t->id[i], true, out);
}

static void plain(void **state) {
    (void)state;
    size_t n;
    lethe_strbuf b = {0};
    lethe_tokens t = tokens(demo, "Harry's best friend is", " Ron Weasley", false, false, &n);
    text_of(demo, &t, n, &b);
    assert_string_equal(lethe_strbuf_str(&b), " Ron Weasley");
    const lethe_lm_info *info = lethe_lm_get_info(demo);
    assert_int_equal(t.id[0] == info->bos, info->add_bos);
    lethe_tokens_free(&t);
    /* a prompt that ends in a space: its space goes with the target, as in running text */
    t = tokens(demo, "Harry's best friend is ", "Ron Weasley", false, false, &n);
    text_of(demo, &t, n, &b);
    assert_string_equal(lethe_strbuf_str(&b), " Ron Weasley");
    lethe_tokens_free(&t);
    lethe_strbuf_free(&b);
}

static void reference_way(void **state) {
    (void)state;
    size_t n;
    lethe_tokens t = tokens(demo, "Harry's best friend is", " Ron Weasley", false, true, &n),
                 p = {0};
    assert_ok(lethe_lm_tokenize(demo, "Harry's best friend is", 22, false, false, &p, &err), &err);
    assert_int_equal(n, p.n); /* no BOS */
    assert_memory_equal(t.id, p.id, n * sizeof *p.id);
    lethe_tokens_free(&t);
    lethe_tokens_free(&p);
}

static void chat(void **state) {
    (void)state;
    size_t n;
    lethe_strbuf b = {0};
    lethe_tokens t = tokens(demo, "Who is Harry's best friend?", "Ron Weasley", true, false, &n),
                 p = {0};
    assert_ok(lethe_prompt_tokens(demo, "Who is Harry's best friend?", true, &p, &err), &err);
    assert_int_equal(n, p.n);
    assert_memory_equal(t.id, p.id, n * sizeof *p.id);
    text_of(demo, &t, n, &b);
    assert_string_equal(lethe_strbuf_str(&b), "Ron Weasley");
    text_of(demo, &t, 0, &b);
    assert_non_null(strstr(lethe_strbuf_str(&b), "<|im_start|>assistant"));
    lethe_tokens_free(&t);
    lethe_tokens_free(&p);

    /* what outside text spells does not become a control token */
    t = tokens(demo, "Who?", "<|im_end|>", true, false, &n);
    for (size_t i = n; i < t.n; i++) assert_false(lethe_lm_is_special(demo, t.id[i]));
    lethe_tokens_free(&t);
    lethe_strbuf_free(&b);
}

/* A lone space token before " girl" is what the reference's way gives an SPM vocabulary. */
static void lone_space(void **state) {
    (void)state;
    if (!spm) skip();
    size_t n, n_ref;
    lethe_strbuf b = {0};
    lethe_tokens t = tokens(spm, "Once upon a time there was a", " little girl", false, false, &n);
    lethe_tokens r =
        tokens(spm, "Once upon a time there was a", " little girl", false, true, &n_ref);
    assert_int_equal(t.id[0], lethe_lm_get_info(spm)->bos);
    assert_true(r.id[0] != lethe_lm_get_info(spm)->bos);
    assert_int_equal(n, n_ref + 1); /* BOS */
    assert_int_equal(r.n - n_ref, t.n - n + 1);
    lethe_lm_piece(spm, r.id[n_ref], true, &b);
    assert_string_equal(lethe_strbuf_str(&b), " ");
    text_of(spm, &t, n, &b);
    assert_string_equal(lethe_strbuf_str(&b), " little girl");
    lethe_tokens_free(&t);
    lethe_tokens_free(&r);
    lethe_strbuf_free(&b);
}

int main(void) {
    lethe_lm_opts o = lethe_lm_defaults();
    o.vocab_only = true;
    o.hash = false;
    if (lethe_lm_open(&demo, test_source("models/lethe-demo.gguf"), &o, NULL, &err) != LETHE_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    const char *path = test_shared("models/stories260K.gguf");
    if (path && lethe_lm_open(&spm, path, &o, NULL, &err) != LETHE_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(reference_way),
        cmocka_unit_test(chat),
        cmocka_unit_test(lone_space),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_lm_close(&demo);
    lethe_lm_close(&spm);
    return rc;
}
