/* SPDX-License-Identifier: MIT
 *
 * The Hugging Face Hub, and whatever speaks its protocol: names of repositories and files, what
 * there is in one, files fetched into the cache that Hugging Face's own tools use, and files sent.
 *
 *     CACHE/models--OWNER--NAME/blobs/OID                 contents, by checksum
 *                              /snapshots/COMMIT/PATH     links to them
 *                              /refs/REVISION             a commit, in 40 digits
 *     CACHE/.locks/models--OWNER--NAME/OID.lock           who fetches it (flock)
 *
 * What the server says is checked before it is used: names of files stay inside the repository,
 * checksums and commits are hex digits, sizes are what comes. The token is sent to the endpoint
 * alone, never to where it redirects.
 */
#ifndef LETHE_FORMAT_HUB_H
#define LETHE_FORMAT_HUB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/run.h"
#include "base/strbuf.h"
#include "format/http.h"

#define LETHE_HUB_ENDPOINT "https://huggingface.co"

/* ---- names (hub_name.c) ---------------------------------------------------------------------- */

typedef struct lethe_hub_repo {
    bool dataset;
    char name[200];     /* "owner/name"; old ones have no owner: "gpt2" */
    char revision[200]; /* branch, tag, commit; "main" */
} lethe_hub_repo;

/* "owner/name[:what]", with "datasets/" in front for a dataset. revision: NULL: "main". *what:
 * owned, NULL: none. Fails: USAGE, NOMEM. */
lethe_status lethe_hub_parse(const char *text, const char *revision, lethe_hub_repo *out,
                             char **what, lethe_err *err);

/* A name of a file that stays below the folder it is put in: relative, no part of it empty, "." or
 * "..", no control characters or backslashes, of a length that file systems take. */
bool lethe_hub_path_fine(const char *path);
bool lethe_hub_is_hex(const char *s, size_t n); /* exactly n lower-case hex digits */

/* Where tokens and cached files are, from environment variables (getenv, or a test's):
 * HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME; HF_TOKEN, HF_TOKEN_PATH; HF_HUB_OFFLINE;
 * HF_ENDPOINT. */
typedef struct lethe_hub_places {
    char *cache;    /* owned */
    char *token;    /* owned; NULL: none */
    char *endpoint; /* owned, no slash at its end */
    bool offline;
} lethe_hub_places;

/* endpoint: of the command line, NULL: the environment's. Fails: USAGE (no home; a token or an
 * endpoint that cannot be one), IO (a token file that cannot be read), NOMEM. */
lethe_status lethe_hub_places_find(lethe_hub_places *out, const char *endpoint,
                                   char *(*env)(const char *), lethe_err *err);
void lethe_hub_places_free(lethe_hub_places *p); /* accepts a zeroed one */

/* ---- asking (hub_ask.c) ---------------------------------------------------------------------- */

typedef struct lethe_hub_opts {
    const char *endpoint, *token; /* borrowed until close; token NULL: none */
    size_t concurrency;           /* requests at a time; 4 */
    unsigned retries;             /* in a row that bring nothing; 5 */
    double idle;                  /* seconds without a byte; 60 */
    double wait_first, wait_most; /* of the back-off: 0.5, doubled up to 30 s */
    uint64_t part;                /* bytes of a range; 16 MiB */
} lethe_hub_opts;

lethe_hub_opts lethe_hub_defaults(void);

typedef struct lethe_hub lethe_hub; /* belongs to one thread */

lethe_status lethe_hub_open(lethe_hub **out, const lethe_hub_opts *o, const lethe_env *env,
                            lethe_err *err);
void lethe_hub_close(lethe_hub **h);
bool lethe_hub_unreachable(const lethe_hub *h); /* the last failure was that nobody was there */

/* One small request and its answer, tried again when that may help (cut connections, 429, 5xx,
 * with Retry-After). url: below the endpoint: "/api/..", or an absolute one, to which no token goes
 * unless it is the endpoint's. what: for messages. Redirects inside the endpoint are followed for
 * GET. accept: further statuses that are no failure, 0-terminated; NULL: only 2xx. Fails: NOTFOUND
 * (404), FAIL (401, 403), IO (nobody there, all else), STOPPED, NOMEM. */
lethe_status lethe_hub_ask(lethe_hub *h, const char *method, const char *url,
                           const char *content_type, const char *body, size_t len, const char *what,
                           const long *accept, lethe_http_response *out, lethe_err *err);

/* The same for any request (its sink and user are ours), with the headers given there alone. */
lethe_status lethe_hub_ask_raw(lethe_hub *h, lethe_http_request *r, const char *what,
                               const long *accept, lethe_http_response *out, lethe_err *err);

/* The failure that an answer of this status means. */
lethe_status lethe_hub_explain(const lethe_hub *h, const lethe_http_response *r, const char *what,
                               lethe_err *err);

/* ---- what there is (hub_list.c) -------------------------------------------------------------- */

