/* SPDX-License-Identifier: MIT
 *
 * Two halves of everything that is asked: one to choose settings by, the other to report. What
 * belongs together goes together: all wordings of a fact, in every file, are in the half that a
 * fixed hash of the fact's name gives (half of the facts in the long run, not exactly); windows of
 * text alternate. The halves depend on nothing else, so they are the same in every run and for
 * every seed.
 */
#ifndef LETHE_STAGE_SPLIT_H
#define LETHE_STAGE_SPLIT_H

#include "stage/probes.h"

typedef enum lethe_split { LETHE_SPLIT_ALL, LETHE_SPLIT_TUNE, LETHE_SPLIT_REPORT } lethe_split;

/* "all", "tune", "report". Fails: USAGE (another name). */
lethe_status lethe_split_from_name(const char *name, lethe_split *out, lethe_err *err);
const char *lethe_split_name(lethe_split s);

bool lethe_split_has(lethe_split s, const char *fact);
bool lethe_split_has_window(lethe_split s, uint64_t index); /* even: tune */

/* Takes the other half's items out, and domains that are left empty. */
void lethe_probes_split(lethe_probes *p, lethe_split s);

/* Keeps at most `most` items of each domain, at even distances (0: all). */
void lethe_probes_thin(lethe_probes *p, size_t most);

#endif
