/* SPDX-License-Identifier: MIT */
#include "base/io.h"
#include "base/mem.h"
#include "front/prepare.h"
#include "stage/bench.h"

#define DEMO_MODEL "models/lethe-demo.gguf"

/* Harvest and decode need a model; without one it is the embedded default's. */
static lethe_status demo_model(lethe_config *c, lethe_err *err) {
    char *dir;
    LETHE_TRY(lethe_share_dir(&dir, err));
    c->model = lethe_path_join(dir, DEMO_MODEL);
    lethe_free(dir);
    return c->model ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    unsigned what;
    LETHE_TRY(lethe_bench_what(c->what, &what, err));
    bool given = c->model != NULL;
    if (!given && what & LETHE_BENCH_LM) {
        LETHE_TRY(demo_model(c, err));
        if (c->d == 0) c->d = 768; /* the demonstration's width says nothing */
    }
    lethe_bench_opts o;
    lethe_bench_result r;
    LETHE_TRY(lethe_bench_opts_make(&o, c, in->env, err));
    LETHE_TRY(lethe_bench_run(&o, in->env, &r, err));
    lethe_status st = LETHE_OK;
    if (c->json) {
        json_t *j;
        st = lethe_bench_json(&o, &r, &j, err);
        if (!st) json_object_set_new(j, "lethe", json_string(LETHE_VERSION));
        if (!st) st = lethe_print_json(j, err);
    } else {
        lethe_strbuf text = {0};
        lethe_bench_table(&o, &r, &text);
        fputs(lethe_strbuf_str(&text), stdout);
        st = text.status ? lethe_fail(err, text.status, "out of memory for the table") : LETHE_OK;
        lethe_strbuf_free(&text);
    }
    lethe_bench_result_free(&r);
    return st;
}

const lethe_cmd lethe_cmd_bench = {
    .name = "bench",
    .brief = "how fast: training, gate, harvest, decode, against a dense reference",
    .usage = "usage: lethe bench [--what PART] [--d N] [--expansion X] [--k K] [--batch-size N]\n"
             "       lethe bench [--what PART] --model FILE [--layer N] [--sae SAE [--features "
             "FILE]] [--patch FILE]",
    .about = "Measures on this machine, each against what it competes with, both run in turn in "
             "one go:\n"
             "  train    a training step on random rows   against dense matrices in float32\n"
             "  encode   exact encode and selection       against the encoder's product alone\n"
             "  gate     the intervention on one row      against reading the encoder once\n"
             "  harvest  prefill up to a layer, recorded  against its share of the plain prefill\n"
             "  decode   with the intervention            against without\n"
             "A ratio is the other's time over ours. harvest and decode run on --model, or on the "
             "embedded\n"
             "demonstration; SAE and features are random ones of its width unless given. Let the "
             "machine do\n"
             "nothing else meanwhile. bench/README.md has the protocol.",
    .examples = "  lethe bench\n"
                "  lethe bench --what train --d 768 --expansion 16 --k 32 --batch-size 2048 "
                "--recipe reference\n"
                "  lethe bench --what train --recipe reference --dead 0.3\n"
                "  lethe bench --what encode --d 4096 --expansion 8 --batch-size 2048 --json\n"
                "  lethe bench --what decode --model llama-2-7b-chat.Q4_0.gguf --expansion 8 "
                "--steps 3",
    .takes = LETHE_FOR_BENCH,
    .run = run,
};
