/* SPDX-License-Identifier: MIT
 *
 * In the order that the Hub wants: the repository, which files are to be large ones ("preupload"),
 * the addresses to send those to (git's LFS batch API, in one piece or in parts), their bytes, and
 * the commit, lines of JSON with the small files inside and the large ones by checksum.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/hub_internal.h"
#include "format/jsonio.h"
#include "format/url.h"

#define SAMPLE 512                       /* first bytes, by which the Hub tells text from data */
#define SMALL_MOST ((uint64_t)100 << 20) /* of a file that goes into the commit itself */
#define HEADERS_MOST 16
#define PARTS_MOST 10000
#define LFS_TYPE "application/vnd.git-lfs+json"

typedef enum mode { SMALL, LARGE, IGNORED } mode;

typedef struct push {
    lethe_hub *h;
    const lethe_hub_repo *repo;
    const lethe_hub_upload *file;
    size_t n;
    mode *mode; /* [n] */
    lethe_hub_pushed *out;
    uint64_t total, done, sent; /* bytes of large files; of those, of files before; of this one */
    uint64_t part;              /* of this one, before the part that is sent */
    const char *now;
} push;

/* ---- files ----------------------------------------------------------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void lethe_hub_base64(lethe_strbuf *b, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i += 3) {
        size_t k = n - i < 3 ? n - i : 3;
        unsigned v = (unsigned)p[i] << 16;
        if (k > 1) v |= (unsigned)p[i + 1] << 8;
        if (k > 2) v |= p[i + 2];
        char out[4] = {digits[v >> 18], digits[v >> 12 & 63], k > 1 ? digits[v >> 6 & 63] : '=',
                       k > 2 ? digits[v & 63] : '='};
        lethe_strbuf_add(b, out, 4);
    }
}

static lethe_status digest_file(lethe_hub_upload *f, lethe_err *err) {
    lethe_map m;
    lethe_digest *d;
    LETHE_TRY(lethe_map_open(&m, f->path, err));
    lethe_status st = lethe_digest_open(&d, LETHE_DIGEST_SHA256, err);
    if (!st) {
        const size_t step = (size_t)64 << 20;
        for (size_t at = 0; !st && at < m.size; at += step) {
            lethe_digest_put(d, m.data + at, m.size - at < step ? m.size - at : step);
            if (lethe_stop_requested()) st = lethe_fail(err, LETHE_STOPPED, "stopped");
        }
        if (!st) st = lethe_digest_hex(d, f->sha256, err);
        lethe_digest_close(&d);
    }
    f->size = m.size;
    lethe_map_close(&m);
    return st;
}

lethe_status lethe_hub_digest_uploads(lethe_hub_upload *file, size_t n, lethe_err *err) {
    for (size_t i = 0; i < n; i++)
        LETHE_TRY(file[i].path ? digest_file(&file[i], err)
                               : lethe_digest_bytes(LETHE_DIGEST_SHA256, file[i].data,
                                                    (size_t)file[i].size, file[i].sha256, err));
    return LETHE_OK;
}

/* The first `most` bytes of a file. */
static lethe_status add_bytes(lethe_strbuf *b, const lethe_hub_upload *f, uint64_t most,
                              lethe_err *err) {
    if (!f->path) {
        lethe_hub_base64(b, f->data, (size_t)(f->size < most ? f->size : most));
        return LETHE_OK;
    }
    lethe_map m;
    LETHE_TRY(lethe_map_open(&m, f->path, err));
    lethe_status st = LETHE_OK;
    if (m.size != f->size)
        st = lethe_fail(err, LETHE_MISMATCH, "%s: changed while it was pushed", f->path);
    else
        lethe_hub_base64(b, m.data, m.size < most ? m.size : (size_t)most);
    lethe_map_close(&m);
    return st;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* A POST of JSON (moved), and its answer as JSON. accept: as lethe_hub_ask; of those statuses *out
 * is NULL. */
static lethe_status post(push *p, const char *url, const char *type, json_t *body,
                         const long *accept, json_t **out, lethe_err *err) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    lethe_http_response r;
    json_decref(body);
    *out = NULL;
    if (!text) return lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    lethe_status st =
        lethe_hub_ask(p->h, "POST", url, type, text, strlen(text), p->repo->name, accept, &r, err);
    free(text);
    LETHE_TRY(st);
    if (r.status >= 200 && r.status < 300) {
        *out = json_loads(r.body, 0, NULL);
        if (!*out && r.len)
            st = lethe_fail(err, LETHE_FORMAT, "%s: the server's answer is no JSON", p->repo->name);
        if (!*out && !st) *out = json_object();
    }
    lethe_http_response_free(&r);
    return st;
}

