/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "front/manual.h"
#include "front/prepare.h"
#include "stage/judge_api.h"
#include "stage/lexicon.h"

static bool given(const lethe_invocation *in, const char *name) {
    return in->set[lethe_setting_find(name) - lethe_settings];
}

static lethe_status kind_of(const lethe_invocation *in, lethe_judge_kind *out, lethe_err *err) {
    const char *text = in->config.judge;
    if (!given(in, "judge") && (given(in, "endpoint") || given(in, "judge-model"))) text = "api";
    for (int k = 0; k < LETHE_JUDGE_KINDS; k++)
        if (!strcmp(text, lethe_judge_kind_name((lethe_judge_kind)k))) {
            *out = (lethe_judge_kind)k;
            return LETHE_OK;
        }
    return lethe_fail(err, LETHE_USAGE, "--judge: got \"%s\", want lexicon, api or manual", text);
}

static lethe_status by_lexicon(const lethe_invocation *in, lethe_judging *j, lethe_err *err) {
    const lethe_config *c = &in->config;
    size_t judge;
    lethe_lexicon lexicon;
    if (!c->lexicon)
        return lethe_fail(
            err, LETHE_USAGE,
            "no lexicon: pass --lexicon FILE (docs/judges.md says how to make one), or "
            "--judge api or manual");
    LETHE_TRY(lethe_judging_judge(j, c->judge_name ? c->judge_name : "lexicon", LETHE_JUDGE_LEXICON,
                                  &judge, err));
    LETHE_TRY(lethe_lexicon_load(&lexicon, c->lexicon, err));
    lethe_status st = lethe_lexicon_judge(&lexicon, j, judge, err);
    lethe_lexicon_free(&lexicon);
    return st ? st : lethe_judging_save(j, err);
}

/* The topic for a judge that reads: --topic, or the lexicon's. *out: owned; NULL: neither. */
static lethe_status topic_of(const lethe_config *c, char **out, lethe_err *err) {
    lethe_lexicon lexicon = {0};
    *out = NULL;
    if (!c->topic && c->lexicon) LETHE_TRY(lethe_lexicon_load(&lexicon, c->lexicon, err));
    const char *topic = c->topic ? c->topic : lexicon.topic;
    if (topic) *out = lethe_strdup(topic);
    lethe_lexicon_free(&lexicon);
    return topic && !*out ? lethe_fail(err, LETHE_NOMEM, "out of memory: a topic") : LETHE_OK;
}

static lethe_status api_opts(const lethe_config *c, lethe_judge_api_opts *o, lethe_err *err) {
    *o = lethe_judge_api_defaults();
    if (!c->judge_model)
        return lethe_fail(err, LETHE_USAGE,
                          "--judge api needs --judge-model NAME, the model to ask");
    if (c->concurrency < 1 || c->concurrency > 256 || c->retries < 0 || c->retries > 100 ||
        !(c->timeout > 0 && c->timeout <= 86400))
        return lethe_fail(
            err, LETHE_USAGE,
            "want --concurrency 1 to 256, --retries 0 to 100, --timeout above 0 and at "
            "most 86400");
    if (c->endpoint) o->endpoint = c->endpoint;
    o->model = c->judge_model;
    o->concurrency = (size_t)c->concurrency;
    o->retries = (unsigned)c->retries;
    o->timeout = c->timeout;
    o->fresh = c->fresh;
    o->seed = (uint64_t)c->seed;
    return lethe_judge_api_key(o->endpoint, getenv("LETHE_API_KEY"), getenv("OPENAI_API_KEY"),
                               &o->key, err);
}

static lethe_status by_api(const lethe_invocation *in, lethe_judging *j, const char *topic,
                           lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_judge_api_opts o;
    lethe_judge_api_stats stats;
    size_t judge;
    LETHE_TRY(api_opts(c, &o, err));
    if (!topic)
        return lethe_fail(err, LETHE_USAGE,
                          "what was to be forgotten? pass --topic TEXT, or --lexicon FILE with a "
                          "\"topic\"");
    o.topic = topic;
    LETHE_TRY(lethe_judging_judge(j, c->judge_name ? c->judge_name : c->judge_model,
                                  LETHE_JUDGE_API, &judge, err));
    char *cache = lethe_path_join(c->out, "judge_cache");
    if (!cache) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    o.cache_dir = cache;
    lethe_status st = lethe_judge_api_run(j, judge, &o, in->env, &stats, err);
    lethe_free(cache);
    lethe_status saved = lethe_judging_save(j, st ? NULL : err); /* also what a stop leaves */
    if (st || saved) return st ? st : saved;
    lethe_log(in->env, LETHE_LOG_INFO, "%zu from the cache, %zu asked, %zu retried, %zu given up",
              stats.cached, stats.asked, stats.retried, stats.failed);
    return LETHE_OK;
}

