/* SPDX-License-Identifier: MIT
 *
 * Plots through gnuplot, a child process. Each is a script NAME.gp that stays beside its pictures.
 * gnuplot runs in the folder of the plots and is given names of ours alone, and every text in a
 * script is one that has no meaning to gnuplot: quotes, backslashes, backquotes and @ are replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/report_parts.h"

extern char **environ;

/* Only absolute folders of $PATH: never a program that lies where the results are. */
char *lethe_report_gnuplot(void) {
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        char *dir = NULL, *file = NULL;
        if (*path == '/' && !lethe_alloc(&dir, n + 1, 1, "a path", NULL)) {
            memcpy(dir, path, n);
            dir[n] = '\0';
            file = lethe_path_join(dir, "gnuplot");
        }
        lethe_free(dir);
        if (file && !access(file, X_OK) && !lethe_path_is_dir(file)) return file;
        lethe_free(file);
        path += n + (path[n] == ':');
    }
    return NULL;
}

/* ---- the child ------------------------------------------------------------------------------- */

/* What gnuplot says, without its newlines; read to the end, kept up to the size of text. */
static void read_all(int fd, char *text, size_t size) {
    size_t n = 0;
    char spill[512];
    for (;;) {
        ssize_t got =
            n + 1 < size ? read(fd, text + n, size - 1 - n) : read(fd, spill, sizeof spill);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (n + 1 < size) n += (size_t)got;
    }
    text[n] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
}

static lethe_status run_gnuplot(const char *gnuplot, const char *dir, const char *script,
                                lethe_err *err) {
    int fd[2];
    pid_t child;
    if (pipe2(fd, O_CLOEXEC))
        return lethe_fail_errno(err, LETHE_IO, "%s: no pipe for its messages", gnuplot);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fd[1], 1);
    posix_spawn_file_actions_adddup2(&actions, fd[1], 2);
    posix_spawn_file_actions_addchdir_np(&actions, dir);
    char *const argv[] = {(char *)(uintptr_t)gnuplot, (char *)(uintptr_t) "-d",
                          (char *)(uintptr_t)script, NULL};
    int failed = posix_spawn(&child, gnuplot, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fd[1]);
    char said[400] = "";
    if (!failed) read_all(fd[0], said, sizeof said);
    close(fd[0]);
    errno = failed;
    if (failed) return lethe_fail_errno(err, LETHE_FAIL, "%s: cannot be run", gnuplot);
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return lethe_fail_errno(err, LETHE_FAIL, "%s: lost", gnuplot);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return LETHE_OK;
    return lethe_fail(err, LETHE_FAIL, "%s/%s: gnuplot failed: %s", dir, script,
                      said[0] ? said : "it gave no reason");
}

/* ---- scripts --------------------------------------------------------------------------------- */

/* A quoted field of a data block. */
static void field(lethe_strbuf *out, const char *s, size_t n) {
    lethe_strbuf plain = {0};
    lethe_report_plain(&plain, s, n);
    for (size_t i = 0; i < plain.len; i++)
        if (strchr("\"'\\`@$", plain.data[i])) plain.data[i] = ' ';
    lethe_strbuf_addf(out, "\"%s\"", lethe_strbuf_str(&plain));
    if (plain.status) out->status = plain.status;
    lethe_strbuf_free(&plain);
}

static void fields(lethe_strbuf *out, const char *s) {
    field(out, s, strlen(s));
}

static void value(lethe_strbuf *out, const report_value *v) {
    lethe_strbuf_adds(out, " ");
    if (v->known)
        lethe_report_exact(out, v->v);
    else
        lethe_strbuf_adds(out, "NaN");
}

#define STYLE                                                                                   \
    "set encoding utf8\nset termoption noenhanced\nset border 3 lc rgb '#5a676d'\n"             \
    "set tics nomirror textcolor rgb '#1d282d'\nset grid y lc rgb '#dfdbd1'\n"                  \
    "set style fill solid 1 noborder\nset boxwidth 0.9\nset key outside top center horizontal " \
    "noautotitle\nBEFORE = '#aab7bc'\nAFTER = '#0f6f78'\n"

