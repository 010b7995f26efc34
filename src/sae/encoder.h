/* SPDX-License-Identifier: MIT
 *
 * An SAE made ready to encode: beside its encoder matrix the encoder's sieve (kernel/sieve.h), two
 * bytes a weight, that finds out cheaply which latents can be among the k largest.
 */
#ifndef LETHE_SAE_ENCODER_H
#define LETHE_SAE_ENCODER_H

#include "kernel/select.h"
#include "sae/sae.h"

typedef struct lethe_encoder {
    const lethe_sae *sae; /* borrowed */
    lethe_sieve sieve;
} lethe_encoder;

/* sae is borrowed, must outlive the encoder and stay as it is. Fails: USAGE (wider than the sieve
 * can be), NOMEM. */
lethe_status lethe_encoder_open(lethe_encoder *out, const lethe_sae *sae, lethe_err *err);
void lethe_encoder_close(lethe_encoder *e); /* accepts a zeroed one; zeroes it */

/* codes = the k largest pre-activations of x [n, d] (row-major, any alignment); codes must have
 * room for n tokens and k == sae->k. Exact in float32: values are those of the kernel slot `dot`
 * plus the bias. The same bytes at any number of threads and on any processor. stats (NULL: none)
 * is added to. Threads: safe on one encoder. Fails: NOMEM. */
lethe_status lethe_encode(const lethe_encoder *e, const float *x, size_t n, lethe_codes *codes,
                          lethe_select_stats *stats, lethe_err *err);

#endif
