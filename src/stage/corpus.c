/* SPDX-License-Identifier: MIT */
#include "stage/corpus.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/run.h"
#include "base/strbuf.h"
#include "base/utf8.h"
#include "stage/corpus_parts.h"

#define CHUNK (64u << 10)
#define LINE_MAX_BYTES (64u << 20) /* a JSON line longer than this is taken for a mistake */

struct lethe_corpus {
    lethe_corpus_files files;
    char name[256];
    char *fields;      /* names with a NUL behind each, and one more behind the last */
    bool other_fields; /* than "text" alone */
    size_t fields_len;

    size_t at; /* file being read */
    lethe_corpus_opener opener;
    lethe_text_stream *stream;
    lethe_corpus_kind kind; /* of that file: TEXT or LINES */
    bool fresh;             /* nothing of this text file handed out yet */
    uint64_t line, offset;

    char *buf; /* a chunk of text, or a line; a carried rest at its start */
    size_t len, carried, buf_cap;
    json_t *json; /* the current line; owns the message texts */
    lethe_chat_message *message;
    size_t message_cap;
};

static const char *file_name(const lethe_corpus *c) {
    return c->files.item[c->at].name;
}

/* "a,b.c" becomes "a\0b.c\0\0". */
static lethe_status take_fields(lethe_corpus *c, const char *list, lethe_err *err) {
    if (!list) list = "text";
    c->fields_len = strlen(list) + 2;
    c->other_fields = strcmp(list, "text") != 0;
    LETHE_TRY(lethe_zalloc(&c->fields, c->fields_len, 1, "the names of fields", err));
    for (const char *name = list;; name++) {
        size_t n = strcspn(name, ",");
        if (!n)
            return lethe_fail(err, LETHE_USAGE,
                              "--text-field: got \"%s\", want names of fields, with commas between",
                              list);
        memcpy(c->fields + (name - list), name, n);
        name += n;
        if (!*name) return LETHE_OK;
    }
}

lethe_status lethe_corpus_open(lethe_corpus **out, const char *const *paths, size_t n,
                               const char *text_field, lethe_err *err) {
    lethe_corpus *c;
    LETHE_TRY(lethe_zalloc(&c, 1, sizeof *c, "a corpus", err));
    lethe_status st = take_fields(c, text_field, err);
    for (size_t i = 0; i < n && !st; i++) st = lethe_corpus_files_add(&c->files, paths[i], err);
    if (!st && !c->files.n)
        st = lethe_fail(err, LETHE_FORMAT, "%s: no files in it", n ? paths[0] : "(no text given)");
    if (st) {
        lethe_corpus_close(&c);
        return st;
    }
    if (c->files.n == 1)
        snprintf(c->name, sizeof c->name, "%s", file_name(c));
    else
        snprintf(c->name, sizeof c->name, "%.200s and %zu more", file_name(c), c->files.n - 1);
    *out = c;
    return LETHE_OK;
}

void lethe_corpus_rewind(lethe_corpus *c) {
    lethe_text_stream_close(&c->stream);
    c->at = 0;
    c->len = c->carried = 0;
}

void lethe_corpus_close(lethe_corpus **cp) {
    lethe_corpus *c = *cp;
    if (!c) return;
    lethe_text_stream_close(&c->stream);
    lethe_corpus_opener_close(&c->opener);
    lethe_corpus_files_free(&c->files);
    lethe_free(c->fields);
    lethe_free(c->buf);
    lethe_free(c->message);
    json_decref(c->json);
    lethe_free(c);
    *cp = NULL;
}

const char *lethe_corpus_name(const lethe_corpus *c) {
    return c->name;
}

/* ---- fingerprint ---------------------------------------------------------------------------- */

static lethe_status hash_stream(lethe_hasher *h, lethe_text_stream *s, lethe_err *err) {
    for (;;) {
        const char *at;
        size_t n;
        if (lethe_stop_requested()) return lethe_fail(err, LETHE_STOPPED, "stopped");
        LETHE_TRY(lethe_text_stream_peek(s, 1, &at, &n, err));
        if (!n) return LETHE_OK;
        lethe_hasher_put(h, at, n);
        lethe_text_stream_skip(s, n);
    }
}

