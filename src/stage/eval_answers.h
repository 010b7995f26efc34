/* SPDX-License-Identifier: MIT
 *
 * Prompts that the model answers with text, once a side; for the parts of the evaluation.
 */
#ifndef LETHE_STAGE_EVAL_ANSWERS_H
#define LETHE_STAGE_EVAL_ANSWERS_H

#include "stage/eval_parts.h"

typedef struct lethe_answers { /* owned */
    lethe_tokens *tokens;      /* [n_prompts], to be filled by the caller */
    lethe_seq *seq;            /* [n] */
    lethe_strbuf *buffer;      /* [n] */
    char **text[LETHE_SIDES];  /* [n] NUL-terminated, valid UTF-8; NULL before its side has run */
    size_t n_prompts, each, n; /* n = n_prompts x each: answer i is to prompt i / each */
} lethe_answers;

lethe_status lethe_answers_make(lethe_answers *a, size_t n_prompts, size_t each, lethe_err *err);
void lethe_answers_free(lethe_answers *a);

/* Switches to the side and fills text[side], all in one call: a sequence's random stream is seeded
 * with its index. stage: for progress. Fails: USAGE (a prompt without tokens, or one that fills the
 * context, said by its index), as lethe_lm_generate, STOPPED. */
lethe_status lethe_answers_run(const lethe_eval_job *job, lethe_answers *a, lethe_eval_side side,
                               const lethe_sampling *sampling, const char *stage, lethe_err *err);

#endif
