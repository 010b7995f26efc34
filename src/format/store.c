/* SPDX-License-Identifier: MIT */
#include "format/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/run.h"
#include "format/jsonio.h"

#define SHARD_BYTES ((size_t)256 << 20)

static char *shard_path(const char *dir, size_t i) {
    char name[64];
    snprintf(name, sizeof name, "shard-%05zu.safetensors", i);
    return lethe_path_join(dir, name);
}

static lethe_status no_memory(const char *dir, lethe_err *err) {
    return lethe_fail(err, LETHE_NOMEM, "out of memory for the store %s", dir);
}

/* ---- writing -------------------------------------------------------------------------------- */

struct lethe_store_writer {
    char *dir;
    size_t d, rows_per_shard, n_shards;
    lethe_dtype dtype;
    json_t *identity, *shards;
    uint64_t rows;
    lethe_st_writer *st; /* the shard being written */
    lethe_hasher *hash;
    size_t in_shard;
    int32_t *token, *position; /* [rows_per_shard]: written behind the activations */
    uint8_t *role;
};

static void writer_free(lethe_store_writer *w) {
    lethe_st_abort(&w->st);
    lethe_hasher_close(&w->hash);
    json_decref(w->identity);
    json_decref(w->shards);
    lethe_free(w->dir);
    lethe_free(w->token);
    lethe_free(w->position);
    lethe_free(w->role);
    lethe_free(w);
}

static lethe_status load_index(const char *dir, json_t **out, lethe_err *err) {
    char *path = lethe_path_join(dir, "index.json");
    if (!path) return no_memory(dir, err);
    lethe_status st = lethe_json_load(out, path, err);
    lethe_free(path);
    return st;
}

static bool is_index(const json_t *j) {
    const char *format = json_string_value(json_object_get(j, "format"));
    return format && !strcmp(format, "lethe-store-1");
}

/* An index.json of something else is not ours to replace. */
static lethe_status refuse_strangers(const char *dir, lethe_err *err) {
    if (!lethe_store_exists(dir)) return LETHE_OK;
    json_t *j = NULL;
    lethe_err why = {0};
    bool ours = load_index(dir, &j, &why) == LETHE_OK && is_index(j);
    json_decref(j);
    if (ours) return LETHE_OK;
    return lethe_fail(err, LETHE_USAGE,
                      "%s/index.json is in the way: it is not a store's (use another "
                      "folder)",
                      dir);
}

lethe_status lethe_store_create(lethe_store_writer **out, const char *dir, size_t d,
                                lethe_dtype dtype, const json_t *identity, lethe_err *err) {
    LETHE_TRY(lethe_mkdirs(dir, err));
    LETHE_TRY(refuse_strangers(dir, err));
    lethe_store_remove(dir);
    LETHE_TRY(lethe_mkdirs(dir, err));
    lethe_store_writer *w;
    LETHE_TRY(lethe_zalloc(&w, 1, sizeof *w, "a store", err));
    w->d = d;
    w->dtype = dtype;
    w->rows_per_shard = SHARD_BYTES / (d * lethe_dtype_size(dtype));
    if (!w->rows_per_shard) w->rows_per_shard = 1;
    w->dir = lethe_strdup(dir);
    w->identity = json_deep_copy(identity);
    w->shards = json_array();
    lethe_status st = w->dir && w->identity && w->shards ? LETHE_OK : no_memory(dir, err);
    size_t n = w->rows_per_shard;
    if (!st) st = lethe_alloc(&w->token, n, sizeof *w->token, "a shard's tokens", err);
    if (!st) st = lethe_alloc(&w->position, n, sizeof *w->position, "a shard's positions", err);
    if (!st) st = lethe_alloc(&w->role, n, 1, "a shard's roles", err);
    if (st)
        writer_free(w);
    else
        *out = w;
    return st;
}

static lethe_status shard_open(lethe_store_writer *w, lethe_err *err) {
    char *path = shard_path(w->dir, w->n_shards);
    if (!path) return no_memory(w->dir, err);
    lethe_status st = lethe_st_create(&w->st, path, err);
    lethe_free(path);
    if (!st) st = lethe_hasher_open(&w->hash, err);
    if (!st) lethe_st_begin(w->st, "activations", w->dtype, 2, (size_t[]){0, w->d});
    return st;
}

