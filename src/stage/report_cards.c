/* SPDX-License-Identifier: MIT
 *
 * Feature cards, from cards.json.
 */
#include <math.h>
#include <string.h>

#include "stage/report_parts.h"

#define CARDS 48u   /* on the page; all are in cards.json */
#define CONTEXTS 4u /* of the text to forget on a card, and one of each other text */
#define LEVELS 6

static const char *const roles[] = {"forget", "near", "retain"};

static void put_share(lethe_strbuf *out, const json_t *v, const char *format) {
    char text[48] = "\xE2\x80\x93";
    if (json_is_number(v)) lethe_report_number(json_number_value(v), format, text, sizeof text);
    lethe_strbuf_adds(out, text);
}

/* Tokens show what would not be seen: a line break, a tab. */
static void put_token(lethe_strbuf *out, const json_t *token) {
    if (!json_is_string(token)) return;
    const char *s = json_string_value(token), *end = s + json_string_length(token);
    for (const char *at = s; at < end;) {
        const char *stop = at;
        while (stop < end && *stop != '\n' && *stop != '\t') stop++;
        lethe_report_html(out, at, (size_t)(stop - at));
        if (stop < end) lethe_strbuf_adds(out, *stop == '\n' ? "\xE2\x86\xB5" : "\xE2\x87\xA5");
        at = stop + 1;
    }
}

static void token_list(const json_t *card, const char *key, const char *title, lethe_strbuf *out) {
    const json_t *list = json_object_get(card, key);
    if (!json_array_size(list)) return;
    lethe_strbuf_addf(out, "<p class=\"tokens\"><b>%s</b>", title);
    size_t i;
    json_t *t;
    json_array_foreach(list, i, t) {
        if (i >= 8) break;
        lethe_strbuf_adds(out, " <span class=\"tok\" dir=\"auto\">");
        put_token(out, json_object_get(t, "token"));
        lethe_strbuf_adds(out, "</span>");
    }
    lethe_strbuf_adds(out, "</p>\n");
}

static void context(const json_t *c, lethe_strbuf *out) {
    const json_t *tokens = json_object_get(c, "tokens"), *z = json_object_get(c, "activations");
    double peak = json_number_value(json_object_get(c, "peak"));
    lethe_strbuf_adds(out, "<li dir=\"auto\"><span class=\"role\">");
    lethe_report_html_json(out, json_object_get(c, "role"));
    lethe_strbuf_adds(out, "</span>");
    size_t i;
    json_t *t;
    json_array_foreach(tokens, i, t) {
        double v = json_number_value(json_array_get(z, i));
        int level = v > 0 && peak > 0 ? (int)ceil(LEVELS * v / peak) : 0;
        if (level > LEVELS) level = LEVELS;
        if (level) lethe_strbuf_addf(out, "<mark class=\"h%d\" title=\"%.3g\">", level, v);
        put_token(out, t);
        if (level) lethe_strbuf_adds(out, "</mark>");
    }
    lethe_strbuf_adds(out, "</li>\n");
}

static double count_at(const json_t *h, const char *role, size_t bin) {
    return json_number_value(json_array_get(json_object_get(h, role), bin));
}