/* The length goes first, so that a byte cannot move from one file to the next unseen; a packed file
 * is unpacked twice for it. */
static lethe_status hash_file(const lethe_corpus *c, const lethe_corpus_file *f,
                              lethe_corpus_opener *o, lethe_hasher *h, lethe_err *err) {
    lethe_text_stream *s;
    lethe_corpus_kind kind;
    uint64_t size;
    LETHE_TRY(lethe_corpus_open_file(o, f, &s, &kind, err));
    lethe_status st = lethe_text_stream_count(s, &size, err);
    lethe_text_stream_close(&s);
    LETHE_TRY(st);
    LETHE_TRY(lethe_corpus_open_file(o, f, &s, &kind, err));
    /* The same bytes read in another way are another text. */
    unsigned char how = kind != LETHE_CORPUS_LINES ? 0 : c->other_fields ? 2 : 1;
    lethe_hasher_put(h, &how, 1);
    if (how == 2) lethe_hasher_put(h, c->fields, c->fields_len);
    lethe_hasher_put(h, &size, sizeof size);
    st = hash_stream(h, s, err);
    lethe_text_stream_close(&s);
    return st;
}

lethe_status lethe_corpus_hash(const lethe_corpus *c, char out[33], lethe_err *err) {
    lethe_hasher *h;
    LETHE_TRY(lethe_hasher_open(&h, err));
    lethe_corpus_opener o = {0};
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < c->files.n && !st; i++) st = hash_file(c, &c->files.item[i], &o, h, err);
    if (!st) lethe_hasher_hex(h, out);
    lethe_corpus_opener_close(&o);
    lethe_hasher_close(&h);
    return st;
}

/* ---- text files ----------------------------------------------------------------------------- */

static lethe_status not_utf8(const lethe_corpus *c, uint64_t byte, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: not UTF-8 text at byte %llu (convert it, for example with: iconv -f "
                      "latin1 -t utf8)",
                      file_name(c), (unsigned long long)byte);
}

/* How much of buf[0, len) to hand out: up to the last line end, or, without one, the last whole
 * code point that is no CR (its LF may follow); all of it at the end of the file. */
static size_t cut_chunk(const char *buf, size_t len, bool eof) {
    if (eof) return len;
    for (size_t i = len; i > 0; i--)
        if (buf[i - 1] == '\n') return i;
    if (buf[len - 1] == '\r') return len - 1;
    size_t i = len;
    while (i > 0 && len - i < 4 && ((unsigned char)buf[i - 1] & 0xc0) == 0x80) i--;
    return i > 0 && (unsigned char)buf[i - 1] >= 0x80 ? i - 1 : len;
}

/* CR LF becomes LF, as a model has seen it in training; returns the new length. */
static size_t drop_cr(char *buf, size_t len) {
    char *to = memchr(buf, '\r', len);
    if (!to) return len;
    for (const char *from = to; from < buf + len; from++)
        if (*from != '\r' || from + 1 == buf + len || from[1] != '\n') *to++ = *from;
    return (size_t)(to - buf);
}

static lethe_status next_chunk(lethe_corpus *c, lethe_piece *piece, bool *got, lethe_err *err) {
    LETHE_TRY(lethe_grow(&c->buf, &c->buf_cap, 0, CHUNK, 1, "a piece of text", err));
    memmove(c->buf, c->buf + c->len, c->carried);
    size_t n;
    LETHE_TRY(lethe_text_stream_read(c->stream, c->buf + c->carried, CHUNK - c->carried, &n, err));
    n += c->carried;
    *got = n > 0;
    if (!n) return LETHE_OK;
    c->len = cut_chunk(c->buf, n, n < CHUNK);
    c->carried = n - c->len;
    size_t good = lethe_utf8_valid_prefix(c->buf, c->len);
    if (good != c->len || memchr(c->buf, '\0', c->len)) {
        const char *zero = memchr(c->buf, '\0', good);
        return not_utf8(c, c->offset + (zero ? (size_t)(zero - c->buf) : good), err);
    }
    c->offset += c->len;
    *piece =
        (lethe_piece){.starts_document = c->fresh, .text = c->buf, .len = drop_cr(c->buf, c->len)};
    c->fresh = false;
    return LETHE_OK;
}

