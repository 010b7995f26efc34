/* SPDX-License-Identifier: MIT */
#include "format/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/run.h"

typedef struct spool {
    char *path;
    int fd;
} spool;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static spool *spools; /* those that are whole */
static size_t n_spools, cap_spools;

bool lethe_spool_wants(const char *path) {
    struct stat sb;
    if (!strcmp(path, "-")) return true;
    return !stat(path, &sb) && !S_ISREG(sb.st_mode) && !S_ISDIR(sb.st_mode);
}

/* Not /tmp if it can be helped: that is often memory. */
static const char *folder(void) {
    const char *dir = getenv("TMPDIR");
    return dir && *dir ? dir : access("/var/tmp", W_OK) ? "/tmp" : "/var/tmp";
}

static lethe_status make(const char *dir, int *fd, lethe_err *err) {
    *fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd >= 0) return LETHE_OK;
    char *name = lethe_path_join(dir, "lethe-XXXXXX"); /* a file system without O_TMPFILE */
    if (!name) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    *fd = mkostemp(name, O_CLOEXEC);
    if (*fd >= 0) unlink(name);
    lethe_free(name);
    return *fd >= 0 ? LETHE_OK
                    : lethe_fail_errno(err, LETHE_IO,
                                       "%s: no temporary file can be made there (set TMPDIR to "
                                       "another folder)",
                                       dir);
}

static lethe_status put(int to, const char *buf, size_t n, uint64_t before, const char *what,
                        const char *dir, lethe_err *err) {
    for (size_t at = 0; at < n;) {
        ssize_t k = write(to, buf + at, n - at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0)
            return lethe_fail_errno(err, LETHE_IO,
                                    "%s: keeping it in %s for the second reading failed after %llu "
                                    "bytes (set TMPDIR to a folder with room)",
                                    what, dir, (unsigned long long)(before + at));
        at += (size_t)k;
    }
    return LETHE_OK;
}

static lethe_status copy(int from, int to, const char *what, const char *dir, lethe_err *err) {
    static char buf[1 << 16]; /* under the lock */
    for (uint64_t all = 0;;) {
        if (lethe_stop_requested()) return lethe_fail(err, LETHE_STOPPED, "stopped");
        ssize_t k = read(from, buf, sizeof buf);
        if (k == 0) return LETHE_OK;
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return lethe_fail_errno(err, LETHE_IO, "%s: reading failed", what);
        LETHE_TRY(put(to, buf, (size_t)k, all, what, dir, err));
        all += (uint64_t)k;
    }
}

static lethe_status fill(const char *path, int *fd, lethe_err *err) {
    bool standard = !strcmp(path, "-");
    const char *what = standard ? "standard input" : path, *dir = folder();
    if (standard && isatty(0))
        return lethe_fail(err, LETHE_USAGE,
                          "standard input is a terminal (pipe the text in: command | lethe ... -)");
    int from = standard ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) return lethe_fail_errno(err, LETHE_IO, "%s: cannot open", path);
    lethe_status st = make(dir, fd, err);
    if (!st && (st = copy(from, *fd, what, dir, err))) close(*fd);
    if (!standard) close(from);
    return st;
}

static lethe_status find(const char *path, int *fd, lethe_err *err) {
    for (size_t i = 0; i < n_spools; i++)
        if (!strcmp(spools[i].path, path)) {
            *fd = spools[i].fd;
            return LETHE_OK;
        }
    LETHE_TRY(lethe_grow(&spools, &cap_spools, n_spools, n_spools + 1, sizeof *spools,
                         "what was read", err));
    char *name = lethe_strdup(path);
    if (!name) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = fill(path, fd, err);
    if (st)
        lethe_free(name);
    else
        spools[n_spools++] = (spool){name, *fd};
    return st;
}

lethe_status lethe_spool_open(const char *path, int *fd, lethe_err *err) {
    pthread_mutex_lock(&lock);
    lethe_status st = find(path, fd, err);
    pthread_mutex_unlock(&lock);
    return st;
}
