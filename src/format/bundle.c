/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "format/bundle_parts.h"
#include "format/npy.h"

static const char *const names[LETHE_CONTAINER_COUNT] = {
    [LETHE_SAFETENSORS] = "safetensors",
    [LETHE_TORCH] = "PyTorch checkpoint",
    [LETHE_NPZ] = "NumPy archive",
    [LETHE_NPY] = "NumPy array",
};

const char *lethe_container_name(lethe_container c) {
    return names[c];
}
const char *lethe_bundle_path(const lethe_bundle *b) {
    return b->map.path;
}
lethe_container lethe_bundle_container(const lethe_bundle *b) {
    return b->container;
}
size_t lethe_bundle_count(const lethe_bundle *b) {
    return b->n;
}
const lethe_tensor *lethe_bundle_at(const lethe_bundle *b, size_t i) {
    return &b->tensor[i];
}
const json_t *lethe_bundle_values(const lethe_bundle *b) {
    return b->values;
}

const lethe_tensor *lethe_bundle_find(const lethe_bundle *b, const char *name) {
    for (size_t i = 0; i < b->n; i++)
        if (!strcmp(b->tensor[i].name, name)) return &b->tensor[i];
    return NULL;
}

lethe_status lethe_bundle_want(const lethe_bundle *b, const char *name, size_t ndim,
                               const size_t *shape, const lethe_tensor **out, lethe_err *err) {
    const lethe_tensor *t = lethe_bundle_find(b, name);
    LETHE_TRY(lethe_tensor_want(t, b->map.path, name, ndim, shape, err));
    *out = t;
    return LETHE_OK;
}

/* ---- for the readers ------------------------------------------------------------------------ */

lethe_status lethe_bundle_block(lethe_bundle *b, void *out_ptr, size_t n, size_t size,
                                const char *what, lethe_err *err) {
    LETHE_TRY(lethe_grow(&b->block, &b->blocks_cap, b->n_blocks, b->n_blocks + 1, sizeof *b->block,
                         "the list of tensors", err));
    void *p;
    LETHE_TRY(lethe_alloc(&p, n, size, what, err));
    b->block[b->n_blocks++] = p;
    memcpy(out_ptr, &p, sizeof p);
    return LETHE_OK;
}

static bool plain_name(const char *s, size_t n) {
    if (!n || lethe_utf8_valid_prefix(s, n) != n) return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) return false;
    return true;
}

lethe_status lethe_bundle_add(lethe_bundle *b, const lethe_tensor *t, const char *name, size_t n,
                              lethe_err *err) {
    if (!plain_name(name, n))
        return lethe_fail(
            err, LETHE_FORMAT,
            "%s: the name of tensor %zu is empty, not UTF-8 or has control characters", b->map.path,
            b->n);
    LETHE_TRY(lethe_grow(&b->tensor, &b->cap, b->n, b->n + 1, sizeof *b->tensor,
                         "the list of tensors", err));
    char *copy;
    LETHE_TRY(lethe_bundle_block(b, &copy, n + 1, 1, "the name of a tensor", err));
    memcpy(copy, name, n);
    copy[n] = '\0';
    b->tensor[b->n] = *t;
    b->tensor[b->n++].name = copy;
    return LETHE_OK;
}

/* ---- opening -------------------------------------------------------------------------------- */

static lethe_status read_safetensors(lethe_bundle *b, lethe_err *err) {
    LETHE_TRY(lethe_st_open(&b->st, b->map.path, err));
    for (size_t i = 0; i < lethe_st_count(b->st); i++) {
        const lethe_tensor *t = lethe_st_at(b->st, i);
        LETHE_TRY(lethe_bundle_add(b, t, t->name, strlen(t->name), err));
    }
    const json_t *metadata = lethe_st_metadata(b->st);
    if (metadata && json_object_update(b->values, (json_t *)(uintptr_t)metadata))
        return lethe_fail(err, LETHE_NOMEM, "out of memory opening %s", b->map.path);
    return LETHE_OK;
}

