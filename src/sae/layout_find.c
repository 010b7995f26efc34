/* SPDX-License-Identifier: MIT
 *
 * From a path to tensors and configurations. A folder is looked through for the names that projects
 * give their weights, then for any file with the tensors of an SAE, then its folders; more than one
 * is a question that the person answers.
 */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "sae/layout_parts.h"

#define MOST_DEPTH 5     /* Gemma Scope: repository/layer_20/width_16k/average_l0_71/params.npz */
#define MOST_FILES 20000 /* looked at, in all folders */
#define MOST_NAMED 8     /* in a message */

static const char *const weight_names[] = {
    "sae_weights.safetensors",       "sae.safetensors", "params.safetensors", "params.npz", "ae.pt",
    "checkpoints/final.safetensors",
};

static const char *const weight_ends[] = {".safetensors", ".pt", ".pth", ".npz"};

static const char *const prefixes[] = {
    "", "sae_state_dict.", "state_dict.", "sae.", "model_state_dict.", "module.", "model."};

/* What every SAE has one of. */
static const char *const telling[] = {"W_dec", "w_dec", "decoder.weight",
                                      "W_enc", "w_enc", "encoder.weight"};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static lethe_status no_memory(lethe_err *err) {
    return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

/* NULL: no tensor of an SAE under any prefix. */
static const char *find_prefix(const lethe_bundle *b) {
    for (size_t p = 0; p < COUNT(prefixes); p++)
        for (size_t t = 0; t < COUNT(telling); t++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s", prefixes[p], telling[t]);
            if (lethe_bundle_find(b, name)) return prefixes[p];
        }
    return NULL;
}

bool lethe_sae_resembles(const lethe_bundle *b) {
    return find_prefix(b) != NULL;
}

/* ---- folders --------------------------------------------------------------------------------- */

typedef struct search {
    char *found[MOST_NAMED + 1];
    size_t n, files;
    lethe_err first; /* why the first file that has the ending of weights could not be opened */
    lethe_status st; /* NOMEM */
} search;

static void found(search *s, const char *path) {
    if (s->n > MOST_NAMED) return;
    s->found[s->n] = lethe_strdup(path);
    if (!s->found[s->n]) s->st = LETHE_NOMEM;
    s->n++;
}

static bool ends_like_weights(const char *name) {
    for (size_t i = 0; i < COUNT(weight_ends); i++)
        if (lethe_path_ends_with(name, weight_ends[i])) return true;
    return false;
}

static void try_file(search *s, const char *path) {
    lethe_bundle *b;
    lethe_err err;
    lethe_status st = lethe_bundle_open(&b, path, &err);
    if (st == LETHE_NOMEM) s->st = st;
    if (st) {
        if (!s->first.status) s->first = err;
        return;
    }
    if (find_prefix(b)) found(s, path);
    lethe_bundle_close(&b);
}

static bool by_name(search *s, const char *dir) {
    for (size_t i = 0; i < COUNT(weight_names) && !s->st; i++) {
        char *path = lethe_path_join(dir, weight_names[i]);
        if (!path) {
            s->st = LETHE_NOMEM;
            return true;
        }
        bool there = lethe_path_exists(path) && !lethe_path_is_dir(path);
        if (there) found(s, path);
        lethe_free(path);
        if (there) return true;
    }
    return s->st != LETHE_OK;
}

static int visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}

static void search_dir(search *s, const char *dir, int depth) {
    if (by_name(s, dir)) return;
    struct dirent **list;
    int n = scandir(dir, &list, visible, versionsort);
    size_t before = s->n;
    for (int pass = 0; pass < 2; pass++) { /* files, then folders */
        if (pass && s->n > before) break;
        for (int i = 0; i < n && !s->st && s->n <= MOST_NAMED && s->files < MOST_FILES; i++) {
            char *path = lethe_path_join(dir, list[i]->d_name);
            if (!path) {
                s->st = LETHE_NOMEM;
                break;
            }
            s->files += !pass;
            bool is_dir = lethe_path_is_dir(path);
            if (!pass && !is_dir && ends_like_weights(path)) try_file(s, path);
            if (pass && is_dir && depth < MOST_DEPTH) search_dir(s, path, depth + 1);
            lethe_free(path);
        }
    }
    for (int i = 0; i < n; i++) free(list[i]);
    if (n >= 0) free(list);
}

static lethe_status several(const search *s, const char *dir, lethe_err *err) {
    lethe_strbuf names = {0};
    size_t skip = strlen(dir), shown = s->n < MOST_NAMED ? s->n : MOST_NAMED;
    for (size_t i = 0; i < shown; i++) {
        const char *name = s->found[i] + skip;
        lethe_strbuf_addf(&names, "%s%s", i ? ", " : "", name + strspn(name, "/"));
    }
    lethe_fail(err, LETHE_FORMAT, "%s: holds several SAEs, name one of them: %s%s", dir,
               lethe_strbuf_str(&names), s->n > MOST_NAMED ? ", ..." : "");
    lethe_strbuf_free(&names);
    return LETHE_FORMAT;
}

