/* SPDX-License-Identifier: MIT
 *
 * What the files of the report share; private to them.
 *
 * Tables are made once, as JSON, and rendered four ways (HTML, LaTeX, CSV, text), so that all show
 * the same numbers:
 *
 *     {"id", "title", "note", "columns": [{"title", "number": bool}], "rows": [[cell, ..], ..]}
 *
 * A cell is a string, null (nothing known), or a number {"v": x, "f": format} with "low" and
 * "high" where there is an interval. Formats: "share" and "points" (shown times 100), "nats",
 * "nats+" (with its sign), "ppl", "percent+", "count", "real", "real+".
 */
#ifndef LETHE_STAGE_REPORT_PARTS_H
#define LETHE_STAGE_REPORT_PARTS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/hash.h"
#include "format/jsonio.h"
#include "stage/report.h"

enum { REPORT_BEFORE, REPORT_AFTER, REPORT_SHIFT, REPORT_SIDES };

/* A number that may not be known, with an interval that may not be known. */
typedef struct report_value {
    bool known, interval;
    double v, low, high;
} report_value;

typedef struct report_domain {
    const char *key; /* in eval.json; borrowed */
    char title[96];  /* for people: "Harry Potter" */
    bool forget;
    size_t n; /* probes; 0: not known */
    report_value logprob[REPORT_SIDES], recall[REPORT_SIDES];
} report_domain;

/* A file of the run and its fingerprint. */
typedef struct report_file {
    const char *name;
    char hash[LETHE_HASH_HEX];
} report_file;
#define REPORT_FILES 10

struct lethe_report {
    char *dir;  /* that the files lie in */
    char *name; /* of the run or the file, for the title */
    char version[32];
    json_t *eval, *run, *judge, *tune, *cards;     /* NULL: not there */
    json_t *baseline, *ablated, *summary, *config; /* borrowed from eval; NULL: not there */
    report_domain *domain;
    size_t n_domains;
    report_value perplexity[REPORT_SIDES], distinct_3[REPORT_SIDES], degeneration[REPORT_SIDES];
    report_value kl, top1, activity, activity_text; /* activity: share of positions that fired */
    report_value recall_keep[REPORT_SIDES];         /* over the domains to keep, by items */
    size_t n_keep;
    report_value worst_attack, worst_attack_base; /* recall of the attack that brings back most */
    char worst_attack_title[128];
    report_file file[REPORT_FILES];
    size_t n_files;
};

/* ---- report_data.c: from files to the struct above ------------------------------------------- */

/* The value at a path of keys with dots between; NULL when it is not there. */
json_t *lethe_report_at(const json_t *top, const char *path);
const report_domain *lethe_report_forgotten(const lethe_report *r); /* NULL: no domains */
/* Counts of a judge's class on a side; -1: not known. */
double lethe_report_judged(const json_t *judge, bool ablated, const char *class_name);
extern const char *const lethe_report_classes[4];
/* Every judge: {"name", "kind", "counts"}; new reference, [] where none judged. */
json_t *lethe_report_judges(const lethe_report *r);

/* ---- report_verdict.c: what a person reads first --------------------------------------------- */

typedef struct report_verdict {
    char headline[160]; /* "Harry Potter is largely forgotten, at little cost." */
    char forgot[400];   /* sentence with figures */
    char cost[500];     /* sentence with figures */
    char attack[300];   /* "" where nothing was attacked */
    const char *grade;  /* "forgotten", "partly", "not", "baseline": a class of the page */
} report_verdict;
void lethe_report_judge(const lethe_report *r, report_verdict *out);

/* ---- report_escape.c ------------------------------------------------------------------------- */

/* All take any bytes of valid UTF-8, NUL included. Control characters and those that turn the
 * direction of writing become visible: U+2400 to U+2421, or U+202E in angle brackets. */
void lethe_report_html(lethe_strbuf *out, const char *s, size_t n); /* text and quoted attributes */
void lethe_report_htmls(lethe_strbuf *out, const char *s);
void lethe_report_html_json(lethe_strbuf *out, const json_t *string); /* nothing if it is not one */
void lethe_report_latex(lethe_strbuf *out, const char *s, size_t n);
/* A field of RFC 4180; one that a spreadsheet would run as a formula gets an apostrophe before. */
void lethe_report_csv(lethe_strbuf *out, const char *s, size_t n);
void lethe_report_plain(lethe_strbuf *out, const char *s, size_t n); /* for a terminal or gnuplot */
/* The fewest digits that read back as the same number. */
void lethe_report_exact(lethe_strbuf *out, double x);

/* ---- report_table.c, report_tables.c --------------------------------------------------------- */

json_t *lethe_report_cell(const report_value *v, const char *format); /* null when not known */
/* The number as it is shown, "-" for minus. */
void lethe_report_number(double v, const char *format, char *out, size_t size);
void lethe_report_table_html(const json_t *table, lethe_strbuf *out);
void lethe_report_table_latex(const json_t *table, lethe_strbuf *out);
void lethe_report_table_csv(const json_t *table, lethe_strbuf *out);
void lethe_report_table_text(const json_t *table, lethe_strbuf *out);

/* Of a measure of eval.json: its title for people, and a side ("baseline", "ablated",
 * "difference") with its interval. */
void lethe_report_measure_title(const json_t *m, char *out, size_t size);
report_value lethe_report_measured(const json_t *m, const char *side);

/* All tables that the results give, in reading order; new reference, NULL: no memory. */
json_t *lethe_report_tables(const lethe_report *r);
/* Item by item, for CSV alone: probes, completions. */
json_t *lethe_report_items(const lethe_report *r);

/* ---- the page: report_page.c and its sections -------------------------------------------------
 */

void lethe_report_page(const lethe_report *r, const json_t *tables, lethe_strbuf *out);
void lethe_report_charts(const lethe_report *r, const char *which, lethe_strbuf *out);
void lethe_report_sides(const lethe_report *r, lethe_strbuf *out);
void lethe_report_examples(const lethe_report *r, lethe_strbuf *out);
void lethe_report_cards(const lethe_report *r, lethe_strbuf *out);
void lethe_report_certificate(const lethe_report *r, lethe_strbuf *out);

/* The page's style and script, and their SHA-256 in base64; made from report/ by the build. */
extern const char lethe_report_css[], lethe_report_js[];
extern const char lethe_report_css_sha256[], lethe_report_js_sha256[];

/* ---- report_plots.c: gnuplot ------------------------------------------------------------------
 */

/* Absolute path of gnuplot on $PATH, owned; NULL where there is none. */
char *lethe_report_gnuplot(void);
lethe_status lethe_report_plots(const lethe_report *r, const char *gnuplot, const char *dir,
                                const lethe_env *env, size_t *files, lethe_err *err);

#endif
