/* SPDX-License-Identifier: MIT
 *
 * Tensors of any strides and byte order become row-major and little-endian, copied only where they
 * are not.
 */
#include <string.h>

#include "base/mem.h"
#include "format/bundle_parts.h"

/* Where rows are columns in the file, a tile of both stays in the first cache. */
#define TILE 32

void lethe_bundle_dense(lethe_bundle_strides *s, size_t ndim, const size_t *shape, bool fortran) {
    size_t step = 1;
    for (size_t i = 0; i < ndim; i++) {
        size_t k = fortran ? i : ndim - 1 - i;
        s->of[k] = step;
        step *= shape[k];
    }
}

static bool is_dense(const lethe_tensor *t, const lethe_bundle_strides *s) {
    lethe_bundle_strides dense;
    lethe_bundle_dense(&dense, t->ndim, t->shape, false);
    for (size_t i = 0; i < t->ndim; i++)
        if (t->shape[i] > 1 && s->of[i] != dense.of[i]) return false;
    return true;
}

/* to[rows, columns] = from, whose steps are in bytes; elements of `size` bytes, a constant where
 * this is inlined. */
static inline void copy_tile(unsigned char *to, const unsigned char *from, size_t rows,
                             size_t columns, size_t row_step, size_t column_step, size_t to_step,
                             size_t size) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            memcpy(to + i * to_step + j * size, from + i * row_step + j * column_step, size);
}

static void copy_plane(unsigned char *to, const unsigned char *from, size_t rows, size_t columns,
                       size_t row_step, size_t column_step, size_t size) {
    for (size_t i = 0; i < rows; i += TILE)
        for (size_t j = 0; j < columns; j += TILE) {
            size_t r = rows - i < TILE ? rows - i : TILE,
                   c = columns - j < TILE ? columns - j : TILE;
            unsigned char *x = to + (i * columns + j) * size;
            const unsigned char *y = from + i * row_step + j * column_step;
            switch (size) {
            case 1: copy_tile(x, y, r, c, row_step, column_step, columns, 1); break;
            case 2: copy_tile(x, y, r, c, row_step, column_step, columns * 2, 2); break;
            case 4: copy_tile(x, y, r, c, row_step, column_step, columns * 4, 4); break;
            default: copy_tile(x, y, r, c, row_step, column_step, columns * 8, 8);
            }
        }
}

/* Planes of the last two dimensions, in the order of the others. */
static void copy_strided(unsigned char *to, const lethe_tensor *t, const lethe_bundle_strides *s) {
    size_t n = t->ndim, size = lethe_dtype_size(t->dtype), place[LETHE_MAX_DIMS] = {0};
    size_t columns = n ? t->shape[n - 1] : 1, rows = n > 1 ? t->shape[n - 2] : 1;
    size_t column_step = n ? s->of[n - 1] * size : 0, row_step = n > 1 ? s->of[n - 2] * size : 0;
    size_t outer = n > 2 ? n - 2 : 0;
    const unsigned char *from = t->data;
    for (size_t done = 0; done < t->count; done += rows * columns) {
        size_t at = 0;
        for (size_t i = 0; i < outer; i++) at += place[i] * s->of[i];
        copy_plane(to + done * size, from + at * size, rows, columns, row_step, column_step, size);
        for (size_t i = outer; i-- > 0 && ++place[i] == t->shape[i];) place[i] = 0;
    }
}

static void swap_bytes(unsigned char *p, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++, p += size)
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            unsigned char c = p[a];
            p[a] = p[b];
            p[b] = c;
        }
}

bool lethe_bundle_needs_copy(const lethe_tensor *t, const lethe_bundle_strides *s,
                             bool big_endian) {
    return t->count && (!is_dense(t, s) || (big_endian && lethe_dtype_size(t->dtype) > 1));
}

lethe_status lethe_bundle_gather(lethe_bundle *b, lethe_tensor *t, const lethe_bundle_strides *s,
                                 bool big_endian, lethe_err *err) {
    if (!lethe_bundle_needs_copy(t, s, big_endian)) return LETHE_OK;
    unsigned char *to;
    LETHE_TRY(lethe_bundle_block(b, &to, t->count, lethe_dtype_size(t->dtype), "a tensor", err));
    copy_strided(to, t, s);
    if (big_endian) swap_bytes(to, t->count, lethe_dtype_size(t->dtype));
    t->data = to;
    return LETHE_OK;
}
