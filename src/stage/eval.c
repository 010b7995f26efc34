/* SPDX-License-Identifier: MIT */
#include "stage/eval.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "stage/eval_parts.h"

lethe_eval_opts lethe_eval_defaults(void) {
    return (lethe_eval_opts){.sampling = lethe_sampling_defaults(),
                             .text_tokens = 20000,
                             .measures = "all",
                             .attacks = "none",
                             .items = 100,
                             .samples = 8,
                             .choice_orders = 4};
}

lethe_status lethe_eval_stop(lethe_err *err) {
    return lethe_stop_requested() ? lethe_fail(err, LETHE_STOPPED, "evaluation stopped on request")
                                  : LETHE_OK;
}

lethe_status lethe_eval_switch(const lethe_eval_job *job, lethe_eval_side side, lethe_err *err) {
    lethe_lm_clear_hooks(job->lm);
    if (side == LETHE_BASELINE) return LETHE_OK;
    return lethe_ablation_attach(job->ablation, job->lm, job->layer, job->hook,
                                 job->opts->special_too, err);
}

static lethe_status describe_removals(const lethe_eval_job *job, lethe_err *err) {
    lethe_eval_result *r = job->result;
    size_t n = 0;
    for (const lethe_ablation *a = job->ablation; a; n++) a = lethe_ablation_next(a, 0, 0, 0);
    LETHE_TRY(lethe_alloc(&r->removal, n, sizeof *r->removal, "removals", err));
    lethe_eval_removal at = {
        .layer = job->layer, .hook = job->hook, .special_too = job->opts->special_too};
    for (const lethe_ablation *a = job->ablation; a;) {
        at.compact = lethe_ablation_compact(a);
        at.num_features = lethe_ablation_size(a);
        at.how = *lethe_ablation_how(a);
        r->removal[r->n_removals++] = at;
        a = lethe_ablation_next(a, &at.layer, &at.hook, &at.special_too);
    }
    return LETHE_OK;
}

static void describe(const lethe_eval_job *job) {
    lethe_eval_result *r = job->result;
    const lethe_lm_info *info = lethe_lm_get_info(job->lm);
    snprintf(r->model_name, sizeof r->model_name, "%s", info->name);
    snprintf(r->model_hash, sizeof r->model_hash, "%s", info->hash);
    r->has_ablation = job->ablation != NULL;
    r->compact = job->ablation && lethe_ablation_compact(job->ablation);
    r->layer = job->layer;
    r->hook = job->hook;
    r->how = job->ablation ? *lethe_ablation_how(job->ablation) : lethe_intervention_scale(1);
    r->num_features = job->ablation ? lethe_ablation_size(job->ablation) : 0;
    r->opts = *job->opts;
}

/* Moves what the ablation counted since the last call into `part` and adds it to the total. */
static void take_activity(const lethe_eval_job *job, lethe_hook_stats *part) {
    if (!job->ablation) return;
    lethe_hook_stats *total = &job->result->activity;
    *part = *lethe_ablation_stats(job->ablation);
    total->rows += part->rows;
    total->rows_fired += part->rows_fired;
    total->rows_acted += part->rows_acted;
    total->positions += part->positions;
    total->fired += part->fired;
    total->activation_sum += part->activation_sum;
    lethe_ablation_reset_stats(job->ablation);
}

