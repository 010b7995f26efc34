/* SPDX-License-Identifier: MIT */
#include "stage/tune_space.h"

#include <math.h>
#include <string.h>

#include "base/perm.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const size_t features[] = {16, 24, 32, 48, 64, 80, 100, 125, 150, 175, 200, 250, 300, 400};

/* A ranking by effect comes last, so that it can be left out. */
static const struct {
    const char *name;
    lethe_select_by by;
    lethe_weigh_by weigh;
} selections[] = {
    {"diff-means-activation", LETHE_SELECT_DIFF_MEANS, LETHE_WEIGH_ACTIVATION},
    {"diff-means-fires", LETHE_SELECT_DIFF_MEANS, LETHE_WEIGH_FIRES},
    {"act-squared", LETHE_SELECT_ACT_SQUARED, LETHE_WEIGH_FIRES},
    {"effect", LETHE_SELECT_EFFECT, LETHE_WEIGH_ACTIVATION},
};

_Static_assert(COUNT(selections) == LETHE_TUNE_RANKINGS, "a ranking each");

#define STRENGTHS 17

/* Each from hardly anything to far too much, in the order of that. */
static const struct {
    lethe_method method;
    lethe_clamp_unit unit;
    bool gated;
    double strength[STRENGTHS];
} methods[] = {
    {LETHE_METHOD_SCALE,
     LETHE_CLAMP_ACTIVATION,
     false,
     {0, -.25, -.5, -.75, -1, -1.25, -1.5, -1.75, -2, -2.5, -3, -3.5, -4, -5, -6, -7.5, -9}},
    {LETHE_METHOD_CLAMP,
     LETHE_CLAMP_ACTIVATION,
     false,
     {0, .125, .25, .375, .5, .75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.75, 4.5, 5.75, 7}},
    {LETHE_METHOD_CLAMP,
     LETHE_CLAMP_NORM,
     false,
     {.02, .035, .05, .075, .1, .125, .15, .175, .2, .25, .3, .4, .5, .6, .75, .85, 1}},
    {LETHE_METHOD_DIRECTION,
     LETHE_CLAMP_ACTIVATION,
     false,
     {.1, .15, .2, .25, .3, .4, .5, .6, .75, .85, 1, 1.25, 1.5, 1.75, 2, 2.5, 3}},
    {LETHE_METHOD_DIRECTION,
     LETHE_CLAMP_ACTIVATION,
     true,
     {.1, .15, .2, .25, .3, .4, .5, .6, .75, .85, 1, 1.25, 1.5, 1.75, 2, 2.5, 3}},
};

/* At the first none. Those by share want three or four of the last sixteen positions to fire, or
 * two of eight. */
static const struct {
    lethe_guard_by by;
    double threshold;
    size_t window;
} guards[] = {
    {LETHE_GUARD_SHARE, 1, 0},    {LETHE_GUARD_SHARE, .16, 16},   {LETHE_GUARD_SHARE, .22, 16},
    {LETHE_GUARD_SHARE, .2, 8},   {LETHE_GUARD_EVIDENCE, 3, 0},   {LETHE_GUARD_EVIDENCE, 4, 0},
    {LETHE_GUARD_EVIDENCE, 5, 0}, {LETHE_GUARD_EVIDENCE, 5.5, 0}, {LETHE_GUARD_EVIDENCE, 6, 0},
    {LETHE_GUARD_EVIDENCE, 7, 0}, {LETHE_GUARD_EVIDENCE, 8, 0}};

size_t lethe_tune_gene_size(const lethe_tune_space *s, lethe_gene g) {
    switch (g) {
    case LETHE_GENE_LAYER: return s->n_layers;
    case LETHE_GENE_FEATURES: return COUNT(features);
    case LETHE_GENE_SELECT: return COUNT(selections) - !s->effect;
    case LETHE_GENE_METHOD: return COUNT(methods);
    case LETHE_GENE_STRENGTH: return STRENGTHS;
    case LETHE_GENE_GUARD: return COUNT(guards);
    case LETHE_GENES: break;
    }
    return 1;
}

bool lethe_gene_in_order(lethe_gene g) {
    return g == LETHE_GENE_LAYER || g == LETHE_GENE_FEATURES || g == LETHE_GENE_STRENGTH ||
           g == LETHE_GENE_GUARD;
}

const char *lethe_tune_select_name(size_t i) {
    return i < COUNT(selections) ? selections[i].name : NULL;
}

void lethe_tune_select_apply(const char *name, lethe_feature_opts *o) {
    for (size_t i = 0; i < COUNT(selections); i++)
        if (!strcmp(selections[i].name, name)) {
            o->select = selections[i].by;
            o->weigh_by = selections[i].weigh;
        }
}

const char *lethe_tune_select_of(const lethe_feature_opts *o) {
    size_t best = 0;
    for (size_t i = 0; i < COUNT(selections); i++)
        if (selections[i].by == o->select && selections[i].weigh == o->weigh_by)
            return selections[i].name;
    for (size_t i = COUNT(selections); i-- > 0;)
        if (selections[i].by == o->select) best = i;
    return selections[best].name;
}

lethe_tune_params lethe_tune_params_of(const lethe_tune_space *s, const lethe_genome *g) {
    size_t m = g->gene[LETHE_GENE_METHOD];
    size_t guard = g->gene[LETHE_GENE_GUARD];
    return (lethe_tune_params){
        .layer = s->layer[g->gene[LETHE_GENE_LAYER]],
        .num_features = features[g->gene[LETHE_GENE_FEATURES]],
        .select = selections[g->gene[LETHE_GENE_SELECT]].name,
        .how = {.method = methods[m].method,
                .strength = methods[m].strength[g->gene[LETHE_GENE_STRENGTH]],
                .unit = methods[m].unit,
                .gated = methods[m].gated,
                .guard = guard > 0,
                .guard_by = guards[guard].by,
                .guard_threshold = guards[guard].threshold,
                .guard_window = guards[guard].window},
    };
}

