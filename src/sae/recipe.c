/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>

#include "sae/trainer_internal.h"

lethe_recipe lethe_recipe_reference(void) {
    return (lethe_recipe){
        .name = "reference",
        .lr = 1e-4,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .clip = 1.0,
        .aux = LETHE_AUX_REFERENCE,
        .aux_coef = 1.0 / 32,
        .aux_k = 32,
        .aux_start = 100,
        .dead_after = 1000,
    };
}

/* Why these: docs/recipes.md. */
lethe_recipe lethe_recipe_default(void) {
    return (lethe_recipe){
        .name = "default",
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .clip = 1.0,
        .warmup = 50,
        .decay = 0.3,
        .aux = LETHE_AUX_NORMALISED,
        .aux_coef = 1.0 / 32,
        .dead_after = 200000,
        .dead_in_tokens = true,
        .b_dec_init = LETHE_BDEC_MEAN,
        .shuffle = true,
    };
}

void lethe_recipe_resolve(lethe_recipe *r, size_t d, size_t m) {
    /* The field's law for Adam, 2e-4 / sqrt(m / 2^14), was found on wide dictionaries and long
     * runs. */
    if (r->lr <= 0) r->lr = 2e-4 / sqrt((double)m / 16384);
    if (r->aux_k == 0) r->aux_k = d / 2 < 32 ? d / 2 : 32;
    if (r->aux_k == 0) r->aux_k = 1;
    if (r->aux_k > m) r->aux_k = m;
}

double lethe_recipe_lr(const lethe_recipe *r, uint64_t s, uint64_t total_steps) {
    double lr = r->lr, done = (double)s, total = (double)total_steps;
    if (r->warmup > 0 && done + 1 < r->warmup) lr *= (done + 1) / r->warmup;
    double fall = r->decay * total;
    if (fall > 0 && done > total - fall) lr *= fmax(total - done, 0) / fall;
    return lr;
}

void lethe_recipe_text(const lethe_recipe *r, lethe_strbuf *out) {
    lethe_strbuf_addf(out,
                      "recipe %s, lr %.17g, betas %.17g %.17g, eps %.17g, clip %.17g, "
                      "warm-up %.17g, decay %.17g, ",
                      r->name, r->lr, r->beta1, r->beta2, r->eps, r->clip, r->warmup, r->decay);
    lethe_strbuf_addf(out,
                      "aux kind %d coefficient %.17g k %zu from step %zu, dead after %.17g %s, "
                      "b_dec from %d, shuffle %d",
                      (int)r->aux, r->aux_coef, r->aux_k, r->aux_start, r->dead_after,
                      r->dead_in_tokens ? "tokens" : "steps", (int)r->b_dec_init, r->shuffle);
}
