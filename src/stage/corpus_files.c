/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fnmatch.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "format/spool.h"
#include "stage/corpus.h"
#include "stage/corpus_parts.h"

#define DEEPEST 16

/* ---- names ---------------------------------------------------------------------------------- */

/* Does name[0, n) end so? */
static bool ends(const char *name, size_t n, const char *end) {
    size_t k = strlen(end);
    return n > k && !memcmp(name + n - k, end, k);
}

static bool ends_in(const char *name, size_t n, const char *const *list) {
    for (; *list; list++)
        if (ends(name, n, *list)) return true;
    return false;
}

static const char *const packed_ends[] = {".gz", ".gzip", ".zst", ".zstd", NULL};
static const char *const lines_ends[] = {".jsonl", ".ndjson", NULL};
static const char *const text_ends[] = {".txt",   ".text",   ".md",   ".raw", ".tokens",
                                        ".jsonl", ".ndjson", ".json", NULL};

/* Length of a name without the ending of a packing: "a.jsonl" of "a.jsonl.gz". */
static size_t unpacked_length(const char *name) {
    size_t n = strlen(name);
    for (const char *const *end = packed_ends; *end; end++)
        if (ends(name, n, *end)) return n - strlen(*end);
    return n;
}

static lethe_corpus_kind kind_of(const char *name) {
    size_t n = unpacked_length(name);
    if (ends_in(name, n, lines_ends)) return LETHE_CORPUS_LINES;
    if (ends(name, n, ".json")) return LETHE_CORPUS_JSON;
    return LETHE_CORPUS_TEXT;
}

/* ---- the list ------------------------------------------------------------------------------- */

static lethe_status add(lethe_corpus_files *f, const char *path, const char *name,
                        lethe_corpus_kind kind, const size_t *member, lethe_err *err) {
    LETHE_TRY(
        lethe_grow(&f->item, &f->cap, f->n, f->n + 1, sizeof *f->item, "the list of files", err));
    lethe_corpus_file new = {.path = lethe_strdup(path),
                             .name = lethe_strdup(name),
                             .in_zip = member != NULL,
                             .member = member ? *member : 0,
                             .kind = kind};
    f->item[f->n++] = new;
    if (!new.path || !new.name)
        return lethe_fail(err, LETHE_NOMEM, "out of memory for the list of files");
    return LETHE_OK;
}

void lethe_corpus_files_free(lethe_corpus_files *f) {
    for (size_t i = 0; i < f->n; i++) {
        lethe_free(f->item[i].path);
        lethe_free(f->item[i].name);
    }
    lethe_free(f->item);
    *f = (lethe_corpus_files){0};
}

/* ---- archives ------------------------------------------------------------------------------- */

/* Members that are taken when only the archive is named: texts by name, no hidden ones. */
static bool is_text_member(const char *name) {
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    if (!*base || *base == '.' || !strncmp(name, "__MACOSX/", 9)) return false;
    return ends_in(base, unpacked_length(base), text_ends);
}

static bool wanted(const char *name, const char *pattern) {
    size_t n = strlen(name);
    if (!n || name[n - 1] == '/') return false;
    if (!pattern) return is_text_member(name);
    return !strcmp(name, pattern) || !fnmatch(pattern, name, 0);
}

typedef struct numbered {
    const char *name;
    size_t i;
} numbered;

static int by_name(const void *a, const void *b) {
    const numbered *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c ? c : (x->i > y->i) - (x->i < y->i);
}

static lethe_status no_member(const lethe_zip *z, const char *pattern, lethe_err *err) {
    lethe_strbuf names = {0};
    size_t n = lethe_zip_count(z), skip = strlen(lethe_zip_path(z)) + 1;
    for (size_t i = 0; i < n && i < 8; i++) {
        char shown[512];
        lethe_zip_show(z, i, shown, sizeof shown);
        if (strlen(shown) > skip)
            lethe_strbuf_addf(&names, "%s\"%.60s\"", names.len ? ", " : "", shown + skip);
    }
    lethe_status st = lethe_fail(
        err, pattern ? LETHE_NOTFOUND : LETHE_FORMAT,
        "%s: no member %s%s%s; it has %s%s (name one: %s/MEMBER, or a pattern in quotes)",
        lethe_zip_path(z), pattern ? "is \"" : "looks like text (.txt, .md, .raw, .jsonl, ...)",
        pattern ? pattern : "", pattern ? "\"" : "", names.len ? lethe_strbuf_str(&names) : "none",
        n > 8 ? ", ..." : "", lethe_zip_path(z));
    lethe_strbuf_free(&names);
    return st;
}

