/* SPDX-License-Identifier: MIT
 *
 * Cryptographic checksums, by libcrypto (digest.c alone sees it): SHA-256, with which a large file
 * of a repository is named, and SHA-1, with which git names a small one. For fingerprints of our
 * own there is hash.h, which is far faster.
 */
#ifndef LETHE_BASE_DIGEST_H
#define LETHE_BASE_DIGEST_H

#include <stddef.h>

#include "base/err.h"

typedef enum lethe_digest_kind { LETHE_DIGEST_SHA1, LETHE_DIGEST_SHA256 } lethe_digest_kind;

#define LETHE_DIGEST_HEX 65 /* the longest in hex digits (40 of SHA-1, 64 of SHA-256), and a NUL \
                             */

typedef struct lethe_digest lethe_digest;

/* Fails: NOMEM, FAIL (libcrypto lacks the algorithm: a policy of the system may forbid SHA-1). */
lethe_status lethe_digest_open(lethe_digest **out, lethe_digest_kind kind, lethe_err *err);
void lethe_digest_put(lethe_digest *d, const void *data, size_t n); /* sticky */

/* Of all that was put; once. Lower-case hex. Fails: FAIL (libcrypto). */
lethe_status lethe_digest_hex(lethe_digest *d, char out[LETHE_DIGEST_HEX], lethe_err *err);
void lethe_digest_close(lethe_digest **d); /* accepts NULL */

lethe_status lethe_digest_bytes(lethe_digest_kind kind, const void *data, size_t n,
                                char out[LETHE_DIGEST_HEX], lethe_err *err);

#endif
