/* SPDX-License-Identifier: MIT
 *
 * A Hub that misbehaves on request, for the tests of lethe pull and lethe push:
 *
 *     stub_hub PORT_FILE LOG_FILE ROOT
 *
 * listens on two free ports of 127.0.0.1, the Hub's and its "CDN"'s, writes both numbers to
 * PORT_FILE, and serves ROOT/models/OWNER/NAME/.. and ROOT/datasets/.. until it is killed. Files
 * above 64 KiB are large ones: their contents come from the CDN, which must never see a token. The
 * first part of a request's path says how (so HF_ENDPOINT=http://127.0.0.1:PORT/good):
 *
 *     good       as the Hub does
 *     pages      the list of files in pages of two
 *     cut        the CDN closes every connection after 300 kB
 *     slow       the CDN sends about 3 MB/s a connection
 *     later      429 with "Retry-After: 1" the first time a path and range is asked for
 *     busy       503 the first two times;  down  always 500;  month  429 with a wait of a month
 *     noranges   the CDN knows no ranges
 *     damaged    the CDN changes a byte of every file;  damaged1  the first time only
 *     expired    an address of the CDN works twice, then 403
 *     changed    another ETag with every answer of the CDN
 *     wrongrange the CDN sends another range than asked for
 *     long, short  the list of files says a byte less, more than there is
 *     evilN      the list of files has a hostile name
 *     badlist, badsha, badoid  answers that make no sense
 *     gated      403 GatedRepo unless the token is "right";  private  401
 *     norev      404 RevisionNotFound;  elsewhere  the API redirects to another server
 *     renamed    the API and files redirect to where they are now;  circle  to itself
 *     exists     creating a repository: 409;  denied  403
 *     multi      uploads in parts of 1 MiB;  have  no upload is needed
 *     refuse     the batch API refuses an object;  putfail  the CDN takes no upload: 500
 *     putslow    uploads are taken at about 2 MB/s;  ignored  one file is not wanted
 *
 * What is sent goes to ROOT/received/: objects by checksum, commit.ndjson. LOG_FILE gets a line a
 * request: HUB or CDN, method, path, range, bytes of the answer's body, Authorization.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/digest.h"

#define HEAD_MOST 16384
#define LARGE 65536
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define PART 1048576

static FILE *log_file;
static const char *root;
static int hub_port, cdn_port;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

typedef struct request {
    int fd;
    bool cdn;
    char method[8], path[2048], query[1024], mode[32], key[256], range[128], if_range[128];
    char *body; /* owned */
    size_t len, sent;
    char head[HEAD_MOST];
} request;

/* ---- small things ---------------------------------------------------------------------------- */

static int times_seen(const char *a, const char *b) {
    static struct {
        unsigned long long hash;
        int times;
    } seen[8192];
    static int n;
    unsigned long long h = 1469598103934665603u;
    for (const char *p = a; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
    for (const char *p = b; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < n && seen[i].hash != h) i++;
    if (i == n && n < 8192) seen[n++].hash = h;
    int times = i < 8192 ? seen[i].times++ : 0;
    pthread_mutex_unlock(&lock);
    return times;
}

static bool is(const request *r, const char *mode) {
    return !strcmp(r->mode, mode);
}

static bool put(request *r, const char *s, size_t n) {
    while (n) {
        ssize_t k = send(r->fd, s, n, MSG_NOSIGNAL);
        if (k <= 0) return false;
        s += k;
        n -= (size_t)k;
    }
    return true;
}

static void reply(request *r, const char *status, const char *headers, const char *body) {
    char head[8192];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status,
                     strlen(body), headers);
    put(r, head, (size_t)n);
    put(r, body, strlen(body));
    r->sent = strlen(body);
}

static void replyf(request *r, const char *status, const char *body, ...) {
    va_list ap;
    char *s;
    va_start(ap, body);
    if (vasprintf(&s, body, ap) < 0) abort();
    va_end(ap);
    reply(r, status, "Content-Type: application/json\r\n", s);
    free(s);
}

