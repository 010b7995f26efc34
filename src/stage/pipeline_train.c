/* SPDX-License-Identifier: MIT
 *
 * Harvest and train: rows from a store on disk (several epochs, the model runs once) or straight
 * from the model (a bounded shuffle buffer), then the SAE.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "sae/layout.h"
#include "stage/pipeline_run.h"

/* ---- settings ------------------------------------------------------------------------------- */

static lethe_status pick(const char *option, const char *value, const char *const names[], int n,
                         int *out, lethe_err *err) {
    for (int i = 0; i < n; i++)
        if (!strcmp(value, names[i])) {
            *out = i;
            return LETHE_OK;
        }
    lethe_strbuf list = {0};
    for (int i = 0; i < n; i++) lethe_strbuf_addf(&list, "%s%s", i ? ", " : "", names[i]);
    lethe_fail(err, LETHE_USAGE, "--%s: got \"%s\", want one of: %s", option, value,
               lethe_strbuf_str(&list));
    lethe_strbuf_free(&list);
    return LETHE_USAGE;
}

lethe_status lethe_pipeline_recipe(const lethe_config *c, lethe_recipe *out, lethe_err *err) {
    static const char *const recipes[] = {"default", "reference"};
    static const char *const aux[] = {"none", "reference", "normalised"}; /* enum lethe_aux_kind */
    static const char *const bias[] = {"zero", "mean", "median"};         /* enum lethe_bias_init */
    int i;
    LETHE_TRY(pick("recipe", c->recipe, recipes, 2, &i, err));
    *out = i ? lethe_recipe_reference() : lethe_recipe_default();
    if (c->aux) {
        LETHE_TRY(pick("aux", c->aux, aux, 3, &i, err));
        out->aux = (lethe_aux_kind)i;
    }
    if (c->b_dec_init) {
        LETHE_TRY(pick("b-dec-init", c->b_dec_init, bias, 3, &i, err));
        out->b_dec_init = (lethe_bias_init)i;
    }
    if (c->lr > 0) out->lr = c->lr;
    if (c->warmup >= 0) out->warmup = c->warmup;
    if (c->decay >= 0) out->decay = c->decay;
    if (c->clip >= 0) out->clip = c->clip;
    if (c->aux_coef >= 0) out->aux_coef = c->aux_coef;
    if (c->aux_k > 0) out->aux_k = (size_t)c->aux_k;
    if (c->dead_after >= 0) out->dead_after = c->dead_after;
    if (c->no_shuffle) out->shuffle = false;
    return LETHE_OK;
}

static lethe_status at_least(const char *option, int64_t value, int64_t least, lethe_err *err) {
    if (value >= least) return LETHE_OK;
    return lethe_fail(err, LETHE_USAGE, "--%s: got %lld, want at least %lld", option,
                      (long long)value, (long long)least);
}

lethe_status lethe_pipeline_train_opts(const lethe_config *c, lethe_train_opts *out,
                                       lethe_err *err) {
    LETHE_TRY(at_least("k", c->k, 0, err));
    LETHE_TRY(at_least("latents", c->latents, 0, err));
    LETHE_TRY(at_least("epochs", c->epochs, 1, err));
    LETHE_TRY(at_least("batch-size", c->batch_size, 1, err));
    LETHE_TRY(at_least("max-steps", c->max_steps, 0, err));
    LETHE_TRY(at_least("save-every", c->save_every, 0, err));
    LETHE_TRY(at_least("buffer-tokens", c->buffer_tokens, 1, err));
    LETHE_TRY(at_least("max-tokens", c->max_tokens, 0, err));
    if (!(c->forget_share >= 0 && c->forget_share < 1))
        return lethe_fail(err, LETHE_USAGE, "--forget-share: got %g, want 0 to less than 1",
                          c->forget_share);
    if (!(c->expansion > 0) || c->expansion > 4096)
        return lethe_fail(err, LETHE_USAGE,
                          "--expansion: got %g, want more than 0 and at most 4096", c->expansion);
    *out = lethe_train_defaults();
    LETHE_TRY(lethe_pipeline_recipe(c, &out->recipe, err));
    out->m = (size_t)c->latents;
    if (c->k) out->k = (size_t)c->k;
    if (c->init && !c->k) out->k = 0; /* the file's own */
    out->expansion = c->expansion;
    out->init = c->init;
    out->batch = (size_t)c->batch_size;
    out->epochs = (uint64_t)c->epochs;
    out->max_steps = (uint64_t)c->max_steps;
    out->save_every = (uint64_t)c->save_every;
    out->seed = (uint64_t)c->seed;
    out->resume = c->resume;
    return LETHE_OK;
}

