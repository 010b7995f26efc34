/* SPDX-License-Identifier: MIT */
#include "stage/train_curve.h"

#include <stdio.h>
#include <stdlib.h>

#include "format/jsonio.h"

static void halve(lethe_train_curve *c) {
    for (size_t i = 0; i < c->n / 2; i++) {
        const lethe_curve_point a = c->point[2 * i], b = c->point[2 * i + 1];
        c->point[i] = (lethe_curve_point){b.step, (a.loss + b.loss) / 2, (a.fvu + b.fvu) / 2,
                                          (a.dead + b.dead) / 2};
    }
    c->n /= 2;
    c->stride *= 2;
}

void lethe_train_curve_add(lethe_train_curve *c, uint64_t step, double loss, double fvu,
                           size_t dead) {
    if (!c->stride) c->stride = 1;
    c->sum.step = step;
    c->sum.loss += loss;
    c->sum.fvu += fvu;
    c->sum.dead += (double)dead;
    if (++c->in_sum < c->stride) return;
    if (c->n == LETHE_CURVE_POINTS) {
        halve(c);
        return; /* the sum is half of a point of the new stride */
    }
    double n = (double)c->in_sum;
    c->point[c->n++] = (lethe_curve_point){step, c->sum.loss / n, c->sum.fvu / n, c->sum.dead / n};
    c->sum = (lethe_curve_point){0};
    c->in_sum = 0;
}

static json_t *rounded(double x) {
    char text[40];
    snprintf(text, sizeof text, "%.6g", x);
    return lethe_json_real(strtod(text, NULL));
}

json_t *lethe_train_curve_json(const lethe_train_curve *c) {
    bool ok = true;
    json_t *o = json_object(), *step = json_array(), *loss = json_array(), *fvu = json_array(),
           *dead = json_array();
    for (size_t i = 0; i < c->n; i++) {
        lethe_json_append(step, json_integer((json_int_t)c->point[i].step), &ok);
        lethe_json_append(loss, rounded(c->point[i].loss), &ok);
        lethe_json_append(fvu, rounded(c->point[i].fvu), &ok);
        lethe_json_append(dead, rounded(c->point[i].dead), &ok);
    }
    lethe_json_put(o, "step", step, &ok);
    lethe_json_put(o, "loss", loss, &ok);
    lethe_json_put(o, "fvu", fvu, &ok);
    lethe_json_put(o, "dead", dead, &ok);
    if (ok) return o;
    json_decref(o);
    return NULL;
}
