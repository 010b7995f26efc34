/* SPDX-License-Identifier: MIT */
#include "format/hub_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define PARTS_MOST 4096
#define RECORD_EVERY ((uint64_t)1 << 20)
#define BUFFER ((size_t)1 << 20)

static const char magic[16] = "lethe parts 1\n";

typedef struct head {
    char magic[16];
    uint64_t size, part;
    char etag[LETHE_PARTS_ETAG];
} head;

typedef struct record {
    uint64_t done;
    char hash[40]; /* of `done` bytes */
} record;

static lethe_status write_at(const lethe_parts *p, const void *data, size_t n, uint64_t at,
                             lethe_err *err) {
    const char *from = data;
    while (n) {
        ssize_t k = pwrite(p->fd, from, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0)
            return lethe_fail_errno(err, LETHE_IO,
                                    "%s: writing failed (what came is kept; the same command goes "
                                    "on from there)",
                                    p->path);
        from += k;
        at += (uint64_t)k;
        n -= (size_t)k;
    }
    return LETHE_OK;
}

static bool read_at(const lethe_parts *p, void *out, size_t n, uint64_t at) {
    char *to = out;
    while (n) {
        ssize_t k = pread(p->fd, to, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        to += k;
        at += (uint64_t)k;
        n -= (size_t)k;
    }
    return true;
}

uint64_t lethe_parts_length(const lethe_parts *p, size_t i) {
    uint64_t from = i * p->part, left = p->size - from;
    return left < p->part ? left : p->part;
}

uint64_t lethe_parts_done(const lethe_parts *p) {
    uint64_t sum = 0;
    for (size_t i = 0; i < p->n; i++) sum += p->at[i].done;
    return sum;
}

bool lethe_parts_whole(const lethe_parts *p) {
    return lethe_parts_done(p) == p->size;
}

static uint64_t record_at(const lethe_parts *p, size_t i) {
    return p->size + sizeof(head) + i * sizeof(record);
}

lethe_status lethe_parts_record(lethe_parts *p, size_t i, lethe_err *err) {
    record r = {.done = p->at[i].done};
    if (p->at[i].hasher) {
        char hex[LETHE_HASH_HEX];
        lethe_hasher_hex(p->at[i].hasher, hex);
        memcpy(r.hash, hex, sizeof hex);
    }
    p->at[i].recorded = r.done;
    return write_at(p, &r, sizeof r, record_at(p, i), err);
}

lethe_status lethe_parts_put(lethe_parts *p, size_t i, const char *data, size_t n, lethe_err *err) {
    lethe_part *a = &p->at[i];
    if (!a->hasher) LETHE_TRY(lethe_hasher_open(&a->hasher, err));
    LETHE_TRY(write_at(p, data, n, i * p->part + a->done, err));
    lethe_hasher_put(a->hasher, data, n);
    a->done += n;
    bool end = a->done == lethe_parts_length(p, i);
    if (end || a->done - a->recorded >= RECORD_EVERY) LETHE_TRY(lethe_parts_record(p, i, err));
    if (end) lethe_hasher_close(&a->hasher);
    return LETHE_OK;
}

lethe_status lethe_parts_forget(lethe_parts *p, size_t i, lethe_err *err) {
    lethe_hasher_close(&p->at[i].hasher);
    p->at[i].done = 0;
    return lethe_parts_record(p, i, err);
}

lethe_status lethe_parts_forget_all(lethe_parts *p, lethe_err *err) {
    for (size_t i = 0; i < p->n; i++) LETHE_TRY(lethe_parts_forget(p, i, err));
    return LETHE_OK;
}

static lethe_status write_head(const lethe_parts *p, lethe_err *err) {
    head h = {.size = p->size, .part = p->part};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.etag, p->etag, sizeof h.etag);
    return write_at(p, &h, sizeof h, p->size, err);
}

lethe_status lethe_parts_set_etag(lethe_parts *p, const char *etag, lethe_err *err) {
    if (strlen(etag) >= sizeof p->etag) etag = "";
    if (!strcmp(p->etag, etag)) return LETHE_OK;
    memset(p->etag, 0, sizeof p->etag);
    memcpy(p->etag, etag, strlen(etag));
    return write_head(p, err);
}

/* Takes `done` bytes of part i for what has come, as they are on the disk. *fine: they can be read.
 */
static lethe_status take(lethe_parts *p, size_t i, uint64_t done, char *buffer, char hex[33],
                         bool *fine, lethe_err *err) {
    lethe_part *a = &p->at[i];
    LETHE_TRY(lethe_hasher_open(&a->hasher, err));
    *fine = true;
    for (uint64_t at = 0; *fine && at < done;) {
        uint64_t left = done - at;
        size_t n = left < BUFFER ? (size_t)left : BUFFER;
        *fine = read_at(p, buffer, n, i * p->part + at);
        if (*fine) lethe_hasher_put(a->hasher, buffer, n);
        at += n;
    }
    lethe_hasher_hex(a->hasher, hex);
    a->done = a->recorded = done;
    return LETHE_OK;
}

