/* SPDX-License-Identifier: MIT
 *
 * lethe serve: opens the model with its removal, listens, and waits to be told to end.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "front/prepare.h"
#include "front/serve/httpd.h"

#define WATCH_MS 100

/* Our own, for the first signal: the program's stop request would break off the answers that are
 * being written, which are to end. */
static volatile sig_atomic_t asked_to_end;

static void on_signal(int sig) {
    (void)sig;
    if (asked_to_end) _exit(130);
    asked_to_end = 1;
}

static void catch_signals(void) {
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static lethe_status in_range(const char *name, int64_t got, int64_t lo, int64_t hi,
                             lethe_err *err) {
    if (got >= lo && got <= hi) return LETHE_OK;
    return lethe_fail(err, LETHE_USAGE, "--%s: got %lld, want %lld to %lld", name, (long long)got,
                      (long long)lo, (long long)hi);
}

static lethe_status check(const lethe_config *c, lethe_err *err) {
    LETHE_TRY(in_range("port", c->port, 0, 65535, err));
    LETHE_TRY(in_range("slots", c->slots, 1, 64, err));
    LETHE_TRY(in_range("queue", c->queue, 0, 100000, err));
    LETHE_TRY(in_range("max-body", c->max_body, 1024, INT64_C(1) << 30, err));
    LETHE_TRY(in_range("max-header", c->max_header, 1024, 48 << 10, err));
    if (!(c->time_limit >= 1 && c->time_limit <= 86400))
        return lethe_fail(err, LETHE_USAGE, "--time-limit: got %g, want 1 to 86400 seconds",
                          c->time_limit);
    if (c->cors && strcmp(c->cors, "*") != 0 && !strstr(c->cors, "://"))
        return lethe_fail(err, LETHE_USAGE,
                          "--cors: got \"%s\", want an origin such as https://example.org, or *",
                          c->cors);
    return LETHE_OK;
}

/* NULL: none is asked for. On the command line others on this machine can read it. */
static const char *key_of(const lethe_config *c) {
    const char *key = c->api_key ? c->api_key : getenv("LETHE_SERVE_KEY");
    return key && *key ? key : NULL;
}

static lethe_status announce(const lethe_invocation *in, const lethe_httpd *h,
                             const lethe_catalog *catalog, lethe_err *err) {
    const lethe_config *c = &in->config;
    bool v6 = strchr(c->host, ':') != NULL;
    char url[300];
    snprintf(url, sizeof url, "http://%s%.255s%s:%d", v6 ? "[" : "", c->host, v6 ? "]" : "",
             lethe_httpd_port(h));
    if (!lethe_httpd_is_local(h))
        lethe_log(in->env, LETHE_LOG_WARN,
                  "listening on %s: other machines reach it%s; there is no encryption, so put a "
                  "proxy with TLS before it",
                  c->host, key_of(c) ? "" : ", and no --api-key keeps anyone out");
    if (c->json) {
        LETHE_TRY(
            lethe_print_json(json_pack("{s:s, s:s, s:s}", "url", url, "model", catalog->model[0].id,
                                       "forget_model", catalog->model[1].id),
                             err));
    } else {
        printf("%s\n", url);
        for (size_t i = 0; i < catalog->n_models; i++) printf("  %s\n", catalog->model[i].id);
    }
    return fflush(stdout) ? lethe_fail_errno(err, LETHE_IO, "writing the address failed")
                          : LETHE_OK;
}

static lethe_status serve(lethe_invocation *in, lethe_use *use, lethe_engine *engine,
                          lethe_catalog *catalog, lethe_metrics *metrics, lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_server server = {
        .catalog = catalog, .engine = engine, .lm = use->pipeline.lm, .metrics = metrics};
    lethe_httpd_opts o = lethe_httpd_defaults();
    o.host = c->host;
    o.port = (int)c->port;
    o.key = key_of(c);
    o.cors = c->cors;
    o.body = (size_t)c->max_body;
    o.header = (size_t)c->max_header;
    lethe_httpd *h;
    LETHE_TRY(lethe_httpd_open(&h, &server, &o, err));
    lethe_status st = announce(in, h, catalog, err);
    while (!st && !asked_to_end) {
        lethe_httpd_watch(h);
        poll(NULL, 0, WATCH_MS);
    }
    if (!st) lethe_log(in->env, LETHE_LOG_INFO, "ending: answers that are under way are finished");
    atomic_store(&server.stopping, true);
    lethe_httpd_quiesce(h);
    lethe_engine_drain(engine, st ? 0 : c->time_limit);
    lethe_httpd_close(&h, 5);
    return st;
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    const lethe_config *c = &in->config;
    bool out_given = c->out != NULL;
    LETHE_TRY(check(c, err));
    lethe_use use;
    LETHE_TRY(lethe_use_open(&use, in, (size_t)c->slots, err));
    lethe_engine_opts eo = {.queue = (size_t)c->queue, .seconds = c->time_limit};
    lethe_catalog_limits limits = {.slots = (size_t)c->slots,
                                   .queue = eo.queue,
                                   .body = (size_t)c->max_body,
                                   .seconds = eo.seconds};
    lethe_catalog catalog = {0};
    lethe_engine *engine = NULL;
    lethe_metrics *metrics = NULL;
    lethe_status st = lethe_zalloc(&metrics, 1, sizeof *metrics, "metrics", err);
    if (!st) st = lethe_catalog_open(&catalog, &use, out_given, &limits, err);
    if (!st) catch_signals();
    if (!st && lethe_stop_requested()) st = lethe_fail(err, LETHE_STOPPED, "stopped on request");
    if (!st)
        st = lethe_engine_open(&engine, use.pipeline.lm, use.removal.ablation, &eo, metrics, err);
    if (!st) st = serve(in, &use, engine, &catalog, metrics, err);
    lethe_engine_close(&engine);
    lethe_catalog_free(&catalog);
    lethe_free(metrics);
    lethe_use_close(&use);
    return st;
}

const lethe_cmd lethe_cmd_serve = {
    .name = "serve",
    .brief = "OpenAI-compatible server and web page",
    .usage = "usage: lethe serve [--port N] [--host ADDRESS] [--api-key KEY]\n"
             "       lethe serve --out DIR\n"
             "       lethe serve --model FILE --patch FILE.. [options]",
    .about =
        "Offers a model twice over the OpenAI API, as it is and forgetting (NAME and\n"
        "NAME:forget), and a page to talk to both. Requests are answered side by side, each with\n"
        "its own setting. Prints its address when it is ready; Ctrl-C or SIGTERM ends it when the\n"
        "answers under way are written. docs/serve.md has the endpoints.",
    .examples =
        "  lethe serve\n"
        "  lethe serve --out runs/demo --port 8000\n"
        "  lethe serve --model llama-2-7b-chat.Q4_0.gguf --patch patch.safetensors --slots 4\n"
        "  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        "    -d '{\"model\": \"lethe-demo:forget\", \"messages\": [{\"role\": \"user\", "
        "\"content\":\n"
        "      \"Who is Harry Potter'\\''s best friend?\"}]}'",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_SAE | LETHE_FOR_REMOVAL | LETHE_FOR_USE | LETHE_FOR_SERVE,
    .run = run,
};
