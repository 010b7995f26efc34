/* SPDX-License-Identifier: MIT
 *
 * Text from disk as a stream of pieces; never a whole corpus in memory.
 *
 *   *.jsonl *.ndjson   one document a line: {"text": "..."} or a conversation,
 *                      {"messages": [{"role": "user", "content": "..."}, ...]}
 *   *.json             the same, if the first line is a whole object; else refused
 *   any other file     one document, handed out in pieces of about 64 KiB cut at line ends
 *   *.gz *.zst         what is packed, read by its name without that ending
 *   *.zip              its members that are texts by name, sorted; archive.zip/MEMBER is one of
 * them, whatever its name, and MEMBER may be a pattern a folder           its files (not hidden
 * ones), sorted by name, folders in it likewise a pattern          * ? [..]: what it matches,
 * sorted by name; a file of that very name goes first
 *   -                  standard input, any of these but an archive (format/spool.h)
 *
 * Packings are told by content, not by name (format/text_stream.h). Text without a name is JSON
 * lines if its first line is a whole object. Text must be UTF-8; a byte order mark is dropped, and
 * CR LF in text files becomes LF. Errors name the file and the line or byte.
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

/* paths [n], as above, in order. text_field: NULL is "text", else names with commas between them: a
 * document is the first of these that its line has, "a.b" being b in a; a list of messages there is
 * a conversation. Fails: NOTFOUND, FORMAT (a folder without files, a kind that cannot be read), IO,
 * USAGE (empty names, a terminal for -). */
lethe_status lethe_corpus_open(lethe_corpus **out, const char *const *paths, size_t n,
                               const char *text_field, lethe_err *err);
void lethe_corpus_close(lethe_corpus **c);

/* *got = false at the end. Fails: FORMAT (not UTF-8, bad JSON, wrong types), IO, NOMEM. */
lethe_status lethe_corpus_next(lethe_corpus *c, lethe_piece *piece, bool *got, lethe_err *err);
void lethe_corpus_rewind(lethe_corpus *c);

/* Fingerprint of all files' contents, in order (base/hash.h), and of what a line's text is. Packing
 * a file changes nothing. All is read, so what is damaged fails here. */
lethe_status lethe_corpus_hash(const lethe_corpus *c, char out[33], lethe_err *err);

/* "a.txt" or "a.txt and 3 more", for messages; borrowed. */
const char *lethe_corpus_name(const lethe_corpus *c);

/* A pattern, or a member of an archive: not the name of a file. */
bool lethe_corpus_is_compound(const char *path);

#endif
