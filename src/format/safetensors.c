/* SPDX-License-Identifier: MIT */
#include "format/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define HEADER_MAX (100u << 20) /* the limit of the format's own reference reader */

/* ---- reading -------------------------------------------------------------------------------- */

struct lethe_st {
    lethe_map map;
    json_t *header; /* owns the names */
    lethe_tensor *tensor;
    size_t n;
};

const char *lethe_st_path(const lethe_st *st) {
    return st->map.path;
}
size_t lethe_st_count(const lethe_st *st) {
    return st->n;
}
const lethe_tensor *lethe_st_at(const lethe_st *st, size_t i) {
    return &st->tensor[i];
}

const lethe_tensor *lethe_st_find(const lethe_st *st, const char *name) {
    for (size_t i = 0; i < st->n; i++)
        if (!strcmp(st->tensor[i].name, name)) return &st->tensor[i];
    return NULL;
}

const char *lethe_st_meta(const lethe_st *st, const char *key) {
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}

const json_t *lethe_st_metadata(const lethe_st *st) {
    return json_object_get(st->header, "__metadata__");
}

void lethe_st_close(lethe_st **stp) {
    lethe_st *st = *stp;
    if (!st) return;
    lethe_map_close(&st->map);
    json_decref(st->header);
    lethe_free(st->tensor);
    lethe_free(st);
    *stp = NULL;
}

static bool size_value(json_t *v, size_t *out) {
    json_int_t i = json_is_integer(v) ? json_integer_value(v) : -1;
    if (i < 0) return false;
    *out = (size_t)i;
    return true;
}

/* Fills t from its entry; `data`, `data_size`: the part of the file behind the header. */
static lethe_status parse_tensor(lethe_tensor *t, const char *path, const char *name, json_t *entry,
                                 const unsigned char *data, size_t data_size, size_t *begin,
                                 size_t *end, lethe_err *err) {
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    json_t *shape = json_object_get(entry, "shape"),
           *offsets = json_object_get(entry, "data_offsets");
    t->name = name;
    if (!dtype || !lethe_dtype_from_name(dtype, &t->dtype))
        return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": dtype %s is not supported", path, name,
                          dtype ? dtype : "(missing)");
    if (!json_is_array(shape) || json_array_size(shape) > LETHE_MAX_DIMS)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: \"%s\": shape must be a list of at most %d numbers", path, name,
                          LETHE_MAX_DIMS);
    t->ndim = json_array_size(shape);
    t->count = 1;
    for (size_t i = 0; i < t->ndim; i++)
        if (!size_value(json_array_get(shape, i), &t->shape[i]) ||
            !lethe_mul_size(t->count, t->shape[i], &t->count))
            return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": shape is negative or too large", path,
                              name);
    size_t bytes;
    if (!lethe_mul_size(t->count, lethe_dtype_size(t->dtype), &bytes))
        return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": shape is too large", path, name);
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !size_value(json_array_get(offsets, 0), begin) ||
        !size_value(json_array_get(offsets, 1), end))
        return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": data_offsets must be two numbers", path,
                          name);
    if (*begin > *end || *end > data_size)
        return lethe_fail(
            err, LETHE_FORMAT,
            "%s: \"%s\": data at [%zu, %zu) lies outside the file's %zu bytes of data "
            "(is the file cut off? fetch or write it again)",
            path, name, *begin, *end, data_size);
    if (*end - *begin != bytes)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: \"%s\": got %zu bytes, its shape and dtype want %zu", path, name,
                          *end - *begin, bytes);
    t->data = data + *begin;
    return LETHE_OK;
}

typedef struct span {
    size_t begin, end;
} span;

static int by_begin(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The format allows no holes and no overlaps: whatever is not covered could hide something else. */
static lethe_status check_cover(const char *path, span *s, size_t n, size_t data_size,
                                lethe_err *err) {
    size_t at = 0;
    qsort(s, n, sizeof *s, by_begin);
    for (size_t i = 0; i < n; i++) {
        if (s[i].begin != at)
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: tensors leave a hole or overlap at byte %zu of "
                              "the data",
                              path, at < s[i].begin ? at : s[i].begin);
        at = s[i].end;
    }
    if (at != data_size)
        return lethe_fail(err, LETHE_FORMAT, "%s: %zu bytes behind the last tensor", path,
                          data_size - at);
    return LETHE_OK;
}

static lethe_status check_meta(const char *path, json_t *meta, lethe_err *err) {
    const char *key;
    json_t *value;
    if (meta && !json_is_object(meta))
        return lethe_fail(err, LETHE_FORMAT, "%s: __metadata__ must be an object", path);
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return lethe_fail(err, LETHE_FORMAT, "%s: __metadata__ \"%s\" must be a string", path,
                              key);
    }
    return LETHE_OK;
}

