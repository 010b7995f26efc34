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
        .warmup = -1,
        .decay = 0.3,
        .aux = LETHE_AUX_NORMALISED,
        .aux_coef = 1.0 / 32,
        .dead_after = -1,
        .dead_in_tokens = true,
        .b_dec_init = LETHE_BDEC_MEAN,
        .shuffle = true,
    };
}

/* The field's law for Adam, 2e-4 / sqrt(m / 2^14), holds for long trainings. A short one has to
 * cover the same way in fewer steps, and the way is shorter the wider the stream is, as the entries
 * of unit rows are about 1 / sqrt(d). Measured on three trainings: the best rate is about 24 / (d
 * sqrt(steps)). */
static double lr_by_size(double d, double m, double steps) {
    double law = 2e-4 / sqrt(m / 16384), brisk = 24 / (d * sqrt(steps));
    return fmin(fmax(law, brisk), 0.016);
}

/* A thirtieth of the training, so that a latent can be revived more than once; not less than a few
 * batches, not more than the 10 million tokens of the large published trainings. */
static double dead_after_by_size(double batch, double steps) {
    return fmin(fmax(batch * steps / 30, 8 * batch), 1e7);
}

void lethe_recipe_resolve(lethe_recipe *r, size_t d, size_t m, size_t batch, uint64_t total_steps) {
    double steps = total_steps ? (double)total_steps : 1;
    if (r->lr <= 0) r->lr = lr_by_size((double)d, (double)m, steps);
    if (r->warmup < 0) r->warmup = fmin(1000, floor(steps / 20));
    if (r->dead_after < 0)
        r->dead_after = r->dead_in_tokens ? dead_after_by_size((double)batch, steps)
                                          : fmin(1000, fmax(steps / 30, 8));
    if (r->aux_k == 0) r->aux_k = 32;
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
