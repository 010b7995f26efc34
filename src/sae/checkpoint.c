/* SPDX-License-Identifier: MIT
 *
 * The whole state of a trainer in one file, in the machine's byte order:
 *
 *     head             fixed, below
 *     recipe text      recipe_len bytes
 *     parameters, first moments, second moments, each in the order of params.h, float32
 *     idle counters    m x u64
 *     extra            extra_len bytes, the caller's
 *     checksum         32 hex digits: XXH3-128 of everything before
 */
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include "sae/trainer_internal.h"

#define MAGIC "lethe-train-ckpt"
#define VERSION 1u
#define ORDER 0x01020304u
#define SUM_LEN (LETHE_HASH_HEX - 1)

typedef struct head {
    char magic[16];
    uint32_t version, byte_order;
    uint64_t d, m, k, total_steps, step, updates, recipe_len, extra_len;
} head;

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct sink {
    lethe_writer *w;
    lethe_hasher *h;
} sink;

static void put(sink *s, const void *data, size_t n) {
    lethe_writer_put(s->w, data, n);
    lethe_hasher_put(s->h, data, n);
}

static void put_params(sink *s, const lethe_trainer *t, lethe_param p, const float *x) {
    size_t d = t->sae.d, m = t->sae.m;
    put(s, x, lethe_param_rows(p, d, m) * lethe_param_cols(p, d, m) * sizeof *x);
}

lethe_status lethe_trainer_save(const lethe_trainer *t, const char *path, const char *extra,
                                lethe_err *err) {
    sink s = {0};
    size_t extra_len = extra ? strlen(extra) : 0;
    lethe_strbuf text = {0};
    lethe_recipe_text(&t->recipe, &text);
    lethe_status st = text.status;
    if (st) st = lethe_fail(err, st, "out of memory writing %s", path);
    if (!st) st = lethe_hasher_open(&s.h, err);
    if (!st) st = lethe_writer_open(&s.w, path, err);
    if (st) goto done;
    const head h = {.magic = MAGIC,
                    .version = VERSION,
                    .byte_order = ORDER,
                    .d = t->sae.d,
                    .m = t->sae.m,
                    .k = t->sae.k,
                    .total_steps = t->total_steps,
                    .step = t->step,
                    .updates = t->updates,
                    .recipe_len = text.len,
                    .extra_len = extra_len};
    put(&s, &h, sizeof h);
    put(&s, text.data, text.len);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        put_params(&s, t, p, lethe_param_data(&t->sae, p));
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) put_params(&s, t, p, t->m1[p]);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) put_params(&s, t, p, t->m2[p]);
    put(&s, t->idle, t->sae.m * sizeof *t->idle);
    put(&s, extra, extra_len);
    char sum[LETHE_HASH_HEX];
    lethe_hasher_hex(s.h, sum);
    lethe_writer_put(s.w, sum, SUM_LEN);
    st = lethe_writer_commit(&s.w, err);
done:
    lethe_hasher_close(&s.h);
    lethe_strbuf_free(&text);
    return st;
}

/* ---- reading -------------------------------------------------------------------------------- */

static lethe_status damaged(const lethe_map *f, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: damaged or cut off (start the training again without --resume)",
                      f->path);
}

/* The whole file is what was once written: checked before any of its sizes is believed. */
static lethe_status check_whole(const lethe_map *f, head *h, lethe_err *err) {
    if (f->size < sizeof *h + SUM_LEN || memcmp(f->data, MAGIC, sizeof h->magic) != 0)
        return lethe_fail(err, LETHE_FORMAT, "%s: not a training checkpoint", f->path);
    memcpy(h, f->data, sizeof *h);
    char sum[LETHE_HASH_HEX];
    lethe_hash_bytes(f->data, f->size - SUM_LEN, sum);
    if (memcmp(sum, f->data + f->size - SUM_LEN, SUM_LEN) != 0) return damaged(f, err);
    if (h->version != VERSION || h->byte_order != ORDER)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: written by another version of Lethe or on another kind of machine",
                          f->path);
    return LETHE_OK;
}

