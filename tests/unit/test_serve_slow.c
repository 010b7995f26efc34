/* SPDX-License-Identifier: MIT
 *
 * Clients that are slow to ask or slow to read, requests one behind the other, and answers that
 * take too long: each gets what docs/serve.md says, and others are answered meanwhile.
 */
#include "support/support.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/run.h"
#include "support/live_server.h"

#define GOOD "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}"

static raw_reply r;

static int teardown(void **state) {
    raw_free(&r);
    return live_close(state);
}

/* Someone else, who must not notice anything. */
static void others_are_answered(void) {
    raw_reply other;
    double start = lethe_seconds();
    live_post(LIVE_CHAT, "", GOOD, &other);
    assert_string_equal(live_answer(&other), "Ron.");
    assert_true(lethe_seconds() - start < 10);
    raw_free(&other);
}

/* Seconds until the other side has closed; what it sent is in r. */
static double until_closed(int fd, double start) {
    raw_free(&r);
    raw_read(fd, 30, &r);
    close(fd);
    return lethe_seconds() - start;
}

static bool gone(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

/* ---- slow to ask ----------------------------------------------------------------------------- */

/* Sends a byte every 50 ms until the other side has had enough; its reply is in r. */
static double trickle(const char *begin, size_t whole) {
    double start = lethe_seconds();
    int fd = raw_connect(live_url);
    assert_int_equal(raw_send(fd, begin, whole), 0);
    for (const char *at = begin + whole; !gone(fd); at += at[1] != '\0') {
        assert_true(lethe_seconds() - start < 20);
        raw_send(fd, at, 1);
        usleep(50000);
    }
    return until_closed(fd, start);
}

static void slow_headers(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.idle = 1;
    live_open(&o);
    /* Not a byte; a few; never the end of the headers. */
    double start = lethe_seconds();
    int silent = raw_connect(live_url), half = raw_connect(live_url);
    raw_send(half, "GET /health HTTP/1.1\r\nHost: loc", 31);
    others_are_answered();
    assert_in_range((uintmax_t)(1000 * until_closed(silent, start)), 900, 10000);
    assert_int_equal(r.size, 0);
    assert_in_range((uintmax_t)(1000 * until_closed(half, start)), 900, 10000);
    assert_true(r.status == 0 || r.status == 408);
    double took = trickle("GET /health HTTP/1.1\r\nHost: localhost\r\nX: aaaaaaaaaa", 40);
    assert_in_range((uintmax_t)(1000 * took), 900, 10000);
    assert_true(r.status == 0 || r.status == 408);
    others_are_answered();
    assert_int_equal(atomic_load(&live_metrics()->busy), 0);
}

static void slow_bodies(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.arrival = 1;
    live_open(&o);
    static const char head[] =
        "POST " LIVE_CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n{          ";
    static const char chunk[] = "POST " LIVE_CHAT " HTTP/1.1\r\nHost: localhost\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n7d0\r\n{           ";
    double start = lethe_seconds();
    int stuck = raw_connect(live_url);
    raw_send(stuck, head, strlen(head));
    others_are_answered();
    double took = until_closed(stuck, start);
    live_refused(&r, 408, "request_timeout");
    assert_in_range((uintmax_t)(1000 * took), 900, 10000);
    took = trickle(head, strlen(head) - 10);
    live_refused(&r, 408, "request_timeout");
    assert_in_range((uintmax_t)(1000 * took), 900, 10000);
    took = trickle(chunk, strlen(chunk) - 10);
    live_refused(&r, 408, "request_timeout");
    /* One that would be turned away anyhow is not waited for longer. */
    trickle("POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n{         ", 60);
    live_refused(&r, 408, "request_timeout");
    assert_int_equal(atomic_load(&live_metrics()->status[408]), 4);
    others_are_answered();
}

/* The limit is for what arrives; an answer may take longer, and so may a pause between two. */
static void not_slow(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.arrival = 1;
    live_open(&o);
    int fd = live_begin(LIVE_TEXT, LIVE_LONG(16));
    double start = lethe_seconds();
    until_closed(fd, start);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.text, "[DONE]"));
    fd = raw_connect(live_url);
    static const char get[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char reply[4096];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(raw_send(fd, get, sizeof get - 1), 0);
        assert_true(recv(fd, reply, sizeof reply, 0) > 0);
        usleep(1500000);
    }
    assert_false(gone(fd));
    close(fd);
}

