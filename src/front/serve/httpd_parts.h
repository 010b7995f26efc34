/* SPDX-License-Identifier: MIT
 *
 * What the files that know libmicrohttpd share.
 *
 *     httpd.c         opening and closing, a request from its first header to its reply
 *     httpd_listen.c  the socket that is listened on
 *     httpd_door.c    who may come in: sizes, names, origins, the key
 *     httpd_send.c    replies: whole, streamed, and past libmicrohttpd
 *     httpd_watch.c   the connections there are, and what is amiss with them
 *
 * Locks: a call's lock comes before ours (its reader's sleep and wake are called under it), so
 * nothing here calls a call with ours held but lethe_call_hang_up, which takes none.
 */
#ifndef LETHE_SERVE_HTTPD_PARTS_H
#define LETHE_SERVE_HTTPD_PARTS_H

#include <microhttpd.h>
#include <pthread.h>

#include "front/serve/httpd.h"

typedef struct lethe_connection {
    int fd;
    double since;     /* it was opened, or its last reply ended */
    double started;   /* a request's headers were there; 0: no request */
    bool arriving;    /* its body is not all there */
    lethe_call *call; /* borrowed; NULL: none */
    bool suspended;
    struct lethe_connection *prev, *next;
} lethe_connection;

/* A request and its reply. */
typedef struct lethe_exchange {
    lethe_httpd *h;
    struct MHD_Connection *c;
    lethe_connection *at;
    const lethe_route *route;
    char *path;
    lethe_strbuf body;
    size_t came;       /* bytes of the body, kept or not */
    lethe_refusal why; /* status 0: nothing is wrong yet */
    const char *allow;
    bool preflight;
    bool unframed; /* nobody knows where the body ends: the reply is the last */
    lethe_call *call;
} lethe_exchange;

struct lethe_httpd {
    lethe_server *server;
    lethe_httpd_opts opts;
    struct MHD_Daemon *daemon;
    int fd, port;
    bool local;
    pthread_mutex_t lock; /* of the list and what is in it */
    lethe_connection *all;
    struct pollfd *poll; /* scratch of watch */
    lethe_connection **polled;
    size_t cap;
};

/* ---- httpd.c --------------------------------------------------------------------------------- */

/* A header of the request; NULL: not there. Borrowed. */
const char *lethe_httpd_header(struct MHD_Connection *c, const char *name);

/* ---- httpd_listen.c -------------------------------------------------------------------------- */

/* Fills fd, port and local by opts. Fails: as lethe_httpd_open. */
lethe_status lethe_httpd_listen(lethe_httpd *h, lethe_err *err);

/* ---- httpd_door.c ---------------------------------------------------------------------------- */

/* All that can be said without the body: fills x->route, or x->preflight, or x->why with the first
 * thing that is wrong. */
void lethe_door_examine(lethe_exchange *x, const char *method, const char *version);

/* What tells a browser that a page of the request's origin may read the reply. */
void lethe_door_add_cors(const lethe_httpd *h, struct MHD_Connection *c, struct MHD_Response *r);

/* ---- httpd_send.c ---------------------------------------------------------------------------- */

/* Each queues a reply. send_whole: reply->owned is moved. */
enum MHD_Result lethe_send_whole(lethe_exchange *x, lethe_reply *reply);
enum MHD_Result lethe_send_refusal(lethe_exchange *x); /* x->why */
enum MHD_Result lethe_send_preflight(lethe_exchange *x);
enum MHD_Result lethe_send_call(lethe_exchange *x); /* or nothing yet: it sleeps */

/* To a client whose request libmicrohttpd is still reading, so that it cannot answer yet: the reply
 * goes straight to the socket, and is counted; the socket is then to be closed. */
void lethe_send_raw(lethe_httpd *h, int fd, const lethe_refusal *why, const char *phrase);

/* Of lethe_call_reader; user: the exchange. */
void lethe_send_on_sleep(void *user);
void lethe_send_on_wake(void *user);

/* ---- httpd_watch.c --------------------------------------------------------------------------- */

/* A connection comes or goes: libmicrohttpd's MHD_NotifyConnectionCallback; user: the server. */
void lethe_httpd_on_connection(void *user, struct MHD_Connection *c, void **context,
                               enum MHD_ConnectionNotificationCode what);

#endif
