/* SPDX-License-Identifier: MIT
 *
 * Layouts of SAEs: each project's spellings, what configurations may say, and every way to be
 * wrong. Files are made here, of made-up numbers; whether the numbers come out right is
 * test_formats.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "format/safetensors.h"
#include "sae/export.h"
#include "sae/layout.h"
#include "support/containers.h"

static const char *dir;
static lethe_err err;

static const char *at(const char *name) {
    static char path[4][600];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof *path, "%s/%s", dir, name);
    return p;
}

static void make_dir(const char *name) {
    assert_ok(lethe_mkdirs(at(name), &err), &err);
}

static void write_text(const char *name, const char *text) {
    assert_ok(lethe_write_file(at(name), text, strlen(text), &err), &err);
}

/* ---- weights from a line of text ------------------------------------------------------------- */

/* "W_enc:3x4 b_enc:4 threshold:4=0.5 k:=6@I32 b_dec:3@BF16 W_dec:4x3=nan": names, shapes, a value
 * for all elements (else made up), a type (else F32). */
typedef struct piece {
    char name[160];
    size_t ndim, shape[3], count;
    lethe_dtype dtype;
    bool filled;
    double value;
} piece;

static bool next_piece(const char **spec, piece *p) {
    char word[160];
    int n = 0;
    if (sscanf(*spec, " %159s%n", word, &n) != 1) return false;
    *spec += n;
    *p = (piece){.count = 1, .dtype = LETHE_F32};
    char *type = strchr(word, '@'), *value = strchr(word, '='), *shape = strchr(word, ':');
    if (type) {
        *type = '\0';
        assert_true(lethe_dtype_from_name(type + 1, &p->dtype));
    }
    if (value) {
        *value = '\0';
        p->filled = true;
        p->value = strtod(value + 1, NULL);
    }
    assert_non_null(shape);
    *shape = '\0';
    snprintf(p->name, sizeof p->name, "%s", word);
    for (char *s = shape + 1; *s;) {
        p->shape[p->ndim] = strtoul(s, &s, 10);
        p->count *= p->shape[p->ndim++];
        if (*s == 'x') s++;
    }
    return true;
}

/* Not too even, never 0, alike for a name and place. */
static float made_up(const piece *p, size_t i) {
    unsigned h = 17;
    for (const char *c = p->name; *c; c++) h = h * 31 + (unsigned char)*c;
    return (float)((h % 89 + i * 13) % 97) / 97.0f - 0.497f;
}

static void element(const piece *p, size_t i, unsigned char out[8]) {
    float f = p->filled ? (float)p->value : made_up(p, i);
    if (p->dtype == LETHE_F32) {
        memcpy(out, &f, 4);
    } else if (p->dtype == LETHE_F16 || p->dtype == LETHE_BF16) {
        uint16_t h = p->dtype == LETHE_F16 ? lethe_f16_from_f32(f) : lethe_bf16_from_f32(f);
        memcpy(out, &h, 2);
    } else {
        int64_t v = (int64_t)f;
        memcpy(out, &v, 8); /* little-endian */
    }
}

static void write_weights(const char *name, const char *spec) {
    lethe_st_writer *w;
    piece p;
    assert_ok(lethe_st_create(&w, at(name), &err), &err);
    while (next_piece(&spec, &p)) {
        lethe_st_begin(w, p.name, p.dtype, p.ndim, p.shape);
        for (size_t i = 0; i < p.count; i++) {
            unsigned char b[8];
            element(&p, i, b);
            lethe_st_put(w, b, lethe_dtype_size(p.dtype));
        }
    }
    assert_ok(lethe_st_commit(&w, &err), &err);
}

/* The same as a checkpoint of torch.save; extra: a pickle of one more pair, or "". */
static void write_pt(const char *name, const char *spec, const lethe_strbuf *extra) {
    lethe_strbuf pickle = {0}, zip = {0};
    raw_member member[24] = {{.name = "a/data.pkl"}};
    static char names[24][32];
    static unsigned char data[24][512];
    size_t n = 1;
    piece p;
    lethe_strbuf_add(&pickle, "\x80\x02}(", 4);
    for (; next_piece(&spec, &p); n++) {
        char key[8];
        size_t size = lethe_dtype_size(p.dtype);
        snprintf(key, sizeof key, "%zu", n);
        snprintf(names[n], sizeof names[n], "a/data/%zu", n);
        assert_true(p.count * size <= sizeof data[n]);
        for (size_t i = 0; i < p.count; i++) {
            unsigned char b[8];
            element(&p, i, b);
            memcpy(data[n] + i * size, b, size);
        }
        member[n] = (raw_member){.name = names[n], .data = data[n], .n = p.count * size};
        py_text(&pickle, p.name);
        py_view v = {.storage = p.dtype == LETHE_F32   ? "FloatStorage"
                                : p.dtype == LETHE_F16 ? "HalfStorage"
                                : p.dtype == LETHE_I32 ? "IntStorage"
                                                       : "LongStorage",
                     .key = key,
                     .elements = (int64_t)p.count,
                     .ndim = p.ndim};
        int64_t stride = 1;
        for (size_t i = p.ndim; i-- > 0;) {
            v.shape[i] = (int64_t)p.shape[i];
            v.stride[i] = stride;
            stride *= v.shape[i];
        }
        py_tensor(&pickle, &v);
    }
    if (extra) lethe_strbuf_add(&pickle, extra->data, extra->len);
    lethe_strbuf_add(&pickle, "u.", 2);
    member[0].data = pickle.data;
    member[0].n = pickle.len;
    raw_zip(&zip, member, n);
    assert_ok(lethe_write_file(at(name), zip.data, zip.len, &err), &err);
    lethe_strbuf_free(&pickle);
    lethe_strbuf_free(&zip);
}

/* ---- cases ----------------------------------------------------------------------------------- */

#define W "W_enc:3x4 W_dec:4x3 b_dec:3 "
#define WB W "b_enc:4 "
#define LIN "encoder.weight:4x3 encoder.bias:4 decoder.weight:3x4 "

typedef struct layout_case {
    const char *weights, *spec; /* file name, tensors; NULL: those of before */
    const char *config, *text;  /* file name and contents; NULL: none */
    size_t k;                   /* --k */
    const char *says;           /* of the message; NULL: it is read */
    lethe_arch arch;            /* where it is read */
    size_t want_k;
    int layer, hook;
} layout_case;

#define SL "sae_weights.safetensors"
#define CFG "cfg.json"
#define SAYS(text) text, LETHE_ARCH_TOPK, 0, 0, 0
#define READ(a, k, l, h) NULL, LETHE_ARCH_##a, k, l, h

