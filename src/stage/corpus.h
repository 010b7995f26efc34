/* SPDX-License-Identifier: MIT
 *
 * Text from disk as a stream of pieces; never a whole corpus in memory.
 *
 *   *.jsonl *.ndjson   one document a line: {"text": "..."} or a conversation,
 *                      {"messages": [{"role": "user", "content": "..."}, ...]}
 *   any other file     one document, handed out in pieces of about 64 KiB cut at line ends
 *   a folder           its files (not hidden ones), sorted by name, folders in it likewise
 *
 * Text must be UTF-8. Errors name the file and the line or byte.
 */
#ifndef LETHE_STAGE_CORPUS_H
#define LETHE_STAGE_CORPUS_H

#include <stdbool.h>

#include "lm/lm.h"

typedef struct lethe_corpus lethe_corpus;

typedef struct lethe_piece { /* valid until the next call */
    bool starts_document;
    const char *text; /* NULL for a conversation */
    size_t len;
    const lethe_chat_message *message;
    size_t n_messages;
} lethe_piece;

/* paths [n]: files and folders, in order. Fails: NOTFOUND, FORMAT (a folder without files), IO. */
lethe_status lethe_corpus_open(lethe_corpus **out, const char *const *paths, size_t n,
                               lethe_err *err);
void lethe_corpus_close(lethe_corpus **c);

/* *got = false at the end. Fails: FORMAT (not UTF-8, bad JSON, wrong types), IO, NOMEM. */
lethe_status lethe_corpus_next(lethe_corpus *c, lethe_piece *piece, bool *got, lethe_err *err);
void lethe_corpus_rewind(lethe_corpus *c);

/* Fingerprint of all files' contents, in order (base/hash.h). */
lethe_status lethe_corpus_hash(const lethe_corpus *c, char out[33], lethe_err *err);

/* "a.txt" or "a.txt and 3 more", for messages; borrowed. */
const char *lethe_corpus_name(const lethe_corpus *c);

#endif
