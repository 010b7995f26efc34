/* SPDX-License-Identifier: MIT */
#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static char *room(lethe_strbuf *b, size_t n) {
    if (b->status) return NULL;
    b->status =
        lethe_grow(&b->data, &b->cap, b->data ? b->len + 1 : 0, b->len + n + 1, 1, "text", NULL);
    return b->status ? NULL : b->data + b->len;
}

void lethe_strbuf_add(lethe_strbuf *b, const char *s, size_t n) {
    char *p = room(b, n);
    if (!p) return;
    memcpy(p, s, n);
    p[n] = '\0';
    b->len += n;
}

void lethe_strbuf_adds(lethe_strbuf *b, const char *s) {
    lethe_strbuf_add(b, s, strlen(s));
}

void lethe_strbuf_addf(lethe_strbuf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : room(b, (size_t)n);
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void lethe_strbuf_clear(lethe_strbuf *b) {
    b->len = 0;
    b->status = LETHE_OK;
    if (b->data) b->data[0] = '\0';
}

void lethe_strbuf_free(lethe_strbuf *b) {
    lethe_free(b->data);
    *b = (lethe_strbuf){0};
}

const char *lethe_strbuf_str(const lethe_strbuf *b) {
    return b->data ? b->data : "";
}
