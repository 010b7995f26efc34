/* SPDX-License-Identifier: MIT
 *
 * A pool of jobs, each a request for the rest of one part. The first one goes alone: it finds where
 * the file really lies (the Hub redirects to another server with an address that is signed for a
 * while), and whether that server knows ranges; one that does not gets a single request for all.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "format/hub_internal.h"
#include "format/hub_parts.h"
#include "format/url.h"

#define JOBS_MOST 64
#define HOPS_MOST 8
#define BUFFER ((size_t)1 << 20)

struct fetch;

typedef struct job {
    struct fetch *f;
    bool busy;
    size_t part;      /* the one that it fills; with `all`, the first of those left */
    bool all;         /* from the file's first byte to its last */
    bool checked;     /* the head of the answer was */
    bool restart;     /* the answer is the whole file where a part was asked for */
    unsigned address; /* fetch.address when it began */
} job;

typedef struct fetch {
    lethe_hub *h;
    const lethe_hub_file *file;
    const char *name; /* for messages */
    lethe_parts parts;
    char *first, *url; /* where to ask at the beginning, and where redirects led */
    bool trusted;      /* url is the endpoint's: the token goes along */
    bool known;        /* something came from url */
    bool whole;        /* the server knows no ranges */
    unsigned address;  /* counts the changes of url */
    unsigned hops, failures;
    uint64_t came, best; /* over the network; there, the most at a failure */
    double pause_until;
    lethe_hub_progress *progress;
    double before; /* progress->done of the files before */
    lethe_status failed;
    lethe_err err; /* of the sink */
    job jobs[JOBS_MOST];
} fetch;

/* ---- bytes as they come ---------------------------------------------------------------------- */

/* "bytes FROM-TO/SIZE" */
static bool range_fits(const char *headers, uint64_t from, uint64_t end, uint64_t size) {
    char text[100];
    unsigned long long a, b, all;
    if (!lethe_http_header(headers, "Content-Range", text, sizeof text)) return false;
    int n = sscanf(text, "bytes %llu-%llu/%llu", &a, &b, &all);
    if (n == 2 && !strchr(text, '*')) return false;
    return n >= 2 && a == from && b < end && (n == 2 || all == size);
}

static lethe_status check_head(job *j, long status, const char *headers) {
    fetch *f = j->f;
    char etag[LETHE_PARTS_ETAG];
    uint64_t from = j->part * f->parts.part + f->parts.at[j->part].done,
             end = j->part * f->parts.part + lethe_parts_length(&f->parts, j->part);
    j->checked = true;
    if (!j->all && status == 206 && !range_fits(headers, from, end, f->file->size)) {
        char got[100], plain[100];
        lethe_http_header(headers, "Content-Range", got, sizeof got);
        lethe_hub_plain(got, plain, sizeof plain);
        return lethe_fail(&f->err, LETHE_FORMAT,
                          "%s: the server sends \"%s\", want bytes %llu to %llu of %llu, the size "
                          "in the list of files",
                          f->name, plain, (unsigned long long)from, (unsigned long long)end - 1,
                          (unsigned long long)f->file->size);
    }
    if (!j->all && status != 206 && (f->known || j->part)) {
        j->restart = true;
        return LETHE_OK;
    }
    if (!j->all && status != 206) { /* alone, and from the first byte: it goes on as that */
        j->all = f->whole = true;
        LETHE_TRY(lethe_parts_forget_all(&f->parts, &f->err));
    }
    lethe_http_header(headers, "ETag", etag, sizeof etag);
    if (etag[0] != '"') etag[0] = '\0'; /* weak ones do not promise the same bytes */
    f->known = f->known || j->address == f->address;
    return lethe_parts_set_etag(&f->parts, etag, &f->err);
}

