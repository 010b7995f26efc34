/* SPDX-License-Identifier: MIT
 *
 * Told apart by content: a folder by the index that is in it, a file by its first bytes, its
 * metadata and its tensors. What can be an SAE is left to the reader of SAEs, and what that refuses
 * is refused here.
 */
#include "stage/describe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "format/store.h"
#include "lm/lm.h"
#include "sae/layout.h"
#include "stage/ablate.h"
#include "stage/features.h"
#include "stage/patch.h"

#define MOST_TENSORS 64 /* listed */

/* ---- pieces of the answer -------------------------------------------------------------------- */

static void text(json_t *o, const char *key, const char *value, bool *ok) {
    if (value && *value) lethe_json_put(o, key, lethe_json_text(value, strlen(value)), ok);
}

static void number(json_t *o, const char *key, uint64_t value, bool *ok) {
    lethe_json_put(o, key, json_integer((json_int_t)value), ok);
}

static void layer(json_t *o, int at, int hook, bool *ok) {
    lethe_json_put(o, "layer", at >= 0 ? json_integer(at) : json_null(), ok);
    lethe_json_put(o, "hook", hook >= 0 ? json_string(lethe_hook_name(hook)) : json_null(), ok);
}

static json_t *start(const char *kind, const char *path, bool *ok) {
    json_t *o = json_object();
    text(o, "kind", kind, ok);
    text(o, "file", path, ok);
    return o;
}

static lethe_status done(json_t *o, bool ok, json_t **out, lethe_err *err) {
    if (ok) {
        *out = o;
        return LETHE_OK;
    }
    json_decref(o);
    return lethe_fail(err, LETHE_NOMEM, "out of memory for a description");
}

static json_t *shape_of(const lethe_tensor *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < t->ndim; i++)
        json_array_append_new(list, json_integer((json_int_t)t->shape[i]));
    return list;
}

static json_t *tensor_list(const lethe_bundle *b) {
    json_t *list = json_object();
    for (size_t i = 0; i < lethe_bundle_count(b) && i < MOST_TENSORS; i++) {
        const lethe_tensor *t = lethe_bundle_at(b, i);
        json_object_set_new(
            list, t->name,
            json_pack("{s:s, s:o}", "dtype", lethe_dtype_name(t->dtype), "shape", shape_of(t)));
    }
    return list;
}

/* ---- norms ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* v [n] is sorted. */
static json_t *spread(double *v, size_t n) {
    qsort(v, n, sizeof *v, by_value);
    return json_pack("{s:o, s:o, s:o}", "min", lethe_json_real(v[0]), "median",
                     lethe_json_real((v[(n - 1) / 2] + v[n / 2]) / 2), "max",
                     lethe_json_real(v[n - 1]));
}

