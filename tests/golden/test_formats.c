/* SPDX-License-Identifier: MIT
 *
 * Other people's SAEs, one small file a format with rows, activations and reconstructions that its
 * own project's code gives: read from the folder and from the file alone, with no option but k
 * where the file lacks it. The forward pass is written out here once more, in double and with
 * nothing of the library, so that a wrong field shows whatever the encoder does.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"
#include "sae/encoder.h"
#include "sae/layout.h"

typedef struct golden {
    const char *folder, *file; /* file: relative to the folder */
    const char *layout;
    lethe_arch arch;
    size_t k; /* of the SAE */
    bool ask; /* k is not in the file */
    int layer, hook;
    double tol; /* relative, of z and x_hat */
    const char *model;
} golden;

#define F32 1e-5
#define B16 1e-2
#define GPT2 "gpt2-small"
#define PYTHIA "EleutherAI/pythia-70m"

static const golden cases[] = {
    {"reference_pt", "sae_layer_15.pt", "reference checkpoint", LETHE_ARCH_TOPK, 6, false, 15, 1,
     F32, "meta-llama/Llama-2-7b-chat-hf"},
    {"bare_pt", "sae.pt", "state dictionary", LETHE_ARCH_TOPK, 6, true, -1, -1, B16, ""},
    {"linear_safetensors", "sae.safetensors", "state dictionary", LETHE_ARCH_TOPK, 6, true, -1, -1,
     F32, ""},
    {"saelens_standard", "sae_weights.safetensors", "SAELens", LETHE_ARCH_RELU, 0, false, 8, 0, F32,
     GPT2},
    {"saelens_standard_bf16", "sae_weights.safetensors", "SAELens", LETHE_ARCH_RELU, 0, false, 8, 0,
     B16, GPT2},
    {"saelens_topk", "sae_weights.safetensors", "SAELens", LETHE_ARCH_TOPK, 6, false, 8, 0, F32,
     GPT2},
    {"saelens_topk_rescaled", "sae_weights.safetensors", "SAELens", LETHE_ARCH_TOPK, 6, false, 8, 0,
     F32, GPT2},
    {"saelens_old_topk", "sae_weights.safetensors", "SAELens", LETHE_ARCH_TOPK, 6, false, 8, 0, F32,
     GPT2},
    {"saelens_jumprelu", "sae_weights.safetensors", "SAELens", LETHE_ARCH_JUMPRELU, 0, false, 8, 0,
     F32, GPT2},
    {"saelens_gated", "sae_weights.safetensors", "SAELens", LETHE_ARCH_GATED, 0, false, 8, 0, F32,
     GPT2},
    {"sparsify/layers.15", "sae.safetensors", "sparsify", LETHE_ARCH_TOPK, 6, false, 15, 1, F32,
     ""},
    {"gemma_scope", "params.npz", "Gemma Scope", LETHE_ARCH_JUMPRELU, 0, false, -1, -1, F32, ""},
    {"gemma_scope_2", "params.safetensors", "Gemma Scope 2", LETHE_ARCH_JUMPRELU, 0, false, 13, 1,
     F32, "google/gemma-3-1b-pt"},
    {"llama_scope/Llama3_1-8B-Base-L15R-8x", "checkpoints/final.safetensors", "Llama Scope",
     LETHE_ARCH_JUMPRELU, 0, false, 15, 1, B16, ""},
    {"dictionary_learning/standard", "ae.pt", "dictionary_learning", LETHE_ARCH_RELU, 0, false, 3,
     1, F32, PYTHIA},
    {"dictionary_learning/topk", "ae.pt", "dictionary_learning", LETHE_ARCH_TOPK, 6, false, 3, 1,
     F32, PYTHIA},
    {"dictionary_learning/batch_topk", "ae.pt", "dictionary_learning", LETHE_ARCH_JUMPRELU, 0,
     false, 3, 1, F32, PYTHIA},
    {"dictionary_learning/jumprelu", "ae.pt", "dictionary_learning", LETHE_ARCH_JUMPRELU, 0, false,
     3, 1, F32, PYTHIA},
};
#define N_CASES (sizeof cases / sizeof *cases)

static lethe_err err;

/* ---- the forward pass, written out ----------------------------------------------------------- */

static void activate(const lethe_sae *s, const double *a, const double *wu, double *z) {
    for (size_t j = 0; j < s->m; j++) {
        double relu = a[j] > 0 ? a[j] : 0, mag;
        switch (s->arch) {
        case LETHE_ARCH_TOPK: {
            size_t larger = 0;
            for (size_t i = 0; i < s->m; i++) larger += a[i] > a[j] || (a[i] == a[j] && i < j);
            z[j] = larger < s->k ? relu : 0;
            break;
        }
        case LETHE_ARCH_JUMPRELU: z[j] = a[j] > (double)s->threshold[j] ? relu : 0; break;
        case LETHE_ARCH_GATED:
            mag = exp((double)s->r_mag[j]) * wu[j] + (double)s->b_mag[j];
            z[j] = a[j] > 0 && mag > 0 ? mag : 0;
            break;
        default: z[j] = relu;
        }
    }
}

