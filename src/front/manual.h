/* SPDX-License-Identifier: MIT
 *
 * A person judges: completions are shown one pair at a time, without saying which side is which,
 * and labels are read from standard input, a line each. Everything is saved after each answer.
 */
#ifndef LETHE_FRONT_MANUAL_H
#define LETHE_FRONT_MANUAL_H

#include "stage/judge.h"

/* Asks for all labels of `judge` that are missing, in the blind order of `seed`, on `to`. Returns
 * OK when there are no more questions or the person leaves (q, or the end of the input). Fails:
 * STOPPED (Ctrl-C), what saving fails with. */
lethe_status lethe_manual_run(lethe_judging *j, size_t judge, const char *topic, uint64_t seed,
                              FILE *to, lethe_err *err);

#endif
