/* SPDX-License-Identifier: MIT
 *
 * Named tensors and plain values of one file, whatever it is kept in; told apart by content, not by
 * name:
 *
 *   safetensors     tensors; its metadata as values
 *   .pt             the zip that torch.save writes since PyTorch 1.6, run by an interpreter that
 *                   executes nothing (pickle.h). Dictionaries in one another become names with
 * dots: "sae_state_dict.W_dec"; items of lists are numbered: "layers.0" .npz, .npy      NumPy's
 * arrays
 *
 * What has no name of its own (the array of a .npy, a checkpoint that is one tensor or a list) is
 * called "data".
 *
 * Nothing is believed before it is checked against the size of the file, and memory is bounded by
 * it. An open bundle is only read: any number of threads may.
 */
#ifndef LETHE_FORMAT_BUNDLE_H
#define LETHE_FORMAT_BUNDLE_H

#include <jansson.h>

#include "base/dtype.h"

#define LETHE_BUNDLE_ONLY "data"

typedef enum lethe_container {
    LETHE_SAFETENSORS,
    LETHE_TORCH,
    LETHE_NPZ,
    LETHE_NPY,
    LETHE_CONTAINER_COUNT
} lethe_container;

typedef struct lethe_bundle lethe_bundle;

/* Fails: NOTFOUND, IO, FORMAT (names file, member or tensor, got, wanted), NOMEM. */
lethe_status lethe_bundle_open(lethe_bundle **out, const char *path, lethe_err *err);
void lethe_bundle_close(lethe_bundle **b);

const char *lethe_bundle_path(const lethe_bundle *b);
lethe_container lethe_bundle_container(const lethe_bundle *b);
const char *lethe_container_name(lethe_container c); /* "safetensors", "PyTorch checkpoint", .. */

/* Tensors, row-major and contiguous whatever their strides were in the file, little-endian; names
 * are valid UTF-8 and differ; borrowed. */
size_t lethe_bundle_count(const lethe_bundle *b);
const lethe_tensor *lethe_bundle_at(const lethe_bundle *b, size_t i);
const lethe_tensor *lethe_bundle_find(const lethe_bundle *b,
                                      const char *name); /* NULL: not there */

/* What else the file says, nested as it is there: {"args": {"layer": 15, "k": 6}, "epoch": 3}. An
 * object, never NULL; borrowed. Tensors are left out (null in a list); numbers that are not finite
 * are null, integers beyond 64 bits reals; tuples and sets are lists, objects dictionaries. */
const json_t *lethe_bundle_values(const lethe_bundle *b);

/* As lethe_st_want: the tensor, of that shape; 0 in shape is free. */
lethe_status lethe_bundle_want(const lethe_bundle *b, const char *name, size_t ndim,
                               const size_t *shape, const lethe_tensor **out, lethe_err *err);

#endif
