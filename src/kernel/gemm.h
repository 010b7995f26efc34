/* SPDX-License-Identifier: MIT
 *
 * The dense float32 product of whole matrices, by whichever library the build found
 * (cmake/blas.cmake). Nothing that Lethe computes for its results uses it: it is what those are
 * measured against (sae/dense.h, stage/bench.h).
 */
#ifndef LETHE_KERNEL_GEMM_H
#define LETHE_KERNEL_GEMM_H

#include <stddef.h>

#include "base/err.h"

/* The library's name, for messages and benchmarks: "oneDNN", "CBLAS". */
const char *lethe_gemm_name(void);

/* How the two factors lie in memory: N as they are named, T transposed. */
typedef enum lethe_gemm_kind {
    LETHE_GEMM_NN, /* a [n, k], b [k, m] */
    LETHE_GEMM_NT, /* a [n, k], b [m, k] */
    LETHE_GEMM_TN  /* a [k, n], b [k, m] */
} lethe_gemm_kind;

/* c[n, m] = beta c + the product, on lethe_threads() threads: the library's own. Row-major without
 * gaps; c must not overlap a or b, and is not read when beta is 0. Not to be called from a parallel
 * region; the bytes may depend on the number of threads. Fails: NOMEM (scratch of the library),
 * USAGE (a size beyond the library's integers). */
lethe_status lethe_gemm(lethe_gemm_kind kind, size_t n, size_t m, size_t k, const float *a,
                        const float *b, float beta, float *c, lethe_err *err);

#endif
