/* SPDX-License-Identifier: MIT
 *
 * The intervention in its sparse form, x += (scale - 1) z_i W_dec_i over the chosen features that
 * fired: nothing of size m is touched per row, and a row where none fired keeps its very bytes.
 */
#include "stage/ablate.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "sae/encoder.h"
#include "stage/features.h"
#include "stage/gate.h"

#define CHUNK 1024 /* most rows encoded at once by the exact gate; bounds the codes' memory */

struct lethe_ablation {
    size_t d, n; /* width; chosen features */
    double scale;
    lethe_hook_stats stats;

    const lethe_sae *sae; /* the exact gate; NULL: the compact one */
    lethe_encoder encoder;
    bool *chosen;      /* [m] */
    lethe_codes codes; /* room for codes_cap rows */
    size_t codes_cap;

    const lethe_patch *patch;
    float *activation; /* [LETHE_GATE_ROWS, n] */

    lethe_lm *lm; /* attached to; NULL: none */
    bool special_too;
    bool *skip; /* [skip_cap] */
    size_t skip_cap;
};

const char *lethe_hook_name(int hook) {
    return hook == LETHE_HOOK_PRE ? "pre" : hook == LETHE_HOOK_POST ? "post" : "unknown";
}

bool lethe_hook_from_name(const char *name, int *out) {
    for (int h = -1; h <= LETHE_HOOK_POST; h++)
        if (!strcmp(name, lethe_hook_name(h))) {
            *out = h;
            return true;
        }
    return false;
}

static lethe_status choose(lethe_ablation *a, const int32_t *features, size_t n, lethe_err *err) {
    size_t m = a->sae->m;
    LETHE_TRY(lethe_features_check(features, n, m, err));
    LETHE_TRY(lethe_zalloc(&a->chosen, m, sizeof *a->chosen, "the chosen features", err));
    for (size_t i = 0; i < n; i++) a->chosen[features[i]] = true;
    a->n = n;
    return LETHE_OK;
}

lethe_status lethe_ablation_open(lethe_ablation **out, const lethe_sae *sae,
                                 const int32_t *features, size_t n, double scale, lethe_err *err) {
    lethe_ablation *a = NULL;
    LETHE_TRY(lethe_zalloc(&a, 1, sizeof *a, "an ablation", err));
    a->sae = sae;
    a->d = sae->d;
    lethe_status st = lethe_ablation_set_scale(a, scale, err);
    if (st == LETHE_OK) st = choose(a, features, n, err);
    if (st == LETHE_OK) st = lethe_encoder_open(&a->encoder, sae, err);
    if (st == LETHE_OK)
        *out = a;
    else
        lethe_ablation_close(&a);
    return st;
}

lethe_status lethe_ablation_open_patch(lethe_ablation **out, const lethe_patch *patch,
                                       lethe_err *err) {
    lethe_ablation *a = NULL;
    LETHE_TRY(lethe_zalloc(&a, 1, sizeof *a, "an ablation", err));
    a->patch = patch;
    a->d = patch->d;
    a->n = patch->n;
    lethe_status st = lethe_ablation_set_scale(a, patch->scale, err);
    if (st == LETHE_OK)
        st = lethe_alloc(&a->activation, patch->n, LETHE_GATE_ROWS * sizeof *a->activation,
                         "activations of the chosen features", err);
    if (st == LETHE_OK)
        *out = a;
    else
        lethe_ablation_close(&a);
    return st;
}

void lethe_ablation_close(lethe_ablation **ablation) {
    lethe_ablation *a = *ablation;
    if (!a) return;
    lethe_encoder_close(&a->encoder);
    lethe_codes_free(&a->codes);
    lethe_free(a->chosen);
    lethe_free(a->activation);
    lethe_free(a->skip);
    lethe_free(a);
    *ablation = NULL;
}

double lethe_ablation_scale(const lethe_ablation *a) {
    return a->scale;
}

size_t lethe_ablation_size(const lethe_ablation *a) {
    return a->n;
}

bool lethe_ablation_compact(const lethe_ablation *a) {
    return a->patch != NULL;
}

lethe_status lethe_ablation_set_scale(lethe_ablation *a, double scale, lethe_err *err) {
    if (!isfinite(scale))
        return lethe_fail(err, LETHE_USAGE, "--scale is %g, must be a finite number", scale);
    a->scale = scale;
    return LETHE_OK;
}

