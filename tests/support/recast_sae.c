/* SPDX-License-Identifier: MIT
 *
 * recast_sae IN OUT ARCHITECTURE NORM THETA SIZE: a topk SAE as one of another kind, for tests of
 * the program. A latent fires where its pre-activation is above THETA: relu       b_enc less THETA,
 * so its activations are less by as much jumprelu   threshold THETA gated      b_gate is b_enc less
 * THETA, b_mag is b_enc, r_mag 0: the same function With a norm the SAE is made for rows that are
 * SIZE times smaller; without, SIZE is 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"

static void recast(const lethe_sae *in, lethe_sae *out, float theta, float size) {
    for (size_t i = 0; i < in->m * in->d; i++) {
        out->W_enc[i] = in->W_enc[i] * size;
        out->W_dec[i] = in->W_dec[i] / size;
    }
    for (size_t i = 0; i < in->d; i++) out->b_dec[i] = in->b_dec[i] / size;
    bool lower = out->arch == LETHE_ARCH_RELU || out->arch == LETHE_ARCH_GATED;
    for (size_t j = 0; j < in->m; j++) {
        out->b_enc[j] = in->b_enc[j] - (lower ? theta : 0);
        if (out->threshold) out->threshold[j] = theta;
        if (out->b_mag) out->b_mag[j] = in->b_enc[j];
    }
}

int main(int argc, char **argv) {
    lethe_sae in, out;
    lethe_sae_meta meta;
    lethe_err err;
    lethe_arch arch;
    lethe_norm norm;
    if (argc != 7 || !lethe_arch_from_name(argv[3], &arch) ||
        !lethe_norm_from_name(argv[4], &norm)) {
        fprintf(stderr, "usage: recast_sae IN OUT ARCHITECTURE NORM THETA SIZE\n");
        return 2;
    }
    lethe_status st = lethe_sae_load(&in, &meta, argv[1], 0, &err);
    if (!st)
        st = lethe_sae_alloc_as(&out, arch, in.d, in.m, arch == LETHE_ARCH_TOPK ? in.k : 0, &err);
    if (!st) {
        out.norm = norm;
        recast(&in, &out, strtof(argv[5], NULL), strtof(argv[6], NULL));
        st = lethe_sae_save(&out, &meta, argv[2], &err);
        lethe_sae_free(&out);
        lethe_sae_free(&in);
    }
    if (st) fprintf(stderr, "recast_sae: %s\n", err.text);
    return st != 0;
}
