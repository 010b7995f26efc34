/* SPDX-License-Identifier: MIT
 *
 * The page: what is read first, then part after part. A part without results is not there, nor is
 * its entry in the list at the top.
 */
#include <string.h>

#include "stage/report_parts.h"

#define RIVER                                                                                     \
    "<path d=\"M1 6c5-7 9-7 14 0s9 7 14 0 9-7 14 0\"/><path d=\"M1 13c5-7 9-7 14 0s9 7 14 0 9-7 " \
    "14 0\"/>"

static const json_t *find(const json_t *tables, const char *id) {
    size_t i;
    json_t *t;
    json_array_foreach(tables, i,
                       t) if (!strcmp(json_string_value(json_object_get(t, "id")), id)) return t;
    return NULL;
}

static void table(const json_t *tables, const char *id, lethe_strbuf *out) {
    const json_t *t = find(tables, id);
    if (t) lethe_report_table_html(t, out);
}

/* ---- which parts there are ------------------------------------------------------------------- */

typedef enum part {
    FORGETTING,
    ATTACKS,
    COST,
    JUDGES,
    SIDES,
    FEATURES,
    TUNING,
    TRAINING,
    PROOF,
    PARTS
} part;

static const struct {
    const char *id, *link, *title, *about;
} parts[PARTS] = {
    {"forgetting", "Forgetting", "What was forgotten",
     "The same questions, asked of the model as it is and of the model with the removal switched "
     "on."},
    {"attacks", "Attacks", "Can it be brought back?",
     "The same knowledge, asked for in ways that might get around the removal."},
    {"cost", "Cost", "What it cost",
     "A removal is worth as much as what it leaves alone: other knowledge, and ordinary text."},
    {"judges", "Judges", "What judges say of the completions",
     "Every completion was put into one of four classes."},
    {"completions", "Completions", "Side by side",
     "What the model writes behind the same beginning, before and after."},
    {"features", "Features", "What was removed",
     "Each card is one direction of the model's memory: the passages that it fires on, the words "
     "that it makes likelier, and how often it fires where."},
    {"tuning", "Tuning", "The search for this setting",
     "Every trial weighs forgetting against damage; the front is what no other trial beats in "
     "both."},
    {"training", "Training", "How the dictionary was trained",
     "The sparse autoencoder that the features are taken from."},
    {"certificate", "Certificate", "Removal certificate",
     "What was done, to what, with what: enough to do it again and to check that it is the same."},
};

static bool has_curve(const lethe_report *r) {
    return json_array_size(lethe_report_at(r->run, "stages.train.figures.curve.step")) > 1;
}

static bool has_part(const lethe_report *r, const json_t *tables, part p) {
    switch (p) {
    case FORGETTING: return r->n_domains || find(tables, "forget");
    case ATTACKS: return find(tables, "attack") != NULL;
    case COST: return find(tables, "quality") || find(tables, "retain");
    case JUDGES: return find(tables, "judge") != NULL;
    case SIDES: return json_array_size(json_object_get(r->eval, "side_by_side")) > 0;
    case FEATURES: return json_array_size(json_object_get(r->cards, "features")) > 0;
    case TUNING: return json_array_size(json_object_get(r->tune, "trials")) > 0;
    case TRAINING: return has_curve(r);
    case PROOF: return true;
    case PARTS: break;
    }
    return false;
}

static void put_part(const lethe_report *r, const json_t *tables, part p, lethe_strbuf *out) {
    lethe_strbuf_addf(out,
                      "<section class=\"part\" id=\"%s\" aria-labelledby=\"h-%s\">\n<h2 "
                      "id=\"h-%s\">%s</h2>\n<p>%s</p>\n",
                      parts[p].id, parts[p].id, parts[p].id, parts[p].title, parts[p].about);
    switch (p) {
    case FORGETTING:
        lethe_report_charts(r, "domains", out);
        table(tables, "recall", out);
        table(tables, "logprob", out);
        table(tables, "forget", out);
        lethe_report_examples(r, out);
        break;
    case ATTACKS:
        lethe_report_charts(r, "attacks", out);
        table(tables, "attack", out);
        break;
    case COST:
        table(tables, "quality", out);
        table(tables, "retain", out);
        break;
    case JUDGES:
        lethe_report_charts(r, "judges", out);
        table(tables, "judge", out);
        table(tables, "agreement", out);
        break;
    case SIDES: lethe_report_sides(r, out); break;
    case FEATURES: lethe_report_cards(r, out); break;
    case TUNING:
        lethe_report_charts(r, "tune", out);
        table(tables, "tune", out);
        table(tables, "tuned", out);
        break;
    case TRAINING: lethe_report_charts(r, "training", out); break;
    case PROOF: lethe_report_certificate(r, out); break;
    case PARTS: break;
    }
    lethe_strbuf_adds(out, "</section>\n");
}

