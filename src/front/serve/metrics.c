/* SPDX-License-Identifier: MIT
 *
 * Source of the format: "Exposition formats", prometheus.io/docs/instrumenting/exposition_formats.
 */
#include "front/serve/metrics.h"

#include <inttypes.h>

static const double bucket[LETHE_METRIC_BUCKETS] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                    1,    2.5,   5,    10,  30,   120};

void lethe_metrics_status(lethe_metrics *m, unsigned status) {
    if (status < sizeof m->status / sizeof *m->status) atomic_fetch_add(&m->status[status], 1);
}

void lethe_histogram_add(lethe_histogram *h, double seconds) {
    size_t i = 0;
    while (i < LETHE_METRIC_BUCKETS && seconds > bucket[i]) i++;
    atomic_fetch_add(&h->bucket[i], 1);
    atomic_fetch_add(&h->sum_us, (uint64_t)(seconds * 1e6));
}

static void head(lethe_strbuf *out, const char *name, const char *type, const char *help) {
    lethe_strbuf_addf(out, "# HELP lethe_%s %s\n# TYPE lethe_%s %s\n", name, help, name, type);
}

static void one(lethe_strbuf *out, const char *name, const char *type, const char *help,
                uint64_t v) {
    head(out, name, type, help);
    lethe_strbuf_addf(out, "lethe_%s %" PRIu64 "\n", name, v);
}

static void two(lethe_strbuf *out, const char *name, const char *help,
                const _Atomic uint64_t v[2]) {
    head(out, name, "counter", help);
    for (int on = 0; on < 2; on++)
        lethe_strbuf_addf(out, "lethe_%s{forget=\"%s\"} %" PRIu64 "\n", name, on ? "on" : "off",
                          atomic_load(&v[on]));
}

static void histogram(lethe_strbuf *out, const char *name, const char *help,
                      const lethe_histogram *h) {
    head(out, name, "histogram", help);
    uint64_t n = 0;
    for (size_t i = 0; i < LETHE_METRIC_BUCKETS; i++) {
        n += atomic_load(&h->bucket[i]);
        lethe_strbuf_addf(out, "lethe_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bucket[i], n);
    }
    n += atomic_load(&h->bucket[LETHE_METRIC_BUCKETS]);
    lethe_strbuf_addf(out,
                      "lethe_%s_bucket{le=\"+Inf\"} %" PRIu64 "\nlethe_%s_sum %.6f\nlethe_%s_count "
                      "%" PRIu64 "\n",
                      name, n, name, (double)atomic_load(&h->sum_us) / 1e6, name, n);
}

void lethe_metrics_text(const lethe_metrics *m, lethe_strbuf *out) {
    head(out, "requests_total", "counter", "Replies, by HTTP status.");
    for (unsigned i = 0; i < sizeof m->status / sizeof *m->status; i++)
        if (atomic_load(&m->status[i]))
            lethe_strbuf_addf(out, "lethe_requests_total{code=\"%u\"} %" PRIu64 "\n", i,
                              atomic_load(&m->status[i]));
    two(out, "answers_total", "Answers that ended.", m->answers);
    two(out, "prompt_tokens_total", "Tokens of prompts.", m->prompt);
    two(out, "cached_tokens_total", "Tokens of prompts that were in a slot already.", m->cached);
    two(out, "generated_tokens_total", "Tokens of answers.", m->generated);
    one(out, "fired_tokens_total", "counter", "Tokens on which a removed feature fired.",
        atomic_load(&m->fired));
    one(out, "hangups_total", "counter", "Clients that left before their answer was over.",
        atomic_load(&m->hangups));
    one(out, "decode_calls_total", "counter", "Decode calls of the model.", atomic_load(&m->steps));
    head(out, "decode_seconds_total", "counter", "Time in decode calls.");
    lethe_strbuf_addf(out, "lethe_decode_seconds_total %.6f\n",
                      (double)atomic_load(&m->step_us) / 1e6);
    one(out, "queue_length", "gauge", "Requests that wait for a slot.", atomic_load(&m->queued));
    one(out, "slots_busy", "gauge", "Slots that answer.", atomic_load(&m->busy));
    one(out, "slots", "gauge", "Slots there are.", m->slots);
    one(out, "connections", "gauge", "Open connections.", atomic_load(&m->connections));
    histogram(out, "first_token_seconds", "From the request to its first token.", &m->first_token);
    histogram(out, "answer_seconds", "From the request to the end of its last answer.", &m->whole);
}
