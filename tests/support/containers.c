/* SPDX-License-Identifier: MIT */
#include "support/containers.h"

#include <stdlib.h>
#include <string.h>

static void number(lethe_strbuf *b, uint64_t x, size_t bytes) {
    char c[8];
    for (size_t i = 0; i < bytes; i++) c[i] = (char)(unsigned char)(x >> (8 * i));
    lethe_strbuf_add(b, c, bytes);
}

/* ---- zip ------------------------------------------------------------------------------------ */

/* The fields that the header before a member and its line in the table share. */
static void common(lethe_strbuf *b, const raw_member *m, size_t extra) {
    uint64_t packed = m->packed ? m->packed : m->n, size = m->size ? m->size : m->n;
    number(b, m->zip64 ? 45 : 20, 2);
    number(b, m->flags, 2);
    number(b, m->method, 2);
    number(b, 0, 4); /* time */
    number(b, m->crc, 4);
    number(b, m->zip64 ? UINT32_MAX : packed, 4);
    number(b, m->zip64 ? UINT32_MAX : size, 4);
    number(b, strlen(m->name), 2);
    number(b, extra, 2);
}

static void zip64_extra(lethe_strbuf *b, const raw_member *m, bool table, uint64_t offset) {
    number(b, 1, 2);
    number(b, table ? 24 : 16, 2);
    number(b, m->size ? m->size : m->n, 8);
    number(b, m->packed ? m->packed : m->n, 8);
    if (table) number(b, offset, 8);
}

void raw_zip(lethe_strbuf *out, const raw_member *member, size_t n) {
    size_t *offset = calloc(n + 1, sizeof *offset), start = out->len;
    if (!offset) abort();
    for (size_t i = 0; i < n; i++) {
        const raw_member *m = &member[i];
        offset[i] = out->len - start;
        lethe_strbuf_add(out, "PK\3\4", 4);
        common(out, m, m->zip64 ? 20 : 0);
        lethe_strbuf_adds(out, m->name);
        if (m->zip64) zip64_extra(out, m, false, 0);
        if (m->n) lethe_strbuf_add(out, m->data, m->n);
    }
    size_t table = out->len - start;
    for (size_t i = 0; i < n; i++) {
        const raw_member *m = &member[i];
        size_t at = offset[m->same_as ? m->same_as - 1 : i];
        lethe_strbuf_add(out, "PK\1\2", 4);
        number(out, 45, 2);
        common(out, m, m->zip64 ? 28 : 0);
        number(out, 0, 6); /* length of the comment, disk, attributes */
        number(out, 0, 4);
        number(out, m->zip64 ? UINT32_MAX : at, 4);
        lethe_strbuf_adds(out, m->name);
        if (m->zip64) zip64_extra(out, m, true, at);
    }
    size_t end = out->len - start;
    lethe_strbuf_add(out, "PK\5\6", 4);
    number(out, 0, 4);
    number(out, n, 2);
    number(out, n, 2);
    number(out, end - table, 4);
    number(out, table, 4);
    number(out, 0, 2);
    free(offset);
}

/* ---- pickles -------------------------------------------------------------------------------- */

void py_text(lethe_strbuf *p, const char *s) {
    lethe_strbuf_adds(p, "X");
    number(p, strlen(s), 4);
    lethe_strbuf_adds(p, s);
}

void py_int(lethe_strbuf *p, int64_t x) {
    if (x >= INT32_MIN && x <= INT32_MAX) {
        lethe_strbuf_adds(p, "J");
        number(p, (uint64_t)x, 4);
        return;
    }
    lethe_strbuf_add(p, "\x8a\x08", 2);
    number(p, (uint64_t)x, 8);
}

void py_name(lethe_strbuf *p, const char *module, const char *name) {
    lethe_strbuf_addf(p, "c%s\n%s\n", module, name);
}

void py_tensor(lethe_strbuf *p, const py_view *v) {
    py_name(p, "torch._utils", "_rebuild_tensor_v2");
    lethe_strbuf_adds(p, "((");
    py_text(p, "storage");
    py_name(p, "torch", v->storage);
    py_text(p, v->key);
    py_text(p, "cpu");
    py_int(p, v->elements);
    lethe_strbuf_adds(p, "tQ");
    py_int(p, v->offset);
    lethe_strbuf_adds(p, "(");
    for (size_t i = 0; i < v->ndim; i++) py_int(p, v->shape[i]);
    lethe_strbuf_adds(p, "t(");
    for (size_t i = 0; i < v->ndim; i++) py_int(p, v->stride[i]);
    lethe_strbuf_adds(p, "t\x89");
    py_name(p, "collections", "OrderedDict");
    lethe_strbuf_adds(p, ")RtR");
}

/* ---- NumPy ---------------------------------------------------------------------------------- */

void raw_npy(lethe_strbuf *out, const char *header, const void *data, size_t n) {
    lethe_strbuf_add(out, "\x93NUMPY\1\0", 8);
    number(out, strlen(header), 2);
    lethe_strbuf_adds(out, header);
    if (n) lethe_strbuf_add(out, data, n);
}
