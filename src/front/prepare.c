/* SPDX-License-Identifier: MIT */
#include "front/prepare.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "sae/layout.h"

/* runs/NAME: "demo" for the embedded default, else the model file's name without its ending. */
lethe_status lethe_default_out(lethe_invocation *in, lethe_err *err) {
    char out[512] = "runs/demo";
    const char *model = in->config.model;
    if (model) {
        const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model;
        size_t n = strlen(name);
        if (n > 5 && !strcmp(name + n - 5, ".gguf")) n -= 5;
        snprintf(out, sizeof out, "runs/%.*s", (int)(n > 200 ? 200 : n), name);
    }
    return lethe_config_set(&in->config, lethe_setting_find("out"), out, true, err);
}

static lethe_status from_run(lethe_invocation *in, const char *path, lethe_err *err) {
    json_t *record;
    LETHE_TRY(lethe_json_load(&record, path, err));
    json_t *config = json_object_get(record, "config");
    lethe_status st =
        config ? lethe_config_from_json(&in->config, config, NULL, path, in->set, err) : LETHE_OK;
    json_decref(record);
    return st;
}

static lethe_status from_demo(lethe_invocation *in, lethe_err *err) {
    char *dir;
    LETHE_TRY(lethe_share_dir(&dir, err));
    char *path = lethe_path_join(dir, "data/demo/config.json");
    lethe_status st = path ? lethe_config_load(&in->config, path, in->set, err)
                           : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_free(path);
    lethe_free(dir);
    return st;
}

/* A pattern or a member of an archive below the working directory. */
static lethe_status absolute_compound(char **at, lethe_err *err) {
    char *here = getcwd(NULL, 0);
    char *joined = here ? lethe_path_join(here, *at) : NULL;
    free(here);
    if (!joined) return lethe_fail_errno(err, LETHE_IO, "the working directory cannot be named");
    lethe_free(*at);
    *at = joined;
    return LETHE_OK;
}

/* A file's folder as it really is, its name as it was given: a link into a cache has its neighbours
 * (a configuration, say) where it stands, not where it points. */
static lethe_status absolute_one(char **at, lethe_err *err) {
    if (!*at || !strcmp(*at, "-")) return LETHE_OK; /* standard input */
    if (**at != '/' && lethe_corpus_is_compound(*at)) return absolute_compound(at, err);
    if (!lethe_path_exists(*at)) return LETHE_OK; /* whoever opens it says so */
    bool whole = lethe_path_is_dir(*at);
    const char *slash = strrchr(*at, '/'), *name = slash ? slash + 1 : *at;
    char *dir = lethe_strdup(*at);
    if (!dir) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    if (!whole) dir[name - *at] = '\0';
    char *real = realpath(*dir ? dir : ".", NULL);
    char *copy = !real ? NULL : whole ? lethe_strdup(real) : lethe_path_join(real, name);
    lethe_free(dir);
    free(real);
    if (!copy) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_free(*at);
    *at = copy;
    return LETHE_OK;
}

static lethe_status absolute(lethe_config *c, lethe_err *err) {
    for (size_t i = 0; i < lethe_settings_count; i++) {
        const lethe_setting *s = &lethe_settings[i];
        char *at = (char *)c + s->offset;
        if (s->kind == LETHE_KIND_PATH) LETHE_TRY(absolute_one((char **)(void *)at, err));
        if (s->kind != LETHE_KIND_PATHS) continue;
        lethe_list *l = (lethe_list *)(void *)at;
        for (size_t j = 0; j < l->n; j++) LETHE_TRY(absolute_one(&l->item[j], err));
    }
    return LETHE_OK;
}

static bool given(const lethe_invocation *in, const char *name) {
    return in->set[lethe_setting_find(name) - lethe_settings];
}

static lethe_status set(lethe_config *c, const char *name, const char *value, lethe_err *err) {
    return lethe_config_set(c, lethe_setting_find(name), value, true, err);
}

/* How a patch does it, as settings, where the command line has no others: whoever names another
 * method says its strength, too. */
