/* SPDX-License-Identifier: MIT */
#include "front/serve/httpd_parts.h"

#include <poll.h>
#include <sys/socket.h>

#include "base/mem.h"

void lethe_httpd_on_connection(void *user, struct MHD_Connection *c, void **context,
                               enum MHD_ConnectionNotificationCode what) {
    lethe_httpd *h = user;
    lethe_connection *n = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (!info || lethe_zalloc(&n, 1, sizeof *n, "a connection", NULL)) return;
        n->fd = info->connect_fd;
        n->since = lethe_seconds();
        *context = n;
        pthread_mutex_lock(&h->lock);
        n->next = h->all;
        if (n->next) n->next->prev = n;
        h->all = n;
        pthread_mutex_unlock(&h->lock);
        atomic_fetch_add(&h->server->metrics->connections, 1);
    } else if (n) {
        pthread_mutex_lock(&h->lock);
        if (n->prev)
            n->prev->next = n->next;
        else
            h->all = n->next;
        if (n->next) n->next->prev = n->prev;
        pthread_mutex_unlock(&h->lock);
        atomic_fetch_sub(&h->server->metrics->connections, 1);
        lethe_free(n);
        *context = NULL;
    }
}

/* Requests that do not arrive, connections that do not ask. The socket is shut, which
 * libmicrohttpd sees and ends the connection. */
static void shut_slow(lethe_httpd *h, const lethe_connection *n, double now) {
    bool slow = n->started > 0 && n->arriving && now - n->started > h->opts.arrival;
    bool idle = n->started <= 0 && now - n->since > h->opts.idle;
    if (slow) {
        lethe_refusal why = {0};
        lethe_refuse(&why, 408, "request_timeout", "", "the request did not arrive in %u seconds",
                     h->opts.arrival);
        lethe_send_raw(h, n->fd, &why, "Request Timeout");
    }
    if (slow || idle) shutdown(n->fd, SHUT_RDWR);
}

void lethe_httpd_watch(lethe_httpd *h) {
    double now = lethe_seconds();
    size_t n = 0;
    pthread_mutex_lock(&h->lock);
    for (lethe_connection *c = h->all; c; c = c->next) {
        shut_slow(h, c, now);
        if (!c->suspended || !c->call || n == h->cap) continue;
        h->poll[n] = (struct pollfd){.fd = c->fd, .events = POLLRDHUP};
        h->polled[n++] = c;
    }
    if (n && poll(h->poll, n, 0) > 0)
        for (size_t i = 0; i < n; i++)
            if (h->poll[i].revents) lethe_call_hang_up(h->polled[i]->call);
    pthread_mutex_unlock(&h->lock);
}
