/* SPDX-License-Identifier: MIT
 *
 * An HTTP client for small requests, several at a time, on libcurl (the only file that sees it is
 * http.c). Certificates are checked, redirects are not followed (a key would go where nobody meant
 * it to), only http and https are spoken; proxies are taken from the environment as curl does.
 *
 * Use: open; send as many as wanted; next hands out one finished answer at a time, in the order in
 * which they finish; close drops what is under way. One client belongs to one thread.
 */
#ifndef LETHE_FORMAT_HTTP_H
#define LETHE_FORMAT_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct lethe_http lethe_http;

typedef struct lethe_http_opts {
    double timeout;         /* seconds a request may take in all; 60 */
    double connect_timeout; /* seconds until the connection stands; 20 */
    size_t max_bytes;       /* of an answer; a longer one is a failed one; 8 MiB */
} lethe_http_opts;

lethe_http_opts lethe_http_defaults(void);

/* Fails: NOMEM, FAIL (libcurl does not start). */
lethe_status lethe_http_open(lethe_http **out, const lethe_http_opts *o, lethe_err *err);
void lethe_http_close(lethe_http **h);

/* Starts a POST of body [len] (copied). headers: [n_headers] lines "Name: value", copied; they must
 * not hold line breaks. user: given back with the answer. Fails: USAGE (no such URL, a header with
 * a line break), NOMEM. */
lethe_status lethe_http_post(lethe_http *h, const char *url, const char *const *headers,
                             size_t n_headers, const char *body, size_t len, void *user,
                             lethe_err *err);

size_t lethe_http_active(const lethe_http *h); /* requests started and not handed out */

typedef struct lethe_http_response {
    void *user;
    long status;        /* 200, 429, ..; 0: no answer came, and message says why */
    double retry_after; /* seconds, of the header Retry-After (a number or a date); -1: none */
    char *body;         /* owned, NUL-terminated; never NULL; "" when there is no answer */
    size_t len;
    char message[256];
} lethe_http_response;

/* Waits up to `seconds` for a finished request. *got: there was one. It returns early, without,
 * when a signal comes. Fails: FAIL (libcurl), NOMEM. */
lethe_status lethe_http_next(lethe_http *h, double seconds, lethe_http_response *out, bool *got,
                             lethe_err *err);
void lethe_http_response_free(lethe_http_response *r);

#endif
