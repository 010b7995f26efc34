/* SPDX-License-Identifier: MIT */
#include "front/serve/route.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "front/serve/reply.h"
#include "front/web/assets.h"

#define JSON_TYPE "application/json"

struct lethe_route {
    const char *method, *path;
    bool prefix; /* the path is what it begins with */
    lethe_route_door door;
    void (*run)(lethe_server *s, const lethe_request *q, lethe_reply *out);
};

static void put_buffer(lethe_reply *out, int status, const char *type, lethe_strbuf *b) {
    static const char none[] = "{\"error\":{\"message\":\"no memory for the reply\",\"type\":"
                               "\"server_error\",\"param\":null,\"code\":\"out_of_memory\"}}";
    if (b->status) {
        lethe_strbuf_free(b);
        *out =
            (lethe_reply){.status = 500, .type = JSON_TYPE, .data = none, .size = sizeof none - 1};
        return;
    }
    *out = (lethe_reply){
        .status = status, .type = type, .data = b->data, .size = b->len, .owned = b->data};
}

void lethe_reply_refuse(lethe_reply *out, const lethe_refusal *why) {
    lethe_strbuf b = {0};
    lethe_reply_error(&b, why);
    put_buffer(out, why->status, JSON_TYPE, &b);
}

static void put_json(lethe_reply *out, json_t *value) {
    lethe_strbuf b = {0};
    lethe_reply_json(&b, value);
    put_buffer(out, 200, JSON_TYPE, &b);
}

static void put_text(lethe_reply *out, const char *text) {
    *out = (lethe_reply){.status = 200, .type = JSON_TYPE, .data = text, .size = strlen(text)};
}

/* ---- what is there --------------------------------------------------------------------------- */

static void health(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    (void)q;
    bool stopping = atomic_load(&s->stopping);
    put_text(out, stopping ? "{\"status\":\"stopping\"}" : "{\"status\":\"ok\"}");
    if (stopping) out->status = 503;
}