static lethe_status check_same(const lethe_map *f, const head *h, const lethe_trainer *t,
                               const char *recipe, size_t recipe_len, lethe_err *err) {
    if (h->d != t->sae.d || h->m != t->sae.m || h->k != t->sae.k)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: of a dictionary of %llu x %llu with k %llu, but this one is "
                          "%zu x %zu with k %zu",
                          f->path, (unsigned long long)h->m, (unsigned long long)h->d,
                          (unsigned long long)h->k, t->sae.m, t->sae.d, t->sae.k);
    if (h->total_steps != t->total_steps)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: of a training of %llu steps, but this one is laid out for %llu "
                          "(same text, epochs and batch size?)",
                          f->path, (unsigned long long)h->total_steps,
                          (unsigned long long)t->total_steps);
    if (h->recipe_len != recipe_len || memcmp(f->data + sizeof *h, recipe, recipe_len) != 0)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s: of another recipe\n  there: %.*s\n  here:  %.*s", f->path,
                          h->recipe_len < 400 ? (int)h->recipe_len : 400,
                          (const char *)f->data + sizeof *h, (int)recipe_len, recipe);
    return LETHE_OK;
}

static const unsigned char *take(const unsigned char *from, void *to, size_t n) {
    memcpy(to, from, n);
    return from + n;
}

static const unsigned char *take_params(const unsigned char *from, lethe_trainer *t, lethe_param p,
                                        float *to) {
    size_t d = t->sae.d, m = t->sae.m;
    return take(from, to, lethe_param_rows(p, d, m) * lethe_param_cols(p, d, m) * sizeof *to);
}

lethe_status lethe_trainer_load(lethe_trainer *t, const char *path, char **extra, lethe_err *err) {
    lethe_map f;
    LETHE_TRY(lethe_map_open(&f, path, err));
    head h;
    lethe_strbuf text = {0};
    lethe_recipe_text(&t->recipe, &text);
    lethe_status st = text.status;
    if (st) st = lethe_fail(err, st, "out of memory reading %s", path);
    if (!st) st = check_whole(&f, &h, err);
    if (!st && h.recipe_len > f.size - sizeof h - SUM_LEN) st = damaged(&f, err);
    if (!st) st = check_same(&f, &h, t, text.data, text.len, err);
    if (st) goto done;

    /* The shape is this trainer's, so these sizes fit in memory; the rest must be extra. */
    size_t d = t->sae.d, m = t->sae.m, fixed = sizeof h + text.len + m * sizeof *t->idle + SUM_LEN;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        fixed += 3 * lethe_param_rows(p, d, m) * lethe_param_cols(p, d, m) * sizeof(float);
    if (f.size < fixed || f.size - fixed != h.extra_len) {
        st = damaged(&f, err);
        goto done;
    }
    size_t extra_len = (size_t)h.extra_len;
    char *tail;
    if ((st = lethe_alloc(&tail, extra_len + 1, 1, "a checkpoint's extra state", err))) goto done;
    const unsigned char *at = f.data + sizeof h + text.len;
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++)
        at = take_params(at, t, p, *lethe_param_slot(&t->sae, p));
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) at = take_params(at, t, p, t->m1[p]);
    for (lethe_param p = 0; p < LETHE_PARAM_COUNT; p++) at = take_params(at, t, p, t->m2[p]);
    at = take(at, t->idle, m * sizeof *t->idle);
    take(at, tail, extra_len);
    tail[extra_len] = '\0';
    lethe_sieve_set_all(&t->sieve, t->sae.W_enc);
    t->step = h.step;
    t->updates = h.updates;
    *extra = tail;
done:
    lethe_map_close(&f);
    lethe_strbuf_free(&text);
    return st;
}
