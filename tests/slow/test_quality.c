/* SPDX-License-Identifier: MIT
 *
 * Quality of the fast trainer against the dense reference: both train from the same start on the
 * same batches of real activations, and the fast one may not end with a worse FVU nor with more
 * dead latents, on the mean of three seeds (the two drift apart by rounding, as two seeds do). The
 * embedded model, and stories260K where it is there.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "sae/dense.h"
#include "stage/source.h"

enum { BATCH = 1024, EPOCHS = 3, LAST = 100, SEEDS = 3 };

static lethe_err err;

/* Activations of a text, by the program itself. */
static void harvest(const char *model, int layer, const char *text, char path[4096]) {
    const char *program = getenv("LETHE_PROGRAM");
    if (!program) fail_msg("LETHE_PROGRAM must name lethe (ctest sets it)");
    snprintf(path, 4096, "%s/rows.safetensors", test_temp_dir());
    char command[16384];
    snprintf(command, sizeof command,
             "'%s' harvest --model '%s' --layer %d --text '%s' --max-tokens 150000 --out '%s' "
             "--quiet >/dev/null",
             program, model, layer, text, path);
    if (system(command)) fail_msg("%s failed", command);
}

typedef struct sums {
    double fvu, dead;
} sums;

static void train_both(const char *name, const char *path, size_t expansion, size_t k,
                       uint64_t seed, sums *fast_sum, sums *dense_sum) {
    lethe_source *source;
    assert_ok(lethe_source_from_files(&source, path, true, seed, &err), &err);
    size_t d = lethe_source_d(source), m = d * expansion, got;
    uint64_t total = lethe_source_rows(source) / BATCH * EPOCHS, step = 0;
    assert_true(total > 2 * LAST);
    lethe_sae a, b;
    assert_ok(lethe_sae_alloc(&a, d, m, k, &err), &err);
    assert_ok(lethe_sae_alloc(&b, d, m, k, &err), &err);
    lethe_sae_init(&a, seed);
    lethe_sae_init(&b, seed);
    const lethe_recipe recipe = lethe_recipe_default();
    lethe_trainer *fast;
    lethe_dense *dense;
    assert_ok(lethe_trainer_open(&fast, &a, &recipe, BATCH, total, &err), &err);
    assert_ok(lethe_dense_open(&dense, &b, &recipe, BATCH, total, &err), &err);
    float *x;
    assert_ok(lethe_alloc(&x, BATCH, d * sizeof *x, "a batch", &err), &err);
    sums f = {0}, g = {0};
    while (step < total) {
        assert_ok(lethe_source_next(source, x, BATCH, &got, &err), &err);
        if (got < BATCH) continue; /* the end of an epoch */
        lethe_step_stats s, t;
        assert_ok(lethe_trainer_step(fast, x, BATCH, &s, &err), &err);
        assert_ok(lethe_dense_step(dense, x, BATCH, &t, &err), &err);
        if (step++ + LAST < total) continue;
        f.fvu += s.fvu / LAST, f.dead = (double)s.dead;
        g.fvu += t.fvu / LAST, g.dead = (double)t.dead;
    }
    print_message("%s: %zu x %zu, k %zu, %d steps: FVU %.5f, dense %.5f; dead %.0f, dense %.0f\n",
                  name, m, d, k, (int)total, f.fvu, g.fvu, f.dead, g.dead);
    fast_sum->fvu += f.fvu, fast_sum->dead += f.dead / (double)m;
    dense_sum->fvu += g.fvu, dense_sum->dead += g.dead / (double)m;
    lethe_free(x);
    lethe_trainer_close(&fast);
    lethe_dense_close(&dense);
    lethe_source_close(&source);
}

static void compare(const char *name, const char *path, size_t expansion, size_t k) {
    sums f = {0}, g = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        train_both(name, path, expansion, k, seed, &f, &g);
    assert_true(f.fvu <= 1.01 * g.fvu);
    assert_true(f.dead / SEEDS <= g.dead / SEEDS + 0.01);
    unlink(path);
}

static void on_the_embedded_model(void **state) {
    (void)state;
    const char *root = getenv("LETHE_SOURCE");
    char model[4096], text[4096], path[4096];
    snprintf(model, sizeof model, "%s/models/lethe-demo.gguf", root);
    snprintf(text, sizeof text, "%s/data/demo/forget.jsonl", root);
    harvest(model, 2, text, path);
    compare("embedded default", path, 16, 8);
}

static void on_stories260k(void **state) {
    (void)state;
    const char *model = test_shared("models/stories260K.gguf"), *text = test_shared("data/oz");
    if (!model || !text) skip();
    char model_copy[4096], path[4096];
    snprintf(model_copy, sizeof model_copy, "%s", model);
    harvest(model_copy, 2, text, path);
    compare("stories260K", path, 16, 16);
}

static int teardown(void **state) {
    (void)state;
    test_temp_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_the_embedded_model),
                                       cmocka_unit_test(on_stories260k)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