static const layout_case saelens_cases[] = {
    {SL, WB, CFG, "{\"d_in\": 3, \"d_sae\": 4, \"architecture\": \"standard\"}", 0,
     READ(RELU, 0, -1, -1)},
    {SL, WB, CFG,
     "{\"d_sae\": 4, \"architecture\": \"topk\", \"k\": 2, \"metadata\": {\"hook_name\": "
     "\"blocks.3.hook_resid_pre\"}}",
     0, READ(TOPK, 2, 3, 0)},
    {SL, WB, CFG, "{\"d_sae\": 4, \"architecture\": \"topk\", \"k\": 2}", 3, READ(TOPK, 3, -1, -1)},
    {SL, WB, CFG,
     "{\"d_sae\": 4, \"hook_point\": \"blocks.5.hook_resid_post\", \"hook_point_layer\": 5, "
     "\"activation_fn\": \"topk\", \"activation_fn_kwargs\": {\"k\": 1}, "
     "\"normalize_activations\": "
     "false, \"hook_head_index\": null}",
     0, READ(TOPK, 1, 5, 1)},
    {SL, WB "threshold:4=0.5", CFG, "{\"architecture\": \"jumprelu\"}", 0,
     READ(JUMPRELU, 0, -1, -1)},
    {SL, WB "log_threshold:4", CFG, "{\"architecture\": \"jumprelu\"}", 0,
     READ(JUMPRELU, 0, -1, -1)},
    {SL, WB "topk_threshold:=0.5", CFG,
     "{\"architecture\": \"batchtopk\", \"rescale_acts_by_decoder_norm\": true}", 0,
     READ(JUMPRELU, 0, -1, -1)},
    {SL, WB "threshold:4=0.5", CFG, "{\"architecture\": \"matryoshka_batchtopk\"}", 0,
     READ(JUMPRELU, 0, -1, -1)},
    {SL, W "b_gate:4 r_mag:4 b_mag:4", CFG, "{\"architecture\": \"gated\"}", 0,
     READ(GATED, 0, -1, -1)},
    {SL, WB "scaling_factor:4", CFG, "{\"d_sae\": 4, \"finetuning_scaling_factor\": true}", 0,
     READ(RELU, 0, -1, -1)},
    {SL, WB, CFG, "{\"d_sae\": 4, \"normalize_activations\": \"layer_norm\"}", 0,
     READ(RELU, 0, -1, -1)},
    {SL, WB, CFG, "{\"d_sae\": 4, \"hook_name\": \"model.layers.7\", \"hook_layer\": 7}", 0,
     READ(RELU, 0, 7, 1)},

    {SL, WB, CFG, "{\"d_sae\": 4, \"architecture\": \"topk\"}", 0, SAYS("--k N")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"architecture\": \"topk\", \"k\": 5}", 0,
     SAYS("k is 5, want 1 to 4")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"architecture\": \"topk\", \"k\": 0}", 0,
     SAYS("cfg.json: k: got 0")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"architecture\": \"topk\", \"k\": \"8\"}", 0,
     SAYS("cfg.json: k: got the string \"8\"")},
    {SL, WB, CFG, "{\"d_in\": 9, \"d_sae\": 4}", 0, SAYS("cfg.json: d_in: got 9, want 3")},
    {SL, WB, CFG, "{\"d_sae\": 5}", 0, SAYS("cfg.json: d_sae: got 5, want 4")},
    {SL, WB, CFG, "{\"d_sae\": -1}", 0, SAYS("d_sae: got -1")},
    {SL, WB, CFG, "{\"architecture\": \"temporal\"}", 0,
     SAYS("architecture: got the string \"temporal\"")},
    {SL, WB, CFG, "{\"architecture\": \"jumprelu_transcoder\"}", 0,
     SAYS("is a jumprelu_transcoder")},
    {SL, WB, CFG, "{\"architecture\": 4}", 0, SAYS("architecture: got 4")},
    {SL, WB, CFG, "{\"architecture\": \"jumprelu\"}", 0, SAYS("tensor \"threshold\" is missing")},
    {SL, WB "threshold:3", CFG, "{\"architecture\": \"jumprelu\"}", 0,
     SAYS("\"threshold\": got shape [3], want [4]")},
    {SL, WB "topk_threshold:2", CFG, "{\"architecture\": \"batchtopk\"}", 0, SAYS("want one")},
    {SL, WB, CFG, "{\"architecture\": \"gated\"}", 0, SAYS("tensor \"b_gate\" is missing")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"activation_fn\": \"tanh-relu\"}", 0,
     SAYS("activation_fn: got the string \"tanh-relu\"")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"normalize_activations\": \"constant_scalar_rescale\"}", 0,
     SAYS("normalize_activations: got the string \"constant_scalar_rescale\"")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"normalize_activations\": true}", 0,
     SAYS("activation_scaler.json")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"apply_b_dec_to_input\": \"yes\"}", 0,
     SAYS("apply_b_dec_to_input")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"finetuning_scaling_factor\": true}", 0, SAYS("scaling_factor")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"hook_name\": \"blocks.3.hook_mlp_out\"}", 0,
     SAYS("is an SAE of blocks.3.hook_mlp_out")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"hook_name\": \"blocks.3.hook_resid_post\", \"hook_layer\": 4}",
     0, SAYS("its layer is given as 4")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"hook_name\": \"blocks.3.attn.hook_z\", \"hook_head_index\": 2}",
     0, SAYS("hook_head_index: got 2")},
    {SL, WB, CFG, "{\"d_sae\": 4, \"metadata\": 7}", 0, SAYS("metadata: got 7")},
    {SL, WB, CFG, "[1]", 0, SAYS("cfg.json")},
    {SL, WB, CFG, "{\"d_sae\": 4,", 0, SAYS("not valid JSON")},
    {SL, "W_enc:3x4=nan W_dec:4x3 b_dec:3 b_enc:4", CFG, "{\"d_sae\": 4}", 0,
     SAYS("\"W_enc\": element [0, 0] is not a finite number (NaN)")},
    {SL, "W_enc:3x4 W_dec:4x3 b_dec:3 b_enc:4=inf", CFG, "{\"d_sae\": 4}", 0,
     SAYS("\"b_enc\": element 0 is not a finite number (infinite)")},
    {SL, "W_enc:3x4 W_dec:4x3=inf@BF16 b_dec:3 b_enc:4", CFG, "{\"d_sae\": 4}", 0,
     SAYS("\"W_dec\": element [0, 0]")},
    {SL, "W_enc:3x4@I64 W_dec:4x3 b_dec:3 b_enc:4", CFG, "{\"d_sae\": 4}", 0,
     SAYS("\"W_enc\": got dtype I64, want floating point")},
    {SL, "W_enc:4x3 W_dec:4x3 b_dec:3 b_enc:4", CFG, "{\"d_sae\": 4}", 0,
     SAYS("\"W_enc\": got shape [4, 3], want [3, 4]")},
    {SL, "W_enc:3x0 W_dec:0x3 b_dec:3 b_enc:0", CFG, "{\"d_sae\": 0}", 0, SAYS("is empty")},
    {SL, WB "W_skip:3x3", CFG, "{\"d_sae\": 4}", 0, SAYS("W_skip")},
};

