/* SPDX-License-Identifier: MIT */
#include "format/text_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/run.h"
#include "format/spool.h"
#include "format/unpack.h"

#define BUFFER LETHE_TEXT_STREAM_PEEK

struct lethe_text_stream {
    char *name;
    int fd; /* -1: a member */
    bool owns_fd;
    uint64_t offset; /* of the next raw byte in fd */
    lethe_zip_member *member;
    lethe_unpacker *unpacker; /* NULL: the raw bytes are the text */
    lethe_unpack_in raw;      /* in buffer `in` */
    bool end;                 /* nothing comes behind what `out` holds */
    size_t at, len;           /* out[at, len) was not taken yet */
    unsigned char in[BUFFER];
    char out[BUFFER];
};

/* ---- raw bytes ------------------------------------------------------------------------------ */

static lethe_status raw_read(lethe_text_stream *s, void *buf, size_t n, size_t *got,
                             lethe_err *err) {
    if (s->member) return lethe_zip_member_read(s->member, buf, n, got, err);
    for (*got = 0; *got < n;) {
        ssize_t k = pread(s->fd, (char *)buf + *got, n - *got, (off_t)s->offset);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return lethe_fail_errno(err, LETHE_IO, "%s: reading failed", s->name);
        if (k == 0) break;
        *got += (size_t)k;
        s->offset += (uint64_t)k;
    }
    return LETHE_OK;
}

static lethe_status raw_fill(lethe_text_stream *s, lethe_err *err) {
    size_t got;
    LETHE_TRY(raw_read(s, s->in, sizeof s->in, &got, err));
    s->raw = (lethe_unpack_in){s->in, got, got < sizeof s->in};
    return LETHE_OK;
}

/* ---- what it is ----------------------------------------------------------------------------- */

/* Known, and not to be read: none of these can be the beginning of text. '?' is any byte. */
static const struct refusal {
    const char *mark;
    size_t n;
    const char *is, *mend;
} refusals[] = {
    {"PAR1\x15", 5, "Parquet",
     "python3 -c 'import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json(sys.argv[2], "
     "orient=\"records\", lines=True)' FILE OUT.jsonl"},
    {"ARROW1\0", 7, "an Arrow file",
     "python3 -c 'import pandas, sys; pandas.read_feather(sys.argv[1]).to_json(sys.argv[2], "
     "orient=\"records\", lines=True)' FILE OUT.jsonl"},
    {"BZh?1AY&SY", 10, "packed with bzip2", "bunzip2 -k FILE"},
    {"\xfd"
     "7zXZ",
     5, "packed with xz", "unxz -k FILE"},
    {"\x04\x22\x4d\x18", 4, "packed with lz4", "lz4 -d FILE"},
    {"7z\xbc\xaf\x27\x1c", 6, "a 7z archive", "7z x FILE"},
    {"PK\3\4", 4, "a zip archive where none can be read (in another one, or on standard input)",
     "unzip FILE"},
    {"\xff\xfe", 2, "UTF-16 text", "iconv -f utf-16 -t utf-8 FILE > OUT"},
    {"\xfe\xff", 2, "UTF-16 text", "iconv -f utf-16 -t utf-8 FILE > OUT"},
};

static bool matches(const struct refusal *r, const unsigned char *head, size_t n) {
    for (size_t i = 0; i < r->n; i++)
        if (i == n || (r->mark[i] != '?' && (unsigned char)r->mark[i] != head[i])) return false;
    return true;
}

static lethe_status refuse(const char *name, const unsigned char *head, size_t n, lethe_err *err) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        if (matches(r, head, n))
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: is %s; want text or JSON lines (convert it: %s)", name, r->is,
                              r->mend);
    }
    return LETHE_OK;
}

/* The first bytes decide. */
static lethe_status begin(lethe_text_stream *s, lethe_err *err) {
    LETHE_TRY(raw_fill(s, err));
    LETHE_TRY(refuse(s->name, s->raw.at, s->raw.n, err));
    lethe_packing packing = lethe_packing_of(s->raw.at, s->raw.n);
    if (packing != LETHE_PACKING_NONE)
        return lethe_unpacker_open(&s->unpacker, packing, s->name, err);
    return LETHE_OK;
}

static lethe_status make(lethe_text_stream **out, const char *name, lethe_err *err) {
    lethe_text_stream *s;
    LETHE_TRY(lethe_alloc(&s, 1, sizeof *s, "a stream of text", err));
    memset(s, 0, offsetof(lethe_text_stream, in));
    s->fd = -1;
    s->name = lethe_strdup(name);
    if (!s->name) {
        lethe_free(s);
        return lethe_fail(err, LETHE_NOMEM, "out of memory for a stream of text");
    }
    *out = s;
    return LETHE_OK;
}

static lethe_status open_file(const char *path, int *fd, lethe_err *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd >= 0) return LETHE_OK;
    bool missing = errno == ENOENT || errno == ENOTDIR;
    return lethe_fail_errno(err, missing ? LETHE_NOTFOUND : LETHE_IO, "%s: cannot open", path);
}

