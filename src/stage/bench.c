/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/perm.h"
#include "kernel/gemm.h"
#include "lm/lm.h"
#include "stage/bench_parts.h"
#include "stage/calibrate.h"
#include "stage/pipeline.h"

/* ---- settings ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned mask;
} parts[] = {
    {"all", LETHE_BENCH_TRAIN | LETHE_BENCH_ENCODE | LETHE_BENCH_GATE | LETHE_BENCH_LM},
    {"train", LETHE_BENCH_TRAIN},
    {"encode", LETHE_BENCH_ENCODE},
    {"gate", LETHE_BENCH_GATE},
    {"harvest", LETHE_BENCH_HARVEST},
    {"decode", LETHE_BENCH_DECODE},
};
#define N_PARTS (sizeof parts / sizeof *parts)

static unsigned part_mask(const char *name, size_t n) {
    for (size_t i = 0; i < N_PARTS; i++)
        if (strlen(parts[i].name) == n && !memcmp(parts[i].name, name, n)) return parts[i].mask;
    return 0;
}

lethe_status lethe_bench_what(const char *names, unsigned *out, lethe_err *err) {
    *out = 0;
    for (const char *at = names;; at++) {
        size_t n = strcspn(at, ",");
        unsigned mask = part_mask(at, n);
        if (!mask)
            return lethe_fail(err, LETHE_USAGE,
                              "--what: got \"%.*s\", want one or more, with commas, of: all, "
                              "train, encode, gate, harvest, decode",
                              n > 64 ? 64 : (int)n, at);
        *out |= mask;
        at += n;
        if (!*at) return LETHE_OK;
    }
}

static lethe_status check_ranges(const lethe_config *c, lethe_err *err) {
    const struct {
        const char *name;
        int64_t value, least, most;
    } range[] = {
        {"d", c->d, 0, 1 << 20},
        {"latents", c->latents, 0, INT32_MAX},
        {"k", c->k, 0, INT32_MAX},
        {"batch-size", c->batch_size, 1, 1 << 24},
        {"steps", c->steps, 1, 1000000},
        {"num-features", c->num_features, 1, INT32_MAX},
        {"max-new-tokens", c->max_new_tokens, 1, 1 << 20},
        {"layer", c->layer, -1, INT32_MAX},
        {"gpu-layers", c->gpu_layers, -1, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (range[i].value < range[i].least || range[i].value > range[i].most)
            return lethe_fail(err, LETHE_USAGE, "--%s: got %lld, want %lld to %lld", range[i].name,
                              (long long)range[i].value, (long long)range[i].least,
                              (long long)range[i].most);
    if (!(c->expansion > 0) || c->expansion > 4096)
        return lethe_fail(err, LETHE_USAGE,
                          "--expansion: got %g, want more than 0 and at most 4096", c->expansion);
    if (!(c->dead >= 0 && c->dead < 1))
        return lethe_fail(err, LETHE_USAGE, "--dead: got %g, want 0 to less than 1", c->dead);
    if (c->features && !c->sae)
        return lethe_fail(err, LETHE_USAGE,
                          "--features belong to an SAE: give it, too (--sae FILE)");
    return LETHE_OK;
}

/* The model's own width, without loading its weights. */
static lethe_status model_width(const lethe_config *c, const lethe_env *env, size_t *out,
                                lethe_err *err) {
    lethe_lm_opts o = lethe_lm_defaults();
    o.vocab_only = true;
    o.hash = false;
    lethe_lm *lm;
    LETHE_TRY(lethe_lm_open(&lm, c->model, &o, env, err));
    *out = lethe_lm_get_info(lm)->d_model;
    lethe_lm_close(&lm);
    return LETHE_OK;
}

