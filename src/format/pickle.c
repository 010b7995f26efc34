/* SPDX-License-Identifier: MIT
 *
 * The machine: a stack, marks in it, and a memo of values to come back to. One function for each
 * kind of instruction; what names mean is in pickle_call.c.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "format/pickle_parts.h"

#define MOST_PROTOCOL 5
#define LONG_MOST 128 /* bytes of an integer: beyond, its double is infinite */

/* ---- values --------------------------------------------------------------------------------- */

enum { CHUNK = 128 };

typedef struct chunk {
    struct chunk *next;
    size_t n;
    lethe_py value[CHUNK];
} chunk;

struct lethe_pickle {
    chunk *values;
    void **block;
    size_t n_blocks, blocks_cap;
    const lethe_py *top;
    uint64_t spent, most; /* bytes that instructions took beyond a value each */
};

lethe_status lethe_py_fail(const lethe_py_site *s, const char *fmt, ...) {
    char text[LETHE_ERR_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return lethe_fail(s->err, LETHE_FORMAT, "%s: pickle, byte %zu: %s", s->path, s->at, text);
}

/* One instruction may copy a long list that another made: with an allowance that grows with the
 * pickle, so that its memory stays in proportion. */
static lethe_status spend(const lethe_py_site *s, uint64_t bytes) {
    lethe_pickle *p = s->owner;
    p->spent += bytes;
    return p->spent <= p->most
               ? LETHE_OK
               : lethe_py_fail(s,
                               "makes copies of %llu bytes, more than a pickle of this size needs",
                               (unsigned long long)p->spent);
}

lethe_status lethe_py_new(const lethe_py_site *s, lethe_py_type type, lethe_py **out) {
    lethe_pickle *p = s->owner;
    if (!p->values || p->values->n == CHUNK) {
        chunk *c;
        LETHE_TRY(lethe_zalloc(&c, 1, sizeof *c, "the values of a pickle", s->err));
        c->next = p->values;
        p->values = c;
    }
    *out = &p->values->value[p->values->n++];
    (*out)->type = type;
    return LETHE_OK;
}

lethe_status lethe_py_block(const lethe_py_site *s, size_t n, void *out_ptr) {
    lethe_pickle *p = s->owner;
    LETHE_TRY(spend(s, n));
    LETHE_TRY(lethe_grow(&p->block, &p->blocks_cap, p->n_blocks, p->n_blocks + 1, sizeof *p->block,
                         "the values of a pickle", s->err));
    void *block;
    LETHE_TRY(lethe_zalloc(&block, n, 1, "the values of a pickle", s->err));
    p->block[p->n_blocks++] = block;
    memcpy(out_ptr, &block, sizeof block);
    return LETHE_OK;
}

lethe_status lethe_py_append(const lethe_py_site *s, lethe_py *list, lethe_py *item) {
    size_t n = list->as.list.n;
    LETHE_TRY(spend(s, sizeof item));
    LETHE_TRY(lethe_grow(&list->as.list.item, &list->as.list.cap, n, n + 1,
                         sizeof *list->as.list.item, "the values of a pickle", s->err));
    list->as.list.item[list->as.list.n++] = item;
    return LETHE_OK;
}

const lethe_py *lethe_pickle_top(const lethe_pickle *p) {
    return p->top;
}

void lethe_pickle_close(lethe_pickle **pp) {
    lethe_pickle *p = *pp;
    if (!p) return;
    for (chunk *c = p->values, *next; c; c = next) {
        next = c->next;
        for (size_t i = 0; i < c->n; i++) {
            const lethe_py *v = &c->value[i];
            if (v->type == LETHE_PY_LIST || v->type == LETHE_PY_TUPLE || v->type == LETHE_PY_DICT)
                lethe_free(v->as.list.item);
        }
        lethe_free(c);
    }
    for (size_t i = 0; i < p->n_blocks; i++) lethe_free(p->block[i]);
    lethe_free(p->block);
    lethe_free(p);
    *pp = NULL;
}

const char *lethe_py_type_name(const lethe_py *v) {
    switch (v->type) {
    case LETHE_PY_NONE: return "None";
    case LETHE_PY_BOOL: return "a truth value";
    case LETHE_PY_INT: return "an integer";
    case LETHE_PY_REAL: return "a number";
    case LETHE_PY_TEXT: return "text";
    case LETHE_PY_BYTES: return "bytes";
    case LETHE_PY_LIST: return "a list";
    case LETHE_PY_TUPLE: return "a tuple";
    case LETHE_PY_DICT: return v->object ? "an object" : "a dictionary";
    case LETHE_PY_TENSOR: return "a tensor";
    case LETHE_PY_STORAGE: return "a storage";
    case LETHE_PY_NAME: return "a class or function";
    case LETHE_PY_NP_DTYPE: return "a NumPy dtype";
    }
    return "";
}

bool lethe_py_is_text(const lethe_py *v, const char *text) {
    size_t n = strlen(text);
    return v->type == LETHE_PY_TEXT && v->as.text.n == n && !memcmp(v->as.text.data, text, n);
}

/* ---- the machine ---------------------------------------------------------------------------- */

typedef struct machine {
    lethe_py_site site;
    const unsigned char *data;
    size_t n, at;
    lethe_py **stack;
    size_t depth, stack_cap;
    size_t *mark; /* depths of the stack */
    size_t n_marks, marks_cap;
    lethe_py **memo; /* NULL: nothing was put there */
    size_t memo_n, memo_cap;
} machine;

static lethe_status cut_off(const machine *m) {
    return lethe_fail(m->site.err, LETHE_FORMAT,
                      "%s: the pickle is cut off after %zu bytes, in the instruction at byte %zu",
                      m->site.path, m->n, m->site.at);
}

/* The next n bytes. */
static lethe_status take(machine *m, uint64_t n, const unsigned char **out) {
    if (n > m->n - m->at) return cut_off(m);
    *out = m->data + m->at;
    m->at += (size_t)n;
    return LETHE_OK;
}

/* A little-endian number of `bytes` bytes, at most 8. */
static lethe_status take_number(machine *m, size_t bytes, uint64_t *out) {
    const unsigned char *p = NULL;
    LETHE_TRY(take(m, bytes, &p));
    *out = 0;
    for (size_t i = bytes; i-- > 0;) *out = *out << 8 | p[i];
    return LETHE_OK;
}

/* The rest of a line, without its line feed. */
static lethe_status take_line(machine *m, const char **out, size_t *n) {
    const unsigned char *from = m->data + m->at, *end = memchr(from, '\n', m->n - m->at);
    if (!end) return cut_off(m);
    *out = (const char *)from;
    *n = (size_t)(end - from);
    m->at += *n + 1;
    return LETHE_OK;
}

static lethe_status push(machine *m, lethe_py *v) {
    LETHE_TRY(lethe_grow(&m->stack, &m->stack_cap, m->depth, m->depth + 1, sizeof *m->stack,
                         "the stack of a pickle", m->site.err));
    m->stack[m->depth++] = v;
    return LETHE_OK;
}

static lethe_status push_new(machine *m, lethe_py_type type, lethe_py **out) {
    LETHE_TRY(lethe_py_new(&m->site, type, out));
    return push(m, *out);
}

/* What the instruction finds on the stack lies above the last mark. */
static size_t above_mark(const machine *m) {
    return m->depth - (m->n_marks ? m->mark[m->n_marks - 1] : 0);
}

static lethe_status need(const machine *m, size_t n) {
    return above_mark(m) >= n
               ? LETHE_OK
               : lethe_py_fail(&m->site, "takes %zu values from a stack of %zu", n, above_mark(m));
}

static lethe_status pop(machine *m, lethe_py **out) {
    LETHE_TRY(need(m, 1));
    *out = m->stack[--m->depth];
    return LETHE_OK;
}

/* The value on top, of a type. */
static lethe_status top(const machine *m, lethe_py_type type, lethe_py **out) {
    LETHE_TRY(need(m, 1));
    *out = m->stack[m->depth - 1];
    if ((*out)->type == type) return LETHE_OK;
    const lethe_py wanted = {.type = type};
    return lethe_py_fail(&m->site, "got %s, want %s", lethe_py_type_name(*out),
                         lethe_py_type_name(&wanted));
}

/* Takes all above the last mark, and the mark: they stay in stack[depth .. depth + *n). */
static lethe_status pop_mark(machine *m, size_t *n) {
    if (!m->n_marks) return lethe_py_fail(&m->site, "there is no mark on the stack");
    *n = above_mark(m);
    m->depth = m->mark[--m->n_marks];
    return LETHE_OK;
}

static lethe_status set_mark(machine *m) {
    LETHE_TRY(lethe_grow(&m->mark, &m->marks_cap, m->n_marks, m->n_marks + 1, sizeof *m->mark,
                         "the stack of a pickle", m->site.err));
    m->mark[m->n_marks++] = m->depth;
    return LETHE_OK;
}

static lethe_status push_int(machine *m, int64_t x) {
    lethe_py *v = NULL;
    LETHE_TRY(push_new(m, LETHE_PY_INT, &v));
    v->as.integer = x;
    return LETHE_OK;
}

static lethe_status push_bool(machine *m, bool x) {
    lethe_py *v = NULL;
    LETHE_TRY(push_new(m, LETHE_PY_BOOL, &v));
    v->as.integer = x;
    return LETHE_OK;
}

static lethe_status push_unsigned(machine *m, size_t bytes) {
    uint64_t x = 0;
    LETHE_TRY(take_number(m, bytes, &x));
    return push_int(m, (int64_t)x);
}

/* An integer of any length: two's complement, least byte first. */
static lethe_status push_long(machine *m, size_t bytes_of_length) {
    uint64_t n = 0;
    const unsigned char *p = NULL;
    LETHE_TRY(take_number(m, bytes_of_length, &n));
    if (n > LONG_MOST)
        return lethe_py_fail(&m->site, "an integer of %llu bytes, at most %d are read",
                             (unsigned long long)n, LONG_MOST);
    LETHE_TRY(take(m, n, &p));
    bool negative = n && p[n - 1] & 0x80;
    if (n <= 8) {
        uint64_t x = negative ? UINT64_MAX : 0;
        for (size_t i = (size_t)n; i-- > 0;) x = x << 8 | p[i];
        return push_int(m, (int64_t)x);
    }
    double size = 0; /* of x, or of -1 - x, whose bytes are the inverted ones */
    for (size_t i = (size_t)n; i-- > 0;) size = size * 256 + (negative ? 255 - p[i] : p[i]);
    lethe_py *v = NULL;
    LETHE_TRY(push_new(m, LETHE_PY_REAL, &v));
    v->as.real = negative ? -1 - size : size;
    return LETHE_OK;
}

static lethe_status push_double(machine *m) {
    const unsigned char *p = NULL;
    LETHE_TRY(take(m, 8, &p));
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
    lethe_py *v = NULL;
    LETHE_TRY(push_new(m, LETHE_PY_REAL, &v));
    memcpy(&v->as.real, &bits, sizeof bits);
    return LETHE_OK;
}

static lethe_status push_text(machine *m, lethe_py_type type, size_t bytes_of_length) {
    uint64_t n = 0;
    const unsigned char *p = NULL;
    LETHE_TRY(take_number(m, bytes_of_length, &n));
    LETHE_TRY(take(m, n, &p));
    lethe_py *v = NULL;
    LETHE_TRY(push_new(m, type, &v));
    v->as.text.data = (const char *)p;
    v->as.text.n = (size_t)n;
    return LETHE_OK;
}

/* Appends n values from `from` on; a dictionary takes pairs. */
static lethe_status append_all(machine *m, lethe_py *list, size_t from, size_t n) {
    if (list->type == LETHE_PY_DICT && n % 2)
        return lethe_py_fail(&m->site, "a dictionary got %zu values, want pairs", n);
    for (size_t i = 0; i < n; i++) LETHE_TRY(lethe_py_append(&m->site, list, m->stack[from + i]));
    return LETHE_OK;
}

/* A container of the n topmost values. */
static lethe_status push_container(machine *m, lethe_py_type type, size_t n) {
    LETHE_TRY(need(m, n));
    lethe_py *v = NULL;
    LETHE_TRY(lethe_py_new(&m->site, type, &v));
    LETHE_TRY(append_all(m, v, m->depth - n, n));
    m->depth -= n;
    return push(m, v);
}

static lethe_status container_from_mark(machine *m, lethe_py_type type) {
    size_t n = 0;
    LETHE_TRY(pop_mark(m, &n));
    m->depth += n;
    return push_container(m, type, n);
}

/* The n topmost values go into the list or dictionary below them. */
static lethe_status put_into(machine *m, lethe_py_type type, size_t n) {
    LETHE_TRY(need(m, n));
    size_t from = m->depth - n;
    m->depth = from;
    lethe_py *list = NULL;
    LETHE_TRY(top(m, type, &list));
    return append_all(m, list, from, n);
}

static lethe_status put_from_mark(machine *m, lethe_py_type type) {
    size_t n = 0;
    LETHE_TRY(pop_mark(m, &n));
    lethe_py *list = NULL;
    LETHE_TRY(top(m, type, &list));
    return append_all(m, list, m->depth, n);
}

/* ---- the memo ------------------------------------------------------------------------------- */

/* A number is used for one value, and each takes an instruction: none is larger than the pickle. */
static lethe_status memo_put(machine *m, uint64_t i) {
    LETHE_TRY(need(m, 1));
    if (i >= m->n)
        return lethe_py_fail(&m->site, "memo number %llu in a pickle of %zu bytes",
                             (unsigned long long)i, m->n);
    LETHE_TRY(lethe_grow(&m->memo, &m->memo_cap, m->memo_n, (size_t)i + 1, sizeof *m->memo,
                         "the memo of a pickle", m->site.err));
    while (m->memo_n <= i) m->memo[m->memo_n++] = NULL;
    m->memo[i] = m->stack[m->depth - 1];
    return LETHE_OK;
}

static lethe_status memo_put_numbered(machine *m, size_t bytes) {
    uint64_t i = 0;
    LETHE_TRY(take_number(m, bytes, &i));
    return memo_put(m, i);
}

static lethe_status memo_get(machine *m, size_t bytes) {
    uint64_t i = 0;
    LETHE_TRY(take_number(m, bytes, &i));
    if (i >= m->memo_n || !m->memo[i])
        return lethe_py_fail(&m->site, "memo number %llu was never put", (unsigned long long)i);
    return push(m, m->memo[i]);
}

/* ---- names ---------------------------------------------------------------------------------- */

static lethe_status push_global(machine *m) {
    const char *module = NULL, *name = NULL;
    size_t module_len = 0, name_len = 0;
    LETHE_TRY(take_line(m, &module, &module_len));
    LETHE_TRY(take_line(m, &name, &name_len));
    lethe_py *v = NULL;
    LETHE_TRY(lethe_py_lookup(&m->site, module, module_len, name, name_len, &v));
    return push(m, v);
}

static lethe_status push_stack_global(machine *m) {
    lethe_py *name = NULL, *module = NULL, *v = NULL;
    LETHE_TRY(pop(m, &name));
    LETHE_TRY(pop(m, &module));
    if (name->type != LETHE_PY_TEXT || module->type != LETHE_PY_TEXT)
        return lethe_py_fail(&m->site, "a name of %s and %s, want text and text",
                             lethe_py_type_name(module), lethe_py_type_name(name));
    LETHE_TRY(lethe_py_lookup(&m->site, module->as.text.data, module->as.text.n, name->as.text.data,
                              name->as.text.n, &v));
    return push(m, v);
}

/* INST of protocol 0: a name and a call in one; the name is what a refusal should tell. */
static lethe_status refuse_inst(machine *m) {
    LETHE_TRY(push_global(m));
    return lethe_py_fail(&m->site, "opcode INST of protocol 0 is not read");
}

static lethe_status call(machine *m) {
    lethe_py *args = NULL, *f = NULL, *v = NULL;
    LETHE_TRY(top(m, LETHE_PY_TUPLE, &args));
    m->depth--;
    LETHE_TRY(pop(m, &f));
    LETHE_TRY(lethe_py_call(&m->site, f, args, &v));
    return push(m, v);
}

/* NEWOBJ_EX: a class, a tuple and keywords, which nothing in the list takes. */
static lethe_status call_with_keywords(machine *m) {
    lethe_py *keywords = NULL;
    LETHE_TRY(top(m, LETHE_PY_DICT, &keywords));
    if (keywords->as.list.n) return lethe_py_fail(&m->site, "keyword arguments are not read");
    m->depth--;
    return call(m);
}

static lethe_status build(machine *m) {
    lethe_py *state = NULL;
    LETHE_TRY(need(m, 2));
    LETHE_TRY(pop(m, &state));
    return lethe_py_build(&m->site, m->stack[m->depth - 1], state);
}

static lethe_status persistent(machine *m) {
    lethe_py *id = NULL, *v = NULL;
    LETHE_TRY(pop(m, &id));
    LETHE_TRY(lethe_py_persistent(&m->site, id, &v));
    return push(m, v);
}

/* ---- instructions --------------------------------------------------------------------------- */

static lethe_status protocol(machine *m) {
    uint64_t v = 0;
    LETHE_TRY(take_number(m, 1, &v));
    return v <= MOST_PROTOCOL ? LETHE_OK
                              : lethe_py_fail(&m->site, "protocol %llu, at most %d is read",
                                              (unsigned long long)v, MOST_PROTOCOL);
}

static lethe_status skip(machine *m, size_t n) {
    const unsigned char *p = NULL;
    return take(m, n, &p);
}

static lethe_status push_signed32(machine *m) {
    uint64_t x = 0;
    LETHE_TRY(take_number(m, 4, &x));
    return push_int(m, (int32_t)(uint32_t)x);
}

static lethe_status duplicate(machine *m) {
    LETHE_TRY(need(m, 1));
    return push(m, m->stack[m->depth - 1]);
}

static lethe_status drop(machine *m) {
    /* As CPython: POP on a bare mark takes the mark. */
    if (m->n_marks && !above_mark(m)) {
        m->n_marks--;
        return LETHE_OK;
    }
    lethe_py *v = NULL;
    return pop(m, &v);
}

static lethe_status drop_mark(machine *m) {
    size_t n = 0;
    return pop_mark(m, &n);
}

/* One instruction but STOP. */
static lethe_status step(machine *m, unsigned char op) {
    lethe_py *v = NULL;
    switch (op) {
    case 0x80: return protocol(m);
    case 0x95: return skip(m, 8); /* FRAME: a hint for readers of streams */

    case 'N': return push_new(m, LETHE_PY_NONE, &v);
    case 0x88: return push_bool(m, true);
    case 0x89: return push_bool(m, false);
    case 'J': return push_signed32(m);
    case 'K': return push_unsigned(m, 1);
    case 'M': return push_unsigned(m, 2);
    case 0x8a: return push_long(m, 1);
    case 0x8b: return push_long(m, 4);
    case 'G': return push_double(m);

    case 0x8c: return push_text(m, LETHE_PY_TEXT, 1);
    case 'X': return push_text(m, LETHE_PY_TEXT, 4);
    case 0x8d: return push_text(m, LETHE_PY_TEXT, 8);
    case 'U': return push_text(m, LETHE_PY_TEXT, 1); /* strings of Python 2 */
    case 'T': return push_text(m, LETHE_PY_TEXT, 4);
    case 'C': return push_text(m, LETHE_PY_BYTES, 1);
    case 'B': return push_text(m, LETHE_PY_BYTES, 4);
    case 0x8e: return push_text(m, LETHE_PY_BYTES, 8);
    case 0x96: return push_text(m, LETHE_PY_BYTES, 8); /* bytearray */

    case '(': return set_mark(m);
    case '0': return drop(m);
    case '1': return drop_mark(m);
    case '2': return duplicate(m);

    case ']': return push_new(m, LETHE_PY_LIST, &v);
    case 'l': return container_from_mark(m, LETHE_PY_LIST);
    case 'a': return put_into(m, LETHE_PY_LIST, 1);
    case 'e': return put_from_mark(m, LETHE_PY_LIST);
    case ')': return push_new(m, LETHE_PY_TUPLE, &v);
    case 't': return container_from_mark(m, LETHE_PY_TUPLE);
    case 0x85: return push_container(m, LETHE_PY_TUPLE, 1);
    case 0x86: return push_container(m, LETHE_PY_TUPLE, 2);
    case 0x87: return push_container(m, LETHE_PY_TUPLE, 3);
    case '}': return push_new(m, LETHE_PY_DICT, &v);
    case 'd': return container_from_mark(m, LETHE_PY_DICT);
    case 's': return put_into(m, LETHE_PY_DICT, 2);
    case 'u': return put_from_mark(m, LETHE_PY_DICT);
    case 0x8f: return push_new(m, LETHE_PY_LIST, &v); /* sets */
    case 0x90: return put_from_mark(m, LETHE_PY_LIST);
    case 0x91: return container_from_mark(m, LETHE_PY_LIST);

    case 'q': return memo_put_numbered(m, 1);
    case 'r': return memo_put_numbered(m, 4);
    case 0x94: return memo_put(m, m->memo_n);
    case 'h': return memo_get(m, 1);
    case 'j': return memo_get(m, 4);

    case 'c': return push_global(m);
    case 0x93: return push_stack_global(m);
    case 'i': return refuse_inst(m);
    case 'R': return call(m);
    case 0x81: return call(m); /* NEWOBJ: what the list has can be made by a call */
    case 0x92: return call_with_keywords(m);
    case 'b': return build(m);
    case 'Q': return persistent(m);
    default:
        return lethe_py_fail(&m->site,
                             "opcode 0x%02x is not read (protocols 2 to 5 as torch.save writes "
                             "them are)",
                             (unsigned)op);
    }
}

static lethe_status run(machine *m, const lethe_py **result) {
    for (;;) {
        m->site.at = m->at;
        const unsigned char *op = NULL;
        LETHE_TRY(take(m, 1, &op));
        if (*op == '.') break;
        LETHE_TRY(step(m, *op));
    }
    lethe_py *v = NULL;
    LETHE_TRY(pop(m, &v));
    *result = v;
    return LETHE_OK;
}

lethe_status lethe_pickle_open(lethe_pickle **out, const char *path, const void *data, size_t n,
                               lethe_err *err) {
    lethe_pickle *p;
    LETHE_TRY(lethe_zalloc(&p, 1, sizeof *p, "a pickle", err));
    p->most = 64 * (uint64_t)n + 65536;
    machine m = {.site = {.owner = p, .path = path, .err = err}, .data = data, .n = n};
    lethe_status st = run(&m, &p->top);
    lethe_free(m.stack);
    lethe_free(m.mark);
    lethe_free(m.memo);
    if (st) {
        lethe_pickle_close(&p);
        return st;
    }
    *out = p;
    return LETHE_OK;
}
