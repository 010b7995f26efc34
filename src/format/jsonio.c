/* SPDX-License-Identifier: MIT */
#include "format/jsonio.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/strbuf.h"
#include "base/utf8.h"

/* ---- reading --------------------------------------------------------------------------------- */

lethe_status lethe_json_load(json_t **out, const char *path, lethe_err *err) {
    lethe_map map;
    LETHE_TRY(lethe_map_open(&map, path, err));
    json_error_t e;
    json_t *j =
        json_loadb(map.size ? (const char *)map.data : "", map.size, JSON_REJECT_DUPLICATES, &e);
    lethe_map_close(&map);
    if (!j) {
        if (json_error_code(&e) == json_error_out_of_memory)
            return lethe_fail(err, LETHE_NOMEM, "%s: out of memory while reading JSON", path);
        return lethe_fail(err, LETHE_FORMAT, "%s: line %d, column %d: not valid JSON: %s", path,
                          e.line, e.column, e.text);
    }
    *out = j;
    return LETHE_OK;
}

lethe_json_ref lethe_json_top(json_t *value, const char *file) {
    return (lethe_json_ref){.value = value, .file = file, .where = ""};
}

/* The place is cut when it does not fit: it is only for messages. */
static void place(char out[200], const char *parent, const char *sep, const char *rest) {
    size_t n = strlen(parent), room = 200 - 1;
    if (n > room) n = room;
    memmove(out, parent, n);
    const char *parts[2] = {sep, rest};
    for (int p = 0; p < 2; p++)
        for (const char *s = parts[p]; *s && n < room; s++) out[n++] = *s;
    out[n] = '\0';
}

lethe_json_ref lethe_json_key(const lethe_json_ref *in, const char *key) {
    lethe_json_ref r = {.value = json_object_get(in->value, key), .file = in->file, .where = ""};
    place(r.where, in->where, in->where[0] ? "." : "", key);
    return r;
}

lethe_json_ref lethe_json_item(const lethe_json_ref *in, size_t i) {
    char index[32];
    snprintf(index, sizeof index, "[%zu]", i);
    lethe_json_ref r = {.value = json_array_get(in->value, i), .file = in->file, .where = ""};
    place(r.where, in->where, "", index);
    return r;
}

static void describe(const json_t *v, lethe_strbuf *b) {
    if (!v) {
        lethe_strbuf_adds(b, "nothing (missing)");
        return;
    }
    switch (json_typeof(v)) {
    case JSON_OBJECT: lethe_strbuf_adds(b, "an object"); break;
    case JSON_ARRAY: lethe_strbuf_addf(b, "a list of %zu", json_array_size(v)); break;
    case JSON_STRING: {
        const char *s = json_string_value(v);
        size_t n = json_string_length(v), shown = n > 40 ? 40 : n;
        shown = lethe_utf8_valid_prefix(s, shown);
        lethe_strbuf_addf(b, "the string \"%.*s%s\"", (int)shown, s, shown < n ? "..." : "");
        break;
    }
    case JSON_INTEGER: lethe_strbuf_addf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: lethe_strbuf_addf(b, "%g", json_real_value(v)); break;
    case JSON_TRUE: lethe_strbuf_adds(b, "true"); break;
    case JSON_FALSE: lethe_strbuf_adds(b, "false"); break;
    case JSON_NULL: lethe_strbuf_adds(b, "null"); break;
    }
}

lethe_status lethe_json_fail(const lethe_json_ref *r, lethe_err *err, const char *want, ...) {
    char text[256];
    va_list ap;
    va_start(ap, want);
    vsnprintf(text, sizeof text, want, ap);
    va_end(ap);
    lethe_strbuf got = {0};
    describe(r->value, &got);
    lethe_fail(err, LETHE_FORMAT, "%s: %s: got %s, want %s", r->file,
               r->where[0] ? r->where : "the top", lethe_strbuf_str(&got), text);
    lethe_strbuf_free(&got);
    return LETHE_FORMAT;
}

lethe_status lethe_json_want_object(const lethe_json_ref *r, lethe_err *err) {
    return json_is_object(r->value) ? LETHE_OK : lethe_json_fail(r, err, "an object");
}

lethe_status lethe_json_want_list(const lethe_json_ref *r, size_t *n, lethe_err *err) {
    if (!json_is_array(r->value)) return lethe_json_fail(r, err, "a list");
    *n = json_array_size(r->value);
    return LETHE_OK;
}

lethe_status lethe_json_want_string(const lethe_json_ref *r, const char **out, lethe_err *err) {
    if (!json_is_string(r->value)) return lethe_json_fail(r, err, "a string");
    *out = json_string_value(r->value);
    return LETHE_OK;
}

lethe_status lethe_json_want_bool(const lethe_json_ref *r, bool *out, lethe_err *err) {
    if (!json_is_boolean(r->value)) return lethe_json_fail(r, err, "true or false");
    *out = json_is_true(r->value);
    return LETHE_OK;
}

lethe_status lethe_json_want_int(const lethe_json_ref *r, int64_t lo, int64_t hi, int64_t *out,
                                 lethe_err *err) {
    int64_t v = json_is_integer(r->value) ? (int64_t)json_integer_value(r->value) : 0;
    if (!json_is_integer(r->value) || v < lo || v > hi)
        return lethe_json_fail(r, err, "a whole number from %lld to %lld", (long long)lo,
                               (long long)hi);
    *out = v;
    return LETHE_OK;
}

lethe_status lethe_json_want_real(const lethe_json_ref *r, double lo, double hi, double *out,
                                  lethe_err *err) {
    double v = json_is_number(r->value) ? json_number_value(r->value) : NAN;
    if (!(v >= lo && v <= hi)) return lethe_json_fail(r, err, "a number from %g to %g", lo, hi);
    *out = v;
    return LETHE_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

json_t *lethe_json_real(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *lethe_json_text(const char *s, size_t n) {
    if (lethe_utf8_valid_prefix(s, n) == n) return json_stringn(s, n);
    lethe_strbuf b = {0};
    while (n) {
        size_t good = lethe_utf8_valid_prefix(s, n);
        lethe_strbuf_add(&b, s, good);
        if (good < n) {
            lethe_strbuf_adds(&b, "\xef\xbf\xbd");
            good++;
        }
        s += good;
        n -= good;
    }
    json_t *j = b.status == LETHE_OK ? json_stringn(lethe_strbuf_str(&b), b.len) : NULL;
    lethe_strbuf_free(&b);
    return j;
}

void lethe_json_put(json_t *object, const char *key, json_t *value, bool *ok) {
    if (json_object_set_new(object, key, value)) *ok = false;
}

void lethe_json_append(json_t *list, json_t *value, bool *ok) {
    if (json_array_append_new(list, value)) *ok = false;
}

static int to_strbuf(const char *s, size_t n, void *user) {
    lethe_strbuf_add(user, s, n);
    return 0;
}

lethe_status lethe_json_save(const json_t *value, const char *path, lethe_err *err) {
    lethe_strbuf b = {0};
    int failed = !value || json_dump_callback(value, to_strbuf, &b, JSON_INDENT(1));
    lethe_strbuf_adds(&b, "\n");
    lethe_status st;
    if (failed || b.status != LETHE_OK)
        st = lethe_fail(err, LETHE_NOMEM, "%s: out of memory while writing JSON", path);
    else
        st = lethe_write_file(path, b.data, b.len, err);
    lethe_strbuf_free(&b);
    return st;
}