lethe_genome lethe_genome_start(const lethe_tune_space *s, uint64_t number, uint64_t n,
                                uint64_t seed) {
    lethe_genome g;
    for (int i = 0; i < LETHE_GENES; i++) {
        lethe_perm p = lethe_perm_make(n, seed, 1000u + (uint64_t)i);
        size_t size = lethe_tune_gene_size(s, (lethe_gene)i);
        g.gene[i] = (uint8_t)(lethe_perm_at(&p, number) * size / n);
    }
    return g;
}

static uint8_t changed(const lethe_tune_space *s, lethe_gene g, uint8_t now, lethe_rng *r) {
    size_t size = lethe_tune_gene_size(s, g);
    if (size < 2) return now;
    if (!lethe_gene_in_order(g)) return (uint8_t)((now + 1 + lethe_rng_below(r, size - 1)) % size);
    size_t step = 1 + lethe_rng_below(r, size > 8 ? 3 : 2);
    bool up = lethe_rng_below(r, 2);
    if (up) return (uint8_t)(now + step < size ? now + step : size - 1);
    return (uint8_t)(now > step ? now - step : 0);
}

lethe_genome lethe_genome_child(const lethe_tune_space *s, const lethe_genome *a,
                                const lethe_genome *b, lethe_rng *r) {
    lethe_genome g;
    for (int i = 0; i < LETHE_GENES; i++) {
        g.gene[i] = lethe_rng_below(r, 2) ? a->gene[i] : b->gene[i];
        if (lethe_rng_below(r, LETHE_GENES) == 0)
            g.gene[i] = changed(s, (lethe_gene)i, g.gene[i], r);
    }
    return g;
}

void lethe_tune_features_end(lethe_tune_space *s, const lethe_genome *g, size_t passed) {
    size_t last = 0;
    while (last + 1 < COUNT(features) && features[last] < passed) last++;
    s->places[g->gene[LETHE_GENE_LAYER]][g->gene[LETHE_GENE_SELECT]] = (uint8_t)(last + 1);
}

void lethe_genome_settle(const lethe_tune_space *s, lethe_genome *g) {
    uint8_t places = s->places[g->gene[LETHE_GENE_LAYER]][g->gene[LETHE_GENE_SELECT]];
    if (places && g->gene[LETHE_GENE_FEATURES] >= places)
        g->gene[LETHE_GENE_FEATURES] = (uint8_t)(places - 1);
}

bool lethe_genome_alike(const lethe_genome *a, const lethe_genome *b) {
    return a->gene[LETHE_GENE_LAYER] == b->gene[LETHE_GENE_LAYER] &&
           a->gene[LETHE_GENE_SELECT] == b->gene[LETHE_GENE_SELECT] &&
           a->gene[LETHE_GENE_METHOD] == b->gene[LETHE_GENE_METHOD];
}

bool lethe_genome_equal(const lethe_genome *a, const lethe_genome *b) {
    return !memcmp(a->gene, b->gene, sizeof a->gene);
}

bool lethe_genome_among(const lethe_genome *tried, size_t n, const lethe_genome *g) {
    for (size_t i = 1; i < n; i++)
        if (lethe_genome_equal(&tried[i], g)) return true;
    return false;
}

static size_t nearest(const double *list, size_t n, double x) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (fabs(list[i] - x) < fabs(list[best] - x)) best = i;
    return best;
}

/* The place of the guard that is most like it; of one that is to be calibrated, the most cautious:
 * that is what calibration comes to. */
static size_t like_guard(const lethe_tune_space *s, const lethe_tune_params *p) {
    const double beyond_all = 10;
    size_t best = 0;
    double least = INFINITY;
    for (size_t i = 1; i < lethe_tune_gene_size(s, LETHE_GENE_GUARD) && p->how.guard; i++) {
        double off =
            fabs(guards[i].threshold - (p->guard_auto ? beyond_all : p->how.guard_threshold));
        if (guards[i].by != p->how.guard_by) off += 100;
        if (guards[i].by == LETHE_GUARD_SHARE && guards[i].window != p->how.guard_window) off += 10;
        if (off >= least) continue;
        least = off;
        best = i;
    }
    return best;
}

lethe_genome lethe_genome_near(const lethe_tune_space *s, const lethe_tune_params *p) {
    double of[COUNT(features)];
    for (size_t i = 0; i < COUNT(features); i++) of[i] = (double)features[i];
    lethe_genome g = {{0}};
    for (size_t i = 0; i < s->n_layers; i++)
        if (s->layer[i] == p->layer) g.gene[LETHE_GENE_LAYER] = (uint8_t)i;
    g.gene[LETHE_GENE_FEATURES] = (uint8_t)nearest(of, COUNT(features), (double)p->num_features);
    for (size_t i = 0; i < lethe_tune_gene_size(s, LETHE_GENE_SELECT); i++)
        if (!strcmp(selections[i].name, p->select)) g.gene[LETHE_GENE_SELECT] = (uint8_t)i;
    for (size_t i = 0; i < COUNT(methods); i++)
        if (methods[i].method == p->how.method && methods[i].gated == p->how.gated &&
            methods[i].unit == p->how.unit)
            g.gene[LETHE_GENE_METHOD] = (uint8_t)i;
    g.gene[LETHE_GENE_STRENGTH] =
        (uint8_t)nearest(methods[g.gene[LETHE_GENE_METHOD]].strength, STRENGTHS, p->how.strength);
    g.gene[LETHE_GENE_GUARD] = (uint8_t)like_guard(s, p);
    return g;
}
