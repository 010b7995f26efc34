/* SPDX-License-Identifier: MIT */
#include "stage/pipeline_run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "sae/layout.h"

/* ---- run.json ------------------------------------------------------------------------------- */

lethe_status lethe_pipeline_path(const lethe_pipeline *p, const char *name, char **out,
                                 lethe_err *err) {
    *out = lethe_path_join(p->dir, name);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

lethe_status lethe_run_key(json_t *object, char out[LETHE_HASH_HEX], lethe_err *err) {
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(object);
    if (!text) return lethe_fail(err, LETHE_NOMEM, "out of memory for a stage's key");
    lethe_hash_bytes(text, strlen(text), out);
    free(text);
    return LETHE_OK;
}

static json_t *stage_of(const lethe_pipeline *p, const char *name) {
    return json_object_get(json_object_get(p->record, "stages"), name);
}

bool lethe_run_done(const lethe_pipeline *p, const char *name, const char *key, const char *file) {
    const char *have = json_string_value(json_object_get(stage_of(p, name), "key"));
    if (p->config->fresh || !have || strcmp(have, key)) return false;
    char *path = lethe_path_join(p->dir, file);
    bool there = path && lethe_path_exists(path);
    lethe_free(path);
    return there;
}

const json_t *lethe_run_figures(const lethe_pipeline *p, const char *name) {
    return json_object_get(stage_of(p, name), "figures");
}

static lethe_status write_record(lethe_pipeline *p, lethe_err *err) {
    char *path;
    LETHE_TRY(lethe_pipeline_path(p, "run.json", &path, err));
    lethe_status st = lethe_json_save(p->record, path, err);
    lethe_free(path);
    return st;
}

lethe_status lethe_run_record(lethe_pipeline *p, const char *name, const char *key, json_t *figures,
                              lethe_err *err) {
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    bool ok = true;
    json_t *stage = json_object(), *stages = json_object_get(p->record, "stages");
    lethe_json_put(stage, "key", json_string(key), &ok);
    lethe_json_put(stage, "finished", json_string(when), &ok);
    lethe_json_put(stage, "figures", figures, &ok);
    lethe_json_put(stages, name, stage, &ok);
    lethe_json_put(p->record, "config", lethe_config_to_json(p->config), &ok);
    json_t *inputs = json_object();
    for (int r = 0; r < LETHE_ROLES; r++)
        if (p->corpus_hash[r][0])
            lethe_json_put(inputs, lethe_role_name((lethe_role)r), json_string(p->corpus_hash[r]),
                           &ok);
    if (p->lm) {
        const lethe_lm_info *i = lethe_lm_get_info(p->lm);
        lethe_json_put(inputs, "model", json_string(i->hash), &ok);
        lethe_json_put(inputs, "model_name", lethe_json_text(i->name, strlen(i->name)), &ok);
    }
    lethe_json_put(p->record, "inputs", inputs, &ok);
    if (!ok) return lethe_fail(err, LETHE_NOMEM, "out of memory for run.json");
    return write_record(p, err);
}

static lethe_status open_record(lethe_pipeline *p, const char *version, lethe_err *err) {
    char *path;
    LETHE_TRY(lethe_mkdirs(p->dir, err));
    LETHE_TRY(lethe_pipeline_path(p, "run.json", &path, err));
    lethe_status st = LETHE_OK;
    if (lethe_path_exists(path)) {
        st = lethe_json_load(&p->record, path, err);
        const char *format = json_string_value(json_object_get(p->record, "format"));
        if (!st && (!format || strcmp(format, "lethe-run-1") ||
                    !json_is_object(json_object_get(p->record, "stages"))))
            st = lethe_fail(err, LETHE_FORMAT, "%s: not the record of a run (use another --out)",
                            path);
    } else {
        p->record = json_pack("{s:s, s:{}}", "format", "lethe-run-1", "stages");
        if (!p->record) st = lethe_fail(err, LETHE_NOMEM, "out of memory for run.json");
    }
    lethe_free(path);
    bool ok = !st;
    if (ok) lethe_json_put(p->record, "lethe", json_string(version), &ok);
    if (ok) lethe_json_put(p->record, "libllama", json_string(lethe_lm_library_version()), &ok);
    return st;
}

/* ---- model ---------------------------------------------------------------------------------- */

lethe_status lethe_pipeline_hook(const lethe_config *c, lethe_hook *out, lethe_err *err) {
    if (!strcmp(c->hook, "post"))
        *out = LETHE_HOOK_POST;
    else if (!strcmp(c->hook, "pre"))
        *out = LETHE_HOOK_PRE;
    else
        return lethe_fail(err, LETHE_USAGE, "--hook: got \"%s\", want pre or post", c->hook);
    return LETHE_OK;
}

/* Sequences run at once: enough rows to keep the matrix products busy, few enough to stay small. */
static size_t sequences(size_t ctx) {
    size_t n = 1024 / ctx;
    return n < 1 ? 1 : n > 16 ? 16 : n;
}

#define DEFAULT_CTX 512u

int lethe_pipeline_middle_layer(int n_layer) {
    return n_layer > 1 ? n_layer / 2 - 1 : 0;
}

lethe_status lethe_pipeline_ctx_len(const lethe_config *c, const lethe_env *env, size_t *out,
                                    lethe_err *err) {
    if (c->ctx_len < 0 || c->ctx_len > 1 << 20)
        return lethe_fail(err, LETHE_USAGE, "--ctx-len: got %lld, want 0 to 1048576",
                          (long long)c->ctx_len);
    *out = (size_t)c->ctx_len;
    if (*out) return LETHE_OK;
    lethe_lm_opts o = lethe_lm_defaults();
    o.vocab_only = true;
    o.hash = false;
    lethe_lm *lm;
    LETHE_TRY(lethe_lm_open(&lm, c->model, &o, env, err));
    size_t most = lethe_lm_get_info(lm)->ctx_train;
    *out = most && most < DEFAULT_CTX ? most : DEFAULT_CTX;
    lethe_lm_close(&lm);
    return LETHE_OK;
}

/* Before the layer is looked at: a patch of another model may name one that this one lacks. */
static lethe_status open_patches(lethe_pipeline *p, lethe_err *err) {
    const lethe_config *c = p->config;
    const size_t n = c->patch.n;
    LETHE_TRY(lethe_zalloc(&p->patch, n, sizeof *p->patch, "patches", err));
    LETHE_TRY(lethe_zalloc(&p->patch_hash, n, sizeof *p->patch_hash, "patches", err));
    for (size_t i = 0; i < n; i++) {
        const char *path = c->patch.item[i];
        LETHE_TRY(lethe_patch_load(&p->patch[i], path, err));
        p->n_patches++;
        LETHE_TRY(lethe_hash_file(path, p->patch_hash[i], err));
        LETHE_TRY(lethe_patch_check_model(&p->patch[i], lethe_lm_get_info(p->lm), path, err));
    }
    if (n && (p->patch[0].layer != (int)c->layer || p->patch[0].hook != p->hook))
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: this patch belongs to layer %d (%s), not to layer %lld (%s): leave "
                          "out --layer and --hook",
                          c->patch.item[0], p->patch[0].layer,
                          lethe_hook_name((int)p->patch[0].hook), (long long)c->layer, c->hook);
    return LETHE_OK;
}