static lethe_status api(push *p, lethe_strbuf *b, const char *what, lethe_err *err) {
    lethe_strbuf_adds(b, "/api/");
    lethe_hub_add_api(b, p->repo);
    lethe_strbuf_addf(b, "/%s/", what);
    for (const char *c = p->repo->revision; *c; c++)
        if (*c == '/')
            lethe_strbuf_adds(b, "%2F");
        else
            lethe_url_add(b, (char[2]){*c, '\0'});
    return b->status ? lethe_fail(err, LETHE_NOMEM, "out of memory: an address") : LETHE_OK;
}

static lethe_status create(push *p, bool private_, lethe_err *err) {
    static const long there[] = {409, 0};
    const char *slash = strchr(p->repo->name, '/');
    json_t *o = json_object(), *answer;
    bool ok = true;
    lethe_json_put(o, "type", json_string(p->repo->dataset ? "dataset" : "model"), &ok);
    lethe_json_put(o, "name", json_string(slash + 1), &ok);
    lethe_json_put(o, "organization", json_stringn(p->repo->name, (size_t)(slash - p->repo->name)),
                   &ok);
    lethe_json_put(o, "private", json_boolean(private_), &ok);
    if (!ok) {
        json_decref(o);
        return lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    }
    LETHE_TRY(post(p, "/api/repos/create", "application/json", o, there, &answer, err));
    if (!answer && private_)
        lethe_log(p->h->env, LETHE_LOG_WARN,
                  "%s was there already; --private does not change who may see it", p->repo->name);
    json_decref(answer);
    return LETHE_OK;
}

/* ---- which are large ------------------------------------------------------------------------- */

static lethe_status read_modes(push *p, json_t *answer, lethe_err *err) {
    lethe_json_ref top = lethe_json_top(answer, p->repo->name),
                   files = lethe_json_key(&top, "files");
    size_t n;
    LETHE_TRY(lethe_json_want_list(&files, &n, err));
    for (size_t i = 0; i < p->n; i++) {
        bool found = false;
        for (size_t k = 0; k < n && !found; k++) {
            lethe_json_ref f = lethe_json_item(&files, k), path = lethe_json_key(&f, "path"),
                           m = lethe_json_key(&f, "uploadMode"),
                           ignore = lethe_json_key(&f, "shouldIgnore");
            const char *s, *is;
            LETHE_TRY(lethe_json_want_string(&path, &s, err));
            if (strcmp(s, p->file[i].name) != 0) continue;
            LETHE_TRY(lethe_json_want_string(&m, &is, err));
            if (strcmp(is, "lfs") != 0 && strcmp(is, "regular") != 0)
                return lethe_json_fail(&m, err, "lfs or regular");
            p->mode[i] = json_is_true(ignore.value)              ? IGNORED
                         : p->file[i].size && !strcmp(is, "lfs") ? LARGE
                                                                 : SMALL;
            found = true;
        }
        if (!found)
            return lethe_fail(err, LETHE_FORMAT, "%s: the server does not say how to send %s",
                              p->repo->name, p->file[i].name);
        if (p->mode[i] == SMALL && p->file[i].size > SMALL_MOST)
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: the server wants %s, of %llu bytes, inside the commit",
                              p->repo->name, p->file[i].name, (unsigned long long)p->file[i].size);
        if (p->mode[i] == IGNORED) {
            p->out->ignored++;
            lethe_log(p->h->env, LETHE_LOG_WARN, "%s: the repository's rules leave it out",
                      p->file[i].name);
        }
    }
    return LETHE_OK;
}

