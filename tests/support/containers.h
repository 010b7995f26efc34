/* SPDX-License-Identifier: MIT
 *
 * Writers of what the readers of containers are tested with, byte by byte, so that a test can make
 * any of it wrong: zip archives with claims of all kinds, pickles as torch.save writes them, .npy.
 */
#ifndef LETHE_TESTS_CONTAINERS_H
#define LETHE_TESTS_CONTAINERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

/* One file of an archive. All but name, data and n may stay 0 and is then right. */
typedef struct raw_member {
    const char *name;
    const void *data; /* as it lies in the archive */
    size_t n;
    uint64_t size;   /* unpacked, as claimed; 0: n */
    uint64_t packed; /* as claimed; 0: n */
    uint16_t method, flags;
    uint32_t crc;
    size_t same_as; /* 1 + the member whose bytes the table of contents points to instead */
    bool zip64;     /* sizes and offset in an extra field */
} raw_member;

/* The archive, appended to `out`. */
void raw_zip(lethe_strbuf *out, const raw_member *member, size_t n);

/* Parts of a pickle; single opcodes are appended as they are. */
void py_text(lethe_strbuf *p, const char *s);
void py_int(lethe_strbuf *p, int64_t x);
void py_name(lethe_strbuf *p, const char *module, const char *name);

typedef struct py_view {
    const char *storage; /* "FloatStorage"; of module torch */
    const char *key;
    int64_t elements, offset;
    size_t ndim;
    int64_t shape[10], stride[10];
} py_view;
void py_tensor(lethe_strbuf *p, const py_view *v);

/* An array of version 1.0 with this header text, and n bytes of data. */
void raw_npy(lethe_strbuf *out, const char *header, const void *data, size_t n);

#endif
