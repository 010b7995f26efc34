/* SPDX-License-Identifier: MIT
 *
 * Training step, encode and gate on random rows.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "format/jsonio.h"
#include "kernel/gemm.h"
#include "kernel/kernel.h"
#include "sae/dense.h"
#include "sae/encoder.h"
#include "stage/ablate.h"
#include "stage/bench_parts.h"

/* ---- random rows ---------------------------------------------------------------------------- */

/* Streams of random numbers, one a row. */
#define STREAM_NOISE (UINT64_C(1) << 42)
#define STREAM_CAUSE (UINT64_C(2) << 42)
#define STREAM_EFFECT (UINT64_C(3) << 42)

static void normals(float *x, size_t n, size_t d, float scale, bool rectify, uint64_t seed,
                    uint64_t stream) {
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
    for (size_t t = 0; t < n; t++) {
        lethe_rng r = lethe_rng_make(seed, stream + t);
        for (size_t i = 0; i < d; i++) {
            float v = scale * (float)lethe_rng_normal(&r);
            x[t * d + i] = rectify && v < 0.0f ? 0.0f : v;
        }
    }
}

/* x = relu(g) W / sqrt(rank) + noise / 10, the first few dimensions times 20; rank = d / 8. */
lethe_status lethe_bench_rows(float *x, size_t n, size_t d, uint64_t seed, lethe_err *err) {
    size_t rank = d / 8 < 8 ? 8 : d / 8, massive = d / 512 < 1 ? 1 : d / 512;
    float *cause, *effect = NULL;
    LETHE_TRY(lethe_alloc(&cause, n, rank * sizeof *cause, "random rows", err));
    lethe_status st = lethe_alloc(&effect, rank, d * sizeof *effect, "random rows", err);
    if (!st) {
        normals(x, n, d, 0.1f, false, seed, STREAM_NOISE);
        normals(cause, n, rank, 1, true, seed, STREAM_CAUSE);
        normals(effect, rank, d, 1 / sqrtf((float)rank), false, seed, STREAM_EFFECT);
        st = lethe_gemm(LETHE_GEMM_NN, n, d, rank, cause, effect, 1, x, err);
    }
    for (size_t t = 0; t < n && !st; t++)
        for (size_t i = 0; i < massive; i++) x[t * d + i] *= 20;
    lethe_free(cause);
    lethe_free(effect);
    return st;
}

static lethe_status random_sae(lethe_sae *out, const lethe_bench_opts *o, lethe_err *err) {
    LETHE_TRY(lethe_sae_alloc(out, o->d, o->m, o->k, err));
    lethe_sae_init(out, o->seed);
    return LETHE_OK;
}

/* What the encoder's sieve did. */
static void look_figures(const lethe_select_stats *l, lethe_bench_race *race) {
    double tokens = (double)l->tokens, pairs = (double)l->pairs;
    bool ok = true;
    lethe_json_put(race->figures, "second_looks", lethe_json_real((double)l->second / pairs), &ok);
    lethe_json_put(race->figures, "third_looks", lethe_json_real((double)l->third / pairs), &ok);
    lethe_json_put(race->figures, "exact_per_token", lethe_json_real((double)l->exact / tokens),
                   &ok);
    lethe_json_put(race->figures, "again_share", lethe_json_real((double)l->again / tokens), &ok);
    lethe_json_put(race->figures, "full_share", lethe_json_real((double)l->full / tokens), &ok);
    lethe_strbuf_addf(&race->note,
                      "%.3g %% of latents looked at twice, %.3g %% three times, %.4g a token "
                      "computed in float32, %.3g %% of tokens in full",
                      100 * (double)l->second / pairs, 100 * (double)l->third / pairs,
                      (double)l->exact / tokens, 100 * (double)l->full / tokens);
}

/* ---- train ---------------------------------------------------------------------------------- */

typedef struct training {
    const lethe_bench_opts *o;
    float *x; /* [batch, d] of this round, the same for both sides */
    size_t dead;
    lethe_trainer *fast;
    lethe_dense *dense; /* NULL: no reference */
    lethe_step_stats fast_stats, dense_stats;
    double peak_mib; /* of the fast trainer alone */
} training;

static uint64_t total_steps(const lethe_bench_opts *o) {
    return (o->rounds + 1) * (o->scaling ? 2 : 1);
}

static lethe_status open_fast(training *t, lethe_err *err) {
    lethe_sae sae = {0};
    LETHE_TRY(random_sae(&sae, t->o, err));
    lethe_status st =
        lethe_trainer_open(&t->fast, &sae, &t->o->recipe, t->o->batch, total_steps(t->o), err);
    lethe_sae_free(&sae);
    return st;
}

