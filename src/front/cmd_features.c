/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "front/prepare.h"

static lethe_status print_file(const lethe_pipeline *p, const char *name, lethe_err *err) {
    char *path;
    LETHE_TRY(lethe_pipeline_path(p, name, &path, err));
    json_t *j = NULL;
    lethe_status st = lethe_json_load(&j, path, err);
    lethe_free(path);
    return st ? st : lethe_print_json(j, err);
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_pipeline p;
    LETHE_TRY(lethe_prepare_pipeline(in, &p, err));
    lethe_feature_set set = {0};
    lethe_stage_info info;
    lethe_status st = lethe_pipeline_features(&p, &set, &info, err);
    if (!st && in->config.json) {
        st = print_file(&p, "features.json", err);
    } else if (!st) {
        lethe_strbuf table = {0};
        lethe_feature_set_table(&set, 20, &table);
        printf("%s\n%s/features.json%s\n", lethe_strbuf_str(&table), p.dir,
               info.reused ? " (done before)" : "");
        lethe_strbuf_free(&table);
    }
    lethe_feature_set_free(&set);
    lethe_pipeline_close(&p);
    return st;
}

const lethe_cmd lethe_cmd_features = {
    .name = "features",
    .brief = "rank and choose the features of the forget text",
    .usage = "usage: lethe features [--out DIR] [--num-features N] [--sort-by KEY] [options]",
    .about =
        "Counts how often and how strongly each latent fires on the forget, near and retain "
        "texts,\n"
        "keeps those that pass the thresholds, ranks them, and writes the best into features.json.",
    .examples = "  lethe features --num-features 100 --sort-by score\n"
                "  lethe features --out runs/llama --max-retain-freq 0.002 --min-ratio 20",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_TEXT | LETHE_FOR_FEATURES | LETHE_FOR_RUN | LETHE_FOR_SAE,
    .run = run,
};
