/* SPDX-License-Identifier: MIT
 *
 * The intervention. With z the SAE's activations and F the chosen features,
 *     x' = x + W_dec (z' - z),   z'_i = scale * z_i for i in F that fired, z'_i = z_i otherwise,
 * which is x + sum over fired i in F of (scale - 1) z_i W_dec_i: the SAE's reconstruction error and
 * every other feature stay as they are (scale 0 erases, -3 pushes back, 1 does nothing).
 *
 * Which features fired is asked of one of two gates. The exact one encodes the row with the whole
 * SAE and looks among its top-k. The compact one (gate.h) looks at the chosen features alone, each
 * against a threshold of its own that a patch brings along: it costs nearly nothing and agrees with
 * the exact gate almost always.
 */
#ifndef LETHE_STAGE_ABLATE_H
#define LETHE_STAGE_ABLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "lm/lm.h"
#include "sae/sae.h"
#include "stage/patch.h"

/* "pre", "post", "unknown" (-1) and back; false for any other name. */
const char *lethe_hook_name(int hook);
bool lethe_hook_from_name(const char *name, int *out);

/* What the intervention saw. Counted at every scale, 0 and 1 too (the reference experiment counts
 * nothing at scale 0). Rows that are skipped are not counted. */
typedef struct lethe_hook_stats {
    uint64_t rows;         /* token positions seen */
    uint64_t rows_fired;   /* of them, with at least one chosen feature firing */
    uint64_t positions;    /* rows x chosen features */
    uint64_t fired;        /* (row, feature) pairs that fired */
    double activation_sum; /* sum of their activations */
} lethe_hook_stats;

typedef struct lethe_ablation lethe_ablation;

/* sae is borrowed and must outlive the ablation; features [n] are distinct latent indices, each <
 * m, copied. Fails: USAGE (n 0 or above m, an index out of range or there twice, scale not finite),
 * NOMEM. One ablation belongs to one thread at a time. */
lethe_status lethe_ablation_open(lethe_ablation **out, const lethe_sae *sae,
                                 const int32_t *features, size_t n, double scale, lethe_err *err);

/* With the compact gate, at the patch's scale. patch is borrowed and must outlive the ablation.
 * Fails: NOMEM. */
lethe_status lethe_ablation_open_patch(lethe_ablation **out, const lethe_patch *patch,
                                       lethe_err *err);
void lethe_ablation_close(lethe_ablation **a); /* after the model's hooks were cleared */

double lethe_ablation_scale(const lethe_ablation *a);
size_t lethe_ablation_size(const lethe_ablation *a);  /* chosen features */
bool lethe_ablation_compact(const lethe_ablation *a); /* by the compact gate */

/* Another strength for the same features. Fails: USAGE (not finite). */
lethe_status lethe_ablation_set_scale(lethe_ablation *a, double scale, lethe_err *err);

/* Rewrites x [n, d] in place. skip (NULL: none) marks rows to leave alone (BOS and other special
 * tokens). The same bytes at any number of threads and however rows are cut into calls. Nothing is
 * allocated by the compact gate. Fails: NOMEM. */
lethe_status lethe_ablation_apply(lethe_ablation *a, float *x, size_t n, const bool *skip,
                                  lethe_err *err);

/* Attaches it to a model as an edit of this site, until lethe_lm_clear_hooks; at most one model at
 * a time. special_too: also at special positions. Fails: MISMATCH (an SAE or patch of another width
 * than the model), USAGE (layer out of range). */
lethe_status lethe_ablation_attach(lethe_ablation *a, lethe_lm *lm, int layer, lethe_hook hook,
                                   bool special_too, lethe_err *err);

const lethe_hook_stats *lethe_ablation_stats(const lethe_ablation *a);
void lethe_ablation_reset_stats(lethe_ablation *a);

#endif
