/* SPDX-License-Identifier: MIT
 *
 * NumPy's arrays. A .npy file is the bytes 93 "NUMPY", two of version (1.0, 2.0, 3.0), the length
 * of the header (2 bytes little-endian, from 2.0 on 4) and the header, a Python literal
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 * and then the data. Source: numpy/lib/format.py.
 */
#ifndef LETHE_FORMAT_NPY_H
#define LETHE_FORMAT_NPY_H

#include "base/dtype.h"

#define LETHE_NPY_MAGIC "\x93NUMPY"
#define LETHE_NPY_MAGIC_LEN 6

typedef struct lethe_npy {
    lethe_dtype dtype;
    bool big_endian, fortran; /* fortran: the first dimension is the dense one */
    size_t ndim, shape[LETHE_MAX_DIMS], count;
    const unsigned char *data; /* count elements, in the bytes that were read */
} lethe_npy;

/* A dtype as NumPy writes it ("<f4", "f4", "|b1"). False: none that is read. */
bool lethe_npy_type(const char *s, size_t n, lethe_dtype *out, bool *big_endian);

/* Reads the header in data[n], which must be one array and nothing more. `what` says which array,
 * for messages ("params.npz: \"W_enc\""). Fails: FORMAT. */
lethe_status lethe_npy_read(lethe_npy *out, const char *what, const void *data, size_t n,
                            lethe_err *err);

#endif
