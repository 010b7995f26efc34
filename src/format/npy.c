/* SPDX-License-Identifier: MIT */
#include "format/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define HEADER_MOST 65536 /* names of structured dtypes aside, which are not read, 100 bytes do */

/* ---- dtypes --------------------------------------------------------------------------------- */

static const struct {
    const char *code;
    lethe_dtype dtype;
} types[] = {
    {"f2", LETHE_F16}, {"f4", LETHE_F32}, {"f8", LETHE_F64}, {"i1", LETHE_I8},
    {"i2", LETHE_I16}, {"i4", LETHE_I32}, {"i8", LETHE_I64}, {"u1", LETHE_U8},
    {"u2", LETHE_U16}, {"u4", LETHE_U32}, {"u8", LETHE_U64}, {"b1", LETHE_BOOL},
};

bool lethe_npy_type(const char *s, size_t n, lethe_dtype *out, bool *big_endian) {
    bool order = n == 3 && strchr("<>|=", s[0]) && s[0];
    if (!order && n != 2) return false;
    const char *code = s + order;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (memcmp(types[i].code, code, 2)) continue;
        *out = types[i].dtype;
        *big_endian = order && s[0] == '>';
        return true;
    }
    return false;
}

/* ---- the header ----------------------------------------------------------------------------- */

/* A Python literal; only what NumPy writes into headers is one here. */
typedef struct literal {
    const char *at, *end, *start;
    const char *what;
    lethe_err *err;
} literal;

static lethe_status bad(const literal *l, const char *want) {
    if (l->at >= l->end)
        return lethe_fail(l->err, LETHE_FORMAT, "%s: the header ends at byte %zu, want %s", l->what,
                          (size_t)(l->at - l->start), want);
    return lethe_fail(l->err, LETHE_FORMAT, "%s: byte %zu of the header is '%c', want %s", l->what,
                      (size_t)(l->at - l->start), *l->at, want);
}

static void skip_blanks(literal *l) {
    while (l->at < l->end && (*l->at == ' ' || *l->at == '\n' || *l->at == '\t')) l->at++;
}

static bool next_is(literal *l, char c) {
    skip_blanks(l);
    if (l->at >= l->end || *l->at != c) return false;
    l->at++;
    return true;
}

static bool next_word(literal *l, const char *word) {
    size_t n = strlen(word);
    skip_blanks(l);
    if ((size_t)(l->end - l->at) < n || memcmp(l->at, word, n)) return false;
    l->at += n;
    return true;
}

/* Text in quotes, without escapes: no dtype that is read needs them. */
static lethe_status read_text(literal *l, const char **out, size_t *n) {
    skip_blanks(l);
    if (l->at >= l->end || (*l->at != '\'' && *l->at != '"')) return bad(l, "text in quotes");
    char quote = *l->at++;
    const char *from = l->at;
    while (l->at < l->end && *l->at != quote && *l->at != '\\' && *l->at != '\n') l->at++;
    if (l->at >= l->end || *l->at != quote) return bad(l, "the closing quote");
    *out = from;
    *n = (size_t)(l->at - from);
    l->at++;
    return LETHE_OK;
}

static lethe_status read_size(literal *l, size_t *out) {
    skip_blanks(l);
    if (l->at >= l->end || *l->at < '0' || *l->at > '9') return bad(l, "a size");
    size_t x = 0;
    for (; l->at < l->end && *l->at >= '0' && *l->at <= '9'; l->at++) {
        size_t digit = (size_t)(*l->at - '0');
        if (!lethe_mul_size(x, 10, &x) || x + digit < x)
            return lethe_fail(l->err, LETHE_FORMAT, "%s: a size in its shape is too large",
                              l->what);
        x += digit;
    }
    if (l->at < l->end && *l->at == 'L') l->at++; /* Python 2 */
    *out = x;
    return LETHE_OK;
}

/* () or (3,) or (3, 4) or (3, 4,) */
static lethe_status read_shape(literal *l, lethe_npy *a) {
    if (!next_is(l, '(')) return bad(l, "a tuple of sizes");
    a->ndim = 0;
    while (!next_is(l, ')')) {
        size_t size = 0;
        LETHE_TRY(read_size(l, &size));
        if (a->ndim == LETHE_MAX_DIMS)
            return lethe_fail(l->err, LETHE_FORMAT, "%s: more than %d dimensions", l->what,
                              LETHE_MAX_DIMS);
        a->shape[a->ndim++] = size;
        bool comma = next_is(l, ',');
        skip_blanks(l);
        bool closed = l->at < l->end && *l->at == ')';
        if (!comma && (!closed || a->ndim == 1)) return bad(l, "a comma");
    }
    return LETHE_OK;
}

