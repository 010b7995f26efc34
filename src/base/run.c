/* SPDX-License-Identifier: MIT */
#include "base/run.h"

#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void lethe_log(const lethe_env *env, lethe_log_level level, const char *fmt, ...) {
    if (!env || !env->log) return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    env->log(env->user, level, text);
}

void lethe_report_progress(const lethe_env *env, const lethe_progress *p) {
    if (env && env->progress) env->progress(env->user, p);
}

static volatile sig_atomic_t g_stop;

void lethe_stop_request(void) {
    g_stop = 1;
}
bool lethe_stop_requested(void) {
    return g_stop != 0;
}
void lethe_stop_clear(void) {
    g_stop = 0;
}

double lethe_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void lethe_sleep(double seconds) {
    if (!(seconds > 0)) return;
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
    nanosleep(&t, NULL);
}

static atomic_int g_threads;

static int processors(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                        : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n;
}

void lethe_threads_set(int n) {
    if (n <= 0) n = processors();
    g_threads = n;
    omp_set_num_threads(n);
}

/* Until somebody sets it, nothing of the process is changed: it may be another program's. */
int lethe_threads(void) {
    if (!g_threads) g_threads = processors();
    return g_threads;
}
