/* SPDX-License-Identifier: MIT */
#include "kernel/gemm.h"

#include <limits.h>
#include <omp.h>

#ifdef LETHE_GEMM_DNNL
#include <dnnl.h>

static const char name[] = "oneDNN";

/* oneDNN computes on the calling thread inside a parallel region, except in a team of one, where it
 * would take as many threads as the task may start. */
static void enter(void) {
    omp_set_num_threads(1);
}

static int product(int n, int m, int k, const float *a, int lda, const float *b, int ldb, float *c,
                   int ldc) {
    return dnnl_sgemm('N', 'T', n, m, k, 1.0f, a, lda, b, ldb, 0.0f, c, ldc) != dnnl_success;
}
#else
#include <cblas.h>

static const char name[] = "CBLAS";

#ifdef OPENBLAS_VERSION
static void enter(void) {
    omp_set_num_threads(1);
    openblas_set_num_threads(1);
}
#else
static void enter(void) {
    omp_set_num_threads(1);
}
#endif

static int product(int n, int m, int k, const float *a, int lda, const float *b, int ldb, float *c,
                   int ldc) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, m, k, 1.0f, a, lda, b, ldb, 0.0f, c,
                ldc);
    return 0;
}
#endif

const char *lethe_gemm_name(void) {
    return name;
}

void lethe_gemm_enter(void) {
    enter();
}

lethe_status lethe_gemm_nt(size_t n, size_t m, size_t k, const float *a, size_t lda, const float *b,
                           size_t ldb, float *c, size_t ldc, lethe_err *err) {
    if (n == 0 || m == 0) return LETHE_OK;
    if (n > INT_MAX || m > INT_MAX || lda > INT_MAX || ldb > INT_MAX || ldc > INT_MAX)
        return lethe_fail(err, LETHE_USAGE, "a dense product of %zu x %zu x %zu is too large", n, m,
                          k);
    if (product((int)n, (int)m, (int)k, a, (int)lda, b, (int)ldb, c, (int)ldc))
        return lethe_fail(err, LETHE_NOMEM,
                          "out of memory in a dense product of %zu x %zu x %zu (try a smaller "
                          "batch)",
                          n, m, k);
    return LETHE_OK;
}
