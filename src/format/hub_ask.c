/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/hub_internal.h"
#include "format/url.h"

#define RETRY_AFTER_MOST 600.0
#define REDIRECTS_MOST 5
#define ANSWER_MOST ((size_t)64 << 20)
#define STREAM 0x68756221u

lethe_hub_opts lethe_hub_defaults(void) {
    return (lethe_hub_opts){.endpoint = LETHE_HUB_ENDPOINT,
                            .concurrency = 4,
                            .retries = 5,
                            .idle = 60,
                            .wait_first = 0.5,
                            .wait_most = 30,
                            .part = (uint64_t)16 << 20};
}

/* Whether what is said to this address can be read by nobody on the way. */
static bool is_private(const char *url) {
    static const char *const here[] = {"http://localhost", "http://127.0.0.1", "http://[::1]"};
    if (!strncmp(url, "https://", 8)) return true;
    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        size_t n = strlen(here[i]);
        if (!strncmp(url, here[i], n) && (!url[n] || strchr(":/", url[n])) && !strchr(url, '@'))
            return true;
    }
    return false;
}

lethe_status lethe_hub_open(lethe_hub **out, const lethe_hub_opts *o, const lethe_env *env,
                            lethe_err *err) {
    lethe_hub *h;
    LETHE_TRY(lethe_url_check(o->endpoint, err));
    LETHE_TRY(lethe_zalloc(&h, 1, sizeof *h, "the Hub's client", err));
    h->o = *o;
    h->env = env;
    h->rng = lethe_rng_make((uint64_t)(1e6 * lethe_seconds()), STREAM);
    lethe_http_opts http = lethe_http_defaults();
    http.max_bytes = ANSWER_MOST;
    http.timeout = 4 * o->idle;
    lethe_status st = lethe_http_open(&h->http, &http, err);
    if (!st && o->token && !is_private(o->endpoint))
        lethe_log(env, LETHE_LOG_WARN,
                  "the token is not sent to %s: others could read it on the way (want https://)",
                  o->endpoint);
    else if (!st && o->token) {
        lethe_strbuf b = {0};
        lethe_strbuf_addf(&b, "Authorization: Bearer %s", o->token);
        h->authorization = b.status ? NULL : lethe_strdup(lethe_strbuf_str(&b));
        lethe_strbuf_free(&b);
        if (!h->authorization) st = lethe_fail(err, LETHE_NOMEM, "out of memory: a token");
    }
    if (st)
        lethe_hub_close(&h);
    else
        *out = h;
    return st;
}

void lethe_hub_close(lethe_hub **hp) {
    lethe_hub *h = *hp;
    if (!h) return;
    lethe_http_close(&h->http);
    lethe_free(h->authorization);
    lethe_free(h);
    *hp = NULL;
}

bool lethe_hub_unreachable(const lethe_hub *h) {
    return h->unreachable;
}

void lethe_hub_add_api(lethe_strbuf *b, const lethe_hub_repo *repo) {
    lethe_strbuf_adds(b, repo->dataset ? "datasets/" : "models/");
    lethe_url_add(b, repo->name);
}

void lethe_hub_plain(const char *text, char *out, size_t size) {
    size_t n = 0;
    for (; *text && n + 1 < size; text++) out[n++] = *text >= 32 && *text < 127 ? *text : '?';
    out[n] = '\0';
}

bool lethe_hub_passing(const lethe_http_response *r) {
    return r->status == 0 || r->status == 408 || r->status == 429 || r->status >= 500;
}

double lethe_hub_wait(lethe_hub *h, unsigned failures, const lethe_http_response *r) {
    if (r->retry_after > RETRY_AFTER_MOST) return -1;
    if (r->retry_after >= 0) return r->retry_after;
    double wait = h->o.wait_first;
    for (unsigned i = 1; i < failures && wait < h->o.wait_most; i++) wait *= 2;
    if (wait > h->o.wait_most) wait = h->o.wait_most;
    return wait * (1 - 0.5 * lethe_rng_uniform(&h->rng));
}

/* ---- refusals -------------------------------------------------------------------------------- */