/* ctx 0: as lethe_lm_open has it. */
static lethe_status open_model(lethe_pipeline *p, size_t ctx, size_t n_seq, lethe_err *err) {
    lethe_config *c = p->config;
    lethe_lm_opts o = lethe_lm_defaults();
    o.gpu_layers = (int)c->gpu_layers;
    o.ctx_len = ctx;
    o.n_seq = n_seq;
    LETHE_TRY(lethe_lm_open(&p->lm, c->model, &o, p->env, err));
    c->ctx_len = (int64_t)lethe_lm_ctx_len(p->lm);
    LETHE_TRY(open_patches(p, err));
    int layers = lethe_lm_get_info(p->lm)->n_layer;
    if (c->layer == -1) c->layer = lethe_pipeline_middle_layer(layers);
    if (c->layer > INT32_MAX || c->layer < 0) c->layer = INT32_MAX; /* check_layer says the range */
    return lethe_lm_check_layer(p->lm, (int)c->layer, err);
}

static lethe_status begin(lethe_pipeline *p, lethe_config *config, const lethe_env *env,
                          lethe_err *err) {
    *p = (lethe_pipeline){.config = config, .env = env};
    LETHE_TRY(lethe_pipeline_hook(config, &p->hook, err));
    p->dir = lethe_strdup(config->out);
    if (!p->dir) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    return config->model ? LETHE_OK
                         : lethe_fail(err, LETHE_USAGE, "no model given (pass --model FILE.gguf)");
}

lethe_status lethe_pipeline_open(lethe_pipeline *p, lethe_config *config, const char *version,
                                 const lethe_env *env, lethe_err *err) {
    size_t ctx = 0;
    lethe_status st = begin(p, config, env, err);
    if (!st) st = lethe_pipeline_ctx_len(config, env, &ctx, err);
    if (!st) st = open_model(p, ctx, sequences(ctx), err);
    if (!st) st = open_record(p, version, err);
    if (st) lethe_pipeline_close(p);
    return st;
}

