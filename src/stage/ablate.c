/* SPDX-License-Identifier: MIT
 *
 * Gate, guard, method: nothing of size m is touched per row after the gate, and a row that is left
 * alone keeps its very bytes.
 */
#include "stage/ablate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/kernel.h"
#include "sae/encoder.h"
#include "sae/rows.h"
#include "stage/features.h"
#include "stage/gate.h"
#include "stage/guard.h"
#include "stage/seq_rule.h"

#define CHUNK 1024 /* most rows encoded at once by the exact gate; bounds the codes' memory */
#define ROWS 64    /* rows that gate, guard and method handle at once */

struct lethe_ablation {
    size_t d, n; /* width; chosen features */
    lethe_intervention how;
    lethe_hook_stats stats, total;

    const float **row;              /* [n] of W_dec */
    float *inverse, *centre, *mean; /* [n]; mean and centre NaN: not known */
    float *sum;                     /* [n] of a row's elements */
    float *evidence;                /* [n] to the guard where it fires, more than where not; NaN */
    double quiet;                   /* to the guard where nothing fires */
    lethe_fires fires;              /* [ROWS, fires.cap] */
    float *coef;                    /* [ROWS, n] */
    lethe_guard guard;
    bool act[ROWS];
    lethe_seq_rules rules;
    lethe_firing_fn watch;
    void *watcher;
    int which; /* among those joined */

    const lethe_sae *sae; /* the exact gate; NULL: the compact one */
    lethe_encoder encoder;
    int32_t *place;    /* [m] of a latent among the features, or -1 */
    lethe_codes codes; /* room for codes_cap rows */
    size_t codes_cap;

    const lethe_patch *patch;

    lethe_lm *lm; /* attached to; NULL: none */
    bool special_too;
    bool *skip; /* [skip_cap] */
    size_t skip_cap;

    lethe_ablation *next; /* joined; NULL: none */
    int next_layer;
    lethe_hook next_hook;
    bool next_special;
};

const char *lethe_hook_name(int hook) {
    return hook == LETHE_HOOK_PRE ? "pre" : hook == LETHE_HOOK_POST ? "post" : "unknown";
}

