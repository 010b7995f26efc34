/* SPDX-License-Identifier: MIT
 *
 * The residual stream before and after every layer, and the logits, of five model families against
 * Hugging Face transformers (golden/backbone), in float32 and quantised; and the intervention at
 * the first, a middle and the last layer of each.
 */
#include "support/quantize.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/safetensors.h"
#include "sae/encoder.h"
#include "stage/ablate.h"

#define MAX_SITES 32

typedef struct family {
    const char *name;
    double tolerance;   /* of max|got - want| / max|want| */
    double eight, four; /* floors of a row's cosine, quantised to Q8_0 and Q4_0: these models are
                           tiny and random, so rounding shows more than in a trained one */
} family;

/* llama and mistral agree to rounding; libllama tabulates the GELU of the others. */
static family families[] = {{"llama", 1e-5, 0.998, 0.93},
                            {"mistral", 1e-5, 0.998, 0.89},
                            {"gemma", 1e-3, 0.998, 0.97},
                            {"gemma2", 1e-3, 0.998, 0.90},
                            {"gpt2", 1e-3, 0.998, 0.95}};
#define FAMILIES (sizeof families / sizeof *families)

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

/* quantised: "q8_0", "q4_0", or NULL. */
static void open_reference(const family *f, const char *quantised, reference *r, lethe_lm **lm) {
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
    char *copy = lethe_path_join(test_temp_dir(), "quantised.gguf");
    if (quantised) assert_true(test_quantize(test_shared(gguf), copy, quantised, stdout));
    assert_ok(lethe_lm_open(lm, quantised ? copy : test_shared(gguf), &o, NULL, &err), &err);
    lethe_free(copy);
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
    open_reference(*state, NULL, &r, &lm);
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

/* ---- quantised ------------------------------------------------------------------------------ */

static double cosine(const float *a, const float *b, size_t n) {
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static lethe_status on_near_rows(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    site *s = user;
    assert_int_equal(rows->n, s->ref->n);
    float *want = load(s->ref, s->name, rows->d);
    for (size_t t = 0; t < rows->n; t++) {
        double c = cosine(rows->x + t * rows->d, want + t * rows->d, rows->d);
        if (!(c >= s->worst)) s->worst = c;
    }
    lethe_free(want);
    s->rows += rows->n;
    return LETHE_OK;
}

static void quantised_as(const family *f, const char *type, double floor) {
    lethe_err err = {0};
    reference r = {0};
    lethe_lm *lm = NULL;
    print_message("  %s\n", type);
    open_reference(f, type, &r, &lm);
    lethe_seq seq = {r.token, r.n};
    size_t n_sites = 2 * (size_t)lethe_lm_get_info(lm)->n_layer;
    for (size_t i = 0; i < n_sites; i++) {
        site s = {.ref = &r, .worst = 1};
        lethe_lm_clear_hooks(lm);
        lethe_hook hook = i % 2 ? LETHE_HOOK_POST : LETHE_HOOK_PRE;
        snprintf(s.name, sizeof s.name, "%s.%zu", i % 2 ? "post" : "pre", i / 2);
        assert_ok(lethe_lm_add_tap(lm, (int)i / 2, hook, on_near_rows, &s, &err), &err);
        assert_ok(lethe_lm_capture(lm, &seq, 1, &err), &err);
        assert_int_equal(s.rows, r.n);
        print_message("    %-8s cosine %.6f\n", s.name, s.worst);
        assert_true(s.worst >= floor);
        assert_true(s.worst < 1); /* it is quantised */
    }
    lethe_lm_close(&lm);
    lethe_free(r.token);
    lethe_st_close(&r.st);
}

static void check_quantised(void **state) {
    const family *f = *state;
    quantised_as(f, "q8_0", f->eight);
    quantised_as(f, "q4_0", f->four);
}

/* ---- the intervention ------------------------------------------------------------------------ */

#define M 128
#define K 8
#define CHOSEN 16
#define SCALE (-2.0)

typedef struct seen {
    float *x;
    size_t n;
} seen;

static lethe_status keep_rows(void *user, const lethe_rows *rows, lethe_err *err) {
    seen *s = user;
    LETHE_TRY(lethe_alloc(&s->x, rows->n * rows->d, sizeof *s->x, "rows", err));
    memcpy(s->x, rows->x, rows->n * rows->d * sizeof *s->x);
    s->n = rows->n;
    return LETHE_OK;
}

/* x' = x + sum over fired chosen features of (scale - 1) z_i W_dec_i, and the very bytes of x where
 * none fired. Returns the number of rows that changed. */
static size_t by_the_formula(const lethe_sae *sae, const int32_t *chosen, const seen *before,
                             const seen *after) {
    lethe_codes c;
    lethe_encoder e;
    lethe_err err = {0};
    assert_ok(lethe_codes_alloc(&c, before->n, K, &err), &err);
    assert_ok(lethe_encoder_open(&e, sae, &err), &err);
    assert_ok(lethe_encode(&e, before->x, before->n, &c, NULL, &err), &err);
    lethe_encoder_close(&e);
    size_t changed = 0, d = sae->d;
    for (size_t t = 0; t < before->n; t++) {
        const float *x = before->x + t * d, *y = after->x + t * d;
        double want[256], most = 0, off = 0;
        bool fired = false;
        assert_true(d <= 256);
        for (size_t j = 0; j < d; j++) want[j] = (double)x[j];
        for (size_t k = t * K; k < (t + 1) * K; k++)
            for (size_t i = 0; i < CHOSEN; i++) {
                if (c.index[k] != chosen[i] || !(c.value[k] > 0)) continue;
                fired = true;
                for (size_t j = 0; j < d; j++)
                    want[j] += (SCALE - 1) * (double)c.value[k] *
                               (double)sae->W_dec[(size_t)chosen[i] * d + j];
            }
        for (size_t j = 0; j < d; j++) {
            most = fmax(most, fabs(want[j]));
            off = fmax(off, fabs(want[j] - (double)y[j]));
        }
        assert_true(off <= 1e-5 * most);
        if (!fired) assert_memory_equal(x, y, d * sizeof *x);
        changed += fired;
    }
    lethe_codes_free(&c);
    return changed;
}

typedef struct difference {
    const reference *ref;
    float *first;
    double most;
    size_t n;
} difference;

static lethe_status keep_or_compare(void *user, size_t seq, size_t pos, const float *logits,
                                    lethe_err *err) {
    (void)seq;
    (void)err;
    difference *s = user;
    float *at = s->first + pos * s->ref->n_vocab;
    for (size_t i = 0; i < s->ref->n_vocab; i++)
        s->most = fmax(s->most, fabs((double)logits[i] - (double)at[i]));
    if (s->n++ < s->ref->n) memcpy(at, logits, s->ref->n_vocab * sizeof *at);
    return LETHE_OK;
}

static void intervene_at(lethe_lm *lm, const reference *r, const lethe_sae *sae, int layer,
                         lethe_hook hook) {
    lethe_err err = {0};
    lethe_seq seq = {r->token, r->n};
    int32_t chosen[CHOSEN];
    for (int32_t i = 0; i < CHOSEN; i++) chosen[i] = (i * 37 + layer) % M;
    lethe_ablation *a;
    seen before = {0}, after = {0};
    difference logits = {.ref = r};
    assert_ok(lethe_zalloc(&logits.first, r->n * r->n_vocab, sizeof(float), "logits", &err), &err);
    lethe_lm_clear_hooks(lm);
    assert_ok(lethe_lm_forward(lm, &seq, 1, NULL, keep_or_compare, &logits, &err), &err);
    logits.most = 0;
    assert_ok(lethe_ablation_open(&a, sae, chosen, CHOSEN, SCALE, &err), &err);
    assert_ok(lethe_lm_add_tap(lm, layer, hook, keep_rows, &before, &err), &err);
    assert_ok(lethe_ablation_attach(a, lm, layer, hook, true, &err), &err);
    assert_ok(lethe_lm_add_tap(lm, layer, hook, keep_rows, &after, &err), &err);
    assert_ok(lethe_lm_forward(lm, &seq, 1, NULL, keep_or_compare, &logits, &err), &err);
    assert_int_equal(before.n, r->n);
    assert_int_equal(after.n, r->n);
    size_t changed = by_the_formula(sae, chosen, &before, &after);
    print_message("    %s.%d: %zu of %zu rows changed, logits by %.2g\n",
                  lethe_hook_name((int)hook), layer, changed, r->n, logits.most);
    assert_in_range(changed, 1, r->n - 1);
    assert_int_equal(lethe_ablation_stats(a)->rows_fired, changed);
    assert_int_equal(logits.n, 2 * r->n);
    assert_true(logits.most > 1e-3); /* the model went on with the changed rows */
    lethe_lm_clear_hooks(lm);
    lethe_ablation_close(&a);
    lethe_free(before.x);
    lethe_free(after.x);
    lethe_free(logits.first);
}

static void check_intervention(void **state) {
    lethe_err err = {0};
    for (int quantised = 0; quantised < 2; quantised++) {
        reference r = {0};
        lethe_lm *lm = NULL;
        lethe_sae sae;
        open_reference(*state, quantised ? "q4_0" : NULL, &r, &lm);
        assert_ok(lethe_sae_alloc(&sae, r.d, M, K, &err), &err);
        lethe_sae_init(&sae, 7);
        int last = lethe_lm_get_info(lm)->n_layer - 1;
        for (int i = 0; i < 6; i++)
            intervene_at(lm, &r, &sae,
                         i / 2 == 0   ? 0
                         : i / 2 == 1 ? last / 2 + 1
                                      : last,
                         i % 2 ? LETHE_HOOK_POST : LETHE_HOOK_PRE);
        lethe_sae_free(&sae);
        lethe_lm_close(&lm);
        lethe_free(r.token);
        lethe_st_close(&r.st);
    }
}

int main(void) {
    if (!test_shared("golden/backbone/llama.gguf")) return LETHE_TEST_SKIPPED;
    static const struct {
        const char *what;
        CMUnitTestFunction run;
    } kind[] = {{"", check_family},
                {", quantised", check_quantised},
                {", intervention", check_intervention}};
    static char name[3 * FAMILIES][40];
    struct CMUnitTest tests[3 * FAMILIES];
    for (size_t i = 0; i < 3 * FAMILIES; i++) {
        snprintf(name[i], sizeof name[i], "%s%s", families[i / 3].name, kind[i % 3].what);
        tests[i] = (struct CMUnitTest){name[i], kind[i % 3].run, NULL, NULL, &families[i / 3]};
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
