/* SPDX-License-Identifier: MIT */
#include "support/support.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel/kernel.h"

/* With LETHE_CPU in the environment a test is about that set of kernels: it is skipped where the
 * processor lacks it, and fails before it begins if another set would run. */
__attribute__((constructor)) static void check_kernels(void) {
    const char *wanted = getenv("LETHE_CPU");
    if (!wanted || !strcmp(wanted, "auto")) return;
    if (!lethe_kernels_find(wanted)) {
        fprintf(stderr, "skipped: no kernels \"%s\" here\n", wanted);
        exit(LETHE_TEST_SKIPPED);
    }
    if (strcmp(lethe_kernels_get()->name, wanted)) {
        fprintf(stderr, "LETHE_CPU=%s, but %s runs\n", wanted, lethe_kernels_get()->name);
        exit(1);
    }
}

static const char *keep(const char *a, const char *b) {
    static char slots[8][4096];
    static unsigned next;
    char joined[sizeof slots[0]]; /* a or b may itself be a slot */
    snprintf(joined, sizeof joined, "%s/%s", a, b);
    return strcpy(slots[next++ % 8], joined);
}

const char *test_source(const char *relative) {
    const char *root = getenv("LETHE_SOURCE");
    return keep(root ? root : ".", relative);
}

const char *test_shared(const char *relative) {
    const char *root = getenv("LETHE_SHARED");
    const char *path = root ? keep(root, relative) : keep(test_source("../shared"), relative);
    if (access(path, R_OK) == 0) return path;
    const char *ci = getenv("CI");
    if (ci && !strcmp(ci, "true")) {
        fprintf(stderr, "%s: missing, and in CI it must be there\n", path);
        exit(1);
    }
    fprintf(stderr, "skipped: %s is missing\n", path);
    return NULL;
}

static char temp[256];

const char *test_temp_dir(void) {
    const char *base = getenv("TMPDIR");
    snprintf(temp, sizeof temp, "%s/lethe-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(temp)) {
        perror("mkdtemp");
        exit(1);
    }
    return temp;
}

static int drop(const char *path, const struct stat *sb, int flag, struct FTW *f) {
    (void)sb;
    (void)flag;
    (void)f;
    return remove(path);
}

void test_temp_remove(void) {
    if (temp[0]) nftw(temp, drop, 16, FTW_DEPTH | FTW_PHYS);
    temp[0] = '\0';
}

void test_assert_ok(lethe_status st, const lethe_err *err, const char *file, int line) {
    if (st == LETHE_OK) return;
    print_error("status %d: %s\n", (int)st, err ? err->text : "");
    _fail(file, line);
}

double test_rel_error(const float *got, const float *want, size_t n) {
    double worst = 0, scale = 1e-300;
    for (size_t i = 0; i < n; i++) {
        double e = fabs((double)got[i] - (double)want[i]);
        if (!(e <= worst)) worst = e; /* NaN counts as worst */
        if (fabs((double)want[i]) > scale) scale = fabs((double)want[i]);
    }
    return worst / scale;
}

void test_assert_close(const float *got, const float *want, size_t n, double rel, const char *what,
                       const char *file, int line) {
    double e = test_rel_error(got, want, n);
    if (e <= rel) return;
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= fabs((double)got[at] - (double)want[at])))
            at = i;
    print_error("%s: relative error %.3g, allowed %.3g; worst at %zu: got %.9g, want %.9g\n", what,
                e, rel, at, (double)got[at], (double)want[at]);
    _fail(file, line);
}
