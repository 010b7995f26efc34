/* SPDX-License-Identifier: MIT
 *
 * What bad input gets from lethe serve: the right status and an error object, while the server
 * stays up and answers others. Usage: serve_bad URL PID (a server with --max-body
 * 65536; it is told to end at last)
 */
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raw_http.h"

#define CHAT "/v1/chat/completions"
#define GOOD                                                                       \
    "\"model\":\"lethe-demo\",\"temperature\":0,\"messages\":[{\"role\":\"user\"," \
    "\"content\":\"Who is Harry Potter's best friend?\"}]"

static const char *url;
static unsigned checks, failures;

static void check(bool holds, const char *what, const raw_reply *r) {
    checks++;
    if (holds) return;
    failures++;
    fprintf(stderr, "FAILED: %s: %.400s\n", what, r->text ? r->text : "(no reply)");
}

/* Status, an error object, and its code. */
static void refused(const char *what, const raw_reply *r, int status, const char *code) {
    json_t *j = r->body ? json_loads(r->body, 0, NULL) : NULL, *e = json_object_get(j, "error");
    const char *got = json_string_value(json_object_get(e, "code"));
    check(r->status == status && json_is_string(json_object_get(e, "message")) &&
              json_is_string(json_object_get(e, "type")) && json_object_get(e, "param") && got &&
              !strcmp(got, code),
          what, r);
    json_decref(j);
}

static void body(const char *path, const char *text, int status, const char *code) {
    size_t n;
    char *request = raw_post(path, "", text, &n);
    raw_reply r;
    raw_ask(url, request, n, &r);
    refused(text, &r, status, code);
    raw_free(&r);
    free(request);
}

static void bytes(const char *what, const char *request, int status, const char *code) {
    raw_reply r;
    raw_ask(url, request, strlen(request), &r);
    refused(what, &r, status, code);
    raw_free(&r);
}

static void knows(const char *what, const raw_reply *r, int times) {
    int n = 0;
    for (const char *at = r->text; at && (at = strstr(at, "\"Ron.\"")); at++) n++;
    check(r->status == 200 && n == times, what, r);
}

static void still_well(void) {
    size_t n;
    char *request = raw_post(CHAT, "", "{" GOOD "}", &n);
    raw_reply r;
    raw_ask(url, request, n, &r);
    knows("a good request", &r, 1);
    raw_free(&r);
    free(request);
}

static void bodies(void) {
    body(CHAT, "", 400, "invalid_json");
    body(CHAT, "{nope", 400, "invalid_json");
    body(CHAT, "{" GOOD "} {", 400, "invalid_json");
    body(CHAT, "[1]", 400, "invalid_type");
    body(CHAT, "{\"messages\":[]}", 400, "invalid_value");
    body(CHAT, "{\"model\":\"lethe-demo\"}", 400, "missing_required_parameter");
    body(CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", 400,
         "missing_required_parameter");
    body(CHAT, "{\"model\":3,\"messages\":[]}", 400, "invalid_type");
    body(CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", 404,
         "model_not_found");
    body(CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"cat\",\"content\":\"a\"}]}", 400,
         "invalid_value");
    body(CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}", 400,
         "invalid_json");
    body(CHAT, "{" GOOD ",\"top_p\":-1}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"max_tokens\":-1}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"max_tokens\":0}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"max_tokens\":\"1\"}", 400, "invalid_type");
    body(CHAT, "{" GOOD ",\"max_tokens\":99999999999999999999999}", 400, "invalid_json");
    body(CHAT, "{" GOOD ",\"frequency_penalty\":1e400}", 400, "invalid_json");
    body(CHAT, "{" GOOD ",\"n\":100}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"stop\":[\"\"]}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"top_logprobs\":2}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"stream\":\"yes\"}", 400, "invalid_type");
    body(CHAT, "{" GOOD ",\"tools\":[{}]}", 400, "unsupported_parameter");
    body(CHAT, "{" GOOD ",\"lethe\":{\"forgte\":true}}", 400, "unknown_parameter");
    body(CHAT, "{" GOOD ",\"lethe\":{\"forget\":true,\"strength\":-3}}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"lethe\":{\"scale\":1,\"strength\":1}}", 400, "invalid_value");
    body(CHAT, "{" GOOD ",\"lethe\":{\"scale\":1e7}}", 400, "invalid_value");
    body("/v1/completions", "{\"model\":\"lethe-demo\",\"prompt\":[1,2]}", 400, "invalid_type");
    body("/v1/lethe/trace", "{}", 400, "missing_required_parameter");

    char *text = malloc(80000);
    if (!text) abort();
    strcpy(text, "{\"model\":\"lethe-demo\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 3000; i++) strcat(text, "word ");
    strcat(text, "\"}]}");
    body(CHAT, text, 400, "context_length_exceeded");
    memset(text, ' ', 70000);
    text[70000] = '\0';
    body(CHAT, text, 413, "body_too_large");
    free(text);
}

