/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "format/jsonio.h"
#include "stage/eval.h"

static json_t *text(const char *s) {
    return lethe_json_text(s, strlen(s));
}

static json_t *removals_json(const lethe_eval_result *r, bool *ok) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_removals; i++) {
        const lethe_eval_removal *a = &r->removal[i];
        json_t *o = json_object();
        lethe_json_put(o, "layer", json_integer(a->layer), ok);
        lethe_json_put(o, "hook", text(lethe_hook_name((int)a->hook)), ok);
        lethe_json_put(o, "gate", text(a->compact ? "compact" : "exact"), ok);
        lethe_json_put(o, "num_features", json_integer((json_int_t)a->num_features), ok);
        lethe_json_put(o, "ablate_special", json_boolean(a->special_too), ok);
        lethe_intervention_json(&a->how, o, ok);
        lethe_json_append(list, o, ok);
    }
    return list;
}

static json_t *config_json(const lethe_eval_result *r, json_t *extra, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "model_name", text(r->model_name), ok);
    lethe_json_put(o, "model_hash", text(r->model_hash), ok);
    if (r->has_ablation) {
        lethe_json_put(o, "layer", json_integer(r->layer), ok);
        lethe_json_put(o, "hook", text(lethe_hook_name((int)r->hook)), ok);
        lethe_json_put(o, "gate", text(r->compact ? "compact" : "exact"), ok);
        bool scale = r->how.method == LETHE_METHOD_SCALE;
        lethe_json_put(o, "ablation_scale", scale ? lethe_json_real(r->how.strength) : json_null(),
                       ok);
        lethe_intervention_json(&r->how, o, ok);
        lethe_json_put(o, "num_features", json_integer((json_int_t)r->num_features), ok);
        lethe_json_put(o, "ablate_special", json_boolean(r->opts.special_too), ok);
        if (r->n_removals > 1) lethe_json_put(o, "removals", removals_json(r, ok), ok);
    }
    if (r->has_probes) {
        lethe_json_put(o, "reference_tokens", json_boolean(r->opts.reference_tokens), ok);
        lethe_json_put(o, "probes", json_integer((json_int_t)r->n_probes), ok);
    }
    if (r->has_text) {
        lethe_json_put(o, "text_ctx", json_integer((json_int_t)r->text.ctx), ok);
        lethe_json_put(o, "text_paragraphs", json_boolean(r->opts.paragraphs), ok);
        lethe_json_put(o, "text_tokens", json_integer((json_int_t)r->text.tokens), ok);
        lethe_json_put(o, "text_windows", json_integer((json_int_t)r->text.windows), ok);
    }
    if (r->has_completions) {
        const lethe_sampling *s = &r->opts.sampling;
        json_t *p = json_object();
        lethe_json_put(p, "temperature", lethe_json_real(s->temperature), ok);
        lethe_json_put(p, "top_p", lethe_json_real(s->top_p), ok);
        lethe_json_put(p, "top_k", json_integer(s->top_k), ok);
        lethe_json_put(p, "repeat_penalty", lethe_json_real(s->repeat_penalty), ok);
        lethe_json_put(p, "frequency_penalty", lethe_json_real(s->frequency_penalty), ok);
        lethe_json_put(p, "no_repeat_ngram", json_integer(s->no_repeat_ngram), ok);
        lethe_json_put(p, "seed", json_integer((json_int_t)s->seed), ok);
        lethe_json_put(p, "max_tokens", json_integer((json_int_t)s->max_tokens), ok);
        lethe_json_put(o, "sampling", p, ok);
        lethe_json_put(o, "prompts", json_integer((json_int_t)r->n_completions), ok);
    }
    lethe_json_put(o, "split", text(lethe_split_name(r->opts.split)), ok);
    lethe_json_put(o, "forget_domain", r->forget_domain ? text(r->forget_domain) : json_null(), ok);
    if (extra && json_object_update(o, extra)) *ok = false;
    return o;
}

