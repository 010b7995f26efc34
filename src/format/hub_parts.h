/* SPDX-License-Identifier: MIT
 *
 * A file that is on its way, in parts that arrive in any order. Behind the room for its bytes
 * stands a record of what has come, so that a program that was killed goes on where it was, and of
 * a fingerprint of it, so that a part that was damaged meanwhile is fetched again:
 *
 *     bytes of the file [size] | head | record [n_parts]
 *
 * (of this machine's byte order; it never leaves it). Other tools keep the first bytes of a file
 * in "BLOB.incomplete" and go on at its end: that is taken over, but never written, as a file with
 * holes would mislead them.
 */
#ifndef LETHE_FORMAT_HUB_PARTS_H
#define LETHE_FORMAT_HUB_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/run.h"

#define LETHE_PARTS_ETAG 128

typedef struct lethe_part {
    uint64_t done; /* bytes from its start */
    uint64_t recorded;
    lethe_hasher *hasher; /* over those bytes; NULL: not begun */
    bool busy;            /* somebody fetches it */
} lethe_part;

typedef struct lethe_parts {
    char *path; /* owned */
    int fd;
    uint64_t size, part; /* bytes of the file, of a part (the last may be shorter) */
    size_t n;
    lethe_part *at;              /* [n] */
    char etag[LETHE_PARTS_ETAG]; /* of the server that the bytes came from; "" */
    uint64_t resumed;            /* bytes that were there at the start */
    size_t damaged;              /* parts whose bytes were not those recorded */
} lethe_parts;

/* Opens or makes "BLOB.lethe.incomplete". part: wished bytes of a part; larger for a huge file, so
 * that there are at most 4,096. Fails: IO, NOMEM. */
lethe_status lethe_parts_open(lethe_parts *out, const char *blob, uint64_t size, uint64_t part,
                              lethe_err *err);
void lethe_parts_close(lethe_parts *p); /* keeps the file; accepts a zeroed one */

uint64_t lethe_parts_length(const lethe_parts *p, size_t i);
uint64_t lethe_parts_done(const lethe_parts *p); /* bytes in all */
bool lethe_parts_whole(const lethe_parts *p);

/* The next bytes of part i, [n], at its `done`; they must not go beyond its end. Fails: IO. */
lethe_status lethe_parts_put(lethe_parts *p, size_t i, const char *data, size_t n, lethe_err *err);

/* Writes down what has come of part i. Fails: IO. */
lethe_status lethe_parts_record(lethe_parts *p, size_t i, lethe_err *err);

/* Forgets part i, or all; a new ETag. */
lethe_status lethe_parts_forget(lethe_parts *p, size_t i, lethe_err *err);
lethe_status lethe_parts_forget_all(lethe_parts *p, lethe_err *err);
lethe_status lethe_parts_set_etag(lethe_parts *p, const char *etag, lethe_err *err);

/* Cuts the record off, puts everything on the disk and the file in place, at `blob`. */
lethe_status lethe_parts_finish(lethe_parts *p, const char *blob, lethe_err *err);
void lethe_parts_remove(lethe_parts *p); /* unlinks it; close afterwards */

#endif
