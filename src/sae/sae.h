/* SPDX-License-Identifier: MIT
 *
 * The dictionary: a TopK sparse autoencoder of one layer's residual stream.
 *
 *     a  = W_enc (x - b_dec) + b_enc           [m]
 *     z  = ReLU(TopK(a, k))                    [m], at most k non-zero
 *     x^ = W_dec z + b_dec                     [d]
 *
 * Letters: n tokens, d model width, m latents, k active latents a token.
 *
 * In memory both matrices are stored by latent, [m, d], so that the encoder row and the decoder
 * direction of one latent are each contiguous. In files W_enc is [d, m] (the field's convention:
 * a = (x - b_dec) @ W_enc) and W_dec is [m, d].
 */
#ifndef LETHE_SAE_SAE_H
#define LETHE_SAE_SAE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct lethe_sae {
    size_t d, m, k;
    float *W_enc; /* [m, d] */
    float *b_enc; /* [m] */
    float *W_dec; /* [m, d], unit rows */
    float *b_dec; /* [d] */
} lethe_sae;

/* What an SAE belongs to; written into the file's metadata, checked before use. Empty / -1: not
 * known (a file from elsewhere). */
typedef struct lethe_sae_meta {
    char model_name[128];
    char model_hash[33];          /* lethe_lm_info.hash */
    int layer;                    /* -1: not known */
    int hook;                     /* enum lethe_hook of lm.h as int: 0 pre, 1 post; -1: not known */
    char recipe[32];              /* "default", "reference", ... */
    uint64_t seed, steps, tokens; /* what it was trained with and on */
} lethe_sae_meta;

/* Allocates all four parameters (zeroed). Fails: USAGE when k > m or a size is 0; NOMEM. */
lethe_status lethe_sae_alloc(lethe_sae *out, size_t d, size_t m, size_t k, lethe_err *err);
void lethe_sae_free(lethe_sae *sae); /* accepts a zeroed one; zeroes it */

/* Tied initialisation: rows of W_dec are random unit vectors (normal, normalised), W_enc = W_dec,
 * biases zero. Deterministic in seed. */
void lethe_sae_init(lethe_sae *sae, uint64_t seed);

/* Reads any file that has W_enc [d, m], b_enc [m], W_dec [m, d], b_dec [d] (floating point of any
 * width). k comes from the metadata, or from `k_override` if that is not 0; neither: FORMAT error
 * that says to pass --k. meta may be NULL. Fails: NOTFOUND, FORMAT, NOMEM. */
lethe_status lethe_sae_load(lethe_sae *out, lethe_sae_meta *meta, const char *path,
                            size_t k_override, lethe_err *err);
lethe_status lethe_sae_save(const lethe_sae *sae, const lethe_sae_meta *meta, const char *path,
                            lethe_err *err);

/* The active latents of n tokens. index [n, k], value [n, k]; a token's latents in falling order of
 * pre-activation, ties by lower index first; value = max(a, 0), so a latent fired where value > 0.
 */
typedef struct lethe_codes {
    size_t n, k;
    int32_t *index; /* [n, k] */
    float *value;   /* [n, k] */
} lethe_codes;

lethe_status lethe_codes_alloc(lethe_codes *out, size_t n, size_t k, lethe_err *err);
void lethe_codes_free(lethe_codes *c);

/* x_hat [n, d] = sum of value * W_dec[index] + b_dec. */
void lethe_sae_decode(const lethe_sae *sae, const lethe_codes *codes, float *x_hat);

#endif
