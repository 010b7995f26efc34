/* SPDX-License-Identifier: MIT */
#include "stage/corpus.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/utf8.h"

#define CHUNK (64u << 10)
#define LINE_MAX_BYTES (64u << 20) /* a JSON line longer than this is taken for a mistake */

struct lethe_corpus {
    char **path;
    size_t n_paths, cap;
    char name[256];

    size_t at; /* file being read */
    FILE *fp;
    bool is_lines, fresh; /* fresh: nothing of this text file handed out yet */
    uint64_t line, offset;

    char *buf; /* a chunk of text, or a line; a carried rest at its start */
    size_t len, carried, buf_cap;
    json_t *json; /* the current line; owns the message texts */
    lethe_chat_message *message;
    size_t message_cap;
};

/* ---- the list of files ---------------------------------------------------------------------- */

static lethe_status add_file(lethe_corpus *c, const char *path, lethe_err *err) {
    LETHE_TRY(lethe_grow(&c->path, &c->cap, c->n_paths, c->n_paths + 1, sizeof *c->path,
                         "the list of files", err));
    char *copy = lethe_strdup(path);
    if (!copy) return lethe_fail(err, LETHE_NOMEM, "out of memory for the list of files");
    c->path[c->n_paths++] = copy;
    return LETHE_OK;
}

static int visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}

static lethe_status add_path(lethe_corpus *c, const char *path, int depth, lethe_err *err) {
    if (!lethe_path_exists(path))
        return lethe_fail(err, LETHE_NOTFOUND, "%s: no such file or folder", path);
    if (!lethe_path_is_dir(path)) return add_file(c, path, err);
    if (depth > 16) return lethe_fail(err, LETHE_FORMAT, "%s: folders nested too deep", path);
    struct dirent **entry;
    int n = scandir(path, &entry, visible, alphasort);
    if (n < 0) return lethe_fail_errno(err, LETHE_IO, "%s: cannot list the folder", path);
    lethe_status st = LETHE_OK;
    for (int i = 0; i < n; i++) {
        if (!st) {
            char *child = lethe_path_join(path, entry[i]->d_name);
            st = child ? add_path(c, child, depth + 1, err)
                       : lethe_fail(err, LETHE_NOMEM, "out of memory for the list of files");
            lethe_free(child);
        }
        free(entry[i]);
    }
    free(entry);
    return st;
}

static bool is_lines(const char *path) {
    return lethe_path_ends_with(path, ".jsonl") || lethe_path_ends_with(path, ".ndjson");
}

lethe_status lethe_corpus_open(lethe_corpus **out, const char *const *paths, size_t n,
                               lethe_err *err) {
    lethe_corpus *c;
    LETHE_TRY(lethe_zalloc(&c, 1, sizeof *c, "a corpus", err));
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < n && !st; i++) st = add_path(c, paths[i], 0, err);
    if (!st && !c->n_paths)
        st = lethe_fail(err, LETHE_FORMAT, "%s: no files in it", n ? paths[0] : "(no text given)");
    if (st) {
        lethe_corpus_close(&c);
        return st;
    }
    if (c->n_paths == 1)
        snprintf(c->name, sizeof c->name, "%s", c->path[0]);
    else
        snprintf(c->name, sizeof c->name, "%.200s and %zu more", c->path[0], c->n_paths - 1);
    *out = c;
    return LETHE_OK;
}

static void close_file(lethe_corpus *c) {
    if (c->fp) fclose(c->fp);
    c->fp = NULL;
}

void lethe_corpus_rewind(lethe_corpus *c) {
    close_file(c);
    c->at = 0;
    c->len = c->carried = 0;
}

void lethe_corpus_close(lethe_corpus **cp) {
    lethe_corpus *c = *cp;
    if (!c) return;
    close_file(c);
    for (size_t i = 0; i < c->n_paths; i++) lethe_free(c->path[i]);
    lethe_free(c->path);
    lethe_free(c->buf);
    lethe_free(c->message);
    json_decref(c->json);
    lethe_free(c);
    *cp = NULL;
}

const char *lethe_corpus_name(const lethe_corpus *c) {
    return c->name;
}

lethe_status lethe_corpus_hash(const lethe_corpus *c, char out[33], lethe_err *err) {
    lethe_hasher *h;
    LETHE_TRY(lethe_hasher_open(&h, err));
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < c->n_paths && !st; i++) {
        lethe_map m;
        st = lethe_map_open(&m, c->path[i], err);
        if (st) break;
        unsigned char lines = is_lines(c->path[i]); /* the same bytes read in another way */
        lethe_hasher_put(h, &lines, 1);
        uint64_t size = m.size; /* so that a byte cannot move from one file to the next unseen */
        lethe_hasher_put(h, &size, sizeof size);
        lethe_hasher_put(h, m.data, m.size);
        lethe_map_close(&m);
    }
    if (!st) lethe_hasher_hex(h, out);
    lethe_hasher_close(&h);
    return st;
}

/* ---- text files ----------------------------------------------------------------------------- */

