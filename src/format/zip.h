/* SPDX-License-Identifier: MIT
 *
 * Zip archives, read only; the door to libzip. Nothing is ever written below a member's name, so a
 * hostile one ("../x", "/etc/x") does no harm; names are made printable before they are shown.
 * Members are read as streams: a bomb costs time, never memory. The table of contents is as large
 * as the file has bytes for it, whatever the file claims.
 *
 * One archive and its members belong to one thread at a time.
 */
#ifndef LETHE_FORMAT_ZIP_H
#define LETHE_FORMAT_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"

typedef struct lethe_zip lethe_zip;
typedef struct lethe_zip_member lethe_zip_member;

/* Do the first n bytes of a file look like a zip archive (one without members among them)? */
bool lethe_zip_magic(const void *head, size_t n);

/* Fails: NOTFOUND, IO, FORMAT (not a zip archive, cut off, inconsistent). */
lethe_status lethe_zip_open(lethe_zip **out, const char *path, lethe_err *err);
/* The same of a file that is mapped already; the map is borrowed until close. */
lethe_status lethe_zip_open_map(lethe_zip **out, const lethe_map *map, lethe_err *err);
void lethe_zip_close(lethe_zip **z); /* after its members */

size_t lethe_zip_count(const lethe_zip *z); /* entries, folders among them */
/* As stored, in UTF-8; "" where there is none. Borrowed. A folder's ends in '/'. */
const char *lethe_zip_name(const lethe_zip *z, size_t i);
uint64_t lethe_zip_size(const lethe_zip *z, size_t i);        /* unpacked, as claimed */
uint64_t lethe_zip_packed_size(const lethe_zip *z, size_t i); /* in the file, as claimed */
const char *lethe_zip_path(const lethe_zip *z);               /* of the archive; borrowed */
/* "archive.zip/member", control characters replaced, cut at cap: for messages. */
void lethe_zip_show(const lethe_zip *z, size_t i, char *out, size_t cap);

/* Unpacks member i from its start. The archive stays open meanwhile (borrowed). Fails: FORMAT
 * (encrypted, packed in a way that libzip was built without, no data where the table says). */
lethe_status lethe_zip_member_open(lethe_zip_member **out, lethe_zip *z, size_t i, lethe_err *err);
void lethe_zip_member_close(lethe_zip_member **m);

/* Up to n bytes into buf; *got < n only at the end, by when size and checksum have been compared.
 * Fails: FORMAT (damaged, cut off, checksum), naming archive, member and place. */
lethe_status lethe_zip_member_read(lethe_zip_member *m, void *buf, size_t n, size_t *got,
                                   lethe_err *err);

/* The bytes of member i where they lie in the map (borrowed from it), lethe_zip_size of them, their
 * checksum not compared. NULL: the archive is not of a map, or the member is not stored as it is.
 */
const unsigned char *lethe_zip_stored(lethe_zip *z, size_t i);

#endif
