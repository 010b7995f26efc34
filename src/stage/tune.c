/* SPDX-License-Identifier: MIT
 *
 * The search: layers opened when a trial first needs them, one trial after the other, and the other
 * half of the questions in the end.
 */
#include "stage/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/ablate.h"
#include "stage/pipeline_run.h"
#include "stage/tune_parts.h"

/* Trials of the start; then children. */
#define START 24

/* Draws for a child that is new before the search takes any place of the space. */
#define TRIES 64

/* Latents that are ranked by effect, and tokens that a guard is calibrated on. */
#define EFFECT_CANDIDATES 256
#define GUARD_TOKENS 24576

/* Ranking by effect takes a while: not when there is less time than this. */
#define EFFECT_MINUTES 8

/* Share of --minutes that training SAEs may take. */
#define TRAINING_SHARE 0.45

/* ---- layers ---------------------------------------------------------------------------------- */

lethe_status lethe_tune_copy_config(const lethe_config *from, lethe_config *out, lethe_err *err) {
    json_t *j = lethe_config_to_json(from);
    if (!j) return lethe_fail(err, LETHE_NOMEM, "out of memory for settings");
    lethe_status st = lethe_config_init(out, err);
    if (!st) st = lethe_config_from_json(out, j, NULL, "settings", NULL, err);
    json_decref(j);
    return st;
}

/* Settings, directory and pipeline of one layer: the run's own, or one below it. */
static lethe_status layer_branch(tuning *t, lethe_tune_layer *l, int layer, lethe_err *err) {
    LETHE_TRY(lethe_tune_copy_config(t->p->config, &l->config, err));
    l->config.layer = layer;
    if (t->p->config->sae && layer == t->p->config->layer) /* run.json does not keep it */
        LETHE_TRY(
            lethe_config_set(&l->config, lethe_setting_find("sae"), t->p->config->sae, true, err));
    char name[64];
    snprintf(name, sizeof name, "tune/layer-%d", layer);
    char *dir =
        layer == t->p->config->layer ? lethe_strdup(t->p->dir) : lethe_path_join(t->p->dir, name);
    lethe_status st = dir ? lethe_config_set(&l->config, lethe_setting_find("out"), dir, true, err)
                          : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_free(dir);
    if (!st) st = lethe_pipeline_branch(&l->p, t->p, &l->config, err);
    l->p.resume_if_possible = true;
    return st;
}

lethe_status lethe_tune_layer_open(tuning *t, int layer, lethe_tune_layer **out, lethe_err *err) {
    size_t i = 0;
    while (t->layer[i].ready && t->layer[i].config.layer != layer) i++;
    lethe_tune_layer *l = *out = &t->layer[i];
    if (l->ready) return LETHE_OK;
    double start = lethe_seconds();
    lethe_log(t->p->env, LETHE_LOG_INFO, "layer %d: harvest, SAE and statistics", layer);
    lethe_lm_clear_hooks(t->p->lm);
    LETHE_TRY(layer_branch(t, l, layer, err));
    lethe_train_result trained = {0};
    lethe_sae_meta meta;
    lethe_stage_info info;
    if (!l->config.sae) LETHE_TRY(lethe_pipeline_train(&l->p, &trained, &meta, &info, err));
    LETHE_TRY(lethe_run_sae(&l->p, &l->sae, &l->meta, l->sae_hash, err));
    LETHE_TRY(lethe_pipeline_counts(&l->p, &l->sae, &l->counts, err));
    lethe_lm_clear_hooks(t->p->lm);
    l->ready = true;
    l->seconds = lethe_seconds() - start;
    return LETHE_OK;
}

static void layer_close(lethe_tune_layer *l) {
    lethe_ablation_close(&l->ablation);
    lethe_role_counts_free(&l->counts);
    lethe_feature_set_free(&l->effect);
    lethe_sae_free(&l->sae);
    lethe_pipeline_close(&l->p);
    lethe_config_free(&l->config);
}

