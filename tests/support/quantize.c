/* SPDX-License-Identifier: MIT */
#include "support/quantize.h"

#include <ggml.h>
#include <gguf.h>
#include <llama.h>
#include <stdio.h>
#include <string.h>

static void quiet(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static void say_others(const char *path, enum ggml_type want, FILE *say) {
    struct gguf_context *g = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
    for (int64_t i = 0; g && i < gguf_get_n_tensors(g); i++) {
        const char *name = gguf_get_tensor_name(g, i);
        enum ggml_type type = gguf_get_tensor_type(g, i);
        bool vector = strstr(name, "norm") || strstr(name, "bias");
        if (!vector && type != want) fprintf(say, "    %s: %s\n", name, ggml_type_name(type));
    }
    if (g) gguf_free(g);
}

bool test_quantize(const char *from, const char *to, const char *type, void *say) {
    bool four = !strcmp(type, "q4_0");
    if (!four && strcmp(type, "q8_0") != 0) {
        fprintf(stderr, "quantize: type \"%s\", want q8_0 or q4_0\n", type);
        return false;
    }
    llama_log_set(quiet, NULL);
    struct llama_model_quantize_params p = llama_model_quantize_default_params();
    p.nthread = 1;
    p.ftype = four ? LLAMA_FTYPE_MOSTLY_Q4_0 : LLAMA_FTYPE_MOSTLY_Q8_0;
    if (llama_model_quantize(from, to, &p)) {
        fprintf(stderr, "quantize: %s cannot be quantised to %s\n", from, type);
        return false;
    }
    if (say) say_others(to, four ? GGML_TYPE_Q4_0 : GGML_TYPE_Q8_0, say);
    return true;
}

bool test_set_template(const char *from, const char *to, const char *chat_template) {
    struct ggml_context *tensors = NULL;
    struct gguf_context *g = gguf_init_from_file(from, (struct gguf_init_params){.ctx = &tensors});
    if (!g) return false;
    struct gguf_context *copy = gguf_init_empty();
    gguf_set_kv(copy, g);
    gguf_set_val_str(copy, "tokenizer.chat_template", chat_template);
    for (struct ggml_tensor *t = ggml_get_first_tensor(tensors); t;
         t = ggml_get_next_tensor(tensors, t))
        if (gguf_find_tensor(g, ggml_get_name(t)) >= 0) gguf_add_tensor(copy, t);
    bool ok = gguf_write_to_file(copy, to, false);
    gguf_free(copy);
    gguf_free(g);
    ggml_free(tensors);
    return ok;
}
