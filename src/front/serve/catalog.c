/* SPDX-License-Identifier: MIT */
#include "front/serve/catalog.h"

#include <ctype.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"

/* A removal and what is known of it beyond the model. */
typedef struct source {
    const lethe_ablation *ablation;
    const lethe_patch *patch; /* NULL: by SAE and features */
    int layer;
    lethe_hook hook;
    char *name, *id, *dir;
    const char *sae_hash;
    lethe_feature_set loaded;
    const lethe_feature_set *set; /* NULL: no statistics */
    json_t *cards;                /* NULL: none */
} source;

typedef struct builder {
    const lethe_use *use;
    const lethe_env *env;
    source *from; /* [n] */
    size_t n;
    bool statistics, has_cards, report;
} builder;

static lethe_status no_memory(lethe_err *err) {
    return lethe_fail(err, LETHE_NOMEM, "out of memory for the list of models");
}

/* ---- names ----------------------------------------------------------------------------------- */

/* The file's name without folder and ending. */
static char *stem(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *end = strstr(name, ".safetensors");
    char *out = lethe_strdup(name);
    if (out && end) out[end - name] = '\0';
    return out;
}

static char *joined(const char *a, const char *b, const char *c) {
    char *out = NULL;
    size_t n = strlen(a) + strlen(b) + strlen(c) + 1;
    if (lethe_alloc(&out, n, 1, "a name", NULL)) return NULL;
    snprintf(out, n, "%s%s%s", a, b, c);
    return out;
}

static void tidy(char *id) {
    for (; *id; id++) {
        *id = (char)tolower((unsigned char)*id);
        if (!isalnum((unsigned char)*id) && !strchr("._-:", *id)) *id = '-';
    }
}

static bool taken(const builder *b, size_t before, const char *id) {
    for (size_t i = 0; i < before; i++)
        if (!strcmp(b->from[i].id, id)) return true;
    return false;
}

/* NAME:forget, or NAME:forget:STEM of several; equal stems are numbered. */
static lethe_status name_source(builder *b, size_t i, const char *model, lethe_err *err) {
    source *s = &b->from[i];
    char number[32] = "";
    char *whole = joined(model, b->n > 1 ? ":forget:" : ":forget", b->n > 1 ? s->name : "");
    for (int k = 2; whole; k++) {
        lethe_free(s->id);
        s->id = joined(whole, number, "");
        if (!s->id) break;
        tidy(s->id);
        if (!taken(b, i, s->id)) break;
        snprintf(number, sizeof number, "-%d", k);
    }
    lethe_free(whole);
    return s->id ? LETHE_OK : no_memory(err);
}

static lethe_status put_models(lethe_catalog *c, const builder *b, char *name, lethe_err *err) {
    bool several = b->n > 1;
    LETHE_TRY(lethe_zalloc(&c->model, b->n + 2, sizeof *c->model, "the list of models", err));
    c->model[0] = (lethe_catalog_model){lethe_strdup(name), 0};
    c->model[1] = (lethe_catalog_model){joined(name, ":forget", ""),
                                        b->n < 64 ? (UINT64_C(1) << b->n) - 1 : UINT64_MAX};
    c->n_models = 2;
    for (size_t i = 0; several && i < b->n; i++)
        c->model[c->n_models++] =
            (lethe_catalog_model){lethe_strdup(b->from[i].id), UINT64_C(1) << i};
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < c->n_models; i++) {
        if (!c->model[i].id) return no_memory(err);
        lethe_json_append(list, lethe_catalog_model_json(&c->model[i]), &ok);
    }
    c->models = json_pack("{s:s, s:o}", "object", "list", "data", list);
    return ok && c->models ? LETHE_OK : no_memory(err);
}

json_t *lethe_catalog_model_json(const lethe_catalog_model *m) {
    return json_pack("{s:s, s:s, s:i, s:s, s:{s:b}}", "id", m->id, "object", "model", "created", 0,
                     "owned_by", "lethe", "lethe", "forget", m->on != 0);
}