/* The fast side has taken a step and holds all that it ever will; the reference is made only now,
 * so that the peak so far is the fast side's. */
static lethe_status open_dense(void *user, lethe_err *err) {
    training *t = user;
    t->peak_mib = lethe_bench_peak_mib();
    if (!t->o->reference) return LETHE_OK;
    lethe_sae sae = {0};
    LETHE_TRY(random_sae(&sae, t->o, err));
    lethe_status st =
        lethe_dense_open(&t->dense, &sae, &t->o->recipe, t->o->batch, total_steps(t->o), err);
    lethe_sae_free(&sae);
    return st;
}

static lethe_status new_batch(void *user, size_t round, lethe_err *err) {
    training *t = user;
    return lethe_bench_rows(t->x, t->o->batch, t->o->d, t->o->seed + round, err);
}

static lethe_status fast_step(void *user, double *seconds, lethe_err *err) {
    training *t = user;
    lethe_trainer_hold_dead(t->fast, t->dead);
    double start = lethe_seconds();
    LETHE_TRY(lethe_trainer_step(t->fast, t->x, t->o->batch, &t->fast_stats, err));
    *seconds = lethe_seconds() - start;
    return LETHE_OK;
}

/* The same trainer goes on: its bytes do not depend on the threads. */
static lethe_status alone_step(void *user, double *seconds, lethe_err *err) {
    int threads = lethe_threads();
    lethe_threads_set(1);
    lethe_status st = fast_step(user, seconds, err);
    lethe_threads_set(threads);
    return st;
}

static lethe_status dense_step(void *user, double *seconds, lethe_err *err) {
    training *t = user;
    lethe_dense_hold_dead(t->dense, t->dead);
    double start = lethe_seconds();
    LETHE_TRY(lethe_dense_step(t->dense, t->x, t->o->batch, &t->dense_stats, err));
    *seconds = lethe_seconds() - start;
    return LETHE_OK;
}

static void train_figures(const training *t, lethe_bench_race *race) {
    const lethe_bench_opts *o = t->o;
    double d = (double)o->d, m = (double)o->m, params = (2 * m * d + m + d) * 4 / (1 << 20);
    double batch = (double)o->batch * d * 4 / (1 << 20);
    bool ok = true;
    lethe_json_put(race->figures, "dead", json_integer((json_int_t)t->fast_stats.dead), &ok);
    lethe_json_put(race->figures, "fvu", lethe_json_real(t->fast_stats.fvu), &ok);
    lethe_json_put(race->figures, "recon_loss", lethe_json_real(t->fast_stats.recon_loss), &ok);
    lethe_json_put(race->figures, "peak_rss_mib", lethe_json_real(t->peak_mib), &ok);
    lethe_json_put(race->figures, "parameters_mib", lethe_json_real(params), &ok);
    lethe_json_put(race->figures, "batch_mib", lethe_json_real(batch), &ok);
    look_figures(lethe_trainer_looks(t->fast), race);
    lethe_strbuf_addf(&race->note,
                      "\n%zu latents dead; peak memory without the reference %.0f MiB, %.2f times "
                      "the parameters' %.0f MiB",
                      t->fast_stats.dead, t->peak_mib, t->peak_mib / params, params);
    if (o->scaling) {
        double gain = race->side[1].median / race->side[0].median;
        lethe_json_put(race->figures, "thread_gain", lethe_json_real(gain), &ok);
        lethe_strbuf_addf(&race->note, "\n%d threads are %.3f times as fast as one",
                          lethe_threads(), gain);
    }
    if (!t->dense || o->scaling) return; /* not after the same number of steps */
    lethe_json_put(race->figures, "dense_recon_loss", lethe_json_real(t->dense_stats.recon_loss),
                   &ok);
    lethe_strbuf_addf(&race->note, "\nlast reconstruction loss %.6g, dense %.6g",
                      t->fast_stats.recon_loss, t->dense_stats.recon_loss);
}

