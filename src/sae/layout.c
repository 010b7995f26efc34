/* SPDX-License-Identifier: MIT
 *
 * The table of projects, and what is done alike for all of them.
 */
#include "sae/layout.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "sae/layout_parts.h"

/* In this order: the first that knows its own. */
static const lethe_layout *const layouts[] = {
    &lethe_layout_lethe,         &lethe_layout_openai,      &lethe_layout_sparsify,
    &lethe_layout_llama_scope,   &lethe_layout_saelens,     &lethe_layout_dictionary_learning,
    &lethe_layout_gemma_scope_2, &lethe_layout_gemma_scope, &lethe_layout_reference,
    &lethe_layout_linear,        &lethe_layout_bare,
};

static lethe_status unknown(const lethe_layout_source *s, lethe_err *err) {
    lethe_strbuf names = {0};
    size_t n = lethe_bundle_count(s->bundle);
    for (size_t i = 0; i < n && i < 12; i++)
        lethe_strbuf_addf(&names, "%s%.60s", i ? ", " : "", lethe_bundle_at(s->bundle, i)->name);
    lethe_fail(err, LETHE_FORMAT,
               "%s: not an SAE in a layout that is known: its tensors are %s%s (want W_enc, b_enc, "
               "W_dec, b_dec, or what docs/formats.md lists)",
               s->weights, n ? lethe_strbuf_str(&names) : "none", n > 12 ? ", ..." : "");
    lethe_strbuf_free(&names);
    return LETHE_FORMAT;
}

