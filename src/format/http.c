/* SPDX-License-Identifier: MIT
 *
 * libcurl's multi interface: all requests run on the caller's thread, inside lethe_http_next.
 */
#include "format/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/run.h"
#include "base/strbuf.h"
#include "format/url.h"

#define HEADERS_MOST ((size_t)256 << 10)

typedef struct call {
    struct call *next; /* of the client's list of all calls */
    CURL *easy;
    struct curl_slist *headers;
    lethe_strbuf head, body; /* of the answer */
    size_t max_bytes;
    bool too_long, refused;
    lethe_http_sink sink;
    int fd; /* what is sent: `length` bytes from `offset`, `sent` of them on their way */
    uint64_t offset, length, sent;
    uint64_t *tell;
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
    lethe_strbuf_free(&c->head);
    lethe_strbuf_free(&c->body);
    lethe_free(c);
}

void lethe_http_drop(lethe_http *h) {
    while (h->calls) {
        call *c = h->calls;
        h->calls = c->next;
        curl_multi_remove_handle(h->multi, c->easy);
        call_free(c);
    }
    h->active = 0;
}

void lethe_http_close(lethe_http **hp) {
    lethe_http *h = *hp;
    if (!h) return;
    lethe_http_drop(h);
    if (h->multi) curl_multi_cleanup(h->multi);
    curl_global_cleanup();
    lethe_free(h);
    *hp = NULL;
}

static size_t on_data(char *data, size_t size, size_t n, void *user) {
    call *c = user;
    long status = 0;
    size_t len = size * n;
    if (c->sink && !curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status) && status >= 200 &&
        status < 300) {
        c->refused = !c->sink(c->user, status, lethe_strbuf_str(&c->head), data, len);
        return c->refused ? 0 : len;
    }
    if (c->body.len + len > c->max_bytes) {
        c->too_long = true;
        return 0;
    }
    lethe_strbuf_add(&c->body, data, len);
    return c->body.status ? 0 : len;
}

/* Line by line; a status line begins the headers anew ("100 Continue" comes before the answer). */
static size_t on_header(char *data, size_t size, size_t n, void *user) {
    call *c = user;
    size_t len = size * n;
    if (len >= 5 && !memcmp(data, "HTTP/", 5)) lethe_strbuf_clear(&c->head);
    if (c->head.len + len > HEADERS_MOST) {
        c->too_long = true;
        return 0;
    }
    lethe_strbuf_add(&c->head, data, len);
    return c->head.status ? 0 : len;
}

static size_t on_read(char *buffer, size_t size, size_t n, void *user) {
    call *c = user;
    uint64_t left = c->length - c->sent, want = size * n;
    ssize_t got =
        pread(c->fd, buffer, (size_t)(want < left ? want : left), (off_t)(c->offset + c->sent));
    if (got < 0 || (!got && left)) return CURL_READFUNC_ABORT;
    c->sent += (uint64_t)got;
    if (c->tell) *c->tell = c->sent;
    return (size_t)got;
}

/* A connection that was closed before it was used: the body is sent once more. */
static int on_seek(void *user, curl_off_t to, int origin) {
    call *c = user;
    if (origin != SEEK_SET || to < 0 || (uint64_t)to > c->length) return CURL_SEEKFUNC_FAIL;
    c->sent = (uint64_t)to;
    if (c->tell) *c->tell = c->sent;
    return CURL_SEEKFUNC_OK;
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

static CURLcode set_body(call *c, const lethe_http_request *r) {
    CURL *e = c->easy;
    CURLcode bad = CURLE_OK;
    if (r->from_file) {
        bad = curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        bad = bad ? bad : curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->length);
        bad = bad ? bad : curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
        bad = bad ? bad : curl_easy_setopt(e, CURLOPT_READDATA, c);
        bad = bad ? bad : curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
        bad = bad ? bad : curl_easy_setopt(e, CURLOPT_SEEKDATA, c);
    } else if (r->body) {
        bad = curl_easy_setopt(e, CURLOPT_POST, 1L);
        bad = bad ? bad : curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->len);
        bad = bad ? bad : curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, r->body);
    } else {
        bad = curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    }
    return bad ? bad : curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
}

static CURLcode set_times(const lethe_http *h, call *c, const lethe_http_request *r) {
    CURL *e = c->easy;
    long connect = (long)(1000 * h->opts.connect_timeout);
    CURLcode bad = curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, connect);
    if (bad) return bad;
    if (!(r->idle > 0))
        return curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(1000 * h->opts.timeout));
    bad = curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    return bad ? bad : curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)(r->idle + 0.999));
}