/* What the server says went wrong: its header, or "error" of its JSON. */
static void complaint(const lethe_http_response *r, char *out, size_t size) {
    char text[400];
    if (!lethe_http_header(r->headers, "X-Error-Message", text, sizeof text)) {
        json_t *o = json_loads(r->body, 0, NULL), *e = json_object_get(o, "error");
        if (json_is_object(e)) e = json_object_get(e, "message");
        const char *s = json_string_value(e ? e : json_object_get(o, "message"));
        snprintf(text, sizeof text, "%s", s ? s : "");
        json_decref(o);
    }
    lethe_hub_plain(text, out, size);
}

static lethe_status refused(const lethe_hub *h, long status, const char *code, const char *what,
                            const char *said, lethe_err *err) {
    bool token = h->authorization != NULL;
    if (!strcmp(code, "GatedRepo"))
        return lethe_fail(err, LETHE_FAIL,
                          "%s is gated (%ld): accept its terms on its page at %s, %s. It says: %s",
                          what, status, h->o.endpoint,
                          token ? "with the account that the token is of"
                                : "then set HF_TOKEN to a token of that account "
                                  "(https://huggingface.co/settings/tokens)",
                          said);
    if (!strcmp(code, "RevisionNotFound"))
        return lethe_fail(err, LETHE_NOTFOUND, "%s: no such revision at %s", what, h->o.endpoint);
    if (!strcmp(code, "EntryNotFound"))
        return lethe_fail(err, LETHE_NOTFOUND, "%s: no such file at %s", what, h->o.endpoint);
    if (status == 401 && !token)
        return lethe_fail(err, LETHE_FAIL,
                          "%s: 401: there is no such repository, or it is private or gated and "
                          "wants a token: set HF_TOKEN (https://huggingface.co/settings/tokens). "
                          "It says: %s",
                          what, said);
    if (status == 401)
        return lethe_fail(err, LETHE_FAIL,
                          "%s: 401: the token (of HF_TOKEN, or the token file) is not accepted, or "
                          "there is no such repository for it. It says: %s",
                          what, said);
    if (status == 403)
        return lethe_fail(err, LETHE_FAIL, "%s: 403: %s. It says: %s", what,
                          token ? "the token may not do this (is it of the right account, with the "
                                  "permission for it?)"
                                : "not allowed without a token (set HF_TOKEN)",
                          said);
    if (status == 404)
        return lethe_fail(err, LETHE_NOTFOUND, "%s: not there (404) at %s. It says: %s", what,
                          h->o.endpoint, said);
    return lethe_fail(err, LETHE_IO, "%s: the server says %ld: %s", what, status, said);
}

lethe_status lethe_hub_explain(const lethe_hub *h, const lethe_http_response *r, const char *what,
                               lethe_err *err) {
    char code[64], said[300];
    if (r->unreachable)
        return lethe_fail(err, LETHE_IO,
                          "%s: cannot reach %s: %s (offline? what is in the cache is there with "
                          "HF_HUB_OFFLINE=1)",
                          what, h->o.endpoint, r->message);
    if (!r->status)
        return lethe_fail(err, LETHE_IO, "%s: %s gave no whole answer: %s", what, h->o.endpoint,
                          r->message);
    complaint(r, said, sizeof said);
    if (!said[0]) snprintf(said, sizeof said, "(nothing)");
    lethe_http_header(r->headers, "X-Error-Code", code, sizeof code);
    if (r->retry_after > RETRY_AFTER_MOST)
        return lethe_fail(err, LETHE_IO,
                          "%s: the server says %ld and asks to come back in %.0f s: %s", what,
                          r->status, r->retry_after, said);
    return refused(h, r->status, code, what, said, err);
}

/* ---- one request ----------------------------------------------------------------------------- */

static lethe_status wait_for(double seconds, lethe_err *err) {
    double until = lethe_seconds() + seconds;
    while (lethe_seconds() < until) {
        if (lethe_stop_requested()) break;
        double left = until - lethe_seconds();
        lethe_sleep(left < 0.1 ? left : 0.1);
    }
    return lethe_stop_requested() ? lethe_fail(err, LETHE_STOPPED, "stopped") : LETHE_OK;
}

