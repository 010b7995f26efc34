/* SPDX-License-Identifier: MIT
 *
 * Corpora and windows: what is read is what is there, in pieces; windows hold every token once; a
 * mix keeps its shares and its order.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/windows.h"

static const char *dir;
static lethe_lm *lm;

static char *at(const char *name) {
    return lethe_path_join(dir, name);
}

static char *write_text(const char *name, const char *text, size_t n) {
    char *path = at(name);
    lethe_err err = {0};
    assert_ok(lethe_write_file(path, text, n, &err), &err);
    return path;
}

/* A text of several chunks, with code points of every length, comes back byte for byte. */
static void long_text_in_pieces(void **state) {
    (void)state;
    size_t n = 0, cap = 400000;
    char *text = malloc(cap);
    for (int i = 0; n + 64 < cap; i++)
        n += (size_t)sprintf(text + n, "%d é € 😀 word%s", i, i % 37 ? " " : i < 20000 ? "\n" : " ");
    char *path = write_text("long.txt", text, n);
    lethe_corpus *c;
    lethe_err err = {0};
    const char *paths[] = {path};
    assert_ok(lethe_corpus_open(&c, paths, 1, &err), &err);
    for (int round = 0; round < 2; round++) {
        size_t seen = 0, pieces = 0;
        lethe_piece p;
        bool got;
        for (;;) {
            assert_ok(lethe_corpus_next(c, &p, &got, &err), &err);
            if (!got) break;
            assert_int_equal(p.starts_document, pieces == 0);
            assert_true(p.len <= 65536);
            assert_memory_equal(p.text, text + seen, p.len);
            seen += p.len;
            pieces++;
        }
        assert_int_equal(seen, n);
        assert_true(pieces > 4);
        lethe_corpus_rewind(c);
    }
    lethe_corpus_close(&c);
    free(text);
    lethe_free(path);
}

/* Without a single line end, pieces are cut between code points. */
static void one_endless_line(void **state) {
    (void)state;
    for (int shift = 0; shift < 4; shift++) {
        size_t n = 200003;
        char *text = malloc(n + 4);
        memset(text, 'x', (size_t)shift);
        size_t len = (size_t)shift;
        while (len + 4 <= n) {
            memcpy(text + len, "\xf0\x9f\x98\x80", 4);
            len += 4;
        }
        char *path = write_text("line.txt", text, len);
        const char *paths[] = {path};
        lethe_corpus *c;
        lethe_err err = {0};
        assert_ok(lethe_corpus_open(&c, paths, 1, &err), &err);
        size_t seen = 0;
        lethe_piece p;
        for (bool got = true; got; seen += got ? p.len : 0)
            assert_ok(lethe_corpus_next(c, &p, &got, &err), &err);
        assert_int_equal(seen, len);
        lethe_corpus_close(&c);
        free(text);
        lethe_free(path);
    }
}

static void folders_and_lines(void **state) {
    (void)state;
    char *folder = at("folder"), *sub = at("folder/sub");
    mkdir(folder, 0755);
    mkdir(sub, 0755);
    lethe_free(write_text("folder/b.txt", "second", 6));
    static const char lines[] =
        "{\"text\": \"first\"}\n\n{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}\n";
    lethe_free(write_text("folder/a.jsonl", lines, sizeof lines - 1));
    lethe_free(write_text("folder/.hidden", "no", 2));
    lethe_free(write_text("folder/sub/c.txt", "third", 5));
    const char *paths[] = {folder};
    lethe_corpus *c;
    lethe_err err = {0};
    assert_ok(lethe_corpus_open(&c, paths, 1, &err), &err);
    const char *want[] = {"first", NULL, "second", "third"};
    lethe_piece p;
    bool got;
    for (size_t i = 0; i < 4; i++) {
        assert_ok(lethe_corpus_next(c, &p, &got, &err), &err);
        assert_true(got && p.starts_document);
        if (want[i]) {
            assert_int_equal(p.len, strlen(want[i]));
            assert_memory_equal(p.text, want[i], p.len);
        } else {
            assert_int_equal(p.n_messages, 1);
            assert_string_equal(p.message[0].content, "hello");
        }
    }
    assert_ok(lethe_corpus_next(c, &p, &got, &err), &err);
    assert_false(got);
    char one[33], two[33];
    assert_ok(lethe_corpus_hash(c, one, &err), &err);
    lethe_free(write_text("folder/b.txt", "seconD", 6));
    assert_ok(lethe_corpus_hash(c, two, &err), &err);
    assert_string_not_equal(one, two);
    lethe_corpus_close(&c);
    lethe_free(folder);
    lethe_free(sub);
}

