/* SPDX-License-Identifier: MIT */
#include "base/run.h"

#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
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

static int g_threads;

void lethe_threads_set(int n) {
    if (n <= 0) {
        cpu_set_t set;
        n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                        : (int)sysconf(_SC_NPROCESSORS_ONLN);
        if (n < 1) n = 1;
    }
    g_threads = n;
    omp_set_num_threads(n);
}

int lethe_threads(void) {
    if (!g_threads) lethe_threads_set(0);
    return g_threads;
}
