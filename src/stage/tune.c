/* SPDX-License-Identifier: MIT
 *
 * The search: one trial after the other (tune_trial.c, on the material of tune_layers.c), and the
 * other half of the questions in the end (tune_report.c).
 */
#include "stage/tune.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "stage/tune_model.h"
#include "stage/tune_parts.h"

/* Trials of the start. */
#define START 16

/* Draws for a child that is new before the search takes any place of the space. */
#define TRIES 64

/* Ranking by effect takes a while: not when there is less time than this. */
#define EFFECT_MINUTES 8

/* ---- the search ------------------------------------------------------------------------------ */

/* Settles g, and whether it was tried. */
static bool known(const tuning *t, lethe_genome *g) {
    lethe_genome_settle(&t->out->space, g);
    return lethe_genome_among(t->tried, t->out->n, g);
}

/* Better rank, then more alone. */
static size_t tournament(const tuning *t, lethe_rng *r) {
    size_t a = lethe_rng_below(r, t->out->n), b = lethe_rng_below(r, t->out->n);
    const lethe_trial *x = &t->out->trial[a], *y = &t->out->trial[b];
    if (x->rank != y->rank) return x->rank < y->rank ? a : b;
    return t->crowding[a] >= t->crowding[b] ? a : b;
}

/* After the start the model says what may cost less; one in four is a child, which fills the front.
 * *found: false when nothing new was found. */
static lethe_status next_genome(const tuning *t, uint64_t number, lethe_genome *out, bool *found,
                                lethe_err *err) {
    const lethe_tune_result *r = t->out;
    uint64_t seed = (uint64_t)t->p->config->seed;
    lethe_rng rng = lethe_rng_make(seed, 5000 + number);
    *found = true;
    if (number <= START) {
        *out = lethe_genome_start(&r->space, number - 1, START, seed);
        if (!known(t, out)) return LETHE_OK;
    } else if (number % 4) {
        LETHE_TRY(
            lethe_genome_promising(&r->space, t->tried, t->cost, r->n, &rng, out, found, err));
        if (*found) return LETHE_OK;
    }
    *found = true;
    for (int i = 0; i < TRIES; i++) {
        size_t a = tournament(t, &rng), b = tournament(t, &rng);
        *out = lethe_genome_child(&r->space, &r->trial[a].genome, &r->trial[b].genome, &rng);
        if (!known(t, out)) return LETHE_OK;
    }
    for (int i = 0; i < TRIES; i++) {
        for (int g = 0; g < LETHE_GENES; g++)
            out->gene[g] =
                (uint8_t)lethe_rng_below(&rng, lethe_tune_gene_size(&r->space, (lethe_gene)g));
        if (!known(t, out)) return LETHE_OK;
    }
    *found = false;
    return LETHE_OK;
}

double lethe_tune_cost(const tuning *t, lethe_point p) {
    double c = p.left + t->out->weight * p.damage;
    return isnan(c) ? INFINITY : c;
}

static void ranking_free(tuning *t) {
    void *const all[] = {t->crowding, t->tried, t->cost};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) lethe_free(all[i]);
    t->crowding = t->cost = NULL;
    t->tried = NULL;
}

static lethe_status rank_all(tuning *t, lethe_err *err) {
    lethe_tune_result *r = t->out;
    lethe_point *p = NULL;
    uint32_t *rank = NULL;
    size_t *scratch = NULL;
    ranking_free(t);
    static const char what[] = "ranks of trials";
    lethe_status st = lethe_alloc(&p, r->n, sizeof *p, what, err);
    if (!st) st = lethe_alloc(&rank, r->n, sizeof *rank, what, err);
    if (!st) st = lethe_alloc(&scratch, r->n, sizeof *scratch, what, err);
    if (!st) st = lethe_alloc(&t->crowding, r->n, sizeof *t->crowding, what, err);
    if (!st) st = lethe_alloc(&t->tried, r->n, sizeof *t->tried, what, err);
    if (!st) st = lethe_alloc(&t->cost, r->n, sizeof *t->cost, what, err);
    if (!st) {
        for (size_t i = 0; i < r->n; i++) p[i] = r->trial[i].point;
        lethe_front_rank(p, r->n, rank);
        lethe_front_crowding(p, rank, r->n, t->crowding, scratch);
        r->chosen = 0;
        double best = INFINITY;
        for (size_t i = 1; i < r->n; i++) {
            const lethe_trial *x = &r->trial[i];
            if (!x->failed && x->features < x->params.num_features)
                lethe_tune_features_end(&r->space, &x->genome, x->features);
        }
        for (size_t i = 0; i < r->n; i++) {
            r->trial[i].rank = rank[i];
            t->tried[i] = r->trial[i].genome;
            lethe_genome_settle(&r->space, &t->tried[i]);
            t->cost[i] = lethe_tune_cost(t, r->trial[i].point);
            if (t->cost[i] < best) {
                best = t->cost[i];
                r->chosen = i;
            }
        }
    }
    lethe_free(p);
    lethe_free(rank);
    lethe_free(scratch);
    return st;
}