static lethe_status read_descr(literal *l, lethe_npy *a) {
    const char *s;
    size_t n;
    skip_blanks(l);
    if (l->at < l->end && *l->at == '[')
        return lethe_fail(l->err, LETHE_FORMAT,
                          "%s: holds records (a structured dtype), want plain numbers", l->what);
    LETHE_TRY(read_text(l, &s, &n));
    if (lethe_npy_type(s, n, &a->dtype, &a->big_endian)) return LETHE_OK;
    const char *hint = "";
    if (n && s[n - 1] == 'O') hint = " (Python objects: save arrays of numbers)";
    if (n > 1 && s[1] == 'V') hint = " (raw bytes; bfloat16? save it as float32)";
    return lethe_fail(l->err, LETHE_FORMAT,
                      "%s: dtype \"%.*s\" is not read, want floats f2 f4 f8, integers i1 to i8 or "
                      "u1 to u8, or b1%s",
                      l->what, (int)(n < 40 ? n : 40), s, hint);
}

static lethe_status read_header(literal *l, lethe_npy *a) {
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    unsigned seen = 0;
    if (!next_is(l, '{')) return bad(l, "a dictionary");
    while (!next_is(l, '}')) {
        const char *key;
        size_t n;
        LETHE_TRY(read_text(l, &key, &n));
        if (!next_is(l, ':')) return bad(l, "a colon");
        unsigned which;
        if (n == 5 && !memcmp(key, "descr", 5)) {
            which = DESCR;
            LETHE_TRY(read_descr(l, a));
        } else if (n == 13 && !memcmp(key, "fortran_order", 13)) {
            which = ORDER;
            a->fortran = next_word(l, "True");
            if (!a->fortran && !next_word(l, "False")) return bad(l, "True or False");
        } else if (n == 5 && !memcmp(key, "shape", 5)) {
            which = SHAPE;
            LETHE_TRY(read_shape(l, a));
        } else {
            return lethe_fail(l->err, LETHE_FORMAT,
                              "%s: its header has \"%.*s\", want descr, fortran_order and shape",
                              l->what, (int)(n < 40 ? n : 40), key);
        }
        if (seen & which)
            return lethe_fail(l->err, LETHE_FORMAT, "%s: its header has \"%.*s\" twice", l->what,
                              (int)n, key);
        seen |= which;
        bool comma = next_is(l, ',');
        skip_blanks(l);
        if (!comma && (l->at >= l->end || *l->at != '}')) return bad(l, "a comma or '}'");
    }
    if (seen != ALL)
        return lethe_fail(l->err, LETHE_FORMAT, "%s: its header lacks %s", l->what,
                          !(seen & DESCR)   ? "descr"
                          : !(seen & ORDER) ? "fortran_order"
                                            : "shape");
    skip_blanks(l);
    return l->at == l->end ? LETHE_OK : bad(l, "nothing more");
}

/* ---- the file ------------------------------------------------------------------------------- */

lethe_status lethe_npy_read(lethe_npy *out, const char *what, const void *data, size_t n,
                            lethe_err *err) {
    const unsigned char *p = data;
    if (n < 10 || memcmp(p, LETHE_NPY_MAGIC, LETHE_NPY_MAGIC_LEN))
        return lethe_fail(err, LETHE_FORMAT, "%s: not a NumPy array, or cut off (%zu bytes)", what,
                          n);
    if (p[6] < 1 || p[6] > 3 || p[7])
        return lethe_fail(err, LETHE_FORMAT, "%s: version %d.%d of the format, want 1.0 to 3.0",
                          what, p[6], p[7]);
    size_t at = p[6] == 1 ? 10 : 12, length = (size_t)p[8] | (size_t)p[9] << 8;
    if (at == 12) {
        if (n < 12)
            return lethe_fail(err, LETHE_FORMAT, "%s: cut off in its header (%zu bytes)", what, n);
        length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    }
    if (length > HEADER_MOST || length > n - at)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: its header claims %zu bytes, the array has %zu (cut off?)", what,
                          length, n);
    const char *start = (const char *)p + at;
    literal l = {.at = start, .start = start, .end = start + length, .what = what, .err = err};
    lethe_npy a = {0};
    LETHE_TRY(read_header(&l, &a));
    size_t bytes = lethe_dtype_size(a.dtype);
    a.count = 1;
    bool fits = true;
    for (size_t i = 0; i < a.ndim; i++)
        fits = fits && lethe_mul_size(a.count, a.shape[i], &a.count);
    if (!fits || !lethe_mul_size(bytes, a.count, &bytes))
        return lethe_fail(err, LETHE_FORMAT, "%s: its shape is too large", what);
    at += length;
    if (n - at != bytes)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: got %zu bytes of data, its shape and dtype want %zu%s", what, n - at,
                          bytes, n - at < bytes ? " (cut off?)" : "");
    a.data = p + at;
    *out = a;
    return LETHE_OK;
}