/* ---- JSON lines ----------------------------------------------------------------------------- */

/* Reads one line without its end into buf; *got = false at the end of the file. */
static lethe_status read_line(lethe_corpus *c, bool *got, lethe_err *err) {
    c->len = 0;
    *got = false;
    for (bool ended = false; !ended;) {
        const char *at;
        size_t n;
        LETHE_TRY(lethe_text_stream_peek(c->stream, 1, &at, &n, err));
        if (!n) break;
        *got = true;
        const char *end = memchr(at, '\n', n);
        ended = end != NULL;
        size_t some = ended ? (size_t)(end - at) : n;
        if (some > LINE_MAX_BYTES - c->len)
            return lethe_fail(err, LETHE_FORMAT,
                              "%s:%llu: line longer than %u MiB (is this JSON "
                              "lines, one document a line?)",
                              file_name(c), (unsigned long long)c->line + 1, LINE_MAX_BYTES >> 20);
        LETHE_TRY(
            lethe_grow(&c->buf, &c->buf_cap, c->len, c->len + some + 1, 1, "a line of text", err));
        memcpy(c->buf + c->len, at, some);
        c->len += some;
        lethe_text_stream_skip(c->stream, some + ended);
    }
    c->line++;
    return LETHE_OK;
}

static lethe_status bad_line(const lethe_corpus *c, const char *why, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT, "%s:%llu: %s", file_name(c), (unsigned long long)c->line,
                      why);
}