static void reply_json(request *r, json_t *o) {
    char *s = json_dumps(o, 0);
    reply(r, "200 OK", "Content-Type: application/json\r\n", s);
    free(s);
    json_decref(o);
}

static char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    struct stat sb;
    if (!f || fstat(fileno(f), &sb) || !S_ISREG(sb.st_mode)) {
        if (f) fclose(f);
        return NULL;
    }
    char *s = malloc((size_t)sb.st_size + 1);
    *n = s ? fread(s, 1, (size_t)sb.st_size, f) : 0;
    if (s) s[*n] = '\0';
    fclose(f);
    return s;
}

static void oid_of(const char *data, size_t n, char hex[LETHE_DIGEST_HEX]) {
    lethe_digest *d;
    char front[40];
    if (lethe_digest_open(&d, n > LARGE ? LETHE_DIGEST_SHA256 : LETHE_DIGEST_SHA1, NULL)) abort();
    int k = snprintf(front, sizeof front, "blob %zu", n);
    if (n <= LARGE) lethe_digest_put(d, front, (size_t)k + 1);
    lethe_digest_put(d, data, n);
    if (lethe_digest_hex(d, hex, NULL)) abort();
    lethe_digest_close(&d);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Sends data [n], or the range that is asked for. */
static void send_data(request *r, const char *data, size_t n, bool ranges, const char *etag) {
    unsigned long long from = 0, to = n ? n - 1 : 0;
    char head[1024];
    bool part = ranges && sscanf(r->range, "bytes=%llu-%llu", &from, &to) == 2;
    if (part && r->if_range[0] && strcmp(r->if_range, etag) != 0) part = false;
    if (!part) from = 0, to = n ? n - 1 : 0;
    if (part && (from >= n || from > to)) {
        reply(r, "416 Range Not Satisfiable", "", "");
        return;
    }
    if (to >= n && n) to = n - 1;
    size_t len = n ? (size_t)(to - from + 1) : 0;
    if (part && is(r, "wrongrange")) from++, to++;
    int k = part
                ? snprintf(head, sizeof head,
                           "HTTP/1.1 206 Partial Content\r\nContent-Length: %zu\r\n"
                           "Content-Range: bytes %llu-%llu/%zu\r\nETag: %s\r\n\r\n",
                           len, from, to, n, etag)
                : snprintf(head, sizeof head,
                           "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nETag: %s\r\n\r\n", len, etag);
    if (part && is(r, "wrongrange")) from--;
    if (!put(r, head, (size_t)k)) return;
    while (r->sent < len) {
        size_t step = len - r->sent < 65536 ? len - r->sent : 65536;
        if (r->cdn && is(r, "cut") && r->sent + step > 300000) {
            shutdown(r->fd, SHUT_RDWR);
            return;
        }
        if (!put(r, data + from + r->sent, step)) return;
        r->sent += step;
        if (r->cdn && is(r, "slow")) usleep(20000);
    }
}

/* PATH below ROOT/KIND/OWNER/NAME of "[datasets/]OWNER/NAME". */
static char *find_file(const char *repo, const char *path, size_t *n) {
    char file[4096];
    bool dataset = !strncmp(repo, "datasets/", 9);
    snprintf(file, sizeof file, "%s/%s/%s/%s", root, dataset ? "datasets" : "models",
             repo + (dataset ? 9 : 0), path);
    return strstr(file, "..") ? NULL : read_file(file, n);
}

static void escape(const char *s, char *to, size_t size) {
    size_t n = 0;
    for (; *s && n + 4 < size; s++) {
        if (isalnum((unsigned char)*s) || strchr("-._~/", *s))
            to[n++] = *s;
        else
            n += (size_t)snprintf(to + n, size - n, "%%%02X", (unsigned char)*s);
    }
    to[n] = '\0';
}

/* /[datasets/]OWNER/NAME/resolve/COMMIT/PATH, or /NAME/resolve/.. */
static void resolve(request *r) {
    char *at = strstr(r->path, "/resolve/");
    *at = '\0';
    char *path = strchr(at + 9, '/'), hex[LETHE_DIGEST_HEX], etag[80], headers[8192], escaped[3000];
    size_t n;
    char *data = path ? find_file(r->path + 1, path + 1, &n) : NULL;
    if (!data) {
        reply(r, "404 Not Found", "X-Error-Code: EntryNotFound\r\n", "Entry not found");
        return;
    }
    oid_of(data, n, hex);
    if (n <= LARGE) {
        snprintf(etag, sizeof etag, "\"%s\"", hex);
        send_data(r, data, n, true, etag);
    } else {
        escape(path + 1, escaped, sizeof escaped);
        snprintf(headers, sizeof headers,
                 "X-Repo-Commit: " COMMIT "\r\nX-Linked-Size: %zu\r\nX-Linked-Etag: \"%s\"\r\n"
                 "Location: http://127.0.0.1:%d/%s%s/%s?signed=%d\r\n",
                 n, hex, cdn_port, r->mode, r->path, escaped, times_seen("signature", r->path));
        reply(r, "302 Found", headers, "");
    }
    free(data);
}

static void cdn_get(request *r) {
    size_t n;
    char etag[80], *repo = r->path + 1, *slash = strchr(repo, '/');
    if (!strncmp(repo, "datasets/", 9)) slash = strchr(slash + 1, '/');
    slash = slash ? strchr(slash + 1, '/') : NULL;
    if (slash) *slash = '\0';
    char *data = slash ? find_file(repo, slash + 1, &n) : NULL;
    if (!data || !r->query[0]) {
        reply(r, "403 Forbidden", "", "no signature, or no such object");
        free(data);
        return;
    }
    if (is(r, "expired") && times_seen(r->path, r->query) >= 2) {
        reply(r, "403 Forbidden", "", "<Error>Request has expired</Error>");
        free(data);
        return;
    }
    int times = times_seen(r->mode, slash + 1);
    if (is(r, "damaged") || (is(r, "damaged1") && !times)) data[n / 2] ^= 1;
    snprintf(etag, sizeof etag, "\"cdn-%d\"", is(r, "changed") ? times : 7);
    send_data(r, data, n, !is(r, "noranges"), etag);
    free(data);
}

/* ---- the API: what there is ------------------------------------------------------------------ */

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_files(request *r, json_t *list, const char *dir, const char *below) {
    struct dirent **e;
    char path[4096], name[4096], hex[LETHE_DIGEST_HEX];
    int n = scandir(dir, &e, NULL, by_name);
    for (int i = 0; i < n; i++) {
        struct stat sb;
        size_t size;
        snprintf(path, sizeof path, "%s/%s", dir, e[i]->d_name);
        snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", e[i]->d_name);
        bool hidden = e[i]->d_name[0] == '.';
        free(e[i]);
        if (hidden || stat(path, &sb)) continue;
        if (S_ISDIR(sb.st_mode)) {
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i}", "type", "directory",
                                                  "oid", COMMIT, "path", name, "size", 0));
            add_files(r, list, path, name);
            continue;
        }
        char *data = read_file(path, &size);
        oid_of(data, size, hex);
        free(data);
        json_int_t says = (json_int_t)size + (is(r, "short") ? 1 : is(r, "long") && size ? -1 : 0);
        json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "type", "file", "oid",
                              size > LARGE ? COMMIT : hex, "path", name, "size", says);
        if (is(r, "badoid")) hex[3] = 'X';
        if (size > LARGE)
            json_object_set_new(
                o, "lfs",
                json_pack("{s:s, s:I, s:i}", "oid", hex, "size", says, "pointerSize", 134));
        json_array_append_new(list, o);
    }
    if (n >= 0) free(e);
}