#define SP "sae.safetensors"
#define SPW "encoder.weight:4x3 encoder.bias:4 W_dec:4x3 b_dec:3 "
static const layout_case sparsify_cases[] = {
    {SP, SPW, CFG, "{\"d_in\": 3, \"num_latents\": 4, \"k\": 2}", 0, READ(TOPK, 2, -1, -1)},
    {SP, "encoder.weight:6x3 encoder.bias:6 W_dec:6x3 b_dec:3", CFG,
     "{\"d_in\": 3, \"num_latents\": 0, \"expansion_factor\": 2, \"k\": 2, \"signed\": false}", 0,
     READ(TOPK, 2, -1, -1)},
    {SP, SPW, NULL, NULL, 2, READ(TOPK, 2, -1, -1)},
    {SP, SPW, NULL, NULL, 0, SAYS("--k N")},
    {SP, SPW, CFG, "{\"d_in\": 4, \"k\": 2}", 0, SAYS("d_in: got 4, want 3")},
    {SP, SPW, CFG, "{\"d_in\": 3, \"k\": 2, \"expansion_factor\": 2}", 0,
     SAYS("expansion_factor: got 2, want 4 latents")},
    {SP, SPW, CFG, "{\"k\": 2, \"activation\": \"groupmax\"}", 0,
     SAYS("activation: got the string \"groupmax\"")},
    {SP, SPW, CFG, "{\"k\": 2, \"signed\": true}", 0, SAYS("signed: got true")},
    {SP, SPW, CFG, "{\"k\": 2, \"transcode\": true}", 0, SAYS("is a transcoder")},
    {SP, SPW, CFG, "{\"k\": 2, \"skip_connection\": true}", 0, SAYS("skip connection")},
    {SP, SPW "W_skip:3x3", CFG, "{\"k\": 2}", 0, SAYS("W_skip")},
    {SP, "encoder.weight:4x3 W_dec:4x3 b_dec:3", CFG, "{\"k\": 2}", 0,
     SAYS("\"encoder.bias\" is missing")},
};

#define LLAMA LIN "decoder.bias:3 "
#define NORM "\"dataset_average_activation_norm\": {\"in\": 2.0, \"out\": 2.0}"
static const layout_case llama_cases[] = {
    {SP, LLAMA, "hyperparams.json",
     "{\"act_fn\": \"jumprelu\", \"jump_relu_threshold\": 0.5, \"norm_activation\": "
     "\"dataset-wise\", " NORM ", \"hook_point_in\": \"blocks.4.hook_resid_post\"}",
     0, READ(JUMPRELU, 0, 4, 1)},
    {SP, LIN, "hyperparams.json",
     "{\"act_fn\": \"topk\", \"top_k\": 2, \"use_decoder_bias\": false}", 0, READ(TOPK, 2, -1, -1)},
    {SL,
     LLAMA "log_jumprelu_threshold:4 dataset_average_activation_norm.blocks.4.hook_resid_post:=2",
     "config.json",
     "{\"d_model\": 3, \"hook_point_in\": \"blocks.4.hook_resid_post\", \"act_fn\": \"jumprelu\"}",
     0, READ(JUMPRELU, 0, 4, 1)},
    {SL, LLAMA "log_jumprelu_threshold:4", "config.json", "{\"norm_activation\": \"inference\"}", 0,
     READ(JUMPRELU, 0, -1, -1)},
    {SL, LLAMA "log_jumprelu_threshold:4", "config.json", "{\"d_model\": 3}", 0,
     SAYS("dataset_average_activation_norm is missing")},
    {SL, LLAMA "log_jumprelu_threshold:4", NULL, NULL, 0, SAYS("without its config.json")},
    {SP, LLAMA, NULL, NULL, 2, SAYS("has decoder.bias")},
    {SP, LLAMA, "hyperparams.json", "{\"act_fn\": \"gelu\"}", 0,
     SAYS("act_fn: got the string \"gelu\"")},
    {SP, LLAMA, "hyperparams.json", "{\"act_fn\": \"jumprelu\"}", 0, SAYS("jump_relu_threshold")},
    {SP, LLAMA, "hyperparams.json", "{\"act_fn\": \"relu\", \"d_model\": 4}", 0,
     SAYS("d_model: got 4")},
    {SP, LLAMA, "hyperparams.json", "{\"act_fn\": \"relu\", \"norm_activation\": \"token-wise\"}",
     0, SAYS("norm_activation: got the string \"token-wise\"")},
    {SP, LLAMA, "hyperparams.json",
     "{\"act_fn\": \"relu\", \"norm_activation\": \"dataset-wise\", "
     "\"dataset_average_activation_norm\": {\"in\": -1}}",
     0, SAYS("dataset_average_activation_norm.in: got -1")},
    {SP, LLAMA, "hyperparams.json",
     "{\"act_fn\": \"relu\", \"hook_point_in\": \"blocks.4.hook_resid_post\", "
     "\"hook_point_out\": \"blocks.4.hook_mlp_out\"}",
     0, SAYS("is a transcoder")},
};

#define G2 "params.safetensors"
#define G2W "w_enc:3x4 w_dec:4x3 b_enc:4 b_dec:3 threshold:4 "
static const layout_case gemma_cases[] = {
    {G2, G2W, "config.json",
     "{\"architecture\": \"jump_relu\", \"hf_hook_point_in\": \"model.layers.2.output\"}", 0,
     READ(JUMPRELU, 0, 2, 1)},
    {G2, G2W, NULL, NULL, 0, READ(JUMPRELU, 0, -1, -1)},
    {G2, G2W, "config.json", "{\"architecture\": \"relu\"}", 0,
     SAYS("architecture: got the string \"relu\"")},
    {G2, G2W, "config.json", "{\"width\": 16}", 0, SAYS("width: got 16, want 4")},
    {G2, G2W, "config.json", "{\"hf_hook_point_in\": \"model.layers.2.mlp.output\"}", 0,
     SAYS("is an SAE of model.layers.2.mlp.output")},
    {G2, G2W, NULL, NULL, 3, SAYS("a jumprelu SAE has no k, got 3")},
    {G2, G2W "affine_skip_connection:3x3", NULL, NULL, 0, SAYS("affine_skip_connection")},
    {G2, "w_enc:3x4 w_dec:4x3 b_enc:4 b_dec:3", NULL, NULL, 0, SAYS("\"threshold\" is missing")},
};

