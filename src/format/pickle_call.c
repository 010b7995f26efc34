/* SPDX-License-Identifier: MIT
 *
 * The names that a pickle may use, and what each means as data. Nothing is ever called: a name is a
 * row of the table below or the pickle is refused.
 */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "format/npy.h"
#include "format/pickle_parts.h"

/* What comes of a call of the name. */
typedef enum meaning {
    TENSOR,    /* (storage, offset, size, stride, ..) */
    TENSOR_OF, /* the same, dtype at place 6 */
    FIRST,     /* the first argument: a parameter is its tensor */
    STORAGE,   /* not called: what is in a storage */
    UNTYPED,   /* not called: a storage of bytes */
    CONTAINER, /* () or (list of pairs) */
    FACTORY,   /* (class): a dictionary with a default */
    NAMESPACE, /* (): filled by its state */
    LIST_OF,   /* (list or tuple) */
    DEVICE,    /* ("cuda", 0): "cuda:0" */
    PATH,      /* parts, joined with slashes */
    LATIN1,    /* (text, "latin1"): its bytes; protocol 2 has no other way to write them */
    NP_DTYPE,  /* ("f4", False, True) */
    NP_SCALAR, /* (dtype, bytes) */
    PLAIN,     /* not called: a dtype, which is shown as its name */
} meaning;

struct lethe_py_name {
    const char *module, *name;
    meaning what;
    lethe_dtype dtype; /* STORAGE, PLAIN of torch */
};