static lethe_status add_members(lethe_corpus_files *f, const lethe_zip *z, const char *pattern,
                                lethe_err *err) {
    numbered *member;
    size_t n = 0;
    LETHE_TRY(
        lethe_alloc(&member, lethe_zip_count(z), sizeof *member, "the members of an archive", err));
    for (size_t i = 0; i < lethe_zip_count(z); i++)
        if (wanted(lethe_zip_name(z, i), pattern))
            member[n++] = (numbered){lethe_zip_name(z, i), i};
    qsort(member, n, sizeof *member, by_name);
    lethe_status st = n ? LETHE_OK : no_member(z, pattern, err);
    for (size_t i = 0; i < n && !st; i++) {
        char shown[512];
        lethe_zip_show(z, member[i].i, shown, sizeof shown);
        st = add(f, lethe_zip_path(z), shown, kind_of(member[i].name), &member[i].i, err);
    }
    lethe_free(member);
    return st;
}

/* pattern: NULL takes all that look like text. */
static lethe_status add_archive(lethe_corpus_files *f, const char *path, const char *pattern,
                                lethe_err *err) {
    lethe_zip *z;
    LETHE_TRY(lethe_zip_open(&z, path, err));
    lethe_status st = add_members(f, z, pattern, err);
    lethe_zip_close(&z);
    return st;
}

/* ---- paths ---------------------------------------------------------------------------------- */

/* "a/b.zip" of "a/b.zip/member", where that is a file; *rest is the member. NULL: no such. Owned.
 */
static char *file_before(const char *path, const char **rest) {
    char *copy = lethe_strdup(path);
    for (char *slash; copy && (slash = strrchr(copy, '/')) && slash != copy;) {
        struct stat sb;
        *slash = '\0';
        if (stat(copy, &sb)) continue;
        *rest = path + (slash - copy) + 1;
        if (S_ISREG(sb.st_mode)) return copy;
        break;
    }
    lethe_free(copy);
    return NULL;
}

static bool has_wildcard(const char *path) {
    return strpbrk(path, "*?[") != NULL;
}

bool lethe_corpus_is_compound(const char *path) {
    if (lethe_path_exists(path)) return false;
    const char *rest;
    char *file = file_before(path, &rest);
    bool is = file || has_wildcard(path);
    lethe_free(file);
    return is;
}

static lethe_status add_path(lethe_corpus_files *f, const char *path, int depth, lethe_err *err);

static int visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}

/* Bytes decide, not the locale: the order of files is part of the result. */
static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static lethe_status add_folder(lethe_corpus_files *f, const char *path, int depth, lethe_err *err) {
    if (depth > DEEPEST) return lethe_fail(err, LETHE_FORMAT, "%s: folders nested too deep", path);
    struct dirent **entry;
    int n = scandir(path, &entry, visible, by_bytes);
    if (n < 0) return lethe_fail_errno(err, LETHE_IO, "%s: cannot list the folder", path);
    lethe_status st = LETHE_OK;
    for (int i = 0; i < n; i++) {
        if (!st) {
            char *child = lethe_path_join(path, entry[i]->d_name);
            st = child ? add_path(f, child, depth + 1, err)
                       : lethe_fail(err, LETHE_NOMEM, "out of memory for the list of files");
            lethe_free(child);
        }
        free(entry[i]);
    }
    free(entry);
    return st;
}

static lethe_status add_file(lethe_corpus_files *f, const char *path, lethe_err *err) {
    if (!strcmp(path, "-")) return add(f, path, "standard input", LETHE_CORPUS_ASK, NULL, err);
    lethe_corpus_kind kind = kind_of(path);
    if (lethe_spool_wants(path)) /* a pipe; its name says little, unless it does */
        return add(f, path, path, kind == LETHE_CORPUS_TEXT ? LETHE_CORPUS_ASK : kind, NULL, err);
    bool is_zip;
    LETHE_TRY(lethe_text_look(path, &is_zip, err));
    return is_zip ? add_archive(f, path, NULL, err) : add(f, path, path, kind, NULL, err);
}

