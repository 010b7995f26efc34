/* SPDX-License-Identifier: MIT
 *
 * features.json, and the same as CSV. Three tables name the file's fields, and writer and reader
 * both walk them, so they cannot drift apart.
 */
#include <float.h>
#include <limits.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "stage/ablate.h"
#include "stage/features_parts.h"

#define MAX_COUNT ((int64_t)1 << 53) /* a whole number that every JSON reader keeps */

/* ---- the fields ------------------------------------------------------------------------------ */

typedef struct real_field {
    const char *key;
    size_t offset;
    double lo, hi;
} real_field;

typedef struct count_field {
    const char *key;
    size_t offset;
} count_field;

#define OPT(name) offsetof(lethe_feature_opts, name)
static const real_field threshold_fields[] = {
    {"min_freq", OPT(min_freq), -DBL_MAX, DBL_MAX},
    {"min_forget_fires", OPT(min_forget_fires), 0, DBL_MAX},
    {"max_retain_freq", OPT(max_retain_freq), -DBL_MAX, DBL_MAX},
    {"max_freq", OPT(max_freq), -DBL_MAX, DBL_MAX},
    {"min_ratio", OPT(min_ratio), -DBL_MAX, DBL_MAX},
    {"ratio_smoothing", OPT(ratio_smoothing), 0, DBL_MAX},
    {"activation_eps", OPT(activation_eps), 0, DBL_MAX},
    {"retain_weight", OPT(retain_weight), 0, DBL_MAX},
    {"near_weight", OPT(near_weight), 0, DBL_MAX},
};

/* Files of before there was a choice of selections lack these and "select". */
static const real_field select_fields[] = {
    {"forget_percentile", OPT(forget_percentile), 0, 100},
    {"ratio_percentile", OPT(ratio_percentile), 0, 100},
};

#define REMOVED(name) offsetof(lethe_feature_removed, name)
static const count_field removed_fields[] = {
    {"min_freq", REMOVED(min_freq)},
    {"min_forget_fires", REMOVED(min_forget_fires)},
    {"max_retain_freq", REMOVED(max_retain_freq)},
    {"max_freq", REMOVED(max_freq)},
    {"min_ratio", REMOVED(min_ratio)},
    {"diff", REMOVED(diff)},
};

