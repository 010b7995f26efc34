/* SPDX-License-Identifier: MIT
 *
 * What a tap costs. Recording layer L runs layers 0 to L and no more, so it may take at most
 * 1.05 (L + 1) / n_layer of a full prefill; both are measured in turn in one run, and medians are
 * compared. The model has random weights, made on the spot by lethe_make_model (514 M parameters),
 * or is the one that LETHE_TAP_MODEL names.
 *
 * The full prefill asks for the last token's logits alone, as for generation; its last layer then
 * runs for one row only in its second half, so it is 0.6 of a layer cheaper than n_layer layers.
 * With 40 layers that leaves the bound its sense.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/run.h"
#include "lm/lm.h"

#define TOKENS 512
#define ROUNDS 5

static lethe_lm *lm;
static int32_t token[TOKENS];
static const lethe_seq seq = {token, TOKENS};

static int setup(void **state) {
    (void)state;
    char path[4096], command[8192];
    const char *given = getenv("LETHE_TAP_MODEL"), *tool = getenv("LETHE_MAKE_MODEL");
    if (given) {
        snprintf(path, sizeof path, "%s", given);
    } else {
        if (!tool) fail_msg("LETHE_MAKE_MODEL must name lethe_make_model (ctest sets it)");
        snprintf(path, sizeof path, "%s/model.gguf", test_temp_dir());
        snprintf(command, sizeof command, "'%s' '%s' --d 1024 --layers 40 --ffn 2752 --type q4_0",
                 tool, path);
        if (system(command)) fail_msg("%s failed", command);
    }
    lethe_err err = {0};
    lethe_lm_opts o = lethe_lm_defaults();
    o.ctx_len = TOKENS;
    o.hash = false;
    assert_ok(lethe_lm_open(&lm, path, &o, NULL, &err), &err);
    const lethe_lm_info *info = lethe_lm_get_info(lm);
    assert_true(given || info->n_params >= 500000000u);
    print_message("%.0f M parameters, %d layers, width %zu, %d tokens, %d threads\n",
                  (double)info->n_params / 1e6, info->n_layer, info->d_model, TOKENS,
                  lethe_threads());
    lethe_rng rng = lethe_rng_make(1, 0);
    for (size_t i = 0; i < TOKENS; i++) token[i] = (int32_t)lethe_rng_below(&rng, info->n_vocab);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    lethe_lm_close(&lm);
    test_temp_remove();
    return 0;
}

static lethe_status count_rows(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    *(size_t *)user += rows->n;
    return LETHE_OK;
}

static lethe_status ignore_logits(void *user, size_t s, size_t pos, const float *logits,
                                  lethe_err *err) {
    (void)user;
    (void)s;
    (void)pos;
    (void)logits;
    (void)err;
    return LETHE_OK;
}

static double full_seconds(void) {
    lethe_err err = {0};
    size_t first = TOKENS - 1;
    lethe_lm_clear_hooks(lm);
    double start = lethe_seconds();
    assert_ok(lethe_lm_forward(lm, &seq, 1, &first, ignore_logits, NULL, &err), &err);
    return lethe_seconds() - start;
}

static double tap_seconds(int layer) {
    lethe_err err = {0};
    size_t rows = 0;
    lethe_lm_clear_hooks(lm);
    assert_ok(lethe_lm_add_tap(lm, layer, LETHE_HOOK_POST, count_rows, &rows, &err), &err);
    double start = lethe_seconds();
    assert_ok(lethe_lm_capture(lm, &seq, 1, &err), &err);
    double seconds = lethe_seconds() - start;
    assert_int_equal(rows, TOKENS);
    return seconds;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x) {
    qsort(x, ROUNDS, sizeof *x, by_size);
    return x[ROUNDS / 2];
}

static void tap_cost(void **state) {
    (void)state;
    const int n = lethe_lm_get_info(lm)->n_layer, layers[] = {n / 4, n / 2, n - 1};
    enum { N = sizeof layers / sizeof *layers };
    double full[ROUNDS], tap[N][ROUNDS], part[N][ROUNDS];
    full_seconds(); /* pages in the weights */
    for (size_t r = 0; r < ROUNDS; r++)
        for (size_t i = 0; i < N; i++) {
            /* Each against its own neighbours: a machine's speed drifts. */
            double before = full_seconds();
            tap[i][r] = tap_seconds(layers[i]);
            full[r] = (before + full_seconds()) / 2;
            part[i][r] = tap[i][r] / full[r];
        }
    const double whole = median(full);
    print_message("full prefill %.3f s\n", whole);
    bool good = true;
    for (size_t i = 0; i < N; i++) {
        double share = (layers[i] + 1) / (double)n, t = median(tap[i]), p = median(part[i]);
        double ratio = p / share;
        print_message("layer %2d: %.3f s, %.3f of the prefill, %.3f of its share (at most 1.05)\n",
                      layers[i], t, p, ratio);
        good = good && ratio <= 1.05;
    }
    assert_true(good);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tap_cost)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