const lethe_catalog_model *lethe_catalog_find(const lethe_catalog *c, const char *id) {
    for (size_t i = 0; i < c->n_models; i++)
        if (!strcmp(c->model[i].id, id)) return &c->model[i];
    return NULL;
}

/* ---- what a run knows of its features -------------------------------------------------------- */

static char *file_in(const source *s, const char *name) {
    char *path = s->dir ? lethe_path_join(s->dir, name) : NULL;
    if (path && !lethe_path_exists(path)) {
        lethe_free(path);
        path = NULL;
    }
    return path;
}

static bool fits(const builder *b, const source *s, const char *hash, const char *path) {
    if (!s->sae_hash || !*s->sae_hash || !strcmp(hash, s->sae_hash)) return true;
    lethe_log(b->env, LETHE_LOG_INFO, "%s is about another SAE: left out", path);
    return false;
}

/* features.json beside a patch. */
static lethe_status load_statistics(builder *b, source *s, lethe_err *err) {
    char *path = file_in(s, "features.json");
    if (!path) return LETHE_OK;
    lethe_status st = lethe_feature_set_load(&s->loaded, path, err);
    if (!st && fits(b, s, s->loaded.sae_hash, path)) s->set = &s->loaded;
    lethe_free(path);
    return st;
}

static lethe_status load_cards(builder *b, source *s, lethe_err *err) {
    char *path = file_in(s, "cards.json");
    if (!path) return LETHE_OK;
    json_t *cards = NULL;
    lethe_status st = lethe_json_load(&cards, path, err);
    const char *hash =
        json_string_value(json_object_get(json_object_get(cards, "config"), "sae_hash"));
    if (!st && hash && fits(b, s, hash, path)) s->cards = json_incref(cards);
    json_decref(cards);
    lethe_free(path);
    return st;
}

static const json_t *card_of(const source *s, int32_t feature) {
    size_t i;
    json_t *card;
    json_array_foreach(json_object_get(s->cards, "features"), i, card) {
        if (json_integer_value(json_object_get(card, "index")) == feature) return card;
    }
    return NULL;
}

static const lethe_feature *statistics_of(const source *s, int32_t feature, size_t *rank) {
    for (size_t i = 0; s->set && i < s->set->n; i++) {
        *rank = i + 1;
        if (s->set->item[i].index == feature) return &s->set->item[i];
    }
    return NULL;
}

static json_t *role_json(const lethe_corpus_stats *c) {
    return json_pack("{s:I, s:o, s:o}", "fires", (json_int_t)c->fires, "freq",
                     lethe_json_real(c->freq), "mean", lethe_json_real(c->mean));
}

static json_t *statistics_json(const source *s, const lethe_feature *f) {
    if (!f) return json_null();
    return json_pack("{s:o, s:o, s:o}", "forget", role_json(&f->forget), "near",
                     s->set->has_near ? role_json(&f->near) : json_null(), "retain",
                     role_json(&f->retain));
}

static json_t *feature_json(const source *s, size_t removal, size_t place) {
    int32_t feature = lethe_ablation_latent(s->ablation, (int)removal, (int32_t)place);
    size_t rank = place + 1, found = 0;
    const lethe_feature *f = statistics_of(s, feature, &found);
    if (f) rank = found;
    double mean = s->patch ? (double)s->patch->mean[place] : f ? f->forget.mean : (double)NAN;
    const json_t *card = card_of(s, feature);
    return json_pack(
        "{s:i, s:I, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "feature", (int)feature, "removal",
        (json_int_t)removal, "layer", s->layer, "rank", (json_int_t)rank, "score",
        lethe_json_real(f ? f->score : (double)NAN), "ratio",
        lethe_json_real(f ? f->ratio : (double)NAN), "mean", lethe_json_real(mean), "threshold",
        lethe_json_real(s->patch ? (double)s->patch->threshold[place] : (double)NAN), "statistics",
        statistics_json(s, f), "card", card ? json_deep_copy(card) : json_null());
}

