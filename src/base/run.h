/* SPDX-License-Identifier: MIT
 *
 * What a long-running piece of work needs from its surroundings: a place to report progress and
 * diagnostics, a way to be stopped, a clock. The library only calls these; src/front decides what
 * becomes of them (a bar on a terminal, a line in a log, nothing).
 */
#ifndef LETHE_BASE_RUN_H
#define LETHE_BASE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lethe_log_level {
    LETHE_LOG_ERROR,
    LETHE_LOG_WARN,
    LETHE_LOG_INFO,
    LETHE_LOG_DEBUG
} lethe_log_level;

/* A snapshot of a piece of work. Strings are borrowed for the call. */
typedef struct lethe_progress {
    const char *stage;  /* "harvest", "train", ... */
    double done, total; /* in `unit`; total 0: not known */
    const char *unit;   /* "tokens" */
    const char *detail; /* further figures, "loss 0.012  FVU 0.10", or "" */
    bool finished;      /* the last call of this stage */
} lethe_progress;

typedef struct lethe_env {
    void (*log)(void *user, lethe_log_level level, const char *text);
    void (*progress)(void *user, const lethe_progress *p);
    void *user;
} lethe_env;

/* All accept env == NULL (silence). Thread rule: call from one thread at a time. */
void lethe_log(const lethe_env *env, lethe_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void lethe_report_progress(const lethe_env *env, const lethe_progress *p);

/* A process-wide request to stop, set by a signal handler (async-signal-safe), asked by loops. */
void lethe_stop_request(void);
bool lethe_stop_requested(void);
void lethe_stop_clear(void);

double lethe_seconds(void);       /* monotonic */
void lethe_sleep(double seconds); /* less when a signal comes */

/* Threads for our own loops (OpenMP) and for libllama: 0 asks for the number of usable cores. */
void lethe_threads_set(int n);
int lethe_threads(void);

#endif
