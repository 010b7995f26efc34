/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "front/prepare.h"
#include "stage/token_file.h"

/* Windows to harvest: from token numbers, or from texts. */
typedef struct input {
    lethe_lm *lm;
    lethe_token_file tokens;
    lethe_corpus *corpus[LETHE_ROLES];
    lethe_mix *mix;
    lethe_window_source source;
    double total; /* tokens; 0: not known */
} input;

static void input_close(input *i) {
    lethe_mix_close(&i->mix);
    for (int r = 0; r < LETHE_ROLES; r++) lethe_corpus_close(&i->corpus[r]);
    lethe_token_file_free(&i->tokens);
    lethe_lm_close(&i->lm);
}

static lethe_status open_model(const lethe_invocation *in, input *i, size_t ctx, lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_lm_opts o = lethe_lm_defaults();
    o.gpu_layers = (int)c->gpu_layers;
    o.ctx_len = ctx;
    o.exact = c->gpu_layers == 0;
    o.n_seq = ctx >= 1024 ? 1 : ctx > 64 ? 1024 / ctx : 16;
    return lethe_lm_open(&i->lm, c->model, &o, in->env, err);
}

static lethe_status open_text(const lethe_invocation *in, input *i, lethe_err *err) {
    const lethe_config *c = &in->config;
    const lethe_list *paths[LETHE_ROLES] = {[LETHE_FORGET] = &c->forget,
                                            [LETHE_NEAR] = &c->near,
                                            [LETHE_RETAIN] = c->text.n ? &c->text : &c->retain};
    for (int r = 0; r < LETHE_ROLES; r++)
        if (paths[r]->n)
            LETHE_TRY(lethe_corpus_open(&i->corpus[r], (const char *const *)paths[r]->item,
                                        paths[r]->n, c->text_field, err));
    size_t ctx;
    LETHE_TRY(lethe_pipeline_ctx_len(c, in->env, &ctx, err));
    LETHE_TRY(open_model(in, i, ctx, err));
    lethe_mix_opts mo = {.ctx_len = lethe_lm_ctx_len(i->lm),
                         .bos = true,
                         .separate = c->separate_documents,
                         .shuffle = !c->text.n,
                         .forget_share = c->forget_share,
                         .max_tokens = (uint64_t)c->max_tokens,
                         .seed = (uint64_t)c->seed};
    LETHE_TRY(lethe_mix_open(&i->mix, i->lm, i->corpus, &mo, in->env, err));
    i->source = lethe_mix_source(i->mix);
    i->total = lethe_mix_tokens(i->mix);
    return LETHE_OK;
}

static lethe_status open_tokens(const lethe_invocation *in, input *i, lethe_err *err) {
    const lethe_config *c = &in->config;
    LETHE_TRY(lethe_token_file_load(&i->tokens, c->token_ids, err));
    bool set = in->set[lethe_setting_find("ctx-len") - lethe_settings];
    if (set && c->ctx_len > 0 && (size_t)c->ctx_len < i->tokens.window)
        i->tokens.window = (size_t)c->ctx_len;
    LETHE_TRY(open_model(in, i, i->tokens.window, err));
    i->source = lethe_token_file_source(&i->tokens);
    i->total = (double)i->tokens.all.n;
    return LETHE_OK;
}

/* ---- the two kinds of output ---------------------------------------------------------------- */

typedef struct output {
    lethe_st_writer
        *file; /* one safetensors file; tokens and positions wait until the rows are in */
    lethe_tokens token, position;
    lethe_store_writer *store;
} output;

static bool wants_file(const char *path) {
    return lethe_path_ends_with(path, ".safetensors");
}

