/* SPDX-License-Identifier: MIT */
#include "stage/source.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/perm.h"

/* One file of rows from anywhere. */
typedef struct row_file {
    lethe_st *st;
    const lethe_tensor *x;
    uint64_t first;
} row_file;

struct lethe_source {
    size_t d;
    uint64_t rows; /* of one epoch; from a harvest: about */
    bool shuffle;
    uint64_t seed;
    lethe_place place;
    lethe_perm perm; /* of the epoch, or of the block in the buffer */

    const lethe_store *store;

    row_file *file;
    size_t n_files, cap_files;

    lethe_harvester *harvester;
    uint64_t total_windows, block_windows;
    float *buffer; /* [buffer_rows, d] */
    uint64_t in_buffer;
    bool loaded;
};

size_t lethe_source_d(const lethe_source *s) {
    return s->d;
}
uint64_t lethe_source_rows(const lethe_source *s) {
    return s->rows;
}
lethe_place lethe_source_place(const lethe_source *s) {
    return s->place;
}

void lethe_source_close(lethe_source **sp) {
    lethe_source *s = *sp;
    if (!s) return;
    for (size_t i = 0; i < s->n_files; i++) lethe_st_close(&s->file[i].st);
    lethe_free(s->file);
    lethe_free(s->buffer);
    lethe_free(s);
    *sp = NULL;
}

static lethe_status make(lethe_source **out, size_t d, uint64_t rows, bool shuffle, uint64_t seed,
                         lethe_err *err) {
    LETHE_TRY(lethe_zalloc(out, 1, sizeof **out, "a source of rows", err));
    (*out)->d = d;
    (*out)->rows = rows;
    (*out)->shuffle = shuffle;
    (*out)->seed = seed;
    return LETHE_OK;
}

/* Streams 2 and up of the seed belong to the order of rows. */
static void new_perm(lethe_source *s, uint64_t n) {
    uint64_t blocks = s->harvester ? s->total_windows / s->block_windows + 1 : 1;
    s->perm = lethe_perm_make(n, s->seed, 2 + s->place.epoch * blocks + s->place.block);
}

static uint64_t row_at(const lethe_source *s, uint64_t i) {
    return s->shuffle ? lethe_perm_at(&s->perm, i) : i;
}

/* ---- a store -------------------------------------------------------------------------------- */

lethe_status lethe_source_from_store(lethe_source **out, const lethe_store *store, bool shuffle,
                                     uint64_t seed, lethe_err *err) {
    LETHE_TRY(make(out, lethe_store_d(store), lethe_store_rows(store), shuffle, seed, err));
    (*out)->store = store;
    new_perm(*out, (*out)->rows);
    return LETHE_OK;
}

/* ---- files from anywhere -------------------------------------------------------------------- */

static bool is_float(lethe_dtype t) {
    return t == LETHE_F32 || t == LETHE_F16 || t == LETHE_BF16 || t == LETHE_F64;
}

static lethe_status find_rows(const lethe_st *st, const lethe_tensor **out, lethe_err *err) {
    *out = lethe_st_find(st, "activations");
    if (*out) return lethe_st_want(st, "activations", 2, (size_t[]){0, 0}, out, err);
    size_t found = 0;
    for (size_t i = 0; i < lethe_st_count(st); i++) {
        const lethe_tensor *t = lethe_st_at(st, i);
        if (t->ndim != 2 || !is_float(t->dtype)) continue;
        *out = t;
        found++;
    }
    if (found != 1)
        return lethe_fail(
            err, LETHE_FORMAT,
            "%s: no tensor \"activations\" [N, d], and %zu other two-dimensional ones "
            "(want exactly one)",
            lethe_st_path(st), found);
    return LETHE_OK;
}

static lethe_status check_finite(const lethe_st *st, const lethe_tensor *x, lethe_err *err) {
    size_t d = x->shape[1], bad = x->shape[0];
    float *row;
    LETHE_TRY(lethe_alloc(&row, d, sizeof *row, "a row", err));
    for (size_t i = 0; i < x->shape[0] && bad == x->shape[0]; i++) {
        lethe_status st_row = lethe_tensor_to_f32(x, i * d, d, row, err);
        if (st_row) {
            lethe_free(row);
            return st_row;
        }
        for (size_t j = 0; j < d; j++)
            if (!isfinite(row[j])) bad = i;
    }
    lethe_free(row);
    if (bad == x->shape[0]) return LETHE_OK;
    return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": row %zu has a value that is not finite",
                      lethe_st_path(st), x->name, bad);
}

