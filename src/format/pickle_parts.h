/* SPDX-License-Identifier: MIT
 *
 * Between the machine (pickle.c) and what its names mean (pickle_call.c).
 */
#ifndef LETHE_FORMAT_PICKLE_PARTS_H
#define LETHE_FORMAT_PICKLE_PARTS_H

#include "format/pickle.h"

/* Where an instruction is carried out: who owns new values, and for messages. */
typedef struct lethe_py_site {
    lethe_pickle *owner;
    const char *path;
    size_t at; /* byte of the instruction */
    lethe_err *err;
} lethe_py_site;

/* A new value (owned by the pickle, zeroed but for its type). */
lethe_status lethe_py_new(const lethe_py_site *s, lethe_py_type type, lethe_py **out);

/* n zeroed bytes that live as long as the pickle. */
lethe_status lethe_py_block(const lethe_py_site *s, size_t n, void *out_ptr);

/* Appends to LIST, TUPLE or (key and value) DICT. */
lethe_status lethe_py_append(const lethe_py_site *s, lethe_py *list, lethe_py *item);

/* FORMAT "PATH: pickle, byte AT: ..." */
lethe_status lethe_py_fail(const lethe_py_site *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The value that a name stands for. Fails: FORMAT, names that are not of the list. */
lethe_status lethe_py_lookup(const lethe_py_site *s, const char *module, size_t module_len,
                             const char *name, size_t name_len, lethe_py **out);

/* What comes of calling f with args, of making an object of class f, of giving an object its state
 * (into itself), of a persistent number. */
lethe_status lethe_py_call(const lethe_py_site *s, const lethe_py *f, const lethe_py *args,
                           lethe_py **out);
lethe_status lethe_py_build(const lethe_py_site *s, lethe_py *object, const lethe_py *state);
lethe_status lethe_py_persistent(const lethe_py_site *s, const lethe_py *id, lethe_py **out);

#endif
