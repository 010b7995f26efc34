/* SPDX-License-Identifier: MIT
 *
 * One table, four ways to show it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "stage/report_parts.h"

#define MINUS "\xE2\x88\x92"
#define DASH "\xE2\x80\x93"

json_t *lethe_report_cell(const report_value *v, const char *format) {
    if (!v->known) return json_null();
    bool ok = true;
    json_t *o = json_object();
    lethe_json_put(o, "v", lethe_json_real(v->v), &ok);
    lethe_json_put(o, "f", json_string(format), &ok);
    if (v->interval) {
        lethe_json_put(o, "low", lethe_json_real(v->low), &ok);
        lethe_json_put(o, "high", lethe_json_real(v->high), &ok);
    }
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static const struct {
    const char *name, *pattern, *unit;
    double factor;
} formats[] = {
    {"share", "%.1f", " %", 100},
    {"points", "%+.1f", " pts", 100},
    {"nats", "%.3f", "", 1},
    {"nats+", "%+.3f", "", 1},
    {"kl", "%.4f", "", 1},
    {"ppl", "%.2f", "", 1},
    {"percent+", "%+.1f", " %", 100},
    {"count", "%.0f", "", 1},
    {"rate", "%.3f", " %", 100},
    {"real", "%.4g", "", 1},
    {"real+", "%+.4g", "", 1},
};

void lethe_report_number(double v, const char *format, char *out, size_t size) {
    size_t i = sizeof formats / sizeof *formats - 2; /* "real" for a format that is not known */
    for (size_t j = 0; j < sizeof formats / sizeof *formats; j++)
        if (!strcmp(formats[j].name, format)) i = j;
    char digits[64];
    snprintf(digits, sizeof digits, formats[i].pattern, v * formats[i].factor);
    const char *text = digits; /* "-0.0" is 0.0 */
    if (digits[0] == '-' && strspn(digits + 1, "0.") == strlen(digits + 1)) text++;
    snprintf(out, size, "%s%s", text, formats[i].unit);
}

/* ---- cells ---------------------------------------------------------------------------------- */

typedef struct cell {
    bool number, interval;
    double v, low, high;
    char text[64], range_low[48], range_high[48];
    const char *string;
    size_t length;
} cell;

static cell read_cell(const json_t *c) {
    cell out = {.string = "", .length = 0};
    if (json_is_string(c)) {
        out.string = json_string_value(c);
        out.length = json_string_length(c);
        return out;
    }
    const json_t *v = json_object_get(c, "v");
    const char *f = json_string_value(json_object_get(c, "f"));
    if (!json_is_number(v) || !f) {
        out.string = DASH;
        out.length = strlen(DASH);
        return out;
    }
    out.number = true;
    out.v = json_number_value(v);
    lethe_report_number(out.v, f, out.text, sizeof out.text);
    const json_t *low = json_object_get(c, "low"), *high = json_object_get(c, "high");
    out.interval = json_is_number(low) && json_is_number(high);
    if (!out.interval) return out;
    out.low = json_number_value(low);
    out.high = json_number_value(high);
    lethe_report_number(out.low, f, out.range_low, sizeof out.range_low);
    lethe_report_number(out.high, f, out.range_high, sizeof out.range_high);
    char *unit = strchr(out.range_low, ' '); /* once, behind the upper end */
    if (unit) *unit = '\0';
    return out;
}

static const char *text_of(const json_t *table, const char *key) {
    const char *s = json_string_value(json_object_get(table, key));
    return s ? s : "";
}

static bool is_number_column(const json_t *table, size_t i) {
    return json_is_true(
        json_object_get(json_array_get(json_object_get(table, "columns"), i), "number"));
}

/* Digits with the typographer's minus. */
static void put_digits(lethe_strbuf *out, const char *s, const char *minus) {
    for (; *s; s++) {
        if (*s == '-')
            lethe_strbuf_adds(out, minus);
        else
            lethe_strbuf_add(out, s, 1);
    }
}

/* ---- HTML ----------------------------------------------------------------------------------- */

static void html_cell(const cell *c, bool head, bool number, lethe_strbuf *out) {
    lethe_strbuf_adds(out, head ? "<th scope=\"row\">" : number ? "<td class=\"n\">" : "<td>");
    if (c->number) {
        lethe_strbuf_adds(out, "<data value=\"");
        lethe_report_exact(out, c->v);
        lethe_strbuf_adds(out, "\">");
        put_digits(out, c->text, MINUS);
        lethe_strbuf_adds(out, "</data>");
        if (c->interval) {
            lethe_strbuf_adds(out, "<span class=\"ci\">");
            put_digits(out, c->range_low, MINUS);
            lethe_strbuf_adds(out, " to ");
            put_digits(out, c->range_high, MINUS);
            lethe_strbuf_adds(out, "</span>");
        }
    } else {
        lethe_report_html(out, c->string, c->length);
    }
    lethe_strbuf_adds(out, head ? "</th>" : "</td>");
}

