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

struct lethe_bundle {
    lethe_container container;
    lethe_map map;
    lethe_st *st; /* safetensors only */
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

#endif
