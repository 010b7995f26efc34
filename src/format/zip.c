/* SPDX-License-Identifier: MIT */
#include "format/zip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "base/io.h"
#include "base/mem.h"

/* A map as libzip reads files. libzip does not tell where the data of a member begins; `last` does,
 * as it is where reading a member's first bytes began. */
typedef struct map_source {
    const unsigned char *data;
    size_t size, at, last;
    zip_error_t error;
} map_source;

struct lethe_zip {
    zip_t *zip;
    char *path;
    size_t n;
    map_source *map; /* NULL: opened by its path */
};

struct lethe_zip_member {
    zip_file_t *file;
    const lethe_zip *of;
    size_t index;
    uint64_t pos;
};

bool lethe_zip_magic(const void *head, size_t n) {
    return n >= 4 && (!memcmp(head, "PK\3\4", 4) || !memcmp(head, "PK\5\6", 4));
}

static lethe_status cannot_open(const char *path, int code, lethe_err *err) {
    zip_error_t e;
    zip_error_init_with_code(&e, code);
    lethe_status st;
    switch (code) {
    case ZIP_ER_NOENT:
        st = lethe_fail(err, LETHE_NOTFOUND, "%s: cannot open: no such file", path);
        break;
    case ZIP_ER_MEMORY: st = lethe_fail(err, LETHE_NOMEM, "out of memory for %s", path); break;
    case ZIP_ER_OPEN:
    case ZIP_ER_READ:
        st = lethe_fail(err, LETHE_IO, "%s: cannot read: %s", path, zip_error_strerror(&e));
        break;
    default:
        st = lethe_fail(err, LETHE_FORMAT,
                        "%s: not a whole zip archive: %s (want the table of contents at its end; "
                        "was it cut off?)",
                        path, zip_error_strerror(&e));
    }
    zip_error_fini(&e);
    return st;
}

static zip_int64_t map_read(map_source *m, void *to, zip_uint64_t n) {
    size_t left = m->size - m->at, k = n < left ? (size_t)n : left;
    if (k) memcpy(to, m->data + m->at, k);
    m->last = m->at;
    m->at += k;
    return (zip_int64_t)k;
}

static zip_int64_t map_stat(const map_source *m, void *to) {
    zip_stat_t *st = to;
    zip_stat_init(st);
    st->size = m->size;
    st->valid |= ZIP_STAT_SIZE;
    return sizeof *st;
}

