/* SPDX-License-Identifier: MIT
 *
 * Bytes out of gzip (RFC 1952) and Zstandard (RFC 8878) streams; the door to zlib and libzstd.
 * Several members or frames one after the other are one text, as for gzip and zstd themselves, and
 * zeros behind a gzip file (a tape's padding) are passed over. Every checksum that is there is
 * compared. Memory does not depend on the text: 32 KiB for gzip, and for Zstandard the window that
 * the frame names, of which more than 128 MiB is refused, as zstd does.
 */
#ifndef LETHE_FORMAT_UNPACK_H
#define LETHE_FORMAT_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum lethe_packing {
    LETHE_PACKING_NONE,
    LETHE_PACKING_GZIP,
    LETHE_PACKING_ZSTD
} lethe_packing;

/* From the first n bytes of a file (four are enough). None of the marks can begin UTF-8 text. */
lethe_packing lethe_packing_of(const void *head, size_t n);

typedef struct lethe_unpacker lethe_unpacker;

typedef struct lethe_unpack_in { /* packed bytes; what is used up is taken off the front */
    const unsigned char *at;
    size_t n;
    bool last; /* nothing comes after these */
} lethe_unpack_in;

/* name: of the file, for messages; borrowed for as long as the unpacker lives. */
lethe_status lethe_unpacker_open(lethe_unpacker **out, lethe_packing packing, const char *name,
                                 lethe_err *err);
void lethe_unpacker_close(lethe_unpacker **u);

/* Unpacks some of `in` into out[cap], *got bytes; 0 where it wants more input. *finished: `in` was
 * the last and all of it is unpacked. Fails: FORMAT (damaged, cut off, checksum, other bytes behind
 * the packed ones), with the place in the packed file and in the text. */
lethe_status lethe_unpack(lethe_unpacker *u, lethe_unpack_in *in, void *out, size_t cap,
                          size_t *got, bool *finished, lethe_err *err);

#endif