/* Bars: the text to forget; before them, the two others together. Heights are log(1 + count). */
static void histogram(const json_t *card, lethe_strbuf *out) {
    const json_t *h = json_object_get(card, "histogram");
    size_t bins = json_array_size(json_object_get(h, "forget"));
    double most = 0;
    for (size_t i = 0; i < bins; i++)
        for (int k = 0; k < 2; k++) {
            double n =
                k ? count_at(h, "near", i) + count_at(h, "retain", i) : count_at(h, "forget", i);
            if (n > most) most = n;
        }
    if (most <= 0) return;
    lethe_strbuf_adds(out, "<svg class=\"hist\" role=\"img\" aria-label=\"Histogram of activations "
                           "on the text to forget and on the rest\">");
    for (size_t i = 0; i < bins; i++)
        for (int k = 0; k < 2; k++) {
            double n =
                k ? count_at(h, "near", i) + count_at(h, "retain", i) : count_at(h, "forget", i);
            double tall = 100 * log1p(n) / log1p(most), wide = 100.0 / (double)bins;
            if (n > 0)
                lethe_strbuf_addf(out,
                                  "<rect class=\"%s\" x=\"%.2f%%\" y=\"%.1f%%\" width=\"%.2f%%\" "
                                  "height=\"%.1f%%\"/>",
                                  k ? "k" : "f-after", wide * ((double)i + (k ? 0.55 : 0.08)),
                                  100 - tall, wide * (k ? 0.35 : 0.45), tall);
        }
    lethe_strbuf_adds(out, "</svg>\n");
}

static void card(const json_t *f, lethe_strbuf *out) {
    lethe_strbuf_addf(out, "<article class=\"card\" id=\"f-%lld\"><header><h3>Feature %lld</h3>",
                      (long long)json_integer_value(json_object_get(f, "index")),
                      (long long)json_integer_value(json_object_get(f, "index")));
    lethe_strbuf_adds(out, "<div class=\"share\">");
    put_share(out, json_object_get(f, "share"), "share");
    lethe_strbuf_adds(out, " of the effect");
    const json_t *effect = json_object_get(f, "effect");
    if (json_is_number(effect)) {
        lethe_strbuf_adds(out, "; measured ");
        put_share(out, effect, "real+");
    }
    lethe_strbuf_adds(out, "</div></header>\n<dl>");
    static const char *const titles[] = {"fires: to forget", "near", "to keep"};
    for (int k = 0; k < 3; k++) {
        lethe_strbuf_addf(out, "<dt>%s</dt><dd>", titles[k]);
        put_share(
            out,
            json_object_get(json_object_get(json_object_get(f, "statistics"), roles[k]), "freq"),
            "rate");
        lethe_strbuf_adds(out, "</dd>");
    }
    lethe_strbuf_adds(out, "</dl>\n");
    histogram(f, out);
    token_list(f, "promotes", "makes likelier", out);
    token_list(f, "suppresses", "makes less likely", out);
    const json_t *contexts = json_object_get(f, "contexts");
    if (json_array_size(contexts)) lethe_strbuf_adds(out, "<ul class=\"ctx\">\n");
    size_t i, shown[3] = {0};
    json_t *c;
    json_array_foreach(contexts, i, c) {
        const char *role = json_string_value(json_object_get(c, "role"));
        for (size_t k = 0; role && k < 3; k++)
            if (!strcmp(role, roles[k]) && shown[k]++ < (k ? 1 : CONTEXTS)) context(c, out);
    }
    if (json_array_size(contexts)) lethe_strbuf_adds(out, "</ul>");
    lethe_strbuf_adds(out, "</article>\n");
}

void lethe_report_cards(const lethe_report *r, lethe_strbuf *out) {
    const json_t *list = json_object_get(r->cards, "features");
    size_t n = json_array_size(list), i;
    lethe_strbuf_adds(
        out,
        "<ul class=\"legend\"><li class=\"k-after\">activations on the text to forget</li>"
        "<li class=\"k-c2\">on all other text</li></ul>\n"
        "<div class=\"tools needs-js\" data-items=\".card\" role=\"search\"><input "
        "type=\"search\" placeholder=\"Search features by word or number\" aria-label=\"Search "
        "features by word or number\"><span class=\"count\" role=\"status\"></span></div>\n"
        "<div class=\"cards\">\n");
    json_t *f;
    json_array_foreach(list, i, f) if (i < CARDS) card(f, out);
    lethe_strbuf_adds(out, "</div>\n");
    if (n > CARDS)
        lethe_strbuf_addf(out,
                          "<p class=\"note\">The %u features that do most, of %zu; all are in "
                          "cards.json.</p>\n",
                          CARDS, n);
}
