/* SPDX-License-Identifier: MIT
 *
 * JSON files on top of jansson: reading with messages that say file, place, got and wanted, and
 * writing that is atomic and never lets a NaN, an infinity or bad UTF-8 into a file.
 */
#ifndef LETHE_FORMAT_JSONIO_H
#define LETHE_FORMAT_JSONIO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* ---- reading --------------------------------------------------------------------------------- */

/* *out: owned, release with json_decref. The top must be an object or a list; a key given twice is
 * an error. Fails: NOTFOUND, IO, FORMAT (with line and column). */
lethe_status lethe_json_load(json_t **out, const char *path, lethe_err *err);

/* A value and where it stands, for messages: "features.json: features[3].index: got ...". */
typedef struct lethe_json_ref {
    json_t *value;    /* borrowed */
    const char *file; /* borrowed */
    char where[200];  /* "" at the top */
} lethe_json_ref;

lethe_json_ref lethe_json_top(json_t *value, const char *file);

/* The value under `key` of an object, item i of a list: references for the functions below; the
 * value is NULL when it is not there (or the parent is of another type). */
lethe_json_ref lethe_json_key(const lethe_json_ref *in, const char *key);
lethe_json_ref lethe_json_item(const lethe_json_ref *in, size_t i);

/* What the value must be; all fail with FORMAT "FILE: PLACE: got ..., want ...". Strings are
 * borrowed from the JSON value. Reals accept integers and are finite; ranges are inclusive. */
lethe_status lethe_json_want_object(const lethe_json_ref *r, lethe_err *err);
lethe_status lethe_json_want_list(const lethe_json_ref *r, size_t *n, lethe_err *err);
lethe_status lethe_json_want_string(const lethe_json_ref *r, const char **out, lethe_err *err);
lethe_status lethe_json_want_bool(const lethe_json_ref *r, bool *out, lethe_err *err);
lethe_status lethe_json_want_int(const lethe_json_ref *r, int64_t lo, int64_t hi, int64_t *out,
                                 lethe_err *err);
lethe_status lethe_json_want_real(const lethe_json_ref *r, double lo, double hi, double *out,
                                  lethe_err *err);

/* The FORMAT failure itself: "FILE: PLACE: got <the value>, want <want>". */
lethe_status lethe_json_fail(const lethe_json_ref *r, lethe_err *err, const char *want, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- writing --------------------------------------------------------------------------------- */

json_t *lethe_json_real(double x);                /* null for NaN and infinities */
json_t *lethe_json_text(const char *s, size_t n); /* bytes that are not UTF-8 become U+FFFD */

/* object[key] = value (moved, freed on failure too). Sticky: *ok becomes false when there was no
 * memory (value or object NULL included), so that a caller checks once. */
void lethe_json_put(json_t *object, const char *key, json_t *value, bool *ok);
void lethe_json_append(json_t *list, json_t *value, bool *ok);

/* Indented, with a newline at the end, atomic. Fails: IO, NOMEM. */
lethe_status lethe_json_save(const json_t *value, const char *path, lethe_err *err);

#endif
