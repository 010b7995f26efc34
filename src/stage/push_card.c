/* SPDX-License-Identifier: MIT
 *
 * The card is Markdown behind a YAML head, as the Hub wants it. Strings out of files (the model's
 * name above all) are written so that they are neither markup nor YAML of their own.
 */
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "format/safetensors.h"
#include "stage/push.h"
#include "stage/report.h"

void lethe_bundle_base_model(const char *path, char *out, size_t size) {
    static const char mark[] = "models--";
    const char *at = strstr(path, mark);
    out[0] = '\0';
    if (!at || (at != path && at[-1] != '/')) return;
    at += sizeof mark - 1;
    size_t n = strcspn(at, "/");
    if (n + 1 >= size || strncmp(at + n, "/snapshots/", 11) != 0) return;
    lethe_hub_repo repo;
    char *what;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        bool part = !strncmp(at + i, "--", 2) && i + 2 < n && !memchr(out, '/', k);
        out[k++] = part ? '/' : at[i];
        i += part;
    }
    out[k] = '\0';
    bool fine = !lethe_hub_parse(out, NULL, &repo, &what, NULL);
    if (fine) lethe_free(what);
    if (!fine || strcmp(repo.name, out) != 0) out[0] = '\0';
}

/* In backquotes: letters that would end them or the line are left out. */
static void code(lethe_strbuf *b, const char *s) {
    lethe_strbuf_adds(b, "`");
    for (; *s; s++)
        if ((unsigned char)*s >= 32 && *s != 127 && *s != '`') lethe_strbuf_add(b, s, 1);
    lethe_strbuf_adds(b, "`");
}

static lethe_status load(const char *dir, const char *name, json_t **out, lethe_err *err) {
    char *path = lethe_path_join(dir, name);
    *out = NULL;
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = lethe_path_exists(path) ? lethe_json_load(out, path, err) : LETHE_OK;
    lethe_free(path);
    return st;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void yaml(lethe_strbuf *b, const char *base, bool sae, bool features) {
    lethe_strbuf_adds(b, "---\nlibrary_name: lethe\ntags:\n- lethe\n- interpretability\n");
    if (sae) lethe_strbuf_adds(b, "- sparse-autoencoder\n- sae\n");
    if (features) lethe_strbuf_adds(b, "- unlearning\n");
    if (base[0]) lethe_strbuf_addf(b, "base_model: %s\n", base);
    lethe_strbuf_adds(b, "---\n\n");
}

/* What a safetensors file of ours says of itself. */
static lethe_status describe(const char *dir, const char *name, bool *there, lethe_strbuf *b,
                             lethe_err *err) {
    static const struct {
        const char *key, *title;
    } rows[] = {
        {"model_name", "model"},  {"layer", "layer"},          {"hook", "residual stream"},
        {"architecture", "kind"}, {"k", "active latents k"},   {"latents", "latents of the SAE"},
        {"method", "method"},     {"scale", "scale"},          {"strength", "strength"},
        {"guard", "guard"},       {"guard_by", "guard by"},    {"recipe", "recipe"},
        {"seed", "seed"},         {"steps", "training steps"}, {"tokens", "tokens trained on"},
    };
    char *path = lethe_path_join(dir, name), text[200];
    lethe_st *st_;
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    *there = lethe_path_exists(path);
    lethe_status st = *there ? lethe_st_open(&st_, path, err) : LETHE_OK;
    lethe_free(path);
    if (st || !*there) return st;
    lethe_strbuf_addf(b, "| `%s` | |\n| --- | --- |\n", name);
    const lethe_tensor *w = lethe_st_find(st_, "W_dec");
    if (w && w->ndim == 2)
        lethe_strbuf_addf(b, "| rows of `W_dec`, width | %zu, %zu |\n", w->shape[0], w->shape[1]);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lethe_st_meta_text(st_, rows[i].key, text, sizeof text);
        if (!text[0]) continue;
        for (char *p = text; *p; p++)
            if (*p == '|') *p = '/'; /* would end the cell */
        lethe_strbuf_addf(b, "| %s | ", rows[i].title);
        code(b, text);
        lethe_strbuf_adds(b, " |\n");
    }
    lethe_strbuf_adds(b, "\n");
    lethe_st_close(&st_);
    return LETHE_OK;
}

static void training(const json_t *run, lethe_strbuf *b) {
    const json_t *f =
        json_object_get(json_object_get(json_object_get(run, "stages"), "train"), "figures");
    const json_t *fvu = json_object_get(f, "fvu"), *l0 = json_object_get(f, "l0"),
                 *dead = json_object_get(f, "dead");
    if (!json_is_number(fvu) || !json_is_number(l0) || !json_is_number(dead)) return;
    lethe_strbuf_addf(b,
                      "At the end of training: fraction of variance unexplained %.4f, %.1f active "
                      "latents a token, %.0f dead latents.\n\n",
                      json_number_value(fvu), json_number_value(l0), json_number_value(dead));
}