static void tree(request *r, const char *dir) {
    static const char *const evil[] = {
        "../../../../evil", "/etc/evil", "a/../../evil", "./evil", "a//evil",
        "a\\..\\evil",      "evil\n",    "..",           "evil/",  "",
    };
    json_t *list = json_array();
    add_files(r, list, dir, "");
    if (!strncmp(r->mode, "evil", 4))
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i}", "type", "file", "oid", COMMIT,
                                              "path", evil[atoi(r->mode + 4) % 10], "size", 3));
    if (is(r, "pages")) {
        const char *c = strstr(r->query, "cursor=");
        size_t from = c ? (size_t)atoi(c + 7) : 0, all = json_array_size(list);
        json_t *page = json_array();
        for (size_t i = from; i < from + 2 && i < all; i++)
            json_array_append(page, json_array_get(list, i));
        char link[4096] = "", *s = json_dumps(page, 0);
        if (from + 2 < all)
            snprintf(link, sizeof link,
                     "Link: <http://127.0.0.1:%d/%s%s?recursive=true&cursor=%zu>; rel=\"next\"\r\n",
                     hub_port, r->mode, r->path, from + 2);
        reply(r, "200 OK", link, s);
        free(s);
        json_decref(page);
        json_decref(list);
        return;
    }
    reply_json(r, list);
}

