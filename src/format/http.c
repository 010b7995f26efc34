/* SPDX-License-Identifier: MIT
 *
 * libcurl's multi interface: all requests run on the caller's thread, inside lethe_http_next.
 */
#include "format/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "base/strbuf.h"

typedef struct call {
    struct call *next; /* of the client's list of all calls */
    CURL *easy;
    struct curl_slist *headers;
    lethe_strbuf body;
    size_t max_bytes;
    bool too_long;
    void *user;
    char error[CURL_ERROR_SIZE];
} call;

struct lethe_http {
    CURLM *multi;
    call *calls;
    size_t active;
    lethe_http_opts opts;
};

lethe_http_opts lethe_http_defaults(void) {
    return (lethe_http_opts){.timeout = 60, .connect_timeout = 20, .max_bytes = (size_t)8 << 20};
}

lethe_status lethe_http_open(lethe_http **out, const lethe_http_opts *o, lethe_err *err) {
    lethe_http *h;
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return lethe_fail(err, LETHE_FAIL, "HTTP: libcurl does not start");
    lethe_status st = lethe_zalloc(&h, 1, sizeof *h, "the HTTP client", err);
    if (st) {
        curl_global_cleanup();
        return st;
    }
    h->opts = *o;
    h->multi = curl_multi_init();
    if (!h->multi) {
        lethe_http_close(&h);
        return lethe_fail(err, LETHE_NOMEM, "out of memory: the HTTP client");
    }
    *out = h;
    return LETHE_OK;
}

static void call_free(call *c) {
    if (!c) return;
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    lethe_strbuf_free(&c->body);
    lethe_free(c);
}

void lethe_http_close(lethe_http **hp) {
    lethe_http *h = *hp;
    if (!h) return;
    while (h->calls) {
        call *c = h->calls;
        h->calls = c->next;
        curl_multi_remove_handle(h->multi, c->easy);
        call_free(c);
    }
    if (h->multi) curl_multi_cleanup(h->multi);
    curl_global_cleanup();
    lethe_free(h);
    *hp = NULL;
}

static size_t on_data(char *data, size_t size, size_t n, void *user) {
    call *c = user;
    if (c->body.len + size * n > c->max_bytes) {
        c->too_long = true;
        return 0;
    }
    lethe_strbuf_add(&c->body, data, size * n);
    return c->body.status ? 0 : size * n;
}

static lethe_status add_headers(call *c, const char *const *headers, size_t n, lethe_err *err) {
    for (size_t i = 0; i < n; i++) {
        if (strpbrk(headers[i], "\r\n"))
            return lethe_fail(err, LETHE_USAGE, "HTTP: a header holds a line break");
        struct curl_slist *more = curl_slist_append(c->headers, headers[i]);
        if (!more) return lethe_fail(err, LETHE_NOMEM, "out of memory: a header");
        c->headers = more;
    }
    return LETHE_OK;
}

/* An option that curl refuses for another reason than memory is a mistake of ours or a libcurl
 * without HTTP. */
static lethe_status set_up(const lethe_http *h, call *c, const char *url, const char *body,
                           size_t len, lethe_err *err) {
    CURL *e = c->easy;
    CURLcode bad = CURLE_OK;
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_URL, url);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_POST, 1L);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, body);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(1000 * h->opts.timeout));
    bad = bad ? bad
              : curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                                 (long)(1000 * h->opts.connect_timeout));
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_USERAGENT, "lethe");
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    if (bad == CURLE_OUT_OF_MEMORY) return lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    if (bad) return lethe_fail(err, LETHE_FAIL, "HTTP: libcurl: %s", curl_easy_strerror(bad));
    return LETHE_OK;
}

