/* SPDX-License-Identifier: MIT */
#include "front/serve/httpd_parts.h"

#include <string.h>

void lethe_door_add_cors(const lethe_httpd *h, struct MHD_Connection *c, struct MHD_Response *r) {
    const char *origin = lethe_httpd_header(c, "Origin"), *allowed = h->opts.cors;
    if (!allowed) return;
    MHD_add_response_header(r, "Vary", "Origin");
    if (!origin || (strcmp(allowed, "*") != 0 && strcmp(allowed, origin) != 0)) return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin", allowed);
    MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    /* What a client's library adds of its own is not ours to know, so whatever was asked for. */
    const char *wants = lethe_httpd_header(c, "Access-Control-Request-Headers");
    MHD_add_response_header(r, "Access-Control-Allow-Headers",
                            wants ? wants : "Authorization, Content-Type");
    MHD_add_response_header(r, "Access-Control-Max-Age", "600");
}

/* In a time that does not depend on where they differ. */
static bool same_secret(const char *got, const char *want) {
    size_t n = strlen(got), m = strlen(want);
    unsigned char differ = n != m;
    for (size_t i = 0; i < n; i++) differ |= (unsigned char)(got[i] ^ want[m ? i % m : 0]);
    return !differ;
}

static bool has_key(const lethe_httpd *h, struct MHD_Connection *c, lethe_route_door door) {
    const char *a = lethe_httpd_header(c, "Authorization");
    if (a && !strncasecmp(a, "Bearer ", 7) && same_secret(a + 7, h->opts.key)) return true;
    const char *cookie = MHD_lookup_connection_value(c, MHD_COOKIE_KIND, "lethe-key");
    return door == LETHE_DOOR_COOKIE && cookie && same_secret(cookie, h->opts.key);
}

/* A page elsewhere that makes a visitor's browser ask: only as --cors says. */
static bool origin_allowed(const lethe_httpd *h, struct MHD_Connection *c) {
    const char *origin = lethe_httpd_header(c, "Origin"), *host = lethe_httpd_header(c, "Host");
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
    const char *host = lethe_httpd_header(c, "Host");
    if (!h->local || h->opts.key || !host || is_local_name(host)) return true;
    size_t n = strlen(h->opts.host);
    return !strncasecmp(host, h->opts.host, n) && (!host[n] || host[n] == ':');
}

/* How the body is delimited, beyond doubt: a proxy before us must not read it in another way. */
static bool framing_allowed(lethe_exchange *x) {
    const char *coding = lethe_httpd_header(x->c, "Transfer-Encoding");
    if (!coding) return true;
    if (strcasecmp(coding, "chunked") != 0)
        lethe_refuse(&x->why, 501, "unsupported_transfer_encoding", "",
                     "Transfer-Encoding: got \"%.40s\", want chunked", coding);
    else if (lethe_httpd_header(x->c, "Content-Length"))
        lethe_refuse(&x->why, 400, "invalid_headers", "",
                     "Content-Length and Transfer-Encoding: want one of them");
    x->unframed = x->why.status != 0;
    return !x->unframed;
}

static size_t header_size(struct MHD_Connection *c) {
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return i ? i->header_size : 0;
}

/* Everything that can be said without the body; the first thing that is wrong. */
void lethe_door_examine(lethe_exchange *x, const char *method, const char *version) {
    lethe_httpd *h = x->h;
    if (header_size(x->c) > h->opts.header) {
        lethe_refuse(&x->why, 431, "headers_too_large", "",
                     "request line and headers have more than %zu bytes", h->opts.header);
        return;
    }
    if (!lethe_httpd_header(x->c, "Host") && strcmp(version, "HTTP/1.0") != 0) {
        lethe_refuse(&x->why, 400, "missing_host", "", "the request has no Host header");
        return;
    }
    if (!framing_allowed(x)) return;
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
    if (!strcmp(method, "OPTIONS") && lethe_httpd_header(x->c, "Access-Control-Request-Method")) {
        x->preflight = true;
        return;
    }
    x->route = lethe_route_find(method, x->path, &x->allow, &x->why);
    if (!x->route) return;
    lethe_route_door door = lethe_route_get_door(x->route);
    if (h->opts.key && door != LETHE_DOOR_OPEN && !has_key(h, x->c, door))
        lethe_refuse(&x->why, 401, "invalid_api_key", "",
                     lethe_httpd_header(x->c, "Authorization")
                         ? "the key is wrong"
                         : "this server wants a key: Authorization: Bearer KEY");
}