static bool on_bytes(void *user, long status, const char *headers, const char *data, size_t n) {
    job *j = user;
    fetch *f = j->f;
    if (!j->checked) f->failed = check_head(j, status, headers);
    if (f->failed || j->restart) return false;
    while (n && !f->failed) {
        uint64_t left = lethe_parts_length(&f->parts, j->part) - f->parts.at[j->part].done;
        if (!left && j->all && j->part + 1 < f->parts.n) {
            j->part++;
            continue;
        }
        if (!left) {
            f->failed = lethe_fail(&f->err, LETHE_FORMAT,
                                   "%s: the server sends more than the %llu bytes that the list "
                                   "of files says",
                                   f->name, (unsigned long long)f->file->size);
            break;
        }
        size_t k = n < left ? n : (size_t)left;
        f->failed = lethe_parts_put(&f->parts, j->part, data, k, &f->err);
        data += k;
        n -= k;
        f->came += k;
    }
    return !f->failed;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static lethe_status start_job(fetch *f, job *j, size_t part, lethe_err *err) {
    const char *headers[4] = {"Accept-Encoding: identity"};
    size_t n = 1;
    char range[80], if_range[LETHE_PARTS_ETAG + 16];
    *j = (job){.f = f, .part = part, .all = f->whole, .address = f->address};
    if (f->trusted && f->h->authorization) headers[n++] = f->h->authorization;
    if (!f->whole) {
        uint64_t from = part * f->parts.part;
        snprintf(range, sizeof range, "Range: bytes=%llu-%llu",
                 (unsigned long long)(from + f->parts.at[part].done),
                 (unsigned long long)(from + lethe_parts_length(&f->parts, part) - 1));
        headers[n++] = range;
        if (f->parts.etag[0]) {
            snprintf(if_range, sizeof if_range, "If-Range: %s", f->parts.etag);
            headers[n++] = if_range;
        }
    } else {
        LETHE_TRY(lethe_parts_forget_all(&f->parts, err));
    }
    lethe_http_request r = {.method = "GET",
                            .url = f->url,
                            .headers = headers,
                            .n_headers = n,
                            .sink = on_bytes,
                            .idle = f->h->o.idle,
                            .user = j};
    LETHE_TRY(lethe_http_send(f->h->http, &r, err));
    j->busy = f->parts.at[part].busy = true;
    return LETHE_OK;
}

static lethe_status start_jobs(fetch *f, lethe_err *err) {
    size_t most = f->known && !f->whole ? f->h->o.concurrency : 1, next = 0;
    if (most > JOBS_MOST) most = JOBS_MOST;
    if (lethe_seconds() < f->pause_until) return LETHE_OK;
    while (lethe_http_active(f->h->http) < most) {
        while (next < f->parts.n && (f->parts.at[next].busy ||
                                     f->parts.at[next].done == lethe_parts_length(&f->parts, next)))
            next++;
        if (next == f->parts.n) return LETHE_OK;
        job *j = f->jobs;
        while (j->busy) j++;
        LETHE_TRY(start_job(f, j, f->whole ? 0 : next, err));
    }
    return LETHE_OK;
}

/* Ends all that is under way. */
static void drop_jobs(fetch *f) {
    lethe_http_drop(f->h->http);
    for (size_t i = 0; i < JOBS_MOST; i++) f->jobs[i].busy = false;
    for (size_t i = 0; i < f->parts.n; i++) f->parts.at[i].busy = false;
}

static lethe_status back_to_first(fetch *f, lethe_err *err) {
    char *copy = lethe_strdup(f->first);
    if (!copy) return lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    lethe_free(f->url);
    f->url = copy;
    f->trusted = true;
    f->known = false;
    f->address++;
    return LETHE_OK;
}

static lethe_status redirected(fetch *f, const lethe_http_response *r, lethe_err *err) {
    char *to, *next;
    bool same;
    if (++f->hops > HOPS_MOST)
        return lethe_fail(err, LETHE_FORMAT, "%s: the server redirects in circles", f->name);
    size_t size = strlen(r->headers) + 1; /* signed addresses are long */
    LETHE_TRY(lethe_alloc(&to, size, 1, "an address", err));
    lethe_status st =
        lethe_http_header(r->headers, "Location", to, size)
            ? lethe_url_resolve(f->url, to, &next, &same, err)
            : lethe_fail(err, LETHE_FORMAT, "%s: the server redirects to nowhere", f->name);
    lethe_free(to);
    LETHE_TRY(st);
    lethe_free(f->url);
    f->url = next;
    f->trusted = f->trusted && same;
    f->address++;
    return LETHE_OK;
}

/* After an answer that brought nothing, or not all: again, later, or not at all. */
static lethe_status again(fetch *f, const lethe_http_response *r, lethe_err *err) {
    uint64_t there = lethe_parts_done(&f->parts);
    f->h->unreachable = r->unreachable;
    if (there > f->best) f->failures = 0;
    if (there > f->best) f->best = there;
    /* Requests that fail side by side fail once. */
    if (lethe_seconds() >= f->pause_until || !f->failures) f->failures++;
    double wait = f->failures > f->h->o.retries ? -1 : lethe_hub_wait(f->h, f->failures, r);
    if (wait < 0) {
        lethe_hub_explain(f->h, r, f->name, err);
        return lethe_err_prefix(err, "what came is kept, the same command goes on from there");
    }
    double ready = lethe_seconds() + wait;
    if (ready > f->pause_until) f->pause_until = ready;
    lethe_log(f->h->env, LETHE_LOG_DEBUG, "%s: %ld %s: again in %.1f s", f->name, r->status,
              r->message, wait);
    return LETHE_OK;
}

static lethe_status settle(fetch *f, job *j, const lethe_http_response *r, lethe_err *err) {
    long s = r->status;
    j->busy = false;
    for (size_t i = 0; i <= j->part; i++)
        if (j->all || i == j->part) f->parts.at[i].busy = false;
    if (f->failed) return lethe_fail(err, f->failed, "%s", f->err.text);
    if (j->restart) { /* no ranges, or another file than the parts are of: everything anew */
        drop_jobs(f);
        f->whole = true;
        return LETHE_OK;
    }
    bool redirect = s == 301 || s == 302 || s == 303 || s == 307 || s == 308;
    bool out = s >= 400 && s < 500 && s != 408 && s != 429 && s != 416;
    if ((redirect || out) && j->address != f->address) return LETHE_OK; /* known by now */
    if (redirect) return redirected(f, r, err);
    if (s >= 200 && s < 300) {
        f->hops = 0;
        bool end = f->parts.at[j->part].done == lethe_parts_length(&f->parts, j->part);
        if (end && j->all && j->part + 1 < f->parts.n) end = false;
        if (end) return LETHE_OK;
        lethe_http_response cut = *r;
        snprintf(cut.message, sizeof cut.message, "less than the %llu bytes of the list of files",
                 (unsigned long long)f->file->size);
        cut.status = 0;
        return again(f, &cut, err);
    }
    if (s == 416)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: the server has another size than the %llu bytes of the list of "
                          "files",
                          f->name, (unsigned long long)f->file->size);
    if (!f->trusted && out) { /* its signature ran out */
        LETHE_TRY(back_to_first(f, err));
        return again(f, r, err);
    }
    if (!lethe_hub_passing(r)) return lethe_hub_explain(f->h, r, f->name, err);
    return again(f, r, err);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void report(fetch *f, const char *stage, double done) {
    f->progress->done = f->before + done;
    lethe_report_progress(f->h->env, &(lethe_progress){.stage = stage,
                                                       .done = f->progress->done / 1e6,
                                                       .total = f->progress->total / 1e6,
                                                       .unit = "MB",
                                                       .detail = f->file->path});
}

static lethe_status record_all(fetch *f, lethe_err *err) {
    for (size_t i = 0; i < f->parts.n; i++)
        if (f->parts.at[i].done != f->parts.at[i].recorded)
            LETHE_TRY(lethe_parts_record(&f->parts, i, err));
    return LETHE_OK;
}

static lethe_status loop(fetch *f, lethe_err *err) {
    while (!lethe_parts_whole(&f->parts)) {
        lethe_http_response r;
        bool got;
        report(f, "pull", (double)lethe_parts_done(&f->parts));
        if (lethe_stop_requested())
            return lethe_fail(err, LETHE_STOPPED,
                              "stopped (what came is kept; the same command goes on from there)");
        LETHE_TRY(start_jobs(f, err));
        double wait = f->pause_until - lethe_seconds();
        bool idle = !lethe_http_active(f->h->http);
        if (idle && wait > 0) {
            lethe_sleep(wait < 0.1 ? wait : 0.1);
            continue;
        }
        LETHE_TRY(lethe_http_next(f->h->http, 0.2, &r, &got, err));
        if (f->failed && !got) return lethe_fail(err, f->failed, "%s", f->err.text);
        if (!got) continue;
        lethe_status st = settle(f, r.user, &r, err);
        lethe_http_response_free(&r);
        LETHE_TRY(st);
    }
    return LETHE_OK;
}

/* The checksum of all bytes on the disk: SHA-256, or what git calls the blob. */
static lethe_status checksum(fetch *f, char hex[LETHE_DIGEST_HEX], lethe_err *err) {
    bool sha256 = strlen(f->file->oid) == 64;
    lethe_digest *d;
    char *buffer, front[40];
    LETHE_TRY(lethe_alloc(&buffer, BUFFER, 1, "a buffer", err));
    lethe_status st = lethe_digest_open(&d, sha256 ? LETHE_DIGEST_SHA256 : LETHE_DIGEST_SHA1, err);
    if (st) {
        lethe_free(buffer);
        return st;
    }
    int n = snprintf(front, sizeof front, "blob %llu", (unsigned long long)f->file->size);
    if (!sha256) lethe_digest_put(d, front, (size_t)n + 1); /* with its NUL */
    for (uint64_t at = 0; !st && at < f->file->size;) {
        uint64_t left = f->file->size - at;
        ssize_t k = pread(f->parts.fd, buffer, left < BUFFER ? (size_t)left : BUFFER, (off_t)at);
        if (k <= 0)
            st = lethe_fail_errno(err, LETHE_IO, "%s: cannot read", f->parts.path);
        else if (lethe_stop_requested())
            st = lethe_fail(err, LETHE_STOPPED, "stopped (everything came; it is kept)");
        if (st) break;
        lethe_digest_put(d, buffer, (size_t)k);
        at += (uint64_t)k;
        report(f, "verify", (double)at);
    }
    if (!st) st = lethe_digest_hex(d, hex, err);
    lethe_digest_close(&d);
    lethe_free(buffer);
    return st;
}

static lethe_status fetch_all(fetch *f, const char *blob, lethe_err *err) {
    char hex[LETHE_DIGEST_HEX];
    for (int tries = 0;; tries++) {
        lethe_status st = loop(f, err), kept;
        drop_jobs(f);
        kept = record_all(f, st ? NULL : err);
        if (st || kept) return st ? st : kept;
        LETHE_TRY(checksum(f, hex, err));
        if (!strcmp(hex, f->file->oid)) return lethe_parts_finish(&f->parts, blob, err);
        if (tries) {
            lethe_parts_remove(&f->parts);
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: its checksum is %s, want %s, twice: the server or the way to "
                              "it damages the file; nothing was kept",
                              f->name, hex, f->file->oid);
        }
        lethe_log(f->h->env, LETHE_LOG_WARN,
                  "%s: what came has another checksum than it should; all of it is fetched again",
                  f->name);
        LETHE_TRY(lethe_parts_forget_all(&f->parts, err));
        LETHE_TRY(back_to_first(f, err));
        f->best = 0;
    }
}