bool lethe_hook_from_name(const char *name, int *out) {
    for (int h = -1; h <= LETHE_HOOK_POST; h++)
        if (!strcmp(name, lethe_hook_name(h))) {
            *out = h;
            return true;
        }
    return false;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Room for what either gate needs of n features, at most `most` of them firing at one row. */
static lethe_status allocate(lethe_ablation *a, size_t n, size_t most, lethe_norm norm,
                             lethe_err *err) {
    a->n = n;
    a->fires.cap = most;
    LETHE_TRY(lethe_alloc(&a->row, n, sizeof *a->row, "decoder rows", err));
    LETHE_TRY(lethe_alloc(&a->inverse, n, sizeof *a->inverse, "lengths of decoder rows", err));
    LETHE_TRY(lethe_alloc(&a->centre, n, sizeof *a->centre, "centres of features", err));
    LETHE_TRY(lethe_alloc(&a->mean, n, sizeof *a->mean, "mean activations", err));
    LETHE_TRY(lethe_alloc(&a->sum, n, sizeof *a->sum, "sums of decoder rows", err));
    LETHE_TRY(lethe_alloc(&a->evidence, n, sizeof *a->evidence, "what features say", err));
    LETHE_TRY(lethe_alloc(&a->coef, n, ROWS * sizeof *a->coef, "coefficients of features", err));
    LETHE_TRY(lethe_alloc(&a->fires.index, most, ROWS * sizeof *a->fires.index,
                          "features that fired", err));
    LETHE_TRY(lethe_alloc(&a->fires.value, most, ROWS * sizeof *a->fires.value,
                          "activations of the chosen features", err));
    LETHE_TRY(
        lethe_alloc(&a->fires.count, ROWS, sizeof *a->fires.count, "counts of features", err));
    if (norm == LETHE_NORM_NONE) return LETHE_OK;
    LETHE_TRY(lethe_alloc(&a->fires.scale, ROWS, sizeof *a->fires.scale, "scales of rows", err));
    return lethe_alloc(&a->fires.shift, ROWS, sizeof *a->fires.shift, "means of rows", err);
}

static void free_features(lethe_ablation *a) {
    lethe_free(a->row);
    lethe_free(a->inverse);
    lethe_free(a->centre);
    lethe_free(a->mean);
    lethe_free(a->coef);
    lethe_free(a->fires.index);
    lethe_free(a->fires.value);
    lethe_free(a->fires.count);
    lethe_free(a->fires.scale);
    lethe_free(a->fires.shift);
    lethe_free(a->sum);
    lethe_free(a->evidence);
    lethe_free(a->place);
}

static void take_row(lethe_ablation *a, size_t i, const float *w) {
    double norm = sqrt(lethe_kernels_get()->sumsq(w, a->d));
    double sum = 0;
    for (size_t j = 0; j < a->d; j++) sum += (double)w[j];
    a->row[i] = w;
    a->sum[i] = (float)sum;
    a->inverse[i] = norm > 0 ? (float)(1 / norm) : 0;
}

/* of [2]: where feature i fires and where not. */
static void take_evidence(lethe_ablation *a, size_t i, const float *of) {
    a->evidence[i] = of ? of[0] - of[1] : NAN;
    a->quiet += of ? (double)of[1] : NAN;
}

static lethe_status choose(lethe_ablation *a, const int32_t *features, size_t n,
                           const lethe_feature_facts *facts, lethe_err *err) {
    const float *mean = facts ? facts->mean : NULL, *evidence = facts ? facts->evidence : NULL;
    const lethe_sae *sae = a->sae;
    LETHE_TRY(lethe_features_check(features, n, sae->m, err));
    bool few = sae->arch == LETHE_ARCH_TOPK && sae->k < n;
    LETHE_TRY(allocate(a, n, few ? sae->k : n, sae->norm, err));
    LETHE_TRY(lethe_alloc(&a->place, sae->m, sizeof *a->place, "the chosen features", err));
    for (size_t i = 0; i < sae->m; i++) a->place[i] = -1;
    for (size_t i = 0; i < n; i++) {
        const float *w = sae->W_dec + (size_t)features[i] * a->d;
        a->place[features[i]] = (int32_t)i;
        take_row(a, i, w);
        a->centre[i] = (float)lethe_row_dot(w, sae->b_dec, a->d);
        a->mean[i] = mean ? mean[i] : NAN;
        take_evidence(a, i, evidence ? evidence + 2 * i : NULL);
    }
    return LETHE_OK;
}

lethe_status lethe_ablation_open_with(lethe_ablation **out, const lethe_sae *sae,
                                      const int32_t *features, size_t n,
                                      const lethe_feature_facts *facts,
                                      const lethe_intervention *how, lethe_err *err) {
    lethe_ablation *a = NULL;
    LETHE_TRY(lethe_zalloc(&a, 1, sizeof *a, "an ablation", err));
    a->sae = sae;
    a->d = sae->d;
    lethe_status st = choose(a, features, n, facts, err);
    if (st == LETHE_OK) st = lethe_ablation_set(a, how, err);
    if (st == LETHE_OK) st = lethe_encoder_open(&a->encoder, sae, err);
    if (st == LETHE_OK)
        *out = a;
    else
        lethe_ablation_close(&a);
    return st;
}

lethe_status lethe_ablation_open(lethe_ablation **out, const lethe_sae *sae,
                                 const int32_t *features, size_t n, double scale, lethe_err *err) {
    lethe_intervention how = lethe_intervention_scale(scale);
    return lethe_ablation_open_with(out, sae, features, n, NULL, &how, err);
}

lethe_status lethe_ablation_choose(lethe_ablation *a, const int32_t *features, size_t n,
                                   const lethe_feature_facts *facts, const lethe_intervention *how,
                                   lethe_err *err) {
    assert(a->sae);
    lethe_ablation b = {.sae = a->sae, .d = a->d};
    lethe_status st = choose(&b, features, n, facts, err);
    if (st == LETHE_OK) st = lethe_ablation_set(&b, how, err);
    if (st != LETHE_OK) {
        free_features(&b);
        return st;
    }
    free_features(a);
    lethe_guard_free(&a->guard);
    a->n = b.n;
    a->how = b.how;
    a->row = b.row;
    a->inverse = b.inverse;
    a->centre = b.centre;
    a->mean = b.mean;
    a->sum = b.sum;
    a->evidence = b.evidence;
    a->quiet = b.quiet;
    a->coef = b.coef;
    a->fires = b.fires;
    a->place = b.place;
    return LETHE_OK;
}

/* Opens an ablation with the chosen features of a set, or, where sae is NULL, gives them to it. */
static lethe_status with_set(lethe_ablation **a, const lethe_sae *sae, const lethe_feature_set *set,
                             const lethe_intervention *how, lethe_err *err) {
    int32_t *index = NULL;
    float *mean = NULL, *evidence = NULL;
    lethe_status st = lethe_feature_set_indices(set, &index, err);
    if (st == LETHE_OK) st = lethe_feature_set_means(set, &mean, err);
    if (st == LETHE_OK) st = lethe_feature_set_evidence(set, &evidence, err);
    const lethe_feature_facts facts = {mean, evidence};
    if (st == LETHE_OK)
        st = sae ? lethe_ablation_open_with(a, sae, index, set->n, &facts, how, err)
                 : lethe_ablation_choose(*a, index, set->n, &facts, how, err);
    lethe_free(index);
    lethe_free(mean);
    lethe_free(evidence);
    return st;
}

lethe_status lethe_ablation_open_set(lethe_ablation **out, const lethe_sae *sae,
                                     const lethe_feature_set *set, const lethe_intervention *how,
                                     lethe_err *err) {
    return with_set(out, sae, set, how, err);
}

lethe_status lethe_ablation_choose_set(lethe_ablation *a, const lethe_feature_set *set,
                                       const lethe_intervention *how, lethe_err *err) {
    return with_set(&a, NULL, set, how, err);
}

lethe_status lethe_ablation_open_patch(lethe_ablation **out, const lethe_patch *patch,
                                       lethe_err *err) {
    lethe_ablation *a = NULL;
    LETHE_TRY(lethe_zalloc(&a, 1, sizeof *a, "an ablation", err));
    a->patch = patch;
    a->d = patch->d;
    lethe_status st = allocate(a, patch->n, patch->n, patch->norm, err);
    for (size_t i = 0; i < patch->n && st == LETHE_OK; i++) {
        take_row(a, i, patch->W_dec + i * a->d);
        a->centre[i] = patch->centre[i];
        a->mean[i] = patch->mean[i];
        take_evidence(a, i, patch->evidence + 2 * i);
    }
    if (st == LETHE_OK) st = lethe_ablation_set(a, &patch->how, err);
    if (st == LETHE_OK)
        *out = a;
    else
        lethe_ablation_close(&a);
    return st;
}

void lethe_ablation_close(lethe_ablation **ablation) {
    lethe_ablation *a = *ablation;
    while (a) {
        lethe_ablation *next = a->next;
        lethe_encoder_close(&a->encoder);
        lethe_codes_free(&a->codes);
        lethe_guard_free(&a->guard);
        lethe_seq_rules_free(&a->rules);
        free_features(a);
        lethe_free(a->skip);
        lethe_free(a);
        a = next;
    }
    *ablation = NULL;
}

void lethe_ablation_join(lethe_ablation *a, lethe_ablation **more, int layer, lethe_hook hook,
                         bool special_too) {
    while (a->next) a = a->next;
    assert(a != *more);
    a->next = *more;
    for (lethe_ablation *b = a; b->next; b = b->next) b->next->which = b->which + 1;
    a->next_layer = layer;
    a->next_hook = hook;
    a->next_special = special_too;
    *more = NULL;
}

const lethe_ablation *lethe_ablation_next(const lethe_ablation *a, int *layer, lethe_hook *hook,
                                          bool *special_too) {
    if (layer) *layer = a->next_layer;
    if (hook) *hook = a->next_hook;
    if (special_too) *special_too = a->next_special;
    return a->next;
}

const lethe_intervention *lethe_ablation_how(const lethe_ablation *a) {
    return &a->how;
}

size_t lethe_ablation_size(const lethe_ablation *a) {
    return a->n;
}

bool lethe_ablation_compact(const lethe_ablation *a) {
    return a->patch != NULL;
}

lethe_status lethe_ablation_set(lethe_ablation *a, const lethe_intervention *how, lethe_err *err) {
    LETHE_TRY(lethe_intervention_check(how, err));
    bool by_activation = how->method == LETHE_METHOD_CLAMP && how->unit == LETHE_CLAMP_ACTIVATION;
    if (by_activation && !lethe_all_known(a->mean, a->n))
        return lethe_fail(err, LETHE_USAGE,
                          "clamp in units of activation needs the features' mean activations, "
                          "which are not known here (%s, or pass --clamp-unit norm)",
                          a->patch ? "write the patch again with: lethe patch"
                                   : "choose the features again with: lethe features");
    if (how->method == LETHE_METHOD_DIRECTION && !lethe_all_known(a->centre, a->n))
        return lethe_fail(err, LETHE_USAGE,
                          "method direction needs the features' centres, which this patch lacks "
                          "(write it again with: lethe patch)");
    if (how->guard && how->guard_by == LETHE_GUARD_EVIDENCE && !isfinite(a->quiet))
        return lethe_fail(err, LETHE_USAGE,
                          "a guard by evidence needs how often the features fire on the texts, "
                          "which is not known here (%s, or pass --guard-by share)",
                          a->patch ? "write the patch again with: lethe patch"
                                   : "choose the features again with: lethe features");
    a->how = *how;
    lethe_guard_free(&a->guard);
    return LETHE_OK;
}

lethe_status lethe_ablation_set_strength(lethe_ablation *a, double strength, lethe_err *err) {
    lethe_intervention how = a->how;
    how.strength = strength;
    return lethe_ablation_set(a, &how, err);
}

/* ---- sequences with settings of their own ---------------------------------------------------- */

lethe_status lethe_ablation_switch(lethe_ablation *a, int which, int32_t seq, bool on,
                                   lethe_err *err) {
    for (; a; a = a->next) {
        if (which != LETHE_ALL_REMOVALS && which != a->which) continue;
        lethe_seq_rule *rule = &a->rules.other;
        if (seq != LETHE_ALL_SEQS) LETHE_TRY(lethe_seq_rules_of(&a->rules, seq, &rule, err));
        rule->off = !on;
        for (size_t i = 0; seq == LETHE_ALL_SEQS && i < a->rules.n; i++) a->rules.rule[i].off = !on;
    }
    return LETHE_OK;
}

static void set_strength(lethe_seq_rule *rule, bool scale, double strength) {
    rule->own = !isnan(strength);
    rule->scale = rule->own && scale;
    rule->strength = strength;
}

/* What is done under a rule. */
static lethe_intervention ruled(const lethe_intervention *how, const lethe_seq_rule *rule) {
    lethe_intervention h = *how;
    if (rule->scale) h.method = LETHE_METHOD_SCALE;
    if (rule->own) h.strength = rule->strength;
    return h;
}

static lethe_status strength_in(lethe_ablation *a, int which, int32_t seq, bool scale,
                                double strength, lethe_err *err) {
    for (; a; a = a->next) {
        if (which != LETHE_ALL_REMOVALS && which != a->which) continue;
        lethe_seq_rule want = {0};
        set_strength(&want, scale, strength);
        const lethe_intervention how = ruled(&a->how, &want);
        LETHE_TRY(lethe_intervention_check(&how, err));
        lethe_seq_rule *rule = &a->rules.other;
        if (seq != LETHE_ALL_SEQS) LETHE_TRY(lethe_seq_rules_of(&a->rules, seq, &rule, err));
        set_strength(rule, scale, strength);
        for (size_t i = 0; seq == LETHE_ALL_SEQS && i < a->rules.n; i++)
            set_strength(&a->rules.rule[i], scale, strength);
    }
    return LETHE_OK;
}

lethe_status lethe_ablation_strength_in(lethe_ablation *a, int which, int32_t seq, double strength,
                                        lethe_err *err) {
    return strength_in(a, which, seq, false, strength, err);
}

lethe_status lethe_ablation_scale_in(lethe_ablation *a, int which, int32_t seq, double factor,
                                     lethe_err *err) {
    return strength_in(a, which, seq, true, factor, err);
}

void lethe_ablation_watch(lethe_ablation *a, lethe_firing_fn fn, void *user) {
    for (; a; a = a->next) {
        a->watch = fn;
        a->watcher = user;
    }
}

int32_t lethe_ablation_latent(const lethe_ablation *a, int which, int32_t place) {
    while (a->which != which) a = a->next;
    if (a->patch) return a->patch->feature[place];
    const float *row = a->row[place];
    return (int32_t)((size_t)(row - a->sae->W_dec) / a->d);
}

double lethe_ablation_guard_most(const lethe_ablation *a, int32_t seq) {
    return lethe_guard_most(&a->guard, seq);
}

/* ---- counting -------------------------------------------------------------------------------- */

const lethe_hook_stats *lethe_ablation_stats(const lethe_ablation *a) {
    if (!a->next) return &a->stats;
    lethe_hook_stats *sum = &((lethe_ablation *)(uintptr_t)a)->total;
    *sum = (lethe_hook_stats){0};
    for (; a; a = a->next) {
        sum->rows += a->stats.rows;
        sum->rows_fired += a->stats.rows_fired;
        sum->rows_acted += a->stats.rows_acted;
        sum->positions += a->stats.positions;
        sum->fired += a->stats.fired;
        sum->activation_sum += a->stats.activation_sum;
    }
    return sum;
}

void lethe_ablation_reset_stats(lethe_ablation *a) {
    for (; a; a = a->next) a->stats = (lethe_hook_stats){0};
}

static void count(lethe_ablation *a, size_t n) {
    for (size_t t = 0; t < n; t++) {
        size_t fired = a->fires.count[t];
        const float *value = a->fires.value + t * a->fires.cap;
        for (size_t j = 0; j < fired; j++) a->stats.activation_sum += (double)value[j];
        a->stats.fired += fired;
        a->stats.rows_fired += fired > 0;
    }
    a->stats.rows += n;
    a->stats.positions += (uint64_t)n * a->n;
}

/* ---- the exact gate -------------------------------------------------------------------------- */

/* The codes' room grows with the batches seen, up to CHUNK rows: decoding one token at a time must
 * not hold memory for a prefill. */
static lethe_status codes_room(lethe_ablation *a, size_t n, lethe_err *err) {
    if (n <= a->codes_cap) return LETHE_OK;
    lethe_codes_free(&a->codes);
    a->codes_cap = 0;
    LETHE_TRY(lethe_codes_alloc(&a->codes, n, a->sae->k, err));
    a->codes_cap = n;
    return LETHE_OK;
}

/* Rows [at, at + n) of the codes: the chosen features among the active ones, in their order. */
static void exact_fires(lethe_ablation *a, size_t at, size_t n) {
    const size_t k = a->codes.k;
    if (a->fires.scale) {
        memcpy(a->fires.scale, a->codes.scale + at, n * sizeof *a->fires.scale);
        memcpy(a->fires.shift, a->codes.shift + at, n * sizeof *a->fires.shift);
    }
    for (size_t t = 0; t < n; t++) {
        const int32_t *index = a->codes.index + (at + t) * k;
        const float *value = a->codes.value + (at + t) * k;
        size_t fired = 0, base = t * a->fires.cap;
        for (size_t j = 0; j < k; j++) {
            if (!(value[j] > 0) || a->place[index[j]] < 0) continue;
            a->fires.index[base + fired] = a->place[index[j]];
            a->fires.value[base + fired++] = value[j];
        }
        a->fires.count[t] = fired;
    }
}

/* ---- applying -------------------------------------------------------------------------------- */

/* Where the rows come from; seq and pos NULL: sequence 0, going on. */
typedef struct origin {
    const int32_t *seq, *pos, *token;
} origin;

/* What row t of the fires says to the guard. */
static float says(const lethe_ablation *a, size_t t) {
    if (a->how.guard_by == LETHE_GUARD_SHARE) return a->fires.count[t] > 0;
    double sum = a->quiet;
    for (size_t j = 0; j < a->fires.count[t]; j++)
        sum += (double)a->evidence[a->fires.index[t * a->fires.cap + j]];
    return (float)sum;
}

static lethe_status look(lethe_ablation *a, const origin *o, size_t t, float what, double *most,
                         lethe_err *err) {
    int32_t seq = o->seq ? o->seq[t] : 0;
    int32_t pos = o->pos ? o->pos[t] : lethe_guard_length(&a->guard, 0);
    return lethe_guard_see(&a->guard, seq, pos, what, a->how.guard_by, a->how.guard_window, most,
                           err);
}

static lethe_seq_rule rule_at(const lethe_ablation *a, const origin *o, size_t t) {
    return lethe_seq_rules_at(&a->rules, o->seq ? o->seq[t] : 0);
}

/* a->act [n] of rows t0 and on, whose fires are known. */
static lethe_status decide(lethe_ablation *a, const origin *o, size_t t0, size_t n,
                           lethe_err *err) {
    for (size_t t = 0; t < n; t++) {
        a->act[t] = !rule_at(a, o, t0 + t).off;
        if (!a->how.guard) continue;
        double most;
        LETHE_TRY(look(a, o, t0 + t, says(a, t), &most, err));
        a->act[t] &= most > a->how.guard_threshold;
    }
    return LETHE_OK;
}

/* The method at rows t0 and on, in runs of one rule; counted where it is at work. */
static void act_on(lethe_ablation *a, const origin *o, size_t t0, size_t n, float *x) {
    const lethe_chosen_rows chosen = {a->n, a->d, a->row, a->inverse, a->centre, a->mean, a->sum};
    const bool *act = a->how.guard || lethe_seq_rules_any(&a->rules) ? a->act : NULL;
    for (size_t at = 0, run; at < n; at += run) {
        lethe_seq_rule rule = rule_at(a, o, t0 + at);
        for (run = 1; at + run < n; run++) {
            lethe_seq_rule other = rule_at(a, o, t0 + at + run);
            if (!lethe_seq_rule_same(&rule, &other)) break;
        }
        const lethe_intervention how = ruled(&a->how, &rule);
        bool always = how.method == LETHE_METHOD_DIRECTION && !how.gated;
        for (size_t t = at; t < at + run; t++)
            a->stats.rows_acted += a->act[t] && (a->fires.count[t] || always);
        const lethe_fires fires = {a->fires.cap,
                                   a->fires.index + at * a->fires.cap,
                                   a->fires.value + at * a->fires.cap,
                                   a->fires.count + at,
                                   a->fires.scale ? a->fires.scale + at : NULL,
                                   a->fires.shift ? a->fires.shift + at : NULL};
        lethe_intervene(&chosen, &how, x + at * a->d, run, &fires, act ? act + at : NULL, a->coef);
    }
}

static void tell(const lethe_ablation *a, const origin *o, size_t t0, size_t n) {
    for (size_t t = 0; t < n; t++)
        if (a->fires.count[t])
            a->watch(a->watcher, &(lethe_firing){.which = a->which,
                                                 .seq = o->seq ? o->seq[t0 + t] : 0,
                                                 .pos = o->pos ? o->pos[t0 + t] : -1,
                                                 .token = o->token ? o->token[t0 + t] : -1,
                                                 .feature = a->fires.index + t * a->fires.cap,
                                                 .value = a->fires.value + t * a->fires.cap,
                                                 .n = a->fires.count[t],
                                                 .acted = a->act[t]});
}

/* Rows [t0, t0 + n) of a call, none of them skipped; x is the first of them. */
static lethe_status apply_run(lethe_ablation *a, float *x, const origin *o, size_t t0, size_t n,
                              lethe_err *err) {
    if (a->sae) {
        LETHE_TRY(codes_room(a, n, err));
        LETHE_TRY(lethe_encode(&a->encoder, x, n, &a->codes, NULL, err));
    }
    for (size_t at = 0; at < n; at += ROWS) {
        size_t rows = n - at < ROWS ? n - at : ROWS;
        float *y = x + at * a->d;
        if (a->sae)
            exact_fires(a, at, rows);
        else
            lethe_gate_fires(a->patch, y, rows, &a->fires);
        LETHE_TRY(decide(a, o, t0 + at, rows, err));
        count(a, rows);
        if (a->watch) tell(a, o, t0 + at, rows);
        act_on(a, o, t0 + at, rows, y);
    }
    return LETHE_OK;
}

static lethe_status apply(lethe_ablation *a, float *x, const origin *o, size_t n, const bool *skip,
                          lethe_err *err) {
    const size_t longest = a->sae ? lethe_encode_batch(a->sae, CHUNK) : CHUNK;
    for (size_t t = 0; t < n;) { /* runs of rows that are not skipped */
        if (skip && skip[t]) {
            double most;
            if (a->how.guard) LETHE_TRY(look(a, o, t, LETHE_GUARD_SKIPPED, &most, err));
            t++;
            continue;
        }
        size_t run = 1;
        while (run < longest && t + run < n && !(skip && skip[t + run])) run++;
        LETHE_TRY(apply_run(a, x + t * a->d, o, t, run, err));
        t += run;
    }
    return LETHE_OK;
}

lethe_status lethe_ablation_apply(lethe_ablation *a, float *x, size_t n, const bool *skip,
                                  lethe_err *err) {
    return apply(a, x, &(origin){NULL, NULL, NULL}, n, skip, err);
}

lethe_status lethe_ablation_rows(lethe_ablation *a, const lethe_rows *rows, const bool *skip,
                                 lethe_err *err) {
    return apply(a, rows->x, &(origin){rows->seq, rows->pos, rows->token}, rows->n, skip, err);
}

static lethe_status edit(void *user, const lethe_rows *rows, lethe_err *err) {
    lethe_ablation *a = user;
    if (a->special_too) return lethe_ablation_rows(a, rows, NULL, err);
    LETHE_TRY(lethe_grow(&a->skip, &a->skip_cap, 0, rows->n, sizeof *a->skip,
                         "marks of special tokens", err));
    for (size_t t = 0; t < rows->n; t++) a->skip[t] = lethe_lm_is_special(a->lm, rows->token[t]);
    return lethe_ablation_rows(a, rows, a->skip, err);
}

/* A tap for its own sake: it makes libllama compute all rows of the last layer. */
static lethe_status nothing(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)rows;
    (void)err;
    return LETHE_OK;
}

