/* SPDX-License-Identifier: MIT */
#include "format/zip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "base/mem.h"

struct lethe_zip {
    zip_t *zip;
    char *path;
    size_t n;
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
    case ZIP_ER_SEEK:
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

lethe_status lethe_zip_open(lethe_zip **out, const char *path, lethe_err *err) {
    lethe_zip *z;
    LETHE_TRY(lethe_zalloc(&z, 1, sizeof *z, "a zip archive", err));
    z->path = lethe_strdup(path);
    lethe_status st = LETHE_OK;
    int code = 0;
    if (!z->path)
        st = lethe_fail(err, LETHE_NOMEM, "out of memory for %s", path);
    else if (!(z->zip = zip_open(path, ZIP_RDONLY, &code)))
        st = cannot_open(path, code, err);
    if (st) {
        lethe_zip_close(&z);
        return st;
    }
    zip_int64_t n = zip_get_num_entries(z->zip, 0);
    z->n = n > 0 ? (size_t)n : 0;
    *out = z;
    return LETHE_OK;
}

void lethe_zip_close(lethe_zip **zp) {
    lethe_zip *z = *zp;
    if (!z) return;
    if (z->zip) zip_discard(z->zip);
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
