/* SPDX-License-Identifier: MIT
 *
 * The patch file: what is written is read back; every tensor and every key that is missing, of
 * another kind or out of range is refused by name, and so is a file of another model.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/safetensors.h"
#include "stage/patch.h"

#define N 3
#define D 5

static char *good, *bad;
static lethe_err err;
static lethe_patch original;

static void make_original(void) {
    lethe_sae sae;
    assert_ok(lethe_sae_alloc(&sae, D, 20, 4, &err), &err);
    lethe_sae_init(&sae, 1);
    const int32_t feature[N] = {17, 0, 4};
    assert_ok(lethe_patch_from_sae(&original, &sae, feature, N, &err), &err);
    lethe_sae_free(&sae);
    for (size_t i = 0; i < N; i++) original.threshold[i] = 0.1f + 2 * (float)i;
    original.how.strength = -1.0 / 3;
    original.special = true;
    snprintf(original.model_name, sizeof original.model_name, "a \"model\"");
    memset(original.model_hash, 'a', 32);
    memset(original.sae_hash, 'b', 32);
    original.layer = 3;
    original.hook = LETHE_HOOK_PRE;
    original.rows = 12345;
    original.figures = (lethe_gate_figures){.held_out = 678,
                                            .agreement = 0.99,
                                            .precision = 2.0 / 3,
                                            .recall = 0.5,
                                            .row_agreement = 0.25,
                                            .row_precision = NAN,
                                            .row_recall = 1,
                                            .activation_recall = 0};
}

static void round_trip(void **state) {
    (void)state;
    lethe_patch p, *o = &original;
    assert_ok(lethe_patch_load(&p, good, &err), &err);
    assert_int_equal(p.n, N);
    assert_int_equal(p.d, D);
    assert_memory_equal(p.W_enc, o->W_enc, N * D * sizeof(float));
    assert_memory_equal(p.W_dec, o->W_dec, N * D * sizeof(float));
    assert_memory_equal(p.b_enc, o->b_enc, N * sizeof(float));
    assert_memory_equal(p.threshold, o->threshold, N * sizeof(float));
    assert_memory_equal(p.feature, o->feature, N * sizeof(int32_t));
    assert_true(p.how.strength == o->how.strength);
    assert_true(p.special);
    assert_string_equal(p.model_name, o->model_name);
    assert_string_equal(p.model_hash, o->model_hash);
    assert_string_equal(p.sae_hash, o->sae_hash);
    assert_int_equal(p.layer, 3);
    assert_int_equal(p.hook, LETHE_HOOK_PRE);
    assert_int_equal(p.k, 4);
    assert_int_equal(p.m, 20);
    assert_int_equal(p.rows, 12345);
    const lethe_gate_figures *f = &p.figures, *g = &o->figures;
    assert_int_equal(f->held_out, 678);
    assert_true(f->agreement == g->agreement && f->precision == g->precision &&
                f->recall == g->recall && f->row_agreement == g->row_agreement &&
                f->row_recall == g->row_recall && f->activation_recall == g->activation_recall);
    assert_true(isnan(f->row_precision));
    lethe_patch_free(&p);
    assert_null(p.W_enc);
}

/* ---- files with one flaw --------------------------------------------------------------------- */

typedef enum flaw {
    NO_FLAW,
    LEFT_OUT,
    OTHER_DTYPE,
    LONGER,
    NOT_FINITE, /* the last element */
    NEGATIVE,
    TWICE,   /* the last element as the first */
    OUTSIDE, /* the last element 20 */
    EMPTY
} flaw;

static const char *const tensors[] = {"W_enc", "b_enc", "threshold", "W_dec", "features"};
static const char *const keys[] = {"format", "model_hash", "layer",    "hook", "scale",   "special",
                                   "k",      "latents",    "sae_hash", "rows", "held_out"};

