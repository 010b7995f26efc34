/* SPDX-License-Identifier: MIT
 *
 * Corpora and windows: what is read is what is there, in pieces; windows hold every token once; a
 * mix keeps its shares and its order.
 */
#include "support/packs.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include "stage/windows.h"

static const char *dir;
static lethe_lm *lm;

static char *at(const char *name) {
    return lethe_path_join(dir, name);
}

static char *write_text(const char *name, const void *text, size_t n) {
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
    assert_ok(lethe_corpus_open(&c, paths, 1, NULL, &err), &err);
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
        assert_ok(lethe_corpus_open(&c, paths, 1, NULL, &err), &err);
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
    assert_ok(lethe_corpus_open(&c, paths, 1, NULL, &err), &err);
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

/* ---- what a path stands for ------------------------------------------------------------------ */

static const char two_lines[] = "{\"text\": \"first\"}\n{\"text\": \"second\"}\n";

/* All that a corpus of these paths has, its documents with '|' between. */
static lethe_status all_text(const char *const *paths, size_t n, const char *field, char *out,
                             size_t cap, lethe_err *err) {
    lethe_corpus *c;
    LETHE_TRY(lethe_corpus_open(&c, paths, n, field, err));
    size_t at = 0;
    lethe_status st = LETHE_OK;
    for (;;) {
        lethe_piece p;
        bool got;
        if ((st = lethe_corpus_next(c, &p, &got, err)) || !got) break;
        if (p.starts_document && at) out[at++] = '|';
        const char *text = p.text ? p.text : p.message[0].content;
        size_t len = p.text ? p.len : strlen(text);
        assert_true(at + len + 2 < cap);
        memcpy(out + at, text, len);
        at += len;
    }
    out[at] = '\0';
    lethe_corpus_close(&c);
    return st;
}

static void gives(const char *path, const char *field, const char *want) {
    char got[1000];
    lethe_err err = {0};
    assert_ok(all_text(&path, 1, field, got, sizeof got, &err), &err);
    assert_string_equal(got, want);
}

static void fails(const char *path, const char *field, lethe_status want, const char *says) {
    char got[1000];
    lethe_err err = {0};
    lethe_status st = all_text(&path, 1, field, got, sizeof got, &err);
    if (st != want) fail_msg("%s: status %d, want %d: %s", path, (int)st, (int)want, err.text);
    if (!strstr(err.text, says)) fail_msg("\"%s\" lacks \"%s\"", err.text, says);
}

static void file_gives(const char *name, const void *data, size_t n, const char *want) {
    char *path = write_text(name, data, n);
    gives(path, NULL, want);
    lethe_free(path);
}

static void text_gives(const char *name, const char *text, const char *want) {
    file_gives(name, text, strlen(text), want);
}

static void file_fails(const char *name, const char *data, const char *field, const char *says) {
    char *path = write_text(name, data, strlen(data));
    fails(path, field, LETHE_FORMAT, says);
    lethe_free(path);
}

static void hash_of(const char *path, const char *field, char out[33]) {
    lethe_corpus *c;
    lethe_err err = {0};
    assert_ok(lethe_corpus_open(&c, &path, 1, field, &err), &err);
    assert_ok(lethe_corpus_hash(c, out, &err), &err);
    lethe_corpus_close(&c);
}

static void packed_by_any_name(void **state) {
    (void)state;
    size_t n = strlen(two_lines), g, z;
    unsigned char *gz = pack_gzip(two_lines, n, &g), *zst = pack_zstd(two_lines, n, &z);
    file_gives("p.jsonl.gz", gz, g, "first|second");
    file_gives("p.ndjson.zst", zst, z, "first|second");
    file_gives("p.jsonl", zst, z, "first|second"); /* content tells the packing, not the name */
    file_gives("p.jsonl.zst", gz, g, "first|second");
    file_gives("p.jsonl.gz", two_lines, n, "first|second");
    file_gives("p.txt.gz", gz, g, two_lines);
    file_gives("p.gz", gz, g, two_lines);
    file_gives("p.json.gz", gz, g, "first|second");
    file_gives("p.json", two_lines, n, "first|second");
    text_gives("p2.json", "\n  {\"text\": \"only\"}", "only");
    file_fails("p3.json", "[{\"text\": \"a\"}]", NULL,
               "p3.json: one JSON document; want JSON lines");
    file_fails("p4.json", "{\n \"text\": \"a\"\n}", NULL, "jq -c '.[]'");
    text_gives("p5.json", "no JSON at all", "no JSON at all");
    free(gz);
    free(zst);
}

/* Packing changes no fingerprint; reading other fields does, and so does another kind. */
static void fingerprints(void **state) {
    (void)state;
    size_t n = strlen(two_lines), g, z;
    unsigned char *gz = pack_gzip(two_lines, n, &g), *zst = pack_zstd(two_lines, n, &z);
    char *plain = write_text("h.jsonl", two_lines, n), *packed = write_text("h.jsonl.gz", gz, g),
         *frame = write_text("h2.jsonl", zst, z), *text = write_text("h.txt", two_lines, n),
         *zip = at("h.zip"), *in_zip = at("h.zip/x/y.jsonl");
    const pack_member m = {.name = "x/y.jsonl", .data = two_lines, .n = n};
    pack_zip(zip, &m, 1);
    char want[33], got[33];
    lethe_hasher *h; /* as it has been since the first version: kind, length, bytes */
    lethe_err err = {0};
    assert_ok(lethe_hasher_open(&h, &err), &err);
    lethe_hasher_put(h, "\1", 1);
    uint64_t size = n;
    lethe_hasher_put(h, &size, sizeof size);
    lethe_hasher_put(h, two_lines, n);
    lethe_hasher_hex(h, want);
    lethe_hasher_close(&h);
    const char *same[] = {plain, packed, frame, zip, in_zip};
    for (size_t i = 0; i < 5; i++) {
        hash_of(same[i], NULL, got);
        assert_string_equal(got, want);
        hash_of(same[i], "text", got);
        assert_string_equal(got, want);
        hash_of(same[i], "body,text", got);
        assert_string_not_equal(got, want);
    }
    hash_of(text, NULL, got);
    assert_string_not_equal(got, want);
    char other[33];
    hash_of(text, "body", other); /* a text file has no fields */
    assert_string_equal(got, other);
    lethe_free(plain);
    lethe_free(packed);
    lethe_free(frame);
    lethe_free(text);
    lethe_free(zip);
    lethe_free(in_zip);
    free(gz);
    free(zst);
}

static void archives(void **state) {
    (void)state;
    size_t g;
    unsigned char *gz = pack_gzip(two_lines, strlen(two_lines), &g);
    const pack_member m[] = {{.name = "w/"},
                             {.name = "w/wiki.train.raw", .data = "train", .n = 5},
                             {.name = "w/wiki.test.raw", .data = "test", .n = 4},
                             {.name = "w/.hidden.txt", .data = "no", .n = 2},
                             {.name = "__MACOSX/w/a.txt", .data = "no", .n = 2},
                             {.name = "picture.png", .data = "\x89PNG", .n = 4},
                             {.name = "lines.jsonl.gz", .data = gz, .n = g},
                             {.name = "../up\n.txt", .data = "\xff", .n = 1}};
    char *zip = at("a.zip");
    pack_zip(zip, m, 7);
    gives(zip, NULL, "first|second|test|train");
    char path[300];
    snprintf(path, sizeof path, "%s/w/wiki.test.raw", zip);
    gives(path, NULL, "test");
    snprintf(path, sizeof path, "%s/*.raw", zip);
    gives(path, NULL, "test|train");
    snprintf(path, sizeof path, "%s/w/.hidden.txt", zip); /* named, so taken */
    gives(path, NULL, "no");
    snprintf(path, sizeof path, "%s/w/none.raw", zip);
    fails(path, NULL, LETHE_NOTFOUND, "no member is \"w/none.raw\"; it has \"w/\", \"w/wiki.train");
    snprintf(path, sizeof path, "%s/picture.png", zip);
    fails(path, NULL, LETHE_FORMAT, "a.zip/picture.png: not UTF-8 text at byte 0");
    assert_true(lethe_corpus_is_compound(path));
    assert_false(lethe_corpus_is_compound(zip));
    pack_zip(zip, m + 5, 1);
    fails(zip, NULL, LETHE_FORMAT, "no member looks like text");
    pack_zip(zip, m + 7, 1); /* a hostile name is never a path, and is shown without its newline */
    fails(zip, NULL, LETHE_FORMAT, "a.zip/../up?.txt: not UTF-8 text at byte 0");
    char *plain = write_text("plain.txt", "x", 1);
    snprintf(path, sizeof path, "%s/member", plain);
    fails(path, NULL, LETHE_FORMAT, "plain.txt: not a whole zip archive");
    lethe_free(plain);
    lethe_free(zip);
    free(gz);
}

static void patterns(void **state) {
    (void)state;
    char *folder = at("glob"), *sub = at("glob/sub");
    mkdir(folder, 0755);
    mkdir(sub, 0755);
    lethe_free(write_text("glob/b2.txt", "two", 3));
    lethe_free(write_text("glob/b10.txt", "ten", 3));
    lethe_free(write_text("glob/sub/c.txt", "sub", 3));
    lethe_free(write_text("glob/.b.txt", "hidden", 6));
    lethe_free(write_text("glob/[x].txt", "brackets", 8));
    char *p = at("glob/b*.txt"), *q = at("glob/*"), *none = at("glob/z*"),
         *own = at("glob/[x].txt");
    gives(p, NULL, "ten|two");
    gives(q, NULL, "brackets|ten|two|sub");
    gives(own, NULL, "brackets");
    fails(none, NULL, LETHE_NOTFOUND, "glob/z*: no file matches this pattern");
    assert_true(lethe_corpus_is_compound(p));
    assert_false(lethe_corpus_is_compound(own));
    const char *both[] = {p, own};
    char got[100];
    lethe_err err = {0};
    assert_ok(all_text(both, 2, NULL, got, sizeof got, &err), &err);
    assert_string_equal(got, "ten|two|brackets");
    lethe_free(folder);
    lethe_free(sub);
    lethe_free(p);
    lethe_free(q);
    lethe_free(none);
    lethe_free(own);
}

static void fields(void **state) {
    (void)state;
    static const char lines[] = "{\"id\": 1, \"body\": \"one\"}\n{\"id\": 2, \"story\": \"two\"}\n";
    char *path = write_text("fields.jsonl", lines, sizeof lines - 1);
    gives(path, "body,story", "one|two");
    gives(path, "story,body", "one|two");
    fails(path, "body", LETHE_FORMAT, "fields.jsonl:2: neither \"body\" nor");
    lethe_free(path);
}

static void nested_and_lists(void **state) {
    (void)state;
    static const char lines[] = "{\"meta\": {\"doc\": {\"c\": \"deep\"}}, \"x.y\": \"dotted\", "
                                "\"talk\": [{\"role\": \"user\", "
                                "\"content\": \"hi\"}], \"n\": 3}\n";
    char *path = write_text("nested.jsonl", lines, sizeof lines - 1);
    gives(path, "meta.doc.c", "deep");
    gives(path, "x.y", "dotted");
    gives(path, "talk", "hi");
    fails(path, "n", LETHE_FORMAT, "nested.jsonl:1: \"n\" must be a string");
    fails(path, NULL, LETHE_FORMAT,
          "nested.jsonl:1: neither \"text\" nor \"messages\" in this object, which has \"meta\", "
          "\"x.y\", \"talk\", \"n\" (name the one with the text: --text-field NAME)");
    fails(path, "a,meta.c", LETHE_FORMAT, "neither \"a\" nor \"meta.c\" nor \"messages\"");
    fails(path, "a,,b", LETHE_USAGE, "--text-field: got \"a,,b\"");
    fails(path, "", LETHE_USAGE, "--text-field");
    lethe_free(path);
    file_fails("array.jsonl", "[1]\n", NULL, "array.jsonl:1: want an object a line");
    file_fails("none.jsonl", "{}\n", NULL, "which has no fields");
    file_fails("key.jsonl", "{\"a\\nb\": 1}\n", NULL, "\"a?b\"");
}

static void marks_and_line_ends(void **state) {
    (void)state;
    text_gives("bom.txt", "\xef\xbb\xbfhello\r\nyou\rthere\r\n", "hello\nyou\rthere\n");
    text_gives("bom.jsonl", "\xef\xbb\xbf{\"text\": \"a\\r\\n\"}\r\n\r\n{\"text\": \"b\"}\r\n",
               "a\r\n|b");
    text_gives("only.txt", "\xef\xbb\xbf", "");
    text_gives("cr.txt", "a\r", "a\r");
    file_fails("bad.txt", "\xef\xbb\xbfok \xff", NULL, "bad.txt: not UTF-8 text at byte 6");
    /* CR LF across the edge of a piece that has no other line end */
    for (size_t shift = 65530; shift < 65540; shift++) {
        char *text = malloc(shift + 4), *want = malloc(shift + 4);
        memset(text, 'x', shift);
        memcpy(text + shift, "\r\nz", 4);
        memset(want, 'x', shift);
        memcpy(want + shift, "\nz", 3);
        char *path = write_text("edge.txt", text, shift + 3), *got = malloc(shift + 10);
        lethe_err err = {0};
        const char *paths[] = {path};
        assert_ok(all_text(paths, 1, NULL, got, shift + 10, &err), &err);
        assert_string_equal(got, want);
        free(text);
        free(want);
        free(got);
        lethe_free(path);
    }
}

/* Each allocation fails once, on the way through a folder with an archive. */
static void no_memory(void **state) {
    (void)state;
    char *folder = at("oom"), *zip = at("oom/z.zip"), *line = NULL;
    mkdir(folder, 0755);
    line = write_text("oom/a.jsonl", two_lines, strlen(two_lines));
    const pack_member m = {.name = "in.txt", .data = "zip", .n = 3};
    pack_zip(zip, &m, 1);
    gives(folder, NULL, "first|second|zip");
    for (size_t k = 0;; k++) {
        char got[100];
        lethe_err err = {0};
        const char *paths[] = {folder};
        lethe_mem_fail_after(k);
        lethe_status st = all_text(paths, 1, NULL, got, sizeof got, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (!st) break;
        assert_int_equal(st, LETHE_NOMEM);
    }
    lethe_free(folder);
    lethe_free(zip);
    lethe_free(line);
}

/* ---- windows --------------------------------------------------------------------------------- */

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
    assert_ok(lethe_corpus_open(&c, paths, 1, NULL, &err), &err);
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
    assert_ok(lethe_corpus_open(&c, paths, 1, NULL, &err), &err);
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
        cmocka_unit_test(long_text_in_pieces),
        cmocka_unit_test(one_endless_line),
        cmocka_unit_test(folders_and_lines),
        cmocka_unit_test(windows_hold_every_token_once),
        cmocka_unit_test(packed_by_any_name),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(archives),
        cmocka_unit_test(patterns),
        cmocka_unit_test(fields),
        cmocka_unit_test(nested_and_lists),
        cmocka_unit_test(marks_and_line_ends),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(separate_documents),
        cmocka_unit_test(mix_keeps_shares_and_order),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_lm_close(&lm);
    test_temp_remove();
    return failed;
}