static void frames(void) {
    bytes("no such path", "GET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404,
          "not_found");
    bytes("up and away",
          "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404,
          "not_found");
    bytes("the same, escaped",
          "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
          404, "not_found");
    bytes("a NUL", "GET /%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404,
          "not_found");
    bytes("a method", "DELETE /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
          405, "method_not_allowed");
    bytes("GET where POST is wanted",
          "GET " CHAT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405,
          "method_not_allowed");
    bytes("a body that is far too large",
          "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413,
          "body_too_large");
    bytes("another origin",
          "POST " CHAT
          " HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n"
          "Connection: close\r\n\r\n{}",
          403, "origin_not_allowed");
    bytes("another name",
          "GET /health HTTP/1.1\r\nHost: evil.example:8080\r\nConnection: close\r\n\r\n", 403,
          "host_not_allowed");
    char big[20100] = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: ";
    size_t n = strlen(big);
    memset(big + n, 'a', 20000);
    strcpy(big + n + 20000 - 8, "\r\n\r\n");
    bytes("headers", big, 431, "headers_too_large");

    raw_reply r;
    const char *rest;
    rest = "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
           "Connection: close\r\n\r\nzz\r\n";
    raw_ask(url, rest, strlen(rest), &r);
    check(r.status == 400, "a broken chunk", &r);
    raw_free(&r);
    int fd = raw_connect(url);
    raw_send(fd, "\0\1\2\r\n\r\n", 7);
    raw_read(fd, 1, &r); /* it may wait for more, too */
    close(fd);
    check(r.status != 200, "no HTTP", &r);
    raw_free(&r);
}

/* Chunked, one byte at a time, pipelined: odd, but right. */
static void odd(void) {
    static const char json[] = "{" GOOD "}";
    char request[2000];
    raw_reply r;
    snprintf(request, sizeof request,
             "POST " CHAT
             " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: "
             "close\r\n\r\n5\r\n%.5s\r\n%zx\r\n%s\r\n0\r\n\r\n",
             json, strlen(json) - 5, json + 5);
    raw_ask(url, request, strlen(request), &r);
    knows("chunked", &r, 1);
    raw_free(&r);

    int fd = raw_connect(url);
    for (const char *at = request; *at; at++) {
        raw_send(fd, at, 1);
        usleep(500);
    }
    raw_read(fd, 20, &r);
    knows("byte by byte", &r, 1);
    raw_free(&r);
    close(fd);

    char three[3000];
    snprintf(three, sizeof three,
             "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s"
             "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"
             "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
             "%zu\r\n\r\n%s",
             strlen(json), json, strlen(json), json);
    raw_ask(url, three, strlen(three), &r);
    knows("pipelined", &r, 2);
    raw_free(&r);
}

/* Clients that leave in the midst of a stream free their slots. */
static void hang_ups(void) {
    size_t n;
    char *request = raw_post("/v1/completions", "",
                             "{\"model\":\"lethe-demo\",\"prompt\":\"Once upon a time\","
                             "\"max_tokens\":200,\"n\":16,\"stream\":true}",
                             &n);
    for (int i = 0; i < 20; i++) {
        int fd = raw_connect(url);
        raw_send(fd, request, n);
        if (i % 2) usleep(3000);
        close(fd);
    }
    free(request);
    raw_reply r = {0};
    bool idle = false;
    for (int i = 0; i < 100 && !idle; i++) {
        static const char get[] =
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        raw_free(&r);
        raw_ask(url, get, sizeof get - 1, &r);
        idle = strstr(r.text, "\nlethe_slots_busy 0\n") &&
               strstr(r.text, "\nlethe_queue_length 0\n") &&
               !strstr(r.text, "\nlethe_hangups_total 0\n");
        usleep(50000);
    }
    check(idle, "they are counted, and slots are free again", &r);
    raw_free(&r);
}

/* SIGTERM in the midst of a stream: it goes to its end. */
static void goes_to_the_end(const char *pid) {
    size_t n;
    char *request = raw_post("/v1/completions", "",
                             "{\"model\":\"lethe-demo\",\"prompt\":\"Once upon a time\","
                             "\"max_tokens\":200,\"n\":16,\"stream\":true}",
                             &n);
    char first[16];
    int fd = raw_connect(url);
    raw_send(fd, request, n);
    ssize_t got = recv(fd, first, sizeof first, 0);
    kill((pid_t)atoi(pid), SIGTERM);
    raw_reply r;
    raw_read(fd, 20, &r);
    check(got > 0 && strstr(r.text, "data: [DONE]"), "a stream that was under way is finished", &r);
    raw_free(&r);
    close(fd);
    free(request);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    url = argv[1];
    still_well();
    bodies();
    still_well();
    frames();
    odd();
    hang_ups();
    still_well();
    goes_to_the_end(argv[2]);
    printf("%u checks, %u failed\n", checks, failures);
    return failures != 0;
}