/* All connections taken by those that say nothing: a new one has to wait until they are shut. */
static void crowded(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.connections = 4;
    o.http.idle = 1;
    live_open(&o);
    int fd[4];
    for (int i = 0; i < 4; i++) fd[i] = raw_connect(live_url);
    double start = lethe_seconds();
    raw_reply get = {0};
    while (get.status != 200) {
        assert_true(lethe_seconds() - start < 20);
        raw_free(&get);
        live_get("/health", "", &get);
        usleep(20000);
    }
    raw_free(&get);
    for (int i = 0; i < 4; i++) close(fd[i]);
    others_are_answered();
}

/* ---- slow to read ---------------------------------------------------------------------------- */

/* Asks over a connection that holds little. */
static int reluctant(const char *body) {
    size_t n;
    char *request = raw_post(LIVE_TEXT, "", body, &n);
    int fd = raw_connect(live_url);
    live_squeeze(fd);
    assert_int_equal(raw_send(fd, request, n), 0);
    free(request);
    return fd;
}

/* Who does not read at all is given up on once so much waits; the rest is never computed. */
static void never_reads(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.unread = 16 << 10; /* a sampled answer may be short */
    live_open(&o);
    int fd = reluctant(LIVE_LONG(16));
    others_are_answered();
    assert_true(live_idle(60));
    uint64_t generated = atomic_load(&live_metrics()->generated[0]);
    if (generated > 1500) fail_msg("%llu of 3200 tokens were made", (unsigned long long)generated);
    others_are_answered();
    until_closed(fd, 0); /* now it reads what there is */
    assert_int_equal(r.status, 200);
    if (!strstr(r.text, "\"client_too_slow\""))
        fail_msg("%zu bytes, the last: %s", r.size, r.text + (r.size > 400 ? r.size - 400 : 0));
    assert_null(strstr(r.text, "[DONE]"));
}

/* Nor does a connection stay for ever whose answer is whole, but not read. */
static void never_takes(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.idle = 1;
    o.http.unread = 1 << 30;
    live_open(&o);
    int fd = reluctant(LIVE_LONG(16));
    double start = lethe_seconds();
    while (atomic_load(&live_metrics()->connections)) {
        assert_true(lethe_seconds() - start < 90);
        usleep(20000);
    }
    assert_int_equal(atomic_load(&live_metrics()->hangups), 1);
    close(fd);
    others_are_answered();
}

/* The texts of all chunks, one behind the other; static memory. */
static const char *texts(int which) {
    static char text[2][1 << 18];
    size_t len = 0;
    for (const char *at = r.body; (at = strstr(at, "\"text\":"));) {
        size_t n = strcspn(at, "}");
        assert_true(len + n < sizeof text[0]);
        memcpy(text[which] + len, at, n);
        len += n;
        at += n;
    }
    text[which][len] = '\0';
    return text[which];
}

/* Slow, but it reads: it gets all that a fast one gets. */
static void reads_slowly(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.slots = 1;
    live_open(&o);
    static const char body[] = "{\"model\":\"lethe-demo\",\"prompt\":\"Once upon a time\","
                               "\"seed\":1,\"n\":4,\"max_tokens\":100,\"stream\":true}";
    /* The first of three leaves the prompt in the slot: the others run in the same calls, and are
     * rounded alike. */
    for (int i = 0; i < 2; i++) until_closed(live_begin(LIVE_TEXT, body), 0);
    assert_non_null(strstr(r.body, "data: [DONE]"));
    const char *fast = texts(0);
    raw_free(&r);
    int fd = reluctant(body);
    raw_read_slowly(fd, 30, 500, 2000, &r);
    close(fd);
    assert_non_null(strstr(r.body, "data: [DONE]"));
    assert_string_equal(texts(1), fast);
}

/* ---- requests of many answers ---------------------------------------------------------------- */

/* They take turns with others for the slots. */
static void many_answers(void **state) {
    (void)state;
    live_opts o = live_defaults();
    live_open(&o);
    int fd = live_begin(LIVE_TEXT, LIVE_LONG(16));
    char c;
    assert_int_equal(recv(fd, &c, 1, 0), 1);
    others_are_answered();
    assert_false(live_idle(0)); /* the long one was under way all that time */
    uint64_t ended = atomic_load(&live_metrics()->answers[0]);
    if (ended > 1 + 4) fail_msg("%llu of 16 answers came before", (unsigned long long)ended - 1);
    until_closed(fd, 0);
    assert_non_null(strstr(r.text, "[DONE]"));
}

/* ---- answers that take too long -------------------------------------------------------------- */

