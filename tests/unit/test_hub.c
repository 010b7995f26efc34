/* SPDX-License-Identifier: MIT
 *
 * The Hub without a server: names, the environment, what its answers say, which files are meant,
 * addresses and headers, checksums, the record of a file on its way, and failing allocations.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/io.h"
#include "base/mem.h"
#include "format/hub.h"
#include "format/hub_parts.h"
#include "format/url.h"
#include "stage/pull.h"
#include "stage/push.h"

static const char *dir;
static lethe_err err;

/* ---- checksums ------------------------------------------------------------------------------- */

static void digests(void **state) {
    (void)state;
    char hex[LETHE_DIGEST_HEX];
    assert_ok(lethe_digest_bytes(LETHE_DIGEST_SHA256, "abc", 3, hex, &err), &err);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_ok(lethe_digest_bytes(LETHE_DIGEST_SHA1, "abc", 3, hex, &err), &err);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_ok(lethe_digest_bytes(LETHE_DIGEST_SHA256, "", 0, hex, &err), &err);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* ---- addresses and headers ------------------------------------------------------------------- */

static void addresses(void **state) {
    (void)state;
    static const struct {
        const char *base, *to, *want; /* NULL: refused */
        bool same;
    } cases[] = {
        {"https://hub.co/a/b", "/c?d=1", "https://hub.co/c?d=1", true},
        {"https://hub.co/a/b", "c", "https://hub.co/a/c", true},
        {"https://hub.co/a", "https://hub.co:443/x", "https://hub.co:443/x", true},
        {"https://hub.co/a", "https://HUB.co/x", "https://HUB.co/x", true},
        {"https://hub.co/a", "https://cdn.hub.co/x", "https://cdn.hub.co/x", false},
        {"https://hub.co/a", "https://hub.co:444/x", "https://hub.co:444/x", false},
        {"https://hub.co/a", "//cdn.co/x", "https://cdn.co/x", false},
        {"https://hub.co/a", "https://hub.co@evil.co/x", "https://hub.co@evil.co/x", false},
        {"http://hub.co/a", "https://hub.co/x", "https://hub.co/x", false},
        {"https://hub.co/a", "http://hub.co/x", NULL, false},
        {"https://hub.co/a", "file:///etc/passwd", NULL, false},
        {"https://hub.co/a", "ftp://hub.co/x", NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = NULL;
        bool same = true;
        lethe_status st = lethe_url_resolve(cases[i].base, cases[i].to, &out, &same, &err);
        if (!cases[i].want) {
            assert_int_equal(st, LETHE_FORMAT);
            continue;
        }
        assert_ok(st, &err);
        assert_string_equal(out, cases[i].want);
        assert_int_equal(same, cases[i].same);
        lethe_free(out);
    }
    lethe_strbuf b = {0};
    lethe_url_add(&b, "a b/c+d\xc3\xa9%");
    assert_string_equal(lethe_strbuf_str(&b), "a%20b/c%2Bd%C3%A9%25");
    lethe_strbuf_free(&b);
}

static void headers(void **state) {
    (void)state;
    char v[16], next[100];
    const char *h = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\netag:   \"b\" \r\nX: \r\nLong: "
                    "aaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n";
    assert_true(lethe_http_header(h, "ETag", v, sizeof v));
    assert_string_equal(v, "\"b\"");
    assert_true(lethe_http_header(h, "X", v, sizeof v));
    assert_string_equal(v, "");
    assert_false(lethe_http_header(h, "Long", v, sizeof v));
    assert_string_equal(v, "");
    assert_false(lethe_http_header(h, "Etags", v, sizeof v));
    static const struct {
        const char *headers, *want;
    } links[] = {
        {"Link: <https://a/b?c=1>; rel=\"next\"\r\n", "https://a/b?c=1"},
        {"Link: <https://a/1>; rel=\"prev\", <https://a/3>; rel=\"next\"\r\n", "https://a/3"},
        {"Link: <https://a/1>; rel=\"next\", <https://a/3>; rel=\"last\"\r\n", "https://a/1"},
        {"Link: <https://a/1>; rel=next\r\n", "https://a/1"},
        {"Link: <https://a/1>; rel=\"last\"\r\n", ""},
        {"Link: <https://a/1\r\n", ""},
        {"Link: rel=\"next\"\r\n", ""},
        {"X: y\r\n", ""},
    };
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        lethe_hub_next_page(links[i].headers, next, sizeof next);
        assert_string_equal(next, links[i].want);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

static void repositories(void **state) {
    (void)state;
    static const struct {
        const char *text, *name, *what; /* name NULL: refused */
        bool dataset;
    } cases[] = {
        {"me/x", "me/x", NULL, false},
        {"gpt2", "gpt2", NULL, false},
        {"me/x.y_z-1:a/b.gguf", "me/x.y_z-1", "a/b.gguf", false},
        {"me/x:Q4_K_M", "me/x", "Q4_K_M", false},
        {"me/x:a:b", "me/x", "a:b", false},
        {"datasets/me/x:t.txt", "me/x", "t.txt", true},
        {"", NULL, NULL, false},
        {"/x", NULL, NULL, false},
        {"me/", NULL, NULL, false},
        {"me/x/y", NULL, NULL, false},
        {"../x", NULL, NULL, false},
        {"me/..", NULL, NULL, false},
        {"me/.x", NULL, NULL, false},
        {"me/x--y", NULL, NULL, false},
        {"me/x.git", NULL, NULL, false},
        {"me/x y", NULL, NULL, false},
        {"me/x:", NULL, NULL, false},
        {"https://huggingface.co/me/x", NULL, NULL, false},
        {"me\n/x", NULL, NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lethe_hub_repo r;
        char *what = NULL;
        lethe_status st = lethe_hub_parse(cases[i].text, NULL, &r, &what, &err);
        if (!cases[i].name) {
            assert_int_equal(st, LETHE_USAGE);
            continue;
        }
        assert_ok(st, &err);
        assert_string_equal(r.name, cases[i].name);
        assert_string_equal(r.revision, "main");
        assert_int_equal(r.dataset, cases[i].dataset);
        assert_int_equal(!what, !cases[i].what);
        if (what) assert_string_equal(what, cases[i].what);
        lethe_free(what);
    }
    static const char *const fine[] = {"a", "a/b", ".gitattributes", "a/..b", "a b", "\xc3\xa9"},
                             *const bad[] = {"",       "/a",  "a/",   "a//b", ".",     "..",
                                             "a/../b", "./a", "a\\b", "a\nb", "a\x7f", "a/."};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        assert_true(lethe_hub_path_fine(fine[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(lethe_hub_path_fine(bad[i]));
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[299] = '\0';
    assert_false(lethe_hub_path_fine(longest));
}

/* Short names are names, and none leads to a folder that is none. */
static void short_names(void **state) {
    (void)state;
    for (size_t i = 0; i < lethe_short_names_count; i++) {
        lethe_hub_repo r;
        char *what;
        assert_ok(lethe_pull_parse(lethe_short_names[i].name, NULL, &r, &what, &err), &err);
        if (what) assert_true(lethe_hub_path_fine(what));
        lethe_free(what);
    }
    lethe_hub_repo r;
    char *what;
    assert_ok(lethe_pull_parse("llama-2-7b-chat:Q8_0", "v1", &r, &what, &err), &err);
    assert_string_equal(r.name, "TheBloke/Llama-2-7B-Chat-GGUF");
    assert_string_equal(r.revision, "v1");
    assert_string_equal(what, "Q8_0");
    lethe_free(what);
}

/* ---- the environment ------------------------------------------------------------------------- */

static const char *vars[8][2];

static char *fake_env(const char *name) {
    for (size_t i = 0; i < 8 && vars[i][0]; i++)
        if (!strcmp(vars[i][0], name)) return (char *)(uintptr_t)vars[i][1];
    return NULL;
}

static void places(void **state) {
    (void)state;
    lethe_hub_places p = {0};
    char home[500], token[600];
    memset(vars, 0, sizeof vars);
    assert_int_equal(lethe_hub_places_find(&p, NULL, fake_env, &err), LETHE_USAGE);
    snprintf(home, sizeof home, "%s", dir);
    vars[0][0] = "HOME", vars[0][1] = home;
    assert_ok(lethe_hub_places_find(&p, NULL, fake_env, &err), &err);
    snprintf(token, sizeof token, "%s/.cache/huggingface/hub", home);
    assert_string_equal(p.cache, token);
    assert_null(p.token);
    assert_false(p.offline);
    assert_string_equal(p.endpoint, "https://huggingface.co");
    lethe_hub_places_free(&p);
    vars[1][0] = "HF_HOME", vars[1][1] = "~/hf";
    vars[2][0] = "HF_HUB_OFFLINE", vars[2][1] = "True";
    vars[3][0] = "HF_ENDPOINT", vars[3][1] = "https://mirror/hf//";
    snprintf(token, sizeof token, "%s/hf", home);
    assert_ok(lethe_mkdirs(token, &err), &err);
    snprintf(token, sizeof token, "%s/hf/token", home);
    assert_ok(lethe_write_file(token, "hf_abc\r\n", 8, &err), &err);
    assert_ok(lethe_hub_places_find(&p, NULL, fake_env, &err), &err);
    snprintf(token, sizeof token, "%s/hf/hub", home);
    assert_string_equal(p.cache, token);
    assert_string_equal(p.token, "hf_abc");
    assert_true(p.offline);
    assert_string_equal(p.endpoint, "https://mirror/hf");
    lethe_hub_places_free(&p);
    vars[4][0] = "HF_TOKEN", vars[4][1] = "hf_x\nEvil: 1";
    assert_int_equal(lethe_hub_places_find(&p, NULL, fake_env, &err), LETHE_USAGE);
    vars[4][1] = "";
    vars[5][0] = "HF_HUB_CACHE", vars[5][1] = "/c";
    assert_ok(lethe_hub_places_find(&p, "http://localhost:1", fake_env, &err), &err);
    assert_string_equal(p.cache, "/c");
    assert_string_equal(p.token, "hf_abc");
    assert_string_equal(p.endpoint, "http://localhost:1");
    lethe_hub_places_free(&p);
}

/* ---- lists ----------------------------------------------------------------------------------- */

#define SHA1 "0123456789abcdef0123456789abcdef01234567"
#define SHA256 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void lists(void **state) {
    (void)state;
    lethe_hub_listing l = {0};
    assert_ok(lethe_hub_read_tree(
                  &l,
                  "[{\"type\": \"directory\", \"path\": \"d\", \"size\": 0, \"oid\": \"" SHA1 "\"},"
                  "{\"type\": \"file\", \"path\": \"d/a\", \"size\": 134, \"oid\": \"" SHA1 "\","
                  " \"lfs\": {\"oid\": \"" SHA256
                  "\", \"size\": 5000000000, \"pointerSize\": 134}},"
                  "{\"type\": \"file\", \"path\": \"b\", \"size\": 3, \"oid\": \"" SHA1 "\"}]",
                  "x", &err),
              &err);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.file[0].path, "d/a");
    assert_string_equal(l.file[0].oid, SHA256);
    assert_true(l.file[0].size == 5000000000u);
    assert_string_equal(l.file[1].oid, SHA1);
    lethe_hub_listing_free(&l);
    static const struct {
        const char *body, *says;
    } bad[] = {
        {"", "no JSON"},
        {"{}", "want a list"},
        {"[3]", "[0]"},
        {"[{}]", "[0].type"},
        {"[{\"type\": \"file\"}]", "[0].path"},
        {"[{\"type\": \"file\", \"path\": \"../a\"}]", "stays inside the repository"},
        {"[{\"type\": \"file\", \"path\": \"a\", \"size\": -1}]", "[0].size"},
        {"[{\"type\": \"file\", \"path\": \"a\", \"size\": 1e3}]", "[0].size"},
        {"[{\"type\": \"file\", \"path\": \"a\", \"size\": 99999999999999999}]", "[0].size"},
        {"[{\"type\": \"file\", \"path\": \"a\", \"size\": 1, \"oid\": \"../../x\"}]", "40 hex"},
        {"[{\"type\": \"file\", \"path\": \"a\", \"size\": 1, \"oid\": \"" SHA1
         "\", \"lfs\": {\"size\": 1, \"oid\": \"" SHA1 "\"}}]",
         "64 hex"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(lethe_hub_read_tree(&l, bad[i].body, "x", &err), LETHE_FORMAT);
        if (!strstr(err.text, bad[i].says)) fail_msg("\"%s\": %s", bad[i].body, err.text);
        lethe_hub_listing_free(&l);
    }
}

/* ---- choosing -------------------------------------------------------------------------------- */

static lethe_hub_listing listing(const char *const *path, size_t n) {
    static lethe_hub_file file[40];
    for (size_t i = 0; i < n; i++)
        file[i] = (lethe_hub_file){.path = (char *)(uintptr_t)path[i], .size = 1};
    return (lethe_hub_listing){.file = file, .n = n};
}

/* want: what is pointed at, n files; or NULL and a piece of the message. */
static void choice(const char *const *paths, size_t n, const char *what, bool all, const char *want,
                   size_t files, const char *says) {
    lethe_hub_listing l = listing(paths, n);
    lethe_choice c = {0};
    lethe_status st = lethe_pull_choose(&l, "me/x", what, all, &c, &err);
    if (!want) {
        assert_int_not_equal(st, LETHE_OK);
        if (!strstr(err.text, says)) fail_msg("%s: %s", what ? what : "(default)", err.text);
        return;
    }
    assert_ok(st, &err);
    assert_string_equal(c.point, want);
    assert_int_equal(c.n, files);
    lethe_choice_free(&c);
}

#define CHOOSE(list, ...) choice(list, sizeof list / sizeof *list, __VA_ARGS__)

static void choosing(void **state) {
    (void)state;
    static const char *const models[] = {
        "README.md",
        "m-Q4_K_L.gguf",
        "m-Q4_K_M.gguf",
        "m-Q4_K_S.gguf",
        "m-f16-00001-of-00002.gguf",
        "m-f16-00002-of-00002.gguf",
        "m.Q4_0.gguf",
        "m.Q4_0_4_4.gguf",
        "m.imatrix.gguf",
        "mmproj-m-Q8_0.gguf",
    };
    CHOOSE(models, NULL, false, "m-Q4_K_M.gguf", 1, NULL);
    CHOOSE(models, "q4_k_s", false, "m-Q4_K_S.gguf", 1, NULL);
    CHOOSE(models, "Q4_0", false, "m.Q4_0.gguf", 1, NULL);
    CHOOSE(models, "F16", false, "m-f16-00001-of-00002.gguf", 2, NULL);
    CHOOSE(models, "m-f16-00002-of-00002.gguf", false, "m-f16-00001-of-00002.gguf", 2, NULL);
    CHOOSE(models, "README.md", false, "README.md", 1, NULL);
    CHOOSE(models, "Q4_K", false, NULL, 0, "no \"Q4_K\" in it");
    CHOOSE(models, "Q8_0", false, NULL, 0, "no \"Q8_0\" in it"); /* a projector is no model */
    CHOOSE(models, "", false, NULL, 0, "no \"\" in it");
    CHOOSE(models, NULL, true, "", 10, NULL);
    static const char *const twice[] = {"a/x-Q4_K_M.gguf", "b/x-Q4_K_M.gguf"};
    CHOOSE(twice, NULL, false, NULL, 0, "several models have Q4_K_M");
    CHOOSE(twice, "Q4_K_M", false, NULL, 0, "several models have \"Q4_K_M\"");
    CHOOSE(twice, "b", false, "b/x-Q4_K_M.gguf", 1, NULL);
    static const char *const folders[] = {"Q8_0/x-00001-of-00002.gguf",
                                          "Q8_0/x-00002-of-00002.gguf", "Q8_0x/y.txt"};
    CHOOSE(folders, "Q8_0", false, "Q8_0/x-00001-of-00002.gguf", 2, NULL);
    CHOOSE(folders, "Q8_0x/", false, "Q8_0x", 1, NULL);
    CHOOSE(folders, NULL, false, "Q8_0/x-00001-of-00002.gguf", 2, NULL);
    static const char *const sae[] = {"README.md", "cfg.json", "sae.safetensors"};
    CHOOSE(sae, NULL, false, "", 3, NULL);
    static const char *const scope[] = {"layer_0/params.npz", "layer_1/params.npz"};
    CHOOSE(scope, NULL, false, NULL, 0, "layer_0/params.npz, layer_1/params.npz");
    CHOOSE(scope, "layer_1", false, "layer_1", 1, NULL);
    CHOOSE(scope, "layer_", false, NULL, 0, "no \"layer_\" in it");
    static const char *const torn[] = {"x-Q4_K_M-00002-of-00003.gguf"};
    CHOOSE(torn, NULL, false, NULL, 0, "1 of its 3 parts");
    char quant[16];
    lethe_pull_quant("a/m-Q3_K_XL.gguf", quant, sizeof quant);
    assert_string_equal(quant, "Q3_K_XL");
    lethe_pull_quant("model.txt", quant, sizeof quant);
    assert_string_equal(quant, "");
}

/* ---- a file on its way ----------------------------------------------------------------------- */

static void fill(lethe_parts *p, size_t i, size_t n) {
    char data[64];
    for (size_t k = 0; k < n; k++) data[k] = (char)('a' + (i * p->part + p->at[i].done + k) % 26);
    assert_ok(lethe_parts_put(p, i, data, n, &err), &err);
}

static void parts(void **state) {
    (void)state;
    char *blob = lethe_path_join(dir, "blob");
    lethe_parts p;
    assert_ok(lethe_parts_open(&p, blob, 25, 10, &err), &err);
    assert_int_equal(p.n, 3);
    assert_int_equal(lethe_parts_length(&p, 2), 5);
    assert_ok(lethe_parts_set_etag(&p, "\"e\"", &err), &err);
    fill(&p, 2, 5);
    fill(&p, 0, 4);
    assert_ok(lethe_parts_record(&p, 0, &err), &err);
    fill(&p, 1, 3); /* not recorded */
    assert_int_equal(lethe_parts_done(&p), 12);
    lethe_parts_close(&p);

    assert_ok(lethe_parts_open(&p, blob, 25, 10, &err), &err);
    assert_string_equal(p.etag, "\"e\"");
    assert_int_equal(p.damaged, 0);
    assert_int_equal(p.at[0].done, 4);
    assert_int_equal(p.at[1].done, 0);
    assert_int_equal(p.at[2].done, 5);
    fill(&p, 0, 6);
    fill(&p, 1, 10);
    assert_true(lethe_parts_whole(&p));
    assert_int_equal(pwrite(p.fd, "?", 1, 15), 1); /* behind our back */
    lethe_parts_close(&p);

    assert_ok(lethe_parts_open(&p, blob, 25, 10, &err), &err);
    assert_int_equal(p.damaged, 1);
    assert_int_equal(lethe_parts_done(&p), 15);
    fill(&p, 1, 10);
    assert_ok(lethe_parts_finish(&p, blob, &err), &err);
    lethe_parts_close(&p);
    lethe_map m;
    assert_ok(lethe_map_open(&m, blob, &err), &err);
    assert_int_equal(m.size, 25);
    assert_memory_equal(m.data, "abcdefghijklmnopqrstuvwxy", 25);
    lethe_map_close(&m);
    unlink(blob);

    /* another size, or another size of the parts: anew */
    assert_ok(lethe_parts_open(&p, blob, 25, 10, &err), &err);
    fill(&p, 0, 10);
    lethe_parts_close(&p);
    assert_ok(lethe_parts_open(&p, blob, 26, 10, &err), &err);
    assert_true(lethe_parts_done(&p) == 0);
    lethe_parts_remove(&p);
    lethe_parts_close(&p);

    /* the first bytes, by another tool */
    char theirs[600];
    snprintf(theirs, sizeof theirs, "%s.incomplete", blob);
    assert_ok(lethe_write_file(theirs, "abcdefghijklm", 13, &err), &err);
    assert_ok(lethe_parts_open(&p, blob, 25, 10, &err), &err);
    assert_int_equal(p.resumed, 13);
    assert_false(lethe_path_exists(theirs));
    fill(&p, 1, 2);
    assert_ok(lethe_parts_record(&p, 1, &err), &err);
    lethe_parts_close(&p);
    assert_ok(lethe_parts_open(&p, blob, 25, 10, &err), &err);
    assert_int_equal(p.damaged, 0);
    assert_int_equal(p.resumed, 15);
    lethe_parts_remove(&p);
    lethe_parts_close(&p);

    /* an empty file, and a huge one, whose parts stay few */
    assert_ok(lethe_parts_open(&p, blob, 0, 10, &err), &err);
    assert_true(lethe_parts_whole(&p));
    lethe_parts_remove(&p);
    lethe_parts_close(&p);
    assert_ok(lethe_parts_open(&p, blob, (uint64_t)1 << 33, 10, &err), &err);
    assert_true(p.n <= 4096);
    lethe_parts_remove(&p);
    lethe_parts_close(&p);
    lethe_free(blob);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void sending(void **state) {
    (void)state;
    static const struct {
        const char *plain, *coded;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"foobar", "Zm9vYmFy"},
                 {"\xfb\xff\xbe", "+/++"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lethe_strbuf b = {0};
        lethe_hub_base64(&b, cases[i].plain, strlen(cases[i].plain));
        assert_string_equal(lethe_strbuf_str(&b), cases[i].coded);
        lethe_strbuf_free(&b);
    }
    static const struct {
        const char *path, *want;
    } models[] = {
        {"/c/hub/models--me--x-y/snapshots/abc/m.gguf", "me/x-y"},
        {"models--gpt2/snapshots/abc/m.gguf", "gpt2"},
        {"/c/models--me--x/blobs/abc", ""},
        {"/c/xmodels--me--x/snapshots/abc/m", ""},
        {"/c/models--me--x: [evil]/snapshots/abc/m", ""},
        {"/c/m.gguf", ""},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char name[40];
        lethe_bundle_base_model(models[i].path, name, sizeof name);
        assert_string_equal(name, models[i].want);
    }
}

static void no_memory(void **state) {
    (void)state;
    static const char *const sae[] = {"README.md", "cfg.json", "sae.safetensors"};
    memset(vars, 0, sizeof vars);
    vars[0][0] = "HF_HOME", vars[0][1] = dir;
    vars[1][0] = "HF_TOKEN", vars[1][1] = "hf_x";
    for (size_t n = 0;; n++) {
        lethe_hub_places p = {0};
        lethe_hub_repo r;
        lethe_hub_listing l = {0}, chosen = listing(sae, 3);
        lethe_choice c = {0};
        lethe_parts parts_ = {0};
        char *what = NULL, *blob = lethe_path_join(dir, "memory");
        lethe_mem_fail_after(n);
        lethe_status st = lethe_pull_parse("gpt2:Q8_0", NULL, &r, &what, &err);
        if (!st) st = lethe_hub_places_find(&p, NULL, fake_env, &err);
        if (!st)
            st = lethe_hub_read_tree(&l,
                                     "[{\"type\": \"file\", \"path\": \"b\", \"size\": 3, "
                                     "\"oid\": \"" SHA1 "\"}]",
                                     "x", &err);
        if (!st) st = lethe_pull_choose(&chosen, "x", NULL, false, &c, &err);
        if (!st) st = lethe_parts_open(&parts_, blob, 25, 10, &err);
        if (!st) {
            st = lethe_parts_put(&parts_, 0, "abc", 3, &err);
            lethe_parts_remove(&parts_);
            lethe_parts_close(&parts_);
        }
        lethe_mem_fail_after(SIZE_MAX);
        lethe_free(what);
        lethe_free(blob);
        lethe_hub_places_free(&p);
        lethe_hub_listing_free(&l);
        lethe_choice_free(&c);
        if (!st) break;
        assert_int_equal(st, LETHE_NOMEM);
        assert_true(n < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),      cmocka_unit_test(addresses),   cmocka_unit_test(headers),
        cmocka_unit_test(repositories), cmocka_unit_test(short_names), cmocka_unit_test(places),
        cmocka_unit_test(lists),        cmocka_unit_test(choosing),    cmocka_unit_test(parts),
        cmocka_unit_test(sending),      cmocka_unit_test(no_memory),
    };
    dir = test_temp_dir();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
