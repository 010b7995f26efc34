/* SPDX-License-Identifier: MIT
 *
 * The search on disk: tune.json while it goes on and in the end, and the settings it arrives at.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/pipeline_run.h"
#include "stage/tune_parts.h"

lethe_status lethe_tune_gauge(const tuning *t, lethe_split half, bool thorough, lethe_gauge **out,
                              lethe_err *err) {
    const lethe_config *c = t->p->config;
    lethe_gauge_opts o = lethe_gauge_defaults();
    o.split = half;
    o.attack_file = c->attack_file;
    o.seed = (uint64_t)c->seed;
    o.forget_items = thorough ? 0 : 100; /* a trial should take a second or two */
    o.attack_items = thorough ? 0 : 40;
    o.retain_items = thorough ? 0 : 60;
    o.text_tokens = thorough ? 12000 : 6000;
    lethe_probes probes = {0};
    lethe_corpus *text = NULL;
    lethe_status st = lethe_probes_load(&probes, c->probes, err);
    const char *path = c->perplexity;
    if (!st && path) st = lethe_corpus_open(&text, &path, 1, c->text_field, err);
    if (!st) st = lethe_gauge_open(out, t->p->lm, &probes, text, &o, t->p->env, err);
    lethe_corpus_close(&text);
    lethe_probes_free(&probes);
    return st;
}

lethe_status lethe_tune_names(tuning *t, lethe_err *err) {
    lethe_tune_result *r = t->out;
    size_t all = 0;
    r->n_attacks = lethe_gauge_attacks(t->gauge);
    for (size_t i = 0; i < r->n_attacks; i++) all += strlen(lethe_gauge_attack(t->gauge, i)) + 1;
    LETHE_TRY(lethe_alloc(&r->attack_names, all + 1, 1, "names of attacks", err));
    char *at = r->attack_names;
    for (size_t i = 0; i < r->n_attacks; i++) {
        size_t n = strlen(lethe_gauge_attack(t->gauge, i)) + 1;
        memcpy(at, lethe_gauge_attack(t->gauge, i), n);
        r->attack[i] = at;
        at += n;
    }
    return LETHE_OK;
}

/* ---- to JSON --------------------------------------------------------------------------------- */

