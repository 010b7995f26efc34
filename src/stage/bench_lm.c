/* SPDX-License-Identifier: MIT
 *
 * Harvest and decode on a model, of random tokens: what they say does not matter to their cost.
 */
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "format/jsonio.h"
#include "lm/live.h"
#include "stage/ablate.h"
#include "stage/bench_parts.h"
#include "stage/features.h"
#include "stage/harvest.h"
#include "stage/pipeline.h"

#define PROMPT 16 /* tokens before the decoded ones */
#define TRIES 64  /* prompts until one is gone on with */

typedef struct job {
    const lethe_bench_opts *o;
    lethe_lm *lm;
    int layer;
    /* harvest */
    uint64_t window; /* number of the next one */
    int32_t *token;  /* [ctx_len] */
    lethe_harvester *harvester;
    size_t rows; /* handed out by the last run */
    /* decode */
    lethe_sae sae;
    bool random_sae, random_features;
    int32_t *feature; /* [n_features] */
    size_t n_features;
    lethe_patch patch;
    bool patch_given;
    float *x; /* [ctx_len, d] rows to calibrate on */
    lethe_ablation *exact, *compact;
    lethe_live *live;
    uint64_t text; /* number of the next one */
} job;

static void random_tokens(const job *j, uint64_t stream, int32_t *token, size_t n) {
    lethe_rng r = lethe_rng_make(j->o->seed, stream);
    size_t vocabulary = lethe_lm_get_info(j->lm)->n_vocab;
    for (size_t i = 0; i < n; i++) {
        int32_t t = (int32_t)lethe_rng_below(&r, vocabulary);
        for (int again = 0; again < 100 && lethe_lm_is_special(j->lm, t); again++)
            t = (int32_t)lethe_rng_below(&r, vocabulary);
        token[i] = t;
    }
}

/* ---- harvest -------------------------------------------------------------------------------- */

static lethe_status next_window(void *user, int32_t *token, size_t cap, size_t *n, lethe_role *role,
                                lethe_err *err) {
    (void)err;
    job *j = user;
    *n = j->o->ctx_len < cap ? j->o->ctx_len : cap;
    *role = LETHE_RETAIN;
    random_tokens(j, j->window++, token, *n);
    return LETHE_OK;
}

static lethe_status restart(void *user, uint64_t skip, lethe_err *err) {
    (void)err;
    ((job *)user)->window = skip;
    return LETHE_OK;
}

static lethe_status harvest(void *user, double *seconds, lethe_err *err) {
    job *j = user;
    lethe_harvest_rows rows;
    double start = lethe_seconds();
    LETHE_TRY(lethe_harvester_next(j->harvester, 1, &rows, err));
    *seconds = lethe_seconds() - start;
    j->rows = rows.n;
    return LETHE_OK;
}

static lethe_status ignore_logits(void *user, size_t seq, size_t pos, const float *logits,
                                  lethe_err *err) {
    (void)user, (void)seq, (void)pos, (void)logits, (void)err;
    return LETHE_OK;
}

/* As for generation: the logits of the last token alone. */
static lethe_status prefill(void *user, double *seconds, lethe_err *err) {
    job *j = user;
    lethe_seq seq = {j->token, j->o->ctx_len};
    size_t first = seq.n - 1;
    lethe_lm_clear_hooks(j->lm);
    double start = lethe_seconds();
    LETHE_TRY(lethe_lm_forward(j->lm, &seq, 1, &first, ignore_logits, NULL, err));
    *seconds = lethe_seconds() - start;
    return LETHE_OK;
}

