/* SPDX-License-Identifier: MIT
 *
 * A text cut into windows to score, for eval_text.c: see eval.h for the rule. (The windows of
 * windows.h are for training: they are full, run across documents, and drop a corpus' tail.)
 */
#ifndef LETHE_STAGE_EVAL_WINDOWS_H
#define LETHE_STAGE_EVAL_WINDOWS_H

#include "stage/corpus.h"

typedef struct lethe_cutter lethe_cutter;

/* Reads the corpus (borrowed) from its start. ctx >= 2: most tokens of a window. */
lethe_status lethe_cutter_open(lethe_cutter **out, const lethe_lm *lm, lethe_corpus *corpus,
                               size_t ctx, bool paragraphs, lethe_err *err);
void lethe_cutter_close(lethe_cutter **c);

/* The next window into out (emptied first): a token of context (BOS, or the one before), then 1 to
 * `most` tokens to score; most >= 1. out->n is 0 at the end of the text. */
lethe_status lethe_cutter_next(lethe_cutter *c, uint64_t most, lethe_tokens *out, lethe_err *err);

#endif
