/* SPDX-License-Identifier: MIT
 *
 * libllama's log is one callback a process; ours hands each message to the lm at work in the same
 * thread, so several may live side by side.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lm_internal.h"

static _Thread_local const lethe_env *current;
static _Thread_local char errors[600]; /* the last error lines, "; " between them */
static _Thread_local enum ggml_log_level last_level;

static void keep_error(const char *line) {
    size_t len = strlen(errors), add = strlen(line) + 2;
    if (len + add >= sizeof errors) { /* the later lines say more about the end */
        len = 0;
        errors[0] = '\0';
    }
    snprintf(errors + len, sizeof errors - len, "%s%s", len ? "; " : "", line);
}

static void on_log(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level == GGML_LOG_LEVEL_CONT) level = last_level;
    last_level = level;
    char line[400];
    snprintf(line, sizeof line, "%s", text);
    line[strcspn(line, "\n")] = '\0';
    if (!line[0] || !strcmp(line, ".")) return; /* a progress dot */
    if (level == GGML_LOG_LEVEL_ERROR) keep_error(line);
    if (current) lethe_log(current, LETHE_LOG_DEBUG, "libllama: %s", line);
}

static void start(void) {
    llama_log_set(on_log, NULL);
    llama_backend_init();
}

void lethe_lm_log_enter(const lethe_env *env) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    current = env;
    errors[0] = '\0';
    pthread_once(&once, start);
}

void lethe_lm_log_leave(void) {
    current = NULL;
}

const char *lethe_lm_log_errors(void) {
    return errors;
}
