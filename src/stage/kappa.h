/* SPDX-License-Identifier: MIT
 *
 * Do two judges agree, beyond what chance gives? Cohen's kappa (Cohen 1960):
 *
 *   observed  share of items to which both gave the same class
 *   expected  sum_c p_a(c) p_b(c), p the share of each class in a judge's own labels
 *   kappa     (observed - expected) / (1 - expected)
 *
 * 1: always; 0: as often as chance; below 0: less.
 */
#ifndef LETHE_STAGE_KAPPA_H
#define LETHE_STAGE_KAPPA_H

#include <stddef.h>

#include "base/err.h"

typedef struct lethe_kappa {
    size_t n;                         /* items that both judged */
    double observed, expected, kappa; /* NaN with n == 0; kappa NaN, too, when expected is 1: both
                                         gave every item the one same class, and there is nothing
                                         to agree about */
} lethe_kappa;

#define LETHE_KAPPA_CLASSES 64

/* a, b [n]: classes below `classes` (at most LETHE_KAPPA_CLASSES); a negative one was not judged,
 * and its item is left out. Borrowed. Fails: USAGE (a class that is too large). Threads: safe. */
lethe_status lethe_kappa_of(const int *a, const int *b, size_t n, int classes, lethe_kappa *out,
                            lethe_err *err);

#endif
