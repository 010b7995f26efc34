/* SPDX-License-Identifier: MIT
 *
 * A row belongs to one thread. Coefficients are taken in double and rounded once; features are
 * added in the order of their list, direction in that of the chosen features.
 */
#include "stage/intervene.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/run.h"
#include "format/jsonio.h"
#include "kernel/kernel.h"

/* A single decoded token is over before another thread has woken up. */
#define FEW 8

static const char *const methods[LETHE_METHOD_COUNT] = {"scale", "clamp", "direction"};

const char *lethe_method_name(lethe_method m) {
    return m < LETHE_METHOD_COUNT ? methods[m] : "?";
}

bool lethe_method_from_name(const char *name, lethe_method *out) {
    for (int m = 0; m < LETHE_METHOD_COUNT; m++)
        if (!strcmp(name, methods[m])) {
            *out = (lethe_method)m;
            return true;
        }
    return false;
}

static const char *const units[] = {"activation", "norm"};

const char *lethe_clamp_unit_name(lethe_clamp_unit u) {
    return units[u == LETHE_CLAMP_NORM];
}

bool lethe_clamp_unit_from_name(const char *name, lethe_clamp_unit *out) {
    for (int u = 0; u < 2; u++)
        if (!strcmp(name, units[u])) {
            *out = (lethe_clamp_unit)u;
            return true;
        }
    return false;
}

lethe_intervention lethe_intervention_scale(double factor) {
    return (lethe_intervention){.method = LETHE_METHOD_SCALE, .strength = factor};
}

lethe_status lethe_intervention_check(const lethe_intervention *how, lethe_err *err) {
    bool scale = how->method == LETHE_METHOD_SCALE;
    if (how->method >= LETHE_METHOD_COUNT)
        return lethe_fail(err, LETHE_USAGE, "--method must be scale, clamp or direction");
    if (!isfinite(how->strength))
        return lethe_fail(err, LETHE_USAGE, "--%s is %g, must be a finite number",
                          scale ? "scale" : "strength", how->strength);
    if (!scale && how->strength < 0)
        return lethe_fail(err, LETHE_USAGE,
                          "--strength is %g, must be 0 or more: %s pushes back the more, the "
                          "larger it is",
                          how->strength, lethe_method_name(how->method));
    bool share = how->guard_by == LETHE_GUARD_SHARE;
    double most = share ? 1 : LETHE_GUARD_NEVER;
    if (how->guard && !(how->guard_threshold >= 0 && how->guard_threshold <= most))
        return lethe_fail(err, LETHE_USAGE, "--guard is %g, must be %s", how->guard_threshold,
                          share ? "a share from 0 to 1"
                                : "0 or more nats of evidence, at most 1e9");
    return LETHE_OK;
}

void lethe_intervention_text(const lethe_intervention *how, char *out, size_t size) {
    char guard[96] = "", unit[32] = "";
    if (how->method == LETHE_METHOD_CLAMP)
        snprintf(unit, sizeof unit, " (%s)", lethe_clamp_unit_name(how->unit));
    if (how->method == LETHE_METHOD_DIRECTION && how->gated)
        snprintf(unit, sizeof unit, " (gated)");
    if (how->guard && how->guard_by == LETHE_GUARD_EVIDENCE)
        snprintf(guard, sizeof guard, ", guard %.4g nats of evidence", how->guard_threshold);
    else if (how->guard && how->guard_window)
        snprintf(guard, sizeof guard, ", guard %.4g of %zu positions", how->guard_threshold,
                 how->guard_window);
    else if (how->guard)
        snprintf(guard, sizeof guard, ", guard %.4g of all positions so far", how->guard_threshold);
    snprintf(out, size, "%s %g%s%s", lethe_method_name(how->method), how->strength, unit, guard);
}

