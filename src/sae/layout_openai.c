/* SPDX-License-Identifier: MIT
 *
 * OpenAI's autoencoders for GPT-2 (sparse_autoencoder): pre_bias [d], encoder.weight [m, d],
 * latent_bias [m], decoder.weight [d, m], and beside them "activation" and its state. Those with
 * TopK normalise each row before (LETHE_NORM_LAYER), those with ReLU do not.
 */
#include <string.h>

#include "sae/layout_parts.h"

static bool is(const lethe_layout_source *s) {
    return lethe_layout_tensor(s, "pre_bias") && lethe_layout_tensor(s, "latent_bias");
}

static lethe_status topk(const lethe_layout_source *s, lethe_plan *p, const lethe_json_ref *top,
                         lethe_err *err) {
    lethe_json_ref state = lethe_json_key(top, "activation_state_dict");
    const char *post = "ReLU";
    int64_t k = 0;
    p->arch = LETHE_ARCH_TOPK;
    p->norm = LETHE_NORM_LAYER;
    if (state.value) {
        LETHE_TRY(lethe_json_want_object(&state, err));
        LETHE_TRY(lethe_cfg_int(&state, "k", 1, INT32_MAX, &k, NULL, err));
        LETHE_TRY(lethe_cfg_text(&state, "postact_fn", &post, err));
        lethe_json_ref r = lethe_json_key(&state, "postact_fn");
        if (strcmp(post, "ReLU") != 0) return lethe_json_fail(&r, err, "ReLU");
    }
    return lethe_plan_k(s, p, k, err);
}

static lethe_status plan(const lethe_layout_source *s, lethe_plan *p, lethe_err *err) {
    static const lethe_names names = {"encoder.weight", "latent_bias", "decoder.weight",
                                      "pre_bias",       false,         true};
    lethe_json_ref top = lethe_layout_values(s);
    const char *fn = "ReLU";
    LETHE_TRY(lethe_plan_matrices(s, p, &names, err));
    LETHE_TRY(lethe_cfg_text(&top, "activation", &fn, err));
    snprintf(p->producer, sizeof p->producer, "OpenAI sparse_autoencoder");
    if (!strcmp(fn, "TopK")) return topk(s, p, &top, err);
    lethe_json_ref r = lethe_json_key(&top, "activation");
    if (strcmp(fn, "ReLU") != 0) return lethe_json_fail(&r, err, "TopK or ReLU");
    p->arch = LETHE_ARCH_RELU;
    return LETHE_OK;
}

const lethe_layout lethe_layout_openai = {.name = "OpenAI", .is = is, .plan = plan};