lethe_status lethe_pipeline_open_model(lethe_pipeline *p, lethe_config *config, size_t n_seq,
                                       const lethe_env *env, lethe_err *err) {
    size_t ctx =
        0; /* a window's default is for training; a text goes on as far as the model does */
    lethe_status st = begin(p, config, env, err);
    if (!st && config->ctx_len) st = lethe_pipeline_ctx_len(config, env, &ctx, err);
    if (!st) st = open_model(p, ctx, n_seq, err);
    if (st) lethe_pipeline_close(p);
    return st;
}

lethe_status lethe_pipeline_branch(lethe_pipeline *p, const lethe_pipeline *from,
                                   lethe_config *config, lethe_err *err) {
    *p = (lethe_pipeline){.config = config,
                          .env = from->env,
                          .lm = from->lm,
                          .borrows_lm = true,
                          .hook = from->hook,
                          .dir = lethe_strdup(config->out)};
    lethe_status st = p->dir ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    const char *version = json_string_value(json_object_get(from->record, "lethe"));
    if (!st) st = lethe_lm_check_layer(p->lm, (int)config->layer, err);
    if (!st) st = open_record(p, version, err);
    if (st) lethe_pipeline_close(p);
    return st;
}

void lethe_pipeline_close(lethe_pipeline *p) {
    for (int r = 0; r < LETHE_ROLES; r++) lethe_corpus_close(&p->corpus[r]);
    if (!p->borrows_lm) lethe_lm_close(&p->lm);
    for (size_t i = 0; i < p->n_patches; i++) lethe_patch_free(&p->patch[i]);
    lethe_free(p->patch);
    lethe_free(p->patch_hash);
    json_decref(p->record);
    lethe_free(p->dir);
    *p = (lethe_pipeline){0};
}

/* ---- text ----------------------------------------------------------------------------------- */

lethe_status lethe_run_corpora(lethe_pipeline *p, bool need_both, lethe_err *err) {
    const lethe_list *paths[LETHE_ROLES] = {[LETHE_FORGET] = &p->config->forget,
                                            [LETHE_NEAR] = &p->config->near,
                                            [LETHE_RETAIN] = &p->config->retain};
    if (need_both && (!paths[LETHE_FORGET]->n || !paths[LETHE_RETAIN]->n))
        return lethe_fail(err, LETHE_USAGE,
                          "text is missing: pass --forget FILE.. (what to forget) and "
                          "--retain FILE.. (ordinary text to keep)");
    for (int r = 0; r < LETHE_ROLES; r++) {
        if (p->corpus[r] || !paths[r]->n) continue;
        LETHE_TRY(lethe_corpus_open(&p->corpus[r], (const char *const *)paths[r]->item, paths[r]->n,
                                    p->config->text_field, err));
        LETHE_TRY(lethe_corpus_hash(p->corpus[r], p->corpus_hash[r], err));
    }
    return LETHE_OK;
}

lethe_mix_opts lethe_run_mix_opts(const lethe_pipeline *p) {
    const lethe_config *c = p->config;
    bool reference = c->recipe && !strcmp(c->recipe, "reference");
    return (lethe_mix_opts){.ctx_len = (size_t)c->ctx_len,
                            .bos = !reference,
                            .separate = c->separate_documents,
                            .shuffle = !reference && !c->no_shuffle,
                            .forget_share = c->forget_share,
                            .max_tokens = (uint64_t)c->max_tokens,
                            .seed = (uint64_t)c->seed};
}

lethe_harvest_opts lethe_run_harvest_opts(const lethe_pipeline *p) {
    lethe_harvest_opts o = lethe_harvest_defaults();
    o.layer = (int)p->config->layer;
    o.hook = p->hook;
    o.keep_special = p->config->keep_bos;
    if (p->config->keep_outliers) o.outlier_factor = 0;
    return o;
}

json_t *lethe_run_rows_identity(const lethe_pipeline *p) {
    const lethe_config *c = p->config;
    lethe_mix_opts m = lethe_run_mix_opts(p);
    json_t *o = json_pack("{s:s, s:I, s:s, s:I, s:b, s:b, s:b, s:b, s:f, s:I, s:I}", "model",
                          lethe_lm_get_info(p->lm)->hash, "layer", (json_int_t)c->layer, "hook",
                          c->hook, "ctx_len", (json_int_t)c->ctx_len, "bos", m.bos, "separate",
                          m.separate, "keep_outliers", c->keep_outliers, "in_order", !m.shuffle,
                          "forget_share", c->forget_share, "max_tokens", (json_int_t)c->max_tokens,
                          "seed", (json_int_t)c->seed);
    bool ok = o != NULL;
    for (int r = 0; r < LETHE_ROLES && ok; r++)
        lethe_json_put(o, lethe_role_name((lethe_role)r), json_string(p->corpus_hash[r]), &ok);
    if (ok) return o;
    json_decref(o);
    return NULL;
}

