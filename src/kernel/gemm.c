/* SPDX-License-Identifier: MIT */
#include "kernel/gemm.h"

#include <limits.h>
#include <omp.h>
#include <stdbool.h>

#include "base/run.h"

/* What a library has to bring: c = beta c + op(a) op(b) on so many threads; not 0: it failed. */
typedef struct product {
    int n, m, k;
    bool ta, tb;
    const float *a, *b;
    float *c;
    int lda, ldb, ldc;
    float beta;
} product;

#ifdef LETHE_GEMM_DNNL
#include <dnnl.h>

static const char name[] = "oneDNN";

static int run(const product *p, int threads) {
    omp_set_num_threads(threads);
    return dnnl_sgemm(p->ta ? 'T' : 'N', p->tb ? 'T' : 'N', p->n, p->m, p->k, 1.0f, p->a, p->lda,
                      p->b, p->ldb, p->beta, p->c, p->ldc) != dnnl_success;
}
#else
#include <cblas.h>

static const char name[] = "CBLAS";

#ifdef OPENBLAS_VERSION
static void use_threads(int n) {
    openblas_set_num_threads(n);
}
#else
static void use_threads(int n) {
    omp_set_num_threads(n);
}
#endif

static int run(const product *p, int threads) {
    use_threads(threads);
    cblas_sgemm(CblasRowMajor, p->ta ? CblasTrans : CblasNoTrans, p->tb ? CblasTrans : CblasNoTrans,
                p->n, p->m, p->k, 1.0f, p->a, p->lda, p->b, p->ldb, p->beta, p->c, p->ldc);
    return 0;
}
#endif

const char *lethe_gemm_name(void) {
    return name;
}

lethe_status lethe_gemm(lethe_gemm_kind kind, size_t n, size_t m, size_t k, const float *a,
                        const float *b, float beta, float *c, lethe_err *err) {
    if (n == 0 || m == 0) return LETHE_OK;
    if (n > INT_MAX || m > INT_MAX || k > INT_MAX)
        return lethe_fail(err, LETHE_USAGE, "a dense product of %zu x %zu x %zu is too large", n, m,
                          k);
    bool ta = kind == LETHE_GEMM_TN, tb = kind == LETHE_GEMM_NT;
    const product p = {.n = (int)n,
                       .m = (int)m,
                       .k = (int)k,
                       .ta = ta,
                       .tb = tb,
                       .a = a,
                       .b = b,
                       .c = c,
                       .lda = (int)(ta ? n : k),
                       .ldb = (int)(tb ? k : m),
                       .ldc = (int)m,
                       .beta = beta};
    if (run(&p, lethe_threads()))
        return lethe_fail(err, LETHE_NOMEM,
                          "out of memory in a dense product of %zu x %zu x %zu (try a smaller "
                          "batch)",
                          n, m, k);
    return LETHE_OK;
}
