/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "front/prepare.h"

/* What the rows say of themselves goes into the SAE's own metadata. */
static void take_meta(const lethe_source *s, lethe_sae_meta *meta) {
    char text[128];
    *meta = (lethe_sae_meta){.layer = -1, .hook = -1};
    if (lethe_source_says(s, "model", text, sizeof text))
        snprintf(meta->model_name, sizeof meta->model_name, "%s", text);
    if (lethe_source_says(s, "model_hash", text, sizeof text) && strlen(text) == 32)
        snprintf(meta->model_hash, sizeof meta->model_hash, "%.32s", text);
    if (lethe_source_says(s, "layer", text, sizeof text)) meta->layer = atoi(text);
    if (lethe_source_says(s, "hook", text, sizeof text))
        meta->hook = strcmp(text, "pre") ? LETHE_HOOK_POST : LETHE_HOOK_PRE;
}

static lethe_status open_rows(const lethe_config *c, const lethe_train_opts *o, lethe_store **store,
                              lethe_source **source, lethe_err *err) {
    if (!lethe_path_is_dir(c->activations) || !lethe_store_exists(c->activations))
        return lethe_source_from_files(source, c->activations, o->recipe.shuffle, o->seed, err);
    LETHE_TRY(lethe_store_open(store, c->activations, NULL, err));
    return lethe_source_from_store(source, *store, o->recipe.shuffle, o->seed, err);
}

static lethe_status print_result(const lethe_config *c, const lethe_train_result *r,
                                 const char *sae_path, lethe_err *err) {
    if (c->json) {
        json_t *j = lethe_train_figures(r);
        json_object_set_new(j, "sae", json_string(sae_path));
        return lethe_print_json(j, err);
    }
    printf("FVU %.4f, L0 %.1f, %zu dead latents, %llu steps, %.1f s\n", r->fvu, r->l0, r->dead,
           (unsigned long long)r->steps, r->seconds);
    lethe_print_looks(r);
    puts(sae_path);
    return LETHE_OK;
}

/* Training on activations from anywhere: no model, no run.json, but the SAE's own files. */
static lethe_status train_on_files(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    lethe_train_opts o;
    LETHE_TRY(lethe_pipeline_train_opts(c, &o, err));
    if (!c->out)
        LETHE_TRY(lethe_config_set(c, lethe_setting_find("out"), "runs/activations", true, err));
    lethe_source *source = NULL;
    lethe_store *store = NULL;
    char *sae_path = NULL, *ckpt = NULL, identity[33];
    lethe_sae_meta meta;
    lethe_train_result r;
    lethe_status st = open_rows(c, &o, &store, &source, err);
    if (!st) st = lethe_mkdirs(c->out, err);
    if (!st) {
        sae_path = lethe_path_join(c->out, "sae.safetensors");
        ckpt = lethe_path_join(c->out, "train.ckpt");
        if (!sae_path || !ckpt) st = lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    }
    if (!st) st = lethe_source_hash(source, identity, err);
    if (!st) {
        o.identity = identity;
        take_meta(source, &meta);
        st = lethe_train_run(source, &o, &meta, sae_path, ckpt, in->env, &r, err);
    }
    if (!st) st = print_result(c, &r, sae_path, err);
    lethe_source_close(&source);
    lethe_store_close(&store);
    lethe_free(sae_path);
    lethe_free(ckpt);
    return st;
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    if (in->config.activations) return train_on_files(in, err);
    lethe_pipeline p;
    LETHE_TRY(lethe_prepare_pipeline(in, &p, err));
    lethe_train_result r;
    lethe_sae_meta meta;
    lethe_stage_info info;
    lethe_status st = lethe_pipeline_train(&p, &r, &meta, &info, err);
    if (!st && in->config.json) {
        json_t *j = lethe_train_figures(&r);
        json_object_set_new(j, "out", json_string(p.dir));
        json_object_set_new(j, "reused", json_boolean(info.reused));
        st = lethe_print_json(j, err);
    } else if (!st) {
        lethe_print_training(&p, &r, &info);
        printf("%s/sae.safetensors\n", p.dir);
    }
    lethe_pipeline_close(&p);
    return st;
}

const lethe_cmd lethe_cmd_train = {
    .name = "train",
    .brief = "train an SAE on one layer",
    .usage = "usage: lethe train [--model FILE] [--layer N] [--forget FILE..] [--retain FILE..] "
             "[--out DIR]\n"
             "       lethe train --activations FILE|DIR [--init SAE] [--out DIR]",
    .about = "Trains a TopK sparse autoencoder on the residual stream of one layer and writes\n"
             "sae.safetensors into the run directory. Ctrl-C saves; --resume goes on, to the same "
             "bytes\n"
             "as a run that was never interrupted.",
    .examples =
        "  lethe train --layer 1\n"
        "  lethe train --model llama-2-7b-chat.Q4_0.gguf --layer 15 --expansion 8 --k 32 \\\n"
        "      --forget potter/ --retain wikitext.txt --out runs/llama\n"
        "  lethe train --activations acts.safetensors --expansion 8 --k 32 --out runs/acts",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_TEXT | LETHE_FOR_TRAIN | LETHE_FOR_RUN,
    .run = run,
};
