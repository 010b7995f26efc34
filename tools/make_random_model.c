/* SPDX-License-Identifier: MIT
 *
 * Writes a GGUF of the Llama architecture with random weights, for measurements of speed: what a
 * model of a given shape costs, without its weights.
 *
 *   make_random_model OUT.gguf [--d 2048] [--layers 12] [--heads 16] [--kv-heads N] [--ffn 5504]
 *                     [--vocab 4096] [--ctx 2048] [--type f16|f32|q8_0|q4_0] [--seed 1]
 *                     [--chat 1]
 *
 * --chat adds a ChatML template with its control tokens <|im_start|> and <|im_end|>.
 * The shape of Llama-2-7B: --d 4096 --layers 32 --heads 32 --ffn 11008 --vocab 32000 --ctx 4096.
 * Tensors are made and written one after the other, so memory holds one at a time.
 */
#include <ggml.h>
#include <gguf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

typedef struct shape {
    int64_t d, layers, heads, kv_heads, ffn, vocab, ctx;
    enum ggml_type type;
    uint64_t seed;
    bool chat;
} shape;

static void die(const char *what) {
    fprintf(stderr, "make_random_model: %s\n", what);
    exit(1);
}

/* ---- vocabulary: SentencePiece with control tokens, 256 bytes, and filler words ---------
 */

static const char chat_template[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";

static void add_vocabulary(struct gguf_context *g, int64_t n, bool chat) {
    const char **token = calloc((size_t)n, sizeof *token);
    float *score = calloc((size_t)n, sizeof *score);
    int32_t *type = calloc((size_t)n, sizeof *type);
    char(*text)[32] = calloc((size_t)n, sizeof *text);
    if (!token || !score || !type || !text) die("no memory");
    static const char *const control[] = {"<unk>", "<s>", "</s>"};
    for (int64_t i = 0; i < n; i++) {
        if (i < 3) {
            snprintf(text[i], sizeof text[i], "%s", control[i]);
            type[i] = i ? 3 : 2; /* CONTROL, UNKNOWN */
        } else if (i < 259) {
            snprintf(text[i], sizeof text[i], "<0x%02X>", (unsigned)(i - 3));
            type[i] = 6; /* BYTE */
        } else if (chat && i < 261) {
            snprintf(text[i], sizeof text[i], "<|im_%s|>", i == 259 ? "start" : "end");
            type[i] = 3;
        } else {
            /* SentencePiece's space, and words that begin with one */
            int len = snprintf(text[i], sizeof text[i], "\xe2\x96\x81");
            if (i != 261)
                snprintf(text[i] + len, sizeof text[i] - (size_t)len, "w%lld", (long long)i);
            type[i] = 1; /* NORMAL */
            score[i] = -(float)i;
        }
        token[i] = text[i];
    }
    gguf_set_val_str(g, "tokenizer.ggml.model", "llama");
    gguf_set_arr_str(g, "tokenizer.ggml.tokens", token, (size_t)n);
    gguf_set_arr_data(g, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, score, (size_t)n);
    gguf_set_arr_data(g, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, type, (size_t)n);
    gguf_set_val_u32(g, "tokenizer.ggml.unknown_token_id", 0);
    gguf_set_val_u32(g, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(g, "tokenizer.ggml.eos_token_id", 2);
    if (chat) gguf_set_val_str(g, "tokenizer.chat_template", chat_template);
    free(token);
    free(score);
    free(type);
    free(text);
}

static void add_header(struct gguf_context *g, const shape *s) {
    gguf_set_val_str(g, "general.architecture", "llama");
    gguf_set_val_str(g, "general.name", "random weights");
    gguf_set_val_u32(g, "llama.context_length", (uint32_t)s->ctx);
    gguf_set_val_u32(g, "llama.embedding_length", (uint32_t)s->d);
    gguf_set_val_u32(g, "llama.block_count", (uint32_t)s->layers);
    gguf_set_val_u32(g, "llama.feed_forward_length", (uint32_t)s->ffn);
    gguf_set_val_u32(g, "llama.attention.head_count", (uint32_t)s->heads);
    gguf_set_val_u32(g, "llama.attention.head_count_kv", (uint32_t)s->kv_heads);
    gguf_set_val_u32(g, "llama.rope.dimension_count", (uint32_t)(s->d / s->heads));
    gguf_set_val_u32(g, "llama.vocab_size", (uint32_t)s->vocab);
    gguf_set_val_f32(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    add_vocabulary(g, s->vocab, s->chat);
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* Declared in this order, written in this order. A row of norms is ones, the rest
 * N(0, 1 / inputs). */
static void declare(struct gguf_context *g, struct ggml_context *c, const char *name,
                    enum ggml_type type, int64_t in, int64_t out) {
    struct ggml_tensor *t =
        out ? ggml_new_tensor_2d(c, type, in, out) : ggml_new_tensor_1d(c, GGML_TYPE_F32, in);
    ggml_set_name(t, name);
    gguf_add_tensor(g, t);
}

static void declare_all(struct gguf_context *g, struct ggml_context *c, const shape *s) {
    const int64_t kv = s->d / s->heads * s->kv_heads;
    declare(g, c, "token_embd.weight", s->type, s->d, s->vocab);
    declare(g, c, "output_norm.weight", GGML_TYPE_F32, s->d, 0);
    declare(g, c, "output.weight", s->type, s->d, s->vocab);
    const struct {
        const char *name;
        int64_t in, out;
    } block[] = {
        {"attn_norm", s->d, 0},     {"attn_q", s->d, s->d},      {"attn_k", s->d, kv},
        {"attn_v", s->d, kv},       {"attn_output", s->d, s->d}, {"ffn_norm", s->d, 0},
        {"ffn_gate", s->d, s->ffn}, {"ffn_up", s->d, s->ffn},    {"ffn_down", s->ffn, s->d}};
    for (int64_t l = 0; l < s->layers; l++) {
        for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%lld.%s.weight", (long long)l, block[i].name);
            declare(g, c, name, s->type, block[i].in, block[i].out);
        }
    }
}

/* Weights need no normal distribution, only one of its width: uniform on +-sqrt(3 / inputs). */
static void fill_row(float *x, int64_t n, bool ones, lethe_rng *rng) {
    const float scale = sqrtf(3.0f / (float)n) / 2147483648.0f;
    for (int64_t i = 0; i < n; i++)
        x[i] = ones ? 1.0f : scale * (float)(int32_t)(lethe_rng_u64(rng) >> 32);
}

static void write_tensor(FILE *f, const struct ggml_tensor *t, size_t alignment, lethe_rng *rng) {
    const int64_t n = t->ne[0], rows = t->ne[1];
    const size_t row = ggml_row_size(t->type, n);
    float *x = malloc((size_t)n * sizeof *x);
    void *packed = malloc(row);
    if (!x || !packed) die("no memory");
    for (int64_t r = 0; r < rows; r++) {
        fill_row(x, n, t->ne[1] == 1, rng);
        if (t->type == GGML_TYPE_F32)
            memcpy(packed, x, row);
        else
            ggml_quantize_chunk(t->type, x, packed, 0, 1, n, NULL);
        if (fwrite(packed, 1, row, f) != row) die("writing failed (disk full?)");
    }
    size_t pad = (alignment - (row * (size_t)rows) % alignment) % alignment;
    for (size_t i = 0; i < pad; i++) fputc(0, f);
    free(x);
    free(packed);
}

/* ---- command line --------------------------------------------------------------------------- */

static int64_t number(const char *option, const char *value) {
    char *end = NULL;
    long long n = value ? strtoll(value, &end, 10) : 0;
    if (!value || *end || n < 1 || n > INT32_MAX) {
        fprintf(stderr, "make_random_model: %s needs a whole number above 0\n", option);
        exit(2);
    }
    return n;
}

static enum ggml_type type_named(const char *name) {
    const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0};
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, ggml_type_name(types[i]))) return types[i];
    fprintf(stderr, "make_random_model: --type is f32, f16, q8_0 or q4_0\n");
    exit(2);
}