static lethe_status bench_harvest(job *j, const lethe_env *env, lethe_bench_result *r,
                                  lethe_err *err) {
    lethe_bench_race *race = lethe_bench_begin(r, "harvest", (double)j->o->ctx_len, err);
    if (!race) return LETHE_NOMEM;
    lethe_bench_add(race, "harvest", "prefill and record", false);
    lethe_bench_add(race, "prefill", "whole plain prefill", true);
    int layers = lethe_lm_get_info(j->lm)->n_layer;
    race->share = (j->layer + 1) / (double)layers;
    lethe_harvest_opts ho = lethe_harvest_defaults();
    ho.layer = j->layer;
    lethe_window_source source = {next_window, restart, j};
    LETHE_TRY(lethe_harvester_open(&j->harvester, j->lm, source, &ho, err));
    lethe_bench_plan plan = {.fn = {harvest, prefill}, .user = j};
    LETHE_TRY(lethe_bench_alternate(race, &plan, j->o->rounds, env, err));
    bool ok = true;
    lethe_json_put(race->figures, "share", lethe_json_real(race->share), &ok);
    lethe_json_put(race->figures, "rows", json_integer((json_int_t)j->rows), &ok);
    lethe_strbuf_addf(&race->note,
                      "%zu tokens up to layer %d of %d, %zu rows kept; the ratio counts %.4g of "
                      "the whole prefill",
                      j->o->ctx_len, j->layer, layers, j->rows, race->share);
    return LETHE_OK;
}

/* ---- decode --------------------------------------------------------------------------------- */

/* Another prompt, when a text has ended or fills the context: run as far as its first new token. */
static lethe_status begin_text(job *j, lethe_err *err) {
    int32_t token[PROMPT];
    bool any = true;
    for (int t = 0; t < TRIES && !lethe_live_busy(j->live, 0); t++) {
        random_tokens(j, (UINT64_C(1) << 40) + j->text++, token, PROMPT);
        lethe_live_request r = {.token = token, .n = PROMPT, .sampling = lethe_sampling_defaults()};
        r.sampling.max_tokens = 0;
        LETHE_TRY(lethe_live_begin(j->live, 0, &r, err));
        LETHE_TRY(lethe_live_step(j->live, &any, err));
    }
    if (lethe_live_busy(j->live, 0)) return LETHE_OK;
    return lethe_fail(err, LETHE_FAIL,
                      "the model ends every text at once, so decoding cannot be timed (try "
                      "another --seed)");
}

/* One token of the text that all sides share: they take turns token by token, as a machine's speed
 * changes within seconds. NULL: without an intervention. At special positions as well, so that no
 * token is free of charge. */
static lethe_status decode(job *j, lethe_ablation *a, lethe_hook hook, double *seconds,
                           lethe_err *err) {
    bool any;
    lethe_lm_clear_hooks(j->lm);
    LETHE_TRY(begin_text(j, err));
    if (a) LETHE_TRY(lethe_ablation_attach(a, j->lm, j->layer, hook, true, err));
    double start = lethe_seconds();
    lethe_status st = lethe_live_step(j->live, &any, err);
    *seconds = lethe_seconds() - start;
    lethe_lm_clear_hooks(j->lm);
    return st;
}

static lethe_status decode_plain(void *user, double *seconds, lethe_err *err) {
    return decode(user, NULL, LETHE_HOOK_POST, seconds, err);
}

static lethe_status decode_exact(void *user, double *seconds, lethe_err *err) {
    job *j = user;
    return decode(j, j->exact, LETHE_HOOK_POST, seconds, err);
}

static lethe_status decode_compact(void *user, double *seconds, lethe_err *err) {
    job *j = user;
    return decode(j, j->compact, j->patch.hook, seconds, err);
}

/* SAE and features from files, or random ones of the model's width. */
static lethe_status load_sae(job *j, lethe_err *err) {
    const lethe_bench_opts *o = j->o;
    size_t d = lethe_lm_get_info(j->lm)->d_model;
    if (!o->sae) {
        j->random_sae = true;
        LETHE_TRY(lethe_sae_alloc(&j->sae, d, (size_t)((double)d * o->expansion), o->k, err));
        lethe_sae_init(&j->sae, o->seed);
        return LETHE_OK;
    }
    lethe_sae_meta meta;
    LETHE_TRY(lethe_sae_load(&j->sae, &meta, o->sae, 0, err));
    if (o->layer < 0 && meta.layer >= 0) j->layer = meta.layer;
    return lethe_lm_check_layer(j->lm, j->layer, err);
}