lethe_status lethe_bench_train(const lethe_bench_opts *o, const lethe_env *env,
                               lethe_bench_result *r, lethe_err *err) {
    lethe_bench_race *race = lethe_bench_begin(r, "train", (double)o->batch, err);
    if (!race) return LETHE_NOMEM;
    lethe_bench_add(race, "lethe", "training step", false);
    training t = {.o = o, .dead = (size_t)(o->dead * (double)o->m)};
    lethe_bench_plan plan = {
        .fn = {fast_step}, .before = new_batch, .warmed = open_dense, .user = &t};
    if (o->scaling) {
        plan.fn[race->n_sides] = alone_step;
        lethe_bench_add(race, "one_thread", "the same, one thread", false);
    }
    if (o->reference) {
        plan.fn[race->n_sides] = dense_step;
        lethe_bench_add(race, "dense", "dense reference", true);
    }
    lethe_status st = lethe_alloc(&t.x, o->batch, o->d * sizeof *t.x, "a batch", err);
    if (!st) st = open_fast(&t, err);
    if (!st) st = lethe_bench_alternate(race, &plan, o->rounds, env, err);
    if (!st) train_figures(&t, race);
    lethe_trainer_close(&t.fast);
    lethe_dense_close(&t.dense);
    lethe_free(t.x);
    return st;
}

/* ---- encode --------------------------------------------------------------------------------- */

typedef struct encoding {
    const lethe_bench_opts *o;
    lethe_sae sae;
    lethe_encoder encoder;
    lethe_codes codes;
    lethe_select_stats looks;
    float *x, *a; /* [batch, d], [batch, m] */
} encoding;

static lethe_status encode(void *user, double *seconds, lethe_err *err) {
    encoding *e = user;
    double start = lethe_seconds();
    LETHE_TRY(lethe_encode(&e->encoder, e->x, e->o->batch, &e->codes, &e->looks, err));
    *seconds = lethe_seconds() - start;
    return LETHE_OK;
}

static lethe_status product(void *user, double *seconds, lethe_err *err) {
    encoding *e = user;
    const lethe_sae *s = &e->sae;
    double start = lethe_seconds();
    LETHE_TRY(lethe_gemm(LETHE_GEMM_NT, e->o->batch, s->m, s->d, e->x, s->W_enc, 0, e->a, err));
    *seconds = lethe_seconds() - start;
    return LETHE_OK;
}

static void encode_figures(const encoding *e, lethe_bench_race *race) {
    double gflop = 2e-9 * (double)e->o->batch * (double)e->sae.d * (double)e->sae.m;
    double speed = gflop / race->side[1].median;
    bool ok = true;
    lethe_json_put(race->figures, "sgemm_gflops", lethe_json_real(speed), &ok);
    look_figures(&e->looks, race);
    lethe_strbuf_addf(&race->note, "\nthe product: %.4g GFLOP at %.0f GFLOP/s", gflop, speed);
}

lethe_status lethe_bench_encode(const lethe_bench_opts *o, const lethe_env *env,
                                lethe_bench_result *r, lethe_err *err) {
    lethe_bench_race *race = lethe_bench_begin(r, "encode", (double)o->batch, err);
    if (!race) return LETHE_NOMEM;
    lethe_bench_add(race, "lethe", "exact encode, select", false);
    lethe_bench_add(race, "sgemm", "product alone", true);
    encoding e = {.o = o};
    lethe_status st = random_sae(&e.sae, o, err);
    if (!st) st = lethe_encoder_open(&e.encoder, &e.sae, err);
    if (!st) st = lethe_codes_alloc(&e.codes, o->batch, o->k, err);
    if (!st) st = lethe_alloc(&e.x, o->batch, o->d * sizeof *e.x, "a batch", err);
    if (!st) st = lethe_alloc(&e.a, o->batch, o->m * sizeof *e.a, "pre-activations", err);
    if (!st) st = lethe_bench_rows(e.x, o->batch, o->d, o->seed, err);
    lethe_bench_plan plan = {.fn = {encode, product}, .user = &e};
    if (!st) st = lethe_bench_alternate(race, &plan, o->rounds, env, err);
    if (!st) encode_figures(&e, race);
    lethe_encoder_close(&e.encoder);
    lethe_codes_free(&e.codes);
    lethe_sae_free(&e.sae);
    lethe_free(e.x);
    lethe_free(e.a);
    return st;
}

/* ---- gate ----------------------------------------------------------------------------------- */

#define GATE_ROWS 64
#define GATE_SECONDS 0.05 /* a run lasts at least about as long */

typedef struct gating {
    lethe_sae sae;
    lethe_patch patch;
    lethe_ablation *exact, *compact;
    float *x, *row, *a; /* [GATE_ROWS, d], [d], [m] */
    size_t repeat;      /* rows a run of the exact gate */
} gating;

static lethe_status gate_rows(gating *g, lethe_ablation *ablation, size_t rows, lethe_err *err) {
    size_t d = g->sae.d;
    for (size_t i = 0; i < rows; i++) {
        memcpy(g->row, g->x + i % GATE_ROWS * d, d * sizeof *g->row);
        LETHE_TRY(lethe_ablation_apply(ablation, g->row, 1, NULL, err));
    }
    return LETHE_OK;
}

