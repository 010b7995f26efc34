/* SPDX-License-Identifier: MIT
 *
 * HTTP: only this and its files (httpd_*.c) know libmicrohttpd. One thread of that library reads
 * requests and writes replies for all connections. Here are all limits of what may come from
 * outside, the key, and CORS; what a request means is route.h's.
 *
 * A connection whose answer is being made is suspended, and libmicrohttpd does not look at its
 * socket then; nor does it bound how long a request may take to arrive. lethe_httpd_watch sees to
 * both.
 */
#ifndef LETHE_SERVE_HTTPD_H
#define LETHE_SERVE_HTTPD_H

#include "front/serve/route.h"

typedef struct lethe_httpd_opts {
    const char *host; /* address or name */
    int port;         /* 0: any that is free */
    const char *key;  /* NULL: none is asked for */
    const char *cors; /* origin that pages elsewhere may come from, "*": any; NULL: none */
    size_t body;      /* bytes of a body */
    size_t header;    /* bytes of request line and headers */
    size_t unread;    /* bytes of a stream that may wait for its client to read */
    unsigned connections;
    unsigned idle;    /* seconds without a byte, or between requests */
    unsigned arrival; /* seconds that a request may take to arrive */
} lethe_httpd_opts;

/* 127.0.0.1, 8080, 1 MiB, 16 KiB, 4 MiB, 512, 30, 30 */
lethe_httpd_opts lethe_httpd_defaults(void);

typedef struct lethe_httpd lethe_httpd;

/* Listens. opts' strings and server are borrowed. Fails: USAGE (an address that is none), IO (it is
 * taken, or not allowed). */
lethe_status lethe_httpd_open(lethe_httpd **out, lethe_server *server, const lethe_httpd_opts *opts,
                              lethe_err *err);
int lethe_httpd_port(const lethe_httpd *h);
bool lethe_httpd_is_local(const lethe_httpd *h); /* only this machine can reach it */

/* To be called some ten times a second from one thread. */
void lethe_httpd_watch(lethe_httpd *h);

/* No new connections from now on. */
void lethe_httpd_quiesce(lethe_httpd *h);

/* After the engine was drained: waits up to `seconds` for replies to be read, then closes all. */
void lethe_httpd_close(lethe_httpd **h, double seconds);

#endif