#define TR(class) "{\"trainer\": {\"dict_class\": \"" class "\", \"layer\": 3}}"
#define TOP LIN "b_dec:3 k:=2@I32 threshold:=0.5 "
static const layout_case dictionary_cases[] = {
    {"ae.pt", LIN "bias:3", "config.json", TR("AutoEncoder"), 0, READ(RELU, 0, 3, 1)},
    {"ae.pt", LIN "bias:3", NULL, NULL, 0, READ(RELU, 0, -1, -1)},
    {"ae.pt", LIN "decoder.bias:3", "config.json", TR("AutoEncoderNew"), 0, READ(RELU, 0, 3, 1)},
    {"ae.pt", LIN "decoder.bias:3", NULL, NULL, 0, READ(RELU, 0, -1, -1)},
    {"ae.pt", "encoder.weight:4x3 decoder.weight:3x4 decoder_bias:3 gate_bias:4 r_mag:4 mag_bias:4",
     "config.json", TR("GatedAutoEncoder"), 0, READ(GATED, 0, 3, 1)},
    {"ae.pt", "encoder.weight:4x3 decoder.weight:3x4 decoder_bias:3 gate_bias:4 r_mag:4 mag_bias:4",
     NULL, NULL, 0, READ(GATED, 0, -1, -1)},
    {"ae.pt", TOP, "config.json", TR("AutoEncoderTopK"), 0, READ(TOPK, 2, 3, 1)},
    {"ae.pt", LIN "bias:3 k:=2@I32", "config.json", TR("AutoEncoderTopK"), 0, READ(TOPK, 2, 3, 1)},
    {"ae.pt", LIN "decoder_bias:3 k:=2@I32", "config.json", TR("AutoEncoderTopK"), 0,
     READ(TOPK, 2, 3, 1)},
    {"ae.pt", TOP, NULL, NULL, 3, READ(TOPK, 3, -1, -1)},
    {"ae.pt", TOP, "config.json", TR("BatchTopKSAE"), 0, READ(JUMPRELU, 0, 3, 1)},
    {"ae.pt", LIN "b_dec:3 k:=2@I32 threshold:=-1", "config.json", TR("BatchTopKSAE"), 2,
     READ(TOPK, 2, 3, 1)},
    {"ae.pt", WB "k:=2@I32 threshold:=0.5 group_sizes:2=2@I64", "config.json",
     TR("MatryoshkaBatchTopKSAE"), 0, READ(JUMPRELU, 0, 3, 1)},
    {"ae.pt", WB "k:=2@I32 threshold:=0.5 group_sizes:2=2@I64", NULL, NULL, 0,
     READ(JUMPRELU, 0, -1, -1)},
    {"ae.pt", WB "threshold:4", "config.json", TR("JumpReluAutoEncoder"), 0,
     READ(JUMPRELU, 0, 3, 1)},
    {"ae.pt", WB "threshold:4@F16", NULL, NULL, 0, READ(JUMPRELU, 0, -1, -1)},
    {"ae.pt", TOP, "config.json", "{\"trainer\": {\"trainer_class\": \"TopKTrainer\"}}", 0,
     READ(TOPK, 2, -1, -1)},

    {"ae.pt", TOP, NULL, NULL, 0, SAYS("AutoEncoderTopK or BatchTopKSAE?")},
    {"ae.pt", LIN "b_dec:3 k:=2@I32 threshold:=-1", "config.json", TR("BatchTopKSAE"), 0,
     SAYS("\"threshold\" is -1: training has not set it")},
    {"ae.pt", TOP, "config.json", TR("CrossCoder"), 0,
     SAYS("dict_class: got the string \"CrossCoder\"")},
    {"ae.pt", TOP, "config.json", "{\"trainer\": {\"dict_class\": \"AutoEncoderTopK\", \"k\": 3}}",
     0, SAYS("k: got 3, want 2, as in the weights")},
    {"ae.pt", LIN "b_dec:3 k:=9@I32", "config.json", TR("AutoEncoderTopK"), 0,
     SAYS("k is 9, want 1 to 4")},
    {"ae.pt", LIN "b_dec:3 k:=0@I32", "config.json", TR("AutoEncoderTopK"), 0,
     SAYS("\"k\" is 0, want at least 1")},
    {"ae.pt", LIN "b_dec:3 k:2=2@I32", "config.json", TR("AutoEncoderTopK"), 0, SAYS("want one")},
    {"ae.pt", TOP, "config.json",
     "{\"trainer\": {\"dict_class\": \"AutoEncoderTopK\", \"activation_dim\": 7}}", 0,
     SAYS("activation_dim: got 7, want 3")},
    {"ae.pt", TOP, "config.json",
     "{\"trainer\": {\"dict_class\": \"AutoEncoderTopK\", \"dict_size\": 7}}", 0,
     SAYS("dict_size: got 7, want 4")},
    {"ae.pt", TOP, "config.json",
     "{\"trainer\": {\"dict_class\": \"AutoEncoderTopK\", \"submodule_name\": \"mlp_out_3\"}}", 0,
     SAYS("is an SAE of mlp_out_3")},
    {"ae.pt", TOP, "config.json", "{\"trainer\": {\"dict_class\": 3}}", 0,
     SAYS("dict_class: got 3")},
    {"ae.pt", LIN "bias:3", "config.json", TR("MatryoshkaBatchTopKSAE"), 0,
     SAYS("\"W_dec\" is missing")},
    {"ae.pt", "x:2", "config.json", TR("AutoEncoder"), 0, SAYS("\"decoder.weight\" is missing")},
    {"ae.pt", "encoder.weight:4x3=nan encoder.bias:4 decoder.weight:3x4 bias:3", NULL, NULL, 0,
     SAYS("\"encoder.weight\": element [0, 0]")},
};