void lethe_report_table_html(const json_t *table, lethe_strbuf *out) {
    const char *id = text_of(table, "id");
    lethe_strbuf_addf(out,
                      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                      "aria-labelledby=\"t-%s\">\n<table id=\"table-%s\"><caption id=\"t-%s\">",
                      id, id, id);
    lethe_report_htmls(out, text_of(table, "title"));
    lethe_strbuf_adds(out, "</caption>\n<thead><tr>");
    size_t i, j;
    json_t *column, *row, *c;
    json_array_foreach(json_object_get(table, "columns"), i, column) {
        lethe_strbuf_adds(out, is_number_column(table, i) ? "<th scope=\"col\" class=\"n\">"
                                                          : "<th scope=\"col\">");
        lethe_report_htmls(out, text_of(column, "title"));
        lethe_strbuf_adds(out, "</th>");
    }
    lethe_strbuf_adds(out, "</tr></thead>\n<tbody>\n");
    json_array_foreach(json_object_get(table, "rows"), i, row) {
        lethe_strbuf_adds(out, "<tr>");
        json_array_foreach(row, j, c) {
            cell value = read_cell(c);
            html_cell(&value, j == 0, is_number_column(table, j), out);
        }
        lethe_strbuf_adds(out, "</tr>\n");
    }
    lethe_strbuf_adds(out, "</tbody></table></div>\n");
    if (*text_of(table, "note")) {
        lethe_strbuf_adds(out, "<p class=\"note\">");
        lethe_report_htmls(out, text_of(table, "note"));
        lethe_strbuf_adds(out, "</p>\n");
    }
}

/* ---- LaTeX ---------------------------------------------------------------------------------- */

static void latex_digits(lethe_strbuf *out, const char *s) {
    for (; *s; s++) {
        if (*s == '-')
            lethe_strbuf_adds(out, "$-$");
        else if (*s == '+')
            lethe_strbuf_adds(out, "$+$");
        else if (*s == '%')
            lethe_strbuf_adds(out, "\\%");
        else if (*s == ' ')
            lethe_strbuf_adds(out, "\\,");
        else
            lethe_strbuf_add(out, s, 1);
    }
}

void lethe_report_table_latex(const json_t *table, lethe_strbuf *out) {
    const json_t *columns = json_object_get(table, "columns");
    lethe_strbuf_adds(out, "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}\n"
                           "\\begin{table}\n\\centering\n\\caption{");
    const char *title = text_of(table, "title"), *note = text_of(table, "note");
    lethe_report_latex(out, title, strlen(title));
    if (*note) lethe_strbuf_adds(out, ". ");
    lethe_report_latex(out, note, strlen(note));
    lethe_strbuf_addf(out, "}\n\\label{tab:lethe-%s}\n\\begin{tabular}{", text_of(table, "id"));
    size_t i, j;
    json_t *column, *row, *c;
    json_array_foreach(columns, i, column)
        lethe_strbuf_adds(out, is_number_column(table, i) ? "r" : "l");
    lethe_strbuf_adds(out, "}\n\\toprule\n");
    json_array_foreach(columns, i, column) {
        if (i) lethe_strbuf_adds(out, " & ");
        const char *head = text_of(column, "title");
        lethe_report_latex(out, head, strlen(head));
    }
    lethe_strbuf_adds(out, " \\\\\n\\midrule\n");
    json_array_foreach(json_object_get(table, "rows"), i, row) {
        json_array_foreach(row, j, c) {
            cell v = read_cell(c);
            if (j) lethe_strbuf_adds(out, " & ");
            if (!v.number && !json_is_string(c)) {
                lethe_strbuf_adds(out, "--");
            } else if (!v.number) {
                lethe_report_latex(out, v.string, v.length);
            } else {
                latex_digits(out, v.text);
                if (!v.interval) continue;
                lethe_strbuf_adds(out, " {\\scriptsize [");
                latex_digits(out, v.range_low);
                lethe_strbuf_adds(out, ", ");
                latex_digits(out, v.range_high);
                lethe_strbuf_adds(out, "]}");
            }
        }
        lethe_strbuf_adds(out, " \\\\\n");
    }
    lethe_strbuf_adds(out, "\\bottomrule\n\\end{tabular}\n\\end{table}\n");
}