static lethe_status figures(const char *dir, const char *version, lethe_strbuf *b, lethe_err *err) {
    lethe_report *r;
    char *path = lethe_path_join(dir, "eval.json");
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    bool there = lethe_path_exists(path);
    lethe_free(path);
    lethe_strbuf_adds(b, "## What was measured\n\n");
    if (!there) {
        lethe_strbuf_adds(b, "Nothing: this removal, or this SAE, was not evaluated.\n\n");
        return LETHE_OK;
    }
    LETHE_TRY(lethe_report_open(&r, dir, version, err));
    lethe_strbuf text = {0};
    lethe_report_summary(r, &text);
    lethe_report_close(&r);
    lethe_strbuf_adds(b, "Before and after, by `lethe eval`:\n\n");
    const char *s = lethe_strbuf_str(&text);
    while (*s) { /* as an indented block, which nothing in it can end */
        size_t n = strcspn(s, "\n");
        lethe_strbuf_adds(b, "    ");
        lethe_strbuf_add(b, s, n);
        lethe_strbuf_adds(b, "\n");
        s += n + (s[n] == '\n');
    }
    lethe_strbuf_adds(b, "\n");
    if (text.status) b->status = text.status;
    lethe_strbuf_free(&text);
    return LETHE_OK;
}

static void usage(lethe_strbuf *b, const char *repo, bool features, bool patch) {
    lethe_strbuf_adds(b, "## Use\n\nWith Lethe, on the model that it was made for:\n\n");
    lethe_strbuf_addf(b, "    dir=$(lethe pull %s --all)\n", repo);
    if (patch)
        lethe_strbuf_adds(b, "    lethe chat --model MODEL.gguf --patch $dir/patch.safetensors\n");
    else if (features)
        lethe_strbuf_adds(b,
                          "    lethe chat --model MODEL.gguf --sae $dir/sae.safetensors --features "
                          "$dir/features.json\n");
    else
        lethe_strbuf_adds(b, "    lethe encode --sae $dir/sae.safetensors --activations "
                             "ACTS.safetensors --out z.safetensors\n");
    lethe_strbuf_adds(b, "\n");
}

static const char limits[] =
    "## What it is not\n\n"
    "No weight of the model is changed. A removal suppresses what the model says while it runs; "
    "it is no proof that the\nknowledge is gone, and asking in other ways may bring some of it "
    "back: see the figures under attack, where there\nare any. It works on the model, layer and "
    "residual stream named above, and says nothing about another model or\nanother "
    "quantisation of it. The figures are those of the texts and questions of one run.\n\n"
    "No licence is given here: that of the model and of the texts may bind what is made from "
    "them. Whoever published\nthis should say which one holds.\n\n";

lethe_status lethe_bundle_card(const char *dir, const char *repo, const char *version,
                               lethe_strbuf *out, lethe_err *err) {
    json_t *run = NULL, *features = NULL;
    bool sae = false, patch = false;
    char base[200] = "";
    lethe_strbuf tables = {0};
    lethe_status st = load(dir, "run.json", &run, err);
    if (!st) st = load(dir, "features.json", &features, err);
    if (!st) st = describe(dir, "sae.safetensors", &sae, &tables, err);
    if (!st) st = describe(dir, "patch.safetensors", &patch, &tables, err);
    if (!st) {
        const char *model =
            json_string_value(json_object_get(json_object_get(run, "config"), "model"));
        if (model) lethe_bundle_base_model(model, base, sizeof base);
        yaml(out, base, sae, features || patch);
        lethe_strbuf_addf(out, "# %s\n\n", repo);
        lethe_strbuf_adds(out, sae ? "A sparse autoencoder of a language model's residual stream"
                                   : "A removal for a language model");
        if (sae && (features || patch))
            lethe_strbuf_adds(out, ", and the features in it that a removal acts on");
        lethe_strbuf_addf(out,
                          ", made with Lethe %s. This card was written by `lethe push` from the "
                          "run's own files.\n\n",
                          version);
        lethe_strbuf_adds(out, lethe_strbuf_str(&tables));
        training(run, out);
        size_t n = json_array_size(json_object_get(features, "features"));
        if (n)
            lethe_strbuf_addf(out, "`features.json` has %zu features with their statistics.\n\n",
                              n);
        st = figures(dir, version, out, err);
        usage(out, repo, features != NULL, patch);
        lethe_strbuf_adds(out, limits);
    }
    if (!st && (out->status || tables.status))
        st = lethe_fail(err, LETHE_NOMEM, "out of memory: the card");
    lethe_strbuf_free(&tables);
    json_decref(run);
    json_decref(features);
    return st;
}
