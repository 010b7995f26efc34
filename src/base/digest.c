/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/mem.h"

struct lethe_digest {
    EVP_MD_CTX *ctx;
    bool failed;
};

lethe_status lethe_digest_open(lethe_digest **out, lethe_digest_kind kind, lethe_err *err) {
    lethe_digest *d;
    LETHE_TRY(lethe_zalloc(&d, 1, sizeof *d, "a checksum", err));
    d->ctx = EVP_MD_CTX_new();
    if (!d->ctx) {
        lethe_free(d);
        return lethe_fail(err, LETHE_NOMEM, "out of memory: a checksum");
    }
    bool sha1 = kind == LETHE_DIGEST_SHA1;
    if (EVP_DigestInit_ex(d->ctx, sha1 ? EVP_sha1() : EVP_sha256(), NULL) != 1) {
        lethe_digest_close(&d);
        return lethe_fail(err, LETHE_FAIL, "libcrypto does not compute %s here",
                          sha1 ? "SHA-1" : "SHA-256");
    }
    *out = d;
    return LETHE_OK;
}

void lethe_digest_put(lethe_digest *d, const void *data, size_t n) {
    if (!d->failed && n && EVP_DigestUpdate(d->ctx, data, n) != 1) d->failed = true;
}

lethe_status lethe_digest_hex(lethe_digest *d, char out[LETHE_DIGEST_HEX], lethe_err *err) {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (d->failed || EVP_DigestFinal_ex(d->ctx, raw, &n) != 1 || 2 * n >= LETHE_DIGEST_HEX) {
        d->failed = true;
        return lethe_fail(err, LETHE_FAIL, "libcrypto could not compute a checksum");
    }
    for (unsigned i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", raw[i]);
    return LETHE_OK;
}

void lethe_digest_close(lethe_digest **dp) {
    if (!*dp) return;
    EVP_MD_CTX_free((*dp)->ctx);
    lethe_free(*dp);
    *dp = NULL;
}

lethe_status lethe_digest_bytes(lethe_digest_kind kind, const void *data, size_t n,
                                char out[LETHE_DIGEST_HEX], lethe_err *err) {
    lethe_digest *d;
    LETHE_TRY(lethe_digest_open(&d, kind, err));
    lethe_digest_put(d, data, n);
    lethe_status st = lethe_digest_hex(d, out, err);
    lethe_digest_close(&d);
    return st;
}
