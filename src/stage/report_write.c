/* SPDX-License-Identifier: MIT
 *
 * What is written, and where.
 */
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/report_parts.h"

static const struct {
    const char *name;
    unsigned bit;
} kinds[] = {{"html", LETHE_REPORT_HTML},
             {"plots", LETHE_REPORT_PLOTS},
             {"latex", LETHE_REPORT_LATEX},
             {"csv", LETHE_REPORT_CSV},
             {"text", LETHE_REPORT_TEXT}};
#define N_KINDS (sizeof kinds / sizeof *kinds)

lethe_status lethe_report_formats(const char *text, unsigned *formats, unsigned *asked,
                                  lethe_err *err) {
    *formats = *asked = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ","), found = N_KINDS;
        for (size_t i = 0; i < N_KINDS; i++)
            if (strlen(kinds[i].name) == n && !strncmp(kinds[i].name, at, n)) found = i;
        bool all = n == 3 && !strncmp(at, "all", 3);
        if (found == N_KINDS && !all)
            return lethe_fail(err, LETHE_USAGE,
                              "--format: got \"%.*s\", want all, or some of html, plots, latex, "
                              "csv, text with commas between",
                              (int)(n > 40 ? 40 : n), at);
        if (all)
            for (size_t i = 0; i < N_KINDS; i++) *formats |= kinds[i].bit;
        else
            *asked |= kinds[found].bit;
        at += n + (at[n] == ',');
    }
    *formats |= *asked;
    if (*formats) return LETHE_OK;
    return lethe_fail(err, LETHE_USAGE,
                      "--format: got nothing, want all, or some of html, plots, "
                      "latex, csv, text with commas between");
}

/* dir/name = the text, atomically. */
static lethe_status put_file(const char *dir, const char *name, const lethe_strbuf *text,
                             size_t *files, lethe_err *err) {
    if (text->status) return lethe_fail(err, LETHE_NOMEM, "out of memory: %s of a report", name);
    char *path = lethe_path_join(dir, name);
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = lethe_write_file(path, lethe_strbuf_str(text), text->len, err);
    lethe_free(path);
    *files += !st;
    return st;
}

typedef void (*render_fn)(const json_t *table, lethe_strbuf *out);

/* Every table as dir/ID.ending. */
static lethe_status put_tables(const json_t *tables, const char *dir, const char *ending,
                               render_fn render, size_t *files, lethe_err *err) {
    size_t i;
    json_t *t;
    json_array_foreach(tables, i, t) {
        char name[64];
        lethe_strbuf text = {0};
        render(t, &text);
        snprintf(name, sizeof name, "%s.%s", json_string_value(json_object_get(t, "id")), ending);
        lethe_status st = put_file(dir, name, &text, files, err);
        lethe_strbuf_free(&text);
        if (st) return st;
    }
    return LETHE_OK;
}

static lethe_status write_tables(const lethe_report *r, const json_t *tables, const char *dir,
                                 unsigned formats, size_t *files, lethe_err *err) {
    LETHE_TRY(lethe_mkdirs(dir, err));
    if (formats & LETHE_REPORT_LATEX)
        LETHE_TRY(put_tables(tables, dir, "tex", lethe_report_table_latex, files, err));
    if (formats & LETHE_REPORT_CSV) {
        LETHE_TRY(put_tables(tables, dir, "csv", lethe_report_table_csv, files, err));
        json_t *items = lethe_report_items(r);
        lethe_status st =
            items ? put_tables(items, dir, "csv", lethe_report_table_csv, files, err)
                  : lethe_fail(err, LETHE_NOMEM, "out of memory for the tables of a report");
        json_decref(items);
        LETHE_TRY(st);
    }
    if (!(formats & LETHE_REPORT_TEXT)) return LETHE_OK;
    lethe_strbuf text = {0};
    lethe_report_summary(r, &text);
    lethe_status st = put_file(dir, "summary.txt", &text, files, err);
    lethe_strbuf_free(&text);
    return st;
}

static lethe_status write_page(const lethe_report *r, const json_t *tables, const char *dir,
                               size_t *files, lethe_err *err) {
    lethe_strbuf page = {0};
    lethe_report_page(r, tables, &page);
    lethe_status st = put_file(dir, "report.html", &page, files, err);
    lethe_strbuf_free(&page);
    return st;
}

static lethe_status write_plots(const lethe_report *r, const char *dir, bool must,
                                const lethe_env *env, lethe_report_written *w, lethe_err *err) {
    char *gnuplot = lethe_report_gnuplot();
    if (!gnuplot && must)
        return lethe_fail(err, LETHE_FAIL,
                          "plots need gnuplot, which is not on the PATH (Debian: apt-get install "
                          "gnuplot-nox)");
    if (!gnuplot) {
        snprintf(w->note, sizeof w->note,
                 "no plots: gnuplot is not on the PATH (Debian: apt-get install gnuplot-nox)");
        w->formats &= ~(unsigned)LETHE_REPORT_PLOTS;
        return LETHE_OK;
    }
    char *plots = lethe_path_join(dir, "plots");
    lethe_status st =
        plots ? lethe_mkdirs(plots, err) : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    if (!st) st = lethe_report_plots(r, gnuplot, plots, env, &w->files, err);
    lethe_free(plots);
    lethe_free(gnuplot);
    return st;
}

lethe_status lethe_report_write(const lethe_report *r, const char *dir, unsigned formats,
                                unsigned asked, const lethe_env *env, lethe_report_written *written,
                                lethe_err *err) {
    *written = (lethe_report_written){.formats = formats};
    LETHE_TRY(lethe_mkdirs(dir, err));
    json_t *tables = lethe_report_tables(r);
    char *tables_dir = lethe_path_join(dir, "tables");
    lethe_status st = tables && tables_dir ? LETHE_OK
                                           : lethe_fail(err, LETHE_NOMEM,
                                                        "out of memory for the tables of a report");
    if (!st && (formats & LETHE_REPORT_HTML)) st = write_page(r, tables, dir, &written->files, err);
    if (!st && (formats & (LETHE_REPORT_LATEX | LETHE_REPORT_CSV | LETHE_REPORT_TEXT)))
        st = write_tables(r, tables, tables_dir, formats, &written->files, err);
    if (!st && (formats & LETHE_REPORT_PLOTS))
        st = write_plots(r, dir, (asked & LETHE_REPORT_PLOTS) != 0, env, written, err);
    json_decref(tables);
    lethe_free(tables_dir);
    return st;
}

void lethe_report_summary(const lethe_report *r, lethe_strbuf *out) {
    report_verdict v;
    lethe_report_judge(r, &v);
    const char *lines[] = {v.headline, v.forgot, v.cost, v.attack};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (!*lines[i]) continue;
        lethe_report_plain(out, lines[i], strlen(lines[i]));
        lethe_strbuf_adds(out, "\n");
    }
    json_t *tables = lethe_report_tables(r), *t;
    if (!tables) out->status = LETHE_NOMEM;
    size_t i;
    json_array_foreach(tables, i, t) {
        lethe_strbuf_adds(out, "\n");
        lethe_report_table_text(t, out);
    }
    json_decref(tables);
}
