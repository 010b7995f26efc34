/* SPDX-License-Identifier: MIT
 *
 * Rows to train on, whatever they come from:
 *
 *   a store or file of activations   shuffled as a whole, by a permutation of the seed and the
 * epoch a harvest, while it runs         shuffled in blocks: the rows of `block_windows` windows
 * fill a bounded buffer, which is used up in a random order
 *
 * The place in the stream is three numbers, so a resumed run goes on with the very next row.
 */
#ifndef LETHE_STAGE_SOURCE_H
#define LETHE_STAGE_SOURCE_H

#include "format/store.h"
#include "stage/harvest.h"

typedef struct lethe_source lethe_source;

typedef struct lethe_place {
    uint64_t epoch, block, row; /* block 0 unless rows come from a harvest; row: within the block */
} lethe_place;

/* store: borrowed. */
lethe_status lethe_source_from_store(lethe_source **out, const lethe_store *store, bool shuffle,
                                     uint64_t seed, lethe_err *err);

/* Files or a folder of safetensors files from anywhere: the tensor "activations" [N, d], or the
 * only 2-D floating-point tensor of each. Fails: FORMAT (names file, tensor, got, wanted; a value
 * that is not finite), NOTFOUND. */
lethe_status lethe_source_from_files(lethe_source **out, const char *path, bool shuffle,
                                     uint64_t seed, lethe_err *err);

/* harvester: borrowed. total_windows, total_tokens (about): of one epoch; block_windows: of one
 * shuffle buffer. */
lethe_status lethe_source_from_harvest(lethe_source **out, lethe_harvester *h, size_t d,
                                       size_t ctx_len, uint64_t total_windows, double total_tokens,
                                       uint64_t block_windows, bool shuffle, uint64_t seed,
                                       lethe_err *err);
void lethe_source_close(lethe_source **s);

/* Fingerprint of the rows' content (a store's, from its checksums; not of a harvest). */
lethe_status lethe_source_hash(const lethe_source *s, char out[33], lethe_err *err);

/* What a file or store of rows says it was taken from: "model", "model_hash", "layer", "hook"; as
 * text into out [size]; false where it does not say. */
bool lethe_source_says(const lethe_source *s, const char *key, char *out, size_t size);

size_t lethe_source_d(const lethe_source *s);
uint64_t lethe_source_rows(const lethe_source *s); /* of one epoch; from a harvest: about */

/* x [want, d] = the next rows of this epoch; *got < want only at its end, after which the next call
 * begins the next epoch. */
lethe_status lethe_source_next(lethe_source *s, float *x, size_t want, size_t *got, lethe_err *err);

lethe_place lethe_source_place(const lethe_source *s);
lethe_status lethe_source_seek(lethe_source *s, lethe_place place, lethe_err *err);

#endif