#define F(name) offsetof(lethe_feature, name)
static const count_field feature_counts[] = {
    {"forget_fires", F(forget.fires)},
    {"retain_fires", F(retain.fires)},
    {"near_fires", F(near.fires)},
};
static const real_field feature_reals[] = {
    {"forget_freq", F(forget.freq), 0, 1},
    {"retain_freq", F(retain.freq), 0, 1},
    {"near_freq", F(near.freq), 0, 1},
    {"forget_mean_activation", F(forget.mean), 0, DBL_MAX},
    {"retain_mean_activation", F(retain.mean), 0, DBL_MAX},
    {"near_mean_activation", F(near.mean), 0, DBL_MAX},
    {"ratio", F(ratio), 0, DBL_MAX},
    {"act_ratio", F(act_ratio), 0, DBL_MAX},
    {"diff", F(diff), -DBL_MAX, DBL_MAX},
    {"score", F(score), -DBL_MAX, DBL_MAX},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void put_real(json_t *o, const real_field *f, const void *base, bool *ok) {
    double v;
    memcpy(&v, (const char *)base + f->offset, sizeof v);
    lethe_json_put(o, f->key, lethe_json_real(v), ok);
}

static void put_count(json_t *o, const count_field *f, const void *base, bool *ok) {
    uint64_t v;
    memcpy(&v, (const char *)base + f->offset, sizeof v);
    lethe_json_put(o, f->key, json_integer((json_int_t)v), ok);
}

static lethe_status get_real(const lethe_json_ref *o, const real_field *f, void *base,
                             lethe_err *err) {
    lethe_json_ref r = lethe_json_key(o, f->key);
    double v;
    LETHE_TRY(lethe_json_want_real(&r, f->lo, f->hi, &v, err));
    memcpy((char *)base + f->offset, &v, sizeof v);
    return LETHE_OK;
}

static lethe_status get_u64(const lethe_json_ref *o, const char *key, uint64_t *out,
                            lethe_err *err) {
    lethe_json_ref r = lethe_json_key(o, key);
    int64_t v;
    LETHE_TRY(lethe_json_want_int(&r, 0, MAX_COUNT, &v, err));
    *out = (uint64_t)v;
    return LETHE_OK;
}

static lethe_status get_count(const lethe_json_ref *o, const count_field *f, void *base,
                              lethe_err *err) {
    uint64_t v;
    LETHE_TRY(get_u64(o, f->key, &v, err));
    memcpy((char *)base + f->offset, &v, sizeof v);
    return LETHE_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static json_t *config_json(const lethe_feature_set *s, bool *ok) {
    const lethe_sae_meta *a = &s->sae;
    json_t *o = json_object();
    lethe_json_put(o, "model_name", lethe_json_text(a->model_name, strlen(a->model_name)), ok);
    lethe_json_put(o, "model_hash", lethe_json_text(a->model_hash, strlen(a->model_hash)), ok);
    lethe_json_put(o, "layer", json_integer(a->layer), ok);
    lethe_json_put(o, "hook", json_string(lethe_hook_name(a->hook)), ok);
    lethe_json_put(o, "sae_hash", lethe_json_text(s->sae_hash, strlen(s->sae_hash)), ok);
    lethe_json_put(o, "latents", json_integer((json_int_t)s->m), ok);
    return o;
}

static json_t *feature_json(const lethe_feature *f, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "index", json_integer(f->index), ok);
    for (size_t i = 0; i < COUNT(feature_counts); i++) put_count(o, &feature_counts[i], f, ok);
    for (size_t i = 0; i < COUNT(feature_reals); i++) put_real(o, &feature_reals[i], f, ok);
    return o;
}

/* Statistics from elsewhere may be what a reader of ours would refuse. */
static lethe_status check_reals(const lethe_feature_set *s, const char *path, lethe_err *err) {
    for (size_t i = 0; i < s->n; i++)
        for (size_t f = 0; f < COUNT(feature_reals); f++) {
            const real_field *r = &feature_reals[f];
            double v;
            memcpy(&v, (const char *)&s->item[i] + r->offset, sizeof v);
            if (v >= r->lo && v <= r->hi) continue;
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: not written: %s of feature %d is %g, want %g to %g", path,
                              r->key, (int)s->item[i].index, v, r->lo, r->hi);
        }
    return LETHE_OK;
}

