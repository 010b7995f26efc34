/* SPDX-License-Identifier: MIT
 *
 * Applies an SAE to recorded activations and writes the result as plain tensors:
 *     indices [N, k] I32, values [N, k] F32   the active latents, strongest first; of an SAE that
 * is no topk k is the largest number a row has, and places that a row does not need have a latent
 * that did not fire there, and value 0 z [N, m] F32                            instead of the two,
 * with `dense` x_hat [N, d] F32                        the reconstruction
 */
#ifndef LETHE_STAGE_ENCODE_H
#define LETHE_STAGE_ENCODE_H

#include <stdbool.h>

#include "sae/sae.h"
#include "stage/source.h"

typedef struct lethe_encode_result {
    uint64_t rows;
    double fvu, l0;
} lethe_encode_result;

/* Rows of one epoch of the source, in its order. Holds 8 bytes a row and active latent in memory.
 * Fails: MISMATCH (another width), IO, NOMEM, STOPPED. */
lethe_status lethe_encode_rows(const lethe_sae *sae, lethe_source *source, const char *out_path,
                               bool dense, const lethe_env *env, lethe_encode_result *result,
                               lethe_err *err);

#endif
