/* SPDX-License-Identifier: MIT
 *
 * The layout is that of huggingface_hub, links included, so that what either fetched is there for
 * both.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "format/hub.h"

#define DEEPEST 32

/* "models--owner--name" */
static void folder_name(const lethe_hub_repo *repo, lethe_strbuf *b) {
    lethe_strbuf_adds(b, repo->dataset ? "datasets--" : "models--");
    for (const char *p = repo->name; *p; p++)
        lethe_strbuf_adds(b, *p == '/' ? "--" : (char[2]){*p, '\0'});
}

static char *take(lethe_strbuf *b) {
    char *s = b->status ? NULL : lethe_strdup(lethe_strbuf_str(b));
    lethe_strbuf_free(b);
    return s;
}

static lethe_status no_memory(lethe_err *err) {
    return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

char *lethe_hub_folder(const char *cache, const lethe_hub_repo *repo) {
    lethe_strbuf b = {0};
    lethe_strbuf_addf(&b, "%s/", cache);
    folder_name(repo, &b);
    return take(&b);
}

/* ---- what is there --------------------------------------------------------------------------- */

static lethe_status add(lethe_hub_listing *l, const char *path, uint64_t size, lethe_err *err) {
    LETHE_TRY(
        lethe_grow(&l->file, &l->cap, l->n, l->n + 1, sizeof *l->file, "a list of files", err));
    l->file[l->n] = (lethe_hub_file){.path = lethe_strdup(path), .size = size};
    if (!l->file[l->n].path) return no_memory(err);
    l->n++;
    return LETHE_OK;
}

static lethe_status scan(lethe_hub_listing *l, const char *root, const char *below, int depth,
                         lethe_err *err) {
    char *dir = *below ? lethe_path_join(root, below) : lethe_strdup(root);
    if (!dir) return no_memory(err);
    DIR *d = depth < DEEPEST ? opendir(dir) : NULL;
    lethe_status st = LETHE_OK;
    for (struct dirent *e; !st && d && (e = readdir(d));) {
        struct stat sb;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (fstatat(dirfd(d), e->d_name, &sb, 0)) continue; /* a link to a blob that is gone */
        char *path = *below ? lethe_path_join(below, e->d_name) : lethe_strdup(e->d_name);
        if (!path)
            st = no_memory(err);
        else if (S_ISDIR(sb.st_mode))
            st = scan(l, root, path, depth + 1, err);
        else if (S_ISREG(sb.st_mode))
            st = add(l, path, (uint64_t)sb.st_size, err);
        lethe_free(path);
    }
    if (d) closedir(d);
    lethe_free(dir);
    return st;
}

/* The commit of the revision: refs/REVISION, or the revision itself. "" : not known. */
static lethe_status known_commit(const char *folder, const lethe_hub_repo *repo, char commit[41],
                                 lethe_err *err) {
    lethe_strbuf b = {0};
    lethe_map m;
    commit[0] = '\0';
    if (lethe_hub_is_hex(repo->revision, 40)) {
        memcpy(commit, repo->revision, 41);
        return LETHE_OK;
    }
    lethe_strbuf_addf(&b, "%s/refs/%s", folder, repo->revision);
    char *path = take(&b);
    if (!path) return no_memory(err);
    bool there = lethe_path_exists(path);
    lethe_status st = there ? lethe_map_open(&m, path, err) : LETHE_OK;
    if (!st && there) {
        size_t n = m.size;
        while (n && strchr(" \r\n", m.data[n - 1])) n--;
        if (n == 40) snprintf(commit, 41, "%.40s", (const char *)m.data);
        if (!lethe_hub_is_hex(commit, 40)) commit[0] = '\0';
        lethe_map_close(&m);
    }
    lethe_free(path);
    return st;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const lethe_hub_file *)a)->path, ((const lethe_hub_file *)b)->path);
}

