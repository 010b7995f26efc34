/* SPDX-License-Identifier: MIT */
#include "front/serve/httpd_parts.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, a, sizeof in);
        return (ntohl(in.sin_addr.s_addr) >> 24) == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, a, sizeof in6);
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

lethe_status lethe_httpd_listen(lethe_httpd *h, lethe_err *err) {
    char port[16];
    snprintf(port, sizeof port, "%d", h->opts.port);
    struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    int bad = getaddrinfo(h->opts.host, port, &want, &list);
    if (bad) return lethe_fail(err, LETHE_USAGE, "--host %s: %s", h->opts.host, gai_strerror(bad));
    int yes = 1;
    lethe_status st = LETHE_OK;
    h->local = is_loopback(list->ai_addr);
    h->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (h->fd < 0 || setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
        bind(h->fd, list->ai_addr, list->ai_addrlen) || listen(h->fd, 256))
        st = lethe_fail_errno(err, LETHE_IO,
                              "cannot listen on %s port %d (choose another with --port)",
                              h->opts.host, h->opts.port);
    freeaddrinfo(list);
    struct sockaddr_storage got;
    socklen_t size = sizeof got;
    if (!st && getsockname(h->fd, (struct sockaddr *)&got, &size) == 0) {
        uint16_t at;
        memcpy(&at,
               got.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&got)->sin_port
                                        : (void *)&((struct sockaddr_in6 *)&got)->sin6_port,
               sizeof at);
        h->port = ntohs(at);
    }
    return st;
}