static void api_get(request *r) {
    char dir[4096], whole[2048];
    bool dataset = !strncmp(r->path, "/api/datasets/", 14);
    snprintf(whole, sizeof whole, "%s", r->path);
    char *repo = r->path + (dataset ? 14 : 12), *rest = strstr(repo, "/revision/"),
         *branch = strstr(repo, "/tree/");
    if (!rest) rest = branch;
    if (rest) *rest = '\0';
    snprintf(dir, sizeof dir, "%s/%s/%s", root, dataset ? "datasets" : "models", repo);
    struct stat sb;
    if (!rest || strstr(dir, "..") || stat(dir, &sb))
        reply(r, "404 Not Found", "X-Error-Code: RepoNotFound\r\n",
              "{\"error\": \"Repository not found\"}");
    else if (is(r, "gated") && strcmp(r->key, "Bearer right") != 0)
        reply(r, "403 Forbidden",
              "X-Error-Code: GatedRepo\r\nX-Error-Message: Access to model is restricted\r\n", "");
    else if (is(r, "private") && strcmp(r->key, "Bearer right") != 0)
        reply(r, "401 Unauthorized", "",
              "{\"error\": \"Invalid username \\u001b[31mor password\"}");
    else if (is(r, "norev"))
        reply(r, "404 Not Found", "X-Error-Code: RevisionNotFound\r\n", "{}");
    else if (is(r, "badlist"))
        reply(r, "200 OK", "", "<html>");
    else if (!branch && is(r, "badsha"))
        replyf(r, "200 OK", "{\"sha\": \"../../x\"}");
    else if (!branch)
        replyf(r, "200 OK", "{\"id\": \"%s\", \"sha\": \"" COMMIT "\"}", repo);
    else {
        snprintf(r->path, sizeof r->path, "%s", whole);
        tree(r, dir);
    }
}

/* ---- the API: what is sent ------------------------------------------------------------------- */

/* Written beside and renamed: an upload of a client that is gone may end while another's is read. */
static void keep(const char *name, const char *data, size_t n) {
    char path[4096], temp[4096];
    snprintf(path, sizeof path, "%s/received", root);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/received/%s", root, name);
    snprintf(temp, sizeof temp, "%s/received-XXXXXX", root);
    int fd = mkstemp(temp);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) || rename(temp, path)) perror(path);
}

static void preupload(request *r) {
    json_t *o = json_loads(r->body, 0, NULL), *out = json_array(), *f;
    size_t i;
    json_array_foreach(json_object_get(o, "files"), i, f) {
        const char *path = json_string_value(json_object_get(f, "path"));
        json_int_t size = json_integer_value(json_object_get(f, "size"));
        const char *sample = json_string_value(json_object_get(f, "sample"));
        if (!path || !sample) continue;
        bool large = size > LARGE || strstr(path, ".safetensors");
        json_array_append_new(out, json_pack("{s:s, s:s, s:b}", "path", path, "uploadMode",
                                             large ? "lfs" : "regular", "shouldIgnore",
                                             is(r, "ignored") && strstr(path, "features")));
    }
    json_decref(o);
    reply_json(r, json_pack("{s:o}", "files", out));
}