static lethe_status add_rows(lethe_source *s, const char *path, lethe_err *err) {
    LETHE_TRY(lethe_grow(&s->file, &s->cap_files, s->n_files, s->n_files + 1, sizeof *s->file,
                         "the list of files", err));
    row_file *f = &s->file[s->n_files];
    *f = (row_file){.first = s->rows};
    LETHE_TRY(lethe_st_open(&f->st, path, err));
    s->n_files++;
    LETHE_TRY(find_rows(f->st, &f->x, err));
    if (!is_float(f->x->dtype))
        return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": got dtype %s, want floating point", path,
                          f->x->name, lethe_dtype_name(f->x->dtype));
    if (s->d && f->x->shape[1] != s->d)
        return lethe_fail(err, LETHE_MISMATCH, "%s: \"%s\": rows are %zu wide, those before %zu",
                          path, f->x->name, f->x->shape[1], s->d);
    s->d = f->x->shape[1];
    s->rows += f->x->shape[0];
    return check_finite(f->st, f->x, err);
}

static int safetensors_only(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 12 && !strcmp(e->d_name + n - 12, ".safetensors");
}

static lethe_status add_folder(lethe_source *s, const char *dir, lethe_err *err) {
    struct dirent **entry;
    int n = scandir(dir, &entry, safetensors_only, alphasort);
    if (n < 0) return lethe_fail_errno(err, LETHE_IO, "%s: cannot list the folder", dir);
    lethe_status st =
        n ? LETHE_OK : lethe_fail(err, LETHE_FORMAT, "%s: no .safetensors file in it", dir);
    for (int i = 0; i < n; i++) {
        if (!st) {
            char *path = lethe_path_join(dir, entry[i]->d_name);
            st = path ? add_rows(s, path, err) : lethe_fail(err, LETHE_NOMEM, "out of memory");
            lethe_free(path);
        }
        free(entry[i]);
    }
    free(entry);
    return st;
}

lethe_status lethe_source_from_files(lethe_source **out, const char *path, bool shuffle,
                                     uint64_t seed, lethe_err *err) {
    LETHE_TRY(make(out, 0, 0, shuffle, seed, err));
    lethe_source *s = *out;
    lethe_status st = lethe_path_is_dir(path) ? add_folder(s, path, err) : add_rows(s, path, err);
    if (!st && (!s->rows || !s->d))
        st = lethe_fail(err, LETHE_FORMAT, "%s: no rows of activations in it", path);
    if (st)
        lethe_source_close(out);
    else
        new_perm(s, s->rows);
    return st;
}

static void files_read(const lethe_source *s, const uint64_t *row, size_t n, float *x) {
#pragma omp parallel for schedule(static) num_threads(lethe_threads())
    for (size_t i = 0; i < n; i++) {
        size_t f = s->n_files - 1;
        while (s->file[f].first > row[i]) f--;
        (void)lethe_tensor_to_f32(s->file[f].x, (size_t)(row[i] - s->file[f].first) * s->d, s->d,
                                  x + i * s->d, NULL); /* dtypes were checked */
    }
}

lethe_status lethe_source_hash(const lethe_source *s, char out[33], lethe_err *err) {
    if (s->store) {
        lethe_store_hash(s->store, out);
        return LETHE_OK;
    }
    lethe_hasher *h;
    LETHE_TRY(lethe_hasher_open(&h, err));
    for (size_t i = 0; i < s->n_files; i++) {
        const lethe_tensor *x = s->file[i].x;
        lethe_hasher_put(h, x->data, x->count * lethe_dtype_size(x->dtype));
    }
    lethe_hasher_hex(h, out);
    lethe_hasher_close(&h);
    return LETHE_OK;
}

bool lethe_source_says(const lethe_source *s, const char *key, char *out, size_t size) {
    if (s->store) {
        const json_t *v = json_object_get(lethe_store_identity(s->store), key);
        if (json_is_string(v))
            snprintf(out, size, "%s", json_string_value(v));
        else if (json_is_integer(v))
            snprintf(out, size, "%lld", (long long)json_integer_value(v));
        return json_is_string(v) || json_is_integer(v);
    }
    const char *said = s->n_files ? lethe_st_meta(s->file[0].st, key) : NULL;
    if (said) snprintf(out, size, "%s", said);
    return said != NULL;
}