static const layout_case plain_cases[] = {
    {"a.pt", WB, NULL, NULL, 2, READ(TOPK, 2, -1, -1)},
    {"a.pt",
     "sae_state_dict.W_enc:3x4 sae_state_dict.W_dec:4x3 sae_state_dict.b_dec:3 "
     "sae_state_dict.b_enc:4",
     NULL, NULL, 2, READ(TOPK, 2, -1, -1)},
    {"a.pt", LIN "b_dec:3", NULL, NULL, 2, READ(TOPK, 2, -1, -1)},
    {SP, WB, NULL, NULL, 4, READ(TOPK, 4, -1, -1)},
    {SP, WB, NULL, NULL, 5, SAYS("k is 5, want 1 to 4")},
    {SP, WB, NULL, NULL, 0, SAYS("--k N")},
    {SP, WB "threshold:4", NULL, NULL, 0, SAYS("no configuration says what is done to the input")},
    {SP, "W_enc:3x4 b_enc:4 b_dec:3", NULL, NULL, 2, SAYS("\"W_dec\" is missing")},
    {SP, "W_dec:4x3 b_enc:4 b_dec:3", NULL, NULL, 2, SAYS("\"W_enc\" is missing")},
    {SP, "W_enc:3x4 W_dec:4x3 b_dec:3", NULL, NULL, 2, SAYS("\"b_enc\" is missing")},
    {SP, "W_enc:3x4 W_dec:4x3 b_enc:4", NULL, NULL, 2, SAYS("\"b_dec\" is missing")},
    {SP, "W_enc:3x4 W_dec:4x3 b_enc:4 b_dec:4", NULL, NULL, 2, SAYS("\"b_dec\": got shape [4]")},
    {SP, "W_dec:4x3x1 W_enc:3x4 b_enc:4 b_dec:3", NULL, NULL, 2,
     SAYS("\"W_dec\": got shape [4, 3, 1]")},
    {SP, "x:3 y:4", NULL, NULL, 2, SAYS("not an SAE in a layout that is known: its tensors are")},
};

static void clear_folder(void) {
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'/case", dir);
    assert_int_equal(system(command), 0);
    make_dir("case");
}

/* A message that is a person's --k is of another status. */
static lethe_status want_status(const layout_case *c) {
    if (!c->says) return LETHE_OK;
    bool usage = c->k && (strstr(c->says, "has no k") || strstr(c->says, "k is 5"));
    return usage ? LETHE_USAGE : LETHE_FORMAT;
}

static void check_case(const layout_case *c, const char *path, size_t i) {
    lethe_sae s = {0};
    lethe_sae_meta meta;
    lethe_status st = lethe_sae_load(&s, &meta, path, c->k, &err);
    if (st != want_status(c) || (st && !strstr(err.text, c->says)))
        fail_msg("case %zu (%s): status %d, says \"%s\", want \"%s\"", i, c->spec, (int)st,
                 st ? err.text : "", c->says ? c->says : "");
    if (st) {
        assert_null(s.W_enc);
        return;
    }
    if (s.arch != c->arch || s.k != c->want_k || meta.layer != c->layer || meta.hook != c->hook)
        fail_msg("case %zu (%s): %s, k %zu, layer %d, hook %d", i, c->spec, lethe_arch_name(s.arch),
                 s.k, meta.layer, meta.hook);
    lethe_sae_free(&s);
}

static void run_cases(const layout_case *c, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char weights[80], config[80];
        clear_folder();
        snprintf(weights, sizeof weights, "case/%s", c[i].weights);
        snprintf(config, sizeof config, "case/%s", c[i].config);
        if (lethe_path_ends_with(weights, ".pt"))
            write_pt(weights, c[i].spec, NULL);
        else
            write_weights(weights, c[i].spec);
        if (c[i].config) write_text(config, c[i].text);
        check_case(&c[i], at(weights), i);
        if (!strcmp(c[i].spec, "x:2") || !strncmp(c[i].spec, "x:3", 3))
            continue; /* nothing there */
        check_case(&c[i], at("case"), i);
    }
}

#define RUN(table) run_cases(table, sizeof(table) / sizeof(table)[0])

static void saelens(void **state) {
    (void)state;
    RUN(saelens_cases);
}
static void sparsify(void **state) {
    (void)state;
    RUN(sparsify_cases);
}
static void llama_scope(void **state) {
    (void)state;
    RUN(llama_cases);
}
static void gemma_scope_2(void **state) {
    (void)state;
    RUN(gemma_cases);
}
static void dictionary_learning(void **state) {
    (void)state;
    RUN(dictionary_cases);
}
static void plain(void **state) {
    (void)state;
    RUN(plain_cases);
}

/* ---- numbers that are folded ----------------------------------------------------------------- */

static void load(lethe_sae *s, lethe_sae_meta *meta, const char *path, size_t k) {
    assert_ok(lethe_sae_load(s, meta, path, k, &err), &err);
}

static void saelens_factor(void **state) {
    (void)state;
    lethe_sae a, b;
    clear_folder();
    write_weights("case/" SL, WB);
    write_text("case/cfg.json", "{\"d_sae\": 4}");
    load(&a, NULL, at("case"), 0);
    write_text("case/cfg.json",
               "{\"d_sae\": 4, \"normalize_activations\": \"expected_average_only_in\"}");
    assert_int_equal(lethe_sae_load(&b, NULL, at("case"), 0, &err), LETHE_FORMAT);
    write_text("case/activation_scaler.json", "{\"scaling_factor\": null}");
    assert_int_equal(lethe_sae_load(&b, NULL, at("case"), 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "the factor on the input is not told"));
    write_text("case/activation_scaler.json", "{\"scaling_factor\": 0}");
    assert_int_equal(lethe_sae_load(&b, NULL, at("case"), 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "scaling_factor: got 0"));
    write_text("case/activation_scaler.json", "{\"scaling_factor\": 0.5}");
    load(&b, NULL, at("case"), 0);
    assert_true(b.W_enc[7] == a.W_enc[7] * 0.5f && b.W_dec[7] == a.W_dec[7] * 2);
    assert_true(b.b_dec[1] == a.b_dec[1] * 2 && b.b_enc[3] == a.b_enc[3]);
    lethe_sae_free(&a);
    lethe_sae_free(&b);
}

static void finetuned(void **state) {
    (void)state;
    lethe_sae a, b;
    clear_folder();
    write_weights("case/" SL, WB "scaling_factor:4=3");
    write_text("case/cfg.json", "{\"d_sae\": 4}");
    load(&a, NULL, at("case"), 0);
    write_text("case/cfg.json", "{\"d_sae\": 4, \"finetuning_scaling_factor\": true}");
    load(&b, NULL, at("case"), 0);
    assert_true(b.W_dec[5] == a.W_dec[5] * 3 && b.W_enc[5] == a.W_enc[5]);
    lethe_sae_free(&a);
    lethe_sae_free(&b);
}

