/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: an SAE's tensors and the configuration beside them (the containers have targets of
 * their own). The first byte says what the configuration is called and which k is given; the first
 * line names tensors with shape, type and, if wanted, one value for all elements: "W_enc:3x4
 * k:=2@I32"; the rest is the configuration. What is accepted must be usable: finite, of one shape,
 * k within the latents; what is refused must say why.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "sae/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char folder[64];

static void must(int holds) {
    if (!holds) abort();
}

static void clean_up(void) {
    char path[128];
    static const char *const names[] = {"w.safetensors", "cfg.json", "config.json",
                                        "hyperparams.json"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void write_plain(const char *name, const void *data, size_t n) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    must(f != NULL);
    must(fwrite(data, 1, n, f) == n);
    must(fclose(f) == 0);
}

/* ---- weights --------------------------------------------------------------------------------- */

typedef struct tensor {
    char name[64];
    size_t shape[3], ndim, count;
    lethe_dtype dtype;
    double value;
} tensor;

/* Small shapes, so that a big claim is one of the file's header and not of this target. */
static int parse_tensor(char *word, tensor *t) {
    *t = (tensor){.count = 1, .dtype = LETHE_F32, .value = 0.25};
    char *type = strchr(word, '@'), *value = strchr(word, '='), *shape = strchr(word, ':');
    if (!shape || shape == word || shape - word >= 64) return 0;
    if (type) *type++ = '\0';
    if (value) *value++ = '\0';
    if (type && !lethe_dtype_from_name(type, &t->dtype)) return 0;
    if (value) t->value = strtod(value, NULL);
    for (char *s = shape + 1; *s;) {
        char *end;
        unsigned long d = strtoul(s, &end, 10);
        if (end == s || d > 16 || t->ndim == 3) return 0;
        t->shape[t->ndim++] = d;
        t->count *= d;
        s = *end == 'x' ? end + 1 : end;
        if (*end && *end != 'x') return 0;
    }
    for (const char *c = word; c < shape; c++)
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') return 0;
    memcpy(t->name, word, (size_t)(shape - word));
    return 1;
}

static void element(const tensor *t, size_t i, unsigned char out[8]) {
    float f = (float)(t->value + 0.125 * (double)(i % 7));
    if (t->count == 1) f = (float)t->value;
    double d = (double)f;
    int64_t whole = isfinite(t->value) && fabs(t->value) < 1e9 ? (int64_t)t->value : -1;
    uint16_t h = t->dtype == LETHE_F16 ? lethe_f16_from_f32(f) : lethe_bf16_from_f32(f);
    memset(out, 0, 8);
    switch (t->dtype) {
    case LETHE_F32: memcpy(out, &f, 4); break;
    case LETHE_F64: memcpy(out, &d, 8); break;
    case LETHE_F16:
    case LETHE_BF16: memcpy(out, &h, 2); break;
    default: memcpy(out, &whole, 8);
    }
}

static void put_tensor(const tensor *t, lethe_strbuf *header, lethe_strbuf *body) {
    size_t begin = body->len, size = lethe_dtype_size(t->dtype);
    for (size_t i = 0; i < t->count; i++) {
        unsigned char b[8];
        element(t, i, b);
        lethe_strbuf_add(body, (const char *)b, size);
    }
    lethe_strbuf_addf(header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", header->len > 1 ? "," : "",
                      t->name, lethe_dtype_name(t->dtype));
    for (size_t i = 0; i < t->ndim; i++)
        lethe_strbuf_addf(header, "%s%zu", i ? "," : "", t->shape[i]);
    lethe_strbuf_addf(header, "],\"data_offsets\":[%zu,%zu]}", begin, body->len);
}

static void write_weights(const uint8_t *line, size_t n) {
    lethe_strbuf header = {0}, body = {0}, file = {0};
    char text[1024];
    tensor t;
    size_t len = n < sizeof text - 1 ? n : sizeof text - 1;
    memcpy(text, line, len);
    text[len] = '\0';
    lethe_strbuf_adds(&header, "{");
    for (char *save = NULL, *word = strtok_r(text, " ", &save); word;
         word = strtok_r(NULL, " ", &save))
        if (parse_tensor(word, &t)) put_tensor(&t, &header, &body);
    lethe_strbuf_adds(&header, "}");
    for (int i = 0; i < 8; i++) {
        char byte = (char)(unsigned char)(header.len >> (8 * i));
        lethe_strbuf_add(&file, &byte, 1);
    }
    lethe_strbuf_add(&file, header.data, header.len);
    if (body.len) lethe_strbuf_add(&file, body.data, body.len);
    must(!header.status && !body.status && !file.status);
    write_plain("w.safetensors", file.data, file.len);
    lethe_strbuf_free(&header);
    lethe_strbuf_free(&body);
    lethe_strbuf_free(&file);
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static void check_finite(const float *x, size_t n) {
    must(x != NULL);
    for (size_t i = 0; i < n; i++) must(isfinite(x[i]));
}

static void check_accepted(const lethe_sae *s, const lethe_sae_meta *meta) {
    must(s->d && s->m && s->arch < LETHE_ARCH_COUNT && s->norm < LETHE_NORM_COUNT);
    must(s->arch == LETHE_ARCH_TOPK ? s->k >= 1 && s->k <= s->m : s->k == 0);
    check_finite(s->W_enc, s->d * s->m);
    check_finite(s->W_dec, s->d * s->m);
    check_finite(s->b_enc, s->m);
    check_finite(s->b_dec, s->d);
    if (s->arch == LETHE_ARCH_JUMPRELU) check_finite(s->threshold, s->m);
    if (s->arch == LETHE_ARCH_GATED) {
        check_finite(s->r_mag, s->m);
        check_finite(s->b_mag, s->m);
    }
    must(meta->layer >= -1 && meta->hook >= -1 && meta->hook <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const configs[] = {"cfg.json", "config.json", "hyperparams.json", NULL};
    static const size_t ks[] = {0, 2, 9};
    char path[128];
    if (!n) return 0;
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/dev/shm/fuzz-sae-XXXXXX"); /* in memory, where there is */
        if (!mkdtemp(folder)) {
            snprintf(folder, sizeof folder, "/tmp/fuzz-sae-XXXXXX");
            must(mkdtemp(folder) != NULL);
        }
        atexit(clean_up);
    }
    const uint8_t *line = data + 1, *end = memchr(line, '\n', n - 1);
    size_t len = end ? (size_t)(end - line) : n - 1;
    const char *config = configs[data[0] % 4];
    write_weights(line, len);
    if (config && end) write_plain(config, end + 1, n - len - 2);
    lethe_sae s = {0};
    lethe_sae_meta meta;
    lethe_err err = {0};
    lethe_status st = lethe_sae_load(&s, &meta, folder, ks[data[0] / 4 % 3], &err);
    if (st) {
        must(st == LETHE_FORMAT || st == LETHE_USAGE || st == LETHE_NOTFOUND);
        must(err.status == st && err.text[0] && !s.W_enc);
    } else {
        check_accepted(&s, &meta);
        lethe_sae_free(&s);
    }
    if (config && end) {
        snprintf(path, sizeof path, "%s/%s", folder, config);
        unlink(path);
    }
    return 0;
}
