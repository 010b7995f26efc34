/* SPDX-License-Identifier: MIT
 *
 * Answers of API judges on disk: DIR/KEY.json, {"class", "reason", "model"}, each written as a
 * whole or not at all. A file that is not readable as that counts as missing, and is written again.
 */
#ifndef LETHE_STAGE_JUDGE_CACHE_H
#define LETHE_STAGE_JUDGE_CACHE_H

#include "stage/judge.h"

/* Fingerprint of all that an answer depends on. */
lethe_status lethe_judge_cache_key(const char *model, const char *rubric, const char *prompt,
                                   const char *completion, char out[LETHE_HASH_HEX],
                                   lethe_err *err);

/* *is: OPEN when there is no such answer; reason: owned, NULL then. Fails: NOMEM. */
lethe_status lethe_judge_cache_get(const char *dir, const char *key, lethe_judge_class *is,
                                   char **reason, lethe_err *err);

/* Fails: IO, NOMEM. */
lethe_status lethe_judge_cache_put(const char *dir, const char *key, lethe_judge_class is,
                                   const char *reason, const char *model, lethe_err *err);

#endif