/* The reference trains on float32 rows. */
static const char *store_kind(const lethe_config *c) {
    if (strcmp(c->store, "auto")) return c->store;
    if (c->epochs == 1) return "off";
    return strcmp(c->recipe, "reference") ? "bf16" : "f32";
}

/* Everything the SAE's bytes depend on, beside the rows: in their own keys, so that a store serves
 * other trainings. */
static json_t *training_identity(const lethe_config *c, const lethe_train_opts *o,
                                 const char *init_hash) {
    const lethe_recipe *r = &o->recipe;
    bool stored = strcmp(store_kind(c), "off") != 0;
    return json_pack("{s:s, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:b, s:f, s:f, s:f, "
                     "s:f, s:i, s:f, "
                     "s:I, s:f, s:i}",
                     "recipe", r->name, "latents", (json_int_t)o->m, "k", (json_int_t)o->k,
                     "expansion", o->expansion, "batch", (json_int_t)o->batch, "epochs",
                     (json_int_t)o->epochs, "max_steps", (json_int_t)o->max_steps, "seed",
                     (json_int_t)o->seed, "init", init_hash, "store", store_kind(c), "buffer",
                     (json_int_t)(stored ? 0 : c->buffer_tokens), "shuffle", r->shuffle, "lr",
                     r->lr, "clip", r->clip, "warmup", r->warmup, "decay", r->decay, "aux",
                     (int)r->aux, "aux_coef", r->aux_coef, "aux_k", (json_int_t)r->aux_k,
                     "dead_after", r->dead_after, "b_dec_init", (int)r->b_dec_init);
}

/* ---- rows ----------------------------------------------------------------------------------- */

typedef struct rows {
    lethe_mix *mix;
    lethe_harvester *harvester;
    lethe_store *store;
    lethe_source *source;
} rows;

static void rows_close(rows *r) {
    lethe_source_close(&r->source);
    lethe_store_close(&r->store);
    lethe_harvester_close(&r->harvester);
    lethe_mix_close(&r->mix);
}

static lethe_status harvest_to_store(lethe_pipeline *p, rows *r, const char *dir, lethe_dtype dtype,
                                     const json_t *identity, lethe_err *err) {
    lethe_store_writer *w;
    size_t d = lethe_lm_get_info(p->lm)->d_model;
    LETHE_TRY(lethe_store_create(&w, dir, d, dtype, identity, err));
    double total = lethe_mix_tokens(r->mix);
    lethe_status st;
    lethe_harvest_rows batch;
    while (!(st = lethe_harvester_next(r->harvester, SIZE_MAX, &batch, err)) && batch.windows) {
        st = lethe_store_put(w, batch.x, batch.token, batch.position, batch.role, batch.n, err);
        if (st) break;
        double done = (double)lethe_harvester_stats(r->harvester)->tokens;
        lethe_report_progress(
            p->env,
            &(lethe_progress){
                .stage = "harvest", .done = done, .total = total, .unit = "tokens", .detail = ""});
    }
    const lethe_harvest_stats *s = lethe_harvester_stats(r->harvester);
    char detail[128];
    snprintf(detail, sizeof detail, "%llu rows; left out: %llu special, %llu outliers",
             (unsigned long long)s->rows, (unsigned long long)s->special,
             (unsigned long long)s->outliers);
    if (!st)
        lethe_report_progress(p->env, &(lethe_progress){.stage = "harvest",
                                                        .done = (double)s->tokens,
                                                        .total = (double)s->tokens,
                                                        .unit = "tokens",
                                                        .detail = detail,
                                                        .finished = true});
    if (!st && !s->rows)
        st = lethe_fail(err, LETHE_FORMAT,
                        "no activations to train on: every position was special or an "
                        "outlier (try --keep-outliers)");
    if (st)
        lethe_store_abort(&w);
    else
        st = lethe_store_commit(&w, err);
    return st;
}

