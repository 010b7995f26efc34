/* SPDX-License-Identifier: MIT
 *
 * Files that PyTorch and NumPy wrote, one dictionary in all of them: the same numbers come out.
 */
#include "support/support.h"

#include <string.h>

#include "format/bundle.h"

enum { D = 48, M = 192 };

static lethe_bundle *open_shared(const char *name, lethe_container want) {
    const char *path = test_shared(name);
    if (!path) skip();
    lethe_err err = {0};
    lethe_bundle *b = NULL;
    assert_ok(lethe_bundle_open(&b, path, &err), &err);
    assert_int_equal(lethe_bundle_container(b), want);
    return b;
}

/* The tensor `name` as float32, transposed if its shape is the other way round. */
static void same_matrix(const lethe_bundle *b, const char *name, const float *want, bool turned,
                        double rel) {
    static float got[D * M], back[D * M];
    const lethe_tensor *t = NULL;
    lethe_err err = {0};
    size_t shape[2] = {turned ? D : M, turned ? M : D};
    assert_ok(lethe_bundle_want(b, name, 2, shape, &t, &err), &err);
    assert_ok(lethe_tensor_to_f32(t, 0, t->count, got, &err), &err);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < D; j++) back[i * D + j] = turned ? got[j * M + i] : got[i * D + j];
    assert_close(back, want, (size_t)D * M, rel, name);
}

static void one_dictionary(void **state) {
    (void)state;
    static float W_dec[M * D];
    lethe_err err = {0};
    lethe_bundle *b = open_shared("golden/formats/reference_pt/sae_layer_15.pt", LETHE_TORCH);
    const lethe_tensor *t = NULL;
    assert_ok(lethe_bundle_want(b, "sae_state_dict.W_dec", 2, (size_t[]){M, D}, &t, &err), &err);
    assert_ok(lethe_tensor_to_f32(t, 0, t->count, W_dec, &err), &err);
    const lethe_tensor *steps = lethe_bundle_find(b, "sae_state_dict.total_steps");
    assert_non_null(steps);
    assert_int_equal(steps->ndim, 0);
    assert_int_equal(steps->count, 1);
    const json_t *args = json_object_get(lethe_bundle_values(b), "args");
    assert_int_equal(json_integer_value(json_object_get(args, "layer")), 15);
    assert_int_equal(json_integer_value(json_object_get(args, "k")), 6);
    assert_true(json_is_true(json_object_get(args, "include_target")));
    assert_true(json_is_null(json_object_get(args, "resume_from")));
    lethe_bundle_close(&b);

    b = open_shared("golden/formats/gemma_scope/params.npz", LETHE_NPZ);
    assert_int_equal(lethe_bundle_count(b), 5);
    same_matrix(b, "W_dec", W_dec, false, 0);
    lethe_bundle_close(&b);

    b = open_shared("golden/formats/dictionary_learning/topk/ae.pt", LETHE_TORCH);
    same_matrix(b, "decoder.weight", W_dec, true, 0);
    lethe_bundle_close(&b);

    b = open_shared("golden/formats/bare_pt/sae.pt", LETHE_TORCH); /* float16 */
    same_matrix(b, "W_dec", W_dec, false, 1.0 / 2048);
    lethe_bundle_close(&b);

    b = open_shared("golden/formats/linear_safetensors/sae.safetensors", LETHE_SAFETENSORS);
    same_matrix(b, "decoder.weight", W_dec, true, 0);
    lethe_bundle_close(&b);
}

static void feature_list(void **state) {
    (void)state;
    lethe_bundle *b = open_shared("golden/formats/reference_pt/layer_15_features.pt", LETHE_TORCH);
    lethe_err err = {0};
    const lethe_tensor *t = NULL;
    assert_ok(lethe_bundle_want(b, "indices", 1, (size_t[]){100}, &t, &err), &err);
    int32_t index[100];
    assert_ok(lethe_tensor_to_i32(t, 0, 100, index, &err), &err);
    for (size_t i = 0; i < 100; i++) assert_in_range(index[i], 0, M - 1);
    const json_t *values = lethe_bundle_values(b);
    assert_int_equal(json_integer_value(json_object_get(values, "selected_k")), 100);
    lethe_bundle_close(&b);
}

int main(void) {
    if (!test_shared("golden/formats/reference_pt/sae_layer_15.pt")) return LETHE_TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_dictionary),
        cmocka_unit_test(feature_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
