/* SPDX-License-Identifier: MIT */
#include "stage/token_file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "format/safetensors.h"

static lethe_status end_sequence(lethe_token_file *f, lethe_err *err) {
    size_t start = f->n ? f->end[f->n - 1] : 0, len = f->all.n - start;
    if (!len) return LETHE_OK;
    LETHE_TRY(lethe_grow(&f->end, &f->cap, f->n, f->n + 1, sizeof *f->end, "sequences", err));
    f->end[f->n++] = f->all.n;
    if (len > f->longest) f->longest = len;
    return LETHE_OK;
}

static lethe_status from_tensor(lethe_token_file *f, const lethe_st *st, lethe_err *err) {
    const lethe_tensor *t = lethe_st_find(st, "tokens");
    for (size_t i = 0; !t && i < lethe_st_count(st); i++) {
        const lethe_tensor *c = lethe_st_at(st, i);
        if (c->dtype == LETHE_I32 || c->dtype == LETHE_I64) t = c;
    }
    if (!t || t->ndim < 1 || t->ndim > 2)
        return lethe_fail(err, LETHE_FORMAT, "%s: no integer tensor \"tokens\" [n] or [b, n]",
                          lethe_st_path(st));
    size_t len = t->shape[t->ndim - 1], rows = len ? t->count / len : 0;
    int32_t *id;
    LETHE_TRY(lethe_alloc(&id, t->count, sizeof *id, "tokens", err));
    lethe_status status = lethe_tensor_to_i32(t, 0, t->count, id, err);
    for (size_t r = 0; r < rows && !status; r++) {
        for (size_t i = 0; i < len && !status; i++)
            status = lethe_tokens_push(&f->all, id[r * len + i], err);
        if (!status) status = end_sequence(f, err);
    }
    lethe_free(id);
    return status;
}

static lethe_status from_json_list(lethe_token_file *f, const lethe_json_ref *list, bool nested,
                                   lethe_err *err) {
    size_t n;
    LETHE_TRY(lethe_json_want_list(list, &n, err));
    for (size_t i = 0; i < n; i++) {
        lethe_json_ref item = lethe_json_item(list, i);
        if (!nested && json_is_array(item.value)) {
            LETHE_TRY(end_sequence(f, err));
            LETHE_TRY(from_json_list(f, &item, true, err));
            continue;
        }
        int64_t v;
        LETHE_TRY(lethe_json_want_int(&item, 0, INT32_MAX, &v, err));
        LETHE_TRY(lethe_tokens_push(&f->all, (int32_t)v, err));
    }
    return end_sequence(f, err);
}

static lethe_status from_text(lethe_token_file *f, const lethe_map *m, lethe_err *err) {
    size_t i = 0, line = 1;
    while (i < m->size) {
        unsigned char c = m->data[i];
        if (c == '\n') {
            LETHE_TRY(end_sequence(f, err));
            line++;
            i++;
        } else if (isspace(c) || c == ',') {
            i++;
        } else if (isdigit(c)) {
            int64_t v = 0;
            for (; i < m->size && isdigit(m->data[i]); i++) {
                v = v * 10 + (m->data[i] - '0');
                if (v > INT32_MAX)
                    return lethe_fail(err, LETHE_FORMAT, "%s:%zu: token number too large", m->path,
                                      line);
            }
            LETHE_TRY(lethe_tokens_push(&f->all, (int32_t)v, err));
        } else {
            return lethe_fail(err, LETHE_FORMAT,
                              "%s:%zu: got \"%c\", want token numbers (for text use "
                              "--text)",
                              m->path, line, isprint(c) ? c : '?');
        }
    }
    return end_sequence(f, err);
}

static lethe_status load(lethe_token_file *f, const char *path, lethe_err *err) {
    if (lethe_path_ends_with(path, ".safetensors")) {
        lethe_st *st;
        LETHE_TRY(lethe_st_open(&st, path, err));
        lethe_status status = from_tensor(f, st, err);
        lethe_st_close(&st);
        return status;
    }
    if (lethe_path_ends_with(path, ".json")) {
        json_t *j;
        LETHE_TRY(lethe_json_load(&j, path, err));
        lethe_json_ref top = lethe_json_top(j, path);
        lethe_status status = from_json_list(f, &top, false, err);
        json_decref(j);
        return status;
    }
    lethe_map m;
    LETHE_TRY(lethe_map_open(&m, path, err));
    lethe_status status = from_text(f, &m, err);
    lethe_map_close(&m);
    return status;
}

lethe_status lethe_token_file_load(lethe_token_file *out, const char *path, lethe_err *err) {
    *out = (lethe_token_file){0};
    lethe_status st = load(out, path, err);
    if (!st && !out->n) st = lethe_fail(err, LETHE_FORMAT, "%s: no tokens in it", path);
    if (st)
        lethe_token_file_free(out);
    else
        out->window = out->longest;
    return st;
}

void lethe_token_file_free(lethe_token_file *f) {
    lethe_tokens_free(&f->all);
    lethe_free(f->end);
    *f = (lethe_token_file){0};
}

static lethe_status source_next(void *user, int32_t *token, size_t cap, size_t *n, lethe_role *role,
                                lethe_err *err) {
    lethe_token_file *f = user;
    (void)err;
    *n = 0;
    *role = LETHE_RETAIN;
    while (f->at_seq < f->n && f->at_token == f->end[f->at_seq]) f->at_seq++;
    if (f->at_seq == f->n) return LETHE_OK;
    size_t most = f->window < cap ? f->window : cap, left = f->end[f->at_seq] - f->at_token;
    *n = left < most ? left : most;
    memcpy(token, f->all.id + f->at_token, *n * sizeof *token);
    f->at_token += *n;
    return LETHE_OK;
}

static lethe_status source_restart(void *user, uint64_t skip, lethe_err *err) {
    lethe_token_file *f = user;
    f->at_seq = f->at_token = 0;
    int32_t *token;
    LETHE_TRY(lethe_alloc(&token, f->window, sizeof *token, "a window", err));
    for (size_t n = 1; skip && n; skip--) {
        lethe_role role;
        (void)source_next(f, token, f->window, &n, &role, err);
    }
    lethe_free(token);
    return LETHE_OK;
}

lethe_window_source lethe_token_file_source(lethe_token_file *f) {
    return (lethe_window_source){source_next, source_restart, f};
}
