/* SPDX-License-Identifier: MIT
 *
 * The removal certificate: configuration, versions, fingerprints.
 */
#include <stdlib.h>
#include <string.h>

#include "stage/guard.h"
#include "stage/report_parts.h"

static void line(lethe_strbuf *out, const char *term, const json_t *value, bool mono) {
    if (!json_is_string(value) && !json_is_number(value)) return;
    lethe_strbuf_addf(out, "<dt>%s</dt><dd%s>", term, mono ? " class=\"mono\"" : "");
    if (json_is_string(value))
        lethe_report_html_json(out, value);
    else
        lethe_report_exact(out, json_number_value(value));
    lethe_strbuf_adds(out, "</dd>\n");
}

static void head(lethe_strbuf *out, const char *title) {
    lethe_strbuf_addf(
        out, "</dl>\n<dl class=\"kv\"><div class=\"vh\"><dt>Part</dt><dd>%s</dd></div>\n", title);
}

static json_t *config_at(const lethe_report *r, const char *key) {
    return json_object_get(r->config, key);
}

/* What was done at one site; a key that the method does not have is not there. */
static void removal(lethe_strbuf *out, const json_t *o) {
    const json_t *strength = json_object_get(o, "strength");
    line(out, "Layer", json_object_get(o, "layer"), false);
    line(out, "Side of the layer", json_object_get(o, "hook"), false);
    line(out, "Method", json_object_get(o, "method"), false);
    if (json_is_number(strength))
        line(out, "Strength", strength, false);
    else
        line(out, "Scale of the removed features", json_object_get(o, "ablation_scale"), false);
    line(out, "In units of the", json_object_get(o, "clamp_unit"), false);
    const char *by = json_string_value(json_object_get(o, "guard_by"));
    bool evidence = by && !strcmp(by, lethe_guard_by_name(LETHE_GUARD_EVIDENCE));
    line(out,
         evidence ? "Guard: acts above this evidence (nats)"
                  : "Guard: acts above this share of positions",
         json_object_get(o, "guard"), false);
    line(out, "Positions the guard looks back", json_object_get(o, "guard_window"), false);
    line(out, "Gate", json_object_get(o, "gate"), false);
    line(out, "Features removed", json_object_get(o, "num_features"), false);
}

/* One setting, as JSON shows it; strings without their quotes. */
static void setting(lethe_strbuf *out, const char *key, const json_t *value) {
    lethe_strbuf_adds(out, "<tr><th scope=\"row\">");
    lethe_report_htmls(out, key);
    lethe_strbuf_adds(out, "</th><td class=\"mono\">");
    if (json_is_string(value)) {
        lethe_report_html_json(out, value);
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_REAL_PRECISION(10));
        if (text)
            lethe_report_htmls(out, text);
        else
            out->status = LETHE_NOMEM;
        free(text);
    }
    lethe_strbuf_adds(out, "</td></tr>\n");
}

static void settings(const lethe_report *r, lethe_strbuf *out) {
    json_t *s = config_at(r, "settings"), *value;
    if (!json_is_object(s)) s = json_object_get(r->run, "config");
    if (!json_is_object(s)) s = r->config; /* the reference keeps all of them there */
    if (!json_object_size(s)) return;
    lethe_strbuf_adds(out, "<details><summary>Every setting</summary>\n<div class=\"scroll\" "
                           "role=\"region\" tabindex=\"0\" aria-label=\"Every setting\"><table>"
                           "<thead><tr><th scope=\"col\">Setting</th><th scope=\"col\">Value</th>"
                           "</tr></thead>\n<tbody>\n");
    const char *key;
    json_object_foreach(s, key, value) if (!json_is_null(value) && !json_is_object(value))
        setting(out, key, value);
    lethe_strbuf_adds(out, "</tbody></table></div></details>\n");
}

/* A number for the whole: the fingerprint of the files' fingerprints. */
static void seal(const lethe_report *r, lethe_strbuf *out) {
    lethe_strbuf all = {0};
    char hex[LETHE_HASH_HEX];
    for (size_t i = 0; i < r->n_files; i++)
        lethe_strbuf_addf(&all, "%s %s\n", r->file[i].hash, r->file[i].name);
    lethe_hash_bytes(lethe_strbuf_str(&all), all.len, hex);
    if (all.status) out->status = all.status;
    lethe_strbuf_free(&all);
    lethe_strbuf_addf(out,
                      "<div class=\"seal\"><svg class=\"river\" viewBox=\"0 0 44 20\" "
                      "aria-hidden=\"true\"><path d=\"M1 6c5-7 9-7 14 0s9 7 14 0 9-7 14 0\"/><path "
                      "d=\"M1 13c5-7 9-7 14 0s9 7 14 0 9-7 14 0\"/></svg><span>No. <span "
                      "class=\"mono\">%.8s\xE2\x80\x93%.8s</span></span></div>\n",
                      hex, hex + 8);
}

void lethe_report_certificate(const lethe_report *r, lethe_strbuf *out) {
    lethe_strbuf_adds(out, "<div class=\"certificate\">\n");
    seal(r, out);
    lethe_strbuf_adds(out, "<dl class=\"kv\">\n");
    line(out, "Model", config_at(r, "model_name"), false);
    line(out, "Fingerprint of the model", config_at(r, "model_hash"), true);
    const json_t *removals = config_at(r, "removals");
    size_t k;
    json_t *one;
    if (!json_array_size(removals)) removal(out, r->config);
    line(out, "Split of the questions", config_at(r, "split"), false);
    line(out, "Evaluated", lethe_report_at(r->run, "stages.eval.finished"), false);
    line(out, "Dictionary trained", lethe_report_at(r->run, "stages.train.finished"), false);
    line(out, "Training steps", lethe_report_at(r->run, "stages.train.figures.steps"), false);
    line(out, "Training tokens", lethe_report_at(r->run, "stages.train.figures.tokens"), false);
    line(out, "Variance left unexplained", lethe_report_at(r->run, "stages.train.figures.fvu"),
         false);
    line(out, "Latents", lethe_report_at(r->run, "stages.train.figures.latents"), false);
    line(out, "Lethe", json_object_get(r->run, "lethe"), false);
    line(out, "libllama", json_object_get(r->run, "libllama"), false);
    json_array_foreach(removals, k, one) {
        char title[48];
        snprintf(title, sizeof title, "removal %zu of %zu", k + 1, json_array_size(removals));
        head(out, title);
        removal(out, one);
    }
    static const char *const inputs[][2] = {{"forget", "Text to forget"},
                                            {"near", "Text near it, to keep"},
                                            {"retain", "Ordinary text, to keep"}};
    head(out, "fingerprints of the texts");
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        line(out, inputs[i][1], json_object_get(json_object_get(r->run, "inputs"), inputs[i][0]),
             true);
    head(out, "fingerprints of the files");
    for (size_t i = 0; i < r->n_files; i++) {
        lethe_strbuf_adds(out, "<dt>");
        lethe_report_htmls(out, r->file[i].name);
        lethe_strbuf_addf(out, "</dt><dd class=\"mono\">%s</dd>\n", r->file[i].hash);
    }
    lethe_strbuf_adds(out,
                      "</dl>\n<p class=\"note\">Fingerprints are XXH3 with 128 bits: they tell "
                      "that two files are the same, not that nobody forged one.</p>\n");
    settings(r, out);
    lethe_strbuf_adds(out, "</div>\n");
}
