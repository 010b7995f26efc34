/* SPDX-License-Identifier: MIT */
#include "support/support.h"

#include "support/live_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/run.h"

char live_url[64];

static struct {
    bool open;
    lethe_lm *lm;
    lethe_patch patch[2];
    lethe_ablation *ablation;
    lethe_catalog_model model[4];
    lethe_catalog catalog;
    lethe_metrics metrics;
    lethe_engine *engine;
    lethe_server server;
    lethe_httpd *http;
    pthread_t watcher;
    atomic_bool ends;
} live;

live_opts live_defaults(void) {
    live_opts o = {
        .http = lethe_httpd_defaults(), .engine = {.queue = 64, .seconds = 60}, .slots = 2};
    o.http.port = 0;
    return o;
}

/* The model with another key for its template, which then nobody finds. */
static const char *bare_model(void) {
    static const char key[] = "tokenizer.chat_template";
    static char path[4096];
    lethe_err err = {0};
    lethe_map map = {0};
    assert_ok(lethe_map_open(&map, test_source("models/lethe-demo.gguf"), &err), &err);
    char *copy = malloc(map.size);
    assert_non_null(copy);
    memcpy(copy, map.data, map.size);
    char *at = memmem(copy, map.size, key, sizeof key - 1);
    assert_non_null(at);
    at[sizeof key - 2] = 'f';
    snprintf(path, sizeof path, "%s/bare.gguf", test_temp_dir());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(copy, 1, map.size, f), map.size);
    assert_int_equal(fclose(f), 0);
    lethe_map_close(&map);
    free(copy);
    return path;
}

static void open_model(const live_opts *o) {
    lethe_err err = {0};
    lethe_lm_opts lo = lethe_lm_defaults();
    lo.n_seq = o->slots;
    lo.hash = false;
    const char *path = o->bare ? bare_model() : test_source("models/lethe-demo.gguf");
    assert_ok(lethe_lm_open(&live.lm, path, &lo, NULL, &err), &err);
    for (int i = 0; i < (o->two ? 2 : 1); i++) {
        lethe_patch *p = &live.patch[i];
        lethe_ablation *a;
        assert_ok(lethe_patch_load(p, test_source("data/demo/patch.safetensors"), &err), &err);
        if (i) p->how.strength = 0;
        assert_ok(lethe_ablation_open_patch(i ? &a : &live.ablation, p, &err), &err);
        if (i) lethe_ablation_join(live.ablation, &a, p->layer, p->hook, p->special);
    }
    const lethe_patch *p = &live.patch[0];
    assert_ok(lethe_ablation_attach(live.ablation, live.lm, p->layer, p->hook, p->special, &err),
              &err);
}

/* What the command makes of a command line. */
static void fill_catalog(const live_opts *o) {
    static char id[4][32] = {"lethe-demo", "lethe-demo:forget", "lethe-demo:forget:one",
                             "lethe-demo:forget:none"};
    static char info[] = "{}", report[] = "<!doctype html><title>report</title>";
    for (size_t i = 0; i < 4; i++) live.model[i].id = id[i];
    live.model[0].on = 0;
    live.model[1].on = o->two ? 3 : 1;
    live.model[2].on = 1;
    live.model[3].on = 2;
    live.catalog = (lethe_catalog){.model = live.model,
                                   .n_models = o->two ? 4 : 2,
                                   .models = json_pack("{s:s, s:[]}", "object", "list", "data"),
                                   .info = info,
                                   .features = info,
                                   .report = report,
                                   .report_size = sizeof report - 1};
}

static void *watch(void *user) {
    (void)user;
    while (!atomic_load(&live.ends)) {
        lethe_httpd_watch(live.http);
        poll(NULL, 0, 10);
    }
    return NULL;
}

void live_open(const live_opts *o) {
    lethe_err err = {0};
    assert_false(live.open);
    memset(&live, 0, sizeof live);
    live.open = true;
    open_model(o);
    fill_catalog(o);
    assert_ok(
        lethe_engine_open(&live.engine, live.lm, live.ablation, &o->engine, &live.metrics, &err),
        &err);
    live.server = (lethe_server){
        .catalog = &live.catalog, .engine = live.engine, .lm = live.lm, .metrics = &live.metrics};
    assert_ok(lethe_httpd_open(&live.http, &live.server, &o->http, &err), &err);
    snprintf(live_url, sizeof live_url, "http://127.0.0.1:%d", lethe_httpd_port(live.http));
    if (pthread_create(&live.watcher, NULL, watch, NULL)) abort();
}