/* Of a latent whose direction is nothing there is no norm to divide by. */
static void dead_direction(void **state) {
    (void)state;
    lethe_sae s;
    clear_folder();
    write_weights("case/" SL, "W_enc:3x4 W_dec:4x3=0 b_dec:3 b_enc:4");
    write_text("case/cfg.json", "{\"architecture\": \"topk\", \"k\": 2, "
                                "\"rescale_acts_by_decoder_norm\": true}");
    load(&s, NULL, at("case"), 0);
    for (size_t i = 0; i < 12; i++) assert_true(s.W_dec[i] == 0 && isfinite(s.W_enc[i]));
    lethe_sae_free(&s);
}

static void llama_scaled(void **state) {
    (void)state;
    lethe_sae s;
    float factor = sqrtf(3.0f) / 2;
    clear_folder();
    make_dir("case/checkpoints");
    write_weights("case/checkpoints/final.safetensors", LLAMA);
    write_text("case/hyperparams.json",
               "{\"act_fn\": \"jumprelu\", \"jump_relu_threshold\": 0.5, \"norm_activation\": "
               "\"dataset-wise\", " NORM "}");
    load(&s, NULL, at("case"), 0);
    assert_true(s.raw_input && fabsf(s.threshold[2] - 0.5f * factor) < 1e-7f);
    lethe_sae_free(&s);
    load(&s, NULL, at("case/checkpoints/final.safetensors"), 0);
    lethe_sae_free(&s);
    clear_folder(); /* a tensor's thresholds are in the units of the scaled input */
    write_weights("case/" SL,
                  LLAMA "log_jumprelu_threshold:4=0 dataset_average_activation_norm.in:=2");
    write_text("case/config.json", "{\"norm_activation\": \"dataset-wise\"}");
    load(&s, NULL, at("case"), 0);
    assert_true(s.threshold[2] == 1);
    lethe_sae_free(&s);
}

static void openai(void **state) {
    (void)state;
    lethe_sae s;
    lethe_strbuf extra = {0};
    const char *spec = "pre_bias:3 latent_bias:4 encoder.weight:4x3 decoder.weight:3x4";
    clear_folder();
    write_pt("case/0.pt", spec, NULL);
    load(&s, NULL, at("case/0.pt"), 0);
    assert_true(s.arch == LETHE_ARCH_RELU && s.norm == LETHE_NORM_NONE);
    lethe_sae_free(&s);
    py_text(&extra, "activation");
    py_text(&extra, "TopK");
    py_text(&extra, "activation_state_dict");
    lethe_strbuf_add(&extra, "}(", 2);
    py_text(&extra, "k");
    py_int(&extra, 2);
    lethe_strbuf_add(&extra, "u", 1);
    write_pt("case/0.pt", spec, &extra);
    load(&s, NULL, at("case/0.pt"), 0);
    assert_true(s.arch == LETHE_ARCH_TOPK && s.norm == LETHE_NORM_LAYER && s.k == 2);
    lethe_sae_free(&s);
    lethe_strbuf_clear(&extra);
    py_text(&extra, "activation");
    py_text(&extra, "JumpReLU");
    write_pt("case/0.pt", spec, &extra);
    assert_int_equal(lethe_sae_load(&s, NULL, at("case/0.pt"), 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "activation: got the string \"JumpReLU\", want TopK or ReLU"));
    lethe_strbuf_free(&extra);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Gemma Scope 1 in its folders; arrays as NumPy writes them. */
static void write_npz(const char *name, bool lower) {
    static const char *const upper_names[] = {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"},
                             *const lower_names[] = {"w_enc", "w_dec", "b_enc", "b_dec",
                                                     "threshold"};
    static const char *const shapes[] = {"(3, 4)", "(4, 3)", "(4,)", "(3,)", "(4,)"};
    static const size_t counts[] = {12, 12, 4, 3, 4};
    const float x[12] = {0.5f, 1, 2, -1, 0.25f, 3, 1, 1, -2, 0.5f, 0.75f, 1};
    lethe_strbuf array[5] = {0}, zip = {0};
    raw_member member[5] = {0};
    char file[5][32];
    for (size_t i = 0; i < 5; i++) {
        char header[120];
        snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n",
                 shapes[i]);
        raw_npy(&array[i], header, x, counts[i] * sizeof *x);
        snprintf(file[i], sizeof file[i], "%s.npy", (lower ? lower_names : upper_names)[i]);
        member[i] = (raw_member){.name = file[i], .data = array[i].data, .n = array[i].len};
    }
    raw_zip(&zip, member, 5);
    assert_ok(lethe_write_file(at(name), zip.data, zip.len, &err), &err);
    for (size_t i = 0; i < 5; i++) lethe_strbuf_free(&array[i]);
    lethe_strbuf_free(&zip);
}

static void gemma_scope(void **state) {
    (void)state;
    lethe_sae s;
    lethe_sae_meta meta;
    clear_folder();
    make_dir("case/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71");
    write_npz("case/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71/params.npz", true);
    load(&s, &meta, at("case"), 0);
    assert_true(s.arch == LETHE_ARCH_JUMPRELU && s.raw_input);
    assert_true(meta.layer == 20 && meta.hook == 1);
    assert_string_equal(meta.model_name, "google/gemma-2-2b");
    lethe_sae_free(&s);
    make_dir("case/gemma-scope-2b-pt-res/embedding/width_4k");
    write_npz("case/gemma-scope-2b-pt-res/embedding/width_4k/params.npz", false);
    assert_int_equal(lethe_sae_load(&s, NULL, at("case"), 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "holds several SAEs, name one of them: "));
    assert_non_null(strstr(err.text, "layer_20/width_16k/average_l0_71/params.npz"));
    load(&s, &meta, at("case/gemma-scope-2b-pt-res/embedding"), 0);
    assert_true(meta.layer == 0 && meta.hook == 0);
    assert_true(fabsf(s.W_dec[2] - 2 * sqrtf(3)) < 1e-6f); /* in the units of the stream */
    lethe_sae_free(&s);
    make_dir("case/gemma-scope-9b-it-mlp/layer_3");
    write_npz("case/gemma-scope-9b-it-mlp/layer_3/params.npz", false);
    assert_int_equal(lethe_sae_load(&s, NULL, at("case/gemma-scope-9b-it-mlp"), 0, &err),
                     LETHE_FORMAT);
    assert_non_null(strstr(err.text, "is of gemma-scope-9b-it-mlp"));
}

static void folders(void **state) {
    (void)state;
    lethe_sae s;
    lethe_sae_meta meta;
    clear_folder();
    assert_int_equal(lethe_sae_load(&s, NULL, at("case"), 0, &err), LETHE_NOTFOUND);
    assert_non_null(strstr(err.text, "no SAE in this folder"));
    make_dir("case/layers.3");
    write_weights("case/layers.3/sae.safetensors", SPW);
    write_text("case/layers.3/cfg.json", "{\"k\": 2}");
    write_weights("case/optimizer.safetensors", "x:3"); /* no SAE: passed over */
    write_text("case/state.pt", "nothing");
    load(&s, &meta, at("case"), 0);
    assert_true(meta.layer == 3 && meta.hook == 1);
    lethe_sae_free(&s);
    make_dir("case/embed_tokens");
    write_weights("case/embed_tokens/sae.safetensors", SPW);
    write_text("case/embed_tokens/cfg.json", "{\"k\": 2}");
    assert_int_equal(lethe_sae_load(&s, NULL, at("case"), 0, &err), LETHE_FORMAT);
    assert_non_null(strstr(
        err.text, "name one of them: embed_tokens/sae.safetensors, layers.3/sae.safetensors"));
    load(&s, &meta, at("case/embed_tokens"), 0);
    assert_true(meta.layer == 0 && meta.hook == 0);
    lethe_sae_free(&s);
    make_dir("case/layers.3.mlp");
    write_weights("case/layers.3.mlp/sae.safetensors", SPW);
    assert_int_equal(lethe_sae_load(&s, NULL, at("case/layers.3.mlp"), 2, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "is an SAE of layers.3.mlp"));
}

/* The Hub's cache: the file is a link to one far from its configuration. */
static void linked(void **state) {
    (void)state;
    lethe_sae s;
    clear_folder();
    make_dir("case/blobs");
    make_dir("case/snapshot");
    write_weights("case/blobs/0123", WB);
    write_text("case/snapshot/cfg.json", "{\"architecture\": \"topk\", \"k\": 3}");
    assert_int_equal(symlink("../blobs/0123", at("case/snapshot/" SL)), 0);
    load(&s, NULL, at("case/snapshot/" SL), 0);
    assert_int_equal(s.k, 3);
    lethe_sae_free(&s);
}

static void identity(void **state) {
    (void)state;
    char a[LETHE_HASH_HEX], b[LETHE_HASH_HEX], c[LETHE_HASH_HEX], plain_file[LETHE_HASH_HEX];
    clear_folder();
    write_weights("case/" SL, WB);
    assert_ok(lethe_sae_hash(at("case/" SL), 2, a, &err), &err);
    assert_ok(lethe_hash_file(at("case/" SL), plain_file, &err), &err);
    assert_string_equal(a, plain_file);
    write_text("case/cfg.json", "{\"architecture\": \"topk\", \"k\": 3}");
    assert_ok(lethe_sae_hash(at("case"), 0, b, &err), &err);
    write_text("case/cfg.json", "{\"architecture\": \"topk\", \"k\": 2}");
    assert_ok(lethe_sae_hash(at("case"), 0, c, &err), &err);
    assert_true(strcmp(a, b) && strcmp(b, c) && strcmp(a, c));
}

/* ---- truncated ------------------------------------------------------------------------------- */

static void truncated(void **state) {
    (void)state;
    lethe_sae s = {0};
    lethe_map map;
    clear_folder();
    write_weights("case/whole.safetensors", WB);
    assert_ok(lethe_map_open(&map, at("case/whole.safetensors"), &err), &err);
    size_t header = 8 + 16384;
    const size_t cuts[] = {0, 1, 7, 8, 9, 200, header - 1, header, header + 1, map.size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_ok(lethe_write_file(at("case/cut.safetensors"), map.data, cuts[i], &err), &err);
        assert_int_equal(lethe_sae_load(&s, NULL, at("case/cut.safetensors"), 2, &err),
                         LETHE_FORMAT);
        assert_non_null(strstr(err.text, "cut.safetensors"));
    }
    lethe_map_close(&map);
    write_pt("case/whole.pt", WB, NULL);
    assert_ok(lethe_map_open(&map, at("case/whole.pt"), &err), &err);
    for (size_t n = 0; n < map.size; n += 17) {
        assert_ok(lethe_write_file(at("case/cut.pt"), map.data, n, &err), &err);
        assert_int_equal(lethe_sae_load(&s, NULL, at("case/cut.pt"), 2, &err), LETHE_FORMAT);
    }
    lethe_map_close(&map);
}

/* ---- there and back -------------------------------------------------------------------------- */

static void fill(float *x, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) x[i] = (float)((i * 37 + seed * 11) % 101) / 64.0f - 0.8f;
}

