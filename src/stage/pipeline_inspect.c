/* SPDX-License-Identifier: MIT
 *
 * Feature cards of a run: one pass over the rows of its corpora, then the logit lens.
 */
#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "sae/encoder.h"
#include "stage/pipeline_run.h"

typedef struct look {
    lethe_sae sae;
    lethe_encoder encoder;
    lethe_feature_set features;
    lethe_codes codes;
    lethe_inspector *inspector;
    int32_t *index; /* [n] */
    size_t n;
    float *norm; /* [n] */
} look;

static void look_close(look *l) {
    lethe_inspector_close(&l->inspector);
    lethe_encoder_close(&l->encoder);
    lethe_codes_free(&l->codes);
    lethe_feature_set_free(&l->features);
    lethe_sae_free(&l->sae);
    lethe_free(l->index);
    lethe_free(l->norm);
}

static lethe_status add(void *user, const lethe_run_batch *b, lethe_err *err) {
    look *l = user;
    for (size_t at = 0; at < b->n; at += l->codes.n) {
        const size_t n = l->codes.n = lethe_encode_batch(&l->sae, b->n - at);
        LETHE_TRY(lethe_encode(&l->encoder, b->x + at * l->sae.d, n, &l->codes, NULL, err));
        LETHE_TRY(lethe_inspector_add(l->inspector, &l->codes, b->role + at, b->token + at,
                                      b->position + at, err));
    }
    return LETHE_OK;
}

/* The chosen features; with --feature, of one that is not chosen, this alone. */
static lethe_status choose(const lethe_pipeline *p, look *l, const char *sae_hash, bool *chosen,
                           lethe_err *err) {
    int64_t one = p->config->feature;
    if (one < -1 || one >= (int64_t)l->sae.m)
        return lethe_fail(err, LETHE_USAGE, "--feature: got %lld, want 0 to %zu", (long long)one,
                          l->sae.m - 1);
    lethe_err why;
    lethe_status st = lethe_run_features(p, &l->sae, sae_hash, &l->features, &why);
    if (st && (one < 0 || st != LETHE_NOTFOUND)) return lethe_fail(err, st, "%s", why.text);
    *chosen = !st && one < 0;
    if (!st) LETHE_TRY(lethe_feature_set_indices(&l->features, &l->index, err));
    l->n = l->features.n;
    for (size_t i = 0; i < l->n; i++) *chosen |= l->index[i] == (int32_t)one;
    if (*chosen) return LETHE_OK;
    lethe_free(l->index);
    l->n = 1;
    LETHE_TRY(lethe_alloc(&l->index, 1, sizeof *l->index, "a feature", err));
    l->index[0] = (int32_t)one;
    return LETHE_OK;
}

static lethe_status open_look(const lethe_pipeline *p, look *l, lethe_err *err) {
    const lethe_config *c = p->config;
    lethe_inspect_opts o = lethe_inspect_defaults();
    if (c->contexts < 0 || c->contexts > 1000)
        return lethe_fail(err, LETHE_USAGE, "--contexts: got %lld, want 0 to 1000",
                          (long long)c->contexts);
    o.contexts = (size_t)c->contexts;
    LETHE_TRY(lethe_encoder_open(&l->encoder, &l->sae, err));
    LETHE_TRY(lethe_codes_alloc(&l->codes, LETHE_RUN_ROWS, l->sae.k, err));
    LETHE_TRY(lethe_alloc(&l->norm, l->n, sizeof *l->norm, "norms of features", err));
    for (size_t i = 0; i < l->n; i++) {
        const float *w = l->sae.W_dec + (size_t)l->index[i] * l->sae.d;
        double squares = 0;
        for (size_t j = 0; j < l->sae.d; j++) squares += (double)w[j] * (double)w[j];
        l->norm[i] = (float)sqrt(squares);
    }
    return lethe_inspector_open(&l->inspector, l->index, l->n, l->sae.m, &o, err);
}

/* "effect" of the features in features.json, where the choice was made by it. */
static void note_effects(const lethe_pipeline *p, lethe_cards *cards) {
    char *path = p->config->features ? lethe_strdup(p->config->features)
                                     : lethe_path_join(p->dir, "features.json");
    json_t *j = NULL, *f;
    lethe_err why;
    size_t k;
    if (path && !lethe_json_load(&j, path, &why))
        json_array_foreach(json_object_get(j, "features"), k, f) {
            const json_t *index = json_object_get(f, "index"),
                         *effect = json_object_get(f, "effect");
            for (size_t i = 0; i < cards->n && json_is_number(effect); i++)
                if (json_integer_value(index) == cards->card[i].index)
                    cards->card[i].effect = json_number_value(effect);
        }
    json_decref(j);
    lethe_free(path);
}

static lethe_status save(lethe_pipeline *p, const lethe_cards *cards, const char *key,
                         double seconds, lethe_err *err) {
    json_t *j = NULL;
    char *path = NULL;
    lethe_status st = lethe_cards_json(cards, p->lm, &j, err);
    if (!st) st = lethe_pipeline_path(p, "cards.json", &path, err);
    if (!st) st = lethe_json_save(j, path, err);
    json_decref(j);
    lethe_free(path);
    /* Always done when asked for, so its key is only a label: the SAE it was done with. */
    if (st) return st;
    return lethe_run_record(
        p, "inspect", key,
        json_pack("{s:I, s:f}", "features", (json_int_t)cards->n, "seconds", seconds), err);
}

lethe_status lethe_pipeline_inspect(lethe_pipeline *p, lethe_cards *result, bool *saved,
                                    lethe_err *err) {
    look l = {0};
    lethe_sae_meta meta;
    lethe_cards cards = {0};
    char hash[LETHE_HASH_HEX];
    bool chosen = false;
    double start = lethe_seconds();
    LETHE_TRY(lethe_run_corpora(p, true, err));
    LETHE_TRY(lethe_run_sae(p, &l.sae, &meta, hash, err));
    lethe_status st = choose(p, &l, hash, &chosen, err);
    if (!st) st = open_look(p, &l, err);
    if (!st) st = lethe_run_batches(p, "inspect", add, &l, err);
    if (!st) st = lethe_inspector_finish(l.inspector, l.norm, &cards, err);
    if (!st) st = lethe_cards_lens(&cards, &l.sae, p->lm, err);
    if (!st) {
        cards.sae = meta;
        memcpy(cards.sae_hash, hash, sizeof cards.sae_hash);
        if (chosen) note_effects(p, &cards);
        if (!chosen) cards.card[0].share = NAN; /* alone it would have all of it */
        lethe_cards_sort(&cards);
    }
    *saved = chosen;
    if (!st && chosen) st = save(p, &cards, hash, lethe_seconds() - start, err);
    look_close(&l);
    if (st)
        lethe_cards_free(&cards);
    else
        *result = cards;
    return st;
}