/* The original, but for tensor t with a flaw, or the key with another value (NULL: left out). */
static void write_bad(int t, flaw what, const char *key, const char *value) {
    lethe_st *in = NULL;
    lethe_st_writer *w = NULL;
    assert_ok(lethe_st_open(&in, good, &err), &err);
    assert_ok(lethe_st_create(&w, bad, &err), &err);
    lethe_st_set_meta(w, "agreement", "0.5");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool this_one = key && !strcmp(key, keys[i]);
        if (!this_one) lethe_st_set_meta(w, keys[i], lethe_st_meta(in, keys[i]));
    }
    if (key && value) lethe_st_set_meta(w, key, value);
    for (int i = 0; i < 5; i++) {
        const lethe_tensor *from = lethe_st_find(in, tensors[i]);
        flaw now = i == t || what == EMPTY ? what : NO_FLAW;
        lethe_dtype dtype = now == OTHER_DTYPE ? i == 4 ? LETHE_F32 : LETHE_I32 : from->dtype;
        uint32_t data[64];
        size_t shape[2] = {N, D}, count = from->count;
        memcpy(data, from->data, count * 4);
        uint32_t nan = 0x7fc00000, minus = 0xbf800000, *last = &data[count - 1];
        if (now == LEFT_OUT) continue;
        if (now == NOT_FINITE) *last = nan;
        if (now == NEGATIVE) *last = i == 4 ? (uint32_t)-1 : minus;
        if (now == TWICE) *last = data[0];
        if (now == OUTSIDE) *last = 20;
        if (now == LONGER) {
            shape[0] = N + 1;
            count += i == 0 || i == 3 ? D : 1;
            memset(data + from->count, 0, (count - from->count) * 4);
        }
        if (now == EMPTY) shape[0] = count = 0;
        lethe_st_begin(w, tensors[i], dtype, from->ndim, shape);
        lethe_st_put(w, data, count * 4);
    }
    assert_ok(lethe_st_commit(&w, &err), &err);
    lethe_st_close(&in);
}

static void refuse(const char *words, const char *what) {
    lethe_patch p = {0};
    lethe_status st = lethe_patch_load(&p, bad, &err);
    if (st != LETHE_FORMAT) fail_msg("%s, %s: status %d", words, what, (int)st);
    if (!strstr(err.text, words) || !strstr(err.text, bad))
        fail_msg("%s, %s: the message is %s", words, what, err.text);
    assert_null(p.W_enc);
}

static void without_a_flaw(void **state) {
    (void)state;
    lethe_patch p;
    write_bad(-1, NO_FLAW, NULL, NULL);
    assert_ok(lethe_patch_load(&p, bad, &err), &err);
    assert_true(p.figures.agreement == 0.5);
    assert_true(isnan(p.figures.recall));
    lethe_patch_free(&p);
}

static void bad_tensors(void **state) {
    (void)state;
    for (int t = 0; t < 5; t++) {
        char name[32];
        snprintf(name, sizeof name, "\"%s\"", tensors[t]);
        write_bad(t, LEFT_OUT, NULL, NULL);
        refuse(name, "missing");
        write_bad(t, OTHER_DTYPE, NULL, NULL);
        refuse(name, "of another dtype");
        if (t) { /* the others follow the first */
            write_bad(t, LONGER, NULL, NULL);
            refuse(name, "longer");
        }
        if (t == 4) continue;
        write_bad(t, NOT_FINITE, NULL, NULL);
        refuse(name, "not a number");
    }
    write_bad(0, LONGER, NULL, NULL);
    refuse("got shape", "one row more than biases");
    write_bad(2, NEGATIVE, NULL, NULL);
    refuse("\"threshold\": element 2 is -1, want >= 0", "");
    write_bad(4, NEGATIVE, NULL, NULL);
    refuse("feature -1 does not exist", "");
    write_bad(4, OUTSIDE, NULL, NULL);
    refuse("feature 20 does not exist", "");
    write_bad(4, TWICE, NULL, NULL);
    refuse("feature 17 is given twice", "");
    write_bad(0, EMPTY, NULL, NULL);
    refuse("\"W_enc\" is empty", "");
}

