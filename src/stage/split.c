/* SPDX-License-Identifier: MIT */
#include "stage/split.h"

#include <string.h>

#include "base/mem.h"

static const char *const names[] = {"all", "tune", "report"};

const char *lethe_split_name(lethe_split s) {
    return names[s];
}

lethe_status lethe_split_from_name(const char *name, lethe_split *out, lethe_err *err) {
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, names[i])) {
            *out = (lethe_split)i;
            return LETHE_OK;
        }
    return lethe_fail(err, LETHE_USAGE, "--split: got \"%s\", want all, tune or report", name);
}

/* FNV-1a with the finaliser of splitmix64: its low bit is even over short names. */
static uint64_t mix(const char *s) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

bool lethe_split_has(lethe_split s, const char *fact) {
    if (s == LETHE_SPLIT_ALL) return true;
    return (mix(fact) & 1) == (s == LETHE_SPLIT_REPORT);
}

bool lethe_split_has_window(lethe_split s, uint64_t index) {
    if (s == LETHE_SPLIT_ALL) return true;
    return (index & 1) == (s == LETHE_SPLIT_REPORT);
}

/* Domains without items go; the others keep their order. */
static void drop_empty_domains(lethe_probes *p) {
    size_t kept = 0;
    for (size_t d = 0; d < p->n_domains; d++) {
        bool used = false;
        for (size_t i = 0; i < p->n && !used; i++) used = p->item[i].domain == d;
        if (!used) {
            lethe_free(p->domain[d]);
            continue;
        }
        for (size_t i = 0; i < p->n; i++)
            if (p->item[i].domain == d) p->item[i].domain = kept;
        p->domain[kept++] = p->domain[d];
    }
    p->n_domains = kept;
}

void lethe_probes_split(lethe_probes *p, lethe_split s) {
    if (s == LETHE_SPLIT_ALL) return;
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++)
        if (lethe_split_has(s, p->item[i].fact))
            p->item[kept++] = p->item[i];
        else
            lethe_probe_free(&p->item[i]);
    p->n = kept;
    drop_empty_domains(p);
}

void lethe_probes_thin(lethe_probes *p, size_t most) {
    for (size_t d = 0; most && d < p->n_domains; d++) {
        size_t have = 0, seen = 0, kept = 0;
        for (size_t i = 0; i < p->n; i++) have += p->item[i].domain == d;
        if (have <= most) continue;
        for (size_t i = 0; i < p->n; i++) {
            bool here = p->item[i].domain == d;
            seen += here;
            /* the number taken, floor(most seen / have), goes up at even distances */
            if (here && seen * most / have == (seen - 1) * most / have)
                lethe_probe_free(&p->item[i]);
            else
                p->item[kept++] = p->item[i];
        }
        p->n = kept;
    }
}