void lethe_tune_show(const tuning *t, bool finished) {
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

/* The last round and the report on the other half take about as long as this many trials that are
 * asked everything: some ten removals and two baselines, each by twice as many questions, less what
 * finalists that cannot win are spared. */
#define END_TRIALS 20

static bool time_is_up(const tuning *t) {
    const lethe_tune_result *r = t->out;
    if (t->opts->trials && r->n >= t->opts->trials) return true;
    if (t->opts->minutes <= 0) return false;
    double whole = r->n ? r->trial[0].seconds : 0; /* the first is asked everything */
    return lethe_seconds() - t->start + (1 + END_TRIALS) * whole > 60 * t->opts->minutes;
}

static lethe_status one_trial(tuning *t, bool *none, lethe_err *err) {
    lethe_tune_result *r = t->out;
    LETHE_TRY(lethe_grow(&r->trial, &r->cap, r->n, r->n + 1, sizeof *r->trial, "trials", err));
    lethe_trial *trial = &r->trial[r->n];
    *trial = (lethe_trial){.number = r->n};
    if (!r->n) {
        LETHE_TRY(lethe_tune_measure_given(t, t->gauge, trial, err));
    } else {
        bool found;
        LETHE_TRY(next_genome(t, trial->number, &trial->genome, &found, err));
        *none = !found;
        if (*none) return LETHE_OK;
        trial->params = lethe_tune_params_of(&r->space, &trial->genome);
        LETHE_TRY(lethe_tune_try(t, t->gauge, trial, false, err));
    }
    r->n++;
    LETHE_TRY(rank_all(t, err));
    return lethe_tune_keep(t, err);
}

static lethe_status search(tuning *t, lethe_err *err) {
    bool none = false;
    while (!none && !time_is_up(t)) {
        LETHE_TRY(one_trial(t, &none, err));
        lethe_tune_show(t, false);
        if (lethe_stop_requested())
            return lethe_fail(err, LETHE_STOPPED,
                              "stopped after %zu trials (the same command goes on from there)",
                              t->out->n);
    }
    lethe_tune_show(t, true);
    return LETHE_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static lethe_status run_all(tuning *t, lethe_err *err) {
    LETHE_TRY(lethe_tune_as_given(t, err));
    LETHE_TRY(lethe_tune_set_layers(t, err));
    LETHE_TRY(lethe_tune_gauge(t, LETHE_SPLIT_TUNE, false, &t->gauge, err));
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
    LETHE_TRY(lethe_tune_final(t, err));
    LETHE_TRY(lethe_tune_report_half(t, err));
    r->seconds = lethe_seconds() - t->start;
    return lethe_tune_write(t, err);
}

lethe_status lethe_pipeline_tune(lethe_pipeline *p, const lethe_tune_opts *opts,
                                 lethe_tune_result *out, lethe_err *err) {
    tuning t = {.p = p, .opts = opts, .out = out, .start = lethe_seconds(), .dearest = INFINITY};
    *out = (lethe_tune_result){.weight = opts->weight};
    if (!p->config->probes)
        return lethe_fail(err, LETHE_USAGE,
                          "nothing to tune by: pass --probes FILE (questions by domain, the forget "
                          "domain first)");
    out->space.effect = !(opts->minutes > 0 && opts->minutes < EFFECT_MINUTES);
    lethe_status st = run_all(&t, err);
    lethe_lm_clear_hooks(p->lm);
    for (size_t i = 0; i <= LETHE_TUNE_LAYERS; i++) lethe_tune_layer_close(&t.layer[i]);
    lethe_gauge_close(&t.gauge);
    ranking_free(&t);
    if (st) lethe_tune_result_free(out);
    return st;
}

void lethe_tune_result_free(lethe_tune_result *r) {
    lethe_free(r->trial);
    lethe_free(r->final);
    lethe_free(r->report.front);
    lethe_free(r->report.best);
    lethe_free(r->attack_names);
    lethe_free(r->chosen_dir);
    *r = (lethe_tune_result){0};
}