static void bad_metadata(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char name[32];
        snprintf(name, sizeof name, i ? "\"%s\"" : "%s", keys[i]);
        write_bad(-1, NO_FLAW, keys[i], NULL);
        refuse(name, "left out");
        write_bad(-1, NO_FLAW, keys[i], "x");
        refuse(name, "x");
    }
    static const struct {
        const char *key, *value, *words;
    } each[] = {
        {"format", "lethe-patch-9", "format \"lethe-patch-9\", want \"lethe-patch-1\""},
        {"layer", "-1", "\"layer\""},
        {"layer", "99999999999", "\"layer\""},
        {"hook", "unknown", "\"hook\""},
        {"scale", "inf", "\"scale\""},
        {"scale", "nan", "\"scale\""},
        {"special", "2", "\"special\""},
        {"k", "0", "\"k\""},
        {"k", "21", "\"k\""},
        {"latents", "0", "\"latents\""},
        {"latents", "17", "feature 17 does not exist"},
        {"latents", "2", "\"k\""},
        {"agreement", "1.5", "\"agreement\""},
        {"recall", "-0.1", "\"recall\""},
        {"model_hash", "abc", "\"model_hash\""},
    };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        write_bad(-1, NO_FLAW, each[i].key, each[i].value);
        refuse(each[i].words, each[i].value);
    }
}

static void cut_off(void **state) {
    (void)state;
    lethe_map m;
    assert_ok(lethe_map_open(&m, good, &err), &err);
    for (size_t n = 0; n < m.size; n += 1 + n / 3) {
        assert_ok(lethe_write_file(bad, m.data, n, &err), &err);
        refuse("", "cut off");
    }
    assert_ok(lethe_write_file(bad, m.data, m.size - 1, &err), &err);
    refuse("", "cut off");
    lethe_map_close(&m);
    lethe_patch p = {0};
    unlink(bad);
    assert_int_equal(lethe_patch_load(&p, bad, &err), LETHE_NOTFOUND);
}

