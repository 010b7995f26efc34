/* SPDX-License-Identifier: MIT
 *
 * The dictionary: a sparse autoencoder of one layer's residual stream.
 *
 *     u  = norm(x)                             [d], token by token
 *     a  = W_enc (u - c) + b_enc               [m], c = b_dec, or 0 with `raw_input`
 *     z  = the activations, by architecture    [m], few of them not 0
 *     x^ = norm^-1(W_dec z + b_dec)            [d]
 *
 *     topk      z = ReLU(TopK(a, k))
 *     relu      z = ReLU(a)
 *     jumprelu  z = ReLU(a) [a > threshold]    BatchTopK, too, once it is trained: one threshold
 *                                              for all latents
 *     gated     z = [a > 0] ReLU(exp(r_mag) W_enc (u - c) + b_mag)       b_enc is the gate's bias
 *
 *     none      u = x
 *     rescale   u = x sqrt(d) / |x|            norm^-1(v) = v |x| / sqrt(d)
 *     layer     u = (x - mean) / (std + 1e-5)  norm^-1(v) = v std + mean; std with d - 1
 *
 * TopK: Gao et al. 2024, arXiv 2406.04093; ReLU: Bricken et al. 2023; JumpReLU: Rajamanoharan et
 * al. 2024, arXiv 2407.14435; gated: the same, arXiv 2404.16014; BatchTopK: Bussmann et al. 2024,
 * arXiv 2412.06410. The norms are those of SAELens (constant_norm_rescale, layer_norm) and of
 * OpenAI's autoencoders for GPT-2 (layer). Lethe trains topk without a norm; the others come from
 * elsewhere.
 *
 * Letters: n tokens, d model width, m latents, k active latents a token.
 *
 * In memory both matrices are stored by latent, [m, d], so that the encoder row and the decoder
 * direction of one latent are each contiguous. In files W_enc is [d, m] (the field's convention:
 * a = (x - b_dec) @ W_enc) and W_dec is [m, d].
 */
#ifndef LETHE_SAE_SAE_H
#define LETHE_SAE_SAE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum lethe_arch {
    LETHE_ARCH_TOPK,
    LETHE_ARCH_RELU,
    LETHE_ARCH_JUMPRELU,
    LETHE_ARCH_GATED,
    LETHE_ARCH_COUNT
} lethe_arch;
const char *lethe_arch_name(lethe_arch a); /* "topk", "relu", "jumprelu", "gated" */
bool lethe_arch_from_name(const char *name, lethe_arch *out);

typedef enum lethe_norm {
    LETHE_NORM_NONE,
    LETHE_NORM_RESCALE,
    LETHE_NORM_LAYER,
    LETHE_NORM_COUNT
} lethe_norm;
const char *lethe_norm_name(lethe_norm n); /* "none", "rescale", "layer" */
bool lethe_norm_from_name(const char *name, lethe_norm *out);

typedef struct lethe_sae {
    size_t d, m;
    size_t k; /* of topk; 0 for the others, which have no fixed number */
    lethe_arch arch;
    lethe_norm norm;
    bool raw_input;   /* b_dec is not taken off the input */
    float *W_enc;     /* [m, d] */
    float *b_enc;     /* [m] */
    float *W_dec;     /* [m, d]; unit rows in what Lethe trains, any in an SAE from elsewhere */
    float *b_dec;     /* [d] */
    float *threshold; /* [m] of jumprelu, else NULL; below 0 is as 0 */
    float *r_mag;     /* [m] of gated, else NULL */
    float *b_mag;     /* [m] of gated, else NULL */
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

/* Allocates all parameters of the architecture (zeroed); norm none, b_dec taken off the input. k: 0
 * unless topk. Fails: USAGE when k > m, or a size is 0 (k only of topk), or k is not 0 where it
 * must be; NOMEM. */
lethe_status lethe_sae_alloc_as(lethe_sae *out, lethe_arch arch, size_t d, size_t m, size_t k,
                                lethe_err *err);

/* The same of a topk. */
lethe_status lethe_sae_alloc(lethe_sae *out, size_t d, size_t m, size_t k, lethe_err *err);
void lethe_sae_free(lethe_sae *sae); /* accepts a zeroed one; zeroes it */

/* Tied initialisation: rows of W_dec are random unit vectors (normal, normalised), W_enc = W_dec,
 * biases zero. Deterministic in seed. */
void lethe_sae_init(lethe_sae *sae, uint64_t seed);

/* Whether every parameter is a finite number; else FORMAT, naming `path`, tensor and element. */
lethe_status lethe_sae_check_finite(const lethe_sae *sae, const char *path, lethe_err *err);

/* Reads an SAE of any project that layout.h speaks of, from a file or a folder. k of topk:
 * k_override, or if that is 0 what the file says; neither: FORMAT error that says to pass --k.
 * Numbers that are not finite: FORMAT, naming tensor and element. meta may be NULL. Fails:
 * NOTFOUND, FORMAT, NOMEM; USAGE (k_override above m, or for an SAE that has no k). */
lethe_status lethe_sae_load(lethe_sae *out, lethe_sae_meta *meta, const char *path,
                            size_t k_override, lethe_err *err);
lethe_status lethe_sae_save(const lethe_sae *sae, const lethe_sae_meta *meta, const char *path,
                            lethe_err *err);

/* The active latents of n tokens. index [n, k], value [n, k]; a token's latents in falling order of
 * pre-activation (of value, where the two differ), ties by lower index first; value = z, so a
 * latent fired where value > 0, and those come first.
 *
 * With topk k is the SAE's. With the other architectures it is the largest number of latents that
 * fired at any of the tokens encoded: lethe_encode sets it and makes room; places that a token does
 * not need have value 0 and some latent's index. */
typedef struct lethe_codes {
    size_t n, k;
    int32_t *index; /* [n, k] */
    float *value;   /* [n, k] */
    size_t room;    /* elements that index and value can hold */
    float *scale;   /* [n] of the token: norm^-1(v) = v scale + shift; NULL: norm none */
    float *shift;   /* [n]; NULL: norm none */
    size_t tokens;  /* that scale and shift can hold */
} lethe_codes;

/* k: of topk; 0 for an SAE of another kind. */
lethe_status lethe_codes_alloc(lethe_codes *out, size_t n, size_t k, lethe_err *err);
void lethe_codes_free(lethe_codes *c);

/* The lowest latent that is not among index [n]: for places that a token does not need. n < m; seen
 * [n + 1]: scratch. */
int32_t lethe_codes_spare(const int32_t *index, size_t n, bool *seen);

/* x_hat [n, d] = sum of value * W_dec[index] + b_dec, times scale plus shift where codes have them.
 */
void lethe_sae_decode(const lethe_sae *sae, const lethe_codes *codes, float *x_hat);

#endif