static const struct lethe_py_name known[] = {
    {"torch._utils", "_rebuild_tensor_v2", TENSOR, 0},
    {"torch._utils", "_rebuild_tensor", TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v3", TENSOR_OF, 0},
    {"torch._utils", "_rebuild_parameter", FIRST, 0},
    {"torch._utils", "_rebuild_parameter_with_state", FIRST, 0},
    {"torch", "FloatStorage", STORAGE, LETHE_F32},
    {"torch", "HalfStorage", STORAGE, LETHE_F16},
    {"torch", "BFloat16Storage", STORAGE, LETHE_BF16},
    {"torch", "DoubleStorage", STORAGE, LETHE_F64},
    {"torch", "LongStorage", STORAGE, LETHE_I64},
    {"torch", "IntStorage", STORAGE, LETHE_I32},
    {"torch", "ShortStorage", STORAGE, LETHE_I16},
    {"torch", "CharStorage", STORAGE, LETHE_I8},
    {"torch", "ByteStorage", STORAGE, LETHE_U8},
    {"torch", "BoolStorage", STORAGE, LETHE_BOOL},
    {"torch.storage", "UntypedStorage", UNTYPED, 0},
    {"torch", "UntypedStorage", UNTYPED, 0},
    {"torch", "float32", PLAIN, LETHE_F32},
    {"torch", "float16", PLAIN, LETHE_F16},
    {"torch", "bfloat16", PLAIN, LETHE_BF16},
    {"torch", "float64", PLAIN, LETHE_F64},
    {"torch", "int64", PLAIN, LETHE_I64},
    {"torch", "int32", PLAIN, LETHE_I32},
    {"torch", "int16", PLAIN, LETHE_I16},
    {"torch", "int8", PLAIN, LETHE_I8},
    {"torch", "uint8", PLAIN, LETHE_U8},
    {"torch", "uint16", PLAIN, LETHE_U16},
    {"torch", "uint32", PLAIN, LETHE_U32},
    {"torch", "uint64", PLAIN, LETHE_U64},
    {"torch", "bool", PLAIN, LETHE_BOOL},
    {"torch", "Size", LIST_OF, 0},
    {"torch", "device", DEVICE, 0},
    {"collections", "OrderedDict", CONTAINER, 0},
    {"collections", "defaultdict", FACTORY, 0},
    {"builtins", "dict", CONTAINER, 0},
    {"builtins", "set", LIST_OF, 0},
    {"builtins", "frozenset", LIST_OF, 0},
    {"__builtin__", "dict", CONTAINER, 0}, /* the same in protocol 2 */
    {"__builtin__", "set", LIST_OF, 0},
    {"__builtin__", "frozenset", LIST_OF, 0},
    {"argparse", "Namespace", NAMESPACE, 0},
    {"types", "SimpleNamespace", NAMESPACE, 0},
    {"pathlib", "PosixPath", PATH, 0},
    {"pathlib", "WindowsPath", PATH, 0},
    {"pathlib", "PurePosixPath", PATH, 0},
    {"pathlib._local", "PosixPath", PATH, 0},
    {"_codecs", "encode", LATIN1, 0},
    {"numpy", "dtype", NP_DTYPE, 0},
    {"numpy.core.multiarray", "scalar", NP_SCALAR, 0},
    {"numpy._core.multiarray", "scalar", NP_SCALAR, 0},
};

/* Names that are refused with a word on what to do. */
static const struct {
    const char *name, *hint;
} hints[] = {
    {"_rebuild_sparse_tensor", "a sparse tensor; save its to_dense()"},
    {"_rebuild_sparse_csr_tensor", "a sparse tensor; save its to_dense()"},
    {"_rebuild_qtensor", "a quantised tensor; save its dequantize()"},
    {"_rebuild_nested_tensor", "a nested tensor; save its parts"},
    {"_rebuild_meta_tensor_no_storage", "a tensor without data"},
    {"_rebuild_device_tensor_from_numpy", "a tensor of another device; save its cpu()"},
    {"_reconstruct", "a NumPy array; save it as a tensor"},
    {"float8_e4m3fn", "float8; save it as float16"},
    {"float8_e5m2", "float8; save it as float16"},
    {"ComplexFloatStorage", "complex numbers"},
    {"ComplexDoubleStorage", "complex numbers"},
};

static bool same(const char *text, const char *s, size_t n) {
    return strlen(text) == n && !memcmp(text, s, n);
}

lethe_status lethe_py_lookup(const lethe_py_site *s, const char *module, size_t module_len,
                             const char *name, size_t name_len, lethe_py **out) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!same(known[i].module, module, module_len) || !same(known[i].name, name, name_len))
            continue;
        LETHE_TRY(lethe_py_new(s, LETHE_PY_NAME, out));
        (*out)->as.name = &known[i];
        return LETHE_OK;
    }
    int m = module_len < 80 ? (int)module_len : 80, n = name_len < 80 ? (int)name_len : 80;
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (same(hints[i].name, name, name_len))
            return lethe_fail(s->err, LETHE_FORMAT, "%s: the pickle calls %.*s.%.*s (%s)", s->path,
                              m, module, n, name, hints[i].hint);
    return lethe_fail(s->err, LETHE_FORMAT,
                      "%s: the pickle calls %.*s.%.*s; nothing is called here, only tensors, "
                      "dictionaries, lists, numbers and text are read (save the state_dict() and "
                      "plain values)",
                      s->path, m, module, n, name);
}

