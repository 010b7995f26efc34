/* SPDX-License-Identifier: MIT
 *
 * Inside of features_file.c and features_pt.c.
 */
#ifndef LETHE_STAGE_FEATURES_PARTS_H
#define LETHE_STAGE_FEATURES_PARTS_H

#include "format/jsonio.h"
#include "stage/features.h"

/* FORMAT unless the set's indices are distinct latents of m. */
lethe_status lethe_feature_set_check(const lethe_feature_set *s, const char *path, lethe_err *err);

/* lethe_feature_set_load of a checkpoint of the reference experiment. */
lethe_status lethe_feature_set_load_pt(lethe_feature_set *out, const char *path, lethe_err *err);

#endif
