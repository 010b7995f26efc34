/* SPDX-License-Identifier: MIT */
#include "front/serve/httpd_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "front/serve/reply.h"

static void add(struct MHD_Response *r, const char *name, const char *value) {
    MHD_add_response_header(r, name, value);
}

static enum MHD_Result send_reply(lethe_exchange *x, unsigned status, struct MHD_Response *r,
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
    lethe_door_add_cors(x->h, x->c, r);
    lethe_metrics_status(x->h->server->metrics, status);
    pthread_mutex_lock(&x->h->lock);
    if (x->at) x->at->arriving = false;
    pthread_mutex_unlock(&x->h->lock);
    enum MHD_Result ok = MHD_queue_response(x->c, status, r);
    MHD_destroy_response(r);
    return ok;
}

enum MHD_Result lethe_send_whole(lethe_exchange *x, lethe_reply *reply) {
    const char *seen = lethe_httpd_header(x->c, "If-None-Match");
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

enum MHD_Result lethe_send_refusal(lethe_exchange *x) {
    lethe_reply reply = {0};
    lethe_reply_refuse(&reply, &x->why);
    reply.allow = x->allow;
    return lethe_send_whole(x, &reply);
}

enum MHD_Result lethe_send_preflight(lethe_exchange *x) {
    struct MHD_Response *r =
        MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    return send_reply(x, 204, r, &(lethe_reply){0});
}

void lethe_send_raw(lethe_httpd *h, int fd, const lethe_refusal *why, const char *phrase) {
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
    lethe_metrics_status(h->server->metrics, (unsigned)why->status);
}

/* ---- answers that come later ----------------------------------------------------------------- */

void lethe_send_on_sleep(void *user) {
    lethe_exchange *x = user;
    MHD_suspend_connection(x->c);
    pthread_mutex_lock(&x->h->lock);
    x->at->suspended = true;
    pthread_mutex_unlock(&x->h->lock);
}

void lethe_send_on_wake(void *user) {
    lethe_exchange *x = user;
    pthread_mutex_lock(&x->h->lock);
    x->at->suspended = false;
    pthread_mutex_unlock(&x->h->lock);
    MHD_resume_connection(x->c);
}

static ssize_t on_read(void *user, uint64_t pos, char *to, size_t max) {
    (void)pos;
    lethe_exchange *x = user;
    ssize_t n = lethe_call_read(x->call, to, max);
    return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

enum MHD_Result lethe_send_call(lethe_exchange *x) {
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