static json_t *features_json(const builder *b) {
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t r = 0; r < b->n; r++)
        for (size_t i = 0; i < lethe_ablation_size(b->from[r].ablation); i++)
            lethe_json_append(list, feature_json(&b->from[r], r, i), &ok);
    json_int_t n = (json_int_t)json_array_size(list);
    return json_pack("{s:s, s:I, s:o}", "object", "list", "total", n, "data", list);
}

/* ---- info ------------------------------------------------------------------------------------ */

static json_t *removal_json(const builder *b, const source *s) {
    const lethe_intervention *how = lethe_ablation_how(s->ablation);
    size_t n = lethe_ablation_size(s->ablation),
           latents = s->patch ? s->patch->m : b->use->removal.sae.m;
    bool compact = lethe_ablation_compact(s->ablation);
    lethe_strbuf text = {0};
    lethe_strbuf_addf(&text, "%s, strength %g%s; ", lethe_method_name(how->method), how->strength,
                      how->gated ? ", gated" : "");
    bool share = how->guard_by == LETHE_GUARD_SHARE;
    if (how->guard && share)
        lethe_strbuf_addf(&text, "guard %.3g over %zu tokens; ", how->guard_threshold,
                          how->guard_window);
    else if (how->guard)
        lethe_strbuf_addf(&text, "guard %.3g nats of evidence; ", how->guard_threshold);
    lethe_strbuf_addf(&text, "%zu features; %s gate", n, compact ? "compact" : "exact");
    json_t *guard = how->guard ? json_pack("{s:o}", lethe_guard_by_name(how->guard_by),
                                           lethe_json_real(how->guard_threshold))
                               : json_null();
    if (how->guard && share)
        json_object_set_new(guard, "window", json_integer((json_int_t)how->guard_window));
    json_t *j = json_pack(
        "{s:s, s:o, s:i, s:s, s:s, s:o, s:s, s:I, s:o, s:s, s:o}", "id", s->id, "name",
        lethe_json_text(s->name, strlen(s->name)), "layer", s->layer, "hook",
        lethe_hook_name((int)s->hook), "method", lethe_method_name(how->method), "strength",
        lethe_json_real(how->strength), "text", lethe_strbuf_str(&text), "features", (json_int_t)n,
        "latents", latents ? json_integer((json_int_t)latents) : json_null(), "gate",
        compact ? "compact" : "exact", "guard", guard);
    lethe_strbuf_free(&text);
    return j;
}

static json_t *info_json(const builder *b, const lethe_catalog *c, const lethe_catalog_limits *l) {
    const lethe_lm *lm = b->use->pipeline.lm;
    const lethe_lm_info *m = lethe_lm_get_info(lm);
    json_t *removals = json_array();
    bool ok = removals != NULL;
    for (size_t i = 0; i < b->n; i++)
        lethe_json_append(removals, removal_json(b, &b->from[i]), &ok);
    size_t ctx = lethe_lm_ctx_len(lm);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:b, s:o, s:b, s:b, s:b, s:I, s:I, "
        "s:{s:I, s:I, s:o}}",
        "object", "lethe.info", "version", LETHE_VERSION, "model", c->model[0].id, "forget_model",
        c->model[1].id, "architecture", m->arch, "layers", m->n_layer, "width",
        (json_int_t)m->d_model, "vocabulary", (json_int_t)m->n_vocab, "parameters",
        (json_int_t)m->n_params, "context", (json_int_t)ctx, "chat_template", m->has_chat_template,
        "removals", removals, "report", c->report != NULL, "cards", b->has_cards, "statistics",
        b->statistics, "slots", (json_int_t)l->slots, "queue", (json_int_t)l->queue, "limits",
        "body_bytes", (json_int_t)l->body, "prompt_tokens", (json_int_t)(ctx - 1), "seconds",
        lethe_json_real(l->seconds));
}

