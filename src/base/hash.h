/* SPDX-License-Identifier: MIT
 *
 * Checksums and fingerprints: XXH3 with 128 bits (library xxhash). Not for security: they tell that
 * two files are the same, not that nobody forged one.
 */
#ifndef LETHE_BASE_HASH_H
#define LETHE_BASE_HASH_H

#include <stddef.h>

#include "base/err.h"

#define LETHE_HASH_HEX 33 /* 32 hex digits and a NUL */

typedef struct lethe_hasher lethe_hasher;

lethe_status lethe_hasher_open(lethe_hasher **out, lethe_err *err);
void lethe_hasher_put(lethe_hasher *h, const void *data, size_t n);
void lethe_hasher_hex(const lethe_hasher *h, char out[LETHE_HASH_HEX]);
void lethe_hasher_close(lethe_hasher **h);

void lethe_hash_bytes(const void *data, size_t n, char out[LETHE_HASH_HEX]);
lethe_status lethe_hash_file(const char *path, char out[LETHE_HASH_HEX], lethe_err *err);

#endif
