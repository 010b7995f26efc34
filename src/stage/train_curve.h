/* SPDX-License-Identifier: MIT
 *
 * The course of a training in a fixed number of points, however long it is: a point is the mean
 * over `stride` steps; when there is no room left, neighbours become one and the stride doubles.
 */
#ifndef LETHE_STAGE_TRAIN_CURVE_H
#define LETHE_STAGE_TRAIN_CURVE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define LETHE_CURVE_POINTS 128 /* even */

typedef struct lethe_curve_point {
    uint64_t step; /* the last of those it is the mean of */
    double loss, fvu, dead;
} lethe_curve_point;

typedef struct lethe_train_curve { /* zeroed: empty */
    lethe_curve_point point[LETHE_CURVE_POINTS];
    size_t n;
    uint64_t stride;       /* steps a point; 0: 1 */
    lethe_curve_point sum; /* of the point in progress */
    uint64_t in_sum;
} lethe_train_curve;

/* step: number of steps done, rising. dead: latents. Skipped steps are left out by the caller. */
void lethe_train_curve_add(lethe_train_curve *c, uint64_t step, double loss, double fvu,
                           size_t dead);

/* {"step": [..], "loss": [..], "fvu": [..], "dead": [..]}, rounded to six digits; new reference,
 * NULL: no memory. */
json_t *lethe_train_curve_json(const lethe_train_curve *c);

#endif