static lethe_sae random_sae(lethe_arch arch) {
    lethe_sae s;
    enum { D = 5, M = 40 };
    assert_ok(lethe_sae_alloc_as(&s, arch, D, M, arch == LETHE_ARCH_TOPK ? 7 : 0, &err), &err);
    fill(s.W_enc, D * M, 1);
    fill(s.W_dec, D * M, 2);
    fill(s.b_enc, M, 3);
    fill(s.b_dec, D, 4);
    if (s.threshold) fill(s.threshold, M, 5);
    if (s.r_mag) fill(s.r_mag, M, 6);
    if (s.b_mag) fill(s.b_mag, M, 7);
    return s;
}

static void assert_same(const lethe_sae *a, const lethe_sae *b) {
    assert_true(a->d == b->d && a->m == b->m && a->k == b->k && a->arch == b->arch &&
                a->norm == b->norm && a->raw_input == b->raw_input);
    assert_memory_equal(a->W_enc, b->W_enc, a->d * a->m * sizeof(float));
    assert_memory_equal(a->W_dec, b->W_dec, a->d * a->m * sizeof(float));
    assert_memory_equal(a->b_enc, b->b_enc, a->m * sizeof(float));
    assert_memory_equal(a->b_dec, b->b_dec, a->d * sizeof(float));
    if (a->threshold) assert_memory_equal(a->threshold, b->threshold, a->m * sizeof(float));
    if (a->r_mag) assert_memory_equal(a->r_mag, b->r_mag, a->m * sizeof(float));
    if (a->b_mag) assert_memory_equal(a->b_mag, b->b_mag, a->m * sizeof(float));
}

static lethe_sae_meta meta_of_layer(int layer, int hook) {
    lethe_sae_meta m = {.layer = layer, .hook = hook};
    snprintf(m.model_name, sizeof m.model_name, "a model");
    memset(m.model_hash, 'a', 32);
    return m;
}