void lethe_py_name_text(const lethe_py *v, char *out, size_t cap) {
    snprintf(out, cap, "%s.%s", v->as.name->module, v->as.name->name);
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* Argument i of a call, of a type. */
static lethe_status arg(const lethe_py_site *s, const lethe_py *args, size_t i, lethe_py_type type,
                        const lethe_py **out) {
    const lethe_py wanted = {.type = type};
    if (i >= args->as.list.n)
        return lethe_py_fail(s, "a call with %zu arguments, want %s as number %zu", args->as.list.n,
                             lethe_py_type_name(&wanted), i + 1);
    *out = args->as.list.item[i];
    if ((*out)->type != type)
        return lethe_py_fail(s, "argument %zu of a call is %s, want %s", i + 1,
                             lethe_py_type_name(*out), lethe_py_type_name(&wanted));
    return LETHE_OK;
}

static lethe_status arg_size(const lethe_py_site *s, const lethe_py *args, size_t i,
                             uint64_t *out) {
    const lethe_py *v = NULL;
    LETHE_TRY(arg(s, args, i, LETHE_PY_INT, &v));
    if (v->as.integer < 0)
        return lethe_py_fail(s, "argument %zu of a call is %lld, want no negative number", i + 1,
                             (long long)v->as.integer);
    *out = (uint64_t)v->as.integer;
    return LETHE_OK;
}

/* A tuple of sizes: shape or strides. */
static lethe_status arg_sizes(const lethe_py_site *s, const lethe_py *args, size_t i, size_t *n,
                              size_t out[LETHE_MAX_DIMS]) {
    const lethe_py *list = NULL;
    LETHE_TRY(arg(s, args, i, LETHE_PY_TUPLE, &list));
    if (list->as.list.n > LETHE_MAX_DIMS)
        return lethe_py_fail(s, "a tensor of %zu dimensions, at most %d are read", list->as.list.n,
                             LETHE_MAX_DIMS);
    *n = list->as.list.n;
    for (size_t k = 0; k < *n; k++) {
        uint64_t x = 0;
        LETHE_TRY(arg_size(s, list, k, &x));
        out[k] = (size_t)x;
    }
    return LETHE_OK;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static lethe_status element_type(const lethe_py_site *s, const lethe_py *args,
                                 const lethe_py_storage *storage, bool told, lethe_dtype *out) {
    if (told) {
        const lethe_py *v = NULL;
        LETHE_TRY(arg(s, args, 6, LETHE_PY_NAME, &v));
        if (v->as.name->what != PLAIN)
            return lethe_py_fail(s, "a tensor of %s.%s, want a dtype", v->as.name->module,
                                 v->as.name->name);
        *out = v->as.name->dtype;
        return LETHE_OK;
    }
    if (!storage->typed) return lethe_py_fail(s, "a tensor that does not say its dtype");
    *out = storage->dtype;
    return LETHE_OK;
}

static lethe_status make_tensor(const lethe_py_site *s, const lethe_py *args, bool told,
                                lethe_py **out) {
    const lethe_py *storage = NULL;
    size_t n_strides = 0;
    lethe_py_tensor *t = NULL;
    LETHE_TRY(arg(s, args, 0, LETHE_PY_STORAGE, &storage));
    LETHE_TRY(lethe_py_block(s, sizeof *t, &t));
    t->storage = storage->as.storage;
    LETHE_TRY(element_type(s, args, t->storage, told, &t->dtype));
    LETHE_TRY(arg_size(s, args, 1, &t->offset));
    LETHE_TRY(arg_sizes(s, args, 2, &t->ndim, t->shape));
    LETHE_TRY(arg_sizes(s, args, 3, &n_strides, t->stride));
    if (n_strides != t->ndim)
        return lethe_py_fail(s, "a tensor of %zu dimensions with %zu strides", t->ndim, n_strides);
    LETHE_TRY(lethe_py_new(s, LETHE_PY_TENSOR, out));
    (*out)->as.tensor = t;
    return LETHE_OK;
}

/* A dictionary of a list of pairs, if there is one. */
static lethe_status make_dict(const lethe_py_site *s, const lethe_py *args, size_t first,
                              lethe_py **out) {
    LETHE_TRY(lethe_py_new(s, LETHE_PY_DICT, out));
    if (args->as.list.n <= first) return LETHE_OK;
    const lethe_py *pairs = args->as.list.item[first];
    if (pairs->type != LETHE_PY_LIST && pairs->type != LETHE_PY_DICT)
        return lethe_py_fail(s, "a dictionary made of %s, want a list", lethe_py_type_name(pairs));
    for (size_t i = 0; i < pairs->as.list.n; i++) {
        lethe_py *v = pairs->as.list.item[i];
        if (pairs->type == LETHE_PY_DICT) {
            LETHE_TRY(lethe_py_append(s, *out, v));
            continue;
        }
        if ((v->type != LETHE_PY_TUPLE && v->type != LETHE_PY_LIST) || v->as.list.n != 2)
            return lethe_py_fail(s, "a dictionary made of a list of %s, want pairs",
                                 lethe_py_type_name(v));
        LETHE_TRY(lethe_py_append(s, *out, v->as.list.item[0]));
        LETHE_TRY(lethe_py_append(s, *out, v->as.list.item[1]));
    }
    return LETHE_OK;
}

/* A tuple of the list that is given: torch.Size is one, a set is as good as one. */
static lethe_status make_list(const lethe_py_site *s, const lethe_py *args, lethe_py **out) {
    LETHE_TRY(lethe_py_new(s, LETHE_PY_TUPLE, out));
    if (!args->as.list.n) return LETHE_OK;
    const lethe_py *from = args->as.list.item[0];
    if (from->type != LETHE_PY_LIST && from->type != LETHE_PY_TUPLE)
        return lethe_py_fail(s, "a list made of %s", lethe_py_type_name(from));
    for (size_t i = 0; i < from->as.list.n; i++)
        LETHE_TRY(lethe_py_append(s, *out, from->as.list.item[i]));
    return LETHE_OK;
}

static lethe_status new_text(const lethe_py_site *s, lethe_py_type type, size_t n, char **text,
                             lethe_py **out) {
    LETHE_TRY(lethe_py_block(s, n, text));
    LETHE_TRY(lethe_py_new(s, type, out));
    (*out)->as.text.data = *text;
    (*out)->as.text.n = n;
    return LETHE_OK;
}

static lethe_status make_device(const lethe_py_site *s, const lethe_py *args, lethe_py **out) {
    const lethe_py *kind = NULL;
    LETHE_TRY(arg(s, args, 0, LETHE_PY_TEXT, &kind));
    char number[32] = "", *text;
    if (args->as.list.n > 1) {
        uint64_t i = 0;
        LETHE_TRY(arg_size(s, args, 1, &i));
        snprintf(number, sizeof number, ":%llu", (unsigned long long)i);
    }
    size_t n = kind->as.text.n, digits = strlen(number);
    LETHE_TRY(new_text(s, LETHE_PY_TEXT, n + digits, &text, out));
    memcpy(text, kind->as.text.data, n);
    memcpy(text + n, number, digits);
    return LETHE_OK;
}

static lethe_status make_path(const lethe_py_site *s, const lethe_py *args, lethe_py **out) {
    size_t n = 0, at = 0;
    char *text = NULL;
    for (size_t i = 0; i < args->as.list.n; i++) {
        const lethe_py *part = NULL;
        LETHE_TRY(arg(s, args, i, LETHE_PY_TEXT, &part));
        n += part->as.text.n + 1;
    }
    LETHE_TRY(new_text(s, LETHE_PY_TEXT, n, &text, out));
    for (size_t i = 0; i < args->as.list.n; i++) {
        const lethe_py *part = args->as.list.item[i];
        if (at && text[at - 1] != '/') text[at++] = '/';
        memcpy(text + at, part->as.text.data, part->as.text.n);
        at += part->as.text.n;
    }
    (*out)->as.text.n = at;
    return LETHE_OK;
}

static lethe_status make_bytes(const lethe_py_site *s, const lethe_py *args, lethe_py **out) {
    const lethe_py *from = NULL, *how = NULL;
    LETHE_TRY(arg(s, args, 0, LETHE_PY_TEXT, &from));
    LETHE_TRY(arg(s, args, 1, LETHE_PY_TEXT, &how));
    if (!lethe_py_is_text(how, "latin1"))
        return lethe_py_fail(s, "text encoded as \"%.*s\", want latin1",
                             (int)(how->as.text.n < 40 ? how->as.text.n : 40), how->as.text.data);
    char *bytes = NULL;
    size_t n = 0;
    LETHE_TRY(new_text(s, LETHE_PY_BYTES, from->as.text.n, &bytes, out));
    for (size_t at = 0; at < from->as.text.n;) {
        uint32_t c = lethe_utf8_next(from->as.text.data, from->as.text.n, &at);
        if (c > 0xff) return lethe_py_fail(s, "a character beyond latin1 in text of bytes");
        bytes[n++] = (char)(unsigned char)c;
    }
    (*out)->as.text.n = n;
    return LETHE_OK;
}

static lethe_status make_np_dtype(const lethe_py_site *s, const lethe_py *args, lethe_py **out) {
    const lethe_py *text = NULL;
    LETHE_TRY(arg(s, args, 0, LETHE_PY_TEXT, &text));
    LETHE_TRY(lethe_py_new(s, LETHE_PY_NP_DTYPE, out));
    if (!lethe_npy_type(text->as.text.data, text->as.text.n, &(*out)->as.np.dtype,
                        &(*out)->as.np.big_endian))
        return lethe_py_fail(s, "NumPy's dtype \"%.*s\" is not read",
                             (int)(text->as.text.n < 40 ? text->as.text.n : 40),
                             text->as.text.data);
    return LETHE_OK;
}

/* One element, as a plain number. */
static lethe_status number_of(const lethe_py_site *s, lethe_dtype type, const unsigned char *p,
                              lethe_py *v) {
    uint64_t bits = 0;
    size_t size = lethe_dtype_size(type);
    for (size_t i = size; i-- > 0;) bits = bits << 8 | p[i];
    v->type = LETHE_PY_INT;
    switch (type) {
    case LETHE_BOOL:
        v->type = LETHE_PY_BOOL;
        v->as.integer = bits != 0;
        return LETHE_OK;
    case LETHE_I8: v->as.integer = (int8_t)(uint8_t)bits; return LETHE_OK;
    case LETHE_I16: v->as.integer = (int16_t)(uint16_t)bits; return LETHE_OK;
    case LETHE_I32: v->as.integer = (int32_t)(uint32_t)bits; return LETHE_OK;
    case LETHE_I64:
    case LETHE_U8:
    case LETHE_U16:
    case LETHE_U32: v->as.integer = (int64_t)bits; return LETHE_OK;
    case LETHE_U64:
        if (bits <= INT64_MAX) {
            v->as.integer = (int64_t)bits;
            return LETHE_OK;
        }
        v->type = LETHE_PY_REAL;
        v->as.real = (double)bits;
        return LETHE_OK;
    case LETHE_F64:
        v->type = LETHE_PY_REAL;
        memcpy(&v->as.real, &bits, sizeof bits);
        return LETHE_OK;
    default: {
        float f;
        const lethe_tensor t = {.name = "a scalar", .dtype = type, .count = 1, .data = p};
        v->type = LETHE_PY_REAL;
        LETHE_TRY(lethe_tensor_to_f32(&t, 0, 1, &f, s->err));
        v->as.real = (double)f;
        return LETHE_OK;
    }
    }
}

static lethe_status make_np_scalar(const lethe_py_site *s, const lethe_py *args, lethe_py **out) {
    const lethe_py *type = NULL, *bytes = NULL;
    LETHE_TRY(arg(s, args, 0, LETHE_PY_NP_DTYPE, &type));
    LETHE_TRY(arg(s, args, 1, LETHE_PY_BYTES, &bytes));
    size_t size = lethe_dtype_size(type->as.np.dtype);
    if (bytes->as.text.n != size)
        return lethe_py_fail(s, "a NumPy number of %zu bytes, its dtype wants %zu",
                             bytes->as.text.n, size);
    unsigned char p[8];
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)bytes->as.text.data[type->as.np.big_endian ? size - 1 - i : i];
    LETHE_TRY(lethe_py_new(s, LETHE_PY_NONE, out));
    return number_of(s, type->as.np.dtype, p, *out);
}

lethe_status lethe_py_call(const lethe_py_site *s, const lethe_py *f, const lethe_py *args,
                           lethe_py **out) {
    if (f->type != LETHE_PY_NAME)
        return lethe_py_fail(s, "calls %s, want a function of the list", lethe_py_type_name(f));
    const struct lethe_py_name *name = f->as.name;
    switch (name->what) {
    case TENSOR: return make_tensor(s, args, false, out);
    case TENSOR_OF: return make_tensor(s, args, true, out);
    case FIRST: {
        const lethe_py *v = NULL;
        LETHE_TRY(arg(s, args, 0, LETHE_PY_TENSOR, &v));
        *out = args->as.list.item[0];
        return LETHE_OK;
    }
    case CONTAINER: return make_dict(s, args, 0, out);
    case FACTORY: return make_dict(s, args, 1, out);
    case NAMESPACE:
        if (args->as.list.n)
            return lethe_py_fail(s, "%s.%s with %zu arguments, want none", name->module, name->name,
                                 args->as.list.n);
        LETHE_TRY(lethe_py_new(s, LETHE_PY_DICT, out));
        (*out)->object = true;
        return LETHE_OK;
    case LIST_OF: return make_list(s, args, out);
    case DEVICE: return make_device(s, args, out);
    case PATH: return make_path(s, args, out);
    case LATIN1: return make_bytes(s, args, out);
    case NP_DTYPE: return make_np_dtype(s, args, out);
    case NP_SCALAR: return make_np_scalar(s, args, out);
    case STORAGE:
    case UNTYPED:
    case PLAIN: break;
    }
    return lethe_py_fail(s, "%s.%s is called, want it named only", name->module, name->name);
}

/* numpy.dtype's state is (version, byte order, ..). */
static lethe_status build_np_dtype(const lethe_py_site *s, lethe_py *type, const lethe_py *state) {
    const lethe_py *order = NULL;
    if (state->type != LETHE_PY_TUPLE)
        return lethe_py_fail(s, "the state of a NumPy dtype is %s, want a tuple",
                             lethe_py_type_name(state));
    LETHE_TRY(arg(s, state, 1, LETHE_PY_TEXT, &order));
    type->as.np.big_endian = lethe_py_is_text(order, ">");
    return LETHE_OK;
}

lethe_status lethe_py_build(const lethe_py_site *s, lethe_py *object, const lethe_py *state) {
    if (object->type == LETHE_PY_NP_DTYPE) return build_np_dtype(s, object, state);
    if (object->type != LETHE_PY_DICT || state->type != LETHE_PY_DICT || object == state)
        return lethe_py_fail(s, "%s gets %s as its state, want an object and a dictionary",
                             lethe_py_type_name(object), lethe_py_type_name(state));
    /* What a dictionary has beside its items (the _metadata of a state_dict) is not its contents.
     */
    if (!object->object) return LETHE_OK;
    for (size_t i = 0; i < state->as.list.n; i++)
        LETHE_TRY(lethe_py_append(s, object, state->as.list.item[i]));
    return LETHE_OK;
}

/* ("storage", type, key, device, elements) */
lethe_status lethe_py_persistent(const lethe_py_site *s, const lethe_py *id, lethe_py **out) {
    const lethe_py *tag = NULL, *type = NULL, *key = NULL;
    uint64_t n = 0;
    if (id->type != LETHE_PY_TUPLE)
        return lethe_py_fail(s, "a persistent number that is %s, want a storage",
                             lethe_py_type_name(id));
    LETHE_TRY(arg(s, id, 0, LETHE_PY_TEXT, &tag));
    LETHE_TRY(arg(s, id, 1, LETHE_PY_NAME, &type));
    LETHE_TRY(arg(s, id, 2, LETHE_PY_TEXT, &key));
    LETHE_TRY(arg_size(s, id, 4, &n));
    meaning what = type->as.name->what;
    if (!lethe_py_is_text(tag, "storage") || (what != STORAGE && what != UNTYPED))
        return lethe_py_fail(s, "a persistent number of %s.%s, want a storage",
                             type->as.name->module, type->as.name->name);
    lethe_py_storage *storage = NULL;
    LETHE_TRY(lethe_py_block(s, sizeof *storage, &storage));
    storage->key = key->as.text.data;
    storage->key_len = key->as.text.n;
    storage->typed = what == STORAGE;
    storage->dtype = type->as.name->dtype;
    uint64_t size = storage->typed ? lethe_dtype_size(storage->dtype) : 1;
    if (n > UINT64_MAX / size)
        return lethe_py_fail(s, "a storage of %llu elements", (unsigned long long)n);
    storage->bytes = n * size;
    LETHE_TRY(lethe_py_new(s, LETHE_PY_STORAGE, out));
    (*out)->as.storage = storage;
    return LETHE_OK;
}