static json_t *figures_json(const lethe_tune_result *r, const lethe_gauge_figures *f) {
    bool ok = true;
    json_t *o = json_object(), *attacks = json_object();
    for (size_t i = 0; i < r->n_attacks; i++)
        lethe_json_put(attacks, r->attack[i], lethe_json_real(f->attack_recall[i]), &ok);
    lethe_json_put(o, "forget_recall", lethe_json_real(f->forget_recall), &ok);
    lethe_json_put(o, "forget_logprob", lethe_json_real(f->forget_logprob), &ok);
    lethe_json_put(o, "worst_attack", lethe_json_real(f->worst_attack), &ok);
    lethe_json_put(o, "attacks", attacks, &ok);
    lethe_json_put(o, "retain_recall", lethe_json_real(f->retain_recall), &ok);
    lethe_json_put(o, "retain_logprob", lethe_json_real(f->retain_logprob), &ok);
    lethe_json_put(o, "kl", lethe_json_real(f->kl), &ok);
    lethe_json_put(o, "perplexity", lethe_json_real(f->perplexity), &ok);
    lethe_json_put(o, "partial", json_boolean(f->partial), &ok);
    lethe_json_put(o, "seconds", lethe_json_real(f->seconds), &ok);
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static json_t *trial_json(const lethe_tune_result *r, const lethe_trial *t) {
    bool ok = true;
    json_t *o = json_object(), *genes = json_array();
    for (int i = 0; i < LETHE_GENES; i++)
        ok &= !json_array_append_new(genes, json_integer(t->genome.gene[i]));
    lethe_json_put(o, "number", json_integer((json_int_t)t->number), &ok);
    lethe_json_put(o, "layer", json_integer(t->params.layer), &ok);
    lethe_json_put(o, "num_features", json_integer((json_int_t)t->params.num_features), &ok);
    lethe_json_put(o, "select", json_string(t->params.select), &ok);
    lethe_intervention_json(&t->params.how, o, &ok);
    lethe_json_put(o, "guard_auto", json_boolean(t->params.guard_auto), &ok);
    lethe_json_put(o, "features", json_integer((json_int_t)t->features), &ok);
    lethe_json_put(o, "failed", json_boolean(t->failed), &ok);
    lethe_json_put(o, "figures", figures_json(r, &t->figures), &ok);
    lethe_json_put(o, "kl_open", lethe_json_real(t->kl_open), &ok);
    lethe_json_put(o, "forget", lethe_json_real(t->point.left), &ok);
    lethe_json_put(o, "damage", lethe_json_real(t->point.damage), &ok);
    lethe_json_put(o, "front", json_boolean(!t->rank && !t->failed), &ok);
    lethe_json_put(o, "seconds", lethe_json_real(t->seconds), &ok);
    lethe_json_put(o, "genome", genes, &ok);
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static json_t *report_json(const lethe_tune_result *r, bool *ok) {
    const lethe_tune_report *p = &r->report;
    json_t *o = json_object(), *front = json_array(), *best = json_array();
    for (size_t i = 0; i < p->n_best; i++)
        *ok &= !json_array_append_new(best, trial_json(r, &p->best[i]));
    for (size_t i = 0; i < p->n_front; i++)
        *ok &= !json_array_append_new(front, trial_json(r, &p->front[i]));
    lethe_json_put(o, "baseline", figures_json(r, &p->baseline), ok);
    lethe_json_put(o, "given", trial_json(r, &p->given), ok);
    lethe_json_put(o, "reference", trial_json(r, &p->reference), ok);
    if (p->n_front) lethe_json_put(o, "chosen", trial_json(r, &p->front[p->chosen]), ok);
    lethe_json_put(o, "front", front, ok);
    lethe_json_put(o, "best_of_each", best, ok);
    return o;
}

lethe_status lethe_tune_json(const lethe_tune_result *r, json_t **out, lethe_err *err) {
    bool ok = true;
    json_t *o = json_object(), *trials = json_array(), *layers = json_array();
    json_t *final = json_array();
    for (size_t i = 0; i < r->n_final; i++)
        ok &= !json_array_append_new(final, trial_json(r, &r->final[i]));
    for (size_t i = 0; i < r->n; i++)
        ok &= !json_array_append_new(trials, trial_json(r, &r->trial[i]));
    for (size_t i = 0; i < r->space.n_layers; i++)
        ok &= !json_array_append_new(layers, json_integer(r->space.layer[i]));
    lethe_json_put(o, "format", json_string("lethe-tune-1"), &ok);
    lethe_json_put(o, "layers", layers, &ok);
    lethe_json_put(o, "damage_weight", lethe_json_real(r->weight), &ok);
    lethe_json_put(o, "baseline", figures_json(r, &r->baseline), &ok);
    lethe_json_put(o, "trials", trials, &ok);
    lethe_json_put(o, "last_round", final, &ok);
    lethe_json_put(o, "chosen", json_integer(r->n ? (json_int_t)r->trial[r->chosen].number : 0),
                   &ok);
    lethe_json_put(o, "seconds", lethe_json_real(r->seconds), &ok);
    if (r->report.n_front) lethe_json_put(o, "report_split", report_json(r, &ok), &ok);
    *out = o;
    if (ok) return LETHE_OK;
    json_decref(o);
    return lethe_fail(err, LETHE_NOMEM, "out of memory for the result of the search");
}

/* ---- while it goes on ------------------------------------------------------------------------ */

/* All that the figures of a trial depend on. */
static lethe_status key_of(const tuning *t, char key[LETHE_HASH_HEX], lethe_err *err) {
    const lethe_config *c = t->p->config;
    json_t *o = lethe_config_to_json(c), *layers = json_array();
    bool ok = o != NULL;
    char hash[LETHE_HASH_HEX];
    const char *const file[] = {c->probes, c->attack_file, c->perplexity};
    static const char *const name[] = {"probes", "attack_file", "perplexity"};
    lethe_status st = LETHE_OK;
    for (size_t i = 0; ok && !st && i < sizeof file / sizeof *file; i++) {
        if (!file[i]) continue;
        st = lethe_hash_file(file[i], hash, err);
        if (!st) lethe_json_put(o, name[i], json_string(hash), &ok);
    }
    for (size_t i = 0; i < t->out->space.n_layers; i++)
        json_array_append_new(layers, json_integer(t->out->space.layer[i]));
    if (ok) json_object_del(o, "out");
    lethe_json_put(o, "layers", layers, &ok);
    lethe_json_put(o, "space", json_integer(LETHE_TUNE_SPACE), &ok);
    lethe_json_put(o, "model", json_string(lethe_lm_get_info(t->p->lm)->hash), &ok);
    if (!st && !ok) st = lethe_fail(err, LETHE_NOMEM, "out of memory for settings");
    if (st) {
        json_decref(o);
        return st;
    }
    return lethe_run_key(o, key, err);
}

lethe_status lethe_tune_keep(const tuning *t, lethe_err *err) {
    char key[LETHE_HASH_HEX], *path = NULL;
    json_t *o = NULL;
    lethe_status st = key_of(t, key, err);
    if (!st) st = lethe_tune_json(t->out, &o, err);
    bool ok = true;
    if (!st) lethe_json_put(o, "key", json_string(key), &ok);
    if (!st && !ok) st = lethe_fail(err, LETHE_NOMEM, "out of memory for the search");
    if (!st) st = lethe_pipeline_path(t->p, "tune.json", &path, err);
    if (!st) st = lethe_json_save(o, path, err);
    json_decref(o);
    lethe_free(path);
    return st;
}

/* A number that may be null. */
static double real_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static lethe_gauge_figures figures_of(const lethe_tune_result *r, const json_t *o) {
    lethe_gauge_figures f = {
        .forget_recall = real_of(o, "forget_recall"),
        .forget_logprob = real_of(o, "forget_logprob"),
        .retain_recall = real_of(o, "retain_recall"),
        .retain_logprob = real_of(o, "retain_logprob"),
        .worst_attack = real_of(o, "worst_attack"),
        .kl = real_of(o, "kl"),
        .perplexity = real_of(o, "perplexity"),
        .partial = json_is_true(json_object_get(o, "partial")),
        .seconds = real_of(o, "seconds"),
    };
    for (size_t i = 0; i < r->n_attacks; i++)
        f.attack_recall[i] = real_of(json_object_get(o, "attacks"), r->attack[i]);
    return f;
}

/* False when it is not what trial_json writes. */
static bool trial_of(const lethe_tune_result *r, const json_t *o, lethe_trial *t) {
    const json_t *genes = json_object_get(o, "genome");
    if (json_array_size(genes) != LETHE_GENES) return false;
    *t = (lethe_trial){.number = r->n};
    for (int i = 0; i < LETHE_GENES; i++) {
        json_int_t v = json_integer_value(json_array_get(genes, (size_t)i));
        if (v < 0 || (size_t)v >= lethe_tune_gene_size(&r->space, (lethe_gene)i)) return false;
        t->genome.gene[i] = (uint8_t)v;
    }
    t->params = lethe_tune_params_of(&r->space, &t->genome);
    t->features = (size_t)json_integer_value(json_object_get(o, "features"));
    t->failed = json_is_true(json_object_get(o, "failed"));
    t->figures = figures_of(r, json_object_get(o, "figures"));
    t->kl_open = real_of(o, "kl_open");
    t->point = (lethe_point){real_of(o, "forget"), real_of(o, "damage")};
    t->seconds = real_of(o, "seconds");
    return json_integer_value(json_object_get(o, "number")) == (json_int_t)r->n;
}

lethe_status lethe_tune_recall(tuning *t, lethe_err *err) {
    lethe_tune_result *r = t->out;
    char key[LETHE_HASH_HEX], *path;
    LETHE_TRY(key_of(t, key, err));
    LETHE_TRY(lethe_pipeline_path(t->p, "tune.json", &path, err));
    json_t *o = NULL;
    lethe_status st = LETHE_OK;
    if (!t->opts->fresh && lethe_path_exists(path)) st = lethe_json_load(&o, path, err);
    lethe_free(path);
    const char *was = json_string_value(json_object_get(o, "key"));
    const json_t *trials = json_object_get(o, "trials");
    if (!st && was && !strcmp(was, key)) {
        for (size_t i = 0; !st && i < json_array_size(trials); i++) {
            st = lethe_grow(&r->trial, &r->cap, r->n, r->n + 1, sizeof *r->trial, "trials", err);
            if (st || !trial_of(r, json_array_get(trials, i), &r->trial[r->n])) break;
            if (!r->n) r->trial[0].params = t->given;
            r->n++;
        }
        r->key_trials = r->n;
        if (r->n) lethe_log(t->p->env, LETHE_LOG_INFO, "going on from %zu trials of before", r->n);
    }
    json_decref(o);
    return st;
}

/* ---- in the end ------------------------------------------------------------------------------ */

static lethe_status set_text(lethe_config *c, const char *name, const char *value, lethe_err *err) {
    return lethe_config_set(c, lethe_setting_find(name), value, true, err);
}

static lethe_status set_number(lethe_config *c, const char *name, double value, lethe_err *err) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    return set_text(c, name, text, err);
}

/* The chosen removal as settings. */
static lethe_status settle(const tuning *t, const lethe_tune_params *q, lethe_config *c,
                           lethe_err *err) {
    const lethe_intervention *how = &q->how;
    lethe_feature_opts o;
    LETHE_TRY(lethe_pipeline_feature_opts(t->p->config, &o, err));
    if (q->select) lethe_tune_select_apply(q->select, &o);
    LETHE_TRY(set_number(c, "layer", q->layer, err));
    LETHE_TRY(set_number(c, "num-features", (double)q->num_features, err));
    LETHE_TRY(set_text(c, "select", lethe_select_name(o.select), err));
    LETHE_TRY(set_text(c, "weigh-by", lethe_weigh_by_name(o.weigh_by), err));
    LETHE_TRY(set_text(c, "method", lethe_method_name(how->method), err));
    bool scale = how->method == LETHE_METHOD_SCALE;
    LETHE_TRY(set_number(c, scale ? "scale" : "strength", how->strength, err));
    LETHE_TRY(set_text(c, "clamp-unit", lethe_clamp_unit_name(how->unit), err));
    LETHE_TRY(set_text(c, "direction-gated", how->gated ? "true" : "false", err));
    if (!how->guard) return set_text(c, "guard", "off", err);
    LETHE_TRY(set_text(c, "guard-by", lethe_guard_by_name(how->guard_by), err));
    if (how->guard_by == LETHE_GUARD_SHARE)
        LETHE_TRY(set_number(c, "guard-window", (double)how->guard_window, err));
    return set_number(c, "guard", how->guard_threshold, err);
}

static lethe_status save_settings(const tuning *t, const lethe_config *c, lethe_err *err) {
    char *path;
    json_t *o = lethe_config_to_json(c);
    if (!o) return lethe_fail(err, LETHE_NOMEM, "out of memory for settings");
    json_object_del(o, "out"); /* whose run it becomes is for the command line to say */
    lethe_status st = lethe_pipeline_path(t->p, "tuned.json", &path, err);
    if (!st) st = lethe_json_save(o, path, err);
    json_decref(o);
    if (!st) lethe_free(path);
    return st;
}

/* The chosen features into the run directory of p, as the stage "features" leaves them. */
static lethe_status save_features(tuning *t, lethe_tune_layer *l, lethe_pipeline *p,
                                  lethe_err *err) {
    const lethe_trial *chosen = &t->out->trial[t->out->chosen];
    lethe_feature_opts o;
    if (chosen->number)
        LETHE_TRY(lethe_tune_feature_opts(t, &chosen->params, &o, err));
    else
        LETHE_TRY(lethe_pipeline_feature_opts(t->p->config, &o, err));
    lethe_feature_set set = {0};
    bool owned;
    char *path = NULL;
    LETHE_TRY(lethe_tune_choose(t, l, &o, true, &set, &owned, err));
    set.sae = l->meta;
    memcpy(set.sae_hash, l->sae_hash, sizeof set.sae_hash);
    lethe_status st = lethe_pipeline_path(p, "features.json", &path, err);
    if (!st) st = lethe_feature_set_save(&set, path, err);
    if (!st)
        st = lethe_run_record(p, "features", "chosen by lethe tune",
                              json_pack("{s:I}", "features", (json_int_t)set.n), err);
    if (owned) lethe_feature_set_free(&set);
    lethe_free(path);
    return st;
}

/* The SAE under the run's own name: the same file once more, or where the file system cannot do
 * that, a reference to it. */
static lethe_status lend_sae(const lethe_tune_layer *l, const lethe_pipeline *p, lethe_err *err) {
    char *from = NULL, *to = NULL;
    lethe_status st = LETHE_OK;
    if (l->config.sae)
        from = lethe_strdup(l->config.sae);
    else
        st = lethe_pipeline_path(&l->p, "sae.safetensors", &from, err);
    if (!st && !from) st = lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    if (!st) st = lethe_pipeline_path(p, "sae.safetensors", &to, err);
    char *real = !st ? realpath(from, NULL) : NULL;
    if (!st && (!real || (unlink(to) && errno != ENOENT) || (link(real, to) && symlink(real, to))))
        st = lethe_fail(err, LETHE_IO, "%s: cannot be made from %s: %s", to, from, strerror(errno));
    free(real);
    lethe_free(from);
    lethe_free(to);
    return st;
}

/* A run directory with the layer's SAE and the chosen features, ready for eval, patch and report.
 */
static lethe_status save_run(tuning *t, lethe_config *c, int layer, lethe_err *err) {
    lethe_tune_layer *l;
    LETHE_TRY(lethe_tune_layer_open(t, layer, &l, err));
    char *dir = lethe_path_join(t->p->dir, "tuned");
    if (!dir) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    t->out->chosen_dir = dir;
    LETHE_TRY(set_text(c, "out", dir, err));
    lethe_pipeline p = {0};
    LETHE_TRY(lethe_pipeline_branch(&p, t->p, c, err));
    lethe_status st = lend_sae(l, &p, err);
    if (!st) st = save_features(t, l, &p, err);
    lethe_pipeline_close(&p);
    return st;
}

lethe_status lethe_tune_write(tuning *t, lethe_err *err) {
    const lethe_tune_params *q = &t->out->trial[t->out->chosen].params;
    LETHE_TRY(lethe_tune_keep(t, err));
    lethe_config c = {0};
    lethe_status st = lethe_tune_copy_config(t->p->config, &c, err);
    if (!st && t->out->chosen) st = settle(t, q, &c, err);
    if (!st) st = save_settings(t, &c, err);
    if (!st) st = save_run(t, &c, q->layer, err);
    lethe_config_free(&c);
    return st;
}