/* Tensors of things that resemble an SAE, in no project's SAEs. */
static lethe_status refuse_others(const lethe_layout_source *s, lethe_err *err) {
    static const struct {
        const char *tensor, *what;
    } others[] = {
        {"W_skip", "is a transcoder with a skip connection (tensor W_skip)"},
        {"affine_skip_connection",
         "is a transcoder with a skip connection (tensor affine_skip_connection)"},
        {"b_dec_out", "is a transcoder (tensor b_dec_out)"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (lethe_layout_tensor(s, others[i].tensor))
            return lethe_layout_refuse(s, others[i].what, err);
    return LETHE_OK;
}

/* What Lethe writes into the metadata of any layout. */
static lethe_status read_ours(const lethe_layout_source *s, lethe_plan *p) {
    const json_t *v = lethe_bundle_values(s->bundle);
    const char *hash = json_string_value(json_object_get(v, "model_hash"));
    if (hash && strlen(hash) < sizeof p->meta.model_hash)
        memcpy(p->meta.model_hash, hash, strlen(hash) + 1);
    return LETHE_OK;
}

lethe_status lethe_layout_plan(lethe_layout_source *s, lethe_plan *out, lethe_err *err) {
    lethe_plan p = {.config = LETHE_CFG_COUNT,
                    .enc_mul = 1,
                    .dec_mul = 1,
                    .b_dec_mul = 1,
                    .meta = {.layer = -1, .hook = -1}};
    const char *format =
        json_string_value(json_object_get(lethe_bundle_values(s->bundle), "format"));
    if (format && !strncmp(format, "lethe-patch-", 12))
        return lethe_fail(err, LETHE_FORMAT, "%s: a patch, not an SAE (pass it as --patch)",
                          s->weights);
    LETHE_TRY(refuse_others(s, err));
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        if (!layouts[i]->is(s)) continue;
        p.layout = layouts[i]->name;
        LETHE_TRY(layouts[i]->plan(s, &p, err));
        LETHE_TRY(read_ours(s, &p));
        if (p.arch != LETHE_ARCH_TOPK && s->k)
            return lethe_fail(
                err, LETHE_USAGE,
                "%s: a %s SAE has no k, got %zu (leave out --k, or pass --k 0 where a "
                "run keeps one)",
                s->weights, lethe_arch_name(p.arch), s->k);
        *out = p;
        return LETHE_OK;
    }
    return unknown(s, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

lethe_status lethe_sae_load(lethe_sae *out, lethe_sae_meta *meta, const char *path,
                            size_t k_override, lethe_err *err) {
    lethe_layout_source s = {0};
    lethe_plan p;
    LETHE_TRY(lethe_layout_find(&s, path, k_override, err));
    lethe_status st = lethe_layout_plan(&s, &p, err);
    if (!st && p.arch == LETHE_ARCH_TOPK && !p.k)
        st = lethe_fail(err, LETHE_FORMAT,
                        "%s: does not say how many latents are active a token (give it: --k N)",
                        s.weights);
    if (!st) st = lethe_layout_read(&s, &p, out, err);
    if (!st && meta) *meta = p.meta;
    lethe_layout_source_close(&s);
    return st;
}

/* ---- describing ------------------------------------------------------------------------------ */

void lethe_sae_about_free(lethe_sae_about *a) {
    lethe_free(a->weights);
    lethe_free(a->config);
    *a = (lethe_sae_about){0};
}

static lethe_status fill_about(const lethe_layout_source *s, const lethe_plan *p,
                               lethe_sae_about *a, lethe_err *err) {
    *a = (lethe_sae_about){
        .layout = p->layout,
        .container = lethe_bundle_container(s->bundle),
        .dtype = p->W_dec->dtype,
        .d = p->d,
        .m = p->m,
        .k = p->k,
        .arch = p->arch,
        .norm = p->norm,
        .raw_input = p->raw_input,
    };
    snprintf(a->producer, sizeof a->producer, "%s", p->producer);
    snprintf(a->hook_name, sizeof a->hook_name, "%s", p->hook_name);
    snprintf(a->folded, sizeof a->folded, "%s", p->folded);
    a->weights = lethe_strdup(s->weights);
    bool config = p->config < LETHE_CFG_COUNT && s->cfg_path[p->config];
    if (config) a->config = lethe_strdup(s->cfg_path[p->config]);
    if (a->weights && (!config || a->config)) return LETHE_OK;
    lethe_sae_about_free(a);
    return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

lethe_status lethe_sae_describe(lethe_sae_about *out, lethe_sae_meta *meta, const char *path,
                                size_t k, lethe_err *err) {
    lethe_layout_source s = {0};
    lethe_plan p;
    LETHE_TRY(lethe_layout_find(&s, path, k, err));
    lethe_status st = lethe_layout_plan(&s, &p, err);
    if (!st) st = fill_about(&s, &p, out, err);
    if (!st && meta) *meta = p.meta;
    lethe_layout_source_close(&s);
    return st;
}

lethe_status lethe_sae_hash(const char *path, size_t k, char out[LETHE_HASH_HEX], lethe_err *err) {
    lethe_sae_about a = {0};
    char part[2][LETHE_HASH_HEX];
    LETHE_TRY(lethe_sae_describe(&a, NULL, path, k, err));
    lethe_status st = lethe_hash_file(a.weights, part[0], err);
    if (!st && a.config) st = lethe_hash_file(a.config, part[1], err);
    if (!st) {
        if (a.config)
            lethe_hash_bytes(part, sizeof part, out);
        else
            memcpy(out, part[0], LETHE_HASH_HEX);
    }
    lethe_sae_about_free(&a);
    return st;
}

void lethe_sae_formula(const lethe_sae_about *a, char *out, size_t size) {
    static const char *const norms[LETHE_NORM_COUNT] = {"", "u = x sqrt(d) / |x|, ",
                                                        "u = (x - mean) / (std + 1e-5), "};
    const char *u = a->norm == LETHE_NORM_NONE ? "x" : "u";
    char pre[96], k[32];
    snprintf(pre, sizeof pre, a->raw_input ? "W_enc %s" : "W_enc (%s - b_dec)", u);
    snprintf(k, sizeof k, a->k ? "%zu" : "k", a->k);
    switch (a->arch) {
    case LETHE_ARCH_TOPK:
        snprintf(out, size, "%sz = ReLU(TopK(%s + b_enc, %s))", norms[a->norm], pre, k);
        break;
    case LETHE_ARCH_RELU: snprintf(out, size, "%sz = ReLU(%s + b_enc)", norms[a->norm], pre); break;
    case LETHE_ARCH_JUMPRELU:
        snprintf(out, size, "%sa = %s + b_enc, z = ReLU(a) [a > threshold]", norms[a->norm], pre);
        break;
    default:
        snprintf(out, size, "%sv = %s, z = [v + b_gate > 0] ReLU(exp(r_mag) v + b_mag)",
                 norms[a->norm], pre);
    }
}
