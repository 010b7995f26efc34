/* SPDX-License-Identifier: MIT
 *
 * Charts as SVG. Lengths along the page are in per cent and text stands outside of the drawing, so
 * that a chart is as readable on a phone as on a desk. Colours are classes: the page's policy
 * allows no style attributes.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "stage/report_parts.h"

static void put_number(lethe_strbuf *out, double v, const char *format) {
    char text[48];
    lethe_report_number(v, format, text, sizeof text);
    for (const char *s = text; *s; s++)
        if (*s == '-')
            lethe_strbuf_adds(out, "\xE2\x88\x92");
        else
            lethe_strbuf_add(out, s, 1);
}

static void figure(lethe_strbuf *out, const char *title) {
    lethe_strbuf_addf(out, "<figure class=\"panel\"><figcaption>%s</figcaption>\n", title);
}

/* ---- bars before and after, a pair a domain -------------------------------------------------- */

static double percent(double v, double most) {
    double p = most > 0 ? 100 * fabs(v) / most : 0;
    return p > 100 ? 100 : p;
}

static void one_bar(const report_value *v, double most, int y, const char *class_name,
                    lethe_strbuf *out) {
    double p = percent(v->v, most);
    lethe_strbuf_addf(out,
                      "<rect class=\"%s\" x=\"0\" y=\"%d\" width=\"%.2f%%\" height=\"14\" "
                      "rx=\"2\"/>",
                      class_name, y, p < 0.4 ? 0.4 : p);
    if (!v->interval) return;
    lethe_strbuf_addf(out,
                      "<line class=\"whisker\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" y2=\"%d\"/>",
                      percent(v->low, most), percent(v->high, most), y + 7, y + 7);
}

/* v: before and after. */
static void pair_of_bars(const char *title, bool chip, const report_value *v, double most,
                         const char *format, lethe_strbuf *out) {
    lethe_strbuf_adds(out, "<div class=\"bar\"><div class=\"label\">");
    if (chip) lethe_strbuf_adds(out, "<b>");
    lethe_report_htmls(out, title);
    if (chip) lethe_strbuf_adds(out, "</b> <span class=\"chip\">to forget</span>");
    lethe_strbuf_adds(out, "</div><svg role=\"img\" aria-label=\"");
    lethe_report_htmls(out, title);
    for (int s = 0; s < REPORT_SHIFT; s++) {
        if (!v[s].known) continue;
        lethe_strbuf_adds(out, s ? ", after " : ": before ");
        put_number(out, v[s].v, format);
    }
    lethe_strbuf_adds(out, "\">");
    if (v[0].known) one_bar(&v[0], most, 2, "f-before", out);
    if (v[1].known) one_bar(&v[1], most, 19, "f-after", out);
    lethe_strbuf_adds(out, "</svg><div class=\"vals\" aria-hidden=\"true\"><div class=\"b\">");
    if (v[0].known) put_number(out, v[0].v, format);
    lethe_strbuf_adds(out, "</div><div>");
    if (v[1].known) put_number(out, v[1].v, format);
    lethe_strbuf_adds(out, "</div></div></div>\n");
}

static void domain_bars(const lethe_report *r, bool recall, lethe_strbuf *out) {
    const char *format = recall ? "share" : "nats";
    double most = recall ? 1 : 0;
    for (size_t i = 0; !recall && i < r->n_domains; i++)
        for (int s = 0; s < REPORT_SHIFT; s++) {
            const report_value *v = &r->domain[i].logprob[s];
            if (v->known && fabs(v->v) > most) most = fabs(v->v);
            if (v->interval && fabs(v->low) > most) most = fabs(v->low);
        }
    figure(out, recall ? "What it still knows" : "How sure it is of the right answer");
    lethe_strbuf_adds(out, "<ul class=\"legend\"><li class=\"k-before\">before</li>");
    if (r->ablated) lethe_strbuf_adds(out, "<li class=\"k-after\">after</li>");
    lethe_strbuf_adds(out, "</ul>\n");
    for (size_t i = 0; i < r->n_domains; i++) {
        const report_domain *d = &r->domain[i];
        pair_of_bars(d->title, d->forget, recall ? d->recall : d->logprob, most, format, out);
    }
    lethe_strbuf_adds(out, "<div class=\"axis\" aria-hidden=\"true\"><span>0</span><span>");
    put_number(out, recall ? 1 : -most, recall ? "share" : "nats");
    lethe_strbuf_adds(out, "</span></div>\n<p class=\"note\">");
    lethe_strbuf_adds(out, recall ? "Share of questions where every token of the answer is the "
                                    "likeliest one."
                                  : "Mean log-probability of the answer, in nats a token: a short "
                                    "bar is sure, a long one is not.");
    lethe_strbuf_adds(out, "</p></figure>\n");
}