static shape parse(int argc, char **argv) {
    shape s = {2048, 12, 16, 0, 5504, 4096, 2048, GGML_TYPE_F16, 1, false};
    for (int i = 2; i < argc; i += 2) {
        const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(o, "--type")) {
            s.type = type_named(v);
            continue;
        }
        int64_t n = number(o, v);
        if (!strcmp(o, "--d"))
            s.d = n;
        else if (!strcmp(o, "--layers"))
            s.layers = n;
        else if (!strcmp(o, "--heads"))
            s.heads = n;
        else if (!strcmp(o, "--kv-heads"))
            s.kv_heads = n;
        else if (!strcmp(o, "--ffn"))
            s.ffn = n;
        else if (!strcmp(o, "--vocab"))
            s.vocab = n;
        else if (!strcmp(o, "--ctx"))
            s.ctx = n;
        else if (!strcmp(o, "--seed"))
            s.seed = (uint64_t)n;
        else if (!strcmp(o, "--chat"))
            s.chat = true;
        else {
            fprintf(stderr, "make_random_model: unknown option %s\n", o);
            exit(2);
        }
    }
    if (!s.kv_heads) s.kv_heads = s.heads;
    if (s.d % 32 || s.ffn % 32) die("--d and --ffn must be multiples of 32 (quantised blocks)");
    if (s.d % s.heads || s.d / s.heads % 2) die("--d must be --heads times an even number");
    if (s.heads % s.kv_heads) die("--heads must be a multiple of --kv-heads");
    if (s.vocab < 262) die("--vocab must be at least 262 (bytes and control tokens)");
    return s;
}

int main(int argc, char **argv) {
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: make_random_model OUT.gguf [--d N] [--layers N] [--heads N] "
                        "[--kv-heads N] [--ffn N] [--vocab N] [--ctx N] [--type f16] [--seed N] "
                        "[--chat 1]\n");
        return 2;
    }
    shape s = parse(argc, argv);
    struct gguf_context *g = gguf_init_empty();
    struct ggml_context *c = ggml_init((struct ggml_init_params){
        .mem_size = ggml_tensor_overhead() * (size_t)(9 * s.layers + 8), .no_alloc = true});
    if (!g || !c) die("no memory");
    add_header(g, &s);
    declare_all(g, c, &s);
    FILE *f = fopen(argv[1], "wb");
    if (!f || !gguf_write_to_file_ptr(g, f, true)) die("cannot write the file");
    lethe_rng rng = lethe_rng_make(s.seed, 0);
    uint64_t params = 0;
    for (struct ggml_tensor *t = ggml_get_first_tensor(c); t; t = ggml_get_next_tensor(c, t)) {
        write_tensor(f, t, gguf_get_alignment(g), &rng);
        params += (uint64_t)ggml_nelements(t);
    }
    if (fclose(f)) die("writing failed (disk full?)");
    printf("%s: %.0f M parameters\n", argv[1], (double)params / 1e6);
    gguf_free(g);
    ggml_free(c);
    return 0;
}