static lethe_status by_hand(const lethe_invocation *in, lethe_judging *j, const char *topic,
                            lethe_err *err) {
    const lethe_config *c = &in->config;
    size_t judge;
    LETHE_TRY(lethe_judging_judge(j, c->judge_name ? c->judge_name : "manual", LETHE_JUDGE_MANUAL,
                                  &judge, err));
    if (c->fresh) lethe_judging_clear(j, judge);
    return lethe_manual_run(j, judge, topic, (uint64_t)c->seed, stderr, err);
}

static lethe_status show(const lethe_invocation *in, const lethe_judging *j, lethe_err *err) {
    if (in->config.json) {
        json_t *o;
        LETHE_TRY(lethe_judging_json(j, &o, err));
        return lethe_print_json(o, err);
    }
    lethe_strbuf text = {0};
    lethe_status st = lethe_judging_table(j, &text, err);
    if (!st) printf("%s\n%s\n", lethe_strbuf_str(&text), j->path);
    lethe_strbuf_free(&text);
    return st;
}

static lethe_status judge(const lethe_invocation *in, lethe_judge_kind kind, lethe_judging *j,
                          lethe_err *err) {
    char *topic = NULL;
    if (j->dropped)
        lethe_log(in->env, LETHE_LOG_WARN,
                  "%zu labels in %s are about completions that have changed since, and are dropped",
                  j->dropped, j->path);
    if (kind != LETHE_JUDGE_LEXICON) LETHE_TRY(topic_of(&in->config, &topic, err));
    lethe_status st = kind == LETHE_JUDGE_LEXICON ? by_lexicon(in, j, err)
                      : kind == LETHE_JUDGE_API   ? by_api(in, j, topic, err)
                                                  : by_hand(in, j, topic, err);
    lethe_free(topic);
    return st ? st : show(in, j, err);
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_judge_kind kind = LETHE_JUDGE_LEXICON;
    LETHE_TRY(kind_of(in, &kind, err));
    LETHE_TRY(lethe_prepare_run(in, err));
    const char *dir = in->config.out;
    char *eval = lethe_path_join(dir, "eval.json"), *path = lethe_path_join(dir, "judge.json");
    lethe_judging j = {0};
    lethe_status st = LETHE_OK;
    if (!eval || !path)
        st = lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    else if (!lethe_path_exists(eval))
        st = lethe_fail(err, LETHE_NOTFOUND,
                        "%s: not there: nothing to judge (lethe eval --out %s --prompts FILE)",
                        eval, dir);
    if (!st) st = lethe_judging_open(&j, eval, path, err);
    j.seed = (uint64_t)in->config.seed;
    if (!st) st = judge(in, kind, &j, err);
    lethe_judging_free(&j);
    lethe_free(eval);
    lethe_free(path);
    return st;
}

const lethe_cmd lethe_cmd_judge = {
    .name = "judge",
    .brief = "grade the completions: by a lexicon, a language model, or you",
    .usage = "usage: lethe judge [--out DIR] [--lexicon FILE]\n"
             "       lethe judge [--out DIR] --judge-model NAME [--endpoint URL] [--topic TEXT]\n"
             "       lethe judge [--out DIR] --judge manual",
    .about =
        "Puts every completion of the run's eval.json, of both sides, into one of four classes:\n"
        "Explicit, Thematic, Accidental or None. What the prompt says already does not count. "
        "Each\n"
        "judge's labels are kept in judge.json, with how far the judges agree. Stopped at any\n"
        "moment, the same command goes on.",
    .examples = "  lethe judge\n"
                "  lethe judge --out runs/llama --lexicon potter.json\n"
                "  lethe judge --judge-model gpt-4o-mini --concurrency 8\n"
                "  lethe judge --endpoint http://localhost:8080/v1 --judge-model qwen3\n"
                "  lethe judge --judge manual --judge-name anna --seed 3",
    .takes = LETHE_FOR_JUDGE | LETHE_FOR_RUN,
    .run = run,
};