lethe_status lethe_text_stream_open(lethe_text_stream **out, const char *path, const char *name,
                                    lethe_err *err) {
    lethe_text_stream *s = NULL;
    LETHE_TRY(make(&s, name, err));
    s->owns_fd = !lethe_spool_wants(path);
    lethe_status st =
        s->owns_fd ? open_file(path, &s->fd, err) : lethe_spool_open(path, &s->fd, err);
    if (!st) st = begin(s, err);
    if (st)
        lethe_text_stream_close(&s);
    else
        *out = s;
    return st;
}

lethe_status lethe_text_stream_open_member(lethe_text_stream **out, lethe_zip *zip, size_t i,
                                           const char *name, lethe_err *err) {
    lethe_text_stream *s = NULL;
    LETHE_TRY(make(&s, name, err));
    lethe_status st = lethe_zip_member_open(&s->member, zip, i, err);
    if (!st) st = begin(s, err);
    if (st)
        lethe_text_stream_close(&s);
    else
        *out = s;
    return st;
}

void lethe_text_stream_close(lethe_text_stream **sp) {
    lethe_text_stream *s = *sp;
    if (!s) return;
    if (s->owns_fd && s->fd >= 0) close(s->fd);
    lethe_zip_member_close(&s->member);
    lethe_unpacker_close(&s->unpacker);
    lethe_free(s->name);
    lethe_free(s);
    *sp = NULL;
}

/* ---- text ----------------------------------------------------------------------------------- */

/* At least one more byte into `out`, or the end. */
static lethe_status produce(lethe_text_stream *s, lethe_err *err) {
    for (size_t got = 0; !got && !s->end;) {
        if (!s->raw.n && !s->raw.last) LETHE_TRY(raw_fill(s, err));
        char *to = s->out + s->len;
        size_t room = sizeof s->out - s->len;
        if (s->unpacker) {
            LETHE_TRY(lethe_unpack(s->unpacker, &s->raw, to, room, &got, &s->end, err));
        } else {
            got = s->raw.n < room ? s->raw.n : room;
            memcpy(to, s->raw.at, got);
            s->raw.at += got;
            s->raw.n -= got;
            s->end = !s->raw.n && s->raw.last;
        }
        s->len += got;
    }
    return LETHE_OK;
}

lethe_status lethe_text_stream_peek(lethe_text_stream *s, size_t want, const char **at, size_t *n,
                                    lethe_err *err) {
    if (s->len - s->at < want && s->at) {
        memmove(s->out, s->out + s->at, s->len - s->at);
        s->len -= s->at;
        s->at = 0;
    }
    while (s->len - s->at < want && !s->end) LETHE_TRY(produce(s, err));
    *at = s->out + s->at;
    *n = s->len - s->at;
    return LETHE_OK;
}

void lethe_text_stream_skip(lethe_text_stream *s, size_t n) {
    s->at += n;
}

lethe_status lethe_text_stream_read(lethe_text_stream *s, void *buf, size_t n, size_t *got,
                                    lethe_err *err) {
    for (*got = 0; *got < n;) {
        const char *at;
        size_t some;
        LETHE_TRY(lethe_text_stream_peek(s, 1, &at, &some, err));
        if (!some) break;
        if (some > n - *got) some = n - *got;
        memcpy((char *)buf + *got, at, some);
        lethe_text_stream_skip(s, some);
        *got += some;
    }
    return LETHE_OK;
}

lethe_status lethe_text_stream_count(lethe_text_stream *s, uint64_t *bytes, lethe_err *err) {
    struct stat sb;
    if (!s->member && !s->unpacker && !fstat(s->fd, &sb)) { /* plain: no need to read it */
        uint64_t size = (uint64_t)sb.st_size, ahead = size > s->offset ? size - s->offset : 0;
        *bytes = ahead + s->raw.n + s->len - s->at;
        return LETHE_OK;
    }
    const char *at;
    size_t n;
    for (*bytes = 0;; *bytes += n) {
        if (lethe_stop_requested()) return lethe_fail(err, LETHE_STOPPED, "stopped");
        LETHE_TRY(lethe_text_stream_peek(s, 1, &at, &n, err));
        if (!n) return LETHE_OK;
        lethe_text_stream_skip(s, n);
    }
}

lethe_status lethe_text_look(const char *path, bool *is_zip, lethe_err *err) {
    unsigned char head[16];
    int fd;
    LETHE_TRY(open_file(path, &fd, err));
    ssize_t n = pread(fd, head, sizeof head, 0);
    lethe_status st =
        n < 0 ? lethe_fail_errno(err, LETHE_IO, "%s: reading failed", path) : LETHE_OK;
    *is_zip = !st && lethe_zip_magic(head, (size_t)n);
    if (!st && !*is_zip) st = refuse(path, head, (size_t)n, err);
    close(fd);
    return st;
}
