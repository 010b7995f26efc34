/* SPDX-License-Identifier: MIT
 *
 * The zip archive that torch.save writes since PyTorch 1.6, all members below one folder:
 *     PREFIX/data.pkl     the object, its tensors as views of storages (pickle.h)
 *     PREFIX/data/KEY     a storage
 *     PREFIX/byteorder    "little" or "big"; old files have none and are little
 *     PREFIX/version      and others, which say nothing about the tensors
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "base/utf8.h"
#include "format/bundle_parts.h"
#include "format/jsonio.h"
#include "format/pickle.h"

#define PICKLE_MOST ((size_t)64 << 20) /* its values take some hundred times as much memory */
#define DEPTH_MOST 64                  /* of dictionaries in lists in dictionaries */
#define KEY_MOST 200

typedef struct walk {
    lethe_bundle *b;
    size_t prefix; /* length of "PREFIX/" in the name of the pickle's member */
    const char *pickle_name;
    bool big_endian;
    size_t depth;
    lethe_strbuf name; /* of the value at hand: "a.b.c" */
    /* Values may be shared, so that few bytes of pickle can stand for more than any memory holds:
     * what is made of them has an allowance, and so has what is copied from storages. */
    uint64_t spent, most, copied;
    lethe_err *err;
} walk;

static lethe_status no_memory(const walk *w) {
    return lethe_fail(w->err, LETHE_NOMEM, "out of memory opening %s", w->b->map.path);
}

static const char *name_of(const walk *w) {
    return lethe_strbuf_str(&w->name);
}

