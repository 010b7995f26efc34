/* SPDX-License-Identifier: MIT
 *
 * Calibration: which threshold makes the compact gate of a feature (gate.h) agree best with the
 * exact one? Rows of activations come in a stream; the exact gate encodes each and says which
 * chosen features fired.
 *
 * The rows are cut into blocks of LETHE_CALIBRATION_BLOCK, one after the other as they come. Every
 * fifth block is held out: thresholds never see it, the figures come from it alone.
 *
 * The rule, for each feature by itself. Only rows with a_i > 0 matter, since no threshold is below
 * 0 and the exact gate fires no feature that is not positive. Sort their a_i. A threshold between
 * two different values disagrees with the exact gate at the rows above it where the feature did not
 * fire, and at those below it where it did; the least sum wins, and of equal sums the highest
 * threshold: in doubt a feature stays quiet. The threshold is the middle of its gap (the lowest gap
 * begins at 0). Rows of the same a_i stand on one side together. Where it is best to fire at none
 * of the rows seen, the threshold is the largest a_i seen.
 *
 * A feature that never fired on the calibration rows leaves nothing to weigh. Its threshold is the
 * largest a_i seen, but at least the smallest k-th-largest activation of any row, which is the
 * least that ever got a latent into the top k.
 *
 * All this is for a topk. The latents of a relu, jumprelu or gated SAE have thresholds of their
 * own, which the patch already has and keeps; the figures then say that both gates agree but for
 * rounding.
 *
 * Memory is bounded, whatever the number of rows. Of a feature that fired at P rows the best
 * threshold has at most P rows above it where it did not fire, because firing at none at all costs
 * only P. So all of the former and the LETHE_CALIBRATION_KEEP largest of the latter decide exactly
 * as all rows would, while P is no larger than that; beyond, both are thinned to every second,
 * every fourth, and so on. Held-out blocks are thinned likewise when their activations fill
 * LETHE_CALIBRATION_HELD floats. Both only depend on the rows and their order.
 */
#ifndef LETHE_STAGE_CALIBRATE_H
#define LETHE_STAGE_CALIBRATE_H

#include "stage/patch.h"

#define LETHE_CALIBRATION_BLOCK 512u
#define LETHE_CALIBRATION_KEEP 8192u
#define LETHE_CALIBRATION_HELD ((size_t)16 << 20)

typedef struct lethe_calibration lethe_calibration;

/* sae and patch are borrowed and must stay as they are while the calibration is open; the patch was
 * taken from this SAE. keep: 0 for LETHE_CALIBRATION_KEEP; held: 0 for LETHE_CALIBRATION_HELD, else
 * at least two blocks of patch->n floats a row (tests). Fails: NOMEM. */
lethe_status lethe_calibration_open(lethe_calibration **out, const lethe_sae *sae,
                                    const lethe_patch *patch, size_t keep, size_t held,
                                    lethe_err *err);
void lethe_calibration_close(lethe_calibration **c);

/* The next rows, x [n, d]. Fails: NOMEM. */
lethe_status lethe_calibration_add(lethe_calibration *c, const float *x, size_t n, lethe_err *err);

typedef struct lethe_calibration_result {
    uint64_t rows;       /* that thresholds were chosen on */
    size_t never_fired;  /* features that did not fire on them */
    size_t thinned;      /* features that fired too often for all their rows to be kept */
    uint64_t held_every; /* of this many held-out rows one was looked at; 1: all */
    lethe_gate_figures figures;
} lethe_calibration_result;

/* Chooses threshold [n] (of a topk; else it becomes the patch's, and may be it) and takes the
 * figures. May be called once all rows were added, or between.
 * Fails: USAGE (no rows). */
lethe_status lethe_calibration_finish(lethe_calibration *c, float *threshold,
                                      lethe_calibration_result *result, lethe_err *err);

#endif