lethe_status lethe_ablation_attach_alone(lethe_ablation *a, lethe_lm *lm, int layer,
                                         lethe_hook hook, bool special_too, lethe_err *err) {
    const lethe_lm_info *info = lethe_lm_get_info(lm);
    if (a->d != info->d_model)
        return lethe_fail(err, LETHE_MISMATCH,
                          "the %s is %zu wide, the model %zu (make one for this model: lethe %s)",
                          a->patch ? "patch" : "SAE", a->d, info->d_model,
                          a->patch ? "patch" : "train");
    LETHE_TRY(lethe_lm_add_edit(lm, layer, hook, edit, a, err));
    if (a->how.guard && layer == info->n_layer - 1 && hook == LETHE_HOOK_POST)
        LETHE_TRY(lethe_lm_add_tap(lm, layer, hook, nothing, NULL, err));
    a->lm = lm;
    a->special_too = special_too;
    return LETHE_OK;
}

lethe_status lethe_ablation_attach(lethe_ablation *a, lethe_lm *lm, int layer, lethe_hook hook,
                                   bool special_too, lethe_err *err) {
    LETHE_TRY(lethe_ablation_attach_alone(a, lm, layer, hook, special_too, err));
    for (; a->next; a = a->next)
        LETHE_TRY(lethe_ablation_attach_alone(a->next, lm, a->next_layer, a->next_hook,
                                              a->next_special, err));
    return LETHE_OK;
}