static lethe_status not_utf8(const lethe_corpus *c, uint64_t byte, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: not UTF-8 text at byte %llu (convert it, for example with: iconv -f "
                      "latin1 -t utf8)",
                      c->path[c->at], (unsigned long long)byte);
}

/* How much of buf[0, len) to hand out: up to the last line end, or, without one, the last whole
 * code point; all of it at the end of the file. */
static size_t cut_chunk(const char *buf, size_t len, bool eof) {
    if (eof) return len;
    for (size_t i = len; i > 0; i--)
        if (buf[i - 1] == '\n') return i;
    size_t i = len;
    while (i > 0 && len - i < 4 && ((unsigned char)buf[i - 1] & 0xc0) == 0x80) i--;
    return i > 0 && (unsigned char)buf[i - 1] >= 0x80 ? i - 1 : len;
}

static lethe_status next_chunk(lethe_corpus *c, lethe_piece *piece, bool *got, lethe_err *err) {
    LETHE_TRY(lethe_grow(&c->buf, &c->buf_cap, 0, CHUNK, 1, "a piece of text", err));
    memmove(c->buf, c->buf + c->len, c->carried);
    size_t n = c->carried + fread(c->buf + c->carried, 1, CHUNK - c->carried, c->fp);
    if (ferror(c->fp)) return lethe_fail_errno(err, LETHE_IO, "%s: reading failed", c->path[c->at]);
    *got = n > 0;
    c->len = cut_chunk(c->buf, n, n < CHUNK);
    c->carried = n - c->len;
    size_t good = lethe_utf8_valid_prefix(c->buf, c->len);
    if (good != c->len || memchr(c->buf, '\0', c->len)) {
        const char *zero = memchr(c->buf, '\0', good);
        return not_utf8(c, c->offset + (zero ? (size_t)(zero - c->buf) : good), err);
    }
    c->offset += c->len;
    *piece = (lethe_piece){.starts_document = c->fresh, .text = c->buf, .len = c->len};
    c->fresh = false;
    return LETHE_OK;
}

/* ---- JSON lines ----------------------------------------------------------------------------- */

/* Reads one line without its end into buf; *got = false at the end of the file. */
static lethe_status read_line(lethe_corpus *c, bool *got, lethe_err *err) {
    c->len = 0;
    int ch = EOF;
    while ((ch = getc_unlocked(c->fp)) != EOF && ch != '\n') {
        if (c->len == LINE_MAX_BYTES)
            return lethe_fail(err, LETHE_FORMAT,
                              "%s:%llu: line longer than %u MiB (is this JSON "
                              "lines, one document a line?)",
                              c->path[c->at], (unsigned long long)c->line + 1,
                              LINE_MAX_BYTES >> 20);
        LETHE_TRY(lethe_grow(&c->buf, &c->buf_cap, c->len, c->len + 1, 1, "a line of text", err));
        c->buf[c->len++] = (char)ch;
    }
    if (ferror(c->fp)) return lethe_fail_errno(err, LETHE_IO, "%s: reading failed", c->path[c->at]);
    *got = ch != EOF || c->len > 0;
    c->line++;
    return LETHE_OK;
}

static lethe_status bad_line(const lethe_corpus *c, const char *why, lethe_err *err) {
    return lethe_fail(err, LETHE_FORMAT, "%s:%llu: %s", c->path[c->at], (unsigned long long)c->line,
                      why);
}

static lethe_status take_messages(lethe_corpus *c, json_t *list, lethe_piece *piece,
                                  lethe_err *err) {
    size_t n = json_array_size(list);
    if (!n) return bad_line(c, "\"messages\" must be a list of {\"role\", \"content\"}", err);
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
    if (!c->json) return bad_line(c, je.text, err);
    json_t *text = json_object_get(c->json, "text"), *list = json_object_get(c->json, "messages");
    if (json_is_string(text)) {
        *piece = (lethe_piece){.starts_document = true,
                               .text = json_string_value(text),
                               .len = json_string_length(text)};
        return LETHE_OK;
    }
    if (text) return bad_line(c, "\"text\" must be a string", err);
    if (!list) return bad_line(c, "neither \"text\" nor \"messages\" in this object", err);
    return take_messages(c, list, piece, err);
}

/* ---- the stream ----------------------------------------------------------------------------- */

lethe_status lethe_corpus_next(lethe_corpus *c, lethe_piece *piece, bool *got, lethe_err *err) {
    for (;;) {
        if (!c->fp) {
            *got = false;
            if (c->at == c->n_paths) return LETHE_OK;
            const char *path = c->path[c->at];
            c->fp = fopen(path, "rb");
            if (!c->fp) return lethe_fail_errno(err, LETHE_IO, "%s: cannot open", path);
            c->is_lines = is_lines(path);
            c->fresh = true;
            c->line = c->offset = 0;
            c->len = c->carried = 0;
        }
        LETHE_TRY(c->is_lines ? next_line(c, piece, got, err) : next_chunk(c, piece, got, err));
        if (*got) return LETHE_OK;
        close_file(c);
        c->at++;
    }
}