static int by_name(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static lethe_status check_names(const lethe_bundle *b, lethe_err *err) {
    const char **name;
    LETHE_TRY(lethe_alloc(&name, b->n, sizeof *name, "the list of tensors", err));
    for (size_t i = 0; i < b->n; i++) name[i] = b->tensor[i].name;
    qsort(name, b->n, sizeof *name, by_name);
    lethe_status st = LETHE_OK;
    for (size_t i = 1; !st && i < b->n; i++)
        if (!strcmp(name[i], name[i - 1]))
            st = lethe_fail(err, LETHE_FORMAT, "%s: two tensors are called \"%s\"", b->map.path,
                            name[i]);
    lethe_free(name);
    return st;
}

static lethe_status read_archive(lethe_bundle *b, lethe_err *err) {
    LETHE_TRY(lethe_bundle_zip(b, err));
    if (lethe_bundle_torch_pickle(b)) {
        b->container = LETHE_TORCH;
        return lethe_bundle_read_torch(b, err);
    }
    if (!b->n_members)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: a zip archive without files, want a PyTorch checkpoint or a NumPy "
                          "archive",
                          b->map.path);
    b->container = LETHE_NPZ;
    return lethe_bundle_read_npz(b, err);
}

/* What a clone without Git LFS, or a download of the wrong address, leaves in the place of a file.
 */
static bool is_lfs_pointer(const unsigned char *p, size_t n) {
    static const char start[] = "version https://git-lfs.github.com/spec/";
    return n >= sizeof start - 1 && !memcmp(p, start, sizeof start - 1);
}

static lethe_status read_any(lethe_bundle *b, lethe_err *err) {
    const unsigned char *p = b->map.data;
    size_t n = b->map.size;
    if (lethe_zip_magic(p, n)) return read_archive(b, err);
    if (n >= LETHE_NPY_MAGIC_LEN && !memcmp(p, LETHE_NPY_MAGIC, LETHE_NPY_MAGIC_LEN)) {
        b->container = LETHE_NPY;
        return lethe_bundle_read_npy(b, err);
    }
    if (is_lfs_pointer(p, n))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: a Git LFS pointer in the place of the file (fetch it: git lfs pull)",
                          b->map.path);
    if (n > 8 && p[8] == '{') {
        b->container = LETHE_SAFETENSORS;
        return read_safetensors(b, err);
    }
    if (n > 1 && p[0] == 0x80 && p[1] >= 2 && p[1] <= 5) return lethe_bundle_refuse_pickle(b, err);
    return lethe_fail(
        err, LETHE_FORMAT,
        "%s: neither safetensors nor a PyTorch checkpoint nor a NumPy file (%zu bytes)",
        b->map.path, n);
}

lethe_status lethe_bundle_open(lethe_bundle **out, const char *path, lethe_err *err) {
    lethe_bundle *b;
    LETHE_TRY(lethe_zalloc(&b, 1, sizeof *b, "a file of tensors", err));
    lethe_status st = lethe_map_open(&b->map, path, err);
    b->values = json_object();
    if (!st && !b->values) st = lethe_fail(err, LETHE_NOMEM, "out of memory opening %s", path);
    if (!st) st = read_any(b, err);
    if (!st) st = check_names(b, err);
    if (st) {
        lethe_bundle_close(&b);
        return st;
    }
    *out = b;
    return LETHE_OK;
}

void lethe_bundle_close(lethe_bundle **bp) {
    lethe_bundle *b = *bp;
    if (!b) return;
    for (size_t i = 0; i < b->n_blocks; i++) lethe_free(b->block[i]);
    lethe_free(b->block);
    lethe_free(b->tensor);
    json_decref(b->values);
    lethe_st_close(&b->st);
    lethe_zip_close(&b->zip);
    lethe_map_close(&b->map);
    lethe_free(b);
    *bp = NULL;
}
