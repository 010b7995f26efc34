/* SPDX-License-Identifier: MIT
 *
 * The bytes of a text file, whatever wraps them: nothing, gzip, Zstandard, or a zip archive whose
 * member it is (which may itself be packed in one of the two). What it is, is told from its first
 * bytes and never from its name: the marks of all packings are no UTF-8. Files that are known and
 * cannot be read (Parquet, xz, UTF-16, ...) are refused with how to convert them.
 *
 * Memory: two buffers of 64 KiB and what unpack.h says, whatever the file holds.
 */
#ifndef LETHE_FORMAT_TEXT_STREAM_H
#define LETHE_FORMAT_TEXT_STREAM_H

#include "format/zip.h"

#define LETHE_TEXT_STREAM_PEEK (64u << 10) /* most that can be looked at ahead */

typedef struct lethe_text_stream lethe_text_stream;

/* path: "-" is standard input; what can be read but once is kept first (spool.h). `name`: for
 * messages, copied. Fails: NOTFOUND, IO, FORMAT. */
lethe_status lethe_text_stream_open(lethe_text_stream **out, const char *path, const char *name,
                                    lethe_err *err);

/* Member i of an archive, which stays open meanwhile (borrowed). */
lethe_status lethe_text_stream_open_member(lethe_text_stream **out, lethe_zip *zip, size_t i,
                                           const char *name, lethe_err *err);
void lethe_text_stream_close(lethe_text_stream **s);

/* What comes next, without taking it: *n bytes at *at, valid until the next call; at least `want`
 * (<= LETHE_TEXT_STREAM_PEEK), or all there are. Fails: IO, FORMAT (damaged), NOMEM. */
lethe_status lethe_text_stream_peek(lethe_text_stream *s, size_t want, const char **at, size_t *n,
                                    lethe_err *err);
void lethe_text_stream_skip(lethe_text_stream *s, size_t n); /* of what was peeked at */

/* Up to n bytes into buf; *got < n only at the end. Fails as peek. */
lethe_status lethe_text_stream_read(lethe_text_stream *s, void *buf, size_t n, size_t *got,
                                    lethe_err *err);

/* How many bytes remain; those of a packed file are all unpacked for it. Then only closing is left
 * to do. Fails as peek, and STOPPED. */
lethe_status lethe_text_stream_count(lethe_text_stream *s, uint64_t *bytes, lethe_err *err);

/* Looks at the first bytes of a regular file: is it a zip archive? Fails: NOTFOUND, IO, FORMAT (a
 * kind that cannot be read). */
lethe_status lethe_text_look(const char *path, bool *is_zip, lethe_err *err);

#endif