lethe_status lethe_hub_cached(const char *cache, const lethe_hub_repo *repo, lethe_hub_listing *out,
                              lethe_err *err) {
    lethe_hub_listing l = {0};
    char *folder = lethe_hub_folder(cache, repo), *root = NULL;
    lethe_status st = folder ? known_commit(folder, repo, l.commit, err) : no_memory(err);
    if (!st && l.commit[0]) {
        lethe_strbuf b = {0};
        lethe_strbuf_addf(&b, "%s/snapshots/%s", folder, l.commit);
        root = take(&b);
        st = root ? scan(&l, root, "", 0, err) : no_memory(err);
    }
    if (!st && !l.n)
        st = lethe_fail(err, LETHE_NOTFOUND, "%s: nothing of revision \"%s\" is in the cache %s",
                        repo->name, repo->revision, cache);
    lethe_free(folder);
    lethe_free(root);
    if (st) {
        lethe_hub_listing_free(&l);
        return st;
    }
    qsort(l.file, l.n, sizeof *l.file, by_path);
    *out = l;
    return LETHE_OK;
}

/* ---- putting in place ------------------------------------------------------------------------ */

/* Makes the folders above a file. */
static lethe_status parents(const char *path, lethe_err *err) {
    char *dir = lethe_strdup(path);
    if (!dir) return no_memory(err);
    *strrchr(dir, '/') = '\0';
    lethe_status st = lethe_mkdirs(dir, err);
    lethe_free(dir);
    return st;
}

lethe_status lethe_hub_link(const char *folder, const char *commit, const lethe_hub_file *f,
                            lethe_err *err) {
    lethe_strbuf a = {0}, t = {0}, b = {0};
    lethe_strbuf_addf(&a, "%s/snapshots/%s/%s", folder, commit, f->path);
    lethe_strbuf_addf(&t, "%s.tmp-%ld", lethe_strbuf_str(&a), (long)getpid());
    lethe_strbuf_adds(&b, "../../");
    for (const char *p = f->path; *p; p++)
        if (*p == '/') lethe_strbuf_adds(&b, "../");
    lethe_strbuf_addf(&b, "blobs/%s", f->oid);
    char *at = take(&a), *temp = take(&t), *to = take(&b), there[256];
    lethe_status st = at && temp && to ? parents(at, err) : no_memory(err);
    if (!st) {
        ssize_t n = readlink(at, there, sizeof there);
        bool same = n > 0 && (size_t)n == strlen(to) && !memcmp(there, to, (size_t)n);
        if (!same) unlink(temp);
        if (!same && (symlink(to, temp) || rename(temp, at))) {
            st = lethe_fail_errno(err, LETHE_IO, "%s: cannot link to its contents", at);
            unlink(temp);
        }
    }
    lethe_free(at);
    lethe_free(temp);
    lethe_free(to);
    return st;
}

lethe_status lethe_hub_write_ref(const char *folder, const lethe_hub_repo *repo, const char *commit,
                                 lethe_err *err) {
    if (!strcmp(repo->revision, commit)) return LETHE_OK;
    lethe_strbuf b = {0};
    lethe_strbuf_addf(&b, "%s/refs/%s", folder, repo->revision);
    char *path = take(&b);
    if (!path) return no_memory(err);
    lethe_status st = parents(path, err);
    if (!st) st = lethe_write_file(path, commit, strlen(commit), err);
    lethe_free(path);
    return st;
}

/* ---- the lock -------------------------------------------------------------------------------- */

lethe_status lethe_hub_lock(const char *cache, const lethe_hub_repo *repo, const char *oid,
                            const lethe_env *env, int *fd, lethe_err *err) {
    lethe_strbuf b = {0};
    lethe_strbuf_addf(&b, "%s/.locks/", cache);
    folder_name(repo, &b);
    lethe_strbuf_addf(&b, "/%s.lock", oid);
    char *path = take(&b);
    if (!path) return no_memory(err);
    bool told = false;
    lethe_status st = parents(path, err);
    *fd = st ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (!st && *fd < 0) st = lethe_fail_errno(err, LETHE_IO, "%s: cannot lock", path);
    while (!st && flock(*fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            st = lethe_fail_errno(err, LETHE_IO, "%s: cannot lock", path);
        else if (lethe_stop_requested())
            st = lethe_fail(err, LETHE_STOPPED, "stopped while another program fetches the file");
        if (!st && !told)
            lethe_log(env, LETHE_LOG_INFO, "another program fetches %.12s.. of %s: waiting", oid,
                      repo->name);
        told = true;
        if (!st) lethe_sleep(0.2);
    }
    if (st && *fd >= 0) close(*fd);
    lethe_free(path);
    return st;
}

void lethe_hub_unlock(int fd) {
    close(fd);
}
