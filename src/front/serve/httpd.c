/* SPDX-License-Identifier: MIT
 *
 * Locks: a call's lock comes before ours (sleep and wake are called under it), so nothing here
 * calls a call with ours held but lethe_call_hang_up, which takes none.
 */
#include "front/serve/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "front/serve/reply.h"

#define SWALLOW \
    4 /* bodies too long are read on for so many times the limit, to answer at the end */

typedef struct connection {
    int fd;
    double since;     /* it was opened, or its last reply ended */
    double started;   /* a request's headers were there; 0: no request */
    bool arriving;    /* its body is not all there */
    lethe_call *call; /* borrowed; NULL: none */
    bool suspended;
    struct connection *prev, *next;
} connection;

/* A request and its reply. */
typedef struct exchange {
    lethe_httpd *h;
    struct MHD_Connection *c;
    connection *at;
    const lethe_route *route;
    char *path;
    lethe_strbuf body;
    size_t came;       /* bytes of the body, kept or not */
    lethe_refusal why; /* status 0: nothing is wrong yet */
    const char *allow;
    bool preflight;
    lethe_call *call;
} exchange;

struct lethe_httpd {
    lethe_server *server;
    lethe_httpd_opts opts;
    struct MHD_Daemon *daemon;
    int fd, port;
    bool local;
    pthread_mutex_t lock; /* of the list and what is in it */
    connection *all;
    struct pollfd *poll; /* scratch of watch */
    connection **polled;
    size_t cap;
};

lethe_httpd_opts lethe_httpd_defaults(void) {
    return (lethe_httpd_opts){.host = "127.0.0.1",
                              .port = 8080,
                              .body = 1 << 20,
                              .header = 16 << 10,
                              .connections = 512,
                              .idle = 30,
                              .arrival = 30};
}

/* ---- replies --------------------------------------------------------------------------------- */

