/* SPDX-License-Identifier: MIT
 *
 * What a pickle says, read without running anything. A pickle is a program for a small stack
 * machine that can call any function by its name; here names are looked up in a fixed list
 * (pickle_call.c) of what torch.save writes for dictionaries of tensors and plain values, each
 * understood as data. Every other name is refused, and so are opcodes beyond protocols 2 to 5.
 *
 * Sources: Lib/pickletools.py of CPython (opcodes), torch/_utils.py and torch/serialization.py of
 * PyTorch (what tensors are pickled as).
 *
 * Memory is bounded by the pickle: a value takes at least one byte of it.
 */
#ifndef LETHE_FORMAT_PICKLE_H
#define LETHE_FORMAT_PICKLE_H

#include "base/dtype.h"

typedef enum lethe_py_type {
    LETHE_PY_NONE,
    LETHE_PY_BOOL,
    LETHE_PY_INT,
    LETHE_PY_REAL, /* also integers beyond 64 bits */
    LETHE_PY_TEXT,
    LETHE_PY_BYTES,
    LETHE_PY_LIST, /* sets too */
    LETHE_PY_TUPLE,
    LETHE_PY_DICT, /* and argparse.Namespace */
    LETHE_PY_TENSOR,
    LETHE_PY_STORAGE,  /* of a tensor; by itself it says nothing */
    LETHE_PY_NAME,     /* a class or function of the list, not called */
    LETHE_PY_NP_DTYPE, /* numpy.dtype */
} lethe_py_type;

typedef struct lethe_py lethe_py;

/* A buffer beside the pickle: member "data/KEY" of the archive. */
typedef struct lethe_py_storage {
    const char *key; /* key_len bytes, not terminated */
    size_t key_len;
    bool typed; /* else the tensor says what is in it */
    lethe_dtype dtype;
    uint64_t bytes; /* that the pickle claims */
} lethe_py_storage;

/* A view of a storage; offset and strides in elements. Nothing is checked but signs and ranks. */
typedef struct lethe_py_tensor {
    const lethe_py_storage *storage;
    lethe_dtype dtype;
    uint64_t offset;
    size_t ndim, shape[LETHE_MAX_DIMS], stride[LETHE_MAX_DIMS];
} lethe_py_tensor;

struct lethe_py {
    lethe_py_type type;
    bool object; /* DICT: its items came as attributes */
    union {
        int64_t integer; /* BOOL, INT */
        double real;
        struct {
            const char *data; /* not terminated, any bytes */
            size_t n;
        } text; /* TEXT, BYTES */
        struct {
            lethe_py **item; /* DICT: key, value, key, value, .. */
            size_t n, cap;
        } list; /* LIST, TUPLE, DICT */
        lethe_py_tensor *tensor;
        lethe_py_storage *storage;
        const struct lethe_py_name *name;
        struct {
            lethe_dtype dtype;
            bool big_endian;
        } np;
    } as;
};

typedef struct lethe_pickle lethe_pickle;

/* data[n] is borrowed until close; `path` is for messages. Values may be shared, also in cycles:
 * who walks them bounds the depth and the number of steps. Fails: FORMAT (cut off, a name or opcode
 * that is not read, a stack that runs empty), NOMEM. */
lethe_status lethe_pickle_open(lethe_pickle **out, const char *path, const void *data, size_t n,
                               lethe_err *err);
const lethe_py *lethe_pickle_top(const lethe_pickle *p); /* borrowed */
void lethe_pickle_close(lethe_pickle **p);

const char *lethe_py_type_name(const lethe_py *v); /* "a list", "a tensor", .. */
bool lethe_py_is_text(const lethe_py *v, const char *text);
/* "module.name" of a NAME, cut at cap. */
void lethe_py_name_text(const lethe_py *v, char *out, size_t cap);

#endif