static void batch(request *r) {
    json_t *o = json_loads(r->body, 0, NULL), *out = json_array(), *f;
    size_t i;
    json_array_foreach(json_object_get(o, "objects"), i, f) {
        const char *oid = json_string_value(json_object_get(f, "oid"));
        json_int_t size = json_integer_value(json_object_get(f, "size"));
        char href[512], verify[512];
        if (!oid) continue;
        json_t *e = json_pack("{s:s, s:I}", "oid", oid, "size", size);
        json_array_append_new(out, e);
        if (is(r, "refuse")) {
            json_object_set_new(
                e, "error",
                json_pack("{s:i, s:s}", "code", 422, "message", "the quota is used up"));
            continue;
        }
        if (is(r, "have")) continue;
        snprintf(href, sizeof href, "http://127.0.0.1:%d/%s/lfs/%s?signed=1", cdn_port, r->mode,
                 oid);
        snprintf(verify, sizeof verify, "http://127.0.0.1:%d/%s/verify/%s", hub_port, r->mode, oid);
        json_t *header = json_object(), *upload;
        if (is(r, "multi")) {
            json_object_set_new(header, "chunk_size", json_string("1048576"));
            for (int p = 1; (json_int_t)(p - 1) * PART < size; p++) {
                char name[16], at[512];
                snprintf(name, sizeof name, "%05d", p);
                snprintf(at, sizeof at, "http://127.0.0.1:%d/%s/part/%s/%d?signed=1", cdn_port,
                         r->mode, oid, p);
                json_object_set_new(header, name, json_string(at));
            }
            snprintf(href, sizeof href, "http://127.0.0.1:%d/%s/complete/%s", hub_port, r->mode,
                     oid);
        }
        upload = json_pack("{s:s, s:o}", "href", href, "header", header);
        json_object_set_new(
            e, "actions", json_pack("{s:o, s:{s:s}}", "upload", upload, "verify", "href", verify));
    }
    json_decref(o);
    reply_json(r, json_pack("{s:s, s:o}", "transfer", is(r, "multi") ? "multipart" : "basic",
                            "objects", out));
}

/* Parts become an object when all their ETags are named in order. */
static void complete(request *r, const char *oid) {
    json_t *o = json_loads(r->body, 0, NULL), *p;
    size_t i;
    bool fine = json_array_size(json_object_get(o, "parts")) > 0;
    char *whole = NULL;
    size_t whole_n = 0;
    json_array_foreach(json_object_get(o, "parts"), i, p) {
        char want[128], path[4096];
        size_t n;
        const char *etag = json_string_value(json_object_get(p, "etag"));
        snprintf(want, sizeof want, "\"%.8s-%zu\"", oid, i + 1);
        snprintf(path, sizeof path, "%s/received/%s.part%zu", root, oid, i + 1);
        char *data = read_file(path, &n);
        fine = fine && data && etag && !strcmp(etag, want) &&
               json_integer_value(json_object_get(p, "partNumber")) == (json_int_t)i + 1;
        if (data) {
            char *more = realloc(whole, whole_n + n + 1);
            if (!more) abort();
            whole = more;
            memcpy(whole + whole_n, data, n);
            whole_n += n;
        }
        unlink(path);
        free(data);
    }
    json_decref(o);
    if (fine) keep(oid, whole, whole_n);
    free(whole);
    replyf(r, fine ? "200 OK" : "400 Bad Request", "{}");
}

static void api_post(request *r) {
    char *commit = strstr(r->path, "/commit/");
    if (is(r, "denied"))
        replyf(r, "403 Forbidden", "{\"error\": \"You don't have the rights\"}");
    else if (!strcmp(r->path, "/api/repos/create")) {
        keep("create.json", r->body, r->len);
        replyf(r, is(r, "exists") ? "409 Conflict" : "200 OK", "{\"url\": \"x\"}");
    } else if (strstr(r->path, "/preupload/"))
        preupload(r);
    else if (strstr(r->path, "/info/lfs/objects/batch"))
        batch(r);
    else if (!strncmp(r->path, "/complete/", 10))
        complete(r, r->path + 10);
    else if (!strncmp(r->path, "/verify/", 8)) {
        char path[4096], hex[LETHE_DIGEST_HEX] = "";
        size_t n = 0;
        snprintf(path, sizeof path, "%s/received/%s", root, r->path + 8);
        char *data = read_file(path, &n);
        if (data && lethe_digest_bytes(LETHE_DIGEST_SHA256, data, n, hex, NULL)) abort();
        free(data);
        replyf(r, strcmp(hex, r->path + 8) ? "404 Not Found" : "200 OK", "{}");
    } else if (commit) {
        keep("commit.ndjson", r->body, r->len);
        replyf(r, "200 OK",
               "{\"success\": true, \"commitOid\": \"" COMMIT
               "\", \"commitUrl\": \"http://127.0.0.1/commit/1\"}");
    } else
        replyf(r, "404 Not Found", "{}");
}