/* Opens the store of these rows, harvesting first if it is not there. */
static lethe_status rows_from_store(lethe_pipeline *p, rows *r, const json_t *identity,
                                    lethe_dtype dtype, bool shuffle, lethe_err *err) {
    char *dir;
    LETHE_TRY(lethe_pipeline_path(p, "activations", &dir, err));
    lethe_status st = LETHE_MISMATCH;
    if (lethe_store_exists(dir) && !p->config->fresh) {
        st = lethe_store_open(&r->store, dir, identity, err);
        if (!st)
            lethe_log(p->env, LETHE_LOG_INFO, "using the activations in %s", dir);
        else if (st == LETHE_MISMATCH)
            lethe_log(p->env, LETHE_LOG_INFO, "harvesting again: %s", err->text);
        else
            goto done;
    }
    if (st) {
        st = harvest_to_store(p, r, dir, dtype, identity, err);
        if (!st) st = lethe_store_open(&r->store, dir, identity, err);
    }
    if (!st)
        st = lethe_source_from_store(&r->source, r->store, shuffle, (uint64_t)p->config->seed, err);
done:
    lethe_free(dir);
    return st;
}

static lethe_status rows_open(lethe_pipeline *p, rows *r, const json_t *identity, bool shuffle,
                              lethe_corpus_size size[LETHE_ROLES], lethe_err *err) {
    const lethe_config *c = p->config;
    static const char *const kinds[] = {"off", "bf16", "f32"};
    int kind;
    LETHE_TRY(pick("store", store_kind(c), kinds, 3, &kind, err));
    lethe_mix_opts mo = lethe_run_mix_opts(p);
    lethe_corpus *corpus[LETHE_ROLES];
    memcpy(corpus, p->corpus, sizeof corpus);
    if (c->no_forget) corpus[LETHE_FORGET] = NULL;
    LETHE_TRY(lethe_mix_open(&r->mix, p->lm, corpus, &mo, p->env, err));
    memcpy(size, lethe_mix_sizes(r->mix), LETHE_ROLES * sizeof *size);
    lethe_strbuf table = {0};
    lethe_corpus_table(size, mo.ctx_len, &table);
    lethe_log(p->env, LETHE_LOG_INFO, "\n%s", lethe_strbuf_str(&table));
    lethe_strbuf_free(&table);
    lethe_harvest_opts ho = lethe_run_harvest_opts(p);
    LETHE_TRY(lethe_harvester_open(&r->harvester, p->lm, lethe_mix_source(r->mix), &ho, err));
    if (kind)
        return rows_from_store(p, r, identity, kind == 1 ? LETHE_BF16 : LETHE_F32, shuffle, err);
    /* So many windows fill the buffer even if all are full ones. */
    uint64_t block = (uint64_t)c->buffer_tokens / (uint64_t)c->ctx_len;
    return lethe_source_from_harvest(&r->source, r->harvester, lethe_lm_get_info(p->lm)->d_model,
                                     (size_t)c->ctx_len, lethe_mix_total(r->mix),
                                     lethe_mix_tokens(r->mix), block ? block : 1, shuffle,
                                     (uint64_t)c->seed, err);
}

/* ---- the stage ------------------------------------------------------------------------------ */

static json_t *figures_of(const lethe_train_result *r) {
    return json_pack(
        "{s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:f, s:f, s:f, s:I, s:o}", "steps",
        (json_int_t)r->steps, "skipped", (json_int_t)r->skipped, "tokens", (json_int_t)r->tokens,
        "loss", lethe_json_real(r->recon_loss), "fvu", lethe_json_real(r->fvu), "l0",
        lethe_json_real(r->l0), "dead", (json_int_t)r->dead, "latents", (json_int_t)r->m, "seconds",
        r->seconds, "second_looks", r->second_looks, "exact_per_token", r->exact_per_token,
        "full_tokens", (json_int_t)r->full, "curve", lethe_train_curve_json(&r->curve));
}

static void figures_back(const json_t *f, lethe_train_result *r) {
#define REAL(key) json_number_value(json_object_get(f, key))
    *r = (lethe_train_result){.steps = (uint64_t)REAL("steps"),
                              .skipped = (uint64_t)REAL("skipped"),
                              .tokens = (uint64_t)REAL("tokens"),
                              .recon_loss = REAL("loss"),
                              .fvu = REAL("fvu"),
                              .l0 = REAL("l0"),
                              .dead = (size_t)REAL("dead"),
                              .m = (size_t)REAL("latents"),
                              .seconds = REAL("seconds"),
                              .second_looks = REAL("second_looks"),
                              .exact_per_token = REAL("exact_per_token"),
                              .full = (uint64_t)REAL("full_tokens")};
#undef REAL
}