static void put_hashed(lethe_store_writer *w, const void *data, size_t bytes) {
    lethe_st_put(w->st, data, bytes);
    lethe_hasher_put(w->hash, data, bytes);
}

static void put_rows(lethe_store_writer *w, const float *x, size_t count) {
    if (w->dtype == LETHE_F32) {
        put_hashed(w, x, count * sizeof *x);
        return;
    }
    uint16_t half[4096];
    for (size_t at = 0; at < count; at += 4096) {
        size_t n = count - at < 4096 ? count - at : 4096;
        for (size_t i = 0; i < n; i++) half[i] = lethe_bf16_from_f32(x[at + i]);
        put_hashed(w, half, n * sizeof *half);
    }
}

static lethe_status shard_close(lethe_store_writer *w, lethe_err *err) {
    size_t n = w->in_shard;
    lethe_st_begin(w->st, "tokens", LETHE_I32, 1, &n);
    put_hashed(w, w->token, n * sizeof *w->token);
    lethe_st_begin(w->st, "positions", LETHE_I32, 1, &n);
    put_hashed(w, w->position, n * sizeof *w->position);
    lethe_st_begin(w->st, "roles", LETHE_U8, 1, &n);
    put_hashed(w, w->role, n);
    char hex[LETHE_HASH_HEX], name[64];
    lethe_hasher_hex(w->hash, hex);
    lethe_hasher_close(&w->hash);
    LETHE_TRY(lethe_st_commit(&w->st, err));
    snprintf(name, sizeof name, "shard-%05zu.safetensors", w->n_shards++);
    json_t *entry =
        json_pack("{s:s, s:I, s:s}", "file", name, "rows", (json_int_t)n, "checksum", hex);
    if (!entry || json_array_append_new(w->shards, entry)) return no_memory(w->dir, err);
    w->in_shard = 0;
    return LETHE_OK;
}

lethe_status lethe_store_put(lethe_store_writer *w, const float *x, const int32_t *token,
                             const int32_t *position, const uint8_t *role, size_t n,
                             lethe_err *err) {
    while (n) {
        if (!w->st) LETHE_TRY(shard_open(w, err));
        size_t room = w->rows_per_shard - w->in_shard, take = n < room ? n : room;
        put_rows(w, x, take * w->d);
        memcpy(w->token + w->in_shard, token, take * sizeof *token);
        memcpy(w->position + w->in_shard, position, take * sizeof *position);
        memcpy(w->role + w->in_shard, role, take);
        w->in_shard += take;
        w->rows += take;
        x += take * w->d;
        token += take;
        position += take;
        role += take;
        n -= take;
        if (w->in_shard == w->rows_per_shard) LETHE_TRY(shard_close(w, err));
    }
    return LETHE_OK;
}

lethe_status lethe_store_commit(lethe_store_writer **wp, lethe_err *err) {
    lethe_store_writer *w = *wp;
    lethe_status st = w->st ? shard_close(w, err) : LETHE_OK;
    if (st) {
        lethe_store_abort(wp);
        return st;
    }
    json_t *index =
        json_pack("{s:s, s:I, s:I, s:s, s:O, s:O}", "format", "lethe-store-1", "d",
                  (json_int_t)w->d, "rows", (json_int_t)w->rows, "dtype",
                  lethe_dtype_name(w->dtype), "identity", w->identity, "shards", w->shards);
    char *text = index ? json_dumps(index, JSON_INDENT(1)) : NULL,
         *path = lethe_path_join(w->dir, "index.json");
    st = text && path ? lethe_write_file(path, text, strlen(text), err) : no_memory(w->dir, err);
    lethe_free(path);
    free(text);
    json_decref(index);
    if (st) {
        lethe_store_abort(wp);
        return st;
    }
    writer_free(w);
    *wp = NULL;
    return LETHE_OK;
}