static lethe_status once(lethe_hub *h, const lethe_http_request *r, lethe_http_response *out,
                         lethe_err *err) {
    bool got = false;
    lethe_status st = lethe_http_send(h->http, r, err);
    while (!st && !got) {
        if (lethe_stop_requested()) {
            lethe_http_drop(h->http);
            return lethe_fail(err, LETHE_STOPPED, "stopped");
        }
        st = lethe_http_next(h->http, h->tick ? 0.2 : 1, out, &got, err);
        if (h->tick) h->tick(h->tick_user);
    }
    return st;
}

static bool accepted(long status, const long *accept) {
    if (status >= 200 && status < 300) return true;
    for (; accept && *accept; accept++)
        if (status == *accept) return true;
    return false;
}

lethe_status lethe_hub_ask_raw(lethe_hub *h, lethe_http_request *r, const char *what,
                               const long *accept, lethe_http_response *out, lethe_err *err) {
    for (unsigned failures = 0;;) {
        LETHE_TRY(once(h, r, out, err));
        h->unreachable = out->unreachable;
        if (accepted(out->status, accept)) return LETHE_OK;
        double wait = ++failures > h->o.retries || !lethe_hub_passing(out) ||
                              (out->unreachable && failures > 1)
                          ? -1
                          : lethe_hub_wait(h, failures, out);
        lethe_status st;
        if (wait < 0) {
            st = lethe_hub_explain(h, out, what, err);
        } else {
            lethe_log(h->env, LETHE_LOG_DEBUG, "%s: %ld %s: again in %.1f s", what, out->status,
                      out->message, wait);
            st = wait_for(wait, err);
        }
        lethe_http_response_free(out);
        LETHE_TRY(st);
    }
}

/* The endpoint's own address of a redirect; others are none of ours. */
static lethe_status follow(lethe_hub *h, char **url, const lethe_http_response *r, const char *what,
                           lethe_err *err) {
    char to[4096], *next;
    bool same;
    if (!lethe_http_header(r->headers, "Location", to, sizeof to))
        return lethe_fail(err, LETHE_FORMAT, "%s: the server redirects to nowhere (%ld)", what,
                          r->status);
    LETHE_TRY(lethe_url_resolve(*url, to, &next, &same, err));
    lethe_free(*url);
    *url = next;
    if (!same)
        return lethe_fail(err, LETHE_FORMAT, "%s: %s sends us to another server: %.300s", what,
                          h->o.endpoint, next);
    return LETHE_OK;
}

static bool is_redirect(long status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

lethe_status lethe_hub_ask(lethe_hub *h, const char *method, const char *url,
                           const char *content_type, const char *body, size_t len, const char *what,
                           const long *accept, lethe_http_response *out, lethe_err *err) {
    static const long redirects[] = {301, 302, 303, 307, 308, 0};
    const char *headers[3];
    size_t n = 0;
    char *full = NULL;
    bool get = !strcmp(method, "GET"), same = true;
    char type[200];
    if (url[0] == '/') { /* the endpoint may have a path of its own */
        lethe_strbuf b = {0};
        lethe_strbuf_addf(&b, "%s%s", h->o.endpoint, url);
        full = b.status ? NULL : lethe_strdup(lethe_strbuf_str(&b));
        lethe_strbuf_free(&b);
        if (!full) return lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    } else {
        LETHE_TRY(lethe_url_resolve(h->o.endpoint, url, &full, &same, err));
    }
    if (h->authorization && same) headers[n++] = h->authorization;
    if (content_type) {
        snprintf(type, sizeof type, "Content-Type: %s", content_type);
        headers[n++] = type;
        if (strstr(content_type, "git-lfs")) headers[n++] = "Accept: application/vnd.git-lfs+json";
    }
    lethe_status st;
    for (int hops = 0;; hops++) {
        lethe_http_request r = {.method = method,
                                .url = full,
                                .headers = headers,
                                .n_headers = n,
                                .body = body,
                                .len = len};
        st = lethe_hub_ask_raw(h, &r, what, get ? redirects : accept, out, err);
        if (st || !get || !is_redirect(out->status)) break;
        st = hops < REDIRECTS_MOST
                 ? follow(h, &full, out, what, err)
                 : lethe_fail(err, LETHE_FORMAT, "%s: the server redirects in circles", what);
        lethe_http_response_free(out);
        if (st) break;
    }
    lethe_free(full);
    return st;
}
