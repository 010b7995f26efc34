/* SPDX-License-Identifier: MIT
 *
 * Completions side by side, and the questions that changed most.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stage/report_parts.h"

static const char *string_at(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* ---- completions ----------------------------------------------------------------------------- */

static const char *domain_title(const lethe_report *r, const char *key) {
    for (size_t d = 0; d < r->n_domains; d++)
        if (!strcmp(r->domain[d].key, key)) return r->domain[d].title;
    return key;
}

static void tools(const lethe_report *r, const json_t *sides, lethe_strbuf *out) {
    lethe_strbuf_adds(out, "<div class=\"tools needs-js\" data-items=\".pair\" role=\"search\">"
                           "<input type=\"search\" placeholder=\"Search prompts and completions\" "
                           "aria-label=\"Search prompts and completions\">");
    bool any = false;
    size_t i, j;
    json_t *item;
    lethe_strbuf options = {0};
    json_array_foreach(sides, i, item) { /* each domain once, in order of appearance */
        const char *domain = string_at(item, "domain");
        bool seen = !*domain;
        for (j = 0; j < i && !seen; j++)
            seen = !strcmp(domain, string_at(json_array_get(sides, j), "domain"));
        if (seen) continue;
        any = true;
        lethe_strbuf_adds(&options, "<option value=\"");
        lethe_report_htmls(&options, domain);
        lethe_strbuf_adds(&options, "\">");
        lethe_report_htmls(&options, domain_title(r, domain));
        lethe_strbuf_adds(&options, "</option>");
    }
    if (any)
        lethe_strbuf_addf(out,
                          "<select aria-label=\"Domain\"><option value=\"\">all domains</option>"
                          "%s</select>",
                          lethe_strbuf_str(&options));
    if (options.status) out->status = options.status;
    lethe_strbuf_free(&options);
    lethe_strbuf_adds(out, "<label><input type=\"checkbox\"> only those that changed</label>"
                           "<span class=\"count\" role=\"status\"></span></div>\n");
}

/* The classes that judges gave to one side of one completion. */
static void judged(const lethe_report *r, size_t index, const char *side, lethe_strbuf *out) {
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(r->judge, "labels"), i, l) {
        const json_t *at = json_object_get(l, "index");
        if (!json_is_integer(at) || json_integer_value(at) != (json_int_t)index ||
            strcmp(string_at(l, "side"), side))
            continue;
        const char *class_name = string_at(l, "class");
        lethe_strbuf_addf(out, "<span class=\"chip%s\" title=\"",
                          strcmp(class_name, "Explicit") ? "" : " bad");
        lethe_report_html_json(out, json_object_get(l, "judge"));
        if (*string_at(l, "reason")) lethe_strbuf_adds(out, ": ");
        lethe_report_html_json(out, json_object_get(l, "reason"));
        lethe_strbuf_adds(out, "\">");
        lethe_report_htmls(out, class_name);
        lethe_strbuf_adds(out, "</span>");
    }
}

static void one_side(const lethe_report *r, const json_t *item, size_t index, const char *side,
                     const char *title, lethe_strbuf *out) {
    const json_t *text = json_object_get(item, side);
    if (!json_is_string(text)) return;
    char key[2][32];
    snprintf(key[0], sizeof key[0], "%s_degenerate", side);
    snprintf(key[1], sizeof key[1], "%s_degenerated", side); /* the reference's name */
    lethe_strbuf_addf(out, "<div><div class=\"side\">%s", title);
    if (json_is_true(json_object_get(item, key[0])) || json_is_true(json_object_get(item, key[1])))
        lethe_strbuf_adds(out, "<span class=\"chip bad\">degenerate</span>");
    judged(r, index, side, out);
    lethe_strbuf_adds(out, "</div><p class=\"text\" dir=\"auto\">");
    lethe_report_html_json(out, text);
    lethe_strbuf_adds(out, "</p></div>");
}

void lethe_report_sides(const lethe_report *r, lethe_strbuf *out) {
    const json_t *sides = json_object_get(r->eval, "side_by_side");
    tools(r, sides, out);
    size_t i;
    json_t *item;
    json_array_foreach(sides, i, item) {
        const json_t *before = json_object_get(item, "baseline"),
                     *after = json_object_get(item, "ablated");
        bool changed = json_is_string(after) && !json_equal(before, after);
        const char *domain = string_at(item, "domain");
        lethe_strbuf_adds(out, "<article class=\"pair\" data-domain=\"");
        lethe_report_htmls(out, domain);
        lethe_strbuf_addf(out, "\" data-changed=\"%d\"><h3><span class=\"text\" dir=\"auto\">",
                          changed);
        lethe_report_html_json(out, json_object_get(item, "prompt"));
        lethe_strbuf_adds(out, "</span>");
        if (*domain) {
            lethe_strbuf_adds(out, "<span class=\"chip\">");
            lethe_report_htmls(out, domain_title(r, domain));
            lethe_strbuf_adds(out, "</span>");
        }
        if (json_is_string(after) && !changed)
            lethe_strbuf_adds(out, "<span class=\"chip\">the same</span>");
        lethe_strbuf_adds(out, "</h3><div class=\"cols\">");
        one_side(r, item, i, "baseline", "before", out);
        one_side(r, item, i, "ablated", "after", out);
        lethe_strbuf_adds(out, "</div></article>\n");
    }
}

