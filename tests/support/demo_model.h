/* SPDX-License-Identifier: MIT
 *
 * The demonstration model with an SAE of random directions and an ablation of four of its features:
 * what tests of the evaluation measure.
 */
#ifndef LETHE_TESTS_DEMO_MODEL_H
#define LETHE_TESTS_DEMO_MODEL_H

#include "stage/ablate.h"

typedef struct demo_model {
    lethe_lm *lm;
    lethe_sae sae;
    lethe_ablation *ablation;
} demo_model;

/* n_seq sequences at once, the features at this scale. False, with the error printed, on failure.
 */
bool demo_model_open(demo_model *m, size_t n_seq, double scale);
void demo_model_close(demo_model *m);

#endif
