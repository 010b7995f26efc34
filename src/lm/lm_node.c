/* SPDX-License-Identifier: MIT
 *
 * What can be told of a node of a graph, and its rows.
 */
#include <ggml-backend.h>
#include <ggml.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lm_internal.h"

/* A tensor that crosses to another device is read there through a copy "BACKEND#name#0". */
bool lethe_lm_node_is(const char *name, const char *want) {
    if (!strcmp(name, want)) return true;
    const char *open = strchr(name, '#'), *close = strrchr(name, '#');
    size_t n = strlen(want);
    return open && close > open && (size_t)(close - open - 1) == n && !memcmp(open + 1, want, n);
}

int lethe_lm_node_layer(const struct ggml_tensor *t) {
    if (strncmp(t->name, "l_out-", 6) != 0) return -1;
    char *end;
    long layer = strtol(t->name + 6, &end, 10);
    return end != t->name + 6 && !*end && layer >= 0 && layer < INT_MAX ? (int)layer : -1;
}

static bool in_place(const struct ggml_tensor *t) {
    ggml_backend_buffer_t buffer = t->view_src ? t->view_src->buffer : t->buffer;
    return ggml_backend_buffer_is_host(buffer) && t->nb[1] == (size_t)t->ne[0] * sizeof(float);
}

float *lethe_lm_rows_get(const struct ggml_tensor *t, float *scratch) {
    if (in_place(t)) return t->data;
    size_t d = (size_t)t->ne[0];
    for (size_t r = 0; r < (size_t)t->ne[1]; r++)
        ggml_backend_tensor_get(t, scratch + r * d, r * t->nb[1], d * sizeof *scratch);
    return scratch;
}

void lethe_lm_rows_put(struct ggml_tensor *t, const float *x) {
    if (in_place(t)) return;
    size_t d = (size_t)t->ne[0];
    for (size_t r = 0; r < (size_t)t->ne[1]; r++)
        ggml_backend_tensor_set(t, x + r * d, r * t->nb[1], d * sizeof *x);
}

bool lethe_lm_all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

bool lethe_lm_vocab_is_special(const struct llama_vocab *vocab, int32_t token) {
    return token >= 0 && token < llama_vocab_n_tokens(vocab) &&
           (llama_vocab_is_control(vocab, token) || token == llama_vocab_bos(vocab) ||
            token == llama_vocab_eos(vocab));
}
