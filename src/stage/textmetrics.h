/* SPDX-License-Identifier: MIT
 *
 * Text metrics of completions, by the reference experiment's rules. Words are split at Unicode
 * white space; lengths are code points; text must be valid UTF-8 (bad bytes count as U+FFFD).
 */
#ifndef LETHE_STAGE_TEXTMETRICS_H
#define LETHE_STAGE_TEXTMETRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* distinct n-grams / n-grams over words; 1 when the text has fewer than n words. */
lethe_status lethe_text_distinct(const char *text, size_t n, double *out, lethe_err *err);

/* Some piece of 10 code points occurs at least three times without overlap. */
lethe_status lethe_text_stutters(const char *text, bool *out, lethe_err *err);

/* The reference's rule, over distinct-n and stuttering. */
lethe_status lethe_text_degenerate(const char *text, bool *out, lethe_err *err);

#endif
