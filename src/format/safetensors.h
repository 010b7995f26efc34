/* SPDX-License-Identifier: MIT
 *
 * safetensors files: 8 bytes little-endian header length, a JSON header
 *     {"__metadata__": {"key": "string", ...}, "name": {"dtype": "F32", "shape": [..],
 *      "data_offsets": [begin, end]}, ...}
 * and the data, row-major, offsets counted from the end of the header. Everything in the header is
 * checked against the file's size before it is used: offsets inside the file, in order, without
 * holes or overlaps, and as long as shape and dtype say.
 */
#ifndef LETHE_FORMAT_SAFETENSORS_H
#define LETHE_FORMAT_SAFETENSORS_H

#include <jansson.h>

#include "base/dtype.h"
#include "base/io.h"

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct lethe_st lethe_st;

/* Fails: NOTFOUND, IO, FORMAT (names the tensor, got, wanted). */
lethe_status lethe_st_open(lethe_st **out, const char *path, lethe_err *err);
void lethe_st_close(lethe_st **st);

const char *lethe_st_path(const lethe_st *st);
size_t lethe_st_count(const lethe_st *st);
const lethe_tensor *lethe_st_at(const lethe_st *st, size_t i);           /* borrowed */
const lethe_tensor *lethe_st_find(const lethe_st *st, const char *name); /* NULL: not there */
const char *lethe_st_meta(const lethe_st *st, const char *key);          /* NULL: not there */
const json_t *lethe_st_metadata(const lethe_st *st); /* strings by key; borrowed; NULL: none */

/* The same value as text (cut to `size`; "" when it is not there) or as a number; *there: the key
 * is there, else *out stays. Fails: FORMAT (not a decimal number, more than `most`; for a real: not
 * finite). */
void lethe_st_meta_text(const lethe_st *st, const char *key, char *out, size_t size);
lethe_status lethe_st_meta_number(const lethe_st *st, const char *key, uint64_t most, bool *there,
                                  uint64_t *out, lethe_err *err);
lethe_status lethe_st_meta_real(const lethe_st *st, const char *key, bool *there, double *out,
                                lethe_err *err);

/* The tensor `name`, which must have the given shape; a dimension of 0 in `shape` is free.
 * Fails: FORMAT "FILE: "name": missing" / "got shape [..], want [..]". */
lethe_status lethe_st_want(const lethe_st *st, const char *name, size_t ndim, const size_t *shape,
                           const lethe_tensor **out, lethe_err *err);

/* ---- writing -------------------------------------------------------------------------------- */

/* Tensors are written one after the other, their first dimension found on the way (a stream of
 * rows); the header, for which room is kept, is filled in at the end. Sticky like lethe_writer. */
typedef struct lethe_st_writer lethe_st_writer;

lethe_status lethe_st_create(lethe_st_writer **out, const char *path, lethe_err *err);

/* Starts a tensor; ends the one before. shape[0] == 0 with ndim >= 1 means "as many rows as come".
 */
void lethe_st_begin(lethe_st_writer *w, const char *name, lethe_dtype dtype, size_t ndim,
                    const size_t *shape);
void lethe_st_put(lethe_st_writer *w, const void *data, size_t bytes);
void lethe_st_put_f32_as(lethe_st_writer *w, lethe_dtype dtype, const float *x, size_t n);
void lethe_st_set_meta(lethe_st_writer *w, const char *key, const char *value);
void lethe_st_set_meta_number(lethe_st_writer *w, const char *key, uint64_t value);
void lethe_st_set_meta_real(lethe_st_writer *w, const char *key,
                            double value); /* reads back same */

/* begin + put of a whole F32 tensor. */
void lethe_st_put_f32(lethe_st_writer *w, const char *name, size_t ndim, const size_t *shape,
                      const float *x);
lethe_status lethe_st_commit(lethe_st_writer **w, lethe_err *err);
void lethe_st_abort(lethe_st_writer **w);

#endif
