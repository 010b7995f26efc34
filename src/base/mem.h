/* SPDX-License-Identifier: MIT
 *
 * Memory. Sizes are products of outside numbers, so every allocation multiplies with a check.
 * Blocks are aligned to 64 bytes (a cache line, an AVX-512 register). Release with lethe_free.
 *
 * Three words say who holds what: borrowed (the callee only looks), owned (the receiver frees),
 * moved (owned by the callee, on success only).
 */
#ifndef LETHE_BASE_MEM_H
#define LETHE_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* *out = a * b; false (and *out untouched) when it does not fit. */
bool lethe_mul_size(size_t a, size_t b, size_t *out);

/* n * size bytes, uninitialised; NOMEM when it does not fit or there is none. n == 0 gives a valid
 * block. `what` names the thing for the message: "activations of a batch". */
lethe_status lethe_alloc(void *out_ptr, size_t n, size_t size, const char *what, lethe_err *err);

/* The same, zeroed. */
lethe_status lethe_zalloc(void *out_ptr, size_t n, size_t size, const char *what, lethe_err *err);

/* Grows *ptr_ptr (from lethe_alloc or NULL) so that it holds at least `want` elements; *cap is the
 * capacity in elements, at least doubled. The first `used` elements are kept. */
lethe_status lethe_grow(void *ptr_ptr, size_t *cap, size_t used, size_t want, size_t size,
                        const char *what, lethe_err *err);

char *lethe_strdup(const char *s); /* owned; NULL when there is no memory or s is NULL */
void lethe_free(void *p);          /* accepts NULL */

/* Tests only: lets `n` allocations succeed and fails all later ones; SIZE_MAX switches it off. */
void lethe_mem_fail_after(size_t n);

#endif