static json_t *side_json(const lethe_eval_result *r, lethe_eval_side side, bool *ok) {
    json_t *o = json_object();
    if (r->has_probes) {
        json_t *logprobs = json_object(), *recall = json_object();
        for (size_t i = 0; i < r->n_domains; i++) {
            const lethe_eval_domain *d = &r->domain[i];
            lethe_json_put(logprobs, d->name, lethe_json_real(d->logprob[side]), ok);
            lethe_json_put(recall, d->name, lethe_json_real(d->recall[side]), ok);
        }
        lethe_json_put(o, "logprobs", logprobs, ok);
        lethe_json_put(o, "recall", recall, ok);
    }
    if (r->has_completions) {
        const lethe_eval_quality *q = &r->quality[side];
        lethe_json_put(o, "avg_distinct_2", lethe_json_real(q->distinct_2), ok);
        lethe_json_put(o, "avg_distinct_3", lethe_json_real(q->distinct_3), ok);
        lethe_json_put(o, "stuttering_rate", lethe_json_real(q->stuttering_rate), ok);
        lethe_json_put(o, "degeneration_rate", lethe_json_real(q->degeneration_rate), ok);
    }
    if (r->has_text) lethe_json_put(o, "perplexity", lethe_json_real(r->text.perplexity[side]), ok);
    return o;
}

static double share(uint64_t part, uint64_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

static json_t *stats_json(const lethe_hook_stats *s, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "rows", json_integer((json_int_t)s->rows), ok);
    lethe_json_put(o, "rows_fired", json_integer((json_int_t)s->rows_fired), ok);
    lethe_json_put(o, "rows_acted", json_integer((json_int_t)s->rows_acted), ok);
    lethe_json_put(o, "row_rate", lethe_json_real(share(s->rows_fired, s->rows)), ok);
    lethe_json_put(o, "positions", json_integer((json_int_t)s->positions), ok);
    lethe_json_put(o, "fired", json_integer((json_int_t)s->fired), ok);
    lethe_json_put(o, "rate", lethe_json_real(share(s->fired, s->positions)), ok);
    lethe_json_put(o, "activation_sum", lethe_json_real(s->activation_sum), ok);
    return o;
}

static json_t *activity_json(const lethe_eval_result *r, bool *ok) {
    json_t *o = stats_json(&r->activity, ok);
    if (r->has_probes) lethe_json_put(o, "probes", stats_json(&r->activity_probes, ok), ok);
    if (r->has_completions)
        lethe_json_put(o, "completions", stats_json(&r->activity_completions, ok), ok);
    if (r->has_text) lethe_json_put(o, "text", stats_json(&r->activity_text, ok), ok);
    return o;
}

static json_t *summary_json(const lethe_eval_result *r, bool *ok) {
    json_t *o = json_object();
    if (r->has_probes) {
        json_t *logprobs = json_object(), *recall = json_object();
        for (size_t i = 0; i < r->n_domains; i++) {
            const lethe_eval_domain *d = &r->domain[i];
            lethe_json_put(logprobs, d->name,
                           lethe_json_real(d->logprob[LETHE_ABLATED] - d->logprob[LETHE_BASELINE]),
                           ok);
            lethe_json_put(recall, d->name,
                           lethe_json_real(d->recall[LETHE_ABLATED] - d->recall[LETHE_BASELINE]),
                           ok);
        }
        lethe_json_put(o, "logprob_shifts", logprobs, ok);
        lethe_json_put(o, "recall_shifts", recall, ok);
    }
    if (r->has_text) {
        double base = r->text.perplexity[LETHE_BASELINE], now = r->text.perplexity[LETHE_ABLATED];
        lethe_json_put(o, "ppl_change", lethe_json_real(now - base), ok);
        lethe_json_put(o, "ppl_change_percent", lethe_json_real(100 * (now - base) / base), ok);
        lethe_json_put(o, "kl_retain", lethe_json_real(r->text.kl), ok);
        lethe_json_put(o, "top1_agreement", lethe_json_real(r->text.top1_agreement), ok);
    }
    lethe_json_put(o, "hook_activity", activity_json(r, ok), ok);
    return o;
}