/* Part i as it is recorded, or forgotten. */
static lethe_status check(lethe_parts *p, size_t i, const record *r, char *buffer, lethe_err *err) {
    char hex[LETHE_HASH_HEX];
    bool fine;
    if (!r->done || r->done > lethe_parts_length(p, i)) return lethe_parts_forget(p, i, err);
    LETHE_TRY(take(p, i, r->done, buffer, hex, &fine, err));
    if (!fine || memcmp(hex, r->hash, sizeof hex) != 0) {
        p->damaged++;
        return lethe_parts_forget(p, i, err);
    }
    if (r->done == lethe_parts_length(p, i)) lethe_hasher_close(&p->at[i].hasher);
    return LETHE_OK;
}

/* What the record says, checked. *known: there was a record that fits. */
static lethe_status read_record(lethe_parts *p, uint64_t there, char *buffer, bool *known,
                                lethe_err *err) {
    head h;
    *known = there == record_at(p, p->n) && read_at(p, &h, sizeof h, p->size) &&
             !memcmp(h.magic, magic, sizeof magic) && h.size == p->size && h.part == p->part &&
             memchr(h.etag, '\0', sizeof h.etag);
    if (!*known) return LETHE_OK;
    memcpy(p->etag, h.etag, sizeof p->etag);
    for (size_t i = 0; i < p->n; i++) {
        record r = {0};
        if (read_at(p, &r, sizeof r, record_at(p, i))) LETHE_TRY(check(p, i, &r, buffer, err));
    }
    return LETHE_OK;
}

/* A file without a record: `there` first bytes, as other tools leave them (or all of them, where we
 * were killed between cutting the record off and renaming). The checksum of the whole will tell. */
static lethe_status adopt(lethe_parts *p, uint64_t there, char *buffer, lethe_err *err) {
    if (there > p->size) there = 0;
    if (ftruncate(p->fd, (off_t)there) || ftruncate(p->fd, (off_t)record_at(p, p->n)))
        return lethe_fail_errno(err, LETHE_IO, "%s: no room for it", p->path);
    LETHE_TRY(write_head(p, err));
    for (size_t i = 0; i < p->n; i++) {
        uint64_t from = i * p->part, len = lethe_parts_length(p, i);
        uint64_t done = there <= from ? 0 : there - from < len ? there - from : len;
        char hex[LETHE_HASH_HEX];
        bool fine;
        if (!done) continue; /* zeros say so */
        LETHE_TRY(take(p, i, done, buffer, hex, &fine, err));
        if (!fine) return lethe_fail_errno(err, LETHE_IO, "%s: cannot read", p->path);
        LETHE_TRY(lethe_parts_record(p, i, err));
        if (done == len) lethe_hasher_close(&p->at[i].hasher);
    }
    return LETHE_OK;
}

lethe_status lethe_parts_open(lethe_parts *out, const char *blob, uint64_t size, uint64_t part,
                              lethe_err *err) {
    lethe_parts p = {.fd = -1, .size = size};
    char *theirs = NULL, *buffer = NULL;
    size_t len = strlen(blob) + 32;
    struct stat sb;
    bool known = false;
    uint64_t least = size / PARTS_MOST + 1;
    p.part = part > least ? part : least;
    p.n = (size_t)(size / p.part + (size % p.part != 0));
    lethe_status st = lethe_alloc(&p.path, len, 1, "a path", err);
    if (!st) st = lethe_alloc(&theirs, len, 1, "a path", err);
    if (!st) st = lethe_zalloc(&p.at, p.n, sizeof *p.at, "a file's parts", err);
    if (!st) st = lethe_alloc(&buffer, BUFFER, 1, "a buffer", err);
    if (!st) {
        snprintf(p.path, len, "%s.lethe.incomplete", blob);
        snprintf(theirs, len, "%s.incomplete", blob);
        if (stat(p.path, &sb) && !stat(theirs, &sb) && S_ISREG(sb.st_mode)) rename(theirs, p.path);
        p.fd = open(p.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (p.fd < 0 || fstat(p.fd, &sb))
            st = lethe_fail_errno(err, LETHE_IO, "%s: cannot write", p.path);
    }
    if (!st) st = read_record(&p, (uint64_t)sb.st_size, buffer, &known, err);
    if (!st && !known) st = adopt(&p, (uint64_t)sb.st_size, buffer, err);
    lethe_free(theirs);
    lethe_free(buffer);
    if (st) {
        lethe_parts_close(&p);
        return st;
    }
    p.resumed = lethe_parts_done(&p);
    *out = p;
    return LETHE_OK;
}

void lethe_parts_close(lethe_parts *p) {
    for (size_t i = 0; p->at && i < p->n; i++) lethe_hasher_close(&p->at[i].hasher);
    if (p->path && p->fd >= 0) close(p->fd);
    lethe_free(p->at);
    lethe_free(p->path);
    *p = (lethe_parts){0};
}

lethe_status lethe_parts_finish(lethe_parts *p, const char *blob, lethe_err *err) {
    if (ftruncate(p->fd, (off_t)p->size) || fsync(p->fd) || rename(p->path, blob))
        return lethe_fail_errno(err, LETHE_IO, "%s: cannot be put in place", blob);
    return LETHE_OK;
}

void lethe_parts_remove(lethe_parts *p) {
    unlink(p->path);
}