static lethe_corpus *corpus_of(const char *name, const char *word, int times) {
    lethe_err err = {0};
    char *path = at(name);
    lethe_writer *w;
    assert_ok(lethe_writer_open(&w, path, &err), &err);
    for (int i = 0; i < times; i++) {
        char line[128];
        int n =
            snprintf(line, sizeof line, "{\"text\": \"The %s number %d went home.\"}\n", word, i);
        lethe_writer_put(w, line, (size_t)n);
    }
    assert_ok(lethe_writer_commit(&w, &err), &err);
    const char *paths[] = {path};
    lethe_corpus *c;
    assert_ok(lethe_corpus_open(&c, paths, 1, &err), &err);
    lethe_free(path);
    return c;
}

/* All windows of one corpus, one after the other, are its documents' tokens with BOS before each; a
 * window that begins inside a document has one more BOS. */
static void windows_hold_every_token_once(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_corpus *c = corpus_of("w.jsonl", "fox", 60), *corpora[LETHE_ROLES] = {[LETHE_RETAIN] = c};
    int32_t bos = lethe_lm_get_info(lm)->bos;
    lethe_tokens want = {0};
    lethe_piece p;
    for (bool got = true;;) {
        assert_ok(lethe_corpus_next(c, &p, &got, &err), &err);
        if (!got) break;
        assert_ok(lethe_tokens_push(&want, bos, &err), &err);
        assert_ok(lethe_piece_tokens(lm, &p, &want, &err), &err);
    }
    lethe_mix_opts o = {.ctx_len = 32, .bos = true, .shuffle = true};
    lethe_mix *m;
    assert_ok(lethe_mix_open(&m, lm, corpora, &o, NULL, &err), &err);
    size_t at_token = 0, windows = 0;
    int32_t token[32];
    lethe_role role;
    size_t n;
    for (;; windows++) {
        assert_ok(lethe_mix_next(m, token, &n, &role, &err), &err);
        if (!n) break;
        assert_int_equal(n, 32);
        assert_int_equal(token[0], bos);
        size_t skip = want.id[at_token] != bos;
        assert_memory_equal(token + skip, want.id + at_token, (32 - skip) * sizeof *token);
        at_token += 32 - skip;
    }
    assert_int_equal(windows, lethe_mix_total(m));
    assert_true(want.n - at_token < 32);
    assert_int_equal(lethe_mix_sizes(m)[LETHE_RETAIN].documents, 60);
    assert_int_equal(lethe_mix_sizes(m)[LETHE_RETAIN].tokens, want.n - 60);
    lethe_mix_close(&m);
    lethe_corpus_close(&c);
    lethe_tokens_free(&want);
}

/* Each document a window, long ones several, nothing lost. */
static void separate_documents(void **state) {
    (void)state;
    lethe_err err = {0};
    char text[6000];
    size_t len = 0;
    for (int i = 0; i < 3; i++) {
        len += (size_t)sprintf(text + len, "{\"text\": \"");
        for (int w = 0; w < (i == 1 ? 90 : 3); w++)
            len += (size_t)sprintf(text + len, "the word %d ", w);
        len += (size_t)sprintf(text + len, "\"}\n%s", i ? "" : "{\"text\": \"\"}\n");
    }
    char *path = write_text("separate.jsonl", text, len);
    const char *paths[] = {path};
    lethe_corpus *c, *corpora[LETHE_ROLES] = {0};
    assert_ok(lethe_corpus_open(&c, paths, 1, &err), &err);
    corpora[LETHE_FORGET] = c;
    lethe_tokens want = {0};
    lethe_piece p;
    size_t document[4], documents = 0;
    for (bool got = true;;) {
        assert_ok(lethe_corpus_next(c, &p, &got, &err), &err);
        if (!got) break;
        size_t before = want.n;
        assert_ok(lethe_piece_tokens(lm, &p, &want, &err), &err);
        document[documents++] = want.n - before;
    }
    assert_int_equal(documents, 4);
    lethe_mix_opts o = {.ctx_len = 64, .bos = true, .separate = true, .shuffle = true};
    lethe_mix *m;
    assert_ok(lethe_mix_open(&m, lm, corpora, &o, NULL, &err), &err);
    size_t windows = 0;
    for (size_t i = 0; i < documents; i++) windows += (document[i] + 62) / 63;
    assert_int_equal(lethe_mix_total(m), windows);
    assert_int_equal((size_t)lethe_mix_tokens(m), want.n + windows);
    for (int round = 0; round < 2; round++) {
        size_t at_token = 0, n, seen = 0;
        int32_t token[64];
        lethe_role role;
        for (;; seen++) {
            assert_ok(lethe_mix_next(m, token, &n, &role, &err), &err);
            if (!n) break;
            assert_int_equal(token[0], lethe_lm_get_info(lm)->bos);
            assert_memory_equal(token + 1, want.id + at_token, (n - 1) * sizeof *token);
            at_token += n - 1;
        }
        assert_int_equal(seen, windows);
        assert_int_equal(at_token, want.n);
        assert_ok(lethe_mix_restart(m, 0, &err), &err);
    }
    lethe_mix_close(&m);
    lethe_corpus_close(&c);
    lethe_tokens_free(&want);
    lethe_free(path);
}