int live_close(void **state) {
    (void)state;
    if (!live.open) return 0;
    if (live.http) {
        atomic_store(&live.ends, true);
        pthread_join(live.watcher, NULL);
        lethe_httpd_quiesce(live.http);
    }
    lethe_engine_close(&live.engine);
    lethe_httpd_close(&live.http, 0);
    json_decref(live.catalog.models);
    if (live.lm) lethe_lm_clear_hooks(live.lm);
    lethe_ablation_close(&live.ablation);
    lethe_patch_free(&live.patch[0]);
    lethe_patch_free(&live.patch[1]);
    lethe_lm_close(&live.lm);
    live.open = false;
    return 0;
}

const lethe_metrics *live_metrics(void) {
    return &live.metrics;
}

bool live_idle(double seconds) {
    double until = lethe_seconds() + seconds;
    for (;;) {
        if (!atomic_load(&live.metrics.busy) && !atomic_load(&live.metrics.queued)) return true;
        if (lethe_seconds() > until) return false;
        poll(NULL, 0, 10);
    }
}

void live_bytes(const char *request, raw_reply *r) {
    raw_ask(live_url, request, strlen(request), r);
}

void live_post(const char *path, const char *extra, const char *body, raw_reply *r) {
    size_t n;
    char *request = raw_post(path, extra, body, &n);
    raw_ask(live_url, request, n, r);
    free(request);
}

void live_get(const char *path, const char *extra, raw_reply *r) {
    char request[2048];
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path, extra);
    live_bytes(request, r);
}

int live_begin(const char *path, const char *body) {
    size_t n;
    char *request = raw_post(path, "", body, &n);
    int fd = raw_connect(live_url);
    assert_true(fd >= 0);
    assert_int_equal(raw_send(fd, request, n), 0);
    free(request);
    return fd;
}

/* The server's end is a socket of this process whose peer is ours. */
void live_squeeze(int fd) {
    struct sockaddr_in ours, peer;
    socklen_t size = sizeof ours;
    int little = 4096, found = -1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ours, &size), 0);
    double until = lethe_seconds() + 10; /* it may not be accepted yet */
    for (int other = 3; found < 0 && lethe_seconds() < until;
         other = other == 1023 ? 3 : other + 1) {
        size = sizeof peer;
        if (other != fd && getpeername(other, (struct sockaddr *)&peer, &size) == 0 &&
            peer.sin_family == AF_INET && peer.sin_port == ours.sin_port)
            found = other;
    }
    assert_true(found >= 0);
    assert_int_equal(setsockopt(found, SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
}

void live_refused(const raw_reply *r, int status, const char *code) {
    json_t *j = r->body ? json_loads(r->body, 0, NULL) : NULL, *e = json_object_get(j, "error");
    const char *got = json_string_value(json_object_get(e, "code"));
    bool ok = r->status == status && json_is_string(json_object_get(e, "message")) &&
              json_is_string(json_object_get(e, "type")) && json_object_get(e, "param") && got &&
              !strcmp(got, code);
    json_decref(j);
    if (!ok) fail_msg("want %d %s, got: %.600s", status, code, r->text ? r->text : "(no reply)");
}

const char *live_answer(const raw_reply *r) {
    static char text[65536];
    if (r->status != 200) fail_msg("want an answer, got: %.600s", r->text ? r->text : "(no reply)");
    json_t *j = json_loads(r->body, 0, NULL), *c = json_array_get(json_object_get(j, "choices"), 0);
    const char *s = json_string_value(json_object_get(json_object_get(c, "message"), "content"));
    if (!s) s = json_string_value(json_object_get(c, "text"));
    if (!s) fail_msg("no answer in: %.600s", r->text);
    snprintf(text, sizeof text, "%s", s ? s : "");
    json_decref(j);
    return text;
}

const char *live_header(const raw_reply *r, const char *name) {
    static char value[1024];
    size_t n = strlen(name);
    for (const char *at = r->text; at && at < r->body && (at = strstr(at, "\r\n"));) {
        at += 2;
        if (strncasecmp(at, name, n) || at[n] != ':') continue;
        at += n + 1 + strspn(at + n + 1, " ");
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r\n"), at);
        return value;
    }
    return NULL;
}