/* ---- the questions that changed most --------------------------------------------------------- */

#define SHOWN 10

typedef struct changed_probe {
    const json_t *item; /* borrowed */
    double fall;
} changed_probe;

static int by_fall(const void *a, const void *b) {
    const changed_probe *x = a, *y = b;
    return x->fall < y->fall ? 1 : x->fall > y->fall ? -1 : x->item < y->item ? -1 : 1;
}

static void example_rows(const lethe_report *r, const changed_probe *p, size_t n, const char *id,
                         const char *title, lethe_strbuf *out) {
    if (!n) return;
    lethe_strbuf_addf(
        out,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"t-%s\">"
        "\n<table><caption id=\"t-%s\">%s</caption>\n<thead><tr><th "
        "scope=\"col\">Question</th><th scope=\"col\">Answer</th><th "
        "scope=\"col\">Domain</th><th scope=\"col\" class=\"n\">Before</th><th "
        "scope=\"col\" class=\"n\">After</th></tr></thead>\n<tbody>\n",
        id, id, title);
    for (size_t i = 0; i < n && i < SHOWN; i++) {
        const json_t *item = p[i].item;
        lethe_strbuf_adds(out, "<tr><th scope=\"row\" dir=\"auto\">");
        lethe_report_html_json(out, json_object_get(item, "prompt"));
        lethe_strbuf_adds(out, "</th><td dir=\"auto\">");
        lethe_report_html_json(out, json_object_get(item, "target"));
        lethe_strbuf_adds(out, "</td><td>");
        lethe_report_htmls(out, domain_title(r, string_at(item, "domain")));
        lethe_strbuf_adds(out, "</td>");
        static const char *const keys[] = {"baseline_logprob", "ablated_logprob"};
        for (int s = 0; s < 2; s++) {
            double v = json_number_value(json_object_get(item, keys[s]));
            lethe_strbuf_adds(out, "<td class=\"n\"><data value=\"");
            lethe_report_exact(out, v);
            lethe_strbuf_addf(out, "\">%s%.2f</data></td>", v < 0 ? "\xE2\x88\x92" : "",
                              v < 0 ? -v : v);
        }
        lethe_strbuf_adds(out, "</tr>\n");
    }
    lethe_strbuf_adds(out, "</tbody></table></div>\n");
}

void lethe_report_examples(const lethe_report *r, lethe_strbuf *out) {
    const json_t *probes = json_object_get(r->eval, "probes");
    const report_domain *forget = lethe_report_forgotten(r);
    size_t n = json_array_size(probes), lost[2] = {0}, i;
    changed_probe *list = NULL;
    if (!n || !forget) return;
    if (lethe_zalloc(&list, 2, n * sizeof *list, "examples of a report", NULL)) {
        out->status = LETHE_NOMEM;
        return;
    }
    json_t *item;
    json_array_foreach(probes, i, item) {
        const json_t *before = json_object_get(item, "baseline_logprob"),
                     *after = json_object_get(item, "ablated_logprob");
        if (!json_is_number(before) || !json_is_number(after)) continue;
        if (!json_is_true(json_object_get(item, "baseline_recall")) ||
            json_is_true(json_object_get(item, "ablated_recall")))
            continue;
        bool keep = strcmp(string_at(item, "domain"), forget->key) != 0;
        list[(keep ? n : 0) + lost[keep]++] =
            (changed_probe){item, json_number_value(before) - json_number_value(after)};
    }
    qsort(list, lost[0], sizeof *list, by_fall);
    qsort(list + n, lost[1], sizeof *list, by_fall);
    if (lost[0] + lost[1]) {
        lethe_strbuf_addf(out, "<details><summary>Single questions: the clearest cases of what it "
                               "no longer knows</summary>\n");
        example_rows(r, list, lost[0], "gone", "Forgotten, as was asked (log-probability)", out);
        example_rows(r, list + n, lost[1], "harm", "Lost, though it was to be kept", out);
        lethe_strbuf_addf(out,
                          "<p class=\"note\">%zu questions about %s and %zu others were known "
                          "before and are not now.</p></details>\n",
                          lost[0], "what was to be forgotten", lost[1]);
    }
    lethe_free(list);
}
