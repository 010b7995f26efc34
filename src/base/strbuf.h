/* SPDX-License-Identifier: MIT
 *
 * A string that grows. Sticky: after an allocation failed, later appends do nothing and
 * lethe_strbuf_status says NOMEM; so check once, at the end.
 */
#ifndef LETHE_BASE_STRBUF_H
#define LETHE_BASE_STRBUF_H

#include <stddef.h>

#include "base/err.h"

typedef struct lethe_strbuf {
    char *data; /* NUL-terminated once something was appended; NULL before */
    size_t len, cap;
    lethe_status status;
} lethe_strbuf;

void lethe_strbuf_add(lethe_strbuf *b, const char *s, size_t n);
void lethe_strbuf_adds(lethe_strbuf *b, const char *s);
void lethe_strbuf_addf(lethe_strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void lethe_strbuf_clear(lethe_strbuf *b); /* empties, keeps the memory */
void lethe_strbuf_free(lethe_strbuf *b);
const char *lethe_strbuf_str(const lethe_strbuf *b); /* never NULL */

#endif