static const char *header(struct MHD_Connection *c, const char *name) {
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static void add(struct MHD_Response *r, const char *name, const char *value) {
    MHD_add_response_header(r, name, value);
}

static void add_cors(const lethe_httpd *h, struct MHD_Connection *c, struct MHD_Response *r) {
    const char *origin = header(c, "Origin"), *allowed = h->opts.cors;
    if (!allowed) return;
    add(r, "Vary", "Origin");
    if (!origin || (strcmp(allowed, "*") != 0 && strcmp(allowed, origin) != 0)) return;
    add(r, "Access-Control-Allow-Origin", allowed);
    add(r, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    /* What a client's library adds of its own is not ours to know, so whatever was asked for. */
    const char *wants = header(c, "Access-Control-Request-Headers");
    add(r, "Access-Control-Allow-Headers", wants ? wants : "Authorization, Content-Type");
    add(r, "Access-Control-Max-Age", "600");
}

static enum MHD_Result send_reply(exchange *x, unsigned status, struct MHD_Response *r,
                                  const lethe_reply *reply) {
    if (!r) return MHD_NO;
    add(r, "X-Content-Type-Options", "nosniff");
    add(r, "Referrer-Policy", "no-referrer");
    add(r, "Cross-Origin-Resource-Policy", x->h->opts.cors ? "cross-origin" : "same-origin");
    if (reply->type) add(r, "Content-Type", reply->type);
    add(r, "Content-Security-Policy",
        reply->policy ? reply->policy : "default-src 'none'; frame-ancestors 'none'");
    add(r, "Cache-Control", reply->etag ? "no-cache" : "no-store");
    if (reply->etag) add(r, "ETag", reply->etag);
    if (reply->allow) add(r, "Allow", reply->allow);
    if (status == 429) add(r, "Retry-After", "1");
    if (status == 401) add(r, "WWW-Authenticate", "Bearer");
    add_cors(x->h, x->c, r);
    lethe_metrics_status(x->h->server->metrics, status);
    pthread_mutex_lock(&x->h->lock);
    if (x->at) x->at->arriving = false;
    pthread_mutex_unlock(&x->h->lock);
    enum MHD_Result ok = MHD_queue_response(x->c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result send_whole(exchange *x, lethe_reply *reply) {
    const char *seen = header(x->c, "If-None-Match");
    bool same = reply->etag && seen && strstr(seen, reply->etag);
    struct MHD_Response *r;
    void *data = (void *)(uintptr_t)reply->data;
    if (same)
        r = MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    else if (reply->owned)
        r = MHD_create_response_from_buffer_with_free_callback(reply->size, data, lethe_free);
    else
        r = MHD_create_response_from_buffer(reply->size, data, MHD_RESPMEM_PERSISTENT);
    if (!r) lethe_free(reply->owned);
    return send_reply(x, same ? 304 : (unsigned)reply->status, r, reply);
}

static enum MHD_Result send_refusal(exchange *x) {
    lethe_reply reply = {0};
    lethe_reply_refuse(&reply, &x->why);
    reply.allow = x->allow;
    return send_whole(x, &reply);
}

/* To a client whose request libmicrohttpd is still reading, so that it cannot answer yet: the reply
 * goes straight to the socket, which is then closed. */
static void send_raw(int fd, const lethe_refusal *why, const char *phrase) {
    lethe_strbuf body = {0}, b = {0};
    lethe_reply_error(&body, why);
    lethe_strbuf_addf(&b,
                      "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: "
                      "%zu\r\nConnection: close\r\n\r\n%s",
                      why->status, phrase, body.len, lethe_strbuf_str(&body));
    if (!b.status && !body.status && send(fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        errno = 0; /* gone, or not reading: it is closed in any case */
    lethe_strbuf_free(&body);
    lethe_strbuf_free(&b);
}

/* ---- answers that come later ----------------------------------------------------------------- */

static void on_sleep(void *user) {
    exchange *x = user;
    MHD_suspend_connection(x->c);
    pthread_mutex_lock(&x->h->lock);
    x->at->suspended = true;
    pthread_mutex_unlock(&x->h->lock);
}

static void on_wake(void *user) {
    exchange *x = user;
    pthread_mutex_lock(&x->h->lock);
    x->at->suspended = false;
    pthread_mutex_unlock(&x->h->lock);
    MHD_resume_connection(x->c);
}

static ssize_t on_read(void *user, uint64_t pos, char *to, size_t max) {
    (void)pos;
    exchange *x = user;
    ssize_t n = lethe_call_read(x->call, to, max);
    return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static enum MHD_Result send_call(exchange *x) {
    int status = lethe_call_status(x->call);
    if (!status) return MHD_YES; /* asleep: we are called again */
    bool streams = lethe_call_streams(x->call);
    uint64_t size = streams ? MHD_SIZE_UNKNOWN : lethe_call_left(x->call);
    struct MHD_Response *r = MHD_create_response_from_callback(size, 16384, on_read, x, NULL);
    if (r && streams) add(r, "X-Accel-Buffering", "no"); /* nginx would hold the stream back */
    return send_reply(
        x, (unsigned)status, r,
        &(lethe_reply){.type = streams ? "text/event-stream; charset=utf-8" : "application/json"});
}

/* ---- who may come in ------------------------------------------------------------------------- */

/* In a time that does not depend on where they differ. */
static bool same_secret(const char *got, const char *want) {
    size_t n = strlen(got), m = strlen(want);
    unsigned char differ = n != m;
    for (size_t i = 0; i < n; i++) differ |= (unsigned char)(got[i] ^ want[m ? i % m : 0]);
    return !differ;
}

static bool has_key(const lethe_httpd *h, struct MHD_Connection *c, lethe_route_door door) {
    const char *a = header(c, "Authorization");
    if (a && !strncasecmp(a, "Bearer ", 7) && same_secret(a + 7, h->opts.key)) return true;
    const char *cookie = MHD_lookup_connection_value(c, MHD_COOKIE_KIND, "lethe-key");
    return door == LETHE_DOOR_COOKIE && cookie && same_secret(cookie, h->opts.key);
}

/* A page elsewhere that makes a visitor's browser ask: only as --cors says. */
static bool origin_allowed(const lethe_httpd *h, struct MHD_Connection *c) {
    const char *origin = header(c, "Origin"), *host = header(c, "Host");
    if (!origin) return true;
    if (h->opts.cors && (!strcmp(h->opts.cors, "*") || !strcmp(h->opts.cors, origin))) return true;
    const char *name = strstr(origin, "://");
    return name && host && !strcmp(name + 3, host);
}

/* Is the name in a Host header (with its port, perhaps) one of this machine alone? */
static bool is_local_name(const char *host) {
    static const char *const local[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        size_t n = strlen(local[i]);
        if (!strncasecmp(host, local[i], n) && (!host[n] || host[n] == ':')) return true;
    }
    return false;
}

/* A page elsewhere can have its own name point at 127.0.0.1, and its browser then takes us for its
 * server. Where nothing else keeps it out, a server of this machine answers to this machine's names
 * only. */
static bool host_allowed(const lethe_httpd *h, struct MHD_Connection *c) {
    const char *host = header(c, "Host");
    if (!h->local || h->opts.key || !host || is_local_name(host)) return true;
    size_t n = strlen(h->opts.host);
    return !strncasecmp(host, h->opts.host, n) && (!host[n] || host[n] == ':');
}

static size_t header_size(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return i ? i->header_size : 0;
}

/* Everything that can be said without the body; the first thing that is wrong. */
static void examine(exchange *x, const char *method) {
    lethe_httpd *h = x->h;
    if (header_size(x->c) > h->opts.header) {
        lethe_refuse(&x->why, 431, "headers_too_large", "",
                     "request line and headers have more than %zu bytes", h->opts.header);
        return;
    }
    if (!host_allowed(h, x->c)) {
        lethe_refuse(&x->why, 403, "host_not_allowed", "",
                     "this server is for its own machine and answers to localhost only (with "
                     "--api-key, or another --host, to other names, too)");
        return;
    }
    if (!origin_allowed(h, x->c)) {
        lethe_refuse(&x->why, 403, "origin_not_allowed", "",
                     "pages of this origin may not ask (the server's --cors)");
        return;
    }
    if (!strcmp(method, "OPTIONS") && header(x->c, "Access-Control-Request-Method")) {
        x->preflight = true;
        return;
    }
    x->route = lethe_route_find(method, x->path, &x->allow, &x->why);
    if (!x->route) return;
    lethe_route_door door = lethe_route_get_door(x->route);
    if (h->opts.key && door != LETHE_DOOR_OPEN && !has_key(h, x->c, door))
        lethe_refuse(&x->why, 401, "invalid_api_key", "",
                     header(x->c, "Authorization")
                         ? "the key is wrong"
                         : "this server wants a key: Authorization: Bearer KEY");
}

static void too_large(exchange *x) {
    if (x->why.status) return;
    lethe_refuse(&x->why, 413, "body_too_large", "", "the body has more than %zu bytes",
                 x->h->opts.body);
}

/* ---- libmicrohttpd's calls ------------------------------------------------------------------- */

static enum MHD_Result answer(exchange *x) {
    if (x->call) return send_call(x);
    if (x->why.status) return send_refusal(x);
    if (x->preflight) {
        struct MHD_Response *r =
            MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
        return send_reply(x, 204, r, &(lethe_reply){0});
    }
    lethe_reply reply;
    lethe_call_reader reader = {on_sleep, on_wake, x};
    lethe_route_run(x->route, x->h->server,
                    &(lethe_request){.path = x->path,
                                     .body = lethe_strbuf_str(&x->body),
                                     .size = x->body.len,
                                     .reader = &reader},
                    &reply);
    if (!reply.call) return send_whole(x, &reply);
    lethe_strbuf_free(&x->body);
    x->call = reply.call;
    pthread_mutex_lock(&x->h->lock);
    x->at->call = reply.call;
    x->at->arriving = false;
    pthread_mutex_unlock(&x->h->lock);
    return send_call(x);
}

static enum MHD_Result begin(lethe_httpd *h, struct MHD_Connection *c, const char *url,
                             const char *method, void **state) {
    exchange *x;
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
    examine(x, method);
    const char *length = header(c, "Content-Length");
    unsigned long long n = length ? strtoull(length, NULL, 10) : 0;
    if (n > h->opts.body) too_large(x);
    /* So much that reading it costs more than a client that is cut off. */
    if (n > SWALLOW * (unsigned long long)h->opts.body) return send_refusal(x);
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state) {
    (void)version;
    exchange *x = *state;
    if (!x) return begin(user, c, url, method, state);
    if (!*size) return answer(x);
    x->came += *size;
    if (x->came > x->h->opts.body) too_large(x);
    if (x->came > SWALLOW * x->h->opts.body) {
        send_raw(x->at->fd, &x->why, "Content Too Large");
        lethe_metrics_status(x->h->server->metrics, 413);
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
    exchange *x = *state;
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

static void on_connection(void *user, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    lethe_httpd *h = user;
    connection *n = *context;
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

/* Escapes of a path, but not where one is a NUL, which would hide what follows it. */
static size_t on_unescape(void *user, struct MHD_Connection *c, char *s) {
    (void)user;
    (void)c;
    return strstr(s, "%00") ? strlen(s) : MHD_http_unescape(s);
}

/* ---- watching -------------------------------------------------------------------------------- */

/* Requests that do not arrive, connections that do not ask. The socket is shut, which
 * libmicrohttpd sees and ends the connection. */
static void shut_slow(const lethe_httpd *h, const connection *n, double now) {
    bool slow = n->started > 0 && n->arriving && now - n->started > h->opts.arrival;
    bool idle = n->started <= 0 && now - n->since > h->opts.idle;
    if (slow) {
        lethe_refusal why = {0};
        lethe_refuse(&why, 408, "request_timeout", "", "the request did not arrive in %u seconds",
                     h->opts.arrival);
        send_raw(n->fd, &why, "Request Timeout");
        lethe_metrics_status(h->server->metrics, 408);
    }
    if (slow || idle) shutdown(n->fd, SHUT_RDWR);
}

void lethe_httpd_watch(lethe_httpd *h) {
    double now = lethe_seconds();
    size_t n = 0;
    pthread_mutex_lock(&h->lock);
    for (connection *c = h->all; c; c = c->next) {
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

/* ---- opening and closing --------------------------------------------------------------------- */

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

static lethe_status listen_at(lethe_httpd *h, lethe_err *err) {
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

static lethe_status start(lethe_httpd *h, lethe_err *err) {
    h->cap = h->opts.connections;
    LETHE_TRY(lethe_alloc(&h->poll, h->cap, sizeof *h->poll, "connections", err));
    LETHE_TRY(lethe_alloc(&h->polled, h->cap, sizeof *h->polled, "connections", err));
    LETHE_TRY(listen_at(h, err));
    h->daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, h,
        MHD_OPTION_LISTEN_SOCKET, h->fd, MHD_OPTION_CONNECTION_LIMIT, h->opts.connections,
        MHD_OPTION_CONNECTION_TIMEOUT, h->opts.idle, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)64 << 10, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape,
        NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
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
    for (connection *c = h->all; c; c = c->next) any |= c->started > 0;
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
