/* SPDX-License-Identifier: MIT */
#include "format/unpack.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"

struct lethe_unpacker {
    lethe_packing packing;
    const char *name;
    z_stream z;
    bool has_z;
    ZSTD_DStream *zstd;
    bool inside;    /* a member or frame has begun and not ended */
    bool padded;    /* zeros were seen behind a gzip member */
    uint64_t parts; /* whole members or frames so far */
    uint64_t taken, given;
};

lethe_packing lethe_packing_of(const void *head, size_t n) {
    const unsigned char *b = head;
    if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b) return LETHE_PACKING_GZIP;
    if (n < 4) return LETHE_PACKING_NONE;
    if (!memcmp(b, "\x28\xb5\x2f\xfd", 4)) return LETHE_PACKING_ZSTD;
    if ((b[0] & 0xf0) == 0x50 && !memcmp(b + 1, "\x2a\x4d\x18", 3)) return LETHE_PACKING_ZSTD;
    return LETHE_PACKING_NONE;
}

lethe_status lethe_unpacker_open(lethe_unpacker **out, lethe_packing packing, const char *name,
                                 lethe_err *err) {
    lethe_unpacker *u;
    LETHE_TRY(lethe_zalloc(&u, 1, sizeof *u, "unpacking", err));
    u->packing = packing;
    u->name = name;
    if (packing == LETHE_PACKING_GZIP)
        u->has_z = inflateInit2(&u->z, 15 + 16) == Z_OK; /* 16: gzip's head and tail, no other */
    else
        u->zstd = ZSTD_createDStream();
    if (!u->has_z && !u->zstd) {
        lethe_unpacker_close(&u);
        return lethe_fail(err, LETHE_NOMEM, "out of memory for unpacking %s", name);
    }
    *out = u;
    return LETHE_OK;
}

void lethe_unpacker_close(lethe_unpacker **up) {
    lethe_unpacker *u = *up;
    if (!u) return;
    if (u->has_z) inflateEnd(&u->z);
    ZSTD_freeDStream(u->zstd); /* accepts NULL */
    lethe_free(u);
    *up = NULL;
}

static const char *kind(const lethe_unpacker *u) {
    return u->packing == LETHE_PACKING_GZIP ? "gzip" : "Zstandard";
}

static lethe_status damaged(const lethe_unpacker *u, const char *why, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: damaged %s file near byte %llu (after %llu bytes of text): %s (fetch it "
                      "again)",
                      u->name, kind(u), (unsigned long long)u->taken, (unsigned long long)u->given,
                      why);
}

static lethe_status cut_off(const lethe_unpacker *u, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: cut off: the %s data goes on behind the file's end at byte %llu (after "
                      "%llu bytes of text; fetch it again)",
                      u->name, kind(u), (unsigned long long)u->taken, (unsigned long long)u->given);
}

static lethe_status trailing(const lethe_unpacker *u, unsigned byte, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: other bytes behind the %s data: got 0x%02x at byte %llu, want the end "
                      "of the file or more %s data",
                      u->name, kind(u), byte, (unsigned long long)u->taken, kind(u));
}

static void take(lethe_unpacker *u, lethe_unpack_in *in, size_t n) {
    in->at += n;
    in->n -= n;
    u->taken += n;
}

/* ---- gzip ----------------------------------------------------------------------------------- */

/* Between members: *begun says that another one begins. */
static lethe_status next_member(lethe_unpacker *u, lethe_unpack_in *in, bool *begun,
                                lethe_err *err) {
    *begun = false;
    while (u->parts && in->n && *in->at == 0) {
        u->padded = true;
        take(u, in, 1);
    }
    if (!in->n) return LETHE_OK;
    if (u->parts && (u->padded || *in->at != 0x1f)) return trailing(u, *in->at, err);
    inflateReset(&u->z);
    *begun = u->inside = true;
    return LETHE_OK;
}

static lethe_status gzip_step(lethe_unpacker *u, lethe_unpack_in *in, void *out, size_t cap,
                              size_t *got, lethe_err *err) {
    if (!u->inside) {
        bool begun;
        LETHE_TRY(next_member(u, in, &begun, err));
        if (!begun) return LETHE_OK;
    }
    uInt n_in = in->n > INT_MAX ? INT_MAX : (uInt)in->n;
    uInt n_out = cap > INT_MAX ? INT_MAX : (uInt)cap;
    u->z.next_in = (Bytef *)(uintptr_t)in->at; /* zlib only reads there */
    u->z.avail_in = n_in;
    u->z.next_out = out;
    u->z.avail_out = n_out;
    int r = inflate(&u->z, Z_NO_FLUSH);
    take(u, in, n_in - u->z.avail_in);
    *got = n_out - u->z.avail_out;
    u->given += *got;
    if (r == Z_STREAM_END) {
        u->inside = false;
        u->parts++;
        return LETHE_OK;
    }
    if (r == Z_MEM_ERROR) return lethe_fail(err, LETHE_NOMEM, "out of memory for %s", u->name);
    if (r != Z_OK && r != Z_BUF_ERROR)
        return damaged(u, u->z.msg ? u->z.msg : "not what gzip writes", err);
    return LETHE_OK;
}

/* ---- Zstandard ------------------------------------------------------------------------------ */

static lethe_status zstd_error(const lethe_unpacker *u, size_t code, const lethe_unpack_in *in,
                               lethe_err *err) {
    switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_memory_allocation:
        return lethe_fail(err, LETHE_NOMEM, "out of memory for unpacking %s", u->name);
    case ZSTD_error_frameParameter_windowTooLarge:
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: its window takes more memory than the 128 MiB allowed (pack it "
                          "again: zstd -d --long=31 -c FILE | zstd > OTHER)",
                          u->name);
    case ZSTD_error_prefix_unknown:
        if (u->parts && in->n) return trailing(u, *in->at, err);
        break;
    default: break;
    }
    return damaged(u, ZSTD_getErrorName(code), err);
}

static lethe_status zstd_step(lethe_unpacker *u, lethe_unpack_in *in, void *out, size_t cap,
                              size_t *got, lethe_err *err) {
    if (!u->inside && !in->n) return LETHE_OK;
    ZSTD_inBuffer zi = {in->at, in->n, 0};
    ZSTD_outBuffer zo = {out, cap, 0};
    size_t r = ZSTD_decompressStream(u->zstd, &zo, &zi);
    if (ZSTD_isError(r)) return zstd_error(u, r, in, err);
    take(u, in, zi.pos);
    *got = zo.pos;
    u->given += *got;
    u->inside = r != 0;
    u->parts += r == 0;
    return LETHE_OK;
}

lethe_status lethe_unpack(lethe_unpacker *u, lethe_unpack_in *in, void *out, size_t cap,
                          size_t *got, bool *finished, lethe_err *err) {
    *got = 0;
    *finished = false;
    size_t before = in->n;
    LETHE_TRY(u->packing == LETHE_PACKING_GZIP ? gzip_step(u, in, out, cap, got, err)
                                               : zstd_step(u, in, out, cap, got, err));
    if (*got || in->n || before != in->n || !in->last) return LETHE_OK;
    if (u->inside) return cut_off(u, err);
    *finished = true;
    return LETHE_OK;
}