/* Recall under each attack, most that is left first. */
static void attack_bars(const lethe_report *r, lethe_strbuf *out) {
    const json_t *measures = json_object_get(r->eval, "measures");
    json_t *m;
    size_t i, n = 0;
    bool done[512] = {false};
    for (;; n++) { /* a selection sort: attacks are few */
        size_t best = sizeof done;
        double most = -1;
        json_array_foreach(measures, i, m) {
            const char *group = json_string_value(json_object_get(m, "group")),
                       *unit = json_string_value(json_object_get(m, "unit"));
            report_value v = lethe_report_measured(m, "ablated");
            if (i >= sizeof done || done[i] || !group || strcmp(group, "attack") || !unit ||
                strcmp(unit, "share") || !v.known || v.v <= most)
                continue;
            best = i;
            most = v.v;
        }
        if (best == sizeof done) break;
        if (!n) {
            figure(out, "What still comes back");
            lethe_strbuf_adds(out, "<ul class=\"legend\"><li class=\"k-before\">before</li>"
                                   "<li class=\"k-after\">after</li></ul>\n<div "
                                   "class=\"many\">\n");
        }
        done[best] = true;
        m = json_array_get(measures, best);
        const report_value v[2] = {lethe_report_measured(m, "baseline"),
                                   lethe_report_measured(m, "ablated")};
        char title[128];
        lethe_report_measure_title(m, title, sizeof title);
        pair_of_bars(title, false, v, 1, "share", out);
    }
    if (n)
        lethe_strbuf_adds(out,
                          "</div><p class=\"note\">Share of the questions that it answers when "
                          "they are asked in this way.</p></figure>\n");
}

/* ---- judges --------------------------------------------------------------------------------- */

static void judge_side(const json_t *judge, bool after, lethe_strbuf *out) {
    double n[4], sum = 0, at = 0;
    for (int c = 0; c < 4; c++) {
        n[c] = lethe_report_judged(judge, after, lethe_report_classes[c]);
        sum += n[c] > 0 ? n[c] : 0;
    }
    if (sum <= 0) return;
    lethe_strbuf_addf(out,
                      "<div class=\"bar\"><div class=\"label\">%s</div><svg role=\"img\" "
                      "aria-label=\"",
                      after ? "after" : "before");
    for (int c = 0; c < 4; c++)
        if (n[c] >= 0)
            lethe_strbuf_addf(out, "%s%s %.0f", c ? ", " : "", lethe_report_classes[c], n[c]);
    lethe_strbuf_adds(out, "\">");
    for (int c = 0; c < 4; c++) {
        if (n[c] <= 0) continue;
        lethe_strbuf_addf(out,
                          "<rect class=\"f-c%d\" x=\"%.2f%%\" y=\"4\" width=\"%.2f%%\" "
                          "height=\"28\"/>",
                          c + 1, 100 * at / sum, 100 * n[c] / sum);
        at += n[c];
    }
    lethe_strbuf_addf(out, "</svg><div class=\"vals\" aria-hidden=\"true\">%.0f %s</div></div>\n",
                      sum, sum == 1 ? "text" : "texts");
}

static void judge_bars(const lethe_report *r, lethe_strbuf *out) {
    json_t *judges = lethe_report_judges(r), *judge;
    size_t i;
    json_array_foreach(judges, i, judge) {
        lethe_strbuf_adds(out, "<figure class=\"panel\"><figcaption>Judge: ");
        lethe_report_html_json(out, json_object_get(judge, "name"));
        lethe_strbuf_adds(out, "</figcaption>\n<ul class=\"legend\">");
        for (int c = 0; c < 4; c++)
            lethe_strbuf_addf(out, "<li class=\"k-c%d\">%s</li>", c + 1, lethe_report_classes[c]);
        lethe_strbuf_adds(out, "</ul>\n");
        judge_side(judge, false, out);
        judge_side(judge, true, out);
        lethe_strbuf_adds(out, "</figure>\n");
    }
    if (!judges) out->status = LETHE_NOMEM;
    json_decref(judges);
}

