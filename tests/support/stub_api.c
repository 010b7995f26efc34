/* SPDX-License-Identifier: MIT
 *
 * An OpenAI-compatible server that misbehaves on request, for the tests of lethe judge:
 *
 *     stub_api PORT_FILE LOG_FILE
 *
 * listens on a free port of 127.0.0.1, writes its number to PORT_FILE, and serves until it is
 * killed. The first part of a request's path says how:
 *
 *     /good/..     the class named in the completion as [Explicit], [Thematic] or [Accidental],
 * else None /later/..    429 with "Retry-After: 1" the first time a body is seen, then as good
 *     /busy/..     503 the first two times, then as good
 *     /garbage/..  an answer that is no JSON the first time, then as good
 *     /nonsense/.. always an answer with a fifth class
 *     /cut/..      half an answer and a closed connection the first time, then as good
 *     /slow/..     as good, after 0.3 s;  /asleep/.. after 3 s
 *     /cold/..     400 while the request has a "temperature", then as good
 *     /key/..      401 unless the key is "right"
 *     /fenced/..   as good, in a code fence behind <think>..</think>
 *     /partly/..   400 for the completion with [Refuse], others as good
 *     /down/..     always 500;  /html/.. 200 with a page;  /nowhere/.. 404
 *     /month/..    429 with a Retry-After of a month
 *
 * LOG_FILE gets a line a request: path, how many are under way, the Authorization header.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#define MOST 65536
#define SEEN_MOST 4096

static FILE *log_file;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int under_way;

/* How often a path and body came before. */
static struct {
    unsigned long long hash;
    int times;
} seen[SEEN_MOST];
static int n_seen;

