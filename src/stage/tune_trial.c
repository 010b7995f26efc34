/* SPDX-License-Identifier: MIT
 *
 * One removal: its features chosen, hung on the model, measured.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stage/pipeline_run.h"
#include "stage/tune_parts.h"

/* Latents that are ranked by effect, and tokens that a guard is calibrated on. */
#define EFFECT_CANDIDATES 256
#define GUARD_TOKENS 24576

/* What an open guard would cost counts as one window of many: some are enough to tell. */
#define OPEN_WINDOWS 6

lethe_status lethe_tune_feature_opts(const tuning *t, const lethe_tune_params *q,
                                     lethe_feature_opts *o, lethe_err *err) {
    LETHE_TRY(lethe_pipeline_feature_opts(t->p->config, o, err));
    o->num_features = q->num_features;
    if (q->select) lethe_tune_select_apply(q->select, o);
    return LETHE_OK;
}

/* Hangs the removal on the model. *features: how many. */
static lethe_status hang(tuning *t, lethe_tune_layer *l, const lethe_feature_set *set,
                         lethe_tune_params *q, lethe_err *err) {
    lethe_intervention how = q->how;
    how.guard = how.guard && !q->guard_auto; /* its threshold is not known yet */
    lethe_status st = l->ablation ? lethe_ablation_choose_set(l->ablation, set, &how, err)
                                  : lethe_ablation_open_set(&l->ablation, &l->sae, set, &how, err);
    if (!st && q->guard_auto) {
        st = lethe_pipeline_guard(&l->p, l->ablation, q->layer, t->p->hook, GUARD_TOKENS,
                                  &q->how.guard_threshold, err);
        q->how.guard = true;
        if (!st) st = lethe_ablation_set(l->ablation, &q->how, err);
    }
    lethe_lm_clear_hooks(t->p->lm);
    if (!st)
        st = lethe_ablation_attach(l->ablation, t->p->lm, q->layer, t->p->hook,
                                   t->p->config->special_too, err);
    return st;
}

/* A guard that opens in one window of a hundred is hardly seen in the few that a trial reads, and
 * what it lets in may be ruinous. So one window more is added in which it is open; a guard that is
 * open everywhere gains nothing by it. */
static double expected_kl(const lethe_gauge *g, double kl, double kl_open) {
    double windows = (double)lethe_gauge_windows(g);
    if (isnan(kl) || isnan(kl_open)) return kl;
    return (windows * kl + fmax(kl_open, 0)) / (windows + 1);
}

static lethe_point point_of(const lethe_gauge *g, const lethe_gauge_figures *now, double kl_open) {
    const lethe_gauge_figures *base = lethe_gauge_baseline(g);
    double lost = isnan(base->retain_recall) ? 0 : base->retain_recall - now->retain_recall;
    double kl = isnan(now->kl) ? 0 : expected_kl(g, now->kl, kl_open);
    return (lethe_point){.left =
                             (now->forget_recall + now->worst_attack) / (2 * base->forget_recall),
                         .damage = fmax(kl, 0) + fmax(lost, 0)};
}

/* Ranking by effect runs the model for a while, so it is done once a layer, for as many as any
 * trial takes. */
lethe_status lethe_tune_choose(tuning *t, lethe_tune_layer *l, const lethe_feature_opts *o,
                               bool near, lethe_feature_set *set, bool *owned, lethe_err *err) {
    *owned = o->select != LETHE_SELECT_EFFECT;
    const lethe_feature_counts *count = l->counts.role;
    if (*owned && !near) /* as if there were no such texts */
        return lethe_features_select(set, &count[LETHE_FORGET], &count[LETHE_RETAIN], NULL, o, err);
    if (*owned) return lethe_pipeline_choose(&l->p, &l->sae, &l->counts, o, set, err);
    if (!l->effect.n) {
        lethe_feature_opts all = *o;
        all.num_features = EFFECT_CANDIDATES;
        l->config.effect_candidates = EFFECT_CANDIDATES;
        lethe_lm_clear_hooks(t->p->lm);
        LETHE_TRY(lethe_pipeline_choose(&l->p, &l->sae, &l->counts, &all, &l->effect, err));
    }
    *set = l->effect;
    if (set->n > o->num_features) set->n = o->num_features;
    return LETHE_OK;
}

typedef struct rivals {
    const tuning *t;
    const lethe_gauge *g;
    double kl_open;
} rivals;

