/* SPDX-License-Identifier: MIT
 *
 * Dictionaries in other people's files: what a file is, before its matrices are read. Which
 * projects write what is in docs/formats.md; the files that know a project are layout_NAME.c, and
 * lethe_sae_load (sae.h) reads all of them.
 *
 * A path is a file of weights, or a folder that holds one (and its configuration): cfg.json beside
 * sae_weights.safetensors, hyperparams.json above checkpoints/final.safetensors, a run of sparsify
 * with one hookpoint, and so on.
 */
#ifndef LETHE_SAE_LAYOUT_H
#define LETHE_SAE_LAYOUT_H

#include "base/dtype.h"
#include "base/hash.h"
#include "format/bundle.h"
#include "sae/sae.h"

typedef struct lethe_sae_about {
    const char *layout;        /* "SAELens", "Gemma Scope", ..; static */
    char *weights;             /* path of the tensors; owned */
    char *config;              /* path of the configuration that was gone by; owned; NULL: none */
    lethe_container container; /* of the weights */
    lethe_dtype dtype;         /* of the decoder's matrix */
    char producer[96];         /* "SAELens 6.18.0"; "": not told */
    char hook_name[128];       /* as the file names the site; "": not told */
    char folded[160]; /* what reading takes into the weights: "decoder norms, ..."; "": nothing */
    size_t d, m;
    size_t k; /* of topk; 0: not told */
    lethe_arch arch;
    lethe_norm norm;
    bool raw_input;
} lethe_sae_about;

/* Reads headers and configuration, and checks both against each other and every tensor's shape and
 * type, but reads no matrix. k: what a person says k is; 0: nothing. meta may be NULL.
 * Fails: NOTFOUND; FORMAT (not an SAE, or one that Lethe cannot use: says why); NOMEM. */
lethe_status lethe_sae_describe(lethe_sae_about *out, lethe_sae_meta *meta, const char *path,
                                size_t k, lethe_err *err);
void lethe_sae_about_free(lethe_sae_about *a); /* accepts a zeroed one; zeroes it */

/* Whether there is a tensor of those that every SAE has one of; what is wrong with it is another
 * question. */
bool lethe_sae_resembles(const lethe_bundle *b);

/* Fingerprint of all that an SAE is read from: of the file, or of weights and configuration.
 * Fails: as lethe_sae_describe; IO. */
lethe_status lethe_sae_hash(const char *path, size_t k, char out[LETHE_HASH_HEX], lethe_err *err);

/* "z = ReLU(TopK(W_enc (x - b_dec) + b_enc, 32))" and its kin; cut to `size`. */
void lethe_sae_formula(const lethe_sae_about *a, char *out, size_t size);

#endif
