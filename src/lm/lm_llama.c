/* SPDX-License-Identifier: MIT
 *
 * Opening a model: checks, weights, context.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "lm_internal.h"

#define DEFAULT_CTX 4096
#define MAX_LOGITS ((size_t)64 << 20) /* floats of logits a decode call may make */

lethe_lm_opts lethe_lm_defaults(void) {
    return (lethe_lm_opts){.n_seq = 1, .hash = true};
}

const lethe_lm_info *lethe_lm_get_info(const lethe_lm *lm) {
    return &lm->info;
}
size_t lethe_lm_ctx_len(const lethe_lm *lm) {
    return lm->ctx_len;
}
size_t lethe_lm_n_seq(const lethe_lm *lm) {
    return lm->n_seq;
}

lethe_status lethe_lm_check_layer(const lethe_lm *lm, int layer, lethe_err *err) {
    if (layer >= 0 && layer < lm->info.n_layer) return LETHE_OK;
    return lethe_fail(err, LETHE_USAGE, "layer %d: %s has %d layers, 0 to %d", layer,
                      lm->info.name[0] ? lm->info.name : "the model", lm->info.n_layer,
                      lm->info.n_layer - 1);
}

/* A number of the file's metadata, ARCH.NAME; 0 where there is none. */
static long arch_number(const lethe_lm *lm, const char *name) {
    char key[96], value[32];
    snprintf(key, sizeof key, "%s.%s", lm->info.arch, name);
    if (llama_model_meta_val_str(lm->model, key, value, sizeof value) <= 0) return 0;
    long n = strtol(value, NULL, 10);
    return n > 0 ? n : 0;
}

static bool has_experts(const lethe_lm *lm) {
    return arch_number(lm, "expert_count") > 0;
}

static void read_info(lethe_lm *lm) {
    lethe_lm_info *i = &lm->info;
    if (llama_model_meta_val_str(lm->model, "general.name", i->name, sizeof i->name) <= 0) {
        const char *base = strrchr(lm->path, '/');
        snprintf(i->name, sizeof i->name, "%s", base ? base + 1 : lm->path);
    }
    llama_model_meta_val_str(lm->model, "general.architecture", i->arch, sizeof i->arch);
    i->n_layer = llama_model_n_layer(lm->model);
    if (!i->n_layer) i->n_layer = (int)arch_number(lm, "block_count"); /* without the weights */
    i->d_model = (size_t)llama_model_n_embd(lm->model);
    if (!i->d_model) i->d_model = (size_t)arch_number(lm, "embedding_length"); /* no weights */
    i->n_vocab = (size_t)llama_vocab_n_tokens(lm->vocab);
    i->ctx_train = (size_t)arch_number(lm, "context_length"); /* also without the weights */
    i->n_params = llama_model_n_params(lm->model);
    i->add_bos = llama_vocab_get_add_bos(lm->vocab);
    i->bos = llama_vocab_bos(lm->vocab);
    i->eos = llama_vocab_eos(lm->vocab);
    i->has_chat_template = llama_model_chat_template(lm->model, NULL) != NULL;
}

/* SentencePiece vocabularies without <0xNN> tokens: libllama throws on a character it cannot spell,
 * which nothing above it could catch; lm_text.c refuses such text before. */
static bool lacks_byte_tokens(const lethe_lm *lm) {
    if (llama_vocab_type(lm->vocab) != LLAMA_VOCAB_TYPE_SPM) return false;
    size_t bytes = 0;
    for (int32_t t = 0; t < (int32_t)lm->info.n_vocab; t++)
        bytes += (llama_vocab_get_attr(lm->vocab, t) & LLAMA_TOKEN_ATTR_BYTE) != 0;
    return bytes < 256;
}

static lethe_status load_failed(const lethe_lm *lm, lethe_err *err) {
    const char *said = lethe_lm_log_errors();
    bool memory = strstr(said, "alloc") != NULL;
    return lethe_fail(err, memory ? LETHE_NOMEM : LETHE_FORMAT, "%s: libllama cannot load it: %s",
                      lm->path, said[0] ? said : "no reason given");
}

static lethe_status load_model(lethe_lm *lm, const lethe_lm_opts *o, lethe_err *err) {
    struct llama_model_params p = llama_model_default_params();
    ggml_backend_dev_t none[] = {NULL};
    p.vocab_only = o->vocab_only;
    p.n_gpu_layers = o->gpu_layers;
    if (!o->gpu_layers) p.devices = none; /* not even for single large products */
    lm->model = llama_model_load_from_file(lm->path, p);
    if (!lm->model) return load_failed(lm, err);
    lm->vocab = llama_model_get_vocab(lm->model);
    read_info(lm);
    if (llama_model_has_encoder(lm->model) || !llama_model_has_decoder(lm->model) ||
        llama_model_is_diffusion(lm->model))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: architecture %s is not a decoder-only language model", lm->path,
                          lm->info.arch);
    if (!lm->info.n_vocab)
        return lethe_fail(err, LETHE_FORMAT, "%s: the model has no vocabulary", lm->path);
    lm->no_byte_tokens = lacks_byte_tokens(lm);
    return LETHE_OK;
}