static int times_seen(const char *path, const char *body) {
    unsigned long long h = 1469598103934665603u;
    for (const char *p = path; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
    for (const char *p = body; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
    int i = 0, times;
    pthread_mutex_lock(&lock);
    while (i < n_seen && seen[i].hash != h) i++;
    if (i == n_seen && n_seen < SEEN_MOST) seen[n_seen++].hash = h;
    times = i < SEEN_MOST ? seen[i].times++ : 0;
    pthread_mutex_unlock(&lock);
    return times;
}

static void put(int fd, const char *s, size_t n) {
    while (n) {
        ssize_t k = send(fd, s, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        s += k;
        n -= (size_t)k;
    }
}

static void reply(int fd, const char *status, const char *headers, const char *body) {
    char head[512];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", status,
                     strlen(body), headers);
    put(fd, head, (size_t)n);
    put(fd, body, strlen(body));
}

static void complain(int fd, const char *status, const char *headers, const char *message) {
    char body[512];
    snprintf(body, sizeof body, "{\"error\": {\"message\": \"%s\"}}", message);
    reply(fd, status, headers, body);
}

/* The completion out of the request's last message; "" when it is not as it should be. Owned. */
static char *completion_of(const char *body) {
    json_t *o = json_loads(body, 0, NULL), *list = json_object_get(o, "messages");
    const char *text = json_string_value(
        json_object_get(json_array_get(list, json_array_size(list) - 1), "content"));
    json_t *material = text ? json_loads(text, 0, NULL) : NULL;
    const char *c = json_string_value(json_object_get(material, "completion"));
    char *out = strdup(c ? c : "");
    json_decref(material);
    json_decref(o);
    return out;
}

static void answer(int fd, const char *content) {
    json_t *o = json_pack("{s:[{s:{s:s, s:s}}]}", "choices", "message", "role", "assistant",
                          "content", content);
    char *s = json_dumps(o, 0);
    reply(fd, "200 OK", "Content-Type: application/json\r\n", s);
    free(s);
    json_decref(o);
}

static const char *class_of(const char *text) {
    static const char *const names[] = {"Explicit", "Thematic", "Accidental"};
    for (size_t i = 0; i < 3; i++) {
        char mark[32];
        snprintf(mark, sizeof mark, "[%s]", names[i]);
        if (strstr(text, mark)) return names[i];
    }
    return "None";
}

static void good(int fd, const char *text, const char *format) {
    char content[256];
    snprintf(content, sizeof content, format, class_of(text));
    answer(fd, content);
}

#define PLAIN "{\"class\": \"%s\", \"reason\": \"because\"}"

static bool is(const char *path, const char *first) {
    size_t n = strlen(first);
    return path[0] == '/' && !strncmp(path + 1, first, n) && path[n + 1] == '/';
}

static void serve(int fd, const char *path, const char *key, const char *body, int times) {
    char *text = completion_of(body);
    bool refuse = strstr(text, "[Refuse]") != NULL;
    if (is(path, "later") && times == 0)
        complain(fd, "429 Too Many Requests", "Retry-After: 1\r\n", "slow down");
    else if (is(path, "month"))
        complain(fd, "429 Too Many Requests", "Retry-After: 2592000\r\n", "quota");
    else if (is(path, "busy") && times < 2)
        complain(fd, "503 Service Unavailable", "", "busy");
    else if (is(path, "down"))
        complain(fd, "500 Internal Server Error", "", "broken");
    else if (is(path, "nowhere"))
        complain(fd, "404 Not Found", "", "no such model");
    else if (is(path, "html"))
        reply(fd, "200 OK", "", "<html>Welcome</html>");
    else if (is(path, "garbage") && times == 0)
        answer(fd, "I would say Explicit.");
    else if (is(path, "nonsense"))
        answer(fd, "{\"class\": \"Maybe\", \"reason\": \"\"}");
    else if (is(path, "cut") && times == 0)
        put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"choi", 47);
    else if (is(path, "cold") && strstr(body, "\"temperature\""))
        complain(fd, "400 Bad Request", "", "Unsupported value: 'temperature'");
    else if (is(path, "key") && strcmp(key, "Bearer right") != 0)
        complain(fd, "401 Unauthorized", "", "Incorrect API key provided");
    else if (is(path, "partly") && refuse)
        complain(fd, "400 Bad Request", "", "content filter");
    else if (is(path, "fenced"))
        good(fd, text, "<think>\nHm {}\n</think>\n```json\n" PLAIN "\n```\n");
    else
        good(fd, text, PLAIN);
    free(text);
}

/* Reads a whole request; the body is inside buffer. False: the other side left. */
static bool read_request(int fd, char *buffer, char *path, char *key, char **body) {
    size_t n = 0, want = 0;
    char *end = NULL;
    while (n < MOST - 1 && (!end || n < want)) {
        ssize_t k = recv(fd, buffer + n, MOST - 1 - n, 0);
        if (k <= 0) return false;
        n += (size_t)k;
        buffer[n] = '\0';
        if (end || !(end = strstr(buffer, "\r\n\r\n"))) continue;
        char *length = strcasestr(buffer, "\r\nContent-Length:");
        want = (size_t)(end + 4 - buffer) + (length ? strtoul(length + 17, NULL, 10) : 0);
        char *a = strcasestr(buffer, "\r\nAuthorization:");
        if (a && a < end) sscanf(a + 16, " %199[^\r\n]", key);
        if (strcasestr(buffer, "\r\nExpect: 100-continue"))
            put(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    if (!end) return false;
    *body = end + 4;
    return sscanf(buffer, "%*s %255s", path) == 1;
}

static void *on_connection(void *user) {
    int fd = (int)(long)user;
    char *buffer = malloc(MOST), path[256] = "", key[200] = "", *body = NULL;
    if (buffer && read_request(fd, buffer, path, key, &body)) {
        int times = times_seen(path, body);
        pthread_mutex_lock(&lock);
        fprintf(log_file, "%s %d %s\n", path, ++under_way, key);
        fflush(log_file);
        pthread_mutex_unlock(&lock);
        if (is(path, "slow")) usleep(300000);
        if (is(path, "asleep")) usleep(3000000);
        pthread_mutex_lock(&lock);
        under_way--;
        pthread_mutex_unlock(&lock);
        serve(fd, path, key, body, times);
    }
    free(buffer);
    close(fd);
    return NULL;
}

int main(int argc, char **argv) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 3 || s < 0 || bind(s, (struct sockaddr *)&a, len) || listen(s, 64) ||
        getsockname(s, (struct sockaddr *)&a, &len) || !(log_file = fopen(argv[2], "w"))) {
        perror("stub_api PORT_FILE LOG_FILE");
        return 1;
    }
    char temp[4096];
    snprintf(temp, sizeof temp, "%s.part", argv[1]);
    FILE *port = fopen(temp, "w");
    if (!port || fprintf(port, "%d\n", ntohs(a.sin_port)) < 0 || fclose(port) ||
        rename(temp, argv[1])) {
        perror(argv[1]);
        return 1;
    }
    for (;;) {
        int fd = accept(s, NULL, NULL);
        pthread_t thread;
        if (fd < 0) continue;
        if (pthread_create(&thread, NULL, on_connection, (void *)(long)fd))
            close(fd);
        else
            pthread_detach(thread);
    }
}