static void forward(const lethe_sae *s, const float *x, float *z_out, float *x_hat) {
    double *u = calloc(s->d, sizeof *u), *a = calloc(s->m, sizeof *a),
           *wu = calloc(s->m, sizeof *wu), *z = calloc(s->m, sizeof *z), norm = 0, mean = 0,
           var = 0, mul = 1, add = 0;
    if (!u || !a || !wu || !z) abort();
    for (size_t i = 0; i < s->d; i++) {
        norm += (double)x[i] * (double)x[i];
        mean += (double)x[i] / (double)s->d;
    }
    for (size_t i = 0; i < s->d; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean);
    if (s->norm == LETHE_NORM_RESCALE) mul = sqrt(norm / (double)s->d);
    if (s->norm == LETHE_NORM_LAYER) {
        mul = sqrt(var / (double)(s->d - 1));
        add = mean;
    }
    double divide = s->norm == LETHE_NORM_LAYER ? mul + 1e-5 : mul;
    for (size_t i = 0; i < s->d; i++)
        u[i] = ((double)x[i] - add) / divide - (s->raw_input ? 0 : (double)s->b_dec[i]);
    for (size_t j = 0; j < s->m; j++) {
        for (size_t i = 0; i < s->d; i++) wu[j] += (double)s->W_enc[j * s->d + i] * u[i];
        a[j] = wu[j] + (double)s->b_enc[j];
    }
    activate(s, a, wu, z);
    for (size_t i = 0; i < s->d; i++) {
        double sum = (double)s->b_dec[i];
        for (size_t j = 0; j < s->m; j++) sum += z[j] * (double)s->W_dec[j * s->d + i];
        x_hat[i] = (float)(sum * mul + add);
    }
    for (size_t j = 0; j < s->m; j++) z_out[j] = (float)z[j];
    free(u);
    free(a);
    free(wu);
    free(z);
}

/* ---- the vectors ----------------------------------------------------------------------------- */

static float *read_tensor(const lethe_st *st, const char *name, size_t *rows) {
    const lethe_tensor *t = lethe_st_find(st, name);
    if (!t) fail_msg("%s: no tensor %s", lethe_st_path(st), name);
    float *x;
    assert_ok(lethe_alloc(&x, t->count, sizeof *x, name, &err), &err);
    assert_ok(lethe_tensor_to_f32(t, 0, t->count, x, &err), &err);
    *rows = t->shape[0];
    return x;
}

/* The same by the library. */
static void encode(const lethe_sae *s, const float *x, size_t n, float *z, float *x_hat) {
    lethe_encoder e;
    lethe_codes codes = {0};
    assert_ok(lethe_encoder_open(&e, s, &err), &err);
    assert_ok(lethe_codes_alloc(&codes, n, s->k, &err), &err);
    assert_ok(lethe_encode(&e, x, n, &codes, NULL, &err), &err);
    lethe_sae_decode(s, &codes, x_hat);
    memset(z, 0, n * s->m * sizeof *z);
    for (size_t i = 0; i < n * codes.k; i++)
        if (codes.value[i] > 0) z[i / codes.k * s->m + (size_t)codes.index[i]] = codes.value[i];
    lethe_codes_free(&codes);
    lethe_encoder_close(&e);
}

static void check_forward(const golden *c, const lethe_sae *s) {
    char path[160];
    lethe_st *st;
    size_t n, same;
    snprintf(path, sizeof path, "golden/formats/%s/expected.safetensors", c->folder);
    assert_ok(lethe_st_open(&st, test_shared(path), &err), &err);
    float *x = read_tensor(st, "x", &n), *z = read_tensor(st, "z", &same),
          *x_hat = read_tensor(st, "x_hat", &same);
    float *got_z, *got_x;
    assert_ok(lethe_alloc(&got_z, n * s->m, sizeof *got_z, "z", &err), &err);
    assert_ok(lethe_alloc(&got_x, n * s->d, sizeof *got_x, "x_hat", &err), &err);
    for (size_t t = 0; t < n; t++) forward(s, x + t * s->d, got_z + t * s->m, got_x + t * s->d);
    assert_close(got_z, z, n * s->m, c->tol, c->folder);
    assert_close(got_x, x_hat, n * s->d, c->tol, c->folder);
    encode(s, x, n, got_z, got_x);
    assert_close(got_z, z, n * s->m, c->tol, c->folder);
    assert_close(got_x, x_hat, n * s->d, c->tol, c->folder);
    lethe_free(x);
    lethe_free(z);
    lethe_free(x_hat);
    lethe_free(got_z);
    lethe_free(got_x);
    lethe_st_close(&st);
}

static void check_case(const golden *c, const char *path) {
    lethe_sae s = {0};
    lethe_sae_meta meta;
    lethe_sae_about about;
    lethe_status st = lethe_sae_load(&s, &meta, path, c->ask ? c->k : 0, &err);
    if (st) fail_msg("%s: %s", path, err.text);
    assert_int_equal(s.arch, c->arch);
    assert_int_equal(s.k, c->k);
    assert_true(s.d == 48 && s.m == 192);
    assert_int_equal(meta.layer, c->layer);
    assert_int_equal(meta.hook, c->hook);
    assert_string_equal(meta.model_name, c->model);
    check_forward(c, &s);
    lethe_sae_free(&s);
    /* What is described is what is read; without k it is described all the same. */
    assert_ok(lethe_sae_describe(&about, NULL, path, 0, &err), &err);
    assert_string_equal(about.layout, c->layout);
    assert_int_equal(about.arch, c->arch);
    assert_int_equal(about.k, c->ask ? 0 : c->k);
    lethe_sae_about_free(&about);
    if (!c->ask) return;
    assert_int_equal(lethe_sae_load(&s, NULL, path, 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "--k N"));
}

static void test_all(void **state) {
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        char path[240];
        snprintf(path, sizeof path, "golden/formats/%s", cases[i].folder);
        check_case(&cases[i], test_shared(path));
        snprintf(path, sizeof path, "golden/formats/%s/%s", cases[i].folder, cases[i].file);
        check_case(&cases[i], test_shared(path));
    }
}

int main(void) {
    if (!test_shared("golden/formats/sizes.json")) return LETHE_TEST_SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
