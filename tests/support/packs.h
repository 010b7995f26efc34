/* SPDX-License-Identifier: MIT
 *
 * Packed files for tests, made by the libraries' own writers.
 */
#ifndef LETHE_TESTS_PACKS_H
#define LETHE_TESTS_PACKS_H

#include <stdbool.h>
#include <stddef.h>

/* Each returns the packed bytes (free with free) and their number; ends the program when the
 * library fails. */
unsigned char *pack_gzip(const void *data, size_t n, size_t *out_n);
unsigned char *pack_zstd(const void *data, size_t n, size_t *out_n); /* with a checksum */

/* Writes an archive; a name that ends in '/' is a folder. */
typedef struct pack_member {
    const char *name;
    const void *data;
    size_t n;
    bool stored, encrypted;
} pack_member;
void pack_zip(const char *path, const pack_member *member, size_t n);

/* A whole file (free with free), and back. */
unsigned char *pack_slurp(const char *path, size_t *n);
void pack_spill(const char *path, const void *data, size_t n);

#endif
