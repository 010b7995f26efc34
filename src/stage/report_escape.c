/* SPDX-License-Identifier: MIT
 *
 * Hostile text into HTML, LaTeX, CSV and plain text.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "stage/report_parts.h"

/* Characters that turn or hide what stands around them. */
static bool is_unseen(uint32_t cp) {
    return cp == 0x061C || (cp >= 0x200B && cp <= 0x200F) || (cp >= 0x2028 && cp <= 0x202E) ||
           (cp >= 0x2060 && cp <= 0x206F) || cp == 0xFEFF || (cp >= 0xFFF9 && cp <= 0xFFFB) ||
           (cp >= 0xE0000 && cp <= 0xE007F) || (cp >= 0x80 && cp <= 0x9F);
}

static bool is_control(uint32_t cp) {
    return (cp < 0x20 && cp != '\n' && cp != '\t') || cp == 0x7F;
}

/* Appends what stands for a control character and returns true; false for all others. */
static bool shown(lethe_strbuf *out, uint32_t cp, const char *open, const char *close) {
    if (is_control(cp)) { /* U+2400 SYMBOL FOR NULL and following */
        uint32_t symbol = cp == 0x7F ? 0x2421 : 0x2400 + cp;
        char utf8[4] = {(char)(0xE0 | symbol >> 12), (char)(0x80 | (symbol >> 6 & 0x3F)),
                        (char)(0x80 | (symbol & 0x3F)), 0};
        lethe_strbuf_adds(out, utf8);
        return true;
    }
    if (!is_unseen(cp)) return false;
    lethe_strbuf_addf(out, "%sU+%04X%s", open, (unsigned)cp, close);
    return true;
}

void lethe_report_html(lethe_strbuf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t start = i;
        uint32_t cp = lethe_utf8_next(s, n, &i);
        switch (cp) {
        case '&': lethe_strbuf_adds(out, "&amp;"); break;
        case '<': lethe_strbuf_adds(out, "&lt;"); break;
        case '>': lethe_strbuf_adds(out, "&gt;"); break;
        case '"': lethe_strbuf_adds(out, "&quot;"); break;
        case '\'': lethe_strbuf_adds(out, "&#39;"); break;
        case '`': lethe_strbuf_adds(out, "&#96;"); break;
        default:
            if (!shown(out, cp, "\xE2\x9F\xA8", "\xE2\x9F\xA9"))
                lethe_strbuf_add(out, s + start, i - start);
        }
    }
}

void lethe_report_htmls(lethe_strbuf *out, const char *s) {
    lethe_report_html(out, s, strlen(s));
}

void lethe_report_html_json(lethe_strbuf *out, const json_t *string) {
    if (json_is_string(string))
        lethe_report_html(out, json_string_value(string), json_string_length(string));
}

void lethe_report_latex(lethe_strbuf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t start = i;
        uint32_t cp = lethe_utf8_next(s, n, &i);
        switch (cp) {
        case '\\': lethe_strbuf_adds(out, "\\textbackslash{}"); break;
        case '~': lethe_strbuf_adds(out, "\\textasciitilde{}"); break;
        case '^': lethe_strbuf_adds(out, "\\textasciicircum{}"); break;
        case '<': lethe_strbuf_adds(out, "\\textless{}"); break;
        case '>': lethe_strbuf_adds(out, "\\textgreater{}"); break;
        case '|': lethe_strbuf_adds(out, "\\textbar{}"); break;
        case '"': lethe_strbuf_adds(out, "\\textquotedbl{}"); break;
        case '&':
        case '%':
        case '$':
        case '#':
        case '_':
        case '{':
        case '}': lethe_strbuf_addf(out, "\\%c", (char)cp); break;
        case '\n':
        case '\t': lethe_strbuf_adds(out, " "); break;
        default:
            if (is_control(cp))
                lethe_strbuf_adds(out, "?");
            else if (is_unseen(cp))
                lethe_strbuf_addf(out, "[U+%04X]", (unsigned)cp);
            else
                lethe_strbuf_add(out, s + start, i - start);
        }
    }
}

void lethe_report_csv(lethe_strbuf *out, const char *s, size_t n) {
    bool formula = n && strchr("=+-@\t\r", s[0]) != NULL && s[0];
    lethe_strbuf_adds(out, formula ? "\"'" : "\"");
    for (size_t i = 0; i < n;) {
        size_t start = i;
        uint32_t cp = lethe_utf8_next(s, n, &i);
        if (cp == '"')
            lethe_strbuf_adds(out, "\"\"");
        else if (!shown(out, cp, "[", "]"))
            lethe_strbuf_add(out, s + start, i - start);
    }
    lethe_strbuf_adds(out, "\"");
}

void lethe_report_plain(lethe_strbuf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t start = i;
        uint32_t cp = lethe_utf8_next(s, n, &i);
        if (cp == '\n' || cp == '\t')
            lethe_strbuf_adds(out, " ");
        else if (!shown(out, cp, "[", "]"))
            lethe_strbuf_add(out, s + start, i - start);
    }
}

void lethe_report_exact(lethe_strbuf *out, double x) {
    char text[40];
    if (fabs(x) < 1e15 && x == floor(x)) { /* 1300, not 1.3e+03 */
        lethe_strbuf_addf(out, "%.0f", x);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        double back = strtod(text, NULL);
        if (memcmp(&back, &x, sizeof x) == 0) break;
    }
    lethe_strbuf_adds(out, text);
}
