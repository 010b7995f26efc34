/* SPDX-License-Identifier: MIT
 *
 * Element types and tensor views. Tensors in files are row-major; a view borrows its bytes, which
 * may be unaligned (a memory-mapped file), so read them through lethe_tensor_to_f32 / _to_i32.
 */
#ifndef LETHE_BASE_DTYPE_H
#define LETHE_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum lethe_dtype {
    LETHE_F32,
    LETHE_F16,
    LETHE_BF16,
    LETHE_F64,
    LETHE_I32,
    LETHE_I64,
    LETHE_U8,
    LETHE_BOOL,
    LETHE_I8,
    LETHE_I16,
    LETHE_U16,
    LETHE_U32,
    LETHE_U64,
    LETHE_DTYPE_COUNT
} lethe_dtype;

#define LETHE_MAX_DIMS 8

typedef struct lethe_tensor {
    const char *name; /* borrowed from the file object */
    lethe_dtype dtype;
    size_t ndim, shape[LETHE_MAX_DIMS];
    size_t count; /* product of the shape */
    const void *data;
} lethe_tensor;

size_t lethe_dtype_size(lethe_dtype t);
const char *lethe_dtype_name(lethe_dtype t); /* safetensors' names: "F32", "BF16", ... */
bool lethe_dtype_from_name(const char *name, lethe_dtype *out);

float lethe_f32_from_bf16(uint16_t h);
uint16_t lethe_bf16_from_f32(float f); /* round to nearest even; NaN stays NaN */
float lethe_f32_from_f16(uint16_t h);
uint16_t lethe_f16_from_f32(float f);

/* out[n] = elements [first, first + n) of t, converted. Fails: FORMAT for a dtype that does not
 * convert (floats to f32; I32, and I64 within range, to i32). The range is the caller's to check.
 */
lethe_status lethe_tensor_to_f32(const lethe_tensor *t, size_t first, size_t n, float *out,
                                 lethe_err *err);
lethe_status lethe_tensor_to_i32(const lethe_tensor *t, size_t first, size_t n, int32_t *out,
                                 lethe_err *err);

/* For readers: t (NULL: not there) is what was found under `name` in the file `path`; it must have
 * the given shape, in which a dimension of 0 is free. Fails: FORMAT "FILE: tensor "name" is
 * missing", "FILE: "name": got shape [..], want [..]". */
lethe_status lethe_tensor_want(const lethe_tensor *t, const char *path, const char *name,
                               size_t ndim, const size_t *shape, lethe_err *err);

#endif