static lethe_status first_address(fetch *f, const lethe_hub_repo *repo, const char *commit,
                                  lethe_err *err) {
    lethe_strbuf b = {0};
    lethe_strbuf_addf(&b, "%s/%s", f->h->o.endpoint, repo->dataset ? "datasets/" : "");
    lethe_url_add(&b, repo->name);
    lethe_strbuf_addf(&b, "/resolve/%s/", commit);
    lethe_url_add(&b, f->file->path);
    f->first = b.status ? NULL : lethe_strdup(lethe_strbuf_str(&b));
    lethe_strbuf_free(&b);
    if (!f->first) return lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    return back_to_first(f, err);
}

lethe_status lethe_hub_fetch(lethe_hub *h, const lethe_hub_repo *repo, const char *commit,
                             const lethe_hub_file *file, const char *blob, lethe_hub_progress *p,
                             uint64_t *fetched, lethe_err *err) {
    fetch *f;
    lethe_strbuf name = {0};
    LETHE_TRY(lethe_zalloc(&f, 1, sizeof *f, "a file on its way", err));
    f->h = h;
    f->file = file;
    f->progress = p;
    f->before = p->done;
    lethe_strbuf_addf(&name, "%s: %s", repo->name, file->path);
    f->name = lethe_strbuf_str(&name);
    lethe_status st = first_address(f, repo, commit, err);
    if (!st) st = lethe_parts_open(&f->parts, blob, file->size, h->o.part, err);
    if (!st && f->parts.damaged)
        lethe_log(h->env, LETHE_LOG_WARN, "%s: %zu damaged parts are fetched again", f->name,
                  f->parts.damaged);
    if (!st) st = fetch_all(f, blob, err);
    if (!st) p->done = f->before + (double)file->size;
    *fetched = f->came;
    if (f->parts.path) lethe_parts_close(&f->parts);
    lethe_free(f->first);
    lethe_free(f->url);
    lethe_strbuf_free(&name);
    lethe_free(f);
    return st;
}
