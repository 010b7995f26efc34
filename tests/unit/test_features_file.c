/* SPDX-License-Identifier: MIT
 *
 * features.json: what is written is read back; a key that is missing, of another type or out of
 * range is refused by name, for every key.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/features.h"
#include "support/containers.h"

static const char *dir;
static char *good;
static lethe_err err;
static lethe_feature_set original;

static void make_original(void) {
    lethe_feature_counts f, r, n;
    assert_ok(lethe_feature_counts_alloc(&f, 8, &err), &err);
    assert_ok(lethe_feature_counts_alloc(&r, 8, &err), &err);
    assert_ok(lethe_feature_counts_alloc(&n, 8, &err), &err);
    f.tokens = 10000;
    r.tokens = 15000;
    n.tokens = 5000;
    for (size_t i = 0; i < 8; i++) {
        f.fires[i] = 100 + 10 * i;
        f.sum[i] = 1.7 * (double)f.fires[i];
        r.fires[i] = i;
        r.sum[i] = 0.3 * (double)i;
        n.fires[i] = i / 2;
        n.sum[i] = 0.1 * (double)i;
    }
    lethe_feature_opts o = lethe_feature_defaults();
    o.near_in_retain = true;
    o.weigh_by = LETHE_WEIGH_ACTIVATION;
    o.retain_weight = 1.5;
    o.num_features = 3;
    o.equalise = true;
    o.sort_by = LETHE_SORT_ACT_RATIO;
    assert_ok(lethe_features_select(&original, &f, &r, &n, &o, &err), &err);
    snprintf(original.sae.model_name, sizeof original.sae.model_name, "a \"model\"");
    memset(original.sae.model_hash, 'a', 32);
    memset(original.sae_hash, 'b', 32);
    original.sae.layer = 3;
    original.sae.hook = 1;
    lethe_feature_counts_free(&f);
    lethe_feature_counts_free(&r);
    lethe_feature_counts_free(&n);
}

static void assert_same_corpus(const lethe_corpus_stats *a, const lethe_corpus_stats *b) {
    assert_true(a->fires == b->fires && a->freq == b->freq && a->mean == b->mean);
}

static void assert_same(const lethe_feature *a, const lethe_feature *b) {
    assert_int_equal(a->index, b->index);
    assert_same_corpus(&a->forget, &b->forget);
    assert_same_corpus(&a->retain, &b->retain);
    assert_same_corpus(&a->near, &b->near);
    assert_true(a->ratio == b->ratio && a->act_ratio == b->act_ratio && a->diff == b->diff &&
                a->score == b->score);
}

static void round_trip(void **state) {
    (void)state;
    lethe_feature_set s = {0};
    assert_ok(lethe_feature_set_load(&s, good, &err), &err);
    assert_int_equal(s.n, 3);
    for (size_t i = 0; i < 3; i++) assert_same(&s.item[i], &original.item[i]);
    const lethe_feature_opts *a = &s.opts, *b = &original.opts;
    assert_true(a->min_freq == b->min_freq && a->min_forget_fires == b->min_forget_fires &&
                a->max_retain_freq == b->max_retain_freq && a->max_freq == b->max_freq &&
                a->min_ratio == b->min_ratio && a->ratio_smoothing == b->ratio_smoothing &&
                a->activation_eps == b->activation_eps && a->near_weight == b->near_weight);
    assert_true(a->equalise);
    assert_true(a->near_in_retain);
    assert_true(a->retain_weight == 1.5);
    assert_int_equal(a->weigh_by, LETHE_WEIGH_ACTIVATION);
    assert_int_equal(a->sort_by, LETHE_SORT_ACT_RATIO);
    assert_int_equal(a->num_features, 3);
    assert_memory_equal(&s.removed, &original.removed, sizeof s.removed);
    assert_int_equal(s.m, 8);
    assert_int_equal(s.passed, original.passed);
    assert_int_equal(s.forget_tokens, 10000);
    assert_int_equal(s.retain_tokens, 20000);
    assert_int_equal(s.near_tokens, 5000);
    assert_true(s.has_near);
    assert_string_equal(s.sae.model_name, "a \"model\"");
    assert_string_equal(s.sae.model_hash, original.sae.model_hash);
    assert_string_equal(s.sae_hash, original.sae_hash);
    assert_int_equal(s.sae.layer, 3);
    assert_int_equal(s.sae.hook, 1);
    int32_t *index = NULL;
    assert_ok(lethe_feature_set_indices(&s, &index, &err), &err);
    for (size_t i = 0; i < 3; i++) assert_int_equal(index[i], original.item[i].index);
    lethe_free(index);
    lethe_feature_set_free(&s);
}

/* Writes j as a file and demands that reading it fails with `place` in the message. */
static void refuse(json_t *j, const char *place, const char *what) {
    char *path = lethe_path_join(dir, "bad.json");
    assert_ok(lethe_json_save(j, path, &err), &err);
    lethe_feature_set s = {0};
    lethe_status st = lethe_feature_set_load(&s, path, &err);
    if (st != LETHE_FORMAT) fail_msg("%s %s: status %d", place, what, (int)st);
    if (!strstr(err.text, place) || !strstr(err.text, path))
        fail_msg("%s %s: the message is %s", place, what, err.text);
    assert_null(s.item);
    lethe_free(path);
}