/* ---- CSV ------------------------------------------------------------------------------------ */

/* A number column has a column for each end of its intervals, if it has any. */
static bool has_intervals(const json_t *table, size_t column) {
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(table, "rows"), i,
                       row) if (json_object_get(json_array_get(row, column), "low")) return true;
    return false;
}

void lethe_report_table_csv(const json_t *table, lethe_strbuf *out) {
    size_t i, j;
    json_t *column, *row, *c;
    json_array_foreach(json_object_get(table, "columns"), i, column) {
        const char *head = text_of(column, "title");
        if (i) lethe_strbuf_adds(out, ",");
        lethe_report_csv(out, head, strlen(head));
        if (!has_intervals(table, i)) continue;
        for (int end = 0; end < 2; end++) {
            lethe_strbuf wide = {0};
            lethe_strbuf_addf(&wide, "%s, %s", head, end ? "high" : "low");
            lethe_strbuf_adds(out, ",");
            lethe_report_csv(out, lethe_strbuf_str(&wide), wide.len);
            if (wide.status) out->status = wide.status;
            lethe_strbuf_free(&wide);
        }
    }
    lethe_strbuf_adds(out, "\r\n");
    json_array_foreach(json_object_get(table, "rows"), i, row) {
        json_array_foreach(row, j, c) {
            cell v = read_cell(c);
            bool wide = has_intervals(table, j);
            if (j) lethe_strbuf_adds(out, ",");
            if (v.number)
                lethe_report_exact(out, v.v);
            else if (json_is_string(c))
                lethe_report_csv(out, v.string, v.length);
            if (wide) lethe_strbuf_adds(out, ",");
            if (wide && v.interval) lethe_report_exact(out, v.low);
            if (wide) lethe_strbuf_adds(out, ",");
            if (wide && v.interval) lethe_report_exact(out, v.high);
        }
        lethe_strbuf_adds(out, "\r\n");
    }
}

/* ---- text ----------------------------------------------------------------------------------- */

static void text_cell(const json_t *c, lethe_strbuf *out) {
    cell v = read_cell(c);
    if (!v.number) {
        lethe_report_plain(out, json_is_string(c) ? v.string : "-",
                           json_is_string(c) ? v.length : 1);
        return;
    }
    lethe_strbuf_adds(out, v.text);
    if (v.interval) lethe_strbuf_addf(out, " [%s, %s]", v.range_low, v.range_high);
}

static size_t width(const char *s, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; count++) lethe_utf8_next(s, n, &i);
    return count;
}

#define MAX_COLUMNS 16

void lethe_report_table_text(const json_t *table, lethe_strbuf *out) {
    const json_t *columns = json_object_get(table, "columns"),
                 *rows = json_object_get(table, "rows");
    size_t wide[MAX_COLUMNS] = {0}, n = json_array_size(columns), i, j;
    json_t *row, *c;
    if (n > MAX_COLUMNS) n = MAX_COLUMNS;
    lethe_strbuf one = {0};
    for (j = 0; j < n; j++) {
        const char *head = text_of(json_array_get(columns, j), "title");
        wide[j] = width(head, strlen(head));
    }
    json_array_foreach(rows, i, row) json_array_foreach(row, j, c) {
        lethe_strbuf_clear(&one);
        text_cell(c, &one);
        size_t w = width(lethe_strbuf_str(&one), one.len);
        if (j < n && w > wide[j]) wide[j] = w;
    }
    lethe_strbuf_addf(out, "%s\n", text_of(table, "title"));
    for (i = 0; i <= json_array_size(rows); i++) { /* the head, then the rows */
        for (j = 0; j < n; j++) {
            lethe_strbuf_clear(&one);
            if (i)
                text_cell(json_array_get(json_array_get(rows, i - 1), j), &one);
            else
                lethe_strbuf_adds(&one, text_of(json_array_get(columns, j), "title"));
            size_t w = width(lethe_strbuf_str(&one), one.len);
            bool right = is_number_column(table, j);
            lethe_strbuf_adds(out, "  ");
            for (size_t k = w; right && k < wide[j]; k++) lethe_strbuf_adds(out, " ");
            lethe_strbuf_adds(out, lethe_strbuf_str(&one));
            for (size_t k = w; !right && j + 1 < n && k < wide[j]; k++) lethe_strbuf_adds(out, " ");
        }
        lethe_strbuf_adds(out, "\n");
    }
    if (one.status) out->status = one.status;
    lethe_strbuf_free(&one);
}