static lethe_status exact_gate(void *user, double *seconds, lethe_err *err) {
    gating *g = user;
    double start = lethe_seconds();
    LETHE_TRY(gate_rows(g, g->exact, g->repeat, err));
    *seconds = (lethe_seconds() - start) / (double)g->repeat;
    return LETHE_OK;
}

/* So much cheaper that it takes more rows to be seen at all. */
static lethe_status compact_gate(void *user, double *seconds, lethe_err *err) {
    gating *g = user;
    size_t rows = 16 * g->repeat;
    double start = lethe_seconds();
    LETHE_TRY(gate_rows(g, g->compact, rows, err));
    *seconds = (lethe_seconds() - start) / (double)rows;
    return LETHE_OK;
}

/* Every pre-activation in float32, nothing selected: the encoder is read once. */
static lethe_status read_encoder(void *user, double *seconds, lethe_err *err) {
    (void)err;
    gating *g = user;
    const lethe_kernels *kern = lethe_kernels_get();
    size_t d = g->sae.d, m = g->sae.m;
    double start = lethe_seconds();
    for (size_t i = 0; i < g->repeat; i++) {
        const float *x = g->x + i % GATE_ROWS * d;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static)
        for (size_t j = 0; j < m; j++) g->a[j] = kern->dot(x, g->sae.W_enc + j * d, d);
    }
    *seconds = (lethe_seconds() - start) / (double)g->repeat;
    return LETHE_OK;
}

/* Short runs are as noisy as the clock and the scheduler: as many rows as fill GATE_SECONDS. */
static lethe_status calibrate(gating *g, lethe_err *err) {
    double seconds = 0;
    for (g->repeat = 1;; g->repeat *= 2) {
        double start = lethe_seconds();
        LETHE_TRY(gate_rows(g, g->exact, g->repeat, err));
        seconds = lethe_seconds() - start;
        if (seconds >= GATE_SECONDS / 2 || g->repeat >= 1 << 20) return LETHE_OK;
    }
}

lethe_status lethe_bench_gate(const lethe_bench_opts *o, const lethe_env *env,
                              lethe_bench_result *r, lethe_err *err) {
    lethe_bench_race *race = lethe_bench_begin(r, "gate", 1, err);
    if (!race) return LETHE_NOMEM;
    lethe_bench_add(race, "exact", "exact gate, one row", false);
    lethe_bench_add(race, "compact", "compact gate, one row", false);
    lethe_bench_add(race, "dense", "encoder read once", true);
    gating g = {0};
    size_t n = o->n_features < o->m ? o->n_features : o->m;
    int32_t *feature = NULL;
    lethe_status st = random_sae(&g.sae, o, err);
    if (!st) st = lethe_bench_features(&feature, n, o->m, o->seed, err);
    if (!st) st = lethe_ablation_open(&g.exact, &g.sae, feature, n, o->scale, err);
    if (!st) st = lethe_alloc(&g.x, GATE_ROWS, o->d * sizeof *g.x, "rows", err);
    if (!st) st = lethe_alloc(&g.row, o->d, sizeof *g.row, "a row", err);
    if (!st) st = lethe_alloc(&g.a, o->m, sizeof *g.a, "pre-activations", err);
    if (!st) st = lethe_bench_rows(g.x, GATE_ROWS, o->d, o->seed, err);
    if (!st) st = lethe_bench_patch(&g.patch, &g.sae, feature, n, o->scale, g.x, GATE_ROWS, err);
    if (!st) st = lethe_ablation_open_patch(&g.compact, &g.patch, err);
    if (!st) st = calibrate(&g, err);
    lethe_bench_plan plan = {.fn = {exact_gate, compact_gate, read_encoder}, .user = &g};
    if (!st) st = lethe_bench_alternate(race, &plan, o->rounds, env, err);
    if (!st) {
        double gb = 4e-9 * (double)o->m * (double)o->d, speed = gb / race->side[2].median;
        bool ok = true;
        lethe_json_put(race->figures, "features", json_integer((json_int_t)n), &ok);
        lethe_json_put(race->figures, "dense_gb_per_second", lethe_json_real(speed), &ok);
        lethe_strbuf_addf(&race->note,
                          "%zu random features; the float32 encoder is %.4g GB, read at %.3g GB/s",
                          n, gb, speed);
    }
    lethe_ablation_close(&g.exact);
    lethe_ablation_close(&g.compact);
    lethe_patch_free(&g.patch);
    lethe_sae_free(&g.sae);
    lethe_free(feature);
    lethe_free(g.x);
    lethe_free(g.row);
    lethe_free(g.a);
    return st;
}
