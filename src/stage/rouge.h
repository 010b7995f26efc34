/* SPDX-License-Identifier: MIT
 *
 * ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries") by the rules of the
 * rouge_score package's "rougeL" with use_stemmer=False, which MUSE's memorisation scores are made
 * of: the whole text is one sequence (no sentence splitting, that is rougeLsum), F1 weighs
 * precision and recall alike.
 *
 *   tokens  lower-case; every run of characters outside [a-z0-9] parts two tokens. No stemmer. So
 *           letters beyond ASCII part tokens too ("cafe" with an accent is "caf"), but for the two
 *           whose lower case is an ASCII letter: the Kelvin sign is k, the dotted capital I is i
 *           and a mark that parts.
 *   score   with l the length of the longest common subsequence: precision l / prediction's tokens,
 *           recall l / target's tokens, f1 = 2 P R / (P + R). All 0 when either has no token.
 */
#ifndef LETHE_STAGE_ROUGE_H
#define LETHE_STAGE_ROUGE_H

#include <stddef.h>

#include "base/err.h"

typedef struct lethe_rouge {
    double precision, recall, f1; /* 0..1 */
    size_t common;                /* length of the longest common subsequence, in tokens */
    size_t target_tokens, prediction_tokens;
} lethe_rouge;

/* Texts: bytes with a length, borrowed; what is not UTF-8 parts tokens. Time grows with the product
 * of the numbers of tokens. Fails: NOMEM. Threads: safe. */
lethe_status lethe_rouge_l(const char *target, size_t target_len, const char *prediction,
                           size_t prediction_len, lethe_rouge *out, lethe_err *err);

#endif
