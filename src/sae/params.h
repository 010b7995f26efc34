/* SPDX-License-Identifier: MIT
 *
 * The table of a dictionary's parameters. Allocation, files, optimiser, checkpoints and gradient
 * checks loop over it, so that nothing keeps a list of its own.
 */
#ifndef LETHE_SAE_PARAMS_H
#define LETHE_SAE_PARAMS_H

#include <stdbool.h>

#include "sae/sae.h"

typedef enum lethe_param {
    LETHE_W_ENC,
    LETHE_B_ENC,
    LETHE_W_DEC,
    LETHE_B_DEC,
    LETHE_PARAM_COUNT
} lethe_param;

typedef struct lethe_param_info {
    const char *name;
    bool by_latent;  /* first dimension is m; otherwise the only one is d */
    bool matrix;     /* [m, d] */
    bool transposed; /* [d, m] in files */
} lethe_param_info;

extern const lethe_param_info lethe_params[LETHE_PARAM_COUNT];

/* The parameter's place in a dictionary. */
float **lethe_param_slot(lethe_sae *sae, lethe_param p);
const float *lethe_param_data(const lethe_sae *sae, lethe_param p);

/* Shape in memory: rows (m, or 1 for b_dec) times length of a row (d, or 1 for b_enc). */
size_t lethe_param_rows(lethe_param p, size_t d, size_t m);
size_t lethe_param_cols(lethe_param p, size_t d, size_t m);

/* Parameters that only one architecture has, each [m]. Trained by nobody here, so no optimiser
 * knows them. */
typedef enum lethe_extra {
    LETHE_THRESHOLD,
    LETHE_R_MAG,
    LETHE_B_MAG,
    LETHE_EXTRA_COUNT
} lethe_extra;

typedef struct lethe_extra_info {
    const char *name; /* in files */
    lethe_arch arch;
} lethe_extra_info;

extern const lethe_extra_info lethe_extras[LETHE_EXTRA_COUNT];

float **lethe_extra_slot(lethe_sae *sae, lethe_extra x);
const float *lethe_extra_data(const lethe_sae *sae, lethe_extra x); /* NULL: of another kind */

#endif