static lethe_status in_folder(const char *dir, char **out, lethe_err *err) {
    search s = {0};
    search_dir(&s, dir, 0);
    lethe_status st = LETHE_OK;
    if (s.st)
        st = no_memory(err);
    else if (s.n > 1)
        st = several(&s, dir, err);
    else if (!s.n && s.first.status)
        st = lethe_fail(err, s.first.status, "%s", s.first.text);
    else if (!s.n)
        st = lethe_fail(err, LETHE_NOTFOUND,
                        "%s: no SAE in this folder (want weights as .safetensors, .pt or .npz)",
                        dir);
    else {
        *out = s.found[0];
        s.found[0] = NULL;
    }
    for (size_t i = 0; i < s.n; i++) lethe_free(s.found[i]);
    return st;
}

/* ---- configurations -------------------------------------------------------------------------- */

static lethe_status load_cfg(lethe_layout_source *s, lethe_cfg_file f, const char *dir,
                             const char *name, lethe_err *err) {
    char *path = lethe_path_join(dir, name);
    if (!path) return no_memory(err);
    if (!lethe_path_exists(path)) {
        lethe_free(path);
        return LETHE_OK;
    }
    s->cfg_path[f] = path;
    LETHE_TRY(lethe_json_load(&s->cfg[f], path, err));
    lethe_json_ref top = lethe_json_top(s->cfg[f], path);
    return lethe_json_want_object(&top, err);
}

static lethe_status load_cfgs(lethe_layout_source *s, const char *dir, lethe_err *err) {
    LETHE_TRY(load_cfg(s, LETHE_CFG, dir, "cfg.json", err));
    LETHE_TRY(load_cfg(s, LETHE_CONFIG, dir, "config.json", err));
    LETHE_TRY(load_cfg(s, LETHE_SCALER, dir, "activation_scaler.json", err));
    LETHE_TRY(load_cfg(s, LETHE_HYPER, dir, "hyperparams.json", err));
    if (s->cfg[LETHE_HYPER] || !lethe_path_ends_with(dir, "/checkpoints")) return LETHE_OK;
    return load_cfg(s, LETHE_HYPER, dir, "../hyperparams.json", err);
}

/* Folders as they really are, the file by the name it was given: in the Hub's cache a file is a
 * link to one with another name, far from its configuration. */
static lethe_status make_absolute(const char *path, char **dir, char **file, lethe_err *err) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *parent = lethe_strdup(path), real[PATH_MAX];
    if (!parent) return no_memory(err);
    parent[name - path] = '\0';
    bool there = realpath(*parent ? parent : ".", real) != NULL;
    lethe_free(parent);
    if (!there) return lethe_fail_errno(err, LETHE_NOTFOUND, "%s", path);
    *dir = lethe_strdup(real);
    *file = *dir ? lethe_path_join(*dir, name) : NULL;
    return *file ? LETHE_OK : no_memory(err);
}

/* ---- the source ------------------------------------------------------------------------------ */

void lethe_layout_source_close(lethe_layout_source *s) {
    lethe_bundle_close(&s->bundle);
    lethe_free(s->weights);
    for (int i = 0; i < LETHE_CFG_COUNT; i++) {
        lethe_free(s->cfg_path[i]);
        json_decref(s->cfg[i]);
    }
    *s = (lethe_layout_source){0};
}

static bool is_ours(const lethe_bundle *b) {
    const char *format = json_string_value(json_object_get(lethe_bundle_values(b), "format"));
    return format && !strncmp(format, "lethe-", 6);
}

static lethe_status open_source(lethe_layout_source *s, const char *weights, lethe_err *err) {
    LETHE_TRY(lethe_bundle_open(&s->bundle, weights, err));
    const char *prefix = find_prefix(s->bundle);
    s->prefix = prefix ? prefix : "";
    char *dir = NULL;
    lethe_status st = make_absolute(weights, &dir, &s->weights, err);
    if (!st && !is_ours(s->bundle)) st = load_cfgs(s, dir, err);
    lethe_free(dir);
    return st;
}

lethe_status lethe_layout_find(lethe_layout_source *out, const char *path, size_t k,
                               lethe_err *err) {
    char *weights = NULL;
    if (lethe_path_is_dir(path)) {
        LETHE_TRY(in_folder(path, &weights, err));
    } else {
        weights = lethe_strdup(path);
        if (!weights) return no_memory(err);
    }
    lethe_layout_source s = {.k = k};
    lethe_status st = open_source(&s, weights, err);
    lethe_free(weights);
    if (st)
        lethe_layout_source_close(&s);
    else
        *out = s;
    return st;
}

const lethe_tensor *lethe_layout_tensor(const lethe_layout_source *s, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", s->prefix, name);
    return lethe_bundle_find(s->bundle, full);
}
