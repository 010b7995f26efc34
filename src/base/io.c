/* SPDX-License-Identifier: MIT */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

lethe_status lethe_map_open(lethe_map *out, const char *path, lethe_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lethe_fail_errno(err,
                                errno == ENOENT || errno == ENOTDIR ? LETHE_NOTFOUND : LETHE_IO,
                                "%s: cannot open", path);
    lethe_status st = LETHE_OK;
    lethe_map m = {0};
    struct stat sb;
    if (fstat(fd, &sb)) {
        st = lethe_fail_errno(err, LETHE_IO, "%s: cannot stat", path);
        goto done;
    }
    if (!S_ISREG(sb.st_mode)) {
        st = lethe_fail(err, LETHE_FORMAT, "%s: not a regular file", path);
        goto done;
    }
    m.size = (size_t)sb.st_size;
    if (m.size) {
        void *p = mmap(NULL, m.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            st = lethe_fail_errno(err, LETHE_IO, "%s: cannot map", path);
            goto done;
        }
        m.data = p;
    }
    m.path = lethe_strdup(path);
    if (!m.path) {
        st = lethe_fail(err, LETHE_NOMEM, "out of memory opening %s", path);
        lethe_map_close(&m);
        goto done;
    }
    *out = m;
done:
    close(fd);
    return st;
}

void lethe_map_close(lethe_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    lethe_free(map->path);
    *map = (lethe_map){0};
}

bool lethe_path_exists(const char *path) {
    struct stat sb;
    return stat(path, &sb) == 0;
}

bool lethe_path_is_dir(const char *path) {
    struct stat sb;
    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

bool lethe_path_ends_with(const char *path, const char *end) {
    size_t a = strlen(path), b = strlen(end);
    return a >= b && !strcmp(path + a - b, end);
}

char *lethe_path_join(const char *dir, const char *name) {
    size_t a = strlen(dir), b = strlen(name);
    bool slash = a && dir[a - 1] != '/';
    char *p;
    if (lethe_alloc(&p, a + b + 2, 1, "a path", NULL)) return NULL;
    memcpy(p, dir, a);
    if (slash) p[a] = '/';
    memcpy(p + a + slash, name, b + 1);
    return p;
}

lethe_status lethe_mkdirs(const char *dir, lethe_err *err) {
    if (!*dir) return lethe_fail(err, LETHE_USAGE, "the name of the folder is empty");
    char *p = lethe_strdup(dir);
    if (!p) return lethe_fail(err, LETHE_NOMEM, "out of memory making %s", dir);
    lethe_status st = LETHE_OK;
    for (char *s = p + 1; !st; s++) {
        char c = *s;
        if (c != '/' && c != '\0') continue;
        *s = '\0';
        if (mkdir(p, 0777) && errno != EEXIST)
            st = lethe_fail_errno(err, LETHE_IO, "%s: cannot make the folder", p);
        *s = c;
        if (c == '\0') break;
    }
    if (!st && !lethe_path_is_dir(dir))
        st = lethe_fail(err, LETHE_IO, "%s: is in the way (not a folder)", dir);
    lethe_free(p);
    return st;
}

struct lethe_writer {
    FILE *fp;
    char *path, *temp;
    uint64_t pos;
    lethe_status status;
    int saved_errno;
};

static void writer_free(lethe_writer *w) {
    lethe_free(w->path);
    lethe_free(w->temp);
    lethe_free(w);
}

/* Removes what a killed process left of earlier writes to this path: "NAME.tmp-PID" of no process.
 */
static void sweep_leftovers(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *dir = lethe_strdup(path);
    if (!dir) return;
    if (slash) dir[slash == path ? 1 : slash - path] = '\0';
    DIR *d = opendir(slash ? dir : ".");
    size_t n = strlen(name);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *end;
        if (strncmp(e->d_name, name, n) || strncmp(e->d_name + n, ".tmp-", 5)) continue;
        long pid = strtol(e->d_name + n + 5, &end, 10);
        if (*end || pid <= 0) continue;
        /* One writer a path and process, so our own number is a dead namesake's. */
        if (pid != (long)getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH)) continue;
        unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d) closedir(d);
    lethe_free(dir);
}

lethe_status lethe_writer_open(lethe_writer **out, const char *path, lethe_err *err) {
    lethe_writer *w;
    LETHE_TRY(lethe_zalloc(&w, 1, sizeof *w, "a file writer", err));
    size_t n = strlen(path);
    w->path = lethe_strdup(path);
    if (!w->path || lethe_alloc(&w->temp, n + 32, 1, "a path", NULL)) {
        writer_free(w);
        return lethe_fail(err, LETHE_NOMEM, "out of memory opening %s", path);
    }
    sweep_leftovers(path);
    snprintf(w->temp, n + 32, "%s.tmp-%ld", path, (long)getpid());
    int fd = open(w->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        lethe_status st = lethe_fail_errno(
            err, LETHE_IO, "%s: cannot write here (is the folder there and writable?)", path);
        writer_free(w);
        return st;
    }
    if (!(w->fp = fdopen(fd, "wb"))) {
        lethe_status st = lethe_fail_errno(err, LETHE_IO, "%s: cannot write", path);
        close(fd);
        unlink(w->temp);
        writer_free(w);
        return st;
    }
    *out = w;
    return LETHE_OK;
}

static void note(lethe_writer *w) {
    if (w->status) return;
    w->status = LETHE_IO;
    w->saved_errno = errno;
}

void lethe_writer_put(lethe_writer *w, const void *data, size_t n) {
    if (w->status || !n) return;
    if (fwrite(data, 1, n, w->fp) != n)
        note(w);
    else
        w->pos += n;
}

uint64_t lethe_writer_pos(const lethe_writer *w) {
    return w->pos;
}

bool lethe_writer_failed(const lethe_writer *w) {
    return w->status != LETHE_OK;
}

void lethe_writer_patch(lethe_writer *w, uint64_t offset, const void *data, size_t n) {
    if (w->status || !n) return;
    if (fseeko(w->fp, (off_t)offset, SEEK_SET) || fwrite(data, 1, n, w->fp) != n ||
        fseeko(w->fp, 0, SEEK_END))
        note(w);
}

static void sync_folder(const char *path) {
    char *dir = lethe_strdup(path);
    if (!dir) return;
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = '\0';
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* The rename has happened; a folder that cannot be synced (some network file systems) does
     * not make the file wrong, so this alone is no failure. */
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    lethe_free(dir);
}

lethe_status lethe_writer_commit(lethe_writer **wp, lethe_err *err) {
    lethe_writer *w = *wp;
    *wp = NULL;
    if (!w->status && (fflush(w->fp) || fsync(fileno(w->fp)))) note(w);
    if (fclose(w->fp)) note(w);
    if (!w->status && rename(w->temp, w->path)) note(w);
    lethe_status st = w->status;
    if (st) {
        unlink(w->temp);
        errno = w->saved_errno;
        st = lethe_fail_errno(err, st, "%s: writing failed; nothing was changed", w->path);
    } else {
        sync_folder(w->path);
    }
    writer_free(w);
    return st;
}

void lethe_writer_abort(lethe_writer **wp) {
    lethe_writer *w = *wp;
    if (!w) return;
    fclose(w->fp);
    unlink(w->temp);
    writer_free(w);
    *wp = NULL;
}

lethe_status lethe_write_file(const char *path, const void *data, size_t n, lethe_err *err) {
    lethe_writer *w;
    LETHE_TRY(lethe_writer_open(&w, path, err));
    lethe_writer_put(w, data, n);
    return lethe_writer_commit(&w, err);
}
