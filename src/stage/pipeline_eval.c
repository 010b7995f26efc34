/* SPDX-License-Identifier: MIT
 *
 * Evaluation of a run: its SAE and chosen features, or patches, against the model as it is.
 */
#include <limits.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/attack.h"
#include "stage/lexicon.h"
#include "stage/pipeline_run.h"

#define LOOK_OVER ((size_t)16 << 20)

typedef struct material {
    lethe_removal removal;
    lethe_probes probes;
    lethe_prompts prompts;
    lethe_corpus *text;
    lethe_questions passages, knowledge, choice;
    lethe_lexicon lexicon;
} material;

static void material_close(material *m) {
    lethe_removal_close(&m->removal);
    lethe_probes_free(&m->probes);
    lethe_prompts_free(&m->prompts);
    lethe_corpus_close(&m->text);
    lethe_questions_free(&m->passages);
    lethe_questions_free(&m->knowledge);
    lethe_questions_free(&m->choice);
    lethe_lexicon_free(&m->lexicon);
}

/* Reads the start of the text, so that a mistake in it shows before the model has worked for long.
 */
static lethe_status look_over(lethe_corpus *text, lethe_err *err) {
    bool got = true;
    for (size_t bytes = 0; got && bytes < LOOK_OVER;) {
        lethe_piece piece;
        LETHE_TRY(lethe_corpus_next(text, &piece, &got, err));
        if (got) bytes += piece.len + 1;
    }
    lethe_corpus_rewind(text);
    return LETHE_OK;
}

static lethe_status load_list(lethe_questions *q, lethe_questions_kind kind,
                              const lethe_list *paths, const lethe_eval_opts *o, lethe_err *err) {
    for (size_t i = 0; i < paths->n; i++)
        LETHE_TRY(lethe_questions_load(q, kind, paths->item[i], err));
    lethe_questions_keep(q, o->split, o->items);
    return LETHE_OK;
}

static lethe_status load_questions(const lethe_pipeline *p, const lethe_eval_opts *o, material *m,
                                   lethe_err *err) {
    const lethe_config *c = p->config;
    if (!c->probes && !c->prompts && !c->perplexity && !c->verbatim.n && !c->knowledge.n &&
        !c->choice.n)
        return lethe_fail(err, LETHE_USAGE,
                          "nothing to evaluate: pass --probes FILE, --prompts FILE, --perplexity "
                          "FILE, --verbatim FILE, --knowledge FILE or --choice FILE");
    if (c->probes) {
        LETHE_TRY(lethe_probes_load(&m->probes, c->probes, err));
        lethe_probes_split(&m->probes, o->split);
        if (!m->probes.n)
            return lethe_fail(err, LETHE_USAGE,
                              "%s: no fact of it is in the half \"%s\": more facts are needed",
                              c->probes, c->split);
        LETHE_TRY(lethe_attacks_check(o->attacks, c->attack_file, err));
    }
    if (c->lexicon) LETHE_TRY(lethe_lexicon_load(&m->lexicon, c->lexicon, err));
    LETHE_TRY(load_list(&m->passages, LETHE_QUESTIONS_PASSAGES, &c->verbatim, o, err));
    LETHE_TRY(load_list(&m->knowledge, LETHE_QUESTIONS_KNOWLEDGE, &c->knowledge, o, err));
    LETHE_TRY(load_list(&m->choice, LETHE_QUESTIONS_CHOICE, &c->choice, o, err));
    if (c->prompts) LETHE_TRY(lethe_prompts_load(&m->prompts, c->prompts, err));
    if (!c->perplexity) return LETHE_OK;
    const char *path = c->perplexity;
    LETHE_TRY(lethe_corpus_open(&m->text, &path, 1, c->text_field, err));
    return look_over(m->text, err);
}

/* Of the measures beside the first ones. */
static lethe_status measure_opts(const lethe_config *c, lethe_eval_opts *o, lethe_err *err) {
    bool by_text = c->choice_by && !strcmp(c->choice_by, "text");
    if (!by_text && c->choice_by && strcmp(c->choice_by, "letters") != 0)
        return lethe_fail(err, LETHE_USAGE, "--choice-by: got \"%s\", want letters or text",
                          c->choice_by);
    if (c->items < 0 || c->samples < 1 || c->shots < 0 || c->shots > LETHE_PROBE_TURNS / 2 ||
        c->choice_orders < 0)
        return lethe_fail(err, LETHE_USAGE,
                          "measures: want --items >= 0, --samples >= 1, --shots of 0 to %u, "
                          "--choice-orders >= 0",
                          LETHE_PROBE_TURNS / 2);
    LETHE_TRY(lethe_split_from_name(c->split, &o->split, err));
    LETHE_TRY(lethe_eval_check_measures(c->measures, err));
    o->measures = c->measures;
    o->attacks = c->attacks;
    o->forget_domain = c->forget_domain;
    o->items = (size_t)c->items;
    o->samples = (size_t)c->samples;
    o->shots = (size_t)c->shots;
    o->choice_by_text = by_text;
    o->choice_orders = (size_t)c->choice_orders;
    return LETHE_OK;
}

