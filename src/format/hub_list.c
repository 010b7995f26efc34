/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "format/hub_internal.h"
#include "format/jsonio.h"
#include "format/url.h"

#define FILES_MOST 500000
#define PAGES_MOST 2000
#define SIZE_MOST ((int64_t)1 << 46)

void lethe_hub_listing_free(lethe_hub_listing *l) {
    for (size_t i = 0; i < l->n; i++) lethe_free(l->file[i].path);
    lethe_free(l->file);
    *l = (lethe_hub_listing){0};
}

/* One entry: {"type": "file", "path": .., "size": .., "oid": git's, "lfs": {"oid": SHA-256,
 * "size"}}
 */
static lethe_status read_entry(lethe_hub_listing *l, const lethe_json_ref *e, lethe_err *err) {
    const char *type, *path, *oid;
    int64_t size;
    lethe_json_ref r = lethe_json_key(e, "type");
    LETHE_TRY(lethe_json_want_string(&r, &type, err));
    if (strcmp(type, "file") != 0) return LETHE_OK; /* folders */
    r = lethe_json_key(e, "path");
    LETHE_TRY(lethe_json_want_string(&r, &path, err));
    if (!lethe_hub_path_fine(path))
        return lethe_json_fail(&r, err, "a name that stays inside the repository");
    lethe_json_ref lfs = lethe_json_key(e, "lfs");
    bool large = json_is_object(lfs.value);
    const lethe_json_ref *from = large ? &lfs : e;
    r = lethe_json_key(from, "size");
    LETHE_TRY(lethe_json_want_int(&r, 0, SIZE_MOST, &size, err));
    r = lethe_json_key(from, "oid");
    LETHE_TRY(lethe_json_want_string(&r, &oid, err));
    if (large && !strncmp(oid, "sha256:", 7)) oid += 7;
    if (!lethe_hub_is_hex(oid, large ? 64 : 40))
        return lethe_json_fail(&r, err, "%d hex digits", large ? 64 : 40);
    if (l->n >= FILES_MOST)
        return lethe_fail(err, LETHE_FORMAT, "%s: more than %d files", e->file, FILES_MOST);
    LETHE_TRY(
        lethe_grow(&l->file, &l->cap, l->n, l->n + 1, sizeof *l->file, "a list of files", err));
    lethe_hub_file *f = &l->file[l->n];
    *f = (lethe_hub_file){.path = lethe_strdup(path), .size = (uint64_t)size};
    if (!f->path) return lethe_fail(err, LETHE_NOMEM, "out of memory: a list of files");
    snprintf(f->oid, sizeof f->oid, "%s", oid);
    l->n++;
    return LETHE_OK;
}

static lethe_status parse(const char *body, const char *what, json_t **out, lethe_err *err) {
    json_error_t e;
    *out = json_loads(body, JSON_REJECT_DUPLICATES, &e);
    if (*out) return LETHE_OK;
    char text[160];
    lethe_hub_plain(e.text, text, sizeof text);
    return lethe_fail(err, LETHE_FORMAT, "%s: the server's answer is no JSON: %s", what, text);
}

lethe_status lethe_hub_read_tree(lethe_hub_listing *l, const char *body, const char *what,
                                 lethe_err *err) {
    json_t *o;
    size_t n;
    LETHE_TRY(parse(body, what, &o, err));
    lethe_json_ref top = lethe_json_top(o, what);
    lethe_status st = lethe_json_want_list(&top, &n, err);
    for (size_t i = 0; !st && i < n; i++) {
        lethe_json_ref e = lethe_json_item(&top, i);
        st = lethe_json_want_object(&e, err);
        if (!st) st = read_entry(l, &e, err);
    }
    json_decref(o);
    return st;
}