/* An option that curl refuses for another reason than memory is a mistake of ours or a libcurl
 * without HTTP. */
static lethe_status set_up(const lethe_http *h, call *c, const lethe_http_request *r,
                           lethe_err *err) {
    CURL *e = c->easy;
    CURLcode bad = CURLE_OK;
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_URL, r->url);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    bad = bad ? bad : set_body(c, r);
    bad = bad ? bad : set_times(h, c, r);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_USERAGENT, "lethe");
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    bad = bad ? bad : curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    if (bad == CURLE_OUT_OF_MEMORY) return lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    if (bad) return lethe_fail(err, LETHE_FAIL, "HTTP: libcurl: %s", curl_easy_strerror(bad));
    return LETHE_OK;
}

lethe_status lethe_http_send(lethe_http *h, const lethe_http_request *r, lethe_err *err) {
    LETHE_TRY(lethe_url_check(r->url, err));
    call *c;
    LETHE_TRY(lethe_zalloc(&c, 1, sizeof *c, "a request", err));
    c->user = r->user;
    c->sink = r->sink;
    c->fd = r->fd;
    c->offset = r->offset;
    c->length = r->length;
    c->tell = r->sent;
    c->max_bytes = h->opts.max_bytes;
    c->easy = curl_easy_init();
    lethe_status st = c->easy ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    if (!st) st = add_headers(c, r->headers, r->n_headers, err);
    if (!st) st = set_up(h, c, r, err);
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

lethe_status lethe_http_post(lethe_http *h, const char *url, const char *const *headers,
                             size_t n_headers, const char *body, size_t len, void *user,
                             lethe_err *err) {
    const lethe_http_request r = {.method = "POST",
                                  .url = url,
                                  .headers = headers,
                                  .n_headers = n_headers,
                                  .body = body,
                                  .len = len,
                                  .user = user};
    return lethe_http_send(h, &r, err);
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

static void why_not(const call *c, CURLcode code, lethe_http_response *r) {
    if (c->too_long)
        snprintf(r->message, sizeof r->message, "the answer is longer than %zu bytes",
                 c->max_bytes);
    else
        snprintf(r->message, sizeof r->message, "%s",
                 c->error[0] ? c->error : curl_easy_strerror(code));
    r->unreachable = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
                     code == CURLE_COULDNT_RESOLVE_PROXY;
}

/* What became of a finished call; it is released. */
static lethe_status hand_out(lethe_http *h, call *c, CURLcode code, lethe_http_response *out,
                             lethe_err *err) {
    lethe_http_response r = {.user = c->user, .retry_after = -1, .refused = c->refused};
    curl_off_t wait = 0;
    bool memory = c->body.status || c->head.status || code == CURLE_OUT_OF_MEMORY;
    bool whole = code == CURLE_OK && !memory, known = whole || c->refused;
    if (known) curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &r.status);
    if (known && !curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &wait) && wait > 0)
        r.retry_after = (double)wait;
    if (!known) why_not(c, code, &r);
    r.headers = lethe_strdup(known ? lethe_strbuf_str(&c->head) : "");
    r.body = lethe_strdup(whole ? lethe_strbuf_str(&c->body) : "");
    r.len = r.body ? strlen(r.body) : 0; /* NUL ends a text */
    curl_multi_remove_handle(h->multi, c->easy);
    unlink_call(h, c);
    call_free(c);
    if (!r.body || !r.headers || memory) {
        lethe_http_response_free(&r);
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
    lethe_free(r->headers);
    lethe_free(r->body);
    *r = (lethe_http_response){0};
}

bool lethe_http_header(const char *headers, const char *name, char *out, size_t size) {
    size_t len = strlen(name);
    bool found = false;
    out[0] = '\0';
    for (const char *line = headers; *line;) {
        size_t n = strcspn(line, "\n");
        const char *end = line + n, *next = *end ? end + 1 : end;
        if (n > len && !strncasecmp(line, name, len) && line[len] == ':') {
            const char *from = line + len + 1;
            while (from < end && isspace((unsigned char)*from)) from++;
            while (end > from && isspace((unsigned char)end[-1])) end--;
            found = (size_t)(end - from) < size;
            snprintf(out, size, "%.*s", found ? (int)(end - from) : 0, from);
        }
        line = next;
    }
    return found;
}
