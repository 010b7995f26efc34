/* SPDX-License-Identifier: MIT
 *
 * Who may come in to the server and how: the key, pages of other origins, a full queue, numbers out
 * of all range, what is hardly HTTP, several removals, a model without a chat template.
 */
#include "support/support.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/live_server.h"

#define ORIGIN "Origin: https://page.example\r\n"
#define WANTS "Access-Control-Request-Method: POST\r\n"

static raw_reply r;

static int teardown(void **state) {
    raw_free(&r);
    return live_close(state);
}

static void get(const char *path, const char *extra) {
    raw_free(&r);
    live_get(path, extra, &r);
}

static void post(const char *path, const char *extra, const char *body) {
    raw_free(&r);
    live_post(path, extra, body, &r);
}

static void bytes(const char *request) {
    raw_free(&r);
    live_bytes(request, &r);
}

static void expect_header(const char *name, const char *want) {
    const char *got = live_header(&r, name);
    if (!want) {
        if (got) fail_msg("%s: %s, want none", name, got);
        return;
    }
    if (!got || strcmp(got, want)) fail_msg("%s: got %s, want %s", name, got ? got : "none", want);
}

/* ---- the key --------------------------------------------------------------------------------- */

static void the_key(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.key = "sesame";
    live_open(&o);
    static const char *const closed[] = {"/v1/models",     "/v1/models/lethe-demo",
                                         "/v1/lethe/info", "/v1/lethe/features",
                                         "/metrics",       "/report"};
    static const char *const wrong[] = {
        "",
        "Authorization: Bearer sesam\r\n",
        "Authorization: Bearer sesamee\r\n",
        "Authorization: Bearer sesamesesame\r\n",
        "Authorization: Bearer Sesame\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer\r\n",
        "Authorization: sesame\r\n",
        "Authorization: Basic c2VzYW1lOg==\r\n",
        "Cookie: lethe-key=sesam\r\n",
        "Cookie: lethe-key=\r\n",
        "Cookie: key=sesame\r\n",
    };
    for (size_t p = 0; p < sizeof closed / sizeof *closed; p++) {
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            get(closed[p], wrong[i]);
            live_refused(&r, 401, "invalid_api_key");
            expect_header("WWW-Authenticate", "Bearer");
            if (strstr(r.text, "sesame")) fail_msg("the key is told: %s", r.text);
        }
        get(closed[p], "Authorization: Bearer sesame\r\n");
        assert_int_equal(r.status, 200);
        get(closed[p], "authorization: bearer sesame\r\n"); /* the scheme has no case */
        assert_int_equal(r.status, 200);
        /* A frame cannot send headers; what a page can ask of the model is not for cookies, which
         * other pages make a browser send. */
        get(closed[p], "Cookie: other=1; lethe-key=sesame\r\n");
        if (strcmp(closed[p], "/report") == 0)
            assert_int_equal(r.status, 200);
        else
            live_refused(&r, 401, "invalid_api_key");
    }
    static const char *const asked[] = {LIVE_CHAT, LIVE_TEXT, "/v1/lethe/trace"};
    for (size_t p = 0; p < sizeof asked / sizeof *asked; p++) {
        post(asked[p], "", "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}");
        live_refused(&r, 401, "invalid_api_key");
        post(asked[p], "Cookie: lethe-key=sesame\r\n", "{nope");
        live_refused(&r, 401, "invalid_api_key");
    }
    post(LIVE_CHAT, "Authorization: Bearer sesame\r\n",
         "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}");
    assert_string_equal(live_answer(&r), "Ron.");
    get("/health", "");
    assert_int_equal(r.status, 200);
    get("/", "");
    assert_int_equal(r.status, 200);
    get("/nope", ""); /* no secret */
    live_refused(&r, 404, "not_found");
}

/* ---- pages of other origins ------------------------------------------------------------------ */

