/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/utf8.h"
#include "stage/eval.h"

static double percent(uint64_t part, uint64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* Width of s in code points, for aligning a column. */
static size_t width(const char *s) {
    size_t n = strlen(s), count = 0;
    for (size_t i = 0; i < n; count++) lethe_utf8_next(s, n, &i);
    return count;
}

static void pad(lethe_strbuf *out, const char *s, size_t to) {
    lethe_strbuf_adds(out, s);
    for (size_t n = width(s); n < to; n++) lethe_strbuf_adds(out, " ");
}

static void probes_table(const lethe_eval_result *r, lethe_strbuf *out) {
    size_t column = strlen("domain");
    for (size_t i = 0; i < r->n_domains; i++)
        if (width(r->domain[i].name) > column) column = width(r->domain[i].name);
    pad(out, "domain", column);
    lethe_strbuf_adds(out, r->has_ablation ? "  items  recall             log-prob a token\n"
                                           : "  items  recall   log-prob a token\n");
    for (size_t i = 0; i < r->n_domains; i++) {
        const lethe_eval_domain *d = &r->domain[i];
        const double *recall = d->recall, *lp = d->logprob;
        pad(out, d->name, column);
        lethe_strbuf_addf(out, "  %5zu  %5.1f %%", d->n, 100 * recall[LETHE_BASELINE]);
        if (r->has_ablation)
            lethe_strbuf_addf(out, " -> %5.1f %% %8.3f -> %8.3f  (%+.3f)\n",
                              100 * recall[LETHE_ABLATED], lp[LETHE_BASELINE], lp[LETHE_ABLATED],
                              lp[LETHE_ABLATED] - lp[LETHE_BASELINE]);
        else
            lethe_strbuf_addf(out, " %8.3f\n", lp[LETHE_BASELINE]);
    }
}

static void text_lines(const lethe_eval_result *r, lethe_strbuf *out) {
    const lethe_eval_text *t = &r->text;
    const double *ppl = t->perplexity;
    lethe_strbuf_addf(out, "perplexity    %.3f", ppl[LETHE_BASELINE]);
    if (r->has_ablation)
        lethe_strbuf_addf(out, " -> %.3f (%+.2f %%)", ppl[LETHE_ABLATED],
                          100 * (ppl[LETHE_ABLATED] / ppl[LETHE_BASELINE] - 1));
    lethe_strbuf_addf(out, " over %llu tokens\n", (unsigned long long)t->tokens);
    if (r->has_ablation)
        lethe_strbuf_addf(out,
                          "KL            %.5f nats a token; the most likely token stays at %.2f %% "
                          "of positions\n",
                          t->kl, 100 * t->top1_agreement);
}

static void quality_lines(const lethe_eval_result *r, lethe_strbuf *out) {
    const lethe_eval_quality *b = &r->quality[LETHE_BASELINE], *a = &r->quality[LETHE_ABLATED];
    const struct {
        const char *name, *unit;
        double base, now;
        int digits;
    } line[] = {
        {"distinct-3    ", "", b->distinct_3, a->distinct_3, 3},
        {"stuttering    ", " %", 100 * b->stuttering_rate, 100 * a->stuttering_rate, 1},
        {"degeneration  ", " %", 100 * b->degeneration_rate, 100 * a->degeneration_rate, 1}};
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        lethe_strbuf_addf(out, "%s%.*f%s", line[i].name, line[i].digits, line[i].base,
                          line[i].unit);
        if (r->has_ablation)
            lethe_strbuf_addf(out, " -> %.*f%s", line[i].digits, line[i].now, line[i].unit);
        lethe_strbuf_addf(out, " of %zu completions\n", r->n_completions);
    }
}

static void removal_line(const lethe_eval_removal *a, lethe_strbuf *out) {
    char how[160];
    lethe_intervention_text(&a->how, how, sizeof how);
    lethe_strbuf_addf(out, "              and %zu features of layer %d (%s) at %s%s\n",
                      a->num_features, a->layer, lethe_hook_name((int)a->hook), how,
                      a->compact ? " (compact gate)" : "");
}

static void activity_lines(const lethe_eval_result *r, lethe_strbuf *out) {
    if (!r->has_ablation) return;
    const lethe_hook_stats *s = &r->activity;
    const lethe_hook_stats *on_text = &r->activity_text;
    char how[160];
    lethe_intervention_text(&r->how, how, sizeof how);
    lethe_strbuf_addf(out,
                      "activity      %zu features at %s%s fired at %.2f %% of tokens (%.4f %% of "
                      "token and feature pairs)\n",
                      r->num_features, how, r->compact ? " (compact gate)" : "",
                      percent(s->rows_fired, s->rows), percent(s->fired, s->positions));
    for (size_t i = 1; i < r->n_removals; i++) removal_line(&r->removal[i], out);
    if (r->has_text)
        lethe_strbuf_addf(out, "              on the retain text at %.2f %% of tokens\n",
                          percent(on_text->rows_fired, on_text->rows));
    if (s->rows_acted == s->rows_fired) return;
    lethe_strbuf_addf(out, "              changed the stream at %.2f %% of tokens",
                      percent(s->rows_acted, s->rows));
    if (r->has_text)
        lethe_strbuf_addf(out, ", on the retain text at %.2f %%",
                          percent(on_text->rows_acted, on_text->rows));
    lethe_strbuf_adds(out, "\n");
}

void lethe_eval_table(const lethe_eval_result *r, lethe_strbuf *out) {
    if (r->opts.split != LETHE_SPLIT_ALL)
        lethe_strbuf_addf(out, "Only the half \"%s\" of facts and windows (--split all: all)\n\n",
                          lethe_split_name(r->opts.split));
    if (r->has_probes) {
        probes_table(r, out);
        lethe_strbuf_adds(out, "\n");
    }
    if (r->has_text) text_lines(r, out);
    if (r->has_completions) quality_lines(r, out);
    activity_lines(r, out);
    lethe_strbuf_adds(out, "\n");
    lethe_measures_table(&r->measures, r->has_ablation, out);
}

void lethe_eval_side_by_side(const lethe_eval_result *r, size_t n, lethe_strbuf *out) {
    if (!n || n > r->n_completions) n = r->n_completions;
    for (size_t i = 0; i < n; i++) {
        const lethe_eval_completion *c = &r->completion[i];
        lethe_strbuf_addf(out, "%sprompt    %s\n", i ? "\n" : "", c->prompt);
        lethe_strbuf_addf(out, "baseline  %s\n", c->text[LETHE_BASELINE]);
        if (r->has_ablation) lethe_strbuf_addf(out, "ablated   %s\n", c->text[LETHE_ABLATED]);
    }
}
