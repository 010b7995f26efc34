/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "front/command.h"

#define DEMO_CONFIG "data/demo/config.json"

static bool holds_demo(const char *dir) {
    char *path = lethe_path_join(dir, DEMO_CONFIG);
    bool yes = path && lethe_path_exists(path);
    lethe_free(path);
    return yes;
}

lethe_status lethe_share_dir(char **out, lethe_err *err) {
    const char *given = getenv("LETHE_DATA");
    if (given) {
        if (!holds_demo(given))
            return lethe_fail(err, LETHE_NOTFOUND, "LETHE_DATA=%s: no %s there", given,
                              DEMO_CONFIG);
        *out = lethe_strdup(given);
        return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory");
    }
    /* Installed: PREFIX/bin/lethe; in the source tree: build/lethe. */
    static const char *const beside[] = {"../share/lethe", "..", "../.."};
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash) *slash = '\0';
    for (size_t i = 0; slash && i < sizeof beside / sizeof *beside; i++) {
        char *dir = lethe_path_join(exe, beside[i]), *real = dir ? realpath(dir, NULL) : NULL;
        lethe_free(dir);
        if (real && holds_demo(real)) {
            *out = lethe_strdup(real);
            free(real);
            return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory");
        }
        free(real);
    }
    return lethe_fail(
        err, LETHE_NOTFOUND,
        "the embedded default was not found beside the program or in ../share/lethe (set "
        "LETHE_DATA to the folder that holds %s, or pass --model and texts)",
        DEMO_CONFIG);
}
