/* SPDX-License-Identifier: MIT
 *
 * An HTTP client on libcurl (only http.c and url.c see it): several requests at a time, small ones
 * whose answers are kept in memory, and long ones that read a file or hand their answer on as it
 * comes. Certificates are checked, redirects are not followed (a key would go where nobody meant
 * it to; url.h helps a caller who wants to), only http and https are spoken; proxies are taken from
 * the environment as curl does.
 *
 * Use: open; send as many as wanted; next hands out one finished answer at a time, in the order in
 * which they finish; close drops what is under way. One client belongs to one thread.
 */
#ifndef LETHE_FORMAT_HTTP_H
#define LETHE_FORMAT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct lethe_http lethe_http;

typedef struct lethe_http_opts {
    double timeout;         /* seconds a request may take in all; 60 */
    double connect_timeout; /* seconds until the connection stands; 20 */
    size_t max_bytes;       /* of an answer that is kept; a longer one is a failed one; 8 MiB */
} lethe_http_opts;

lethe_http_opts lethe_http_defaults(void);

/* Fails: NOMEM, FAIL (libcurl does not start). */
lethe_status lethe_http_open(lethe_http **out, const lethe_http_opts *o, lethe_err *err);
void lethe_http_close(lethe_http **h);
void lethe_http_drop(lethe_http *h); /* ends all that is under way; no answers come of it */

/* Takes the next bytes of a 2xx answer with that status and those header lines. false: no more,
 * the request ends. Called inside lethe_http_next. */
typedef bool (*lethe_http_sink)(void *user, long status, const char *headers, const char *data,
                                size_t n);

typedef struct lethe_http_request {
    const char *method, *url;
    const char *const *headers; /* [n_headers] lines "Name: value" without line breaks */
    size_t n_headers;
    const char *body; /* [len]; NULL: none */
    size_t len;
    bool from_file; /* the body is `length` bytes of fd from `offset`, read as they are sent */
    int fd;         /* borrowed until the answer is there */
    uint64_t offset, length;
    uint64_t *sent;       /* NULL, or where to keep how many bytes of it are on their way */
    lethe_http_sink sink; /* NULL: the answer is kept. Others than 2xx are kept in any case */
    double idle;          /* above 0: instead of the timeout, seconds in which nothing moves */
    void *user;           /* given back with the answer, and to the sink */
} lethe_http_request;

/* Starts a request; all but fd is copied. Fails: USAGE (no such URL, a header with a line break),
 * NOMEM, FAIL. */
lethe_status lethe_http_send(lethe_http *h, const lethe_http_request *r, lethe_err *err);

/* Starts a POST of body [len]; as lethe_http_send. */
lethe_status lethe_http_post(lethe_http *h, const char *url, const char *const *headers,
                             size_t n_headers, const char *body, size_t len, void *user,
                             lethe_err *err);

size_t lethe_http_active(const lethe_http *h); /* requests started and not handed out */

typedef struct lethe_http_response {
    void *user;
    long status;        /* 200, 429, ..; 0: no whole answer came, and message says why */
    bool refused;       /* the sink wanted no more; then status is the answer's */
    bool unreachable;   /* with status 0: no connection was made, so nothing was sent */
    double retry_after; /* seconds, of the header Retry-After (a number or a date); -1: none */
    char *headers;      /* owned, as they came, lines with CR LF; "" when there is no answer */
    char *body;         /* owned, NUL-terminated; never NULL; "" when there is no answer */
    size_t len;
    char message[256];
} lethe_http_response;

/* Waits up to `seconds` for a finished request. *got: there was one. It returns early, without,
 * when a signal comes. Fails: FAIL (libcurl), NOMEM. */
lethe_status lethe_http_next(lethe_http *h, double seconds, lethe_http_response *out, bool *got,
                             lethe_err *err);
void lethe_http_response_free(lethe_http_response *r);

/* The value of a header (the last of that name, in any case) out of header lines, without blanks
 * at its ends, into out [size]. false, and "": there is none, or it does not fit. */
bool lethe_http_header(const char *headers, const char *name, char *out, size_t size);

#endif
