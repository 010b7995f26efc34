/* SPDX-License-Identifier: MIT
 *
 * sparsify: a folder a hookpoint, named after it ("layers.15", or "layers.15.mlp"), with cfg.json
 * and sae.safetensors: encoder.weight [m, d], encoder.bias [m], W_dec [m, d], b_dec [d]. The
 * input's b_dec is taken off unless it is a transcoder, so by its own code; other readers disagree.
 */
#include <string.h>

#include "base/mem.h"
#include "sae/layout_parts.h"

static bool is(const lethe_layout_source *s) {
    return lethe_layout_tensor(s, "encoder.weight") && lethe_layout_tensor(s, "W_dec");
}

static lethe_status activation(const lethe_layout_source *s, const lethe_json_ref *cfg,
                               lethe_err *err) {
    const char *fn = "topk";
    bool is_signed = false, skip = false, transcode = false;
    LETHE_TRY(lethe_cfg_text(cfg, "activation", &fn, err));
    LETHE_TRY(lethe_cfg_bool(cfg, "signed", &is_signed, err));
    LETHE_TRY(lethe_cfg_bool(cfg, "skip_connection", &skip, err));
    LETHE_TRY(lethe_cfg_bool(cfg, "transcode", &transcode, err));
    if (skip || transcode)
        return lethe_layout_refuse(s,
                                   transcode ? "is a transcoder (cfg.json: transcode)"
                                             : "has a skip connection (cfg.json)",
                                   err);
    lethe_json_ref r = lethe_json_key(cfg, strcmp(fn, "topk") ? "activation" : "signed");
    if (strcmp(fn, "topk") != 0) return lethe_json_fail(&r, err, "topk");
    if (is_signed) return lethe_json_fail(&r, err, "false: activations are not negative here");
    return LETHE_OK;
}

static lethe_status sizes(const lethe_plan *p, const lethe_json_ref *cfg, lethe_err *err) {
    int64_t latents = 0, factor = 0;
    LETHE_TRY(lethe_cfg_same(cfg, "d_in", p->d, "the width of W_dec", err));
    LETHE_TRY(lethe_cfg_int(cfg, "num_latents", 0, INT32_MAX, &latents, NULL, err));
    LETHE_TRY(lethe_cfg_int(cfg, "expansion_factor", 1, INT32_MAX, &factor, NULL, err));
    if (latents) return lethe_cfg_same(cfg, "num_latents", p->m, "the number of latents", err);
    if (!factor || (uint64_t)factor * p->d == p->m) return LETHE_OK;
    lethe_json_ref r = lethe_json_key(cfg, "expansion_factor");
    return lethe_json_fail(&r, err, "%zu latents for a width of %zu, as in the weights", p->m,
                           p->d);
}

/* The folder's name is the site; the run's config.json, one folder up, has the model. */
static lethe_status belongs(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    char *dir = lethe_strdup(s->weights);
    if (!dir) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    *strrchr(dir, '/') = '\0';
    char *slash = strrchr(dir, '/');
    lethe_status st = slash ? lethe_plan_site(s, p, slash + 1, err) : LETHE_OK;
    if (!st && p->meta.layer < 0) p->hook_name[0] = '\0'; /* some folder */
    lethe_free(dir);
    return st;
}

static lethe_status plan(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    static const lethe_names names = {"encoder.weight", "encoder.bias", "W_dec",
                                      "b_dec",          false,          false};
    int64_t k = 0;
    LETHE_TRY(lethe_plan_matrices(s, p, &names, err));
    if (s->cfg[LETHE_CFG]) {
        lethe_json_ref cfg = lethe_layout_cfg(s, LETHE_CFG);
        p->config = LETHE_CFG;
        LETHE_TRY(activation(s, &cfg, err));
        LETHE_TRY(sizes(p, &cfg, err));
        LETHE_TRY(lethe_cfg_int(&cfg, "k", 1, INT32_MAX, &k, NULL, err));
    }
    snprintf(p->producer, sizeof p->producer, "sparsify");
    LETHE_TRY(belongs(s, p, err));
    return lethe_plan_k(s, p, k, err);
}

const lethe_layout lethe_layout_sparsify = {.name = "sparsify", .is = is, .plan = plan};
