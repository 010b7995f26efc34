/* SPDX-License-Identifier: MIT
 *
 * The search for people: the front as a table and as a plot of characters.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stage/tune.h"

static void head(lethe_strbuf *out) {
    lethe_strbuf_addf(out, "%-10s %5s %5s  %-22s %-52s %7s %7s %7s %8s\n", "", "layer", "feat.",
                      "ranking", "method", "recall", "attack", "retain", "KL");
}

static void line(const char *name, const lethe_trial *t, lethe_strbuf *out) {
    const lethe_gauge_figures *f = &t->figures;
    char how[96];
    lethe_intervention_text(&t->params.how, how, sizeof how);
    lethe_strbuf_addf(out, "%-10s %5d %5zu  %-22s %-52s ", name, t->params.layer, t->features,
                      t->params.select, how);
    if (t->failed)
        lethe_strbuf_adds(out, "not measured\n");
    else
        lethe_strbuf_addf(out, "%6.1f%% %6.1f%% %6.1f%% %8.4f\n", 100 * f->forget_recall,
                          100 * f->worst_attack, 100 * f->retain_recall, f->kl);
}

void lethe_tune_table(const lethe_tune_result *r, lethe_strbuf *out) {
    const lethe_tune_report *p = &r->report;
    size_t front = 0;
    for (size_t i = 0; i < r->n; i++) front += !r->trial[i].rank && !r->trial[i].failed;
    lethe_strbuf_addf(out,
                      "%zu trials (%llu of before) on one half of the questions, %zu of them not "
                      "beaten\n",
                      r->n, (unsigned long long)r->key_trials, front);
    if (!p->n_front) return;
    lethe_strbuf_adds(out, "on the other half, which no choice has seen:\n\n");
    head(out);
    const lethe_gauge_figures *b = &p->baseline;
    lethe_strbuf_addf(out, "%-10s %5s %5s  %-22s %-52s %6.1f%% %6.1f%% %6.1f%% %8.4f\n", "baseline",
                      "", "", "", "", 100 * b->forget_recall, 100 * b->worst_attack,
                      100 * b->retain_recall, 0.0);
    line("reference", &p->reference, out);
    line("given", &p->given, out);
    line("chosen", &p->front[p->chosen], out);
    lethe_strbuf_adds(out, "\nthe front:\n");
    for (size_t i = 0; i < p->n_front; i++) {
        char name[24];
        snprintf(name, sizeof name, "%llu%s", (unsigned long long)p->front[i].number,
                 i == p->chosen ? " <" : "");
        line(name, &p->front[i], out);
    }
    if (!p->n_best) return;
    lethe_strbuf_adds(out, "\nthe best of every method and ranking:\n");
    for (size_t i = 0; i < p->n_best; i++) {
        char name[24];
        snprintf(name, sizeof name, "%llu", (unsigned long long)p->best[i].number);
        line(name, &p->best[i], out);
    }
}

/* ---- the plot -------------------------------------------------------------------------------- */

/* Damage differs by powers of ten; below this everything is alike. */
#define LEAST 1e-4

static double place(double damage) {
    return log10(fmax(damage, LEAST));
}

static void put(char *grid, size_t columns, size_t lines, const lethe_trial *t, double most,
                char mark) {
    if (t->failed || isnan(t->point.left) || isnan(t->point.damage)) return;
    double x = (place(t->point.damage) - log10(LEAST)) / (place(most) - log10(LEAST));
    double y = fmin(fmax(t->point.left, 0), 1);
    size_t column = (size_t)(fmin(x, 1) * (double)(columns - 1) + 0.5);
    size_t row = (size_t)((1 - y) * (double)(lines - 1) + 0.5);
    grid[row * columns + column] = mark;
}

void lethe_tune_plot(const lethe_tune_result *r, size_t columns, size_t lines, lethe_strbuf *out) {
    char *grid;
    lethe_err err = {0};
    if (!r->n || columns < 20 || lines < 4 || lethe_alloc(&grid, lines, columns, "a plot", &err))
        return;
    memset(grid, ' ', lines * columns);
    double most = 10 * LEAST;
    for (size_t i = 0; i < r->n; i++)
        if (!r->trial[i].failed && r->trial[i].point.damage > most) most = r->trial[i].point.damage;
    for (size_t i = 0; i < r->n; i++) put(grid, columns, lines, &r->trial[i], most, '.');
    for (size_t i = 0; i < r->n; i++)
        if (!r->trial[i].rank) put(grid, columns, lines, &r->trial[i], most, 'o');
    put(grid, columns, lines, &r->trial[0], most, 'g');
    put(grid, columns, lines, &r->trial[r->chosen], most, '#');
    lethe_strbuf_adds(out, "left of what was known ('.' a trial, 'o' not beaten, 'g' as given, '#' "
                           "chosen)\n");
    for (size_t y = 0; y < lines; y++) {
        size_t n = columns;
        while (n && grid[y * columns + n - 1] == ' ') n--;
        lethe_strbuf_addf(out, "%4.0f%% |%.*s\n", 100 * (1 - (double)y / (double)(lines - 1)),
                          (int)n, grid + y * columns);
    }
    lethe_strbuf_adds(out, "      +");
    for (size_t x = 0; x < columns; x++) lethe_strbuf_adds(out, "-");
    lethe_strbuf_addf(out,
                      "\n       %-*s%g\n       damage (KL and recall lost elsewhere), "
                      "logarithmic\n",
                      (int)columns - 4, "0.0001", most);
    lethe_free(grid);
}