static void fill_meta(const lethe_pipeline *p, lethe_sae_meta *meta) {
    const lethe_lm_info *info = lethe_lm_get_info(p->lm);
    *meta = (lethe_sae_meta){.layer = (int)p->config->layer, .hook = (int)p->hook};
    snprintf(meta->model_name, sizeof meta->model_name, "%s", info->name);
    snprintf(meta->model_hash, sizeof meta->model_hash, "%s", info->hash);
}

/* identity: of the rows (new reference); key: of rows and training together. */
static lethe_status train_keys(lethe_pipeline *p, const lethe_train_opts *o, json_t **identity,
                               char key[LETHE_HASH_HEX], lethe_err *err) {
    char init_hash[LETHE_HASH_HEX] = "";
    if (o->init) LETHE_TRY(lethe_train_check_init(o->init, err));
    if (o->init) LETHE_TRY(lethe_sae_hash(o->init, o->k, init_hash, err));
    json_t *of_rows = lethe_run_rows_identity(p), *all = json_object();
    bool ok = of_rows != NULL;
    if (ok) lethe_json_put(of_rows, "no_forget", json_boolean(p->config->no_forget), &ok);
    if (ok) lethe_json_put(of_rows, "dtype", json_string(store_kind(p->config)), &ok);
    lethe_json_put(all, "rows", json_incref(of_rows), &ok);
    lethe_json_put(all, "training", training_identity(p->config, o, init_hash), &ok);
    lethe_status st = ok ? lethe_run_key(json_incref(all), key, err)
                         : lethe_fail(err, LETHE_NOMEM, "out of memory for a stage's key");
    json_decref(all);
    if (st)
        json_decref(of_rows);
    else
        *identity = of_rows;
    return st;
}

/* Trains; a checkpoint that does not fit or is damaged is set aside if the pipeline may. */
static lethe_status train_or_restart(lethe_pipeline *p, rows *r, lethe_train_opts *o,
                                     lethe_sae_meta *meta, const char *sae_path, const char *ckpt,
                                     lethe_train_result *result, lethe_err *err) {
    bool may_restart = p->resume_if_possible && !o->resume;
    if (p->resume_if_possible && !p->config->fresh) o->resume = true;
    lethe_status st = lethe_train_run(r->source, o, meta, sae_path, ckpt, p->env, result, err);
    bool unfit = st == LETHE_MISMATCH || st == LETHE_FORMAT;
    if (!unfit || !may_restart || !o->resume || !lethe_path_exists(ckpt)) return st;
    lethe_log(p->env, LETHE_LOG_INFO, "starting again: %s", err->text);
    unlink(ckpt);
    LETHE_TRY(lethe_source_seek(r->source, (lethe_place){0}, err));
    return lethe_train_run(r->source, o, meta, sae_path, ckpt, p->env, result, err);
}

lethe_status lethe_pipeline_train(lethe_pipeline *p, lethe_train_result *result,
                                  lethe_sae_meta *meta, lethe_stage_info *info, lethe_err *err) {
    *info = (lethe_stage_info){0};
    fill_meta(p, meta);
    lethe_train_opts o;
    LETHE_TRY(lethe_pipeline_train_opts(p->config, &o, err));
    LETHE_TRY(lethe_run_corpora(p, !p->config->no_forget, err));
    char key[LETHE_HASH_HEX], *sae_path = NULL, *ckpt = NULL;
    json_t *identity;
    LETHE_TRY(train_keys(p, &o, &identity, key, err));
    if (lethe_run_done(p, "train", key, "sae.safetensors")) {
        info->reused = true;
        figures_back(lethe_run_figures(p, "train"), result);
        json_decref(identity);
        return LETHE_OK;
    }
    rows r = {0};
    double start = lethe_seconds();
    lethe_status st = lethe_pipeline_path(p, "sae.safetensors", &sae_path, err);
    if (!st) st = lethe_pipeline_path(p, "train.ckpt", &ckpt, err);
    if (!st) st = rows_open(p, &r, identity, o.recipe.shuffle, info->size, err);
    o.identity = key;
    if (!st) st = train_or_restart(p, &r, &o, meta, sae_path, ckpt, result, err);
    info->seconds = lethe_seconds() - start;
    if (!st) st = lethe_run_record(p, "train", key, figures_of(result), err);
    rows_close(&r);
    lethe_free(sae_path);
    lethe_free(ckpt);
    json_decref(identity);
    return st;
}
