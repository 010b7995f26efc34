/* SPDX-License-Identifier: MIT */
#include "stage/pull.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/strbuf.h"

#define SPARE ((uint64_t)64 << 20) /* room that stays free on the disk */

typedef struct pull {
    lethe_hub *hub;
    const char *cache;
    const lethe_hub_repo *repo;
    const lethe_env *env;
    lethe_hub_listing list;
    lethe_choice choice;
    char *folder;
    lethe_hub_progress progress;
} pull;

static lethe_status path_of(char **out, lethe_err *err, const char *a, const char *b,
                            const char *c) {
    lethe_strbuf s = {0};
    lethe_strbuf_addf(&s, "%s/%s%s%s", a, b, *c ? "/" : "", c);
    *out = s.status ? NULL : lethe_strdup(lethe_strbuf_str(&s));
    lethe_strbuf_free(&s);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

static bool is_there(const char *path, uint64_t size) {
    struct stat sb;
    return !stat(path, &sb) && S_ISREG(sb.st_mode) && (uint64_t)sb.st_size == size;
}

/* What is there of a file that is on its way, in bytes of the disk. */
static uint64_t begun(const char *blob) {
    static const char *const ends[] = {".lethe.incomplete", ".incomplete"};
    uint64_t most = 0;
    for (size_t i = 0; i < 2; i++) {
        lethe_strbuf b = {0};
        struct stat sb;
        lethe_strbuf_addf(&b, "%s%s", blob, ends[i]);
        if (!b.status && !stat(lethe_strbuf_str(&b), &sb) && (uint64_t)sb.st_blocks * 512 > most)
            most = (uint64_t)sb.st_blocks * 512;
        lethe_strbuf_free(&b);
    }
    return most;
}

/* Sums what is to be fetched; there must be room for it. */
static lethe_status measure(pull *p, uint64_t *bytes, lethe_err *err) {
    uint64_t missing = 0;
    struct statvfs disk;
    for (size_t i = 0; i < p->choice.n; i++) {
        const lethe_hub_file *f = &p->list.file[p->choice.index[i]];
        char *blob;
        LETHE_TRY(path_of(&blob, err, p->folder, "blobs", f->oid));
        *bytes += f->size;
        if (!is_there(blob, f->size)) {
            uint64_t have = begun(blob);
            missing += f->size > have ? f->size - have : 0;
            p->progress.total += (double)f->size;
        }
        lethe_free(blob);
    }
    if (!missing || statvfs(p->folder, &disk)) return LETHE_OK; /* then writing will tell */
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (missing + SPARE <= room) return LETHE_OK;
    return lethe_fail(err, LETHE_IO,
                      "%s: %.2f GB are missing, and the disk of %s has room for %.2f (set HF_HOME "
                      "to a larger one)",
                      p->repo->name, (double)missing / 1e9, p->cache,
                      (double)(room > SPARE ? room - SPARE : 0) / 1e9);
}

static lethe_status one(pull *p, const lethe_hub_file *f, lethe_pulled *out, lethe_err *err) {
    char *blob;
    int lock = -1;
    LETHE_TRY(path_of(&blob, err, p->folder, "blobs", f->oid));
    lethe_status st = LETHE_OK;
    if (!is_there(blob, f->size)) {
        st = lethe_hub_lock(p->cache, p->repo, f->oid, p->env, &lock, err);
        if (!st && !is_there(blob, f->size)) { /* nobody fetched it meanwhile */
            uint64_t came = 0;
            st =
                lethe_hub_fetch(p->hub, p->repo, p->list.commit, f, blob, &p->progress, &came, err);
            out->fetched += came;
        }
        if (lock >= 0) lethe_hub_unlock(lock);
    }
    if (!st) st = lethe_hub_link(p->folder, p->list.commit, f, err);
    lethe_free(blob);
    return st;
}

static lethe_status online(pull *p, lethe_pulled *out, lethe_err *err) {
    char *blobs;
    LETHE_TRY(path_of(&blobs, err, p->folder, "blobs", ""));
    lethe_status st = lethe_mkdirs(blobs, err);
    lethe_free(blobs);
    LETHE_TRY(st);
    LETHE_TRY(measure(p, &out->bytes, err));
    for (size_t i = 0; i < p->choice.n; i++)
        LETHE_TRY(one(p, &p->list.file[p->choice.index[i]], out, err));
    if (p->progress.total > 0)
        lethe_report_progress(p->env, &(lethe_progress){.stage = "pull",
                                                        .done = p->progress.total / 1e6,
                                                        .total = p->progress.total / 1e6,
                                                        .unit = "MB",
                                                        .detail = p->choice.point,
                                                        .finished = true});
    return lethe_hub_write_ref(p->folder, p->repo, p->list.commit, err);
}

/* The files, from the server or from the cache. *cached: from there. */
static lethe_status find_files(pull *p, bool *cached, lethe_err *err) {
    lethe_err local = {0};
    *cached = !p->hub;
    if (*cached) return lethe_hub_cached(p->cache, p->repo, &p->list, err);
    lethe_status st = lethe_hub_list(p->hub, p->repo, &p->list, err);
    if (!st || !lethe_hub_unreachable(p->hub) || st == LETHE_STOPPED) return st;
    if (lethe_hub_cached(p->cache, p->repo, &p->list, &local)) return st;
    lethe_log(p->env, LETHE_LOG_WARN, "%s; what is in the cache is taken", err->text);
    *cached = true;
    return LETHE_OK;
}

lethe_status lethe_pull(lethe_hub *hub, const char *cache, const lethe_hub_repo *repo,
                        const char *what, bool all, const lethe_env *env, lethe_pulled *out,
                        lethe_err *err) {
    pull p = {.hub = hub, .cache = cache, .repo = repo, .env = env};
    lethe_pulled r = {0};
    char *snapshot = NULL;
    lethe_status st = find_files(&p, &r.offline, err);
    if (!st) st = lethe_pull_choose(&p.list, repo->name, what, all, &p.choice, err);
    if (st == LETHE_NOTFOUND && r.offline && p.list.n)
        lethe_err_prefix(err, "offline, in the cache %s", cache);
    if (!st && !(p.folder = lethe_hub_folder(cache, repo)))
        st = lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    if (!st && !r.offline) st = online(&p, &r, err);
    for (size_t i = 0; !st && r.offline && i < p.choice.n; i++)
        r.bytes += p.list.file[p.choice.index[i]].size;
    if (!st) st = path_of(&snapshot, err, p.folder, "snapshots", p.list.commit);
    if (!st) st = path_of(&r.path, err, snapshot, p.choice.point, "");
    if (!st) {
        size_t n = strlen(r.path);
        if (r.path[n - 1] == '/') r.path[n - 1] = '\0'; /* the whole snapshot */
        memcpy(r.commit, p.list.commit, sizeof r.commit);
        r.files = p.choice.n;
        *out = r;
    }
    lethe_free(snapshot);
    lethe_free(p.folder);
    lethe_choice_free(&p.choice);
    lethe_hub_listing_free(&p.list);
    return st;
}

void lethe_pulled_free(lethe_pulled *p) {
    lethe_free(p->path);
    *p = (lethe_pulled){0};
}