static lethe_status spend(walk *w, uint64_t n) {
    w->spent += n;
    return w->spent <= w->most
               ? LETHE_OK
               : lethe_fail(
                     w->err, LETHE_FORMAT,
                     "%s: \"%.200s\": the same values again and again, more than a pickle of "
                     "this size may stand for",
                     w->b->map.path, name_of(w));
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* The member of a storage. */
static lethe_status find_storage(walk *w, const lethe_py_storage *s, lethe_bundle_member **out) {
    const char *path = w->b->map.path;
    if (s->key_len > KEY_MOST || memchr(s->key, '\0', s->key_len))
        return lethe_fail(w->err, LETHE_FORMAT,
                          "%s: \"%.200s\": the key of its storage has %zu bytes or a NUL", path,
                          name_of(w), s->key_len);
    lethe_strbuf member = {0};
    lethe_strbuf_add(&member, w->pickle_name, w->prefix);
    lethe_strbuf_adds(&member, "data/");
    lethe_strbuf_add(&member, s->key, s->key_len);
    lethe_bundle_member *m = lethe_bundle_member_find(w->b, lethe_strbuf_str(&member));
    lethe_status st = LETHE_OK;
    if (member.status)
        st = no_memory(w);
    else if (!m)
        st = lethe_fail(w->err, LETHE_FORMAT,
                        "%s: \"%.200s\": its data, member \"%.300s\", is missing", path, name_of(w),
                        lethe_strbuf_str(&member));
    lethe_strbuf_free(&member);
    if (!st) st = lethe_bundle_member_bytes(w->b, m, w->err);
    if (!st && m->size < s->bytes)
        st = lethe_fail(w->err, LETHE_FORMAT,
                        "%s: \"%.200s\": got %zu bytes of data in member \"%.200s\", want %" PRIu64,
                        path, name_of(w), m->size, m->name, s->bytes);
    if (!st) *out = m;
    return st;
}

/* Elements from the first to behind the last that a view reaches; false: beyond any storage. */
static bool reach(const lethe_py_tensor *v, uint64_t *out) {
    uint64_t last = v->offset;
    for (size_t i = 0; i < v->ndim; i++) {
        size_t way;
        if (!lethe_mul_size(v->shape[i] - 1, v->stride[i], &way) || way > UINT64_MAX - last)
            return false;
        last += way;
    }
    *out = last + 1;
    return last < UINT64_MAX;
}

static lethe_status check_view(const walk *w, const lethe_py_tensor *v, lethe_tensor *t) {
    const char *path = w->b->map.path;
    uint64_t have = v->storage->bytes / lethe_dtype_size(v->dtype), want = 0;
    t->dtype = v->dtype;
    t->ndim = v->ndim;
    t->count = 1;
    bool fits = true, empty = false;
    for (size_t i = 0; i < v->ndim; i++) {
        t->shape[i] = v->shape[i];
        empty = empty || !v->shape[i];
        fits = fits && lethe_mul_size(t->count, v->shape[i], &t->count);
    }
    if (empty) {
        t->count = 0;
        return LETHE_OK;
    }
    if (!fits || !reach(v, &want))
        return lethe_fail(w->err, LETHE_FORMAT, "%s: \"%.200s\": shape or strides are too large",
                          path, name_of(w));
    if (want > have)
        return lethe_fail(w->err, LETHE_FORMAT,
                          "%s: \"%.200s\": reaches to element %" PRIu64 " of a storage of %" PRIu64,
                          path, name_of(w), want, have);
    if (t->count > have)
        return lethe_fail(w->err, LETHE_FORMAT,
                          "%s: \"%.200s\": %zu elements in a storage of %" PRIu64
                          " (an expanded tensor? save its clone())",
                          path, name_of(w), t->count, have);
    return LETHE_OK;
}

static lethe_status add_tensor(walk *w, const lethe_py_tensor *v) {
    lethe_tensor t = {0};
    lethe_bundle_member *m = NULL;
    LETHE_TRY(spend(w, sizeof t + w->name.len));
    LETHE_TRY(check_view(w, v, &t));
    LETHE_TRY(find_storage(w, v->storage, &m));
    size_t size = lethe_dtype_size(t.dtype);
    t.data = t.count ? m->data + (size_t)v->offset * size : m->data;
    lethe_bundle_strides s;
    memcpy(s.of, v->stride, sizeof s.of);
    if (lethe_bundle_needs_copy(&t, &s, w->big_endian)) {
        uint64_t most = 2 * ((uint64_t)w->b->map.size + w->b->unpacked);
        w->copied += t.count * size;
        if (w->copied > most)
            return lethe_fail(w->err, LETHE_FORMAT,
                              "%s: \"%.200s\": tensors that are not contiguous would take %" PRIu64
                              " bytes, a file of %zu may take %" PRIu64
                              " (save them with contiguous())",
                              w->b->map.path, name_of(w), w->copied, w->b->map.size, most);
    }
    LETHE_TRY(lethe_bundle_gather(w->b, &t, &s, w->big_endian, w->err));
    return lethe_bundle_add(w->b, &t, name_of(w), w->name.len, w->err);
}

/* ---- values --------------------------------------------------------------------------------- */

static lethe_status visit(walk *w, const lethe_py *v, json_t **out);

/* Appends ".key" to the name. */
static lethe_status enter(walk *w, const char *key, size_t n) {
    if (w->name.len) lethe_strbuf_adds(&w->name, ".");
    lethe_strbuf_add(&w->name, key, n);
    return w->name.status ? no_memory(w) : LETHE_OK;
}

static void leave(walk *w, size_t len) {
    w->name.len = len;
    if (w->name.data) w->name.data[len] = '\0';
}

/* The key of a dictionary as text in `buf` or where it is. */
static lethe_status key_text(const walk *w, const lethe_py *key, char buf[32], const char **text,
                             size_t *n) {
    if (key->type == LETHE_PY_INT) {
        *n = (size_t)snprintf(buf, 32, "%" PRId64, key->as.integer);
        *text = buf;
        return LETHE_OK;
    }
    if (key->type != LETHE_PY_TEXT)
        return lethe_fail(w->err, LETHE_FORMAT,
                          "%s: \"%.200s\": a key is %s, want text or an integer", w->b->map.path,
                          name_of(w), lethe_py_type_name(key));
    *text = key->as.text.data;
    *n = key->as.text.n;
    if (lethe_utf8_valid_prefix(*text, *n) != *n || memchr(*text, '\0', *n))
        return lethe_fail(w->err, LETHE_FORMAT, "%s: \"%.200s\": a key is not UTF-8 or has a NUL",
                          w->b->map.path, name_of(w));
    return LETHE_OK;
}

static lethe_status visit_dict(walk *w, const lethe_py *v, json_t *object) {
    size_t len = w->name.len;
    for (size_t i = 0; i + 1 < v->as.list.n; i += 2) {
        char buf[32];
        const char *key = NULL;
        size_t n = 0;
        json_t *value = NULL;
        LETHE_TRY(key_text(w, v->as.list.item[i], buf, &key, &n));
        LETHE_TRY(spend(w, n));
        LETHE_TRY(enter(w, key, n));
        LETHE_TRY(visit(w, v->as.list.item[i + 1], &value));
        if (value) {
            const char *own = name_of(w) + w->name.len - n; /* the key, terminated */
            bool twice = json_object_get(object, own) != NULL, ok = true;
            lethe_json_put(object, own, value, &ok);
            if (twice)
                return lethe_fail(w->err, LETHE_FORMAT, "%s: \"%.200s\" is there twice",
                                  w->b->map.path, name_of(w));
            if (!ok) return no_memory(w);
        }
        leave(w, len);
    }
    return LETHE_OK;
}

/* Tensors leave null behind, so that the others keep their places. */
static lethe_status visit_list(walk *w, const lethe_py *v, json_t *list) {
    size_t len = w->name.len;
    for (size_t i = 0; i < v->as.list.n; i++) {
        char number[32];
        json_t *value = NULL;
        bool ok = true;
        int n = snprintf(number, sizeof number, "%zu", i);
        LETHE_TRY(enter(w, number, (size_t)n));
        LETHE_TRY(visit(w, v->as.list.item[i], &value));
        lethe_json_append(list, value ? value : json_null(), &ok);
        if (!ok) return no_memory(w);
        leave(w, len);
    }
    return LETHE_OK;
}

static lethe_status visit_container(walk *w, const lethe_py *v, json_t **out) {
    bool dict = v->type == LETHE_PY_DICT;
    if (w->depth == DEPTH_MOST)
        return lethe_fail(w->err, LETHE_FORMAT,
                          "%s: \"%.200s\": more than %d dictionaries or lists in one another",
                          w->b->map.path, name_of(w), DEPTH_MOST);
    json_t *made = dict ? json_object() : json_array();
    if (!made) return no_memory(w);
    w->depth++;
    lethe_status st = dict ? visit_dict(w, v, made) : visit_list(w, v, made);
    w->depth--;
    if (st)
        json_decref(made);
    else
        *out = made;
    return st;
}

/* *out: owned; stays NULL for a tensor, which goes into the bundle. */
static lethe_status visit(walk *w, const lethe_py *v, json_t **out) {
    char name[256];
    LETHE_TRY(spend(w, 1));
    switch (v->type) {
    case LETHE_PY_TENSOR: return add_tensor(w, v->as.tensor);
    case LETHE_PY_LIST:
    case LETHE_PY_TUPLE:
    case LETHE_PY_DICT: return visit_container(w, v, out);
    case LETHE_PY_NONE: *out = json_null(); break;
    case LETHE_PY_BOOL: *out = json_boolean(v->as.integer); break;
    case LETHE_PY_INT: *out = json_integer(v->as.integer); break;
    case LETHE_PY_REAL: *out = lethe_json_real(v->as.real); break;
    case LETHE_PY_TEXT:
        LETHE_TRY(spend(w, v->as.text.n));
        *out = lethe_json_text(v->as.text.data, v->as.text.n);
        break;
    case LETHE_PY_NAME:
        lethe_py_name_text(v, name, sizeof name);
        *out = json_string(name);
        break;
    case LETHE_PY_BYTES:
    case LETHE_PY_STORAGE:
    case LETHE_PY_NP_DTYPE:
        return lethe_fail(
            w->err, LETHE_FORMAT,
            "%s: \"%.200s\" is %s, want tensors, dictionaries, lists, numbers or text",
            w->b->map.path, name_of(w), lethe_py_type_name(v));
    }
    return *out ? LETHE_OK : no_memory(w);
}

/* ---- the archive ---------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end) {
    size_t a = strlen(s), b = strlen(end);
    return a > b && !strcmp(s + a - b, end);
}

lethe_bundle_member *lethe_bundle_torch_pickle(const lethe_bundle *b) {
    for (size_t i = 0; i < b->n_members; i++)
        if (ends_with(b->member[i].name, "/data.pkl")) return &b->member[i];
    return NULL;
}

/* Another member of the pickle's folder; NULL: not there. */
static lethe_status beside(walk *w, const char *name, lethe_bundle_member **out) {
    lethe_strbuf s = {0};
    lethe_strbuf_add(&s, w->pickle_name, w->prefix);
    lethe_strbuf_adds(&s, name);
    *out = lethe_bundle_member_find(w->b, lethe_strbuf_str(&s));
    lethe_status st = s.status ? no_memory(w) : LETHE_OK;
    lethe_strbuf_free(&s);
    return st;
}

static lethe_status read_byte_order(walk *w) {
    lethe_bundle_member *m;
    LETHE_TRY(beside(w, "byteorder", &m));
    if (!m) return LETHE_OK;
    LETHE_TRY(lethe_bundle_member_bytes(w->b, m, w->err));
    w->big_endian = m->size == 3 && !memcmp(m->data, "big", 3);
    if (!w->big_endian && (m->size != 6 || memcmp(m->data, "little", 6)))
        return lethe_fail(w->err, LETHE_FORMAT, "%s: byteorder is \"%.*s\", want little or big",
                          w->b->map.path, (int)(m->size < 20 ? m->size : 20),
                          (const char *)m->data);
    return LETHE_OK;
}

/* Values and tensors of what the pickle says; what is no dictionary is one of a single value. */
static lethe_status read_top(walk *w, const lethe_py *top) {
    json_t *value = NULL;
    bool dict = top->type == LETHE_PY_DICT, ok = true;
    if (!dict) LETHE_TRY(enter(w, LETHE_BUNDLE_ONLY, strlen(LETHE_BUNDLE_ONLY)));
    LETHE_TRY(visit(w, top, &value));
    if (dict) {
        json_decref(w->b->values);
        w->b->values = value;
    } else if (value) {
        lethe_json_put(w->b->values, LETHE_BUNDLE_ONLY, value, &ok);
    }
    return ok ? LETHE_OK : no_memory(w);
}

lethe_status lethe_bundle_read_torch(lethe_bundle *b, lethe_err *err) {
    lethe_bundle_member *m = lethe_bundle_torch_pickle(b), *constants;
    walk w = {
        .b = b, .pickle_name = m->name, .prefix = strlen(m->name) - strlen("data.pkl"), .err = err};
    LETHE_TRY(beside(&w, "constants.pkl", &constants));
    if (constants)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: a TorchScript archive, want a checkpoint; convert it in Python: "
                          "torch.save(torch.jit.load(OLD).state_dict(), NEW)",
                          b->map.path);
    LETHE_TRY(read_byte_order(&w));
    LETHE_TRY(lethe_bundle_member_bytes(b, m, err));
    if (m->size > PICKLE_MOST)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: member \"%.200s\" has %zu bytes, at most %zu are "
                          "read (large lists? save them as tensors)",
                          b->map.path, m->name, m->size, PICKLE_MOST);
    w.most = 64 * (uint64_t)m->size + 65536;
    lethe_pickle *p;
    LETHE_TRY(lethe_pickle_open(&p, b->map.path, m->data, m->size, err));
    lethe_status st = read_top(&w, lethe_pickle_top(p));
    lethe_pickle_close(&p);
    lethe_strbuf_free(&w.name);
    return st;
}

lethe_status lethe_bundle_refuse_pickle(const lethe_bundle *b, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: a bare pickle, as PyTorch before 1.6 wrote checkpoints, want a zip "
                      "archive; convert it in Python: torch.save(torch.load(OLD, "
                      "map_location=\"cpu\"), NEW)",
                      b->map.path);
}
