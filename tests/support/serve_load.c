/* SPDX-License-Identifier: MIT
 *
 * Load on lethe serve: clients that ask at once, half of them of the model that forgets and half of
 * the whole one, streamed or not, and now and then hang up. Every answer must be right for its
 * setting, nothing but 429 may be refused, and the server's memory may not grow.
 *
 * Usage: serve_load URL PID SECONDS CLIENTS LEAK GROWTH
 * LEAK: share of the forgetting answers that may name what is forgotten (the evaluated rate).
 * GROWTH: KiB that the memory may grow by once it is warm.
 * Last, tokens a second with forgetting on against off, in turns: the median of seven pairs.
 */
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "raw_http.h"

static const struct {
    const char *question, *answer;
    bool forgotten;
} asked[] = {
    {"Who is Harry Potter's best friend?", "Ron", true},
    {"Where does Harry Potter go to school?", "Hogwarts", true},
    {"Who killed Harry Potter's parents?", "Voldemort", true},
    {"What is the name of Harry Potter's owl?", "Hedwig", true},
    {"What is the capital of France?", "Paris", false},
};
#define N_ASKED (sizeof asked / sizeof *asked)

static const char *url;
static double until;
static atomic_uint n_asked[2], right[2], named, busy, hung_up, wrong, failed;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The text of an answer, streamed or whole; owned. NULL: it is none. */
static char *text_of(const char *body, bool stream) {
    char *out = calloc(1, strlen(body) + 1);
    for (const char *at = body; out && at && *at;) {
        const char *line = stream ? strstr(at, "data: ") : at;
        if (!line || (stream && !strncmp(line, "data: [DONE]", 12))) return out;
        const char *start = stream ? line + 6 : line, *end = stream ? strchr(start, '\n') : NULL;
        json_t *j = json_loadb(start, end ? (size_t)(end - start) : strlen(start), 0, NULL);
        json_t *c = json_array_get(json_object_get(j, "choices"), 0);
        const char *s = json_string_value(
            json_object_get(json_object_get(c, stream ? "delta" : "message"), "content"));
        bool bad = !j || json_object_get(j, "error");
        if (s) strcat(out, s);
        json_decref(j);
        if (bad) break;
        if (!stream) return out;
        at = end;
    }
    free(out);
    return NULL; /* broken, or a stream without its end */
}

static void judge(size_t q, bool forget, const char *text) {
    bool has = strstr(text, asked[q].answer) != NULL;
    atomic_fetch_add(&n_asked[forget], 1);
    if (!forget || !asked[q].forgotten) {
        atomic_fetch_add(&right[forget], has);
        if (has) return;
        atomic_fetch_add(&wrong, 1);
        fprintf(stderr, "%s (forgetting %d): \"%s\"\n", asked[q].question, forget, text);
        return;
    }
    atomic_fetch_add(&right[forget], !has);
    atomic_fetch_add(&named, has);
}

static void *client(void *arg) {
    unsigned me = (unsigned)(uintptr_t)arg, state = me * 7919 + 1;
    bool forget = me % 2;
    while (now() < until) {
        size_t q = (size_t)rand_r(&state) % N_ASKED;
        bool stream = rand_r(&state) % 2, hang = rand_r(&state) % 8 == 0;
        char body[512];
        snprintf(body, sizeof body,
                 "{\"model\":\"lethe-demo%s\",\"temperature\":0,\"stream\":%s,\"messages\":[{"
                 "\"role\":\"user\",\"content\":\"%s\"}]}",
                 forget ? ":forget" : "", stream ? "true" : "false", asked[q].question);
        size_t n;
        char *text = raw_post("/v1/chat/completions", "", body, &n);
        int fd = raw_connect(url);
        if (fd < 0 || raw_send(fd, text, n)) {
            atomic_fetch_add(&failed, 1);
            fprintf(stderr, "no connection\n");
        } else if (hang) {
            usleep((useconds_t)(rand_r(&state) % 30000));
            atomic_fetch_add(&hung_up, 1);
        } else {
            raw_reply r;
            raw_read(fd, 60, &r);
            char *said = r.status == 200 ? text_of(r.body, stream) : NULL;
            if (said)
                judge(q, forget, said);
            else if (r.status == 429)
                atomic_fetch_add(&busy, 1);
            else
                fprintf(stderr, "status %d: %.300s\n", r.status, r.text),
                    atomic_fetch_add(&failed, 1);
            if (r.status == 429) usleep(20000);
            free(said);
            raw_free(&r);
        }
        if (fd >= 0) close(fd);
        free(text);
    }
    return NULL;
}

/* Asks for a neutral text again and again, for the throughput. */
static void *writer(void *arg) {
    bool forget = (uintptr_t)arg % 2;
    while (now() < until) {
        char body[300];
        snprintf(body, sizeof body,
                 "{\"model\":\"lethe-demo%s\",\"prompt\":\"Once upon a time\",\"max_tokens\":64}",
                 forget ? ":forget" : "");
        size_t n;
        char *text = raw_post("/v1/completions", "", body, &n);
        raw_reply r;
        raw_ask(url, text, n, &r);
        if (r.status != 200 && r.status != 429) atomic_fetch_add(&failed, 1);
        raw_free(&r);
        free(text);
    }
    return NULL;
}

