/* SPDX-License-Identifier: MIT
 *
 * libllama takes a good file for granted in places where a bad one ends the process, so the header
 * is read and its offsets are compared with the file's size first.
 */
#include <gguf.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "lm_internal.h"

#define MAX_LAYERS 512 /* libllama's limit */

static lethe_status check_tensors(const struct gguf_context *g, const char *path, uint64_t size,
                                  lethe_err *err) {
    uint64_t start = gguf_get_data_offset(g);
    for (int64_t i = 0; i < gguf_get_n_tensors(g); i++) {
        uint64_t offset = gguf_get_tensor_offset(g, i), bytes = gguf_get_tensor_size(g, i);
        if (start <= size && offset <= size - start && bytes <= size - start - offset) continue;
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: truncated: tensor %s ends beyond the file's %llu bytes (fetch the "
                          "file again)",
                          path, gguf_get_tensor_name(g, i), (unsigned long long)size);
    }
    return LETHE_OK;
}

/* The keys whose values libllama asserts instead of refusing them. */
static lethe_status check_keys(const struct gguf_context *g, const char *path, lethe_err *err) {
    int64_t arch = gguf_find_key(g, "general.architecture");
    if (arch < 0 || gguf_get_kv_type(g, arch) != GGUF_TYPE_STRING)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: no general.architecture: a GGUF file, but not a language model",
                          path);
    char key[128];
    snprintf(key, sizeof key, "%s.block_count", gguf_get_val_str(g, arch));
    int64_t blocks = gguf_find_key(g, key);
    if (blocks < 0 || gguf_get_kv_type(g, blocks) != GGUF_TYPE_UINT32) return LETHE_OK;
    uint32_t n = gguf_get_val_u32(g, blocks);
    if (n >= 1 && n <= MAX_LAYERS) return LETHE_OK;
    return lethe_fail(err, LETHE_FORMAT, "%s: %s is %u, want 1 to %d", path, key, (unsigned)n,
                      MAX_LAYERS);
}

lethe_status lethe_lm_check_file(const char *path, uint64_t *size, lethe_err *err) {
    lethe_map map;
    LETHE_TRY(lethe_map_open(&map, path, err));
    *size = map.size;
    bool magic = map.size >= 4 && !memcmp(map.data, "GGUF", 4);
    lethe_map_close(&map);
    if (!magic)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: not a GGUF file (convert the model with llama.cpp's "
                          "convert_hf_to_gguf.py)",
                          path);
    struct gguf_context *g =
        gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true, .ctx = NULL});
    if (!g) {
        const char *said = lethe_lm_log_errors();
        return lethe_fail(err, LETHE_FORMAT, "%s: damaged or truncated GGUF header%s%s", path,
                          said[0] ? ": " : "", said);
    }
    lethe_status st = check_keys(g, path, err);
    if (st == LETHE_OK) st = check_tensors(g, path, *size, err);
    gguf_free(g);
    return st;
}
