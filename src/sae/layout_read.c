/* SPDX-License-Identifier: MIT
 *
 * A plan carried out. Matrices that stand as [d, m] in the file are turned a strip at a time. What
 * is folded keeps z as its project defines it and x in the units of the model:
 *
 *     norm_j = ||W_dec_j||           z' = norm z, W_dec' = W_dec / norm      unit_decoder
 *     W_dec' = gain W_dec            gain is applied to z before decoding only
 *     W_enc' = enc_mul W_enc, W_dec' = dec_mul W_dec, b_dec' = b_dec_mul b_dec
 *
 * The last is a factor s on the input taken into the weights: W_enc (s x - b_dec) = s W_enc (x -
 * b_dec / s).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "sae/layout_parts.h"

/* Rows of a matrix [d, m] that are turned at a time. */
#define STRIP 16

static lethe_status not_finite(const lethe_layout_source *s, const lethe_tensor *t, size_t i,
                               float v, lethe_err *err) {
    char place[64];
    if (t->ndim == 2)
        snprintf(place, sizeof place, "[%zu, %zu]", i / t->shape[1], i % t->shape[1]);
    else
        snprintf(place, sizeof place, "%zu", i);
    return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": element %s is not a finite number (%s)",
                      s->weights, t->name, place, isnan(v) ? "NaN" : "infinite");
}

/* out = elements [first, first + n). */
static lethe_status read_some(const lethe_layout_source *s, const lethe_tensor *t, size_t first,
                              size_t n, float *out, lethe_err *err) {
    if (lethe_tensor_to_f32(t, first, n, out, err)) return lethe_err_prefix(err, "%s", s->weights);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i])) return not_finite(s, t, first + i, out[i], err);
    return LETHE_OK;
}

/* out [m, d] = the tensor [d, m]. */
static lethe_status read_turned(const lethe_layout_source *s, const lethe_tensor *t, size_t d,
                                size_t m, float *out, lethe_err *err) {
    float *strip;
    LETHE_TRY(lethe_alloc(&strip, m, STRIP * sizeof *strip, "rows of a matrix", err));
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < d && !st; i += STRIP) {
        size_t rows = d - i < STRIP ? d - i : STRIP;
        st = read_some(s, t, i * m, rows * m, strip, err);
        if (st) break;
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (m > 4096)
        for (size_t j = 0; j < m; j++)
            for (size_t r = 0; r < rows; r++) out[j * d + i + r] = strip[r * m + j];
    }
    lethe_free(strip);
    return st;
}

static lethe_status read_matrix(const lethe_layout_source *s, const lethe_tensor *t, bool turned,
                                size_t d, size_t m, float *out, lethe_err *err) {
    return turned ? read_turned(s, t, d, m, out, err) : read_some(s, t, 0, t->count, out, err);
}

static lethe_status read_vector(const lethe_layout_source *s, const lethe_tensor *t, float *out,
                                lethe_err *err) {
    return t ? read_some(s, t, 0, t->count, out, err) : LETHE_OK;
}

static lethe_status read_threshold(const lethe_layout_source *s, const lethe_plan *p, float *out,
                                   lethe_err *err) {
    float one = (float)p->threshold_all;
    if (p->threshold && !p->threshold_one)
        LETHE_TRY(read_vector(s, p->threshold, out, err));
    else if (p->threshold)
        LETHE_TRY(read_some(s, p->threshold, 0, 1, &one, err));
    for (size_t j = 0; j < p->m; j++) {
        float t = p->threshold && !p->threshold_one ? out[j] : one;
        if (p->threshold_log) t = expf(t);
        out[j] = t;
    }
    return LETHE_OK;
}

static void scale(float *x, size_t n, double by) {
    if (by == 1) return;
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)x[i] * by);
}

static void make_unit(lethe_sae *sae) {
    size_t d = sae->d;
    for (size_t j = 0; j < sae->m; j++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += (double)sae->W_dec[j * d + i] * (double)sae->W_dec[j * d + i];
        double norm = sqrt(sum);
        if (norm == 0) continue; /* a latent without a direction stays what it is: nothing */
        scale(sae->W_dec + j * d, d, 1 / norm);
        scale(sae->W_enc + j * d, d, norm);
        sae->b_enc[j] = (float)((double)sae->b_enc[j] * norm);
        if (sae->b_mag) sae->b_mag[j] = (float)((double)sae->b_mag[j] * norm);
    }
}

static lethe_status fold(const lethe_layout_source *s, const lethe_plan *p, lethe_sae *sae,
                         lethe_err *err) {
    if (p->unit_decoder) make_unit(sae);
    if (p->gain) {
        float *gain;
        LETHE_TRY(lethe_alloc(&gain, p->m, sizeof *gain, "gains of latents", err));
        lethe_status st = read_vector(s, p->gain, gain, err);
        for (size_t j = 0; j < p->m && !st; j++)
            scale(sae->W_dec + j * p->d, p->d, (double)gain[j]);
        lethe_free(gain);
        LETHE_TRY(st);
    }
    scale(sae->W_enc, p->m * p->d, p->enc_mul);
    scale(sae->W_dec, p->m * p->d, p->dec_mul);
    scale(sae->b_dec, p->d, p->b_dec_mul);
    return lethe_sae_check_finite(sae, s->weights, err);
}

static lethe_status read_all(const lethe_layout_source *s, const lethe_plan *p, lethe_sae *sae,
                             lethe_err *err) {
    LETHE_TRY(read_matrix(s, p->W_enc, p->enc_turned, p->d, p->m, sae->W_enc, err));
    LETHE_TRY(read_vector(s, p->b_enc, sae->b_enc, err));
    LETHE_TRY(read_matrix(s, p->W_dec, p->dec_turned, p->d, p->m, sae->W_dec, err));
    LETHE_TRY(read_vector(s, p->b_dec, sae->b_dec, err));
    if (sae->threshold) LETHE_TRY(read_threshold(s, p, sae->threshold, err));
    if (sae->r_mag) LETHE_TRY(read_vector(s, p->r_mag, sae->r_mag, err));
    if (sae->b_mag) LETHE_TRY(read_vector(s, p->b_mag, sae->b_mag, err));
    return fold(s, p, sae, err);
}

lethe_status lethe_layout_read(const lethe_layout_source *s, const lethe_plan *p, lethe_sae *out,
                               lethe_err *err) {
    lethe_sae sae = {0};
    LETHE_TRY(lethe_sae_alloc_as(&sae, p->arch, p->d, p->m, p->k, err));
    sae.norm = p->norm;
    sae.raw_input = p->raw_input;
    lethe_status st = read_all(s, p, &sae, err);
    if (st)
        lethe_sae_free(&sae);
    else
        *out = sae;
    return st;
}