void lethe_store_abort(lethe_store_writer **wp) {
    lethe_store_writer *w = *wp;
    if (!w) return;
    lethe_st_abort(&w->st);
    lethe_store_remove(w->dir);
    writer_free(w);
    *wp = NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct shard {
    lethe_st *st;
    const lethe_tensor *x, *role, *token, *position;
    uint64_t first; /* number of its first row */
} shard;

struct lethe_store {
    char *dir;
    json_t *index;
    size_t d, n_shards;
    uint64_t rows;
    shard *shard;
    char hash[LETHE_HASH_HEX];
};

bool lethe_store_exists(const char *dir) {
    char *path = lethe_path_join(dir, "index.json");
    bool there = path && lethe_path_exists(path);
    lethe_free(path);
    return there;
}

void lethe_store_remove(const char *dir) {
    char *path = lethe_path_join(dir, "index.json");
    if (path) unlink(path); /* first: a store without its index is none */
    lethe_free(path);
    bool there = true;
    for (size_t i = 0; there; i++) {
        path = shard_path(dir, i);
        there = path && unlink(path) == 0;
        lethe_free(path);
    }
    rmdir(dir); /* stays when the user keeps other things in it */
}

void lethe_store_close(lethe_store **sp) {
    lethe_store *s = *sp;
    if (!s) return;
    for (size_t i = 0; s->shard && i < s->n_shards; i++) lethe_st_close(&s->shard[i].st);
    lethe_free(s->shard);
    lethe_free(s->dir);
    json_decref(s->index);
    lethe_free(s);
    *sp = NULL;
}

uint64_t lethe_store_rows(const lethe_store *s) {
    return s->rows;
}
size_t lethe_store_d(const lethe_store *s) {
    return s->d;
}
const json_t *lethe_store_identity(const lethe_store *s) {
    return json_object_get(s->index, "identity");
}

static lethe_status compare_identity(const lethe_store *s, const json_t *want, lethe_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)want, key, value) {
        json_t *got = json_object_get(lethe_store_identity(s), key);
        if (got && json_equal(got, value)) continue;
        char *a = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL,
             *b = json_dumps(value, JSON_ENCODE_ANY);
        lethe_fail(
            err, LETHE_MISMATCH,
            "%s: these activations were taken with another %s: got %s, want %s (harvest again, "
            "or remove the folder)",
            s->dir, key, a ? a : "nothing", b ? b : "?");
        free(a);
        free(b);
        return LETHE_MISMATCH;
    }
    return LETHE_OK;
}

static lethe_status bad_index(const lethe_store *s, const char *what, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT, "%s/index.json: %s (harvest again)", s->dir, what);
}

static lethe_status open_shard(lethe_store *s, size_t i, json_t *entry, lethe_err *err) {
    const char *file = json_string_value(json_object_get(entry, "file")),
               *checksum = json_string_value(json_object_get(entry, "checksum"));
    json_int_t rows = json_integer_value(json_object_get(entry, "rows"));
    if (!file || strchr(file, '/') || !checksum || rows <= 0)
        return bad_index(s, "a shard's entry is damaged", err);
    char *path = lethe_path_join(s->dir, file);
    if (!path) return no_memory(s->dir, err);
    lethe_status st = lethe_st_open(&s->shard[i].st, path, err);
    lethe_free(path);
    if (st) return st;
    const lethe_st *f = s->shard[i].st;
    LETHE_TRY(
        lethe_st_want(f, "activations", 2, (size_t[]){(size_t)rows, s->d}, &s->shard[i].x, err));
    lethe_dtype dtype = s->shard[i].x->dtype;
    if (dtype != LETHE_F32 && dtype != LETHE_BF16)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"activations\": got dtype %s, want F32 or BF16",
                          lethe_st_path(f), lethe_dtype_name(dtype));
    LETHE_TRY(lethe_st_want(f, "roles", 1, (size_t[]){(size_t)rows}, &s->shard[i].role, err));
    if (s->shard[i].role->dtype != LETHE_U8)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"roles\": got dtype %s, want U8",
                          lethe_st_path(f), lethe_dtype_name(s->shard[i].role->dtype));
    const char *const numbers[] = {"tokens", "positions"};
    const lethe_tensor **at[] = {&s->shard[i].token, &s->shard[i].position};
    for (size_t k = 0; k < 2; k++) {
        LETHE_TRY(lethe_st_want(f, numbers[k], 1, (size_t[]){(size_t)rows}, at[k], err));
        if ((*at[k])->dtype != LETHE_I32)
            return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": got dtype %s, want I32",
                              lethe_st_path(f), numbers[k], lethe_dtype_name((*at[k])->dtype));
    }
    lethe_hasher *h;
    LETHE_TRY(lethe_hasher_open(&h, err));
    static const char *const parts[] = {"activations", "tokens", "positions", "roles"};
    for (size_t k = 0; k < 4; k++) {
        const lethe_tensor *t = lethe_st_find(f, parts[k]);
        if (t) lethe_hasher_put(h, t->data, t->count * lethe_dtype_size(t->dtype));
    }
    char hex[LETHE_HASH_HEX];
    lethe_hasher_hex(h, hex);
    lethe_hasher_close(&h);
    if (strcmp(hex, checksum))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: damaged (its checksum is %s, the index says %s); "
                          "harvest again",
                          lethe_st_path(f), hex, checksum);
    s->shard[i].first = s->rows;
    s->rows += (uint64_t)rows;
    return LETHE_OK;
}