lethe_status lethe_bench_opts_make(lethe_bench_opts *out, const lethe_config *c,
                                   const lethe_env *env, lethe_err *err) {
    lethe_bench_opts o = {.d = (size_t)c->d,
                          .k = c->k ? (size_t)c->k : 32,
                          .batch = (size_t)c->batch_size,
                          .rounds = (size_t)c->steps,
                          .dead = c->dead,
                          .reference = !c->no_reference,
                          .scaling = c->scaling,
                          .n_features = (size_t)c->num_features,
                          .scale = c->scale,
                          .seed = (uint64_t)c->seed,
                          .model = c->model,
                          .sae = c->sae,
                          .features = c->features,
                          .patch = c->patch.n ? c->patch.item[0] : NULL,
                          .layer = (int)c->layer,
                          .gpu_layers = (int)c->gpu_layers,
                          .new_tokens = (size_t)c->max_new_tokens};
    LETHE_TRY(lethe_bench_what(c->what, &o.what, err));
    LETHE_TRY(check_ranges(c, err));
    LETHE_TRY(lethe_pipeline_recipe(c, &o.recipe, err));
    if (o.what & LETHE_BENCH_LM) LETHE_TRY(lethe_pipeline_ctx_len(c, env, &o.ctx_len, err));
    if (!o.d) {
        o.d = 768;
        if (c->model) LETHE_TRY(model_width(c, env, &o.d, err));
    }
    o.expansion = c->latents ? (double)c->latents / (double)o.d : c->expansion;
    o.m = c->latents ? (size_t)c->latents : (size_t)((double)o.d * c->expansion);
    *out = o;
    return LETHE_OK;
}

/* ---- racing --------------------------------------------------------------------------------- */

lethe_bench_race *lethe_bench_begin(lethe_bench_result *r, const char *key, double tokens,
                                    lethe_err *err) {
    json_t *figures = json_object();
    if (!figures) {
        lethe_fail(err, LETHE_NOMEM, "out of memory for figures");
        return NULL;
    }
    lethe_bench_race *race = &r->race[r->n++];
    *race = (lethe_bench_race){
        .key = key, .base = -1, .tokens = tokens, .share = 1, .figures = figures};
    return race;
}