/* ---- what is read first ---------------------------------------------------------------------- */

static void tile(const char *what, const report_value *before, const report_value *after,
                 const char *format, lethe_strbuf *out) {
    char a[48], b[48]; /* with "-": no tile but one of log-probabilities is below 0 */
    lethe_report_number(before->v, format, a, sizeof a);
    lethe_report_number(after->v, format, b, sizeof b);
    lethe_strbuf_adds(out, "<li class=\"tile\"><div class=\"what\">");
    lethe_report_htmls(out, what);
    lethe_strbuf_addf(out, "</div><div class=\"big\">%s</div><div class=\"was\">", b);
    if (before->known) lethe_strbuf_addf(out, "before: %s", a);
    lethe_strbuf_adds(out, "</div>");
    if (!strcmp(format, "share"))
        lethe_strbuf_addf(out,
                          "<svg aria-hidden=\"true\"><rect class=\"f-track\" width=\"100%%\" "
                          "height=\"8\" rx=\"4\"/><rect class=\"f-before\" width=\"%.1f%%\" "
                          "height=\"8\" rx=\"4\"/><rect class=\"f-after\" width=\"%.1f%%\" "
                          "height=\"8\" rx=\"4\"/></svg>",
                          before->known ? 100 * before->v : 0, 100 * after->v);
    lethe_strbuf_adds(out, "</li>\n");
}

static void tiles(const lethe_report *r, lethe_strbuf *out) {
    const report_domain *d = lethe_report_forgotten(r);
    char what[160];
    lethe_strbuf_adds(out, "<ul class=\"tiles\">\n");
    if (d && d->recall[REPORT_SHIFT].known) {
        snprintf(what, sizeof what, "known of %s", d->title);
        tile(what, &d->recall[0], &d->recall[1], "share", out);
    } else if (d && d->logprob[REPORT_SHIFT].known) {
        snprintf(what, sizeof what, "log-probability of answers: %s", d->title);
        tile(what, &d->logprob[0], &d->logprob[1], "nats", out);
    }
    if (r->worst_attack.known) {
        snprintf(what, sizeof what, "known under the worst attack");
        tile(what, &r->worst_attack_base, &r->worst_attack, "share", out);
    }
    if (r->recall_keep[REPORT_SHIFT].known)
        tile("known of everything else", &r->recall_keep[0], &r->recall_keep[1], "share", out);
    if (r->perplexity[REPORT_SHIFT].known)
        tile("perplexity of ordinary text", &r->perplexity[0], &r->perplexity[1], "ppl", out);
    if (r->kl.known)
        tile("KL divergence on ordinary text, nats a token", &(report_value){0}, &r->kl, "kl", out);
    else if (r->degeneration[REPORT_SHIFT].known)
        tile("degenerate completions", &r->degeneration[0], &r->degeneration[1], "share", out);
    lethe_strbuf_adds(out, "</ul>\n");
}

/* Prose with figures: the typographer's minus before a digit, no line break before a unit. */
static void lead(const char *text, lethe_strbuf *out) {
    if (!*text) return;
    lethe_strbuf_adds(out, "<p class=\"lead\">");
    for (const char *at = text; *at;) {
        size_t plain = strcspn(at, "- ");
        lethe_report_html(out, at, plain);
        at += plain;
        if (*at == '-' && at[1] >= '0' && at[1] <= '9')
            lethe_strbuf_adds(out, "\xE2\x88\x92");
        else if (*at == ' ' && (at[1] == '%' || !strncmp(at + 1, "nats", 4)))
            lethe_strbuf_adds(out, "\xC2\xA0");
        else
            lethe_strbuf_add(out, at, *at != '\0');
        at += *at != '\0';
    }
    lethe_strbuf_adds(out, "</p>\n");
}