lethe_status lethe_feature_set_save(const lethe_feature_set *s, const char *path, lethe_err *err) {
    LETHE_TRY(check_reals(s, path, err));
    bool ok = true;
    json_t *top = json_object(), *thresholds = json_object(), *corpora = json_object(),
           *removed = json_object(), *features = json_array();
    lethe_json_put(top, "config", config_json(s, &ok), &ok);

    for (size_t i = 0; i < COUNT(threshold_fields); i++)
        put_real(thresholds, &threshold_fields[i], &s->opts, &ok);
    lethe_json_put(thresholds, "near_in_retain", json_boolean(s->opts.near_in_retain), &ok);
    lethe_json_put(thresholds, "equalise", json_boolean(s->opts.equalise), &ok);
    lethe_json_put(thresholds, "select", json_string(lethe_select_name(s->opts.select)), &ok);
    for (size_t i = 0; i < COUNT(select_fields); i++)
        put_real(thresholds, &select_fields[i], &s->opts, &ok);
    lethe_json_put(thresholds, "effect_windows", json_integer((json_int_t)s->opts.effect_windows),
                   &ok);
    lethe_json_put(thresholds, "weigh_by", json_string(lethe_weigh_by_name(s->opts.weigh_by)), &ok);
    lethe_json_put(thresholds, "sort_by", json_string(lethe_sort_by_name(s->opts.sort_by)), &ok);
    lethe_json_put(thresholds, "num_features", json_integer((json_int_t)s->opts.num_features), &ok);
    lethe_json_put(top, "thresholds", thresholds, &ok);

    lethe_json_put(corpora, "forget_tokens", json_integer((json_int_t)s->forget_tokens), &ok);
    lethe_json_put(corpora, "retain_tokens", json_integer((json_int_t)s->retain_tokens), &ok);
    lethe_json_put(corpora, "near_tokens", json_integer((json_int_t)s->near_tokens), &ok);
    lethe_json_put(top, "corpora", corpora, &ok);

    for (size_t i = 0; i < COUNT(removed_fields); i++)
        put_count(removed, &removed_fields[i], &s->removed, &ok);
    lethe_json_put(top, "removed", removed, &ok);
    lethe_json_put(top, "passed", json_integer((json_int_t)s->passed), &ok);

    for (size_t i = 0; i < s->n; i++)
        lethe_json_append(features, feature_json(&s->item[i], &ok), &ok);
    lethe_json_put(top, "features", features, &ok);

    lethe_status st = lethe_json_save(ok ? top : NULL, path, err);
    json_decref(top);
    return st;
}

