/* SPDX-License-Identifier: MIT
 *
 * What is done to a row of the residual stream, in one of three methods. With z_i the activation of
 * a chosen feature, w_i its decoder row and d_i = w_i / |w_i|:
 *
 *     scale        x' = x + sum over i that fired of (s - 1) z_i w_i
 *
 * The activation becomes s z_i: 0 erases, -3 pushes back, 1 does nothing. The reference
 * experiment's. Strength: s.
 *
 *     clamp        x' = x + sum over i that fired of (-c_i - z_i) w_i
 *
 * The activation becomes -c_i, however weakly the feature fired (Farrell, Lau and Conmy 2024,
 * "Applying sparse autoencoders to unlearn knowledge in language models", arXiv 2410.19278, who
 * clamp to one fixed -c). Fixed numbers do not carry over: what drowns one model's stream is
 * nothing in another's. So c >= 0, the strength, is in units of
 *
 *     activation   c_i = c mean_i, the feature's mean activation on the forget text where it fired
 *     norm         c_i = c |x| / |w_i|, so that its part becomes c times as long as the row itself
 *
 *     direction    x' = x - alpha sum over all chosen i of ReLU(<x - b_dec, d_i>) d_i
 *
 * Directional ablation (Arditi et al. 2024, "Refusal in language models is mediated by a single
 * direction", arXiv 2406.11717), one-sided: only what points along a feature is taken away, not
 * what points against it. x is centred, because that is what the SAE describes (x - b_dec = sum of
 * z_j w_j + error): the stream's mean is large, and its share along d_i, the same at every
 * position, would hide a feature or make it seem there everywhere. All products are taken of the
 * row as it came. Acts at every position, fired or not; `gated` keeps it to positions where a
 * chosen feature fired. Strength: alpha >= 0; 1 projects a single direction out.
 *
 * With an SAE that norms its input (sae.h: x = scale u + shift, token by token) all this happens to
 * u, and x' = x + scale (u' - u): z_i w_i becomes scale z_i w_i, c |x| / |w_i| that over scale, and
 * <x - b_dec, d_i> becomes <x - shift - scale b_dec, d_i>. Without a norm scale is 1 and shift 0.
 *
 * Everything else of x stays as it is, the SAE's reconstruction error too. A guard (guard.h) can
 * keep each of them to sequences that are about the forget text.
 */
#ifndef LETHE_STAGE_INTERVENE_H
#define LETHE_STAGE_INTERVENE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "stage/guard.h"

typedef enum lethe_method {
    LETHE_METHOD_SCALE,
    LETHE_METHOD_CLAMP,
    LETHE_METHOD_DIRECTION,
    LETHE_METHOD_COUNT
} lethe_method;
const char *lethe_method_name(lethe_method m); /* "scale", "clamp", "direction" */
bool lethe_method_from_name(const char *name, lethe_method *out);

typedef enum lethe_clamp_unit { LETHE_CLAMP_ACTIVATION, LETHE_CLAMP_NORM } lethe_clamp_unit;
const char *lethe_clamp_unit_name(lethe_clamp_unit u); /* "activation", "norm" */
bool lethe_clamp_unit_from_name(const char *name, lethe_clamp_unit *out);

typedef struct lethe_intervention {
    lethe_method method;
    double strength;
    lethe_clamp_unit unit; /* of clamp */
    bool gated;            /* direction: only where a chosen feature fired */
    bool guard;            /* only in sequences whose statistic passes guard_threshold */
    lethe_guard_by guard_by;
    double guard_threshold; /* of share 0 .. 1, of evidence 0 or more, in nats */
    size_t guard_window;    /* of share: positions; 0: all so far */
} lethe_intervention;

/* Method scale at this factor, no guard. */
lethe_intervention lethe_intervention_scale(double factor);

/* USAGE, naming the option, unless every number is in its range. */
lethe_status lethe_intervention_check(const lethe_intervention *how, lethe_err *err);

/* "scale -3", "clamp 2 (norm), guard 0.125 of 32 positions": for people. */
void lethe_intervention_text(const lethe_intervention *how, char *out, size_t size);

/* Adds the keys method, strength, guard (the threshold; null: none), guard_by and, of share,
 * guard_window, clamp_unit of clamp and gated of direction to an object; *ok as of lethe_json_put.
 */
void lethe_intervention_json(const lethe_intervention *how, json_t *object, bool *ok);

/* The n chosen features, as far as the methods need them. Borrowed. */
typedef struct lethe_chosen_rows {
    size_t n, d;
    const float *const *row; /* [n] rows w_i [d] of the decoder */
    const float *inverse;    /* [n] 1 / |w_i|; 0 for a row of zeros */
    const float *centre;     /* [n] <b_dec, w_i>; direction only */
    const float *mean;       /* [n] mean activation; clamp by activation only */
    const float *sum;        /* [n] <1, w_i>; direction with a shift only */
} lethe_chosen_rows;

/* Every one of x [n] is a finite number: means and centres are NaN where they are not known. */
bool lethe_all_known(const float *x, size_t n);

/* Which chosen features fired at some rows: of row t, entry t * cap and on. */
typedef struct lethe_fires {
    size_t cap;     /* most features a row */
    int32_t *index; /* [rows, cap] numbers 0 .. n - 1 among the chosen ones */
    float *value;   /* [rows, cap] their activations, > 0 */
    size_t *count;  /* [rows] */
    float *scale;   /* [rows] of an SAE with a norm; NULL: 1 */
    float *shift;   /* [rows]; NULL: 0 */
} lethe_fires;

/* Rewrites x [rows, d] in place where act [rows] (NULL: everywhere) says so. coef [rows, n] is
 * scratch. A row that nothing is added to keeps its very bytes. The same bytes at any number of
 * threads and however rows are cut into calls. Allocates nothing. */
void lethe_intervene(const lethe_chosen_rows *c, const lethe_intervention *how, float *x,
                     size_t rows, const lethe_fires *fires, const bool *act, float *coef);

#endif