void lethe_corpus_table(const lethe_corpus_size size[], size_t ctx_len, lethe_strbuf *out) {
    uint64_t all = 0;
    for (int r = 0; r < LETHE_ROLES; r++) all += size[r].used;
    if (!all) return;
    lethe_strbuf_addf(out, "%-8s %10s %12s %10s %7s\n", "text", "documents", "tokens", "windows",
                      "share");
    for (int r = 0; r < LETHE_ROLES; r++) {
        if (!size[r].given) continue;
        lethe_strbuf_addf(out, "%-8s %10llu %12llu %10llu %6.1f%%\n",
                          lethe_role_name((lethe_role)r), (unsigned long long)size[r].documents,
                          (unsigned long long)size[r].tokens, (unsigned long long)size[r].used,
                          100.0 * (double)size[r].used / (double)all);
    }
    lethe_strbuf_addf(out, "windows of %zu tokens\n", ctx_len);
}

/* ---- the run's SAE -------------------------------------------------------------------------- */

static lethe_status check_sae(const lethe_pipeline *p, const lethe_sae *sae,
                              const lethe_sae_meta *meta, const char *path, lethe_err *err) {
    const lethe_lm_info *info = lethe_lm_get_info(p->lm);
    if (sae->d != info->d_model)
        return lethe_fail(
            err, LETHE_MISMATCH,
            "%s: W_enc is %zu x %zu, but layer %lld of the model is %zu wide (train one "
            "with: lethe train --layer %lld)",
            path, sae->d, sae->m, (long long)p->config->layer, info->d_model,
            (long long)p->config->layer);
    if (meta->model_hash[0] && strcmp(meta->model_hash, info->hash))
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: this SAE was trained on another model (%s), not on "
                          "%s (train one with: lethe train)",
                          path, meta->model_name, info->name);
    if (meta->layer >= 0 && meta->layer != (int)p->config->layer)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: this SAE belongs to layer %d, not %lld (pass --layer "
                          "%d, or train one)",
                          path, meta->layer, (long long)p->config->layer, meta->layer);
    if (meta->hook >= 0 && meta->hook != (int)p->hook)
        return lethe_fail(err, LETHE_MISMATCH, "%s: this SAE belongs to --hook %s", path,
                          meta->hook ? "post" : "pre");
    return LETHE_OK;
}

lethe_status lethe_run_sae(const lethe_pipeline *p, lethe_sae *sae, lethe_sae_meta *meta,
                           char hash[LETHE_HASH_HEX], lethe_err *err) {
    char *path = NULL;
    if (p->config->sae)
        path = lethe_strdup(p->config->sae);
    else
        LETHE_TRY(lethe_pipeline_path(p, "sae.safetensors", &path, err));
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = LETHE_OK;
    if (!lethe_path_exists(path))
        st = lethe_fail(err, LETHE_NOTFOUND,
                        "%s: there is no SAE yet (train one with: lethe train --out "
                        "%s, or pass --sae FILE)",
                        path, p->dir);
    if (!st) st = lethe_sae_load(sae, meta, path, (size_t)p->config->k, err);
    if (!st) {
        st = check_sae(p, sae, meta, path, err);
        if (!st) st = lethe_sae_hash(path, (size_t)p->config->k, hash, err);
        if (st) lethe_sae_free(sae);
    }
    lethe_free(path);
    return st;
}

lethe_status lethe_run_features(const lethe_pipeline *p, const lethe_sae *sae, const char *sae_hash,
                                lethe_feature_set *out, lethe_err *err) {
    lethe_feature_set set = {0};
    char *path = NULL;
    if (p->config->features)
        path = lethe_strdup(p->config->features);
    else
        LETHE_TRY(lethe_pipeline_path(p, "features.json", &path, err));
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st;
    if (!lethe_path_exists(path))
        st = lethe_fail(err, LETHE_NOTFOUND,
                        "%s: no features are chosen yet (choose them with: lethe "
                        "features --out %s)",
                        path, p->dir);
    else
        st = lethe_feature_set_load(&set, path, err);
    if (!st && set.m != sae->m)
        st = lethe_fail(err, LETHE_MISMATCH,
                        "%s: features of an SAE with %zu latents, this one has %zu "
                        "(choose again with: lethe features)",
                        path, set.m, sae->m);
    if (!st && set.sae_hash[0] && strcmp(set.sae_hash, sae_hash))
        st = lethe_fail(err, LETHE_MISMATCH,
                        "%s: these features were chosen for another SAE (choose "
                        "again with: lethe features)",
                        path);
    lethe_free(path);
    if (st)
        lethe_feature_set_free(&set);
    else
        *out = set;
    return st;
}