static lethe_status preupload(push *p, lethe_err *err) {
    json_t *o = json_object(), *list = json_array(), *answer = NULL;
    lethe_strbuf url = {0};
    bool ok = true;
    lethe_status st = LETHE_OK;
    for (size_t i = 0; !st && i < p->n; i++) {
        const lethe_hub_upload *f = &p->file[i];
        lethe_strbuf sample = {0};
        json_t *e = json_object();
        st = add_bytes(&sample, f, SAMPLE, err);
        lethe_json_put(e, "path", json_string(f->name), &ok);
        lethe_json_put(e, "size", json_integer((json_int_t)f->size), &ok);
        lethe_json_put(e, "sample", json_string(lethe_strbuf_str(&sample)), &ok);
        lethe_json_put(e, "sha", json_string(f->sha256), &ok);
        lethe_json_append(list, e, &ok);
        lethe_strbuf_free(&sample);
    }
    lethe_json_put(o, "files", list, &ok);
    if (!st && !ok) st = lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    if (!st) st = api(p, &url, "preupload", err);
    if (st)
        json_decref(o);
    else
        st = post(p, lethe_strbuf_str(&url), "application/json", o, NULL, &answer, err);
    lethe_strbuf_free(&url);
    if (!st) st = read_modes(p, answer, err);
    json_decref(answer);
    return st;
}

/* ---- large files ----------------------------------------------------------------------------- */

static void tick(void *user) {
    push *p = user;
    lethe_report_progress(p->h->env,
                          &(lethe_progress){.stage = "push",
                                            .done = (double)(p->done + p->part + p->sent) / 1e6,
                                            .total = (double)p->total / 1e6,
                                            .unit = "MB",
                                            .detail = p->now});
}

/* PUTs `length` bytes of the file from `offset`. etag [size] of the answer, where it is wanted. */
static lethe_status put(push *p, const lethe_hub_upload *f, int fd, const char *href,
                        const char *const *headers, size_t n_headers, uint64_t offset,
                        uint64_t length, char *etag, size_t size, lethe_err *err) {
    char *url;
    bool same;
    lethe_http_response r;
    LETHE_TRY(lethe_url_resolve(p->h->o.endpoint, href, &url, &same, err));
    lethe_http_request q = {.method = "PUT",
                            .url = url,
                            .headers = headers,
                            .n_headers = n_headers,
                            .idle = p->h->o.idle};
    if (f->path) {
        q.from_file = true;
        q.fd = fd;
        q.offset = offset;
        q.length = length;
        q.sent = &p->sent;
    } else {
        q.body = f->data + offset;
        q.len = (size_t)length;
    }
    p->sent = 0;
    lethe_status st = lethe_hub_ask_raw(p->h, &q, f->name, NULL, &r, err);
    lethe_free(url);
    LETHE_TRY(st);
    if (etag) lethe_http_header(r.headers, "ETag", etag, size);
    if (etag && !etag[0])
        st = lethe_fail(err, LETHE_FORMAT, "%s: the server does not say what it got of a part",
                        f->name);
    lethe_http_response_free(&r);
    p->sent = 0;
    return st;
}

/* "Name: value" of the action's headers that are meant for the request. */
static lethe_status action_headers(json_t *header, char **line, size_t *n, lethe_err *err) {
    const char *key;
    json_t *v;
    *n = 0;
    json_object_foreach(header, key, v) {
        const char *s = json_string_value(v);
        if (!s || !strcmp(key, "chunk_size") || isdigit((unsigned char)key[0])) continue;
        if (*n == HEADERS_MOST || strpbrk(key, "\r\n: ") || strpbrk(s, "\r\n"))
            return lethe_fail(err, LETHE_FORMAT, "the server asks for headers that cannot be sent");
        lethe_strbuf b = {0};
        lethe_strbuf_addf(&b, "%s: %s", key, s);
        line[*n] = b.status ? NULL : lethe_strdup(lethe_strbuf_str(&b));
        lethe_strbuf_free(&b);
        if (!line[*n]) return lethe_fail(err, LETHE_NOMEM, "out of memory: a header");
        ++*n;
    }
    return LETHE_OK;
}

static lethe_status in_one(push *p, const lethe_hub_upload *f, int fd, const char *href,
                           json_t *header, lethe_err *err) {
    char *line[HEADERS_MOST] = {0};
    size_t n;
    lethe_status st = action_headers(header, line, &n, err);
    if (!st) st = put(p, f, fd, href, (const char *const *)line, n, 0, f->size, NULL, 0, err);
    for (size_t i = 0; i < HEADERS_MOST; i++) lethe_free(line[i]);
    return st;
}