static lethe_status method_from_patch(lethe_invocation *in, const lethe_patch *patch,
                                      lethe_err *err) {
    lethe_config *c = &in->config;
    const lethe_intervention *how = &patch->how;
    bool scale = how->method == LETHE_METHOD_SCALE;
    if (!given(in, "method")) LETHE_TRY(set(c, "method", lethe_method_name(how->method), err));
    if (scale && !given(in, "scale")) c->scale = how->strength;
    if (!scale && !given(in, "strength")) c->strength = how->strength;
    if (!given(in, "clamp-unit"))
        LETHE_TRY(set(c, "clamp-unit", lethe_clamp_unit_name(how->unit), err));
    if (!given(in, "direction-gated")) c->direction_gated = how->gated;
    if (!given(in, "special-too")) c->special_too = patch->special;
    if (how->guard && !given(in, "guard-by") && !given(in, "guard-window"))
        LETHE_TRY(set(c, "guard-by", lethe_guard_by_name(how->guard_by), err));
    if (how->guard && how->guard_by == LETHE_GUARD_SHARE && !given(in, "guard-window"))
        c->guard_window = (int64_t)how->guard_window;
    if (given(in, "guard")) return LETHE_OK;
    char threshold[40];
    snprintf(threshold, sizeof threshold, how->guard ? "%.17g" : "off", how->guard_threshold);
    return set(c, "guard", threshold, err);
}

/* Settings that say how a removal is done; several patches each bring their own. */
static const char *const how_settings[] = {"layer",    "hook",         "scale",           "method",
                                           "strength", "clamp-unit",   "direction-gated", "guard",
                                           "guard-by", "guard-window", "special-too"};

/* The patch's own settings, where the command line has no others. */
static lethe_status from_patch(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    if (c->sae || c->features)
        return lethe_fail(err, LETHE_USAGE,
                          "--patch brings its own features: leave out --sae and --features");
    for (size_t i = 0; c->patch.n > 1 && i < sizeof how_settings / sizeof *how_settings; i++)
        if (given(in, how_settings[i]))
            return lethe_fail(err, LETHE_USAGE,
                              "with several patches each is done as it says itself: leave out "
                              "--%s, or write the patch again with it",
                              how_settings[i]);
    lethe_patch patch;
    LETHE_TRY(lethe_patch_load(&patch, c->patch.item[0], err));
    lethe_status st = method_from_patch(in, &patch, err);
    if (!given(in, "layer")) c->layer = patch.layer;
    if (!st && !given(in, "hook")) st = set(c, "hook", lethe_hook_name((int)patch.hook), err);
    lethe_patch_free(&patch);
    return st;
}

/* A k that a run keeps of its own training says nothing of a file that knows better; own: that of
 * the command line or its configuration file, 0: none. */
static lethe_status k_of_sae(lethe_config *c, int64_t own, lethe_err *err) {
    if (!c->sae || c->k == own || !lethe_path_exists(c->sae)) return LETHE_OK;
    lethe_sae_about about;
    LETHE_TRY(lethe_sae_describe(&about, NULL, c->sae, 0, err));
    if (about.arch != LETHE_ARCH_TOPK || about.k) c->k = own;
    lethe_sae_about_free(&about);
    return LETHE_OK;
}

/* An SAE that says where it belongs says it for a command line, and a run, that do not. */
static lethe_status from_sae(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    if (!c->sae || c->layer >= 0 || given(in, "layer") || !lethe_path_exists(c->sae))
        return LETHE_OK;
    lethe_sae_about about;
    lethe_sae_meta meta;
    LETHE_TRY(lethe_sae_describe(&about, &meta, c->sae, c->k > 0 ? (size_t)c->k : 0, err));
    lethe_sae_about_free(&about);
    if (meta.layer < 0) return LETHE_OK;
    c->layer = meta.layer;
    if (meta.hook < 0 || given(in, "hook")) return LETHE_OK;
    return set(c, "hook", lethe_hook_name(meta.hook), err);
}

/* A number means one thing as a share and another as evidence: it never gets its meaning from the
 * settings of before alone where those have evidence. */