static void cdn_put(request *r) {
    char name[256], headers[128], oid[80];
    int part = 0;
    if (is(r, "putfail")) {
        reply(r, "500 Internal Server Error", "", "no");
        return;
    }
    if (sscanf(r->path, "/part/%79[0-9a-f]/%d", oid, &part) == 2)
        snprintf(name, sizeof name, "%s.part%d", oid, part);
    else
        snprintf(name, sizeof name, "%s", r->path + 5); /* /lfs/ */
    keep(name, r->body, r->len);
    snprintf(headers, sizeof headers, "ETag: \"%.8s-%d\"\r\n", oid, part);
    reply(r, "200 OK", part ? headers : "", "");
}

/* ---- requests -------------------------------------------------------------------------------- */

static void serve(request *r) {
    char where[512], once[2304];
    snprintf(once, sizeof once, "%s %s%s", r->method, r->path, r->range);
    int times = is(r, "later") || is(r, "busy") ? times_seen(once, r->cdn ? "cdn" : "hub") : 0;
    if (is(r, "later") && !times)
        reply(r, "429 Too Many Requests", "Retry-After: 1\r\n", "{\"error\": \"slow down\"}");
    else if (is(r, "busy") && times < 2)
        reply(r, "503 Service Unavailable", "", "busy");
    else if (is(r, "down"))
        reply(r, "500 Internal Server Error", "", "{\"error\": \"broken\"}");
    else if (is(r, "month"))
        reply(r, "429 Too Many Requests", "Retry-After: 2592000\r\n", "{\"error\": \"quota\"}");
    else if (r->cdn && !strcmp(r->method, "PUT"))
        cdn_put(r);
    else if (r->cdn)
        cdn_get(r);
    else if (is(r, "elsewhere")) {
        snprintf(where, sizeof where, "Location: http://127.0.0.1:%d/x\r\n", cdn_port);
        reply(r, "302 Found", where, "");
    } else if (is(r, "circle") || is(r, "renamed")) {
        snprintf(where, sizeof where, "Location: /%s%.400s\r\n",
                 is(r, "circle") ? "circle" : "good", r->path);
        reply(r, "307 Temporary Redirect", where, "");
    } else if (!strcmp(r->method, "POST"))
        api_post(r);
    else if (!strncmp(r->path, "/api/", 5))
        api_get(r);
    else if (strstr(r->path, "/resolve/"))
        resolve(r);
    else
        reply(r, "404 Not Found", "", "");
}