static lethe_status open_all(lethe_store *s, const json_t *want, lethe_err *err) {
    if (!is_index(s->index)) return bad_index(s, "not a store's index", err);
    if (want) LETHE_TRY(compare_identity(s, want, err));
    json_t *shards = json_object_get(s->index, "shards"), *entry;
    json_int_t d = json_integer_value(json_object_get(s->index, "d"));
    if (d <= 0 || !json_is_array(shards))
        return bad_index(s, "\"d\" or \"shards\" is damaged", err);
    s->d = (size_t)d;
    s->n_shards = json_array_size(shards);
    LETHE_TRY(lethe_zalloc(&s->shard, s->n_shards, sizeof *s->shard, "the list of shards", err));
    size_t i;
    json_array_foreach(shards, i, entry) LETHE_TRY(open_shard(s, i, entry, err));
    if ((json_int_t)s->rows != json_integer_value(json_object_get(s->index, "rows")))
        return bad_index(s, "\"rows\" is not the sum of the shards", err);
    return LETHE_OK;
}

lethe_status lethe_store_open(lethe_store **out, const char *dir, const json_t *want,
                              lethe_err *err) {
    lethe_store *s;
    LETHE_TRY(lethe_zalloc(&s, 1, sizeof *s, "a store", err));
    s->dir = lethe_strdup(dir);
    lethe_status st = s->dir ? load_index(dir, &s->index, err) : no_memory(dir, err);
    if (!st) st = open_all(s, want, err);
    char *text = st ? NULL : json_dumps(s->index, JSON_COMPACT | JSON_SORT_KEYS);
    if (!st && !text) st = no_memory(dir, err);
    if (!st) lethe_hash_bytes(text, strlen(text), s->hash);
    free(text);
    if (st)
        lethe_store_close(&s);
    else
        *out = s;
    return st;
}

void lethe_store_hash(const lethe_store *s, char out[33]) {
    memcpy(out, s->hash, sizeof s->hash);
}

/* The last shard with first <= row. */
static const shard *shard_of(const lethe_store *s, uint64_t row) {
    size_t lo = 0, hi = s->n_shards;
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (s->shard[mid].first <= row)
            lo = mid;
        else
            hi = mid;
    }
    return &s->shard[lo];
}

void lethe_store_read_roles(const lethe_store *s, uint64_t first, size_t n, uint8_t *role) {
    for (size_t i = 0; i < n; i++) {
        const shard *h = shard_of(s, first + i);
        role[i] = ((const uint8_t *)h->role->data)[first + i - h->first];
    }
}

void lethe_store_read_tokens(const lethe_store *s, uint64_t first, size_t n, int32_t *token,
                             int32_t *position) {
    for (size_t i = 0; i < n; i++) {
        const shard *h = shard_of(s, first + i);
        size_t at = (size_t)(first + i - h->first);
        (void)lethe_tensor_to_i32(h->token, at, 1, token + i, NULL); /* I32: cannot fail */
        (void)lethe_tensor_to_i32(h->position, at, 1, position + i, NULL);
    }
}

void lethe_store_read(const lethe_store *s, const uint64_t *row, size_t n, float *x) {
#pragma omp parallel for schedule(static) num_threads(lethe_threads())
    for (size_t i = 0; i < n; i++) {
        const shard *h = shard_of(s, row[i]);
        /* Floats of known dtype: this cannot fail. */
        (void)lethe_tensor_to_f32(h->x, (size_t)(row[i] - h->first) * s->d, s->d, x + i * s->d,
                                  NULL);
    }
}