/* The layer of the settings, then those around it, nearest first; the last layer's stream goes
 * straight to the output, and the first quarter's is about words more than meaning. */
static void auto_layers(const lethe_pipeline *p, lethe_tune_space *s) {
    int n = lethe_lm_get_info(p->lm)->n_layer, own = (int)p->config->layer;
    int least = n / 4, most = n - 2;
    s->n_layers = 0;
    s->layer[s->n_layers++] = own;
    int stride = n > 12 ? n / 8 : 1;
    for (int step = stride; step < n && s->n_layers < LETHE_TUNE_AUTO_LAYERS; step += stride)
        for (int sign = -1; sign <= 1 && s->n_layers < LETHE_TUNE_AUTO_LAYERS; sign += 2) {
            int layer = own + sign * step;
            if (layer >= least && layer <= most) s->layer[s->n_layers++] = layer;
        }
}

static lethe_status given_layers(const lethe_pipeline *p, const char *list, lethe_tune_space *s,
                                 lethe_err *err) {
    for (const char *at = list; *at;) {
        char *end;
        long layer = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || layer < 0 || layer > INT32_MAX ||
            s->n_layers == LETHE_TUNE_LAYERS)
            return lethe_fail(err, LETHE_USAGE,
                              "--layers: got \"%s\", want auto or at most %u numbers with commas "
                              "between",
                              list, LETHE_TUNE_LAYERS);
        LETHE_TRY(lethe_lm_check_layer(p->lm, (int)layer, err));
        for (size_t i = 0; i < s->n_layers; i++)
            if (s->layer[i] == (int)layer)
                return lethe_fail(err, LETHE_USAGE, "--layers: layer %ld is there twice", layer);
        s->layer[s->n_layers++] = (int)layer;
        at = *end ? end + 1 : end;
    }
    return s->n_layers ? LETHE_OK : lethe_fail(err, LETHE_USAGE, "--layers: no layer is given");
}

static int by_layer(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* With a limit of time: as many layers as may be trained within their share of it, judged by the
 * first one. */
static lethe_status set_layers(tuning *t, lethe_err *err) {
    lethe_tune_space *s = &t->out->space;
    if (strcmp(t->opts->layers, "auto")) {
        LETHE_TRY(given_layers(t->p, t->opts->layers, s, err));
    } else {
        auto_layers(t->p, s);
        lethe_tune_layer *first;
        LETHE_TRY(lethe_tune_layer_open(t, s->layer[0], &first, err));
        double each = fmax(first->seconds, 1), most = 60 * t->opts->minutes * TRAINING_SHARE;
        size_t n = t->opts->minutes > 0 ? (size_t)(most / each) : s->n_layers;
        if (n < 1) n = 1;
        if (s->n_layers > n) s->n_layers = n;
    }
    qsort(s->layer, s->n_layers, sizeof *s->layer, by_layer); /* neighbours are alike */
    return LETHE_OK;
}

/* ---- one removal ----------------------------------------------------------------------------- */

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
    float *mean = NULL;
    int32_t *index = NULL;
    lethe_intervention how = q->how;
    how.guard = how.guard && !q->guard_auto; /* its threshold is not known yet */
    lethe_status st = lethe_feature_set_indices(set, &index, err);
    if (!st) st = lethe_feature_set_means(set, &mean, err);
    if (!st)
        st = l->ablation
                 ? lethe_ablation_choose(l->ablation, index, set->n, mean, &how, err)
                 : lethe_ablation_open_with(&l->ablation, &l->sae, index, set->n, mean, &how, err);
    lethe_free(index);
    lethe_free(mean);
    if (!st && q->guard_auto) {
        st = lethe_pipeline_guard(&l->p, l->ablation, q->layer, t->p->hook, GUARD_TOKENS,
                                  &q->how.guard_share, err);
        q->how.guard = true;
        if (!st) st = lethe_ablation_set(l->ablation, &q->how, err);
    }
    lethe_lm_clear_hooks(t->p->lm);
    if (!st)
        st = lethe_ablation_attach(l->ablation, t->p->lm, q->layer, t->p->hook,
                                   t->p->config->special_too, err);
    return st;
}