static size_t times(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

/* 256 answers, whole or streamed: they end where they are. */
static void time_limit(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.engine.seconds = 1;
    live_open(&o);
    for (int stream = 0; stream < 2; stream++) {
        char body[1000] = "", *at = body;
        at += sprintf(at,
                      "{\"model\":\"lethe-demo:forget\",\"max_tokens\":250,\"n\":16,\"stream\":%s,"
                      "\"prompt\":[",
                      stream ? "true" : "false");
        for (int i = 0; i < 16; i++) at += sprintf(at, "%s\"Once upon a time\"", i ? "," : "");
        strcpy(at, "]}");
        double start = lethe_seconds();
        raw_free(&r);
        live_post(LIVE_TEXT, "", body, &r);
        double took = lethe_seconds() - start;
        assert_int_equal(r.status, 200);
        if (took < 0.9 || took > 10) fail_msg("%g seconds", took);
        assert_int_equal(times(r.body, "\"finish_reason\":\"length\"") +
                             times(r.body, "\"finish_reason\":\"stop\""),
                         256);
        assert_true(times(r.body, "\"finish_reason\":\"length\"") > 0);
        if (stream) assert_non_null(strstr(r.body, "data: [DONE]"));
    }
    assert_true(live_idle(1));
    others_are_answered();
}

/* Those that never get a slot. */
static void waited_in_vain(void **state) {
    (void)state;
    enum { CROWD = 40 };
    live_opts o = live_defaults();
    o.slots = 1;
    o.engine.seconds = 0.2;
    live_open(&o);
    int fd[CROWD];
    for (int i = 0; i < CROWD; i++)
        fd[i] = live_begin(LIVE_TEXT, "{\"model\":\"lethe-demo\",\"prompt\":\"Once upon a time\","
                                      "\"max_tokens\":250,\"stream\":true}");
    size_t late = 0;
    for (int i = 0; i < CROWD; i++) {
        until_closed(fd[i], 0);
        if (r.status == 200) {
            assert_non_null(strstr(r.body, "data: [DONE]"));
            continue;
        }
        live_refused(&r, 503, "timeout");
        late++;
    }
    assert_true(late > 0 && late < CROWD);
    assert_true(live_idle(1));
}

/* ---- one behind the other -------------------------------------------------------------------- */

/* Each with its own reply, in their order: whole, refused, streamed, and while one is answered. */
static void pipelined(void **state) {
    (void)state;
    live_opts o = live_defaults();
    live_open(&o);
    static const char stream[] = "{\"model\":\"lethe-demo\",\"stream\":true," LIVE_FRIEND "}";
    static const char ask[] = "POST " LIVE_CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
    char all[8192];
    int n = snprintf(all, sizeof all,
                     "%s%zu\r\n\r\n%s"
                     "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"
                     "%s5\r\n\r\n{nope"
                     "%s%zu\r\n\r\n%s"
                     "POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nGET "
                     "HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                     "OPTIONS /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                     "%s%zu\r\nConnection: close\r\n\r\n%s"
                     "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     ask, sizeof GOOD - 1, GOOD, ask, ask, sizeof stream - 1, stream, ask,
                     sizeof GOOD - 1, GOOD);
    raw_free(&r);
    raw_ask(live_url, all, (size_t)n, &r);
    static const char *const in_order[] = {
        " 200 ", "\"Ron.\"",           " 404 ",  "not_found", " 400 ",     "invalid_json",
        " 200 ", "\"delta\"",          "[DONE]", " 404 ",     "not_found", " 200 ",
        " 405 ", "method_not_allowed", " 200 ",  "\"Ron.\"",
    };
    const char *at = r.text;
    for (size_t i = 0; i < sizeof in_order / sizeof *in_order; i++) {
        const char *next = strstr(at, in_order[i]);
        if (!next) fail_msg("\"%s\" (%zu) does not follow in: %s", in_order[i], i, r.text);
        at = next + strlen(in_order[i]);
    }
    assert_int_equal(times(r.text, "HTTP/1.1 "), 8); /* nothing after "close" */
    /* Torn at every place. */
    for (int cut = 1; cut < n; cut += 97) {
        int fd = raw_connect(live_url);
        raw_send(fd, all, (size_t)cut);
        usleep(2000);
        raw_send(fd, all + cut, (size_t)(n - cut));
        until_closed(fd, 0);
        assert_int_equal(times(r.text, "HTTP/1.1 "), 8);
        assert_int_equal(times(r.text, "\"Ron.\""), 2);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(slow_headers, teardown),
        cmocka_unit_test_teardown(slow_bodies, teardown),
        cmocka_unit_test_teardown(not_slow, teardown),
        cmocka_unit_test_teardown(crowded, teardown),
        cmocka_unit_test_teardown(never_reads, teardown),
        cmocka_unit_test_teardown(never_takes, teardown),
        cmocka_unit_test_teardown(reads_slowly, teardown),
        cmocka_unit_test_teardown(many_answers, teardown),
        cmocka_unit_test_teardown(time_limit, teardown),
        cmocka_unit_test_teardown(waited_in_vain, teardown),
        cmocka_unit_test_teardown(pipelined, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
