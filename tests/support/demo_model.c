/* SPDX-License-Identifier: MIT */
#include "support/demo_model.h"

#include "support/support.h"

bool demo_model_open(demo_model *m, size_t n_seq, double scale) {
    static const int32_t features[4] = {3, 17, 100, 201};
    lethe_err err = {0};
    lethe_lm_opts o = lethe_lm_defaults();
    o.n_seq = n_seq;
    *m = (demo_model){0};
    lethe_status st = lethe_lm_open(&m->lm, test_source("models/lethe-demo.gguf"), &o, NULL, &err);
    if (!st) st = lethe_sae_alloc(&m->sae, lethe_lm_get_info(m->lm)->d_model, 256, 64, &err);
    if (!st) {
        lethe_sae_init(&m->sae, 1);
        st = lethe_ablation_open(&m->ablation, &m->sae, features, 4, scale, &err);
    }
    if (st) print_error("%s\n", err.text);
    return !st;
}

void demo_model_close(demo_model *m) {
    lethe_lm_clear_hooks(m->lm);
    lethe_ablation_close(&m->ablation);
    lethe_sae_free(&m->sae);
    lethe_lm_close(&m->lm);
}