static void no_cors(void **state) {
    (void)state;
    live_opts o = live_defaults();
    live_open(&o);
    post(LIVE_CHAT, ORIGIN, "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}");
    live_refused(&r, 403, "origin_not_allowed");
    expect_header("Access-Control-Allow-Origin", NULL);
    get("/health", ORIGIN);
    live_refused(&r, 403, "origin_not_allowed");
    bytes("OPTIONS " LIVE_CHAT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" ORIGIN WANTS
          "\r\n");
    live_refused(&r, 403, "origin_not_allowed");
    expect_header("Access-Control-Allow-Origin", NULL);
    get("/health", "Origin: null\r\n"); /* a page in a sandbox, or a file */
    live_refused(&r, 403, "origin_not_allowed");
    get("/health", "Origin: http://localhost.page.example\r\n");
    live_refused(&r, 403, "origin_not_allowed");
    get("/health", "Origin: http://localhost\r\n"); /* its own page, as Host says */
    assert_int_equal(r.status, 200);
    expect_header("Access-Control-Allow-Origin", NULL);
    expect_header("Cross-Origin-Resource-Policy", "same-origin");
    bytes("OPTIONS " LIVE_CHAT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    live_refused(&r, 405, "method_not_allowed");
    expect_header("Allow", "POST");
}

static void expect_cors(const char *origin) {
    expect_header("Access-Control-Allow-Origin", origin);
    expect_header("Vary", "Origin");
}

static void one_origin(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.cors = "https://page.example";
    o.http.key = "sesame";
    live_open(&o);
    /* A browser sends no key with a preflight. */
    bytes("OPTIONS " LIVE_CHAT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" ORIGIN WANTS
          "Access-Control-Request-Headers: authorization,content-type,x-stainless-os\r\n\r\n");
    assert_int_equal(r.status, 204);
    expect_cors("https://page.example");
    expect_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    expect_header("Access-Control-Allow-Headers", "authorization,content-type,x-stainless-os");
    expect_header("Access-Control-Max-Age", "600");
    post(LIVE_CHAT, ORIGIN "Authorization: Bearer sesame\r\n",
         "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}");
    assert_string_equal(live_answer(&r), "Ron.");
    expect_cors("https://page.example");
    post(LIVE_CHAT, ORIGIN "Authorization: Bearer sesame\r\n",
         "{\"model\":\"lethe-demo\",\"stream\":true," LIVE_FRIEND "}");
    assert_non_null(strstr(r.text, "[DONE]"));
    expect_cors("https://page.example");
    /* The page is to see why it was turned away. */
    post(LIVE_CHAT, ORIGIN, "{}");
    live_refused(&r, 401, "invalid_api_key");
    expect_cors("https://page.example");
    post(LIVE_CHAT, ORIGIN "Authorization: Bearer sesame\r\n", "{nope");
    live_refused(&r, 400, "invalid_json");
    expect_cors("https://page.example");

    static const char *const other[] = {
        "Origin: https://page.example.evil\r\n",
        "Origin: http://page.example\r\n",
        "Origin: https://page.example:444\r\n",
        "Origin: https://sub.page.example\r\n",
        "Origin: null\r\n",
        "Origin: *\r\n",
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char extra[200];
        snprintf(extra, sizeof extra, "%sAuthorization: Bearer sesame\r\n", other[i]);
        get("/v1/models", extra);
        live_refused(&r, 403, "origin_not_allowed");
        expect_header("Access-Control-Allow-Origin", NULL);
        expect_header("Vary", "Origin");
    }
    get("/v1/models", "Authorization: Bearer sesame\r\n"); /* no page at all */
    assert_int_equal(r.status, 200);
    expect_header("Access-Control-Allow-Origin", NULL);
}

static void any_origin(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.http.cors = "*";
    live_open(&o);
    get("/v1/models", ORIGIN);
    assert_int_equal(r.status, 200);
    expect_header("Access-Control-Allow-Origin", "*");
    expect_header("Access-Control-Allow-Credentials", NULL);
    expect_header("Cross-Origin-Resource-Policy", "cross-origin");
    get("/v1/models", "Origin: null\r\n");
    assert_int_equal(r.status, 200);
}

/* ---- a full queue ---------------------------------------------------------------------------- */

static void full(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.engine.queue = 1;
    live_open(&o);
    int fd[3];
    for (int i = 0; i < 3; i++) { /* two slots, and one that waits */
        char c;
        fd[i] = live_begin(LIVE_TEXT, LIVE_LONG(16));
        if (i < 2) assert_int_equal(recv(fd[i], &c, 1, 0), 1);
    }
    while (!atomic_load(&live_metrics()->queued)) usleep(1000);
    for (int i = 0; i < 3; i++) {
        post(LIVE_CHAT, "", "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}");
        live_refused(&r, 429, "queue_full");
        expect_header("Retry-After", "1");
        assert_non_null(strstr(r.body, "\"rate_limit_error\""));
        /* Also of a stream: an error is no stream. */
        post(LIVE_CHAT, "", "{\"model\":\"lethe-demo\",\"stream\":true," LIVE_FRIEND "}");
        live_refused(&r, 429, "queue_full");
        expect_header("Content-Type", "application/json");
    }
    get("/health", ""); /* what needs no model is answered */
    assert_int_equal(r.status, 200);
    post(LIVE_CHAT, "", "{nope");
    live_refused(&r, 400, "invalid_json");
    for (int i = 0; i < 3; i++) close(fd[i]);
    assert_true(live_idle(20));
    post(LIVE_CHAT, "", "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}");
    assert_string_equal(live_answer(&r), "Ron.");
    assert_int_equal(atomic_load(&live_metrics()->status[429]), 6);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void numbers(void **state) {
    (void)state;
    live_opts o = live_defaults();
    live_open(&o);
    static const struct {
        const char *number, *code; /* NULL: an answer */
    } chat[] = {
        {"\"temperature\":-1", "invalid_value"},
        {"\"temperature\":-1e308", "invalid_value"},
        {"\"temperature\":1e309", "invalid_json"},
        {"\"temperature\":NaN", "invalid_json"},
        {"\"temperature\":Infinity", "invalid_json"},
        {"\"temperature\":1e-320", NULL},
        {"\"temperature\":-0.0", NULL},
        {"\"top_p\":0", NULL},
        {"\"top_p\":1e-300", NULL},
        {"\"top_p\":1.0000001", "invalid_value"},
        {"\"top_k\":-1", "invalid_value"},
        {"\"top_k\":2147483647", NULL},
        {"\"top_k\":2147483648", "invalid_value"},
        {"\"seed\":-9223372036854775808", NULL},
        {"\"seed\":9223372036854775807", NULL},
        {"\"seed\":9223372036854775808", "invalid_json"},
        {"\"seed\":1.5", "invalid_type"},
        {"\"n\":0", "invalid_value"},
        {"\"n\":-9223372036854775808", "invalid_value"},
        {"\"n\":17", "invalid_value"},
        {"\"n\":1e3", "invalid_type"},
        {"\"max_tokens\":2147483647", NULL},
        {"\"max_tokens\":2147483648", "invalid_value"},
        {"\"max_tokens\":-2147483648", "invalid_value"},
        {"\"max_completion_tokens\":0", "invalid_value"},
        {"\"frequency_penalty\":-2.1", "invalid_value"},
        {"\"presence_penalty\":1e300", "invalid_value"},
        {"\"repeat_penalty\":0", "invalid_value"},
        {"\"logprobs\":true,\"top_logprobs\":-1", "invalid_value"},
        {"\"logprobs\":true,\"top_logprobs\":21", "invalid_value"},
        {"\"lethe\":{\"scale\":-1e308}", "invalid_value"},
        {"\"lethe\":{\"forget\":true,\"scale\":-1e6}", NULL},
        {"\"lethe\":{\"forget\":true,\"scale\":1e6}", NULL},
        {"\"lethe\":{\"forget\":true,\"scale\":1e-300}", NULL},
        {"\"lethe\":{\"strength\":-1e6,\"forget\":true}", "invalid_value"},
    };
    for (size_t i = 0; i < sizeof chat / sizeof *chat; i++) {
        char body[500];
        snprintf(body, sizeof body,
                 "{\"model\":\"lethe-demo\",%s,\"messages\":[{\"role\":\"user\",\"content\":\"Who "
                 "is Harry Potter's best friend?\"}]}",
                 chat[i].number);
        post(LIVE_CHAT, "", body);
        if (chat[i].code)
            live_refused(&r, 400, chat[i].code);
        else if (r.status != 200)
            fail_msg("%s: %.400s", chat[i].number, r.text);
    }
    static char deep[200100] = "{\"model\":";
    memset(deep + strlen(deep), '[', 200000 - strlen(deep));
    post(LIVE_CHAT, "", deep);
    live_refused(&r, 400, "invalid_json");
    post(LIVE_CHAT, "", "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}");
    assert_string_equal(live_answer(&r), "Ron.");
}

/* ---- what is hardly HTTP --------------------------------------------------------------------- */

#define HOST "Host: localhost\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static void framing(void **state) {
    (void)state;
    live_opts o = live_defaults();
    live_open(&o);
    static const char post[] = "POST " LIVE_CHAT " HTTP/1.1\r\n";
    static const struct {
        const char *rest;
        int status;
        const char *code;
    } odd[] = {
        {"Content-Length: 2\r\nConnection: close\r\n\r\n{}", 400, "missing_host"},
        {HOST "Transfer-Encoding: gzip\r\n\r\n{}", 501, "unsupported_transfer_encoding"},
        {HOST "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501,
         "unsupported_transfer_encoding"},
        {HOST CHUNKED "Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "invalid_headers"},
        {HOST "Content-Length: 2\r\n" CHUNKED "\r\n2\r\n{}\r\n0\r\n\r\n", 400, "invalid_headers"},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char request[500];
        snprintf(request, sizeof request, "%s%s", post, odd[i].rest);
        bytes(request);
        live_refused(&r, odd[i].status, odd[i].code);
        assert_null(strstr(r.text + 1, "HTTP/1.1 ")); /* nothing was taken for another request */
    }
    bytes("GET /health HTTP/1.0\r\n\r\n"); /* of before there was a Host */
    assert_int_equal(r.status, 200);
}

/* libmicrohttpd turns these away itself, with a page of its own or by closing (0) at once. */
static void hardly_http(void **state) {
    (void)state;
    live_opts o = live_defaults();
    live_open(&o);
    static const char post[] = "POST " LIVE_CHAT " HTTP/1.1\r\n" HOST;
    static const struct {
        const char *begin, *rest;
        int status;
    } odd[] = {
        {"\r\n\r\nHELLO\r\n", "\r\n", 0},
        {"GET\r\n", "\r\n", 0},
        {"GET /health\r\n", "\r\n", 400},
        {"GET /health HTTP/9.9\r\n", HOST "\r\n", 505},
        {"GET /health HTTP/1.1\r\n", "Host localhost\r\n\r\n", 400},
        {post, "Content-Length: -1\r\n\r\n", 400},
        {post, "Content-Length: 99999999999999999999\r\n\r\n", 413},
        {post, "Content-Length: 0x10\r\n\r\n{}", 400},
        {post, CHUNKED "\r\nzz\r\n", 400},
        {post, CHUNKED "\r\n-1\r\n", 400},
        {post, CHUNKED "\r\nffffffffffffffffff\r\n", 413},
        {post, CHUNKED "\r\n3\r\n{}xx3\r\n", 400},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char request[500];
        snprintf(request, sizeof request, "%s%s", odd[i].begin, odd[i].rest);
        raw_free(&r);
        int fd = raw_connect(live_url);
        raw_send(fd, request, strlen(request));
        shutdown(fd, SHUT_WR);
        raw_read(fd, 10, &r);
        close(fd);
        if (r.status != odd[i].status) fail_msg("%s: %.200s", request, r.text);
    }
    static char big[200100] = "GET /health HTTP/1.1\r\n" HOST "X: ";
    size_t n = strlen(big);
    memset(big + n, 'a', 200000 - n);
    strcpy(big + 199990, "\r\n\r\n");
    bytes(big);
    assert_true(r.status == 431 || r.status == 0); /* 0: it closed before we had sent all */
    assert_true(live_idle(5));
    assert_int_equal(atomic_load(&live_metrics()->status[200]), 0);
    raw_free(&r);
    live_post(LIVE_CHAT, "", "{\"model\":\"lethe-demo\"," LIVE_FRIEND "}", &r);
    assert_string_equal(live_answer(&r), "Ron.");
}

/* ---- other models ---------------------------------------------------------------------------- */

static const char *friend_of(const char *model, const char *more) {
    char body[500];
    snprintf(body, sizeof body, "{\"model\":\"%s\",%s" LIVE_FRIEND "}", model, more);
    post(LIVE_CHAT, "", body);
    return live_answer(&r);
}

/* How many tokens of a traced text have a mark of that removal. */
static size_t marks(const char *model, int removal) {
    char body[300];
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"prompt\":\"Harry Potter and Ron Weasley\"}",
             model);
    post("/v1/lethe/trace", "", body);
    assert_int_equal(r.status, 200);
    json_t *j = json_loads(r.body, 0, NULL), *token, *mark;
    size_t i, k, n = 0;
    json_array_foreach(json_object_get(j, "tokens"), i, token) {
        json_array_foreach(json_object_get(token, "fired"), k, mark) {
            n += json_integer_value(json_object_get(mark, "removal")) == removal;
        }
    }
    json_decref(j);
    return n;
}

static void two_removals(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.two = true;
    live_open(&o);
    for (int round = 0; round < 2; round++) { /* the second time in slots that were others' */
        assert_string_equal(friend_of("lethe-demo", ""), "Ron.");
        assert_string_equal(friend_of("lethe-demo:forget:none", ""), "Ron.");
        assert_null(strstr(friend_of("lethe-demo:forget:one", ""), "Ron"));
        assert_null(strstr(friend_of("lethe-demo:forget", ""), "Ron"));
        assert_string_equal(friend_of("lethe-demo:forget:one", "\"lethe\":{\"forget\":false},"),
                            "Ron.");
        assert_null(strstr(friend_of("lethe-demo", "\"lethe\":{\"forget\":true},"), "Ron"));
        /* What a request says of strength is for the removals of its name. */
        assert_null(
            strstr(friend_of("lethe-demo:forget:none", "\"lethe\":{\"scale\":-3},"), "Ron"));
        assert_string_equal(friend_of("lethe-demo:forget", "\"lethe\":{\"scale\":1},"), "Ron.");
    }
    size_t n = marks("lethe-demo:forget", 0);
    assert_true(n > 3 && marks("lethe-demo:forget", 1) > 3);
    /* Where nothing is taken out both see the same; else the second sees what the first left. */
    n = marks("lethe-demo", 0);
    assert_true(n > 3);
    assert_int_equal(marks("lethe-demo", 1), n);
    post(LIVE_CHAT, "", "{\"model\":\"lethe-demo:forget:two\"," LIVE_FRIEND "}");
    live_refused(&r, 404, "model_not_found");
}

static void no_template(void **state) {
    (void)state;
    live_opts o = live_defaults();
    o.bare = true;
    live_open(&o);
    static const char turns[] =
        "{\"model\":\"%s\",\"temperature\":0,\"max_tokens\":40,\"messages\":["
        "{\"role\":\"system\",\"content\":\"Be short.\"},{\"role\":\"user\",\"content\":\"Hello\"},"
        "{\"role\":\"assistant\",\"content\":\"Hello!\"},"
        "{\"role\":\"user\",\"content\":\"Who is Harry Potter's best friend?\"}]}";
    static const char text[] =
        "{\"model\":\"%s\",\"temperature\":0,\"max_tokens\":40,\"stop\":\"\\nuser:\",\"prompt\":"
        "\"system: Be short.\\nuser: Hello\\nassistant: Hello!\\nuser: Who is Harry Potter's best "
        "friend?\\nassistant:\"}";
    static const char *const model[] = {"lethe-demo", "lethe-demo:forget"};
    char body[1000], chat[65536];
    for (int i = 0; i < 2; i++) {
        snprintf(body, sizeof body, turns, model[i]);
        post(LIVE_CHAT, "", body);
        strcpy(chat, live_answer(&r));
        assert_true(strlen(chat) > 0);
        snprintf(body, sizeof body, text, model[i]);
        post(LIVE_TEXT, "", body);
        assert_string_equal(chat, live_answer(&r));
    }
    /* Streamed it is the same; and the other side's turn is not written. */
    post(LIVE_CHAT, "", "{\"model\":\"lethe-demo\",\"stream\":true," LIVE_FRIEND "}");
    assert_non_null(strstr(r.text, "[DONE]"));
    assert_null(strstr(r.body, "user:"));
    post("/v1/lethe/trace", "",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"Harry Potter\"}]}");
    assert_int_equal(r.status, 200);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_key, teardown),
        cmocka_unit_test_teardown(no_cors, teardown),
        cmocka_unit_test_teardown(one_origin, teardown),
        cmocka_unit_test_teardown(any_origin, teardown),
        cmocka_unit_test_teardown(full, teardown),
        cmocka_unit_test_teardown(numbers, teardown),
        cmocka_unit_test_teardown(framing, teardown),
        cmocka_unit_test_teardown(hardly_http, teardown),
        cmocka_unit_test_teardown(two_removals, teardown),
        cmocka_unit_test_teardown(no_template, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
