/* SPDX-License-Identifier: MIT
 *
 * Multiple choice by log-probability, made robust against a model that likes a letter rather than
 * an answer: the question is asked with its options in every order (4 options: 24), and the model's
 * choice is the option at the likeliest position.
 *
 *   accuracy  in the order of the file alone, as WMDP and MMLU are usually scored
 *   mean      share of the orders in which the choice was right
 *   strict    right in every order: SAEBench's unlearning evaluation (Karvonen et al. 2025, after
 *             Farrell et al. 2024) keeps only such questions, so that a lucky letter counts as
 * nothing
 *
 * Pure functions on numbers; asking the model is the caller's.
 */
#ifndef LETHE_STAGE_CHOICE_H
#define LETHE_STAGE_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LETHE_CHOICE_OPTIONS 8 /* at most */

/* options!, the number of orders; options: 1 to LETHE_CHOICE_OPTIONS. */
size_t lethe_choice_orders(size_t options);

/* The r-th order in lexicographic order, r < lethe_choice_orders(options): order[j] is the option
 * shown at position j. r == 0: the order of the file. */
void lethe_choice_order(size_t options, size_t r, uint8_t order[LETHE_CHOICE_OPTIONS]);

typedef struct lethe_choice {
    bool right;         /* in the first order given */
    bool strict;        /* in all orders given */
    double mean;        /* share of orders */
    double probability; /* of the right option among the options, exp(l_a) / sum exp(l), mean over
                           the orders */
} lethe_choice;

/* logprob [orders, options]: of the answer at position j (its letter, or its text) under order r.
 * order [orders, options]: what stood there, as from lethe_choice_order; NULL: orders is 1 and the
 * order is the file's. answer: the right option. Among equals the earliest position is chosen. -inf
 * is a log-probability like others (where all are, each option has the same probability). Fails:
 * USAGE (sizes, an order that is no permutation), NONFINITE (NaN, +inf). Borrowed; threads: safe.
 */
lethe_status lethe_choice_score(const double *logprob, const uint8_t *order, size_t orders,
                                size_t options, size_t answer, lethe_choice *out, lethe_err *err);

#endif