typedef struct lethe_hub_file {
    char *path; /* lethe_hub_path_fine */
    uint64_t size;
    char oid[LETHE_DIGEST_HEX]; /* 64 digits: SHA-256 of the bytes; 40: git's SHA-1 of the blob */
} lethe_hub_file;

typedef struct lethe_hub_listing {
    char commit[41];
    lethe_hub_file *file; /* [n], by path */
    size_t n, cap;
} lethe_hub_listing;

/* All files of the repository at its revision. Fails: as ask; FORMAT (an answer that makes no
 * sense, a hostile name). */
lethe_status lethe_hub_list(lethe_hub *h, const lethe_hub_repo *repo, lethe_hub_listing *out,
                            lethe_err *err);
void lethe_hub_listing_free(lethe_hub_listing *l); /* accepts a zeroed one */

/* One answer of the tree API, added to the listing; and the address of the next one out of its
 * headers, into next [size], "" when it was the last. Both pure, for tests and fuzzing. */
lethe_status lethe_hub_read_tree(lethe_hub_listing *l, const char *body, const char *what,
                                 lethe_err *err);
void lethe_hub_next_page(const char *headers, char *next, size_t size);

/* ---- the cache (hub_cache.c) ----------------------------------------------------------------- */

/* The repository's folder below cache; owned; NULL: no memory. */
char *lethe_hub_folder(const char *cache, const lethe_hub_repo *repo);

/* What of the repository is in the cache at its revision: paths and sizes; oid "" . Fails: NOTFOUND
 * (nothing of that revision), NOMEM, IO. */
lethe_status lethe_hub_cached(const char *cache, const lethe_hub_repo *repo, lethe_hub_listing *out,
                              lethe_err *err);

/* Puts PATH of the snapshot in place as a link to the blob. Fails: IO, NOMEM. */
lethe_status lethe_hub_link(const char *folder, const char *commit, const lethe_hub_file *f,
                            lethe_err *err);
lethe_status lethe_hub_write_ref(const char *folder, const lethe_hub_repo *repo, const char *commit,
                                 lethe_err *err);

/* Holds the lock of one blob; waits while somebody else does. */
lethe_status lethe_hub_lock(const char *cache, const lethe_hub_repo *repo, const char *oid,
                            const lethe_env *env, int *fd, lethe_err *err);
void lethe_hub_unlock(int fd);

/* ---- fetching (hub_fetch.c) ------------------------------------------------------------------ */

typedef struct lethe_hub_progress { /* over all files of a pull */
    double done, total;             /* bytes */
} lethe_hub_progress;

/* Fetches a file into `blob`, with its checksum verified, in parts of which several are under way
 * at a time; nothing is at `blob` before it is whole. What came so far is kept beside it, in
 * "BLOB.lethe.incomplete" (hub_parts.h), and the next call goes on from there, as it does from the
 * "BLOB.incomplete" of other tools. *fetched: bytes that came over the network. Fails: as ask;
 * FORMAT (another size than listed; a wrong checksum, twice), IO (disk full). */
lethe_status lethe_hub_fetch(lethe_hub *h, const lethe_hub_repo *repo, const char *commit,
                             const lethe_hub_file *f, const char *blob, lethe_hub_progress *p,
                             uint64_t *fetched, lethe_err *err);

/* ---- sending (hub_push.c) -------------------------------------------------------------------- */

typedef struct lethe_hub_upload {
    const char *name; /* in the repository; borrowed */
    const char *path; /* the file; borrowed; NULL: data [size] */
    const char *data;
    uint64_t size; /* of a file: filled in by lethe_hub_digest_uploads */
    char sha256[LETHE_DIGEST_HEX];
} lethe_hub_upload;

/* Sizes and checksums of files [n] that are to be sent. Fails: NOTFOUND, IO, FORMAT (no regular
 * file), STOPPED. */
lethe_status lethe_hub_digest_uploads(lethe_hub_upload *file, size_t n, lethe_err *err);

typedef struct lethe_hub_pushed {
    char commit[41];             /* "" where the server does not say */
    char url[512];               /* of the commit, plain ASCII; "" likewise */
    size_t sent, there, ignored; /* large files sent and there already; files it does not want */
} lethe_hub_pushed;

/* Makes the repository unless it is there, sends the large files, and then all in one commit, so
 * that a push that is interrupted changes nothing. Files are digested. A file that changes
 * meanwhile is refused by the server's checksum. Fails: as ask; USAGE (a name without an owner, no
 * token), FORMAT (answers that make no sense). */
lethe_status lethe_hub_push(lethe_hub *h, const lethe_hub_repo *repo, bool private_,
                            const lethe_hub_upload *file, size_t n, const char *message,
                            lethe_hub_pushed *out, lethe_err *err);

/* Base64 with padding, as the API wants contents. */
void lethe_hub_base64(lethe_strbuf *b, const void *data, size_t n);

#endif