/* The address of part k (from 1): the header whose name is that number. */
static const char *part_address(json_t *header, size_t k) {
    const char *key;
    json_t *v;
    json_object_foreach(header, key, v) {
        char *end;
        unsigned long long number = strtoull(key, &end, 10);
        if (isdigit((unsigned char)key[0]) && !*end && number == k) return json_string_value(v);
    }
    return NULL;
}

static lethe_status in_parts(push *p, const lethe_hub_upload *f, int fd, const char *href,
                             json_t *header, lethe_err *err) {
    const char *text = json_string_value(json_object_get(header, "chunk_size"));
    unsigned long long size = text ? strtoull(text, NULL, 10) : 0;
    if (size < 1 || (f->size + size - 1) / size > PARTS_MOST)
        return lethe_fail(err, LETHE_FORMAT, "%s: the server wants parts of \"%.20s\" bytes",
                          f->name, text ? text : "?");
    json_t *o = json_object(), *list = json_array(), *answer = NULL;
    bool ok = true;
    lethe_status st = LETHE_OK;
    lethe_json_put(o, "oid", json_string(f->sha256), &ok);
    p->part = 0;
    for (size_t k = 1; !st && p->part < f->size; k++) {
        uint64_t left = f->size - p->part, n = left < size ? left : size;
        char etag[256];
        const char *at = part_address(header, k);
        st = at ? put(p, f, fd, at, NULL, 0, p->part, n, etag, sizeof etag, err)
                : lethe_fail(err, LETHE_FORMAT, "%s: the server has no address for part %zu",
                             f->name, k);
        json_t *e = json_object();
        lethe_json_put(e, "partNumber", json_integer((json_int_t)k), &ok);
        lethe_json_put(e, "etag", st ? json_null() : lethe_json_text(etag, strlen(etag)), &ok);
        lethe_json_append(list, e, &ok);
        p->part += n;
    }
    p->part = 0;
    lethe_json_put(o, "parts", list, &ok);
    if (!st && !ok) st = lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    if (st)
        json_decref(o);
    else
        st = post(p, href, LFS_TYPE, o, NULL, &answer, err);
    json_decref(answer);
    return st;
}

static lethe_status verify(push *p, const lethe_hub_upload *f, json_t *action, lethe_err *err) {
    const char *href = json_string_value(json_object_get(action, "href"));
    json_t *answer;
    if (!href) return LETHE_OK;
    json_t *o = json_object();
    bool ok = true;
    lethe_json_put(o, "oid", json_string(f->sha256), &ok);
    lethe_json_put(o, "size", json_integer((json_int_t)f->size), &ok);
    if (!ok) {
        json_decref(o);
        return lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    }
    lethe_status st = post(p, href, LFS_TYPE, o, NULL, &answer, err);
    json_decref(answer);
    return st ? lethe_err_prefix(err, "%s did not arrive as it was sent", f->name) : LETHE_OK;
}

static lethe_status send_one(push *p, const lethe_hub_upload *f, json_t *actions, lethe_err *err) {
    json_t *upload = json_object_get(actions, "upload"),
           *header = json_object_get(upload, "header");
    const char *href = json_string_value(json_object_get(upload, "href"));
    if (!href) { /* the Hub has these bytes */
        p->out->there++;
        return LETHE_OK;
    }
    int fd = -1;
    struct stat sb;
    lethe_status st = LETHE_OK;
    if (f->path && ((fd = open(f->path, O_RDONLY | O_CLOEXEC)) < 0 || fstat(fd, &sb)))
        st = lethe_fail_errno(err, LETHE_IO, "%s: cannot read", f->path);
    else if (f->path && (uint64_t)sb.st_size != f->size)
        st = lethe_fail(err, LETHE_MISMATCH, "%s: changed while it was pushed", f->path);
    if (!st)
        st = json_object_get(header, "chunk_size") ? in_parts(p, f, fd, href, header, err)
                                                   : in_one(p, f, fd, href, header, err);
    if (fd >= 0) close(fd);
    if (!st) st = verify(p, f, json_object_get(actions, "verify"), err);
    p->out->sent += !st;
    return st;
}

