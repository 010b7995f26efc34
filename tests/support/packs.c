/* SPDX-License-Identifier: MIT */
#include "support/packs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>
#include <zstd.h>

static void must(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "%s failed\n", what);
    abort();
}

unsigned char *pack_gzip(const void *data, size_t n, size_t *out_n) {
    z_stream z = {0};
    must(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflateInit2");
    size_t cap = deflateBound(&z, n) + 64;
    unsigned char *out = malloc(cap), *in = malloc(n + 1);
    must(out && in, "malloc");
    if (n) memcpy(in, data, n);
    z.next_in = in;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    must(deflate(&z, Z_FINISH) == Z_STREAM_END, "deflate");
    *out_n = z.total_out;
    deflateEnd(&z);
    free(in);
    return out;
}

unsigned char *pack_zstd(const void *data, size_t n, size_t *out_n) {
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t cap = ZSTD_compressBound(n);
    unsigned char *out = malloc(cap);
    must(c && out && !ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1)), "zstd");
    *out_n = ZSTD_compress2(c, out, cap, data, n);
    must(!ZSTD_isError(*out_n), "ZSTD_compress2");
    ZSTD_freeCCtx(c);
    return out;
}

void pack_zip(const char *path, const pack_member *member, size_t n) {
    unlink(path);
    int code;
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    must(z != NULL, "zip_open");
    for (size_t i = 0; i < n; i++) {
        const pack_member *m = &member[i];
        size_t len = strlen(m->name);
        if (len && m->name[len - 1] == '/') {
            must(zip_dir_add(z, m->name, 0) >= 0, "zip_dir_add");
            continue;
        }
        zip_source_t *s = zip_source_buffer(z, m->data, m->n, 0);
        zip_int64_t at = s ? zip_file_add(z, m->name, s, 0) : -1;
        must(at >= 0, "zip_file_add");
        zip_int32_t how = m->stored ? ZIP_CM_STORE : ZIP_CM_DEFLATE;
        must(!zip_set_file_compression(z, (zip_uint64_t)at, how, 9), "zip_set_file_compression");
        if (m->encrypted)
            must(!zip_file_set_encryption(z, (zip_uint64_t)at, ZIP_EM_TRAD_PKWARE, "secret"),
                 "zip_file_set_encryption");
    }
    must(!zip_close(z), "zip_close");
}

unsigned char *pack_slurp(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    must(f && !fseek(f, 0, SEEK_END), path);
    long size = ftell(f);
    rewind(f);
    unsigned char *data = malloc((size_t)size + 1);
    must(data && fread(data, 1, (size_t)size, f) == (size_t)size, path);
    fclose(f);
    *n = (size_t)size;
    return data;
}

void pack_spill(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data, 1, n, f) == n && !fclose(f), path);
}
