/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "front/prepare.h"

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_pipeline p;
    LETHE_TRY(lethe_prepare_pipeline(in, &p, err));
    lethe_eval_result r = {0};
    lethe_status st = lethe_pipeline_eval(&p, &r, err);
    if (!st && in->config.json) {
        json_t *j = NULL;
        st = lethe_pipeline_eval_json(&in->config, &r, &j, err);
        if (!st) st = lethe_print_json(j, err);
    } else if (!st) {
        lethe_strbuf text = {0};
        lethe_eval_table(&r, &text);
        if (r.has_completions) {
            lethe_strbuf_adds(&text, "\n");
            lethe_eval_side_by_side(&r, 5, &text);
        }
        printf("%s\n%s/eval.json\n", lethe_strbuf_str(&text), p.dir);
        lethe_strbuf_free(&text);
    }
    lethe_eval_result_free(&r);
    lethe_pipeline_close(&p);
    return st;
}

const lethe_cmd lethe_cmd_eval = {
    .name = "eval",
    .brief = "baseline against ablated: recall, log-probability, completions, perplexity",
    .usage = "usage: lethe eval [--out DIR] [--scale X] [--probes FILE] [--prompts FILE] "
             "[--perplexity FILE]\n"
             "       lethe eval --patch FILE [--model FILE] [options]",
    .about =
        "Runs the model as it is and with the chosen features pushed back, on the same questions,\n"
        "prompts and text, and writes both, with what changed, into eval.json.\n"
        "With --patch no run is needed: the patch has the features and says where they belong.",
    .examples =
        "  lethe eval --scale -3\n"
        "  lethe eval --out runs/llama --probes data/demo/probes.json --perplexity wikitext.txt\n"
        "  lethe eval --patch patch.safetensors --model llama-2-7b-chat.Q4_0.gguf --probes "
        "probes.json",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_EVAL | LETHE_FOR_RUN | LETHE_FOR_SAE | LETHE_FOR_REMOVAL,
    .run = run,
};