/* Every format with one text of commands; a picture gets its name when it is whole. */
static lethe_status make(const char *gnuplot, const char *dir, const char *name,
                         const lethe_strbuf *body, size_t *files, lethe_err *err) {
    static const char *const endings[] = {"png", "svg", "pdf"};
    static const char *const terminals[] = {
        "pngcairo noenhanced size 1600,1000 fontscale 1.8 linewidth 2 font 'sans'",
        "svg noenhanced size 800,500 font 'sans,14' background '#ffffff'",
        "pdfcairo noenhanced size 16cm,10cm font 'sans,11'"};
    lethe_strbuf text = {0};
    char script[64];
    snprintf(script, sizeof script, "%s.gp", name);
    for (int i = 0; i < 3; i++)
        lethe_strbuf_addf(&text, "%sset terminal %s\nset output '%s.%s.part'\n%sunset output\n",
                          i ? "reset\n" : "", terminals[i], name, endings[i],
                          lethe_strbuf_str(body));
    char *path = lethe_path_join(dir, script);
    lethe_status st = text.status || body->status || !path
                          ? lethe_fail(err, LETHE_NOMEM, "out of memory: a plot")
                          : lethe_write_file(path, lethe_strbuf_str(&text), text.len, err);
    lethe_free(path);
    lethe_strbuf_free(&text);
    if (!st) st = run_gnuplot(gnuplot, dir, script, err);
    for (int i = 0; i < 3; i++) {
        char part[64], whole[64];
        snprintf(part, sizeof part, "%s.%s.part", name, endings[i]);
        snprintf(whole, sizeof whole, "%s.%s", name, endings[i]);
        char *from = lethe_path_join(dir, part), *to = lethe_path_join(dir, whole);
        if (!from || !to)
            st = lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
        else if (st)
            unlink(from);
        else if (rename(from, to))
            st = lethe_fail_errno(err, LETHE_IO, "%s: gnuplot left no picture", to);
        lethe_free(from);
        lethe_free(to);
    }
    *files += st ? 0 : 4;
    return st;
}

static bool logprobs(const lethe_report *r, lethe_strbuf *b) {
    if (!r->n_domains) return false;
    lethe_strbuf_adds(b, "$data << EOD\n");
    for (size_t i = 0; i < r->n_domains; i++) {
        fields(b, r->domain[i].title);
        value(b, &r->domain[i].logprob[REPORT_BEFORE]);
        value(b, &r->domain[i].logprob[REPORT_AFTER]);
        lethe_strbuf_adds(b, "\n");
    }
    lethe_strbuf_adds(b, "EOD\n" STYLE "set title 'Log-probability of the right answer by domain'\n"
                         "set ylabel 'nats a token'\nset style data histogram\n"
                         "set style histogram clustered gap 1\nset yrange [*:0]\n"
                         "plot $data using 2:xtic(1) title 'before' lc rgb BEFORE, "
                         "'' using 3 title 'after' lc rgb AFTER\n");
    return true;
}

static bool shifts(const lethe_report *r, lethe_strbuf *b) {
    bool any = false;
    lethe_strbuf_adds(b, "$data << EOD\n");
    for (size_t i = r->n_domains; i-- > 0;) { /* the first domain on top */
        if (!r->domain[i].logprob[REPORT_SHIFT].known) continue;
        fields(b, r->domain[i].title);
        value(b, &r->domain[i].logprob[REPORT_SHIFT]);
        lethe_strbuf_adds(b, "\n");
        any = true;
    }
    lethe_strbuf_adds(b,
                      "EOD\n" STYLE "set title 'Shift of the log-probability, after less before'\n"
                      "set xlabel 'nats a token'\nset grid x noy lc rgb '#dfdbd1'\n"
                      "set yrange [-0.6:]\nset offsets 0,0,0.4,0.4\n"
                      "set arrow from 0, graph 0 to 0, graph 1 nohead lc rgb '#1d282d'\n"
                      "plot $data using (0):0:(0):2:($0-0.35):($0+0.35):ytic(1) with boxxyerror "
                      "lc rgb AFTER\n");
    return any;
}

static bool judges(const lethe_report *r, lethe_strbuf *b) {
    json_t *list = lethe_report_judges(r), *judge = json_array_get(list, 0);
    bool any = false;
    lethe_strbuf_adds(b, "$data << EOD\n");
    for (int c = 0; c < 4; c++) {
        double before = lethe_report_judged(judge, false, lethe_report_classes[c]),
               after = lethe_report_judged(judge, true, lethe_report_classes[c]);
        any |= before >= 0 || after >= 0;
        lethe_strbuf_addf(b, "\"%s\" %.17g %.17g\n", lethe_report_classes[c],
                          before < 0 ? NAN : before, after < 0 ? NAN : after);
    }
    lethe_strbuf_adds(b,
                      "EOD\n" STYLE "set title 'Completions by class'\nset ylabel 'completions'\n"
                      "set style data histogram\nset style histogram clustered gap 1\n"
                      "set yrange [0:*]\nplot $data using 2:xtic(1) title 'before' lc rgb "
                      "BEFORE, '' using 3 title 'after' lc rgb AFTER\n");
    json_decref(list);
    return any;
}

