/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "stage/measure.h"

static bool is_share(const lethe_measure *m) {
    return !strcmp(m->unit, "share");
}

/* "12.3 % [10.1, 14.0]", or "-1.234 [-1.300, -1.100]". */
static void cell(const lethe_measure *m, const lethe_interval *i, bool sign, char out[64]) {
    if (is_share(m))
        snprintf(out, 64, sign ? "%+.1f [%+.1f, %+.1f]" : "%.1f %% [%.1f, %.1f]", 100 * i->mean,
                 100 * i->low, 100 * i->high);
    else
        snprintf(out, 64, sign ? "%+.3f [%+.3f, %+.3f]" : "%.3f [%.3f, %.3f]", i->mean, i->low,
                 i->high);
}

static void line(const lethe_measure *m, bool has_ablation, lethe_strbuf *out) {
    char name[96], a[64], b[64] = "", d[64] = "";
    snprintf(name, sizeof name, "%s%s%s", m->title, m->domain ? ", " : "",
             m->domain ? m->domain : "");
    cell(m, &m->side[LETHE_BASELINE], false, a);
    if (has_ablation) {
        cell(m, &m->side[LETHE_ABLATED], false, b);
        cell(m, &m->difference, true, d);
    }
    lethe_strbuf_addf(out, "  %-40.40s %5zu  %-26s %-26s %s\n", name, m->n, a, b, d);
}

void lethe_measures_table(const lethe_measures *m, bool has_ablation, lethe_strbuf *out) {
    static const char *const title[] = {"Forgotten", "Kept", "Under attack"};
    for (int g = 0; g < 3; g++) {
        bool any = false;
        for (size_t i = 0; i < m->n; i++) {
            const lethe_measure *one = &m->item[i];
            if ((int)one->group != g || !one->n) continue;
            if (!any)
                lethe_strbuf_addf(out, "%-42s items  %-26s %-26s %s\n", title[g],
                                  "baseline [95 % interval]", has_ablation ? "ablated" : "",
                                  has_ablation ? "difference" : "");
            any = true;
            line(one, has_ablation, out);
        }
    }
}
