/* SPDX-License-Identifier: MIT
 *
 * The residual stream before and after every layer, and the logits, of five model families against
 * Hugging Face transformers (golden/backbone).
 */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "lm/lm.h"

#define MAX_SITES 32

typedef struct family {
    const char *name;
    double tolerance; /* of max|got - want| / max|want| */
} family;

/* llama and mistral agree to rounding; libllama tabulates the GELU of the others. */
static family families[] = {
    {"llama", 1e-5}, {"mistral", 1e-5}, {"gemma", 1e-3}, {"gemma2", 1e-3}, {"gpt2", 1e-3}};

typedef struct reference {
    lethe_st *st;
    int32_t *token;
    size_t n, d, n_vocab;
    double tolerance;
} reference;

typedef struct site {
    reference *ref;
    char name[32];
    size_t rows;
    double worst;
} site;

static float *load(const reference *r, const char *name, size_t width) {
    lethe_err err = {0};
    const lethe_tensor *t;
    size_t shape[] = {r->n, width};
    float *x;
    assert_ok(lethe_st_want(r->st, name, 2, shape, &t, &err), &err);
    assert_ok(lethe_alloc(&x, t->count, sizeof *x, name, &err), &err);
    assert_ok(lethe_tensor_to_f32(t, 0, t->count, x, &err), &err);
    return x;
}

static lethe_status on_rows(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    site *s = user;
    const reference *r = s->ref;
    assert_int_equal(rows->n, r->n);
    assert_int_equal(rows->d, r->d);
    for (size_t i = 0; i < rows->n; i++) {
        assert_int_equal(rows->token[i], r->token[i]);
        assert_int_equal(rows->pos[i], i);
        assert_int_equal(rows->seq[i], 0);
    }
    float *want = load(r, s->name, r->d);
    double e = test_rel_error(rows->x, want, r->n * r->d);
    if (e > s->worst) s->worst = e;
    assert_close(rows->x, want, r->n * r->d, r->tolerance, s->name);
    lethe_free(want);
    s->rows += rows->n;
    return LETHE_OK;
}

typedef struct logits_seen {
    const reference *ref;
    float *got;
    size_t n;
} logits_seen;

static lethe_status on_logits(void *user, size_t seq, size_t pos, const float *logits,
                              lethe_err *err) {
    (void)err;
    logits_seen *c = user;
    assert_int_equal(seq, 0);
    assert_int_equal(pos, c->n++);
    memcpy(c->got + pos * c->ref->n_vocab, logits, c->ref->n_vocab * sizeof *logits);
    return LETHE_OK;
}

static void check_logits(lethe_lm *lm, reference *r, const lethe_seq *seq) {
    lethe_err err = {0};
    float *want = load(r, "logits", r->n_vocab);
    logits_seen c = {.ref = r};
    size_t n = r->n * r->n_vocab;
    assert_ok(lethe_alloc(&c.got, n, sizeof *want, "logits", &err), &err);
    assert_ok(lethe_lm_forward(lm, seq, 1, NULL, on_logits, &c, &err), &err);
    assert_int_equal(c.n, r->n);
    print_message("    %-8s %.2g\n", "logits", test_rel_error(c.got, want, n));
    assert_close(c.got, want, n, r->tolerance, "logits");
    lethe_free(c.got);
    lethe_free(want);
}

static void open_reference(const family *f, reference *r, lethe_lm **lm) {
    char gguf[64], vectors[64];
    snprintf(gguf, sizeof gguf, "golden/backbone/%s.gguf", f->name);
    snprintf(vectors, sizeof vectors, "golden/backbone/%s.safetensors", f->name);
    if (!test_shared(gguf) || !test_shared(vectors)) skip();
    lethe_err err = {0};
    assert_ok(lethe_st_open(&r->st, test_shared(vectors), &err), &err);
    const lethe_tensor *t = lethe_st_find(r->st, "tokens");
    assert_non_null(t);
    r->n = t->count;
    r->tolerance = f->tolerance;
    assert_ok(lethe_alloc(&r->token, r->n, sizeof *r->token, "tokens", &err), &err);
    assert_ok(lethe_tensor_to_i32(t, 0, r->n, r->token, &err), &err);
    lethe_lm_opts o = lethe_lm_defaults();
    o.exact = true;
    assert_ok(lethe_lm_open(lm, test_shared(gguf), &o, NULL, &err), &err);
    r->d = lethe_lm_get_info(*lm)->d_model;
    r->n_vocab = lethe_lm_get_info(*lm)->n_vocab;
}

static void tap(lethe_lm *lm, site *s, size_t i) {
    lethe_err err = {0};
    lethe_hook hook = i % 2 ? LETHE_HOOK_POST : LETHE_HOOK_PRE;
    snprintf(s->name, sizeof s->name, "%s.%zu", i % 2 ? "post" : "pre", i / 2);
    assert_ok(lethe_lm_add_tap(lm, (int)i / 2, hook, on_rows, s, &err), &err);
}

/* Every site alone (the graph stops there), then all of them at once with the logits. */
static void check_family(void **state) {
    lethe_err err = {0};
    reference r = {0};
    lethe_lm *lm = NULL;
    open_reference(*state, &r, &lm);
    lethe_seq seq = {r.token, r.n};
    size_t n_sites = 2 * (size_t)lethe_lm_get_info(lm)->n_layer;
    assert_in_range(n_sites, 2, MAX_SITES);
    site sites[MAX_SITES] = {0};
    for (size_t i = 0; i < n_sites; i++) {
        sites[i].ref = &r;
        lethe_lm_clear_hooks(lm);
        tap(lm, &sites[i], i);
        assert_ok(lethe_lm_capture(lm, &seq, 1, &err), &err);
        assert_int_equal(sites[i].rows, r.n);
        print_message("    %-8s %.2g\n", sites[i].name, sites[i].worst);
    }
    lethe_lm_clear_hooks(lm);
    for (size_t i = 0; i < n_sites; i++) tap(lm, &sites[i], i);
    check_logits(lm, &r, &seq);
    for (size_t i = 0; i < n_sites; i++) assert_int_equal(sites[i].rows, 2 * r.n);
    lethe_lm_close(&lm);
    lethe_free(r.token);
    lethe_st_close(&r.st);
}

int main(void) {
    if (!test_shared("golden/backbone/llama.gguf")) return LETHE_TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        {"llama", check_family, NULL, NULL, &families[0]},
        {"mistral", check_family, NULL, NULL, &families[1]},
        {"gemma", check_family, NULL, NULL, &families[2]},
        {"gemma2", check_family, NULL, NULL, &families[3]},
        {"gpt2", check_family, NULL, NULL, &families[4]},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
