/* SPDX-License-Identifier: MIT
 *
 * The whole job: harvest, train, find features, evaluate; a table, some completions, where to look.
 */
#include <string.h>

#include "base/mem.h"
#include "front/prepare.h"
#include "stage/report.h"

static lethe_status print_json(const lethe_invocation *in, const lethe_pipeline *p,
                               const lethe_train_result *train, const lethe_feature_set *features,
                               const lethe_eval_result *eval, double seconds, lethe_err *err) {
    json_t *j = NULL;
    LETHE_TRY(lethe_pipeline_eval_json(&in->config, eval, &j, err));
    json_object_set_new(j, "train", lethe_train_figures(train));
    json_object_set_new(j, "features", json_integer((json_int_t)features->n));
    json_object_set_new(j, "out", json_string(p->dir));
    json_object_set_new(j, "seconds", json_real(seconds));
    return lethe_print_json(j, err);
}

static void print_text(const lethe_pipeline *p, const lethe_train_result *train,
                       const lethe_stage_info *info, const lethe_feature_set *features,
                       const lethe_eval_result *eval, double seconds) {
    lethe_print_training(p, train, info);
    lethe_strbuf text = {0};
    char how[160];
    lethe_intervention_text(&eval->how, how, sizeof how);
    lethe_strbuf_addf(&text, "%zu features chosen of %zu that passed, intervention at %s\n\n",
                      features->n, features->passed, how);
    lethe_eval_table(eval, &text);
    if (eval->has_completions) {
        lethe_strbuf_adds(&text, "\n");
        lethe_eval_side_by_side(eval, 5, &text);
    }
    fputs(lethe_strbuf_str(&text), stdout);
    lethe_strbuf_free(&text);
    printf("\ndone in %.0f s. Where to look next:\n"
           "  %s/report.html      all of it as a page: open it in a browser\n"
           "  %s/eval.json        every probe and completion, before and after\n"
           "  %s/features.json    the features, with their statistics\n"
           "  lethe eval --out %s --scale -1      another strength\n"
           "  lethe features --out %s --num-features 50      another choice\n",
           seconds, p->dir, p->dir, p->dir, p->dir, p->dir);
}

/* The page alone: plots and tables are for who asks ("lethe report"). */
static lethe_status write_report(const lethe_pipeline *p, lethe_err *err) {
    lethe_report *r;
    lethe_report_written written;
    LETHE_TRY(lethe_report_open(&r, p->dir, LETHE_VERSION, err));
    lethe_status st =
        lethe_report_write(r, p->dir, LETHE_REPORT_HTML, LETHE_REPORT_HTML, p->env, &written, err);
    lethe_report_close(&r);
    return st;
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    double start = lethe_seconds();
    lethe_pipeline p;
    LETHE_TRY(lethe_prepare_pipeline(in, &p, err));
    p.resume_if_possible = true;
    lethe_train_result train = {0};
    lethe_sae_meta meta;
    lethe_stage_info train_info, features_info;
    lethe_feature_set features = {0};
    lethe_eval_result eval = {0};
    lethe_status st = lethe_pipeline_train(&p, &train, &meta, &train_info, err);
    if (!st) st = lethe_pipeline_features(&p, &features, &features_info, err);
    if (!st) st = lethe_pipeline_eval(&p, &eval, err);
    if (!st) st = write_report(&p, err);
    double seconds = lethe_seconds() - start;
    if (!st && in->config.json)
        st = print_json(in, &p, &train, &features, &eval, seconds, err);
    else if (!st)
        print_text(&p, &train, &train_info, &features, &eval, seconds);
    lethe_eval_result_free(&eval);
    lethe_feature_set_free(&features);
    lethe_pipeline_close(&p);
    return st;
}

const lethe_cmd lethe_cmd_forget = {
    .name = "forget",
    .brief = "the whole job: harvest, train, find features, evaluate, report",
    .usage = "usage: lethe forget [--model FILE --forget FILE.. --retain FILE..] [options]",
    .about = "Without arguments: makes the embedded demonstration model forget Harry Potter, in "
             "a minute\n"
             "or two, offline. With --model and texts: the same on your model. Stages that are "
             "done are\n"
             "not done again; an interrupted run goes on where it was.",
    .examples =
        "  lethe forget\n"
        "  lethe forget --model llama-2-7b-chat.Q4_0.gguf --layer 15 --expansion 8 --k 32 \\\n"
        "      --forget potter/ --near other-novels/ --retain wikitext.txt \\\n"
        "      --probes data/demo/probes.json --perplexity wikitext-test.txt\n"
        "  lethe forget --seed 1 --out runs/seed1 --json",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_TEXT | LETHE_FOR_TRAIN | LETHE_FOR_FEATURES |
             LETHE_FOR_EVAL | LETHE_FOR_RUN,
    .run = run,
};