static json_t *load_good(void) {
    json_t *j = NULL;
    assert_ok(lethe_json_load(&j, good, &err), &err);
    return j;
}

/* The object at `path` ("", "config", "features[1]") of j. */
static json_t *section(json_t *j, const char *path) {
    if (!*path) return j;
    if (!strcmp(path, "features[1]")) return json_array_get(json_object_get(j, "features"), 1);
    return json_object_get(j, path);
}

/* Every key of every object: left out, and with a list of nothing in its place. */
static void every_key(void **state) {
    (void)state;
    static const char *const where[] = {"",        "config",  "thresholds",
                                        "corpora", "removed", "features[1]"};
    size_t keys = 0;
    for (size_t w = 0; w < sizeof where / sizeof *where; w++) {
        json_t *list = load_good();
        const char *key;
        json_t *value;
        json_object_foreach(section(list, where[w]), key, value) {
            char place[128];
            snprintf(place, sizeof place, "%s%s%s", where[w], *where[w] ? "." : "", key);
            json_t *j = load_good();
            json_object_del(section(j, where[w]), key);
            if (strcmp(key, "select") != 0) refuse(j, place, "left out");
            json_object_set_new(section(j, where[w]), key, json_array());
            refuse(j, place, "of another type");
            json_decref(j);
            keys++;
        }
        json_decref(list);
    }
    assert_int_equal(keys, 6 + 6 + 18 + 3 + 6 + 14);
}

/* A file of before there was a choice of selections. */
static void without_select(void **state) {
    (void)state;
    json_t *j = load_good(), *t = section(j, "thresholds");
    static const char *const newer[] = {"select", "forget_percentile", "ratio_percentile",
                                        "effect_windows"};
    for (size_t i = 0; i < 4; i++) assert_int_equal(json_object_del(t, newer[i]), 0);
    char *path = lethe_path_join(dir, "older.json");
    assert_ok(lethe_json_save(j, path, &err), &err);
    lethe_feature_set s = {0};
    assert_ok(lethe_feature_set_load(&s, path, &err), &err);
    assert_int_equal(s.opts.select, LETHE_SELECT_DIFF_MEANS);
    assert_true(s.opts.ratio_percentile == 95);
    lethe_feature_set_free(&s);
    lethe_free(path);
    json_decref(j);
}