static double norm_of(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* A latent that can do nothing: no direction, or an encoder row that is zero under a bias that
 * keeps it from firing. */
static bool is_dead(const lethe_sae *s, size_t j, double enc, double dec) {
    if (dec == 0) return true;
    float gate = s->arch == LETHE_ARCH_GATED ? s->b_mag[j] : s->b_enc[j];
    float above = s->threshold && s->threshold[j] > 0 ? s->threshold[j] : 0;
    return enc == 0 && gate <= above;
}

static lethe_status put_norms(json_t *o, const lethe_sae *s, bool *ok, lethe_err *err) {
    double *v;
    LETHE_TRY(lethe_alloc(&v, s->m, 3 * sizeof *v, "norms of rows", err));
    double *dec = v + s->m, *other = dec + s->m;
    size_t dead = 0;
    for (size_t j = 0; j < s->m; j++) {
        v[j] = norm_of(s->W_enc + j * s->d, s->d);
        dec[j] = norm_of(s->W_dec + j * s->d, s->d);
        dead += is_dead(s, j, v[j], dec[j]);
    }
    json_t *norms = json_object();
    lethe_json_put(norms, "encoder_rows", spread(v, s->m), ok);
    lethe_json_put(norms, "decoder_rows", spread(dec, s->m), ok);
    for (size_t j = 0; j < s->m; j++) other[j] = (double)s->b_enc[j];
    lethe_json_put(norms, "b_enc", spread(other, s->m), ok);
    for (size_t j = 0; j < s->m && s->threshold; j++) other[j] = (double)s->threshold[j];
    if (s->threshold) lethe_json_put(norms, "threshold", spread(other, s->m), ok);
    lethe_json_put(norms, "b_dec", lethe_json_real(norm_of(s->b_dec, s->d)), ok);
    lethe_json_put(o, "norms", norms, ok);
    number(o, "dead", dead, ok);
    lethe_free(v);
    return LETHE_OK;
}

/* ---- does it fit ----------------------------------------------------------------------------- */

static lethe_status open_model(lethe_lm **lm, const char *path, const lethe_env *env,
                               lethe_err *err) {
    lethe_lm_opts o = lethe_lm_defaults();
    o.vocab_only = true;
    o.hash = false;
    return lethe_lm_open(lm, path, &o, env, err);
}

static lethe_status put_fit(json_t *o, size_t d, int at, const lethe_describe_opts *opts, bool *ok,
                            lethe_err *err) {
    if (!opts->model) return LETHE_OK;
    lethe_lm *lm;
    char why[120] = "";
    LETHE_TRY(open_model(&lm, opts->model, opts->env, err));
    const lethe_lm_info *i = lethe_lm_get_info(lm);
    if (d && d != i->d_model)
        snprintf(why, sizeof why, "it is %zu wide, the model %zu", d, i->d_model);
    else if (at >= i->n_layer)
        snprintf(why, sizeof why, "it is of layer %d, the model has 0 to %d", at, i->n_layer - 1);
    json_t *fit = json_object();
    text(fit, "model", i->name, ok);
    number(fit, "width", i->d_model, ok);
    number(fit, "layers", (uint64_t)i->n_layer, ok);
    lethe_json_put(fit, "fits", json_boolean(!why[0]), ok);
    text(fit, "why", why, ok);
    lethe_json_put(o, "fit", fit, ok);
    lethe_lm_close(&lm);
    return LETHE_OK;
}

/* ---- SAEs ------------------------------------------------------------------------------------ */

static void put_about(json_t *o, const lethe_sae_about *a, const lethe_sae_meta *meta, bool *ok) {
    char formula[200];
    lethe_sae_formula(a, formula, sizeof formula);
    text(o, "layout", a->layout, ok);
    text(o, "container", lethe_container_name(a->container), ok);
    text(o, "weights", a->weights, ok);
    text(o, "configuration", a->config, ok);
    text(o, "producer", a->producer, ok);
    text(o, "architecture", lethe_arch_name(a->arch), ok);
    text(o, "formula", formula, ok);
    number(o, "width", a->d, ok);
    number(o, "latents", a->m, ok);
    if (a->arch == LETHE_ARCH_TOPK)
        lethe_json_put(o, "k", a->k ? json_integer((json_int_t)a->k) : json_null(), ok);
    text(o, "dtype", lethe_dtype_name(a->dtype), ok);
    text(o, "input_norm", lethe_norm_name(a->norm), ok);
    text(o, "folded", a->folded, ok);
    text(o, "model", meta->model_name, ok);
    layer(o, meta->layer, meta->hook, ok);
    text(o, "site", a->hook_name, ok);
    text(o, "recipe", meta->recipe, ok);
    if (meta->tokens) number(o, "trained_on_tokens", meta->tokens, ok);
}

static lethe_status describe_sae(json_t **out, const char *path, const lethe_describe_opts *opts,
                                 lethe_err *err) {
    lethe_sae_about a = {0};
    lethe_sae_meta meta;
    lethe_sae s = {0};
    bool ok = true;
    LETHE_TRY(lethe_sae_describe(&a, &meta, path, opts->k, err));
    json_t *o = start("SAE", path, &ok);
    put_about(o, &a, &meta, &ok);
    /* What is measured here does not depend on k. */
    size_t k = a.arch == LETHE_ARCH_TOPK && !a.k ? 1 : opts->k;
    lethe_status st = lethe_sae_load(&s, NULL, path, k, err);
    if (!st) st = put_norms(o, &s, &ok, err);
    if (!st) st = put_fit(o, a.d, meta.layer, opts, &ok, err);
    lethe_sae_free(&s);
    lethe_sae_about_free(&a);
    if (!st) return done(o, ok, out, err);
    json_decref(o);
    return st;
}

/* ---- the others ------------------------------------------------------------------------------ */

static lethe_status describe_patch(json_t **out, const char *path, const lethe_describe_opts *opts,
                                   lethe_err *err) {
    lethe_patch p;
    bool ok = true;
    LETHE_TRY(lethe_patch_load(&p, path, err));
    json_t *o = start("patch", path, &ok);
    number(o, "features", p.n, &ok);
    number(o, "width", p.d, &ok);
    number(o, "latents", p.m, &ok);
    text(o, "model", p.model_name, &ok);
    layer(o, p.layer, (int)p.hook, &ok);
    text(o, "method", lethe_method_name(p.how.method), &ok);
    lethe_json_put(o, "strength", lethe_json_real(p.how.strength), &ok);
    number(o, "calibrated_on_rows", p.rows, &ok);
    lethe_status st = put_fit(o, p.d, p.layer, opts, &ok, err);
    lethe_patch_free(&p);
    if (!st) return done(o, ok, out, err);
    json_decref(o);
    return st;
}

static lethe_status describe_features(json_t **out, const char *path,
                                      const lethe_describe_opts *opts, lethe_err *err) {
    lethe_feature_set s = {0};
    bool ok = true;
    LETHE_TRY(lethe_feature_set_load(&s, path, err));
    json_t *o = start("features", path, &ok), *best = json_array();
    number(o, "features", s.n, &ok);
    number(o, "latents", s.m, &ok);
    text(o, "model", s.sae.model_name, &ok);
    layer(o, s.sae.layer, s.sae.hook, &ok);
    if (s.forget_tokens) number(o, "forget_tokens", s.forget_tokens, &ok);
    if (s.retain_tokens) number(o, "retain_tokens", s.retain_tokens, &ok);
    for (size_t i = 0; i < s.n && i < 10; i++)
        lethe_json_append(best, json_integer(s.item[i].index), &ok);
    lethe_json_put(o, "best", best, &ok);
    lethe_status st = put_fit(o, 0, s.sae.layer, opts, &ok, err);
    lethe_feature_set_free(&s);
    if (!st) return done(o, ok, out, err);
    json_decref(o);
    return st;
}

static lethe_status describe_model(json_t **out, const char *path, const lethe_describe_opts *opts,
                                   lethe_err *err) {
    lethe_lm *lm;
    bool ok = true;
    LETHE_TRY(open_model(&lm, path, opts->env, err));
    const lethe_lm_info *i = lethe_lm_get_info(lm);
    json_t *o = start("model", path, &ok);
    text(o, "container", "GGUF", &ok);
    text(o, "name", i->name, &ok);
    text(o, "architecture", i->arch, &ok);
    number(o, "layers", (uint64_t)i->n_layer, &ok);
    number(o, "width", i->d_model, &ok);
    number(o, "vocabulary", i->n_vocab, &ok);
    number(o, "trained_context", i->ctx_train, &ok);
    number(o, "bytes", i->file_size, &ok);
    lethe_json_put(o, "chat_template", json_boolean(i->has_chat_template), &ok);
    lethe_lm_close(&lm);
    return done(o, ok, out, err);
}

/* The index alone: opening a store reads every row for its checksum. */
static lethe_status describe_store(json_t **out, const char *dir, const char *index,
                                   const lethe_describe_opts *opts, lethe_err *err) {
    json_t *j;
    bool ok = true;
    const char *dtype;
    int64_t d = 0, rows = 0;
    LETHE_TRY(lethe_json_load(&j, index, err));
    lethe_json_ref top = lethe_json_top(j, index), r = lethe_json_key(&top, "d");
    lethe_status st = lethe_json_want_int(&r, 1, INT32_MAX, &d, err);
    r = lethe_json_key(&top, "rows");
    if (!st) st = lethe_json_want_int(&r, 0, INT64_MAX, &rows, err);
    r = lethe_json_key(&top, "dtype");
    if (!st) st = lethe_json_want_string(&r, &dtype, err);
    json_t *o = start("store", dir, &ok);
    if (!st) {
        number(o, "rows", (uint64_t)rows, &ok);
        number(o, "width", (uint64_t)d, &ok);
        text(o, "dtype", dtype, &ok);
        number(o, "shards", json_array_size(json_object_get(j, "shards")), &ok);
        st = put_fit(o, (size_t)d, -1, opts, &ok, err);
    }
    json_decref(j);
    if (!st) return done(o, ok, out, err);
    json_decref(o);
    return st;
}

static lethe_status describe_tensors(json_t **out, const char *path, const lethe_bundle *b,
                                     const lethe_describe_opts *opts, lethe_err *err) {
    const lethe_tensor *acts = lethe_bundle_find(b, "activations");
    bool ok = true, rows = acts && acts->ndim == 2;
    json_t *o = start(rows ? "activations" : "tensors", path, &ok);
    text(o, "container", lethe_container_name(lethe_bundle_container(b)), &ok);
    lethe_status st = LETHE_OK;
    if (rows) {
        const char *at = json_string_value(json_object_get(lethe_bundle_values(b), "layer"));
        number(o, "rows", acts->shape[0], &ok);
        number(o, "width", acts->shape[1], &ok);
        text(o, "dtype", lethe_dtype_name(acts->dtype), &ok);
        st = put_fit(o, acts->shape[1], at ? atoi(at) : -1, opts, &ok, err);
    }
    number(o, "count", lethe_bundle_count(b), &ok);
    lethe_json_put(o, "tensors", tensor_list(b), &ok);
    const json_t *values = lethe_bundle_values(b);
    if (json_object_size(values)) lethe_json_put(o, "metadata", json_deep_copy(values), &ok);
    if (!st) return done(o, ok, out, err);
    json_decref(o);
    return st;
}

/* ---- which it is ----------------------------------------------------------------------------- */

static lethe_status of_bundle(json_t **out, const char *path, const lethe_describe_opts *opts,
                              lethe_err *err) {
    lethe_bundle *b;
    LETHE_TRY(lethe_bundle_open(&b, path, err));
    const char *format = json_string_value(json_object_get(lethe_bundle_values(b), "format"));
    lethe_status st;
    if (format && !strncmp(format, "lethe-patch-", 12))
        st = describe_patch(out, path, opts, err);
    else if (lethe_sae_resembles(b))
        st = describe_sae(out, path, opts, err);
    else if (lethe_bundle_find(b, "indices") && lethe_bundle_container(b) == LETHE_TORCH)
        st = describe_features(out, path, opts, err);
    else
        st = describe_tensors(out, path, b, opts, err);
    lethe_bundle_close(&b);
    return st;
}

static lethe_status first_bytes(const char *path, char out[5], lethe_err *err) {
    lethe_map map;
    LETHE_TRY(lethe_map_open(&map, path, err));
    memset(out, 0, 5);
    if (map.size >= 4) memcpy(out, map.data, 4);
    lethe_map_close(&map);
    return LETHE_OK;
}

lethe_status lethe_describe(json_t **out, const char *path, const lethe_describe_opts *o,
                            lethe_err *err) {
    char head[5];
    if (lethe_path_is_dir(path)) {
        if (!lethe_store_exists(path)) return describe_sae(out, path, o, err);
        char *index = lethe_path_join(path, "index.json");
        if (!index) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
        lethe_status st = describe_store(out, path, index, o, err);
        lethe_free(index);
        return st;
    }
    LETHE_TRY(first_bytes(path, head, err));
    if (!strcmp(head, "GGUF")) return describe_model(out, path, o, err);
    if (lethe_path_ends_with(path, ".json")) return describe_features(out, path, o, err);
    return of_bundle(out, path, o, err);
}

/* ---- for people ------------------------------------------------------------------------------ */

static void show_value(const json_t *v, lethe_strbuf *out) {
    const char *key;
    json_t *part;
    size_t i;
    switch (json_typeof(v)) {
    case JSON_STRING: lethe_strbuf_adds(out, json_string_value(v)); break;
    case JSON_INTEGER: lethe_strbuf_addf(out, "%lld", (long long)json_integer_value(v)); break;
    case JSON_REAL: lethe_strbuf_addf(out, "%.4g", json_real_value(v)); break;
    case JSON_TRUE: lethe_strbuf_adds(out, "yes"); break;
    case JSON_FALSE: lethe_strbuf_adds(out, "no"); break;
    case JSON_NULL: lethe_strbuf_adds(out, "not told"); break;
    case JSON_ARRAY:
        json_array_foreach(v, i, part) {
            if (i) lethe_strbuf_adds(out, ", ");
            show_value(part, out);
        }
        break;
    default: {
        bool more = false;
        json_object_foreach((json_t *)(uintptr_t)v, key, part) {
            lethe_strbuf_addf(out, "%s%s ", more ? ", " : "", key);
            show_value(part, out);
            more = true;
        }
    }
    }
}

/* Objects of objects become indented lines, what is simpler a line. */
static void show(const json_t *about, int depth, lethe_strbuf *out) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)about, key, v) {
        char name[80];
        size_t n = (size_t)snprintf(name, sizeof name, "%s", key);
        for (size_t i = 0; depth == 0 && i < n && i < sizeof name; i++)
            if (name[i] == '_') name[i] = ' ';
        bool deep =
            json_is_object(v) && json_is_object(json_object_iter_value(json_object_iter(v)));
        lethe_strbuf_addf(out, "%*s%-*s", 2 * depth, "", 18 - 2 * depth, name);
        if (deep) {
            lethe_strbuf_adds(out, "\n");
            show(v, depth + 1, out);
            continue;
        }
        if (n >= (size_t)(18 - 2 * depth)) lethe_strbuf_adds(out, "  ");
        show_value(v, out);
        lethe_strbuf_adds(out, "\n");
    }
}

void lethe_describe_text(const json_t *about, lethe_strbuf *out) {
    show(about, 0, out);
}
