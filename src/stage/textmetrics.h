/* SPDX-License-Identifier: MIT
 *
 * Text metrics of completions, by the reference experiment's rules. Words are split at Unicode
 * white space; lengths are code points; a text is bytes with a length (it may hold NUL), and bytes
 * that are not UTF-8 count as U+FFFD each.
 */
#ifndef LETHE_STAGE_TEXTMETRICS_H
#define LETHE_STAGE_TEXTMETRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Distinct n-grams / n-grams over words; 1 when the text has fewer than n words. n >= 1.
 * Fails: NOMEM, like all of these. */
lethe_status lethe_text_distinct(const char *text, size_t len, size_t n, double *out,
                                 lethe_err *err);

/* Some piece of 10 code points occurs at least three times without overlap. */
lethe_status lethe_text_stutters(const char *text, size_t len, bool *out, lethe_err *err);

/* What one completion is judged by. */
typedef struct lethe_text_quality {
    double distinct_2, distinct_3;
    bool stutters;
    bool degenerate; /* stutters, or distinct_3 < 0.6 */
} lethe_text_quality;

lethe_status lethe_text_judge(const char *text, size_t len, lethe_text_quality *out,
                              lethe_err *err);

#endif
