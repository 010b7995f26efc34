/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "front/prepare.h"
#include "stage/describe.h"

#define ROWS 20u /* of the table, and cards below it, unless one is asked for */
#define CARDS 4u

/* https://no-color.org: a variable that is set and not empty. */
static bool in_colour(void) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* Only the card of --feature, if it was given. */
static void keep_one(lethe_cards *c, int64_t feature) {
    for (size_t i = 0; i < c->n && feature >= 0; i++)
        if (c->card[i].index == (int32_t)feature) {
            lethe_card swap = c->card[0]; /* the others are freed with all */
            c->card[0] = c->card[i];
            c->card[i] = swap;
            return;
        }
}

static lethe_status print_json(const lethe_cards *c, const lethe_pipeline *p, bool one,
                               lethe_err *err) {
    json_t *j = NULL;
    lethe_cards view = *c; /* borrows */
    if (one) view.n = 1;
    LETHE_TRY(lethe_cards_json(&view, p->lm, &j, err));
    return lethe_print_json(j, err);
}

static void print_text(const lethe_cards *c, const lethe_pipeline *p, bool one, bool saved) {
    lethe_strbuf text = {0};
    bool colour = in_colour();
    if (!one) lethe_cards_table(c, p->lm, ROWS, &text);
    for (size_t i = 0; i < (one ? 1 : CARDS) && i < c->n; i++) {
        if (!one) lethe_strbuf_adds(&text, "\n");
        lethe_card_text(c, i, p->lm, colour, &text);
    }
    fputs(lethe_strbuf_str(&text), stdout);
    if (saved)
        printf("\n%s/cards.json   all %zu features (one of them: lethe inspect --feature %d; as a "
               "page: lethe report)\n",
               p->dir, c->n, c->n ? (int)c->card[0].index : 0);
    lethe_strbuf_free(&text);
}

/* A run is looked into; anything else that is named is described. */
static lethe_status is_run(const char *path, bool *is, lethe_err *err) {
    char *record = lethe_path_join(path, "run.json");
    if (!record) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    *is = lethe_path_exists(record);
    lethe_free(record);
    return LETHE_OK;
}

static lethe_status describe(const lethe_invocation *in, lethe_err *err) {
    const lethe_config *c = &in->config;
    const lethe_describe_opts o = {
        .k = c->k > 0 ? (size_t)c->k : 0, .model = c->model, .env = in->env};
    json_t *about;
    LETHE_TRY(lethe_describe(&about, c->from, &o, err));
    if (c->json) return lethe_print_json(about, err);
    lethe_strbuf text = {0};
    lethe_describe_text(about, &text);
    fputs(lethe_strbuf_str(&text), stdout);
    lethe_status st = text.status ? lethe_fail(err, LETHE_NOMEM, "out of memory") : LETHE_OK;
    lethe_strbuf_free(&text);
    json_decref(about);
    return st;
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_pipeline p;
    if (in->config.from) {
        bool is = false;
        LETHE_TRY(is_run(in->config.from, &is, err));
        if (!is) return describe(in, err);
        LETHE_TRY(
            lethe_config_set(&in->config, lethe_setting_find("out"), in->config.from, true, err));
    }
    LETHE_TRY(lethe_prepare_pipeline(in, &p, err));
    lethe_cards cards = {0};
    bool saved, one = in->config.feature >= 0;
    lethe_status st = lethe_pipeline_inspect(&p, &cards, &saved, err);
    if (!st) {
        keep_one(&cards, in->config.feature);
        if (in->config.json)
            st = print_json(&cards, &p, one, err);
        else
            print_text(&cards, &p, one, saved);
    }
    lethe_cards_free(&cards);
    lethe_pipeline_close(&p);
    return st;
}

const lethe_cmd lethe_cmd_inspect = {
    .name = "inspect",
    .brief = "what a file is; feature cards: what a feature is, before you remove it",
    .usage = "usage: lethe inspect FILE|DIR [--model MODEL] [--k K]\n"
             "       lethe inspect [RUN] [--feature N] [--sae FILE --features FILE] [options]",
    .about =
        "FILE or DIR: what it is. An SAE of any project (format, architecture and formula, shapes, "
        "layer,\n"
        "norms, latents that can do nothing), a patch, a list of features, a model, activations; "
        "with\n"
        "--model whether it fits. A RUN: for each chosen feature: the passages it fires on most, a "
        "histogram, how often it "
        "fires on\n"
        "which text, the tokens it makes likelier and less likely (logit lens), and its share "
        "of the\n"
        "effect. Writes cards.json into the run, which \"lethe report\" shows.",
    .examples = "  lethe inspect sae/layers.15 --model llama-2-7b-chat.Q4_0.gguf\n"
                "  lethe inspect\n"
                "  lethe inspect --out runs/llama --feature 1145\n"
                "  lethe inspect --json | jq '.features[0].promotes'",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_TEXT | LETHE_FOR_RUN | LETHE_FOR_SAE | LETHE_FOR_INSPECT,
    .word = "from",
    .run = run,
};