static lethe_status parse(lethe_st *st, lethe_err *err) {
    const char *path = st->map.path;
    if (st->map.size < 8)
        return lethe_fail(err, LETHE_FORMAT, "%s: not a safetensors file (%zu bytes)", path,
                          st->map.size);
    uint64_t hlen = 0;
    for (int i = 7; i >= 0; i--) hlen = hlen << 8 | st->map.data[i];
    if (hlen > HEADER_MAX || hlen > st->map.size - 8)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: not a safetensors file, or cut off: the header claims %" PRIu64
                          " bytes, the file has %zu",
                          path, hlen, st->map.size);
    json_error_t je;
    st->header =
        json_loadb((const char *)st->map.data + 8, (size_t)hlen, JSON_REJECT_DUPLICATES, &je);
    if (!st->header || !json_is_object(st->header))
        return lethe_fail(err, LETHE_FORMAT, "%s: bad safetensors header: %s", path,
                          st->header ? "not an object" : je.text);
    LETHE_TRY(check_meta(path, json_object_get(st->header, "__metadata__"), err));

    const unsigned char *data = st->map.data + 8 + hlen;
    size_t data_size = st->map.size - 8 - (size_t)hlen, cap = json_object_size(st->header);
    span *spans;
    LETHE_TRY(lethe_zalloc(&st->tensor, cap, sizeof *st->tensor, "the list of tensors", err));
    LETHE_TRY(lethe_alloc(&spans, cap, sizeof *spans, "the list of tensors", err));
    lethe_status status = LETHE_OK;
    const char *name;
    json_t *entry;
    json_object_foreach(st->header, name, entry) {
        if (!strcmp(name, "__metadata__")) continue;
        status = parse_tensor(&st->tensor[st->n], path, name, entry, data, data_size,
                              &spans[st->n].begin, &spans[st->n].end, err);
        if (status) break;
        st->n++;
    }
    if (!status) status = check_cover(path, spans, st->n, data_size, err);
    lethe_free(spans);
    return status;
}

lethe_status lethe_st_open(lethe_st **out, const char *path, lethe_err *err) {
    lethe_st *st;
    LETHE_TRY(lethe_zalloc(&st, 1, sizeof *st, "a safetensors file", err));
    lethe_status status = lethe_map_open(&st->map, path, err);
    if (!status) status = parse(st, err);
    if (status) {
        lethe_st_close(&st);
        return status;
    }
    *out = st;
    return LETHE_OK;
}

