/* SPDX-License-Identifier: MIT
 *
 * An SAE made ready to encode: beside its encoder matrix the encoder's sieve (kernel/sieve.h), two
 * bytes a weight, that finds out cheaply which latents can be among the k largest, or above their
 * thresholds.
 */
#ifndef LETHE_SAE_ENCODER_H
#define LETHE_SAE_ENCODER_H

#include "kernel/select.h"
#include "sae/sae.h"

typedef struct lethe_encoder {
    const lethe_sae *sae; /* borrowed */
    lethe_sieve sieve;
    float *floor, *gain; /* [m] as of arch.h; NULL: topk */
} lethe_encoder;

/* sae is borrowed, must outlive the encoder and stay as it is. Fails: USAGE (wider than the sieve
 * can be), NOMEM. */
lethe_status lethe_encoder_open(lethe_encoder *out, const lethe_sae *sae, lethe_err *err);
void lethe_encoder_close(lethe_encoder *e); /* accepts a zeroed one; zeroes it */

/* codes = the active latents of x [n, d] (row-major, any alignment); codes must have room for n
 * tokens and come from lethe_codes_alloc with k == sae->k. With topk they are the k largest
 * pre-activations; otherwise codes->k becomes the largest number a token has, at least 1, and its
 * arrays grow with n times that (lethe_encode_batch bounds n). With a norm codes->scale and shift
 * are set. Exact in float32: the products are those of the kernel slot `dot`, to which arch.h
 * applies the formula. The same bytes at any number of threads and on any processor. stats (NULL:
 * none) is added to. Threads: safe on one encoder, not on one codes. Fails: NOMEM. */
lethe_status lethe_encode(const lethe_encoder *e, const float *x, size_t n, lethe_codes *codes,
                          lethe_select_stats *stats, lethe_err *err);

/* How many tokens at once, at most `want`, keep codes small even where every latent fires; at least
 * 16. Of topk `want` itself. */
size_t lethe_encode_batch(const lethe_sae *sae, size_t want);

#endif