/* One object of the batch API's answer, which names it by checksum. */
static lethe_status send_object(push *p, const lethe_json_ref *o, bool *done, lethe_err *err) {
    const char *oid;
    lethe_json_ref r = lethe_json_key(o, "oid");
    LETHE_TRY(lethe_json_want_string(&r, &oid, err));
    json_t *error = json_object_get(o->value, "error");
    for (size_t i = 0; i < p->n; i++) {
        const lethe_hub_upload *f = &p->file[i];
        if (p->mode[i] != LARGE || done[i] || strcmp(f->sha256, oid) != 0) continue;
        if (error) {
            const char *s = json_string_value(json_object_get(error, "message"));
            char said[200];
            lethe_hub_plain(s ? s : "(nothing)", said, sizeof said);
            return lethe_fail(err, LETHE_FAIL, "%s: the server refuses it: %s", f->name, said);
        }
        p->now = f->name;
        LETHE_TRY(send_one(p, f, json_object_get(o->value, "actions"), err));
        p->done += f->size;
        done[i] = true;
        error = NULL;
        json_object_del(o->value, "actions"); /* a second file with these bytes is there now */
    }
    return LETHE_OK;
}

static lethe_status batch_request(push *p, json_t **out, lethe_err *err) {
    json_t *o = json_object(), *list = json_array(), *transfers = json_array();
    bool ok = true;
    for (size_t i = 0; i < p->n; i++) {
        if (p->mode[i] != LARGE) continue;
        json_t *e = json_object();
        lethe_json_put(e, "oid", json_string(p->file[i].sha256), &ok);
        lethe_json_put(e, "size", json_integer((json_int_t)p->file[i].size), &ok);
        lethe_json_append(list, e, &ok);
        p->total += p->file[i].size;
    }
    lethe_json_append(transfers, json_string("basic"), &ok);
    lethe_json_append(transfers, json_string("multipart"), &ok);
    lethe_json_put(o, "operation", json_string("upload"), &ok);
    lethe_json_put(o, "transfers", transfers, &ok);
    lethe_json_put(o, "objects", list, &ok);
    lethe_json_put(o, "hash_algo", json_string("sha256"), &ok);
    if (!ok) {
        json_decref(o);
        return lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
    }
    *out = o;
    return LETHE_OK;
}

static lethe_status send_large(push *p, lethe_err *err) {
    lethe_strbuf url = {0};
    json_t *o, *answer = NULL;
    bool *done;
    size_t n = 0;
    LETHE_TRY(batch_request(p, &o, err));
    if (!p->total) {
        json_decref(o);
        return LETHE_OK;
    }
    lethe_strbuf_addf(&url, "/%s", p->repo->dataset ? "datasets/" : "");
    lethe_url_add(&url, p->repo->name);
    lethe_strbuf_adds(&url, ".git/info/lfs/objects/batch");
    lethe_status st = lethe_zalloc(&done, p->n, sizeof *done, "a list of files", err);
    if (st || url.status)
        json_decref(o);
    else
        st = post(p, lethe_strbuf_str(&url), LFS_TYPE, o, NULL, &answer, err);
    if (!st && url.status) st = lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    lethe_strbuf_free(&url);
    lethe_json_ref top = lethe_json_top(answer, p->repo->name),
                   objects = lethe_json_key(&top, "objects");
    if (!st) st = lethe_json_want_list(&objects, &n, err);
    p->h->tick = tick;
    p->h->tick_user = p;
    for (size_t k = 0; !st && k < n; k++) {
        lethe_json_ref e = lethe_json_item(&objects, k);
        st = lethe_json_want_object(&e, err);
        if (!st) st = send_object(p, &e, done, err);
    }
    p->h->tick = NULL;
    for (size_t i = 0; !st && i < p->n; i++)
        if (p->mode[i] == LARGE && !done[i])
            st = lethe_fail(err, LETHE_FORMAT, "%s: the server has no address for it",
                            p->file[i].name);
    json_decref(answer);
    lethe_free(done);
    return st;
}

/* ---- the commit ------------------------------------------------------------------------------ */

/* A line {"key": key, "value": value (moved)}. */
static void line(lethe_strbuf *b, const char *key, json_t *value, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "key", json_string(key), ok);
    lethe_json_put(o, "value", value, ok);
    char *s = *ok ? json_dumps(o, JSON_COMPACT) : NULL;
    if (s) lethe_strbuf_addf(b, "%s\n", s);
    if (!s) *ok = false;
    free(s);
    json_decref(o);
}