static lethe_status output_open(output *o, const lethe_invocation *in, const input *i,
                                lethe_hook hook, lethe_err *err) {
    const lethe_config *c = &in->config;
    const lethe_lm_info *info = lethe_lm_get_info(i->lm);
    if (!wants_file(c->out)) {
        json_t *id = json_pack("{s:s, s:s, s:I, s:s}", "model", info->name, "model_hash",
                               info->hash, "layer", (json_int_t)c->layer, "hook",
                               hook == LETHE_HOOK_PRE ? "pre" : "post");
        lethe_dtype dtype = strcmp(c->store, "bf16") ? LETHE_F32 : LETHE_BF16;
        lethe_status st = id ? lethe_store_create(&o->store, c->out, info->d_model, dtype, id, err)
                             : lethe_fail(err, LETHE_NOMEM, "out of memory");
        json_decref(id);
        return st;
    }
    LETHE_TRY(lethe_st_create(&o->file, c->out, err));
    char layer[24];
    snprintf(layer, sizeof layer, "%lld", (long long)c->layer);
    lethe_st_set_meta(o->file, "model", info->name);
    lethe_st_set_meta(o->file, "model_hash", info->hash);
    lethe_st_set_meta(o->file, "layer", layer);
    lethe_st_set_meta(o->file, "hook", hook == LETHE_HOOK_PRE ? "pre" : "post");
    lethe_st_begin(o->file, "activations", LETHE_F32, 2, (size_t[]){0, info->d_model});
    return LETHE_OK;
}

static lethe_status output_put(output *o, const lethe_harvest_rows *b, size_t d, lethe_err *err) {
    if (o->store) return lethe_store_put(o->store, b->x, b->token, b->position, b->role, b->n, err);
    lethe_st_put(o->file, b->x, b->n * d * sizeof *b->x);
    for (size_t i = 0; i < b->n; i++) {
        LETHE_TRY(lethe_tokens_push(&o->token, b->token[i], err));
        LETHE_TRY(lethe_tokens_push(&o->position, b->position[i], err));
    }
    return LETHE_OK;
}

static lethe_status output_commit(output *o, lethe_err *err) {
    if (o->store) return lethe_store_commit(&o->store, err);
    lethe_st_begin(o->file, "tokens", LETHE_I32, 1, &o->token.n);
    lethe_st_put(o->file, o->token.id, o->token.n * sizeof *o->token.id);
    lethe_st_begin(o->file, "positions", LETHE_I32, 1, &o->position.n);
    lethe_st_put(o->file, o->position.id, o->position.n * sizeof *o->position.id);
    return lethe_st_commit(&o->file, err);
}

static void output_close(output *o) {
    lethe_st_abort(&o->file);
    lethe_store_abort(&o->store);
    lethe_tokens_free(&o->token);
    lethe_tokens_free(&o->position);
}

static lethe_status copy_rows(const lethe_invocation *in, const input *i, lethe_harvester *h,
                              output *o, lethe_err *err) {
    size_t d = lethe_lm_get_info(i->lm)->d_model;
    for (;;) {
        lethe_harvest_rows b;
        LETHE_TRY(lethe_harvester_next(h, SIZE_MAX, &b, err));
        const lethe_harvest_stats *s = lethe_harvester_stats(h);
        double done = (double)(s->rows + s->special + s->outliers);
        lethe_report_progress(in->env, &(lethe_progress){.stage = "harvest",
                                                         .done = done,
                                                         .total = i->total,
                                                         .unit = "tokens",
                                                         .detail = "",
                                                         .finished = !b.windows});
        if (!b.windows) break;
        LETHE_TRY(output_put(o, &b, d, err));
    }
    if (!lethe_harvester_stats(h)->rows)
        return lethe_fail(err, LETHE_FORMAT,
                          "every position was special or an outlier: nothing to write "
                          "(see --keep-bos and --keep-outliers)");
    return LETHE_OK;
}