static lethe_status choose_sizes(lethe_lm *lm, const lethe_lm_opts *o, lethe_err *err) {
    size_t train = lm->info.ctx_train;
    lm->ctx_len = o->ctx_len;
    if (!lm->ctx_len) lm->ctx_len = train && train < DEFAULT_CTX ? train : DEFAULT_CTX;
    if (train && lm->ctx_len > train)
        return lethe_fail(err, LETHE_USAGE,
                          "context length %zu: %s was trained for %zu tokens (use at most that)",
                          lm->ctx_len, lm->info.name, train);
    lm->n_seq = o->n_seq ? o->n_seq : 1;
    if (lm->n_seq > LETHE_LM_MAX_SEQ)
        return lethe_fail(err, LETHE_USAGE, "%zu sequences at once: at most %d", lm->n_seq,
                          LETHE_LM_MAX_SEQ);
    /* A recurrent state reorders a batch of several sequences; one at a time stays in order. */
    bool recurrent = llama_model_is_recurrent(lm->model) || llama_model_is_hybrid(lm->model);
    if (recurrent) lm->n_seq = 1;
    lm->max_pack = recurrent ? 1 : LETHE_LM_MAX_SEQ;
    /* Attention looks at every used cell, so several sequences in one call pay for each other, but
     * up to the step they pay for it anyway. A device gains more from large calls than it loses. */
    lm->pack_tokens = o->gpu_layers ? LETHE_LM_UBATCH : LETHE_LM_KV_STEP;
    return LETHE_OK;
}

static bool on_abort(void *user) {
    const lethe_lm *lm = user;
    return lm->status != LETHE_OK || lethe_stop_requested();
}

static lethe_status make_context(lethe_lm *lm, const lethe_lm_opts *o, lethe_err *err) {
    size_t cells = lm->ctx_len * lm->n_seq;
    if (cells < LETHE_LM_UBATCH) cells = LETHE_LM_UBATCH;
    if (cells > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "%zu sequences of %zu tokens are too many at once",
                          lm->n_seq, lm->ctx_len);
    lm->max_out = MAX_LOGITS / lm->info.n_vocab;
    if (lm->max_out > LETHE_LM_UBATCH) lm->max_out = LETHE_LM_UBATCH;
    if (lm->max_out < lm->n_seq) lm->max_out = lm->n_seq;

    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = (uint32_t)cells;
    p.n_batch = p.n_ubatch = LETHE_LM_UBATCH;
    p.n_seq_max = (uint32_t)lm->n_seq;
    p.n_outputs_max = p.n_outputs_max_per_seq = (uint32_t)lm->max_out;
    p.n_threads = p.n_threads_batch = lethe_threads();
    p.kv_unified = true;
    p.swa_full = true;
    p.cb_eval = lethe_lm_eval_callback;
    p.cb_eval_user_data = lm;
    p.abort_callback = on_abort;
    p.abort_callback_data = lm;
    /* On the CPU flash attention adds its partial sums by thread, so the last bits would depend on
     * the number of threads. */
    if (o->exact || !o->gpu_layers) p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    if (o->exact) p.type_k = p.type_v = GGML_TYPE_F32;
    /* A graph that was stopped early leaves expert numbers uncomputed, and libllama asserts their
     * range when it copies chosen experts to a device. */
    if (has_experts(lm)) p.op_offload = false;
    lm->ctx = llama_init_from_model(lm->model, p);
    if (!lm->ctx) {
        const char *said = lethe_lm_log_errors();
        bool memory = strstr(said, "alloc") != NULL || strstr(said, "memory") != NULL;
        return lethe_fail(err, memory ? LETHE_NOMEM : LETHE_FAIL,
                          "%s: no context of %zu tokens x %zu sequences: %s (try a smaller one)",
                          lm->path, lm->ctx_len, lm->n_seq, said[0] ? said : "no reason given");
    }
    if (!llama_get_memory(lm->ctx))
        return lethe_fail(err, LETHE_FORMAT, "%s: architecture %s keeps no memory of its past",
                          lm->path, lm->info.arch);
    LETHE_TRY(lethe_lm_batch_open(&lm->batch, LETHE_LM_UBATCH, err));
    size_t floats;
    if (!lethe_mul_size(LETHE_LM_UBATCH, lm->info.d_model, &floats)) floats = SIZE_MAX;
    return lethe_alloc(&lm->scratch, floats, sizeof(float), "rows of the residual stream", err);
}

static lethe_status open_in(lethe_lm *lm, const char *path, const lethe_lm_opts *o,
                            lethe_err *err) {
    lm->path = lethe_strdup(path);
    if (!lm->path) return lethe_fail(err, LETHE_NOMEM, "no memory for the model");
    uint64_t size = 0;
    LETHE_TRY(lethe_lm_check_file(path, &size, err));
    lm->info.file_size = size;
    LETHE_TRY(load_model(lm, o, err));
    LETHE_TRY(choose_sizes(lm, o, err));
    if (o->hash) LETHE_TRY(lethe_hash_file(path, lm->info.hash, err));
    return o->vocab_only ? LETHE_OK : make_context(lm, o, err);
}

lethe_status lethe_lm_open(lethe_lm **out, const char *path, const lethe_lm_opts *opts,
                           const lethe_env *env, lethe_err *err) {
    lethe_lm *lm = NULL;
    LETHE_TRY(lethe_zalloc(&lm, 1, sizeof *lm, "the model", err));
    if (env) lm->env = *env;
    lethe_lm_log_enter(&lm->env);
    lethe_status st = open_in(lm, path, opts, err);
    lethe_lm_log_leave();
    if (st != LETHE_OK) {
        lethe_lm_close(&lm);
        return st;
    }
    *out = lm;
    return LETHE_OK;
}

void lethe_lm_close(lethe_lm **lm) {
    if (!lm || !*lm) return;
    lethe_lm *l = *lm;
    lethe_lm_log_enter(&l->env);
    if (l->ctx) llama_free(l->ctx);
    if (l->model) llama_model_free(l->model);
    lethe_lm_log_leave();
    lethe_lm_batch_close(&l->batch);
    lethe_free(l->scratch);
    lethe_free(l->path);
    lethe_free(l);
    *lm = NULL;
}