static lethe_status check_guard(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    bool by = given(in, "guard-by"), window = given(in, "guard-window"), x = given(in, "guard");
    char *end;
    strtod(c->guard, &end);
    bool number = end != c->guard && !*end;
    if (window && !strcmp(c->guard, "off"))
        return lethe_fail(err, LETHE_USAGE, "--guard-window is for --guard auto or a share");
    if (by && !strcmp(c->guard, "off"))
        return lethe_fail(err, LETHE_USAGE, "--guard-by is for --guard auto or a number");
    const char *share = lethe_guard_by_name(LETHE_GUARD_SHARE);
    bool by_share = !strcmp(c->guard_by, share);
    if (window && by && !by_share)
        return lethe_fail(err, LETHE_USAGE, "--guard-window is for --guard-by share");
    if (window && !by) LETHE_TRY(set(c, "guard-by", share, err));
    if (number && !x && (by || (window && !by_share)))
        return lethe_fail(err, LETHE_USAGE,
                          "--guard-by %s wants a number of its own, or auto: add --guard",
                          c->guard_by);
    if (number && x && !by && !window && !by_share)
        return lethe_fail(err, LETHE_USAGE,
                          "--guard %s: a share of positions or nats of evidence? add --guard-by "
                          "share, or --guard-by evidence as the settings have it",
                          c->guard);
    return LETHE_OK;
}

/* --scale alone means method scale, whatever an earlier run has done; any other option that the
 * method does not look at is a mistake. */
static lethe_status check_method(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    if (given(in, "scale") && !given(in, "method")) LETHE_TRY(set(c, "method", "scale", err));
    bool scale = !strcmp(c->method, "scale");
    if (scale && given(in, "strength"))
        return lethe_fail(err, LETHE_USAGE,
                          "--strength is for --method clamp or direction; for scale pass --scale");
    if (!scale && given(in, "scale"))
        return lethe_fail(err, LETHE_USAGE, "--scale is for --method scale; for %s pass --strength",
                          c->method);
    if (given(in, "clamp-unit") && strcmp(c->method, "clamp") != 0)
        return lethe_fail(err, LETHE_USAGE, "--clamp-unit is for --method clamp");
    if (given(in, "direction-gated") && strcmp(c->method, "direction") != 0)
        return lethe_fail(err, LETHE_USAGE, "--direction-gated is for --method direction");
    return check_guard(in, err);
}

/* run: the settings of the run's own run.json count, where it has one. */
static lethe_status complete(lethe_invocation *in, bool run, lethe_err *err) {
    lethe_config *c = &in->config;
    const int64_t k = c->k;
    if (!c->out) LETHE_TRY(lethe_default_out(in, err));
    char *path = lethe_path_join(c->out, "run.json");
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = run && lethe_path_exists(path) ? from_run(in, path, err) : LETHE_OK;
    lethe_free(path);
    LETHE_TRY(st);
    if (!c->model) {
        LETHE_TRY(from_demo(in, err));
        if (c->config) LETHE_TRY(lethe_config_load(c, c->config, in->set, err)); /* wins */
    }
    if (c->patch.n) LETHE_TRY(from_patch(in, err));
    LETHE_TRY(k_of_sae(c, k, err));
    LETHE_TRY(from_sae(in, err));
    LETHE_TRY(check_method(in, err));
    LETHE_TRY(lethe_config_check_stdin(c, err));
    return absolute(c, err);
}

static lethe_status from_file(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    return c->config ? lethe_config_load(c, c->config, in->set, err) : LETHE_OK;
}

lethe_status lethe_prepare_run(lethe_invocation *in, lethe_err *err) {
    LETHE_TRY(from_file(in, err));
    return complete(in, !in->config.config, err);
}

lethe_status lethe_prepare_pipeline(lethe_invocation *in, lethe_pipeline *p, lethe_err *err) {
    LETHE_TRY(lethe_prepare_run(in, err));
    return lethe_pipeline_open(p, &in->config, LETHE_VERSION, in->env, err);
}

/* ---- use ------------------------------------------------------------------------------------- */

static lethe_status shipped_patch(lethe_config *c, lethe_err *err) {
    char *dir;
    LETHE_TRY(lethe_share_dir(&dir, err));
    char *path = lethe_path_join(dir, "data/demo/patch.safetensors");
    lethe_status st = path ? set(c, "patch", path, err)
                           : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_free(path);
    lethe_free(dir);
    return st;
}

