/* SPDX-License-Identifier: MIT
 *
 * What a person looks at: the results of a run, or of the reference experiment's own
 * unified_eval_results.json, as one page of HTML that needs nothing else, as plots, LaTeX tables,
 * CSV and plain text. Reads only files of results, never a model; every file but the evaluation
 * may be missing, and then its part of the report is.
 *
 *     eval.json    the evaluation (eval.h); "measures" and "metrics.intervals" where it has them
 *     run.json     settings, versions, fingerprints, the course of the training
 *     judge.json   classes of the completions, per judge
 *     tune.json    trials of a search, and its front
 *     cards.json   feature cards (inspect.h)
 *
 * All texts in these files are taken for hostile: they are escaped, and control characters
 * (those that turn the direction of writing included) are shown instead of obeyed.
 */
#ifndef LETHE_STAGE_REPORT_H
#define LETHE_STAGE_REPORT_H

#include <jansson.h>

#include "base/err.h"
#include "base/run.h"
#include "base/strbuf.h"

enum {
    LETHE_REPORT_HTML = 1 << 0,  /* report.html */
    LETHE_REPORT_PLOTS = 1 << 1, /* plots/NAME.png, .svg, .pdf, and .gp, what gnuplot was given */
    LETHE_REPORT_LATEX = 1 << 2, /* tables/NAME.tex, booktabs */
    LETHE_REPORT_CSV = 1 << 3,   /* tables/NAME.csv, every digit of every number */
    LETHE_REPORT_TEXT = 1 << 4   /* tables/summary.txt */
};

/* "html,plots,latex,csv,text" or "all" to bits. *asked: what the text names itself, so that a
 * missing gnuplot is an error there and a remark under "all". Fails: USAGE. */
lethe_status lethe_report_formats(const char *text, unsigned *formats, unsigned *asked,
                                  lethe_err *err);

typedef struct lethe_report lethe_report;

/* path: a run directory, or a file of results. version: of this program, for the foot of the page.
 * Both are borrowed for the call. Fails: NOTFOUND (no evaluation there), FORMAT (a file, also one
 * of those that may be missing, is not what it claims to be), NOMEM. */
lethe_status lethe_report_open(lethe_report **out, const char *path, const char *version,
                               lethe_err *err);
void lethe_report_close(lethe_report **r); /* accepts NULL */

typedef struct lethe_report_written {
    unsigned formats; /* of those asked for, what was written */
    size_t files;
    char note[256]; /* why something was left out; "" when nothing was */
} lethe_report_written;

/* Writes into dir, which is made if need be. asked: see lethe_report_formats. The same files give
 * the same bytes of everything but the plots. Fails: IO, NOMEM, FAIL (gnuplot failed, or is missing
 * and was asked for). */
lethe_status lethe_report_write(const lethe_report *r, const char *dir, unsigned formats,
                                unsigned asked, const lethe_env *env, lethe_report_written *written,
                                lethe_err *err);

/* The text summary: verdict, figures, tables. */
void lethe_report_summary(const lethe_report *r, lethe_strbuf *out);

/* The verdict with its figures as JSON; new reference, NULL: no memory. */

json_t *lethe_report_json(const lethe_report *r);

#endif