/* What a file has written, in a message: a terminal obeys control characters. */
static void add_shown(lethe_strbuf *b, const char *s, size_t most) {
    for (size_t i = 0; s[i] && i < most; i++)
        lethe_strbuf_add(b, (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? "?" : s + i, 1);
}

static lethe_status not_json(const lethe_corpus *c, const char *why, lethe_err *err) {
    lethe_strbuf b = {0};
    add_shown(&b, why, SIZE_MAX);
    lethe_status st = bad_line(c, lethe_strbuf_str(&b), err);
    lethe_strbuf_free(&b);
    return st;
}

static lethe_status take_messages(lethe_corpus *c, json_t *list, const char *name,
                                  lethe_piece *piece, lethe_err *err) {
    size_t n = json_array_size(list);
    char why[128];
    snprintf(why, sizeof why, "\"%.40s\" must be a list of {\"role\", \"content\"}", name);
    if (!n) return bad_line(c, why, err);
    LETHE_TRY(
        lethe_grow(&c->message, &c->message_cap, 0, n, sizeof *c->message, "a conversation", err));
    for (size_t i = 0; i < n; i++) {
        json_t *m = json_array_get(list, i);
        c->message[i].role = json_string_value(json_object_get(m, "role"));
        c->message[i].content = json_string_value(json_object_get(m, "content"));
        if (!c->message[i].role || !c->message[i].content)
            return bad_line(c, "a message needs the strings \"role\" and \"content\"", err);
    }
    *piece = (lethe_piece){.starts_document = true, .message = c->message, .n_messages = n};
    return LETHE_OK;
}

/* A field by its name, or, with dots, by the way to it. Borrowed; NULL: not there. */
static json_t *find_field(json_t *object, const char *name) {
    json_t *v = json_object_get(object, name);
    for (const char *dot; !v && (dot = strchr(name, '.')); name = dot + 1) {
        char part[128];
        if ((size_t)snprintf(part, sizeof part, "%.*s", (int)(dot - name), name) >= sizeof part)
            return NULL;
        object = json_object_get(object, part);
        v = json_object_get(object, dot + 1);
    }
    return v;
}

static lethe_status no_field(const lethe_corpus *c, lethe_err *err) {
    if (!json_is_object(c->json)) return bad_line(c, "want an object a line", err);
    lethe_strbuf b = {0};
    lethe_strbuf_adds(&b, "neither ");
    for (const char *name = c->fields; *name; name += strlen(name) + 1)
        lethe_strbuf_addf(&b, "\"%s\" nor ", name);
    lethe_strbuf_adds(&b, "\"messages\" in this object, which has ");
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach(c->json, key, value) {
        if (n++ == 12) {
            lethe_strbuf_adds(&b, ", ...");
            break;
        }
        lethe_strbuf_adds(&b, n > 1 ? ", \"" : "\"");
        add_shown(&b, key, 40);
        lethe_strbuf_adds(&b, "\"");
    }
    lethe_strbuf_adds(&b, n ? " (name the one with the text: --text-field NAME)" : "no fields");
    lethe_status st = bad_line(c, lethe_strbuf_str(&b), err);
    lethe_strbuf_free(&b);
    return st;
}

static lethe_status take_object(lethe_corpus *c, lethe_piece *piece, lethe_err *err) {
    json_t *text = NULL;
    const char *name = c->fields;
    while (*name && !(text = find_field(c->json, name))) name += strlen(name) + 1;
    if (json_is_string(text)) {
        *piece = (lethe_piece){.starts_document = true,
                               .text = json_string_value(text),
                               .len = json_string_length(text)};
        return LETHE_OK;
    }
    if (c->other_fields && json_is_array(text)) return take_messages(c, text, name, piece, err);
    if (text) {
        char why[128];
        snprintf(why, sizeof why, "\"%.80s\" must be a string", name);
        return bad_line(c, why, err);
    }
    json_t *list = json_object_get(c->json, "messages");
    return list ? take_messages(c, list, "messages", piece, err) : no_field(c, err);
}

static lethe_status next_line(lethe_corpus *c, lethe_piece *piece, bool *got, lethe_err *err) {
    size_t blank;
    do {
        LETHE_TRY(read_line(c, got, err));
        if (!*got) return LETHE_OK;
        for (blank = 0; blank < c->len && strchr(" \t\r", c->buf[blank]); blank++) {
        }
    } while (blank == c->len);
    json_decref(c->json);
    json_error_t je;
    c->json = json_loadb(c->buf, c->len, 0, &je);
    return c->json ? take_object(c, piece, err) : not_json(c, je.text, err);
}

/* ---- the stream ----------------------------------------------------------------------------- */

static lethe_status open_next(lethe_corpus *c, lethe_err *err) {
    LETHE_TRY(lethe_corpus_open_file(&c->opener, &c->files.item[c->at], &c->stream, &c->kind, err));
    c->fresh = true;
    c->line = c->offset = 0;
    c->len = c->carried = 0;
    const char *at;
    size_t n;
    LETHE_TRY(lethe_text_stream_peek(c->stream, 3, &at, &n, err));
    if (n < 3 || memcmp(at, "\xef\xbb\xbf", 3) != 0) return LETHE_OK;
    lethe_text_stream_skip(c->stream, 3); /* a byte order mark is no text */
    c->offset = 3;
    return LETHE_OK;
}

lethe_status lethe_corpus_next(lethe_corpus *c, lethe_piece *piece, bool *got, lethe_err *err) {
    for (;;) {
        if (!c->stream) {
            *got = false;
            if (c->at == c->files.n) return LETHE_OK;
            LETHE_TRY(open_next(c, err));
        }
        LETHE_TRY(c->kind == LETHE_CORPUS_LINES ? next_line(c, piece, got, err)
                                                : next_chunk(c, piece, got, err));
        if (*got) return LETHE_OK;
        lethe_text_stream_close(&c->stream);
        c->at++;
    }
}