/* A trial that another beats although its attacks are not in yet cannot get onto the front. */
static bool beaten(void *user, const lethe_gauge_figures *so_far) {
    const rivals *v = user;
    const lethe_tune_result *r = v->t->out;
    lethe_point p = point_of(v->g, so_far, v->kl_open);
    for (size_t i = 0; i < r->n; i++)
        if (!r->trial[i].failed && lethe_point_beats(r->trial[i].point, p)) return true;
    return false;
}

/* One that costs too much whatever its attacks bring. */
static bool too_dear(void *user, const lethe_gauge_figures *so_far) {
    const rivals *v = user;
    return lethe_tune_cost(v->t, point_of(v->g, so_far, v->kl_open)) > v->t->dearest;
}

/* The ablation is attached, and is as it was afterwards. */
static lethe_status text_behind_open_guard(lethe_tune_layer *l, lethe_gauge *g, lethe_trial *trial,
                                           lethe_err *err) {
    trial->kl_open = NAN;
    if (!trial->params.how.guard) return LETHE_OK;
    lethe_intervention open = trial->params.how;
    open.guard = false;
    LETHE_TRY(lethe_ablation_set(l->ablation, &open, err));
    LETHE_TRY(lethe_gauge_kl(g, OPEN_WINDOWS, &trial->kl_open, err));
    return lethe_ablation_set(l->ablation, &trial->params.how, err);
}

static lethe_status hang_and_run(tuning *t, lethe_tune_layer *l, lethe_gauge *g, bool whole,
                                 const lethe_feature_set *set, lethe_trial *trial, lethe_err *err) {
    trial->features = set->n;
    lethe_status st = hang(t, l, set, &trial->params, err);
    if (!st) st = text_behind_open_guard(l, g, trial, err);
    rivals v = {t, g, trial->kl_open};
    if (!st) st = lethe_gauge_run(g, whole ? too_dear : beaten, &v, &trial->figures, err);
    lethe_lm_clear_hooks(t->p->lm);
    trial->point = point_of(g, &trial->figures, trial->kl_open);
    return st;
}

lethe_status lethe_tune_measure(tuning *t, lethe_gauge *g, lethe_trial *trial,
                                const lethe_feature_opts *o, bool near, bool whole,
                                lethe_err *err) {
    lethe_tune_layer *l;
    LETHE_TRY(lethe_tune_layer_open(t, trial->params.layer, &l, err));
    double start = lethe_seconds();
    lethe_feature_set set = {0};
    bool owned;
    lethe_err why = {0};
    lethe_status st = lethe_tune_choose(t, l, o, near, &set, &owned, &why);
    if (st == LETHE_FAIL) { /* no latent passes: a poor choice, not an error */
        trial->failed = true;
        trial->figures = (lethe_gauge_figures){NAN, NAN, NAN, NAN, {0}, NAN, NAN, NAN, false, 0};
        trial->kl_open = NAN;
        trial->point = (lethe_point){NAN, NAN};
    } else if (!st) {
        st = hang_and_run(t, l, g, whole, &set, trial, err);
        if (owned) lethe_feature_set_free(&set);
    } else if (err) {
        *err = why;
    }
    trial->seconds = lethe_seconds() - start;
    return st == LETHE_FAIL && trial->failed ? LETHE_OK : st;
}

lethe_status lethe_tune_try(tuning *t, lethe_gauge *g, lethe_trial *trial, bool whole,
                            lethe_err *err) {
    lethe_feature_opts o;
    LETHE_TRY(lethe_tune_feature_opts(t, &trial->params, &o, err));
    return lethe_tune_measure(t, g, trial, &o, true, whole, err);
}

/* What the settings say, in numbers. */
lethe_status lethe_tune_as_given(tuning *t, lethe_err *err) {
    const lethe_config *c = t->p->config;
    lethe_tune_params *q = &t->given;
    q->layer = (int)c->layer;
    q->num_features = (size_t)c->num_features;
    LETHE_TRY(lethe_pipeline_intervention(c, &q->how, &q->guard_auto, err));
    lethe_feature_opts o;
    LETHE_TRY(lethe_pipeline_feature_opts(c, &o, err));
    q->select = lethe_tune_select_of(&o);
    return LETHE_OK;
}

/* The settings' own ranking, whatever else they say of it. */
lethe_status lethe_tune_measure_given(tuning *t, lethe_gauge *g, lethe_trial *trial,
                                      lethe_err *err) {
    lethe_feature_opts o;
    LETHE_TRY(lethe_pipeline_feature_opts(t->p->config, &o, err));
    trial->params = t->given;
    trial->genome = lethe_genome_near(&t->out->space, &t->given);
    return lethe_tune_measure(t, g, trial, &o, true, true, err);
}
