/* SPDX-License-Identifier: MIT
 *
 * What the layouts share: values of configurations, tensors by name and shape, the names of sites.
 */
#include <stdlib.h>
#include <string.h>

#include "sae/layout_parts.h"

/* ---- values ---------------------------------------------------------------------------------- */

lethe_json_ref lethe_layout_cfg(const lethe_layout_source *s, lethe_cfg_file f) {
    return lethe_json_top(s->cfg[f], s->cfg_path[f]);
}

lethe_json_ref lethe_layout_values(const lethe_layout_source *s) {
    /* References are to what is only read. */
    return lethe_json_top((json_t *)(uintptr_t)lethe_bundle_values(s->bundle), s->weights);
}

static bool is_there(const lethe_json_ref *r, bool *there) {
    bool is = r->value && !json_is_null(r->value);
    if (there) *there = is;
    return is;
}

lethe_status lethe_cfg_int(const lethe_json_ref *in, const char *key, int64_t lo, int64_t hi,
                           int64_t *out, bool *there, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(in, key);
    return is_there(&r, there) ? lethe_json_want_int(&r, lo, hi, out, err) : LETHE_OK;
}

lethe_status lethe_cfg_real(const lethe_json_ref *in, const char *key, double lo, double hi,
                            double *out, bool *there, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(in, key);
    return is_there(&r, there) ? lethe_json_want_real(&r, lo, hi, out, err) : LETHE_OK;
}

lethe_status lethe_cfg_bool(const lethe_json_ref *in, const char *key, bool *out, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(in, key);
    return is_there(&r, NULL) ? lethe_json_want_bool(&r, out, err) : LETHE_OK;
}

lethe_status lethe_cfg_text(const lethe_json_ref *in, const char *key, const char **out,
                            lethe_err *err) {
    lethe_json_ref r = lethe_json_key(in, key);
    return is_there(&r, NULL) ? lethe_json_want_string(&r, out, err) : LETHE_OK;
}

lethe_status lethe_cfg_same(const lethe_json_ref *in, const char *key, size_t want, const char *of,
                            lethe_err *err) {
    lethe_json_ref r = lethe_json_key(in, key);
    if (!is_there(&r, NULL)) return LETHE_OK;
    int64_t got;
    LETHE_TRY(lethe_json_want_int(&r, 0, INT64_MAX, &got, err));
    if ((uint64_t)got == want) return LETHE_OK;
    return lethe_json_fail(&r, err, "%zu, which is %s in the weights", want, of);
}

lethe_status lethe_plan_k(const lethe_layout_source *s, lethe_plan *p, int64_t told,
                          lethe_err *err) {
    p->k = s->k ? s->k : (size_t)told;
    if (p->k <= p->m) return LETHE_OK;
    return lethe_fail(err, s->k ? LETHE_USAGE : LETHE_FORMAT,
                      "%s: k is %zu, want 1 to %zu (the number of latents)", s->weights, p->k,
                      p->m);
}

void lethe_plan_model(lethe_plan *p, const char *name) {
    snprintf(p->meta.model_name, sizeof p->meta.model_name, "%s", name ? name : "");
}

void lethe_plan_folded(lethe_plan *p, const char *what) {
    size_t n = strlen(p->folded);
    snprintf(p->folded + n, sizeof p->folded - n, "%s%s", n ? "; " : "", what);
}

lethe_status lethe_layout_refuse(const lethe_layout_source *s, const char *what, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT, "%s: %s; Lethe takes SAEs of the residual stream",
                      s->weights, what);
}

/* ---- tensors --------------------------------------------------------------------------------- */

static lethe_status want_tensor(const lethe_layout_source *s, const char *name, size_t ndim,
                                const size_t *shape, const lethe_tensor **out, lethe_err *err) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", s->prefix, name);
    LETHE_TRY(lethe_bundle_want(s->bundle, full, ndim, shape, out, err));
    lethe_dtype t = (*out)->dtype;
    if (t == LETHE_F32 || t == LETHE_F16 || t == LETHE_BF16 || t == LETHE_F64) return LETHE_OK;
    return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": got dtype %s, want floating point",
                      s->weights, full, lethe_dtype_name(t));
}

