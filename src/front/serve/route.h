/* SPDX-License-Identifier: MIT
 *
 * From a method and a path to what answers them. Knows nothing of connections: httpd.c brings
 * requests and carries replies away.
 */
#ifndef LETHE_SERVE_ROUTE_H
#define LETHE_SERVE_ROUTE_H

#include "front/serve/call.h"
#include "front/serve/catalog.h"

typedef struct lethe_server { /* borrowed parts; read by the connections' thread */
    const lethe_catalog *catalog;
    lethe_engine *engine;
    lethe_lm *lm; /* for the engine's thread */
    lethe_metrics *metrics;
    atomic_bool stopping;
} lethe_server;

typedef struct lethe_reply {
    int status;
    const char *type; /* of Content-Type */
    const char *data; /* [size] */
    size_t size;
    char *owned;        /* data, where it is to be freed with lethe_free; else NULL */
    const char *etag;   /* NULL: not to be kept */
    const char *policy; /* Content-Security-Policy; NULL: of data, nothing at all */
    const char *allow;  /* of a 405 */
    lethe_call *call;   /* what is answered later; the rest is then not filled */
} lethe_reply;

typedef struct lethe_request {
    const char *path; /* decoded, without the query */
    const char *body; /* [size] */
    size_t size;
    const lethe_call_reader *reader;
} lethe_request;

typedef struct lethe_route lethe_route;

/* NULL, and *why filled: 404, 405 (with *allow). */
const lethe_route *lethe_route_find(const char *method, const char *path, const char **allow,
                                    lethe_refusal *why);

/* How far a path is open where the server has a key. */
typedef enum lethe_route_door {
    LETHE_DOOR_OPEN,   /* the page's own files, /health */
    LETHE_DOOR_COOKIE, /* the report, which a frame asks for: the key may come as a cookie */
    LETHE_DOOR_KEY
} lethe_route_door;
lethe_route_door lethe_route_get_door(const lethe_route *r);
bool lethe_route_takes_body(const lethe_route *r);

/* Fills *out; never fails but in that way. */
void lethe_route_run(const lethe_route *r, lethe_server *s, const lethe_request *request,
                     lethe_reply *out);

void lethe_reply_refuse(lethe_reply *out, const lethe_refusal *why);

#endif
