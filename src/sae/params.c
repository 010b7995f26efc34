/* SPDX-License-Identifier: MIT */
#include "sae/params.h"

const lethe_param_info lethe_params[LETHE_PARAM_COUNT] = {
    [LETHE_W_ENC] = {.name = "W_enc", .by_latent = true, .matrix = true, .transposed = true},
    [LETHE_B_ENC] = {.name = "b_enc", .by_latent = true},
    [LETHE_W_DEC] = {.name = "W_dec", .by_latent = true, .matrix = true},
    [LETHE_B_DEC] = {.name = "b_dec"},
};

float **lethe_param_slot(lethe_sae *sae, lethe_param p) {
    float **slot[LETHE_PARAM_COUNT] = {
        [LETHE_W_ENC] = &sae->W_enc,
        [LETHE_B_ENC] = &sae->b_enc,
        [LETHE_W_DEC] = &sae->W_dec,
        [LETHE_B_DEC] = &sae->b_dec,
    };
    return slot[p];
}

const float *lethe_param_data(const lethe_sae *sae, lethe_param p) {
    lethe_sae view = *sae;
    return *lethe_param_slot(&view, p);
}

size_t lethe_param_rows(lethe_param p, size_t d, size_t m) {
    (void)d;
    return lethe_params[p].by_latent ? m : 1;
}

size_t lethe_param_cols(lethe_param p, size_t d, size_t m) {
    (void)m;
    return lethe_params[p].matrix || !lethe_params[p].by_latent ? d : 1;
}

const lethe_extra_info lethe_extras[LETHE_EXTRA_COUNT] = {
    [LETHE_THRESHOLD] = {"threshold", LETHE_ARCH_JUMPRELU},
    [LETHE_R_MAG] = {"r_mag", LETHE_ARCH_GATED},
    [LETHE_B_MAG] = {"b_mag", LETHE_ARCH_GATED},
};

float **lethe_extra_slot(lethe_sae *sae, lethe_extra x) {
    float **slot[LETHE_EXTRA_COUNT] = {
        [LETHE_THRESHOLD] = &sae->threshold,
        [LETHE_R_MAG] = &sae->r_mag,
        [LETHE_B_MAG] = &sae->b_mag,
    };
    return slot[x];
}

const float *lethe_extra_data(const lethe_sae *sae, lethe_extra x) {
    lethe_sae view = *sae;
    return *lethe_extra_slot(&view, x);
}