/* ---- points and lines ------------------------------------------------------------------------ */

typedef struct frame {
    double x0, x1, y0, y1;
} frame;

static void widen(frame *f, double x, double y) {
    if (x < f->x0) f->x0 = x;
    if (x > f->x1) f->x1 = x;
    if (y < f->y0) f->y0 = y;
    if (y > f->y1) f->y1 = y;
}

static frame frame_new(void) {
    return (frame){DBL_MAX, -DBL_MAX, DBL_MAX, -DBL_MAX};
}

static double across(const frame *f, double x) {
    return f->x1 > f->x0 ? 100 * (x - f->x0) / (f->x1 - f->x0) : 50;
}
static double down(const frame *f, double y) {
    return f->y1 > f->y0 ? 100 * (f->y1 - y) / (f->y1 - f->y0) : 50;
}

static void plot_open(const frame *f, const char *class_name, const char *label,
                      lethe_strbuf *out) {
    lethe_strbuf_addf(out, "<div class=\"plot%s\"><div class=\"y\" aria-hidden=\"true\"><span>",
                      class_name);
    put_number(out, f->y1, "real");
    lethe_strbuf_adds(out, "</span><span>");
    put_number(out, f->y0, "real");
    lethe_strbuf_addf(out, "</span></div><svg role=\"img\" aria-label=\"%s\">", label);
}

static void plot_close(const frame *f, const char *x_title, lethe_strbuf *out) {
    lethe_strbuf_adds(out, "</svg><div class=\"x\" aria-hidden=\"true\"><span>");
    put_number(out, f->x0, "real");
    lethe_strbuf_addf(out, "</span><span>%s</span><span>", x_title);
    put_number(out, f->x1, "real");
    lethe_strbuf_adds(out, "</span></div></div>\n");
}

static void line_open(const char *class_name, lethe_strbuf *out) {
    lethe_strbuf_addf(out,
                      "<svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" width=\"100%%\" "
                      "height=\"100%%\"><polyline class=\"%s\" points=\"",
                      class_name);
}

/* The course of one figure of the training. */
static void curve(const json_t *step, const json_t *y, const char *title, lethe_strbuf *out) {
    size_t n = json_array_size(step);
    if (n < 2 || json_array_size(y) != n) return;
    frame f = frame_new();
    for (size_t i = 0; i < n; i++) {
        const json_t *a = json_array_get(step, i), *b = json_array_get(y, i);
        if (json_is_number(a) && json_is_number(b))
            widen(&f, json_number_value(a), json_number_value(b));
    }
    if (f.y0 > 0 && f.y0 < 0.5 * f.y1) f.y0 = 0;
    lethe_strbuf label = {0};
    lethe_strbuf_addf(&label, "%s over the steps of the training", title);
    figure(out, title);
    plot_open(&f, " low", lethe_strbuf_str(&label), out);
    lethe_strbuf_free(&label);
    line_open("curve", out);
    for (size_t i = 0; i < n; i++) {
        const json_t *a = json_array_get(step, i), *b = json_array_get(y, i);
        if (json_is_number(a) && json_is_number(b))
            lethe_strbuf_addf(out, "%s%.2f,%.2f", i ? " " : "", across(&f, json_number_value(a)),
                              down(&f, json_number_value(b)));
    }
    lethe_strbuf_adds(out, "\"/></svg>");
    plot_close(&f, "steps", out);
    lethe_strbuf_adds(out, "</figure>\n");
}

static void training(const lethe_report *r, lethe_strbuf *out) {
    const json_t *c = lethe_report_at(r->run, "stages.train.figures.curve"),
                 *step = json_object_get(c, "step");
    curve(step, json_object_get(c, "fvu"), "Variance left unexplained", out);
    curve(step, json_object_get(c, "dead"), "Dead latents", out);
}

/* ---- the search: forgetting against damage --------------------------------------------------- */

