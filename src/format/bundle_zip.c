/* SPDX-License-Identifier: MIT
 *
 * Bundles in zip archives: members by name, as whole blocks of bytes. Stored members are views into
 * the map; packed ones are unpacked once, within an allowance.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/bundle_parts.h"

/* Deflate makes at most 1032 bytes of one; weights pack to nine tenths, zeros to a thousandth. What
 * a whole archive may unpack to grows with the file, so that a small file takes little memory. */
#define DEFLATE_MOST 1032
#define UNPACK_FREE ((uint64_t)64 << 20)
#define UNPACK_TIMES 32

static int by_name(const void *a, const void *b) {
    const lethe_bundle_member *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Names are not used as paths here, but a file that has such a name means no good. */
static bool leads_out(const char *name) {
    if (*name == '/' || strchr(name, '\\')) return true;
    for (const char *part = name; part;) {
        if (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2])) return true;
        part = strchr(part, '/');
        if (part) part++;
    }
    return false;
}

static bool has_control(const char *name) {
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return true;
    return false;
}

lethe_status lethe_bundle_zip(lethe_bundle *b, lethe_err *err) {
    LETHE_TRY(lethe_zip_open_map(&b->zip, &b->map, err));
    size_t n = lethe_zip_count(b->zip);
    LETHE_TRY(lethe_bundle_block(b, &b->member, n, sizeof *b->member, "the list of members", err));
    for (size_t i = 0; i < n; i++) {
        lethe_bundle_member *m = &b->member[b->n_members];
        *m = (lethe_bundle_member){.name = lethe_zip_name(b->zip, i), .index = i};
        size_t len = strlen(m->name);
        if (has_control(m->name))
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: the name of member %zu has control characters", b->map.path, i);
        if (leads_out(m->name))
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: member \"%.200s\" has a name that leads out of the archive",
                              b->map.path, m->name);
        if (len && m->name[len - 1] != '/') b->n_members++; /* not a folder */
    }
    qsort(b->member, b->n_members, sizeof *b->member, by_name);
    for (size_t i = 1; i < b->n_members; i++)
        if (!strcmp(b->member[i].name, b->member[i - 1].name))
            return lethe_fail(err, LETHE_FORMAT, "%s: member \"%.200s\" is there twice",
                              b->map.path, b->member[i].name);
    return LETHE_OK;
}

lethe_bundle_member *lethe_bundle_member_find(const lethe_bundle *b, const char *name) {
    const lethe_bundle_member key = {.name = name};
    return b->n_members ? bsearch(&key, b->member, b->n_members, sizeof key, by_name) : NULL;
}

static lethe_status check_size(lethe_bundle *b, const lethe_bundle_member *m, lethe_err *err) {
    uint64_t size = lethe_zip_size(b->zip, m->index),
             packed = lethe_zip_packed_size(b->zip, m->index), file = b->map.size;
    if (packed > file || size / DEFLATE_MOST > packed)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: member \"%.200s\" claims %llu bytes packed into %llu, in a file of "
                          "%llu",
                          b->map.path, m->name, (unsigned long long)size,
                          (unsigned long long)packed, (unsigned long long)file);
    uint64_t most = UNPACK_FREE + UNPACK_TIMES * file;
    if (size > most || b->unpacked > most - size)
        return lethe_fail(
            err, LETHE_FORMAT,
            "%s: unpacking member \"%.200s\" would take %llu bytes, a file of %llu may "
            "take %llu (unpack it and pack it again without compression)",
            b->map.path, m->name, (unsigned long long)(b->unpacked + size),
            (unsigned long long)file, (unsigned long long)most);
    b->unpacked += size;
    return LETHE_OK;
}

/* The whole of a packed member. */
static lethe_status unpack(lethe_bundle *b, lethe_bundle_member *m, lethe_err *err) {
    LETHE_TRY(check_size(b, m, err));
    size_t size = (size_t)lethe_zip_size(b->zip, m->index), got = 0, more = 0;
    unsigned char *to, beyond;
    LETHE_TRY(lethe_bundle_block(b, &to, size, 1, "a member of an archive", err));
    lethe_zip_member *stream;
    LETHE_TRY(lethe_zip_member_open(&stream, b->zip, m->index, err));
    lethe_status st = lethe_zip_member_read(stream, to, size, &got, err);
    if (!st) st = lethe_zip_member_read(stream, &beyond, 1, &more, err); /* compares checksums */
    lethe_zip_member_close(&stream);
    if (st) return st;
    if (got != size || more)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: member \"%.200s\" unpacks to %s than the %zu bytes it claims",
                          b->map.path, m->name, more ? "more" : "less", size);
    m->data = to;
    m->size = size;
    return LETHE_OK;
}

lethe_status lethe_bundle_member_bytes(lethe_bundle *b, lethe_bundle_member *m, lethe_err *err) {
    if (m->data) return LETHE_OK;
    m->data = lethe_zip_stored(b->zip, m->index);
    m->size = (size_t)lethe_zip_size(b->zip, m->index);
    return m->data ? LETHE_OK : unpack(b, m, err);
}
