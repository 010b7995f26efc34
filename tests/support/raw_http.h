/* SPDX-License-Identifier: MIT
 *
 * HTTP by hand, for tests that send what no library would: bytes go out as they are given.
 */
#ifndef LETHE_TESTS_RAW_HTTP_H
#define LETHE_TESTS_RAW_HTTP_H

#include <stddef.h>

typedef struct raw_reply {
    int status; /* 0: no reply */
    char *text; /* [size] all that came, with a NUL behind; owned */
    size_t size;
    const char *body; /* in text; chunks are put together */
} raw_reply;

/* "http://127.0.0.1:8080" */
int raw_connect(const char *url);                 /* -1: not there */
int raw_send(int fd, const void *data, size_t n); /* 0: all of it */

/* Reads until the other side closes, or `seconds` have passed without a byte. */
void raw_read(int fd, int seconds, raw_reply *out);
/* The same, at most `piece` bytes at once and a pause after each. */
void raw_read_slowly(int fd, int seconds, size_t piece, unsigned pause_us, raw_reply *out);
void raw_free(raw_reply *r);

/* A POST of JSON, with "Connection: close", as text; owned. extra: header lines, or "". */
char *raw_post(const char *path, const char *extra, const char *body, size_t *n);

/* Connects, sends, reads, closes. */
void raw_ask(const char *url, const void *data, size_t n, raw_reply *out);

#endif
