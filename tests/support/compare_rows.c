/* SPDX-License-Identifier: MIT
 *
 * How near rows are to others: prints the worst cosine of two rows, and the largest difference over
 * the largest value. Exit status 1 where the shapes differ.
 * Usage: compare_rows A.safetensors NAME B.safetensors NAME
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/safetensors.h"

static lethe_err err;

static float *load(const char *path, const char *name, size_t shape[2]) {
    lethe_st *st;
    float *x = NULL;
    if (lethe_st_open(&st, path, &err)) return NULL;
    const lethe_tensor *t = lethe_st_find(st, name);
    if (t && t->ndim == 2 && !lethe_alloc(&x, t->count, sizeof *x, name, &err)) {
        memcpy(shape, t->shape, 2 * sizeof *shape);
        if (lethe_tensor_to_f32(t, 0, t->count, x, &err)) {
            lethe_free(x);
            x = NULL;
        }
    }
    lethe_st_close(&st);
    return x;
}

int main(int argc, char **argv) {
    size_t a[2], b[2];
    float *x = argc == 5 ? load(argv[1], argv[2], a) : NULL;
    float *y = argc == 5 ? load(argv[3], argv[4], b) : NULL;
    if (!x || !y || a[0] != b[0] || a[1] != b[1] || !a[0]) {
        fprintf(stderr, "compare_rows: nothing to compare: %s\n", err.text);
        return 1;
    }
    double worst = 1, most = 0, off = 0;
    for (size_t t = 0; t < a[0]; t++) {
        double xx = 0, yy = 0, xy = 0;
        for (size_t j = t * a[1]; j < (t + 1) * a[1]; j++) {
            double u = (double)x[j], v = (double)y[j];
            xx += u * u;
            yy += v * v;
            xy += u * v;
            most = fmax(most, fabs(v));
            off = fmax(off, fabs(u - v));
        }
        worst = fmin(worst, xy / sqrt(xx * yy));
    }
    printf("%.6f %.3g\n", worst, off / most);
    lethe_free(x);
    lethe_free(y);
    return 0;
}