static bool trial_at(const json_t *trial, double *damage, double *forget) {
    const json_t *d = json_object_get(trial, "damage"), *f = json_object_get(trial, "forget");
    *damage = json_number_value(d);
    *forget = json_number_value(f);
    return json_is_number(d) && json_is_number(f);
}

static bool on_front(const json_t *trial) {
    return json_is_true(json_object_get(trial, "front"));
}

/* The front's points by damage, as a line; a simple selection: fronts are short. */
static void front_line(const json_t *trials, const frame *f, lethe_strbuf *out) {
    line_open("front", out);
    double last = -DBL_MAX;
    for (bool more = true; more;) {
        double best_x = DBL_MAX, best_y = 0, x, y;
        more = false;
        size_t i;
        json_t *t;
        json_array_foreach(trials, i, t) {
            if (!on_front(t) || !trial_at(t, &x, &y) || x <= last || x >= best_x) continue;
            best_x = x;
            best_y = y;
            more = true;
        }
        if (!more) break;
        lethe_strbuf_addf(out, "%.2f,%.2f ", across(f, best_x), down(f, best_y));
        last = best_x;
    }
    lethe_strbuf_adds(out, "\"/></svg>");
}

static void pareto(const lethe_report *r, lethe_strbuf *out) {
    const json_t *trials = json_object_get(r->tune, "trials"),
                 *chosen = json_object_get(r->tune, "chosen");
    frame f = frame_new();
    size_t i, n = 0;
    json_t *t;
    double x, y;
    json_array_foreach(trials, i, t) if (trial_at(t, &x, &y)) {
        widen(&f, x, y);
        n++;
    }
    if (!n) return;
    figure(out, "Forgetting against damage");
    lethe_strbuf_adds(out, "<ul class=\"legend\"><li class=\"k-before\">a trial</li>"
                           "<li class=\"k-after\">none is better in both</li>"
                           "<li class=\"k-c1\">chosen</li></ul>\n");
    char label[120];
    snprintf(label, sizeof label, "%zu trials: damage across, what is left of the forgotten upward",
             n);
    plot_open(&f, "", label, out);
    front_line(trials, &f, out);
    for (int front = 0; front < 2; front++) json_array_foreach(trials, i, t) {
            if (!trial_at(t, &x, &y) || on_front(t) != (front == 1)) continue;
            lethe_strbuf_addf(out, "<circle class=\"dot%s\" cx=\"%.2f%%\" cy=\"%.2f%%\" r=\"%d\"/>",
                              front ? " front" : "", across(&f, x), down(&f, y), front ? 5 : 4);
            const json_t *number = json_object_get(t, "number");
            if (json_is_integer(number) && json_is_integer(chosen) &&
                json_integer_value(number) == json_integer_value(chosen))
                lethe_strbuf_addf(out,
                                  "<circle class=\"ring\" cx=\"%.2f%%\" cy=\"%.2f%%\" r=\"9\"/>",
                                  across(&f, x), down(&f, y));
        }
    plot_close(&f, "damage", out);
    lethe_strbuf_adds(out,
                      "<p class=\"note\">Upward: what is left of what was to be forgotten. To "
                      "the right: damage. The best corner is the lower left one.</p></figure>\n");
}

void lethe_report_charts(const lethe_report *r, const char *which, lethe_strbuf *out) {
    if (!strcmp(which, "domains") && r->n_domains) {
        lethe_strbuf_adds(out, "<div class=\"two\">\n");
        bool recall = false;
        for (size_t i = 0; i < r->n_domains; i++) recall |= r->domain[i].recall[0].known;
        if (recall) domain_bars(r, true, out);
        domain_bars(r, false, out);
        lethe_strbuf_adds(out, "</div>\n");
    } else if (!strcmp(which, "attacks")) {
        attack_bars(r, out);
    } else if (!strcmp(which, "judges")) {
        lethe_strbuf_adds(out, "<div class=\"two\">\n");
        judge_bars(r, out);
        lethe_strbuf_adds(out, "</div>\n");
    } else if (!strcmp(which, "training")) {
        lethe_strbuf_adds(out, "<div class=\"two\">\n");
        training(r, out);
        lethe_strbuf_adds(out, "</div>\n");
    } else if (!strcmp(which, "tune")) {
        pareto(r, out);
    }
}