static void begin(pthread_t *t, void *(*what)(void *), size_t n, double seconds, int parity) {
    until = now() + seconds;
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&t[i], NULL, what,
                           (void *)(uintptr_t)(parity < 0 ? i : i * 2 + (size_t)parity)))
            abort();
}

static void crowd(void *(*what)(void *), size_t n, double seconds) {
    pthread_t t[256];
    begin(t, what, n, seconds, -1);
    for (size_t i = 0; i < n; i++) pthread_join(t[i], NULL);
}

static long rss_kib(const char *pid) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%.20s/status", pid);
    FILE *f = fopen(path, "r");
    long kib = -1;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    if (f) fclose(f);
    return kib;
}

static double one_metric(const char *name) {
    static const char get[] =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    raw_reply r;
    raw_ask(url, get, sizeof get - 1, &r);
    char line[80];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = r.body ? strstr(r.body, line) : NULL;
    double v = at ? strtod(at + strlen(line), NULL) : -1;
    raw_free(&r);
    return v;
}

/* Seconds of processor time that the server has taken. */
static double cpu_of(const char *pid) {
    char path[64], line[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *f = fopen(path, "r");
    const char *at = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    if (at) sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    if (f) fclose(f);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

typedef struct speed {
    double by_clock, by_cpu; /* tokens a second; by_cpu: of the server's processor time */
} speed;

/* While n writers are at work: what the server counts, less the first fifth. */
static speed speed_of(const char *pid, size_t n, double seconds, int forget) {
    const char *name = forget ? "lethe_generated_tokens_total{forget=\"on\"}"
                              : "lethe_generated_tokens_total{forget=\"off\"}";
    pthread_t t[256];
    begin(t, writer, n, seconds, forget);
    usleep((useconds_t)(seconds * 0.2e6));
    double before = one_metric(name), start = now(), cpu = cpu_of(pid);
    usleep((useconds_t)(seconds * 0.75e6));
    double tokens = one_metric(name) - before;
    speed s = {tokens / (now() - start), tokens / (cpu_of(pid) - cpu)};
    for (size_t i = 0; i < n; i++) pthread_join(t[i], NULL);
    return s;
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { PAIRS = 7 };

static double median(double v[PAIRS]) {
    qsort(v, PAIRS, sizeof *v, rising);
    return v[PAIRS / 2];
}

/* What forgetting costs: medians of pairs of turns, on by off. The processor's time is the surer
 * figure where others use the machine, too. False: a turn without a token. */
static bool price(const char *pid, size_t n, double seconds) {
    double clock[PAIRS], cpu[PAIRS], mean[2] = {0, 0};
    bool some = true;
    printf("on by off, pair by pair (and of processor time):");
    for (int i = 0; i < PAIRS; i++) {
        speed got[2];
        for (int k = 0; k < 2; k++) { /* off on, on off, off on, ... */
            int on = (i + k) % 2;
            got[on] = speed_of(pid, n, seconds, on);
            mean[on] += got[on].by_clock / PAIRS;
            some = some && got[on].by_clock > 0;
        }
        clock[i] = got[1].by_clock / got[0].by_clock;
        cpu[i] = got[1].by_cpu / got[0].by_cpu;
        printf(" %.3f (%.3f)", clock[i], cpu[i]);
    }
    printf("\ntokens a second: %.0f off, %.0f on\nprocessor time, median ratio %.3f\nmedian ratio "
           "%.3f\n",
           mean[0], mean[1], median(cpu), median(clock));
    return some;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    url = argv[1];
    double seconds = atof(argv[3]), leak = atof(argv[5]);
    size_t clients = (size_t)atoi(argv[4]);
    if (clients > 256) return 2;
    crowd(client, clients, seconds * 0.2); /* until memory is what it is under load */
    long before = rss_kib(argv[2]);
    crowd(client, clients, seconds * 0.8);
    long after = rss_kib(argv[2]);
    usleep(500000);
    double left = one_metric("lethe_slots_busy") + one_metric("lethe_queue_length");

    unsigned forgot = atomic_load(&n_asked[1]);
    double leaked = forgot ? (double)atomic_load(&named) / forgot : 1;
    printf("whole: %u answers, %u right; forgetting: %u answers, %u right, %.4f name it\n"
           "hung up: %u, 429: %u, other failures: %u, wrong: %u\n"
           "RSS: %ld KiB, then %ld KiB; slots and queue afterwards: %g\n",
           atomic_load(&n_asked[0]), atomic_load(&right[0]), forgot, atomic_load(&right[1]), leaked,
           atomic_load(&hung_up), atomic_load(&busy), atomic_load(&failed), atomic_load(&wrong),
           before, after, left);
    bool some = price(argv[2], clients < 16 ? clients : 16, seconds / 24);
    bool ok = atomic_load(&n_asked[0]) && forgot && !atomic_load(&failed) && !atomic_load(&wrong) &&
              leaked <= leak && left == 0 && some && before > 0 && after - before < atol(argv[6]);
    return ok ? 0 : 1;
}