static lethe_status check_url(const char *url, lethe_err *err) {
    CURLU *u = curl_url();
    char *scheme = NULL;
    if (!u) return lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    bool fine = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (!strcmp(scheme, "http") || !strcmp(scheme, "https"));
    curl_free(scheme);
    curl_url_cleanup(u);
    return fine ? LETHE_OK
                : lethe_fail(err, LETHE_USAGE,
                             "\"%s\" is no address that can be asked (want http:// or https://)",
                             url);
}

lethe_status lethe_http_post(lethe_http *h, const char *url, const char *const *headers,
                             size_t n_headers, const char *body, size_t len, void *user,
                             lethe_err *err) {
    LETHE_TRY(check_url(url, err));
    call *c;
    LETHE_TRY(lethe_zalloc(&c, 1, sizeof *c, "a request", err));
    c->user = user;
    c->max_bytes = h->opts.max_bytes;
    c->easy = curl_easy_init();
    lethe_status st = c->easy ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    if (!st) st = add_headers(c, headers, n_headers, err);
    if (!st) st = set_up(h, c, url, body, len, err);
    if (!st && curl_multi_add_handle(h->multi, c->easy))
        st = lethe_fail(err, LETHE_FAIL, "HTTP: libcurl takes no further request");
    if (st) {
        call_free(c);
        return st;
    }
    c->next = h->calls;
    h->calls = c;
    h->active++;
    return LETHE_OK;
}

size_t lethe_http_active(const lethe_http *h) {
    return h->active;
}

static void unlink_call(lethe_http *h, call *c) {
    call **at = &h->calls;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    h->active--;
}

/* What became of a finished call; it is released. */
static lethe_status hand_out(lethe_http *h, call *c, CURLcode code, lethe_http_response *out,
                             lethe_err *err) {
    lethe_http_response r = {.user = c->user, .retry_after = -1};
    curl_off_t wait = 0;
    bool whole = code == CURLE_OK && !c->body.status;
    if (whole) curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &r.status);
    if (whole && !curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &wait) && wait > 0)
        r.retry_after = (double)wait;
    if (c->too_long)
        snprintf(r.message, sizeof r.message, "the answer is longer than %zu bytes", c->max_bytes);
    else if (!whole)
        snprintf(r.message, sizeof r.message, "%s",
                 c->error[0] ? c->error : curl_easy_strerror(code));
    bool memory = c->body.status || code == CURLE_OUT_OF_MEMORY;
    r.body = lethe_strdup(whole ? lethe_strbuf_str(&c->body) : "");
    r.len = whole ? c->body.len : 0;
    if (whole && r.body && strlen(r.body) < r.len) r.len = strlen(r.body); /* NUL ends a text */
    curl_multi_remove_handle(h->multi, c->easy);
    unlink_call(h, c);
    call_free(c);
    if (!r.body || memory) {
        lethe_free(r.body);
        return lethe_fail(err, LETHE_NOMEM, "out of memory: an answer");
    }
    *out = r;
    return LETHE_OK;
}

lethe_status lethe_http_next(lethe_http *h, double seconds, lethe_http_response *out, bool *got,
                             lethe_err *err) {
    double until = lethe_seconds() + seconds;
    for (*got = false;;) {
        int running, left, ready;
        CURLMcode bad = curl_multi_perform(h->multi, &running);
        if (bad) return lethe_fail(err, LETHE_FAIL, "HTTP: libcurl: %s", curl_multi_strerror(bad));
        for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
            if (m->msg != CURLMSG_DONE) continue;
            call *c = NULL;
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
            LETHE_TRY(hand_out(h, c, code, out, err));
            *got = true;
            return LETHE_OK;
        }
        double wait = until - lethe_seconds();
        if (wait <= 0 || lethe_stop_requested()) return LETHE_OK;
        if (wait > 0.25) wait = 0.25; /* a signal does not end the poll on every libcurl */
        curl_multi_poll(h->multi, NULL, 0, (int)(1000 * wait) + 1, &ready);
    }
}

void lethe_http_response_free(lethe_http_response *r) {
    lethe_free(r->body);
    *r = (lethe_http_response){0};
}