void lethe_bench_add(lethe_bench_race *race, const char *key, const char *label, bool base) {
    if (base) race->base = (int)race->n_sides;
    race->side[race->n_sides++] = (lethe_bench_side){.key = key, .label = label};
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static lethe_status statistics(lethe_bench_side *s, lethe_err *err) {
    double *sorted;
    LETHE_TRY(lethe_alloc(&sorted, s->n, sizeof *sorted, "times", err));
    memcpy(sorted, s->seconds, s->n * sizeof *sorted);
    qsort(sorted, s->n, sizeof *sorted, by_size);
    s->min = sorted[0];
    s->max = sorted[s->n - 1];
    s->median = (sorted[(s->n - 1) / 2] + sorted[s->n / 2]) / 2;
    lethe_free(sorted);
    return LETHE_OK;
}

static void report(const lethe_env *env, const lethe_bench_race *race, size_t done, size_t rounds) {
    char detail[160] = "";
    size_t at = 0;
    for (size_t i = 0; i < race->n_sides && done && at < sizeof detail; i++)
        at += (size_t)snprintf(detail + at, sizeof detail - at, "%s%s %.4g s", i ? ", " : "",
                               race->side[i].key, race->side[i].seconds[done - 1]);
    lethe_report_progress(env, &(lethe_progress){.stage = race->key,
                                                 .done = (double)done,
                                                 .total = (double)rounds,
                                                 .unit = "rounds",
                                                 .detail = detail,
                                                 .finished = done == rounds});
}

static lethe_status one_round(lethe_bench_race *race, const lethe_bench_plan *plan, size_t round,
                              bool warm_up, lethe_err *err) {
    if (plan->before) LETHE_TRY(plan->before(plan->user, round, err));
    for (size_t n = 0; n < race->n_sides; n++) {
        if (lethe_stop_requested())
            return lethe_fail(err, LETHE_STOPPED, "stopped during the measurement");
        double seconds;
        size_t i = (n + round) % race->n_sides;
        LETHE_TRY(plan->fn[i](plan->user, &seconds, err));
        if (!warm_up) race->side[i].seconds[race->side[i].n++] = seconds;
        if (warm_up && i == 0 && plan->warmed) LETHE_TRY(plan->warmed(plan->user, err));
    }
    return LETHE_OK;
}

lethe_status lethe_bench_alternate(lethe_bench_race *race, const lethe_bench_plan *plan,
                                   size_t rounds, const lethe_env *env, lethe_err *err) {
    for (size_t i = 0; i < race->n_sides; i++)
        LETHE_TRY(lethe_alloc(&race->side[i].seconds, rounds, sizeof(double), "times", err));
    report(env, race, 0, rounds);
    LETHE_TRY(one_round(race, plan, 0, true, err));
    for (size_t r = 1; r <= rounds; r++) {
        LETHE_TRY(one_round(race, plan, r, false, err));
        report(env, race, r, rounds);
    }
    for (size_t i = 0; i < race->n_sides; i++) LETHE_TRY(statistics(&race->side[i], err));
    for (size_t i = 0; i < race->n_sides && race->base >= 0; i++)
        if (i != (size_t)race->base)
            race->side[i].ratio =
                race->side[race->base].median * race->share / race->side[i].median;
    return LETHE_OK;
}

/* ---- parts ---------------------------------------------------------------------------------- */

double lethe_bench_peak_mib(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

lethe_status lethe_bench_features(int32_t **out, size_t n, size_t m, uint64_t seed,
                                  lethe_err *err) {
    LETHE_TRY(lethe_alloc(out, n, sizeof **out, "features", err));
    lethe_perm p = lethe_perm_make(m, seed, 0);
    for (size_t i = 0; i < n; i++) (*out)[i] = (int32_t)lethe_perm_at(&p, i);
    return LETHE_OK;
}

lethe_status lethe_bench_patch(lethe_patch *out, const lethe_sae *sae, const int32_t *feature,
                               size_t n_features, double scale, const float *x, size_t n,
                               lethe_err *err) {
    lethe_calibration *c = NULL;
    lethe_calibration_result ignored;
    LETHE_TRY(lethe_patch_from_sae(out, sae, feature, n_features, err));
    out->how = lethe_intervention_scale(scale);
    lethe_status st = lethe_calibration_open(&c, sae, out, 0, 0, err);
    if (!st) st = lethe_calibration_add(c, x, n, err);
    if (!st) st = lethe_calibration_finish(c, out->threshold, &ignored, err);
    lethe_calibration_close(&c);
    if (st) lethe_patch_free(out);
    return st;
}

/* Speed of a plain product: what the dense side of a race had to work with. */
static lethe_status sgemm_speed(double *gflops, lethe_err *err) {
    enum { N = 1024 };
    float *a, *c = NULL;
    LETHE_TRY(lethe_zalloc(&a, (size_t)N * N, sizeof *a, "a product", err));
    lethe_status st = lethe_alloc(&c, (size_t)N * N, sizeof *c, "a product", err);
    for (size_t i = 0; i < (size_t)N * N; i++) a[i] = (float)(i % 7) - 3;
    *gflops = 0;
    for (int r = 0; r < 8 && !st; r++) {
        double start = lethe_seconds();
        st = lethe_gemm(LETHE_GEMM_NN, N, N, N, a, a, 0, c, err);
        *gflops = fmax(*gflops, 2e-9 * N * N * N / (lethe_seconds() - start));
    }
    lethe_free(a);
    lethe_free(c);
    return st;
}

lethe_status lethe_bench_run(const lethe_bench_opts *o, const lethe_env *env,
                             lethe_bench_result *out, lethe_err *err) {
    *out = (lethe_bench_result){0};
    lethe_status st = LETHE_OK;
    /* Training comes first: it tells its own peak of memory. */
    if (o->what & LETHE_BENCH_TRAIN) st = lethe_bench_train(o, env, out, err);
    if (!st && o->what & LETHE_BENCH_ENCODE) st = lethe_bench_encode(o, env, out, err);
    if (!st && o->what & LETHE_BENCH_GATE) st = lethe_bench_gate(o, env, out, err);
    if (!st && o->what & LETHE_BENCH_LM) st = lethe_bench_lm(o, env, out, err);
    if (!st) st = sgemm_speed(&out->sgemm_gflops, err);
    if (st) lethe_bench_result_free(out);
    return st;
}

void lethe_bench_result_free(lethe_bench_result *r) {
    for (size_t i = 0; i < r->n; i++) {
        for (size_t s = 0; s < r->race[i].n_sides; s++) lethe_free(r->race[i].side[s].seconds);
        json_decref(r->race[i].figures);
        lethe_strbuf_free(&r->race[i].note);
    }
    *r = (lethe_bench_result){0};
}