static void hero(const lethe_report *r, lethe_strbuf *out) {
    report_verdict v;
    lethe_report_judge(r, &v);
    lethe_strbuf_addf(out,
                      "<div class=\"hero\" data-grade=\"%s\">\n<p class=\"eyebrow\">Removal "
                      "report \xC2\xB7 ",
                      v.grade);
    lethe_report_htmls(out, r->name);
    lethe_strbuf_adds(out, "</p>\n<h1>");
    lethe_report_htmls(out, v.headline);
    lethe_strbuf_adds(out, "</h1>\n");
    lead(v.forgot, out);
    lead(v.attack, out);
    lead(v.cost, out);
    lethe_strbuf_adds(
        out, "<svg class=\"wave river\" viewBox=\"0 0 1200 60\" preserveAspectRatio=\"none\" "
             "aria-hidden=\"true\">"
             "<path d=\"M0 20c100-22 200-22 300 0s200 22 300 0 200-22 300 0 200 22 300 0\"/>"
             "<path class=\"w2\" d=\"M0 34c100-22 200-22 300 0s200 22 300 0 200-22 300 0 200 22 "
             "300 0\"/>"
             "<path class=\"w3\" d=\"M0 48c100-22 200-22 300 0s200 22 300 0 200-22 300 0 200 22 "
             "300 0\"/>"
             "</svg>\n");
    if (r->ablated) tiles(r, out);
    lethe_strbuf_adds(out, "</div>\n");
}

/* ---- the page -------------------------------------------------------------------------------- */

static void head(const lethe_report *r, lethe_strbuf *out) {
    lethe_strbuf_addf(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'sha256-%s'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<meta name=\"referrer\" content=\"no-referrer\">\n<title>",
        lethe_report_css_sha256, lethe_report_js_sha256);
    lethe_report_htmls(out, r->name);
    lethe_strbuf_adds(out, " \xE2\x80\x93 removal report</title>\n<style>");
    lethe_strbuf_adds(out, lethe_report_css);
    lethe_strbuf_adds(out, "</style>\n</head>\n");
}

static void top(const lethe_report *r, const json_t *tables, lethe_strbuf *out) {
    lethe_strbuf_adds(
        out, "<body>\n<a class=\"skip\" href=\"#main\">To the text</a>\n"
             "<header class=\"top\"><div class=\"top-in\">\n"
             "<a class=\"brand\" href=\"#main\"><svg class=\"river\" viewBox=\"0 0 44 20\" "
             "aria-hidden=\"true\">" RIVER "</svg>Lethe</a>\n"
             "<nav aria-label=\"Parts of the report\"><ul>");
    for (int p = 0; p < PARTS; p++)
        if (has_part(r, tables, (part)p))
            lethe_strbuf_addf(out, "<li><a href=\"#%s\">%s</a></li>", parts[p].id, parts[p].link);
    lethe_strbuf_adds(
        out, "</ul></nav>\n<div class=\"theme needs-js\" role=\"group\" aria-label=\"Colours\">"
             "<button type=\"button\" value=\"auto\" aria-pressed=\"true\">Auto</button>"
             "<button type=\"button\" value=\"light\" aria-pressed=\"false\">Light</button>"
             "<button type=\"button\" value=\"dark\" aria-pressed=\"false\">Dark</button>"
             "</div>\n</div></header>\n");
}

void lethe_report_page(const lethe_report *r, const json_t *tables, lethe_strbuf *out) {
    head(r, out);
    top(r, tables, out);
    lethe_strbuf_adds(out, "<main id=\"main\">\n");
    hero(r, out);
    for (int p = 0; p < PARTS; p++)
        if (has_part(r, tables, (part)p)) put_part(r, tables, (part)p, out);
    lethe_strbuf_adds(out, "</main>\n<footer><div>Made by Lethe ");
    lethe_report_htmls(out, r->version);
    lethe_strbuf_adds(out, ". Nothing on this page was loaded from anywhere else; no weight of the "
                           "model was changed, and with the removal switched off it is whole "
                           "again.</div></footer>\n<script>");
    lethe_strbuf_adds(out, lethe_report_js);
    lethe_strbuf_adds(out, "</script>\n</body>\n</html>\n");
}