/* Link: <https://..>; rel="next", <..>; rel="last" */
void lethe_hub_next_page(const char *headers, char *next, size_t size) {
    char line[8192];
    next[0] = '\0';
    if (!lethe_http_header(headers, "Link", line, sizeof line)) return;
    for (const char *p = line; (p = strchr(p, '<'));) {
        const char *end = strchr(++p, '>');
        if (!end) return;
        size_t rest = strcspn(end, "<");
        for (const char *q = end; (q = strstr(q, "rel=")) && q < end + rest; q++)
            if (!strncasecmp(q, "rel=\"next\"", 10) || !strncasecmp(q, "rel=next", 8)) {
                if ((size_t)(end - p) < size) snprintf(next, size, "%.*s", (int)(end - p), p);
                return;
            }
        p = end + rest;
    }
}

static lethe_status get(lethe_hub *h, const char *url, const char *what, lethe_http_response *r,
                        lethe_err *err) {
    return lethe_hub_ask(h, "GET", url, NULL, NULL, 0, what, NULL, r, err);
}

static lethe_status find_commit(lethe_hub *h, const lethe_hub_repo *repo, char commit[41],
                                lethe_err *err) {
    lethe_strbuf url = {0};
    lethe_http_response r;
    json_t *o = NULL;
    const char *sha = NULL;
    lethe_strbuf_adds(&url, "/api/");
    lethe_hub_add_api(&url, repo);
    lethe_strbuf_adds(&url, "/revision/");
    for (const char *p = repo->revision; *p; p++) /* a slash in a branch's name is one part */
        if (*p == '/')
            lethe_strbuf_adds(&url, "%2F");
        else
            lethe_url_add(&url, (char[2]){*p, '\0'});
    lethe_status st = url.status ? lethe_fail(err, LETHE_NOMEM, "out of memory: an address")
                                 : get(h, lethe_strbuf_str(&url), repo->name, &r, err);
    lethe_strbuf_free(&url);
    LETHE_TRY(st);
    st = parse(r.body, repo->name, &o, err);
    lethe_http_response_free(&r);
    LETHE_TRY(st);
    lethe_json_ref top = lethe_json_top(o, repo->name), s = lethe_json_key(&top, "sha");
    st = lethe_json_want_string(&s, &sha, err);
    if (!st && !lethe_hub_is_hex(sha, 40)) st = lethe_json_fail(&s, err, "a commit");
    if (!st) memcpy(commit, sha, 41);
    json_decref(o);
    return st;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const lethe_hub_file *)a)->path, ((const lethe_hub_file *)b)->path);
}

lethe_status lethe_hub_list(lethe_hub *h, const lethe_hub_repo *repo, lethe_hub_listing *out,
                            lethe_err *err) {
    lethe_hub_listing l = {0};
    lethe_strbuf url = {0};
    char next[4096];
    LETHE_TRY(find_commit(h, repo, l.commit, err));
    lethe_strbuf_adds(&url, "/api/");
    lethe_hub_add_api(&url, repo);
    lethe_strbuf_addf(&url, "/tree/%s?recursive=true&expand=false", l.commit);
    lethe_status st =
        url.status ? lethe_fail(err, LETHE_NOMEM, "out of memory: an address") : LETHE_OK;
    for (int page = 0; !st; page++) {
        lethe_http_response r;
        st = get(h, page ? next : lethe_strbuf_str(&url), repo->name, &r, err);
        if (st) break;
        st = lethe_hub_read_tree(&l, r.body, repo->name, err);
        lethe_hub_next_page(r.headers, next, sizeof next);
        lethe_http_response_free(&r);
        if (!next[0]) break;
        if (!st && page >= PAGES_MOST)
            st = lethe_fail(err, LETHE_FORMAT, "%s: the list of files has no end", repo->name);
    }
    lethe_strbuf_free(&url);
    if (st) {
        lethe_hub_listing_free(&l);
        return st;
    }
    if (l.n) qsort(l.file, l.n, sizeof *l.file, by_path);
    *out = l;
    return LETHE_OK;
}