void lethe_intervention_json(const lethe_intervention *how, json_t *object, bool *ok) {
    lethe_json_put(object, "method", json_string(lethe_method_name(how->method)), ok);
    lethe_json_put(object, "strength", lethe_json_real(how->strength), ok);
    if (how->method == LETHE_METHOD_CLAMP)
        lethe_json_put(object, "clamp_unit", json_string(lethe_clamp_unit_name(how->unit)), ok);
    if (how->method == LETHE_METHOD_DIRECTION)
        lethe_json_put(object, "gated", json_boolean(how->gated), ok);
    lethe_json_put(object, "guard",
                   how->guard ? lethe_json_real(how->guard_threshold) : json_null(), ok);
    if (!how->guard) return;
    lethe_json_put(object, "guard_by", json_string(lethe_guard_by_name(how->guard_by)), ok);
    if (how->guard_by == LETHE_GUARD_SHARE)
        lethe_json_put(object, "guard_window", json_integer((json_int_t)how->guard_window), ok);
}

bool lethe_all_known(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* ---- one row --------------------------------------------------------------------------------- */

typedef struct fired_row {
    const int32_t *index;
    const float *value;
    size_t count;
    double scale, shift;
} fired_row;

static fired_row row_of(const lethe_fires *f, size_t t) {
    return (fired_row){f->index + t * f->cap, f->value + t * f->cap, f->count[t],
                       f->scale ? (double)f->scale[t] : 1, f->shift ? (double)f->shift[t] : 0};
}

static void add(const lethe_kernels *kern, const lethe_chosen_rows *c, float *x, size_t i,
                float coef) {
    if (coef != 0) kern->axpy(x, coef, c->row[i], c->d); /* 0: not even -0 becomes +0 */
}

static void scale_row(const lethe_kernels *kern, const lethe_chosen_rows *c, double factor,
                      float *x, const fired_row *f) {
    for (size_t j = 0; j < f->count; j++)
        add(kern, c, x, (size_t)f->index[j],
            (float)((factor - 1.0) * (double)f->value[j] * f->scale));
}

static void clamp_row(const lethe_kernels *kern, const lethe_chosen_rows *c,
                      const lethe_intervention *how, float *x, const fired_row *f) {
    if (!f->count) return;
    bool by_norm = how->unit == LETHE_CLAMP_NORM;
    double norm = by_norm ? sqrt(kern->sumsq(x, c->d)) : 0;
    for (size_t j = 0; j < f->count; j++) {
        size_t i = (size_t)f->index[j];
        /* What the stream has along the row: scale times the activation. */
        double to = by_norm ? norm * (double)c->inverse[i] : (double)c->mean[i] * f->scale;
        add(kern, c, x, i, (float)(-how->strength * to - (double)f->value[j] * f->scale));
    }
}

static void direction_row(const lethe_kernels *kern, const lethe_chosen_rows *c, double alpha,
                          float *x, const fired_row *f, float *coef) {
    for (size_t i = 0; i < c->n; i++) {
        double inverse = (double)c->inverse[i], off = (double)c->centre[i] * f->scale;
        if (f->shift != 0) off += f->shift * (double)c->sum[i];
        double along = ((double)kern->dot(x, c->row[i], c->d) - off) * inverse;
        coef[i] = along > 0 ? (float)(-alpha * along * inverse) : 0;
    }
    for (size_t i = 0; i < c->n; i++) add(kern, c, x, i, coef[i]);
}

void lethe_intervene(const lethe_chosen_rows *c, const lethe_intervention *how, float *x,
                     size_t rows, const lethe_fires *fires, const bool *act, float *coef) {
    const lethe_kernels *kern = lethe_kernels_get();
#pragma omp parallel for num_threads(lethe_threads()) schedule(static) if (rows > FEW)
    for (size_t t = 0; t < rows; t++) {
        if (act && !act[t]) continue;
        fired_row f = row_of(fires, t);
        float *row = x + t * c->d;
        switch (how->method) {
        case LETHE_METHOD_CLAMP: clamp_row(kern, c, how, row, &f); break;
        case LETHE_METHOD_DIRECTION:
            if (f.count || !how->gated)
                direction_row(kern, c, how->strength, row, &f, coef + t * c->n);
            break;
        case LETHE_METHOD_SCALE:
        case LETHE_METHOD_COUNT: scale_row(kern, c, how->strength, row, &f); break;
        }
    }
}