static void mix_keeps_shares_and_order(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_corpus *f = corpus_of("f.jsonl", "wolf", 200), *r = corpus_of("r.jsonl", "hare", 800);
    lethe_corpus *corpora[LETHE_ROLES] = {[LETHE_FORGET] = f, [LETHE_RETAIN] = r};
    lethe_mix_opts o = {
        .ctx_len = 16, .bos = true, .shuffle = true, .forget_share = 0.5, .seed = 3};
    lethe_mix *m;
    assert_ok(lethe_mix_open(&m, lm, corpora, &o, NULL, &err), &err);
    uint64_t n = lethe_mix_total(m), forget = lethe_mix_sizes(m)[LETHE_FORGET].used;
    assert_true(forget * 2 >= n - 1 && forget * 2 <= n + 1);
    int32_t *first = malloc(n * 16 * sizeof *first), token[16];
    uint64_t in_first_half = 0;
    lethe_role role;
    size_t got;
    for (uint64_t i = 0; i < n; i++) {
        assert_ok(lethe_mix_next(m, first + i * 16, &got, &role, &err), &err);
        assert_int_equal(got, 16);
        in_first_half += i < n / 2 && role == LETHE_FORGET;
    }
    assert_ok(lethe_mix_next(m, token, &got, &role, &err), &err);
    assert_int_equal(got, 0);
    assert_true(in_first_half > n / 8 && in_first_half < 3 * n / 8); /* interleaved */
    const uint64_t skips[] = {0, 1, n / 3, n - 1};
    for (size_t s = 0; s < 4; s++) { /* the same windows again, from any place on */
        assert_ok(lethe_mix_restart(m, skips[s], &err), &err);
        assert_ok(lethe_mix_next(m, token, &got, &role, &err), &err);
        assert_memory_equal(token, first + skips[s] * 16, sizeof token);
    }
    lethe_mix_close(&m);

    o.max_tokens = 160;
    assert_ok(lethe_mix_open(&m, lm, corpora, &o, NULL, &err), &err);
    assert_int_equal(lethe_mix_total(m), 10);
    lethe_mix_close(&m);

    o = (lethe_mix_opts){.ctx_len = 16, .shuffle = false}; /* the reference's order */
    assert_ok(lethe_mix_open(&m, lm, corpora, &o, NULL, &err), &err);
    n = lethe_mix_total(m);
    forget = lethe_mix_sizes(m)[LETHE_FORGET].used;
    for (uint64_t i = 0; i < n; i++) {
        assert_ok(lethe_mix_next(m, token, &got, &role, &err), &err);
        assert_int_equal(role, i < n - forget ? LETHE_RETAIN : LETHE_FORGET);
        for (int j = 0; j < 16; j++) assert_int_not_equal(token[j], lethe_lm_get_info(lm)->bos);
    }
    lethe_mix_close(&m);
    lethe_corpus_close(&f);
    lethe_corpus_close(&r);
    free(first);
}

int main(void) {
    dir = test_temp_dir();
    lethe_lm_opts o = lethe_lm_defaults();
    o.vocab_only = true;
    lethe_err err = {0};
    if (lethe_lm_open(&lm, test_source("models/lethe-demo.gguf"), &o, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_text_in_pieces), cmocka_unit_test(one_endless_line),
        cmocka_unit_test(folders_and_lines),   cmocka_unit_test(windows_hold_every_token_once),
        cmocka_unit_test(separate_documents),  cmocka_unit_test(mix_keeps_shares_and_order),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_lm_close(&lm);
    test_temp_remove();
    return failed;
}
