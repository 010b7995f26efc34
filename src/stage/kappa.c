/* SPDX-License-Identifier: MIT */
#include "stage/kappa.h"

#include <math.h>

lethe_status lethe_kappa_of(const int *a, const int *b, size_t n, int classes, lethe_kappa *out,
                            lethe_err *err) {
    size_t by_a[LETHE_KAPPA_CLASSES] = {0}, by_b[LETHE_KAPPA_CLASSES] = {0}, both = 0, same = 0;
    if (classes < 1 || classes > LETHE_KAPPA_CLASSES)
        return lethe_fail(err, LETHE_USAGE, "kappa: got %d classes, want 1 to %d", classes,
                          LETHE_KAPPA_CLASSES);
    for (size_t i = 0; i < n; i++) {
        if (a[i] >= classes || b[i] >= classes)
            return lethe_fail(err, LETHE_USAGE, "kappa: item %zu has classes %d and %d of %d", i,
                              a[i], b[i], classes);
        if (a[i] < 0 || b[i] < 0) continue;
        by_a[a[i]]++;
        by_b[b[i]]++;
        both++;
        same += a[i] == b[i];
    }
    *out = (lethe_kappa){both, (double)NAN, (double)NAN, (double)NAN};
    if (!both) return LETHE_OK;
    /* In whole numbers as long as possible, so that "expected is 1" is an exact question. */
    double pairs = 0, all = (double)both * (double)both;
    for (int c = 0; c < classes; c++) pairs += (double)by_a[c] * (double)by_b[c];
    out->observed = (double)same / (double)both;
    out->expected = pairs / all;
    if (pairs < all) out->kappa = (out->observed - out->expected) / (1 - out->expected);
    return LETHE_OK;
}