static void unescape(char *s) {
    char *to = s;
    for (; *s; s++) {
        unsigned c;
        if (*s == '%' && sscanf(s + 1, "%2x", &c) == 1) {
            *to++ = (char)c;
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

static void header_value(const char *head, const char *name, char *out, size_t size) {
    const char *h = strcasestr(head, name);
    if (!h) return;
    h += strlen(name);
    while (*h == ' ') h++;
    snprintf(out, size, "%.*s", (int)strcspn(h, "\r\n"), h);
}

/* One request of a connection. False: there is none. */
static bool read_request(request *r) {
    size_t n = 0, want = 0;
    char *end = NULL, target[3072], length[32] = "";
    while (!end && n < HEAD_MOST - 1) {
        ssize_t k = recv(r->fd, r->head + n, HEAD_MOST - 1 - n, 0);
        if (k <= 0) return false;
        n += (size_t)k;
        r->head[n] = '\0';
        end = strstr(r->head, "\r\n\r\n");
    }
    if (!end || sscanf(r->head, "%7s %3071s", r->method, target) != 2) return false;
    *end = '\0';
    header_value(r->head, "\r\nAuthorization:", r->key, sizeof r->key);
    header_value(r->head, "\r\nRange:", r->range, sizeof r->range);
    header_value(r->head, "\r\nIf-Range:", r->if_range, sizeof r->if_range);
    header_value(r->head, "\r\nContent-Length:", length, sizeof length);
    if (strcasestr(r->head, "\r\nExpect: 100-continue"))
        put(r, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    char *q = strchr(target, '?'), *slash = strchr(target + 1, '/');
    snprintf(r->query, sizeof r->query, "%s", q ? q + 1 : "");
    if (q) *q = '\0';
    if (slash && q && slash > q) slash = NULL;
    snprintf(r->mode, sizeof r->mode, "%.*s",
             (int)(slash ? slash - target - 1 : (long)strlen(target) - 1), target + 1);
    snprintf(r->path, sizeof r->path, "%.2000s", slash ? slash : "/");
    unescape(r->path);
    want = strtoul(length, NULL, 10);
    r->body = malloc(want + 1);
    if (!r->body) return false;
    size_t have = n - (size_t)(end + 4 - r->head);
    if (have > want) have = want;
    memcpy(r->body, end + 4, have);
    while (have < want) {
        size_t step = want - have < 65536 ? want - have : 65536;
        ssize_t k = recv(r->fd, r->body + have, step, 0);
        if (k <= 0) return false;
        have += (size_t)k;
        if (is(r, "putslow") && r->cdn) usleep((useconds_t)k / 2);
    }
    r->body[want] = '\0';
    r->len = want;
    return true;
}

static void *on_connection(void *user) {
    long arg = (long)user;
    for (bool more = true; more;) {
        request *r = calloc(1, sizeof *r);
        if (!r) abort();
        r->fd = (int)(arg / 2);
        r->cdn = arg % 2;
        more = read_request(r);
        if (more) {
            char path[2048];
            snprintf(path, sizeof path, "%s", r->path);
            serve(r);
            pthread_mutex_lock(&lock);
            fprintf(log_file, "%s %s %s range=%s sent=%zu auth=%s\n", r->cdn ? "CDN" : "HUB",
                    r->method, path, r->range, r->sent, r->key);
            fflush(log_file);
            pthread_mutex_unlock(&lock);
        }
        free(r->body);
        free(r);
    }
    close((int)(arg / 2));
    return NULL;
}

typedef struct listener {
    int fd;
    bool cdn;
} listener;

static void *accept_all(void *user) {
    listener *l = user;
    for (;;) {
        int fd = accept(l->fd, NULL, NULL);
        pthread_t thread;
        if (fd < 0) continue;
        if (pthread_create(&thread, NULL, on_connection, (void *)(2L * fd + l->cdn)))
            close(fd);
        else
            pthread_detach(thread);
    }
    return NULL;
}

static int listen_on(listener *l) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&a, len) || listen(l->fd, 64) ||
        getsockname(l->fd, (struct sockaddr *)&a, &len)) {
        perror("stub_hub");
        exit(1);
    }
    return ntohs(a.sin_port);
}

int main(int argc, char **argv) {
    static listener hub = {.cdn = false}, cdn = {.cdn = true};
    pthread_t thread;
    char temp[4096];
    if (argc != 4 || !(log_file = fopen(argv[2], "w"))) {
        fprintf(stderr, "stub_hub PORT_FILE LOG_FILE ROOT\n");
        return 1;
    }
    root = argv[3];
    hub_port = listen_on(&hub);
    cdn_port = listen_on(&cdn);
    snprintf(temp, sizeof temp, "%s.part", argv[1]);
    FILE *port = fopen(temp, "w");
    if (!port || fprintf(port, "%d %d\n", hub_port, cdn_port) < 0 || fclose(port) ||
        rename(temp, argv[1])) {
        perror(argv[1]);
        return 1;
    }
    if (pthread_create(&thread, NULL, accept_all, &cdn)) return 1;
    accept_all(&hub);
}
