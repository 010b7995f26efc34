/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "front/prepare.h"
#include "sae/export.h"
#include "stage/ablate.h"
#include "stage/features.h"

static lethe_status features(lethe_config *c, size_t *n, lethe_err *err) {
    lethe_feature_set set = {0};
    LETHE_TRY(lethe_feature_set_load(&set, c->from, err));
    *n = set.n;
    lethe_status st = !strcmp(c->to, "csv") ? lethe_feature_set_save_csv(&set, c->out, err)
                                            : lethe_feature_set_save(&set, c->out, err);
    lethe_feature_set_free(&set);
    return st;
}

/* Where it belongs, for files that do not say it: what the person says. */
static lethe_status take_site(lethe_invocation *in, lethe_sae_meta *meta, lethe_err *err) {
    lethe_config *c = &in->config;
    bool layer = in->set[lethe_setting_find("layer") - lethe_settings],
         hook = in->set[lethe_setting_find("hook") - lethe_settings];
    int said;
    if (!lethe_hook_from_name(c->hook, &said) || said < 0)
        return lethe_fail(err, LETHE_USAGE, "--hook: got \"%s\", want pre or post", c->hook);
    if (layer && (c->layer < 0 || c->layer > INT32_MAX))
        return lethe_fail(err, LETHE_USAGE, "--layer: got %lld, want 0 or more",
                          (long long)c->layer);
    if (layer) meta->layer = (int)c->layer;
    if (hook || (layer && meta->hook < 0)) meta->hook = said;
    return LETHE_OK;
}

static lethe_status sae(lethe_invocation *in, lethe_sae_format format, lethe_err *err) {
    lethe_config *c = &in->config;
    lethe_sae s = {0};
    lethe_sae_meta meta;
    char *written = NULL;
    LETHE_TRY(lethe_sae_load(&s, &meta, c->from, (size_t)c->k, err));
    lethe_status st = take_site(in, &meta, err);
    if (!st) st = lethe_sae_export(&s, &meta, format, c->out, &written, err);
    if (!st && c->json)
        st = lethe_print_json(json_pack("{s:s, s:s, s:I, s:I, s:s}", "out", written, "format",
                                        c->to, "d", (json_int_t)s.d, "latents", (json_int_t)s.m,
                                        "architecture", lethe_arch_name(s.arch)),
                              err);
    else if (!st)
        printf("%s SAE, %zu x %zu, as %s\n%s\n", lethe_arch_name(s.arch), s.m, s.d, c->to, written);
    lethe_free(written);
    lethe_sae_free(&s);
    return st;
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    lethe_sae_format format;
    size_t n;
    if (!c->from || !c->out || !c->to)
        return lethe_fail(err, LETHE_USAGE, "convert needs IN, OUT and --to FORMAT");
    if (c->k < 0)
        return lethe_fail(err, LETHE_USAGE, "--k: got %lld, want at least 1", (long long)c->k);
    if (lethe_sae_format_from_name(c->to, &format)) return sae(in, format, err);
    if (strcmp(c->to, "json") != 0 && strcmp(c->to, "csv") != 0)
        return lethe_fail(err, LETHE_USAGE,
                          "--to: got \"%s\", want lethe, plain, saelens or sparsify for an SAE, "
                          "json or csv for a list of features",
                          c->to);
    LETHE_TRY(features(c, &n, err));
    if (c->json)
        return lethe_print_json(
            json_pack("{s:s, s:s, s:I}", "out", c->out, "format", c->to, "features", (json_int_t)n),
            err);
    printf("%zu features as %s\n%s\n", n, c->to, c->out);
    return LETHE_OK;
}

const lethe_cmd lethe_cmd_convert = {
    .name = "convert",
    .brief = "an SAE or a list of features in another project's format",
    .usage = "usage: lethe convert IN OUT --to FORMAT [--k K] [--layer N --hook pre|post]",
    .about =
        "IN is anything that --sae or --features takes (see docs/formats.md). Formats of an SAE:\n"
        "lethe and plain (a file), saelens (a folder), sparsify (a folder layers.N in a folder);\n"
        "of features: json, csv. Weights keep their bits. OUT is written whole or not at all.",
    .examples = "  lethe convert runs/demo/sae.safetensors shared/sae --to saelens\n"
                "  lethe convert layer_20/width_16k/average_l0_71 gemma.safetensors --to lethe\n"
                "  lethe convert results/llama/layer_15_features.pt features.csv --to csv",
    .takes = LETHE_FOR_CONVERT,
    .word = "from",
    .word2 = "out",
    .run = run,
};
