/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "stage/pull.h"

const lethe_short_name lethe_short_names[] = {
    {"llama-2-7b-chat", "TheBloke/Llama-2-7B-Chat-GGUF", NULL,
     "the model of the reference experiment"},
    {"gpt2", "QuantFactory/gpt2-GGUF", NULL, "GPT-2, 124 million parameters"},
    {"gpt2-medium", "mradermacher/gpt2-medium-GGUF", NULL, "GPT-2, 355 million parameters"},
    {"gemma-2-2b", "bartowski/gemma-2-2b-GGUF", NULL, "Gemma 2, what Gemma Scope's SAEs are of"},
    {"gemma-2-2b-it", "bartowski/gemma-2-2b-it-GGUF", NULL, "the same, for talking"},
    {"mistral-7b", "TheBloke/Mistral-7B-v0.1-GGUF", NULL, "Mistral 7B"},
    {"mistral-7b-instruct", "TheBloke/Mistral-7B-Instruct-v0.2-GGUF", NULL,
     "the same, for talking"},
    {"reference-sae", "kiyohan/llama-hp-unlearning-artifacts", "checkpoints/sae_layer_15.pt",
     "the reference experiment's SAE of layer 15 of llama-2-7b-chat"},
    {"reference-features", "kiyohan/llama-hp-unlearning-artifacts", "features/layer_15_features.pt",
     "the features that it removes"},
    {"gemma-scope-2b", "google/gemma-scope-2b-pt-res", "layer_20/width_16k/average_l0_71",
     "an SAE of layer 20 of gemma-2-2b"},
    {"wikitext-2", "datasets/ggml-org/ci", "wikitext-2-raw-v1.zip", "WikiText-2, raw: a zip"},
    {"tinystories", "datasets/roneneldan/TinyStories", "TinyStories-train.txt",
     "TinyStories, 1.9 GB of text"},
    {"tinystories-valid", "datasets/roneneldan/TinyStories", "TinyStories-valid.txt",
     "the validation part, 19 MB"},
};
const size_t lethe_short_names_count = sizeof lethe_short_names / sizeof *lethe_short_names;

const lethe_short_name *lethe_short_name_find(const char *name, size_t n) {
    for (size_t i = 0; i < lethe_short_names_count; i++)
        if (strlen(lethe_short_names[i].name) == n && !strncmp(lethe_short_names[i].name, name, n))
            return &lethe_short_names[i];
    return NULL;
}

lethe_status lethe_pull_parse(const char *text, const char *revision, lethe_hub_repo *repo,
                              char **what, lethe_err *err) {
    size_t n = strcspn(text, ":");
    const lethe_short_name *s = lethe_short_name_find(text, n);
    if (!s) return lethe_hub_parse(text, revision, repo, what, err);
    LETHE_TRY(lethe_hub_parse(s->repo, revision, repo, what, err));
    const char *of = text[n] ? text + n + 1 : s->what;
    if (of && !*of)
        return lethe_fail(err, LETHE_USAGE,
                          "\"%s\": a file or a quantisation is missing behind the colon", text);
    if (of && !(*what = lethe_strdup(of)))
        return lethe_fail(err, LETHE_NOMEM, "out of memory: a name");
    return LETHE_OK;
}
