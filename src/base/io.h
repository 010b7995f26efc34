/* SPDX-License-Identifier: MIT
 *
 * Files. Reading is a read-only memory map with a known length; writing goes to a temporary file
 * beside the target and takes its place only when everything is on disk (write, fsync, rename,
 * fsync of the folder), so nothing half-written is ever left under the real name. What a killed
 * process left of such a file is removed by the next write to the same path. One writer a path and
 * process.
 */
#ifndef LETHE_BASE_IO_H
#define LETHE_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct lethe_map {
    const unsigned char *data; /* NULL when size is 0 */
    size_t size;
    char *path; /* owned; for messages */
} lethe_map;

/* Fails: NOTFOUND, FORMAT (a directory, not a regular file), IO. */
lethe_status lethe_map_open(lethe_map *out, const char *path, lethe_err *err);
void lethe_map_close(lethe_map *map); /* accepts a zeroed map; zeroes it */

bool lethe_path_exists(const char *path);
bool lethe_path_is_dir(const char *path);
bool lethe_path_ends_with(const char *path, const char *end); /* ".jsonl", say */

/* Owned string "dir/name"; NULL when there is no memory. */
char *lethe_path_join(const char *dir, const char *name);

/* Makes the folder and its parents; an existing folder is fine. */
lethe_status lethe_mkdirs(const char *dir, lethe_err *err);

/* ---- writing -------------------------------------------------------------------------------- */

/* Sticky: after a failure lethe_writer_put is a no-op, and commit reports the first cause. */
typedef struct lethe_writer lethe_writer;

/* Fails: IO (folder missing, not writable), with the path in the message. */
lethe_status lethe_writer_open(lethe_writer **out, const char *path, lethe_err *err);
void lethe_writer_put(lethe_writer *w, const void *data, size_t n);
uint64_t lethe_writer_pos(const lethe_writer *w);
bool lethe_writer_failed(const lethe_writer *w); /* commit will say why */

/* Overwrites n bytes at `offset`, which must have been written before (a header filled in late). */
void lethe_writer_patch(lethe_writer *w, uint64_t offset, const void *data, size_t n);

/* Puts the file in place and releases the writer; on failure the old file is untouched. */
lethe_status lethe_writer_commit(lethe_writer **w, lethe_err *err);
void lethe_writer_abort(lethe_writer **w); /* removes the temporary file; accepts NULL */

/* The whole of a small file in one go. */
lethe_status lethe_write_file(const char *path, const void *data, size_t n, lethe_err *err);

#endif
