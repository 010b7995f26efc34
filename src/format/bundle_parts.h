/* SPDX-License-Identifier: MIT
 *
 * The inside of a bundle, for the readers of its containers: each fills in tensors and values of a
 * bundle whose map is open; what they allocate for it is kept with lethe_bundle_block and released
 * when it closes, also after a failure.
 */
#ifndef LETHE_FORMAT_BUNDLE_PARTS_H
#define LETHE_FORMAT_BUNDLE_PARTS_H

#include "base/io.h"
#include "format/bundle.h"
#include "format/safetensors.h"
#include "format/zip.h"

typedef struct lethe_bundle_member {
    const char *name;          /* borrowed from the archive */
    size_t index;              /* in the archive */
    const unsigned char *data; /* NULL: not asked for yet */
    size_t size;
} lethe_bundle_member;

struct lethe_bundle {
    lethe_container container;
    lethe_map map;
    lethe_st *st;   /* safetensors only */
    lethe_zip *zip; /* archives only, and their files in the order of their names */
    lethe_bundle_member *member;
    size_t n_members;
    uint64_t unpacked; /* bytes that packed members took */
    lethe_tensor *tensor;
    size_t n, cap;
    json_t *values; /* owned */
    void **block;   /* owned memory that tensors and names point into */
    size_t n_blocks, blocks_cap;
};

/* n * size bytes that live as long as the bundle. */
lethe_status lethe_bundle_block(lethe_bundle *b, void *out_ptr, size_t n, size_t size,
                                const char *what, lethe_err *err);

/* Appends *t; name[n] is copied. Fails: FORMAT (the name is empty, not UTF-8 or has control
 * characters), NOMEM. That names differ is checked when all are there. */
lethe_status lethe_bundle_add(lethe_bundle *b, const lethe_tensor *t, const char *name, size_t n,
                              lethe_err *err);

/* ---- archives ------------------------------------------------------------------------------- */

/* Opens the map as a zip archive. Fails: FORMAT (a name twice, a name like "../x"). */
lethe_status lethe_bundle_zip(lethe_bundle *b, lethe_err *err);
lethe_bundle_member *lethe_bundle_member_find(const lethe_bundle *b, const char *name);

/* Fills in data and size: a view into the map, or unpacked and kept, if that is in proportion to
 * the file. Fails: FORMAT, NOMEM. */
lethe_status lethe_bundle_member_bytes(lethe_bundle *b, lethe_bundle_member *m, lethe_err *err);

/* ---- strides -------------------------------------------------------------------------------- */

typedef struct lethe_bundle_strides {
    size_t of[LETHE_MAX_DIMS]; /* in elements */
} lethe_bundle_strides;

/* Those of an array without gaps, its last (fortran: its first) dimension the dense one. */
void lethe_bundle_dense(lethe_bundle_strides *s, size_t ndim, const size_t *shape, bool fortran);

/* Makes t, whose data has these strides and byte order, row-major and little-endian, in a block of
 * the bundle where it is not. That all of it lies in the data is the caller's to check. */
bool lethe_bundle_needs_copy(const lethe_tensor *t, const lethe_bundle_strides *s, bool big_endian);
lethe_status lethe_bundle_gather(lethe_bundle *b, lethe_tensor *t, const lethe_bundle_strides *s,
                                 bool big_endian, lethe_err *err);

/* ---- the readers ---------------------------------------------------------------------------- */

lethe_bundle_member *lethe_bundle_torch_pickle(const lethe_bundle *b); /* NULL: no checkpoint */
lethe_status lethe_bundle_read_torch(lethe_bundle *b, lethe_err *err);
lethe_status lethe_bundle_refuse_pickle(const lethe_bundle *b, lethe_err *err);
lethe_status lethe_bundle_read_npz(lethe_bundle *b, lethe_err *err);
lethe_status lethe_bundle_read_npy(lethe_bundle *b, lethe_err *err);

#endif
