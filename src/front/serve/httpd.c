/* SPDX-License-Identifier: MIT */
#include "front/serve/httpd_parts.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Bodies too long are read on for so many times the limit, to answer at the end. */
#define SWALLOW 4

lethe_httpd_opts lethe_httpd_defaults(void) {
    return (lethe_httpd_opts){.host = "127.0.0.1",
                              .port = 8080,
                              .body = 1 << 20,
                              .header = 16 << 10,
                              .unread = 4 << 20,
                              .connections = 512,
                              .idle = 30,
                              .arrival = 30};
}

const char *lethe_httpd_header(struct MHD_Connection *c, const char *name) {
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static void too_large(lethe_exchange *x) {
    if (x->why.status) return;
    lethe_refuse(&x->why, 413, "body_too_large", "", "the body has more than %zu bytes",
                 x->h->opts.body);
}

/* ---- libmicrohttpd's calls ------------------------------------------------------------------- */

static enum MHD_Result answer(lethe_exchange *x) {
    if (x->call) return lethe_send_call(x);
    if (x->why.status) return lethe_send_refusal(x);
    if (x->preflight) return lethe_send_preflight(x);
    lethe_reply reply;
    lethe_call_reader reader = {lethe_send_on_sleep, lethe_send_on_wake, x, x->h->opts.unread};
    lethe_route_run(x->route, x->h->server,
                    &(lethe_request){.path = x->path,
                                     .body = lethe_strbuf_str(&x->body),
                                     .size = x->body.len,
                                     .reader = &reader},
                    &reply);
    if (!reply.call) return lethe_send_whole(x, &reply);
    lethe_strbuf_free(&x->body);
    x->call = reply.call;
    pthread_mutex_lock(&x->h->lock);
    x->at->call = reply.call;
    x->at->arriving = false;
    pthread_mutex_unlock(&x->h->lock);
    return lethe_send_call(x);
}

static enum MHD_Result begin(lethe_httpd *h, struct MHD_Connection *c, const char *url,
                             const char *method, const char *version, void **state) {
    lethe_exchange *x;
    if (lethe_zalloc(&x, 1, sizeof *x, "a request", NULL)) return MHD_NO;
    *state = x;
    x->h = h;
    x->c = c;
    x->path = lethe_strdup(url);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->at = info ? info->socket_context : NULL;
    if (!x->path || !x->at) return MHD_NO;
    pthread_mutex_lock(&h->lock);
    x->at->started = lethe_seconds();
    x->at->arriving = true;
    pthread_mutex_unlock(&h->lock);
    lethe_door_examine(x, method, version);
    const char *length = lethe_httpd_header(c, "Content-Length");
    unsigned long long n = length ? strtoull(length, NULL, 10) : 0;
    if (n > h->opts.body) too_large(x);
    /* So much that reading it costs more than a client that is cut off. */
    if (x->unframed || n > SWALLOW * (unsigned long long)h->opts.body) return lethe_send_refusal(x);
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state) {
    lethe_exchange *x = *state;
    if (!x) return begin(user, c, url, method, version, state);
    if (!*size) return answer(x);
    x->came += *size;
    if (x->came > x->h->opts.body) too_large(x);
    if (x->came > SWALLOW * x->h->opts.body) {
        lethe_send_raw(x->h, x->at->fd, &x->why, "Content Too Large");
        return MHD_NO;
    }
    if (!x->why.status) lethe_strbuf_add(&x->body, data, *size);
    if (x->body.status)
        lethe_refuse(&x->why, 500, "out_of_memory", "", "no memory for the request");
    *size = 0;
    return MHD_YES;
}

static void on_completed(void *user, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why) {
    (void)c;
    (void)why;
    lethe_httpd *h = user;
    lethe_exchange *x = *state;
    if (!x) return;
    pthread_mutex_lock(&h->lock);
    if (x->at) {
        x->at->call = NULL;
        x->at->suspended = x->at->arriving = false;
        x->at->started = 0;
        x->at->since = lethe_seconds();
    }
    pthread_mutex_unlock(&h->lock);
    if (x->call && !lethe_call_leave(&x->call)) atomic_fetch_add(&h->server->metrics->hangups, 1);
    lethe_strbuf_free(&x->body);
    lethe_free(x->path);
    lethe_free(x);
    *state = NULL;
}

/* Escapes of a path, but not where one is a NUL, which would hide what follows it. */
static size_t on_unescape(void *user, struct MHD_Connection *c, char *s) {
    (void)user;
    (void)c;
    return strstr(s, "%00") ? strlen(s) : MHD_http_unescape(s);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static lethe_status start(lethe_httpd *h, lethe_err *err) {
    h->cap = h->opts.connections;
    LETHE_TRY(lethe_alloc(&h->poll, h->cap, sizeof *h->poll, "connections", err));
    LETHE_TRY(lethe_alloc(&h->polled, h->cap, sizeof *h->polled, "connections", err));
    LETHE_TRY(lethe_httpd_listen(h, err));
    h->daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, h,
        MHD_OPTION_LISTEN_SOCKET, h->fd, MHD_OPTION_CONNECTION_LIMIT, h->opts.connections,
        MHD_OPTION_CONNECTION_TIMEOUT, h->opts.idle, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)64 << 10, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, lethe_httpd_on_connection, h, MHD_OPTION_UNESCAPE_CALLBACK,
        on_unescape, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_END);
    return h->daemon ? LETHE_OK : lethe_fail(err, LETHE_FAIL, "libmicrohttpd does not start");
}

lethe_status lethe_httpd_open(lethe_httpd **out, lethe_server *server, const lethe_httpd_opts *opts,
                              lethe_err *err) {
    lethe_httpd *h;
    LETHE_TRY(lethe_zalloc(&h, 1, sizeof *h, "the server", err));
    h->server = server;
    h->opts = *opts;
    h->fd = -1;
    pthread_mutex_init(&h->lock, NULL);
    lethe_status st = start(h, err);
    if (!st)
        *out = h;
    else
        lethe_httpd_close(&h, 0);
    return st;
}

int lethe_httpd_port(const lethe_httpd *h) {
    return h->port;
}

bool lethe_httpd_is_local(const lethe_httpd *h) {
    return h->local;
}

void lethe_httpd_quiesce(lethe_httpd *h) {
    if (h->fd < 0) return;
    if (h->daemon) MHD_quiesce_daemon(h->daemon);
    close(h->fd);
    h->fd = -1;
}

static bool any_under_way(lethe_httpd *h) {
    bool any = false;
    pthread_mutex_lock(&h->lock);
    for (lethe_connection *c = h->all; c; c = c->next) any |= c->started > 0;
    pthread_mutex_unlock(&h->lock);
    return any;
}

void lethe_httpd_close(lethe_httpd **hp, double seconds) {
    lethe_httpd *h = *hp;
    if (!h) return;
    lethe_httpd_quiesce(h);
    double until = lethe_seconds() + seconds;
    while (h->daemon && any_under_way(h) && lethe_seconds() < until) poll(NULL, 0, 10);
    if (h->daemon) MHD_stop_daemon(h->daemon);
    pthread_mutex_destroy(&h->lock);
    lethe_free(h->poll);
    lethe_free(h->polled);
    lethe_free(h);
    *hp = NULL;
}