static lethe_point point_of(const lethe_gauge_figures *base, const lethe_gauge_figures *now) {
    double lost = isnan(base->retain_recall) ? 0 : base->retain_recall - now->retain_recall;
    double kl = isnan(now->kl) ? 0 : now->kl;
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

static lethe_status hang_and_run(tuning *t, lethe_tune_layer *l, lethe_gauge *g,
                                 const lethe_feature_set *set, lethe_trial *trial, lethe_err *err) {
    trial->features = set->n;
    lethe_status st = hang(t, l, set, &trial->params, err);
    if (!st) st = lethe_gauge_run(g, &trial->figures, err);
    lethe_lm_clear_hooks(t->p->lm);
    trial->point = point_of(lethe_gauge_baseline(g), &trial->figures);
    return st;
}

/* Measures one removal by a gauge. near: the near texts count. */
static lethe_status measure(tuning *t, lethe_gauge *g, lethe_trial *trial,
                            const lethe_feature_opts *o, bool near, lethe_err *err) {
    lethe_tune_layer *l;
    LETHE_TRY(lethe_tune_layer_open(t, trial->params.layer, &l, err));
    double start = lethe_seconds();
    lethe_feature_set set = {0};
    bool owned;
    lethe_err why = {0};
    lethe_status st = lethe_tune_choose(t, l, o, near, &set, &owned, &why);
    if (st == LETHE_FAIL) { /* no latent passes: a poor choice, not an error */
        trial->failed = true;
        trial->figures = (lethe_gauge_figures){NAN, NAN, NAN, NAN, {0}, NAN, NAN, NAN, 0};
        trial->point = (lethe_point){NAN, NAN};
    } else if (!st) {
        st = hang_and_run(t, l, g, &set, trial, err);
        if (owned) lethe_feature_set_free(&set);
    } else if (err) {
        *err = why;
    }
    trial->seconds = lethe_seconds() - start;
    return st == LETHE_FAIL && trial->failed ? LETHE_OK : st;
}

static lethe_status try_it(tuning *t, lethe_gauge *g, lethe_trial *trial, lethe_err *err) {
    lethe_feature_opts o;
    LETHE_TRY(lethe_tune_feature_opts(t, &trial->params, &o, err));
    return measure(t, g, trial, &o, true, err);
}

/* ---- the search ------------------------------------------------------------------------------ */

static bool known(const lethe_tune_result *r, const lethe_genome *g) {
    for (size_t i = 1; i < r->n; i++)
        if (lethe_genome_equal(&r->trial[i].genome, g)) return true;
    return false;
}

/* Better rank, then more alone. */
static size_t tournament(const tuning *t, lethe_rng *r) {
    size_t a = lethe_rng_below(r, t->out->n), b = lethe_rng_below(r, t->out->n);
    const lethe_trial *x = &t->out->trial[a], *y = &t->out->trial[b];
    if (x->rank != y->rank) return x->rank < y->rank ? a : b;
    return t->crowding[a] >= t->crowding[b] ? a : b;
}

/* False when nothing new was found. */
static bool next_genome(tuning *t, uint64_t number, lethe_genome *out) {
    const lethe_tune_result *r = t->out;
    uint64_t seed = (uint64_t)t->p->config->seed;
    lethe_rng rng = lethe_rng_make(seed, 5000 + number);
    if (number <= START) {
        *out = lethe_genome_start(&r->space, number - 1, START, seed);
        if (!known(r, out)) return true;
    }
    for (int i = 0; i < TRIES; i++) {
        size_t a = tournament(t, &rng), b = tournament(t, &rng);
        *out = lethe_genome_child(&r->space, &r->trial[a].genome, &r->trial[b].genome, &rng);
        if (!known(r, out)) return true;
    }
    for (int i = 0; i < TRIES; i++) {
        for (int g = 0; g < LETHE_GENES; g++)
            out->gene[g] =
                (uint8_t)lethe_rng_below(&rng, lethe_tune_gene_size(&r->space, (lethe_gene)g));
        if (!known(r, out)) return true;
    }
    return false;
}

static double cost(const tuning *t, const lethe_trial *x) {
    double c = x->point.left + t->out->weight * x->point.damage;
    return isnan(c) ? INFINITY : c;
}

static lethe_status rank_all(tuning *t, lethe_err *err) {
    lethe_tune_result *r = t->out;
    lethe_point *p = NULL;
    uint32_t *rank = NULL;
    size_t *scratch = NULL;
    lethe_free(t->crowding);
    t->crowding = NULL;
    static const char what[] = "ranks of trials";
    lethe_status st = lethe_alloc(&p, r->n, sizeof *p, what, err);
    if (!st) st = lethe_alloc(&rank, r->n, sizeof *rank, what, err);
    if (!st) st = lethe_alloc(&scratch, r->n, sizeof *scratch, what, err);
    if (!st) st = lethe_alloc(&t->crowding, r->n, sizeof *t->crowding, what, err);
    if (!st) {
        for (size_t i = 0; i < r->n; i++) p[i] = r->trial[i].point;
        lethe_front_rank(p, r->n, rank);
        lethe_front_crowding(p, rank, r->n, t->crowding, scratch);
        r->chosen = 0;
        double best = INFINITY;
        for (size_t i = 0; i < r->n; i++) {
            r->trial[i].rank = rank[i];
            if (cost(t, &r->trial[i]) < best) {
                best = cost(t, &r->trial[i]);
                r->chosen = i;
            }
        }
    }
    lethe_free(p);
    lethe_free(rank);
    lethe_free(scratch);
    return st;
}

static void show(const tuning *t, bool finished) {
    const lethe_tune_result *r = t->out;
    char detail[128] = "";
    if (r->n) {
        const lethe_trial *c = &r->trial[r->chosen];
        snprintf(detail, sizeof detail, "best: %.1f %% left, damage %.4f", 100 * c->point.left,
                 c->point.damage);
    }
    double total = t->opts->minutes > 0 ? 60 * t->opts->minutes : (double)t->opts->trials;
    double done = t->opts->minutes > 0 ? lethe_seconds() - t->start : (double)r->n;
    lethe_report_progress(t->p->env,
                          &(lethe_progress){.stage = "tune",
                                            .done = done < total ? done : total,
                                            .total = total,
                                            .unit = t->opts->minutes > 0 ? "seconds" : "trials",
                                            .detail = detail,
                                            .finished = finished});
}

/* The report on the other half takes about as long as this many trials. */
#define REPORT_TRIALS 12

static bool time_is_up(const tuning *t) {
    const lethe_tune_result *r = t->out;
    if (t->opts->trials && r->n >= t->opts->trials) return true;
    if (t->opts->minutes <= 0) return false;
    double gone = lethe_seconds() - t->start, each = 0;
    for (size_t i = 0; i < r->n; i++) each += r->trial[i].seconds / (double)r->n;
    return gone + (1 + REPORT_TRIALS) * each > 60 * t->opts->minutes;
}

/* What the settings say, in numbers. */
static lethe_status as_given(tuning *t, lethe_err *err) {
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
static lethe_status measure_given(tuning *t, lethe_gauge *g, lethe_trial *trial, lethe_err *err) {
    lethe_feature_opts o;
    LETHE_TRY(lethe_pipeline_feature_opts(t->p->config, &o, err));
    trial->params = t->given;
    trial->genome = lethe_genome_near(&t->out->space, &t->given);
    return measure(t, g, trial, &o, true, err);
}

static lethe_status one_trial(tuning *t, bool *none, lethe_err *err) {
    lethe_tune_result *r = t->out;
    LETHE_TRY(lethe_grow(&r->trial, &r->cap, r->n, r->n + 1, sizeof *r->trial, "trials", err));
    lethe_trial *trial = &r->trial[r->n];
    *trial = (lethe_trial){.number = r->n};
    if (!r->n) {
        LETHE_TRY(measure_given(t, t->gauge, trial, err));
    } else {
        if (!next_genome(t, trial->number, &trial->genome)) {
            *none = true;
            return LETHE_OK;
        }
        trial->params = lethe_tune_params_of(&r->space, &trial->genome);
        LETHE_TRY(try_it(t, t->gauge, trial, err));
    }
    r->n++;
    LETHE_TRY(rank_all(t, err));
    return lethe_tune_keep(t, err);
}

static lethe_status search(tuning *t, lethe_err *err) {
    bool none = false;
    while (!none && !time_is_up(t)) {
        LETHE_TRY(one_trial(t, &none, err));
        show(t, false);
        if (lethe_stop_requested())
            return lethe_fail(err, LETHE_STOPPED,
                              "stopped after %zu trials (the same command goes on from there)",
                              t->out->n);
    }
    show(t, true);
    return LETHE_OK;
}

/* ---- the other half -------------------------------------------------------------------------- */

/* The reference experiment: difference of means, its own thresholds, the 100 best, scale -3, and no
 * texts but forget and retain. */
static lethe_status report_reference(tuning *t, lethe_gauge *g, lethe_trial *trial,
                                     lethe_err *err) {
    lethe_feature_opts o = lethe_feature_defaults();
    trial->params = (lethe_tune_params){.layer = (int)t->p->config->layer,
                                        .num_features = o.num_features,
                                        .select = lethe_tune_select_of(&o),
                                        .how = lethe_intervention_scale(-3)};
    return measure(t, g, trial, &o, false, err);
}

static int by_damage(const void *a, const void *b) {
    const lethe_trial *x = a, *y = b;
    return (x->point.damage > y->point.damage) - (x->point.damage < y->point.damage);
}

/* The same removal on the other half; without time left it is marked as not measured. */
static lethe_status again(tuning *t, lethe_gauge *g, lethe_trial *trial, bool must,
                          lethe_err *err) {
    double gone = lethe_seconds() - t->start;
    if (!must && t->opts->minutes > 0 && gone > 60 * t->opts->minutes) {
        trial->failed = true;
        return LETHE_OK;
    }
    if (trial->number) return try_it(t, g, trial, err);
    *trial = t->out->report.given;
    return LETHE_OK;
}

static lethe_status report_front(tuning *t, lethe_gauge *g, lethe_err *err) {
    lethe_tune_result *r = t->out;
    lethe_tune_report *o = &r->report;
    LETHE_TRY(lethe_zalloc(&o->front, r->n, sizeof *o->front, "the front", err));
    for (size_t i = 0; i < r->n; i++)
        if (!r->trial[i].rank && !r->trial[i].failed) o->front[o->n_front++] = r->trial[i];
    qsort(o->front, o->n_front, sizeof *o->front, by_damage);
    uint64_t wanted = r->trial[r->chosen].number;
    for (size_t i = 0; i < o->n_front; i++)
        if (o->front[i].number == wanted) o->chosen = i;
    LETHE_TRY(again(t, g, &o->front[o->chosen], true, err));
    for (size_t i = 0; i < o->n_front; i++)
        if (i != o->chosen) LETHE_TRY(again(t, g, &o->front[i], false, err));
    return LETHE_OK;
}

static bool same_kind(const lethe_tune_params *a, const lethe_tune_params *b) {
    return a->select == b->select && a->how.method == b->how.method &&
           a->how.gated == b->how.gated && a->how.unit == b->how.unit &&
           a->how.guard == b->how.guard;
}

/* Of every method, ranking and guard the trial with the least cost. */
static lethe_status report_best(tuning *t, lethe_gauge *g, lethe_err *err) {
    lethe_tune_result *r = t->out;
    lethe_tune_report *o = &r->report;
    LETHE_TRY(lethe_zalloc(&o->best, r->n, sizeof *o->best, "the best of each method", err));
    for (size_t i = 1; i < r->n; i++) {
        size_t at = 0;
        while (at < o->n_best && !same_kind(&o->best[at].params, &r->trial[i].params)) at++;
        if (at < o->n_best && cost(t, &o->best[at]) <= cost(t, &r->trial[i])) continue;
        o->best[at] = r->trial[i];
        if (at == o->n_best) o->n_best++;
    }
    for (size_t i = 0; i < o->n_best; i++) {
        show(t, false);
        LETHE_TRY(again(t, g, &o->best[i], false, err));
    }
    return LETHE_OK;
}

static lethe_status report(tuning *t, lethe_err *err) {
    lethe_tune_report *o = &t->out->report;
    lethe_gauge *g = NULL;
    LETHE_TRY(lethe_tune_gauge(t, LETHE_SPLIT_REPORT, &g, err));
    o->baseline = *lethe_gauge_baseline(g);
    lethe_status st = measure_given(t, g, &o->given, err);
    if (!st) st = report_reference(t, g, &o->reference, err);
    if (!st) st = report_front(t, g, err);
    if (!st && t->opts->compare) st = report_best(t, g, err);
    lethe_gauge_close(&g);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static lethe_status run_all(tuning *t, lethe_err *err) {
    LETHE_TRY(as_given(t, err));
    LETHE_TRY(set_layers(t, err));
    LETHE_TRY(lethe_tune_gauge(t, LETHE_SPLIT_TUNE, &t->gauge, err));
    lethe_tune_result *r = t->out;
    r->baseline = *lethe_gauge_baseline(t->gauge);
    if (!(r->baseline.forget_recall > 0))
        return lethe_fail(err, LETHE_USAGE,
                          "the model knows none of the answers of the forget domain to begin with: "
                          "there is nothing to forget (other --probes?)");
    LETHE_TRY(lethe_tune_names(t, err));
    LETHE_TRY(lethe_tune_recall(t, err));
    if (r->n) LETHE_TRY(rank_all(t, err));
    LETHE_TRY(search(t, err));
    LETHE_TRY(report(t, err));
    r->seconds = lethe_seconds() - t->start;
    return lethe_tune_write(t, err);
}

lethe_status lethe_pipeline_tune(lethe_pipeline *p, const lethe_tune_opts *opts,
                                 lethe_tune_result *out, lethe_err *err) {
    tuning t = {.p = p, .opts = opts, .out = out, .start = lethe_seconds()};
    *out = (lethe_tune_result){.weight = opts->weight};
    if (!p->config->probes)
        return lethe_fail(err, LETHE_USAGE,
                          "nothing to tune by: pass --probes FILE (questions by domain, the forget "
                          "domain first)");
    out->space.guard = p->config->retain.n > 0;
    out->space.effect = !(opts->minutes > 0 && opts->minutes < EFFECT_MINUTES);
    lethe_status st = run_all(&t, err);
    lethe_lm_clear_hooks(p->lm);
    for (size_t i = 0; i <= LETHE_TUNE_LAYERS; i++) layer_close(&t.layer[i]);
    lethe_gauge_close(&t.gauge);
    lethe_free(t.crowding);
    if (st) lethe_tune_result_free(out);
    return st;
}

void lethe_tune_result_free(lethe_tune_result *r) {
    lethe_free(r->trial);
    lethe_free(r->report.front);
    lethe_free(r->report.best);
    lethe_free(r->attack_names);
    lethe_free(r->chosen_dir);
    *r = (lethe_tune_result){0};
}