/* ---- a harvest ------------------------------------------------------------------------------ */

lethe_status lethe_source_from_harvest(lethe_source **out, lethe_harvester *h, size_t d,
                                       size_t ctx_len, uint64_t total_windows, double total_tokens,
                                       uint64_t block_windows, bool shuffle, uint64_t seed,
                                       lethe_err *err) {
    if (block_windows > total_windows) block_windows = total_windows;
    if (!block_windows) block_windows = 1;
    double rows = total_tokens * lethe_harvester_stats(h)->keep_share;
    LETHE_TRY(make(out, d, (uint64_t)(rows + 0.5), shuffle, seed, err));
    lethe_source *s = *out;
    s->harvester = h;
    s->total_windows = total_windows;
    s->block_windows = block_windows;
    lethe_status st = lethe_alloc(&s->buffer, (size_t)block_windows * ctx_len, d * sizeof(float),
                                  "the shuffle buffer", err);
    if (st) lethe_source_close(out);
    return st;
}

/* Fills the buffer with the block that `place` names; the harvest stands at its first window. */
static lethe_status load_block(lethe_source *s, lethe_err *err) {
    uint64_t windows = 0;
    s->in_buffer = 0;
    while (windows < s->block_windows) {
        lethe_harvest_rows r;
        LETHE_TRY(
            lethe_harvester_next(s->harvester, (size_t)(s->block_windows - windows), &r, err));
        if (!r.windows) break;
        memcpy(s->buffer + s->in_buffer * s->d, r.x, r.n * s->d * sizeof *r.x);
        s->in_buffer += r.n;
        windows += r.windows;
    }
    s->loaded = true;
    new_perm(s, s->in_buffer ? s->in_buffer : 1);
    return LETHE_OK;
}

static lethe_status harvest_next(lethe_source *s, float *x, size_t want, size_t *got,
                                 lethe_err *err) {
    uint64_t blocks = (s->total_windows + s->block_windows - 1) / s->block_windows;
    *got = 0;
    while (*got < want && s->place.block < blocks) {
        if (!s->loaded) LETHE_TRY(load_block(s, err));
        while (*got < want && s->place.row < s->in_buffer)
            memcpy(x + (*got)++ * s->d, s->buffer + row_at(s, s->place.row++) * s->d,
                   s->d * sizeof *x);
        if (s->place.row >= s->in_buffer) {
            s->place.block++;
            s->place.row = 0;
            s->loaded = false;
        }
    }
    if (s->place.block < blocks) return LETHE_OK;
    if (*got == want) return LETHE_OK; /* the next call finds the epoch's end */
    s->place = (lethe_place){.epoch = s->place.epoch + 1};
    return lethe_harvester_restart(s->harvester, 0, err);
}

/* ---- the stream ----------------------------------------------------------------------------- */

lethe_status lethe_source_seek(lethe_source *s, lethe_place place, lethe_err *err) {
    s->place = place;
    if (s->harvester) {
        s->loaded = false;
        return lethe_harvester_restart(s->harvester, place.block * s->block_windows, err);
    }
    new_perm(s, s->rows);
    return LETHE_OK;
}

lethe_status lethe_source_next(lethe_source *s, float *x, size_t want, size_t *got,
                               lethe_err *err) {
    if (s->harvester) return harvest_next(s, x, want, got, err);
    uint64_t left = s->rows - s->place.row, *row;
    size_t n = left < want ? (size_t)left : want;
    LETHE_TRY(lethe_alloc(&row, n, sizeof *row, "a batch of row numbers", err));
    for (size_t i = 0; i < n; i++) row[i] = row_at(s, s->place.row + i);
    if (s->store)
        lethe_store_read(s->store, row, n, x);
    else
        files_read(s, row, n, x);
    lethe_free(row);
    s->place.row += n;
    *got = n;
    if (n < want) {
        s->place = (lethe_place){.epoch = s->place.epoch + 1};
        new_perm(s, s->rows);
    }
    return LETHE_OK;
}
