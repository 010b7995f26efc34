/* SPDX-License-Identifier: MIT */
#include <sys/ioctl.h>
#include <unistd.h>

#include "front/prepare.h"
#include "stage/tune.h"

static size_t columns_of_terminal(void) {
    struct winsize w;
    if (isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col > 30)
        return w.ws_col < 110 ? w.ws_col : 110;
    return 80;
}

static void print_text(const lethe_pipeline *p, const lethe_tune_result *r) {
    lethe_strbuf text = {0};
    lethe_tune_plot(r, columns_of_terminal() - 10, 16, &text);
    lethe_strbuf_adds(&text, "\n");
    lethe_tune_table(r, &text);
    fputs(lethe_strbuf_str(&text), stdout);
    lethe_strbuf_free(&text);
    printf("\ndone in %.0f s. Where to look next:\n"
           "  lethe eval --out %s      the chosen removal, in full\n"
           "  lethe patch --out %s     ... as a small file\n"
           "  %s/tuned.json     its settings, for lethe forget --config\n"
           "  %s/tune.json      every trial\n"
           "  lethe report --out %s    as a page\n",
           r->seconds, r->chosen_dir, r->chosen_dir, p->dir, p->dir, p->dir);
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_pipeline p;
    LETHE_TRY(lethe_prepare_pipeline(in, &p, err));
    const lethe_tune_opts o = {.trials = (uint64_t)(c->trials > 0 ? c->trials : 0),
                               .minutes = c->minutes,
                               .layers = c->layers,
                               .weight = c->damage_weight,
                               .fresh = c->fresh,
                               .compare = c->compare};
    lethe_tune_result r = {0};
    lethe_status st = LETHE_OK;
    if (c->trials < 0 || c->minutes < 0 || !(c->damage_weight >= 0))
        st = lethe_fail(err, LETHE_USAGE,
                        "want --trials >= 0, --minutes >= 0 and --damage-weight >= 0");
    else if (!c->trials && !(c->minutes > 0))
        st = lethe_fail(err, LETHE_USAGE, "a search needs an end: pass --trials N or --minutes X");
    if (!st) st = lethe_pipeline_tune(&p, &o, &r, err);
    json_t *j = NULL;
    if (!st && c->json) {
        st = lethe_tune_json(&r, &j, err);
        if (!st) st = lethe_print_json(j, err);
    } else if (!st) {
        print_text(&p, &r);
    }
    lethe_tune_result_free(&r);
    lethe_pipeline_close(&p);
    return st;
}

const lethe_cmd lethe_cmd_tune = {
    .name = "tune",
    .brief = "search layer, features, method and strength for the best removal",
    .usage = "usage: lethe tune [--minutes X | --trials N] [--layers LIST] [options]",
    .about =
        "Tries removals, one after the other, on one half of the questions: which layer, how many\n"
        "features ranked by what, which method, how strong, with or without a guard. Keeps those\n"
        "that none other beats both in what is forgotten and in what it costs, and measures them "
        "on\n"
        "the other half. Each layer is harvested and its SAE trained once. An interrupted search\n"
        "goes on where it was.",
    .examples = "  lethe tune\n"
                "  lethe tune --minutes 5\n"
                "  lethe tune --model llama-2-7b-chat.Q4_0.gguf --layers 11,15,19 --trials 60 \\\n"
                "      --forget potter/ --retain wikitext.txt --probes data/demo/probes.json \\\n"
                "      --perplexity wikitext-test.txt",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_TEXT | LETHE_FOR_TRAIN | LETHE_FOR_FEATURES |
             LETHE_FOR_EVAL | LETHE_FOR_RUN | LETHE_FOR_TUNE,
    .run = run,
};