static lethe_status load_features(job *j, lethe_err *err) {
    const lethe_bench_opts *o = j->o;
    if (!o->features) {
        j->random_features = true;
        j->n_features = o->n_features < j->sae.m ? o->n_features : j->sae.m;
        return lethe_bench_features(&j->feature, j->n_features, j->sae.m, o->seed, err);
    }
    lethe_feature_set set;
    LETHE_TRY(lethe_feature_set_load(&set, o->features, err));
    j->n_features = set.n;
    lethe_status st = lethe_feature_set_indices(&set, &j->feature, err);
    if (!st && set.m != j->sae.m)
        st = lethe_fail(err, LETHE_MISMATCH, "%s: features of an SAE with %zu latents, %s has %zu",
                        o->features, set.m, o->sae, j->sae.m);
    lethe_feature_set_free(&set);
    return st;
}

static lethe_status keep_row(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    job *j = user;
    for (size_t i = 0; i < rows->n; i++)
        memcpy(j->x + (size_t)rows->pos[i] * rows->d, rows->x + i * rows->d,
               rows->d * sizeof *j->x);
    return LETHE_OK;
}

/* The compact gate from a file. It knows its layer. */
static lethe_status load_patch(job *j, lethe_err *err) {
    const lethe_bench_opts *o = j->o;
    if (!o->patch) return LETHE_OK;
    j->patch_given = true;
    LETHE_TRY(lethe_patch_load(&j->patch, o->patch, err));
    LETHE_TRY(lethe_patch_check_model(&j->patch, lethe_lm_get_info(j->lm), o->patch, err));
    if (o->layer < 0) j->layer = j->patch.layer;
    return lethe_lm_check_layer(j->lm, j->layer, err);
}

/* The compact gate of the exact one's features, its thresholds from a window of random tokens
 * (without them it would fire far too often). */
static lethe_status make_patch(job *j, lethe_err *err) {
    const lethe_bench_opts *o = j->o;
    size_t n = o->ctx_len;
    lethe_seq seq = {j->token, n};
    LETHE_TRY(lethe_alloc(&j->x, n, j->sae.d * sizeof *j->x, "rows of a window", err));
    lethe_lm_clear_hooks(j->lm);
    LETHE_TRY(lethe_lm_add_tap(j->lm, j->layer, LETHE_HOOK_POST, keep_row, j, err));
    LETHE_TRY(lethe_lm_capture(j->lm, &seq, 1, err));
    lethe_lm_clear_hooks(j->lm);
    return lethe_bench_patch(&j->patch, &j->sae, j->feature, j->n_features, o->scale, j->x, n, err);
}

static double fired_share(const lethe_ablation *a) {
    const lethe_hook_stats *s = lethe_ablation_stats(a);
    return s->rows ? (double)s->rows_fired / (double)s->rows : 0;
}

