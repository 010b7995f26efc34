/* SPDX-License-Identifier: MIT
 *
 * A floor must not leave out what the value lets pass. Rounding is monotone: fl(p + b) > t for a
 * float t says that p + b > t, so p > t - b, and the float below fl(t - b) is a floor. The same
 * holds of fl(g p) > t, so p > t / g.
 */
#include "sae/arch.h"

#include <math.h>

#include "base/run.h"
#include "kernel/kernel.h"
#include "sae/rows.h"

/* Below this many rows a loop is over before another thread has woken up. */
#define FEW 16

/* What torch's layer norm of these SAEs adds to the deviation (formulas: sae.h). */
#define LAYER_EPS 1e-5

float lethe_arch_gain(const lethe_sae *sae, size_t j) {
    /* In double, whose last bit may be a library's own; the float's hardly ever is. */
    return sae->arch == LETHE_ARCH_GATED ? (float)exp((double)sae->r_mag[j]) : 1;
}

float lethe_arch_value(const lethe_sae *sae, size_t j, float gain, float p) {
    float a = p + sae->b_enc[j], least = 0;
    switch (sae->arch) {
    case LETHE_ARCH_GATED:
        if (!(a > 0)) return 0;
        a = gain * p;
        a += sae->b_mag[j];
        break;
    case LETHE_ARCH_JUMPRELU: least = sae->threshold[j] > 0 ? sae->threshold[j] : 0; break;
    case LETHE_ARCH_TOPK:
    case LETHE_ARCH_RELU:
    case LETHE_ARCH_COUNT: break;
    }
    return a > least ? a : 0;
}

static float below(double v) {
    return nextafterf((float)v, -INFINITY);
}

float lethe_arch_floor(const lethe_sae *sae, size_t j, float gain) {
    double b = (double)sae->b_enc[j];
    if (sae->arch == LETHE_ARCH_JUMPRELU) return below(fmax((double)sae->threshold[j], 0) - b);
    if (sae->arch != LETHE_ARCH_GATED) return -sae->b_enc[j]; /* p + b > 0 is p > -b, exactly */
    double mag = (double)sae->b_mag[j];
    if (gain > 0) return fmaxf(-sae->b_enc[j], below(-mag / (double)gain));
    return mag > 0 ? -sae->b_enc[j] : INFINITY; /* exp(r_mag) is 0 in float */
}

lethe_jump lethe_arch_jump(const lethe_sae *sae, size_t j) {
    double b = (double)sae->b_enc[j];
    if (sae->arch == LETHE_ARCH_JUMPRELU)
        return (lethe_jump){1, b, fmax((double)sae->threshold[j], 0)};
    if (sae->arch != LETHE_ARCH_GATED) return (lethe_jump){1, b, 0};
    double gain = (double)lethe_arch_gain(sae, j), mag = (double)sae->b_mag[j];
    return (lethe_jump){gain, mag, fmax(mag - gain * b, 0)};
}

/* ---- norms ----------------------------------------------------------------------------------- */

static lethe_token_norm layer_norm(const float *x, size_t d) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < d; i++) sum += (double)x[i];
    double mean = sum / (double)d;
    for (size_t i = 0; i < d; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double std = d > 1 ? sqrt(squares / (double)(d - 1)) : 0;
    return (lethe_token_norm){(float)mean, (float)(1 / (std + LAYER_EPS)), (float)std};
}

lethe_token_norm lethe_norm_token(lethe_norm norm, const float *x, size_t d) {
    if (norm == LETHE_NORM_LAYER) return layer_norm(x, d);
    if (norm != LETHE_NORM_RESCALE) return (lethe_token_norm){0, 1, 1};
    double scale = sqrt(lethe_kernels_get()->sumsq(x, d) / (double)d);
    return (lethe_token_norm){0, scale > 0 ? (float)(1 / scale) : 0, (float)scale};
}

void lethe_norm_rows(const lethe_sae *sae, const float *x, size_t n, float *out, float *scale,
                     float *shift) {
    const size_t d = sae->d;
    if (sae->norm == LETHE_NORM_NONE && !sae->raw_input) {
        lethe_rows_sub(out, x, n, d, sae->b_dec);
        return;
    }
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (n > FEW)
    for (size_t t = 0; t < n; t++) {
        const lethe_token_norm k = lethe_norm_token(sae->norm, x + t * d, d);
        for (size_t i = 0; i < d; i++) {
            float u = (x[t * d + i] - k.shift) * k.inverse;
            out[t * d + i] = sae->raw_input ? u : u - sae->b_dec[i];
        }
        if (sae->norm == LETHE_NORM_NONE) continue;
        scale[t] = k.scale;
        shift[t] = k.shift;
    }
}