static void metrics(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    (void)q;
    lethe_strbuf b = {0};
    lethe_metrics_text(s->metrics, &b);
    put_buffer(out, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void models(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    (void)q;
    put_json(out, json_deep_copy(s->catalog->models));
}

static lethe_status no_model(const char *id, lethe_refusal *why) {
    return lethe_refuse(why, 404, "model_not_found", "model",
                        "there is no model \"%.100s\" (see GET /v1/models)", id);
}

static void model(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    const char *id = q->path + strlen("/v1/models/");
    const lethe_catalog_model *m = lethe_catalog_find(s->catalog, id);
    lethe_refusal why = {0};
    if (m) {
        put_json(out, lethe_catalog_model_json(m));
        return;
    }
    no_model(id, &why);
    lethe_reply_refuse(out, &why);
}

static void info(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    (void)q;
    put_text(out, s->catalog->info);
}

static void features(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    (void)q;
    put_text(out, s->catalog->features);
}

static void report(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    (void)q;
    if (s->catalog->report) {
        *out = (lethe_reply){.status = 200,
                             .type = "text/html; charset=utf-8",
                             .data = s->catalog->report,
                             .size = s->catalog->report_size,
                             .policy = LETHE_WEB_REPORT_POLICY};
        return;
    }
    lethe_refusal why = {0};
    lethe_refuse(&why, 404, "not_found", "",
                 "no report here (start the server with --out and the directory of a run)");
    lethe_reply_refuse(out, &why);
}

static void asset(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    (void)s;
    const lethe_web_asset *a = lethe_web_asset_find(q->path);
    *out = (lethe_reply){.status = 200,
                         .type = a->type,
                         .data = (const char *)a->data,
                         .size = a->size,
                         .etag = a->etag,
                         .policy = LETHE_WEB_POLICY};
}

/* ---- what is asked of the model -------------------------------------------------------------- */

static lethe_status forgetting(const lethe_server *s, const lethe_ask *a,
                               const lethe_catalog_model **m, lethe_forgetting *how,
                               lethe_refusal *why) {
    *m = a->model ? lethe_catalog_find(s->catalog, a->model) : s->catalog->model;
    if (!*m) return no_model(a->model, why);
    how->on = (*m)->on;
    how->strength = a->strength;
    how->scale = a->scale;
    if (a->forget == 0) how->on = 0;
    /* The whole model asked to forget: all of it. */
    if (a->forget == 1 && !how->on) how->on = s->catalog->model[1].on;
    if (!how->on) how->strength = (double)NAN;
    return LETHE_OK;
}

static void ask(lethe_server *s, const lethe_request *q, lethe_ask_kind kind, lethe_reply *out) {
    lethe_ask a = {0};
    lethe_refusal why = {0};
    const lethe_catalog_model *m = NULL;
    lethe_forgetting how = {0};
    lethe_status st = lethe_ask_parse(&a, kind, q->body, q->size, &why);
    if (!st) st = forgetting(s, &a, &m, &how, &why);
    if (!st) st = lethe_call_open(&out->call, s->engine, s->lm, &a, &how, m->id, q->reader, &why);
    lethe_ask_free(&a);
    if (st) lethe_reply_refuse(out, &why);
}

static void chat(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    ask(s, q, LETHE_ASK_CHAT, out);
}

static void completions(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    ask(s, q, LETHE_ASK_TEXT, out);
}

static void trace(lethe_server *s, const lethe_request *q, lethe_reply *out) {
    ask(s, q, LETHE_ASK_TRACE, out);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const lethe_route route[] = {
    {"GET", "/health", false, LETHE_DOOR_OPEN, health},
    {"GET", "/metrics", false, LETHE_DOOR_KEY, metrics},
    {"GET", "/v1/models", false, LETHE_DOOR_KEY, models},
    {"GET", "/v1/models/", true, LETHE_DOOR_KEY, model},
    {"POST", "/v1/chat/completions", false, LETHE_DOOR_KEY, chat},
    {"POST", "/v1/completions", false, LETHE_DOOR_KEY, completions},
    {"GET", "/v1/lethe/info", false, LETHE_DOOR_KEY, info},
    {"GET", "/v1/lethe/features", false, LETHE_DOOR_KEY, features},
    {"POST", "/v1/lethe/trace", false, LETHE_DOOR_KEY, trace},
    {"GET", "/report", false, LETHE_DOOR_COOKIE, report},
};
static const lethe_route page = {"GET", "/", false, LETHE_DOOR_OPEN, asset};

static const lethe_route *at_path(const char *path) {
    for (size_t i = 0; i < sizeof route / sizeof *route; i++) {
        size_t n = strlen(route[i].path);
        if (route[i].prefix ? !strncmp(path, route[i].path, n) && path[n]
                            : !strcmp(path, route[i].path))
            return &route[i];
    }
    return lethe_web_asset_find(path) ? &page : NULL;
}

const lethe_route *lethe_route_find(const char *method, const char *path, const char **allow,
                                    lethe_refusal *why) {
    const lethe_route *r = at_path(path);
    *allow = NULL;
    if (!r) {
        lethe_refuse(why, 404, "not_found", "", "nothing here: %.100s", path);
        return NULL;
    }
    bool head = !strcmp(method, "HEAD") && !strcmp(r->method, "GET");
    if (head || !strcmp(method, r->method)) return r;
    *allow = !strcmp(r->method, "GET") ? "GET, HEAD" : r->method;
    lethe_refuse(why, 405, "method_not_allowed", "", "%.100s takes %s, not %.20s", path, *allow,
                 method);
    return NULL;
}

lethe_route_door lethe_route_get_door(const lethe_route *r) {
    return r->door;
}

bool lethe_route_takes_body(const lethe_route *r) {
    return !strcmp(r->method, "POST");
}

void lethe_route_run(const lethe_route *r, lethe_server *s, const lethe_request *request,
                     lethe_reply *out) {
    *out = (lethe_reply){0};
    r->run(s, request, out);
}
