/* SPDX-License-Identifier: MIT
 *
 * Probes as token sequences, made once and scored as often as there are models to compare.
 */
#ifndef LETHE_STAGE_PROBE_BATCH_H
#define LETHE_STAGE_PROBE_BATCH_H

#include "stage/probes.h"

typedef struct lethe_probe_batch { /* owned */
    lethe_tokens *tokens;          /* [n] */
    lethe_seq *seq;                /* [n], views of tokens */
    size_t *prompt_len;            /* [n] */
    lethe_target_score *out;       /* [n] */
    size_t n;
} lethe_probe_batch;

/* reference: as lethe_probe_tokens. Fails: USAGE (a probe longer than the context, said by place
 * and domain), as lethe_probe_tokens. On failure *b is to be freed as well. */
lethe_status lethe_probe_batch_fill(const lethe_lm *lm, const lethe_probes *p, bool reference,
                                    lethe_probe_batch *b, lethe_err *err);
void lethe_probe_batch_free(lethe_probe_batch *b); /* accepts a zeroed one; zeroes it */

/* Scores all into b->out, with the hooks that the model has; in pieces, with progress under the
 * name `stage`. Fails: as lethe_lm_score, STOPPED. */
lethe_status lethe_probe_batch_score(lethe_lm *lm, lethe_probe_batch *b, const char *stage,
                                     const lethe_env *env, lethe_err *err);

#endif