/* ---- intervals ------------------------------------------------------------------------------- */

/* One interval of a measure, under `key`; nothing where there is no such measure. */
static void put_interval(json_t *o, const char *key, const lethe_eval_result *r, const char *name,
                         const char *domain, int side, bool *ok) {
    const lethe_measure *m = lethe_measures_find(&r->measures, name, domain);
    if (!m) return;
    const lethe_interval *i = side == LETHE_SIDES ? &m->difference : &m->side[side];
    lethe_json_put(o, key, lethe_interval_json(i, ok), ok);
}

/* Per domain; side LETHE_SIDES: the differences. */
static json_t *domain_intervals(const lethe_eval_result *r, const char *name, int side, bool *ok) {
    json_t *o = json_object();
    for (size_t i = 0; i < r->n_domains; i++)
        put_interval(o, r->domain[i].name, r, name, r->domain[i].name, side, ok);
    return o;
}

static json_t *side_intervals(const lethe_eval_result *r, int side, bool *ok) {
    json_t *o = json_object();
    if (r->has_probes) {
        lethe_json_put(o, "logprobs", domain_intervals(r, "logprob", side, ok), ok);
        lethe_json_put(o, "recall", domain_intervals(r, "recall", side, ok), ok);
    }
    put_interval(o, "avg_distinct_2", r, "distinct_2", NULL, side, ok);
    put_interval(o, "avg_distinct_3", r, "distinct_3", NULL, side, ok);
    put_interval(o, "stuttering_rate", r, "stuttering", NULL, side, ok);
    put_interval(o, "degeneration_rate", r, "degeneration", NULL, side, ok);
    put_interval(o, "perplexity", r, "perplexity", NULL, side, ok);
    return o;
}

static json_t *summary_intervals(const lethe_eval_result *r, bool *ok) {
    json_t *o = json_object();
    if (r->has_probes) {
        lethe_json_put(o, "logprob_shifts", domain_intervals(r, "logprob", LETHE_SIDES, ok), ok);
        lethe_json_put(o, "recall_shifts", domain_intervals(r, "recall", LETHE_SIDES, ok), ok);
    }
    put_interval(o, "ppl_change", r, "perplexity", NULL, LETHE_SIDES, ok);
    const lethe_measure *ppl = lethe_measures_find(&r->measures, "perplexity", NULL);
    if (ppl) {
        lethe_interval percent = ppl->difference;
        double scale = 100 / ppl->side[LETHE_BASELINE].mean;
        percent.mean *= scale;
        percent.low *= scale;
        percent.high *= scale;
        lethe_json_put(o, "ppl_change_percent", lethe_interval_json(&percent, ok), ok);
    }
    put_interval(o, "kl_retain", r, "kl", NULL, LETHE_ABLATED, ok);
    put_interval(o, "top1_agreement", r, "top1_agreement", NULL, LETHE_ABLATED, ok);
    return o;
}

static json_t *intervals_json(const lethe_eval_result *r, bool *ok) {
    json_t *o = json_object();
    bool two = r->has_ablation;
    lethe_json_put(o, "baseline", side_intervals(r, LETHE_BASELINE, ok), ok);
    lethe_json_put(o, "ablated", two ? side_intervals(r, LETHE_ABLATED, ok) : json_null(), ok);
    lethe_json_put(o, "summary", two ? summary_intervals(r, ok) : json_null(), ok);
    return o;
}

static json_t *metrics_json(const lethe_eval_result *r, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "baseline", side_json(r, LETHE_BASELINE, ok), ok);
    lethe_json_put(o, "ablated", r->has_ablation ? side_json(r, LETHE_ABLATED, ok) : json_null(),
                   ok);
    lethe_json_put(o, "summary", r->has_ablation ? summary_json(r, ok) : json_null(), ok);
    lethe_json_put(o, "intervals", intervals_json(r, ok), ok);
    return o;
}

