/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "front/prepare.h"
#include "stage/report.h"

/* Where to write: --out, else the run, else the folder of the file. */
static lethe_status out_dir(const lethe_config *c, const char *from, char **out, lethe_err *err) {
    if (c->out) {
        *out = lethe_strdup(c->out);
    } else if (lethe_path_is_dir(from)) {
        *out = lethe_strdup(from);
    } else {
        const char *slash = strrchr(from, '/');
        *out = lethe_strdup(slash ? from : ".");
        if (*out && slash) (*out)[slash - from + (slash == from)] = '\0';
    }
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

static lethe_status print(const lethe_invocation *in, const lethe_report *r, const char *dir,
                          const lethe_report_written *w, lethe_err *err) {
    if (in->config.json) {
        json_t *j = lethe_report_json(r);
        if (!j) return lethe_fail(err, LETHE_NOMEM, "out of memory for the result");
        json_object_set_new(j, "out", json_string(dir));
        json_object_set_new(j, "files", json_integer((json_int_t)w->files));
        return lethe_print_json(j, err);
    }
    lethe_strbuf text = {0};
    lethe_report_summary(r, &text);
    printf("%s\n", lethe_strbuf_str(&text));
    lethe_strbuf_free(&text);
    if (w->formats & LETHE_REPORT_HTML) printf("%s/report.html   the page\n", dir);
    if (w->formats & LETHE_REPORT_PLOTS) printf("%s/plots/        PNG, SVG and PDF\n", dir);
    if (w->formats & (LETHE_REPORT_LATEX | LETHE_REPORT_CSV | LETHE_REPORT_TEXT))
        printf("%s/tables/       LaTeX, CSV, text\n", dir);
    return LETHE_OK;
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    unsigned formats, asked;
    LETHE_TRY(lethe_report_formats(c->format, &formats, &asked, err));
    if (!c->from && !c->out) LETHE_TRY(lethe_default_out(in, err));
    const char *from = c->from ? c->from : c->out;
    lethe_report *r = NULL;
    char *dir = NULL;
    lethe_report_written written = {0};
    lethe_status st = lethe_report_open(&r, from, LETHE_VERSION, err);
    if (!st) st = out_dir(c, from, &dir, err);
    if (!st) st = lethe_report_write(r, dir, formats, asked, in->env, &written, err);
    if (!st && written.note[0]) lethe_log(in->env, LETHE_LOG_WARN, "%s", written.note);
    if (!st) st = print(in, r, dir, &written, err);
    lethe_report_close(&r);
    lethe_free(dir);
    return st;
}

const lethe_cmd lethe_cmd_report = {
    .name = "report",
    .brief = "a page, plots and tables: what was forgotten, and at what cost",
    .usage = "usage: lethe report [DIR|FILE.json] [--format LIST] [--out DIR]",
    .about =
        "Turns the results of a run into report.html, one file that needs nothing else, and into\n"
        "plots (with gnuplot), LaTeX tables, CSV and a text summary. Reads the results of the\n"
        "reference experiment (unified_eval_results.json) as well. Needs no model.",
    .examples = "  lethe report\n"
                "  lethe report runs/llama --format html,csv\n"
                "  lethe report results/llama/unified_eval_results.json --out reports/llama",
    .takes = LETHE_FOR_REPORT,
    .word = "from",
    .run = run,
};
