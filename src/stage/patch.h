/* SPDX-License-Identifier: MIT
 *
 * A patch: a removal as one small file, without the SAE it comes from. It holds what the compact
 * gate (gate.h) needs of the chosen features alone, n of the SAE's m:
 *
 *     W_enc [n, d] F32        encoder rows
 *     b_enc [n] F32           b_enc_i - W_enc_i . b_dec of the SAE: the gate sees x as it is (with
 *                             `raw_input` b_enc_i alone)
 *     threshold [n] F32       feature i fires where W_enc_i . x + b_enc_i > threshold_i; each >= 0
 *     W_dec [n, d] F32        decoder directions
 *     features [n] I32        the latents' numbers in the SAE
 *     centre [n] F32          b_dec . W_dec_i, for method direction
 *     mean [n] F32            mean activations on the forget text, for clamp in units of them
 *     evidence [n, 2] F32     what each says to a guard by evidence (guard.h) where it fires, and
 *                             where it does not
 *
 * The last three may be missing, as in patches of before there was what needs them.
 *
 * Of a gated SAE these are the rows and biases of its magnitude, exp(r_mag_i) W_enc_i and b_mag_i -
 * exp(r_mag_i) W_enc_i . b_dec, and the threshold max(0, b_mag_i - exp(r_mag_i) b_gate_i) says what
 * the gate does (lethe_arch_jump); of a jumprelu threshold is its own, of a relu 0. Only those of a
 * topk are calibrated. With a norm W_enc and b_enc are for the normed row.
 *
 * In the metadata, all strings: "format" lethe-patch-1, lethe-patch-2 of an SAE that is no plain
 * topk, or lethe-patch-3 with a guard by evidence, which versions that do not know them must not
 * read: "architecture" (not there: topk), "norm"
 * (not there: none); then "model_name", "model_hash", "layer",
 * "hook" (pre or post), "special" (1: also at special positions), "k" (0: no
 * topk), "latents" and "sae_hash" of the SAE, "rows" (calibrated on), and the figures of
 * lethe_gate_figures, those that are defined; what is done (intervene.h): "method" (not there:
 * scale), "scale" or, for another method, "strength", "clamp_unit" of clamp, "gated" (1) of
 * direction; "guard" (the threshold; not there: none), "guard_by" (not there: share) and, of share,
 * "guard_window".
 */
#ifndef LETHE_STAGE_PATCH_H
#define LETHE_STAGE_PATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "lm/lm.h"
#include "sae/sae.h"
#include "stage/intervene.h"

/* How well the compact gate agrees with the exact one on held-out rows. Over (row, feature) pairs,
 * and over rows, where a row counts as fired when any chosen feature did. NaN: not defined (nothing
 * fired, no rows). */
typedef struct lethe_gate_figures {
    uint64_t held_out; /* rows */
    double agreement;  /* both say the same, share of all */
    double precision;  /* of what the compact gate fires, the share that the exact one does */
    double recall;     /* of what the exact gate fires, the share that the compact one does */
    double row_agreement, row_precision, row_recall;
    double activation_recall; /* as recall, each pair weighed by its activation */
} lethe_gate_figures;

typedef struct lethe_patch {
    size_t d, n;
    float *W_enc;     /* [n, d] */
    float *b_enc;     /* [n] */
    float *threshold; /* [n] */
    float *W_dec;     /* [n, d] */
    int32_t *feature; /* [n] distinct */
    float *enc_sum;   /* [n] <1, W_enc_i>, in no file */
    float *centre;    /* [n]; NaN: not known */
    float *mean;      /* [n]; NaN: not known */
    float *evidence;  /* [n, 2]; NaN: not known */
    lethe_intervention how;
    bool special; /* also at BOS and other special positions */

    /* What it belongs to and comes from. */
    char model_name[128], model_hash[LETHE_HASH_HEX];
    int layer;
    lethe_hook hook;
    size_t k, m; /* of the SAE */
    lethe_arch arch;
    lethe_norm norm;
    char sae_hash[LETHE_HASH_HEX];
    uint64_t rows; /* calibrated on */
    lethe_gate_figures figures;
} lethe_patch;

/* Takes the chosen latents' rows out of an SAE, b_dec folded in; thresholds are the latents' own,
 * of a topk 0, figures and means NaN, the method scale at 1, and what it belongs to is the caller's
 * to fill. feature [n]: copied. Owned. Fails: USAGE (n 0 or above m, an index out of range or there
 * twice), NOMEM. */
lethe_status lethe_patch_from_sae(lethe_patch *out, const lethe_sae *sae, const int32_t *feature,
                                  size_t n, lethe_err *err);
void lethe_patch_free(lethe_patch *p); /* accepts a zeroed one; zeroes it */

/* Everything is checked: dtypes, shapes that belong together, finite numbers, thresholds >= 0,
 * distinct features < m. Fails: NOTFOUND, FORMAT (names the file, the tensor or the key), NOMEM. */
lethe_status lethe_patch_load(lethe_patch *out, const char *path, lethe_err *err);
lethe_status lethe_patch_save(const lethe_patch *p, const char *path, lethe_err *err);

/* MISMATCH, naming `path`, unless the patch was made for this model: its width and, where
 * info->hash is known, its fingerprint. */
lethe_status lethe_patch_check_model(const lethe_patch *p, const lethe_lm_info *info,
                                     const char *path, lethe_err *err);

#endif