static lethe_status bench_decode(job *j, const lethe_env *env, lethe_bench_result *r,
                                 lethe_err *err) {
    lethe_bench_race *race = lethe_bench_begin(r, "decode", 1, err);
    if (!race) return LETHE_NOMEM;
    if (lethe_lm_ctx_len(j->lm) < 2 * PROMPT)
        return lethe_fail(
            err, LETHE_USAGE,
            "--ctx-len: got %zu, want at least %d (%d tokens of a prompt, and as many "
            "new ones)",
            lethe_lm_ctx_len(j->lm), 2 * PROMPT, PROMPT);
    lethe_bench_add(race, "plain", "no intervention", true);
    lethe_bench_add(race, "exact", "exact gate", false);
    lethe_bench_add(race, "compact", "compact gate", false);
    LETHE_TRY(load_features(j, err));
    LETHE_TRY(lethe_ablation_open(&j->exact, &j->sae, j->feature, j->n_features, j->o->scale, err));
    if (!j->patch_given) LETHE_TRY(make_patch(j, err));
    LETHE_TRY(lethe_ablation_open_patch(&j->compact, &j->patch, err));
    /* Opening finds the places of the hooks that are there; one at layer 0's input takes a run. */
    LETHE_TRY(lethe_ablation_attach(j->compact, j->lm, j->layer, j->patch.hook, true, err));
    LETHE_TRY(lethe_live_open(&j->live, j->lm, NULL, NULL, err));
    lethe_bench_plan plan = {.fn = {decode_plain, decode_exact, decode_compact}, .user = j};
    LETHE_TRY(lethe_bench_alternate(race, &plan, j->o->rounds * j->o->new_tokens, env, err));
    bool ok = true;
    lethe_json_put(race->figures, "sae", json_string(j->random_sae ? "random" : j->o->sae), &ok);
    lethe_json_put(race->figures, "latents", json_integer((json_int_t)j->sae.m), &ok);
    lethe_json_put(race->figures, "features", json_integer((json_int_t)j->n_features), &ok);
    lethe_json_put(race->figures, "random_features", json_boolean(j->random_features), &ok);
    lethe_json_put(race->figures, "patch",
                   json_string(j->patch_given ? j->o->patch : "of the same features"), &ok);
    lethe_json_put(race->figures, "exact_fired", lethe_json_real(fired_share(j->exact)), &ok);
    lethe_json_put(race->figures, "compact_fired", lethe_json_real(fired_share(j->compact)), &ok);
    char kind[32];
    if (j->sae.arch == LETHE_ARCH_TOPK)
        snprintf(kind, sizeof kind, "k %zu", j->sae.k);
    else
        snprintf(kind, sizeof kind, "%s", lethe_arch_name(j->sae.arch));
    lethe_strbuf_addf(&race->note, "%zu tokens of each side, in turn one by one\n",
                      race->side[0].n);
    lethe_strbuf_addf(&race->note,
                      "%s SAE of %zu latents, %s, %zu %s features after layer %d\n"
                      "the exact gate fired at %.3g %% of rows, the compact one (%s) at %.3g %%",
                      j->random_sae ? "random" : "given", j->sae.m, kind, j->n_features,
                      j->random_features ? "random" : "chosen", j->layer,
                      100 * fired_share(j->exact), j->patch_given ? "a patch" : "the same features",
                      100 * fired_share(j->compact));
    return LETHE_OK;
}

lethe_status lethe_bench_lm(const lethe_bench_opts *o, const lethe_env *env, lethe_bench_result *r,
                            lethe_err *err) {
    job j = {.o = o, .layer = o->layer};
    lethe_lm_opts lo = lethe_lm_defaults();
    lo.gpu_layers = o->gpu_layers;
    lo.ctx_len = o->ctx_len;
    lo.hash = o->patch != NULL; /* so that it is checked against the model */
    LETHE_TRY(lethe_lm_open(&j.lm, o->model, &lo, env, err));
    if (j.layer < 0) j.layer = lethe_pipeline_middle_layer(lethe_lm_get_info(j.lm)->n_layer);
    lethe_status st = lethe_lm_check_layer(j.lm, j.layer, err);
    if (!st && o->what & LETHE_BENCH_DECODE) st = load_sae(&j, err);
    if (!st && o->what & LETHE_BENCH_DECODE) st = load_patch(&j, err);
    r->has_model = true;
    r->model = *lethe_lm_get_info(j.lm);
    r->layer = j.layer;
    if (!st) st = lethe_alloc(&j.token, o->ctx_len, sizeof *j.token, "tokens of a prefill", err);
    if (!st) random_tokens(&j, 0, j.token, o->ctx_len);
    if (!st && o->what & LETHE_BENCH_HARVEST) st = bench_harvest(&j, env, r, err);
    if (!st && o->what & LETHE_BENCH_DECODE) st = bench_decode(&j, env, r, err);
    lethe_lm_clear_hooks(j.lm);
    lethe_live_close(&j.live);
    lethe_harvester_close(&j.harvester);
    lethe_ablation_close(&j.exact);
    lethe_ablation_close(&j.compact);
    lethe_patch_free(&j.patch);
    lethe_free(j.x);
    lethe_sae_free(&j.sae);
    lethe_lm_close(&j.lm);
    lethe_free(j.token);
    lethe_free(j.feature);
    return st;
}
