/* SPDX-License-Identifier: MIT
 *
 * The dense float32 product of one tile, by whichever library the build found (cmake/blas.cmake).
 * Lethe shares work out itself: a product runs on the calling thread alone, so its bytes depend on
 * its sizes and not on how many threads there are.
 */
#ifndef LETHE_KERNEL_GEMM_H
#define LETHE_KERNEL_GEMM_H

#include <stddef.h>

#include "base/err.h"

/* The library's name, for messages and benchmarks: "oneDNN", "CBLAS". */
const char *lethe_gemm_name(void);

/* To be called by every thread of a parallel region before its products: keeps the library from
 * starting threads of its own on it. */
void lethe_gemm_enter(void);

/* c[n, ldc] (the first m columns) = a[n, k] (rows lda apart) times b[m, k]^T (rows ldb apart).
 * Row-major; c must not overlap a or b. Fails: NOMEM (scratch of the library), USAGE (a size beyond
 * the library's integers). */
lethe_status lethe_gemm_nt(size_t n, size_t m, size_t k, const float *a, size_t lda, const float *b,
                           size_t ldb, float *c, size_t ldc, lethe_err *err);

#endif