static void out_of_range(void **state) {
    (void)state;
    static const struct {
        const char *where, *key, *value;
    } bad[] = {
        {"features[1]", "index", "8"},
        {"features[1]", "index", "-1"},
        {"features[1]", "index", "1.5"},
        {"features[1]", "forget_freq", "1.01"},
        {"features[1]", "retain_freq", "-0.1"},
        {"features[1]", "forget_fires", "-1"},
        {"features[1]", "ratio", "-1"},
        {"features[1]", "score", "null"},
        {"config", "latents", "0"},
        {"config", "latents", "3000000000"},
        {"config", "hook", "\"middle\""},
        {"config", "layer", "-2"},
        {"config", "model_hash", "\"0123456789012345678901234567890123456789\""},
        {"thresholds", "sort_by", "\"best\""},
        {"thresholds", "activation_eps", "-1"},
        {"corpora", "forget_tokens", "-1"},
        {"removed", "min_ratio", "-1"},
        {"", "passed", "9"},
        {"", "passed", "0"},
        {"", "features", "[]"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *j = load_good(), *v = json_loads(bad[i].value, JSON_DECODE_ANY, NULL);
        assert_non_null(v);
        json_object_set_new(section(j, bad[i].where), bad[i].key, v);
        refuse(j, bad[i].key, bad[i].value);
        json_decref(j);
    }
}

static void twice(void **state) {
    (void)state;
    json_t *j = load_good();
    json_t *first = json_object_get(section(j, "features[1]"), "index");
    json_object_set(json_array_get(json_object_get(j, "features"), 0), "index", first);
    refuse(j, "is given twice", "");
    json_decref(j);
}

static void no_memory(void **state) {
    (void)state;
    lethe_status st = LETHE_NOMEM;
    size_t k = 0;
    for (; st == LETHE_NOMEM && k < 100; k++) {
        lethe_feature_set s = {0};
        lethe_mem_fail_after(k);
        st = lethe_feature_set_load(&s, good, &err);
        lethe_mem_fail_after(SIZE_MAX);
        lethe_feature_set_free(&s);
    }
    assert_ok(st, &err);
    assert_true(k > 3);
}

static void table(void **state) {
    (void)state;
    lethe_strbuf b = {0};
    lethe_feature_set_table(&original, 2, &b);
    assert_non_null(strstr(lethe_strbuf_str(&b), "forget 10000, retain 20000 (near 5000 of them)"));
    assert_non_null(strstr(lethe_strbuf_str(&b), "chosen 3 by act-ratio"));
    assert_non_null(strstr(lethe_strbuf_str(&b), "... and 1 more"));
    lethe_strbuf_free(&b);
}

/* ---- the reference experiment's file --------------------------------------------------------- */

typedef struct pt_list {
    int64_t index[3];
    float freq[4];  /* target_freq, of all latents */
    float score[3]; /* of those listed */
    size_t freqs;   /* elements of freq that are written */
    int64_t selected;
    const char *says;
} pt_list;

static void put_tensor(lethe_strbuf *p, const char *name, const char *storage, const char *key,
                       size_t n) {
    py_view v = {.storage = storage,
                 .key = key,
                 .elements = (int64_t)n,
                 .ndim = 1,
                 .shape = {(int64_t)n},
                 .stride = {1}};
    py_text(p, name);
    py_tensor(p, &v);
}

static void write_list(const char *path, const pt_list *l) {
    lethe_strbuf pickle = {0}, zip = {0};
    lethe_strbuf_add(&pickle, "\x80\x02}(", 4);
    put_tensor(&pickle, "indices", "LongStorage", "0", 3);
    if (l->freqs) put_tensor(&pickle, "target_freq", "FloatStorage", "1", l->freqs);
    put_tensor(&pickle, "score", "FloatStorage", "2", 3);
    py_text(&pickle, "selected_k");
    py_int(&pickle, l->selected);
    lethe_strbuf_add(&pickle, "u.", 2);
    const raw_member member[] = {
        {.name = "f/data.pkl", .data = pickle.data, .n = pickle.len},
        {.name = "f/data/0", .data = l->index, .n = sizeof l->index},
        {.name = "f/data/1", .data = l->freq, .n = l->freqs * sizeof *l->freq},
        {.name = "f/data/2", .data = l->score, .n = sizeof l->score},
    };
    raw_zip(&zip, member, 4);
    assert_ok(lethe_write_file(path, zip.data, zip.len, &err), &err);
    lethe_strbuf_free(&pickle);
    lethe_strbuf_free(&zip);
}

static void reference(void **state) {
    (void)state;
    static const pt_list lists[] = {
        {{3, 0, 1}, {0.1f, 0.2f, 0.3f, 0.4f}, {9, 8, 7}, 4, 2, NULL},
        {{3, 0, 4}, {0.1f, 0.2f, 0.3f, 0.4f}, {9, 8, 7}, 4, 3, "features:"},
        {{3, 0, 3}, {0.1f, 0.2f, 0.3f, 0.4f}, {9, 8, 7}, 4, 3, "features:"},
        {{3, 0, -1}, {0.1f, 0.2f, 0.3f, 0.4f}, {9, 8, 7}, 4, 3, "features:"},
        {{3, 0, 1}, {0.1f, 0.2f, 0.3f, 0.4f}, {9, 8, 7}, 4, 4, "selected_k: got 4"},
        {{3, 0, 1}, {0.1f, 0.2f, 0.3f, 0.4f}, {9, 8, 7}, 4, 0, "selected_k: got 0"},
        {{3, 0, 1}, {0.1f, 0.2f, 0.3f, -1}, {9, 8, 7}, 4, 3, "\"target_freq\": element 3 is -1"},
        {{3, 0, 1}, {0.1f, 0.2f, 0.3f, 0.4f}, {NAN, 8, 7}, 4, 3, "\"score\": element 0 is nan"},
        {{1, 0, 2}, {0.1f, 0.2f, 0.3f, 0.4f}, {9, 8, 7}, 2, 3, "\"target_freq\": got 2 elements"},
    };
    char path[600];
    snprintf(path, sizeof path, "%s/layer_7_features.pt", dir);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        lethe_feature_set s = {0};
        write_list(path, &lists[i]);
        lethe_status st = lethe_feature_set_load(&s, path, &err);
        if (lists[i].says) {
            if (st != LETHE_FORMAT || !strstr(err.text, lists[i].says))
                fail_msg("list %zu: status %d, %s", i, (int)st, st ? err.text : "");
            assert_null(s.item);
            continue;
        }
        assert_ok(st, &err);
        assert_true(s.n == 2 && s.m == 4 && s.sae.layer == 7 && s.sae.hook == 1);
        assert_true(s.item[0].index == 3 && s.item[0].forget.freq == (double)0.4f);
        assert_true(s.item[0].score == 9 && s.item[1].score == 8 && s.item[1].index == 0);
        lethe_feature_set_free(&s);
    }
    const char *golden = test_shared("golden/formats/reference_pt/layer_15_features.pt");
    if (!golden) return;
    lethe_feature_set s = {0};
    assert_ok(lethe_feature_set_load(&s, golden, &err), &err);
    assert_true(s.n == 100 && s.m == 192 && s.sae.layer == 15 && s.item[0].index == 104);
    assert_int_equal(s.item[0].forget.fires, 614);
    lethe_feature_set_free(&s);
}

int main(void) {
    dir = test_temp_dir();
    good = lethe_path_join(dir, "features.json");
    make_original();
    assert_ok(lethe_feature_set_save(&original, good, &err), &err);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),     cmocka_unit_test(every_key),
        cmocka_unit_test(without_select), cmocka_unit_test(out_of_range),
        cmocka_unit_test(twice),          cmocka_unit_test(table),
        cmocka_unit_test(no_memory),      cmocka_unit_test(reference),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_feature_set_free(&original);
    lethe_free(good);
    test_temp_remove();
    return rc;
}