/* Without a patch, an SAE or a run there is nothing to remove; says so before the model is read. */
static lethe_status check_removal(const lethe_config *c, lethe_err *err) {
    if (c->patch.n || c->sae) return LETHE_OK;
    char *path = lethe_path_join(c->out, "sae.safetensors");
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    bool there = lethe_path_exists(path);
    lethe_free(path);
    if (there) return LETHE_OK;
    return lethe_fail(
        err, LETHE_NOTFOUND,
        "%s: no removal there (pass --patch FILE, --sae FILE with --features FILE, or "
        "--out with the directory of a run; lethe forget makes one)",
        c->out);
}

static lethe_status settle(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    LETHE_TRY(from_file(in, err));
    if (!c->model && !c->out && !c->sae && !c->features && !c->patch.n)
        LETHE_TRY(shipped_patch(c, err));
    LETHE_TRY(complete(in, !c->config && (in->config.out || !c->patch.n), err));
    /* That of a run is the length of its windows. */
    if (!given(in, "ctx-len")) c->ctx_len = 0;
    return check_removal(c, err);
}

lethe_status lethe_use_open(lethe_use *u, lethe_invocation *in, size_t n_seq, lethe_err *err) {
    *u = (lethe_use){0};
    LETHE_TRY(settle(in, err));
    lethe_pipeline *p = &u->pipeline;
    LETHE_TRY(lethe_pipeline_open_model(p, &in->config, n_seq, in->env, err));
    lethe_status st = lethe_pipeline_removal(p, &u->removal, err);
    if (!st)
        st = lethe_ablation_attach(u->removal.ablation, p->lm, (int)in->config.layer, p->hook,
                                   in->config.special_too, err);
    if (st) lethe_use_close(u);
    return st;
}

void lethe_use_close(lethe_use *u) {
    if (u->pipeline.lm) lethe_lm_clear_hooks(u->pipeline.lm);
    lethe_removal_close(&u->removal);
    lethe_pipeline_close(&u->pipeline);
}

lethe_status lethe_print_json(json_t *object, lethe_err *err) {
    int bad =
        !object || json_dumpf(object, stdout, JSON_INDENT(1) | JSON_SORT_KEYS) || putchar('\n') < 0;
    json_decref(object);
    return bad ? lethe_fail(err, LETHE_IO, "writing the result failed") : LETHE_OK;
}

json_t *lethe_train_figures(const lethe_train_result *r) {
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:I}", "steps",
                     (json_int_t)r->steps, "skipped_steps", (json_int_t)r->skipped, "tokens",
                     (json_int_t)r->tokens, "loss", lethe_json_real(r->recon_loss), "fvu",
                     lethe_json_real(r->fvu), "l0", lethe_json_real(r->l0), "dead",
                     (json_int_t)r->dead, "latents", (json_int_t)r->m, "dead_share",
                     lethe_json_real(r->m ? (double)r->dead / (double)r->m : 0), "seconds",
                     lethe_json_real(r->seconds), "second_looks", lethe_json_real(r->second_looks),
                     "exact_per_token", lethe_json_real(r->exact_per_token), "full_tokens",
                     (json_int_t)r->full);
}

void lethe_print_looks(const lethe_train_result *r) {
    if (r->exact_per_token > 0)
        printf("encoder: %.1f of %zu latents a token in float32, %.1f %% looked at twice, %llu "
               "tokens in full\n",
               r->exact_per_token, r->m, 100 * r->second_looks, (unsigned long long)r->full);
}

void lethe_print_training(const lethe_pipeline *p, const lethe_train_result *r,
                          const lethe_stage_info *info) {
    lethe_strbuf table = {0};
    lethe_corpus_table(info->size, (size_t)p->config->ctx_len, &table);
    printf(
        "%s%sSAE of layer %lld (%s): FVU %.4f, L0 %.1f, %zu dead latents, %llu steps, %.1f s%s\n",
        lethe_strbuf_str(&table), table.len ? "\n" : "", (long long)p->config->layer,
        p->config->hook, r->fvu, r->l0, r->dead, (unsigned long long)r->steps, r->seconds,
        info->reused ? " (done before)" : "");
    lethe_print_looks(r);
    if (r->skipped)
        printf("%llu steps were skipped, their loss was not finite\n",
               (unsigned long long)r->skipped);
    lethe_strbuf_free(&table);
}