const lethe_hook_stats *lethe_ablation_stats(const lethe_ablation *a) {
    return &a->stats;
}

void lethe_ablation_reset_stats(lethe_ablation *a) {
    a->stats = (lethe_hook_stats){0};
}

/* ---- the exact gate -------------------------------------------------------------------------- */

/* The codes' room grows with the batches seen, up to CHUNK rows: decoding one token at a time must
 * not hold memory for a prefill. */
static lethe_status codes_room(lethe_ablation *a, size_t n, lethe_err *err) {
    if (n <= a->codes_cap) return LETHE_OK;
    lethe_codes_free(&a->codes);
    a->codes_cap = 0;
    LETHE_TRY(lethe_codes_alloc(&a->codes, n, a->sae->k, err));
    a->codes_cap = n;
    return LETHE_OK;
}

static void apply_row(lethe_ablation *a, float *x, const int32_t *index, const float *value) {
    const size_t d = a->d, k = a->sae->k;
    bool any = false;
    for (size_t j = 0; j < k; j++) {
        if (!(value[j] > 0) || !a->chosen[index[j]]) continue;
        any = true;
        a->stats.fired++;
        a->stats.activation_sum += (double)value[j];
        float c = (float)((a->scale - 1.0) * (double)value[j]);
        if (c == 0) continue; /* scale 1: not even -0 becomes +0 */
        const float *w = a->sae->W_dec + (size_t)index[j] * d;
        for (size_t i = 0; i < d; i++) x[i] += c * w[i];
    }
    a->stats.rows_fired += any;
}

static lethe_status apply_exact(lethe_ablation *a, float *x, size_t n, lethe_err *err) {
    const size_t d = a->d, k = a->sae->k;
    LETHE_TRY(codes_room(a, n, err));
    LETHE_TRY(lethe_encode(&a->encoder, x, n, &a->codes, NULL, err));
    for (size_t t = 0; t < n; t++)
        apply_row(a, x + t * d, a->codes.index + t * k, a->codes.value + t * k);
    a->stats.rows += n;
    a->stats.positions += (uint64_t)n * a->n;
    return LETHE_OK;
}

/* ---- applying -------------------------------------------------------------------------------- */

lethe_status lethe_ablation_apply(lethe_ablation *a, float *x, size_t n, const bool *skip,
                                  lethe_err *err) {
    const size_t most = a->patch ? LETHE_GATE_ROWS : CHUNK;
    for (size_t t = 0; t < n;) { /* runs of rows that are not skipped */
        if (skip && skip[t]) {
            t++;
            continue;
        }
        size_t run = 1;
        while (run < most && t + run < n && !(skip && skip[t + run])) run++;
        float *rows = x + t * a->d;
        if (a->patch)
            lethe_gate_apply(a->patch, a->scale, rows, run, a->activation, &a->stats);
        else
            LETHE_TRY(apply_exact(a, rows, run, err));
        t += run;
    }
    return LETHE_OK;
}

static lethe_status edit(void *user, const lethe_rows *rows, lethe_err *err) {
    lethe_ablation *a = user;
    if (a->special_too) return lethe_ablation_apply(a, rows->x, rows->n, NULL, err);
    LETHE_TRY(lethe_grow(&a->skip, &a->skip_cap, 0, rows->n, sizeof *a->skip,
                         "marks of special tokens", err));
    for (size_t t = 0; t < rows->n; t++) a->skip[t] = lethe_lm_is_special(a->lm, rows->token[t]);
    return lethe_ablation_apply(a, rows->x, rows->n, a->skip, err);
}

lethe_status lethe_ablation_attach(lethe_ablation *a, lethe_lm *lm, int layer, lethe_hook hook,
                                   bool special_too, lethe_err *err) {
    size_t d = lethe_lm_get_info(lm)->d_model;
    if (a->d != d)
        return lethe_fail(err, LETHE_MISMATCH,
                          "the %s is %zu wide, the model %zu (make one for this model: lethe %s)",
                          a->patch ? "patch" : "SAE", a->d, d, a->patch ? "patch" : "train");
    LETHE_TRY(lethe_lm_add_edit(lm, layer, hook, edit, a, err));
    a->lm = lm;
    a->special_too = special_too;
    return LETHE_OK;
}