static bool general(const lethe_report *r, lethe_strbuf *b) {
    if (!r->perplexity[0].known && !r->distinct_3[0].known && !r->degeneration[0].known)
        return false;
    lethe_strbuf_adds(b, "$ppl << EOD\n\"before\"");
    value(b, &r->perplexity[0]);
    lethe_strbuf_adds(b, "\n\"after\"");
    value(b, &r->perplexity[1]);
    lethe_strbuf_adds(b, "\nEOD\n$quality << EOD\n\"distinct 3-grams\"");
    value(b, &r->distinct_3[0]);
    value(b, &r->distinct_3[1]);
    lethe_strbuf_adds(b, "\n\"degenerate\"");
    value(b, &r->degeneration[0]);
    value(b, &r->degeneration[1]);
    lethe_strbuf_adds(b, "\nEOD\n" STYLE "set multiplot layout 1,2\nset yrange [0:*]\n");
    if (r->perplexity[0].known)
        lethe_strbuf_adds(b,
                          "set title 'Perplexity of ordinary text'\nset xrange [-0.7:1.7]\n"
                          "plot $ppl every ::0::0 using 0:2:xtic(1) with boxes lc rgb BEFORE, '' "
                          "every ::1::1 using (1):2:xtic(1) with boxes lc rgb AFTER\n");
    if (r->distinct_3[0].known || r->degeneration[0].known)
        lethe_strbuf_adds(b, "set title 'Quality of completions'\nset autoscale x\n"
                             "set style data histogram\nset style histogram clustered gap 1\n"
                             "plot $quality using 2:xtic(1) title 'before' lc rgb BEFORE, '' using "
                             "3 title 'after' lc rgb AFTER\n");
    lethe_strbuf_adds(b, "unset multiplot\n");
    return true;
}

static bool front(const lethe_report *r, lethe_strbuf *b) {
    size_t i, n = 0;
    json_t *t;
    lethe_strbuf_adds(b, "$data << EOD\n");
    json_array_foreach(json_object_get(r->tune, "trials"), i, t) {
        const json_t *x = json_object_get(t, "damage"), *y = json_object_get(t, "forget");
        if (!json_is_number(x) || !json_is_number(y)) continue;
        lethe_report_exact(b, json_number_value(x));
        lethe_strbuf_adds(b, " ");
        lethe_report_exact(b, json_number_value(y));
        lethe_strbuf_addf(b, " %d\n", json_is_true(json_object_get(t, "front")));
        n++;
    }
    lethe_strbuf_adds(
        b, "EOD\n" STYLE "set title 'Forgetting against damage'\nset xlabel 'damage'\nset ylabel "
           "'forget'\nset grid x y lc rgb '#dfdbd1'\nset offsets graph 0.03, graph "
           "0.03, graph 0.03, graph 0.03\n"
           "plot $data using 1:2 title 'a trial' with points pt 7 ps 0.7 lc rgb "
           "BEFORE, '' using 1:($3==1?$2:NaN) title 'the front' with points pt 7 ps 1 "
           "lc rgb AFTER\n");
    return n > 0;
}

lethe_status lethe_report_plots(const lethe_report *r, const char *gnuplot, const char *dir,
                                const lethe_env *env, size_t *files, lethe_err *err) {
    static const struct {
        const char *name;
        bool (*script)(const lethe_report *r, lethe_strbuf *b); /* false: nothing to plot */
    } plots[] = {{"logprobs", logprobs},
                 {"logprob_shifts", shifts},
                 {"judges", judges},
                 {"general", general},
                 {"pareto", front}};
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) {
        lethe_strbuf body = {0};
        lethe_status st = LETHE_OK;
        if (plots[i].script(r, &body)) {
            lethe_log(env, LETHE_LOG_DEBUG, "plotting %s", plots[i].name);
            st = make(gnuplot, dir, plots[i].name, &body, files, err);
        }
        lethe_strbuf_free(&body);
        if (st) return st;
    }
    return LETHE_OK;
}
