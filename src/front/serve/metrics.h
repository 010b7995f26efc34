/* SPDX-License-Identifier: MIT
 *
 * Figures of a running server, for Prometheus. Counters are atomic: any thread may count.
 */
#ifndef LETHE_SERVE_METRICS_H
#define LETHE_SERVE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

#define LETHE_METRIC_BUCKETS 12

typedef struct lethe_histogram { /* of seconds */
    _Atomic uint64_t bucket[LETHE_METRIC_BUCKETS + 1], sum_us;
} lethe_histogram;

typedef struct lethe_metrics {                           /* zeroed: nothing yet */
    _Atomic uint64_t status[600];                        /* replies by HTTP status */
    _Atomic uint64_t prompt[2], cached[2], generated[2]; /* tokens; [1]: forgetting */
    _Atomic uint64_t answers[2];
    _Atomic uint64_t fired;   /* tokens on which a removed feature fired */
    _Atomic uint64_t hangups; /* clients that left before their answer was over */
    _Atomic uint64_t steps, step_us;
    _Atomic uint64_t queued, busy, connections; /* now */
    uint64_t slots;
    lethe_histogram first_token, whole;
} lethe_metrics;

void lethe_metrics_status(lethe_metrics *m, unsigned status);
void lethe_histogram_add(lethe_histogram *h, double seconds);

/* The text format, version 0.0.4. */
void lethe_metrics_text(const lethe_metrics *m, lethe_strbuf *out);

#endif