static lethe_status commit_lines(push *p, const char *message, lethe_strbuf *b, lethe_err *err) {
    bool ok = true;
    json_t *head = json_object();
    lethe_json_put(head, "summary", lethe_json_text(message, strlen(message)), &ok);
    lethe_json_put(head, "description", json_string(""), &ok);
    line(b, "header", head, &ok);
    for (size_t i = 0; ok && i < p->n; i++) {
        const lethe_hub_upload *f = &p->file[i];
        if (p->mode[i] == IGNORED) continue;
        json_t *v = json_object();
        lethe_json_put(v, "path", json_string(f->name), &ok);
        if (p->mode[i] == SMALL) {
            lethe_strbuf text = {0};
            lethe_status st = add_bytes(&text, f, UINT64_MAX, err);
            if (st) {
                lethe_strbuf_free(&text);
                json_decref(v);
                return st;
            }
            lethe_json_put(v, "content", json_string(lethe_strbuf_str(&text)), &ok);
            lethe_json_put(v, "encoding", json_string("base64"), &ok);
            if (text.status) ok = false;
            lethe_strbuf_free(&text);
        } else {
            lethe_json_put(v, "algo", json_string("sha256"), &ok);
            lethe_json_put(v, "oid", json_string(f->sha256), &ok);
            lethe_json_put(v, "size", json_integer((json_int_t)f->size), &ok);
        }
        line(b, p->mode[i] == SMALL ? "file" : "lfsFile", v, &ok);
    }
    return ok && !b->status ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: a commit");
}

static lethe_status commit(push *p, const char *message, lethe_err *err) {
    lethe_strbuf url = {0}, body = {0};
    lethe_http_response r;
    lethe_status st = api(p, &url, "commit", err);
    if (!st) st = commit_lines(p, message, &body, err);
    if (!st && lethe_stop_requested())
        st = lethe_fail(err, LETHE_STOPPED, "stopped before the commit: nothing has changed");
    if (!st)
        st = lethe_hub_ask(p->h, "POST", lethe_strbuf_str(&url), "application/x-ndjson",
                           lethe_strbuf_str(&body), body.len, p->repo->name, NULL, &r, err);
    lethe_strbuf_free(&url);
    lethe_strbuf_free(&body);
    LETHE_TRY(st);
    json_t *o = json_loads(r.body, 0, NULL);
    const char *oid = json_string_value(json_object_get(o, "commitOid")),
               *at = json_string_value(json_object_get(o, "commitUrl"));
    if (oid && lethe_hub_is_hex(oid, 40)) memcpy(p->out->commit, oid, 41);
    lethe_hub_plain(at ? at : "", p->out->url, sizeof p->out->url);
    json_decref(o);
    lethe_http_response_free(&r);
    return LETHE_OK;
}

lethe_status lethe_hub_push(lethe_hub *h, const lethe_hub_repo *repo, bool private_,
                            const lethe_hub_upload *file, size_t n, const char *message,
                            lethe_hub_pushed *out, lethe_err *err) {
    push p = {.h = h, .repo = repo, .file = file, .n = n, .out = out};
    *out = (lethe_hub_pushed){0};
    if (!strchr(repo->name, '/'))
        return lethe_fail(err, LETHE_USAGE, "\"%s\": whose? want OWNER/NAME", repo->name);
    if (!h->authorization)
        return lethe_fail(err, LETHE_USAGE,
                          "no token: set HF_TOKEN to one that may write "
                          "(https://huggingface.co/settings/tokens), or run \"hf auth login\"");
    for (size_t i = 0; i < n; i++)
        if (!lethe_hub_path_fine(file[i].name))
            return lethe_fail(err, LETHE_USAGE, "\"%s\" cannot be a name in a repository",
                              file[i].name);
    LETHE_TRY(lethe_zalloc(&p.mode, n, sizeof *p.mode, "a list of files", err));
    lethe_status st = create(&p, private_, err);
    if (!st) st = preupload(&p, err);
    if (!st) st = send_large(&p, err);
    if (!st) st = commit(&p, message, err);
    if (!st && p.total)
        lethe_report_progress(h->env, &(lethe_progress){.stage = "push",
                                                        .done = (double)p.total / 1e6,
                                                        .total = (double)p.total / 1e6,
                                                        .unit = "MB",
                                                        .detail = repo->name,
                                                        .finished = true});
    lethe_free(p.mode);
    return st;
}
