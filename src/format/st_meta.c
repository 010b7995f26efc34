/* SPDX-License-Identifier: MIT
 *
 * Numbers in a safetensors file's metadata, where every value is a string.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/safetensors.h"

void lethe_st_meta_text(const lethe_st *st, const char *key, char *out, size_t size) {
    const char *s = lethe_st_meta(st, key);
    snprintf(out, size, "%s", s ? s : "");
}

/* A decimal number that is the whole string, at most `most`. */
static bool parse_number(const char *s, uint64_t most, uint64_t *out) {
    if (*s < '0' || *s > '9') return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || *end || v > most) return false;
    *out = v;
    return true;
}

lethe_status lethe_st_meta_number(const lethe_st *st, const char *key, uint64_t most, bool *there,
                                  uint64_t *out, lethe_err *err) {
    const char *s = lethe_st_meta(st, key);
    *there = s != NULL;
    if (s && !parse_number(s, most, out))
        return lethe_fail(err, LETHE_FORMAT, "%s: metadata \"%s\" is \"%.40s\", want a number",
                          lethe_st_path(st), key, s);
    return LETHE_OK;
}

lethe_status lethe_st_meta_real(const lethe_st *st, const char *key, bool *there, double *out,
                                lethe_err *err) {
    const char *s = lethe_st_meta(st, key);
    *there = s != NULL;
    if (!s) return LETHE_OK;
    char *end;
    double v = strtod(s, &end);
    if (end == s || *end || !isfinite(v))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: metadata \"%s\" is \"%.40s\", want a finite number",
                          lethe_st_path(st), key, s);
    *out = v;
    return LETHE_OK;
}

void lethe_st_set_meta_number(lethe_st_writer *w, const char *key, uint64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    lethe_st_set_meta(w, key, text);
}

void lethe_st_set_meta_real(lethe_st_writer *w, const char *key, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    lethe_st_set_meta(w, key, text);
}