/* Keys of one side: "baseline", "baseline_distinct_2", ... */
static void put_side(json_t *o, const lethe_eval_completion *c, lethe_eval_side side, bool *ok) {
    static const char *const key[LETHE_SIDES][5] = {
        {"baseline", "baseline_distinct_2", "baseline_distinct_3", "baseline_stutters",
         "baseline_degenerate"},
        {"ablated", "ablated_distinct_2", "ablated_distinct_3", "ablated_stutters",
         "ablated_degenerate"}};
    const lethe_text_quality *q = &c->quality[side];
    lethe_json_put(o, key[side][0], text(c->text[side]), ok);
    lethe_json_put(o, key[side][1], lethe_json_real(q->distinct_2), ok);
    lethe_json_put(o, key[side][2], lethe_json_real(q->distinct_3), ok);
    lethe_json_put(o, key[side][3], json_boolean(q->stutters), ok);
    lethe_json_put(o, key[side][4], json_boolean(q->degenerate), ok);
}

static json_t *side_by_side_json(const lethe_eval_result *r, bool *ok) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_completions; i++) {
        const lethe_eval_completion *c = &r->completion[i];
        json_t *o = json_object();
        lethe_json_put(o, "prompt", text(c->prompt), ok);
        lethe_json_put(o, "domain", text(c->domain), ok);
        lethe_json_put(o, "chat", json_boolean(c->chat), ok);
        put_side(o, c, LETHE_BASELINE, ok);
        if (r->has_ablation) put_side(o, c, LETHE_ABLATED, ok);
        lethe_json_append(list, o, ok);
    }
    return list;
}

static json_t *probes_json(const lethe_eval_result *r, bool *ok) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_probes; i++) {
        const lethe_eval_probe *p = &r->probe[i];
        json_t *o = json_object();
        lethe_json_put(o, "domain", text(r->domain[p->domain].name), ok);
        lethe_json_put(o, "prompt", text(p->prompt), ok);
        lethe_json_put(o, "target", text(p->target), ok);
        lethe_json_put(o, "chat", json_boolean(p->chat), ok);
        lethe_json_put(o, "target_tokens", json_integer((json_int_t)p->tokens), ok);
        lethe_json_put(o, "baseline_logprob", lethe_json_real(p->logprob[LETHE_BASELINE]), ok);
        lethe_json_put(o, "baseline_recall", json_boolean(p->recall[LETHE_BASELINE]), ok);
        if (r->has_ablation) {
            lethe_json_put(o, "ablated_logprob", lethe_json_real(p->logprob[LETHE_ABLATED]), ok);
            lethe_json_put(o, "ablated_recall", json_boolean(p->recall[LETHE_ABLATED]), ok);
        }
        lethe_json_append(list, o, ok);
    }
    return list;
}

lethe_status lethe_eval_json(const lethe_eval_result *r, json_t *config, json_t **out,
                             lethe_err *err) {
    bool ok = true;
    json_t *top = json_object();
    lethe_json_put(top, "config", config_json(r, config, &ok), &ok);
    lethe_json_put(top, "metrics", metrics_json(r, &ok), &ok);
    lethe_json_put(top, "measures", lethe_measures_json(&r->measures, r->has_ablation, &ok), &ok);
    lethe_json_put(top, "seconds", lethe_json_real(r->seconds), &ok);
    if (r->has_completions) lethe_json_put(top, "side_by_side", side_by_side_json(r, &ok), &ok);
    if (r->has_probes) lethe_json_put(top, "probes", probes_json(r, &ok), &ok);
    if (!ok) {
        json_decref(top);
        return lethe_fail(err, LETHE_NOMEM, "out of memory: the evaluation as JSON");
    }
    *out = top;
    return LETHE_OK;
}

lethe_status lethe_eval_save(const lethe_eval_result *r, json_t *config, const char *path,
                             lethe_err *err) {
    json_t *j = NULL;
    LETHE_TRY(lethe_eval_json(r, config, &j, err));
    lethe_status st = lethe_json_save(j, path, err);
    json_decref(j);
    return st;
}
