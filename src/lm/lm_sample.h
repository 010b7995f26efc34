/* SPDX-License-Identifier: MIT
 *
 * Choosing the next token of one sequence (private to src/lm).
 */
#ifndef LETHE_LM_SAMPLE_H
#define LETHE_LM_SAMPLE_H

#include "lm_internal.h"

typedef struct lm_sampler {
    struct llama_sampler *penalties; /* apart from the rest: the n-gram ban comes between */
    struct llama_sampler *chain;
    llama_token_data *candidates; /* [n_vocab] */
    size_t n_vocab;
    int ngram;
} lm_sampler;

/* seq chooses the random stream. */
lethe_status lethe_lm_sampler_open(lm_sampler *out, const lethe_lm *lm, const lethe_sampling *s,
                                   size_t seq, lethe_err *err);
void lethe_lm_sampler_close(lm_sampler *s); /* accepts a zeroed one; zeroes it */

/* Tells of a token of the sequence, prompt or answer. */
void lethe_lm_sampler_accept(lm_sampler *s, int32_t token);

/* history: all tokens so far. *token: -1 when every token is banned. Fails: NONFINITE, FAIL. */
lethe_status lethe_lm_sampler_next(lm_sampler *s, const float *logits, const lethe_tokens *history,
                                   int32_t *token, lethe_err *err);

#endif