lethe_status lethe_feature_set_save_csv(const lethe_feature_set *s, const char *path,
                                        lethe_err *err) {
    lethe_strbuf b = {0};
    lethe_strbuf_adds(&b, "rank,index");
    for (size_t f = 0; f < COUNT(feature_counts); f++)
        lethe_strbuf_addf(&b, ",%s", feature_counts[f].key);
    for (size_t f = 0; f < COUNT(feature_reals); f++)
        lethe_strbuf_addf(&b, ",%s", feature_reals[f].key);
    lethe_strbuf_adds(&b, "\n");
    for (size_t i = 0; i < s->n; i++) {
        const char *at = (const char *)&s->item[i];
        lethe_strbuf_addf(&b, "%zu,%d", i + 1, (int)s->item[i].index);
        for (size_t f = 0; f < COUNT(feature_counts); f++) {
            uint64_t v;
            memcpy(&v, at + feature_counts[f].offset, sizeof v);
            lethe_strbuf_addf(&b, ",%llu", (unsigned long long)v);
        }
        for (size_t f = 0; f < COUNT(feature_reals); f++) {
            double v;
            memcpy(&v, at + feature_reals[f].offset, sizeof v);
            lethe_strbuf_addf(&b, ",%.9g", v);
        }
        lethe_strbuf_adds(&b, "\n");
    }
    lethe_status st = b.status ? lethe_fail(err, LETHE_NOMEM, "out of memory writing %s", path)
                               : lethe_write_file(path, b.data, b.len, err);
    lethe_strbuf_free(&b);
    return st;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A string that fits `size` bytes with its NUL. */
static lethe_status get_text(const lethe_json_ref *o, const char *key, char *out, size_t size,
                             lethe_err *err) {
    lethe_json_ref r = lethe_json_key(o, key);
    const char *s;
    LETHE_TRY(lethe_json_want_string(&r, &s, err));
    size_t n = strlen(s);
    if (n >= size) return lethe_json_fail(&r, err, "at most %zu bytes", size - 1);
    memcpy(out, s, n + 1);
    return LETHE_OK;
}

static lethe_status get_int(const lethe_json_ref *o, const char *key, int64_t lo, int64_t hi,
                            int64_t *out, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(o, key);
    return lethe_json_want_int(&r, lo, hi, out, err);
}

static lethe_status get_section(const lethe_json_ref *top, const char *key, lethe_json_ref *out,
                                lethe_err *err) {
    *out = lethe_json_key(top, key);
    return lethe_json_want_object(out, err);
}

static lethe_status read_config(const lethe_json_ref *top, lethe_feature_set *s, lethe_err *err) {
    lethe_json_ref o;
    int64_t v;
    LETHE_TRY(get_section(top, "config", &o, err));
    LETHE_TRY(get_text(&o, "model_name", s->sae.model_name, sizeof s->sae.model_name, err));
    LETHE_TRY(get_text(&o, "model_hash", s->sae.model_hash, sizeof s->sae.model_hash, err));
    LETHE_TRY(get_text(&o, "sae_hash", s->sae_hash, sizeof s->sae_hash, err));
    LETHE_TRY(get_int(&o, "layer", -1, INT_MAX, &v, err));
    s->sae.layer = (int)v;
    lethe_json_ref hook = lethe_json_key(&o, "hook");
    const char *name;
    LETHE_TRY(lethe_json_want_string(&hook, &name, err));
    if (!lethe_hook_from_name(name, &s->sae.hook))
        return lethe_json_fail(&hook, err, "pre, post or unknown");
    LETHE_TRY(get_int(&o, "latents", 1, INT32_MAX, &v, err));
    s->m = (size_t)v;
    return LETHE_OK;
}

static lethe_status read_select(const lethe_json_ref *o, lethe_feature_opts *opts, lethe_err *err) {
    lethe_feature_opts d = lethe_feature_defaults();
    opts->select = d.select;
    opts->forget_percentile = d.forget_percentile;
    opts->ratio_percentile = d.ratio_percentile;
    opts->effect_windows = d.effect_windows;
    if (!json_object_get(o->value, "select")) return LETHE_OK;
    lethe_json_ref r = lethe_json_key(o, "select");
    const char *by;
    LETHE_TRY(lethe_json_want_string(&r, &by, err));
    if (!lethe_select_from_name(by, &opts->select))
        return lethe_json_fail(&r, err, "diff-means, act-squared or effect");
    for (size_t i = 0; i < COUNT(select_fields); i++)
        LETHE_TRY(get_real(o, &select_fields[i], opts, err));
    uint64_t n;
    LETHE_TRY(get_u64(o, "effect_windows", &n, err));
    opts->effect_windows = (size_t)n;
    return LETHE_OK;
}

static lethe_status read_thresholds(const lethe_json_ref *top, lethe_feature_opts *opts,
                                    lethe_err *err) {
    lethe_json_ref o;
    LETHE_TRY(get_section(top, "thresholds", &o, err));
    for (size_t i = 0; i < COUNT(threshold_fields); i++)
        LETHE_TRY(get_real(&o, &threshold_fields[i], opts, err));
    lethe_json_ref r = lethe_json_key(&o, "near_in_retain");
    LETHE_TRY(lethe_json_want_bool(&r, &opts->near_in_retain, err));
    r = lethe_json_key(&o, "equalise");
    LETHE_TRY(lethe_json_want_bool(&r, &opts->equalise, err));
    LETHE_TRY(read_select(&o, opts, err));
    const char *by;
    r = lethe_json_key(&o, "weigh_by");
    LETHE_TRY(lethe_json_want_string(&r, &by, err));
    if (!lethe_weigh_by_from_name(by, &opts->weigh_by))
        return lethe_json_fail(&r, err, "fires or activation");
    r = lethe_json_key(&o, "sort_by");
    LETHE_TRY(lethe_json_want_string(&r, &by, err));
    if (!lethe_sort_by_from_name(by, &opts->sort_by))
        return lethe_json_fail(&r, err, "ratio, score, diff, act-ratio or random");
    uint64_t n;
    LETHE_TRY(get_u64(&o, "num_features", &n, err));
    opts->num_features = (size_t)n;
    return LETHE_OK;
}

static lethe_status read_counts(const lethe_json_ref *top, lethe_feature_set *s, lethe_err *err) {
    lethe_json_ref o;
    LETHE_TRY(get_section(top, "corpora", &o, err));
    LETHE_TRY(get_u64(&o, "forget_tokens", &s->forget_tokens, err));
    LETHE_TRY(get_u64(&o, "retain_tokens", &s->retain_tokens, err));
    LETHE_TRY(get_u64(&o, "near_tokens", &s->near_tokens, err));
    s->has_near = s->near_tokens > 0;
    LETHE_TRY(get_section(top, "removed", &o, err));
    for (size_t i = 0; i < COUNT(removed_fields); i++)
        LETHE_TRY(get_count(&o, &removed_fields[i], &s->removed, err));
    int64_t passed;
    LETHE_TRY(get_int(top, "passed", 1, (int64_t)s->m, &passed, err));
    s->passed = (size_t)passed;
    return LETHE_OK;
}

static lethe_status read_feature(const lethe_json_ref *o, size_t m, lethe_feature *f,
                                 lethe_err *err) {
    int64_t index;
    LETHE_TRY(lethe_json_want_object(o, err));
    LETHE_TRY(get_int(o, "index", 0, (int64_t)m - 1, &index, err));
    f->index = (int32_t)index;
    for (size_t i = 0; i < COUNT(feature_counts); i++)
        LETHE_TRY(get_count(o, &feature_counts[i], f, err));
    for (size_t i = 0; i < COUNT(feature_reals); i++)
        LETHE_TRY(get_real(o, &feature_reals[i], f, err));
    return LETHE_OK;
}

lethe_status lethe_feature_set_check(const lethe_feature_set *s, const char *path, lethe_err *err) {
    int32_t *index = NULL;
    LETHE_TRY(lethe_feature_set_indices(s, &index, err));
    lethe_err why;
    lethe_status st = lethe_features_check(index, s->n, s->m, &why);
    if (st)
        st = lethe_fail(err, st == LETHE_USAGE ? LETHE_FORMAT : st, "%s: features: %s", path,
                        why.text);
    lethe_free(index);
    return st;
}

static lethe_status read_features(const lethe_json_ref *top, lethe_feature_set *s, lethe_err *err) {
    lethe_json_ref list = lethe_json_key(top, "features");
    size_t n;
    LETHE_TRY(lethe_json_want_list(&list, &n, err));
    if (!n || n > s->m) return lethe_json_fail(&list, err, "a list of 1 to %zu features", s->m);
    LETHE_TRY(lethe_zalloc(&s->item, n, sizeof *s->item, "the features of a file", err));
    for (s->n = 0; s->n < n; s->n++) {
        lethe_json_ref o = lethe_json_item(&list, s->n);
        LETHE_TRY(read_feature(&o, s->m, &s->item[s->n], err));
    }
    return lethe_feature_set_check(s, list.file, err);
}

/* A checkpoint is a zip archive; JSON does not begin so. */
static lethe_status is_checkpoint(const char *path, bool *is, lethe_err *err) {
    lethe_map map;
    LETHE_TRY(lethe_map_open(&map, path, err));
    *is = map.size >= 4 && !memcmp(map.data, "PK\3\4", 4);
    lethe_map_close(&map);
    return LETHE_OK;
}

lethe_status lethe_feature_set_load(lethe_feature_set *out, const char *path, lethe_err *err) {
    bool checkpoint;
    LETHE_TRY(is_checkpoint(path, &checkpoint, err));
    if (checkpoint) return lethe_feature_set_load_pt(out, path, err);
    json_t *j = NULL;
    LETHE_TRY(lethe_json_load(&j, path, err));
    lethe_feature_set s = {0};
    lethe_json_ref top = lethe_json_top(j, path);
    lethe_status st = read_config(&top, &s, err);
    if (st == LETHE_OK) st = read_thresholds(&top, &s.opts, err);
    if (st == LETHE_OK) st = read_counts(&top, &s, err);
    if (st == LETHE_OK) st = read_features(&top, &s, err);
    json_decref(j);
    if (st == LETHE_OK)
        *out = s;
    else
        lethe_feature_set_free(&s);
    return st;
}
