/* SPDX-License-Identifier: MIT
 *
 * A store of activations: a folder of safetensors shards and an index.
 *
 *     shard-00000.safetensors   activations [n, d] (BF16 or F32), tokens [n] I32, positions [n]
 * I32, roles [n] U8 index.json                {"format": "lethe-store-1", "d": .., "rows": ..,
 * "dtype": "BF16", "identity": {..}, "shards": [{"file", "rows", "checksum"}, ..]}
 *
 * The identity says what the rows were taken from (model, layer, corpus, windows); a store whose
 * identity differs from what is wanted is refused. The index is written last: without it there is
 * no store. Each shard's checksum covers its data bytes and is verified when the store is opened.
 */
#ifndef LETHE_FORMAT_STORE_H
#define LETHE_FORMAT_STORE_H

#include <jansson.h>

#include "format/safetensors.h"

typedef struct lethe_store_writer lethe_store_writer;

/* dir is made if need be; an old index there is removed first. identity: borrowed JSON object. */
lethe_status lethe_store_create(lethe_store_writer **out, const char *dir, size_t d,
                                lethe_dtype dtype, const json_t *identity, lethe_err *err);
/* x [n, d]; token, position [n]; role [n]. */
lethe_status lethe_store_put(lethe_store_writer *w, const float *x, const int32_t *token,
                             const int32_t *position, const uint8_t *role, size_t n,
                             lethe_err *err);
lethe_status lethe_store_commit(lethe_store_writer **w, lethe_err *err);
void lethe_store_abort(lethe_store_writer **w); /* removes the shards written so far */

typedef struct lethe_store lethe_store;

/* want: the identity it must have, or NULL. Fails: NOTFOUND, FORMAT (damaged), MISMATCH (names the
 * first key that differs, got, wanted). */
lethe_status lethe_store_open(lethe_store **out, const char *dir, const json_t *want,
                              lethe_err *err);
void lethe_store_close(lethe_store **s);
uint64_t lethe_store_rows(const lethe_store *s);
size_t lethe_store_d(const lethe_store *s);
const json_t *lethe_store_identity(const lethe_store *s);

/* Fingerprint of index and, through its checksums, of all rows; base/hash.h. */
void lethe_store_hash(const lethe_store *s, char out[33]);

/* x [n, d] = the rows numbered row [n], each < rows. Threads: safe. */
void lethe_store_read(const lethe_store *s, const uint64_t *row, size_t n, float *x);

/* role [n] of the rows first .. first + n - 1, which must exist. */
void lethe_store_read_roles(const lethe_store *s, uint64_t first, size_t n, uint8_t *role);

/* token, position [n] of the same rows. */
void lethe_store_read_tokens(const lethe_store *s, uint64_t first, size_t n, int32_t *token,
                             int32_t *position);

bool lethe_store_exists(const char *dir);
void lethe_store_remove(
    const char *dir); /* index, shards, and the folder if nothing else is in it */

#endif