static zip_int64_t map_command(void *state, void *data, zip_uint64_t len,
                               zip_source_cmd_t command) {
    map_source *m = state;
    switch (command) {
    case ZIP_SOURCE_OPEN: m->at = 0; return 0;
    case ZIP_SOURCE_READ: return map_read(m, data, len);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_STAT: return map_stat(m, data);
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&m->error, data, len);
    case ZIP_SOURCE_TELL: return (zip_int64_t)m->at;
    case ZIP_SOURCE_SEEK: {
        zip_int64_t to = zip_source_seek_compute_offset(m->at, m->size, data, len, &m->error);
        if (to >= 0) m->at = (size_t)to;
        return to < 0 ? -1 : 0;
    }
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_FREE, ZIP_SOURCE_STAT,
            ZIP_SOURCE_ERROR, ZIP_SOURCE_TELL, ZIP_SOURCE_SEEK, ZIP_SOURCE_SUPPORTS, -1);
    default: zip_error_set(&m->error, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

/* Opens z->zip from z->map. */
static lethe_status open_source(lethe_zip *z, lethe_err *err) {
    zip_error_t e;
    zip_error_init(&e);
    zip_source_t *source = zip_source_function_create(map_command, z->map, &e);
    if (source && !(z->zip = zip_open_from_source(source, ZIP_RDONLY, &e))) zip_source_free(source);
    int code = zip_error_code_zip(&e);
    /* Reading a map does not fail: it was asked for a place where nothing is. */
    if (code == ZIP_ER_READ || code == ZIP_ER_OPEN || code == ZIP_ER_NOENT) code = ZIP_ER_INCONS;
    lethe_status st = z->zip ? LETHE_OK : cannot_open(z->path, code, err);
    zip_error_fini(&e);
    return st;
}

/* The end of opening: *out = z, or z is closed. */
static lethe_status opened(lethe_zip *z, lethe_status st, lethe_zip **out) {
    if (st) {
        lethe_zip_close(&z);
        return st;
    }
    zip_int64_t n = zip_get_num_entries(z->zip, 0);
    z->n = n > 0 ? (size_t)n : 0;
    *out = z;
    return LETHE_OK;
}

lethe_status lethe_zip_open_map(lethe_zip **out, const lethe_map *map, lethe_err *err) {
    lethe_zip *z;
    LETHE_TRY(lethe_zalloc(&z, 1, sizeof *z, "a zip archive", err));
    lethe_status st = lethe_zalloc(&z->map, 1, sizeof *z->map, "a zip archive", err);
    if (!st) {
        z->map->data = map->data;
        z->map->size = map->size;
        zip_error_init(&z->map->error);
        z->path = lethe_strdup(map->path);
        st = z->path ? open_source(z, err)
                     : lethe_fail(err, LETHE_NOMEM, "out of memory for %s", map->path);
    }
    return opened(z, st, out);
}

lethe_status lethe_zip_open(lethe_zip **out, const char *path, lethe_err *err) {
    lethe_zip *z;
    LETHE_TRY(lethe_zalloc(&z, 1, sizeof *z, "a zip archive", err));
    z->path = lethe_strdup(path);
    lethe_status st = LETHE_OK;
    int code = 0;
    if (!z->path)
        st = lethe_fail(err, LETHE_NOMEM, "out of memory for %s", path);
    else if (!(z->zip = zip_open(path, ZIP_RDONLY, &code))) /* libzip's NOENT may mean a field */
        st = cannot_open(
            path, code == ZIP_ER_NOENT && lethe_path_exists(path) ? ZIP_ER_INCONS : code, err);
    return opened(z, st, out);
}

void lethe_zip_close(lethe_zip **zp) {
    lethe_zip *z = *zp;
    if (!z) return;
    if (z->zip) zip_discard(z->zip);
    if (z->map) zip_error_fini(&z->map->error);
    lethe_free(z->map);
    lethe_free(z->path);
    lethe_free(z);
    *zp = NULL;
}

size_t lethe_zip_count(const lethe_zip *z) {
    return z->n;
}

const char *lethe_zip_name(const lethe_zip *z, size_t i) {
    const char *name = i < z->n ? zip_get_name(z->zip, i, 0) : NULL;
    return name ? name : "";
}

uint64_t lethe_zip_size(const lethe_zip *z, size_t i) {
    zip_stat_t s;
    return i < z->n && !zip_stat_index(z->zip, i, 0, &s) && s.valid & ZIP_STAT_SIZE ? s.size : 0;
}

uint64_t lethe_zip_packed_size(const lethe_zip *z, size_t i) {
    zip_stat_t s;
    return i < z->n && !zip_stat_index(z->zip, i, 0, &s) && s.valid & ZIP_STAT_COMP_SIZE
               ? s.comp_size
               : 0;
}

const unsigned char *lethe_zip_stored(lethe_zip *z, size_t i) {
    const zip_uint64_t told =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    zip_stat_t s;
    if (!z->map || i >= z->n || zip_stat_index(z->zip, i, 0, &s) || (s.valid & told) != told ||
        s.comp_method != ZIP_CM_STORE || s.encryption_method != ZIP_EM_NONE ||
        s.size != s.comp_size)
        return NULL;
    if (!s.size) return (const unsigned char *)"";
    zip_file_t *f = zip_fopen_index(z->zip, i, ZIP_FL_COMPRESSED);
    if (!f) return NULL;
    unsigned char first[64];
    zip_int64_t n = zip_fread(f, first, sizeof first);
    zip_fclose(f);
    const map_source *m = z->map;
    if (n <= 0 || m->last > m->size || s.size > m->size - m->last ||
        memcmp(first, m->data + m->last, (size_t)n))
        return NULL;
    return m->data + m->last;
}

const char *lethe_zip_path(const lethe_zip *z) {
    return z->path;
}

void lethe_zip_show(const lethe_zip *z, size_t i, char *out, size_t cap) {
    int n = snprintf(out, cap, "%s/", z->path);
    size_t at = n < 0 ? 0 : (size_t)n;
    for (const char *c = lethe_zip_name(z, i); *c && at + 1 < cap; c++) {
        unsigned char u = (unsigned char)*c;
        out[at++] = u < 0x20 || u == 0x7f ? '?' : *c;
    }
    if (at < cap) out[at] = '\0';
}

static lethe_status bad_member(const lethe_zip *z, size_t i, uint64_t pos, zip_error_t *e,
                               lethe_err *err) {
    char name[256];
    lethe_zip_show(z, i, name, sizeof name);
    switch (zip_error_code_zip(e)) {
    case ZIP_ER_MEMORY: return lethe_fail(err, LETHE_NOMEM, "out of memory for %s", name);
    case ZIP_ER_NOPASSWD:
    case ZIP_ER_ENCRNOTSUPP:
        return lethe_fail(err, LETHE_FORMAT, "%s: is encrypted (unpack it first)", name);
    case ZIP_ER_COMPNOTSUPP:
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: packed in a way that cannot be read here, want stored or deflate "
                          "(unpack it first)",
                          name);
    default:
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: damaged after %llu of %llu unpacked bytes: %s (fetch the archive "
                          "again)",
                          name, (unsigned long long)pos, (unsigned long long)lethe_zip_size(z, i),
                          zip_error_strerror(e));
    }
}

lethe_status lethe_zip_member_open(lethe_zip_member **out, lethe_zip *z, size_t i, lethe_err *err) {
    lethe_zip_member *m;
    LETHE_TRY(lethe_zalloc(&m, 1, sizeof *m, "a member of a zip archive", err));
    m->of = z;
    m->index = i;
    m->file = zip_fopen_index(z->zip, i, 0);
    if (!m->file) {
        lethe_free(m);
        return bad_member(z, i, 0, zip_get_error(z->zip), err);
    }
    *out = m;
    return LETHE_OK;
}

void lethe_zip_member_close(lethe_zip_member **mp) {
    lethe_zip_member *m = *mp;
    if (!m) return;
    zip_fclose(m->file);
    lethe_free(m);
    *mp = NULL;
}

lethe_status lethe_zip_member_read(lethe_zip_member *m, void *buf, size_t n, size_t *got,
                                   lethe_err *err) {
    *got = 0;
    while (*got < n) {
        zip_int64_t k = zip_fread(m->file, (char *)buf + *got, n - *got);
        if (k < 0) return bad_member(m->of, m->index, m->pos, zip_file_get_error(m->file), err);
        if (k == 0) break;
        *got += (size_t)k;
        m->pos += (uint64_t)k;
    }
    return LETHE_OK;
}