lethe_status lethe_st_want(const lethe_st *st, const char *name, size_t ndim, const size_t *shape,
                           const lethe_tensor **out, lethe_err *err) {
    const lethe_tensor *t = lethe_st_find(st, name);
    LETHE_TRY(lethe_tensor_want(t, st->map.path, name, ndim, shape, err));
    *out = t;
    return LETHE_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

#define HEADER_ROOM 16384u /* header bytes kept at the start; padded with blanks */

typedef struct open_tensor {
    bool active, free_rows;
    char name[256];
    lethe_dtype dtype;
    size_t ndim, shape[LETHE_MAX_DIMS];
    uint64_t begin;
} open_tensor;

struct lethe_st_writer {
    lethe_writer *file;
    json_t *header, *meta;
    open_tensor now;
    char *path;
    lethe_err err; /* the first failure of ours (not the file's) */
};

static void writer_release(lethe_st_writer *w) {
    json_decref(w->header);
    lethe_free(w->path);
    lethe_free(w);
}

lethe_status lethe_st_create(lethe_st_writer **out, const char *path, lethe_err *err) {
    lethe_st_writer *w;
    LETHE_TRY(lethe_zalloc(&w, 1, sizeof *w, "a safetensors writer", err));
    w->header = json_object();
    w->meta = json_object();
    w->path = lethe_strdup(path);
    /* Hands meta over to the header, or releases it. */
    bool owned = json_object_set_new(w->header, "__metadata__", w->meta) == 0;
    lethe_status st = w->path && owned
                          ? lethe_writer_open(&w->file, path, err)
                          : lethe_fail(err, LETHE_NOMEM, "out of memory writing %s", path);
    if (st) {
        lethe_writer_abort(&w->file);
        writer_release(w);
        return st;
    }
    static const char blank[HEADER_ROOM + 8];
    lethe_writer_put(w->file, blank, sizeof blank);
    *out = w;
    return LETHE_OK;
}

static void end_tensor(lethe_st_writer *w) {
    open_tensor *t = &w->now;
    if (!t->active) return;
    t->active = false;
    if (lethe_writer_failed(w->file)) return; /* what was written no longer says anything */
    uint64_t end = lethe_writer_pos(w->file), bytes = end - t->begin;
    size_t row = lethe_dtype_size(t->dtype);
    for (size_t i = t->free_rows ? 1 : 0; i < t->ndim; i++) row *= t->shape[i];
    if (t->free_rows) t->shape[0] = row ? (size_t)(bytes / row) : 0;
    size_t want = t->free_rows ? row * t->shape[0] : row;
    if (bytes != want && !w->err.status) {
        lethe_fail(&w->err, LETHE_FAIL, "%s: \"%s\": wrote %" PRIu64 " bytes, its shape wants %zu",
                   w->path, t->name, bytes, want);
        return;
    }
    json_t *shape = json_array();
    for (size_t i = 0; i < t->ndim; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    uint64_t base = HEADER_ROOM + 8;
    json_t *entry =
        json_pack("{s:s, s:o, s:[I, I]}", "dtype", lethe_dtype_name(t->dtype), "shape", shape,
                  "data_offsets", (json_int_t)(t->begin - base), (json_int_t)(end - base));
    if ((!entry || json_object_set_new(w->header, t->name, entry)) && !w->err.status)
        lethe_fail(&w->err, LETHE_NOMEM, "out of memory writing %s", w->path);
}

void lethe_st_begin(lethe_st_writer *w, const char *name, lethe_dtype dtype, size_t ndim,
                    const size_t *shape) {
    end_tensor(w);
    open_tensor *t = &w->now;
    *t = (open_tensor){.active = true,
                       .free_rows = ndim > 0 && shape[0] == 0,
                       .dtype = dtype,
                       .ndim = ndim,
                       .begin = lethe_writer_pos(w->file)};
    snprintf(t->name, sizeof t->name, "%s", name);
    memcpy(t->shape, shape, ndim * sizeof *shape);
}

void lethe_st_put(lethe_st_writer *w, const void *data, size_t bytes) {
    lethe_writer_put(w->file, data, bytes);
}

void lethe_st_put_f32_as(lethe_st_writer *w, lethe_dtype dtype, const float *x, size_t n) {
    if (dtype == LETHE_F32) {
        lethe_st_put(w, x, n * sizeof *x);
        return;
    }
    uint16_t half[1024];
    for (size_t at = 0; at < n; at += 1024) {
        size_t len = n - at < 1024 ? n - at : 1024;
        for (size_t i = 0; i < len; i++)
            half[i] =
                dtype == LETHE_F16 ? lethe_f16_from_f32(x[at + i]) : lethe_bf16_from_f32(x[at + i]);
        lethe_st_put(w, half, len * sizeof *half);
    }
}

void lethe_st_set_meta(lethe_st_writer *w, const char *key, const char *value) {
    if (json_object_set_new(w->meta, key, json_string(value)) && !w->err.status)
        lethe_fail(&w->err, LETHE_FAIL, "%s: metadata \"%s\" is not valid UTF-8", w->path, key);
}

void lethe_st_put_f32(lethe_st_writer *w, const char *name, size_t ndim, const size_t *shape,
                      const float *x) {
    size_t count = 1;
    for (size_t i = 0; i < ndim; i++) count *= shape[i];
    lethe_st_begin(w, name, LETHE_F32, ndim, shape);
    lethe_st_put(w, x, count * sizeof *x);
}

lethe_status lethe_st_commit(lethe_st_writer **wp, lethe_err *err) {
    lethe_st_writer *w = *wp;
    end_tensor(w);
    char *text = w->err.status ? NULL : json_dumps(w->header, JSON_COMPACT);
    size_t n = text ? strlen(text) : 0;
    if (!w->err.status && (!text || n > HEADER_ROOM))
        lethe_fail(&w->err, LETHE_FAIL, "%s: header of %zu bytes is larger than the %u kept for it",
                   w->path, n, HEADER_ROOM);
    if (w->err.status) {
        lethe_status st = lethe_fail(err, w->err.status, "%s", w->err.text);
        free(text);
        lethe_st_abort(wp);
        return st;
    }
    unsigned char head[HEADER_ROOM + 8];
    memset(head, ' ', sizeof head);
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)HEADER_ROOM >> (8 * i));
    memcpy(head + 8, text, n);
    free(text);
    lethe_writer_patch(w->file, 0, head, sizeof head);
    lethe_status st = lethe_writer_commit(&w->file, err);
    writer_release(w);
    *wp = NULL;
    return st;
}

void lethe_st_abort(lethe_st_writer **wp) {
    lethe_st_writer *w = *wp;
    if (!w) return;
    lethe_writer_abort(&w->file);
    writer_release(w);
    *wp = NULL;
}