/* Each method with its numbers; and what may not be. */
static void other_methods(void **state) {
    (void)state;
    static const lethe_intervention each[] = {
        {.method = LETHE_METHOD_CLAMP, .strength = 1.0 / 3},
        {.method = LETHE_METHOD_CLAMP, .strength = 2, .unit = LETHE_CLAMP_NORM},
        {.method = LETHE_METHOD_DIRECTION, .strength = 1},
        {.method = LETHE_METHOD_DIRECTION, .strength = 0.1, .gated = true},
        {.strength = -3, .guard = true, .guard_threshold = 0.1, .guard_window = 7},
        {.strength = -3, .guard = true, .guard_by = LETHE_GUARD_EVIDENCE, .guard_threshold = 5.5},
    };
    const lethe_intervention before = original.how;
    for (size_t i = 0; i < N; i++) original.mean[i] = 1 + (float)i;
    for (size_t i = 0; i < 2 * N; i++) original.evidence[i] = 2 - (float)i;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        lethe_patch p = {0};
        original.how = each[i];
        assert_ok(lethe_patch_save(&original, bad, &err), &err);
        assert_ok(lethe_patch_load(&p, bad, &err), &err);
        assert_int_equal(p.how.method, each[i].method);
        assert_true(p.how.strength == each[i].strength);
        assert_int_equal(p.how.unit, each[i].unit);
        assert_int_equal(p.how.gated, each[i].gated);
        assert_int_equal(p.how.guard, each[i].guard);
        assert_true(p.how.guard_threshold == each[i].guard_threshold);
        assert_int_equal(p.how.guard_by, each[i].guard_by);
        assert_int_equal(p.how.guard_window, each[i].guard_window);
        assert_memory_equal(p.evidence, original.evidence, 2 * N * sizeof(float));
        assert_memory_equal(p.mean, original.mean, N * sizeof(float));
        assert_memory_equal(p.centre, original.centre, N * sizeof(float));
        lethe_patch_free(&p);
    }
    original.mean[1] = NAN; /* not known, so not written */
    original.how = each[0];
    assert_ok(lethe_patch_save(&original, bad, &err), &err);
    refuse("\"mean\"", "clamp without means");
    original.how = each[1];
    original.how.strength = -1;
    assert_ok(lethe_patch_save(&original, bad, &err), &err);
    refuse("--strength is -1", "negative");
    original.how = each[4];
    original.how.guard_threshold = 2;
    assert_ok(lethe_patch_save(&original, bad, &err), &err);
    refuse("--guard is 2", "a share of 2");
    original.how = each[5];
    original.evidence[3] = NAN;
    assert_ok(lethe_patch_save(&original, bad, &err), &err);
    refuse("\"evidence\"", "a guard by evidence without any");
    original.how = before;
    write_bad(-1, NO_FLAW, "method", "burn"); /* what it writes lacks the newer tensors */
    refuse("\"method\" is \"burn\", want scale, clamp or direction", "");
    write_bad(-1, NO_FLAW, "method", "clamp");
    refuse("\"strength\" is missing", "");
    lethe_patch p = {0};
    write_bad(-1, NO_FLAW, NULL, NULL);
    assert_ok(lethe_patch_load(&p, bad, &err), &err);
    assert_true(isnan(p.centre[0]) && isnan(p.mean[N - 1]) && isnan(p.evidence[2 * N - 1]));
    assert_int_equal(p.how.method, LETHE_METHOD_SCALE);
    lethe_patch_free(&p);
}

static void whose_model(void **state) {
    (void)state;
    lethe_lm_info info = {.name = "this one", .d_model = D};
    memset(info.hash, 'a', 32);
    assert_ok(lethe_patch_check_model(&original, &info, "p", &err), &err);
    info.hash[31] = 'c';
    assert_int_equal(lethe_patch_check_model(&original, &info, "p", &err), LETHE_MISMATCH);
    assert_non_null(strstr(err.text, "p: this patch was made for another model (a \"model\")"));
    info.hash[0] = '\0'; /* not known */
    assert_ok(lethe_patch_check_model(&original, &info, "p", &err), &err);
    info.d_model = D + 1;
    assert_int_equal(lethe_patch_check_model(&original, &info, "p", &err), LETHE_MISMATCH);
    assert_non_null(strstr(err.text, "5 wide, the model this one is 6 wide"));
}

static void no_memory(void **state) {
    (void)state;
    lethe_status st = LETHE_NOMEM;
    size_t k = 0;
    for (; st == LETHE_NOMEM && k < 100; k++) {
        lethe_patch p = {0};
        lethe_mem_fail_after(k);
        st = lethe_patch_load(&p, good, &err);
        lethe_mem_fail_after(SIZE_MAX);
        lethe_patch_free(&p);
    }
    assert_ok(st, &err);
    assert_true(k > 5);
}

int main(void) {
    const char *dir = test_temp_dir();
    good = lethe_path_join(dir, "good.safetensors");
    bad = lethe_path_join(dir, "bad.safetensors");
    make_original();
    assert_ok(lethe_patch_save(&original, good, &err), &err);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),  cmocka_unit_test(without_a_flaw),
        cmocka_unit_test(bad_tensors), cmocka_unit_test(bad_metadata),
        cmocka_unit_test(cut_off),     cmocka_unit_test(whose_model),
        cmocka_unit_test(no_memory),   cmocka_unit_test(other_methods),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_patch_free(&original);
    lethe_free(good);
    lethe_free(bad);
    test_temp_remove();
    return rc;
}
