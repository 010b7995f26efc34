/* SPDX-License-Identifier: MIT
 *
 * Gemma Scope 1: params.npz with W_enc [d, m], W_dec [m, d], b_enc, b_dec, threshold, in some files
 * in lower case; what it belongs to is told by its folders alone
 * (gemma-scope-2b-pt-res/layer_20/..). Gemma Scope 2: params.safetensors in lower case beside a
 * config.json. Both are jumprelu with nothing done to the input.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/layout_parts.h"

static bool lower(const lethe_layout_source *s) {
    return lethe_layout_tensor(s, "w_enc") && lethe_layout_tensor(s, "w_dec");
}

static lethe_status jumprelu(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    static const lethe_names names[2] = {{"W_enc", "b_enc", "W_dec", "b_dec", true, false},
                                         {"w_enc", "b_enc", "w_dec", "b_dec", true, false}};
    LETHE_TRY(lethe_plan_matrices(s, p, &names[lower(s)], err));
    p->arch = LETHE_ARCH_JUMPRELU;
    p->raw_input = true;
    return lethe_layout_vector(s, "threshold", p->m, &p->threshold, err);
}

/* ---- 1 --------------------------------------------------------------------------------------- */

static bool is_1(const lethe_layout_source *s) {
    return lethe_bundle_container(s->bundle) == LETHE_NPZ &&
           (lower(s) || (lethe_layout_tensor(s, "W_enc") && lethe_layout_tensor(s, "W_dec")));
}

/* "gemma-scope-9b-it-res" is of gemma-2-9b-it. */
static lethe_status repository(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    const char *at = strstr(s->weights, "gemma-scope-");
    if (!at) return LETHE_OK;
    char size[8], tuning[4], site[16], model[64], what[80];
    if (sscanf(at + 12, "%7[^-]-%3[^-]-%15[^-/]", size, tuning, site) != 3) return LETHE_OK;
    if (strcmp(site, "res") != 0) {
        snprintf(what, sizeof what, "is of gemma-scope-%s-%s-%s", size, tuning, site);
        return lethe_layout_refuse(s, what, err);
    }
    snprintf(model, sizeof model, "google/gemma-2-%s%s", size, strcmp(tuning, "it") ? "" : "-it");
    lethe_plan_model(p, model);
    return LETHE_OK;
}

static lethe_status plan_1(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    LETHE_TRY(jumprelu(s, p, err));
    LETHE_TRY(repository(s, p, err));
    snprintf(p->producer, sizeof p->producer, "Gemma Scope");
    if (strstr(s->weights, "/embedding/")) {
        /* Trained on embeddings as they are stored; the stream has them times sqrt(d). */
        p->dec_mul = sqrt((double)p->d);
        p->enc_mul = 1 / p->dec_mul;
        lethe_plan_folded(p, "sqrt(d) of Gemma's embeddings");
        return lethe_plan_site(s, p, "embed_tokens", err);
    }
    const char *at = strstr(s->weights, "/layer_");
    char site[64];
    if (!at || sscanf(at + 1, "%40[^/]", site) != 1) return LETHE_OK;
    return lethe_plan_site(s, p, site, err);
}

const lethe_layout lethe_layout_gemma_scope = {.name = "Gemma Scope", .is = is_1, .plan = plan_1};

/* ---- 2 --------------------------------------------------------------------------------------- */

static bool is_2(const lethe_layout_source *s) {
    return lower(s) && lethe_bundle_container(s->bundle) != LETHE_NPZ;
}

static lethe_status plan_2(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    LETHE_TRY(jumprelu(s, p, err));
    snprintf(p->producer, sizeof p->producer, "Gemma Scope 2");
    if (!s->cfg[LETHE_CONFIG]) return LETHE_OK;
    lethe_json_ref cfg = lethe_layout_cfg(s, LETHE_CONFIG);
    const char *arch = "jump_relu", *model = NULL, *hook = NULL, *out = NULL;
    p->config = LETHE_CONFIG;
    LETHE_TRY(lethe_cfg_text(&cfg, "architecture", &arch, err));
    LETHE_TRY(lethe_cfg_text(&cfg, "model_name", &model, err));
    LETHE_TRY(lethe_cfg_text(&cfg, "hf_hook_point_in", &hook, err));
    LETHE_TRY(lethe_cfg_text(&cfg, "hf_hook_point_out", &out, err));
    LETHE_TRY(lethe_cfg_same(&cfg, "width", p->m, "the number of latents", err));
    lethe_json_ref r = lethe_json_key(&cfg, "architecture");
    if (strcmp(arch, "jump_relu") != 0 && strcmp(arch, "jumprelu") != 0)
        return lethe_json_fail(&r, err, "jump_relu");
    if (hook && out && strcmp(hook, out) != 0)
        return lethe_layout_refuse(
            s, "is a transcoder (hf_hook_point_in and hf_hook_point_out differ)", err);
    if (model) lethe_plan_model(p, model);
    return hook ? lethe_plan_site(s, p, hook, err) : LETHE_OK;
}

const lethe_layout lethe_layout_gemma_scope_2 = {
    .name = "Gemma Scope 2", .is = is_2, .plan = plan_2};