/* moved: value. The text is freed with lethe_free. */
static lethe_status dump(json_t *value, char **out, lethe_err *err) {
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    *out = lethe_strdup(text);
    free(text);
    return *out ? LETHE_OK : no_memory(err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static lethe_status load_report(lethe_catalog *c, const source *s, lethe_err *err) {
    char *path = file_in(s, "report.html");
    if (!path) return LETHE_OK;
    lethe_map map = {0};
    lethe_status st = lethe_map_open(&map, path, err);
    if (!st) st = lethe_alloc(&c->report, map.size ? map.size : 1, 1, "the report", err);
    if (!st && map.size) memcpy(c->report, map.data, map.size);
    if (!st) c->report_size = map.size;
    lethe_map_close(&map);
    lethe_free(path);
    return st;
}

static lethe_status describe(builder *b, bool out_given, const char *model, lethe_err *err) {
    const lethe_pipeline *p = &b->use->pipeline;
    const lethe_ablation *a = b->use->removal.ablation;
    int layer = (int)p->config->layer;
    lethe_hook hook = p->hook;
    for (size_t i = 0; i < b->n; i++) {
        source *s = &b->from[i];
        *s = (source){.ablation = a, .layer = layer, .hook = hook};
        if (p->n_patches) {
            s->patch = &p->patch[i];
            s->sae_hash = s->patch->sae_hash;
            const char *path = p->config->patch.item[i];
            char *copy = lethe_strdup(path);
            s->name = stem(path);
            s->dir = lethe_strdup(out_given ? p->dir : copy ? dirname(copy) : NULL);
            lethe_free(copy);
        } else {
            s->name = lethe_strdup("run");
            s->dir = lethe_strdup(p->dir);
            s->sae_hash = b->use->removal.features.sae_hash;
            s->set = &b->use->removal.features;
        }
        if (!s->name || !s->dir) return no_memory(err);
        LETHE_TRY(name_source(b, i, model, err));
        if (s->patch) LETHE_TRY(load_statistics(b, s, err));
        LETHE_TRY(load_cards(b, s, err));
        b->statistics |= s->set != NULL;
        b->has_cards |= s->cards != NULL;
        a = lethe_ablation_next(a, &layer, &hook, NULL);
    }
    return LETHE_OK;
}

static lethe_status build(lethe_catalog *c, builder *b, bool out_given,
                          const lethe_catalog_limits *limits, lethe_err *err) {
    const lethe_lm_info *m = lethe_lm_get_info(b->use->pipeline.lm);
    for (const lethe_ablation *a = b->use->removal.ablation; a;
         a = lethe_ablation_next(a, NULL, NULL, NULL))
        b->n++;
    LETHE_TRY(lethe_zalloc(&b->from, b->n, sizeof *b->from, "removals", err));
    char name[sizeof m->name];
    snprintf(name, sizeof name, "%s", *m->name ? m->name : "model");
    tidy(name);
    LETHE_TRY(describe(b, out_given, name, err));
    LETHE_TRY(put_models(c, b, name, err));
    /* Of a folder that has no features of this SAE who knows what the report is about. */
    if (b->from[0].set) LETHE_TRY(load_report(c, &b->from[0], err));
    LETHE_TRY(dump(features_json(b), &c->features, err));
    return dump(info_json(b, c, limits), &c->info, err);
}

lethe_status lethe_catalog_open(lethe_catalog *out, const lethe_use *use, bool out_given,
                                const lethe_catalog_limits *limits, lethe_err *err) {
    builder b = {.use = use, .env = use->pipeline.env};
    lethe_catalog c = {0};
    lethe_status st = build(&c, &b, out_given, limits, err);
    for (size_t i = 0; b.from && i < b.n; i++) {
        source *s = &b.from[i];
        lethe_free(s->name);
        lethe_free(s->id);
        lethe_free(s->dir);
        lethe_feature_set_free(&s->loaded);
        json_decref(s->cards);
    }
    lethe_free(b.from);
    if (st)
        lethe_catalog_free(&c);
    else
        *out = c;
    return st;
}

void lethe_catalog_free(lethe_catalog *c) {
    for (size_t i = 0; c->model && i < c->n_models; i++) lethe_free(c->model[i].id);
    lethe_free(c->model);
    json_decref(c->models);
    lethe_free(c->info);
    lethe_free(c->features);
    lethe_free(c->report);
    *c = (lethe_catalog){0};
}