static int by_word(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static lethe_status add_matches(lethe_corpus_files *f, const char *pattern, lethe_err *err) {
    glob_t g;
    switch (glob(pattern, GLOB_NOSORT | GLOB_ERR, NULL, &g)) {
    case 0: break;
    case GLOB_NOMATCH:
        return lethe_fail(err, LETHE_NOTFOUND, "%s: no file matches this pattern", pattern);
    case GLOB_NOSPACE: return lethe_fail(err, LETHE_NOMEM, "out of memory for the list of files");
    default: return lethe_fail_errno(err, LETHE_IO, "%s: a folder cannot be listed", pattern);
    }
    qsort(g.gl_pathv, g.gl_pathc, sizeof *g.gl_pathv, by_word);
    lethe_status st = LETHE_OK;
    for (size_t i = 0; i < g.gl_pathc && !st; i++) st = add_path(f, g.gl_pathv[i], 1, err);
    globfree(&g);
    return st;
}

static lethe_status add_path(lethe_corpus_files *f, const char *path, int depth, lethe_err *err) {
    if (lethe_path_is_dir(path)) return add_folder(f, path, depth, err);
    if (!strcmp(path, "-") || lethe_path_exists(path)) return add_file(f, path, err);
    const char *rest;
    char *archive = file_before(path, &rest);
    if (archive) {
        lethe_status st = add_archive(f, archive, rest, err);
        lethe_free(archive);
        return st;
    }
    if (has_wildcard(path)) return add_matches(f, path, err);
    return lethe_fail(err, LETHE_NOTFOUND, "%s: no such file or folder", path);
}

lethe_status lethe_corpus_files_add(lethe_corpus_files *f, const char *path, lethe_err *err) {
    return add_path(f, path, 0, err);
}

/* ---- opening -------------------------------------------------------------------------------- */

static size_t skip_blank(const char *text, size_t at, size_t n) {
    while (at < n && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n'))
        at++;
    return at;
}

/* Where it begins, behind a byte order mark and blanks. */
static size_t beginning(const char *text, size_t n) {
    return skip_blank(text, n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0, n);
}

/* Is the beginning of a file that of JSON lines: an object, whole in its line? A line that is
 * longer than what can be looked at counts if it begins as an object does. */
static bool looks_like_lines(const char *text, size_t n, bool whole) {
    size_t at = beginning(text, n);
    if (at == n || text[at] != '{') return false;
    const char *end = memchr(text + at, '\n', n - at);
    if (!end && !whole) {
        at = skip_blank(text, at + 1, n);
        return at < n && text[at] == '"';
    }
    json_t *j = json_loadb(text + at, (end ? (size_t)(end - text) : n) - at, 0, NULL);
    bool is = json_is_object(j);
    json_decref(j);
    return is;
}

static bool looks_like_json(const char *text, size_t n) {
    size_t at = beginning(text, n);
    return at < n && (text[at] == '[' || text[at] == '{');
}

static lethe_status settle_kind(const lethe_corpus_file *f, lethe_text_stream *s,
                                lethe_corpus_kind *kind, lethe_err *err) {
    *kind = f->kind;
    if (f->kind == LETHE_CORPUS_TEXT || f->kind == LETHE_CORPUS_LINES) return LETHE_OK;
    const char *text;
    size_t n;
    LETHE_TRY(lethe_text_stream_peek(s, LETHE_TEXT_STREAM_PEEK, &text, &n, err));
    bool lines = looks_like_lines(text, n, n < LETHE_TEXT_STREAM_PEEK);
    *kind = lines ? LETHE_CORPUS_LINES : LETHE_CORPUS_TEXT;
    if (f->kind == LETHE_CORPUS_JSON && !lines && looks_like_json(text, n))
        return lethe_fail(
            err, LETHE_FORMAT,
            "%s: one JSON document; want JSON lines, an object a line (convert it: jq "
            "-c '.[]' FILE > OUT.jsonl)",
            f->name);
    return LETHE_OK;
}

lethe_status lethe_corpus_open_file(lethe_corpus_opener *o, const lethe_corpus_file *f,
                                    lethe_text_stream **out, lethe_corpus_kind *kind,
                                    lethe_err *err) {
    if (f->in_zip) {
        if (o->zip && strcmp(lethe_zip_path(o->zip), f->path) != 0) lethe_zip_close(&o->zip);
        if (!o->zip) LETHE_TRY(lethe_zip_open(&o->zip, f->path, err));
        LETHE_TRY(lethe_text_stream_open_member(out, o->zip, f->member, f->name, err));
    } else {
        LETHE_TRY(lethe_text_stream_open(out, f->path, f->name, err));
    }
    lethe_status st = settle_kind(f, *out, kind, err);
    if (st) lethe_text_stream_close(out);
    return st;
}

void lethe_corpus_opener_close(lethe_corpus_opener *o) {
    lethe_zip_close(&o->zip);
}