static lethe_status check(const lethe_config *c, lethe_err *err) {
    int kinds =
        (c->token_ids != NULL) + (c->text.n > 0) + (c->forget.n + c->near.n + c->retain.n > 0);
    if (!c->model) return lethe_fail(err, LETHE_USAGE, "no model given (pass --model FILE.gguf)");
    if (!c->out)
        return lethe_fail(err, LETHE_USAGE,
                          "pass --out FILE.safetensors, or --out DIR for a sharded store");
    if (kinds != 1)
        return lethe_fail(err, LETHE_USAGE,
                          "pass one of: --text FILE.., --token-ids FILE, or --forget, "
                          "--near and --retain");
    if (strcmp(c->store, "auto") && strcmp(c->store, "f32") && strcmp(c->store, "bf16"))
        return lethe_fail(err, LETHE_USAGE, "--store: got \"%s\", want f32 or bf16", c->store);
    if (!(c->forget_share >= 0 && c->forget_share < 1))
        return lethe_fail(err, LETHE_USAGE, "--forget-share: got %g, want 0 to less than 1",
                          c->forget_share);
    if (c->max_tokens < 0)
        return lethe_fail(err, LETHE_USAGE, "--max-tokens: want 0 (no limit) or more");
    return lethe_config_check_stdin(c, err);
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    LETHE_TRY(check(c, err));
    input i = {0};
    output o = {0};
    lethe_harvester *h = NULL;
    lethe_harvest_opts ho = lethe_harvest_defaults();
    lethe_status st = lethe_pipeline_hook(c, &ho.hook, err);
    if (!st) st = c->token_ids ? open_tokens(in, &i, err) : open_text(in, &i, err);
    if (!st && c->layer == -1)
        c->layer = lethe_pipeline_middle_layer(lethe_lm_get_info(i.lm)->n_layer);
    ho.layer = c->layer > INT32_MAX || c->layer < 0 ? INT32_MAX : (int)c->layer;
    ho.keep_special = c->keep_bos;
    if (c->keep_outliers) ho.outlier_factor = 0;
    if (!st) st = lethe_harvester_open(&h, i.lm, i.source, &ho, err);
    if (!st) st = output_open(&o, in, &i, ho.hook, err);
    if (!st) st = copy_rows(in, &i, h, &o, err);
    if (!st) st = output_commit(&o, err);
    if (!st) {
        const lethe_harvest_stats *s = lethe_harvester_stats(h);
        size_t d = lethe_lm_get_info(i.lm)->d_model;
        if (c->json)
            st = lethe_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "rows",
                                            (json_int_t)s->rows, "d", (json_int_t)d, "windows",
                                            (json_int_t)s->windows, "special",
                                            (json_int_t)s->special, "outliers",
                                            (json_int_t)s->outliers, "out", c->out),
                                  err);
        else
            printf("%llu rows of %zu, layer %lld (%s); left out: %llu special, %llu outliers\n%s\n",
                   (unsigned long long)s->rows, d, (long long)c->layer, c->hook,
                   (unsigned long long)s->special, (unsigned long long)s->outliers, c->out);
    }
    output_close(&o);
    lethe_harvester_close(&h);
    input_close(&i);
    return st;
}

const lethe_cmd lethe_cmd_harvest = {
    .name = "harvest",
    .brief = "record a layer's activations, for training here or for use in Python",
    .usage = "usage: lethe harvest --model FILE --layer N --text FILE.. --out acts.safetensors\n"
             "       lethe harvest --model FILE --layer N --token-ids FILE --out acts.safetensors",
    .about =
        "Writes what the model represents as plain tensors: activations [N, d] F32, tokens [N] "
        "I32,\n"
        "positions [N] I32. --out DIR writes a store of shards with checksums instead. BOS, other\n"
        "special positions and attention sinks are left out unless told otherwise.",
    .examples =
        "  lethe harvest --model model.gguf --layer 15 --text wikitext.txt --out acts.safetensors\n"
        "  lethe harvest --model model.gguf --layer 15 --hook pre --token-ids ids.json \\\n"
        "      --keep-bos --keep-outliers --out acts.safetensors",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_TEXT | LETHE_FOR_HARVEST,
    .run = run,
};
