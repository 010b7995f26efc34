/* SPDX-License-Identifier: MIT
 *
 * Every setting of Lethe in one struct and one table. The table is walked to read the command line,
 * to print --help with defaults, and to write and read the "config" of run.json, so a setting is
 * said once. Values set later win: built-in default, the embedded default's file (without a model),
 * --config or else run.json, command line.
 */
#ifndef LETHE_STAGE_CONFIG_H
#define LETHE_STAGE_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct lethe_list { /* owned strings */
    char **item;
    size_t n;
} lethe_list;

typedef enum lethe_kind {
    LETHE_KIND_STR,   /* char *, NULL: not set */
    LETHE_KIND_PATH,  /* the same; relative to the configuration file that names it */
    LETHE_KIND_PATHS, /* lethe_list of paths */
    LETHE_KIND_INT,   /* int64_t */
    LETHE_KIND_NUM,   /* double */
    LETHE_KIND_FLAG   /* bool */
} lethe_kind;

/* Which commands take a setting. */
enum {
    LETHE_FOR_ALL = 1 << 0,
    LETHE_FOR_MODEL = 1 << 1,
    LETHE_FOR_TEXT = 1 << 2,
    LETHE_FOR_HARVEST = 1 << 3,
    LETHE_FOR_TRAIN = 1 << 4,
    LETHE_FOR_FEATURES = 1 << 5,
    LETHE_FOR_EVAL = 1 << 6,
    LETHE_FOR_ENCODE = 1 << 7,
    LETHE_FOR_RUN = 1 << 8, /* commands that work in a run directory */
    LETHE_FOR_SAE = 1 << 9, /* commands that apply a finished SAE */
    LETHE_FOR_BENCH = 1 << 10,
    LETHE_FOR_PATCH = 1 << 11,   /* writing a patch */
    LETHE_FOR_REMOVAL = 1 << 12, /* commands that apply a finished removal: SAE and features, or a
                                    patch */
    LETHE_FOR_JUDGE = 1 << 13,   /* lethe judge */
    LETHE_FOR_TUNE = 1 << 14,    /* lethe tune */
    LETHE_FOR_REPORT = 1 << 20,  /* what people look at: lethe report */
    LETHE_FOR_INSPECT = 1 << 21, /* lethe inspect */
    LETHE_FOR_USE = 1 << 22,     /* commands that talk with a model and its removal: lethe chat */
    LETHE_FOR_CHAT = 1 << 23,    /* lethe chat alone */
    LETHE_FOR_SERVE = 1 << 24,   /* lethe serve */
    LETHE_FOR_PULL = 1 << 25,    /* lethe pull */
    LETHE_FOR_PUSH = 1 << 26,    /* lethe push */
    LETHE_FOR_CONVERT = 1 << 27  /* lethe convert */
};

typedef struct lethe_config {
    /* model */
    char *model, *hook, *cpu;
    int64_t layer, ctx_len, gpu_layers, threads, seed;
    /* run */
    char *out, *config, *sae, *features;
    bool fresh, json, quiet, verbose;
    /* text */
    lethe_list forget, near, retain, text;
    char *token_ids, *text_field;
    double forget_share;
    int64_t max_tokens;
    bool keep_bos, keep_outliers, separate_documents;
    /* training */
    char *recipe, *init, *activations, *store, *aux, *b_dec_init;
    double expansion, lr, clip, warmup, decay, aux_coef, dead_after;
    int64_t latents, k, epochs, batch_size, max_steps, save_every, buffer_tokens, aux_k;
    bool no_shuffle, no_forget, resume;
    /* features */
    int64_t num_features, min_forget_fires;
    double min_freq, max_retain_freq, max_freq, min_ratio, ratio_smoothing, activation_eps,
        near_weight, retain_weight;
    char *sort_by, *weigh_by, *select;
    double forget_percentile, ratio_percentile;
    int64_t effect_windows, effect_candidates;
    bool near_in_retain, equalise;
    /* evaluation */
    char *method, *clamp_unit, *guard, *guard_by;
    double scale, strength, temperature, top_p, repeat_penalty, frequency_penalty;
    char *probes, *prompts, *perplexity;
    int64_t max_new_tokens, top_k, no_repeat_ngram, eval_tokens;
    int64_t guard_window;
    bool special_too, direction_gated;
    char *measures, *attacks, *attack_file, *split, *forget_domain, *choice_by;
    lethe_list verbatim, knowledge, choice;
    int64_t items, samples, shots, choice_orders;
    /* judge */
    char *judge, *lexicon, *topic, *endpoint, *judge_model, *judge_name;
    int64_t concurrency, retries;
    double timeout;
    /* patch */
    char *to;
    lethe_list patch;
    /* search */
    double minutes, damage_weight;
    int64_t trials;
    char *layers;
    bool compare;
    /* encode */
    bool dense;
    /* inspect, report */
    int64_t feature, contexts;
    char *format, *from;
    /* chat */
    char *system;
    bool plain, forgetting, side_by_side, no_marks, no_retry;
    /* serve */
    char *host, *api_key, *cors;
    int64_t port, slots, queue, max_body, max_header;
    double time_limit;
    /* Hub */
    char *repo, *revision, *message;
    bool list, all, private, dry_run;
    /* bench */
    char *what;
    int64_t d, steps;
    double dead;
    bool no_reference, scaling;
} lethe_config;

typedef struct lethe_setting {
    const char *name;    /* "ctx-len" */
    const char *aliases; /* other names, blank-separated, or NULL */
    lethe_kind kind;
    size_t offset;        /* in lethe_config */
    unsigned commands;    /* LETHE_FOR_* */
    bool keep;            /* belongs into run.json */
    const char *fallback; /* default as text; NULL: not set */
    const char *arg, *help;
} lethe_setting;

extern const lethe_setting lethe_settings[];
extern const size_t lethe_settings_count;

/* Fills a zeroed config with the defaults. Fails: NOMEM. */
lethe_status lethe_config_init(lethe_config *c, lethe_err *err);
void lethe_config_free(lethe_config *c);

/* Standard input ("-") can be one text only. Fails: USAGE, naming the two settings. */
lethe_status lethe_config_check_stdin(const lethe_config *c, lethe_err *err);

/* By name or alias; '_' and '-' are the same. NULL: unknown. */
const lethe_setting *lethe_setting_find(const char *name);

/* Sets one value from text (a list: appends; `first`: empties it before). For a flag,
 * "true"/"false". Fails: USAGE (not a number, out of int64_t's range). */
lethe_status lethe_config_set(lethe_config *c, const lethe_setting *s, const char *text, bool first,
                              lethe_err *err);

/* The kept settings as an object (new reference; NULL: no memory), and back. from_json: paths are
 * taken relative to `dir` (NULL: as they are); unknown keys and wrong types are FORMAT errors that
 * name `file`. set [lethe_settings_count] (NULL: none) marks settings that the command line has set
 * and that are left alone. */
json_t *lethe_config_to_json(const lethe_config *c);
lethe_status lethe_config_from_json(lethe_config *c, const json_t *object, const char *dir,
                                    const char *file, const bool *set, lethe_err *err);

/* A JSON file holding such an object. set: as in from_json. */
lethe_status lethe_config_load(lethe_config *c, const char *path, const bool *set, lethe_err *err);

#endif
