/* SPDX-License-Identifier: MIT
 *
 * What all versions of the slot `digits` have in common: the norms, rounded up, and the rows that
 * cannot be told in digits.
 */
#ifndef LETHE_KERNEL_DIGITS_H
#define LETHE_KERNEL_DIGITS_H

#include "kernel/kernel.h"

/* Of numbers that are all smaller than this, squares of the rests could be lost to underflow. */
#define LETHE_DIGITS_SMALLEST 1e-12f

/* A row whose sum of squares is not a finite number, or whose largest number is below
 * LETHE_DIGITS_SMALLEST: digits 0. */
void lethe_digits_none(size_t n, float square, float most, int8_t *hi, int8_t *lo,
                       lethe_digits *out);

/* Scale and norms from the sums of squares of the row and of its rests. */
void lethe_digits_norms(size_t n, float scale, float square, float rest_square, lethe_digits *out);

#endif
