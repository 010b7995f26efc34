/* SPDX-License-Identifier: MIT */
#include "stage/push.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"

static lethe_status add(lethe_bundle *b, const char *name, char *path, char *data, uint64_t size) {
    b->file[b->n] = (lethe_hub_upload){.name = name, .path = path, .data = data, .size = size};
    b->owned[b->n++] = path ? path : data;
    return LETHE_OK;
}

static lethe_status add_file(lethe_bundle *b, const char *dir, const char *name, bool *there,
                             lethe_err *err) {
    char *path = lethe_path_join(dir, name);
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    *there = lethe_path_exists(path);
    if (*there) return add(b, name, path, NULL, 0);
    lethe_free(path);
    return LETHE_OK;
}

/* Settings of the evaluation that are numbers, or words of ours: no paths, no texts. */
static json_t *public_config(const json_t *config) {
    static const char *const words[] = {"model_name", "model_hash", "hook",     "gate",
                                        "method",     "clamp_unit", "sae_hash", "split"};
    json_t *o = json_object(), *v;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)config, key, v) {
        bool word = false;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            word = word || !strcmp(key, words[i]);
        const char *s = json_string_value(v);
        bool plain = json_is_number(v) || json_is_boolean(v) || (word && s && !strchr(s, '/'));
        if (plain) json_object_set(o, key, v);
    }
    return o;
}

static lethe_status add_summary(lethe_bundle *b, const char *dir, lethe_err *err) {
    char *path = lethe_path_join(dir, "eval.json");
    json_t *eval;
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    bool there = lethe_path_exists(path);
    lethe_status st = there ? lethe_json_load(&eval, path, err) : LETHE_OK;
    lethe_free(path);
    if (st || !there) return st;
    static const char *const parts[] = {"metrics", "measures"};
    json_t *o = json_object();
    bool ok = true;
    lethe_json_put(o, "format", json_string("lethe-eval-summary-1"), &ok);
    lethe_json_put(o, "config", public_config(json_object_get(eval, "config")), &ok);
    for (size_t i = 0; i < 2; i++)
        if (json_object_get(eval, parts[i]))
            lethe_json_put(o, parts[i], json_incref(json_object_get(eval, parts[i])), &ok);
    char *text = ok ? json_dumps(o, JSON_INDENT(1)) : NULL, *copy = lethe_strdup(text);
    free(text);
    json_decref(o);
    json_decref(eval);
    if (!copy) return lethe_fail(err, LETHE_NOMEM, "out of memory: the figures");
    return add(b, "eval_summary.json", NULL, copy, strlen(copy));
}

static lethe_status add_card(lethe_bundle *b, const char *dir, const char *repo,
                             const char *version, lethe_err *err) {
    lethe_strbuf text = {0};
    lethe_status st = lethe_bundle_card(dir, repo, version, &text, err);
    char *copy = st || text.status ? NULL : lethe_strdup(lethe_strbuf_str(&text));
    lethe_strbuf_free(&text);
    if (st) return st;
    if (!copy) return lethe_fail(err, LETHE_NOMEM, "out of memory: the card");
    b->card = copy;
    return add(b, "README.md", NULL, copy, strlen(copy));
}

static lethe_status make(lethe_bundle *b, const char *dir, const char *repo, const char *version,
                         lethe_err *err) {
    bool sae = false, features = false, patch = false;
    LETHE_TRY(add_file(b, dir, "sae.safetensors", &sae, err));
    LETHE_TRY(add_file(b, dir, "features.json", &features, err));
    LETHE_TRY(add_file(b, dir, "patch.safetensors", &patch, err));
    if (!sae && !patch)
        return lethe_fail(err, LETHE_NOTFOUND,
                          "%s: neither sae.safetensors nor patch.safetensors is there: nothing to "
                          "push (want a run directory, as lethe forget and lethe train make them)",
                          dir);
    LETHE_TRY(add_summary(b, dir, err));
    LETHE_TRY(add_card(b, dir, repo, version, err));
    LETHE_TRY(lethe_hub_digest_uploads(b->file, b->n, err));
    for (size_t i = 0; i < b->n; i++) b->bytes += b->file[i].size;
    return LETHE_OK;
}

lethe_status lethe_bundle_make(lethe_bundle *out, const char *dir, const char *repo,
                               const char *version, lethe_err *err) {
    lethe_bundle b = {0};
    lethe_status st = make(&b, dir, repo, version, err);
    if (st)
        lethe_bundle_free(&b);
    else
        *out = b;
    return st;
}

void lethe_bundle_free(lethe_bundle *b) {
    for (size_t i = 0; i < b->n; i++) lethe_free(b->owned[i]);
    *b = (lethe_bundle){0};
}