lethe_status lethe_pipeline_sampling(const lethe_config *c, lethe_sampling *out, lethe_err *err) {
    if (c->top_k > INT_MAX || c->top_k < INT_MIN || c->no_repeat_ngram > INT_MAX ||
        c->no_repeat_ngram < INT_MIN || c->max_new_tokens < 0)
        return lethe_fail(err, LETHE_USAGE,
                          "--top-k %lld, --no-repeat-ngram %lld, --max-new-tokens %lld: want 0 or "
                          "more, the first two at most %d",
                          (long long)c->top_k, (long long)c->no_repeat_ngram,
                          (long long)c->max_new_tokens, INT_MAX);
    *out = (lethe_sampling){.temperature = c->temperature,
                            .top_p = c->top_p,
                            .top_k = (int)c->top_k,
                            .repeat_penalty = c->repeat_penalty,
                            .frequency_penalty = c->frequency_penalty,
                            .no_repeat_ngram = (int)c->no_repeat_ngram,
                            .seed = (uint64_t)c->seed,
                            .max_tokens = (size_t)c->max_new_tokens};
    return lethe_lm_check_sampling(out, err);
}

static lethe_status eval_opts(const lethe_config *c, lethe_eval_opts *o, lethe_err *err) {
    *o = lethe_eval_defaults();
    if (c->max_new_tokens < 1 || c->eval_tokens < 0)
        return lethe_fail(err, LETHE_USAGE,
                          "evaluation: want --max-new-tokens >= 1, --eval-tokens >= 0");
    LETHE_TRY(lethe_pipeline_sampling(c, &o->sampling, err));
    o->reference_tokens = c->recipe && !strcmp(c->recipe, "reference");
    o->text_tokens = (uint64_t)c->eval_tokens;
    o->special_too = c->special_too;
    return measure_opts(c, o, err);
}

static json_t *settings_of(const lethe_config *c) {
    json_t *patch = NULL;
    if (c->patch.n == 1) patch = json_string(c->patch.item[0]);
    if (c->patch.n > 1) {
        patch = json_array();
        for (size_t i = 0; i < c->patch.n; i++)
            json_array_append_new(patch, json_string(c->patch.item[i]));
    }
    return json_pack("{s:o?, s:o*}", "settings", lethe_config_to_json(c), "patch", patch);
}

lethe_status lethe_pipeline_eval_json(const lethe_config *c, const lethe_eval_result *r,
                                      json_t **out, lethe_err *err) {
    json_t *settings = settings_of(c);
    lethe_status st = settings ? lethe_eval_json(r, settings, out, err)
                               : lethe_fail(err, LETHE_NOMEM, "out of memory for the result");
    json_decref(settings);
    return st;
}

lethe_status lethe_pipeline_eval(lethe_pipeline *p, lethe_eval_result *result, lethe_err *err) {
    material m = {0};
    lethe_eval_opts o;
    char *path = NULL, *items = NULL;
    LETHE_TRY(eval_opts(p->config, &o, err));
    lethe_status st = load_questions(p, &o, &m, err);
    if (!st) st = lethe_pipeline_removal(p, &m.removal, err);
    if (!st) {
        lethe_eval_inputs in = {.probes = p->config->probes ? &m.probes : NULL,
                                .prompts = p->config->prompts ? &m.prompts : NULL,
                                .text = m.text,
                                .passages = m.passages.n ? &m.passages : NULL,
                                .knowledge = m.knowledge.n ? &m.knowledge : NULL,
                                .choice = m.choice.n ? &m.choice : NULL,
                                .attack_file = p->config->attack_file,
                                .lexicon = p->config->lexicon ? &m.lexicon : NULL};
        st = lethe_eval_run(p->lm, m.removal.ablation, (int)p->config->layer, p->hook, &in, &o,
                            p->env, result, err);
    }
    if (!st) st = lethe_pipeline_path(p, "eval.json", &path, err);
    json_t *settings = settings_of(p->config);
    if (!st && !settings) st = lethe_fail(err, LETHE_NOMEM, "out of memory for the result");
    if (!st) st = lethe_eval_save(result, settings, path, err);
    json_decref(settings);
    if (!st) st = lethe_pipeline_path(p, "eval_items.jsonl", &items, err);
    if (!st) st = lethe_measures_save(&result->measures, result->has_ablation, items, err);
    lethe_free(items);
    /* Always done when asked for, so its key is only a label: what it was done with. */
    if (!st)
        st = lethe_run_record(p, "eval", m.removal.hash,
                              json_pack("{s:f}", "seconds", result->seconds), err);
    if (!st && p->config->prompts && p->config->lexicon)
        st = lethe_lexicon_judge_run(p->dir, p->config->lexicon, (uint64_t)p->config->seed, err);
    lethe_free(path);
    material_close(&m);
    return st;
}