lethe_status lethe_layout_vector(const lethe_layout_source *s, const char *name, size_t n,
                                 const lethe_tensor **out, lethe_err *err) {
    return want_tensor(s, name, 1, &n, out, err);
}

lethe_status lethe_plan_matrices(const lethe_layout_source *s, lethe_plan *p, const lethe_names *n,
                                 lethe_err *err) {
    LETHE_TRY(want_tensor(s, n->W_dec, 2, (const size_t[]){0, 0}, &p->W_dec, err));
    p->m = p->W_dec->shape[n->dec_turned];
    p->d = p->W_dec->shape[!n->dec_turned];
    if (!p->m || !p->d || p->m > INT32_MAX || p->d > INT32_MAX)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\" %s", s->weights, p->W_dec->name,
                          p->m && p->d ? "is too large" : "is empty");
    const size_t straight[2] = {p->m, p->d}, turned[2] = {p->d, p->m};
    LETHE_TRY(want_tensor(s, n->W_enc, 2, n->enc_turned ? turned : straight, &p->W_enc, err));
    p->enc_turned = n->enc_turned;
    p->dec_turned = n->dec_turned;
    if (n->b_enc) LETHE_TRY(lethe_layout_vector(s, n->b_enc, p->m, &p->b_enc, err));
    if (n->b_dec) LETHE_TRY(lethe_layout_vector(s, n->b_dec, p->d, &p->b_dec, err));
    return LETHE_OK;
}

/* ---- sites ----------------------------------------------------------------------------------- */

/* "blocks.8.hook_resid_pre" -> 8 and "hook_resid_pre"; false: no layer in it. '_' and '.' both
 * stand between the word and its number ("layers_8", "layer_20"). */
static bool split_site(const char *name, int *layer, const char **rest) {
    static const char *const words[] = {"layers", "layer", "blocks", "block", "h"};
    for (const char *p = name; *p; p++) {
        if (p > name && p[-1] != '.' && p[-1] != '_') continue;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            size_t n = strlen(words[i]);
            if (strncmp(p, words[i], n) != 0 || (p[n] != '.' && p[n] != '_')) continue;
            char *end;
            if (p[n + 1] < '0' || p[n + 1] > '9') continue;
            long v = strtol(p + n + 1, &end, 10);
            if ((*end && *end != '.') || v > 100000) continue;
            *layer = (int)v;
            *rest = *end ? end + 1 : end;
            return true;
        }
    }
    return false;
}

/* 0 pre, 1 post, -1 another site. */
static int hook_of(const char *rest) {
    static const struct {
        const char *name;
        int hook;
    } hooks[] = {{"", 1},      {"hook_resid_post", 1}, {"output", 1},   {"resid_post", 1},
                 {"input", 0}, {"hook_resid_pre", 0},  {"resid_pre", 0}};
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++)
        if (!strcmp(rest, hooks[i].name)) return hooks[i].hook;
    return -1;
}

static bool is_embedding(const char *name) {
    static const char *const names[] = {"hook_embed",      "embed_tokens", "model.embed_tokens",
                                        "transformer.wte", "wte",          "gpt_neox.embed_in"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

lethe_status lethe_plan_site(const lethe_layout_source *s, lethe_plan *p, const char *name,
                             lethe_err *err) {
    int layer, hook;
    const char *rest;
    snprintf(p->hook_name, sizeof p->hook_name, "%s", name);
    if (is_embedding(name)) {
        layer = hook = 0;
    } else if (split_site(name, &layer, &rest)) {
        hook = hook_of(rest);
    } else {
        return LETHE_OK;
    }
    if (hook < 0) {
        char what[200];
        snprintf(what, sizeof what, "is an SAE of %.100s", name);
        return lethe_layout_refuse(s, what, err);
    }
    if (p->meta.layer >= 0 && p->meta.layer != layer)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: its site is \"%.100s\", but its layer is given as %d", s->weights,
                          name, p->meta.layer);
    p->meta.layer = layer;
    p->meta.hook = hook;
    return LETHE_OK;
}