static void there_and_back(const lethe_sae *a, lethe_sae_format format) {
    lethe_sae_meta meta = meta_of_layer(3, 1), got;
    lethe_sae b;
    char *written = NULL;
    clear_folder();
    assert_ok(lethe_sae_export(a, &meta, format, at("case/out"), &written, &err), &err);
    load(&b, &got, at("case/out"), 0);
    assert_same(a, &b);
    assert_true(got.layer == 3 && got.hook == 1);
    assert_string_equal(got.model_hash, meta.model_hash);
    lethe_sae_free(&b);
    load(&b, &got, written, 0);
    assert_same(a, &b);
    lethe_sae_free(&b);
    lethe_free(written);
}

static void round_trips(void **state) {
    (void)state;
    for (lethe_arch arch = 0; arch < LETHE_ARCH_COUNT; arch++) {
        lethe_sae s = random_sae(arch);
        for (lethe_norm norm = 0; norm < LETHE_NORM_COUNT; norm++) {
            s.norm = norm;
            s.raw_input = norm == LETHE_NORM_RESCALE;
            there_and_back(&s, LETHE_SAE_AS_SAELENS);
            there_and_back(&s, LETHE_SAE_AS_LETHE);
        }
        lethe_sae_free(&s);
    }
    lethe_sae s = random_sae(LETHE_ARCH_TOPK);
    there_and_back(&s, LETHE_SAE_AS_SPARSIFY);
    there_and_back(&s, LETHE_SAE_AS_PLAIN);
    lethe_sae_free(&s);
}

static void refuse(const lethe_sae *s, int layer, int hook, lethe_sae_format format,
                   lethe_status want, const char *says) {
    lethe_sae_meta meta = meta_of_layer(layer, hook);
    char *written = NULL;
    assert_int_equal(lethe_sae_export(s, &meta, format, at("case/out"), &written, &err), want);
    if (!strstr(err.text, says)) fail_msg("says \"%s\", want \"%s\"", err.text, says);
    assert_null(written);
}

static void not_expressed(void **state) {
    (void)state;
    lethe_sae s = random_sae(LETHE_ARCH_GATED), t = random_sae(LETHE_ARCH_TOPK);
    clear_folder();
    refuse(&s, 3, 1, LETHE_SAE_AS_SPARSIFY, LETHE_MISMATCH, "cannot express architecture gated");
    refuse(&s, 3, 1, LETHE_SAE_AS_PLAIN, LETHE_MISMATCH, "cannot express architecture gated");
    refuse(&t, -1, -1, LETHE_SAE_AS_SPARSIFY, LETHE_MISMATCH, "pass --layer N");
    refuse(&t, 3, 0, LETHE_SAE_AS_SPARSIFY, LETHE_MISMATCH, "pass --layer 2 --hook post");
    t.raw_input = true;
    refuse(&t, 3, 1, LETHE_SAE_AS_SPARSIFY, LETHE_MISMATCH, "does not take b_dec off");
    t.norm = LETHE_NORM_LAYER;
    refuse(&t, 3, 1, LETHE_SAE_AS_SPARSIFY, LETHE_MISMATCH, "normalised (layer");
    assert_false(lethe_path_exists(at("case/out")));
    make_dir("case/out");
    refuse(&s, 3, 1, LETHE_SAE_AS_SAELENS, LETHE_USAGE, "is there already");
    lethe_sae_free(&s);
    lethe_sae_free(&t);
}

static bool is_empty(const char *path) {
    char command[700];
    snprintf(command, sizeof command, "test -z \"$(ls -A '%s')\"", path);
    return system(command) == 0;
}

/* Every allocation in turn: nothing is left behind. */
static void no_memory(void **state) {
    (void)state;
    lethe_sae s = random_sae(LETHE_ARCH_TOPK), b = {0};
    lethe_sae_meta meta = meta_of_layer(0, 0);
    for (lethe_sae_format f = 0; f < LETHE_SAE_FORMAT_COUNT; f++) {
        clear_folder();
        size_t allowed = 0;
        for (;; allowed++) {
            char *written = NULL;
            lethe_mem_fail_after(allowed);
            lethe_status st = lethe_sae_export(&s, &meta, f, at("case/out"), &written, &err);
            lethe_mem_fail_after(SIZE_MAX);
            lethe_free(written);
            if (st == LETHE_OK) break;
            assert_int_equal(st, LETHE_NOMEM);
            /* The path of what was written is the last thing asked for. */
            if (!lethe_path_exists(at("case/out")))
                assert_true(is_empty(at("case")));
            else
                clear_folder();
        }
        assert_true(allowed > 2);
        for (allowed = 0;; allowed++) {
            lethe_mem_fail_after(allowed);
            lethe_status st = lethe_sae_load(&b, NULL, at("case/out"), 0, &err);
            lethe_mem_fail_after(SIZE_MAX);
            if (st == LETHE_OK) break;
            assert_int_equal(st, LETHE_NOMEM);
            assert_null(b.W_enc);
        }
        assert_true(allowed > 6);
        assert_same(&s, &b);
        lethe_sae_free(&b);
    }
    lethe_sae_free(&s);
}

static void formulas(void **state) {
    (void)state;
    lethe_sae_about a = {.arch = LETHE_ARCH_TOPK, .k = 32};
    char text[200];
    lethe_sae_formula(&a, text, sizeof text);
    assert_string_equal(text, "z = ReLU(TopK(W_enc (x - b_dec) + b_enc, 32))");
    a = (lethe_sae_about){.arch = LETHE_ARCH_JUMPRELU, .raw_input = true};
    lethe_sae_formula(&a, text, sizeof text);
    assert_string_equal(text, "a = W_enc x + b_enc, z = ReLU(a) [a > threshold]");
    a = (lethe_sae_about){.arch = LETHE_ARCH_RELU, .norm = LETHE_NORM_RESCALE};
    lethe_sae_formula(&a, text, sizeof text);
    assert_string_equal(text, "u = x sqrt(d) / |x|, z = ReLU(W_enc (u - b_dec) + b_enc)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saelens),        cmocka_unit_test(sparsify),
        cmocka_unit_test(llama_scope),    cmocka_unit_test(gemma_scope_2),
        cmocka_unit_test(gemma_scope),    cmocka_unit_test(dictionary_learning),
        cmocka_unit_test(openai),         cmocka_unit_test(plain),
        cmocka_unit_test(saelens_factor), cmocka_unit_test(finetuned),
        cmocka_unit_test(dead_direction), cmocka_unit_test(llama_scaled),
        cmocka_unit_test(folders),        cmocka_unit_test(linked),
        cmocka_unit_test(identity),       cmocka_unit_test(truncated),
        cmocka_unit_test(round_trips),    cmocka_unit_test(not_expressed),
        cmocka_unit_test(no_memory),      cmocka_unit_test(formulas),
    };
    dir = test_temp_dir();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
