/* SPDX-License-Identifier: MIT */
#include "raw_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int raw_connect(const char *url) {
    char host[64];
    int port;
    if (sscanf(url, "http://%63[^:]:%d", host, &port) != 2) return -1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) return -1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int raw_send(int fd, const void *data, size_t n) {
    const char *p = data;
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0) return -1;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

/* Puts the chunks of a body together, in place. */
static void unchunk(char *body) {
    char *to = body, *at = body;
    for (;;) {
        char *end;
        size_t n = strtoul(at, &end, 16), left = strlen(end);
        if (end == at || strncmp(end, "\r\n", 2) || !n || left < n + 2) break;
        memmove(to, end + 2, n);
        to += n;
        at = end + 2 + n + 2;
    }
    *to = '\0';
}

void raw_read_slowly(int fd, int seconds, size_t piece, unsigned pause_us, raw_reply *out) {
    *out = (raw_reply){0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = seconds},
               sizeof(struct timeval));
    size_t cap = 1 << 14;
    out->text = malloc(cap + 1);
    for (ssize_t n; out->text; pause_us ? usleep(pause_us) : 0) {
        size_t room = cap - out->size;
        n = recv(fd, out->text + out->size, room < piece ? room : piece, 0);
        if (n <= 0) break;
        out->size += (size_t)n;
        if (out->size < cap) continue;
        char *more = realloc(out->text, 2 * cap + 1);
        if (!more) break;
        out->text = more;
        cap *= 2;
    }
    if (!out->text) abort();
    out->text[out->size] = '\0';
    sscanf(out->text, "HTTP/1.%*d %d", &out->status);
    char *gap = strstr(out->text, "\r\n\r\n");
    out->body = gap ? gap + 4 : out->text + out->size;
    if (!gap) return;
    *gap = '\0';
    if (strcasestr(out->text, "Transfer-Encoding: chunked")) unchunk(gap + 4);
    *gap = '\r';
}

void raw_read(int fd, int seconds, raw_reply *out) {
    raw_read_slowly(fd, seconds, SIZE_MAX, 0, out);
}

void raw_free(raw_reply *r) {
    free(r->text);
    *r = (raw_reply){0};
}

char *raw_post(const char *path, const char *extra, const char *body, size_t *n) {
    size_t cap = strlen(path) + strlen(extra) + strlen(body) + 256;
    char *out = malloc(cap);
    if (!out) abort();
    *n =
        (size_t)snprintf(out, cap,
                         "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                         "Connection: close\r\nContent-Length: %zu\r\n%s\r\n%s",
                         path, strlen(body), extra, body);
    return out;
}

void raw_ask(const char *url, const void *data, size_t n, raw_reply *out) {
    *out = (raw_reply){0};
    int fd = raw_connect(url);
    if (fd < 0) return;
    raw_send(fd, data, n); /* a server may answer and close before it has read all */
    raw_read(fd, 60, out);
    close(fd);
}
