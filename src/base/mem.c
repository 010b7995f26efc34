/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN 64u

static atomic_size_t g_allowance = SIZE_MAX;

void lethe_mem_fail_after(size_t n) {
    atomic_store(&g_allowance, n);
}

static bool allowed(void) {
    size_t left = atomic_load(&g_allowance);
    if (left == SIZE_MAX) return true;
    while (left > 0)
        if (atomic_compare_exchange_weak(&g_allowance, &left, left - 1)) return true;
    return false;
}

bool lethe_mul_size(size_t a, size_t b, size_t *out) {
    size_t p;
    if (__builtin_mul_overflow(a, b, &p)) return false;
    *out = p;
    return true;
}

/* Blocks from here on begin at a huge page and ask for such pages: rows of a matrix that are read
 * in no order cost one miss of the translation cache each otherwise. Systems without them say no,
 * which is as well. */
#define LARGE (8u << 20)
#define HUGE_PAGE (2u << 20)

static void *aligned(size_t bytes) {
    size_t unit = bytes >= LARGE ? HUGE_PAGE : ALIGN;
    if (!allowed() || bytes > SIZE_MAX - unit) return NULL;
    size_t rounded = (bytes + unit - 1) / unit * unit;
    void *p = aligned_alloc(unit, rounded ? rounded : unit);
#ifdef MADV_HUGEPAGE
    if (p && unit == HUGE_PAGE) madvise(p, rounded, MADV_HUGEPAGE);
#endif
    return p;
}

/* out_ptr is a T** passed as void*: memcpy writes it without type punning. */
lethe_status lethe_alloc(void *out_ptr, size_t n, size_t size, const char *what, lethe_err *err) {
    size_t bytes = 0;
    void *p = lethe_mul_size(n, size, &bytes) ? aligned(bytes) : NULL;
    if (!p)
        return lethe_fail(err, LETHE_NOMEM,
                          "out of memory: %s needs %zu x %zu bytes (try a smaller batch, "
                          "dictionary or buffer)",
                          what, n, size);
    memcpy(out_ptr, &p, sizeof p);
    return LETHE_OK;
}

lethe_status lethe_zalloc(void *out_ptr, size_t n, size_t size, const char *what, lethe_err *err) {
    void *p = NULL;
    LETHE_TRY(lethe_alloc(&p, n, size, what, err));
    memset(p, 0, n * size);
    memcpy(out_ptr, &p, sizeof p);
    return LETHE_OK;
}

lethe_status lethe_grow(void *ptr_ptr, size_t *cap, size_t used, size_t want, size_t size,
                        const char *what, lethe_err *err) {
    if (want <= *cap) return LETHE_OK;
    size_t ncap = *cap > SIZE_MAX / 2 ? want : *cap * 2;
    if (ncap < want) ncap = want;
    if (ncap < 16) ncap = 16;
    void *old, *p = NULL;
    memcpy(&old, ptr_ptr, sizeof old);
    LETHE_TRY(lethe_alloc(&p, ncap, size, what, err));
    if (used) memcpy(p, old, used * size);
    lethe_free(old);
    memcpy(ptr_ptr, &p, sizeof p);
    *cap = ncap;
    return LETHE_OK;
}

char *lethe_strdup(const char *s) {
    if (!s) return NULL;
    size_t n = strlen(s) + 1;
    char *p = aligned(n);
    if (p) memcpy(p, s, n);
    return p;
}

void lethe_free(void *p) {
    free(p);
}
