/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "front/command.h"

#define LOG_EVERY 10.0 /* seconds between lines when standard error is no terminal */
#define BAR_EVERY 0.1

struct lethe_screen {
    bool terminal, quiet, verbose;
    char stage[32];
    double started, shown, start_done;
    bool bar; /* a bar is on the current line */
};

static void clear_bar(lethe_screen *s) {
    if (s->bar) fputs("\r\033[K", stderr);
    s->bar = false;
}

static void on_log(void *user, lethe_log_level level, const char *text) {
    lethe_screen *s = user;
    if (level == LETHE_LOG_DEBUG && !s->verbose) return;
    if (level == LETHE_LOG_INFO && s->quiet) return;
    clear_bar(s);
    const char *mark = level == LETHE_LOG_ERROR  ? "error: "
                       : level == LETHE_LOG_WARN ? "warning: "
                                                 : "";
    fprintf(stderr, "lethe: %s%s\n", mark, text);
}

static void duration(double seconds, char out[32]) {
    unsigned t = seconds < 0 ? 0 : seconds > 3.6e8 ? 360000000u : (unsigned)(seconds + 0.5);
    if (t < 60)
        snprintf(out, 32, "%us", t);
    else if (t < 3600)
        snprintf(out, 32, "%um%02us", t / 60, t % 60);
    else
        snprintf(out, 32, "%uh%02um", t / 3600, t / 60 % 60);
}

static size_t columns(void) {
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

/* "train    412/732 steps  56%  [#####     ]  3s left  loss .." */
static void line_of(const lethe_screen *s, const lethe_progress *p, double now, char *out,
                    size_t size, bool bar) {
    char left[32] = "", filled[24] = "";
    double share = p->total > 0 ? p->done / p->total : 0, run = now - s->started;
    if (share > 1) share = 1;
    if (p->finished)
        duration(run, left);
    else if (p->done > s->start_done && p->total > p->done)
        duration(run * (p->total - p->done) / (p->done - s->start_done), left);
    if (bar && p->total > 0) {
        size_t n = (size_t)(share * 20);
        filled[0] = '[';
        for (size_t i = 0; i < 20; i++) filled[1 + i] = i < n ? '#' : ' ';
        filled[21] = ']';
    }
    if (p->total > 0)
        snprintf(out, size, "%-9s %s %3.0f%%  %.0f/%.0f %s  %s%s  %s", p->stage, filled,
                 100 * share, p->done, p->total, p->unit, left,
                 p->finished ? ""
                 : left[0]   ? " left"
                             : "",
                 p->detail);
    else
        snprintf(out, size, "%-9s %.0f %s  %s", p->stage, p->done, p->unit, p->detail);
}

static void on_progress(void *user, const lethe_progress *p) {
    lethe_screen *s = user;
    if (s->quiet) return;
    double now = lethe_seconds();
    if (strcmp(s->stage, p->stage)) {
        snprintf(s->stage, sizeof s->stage, "%s", p->stage);
        s->started = now;
        s->start_done = p->done;
        s->shown = s->terminal ? 0 : now;
    }
    if (!p->finished && now - s->shown < (s->terminal ? BAR_EVERY : LOG_EVERY)) return;
    s->shown = now;
    char text[512];
    line_of(s, p, now, text, sizeof text, s->terminal);
    if (!s->terminal) {
        fprintf(stderr, "%s\n", text);
    } else {
        size_t most = columns() - 1;
        if (most < sizeof text) text[most] = '\0';
        fprintf(stderr, "\r\033[K%s%s", text, p->finished ? "\n" : "");
        s->bar = !p->finished;
        fflush(stderr);
    }
    if (p->finished) s->stage[0] = '\0';
}

lethe_screen *lethe_screen_open(const lethe_config *c, lethe_env *env) {
    lethe_screen *s;
    if (lethe_zalloc(&s, 1, sizeof *s, "the screen", NULL)) return NULL;
    s->terminal = isatty(STDERR_FILENO) == 1;
    s->quiet = c->quiet;
    s->verbose = c->verbose;
    *env = (lethe_env){.log = on_log, .progress = on_progress, .user = s};
    return s;
}

void lethe_screen_close(lethe_screen **sp) {
    if (!*sp) return;
    clear_bar(*sp);
    lethe_free(*sp);
    *sp = NULL;
}