static lethe_status run_parts(const lethe_eval_job *job, const lethe_eval_inputs *in,
                              lethe_err *err) {
    lethe_eval_result *r = job->result;
    if (job->ablation) { /* a bad layer or width is found before anything long has run */
        lethe_ablation_reset_stats(job->ablation);
        LETHE_TRY(lethe_eval_switch(job, LETHE_ABLATED, err));
    }
    if (in->probes) {
        LETHE_TRY(lethe_eval_run_probes(job, in->probes, err));
        take_activity(job, &r->activity_probes);
        r->has_probes = true;
    }
    if (in->text) {
        LETHE_TRY(lethe_eval_run_text(job, in->text, err));
        take_activity(job, &r->activity_text);
        r->has_text = true;
    }
    if (in->prompts) {
        LETHE_TRY(lethe_eval_run_completions(job, in->prompts, err));
        take_activity(job, &r->activity_completions);
        r->has_completions = true;
    }
    lethe_hook_stats rest;
    LETHE_TRY(lethe_eval_measure_found(job, in->probes, in->lexicon, err));
    if (in->passages) LETHE_TRY(lethe_eval_run_passages(job, in->passages, err));
    if (in->knowledge) {
        LETHE_TRY(lethe_eval_run_knowledge(job, in->knowledge, err));
        LETHE_TRY(lethe_eval_run_truth(job, in->knowledge, err));
    }
    if (in->choice) LETHE_TRY(lethe_eval_run_choice(job, in->choice, err));
    if (in->probes && job->forget) {
        LETHE_TRY(lethe_eval_run_attacks(job, in->probes, in->attack_file, err));
        LETHE_TRY(lethe_eval_run_sampling(job, in->probes, err));
    }
    take_activity(job, &rest);
    return lethe_measures_finish(&r->measures, job->ablation != NULL, err);
}

/* The name of the domain to forget, into the result. */
static lethe_status find_forget_domain(const lethe_eval_inputs *in, const lethe_eval_opts *opts,
                                       lethe_eval_result *r, lethe_err *err) {
    const char *name = opts->forget_domain;
    const lethe_probes *p = in->probes;
    bool known = !p || !name;
    for (size_t d = 0; name && p && d < p->n_domains; d++)
        known = known || !strcmp(p->domain[d], name);
    if (!known)
        return lethe_fail(err, LETHE_USAGE, "--forget-domain: the probes have no domain \"%s\"",
                          name);
    if (!name && p && p->n_domains) name = p->domain[0];
    if (name && !(r->forget_domain = lethe_strdup(name)))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: the evaluation");
    return LETHE_OK;
}

lethe_status lethe_eval_run(lethe_lm *lm, lethe_ablation *ablation, int layer, lethe_hook hook,
                            const lethe_eval_inputs *inputs, const lethe_eval_opts *opts,
                            const lethe_env *env, lethe_eval_result *result, lethe_err *err) {
    if (!inputs->probes && !inputs->prompts && !inputs->text && !inputs->passages &&
        !inputs->knowledge && !inputs->choice)
        return lethe_fail(err, LETHE_USAGE,
                          "nothing to evaluate: give probes, prompts, questions or a text");
    lethe_eval_result r = {0};
    lethe_eval_job job = {lm, ablation, layer, hook, opts, env, &r, NULL};
    describe(&job);
    double start = lethe_seconds();
    lethe_status st = describe_removals(&job, err);
    if (st == LETHE_OK) st = find_forget_domain(inputs, opts, &r, err);
    job.forget = r.forget_domain;
    if (st == LETHE_OK) st = run_parts(&job, inputs, err);
    lethe_lm_clear_hooks(lm);
    r.seconds = lethe_seconds() - start;
    if (st == LETHE_OK)
        *result = r;
    else
        lethe_eval_result_free(&r);
    return st;
}

void lethe_eval_result_free(lethe_eval_result *r) {
    for (size_t i = 0; i < r->n_domains; i++) lethe_free(r->domain[i].name);
    for (size_t i = 0; i < r->n_probes; i++) {
        lethe_free(r->probe[i].prompt);
        lethe_free(r->probe[i].target);
        lethe_free(r->probe[i].fact);
    }
    for (size_t i = 0; i < r->n_completions; i++) {
        lethe_eval_completion *c = &r->completion[i];
        lethe_free(c->prompt);
        lethe_free(c->domain);
        for (int s = 0; s < LETHE_SIDES; s++) lethe_free(c->text[s]);
    }
    lethe_measures_free(&r->measures);
    lethe_free(r->forget_domain);
    lethe_free(r->text.window);
    lethe_free(r->domain);
    lethe_free(r->probe);
    lethe_free(r->completion);
    lethe_free(r->removal);
    *r = (lethe_eval_result){0};
}
