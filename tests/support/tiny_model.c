/* SPDX-License-Identifier: MIT */
#include "support/tiny_model.h"

#include <stdio.h>
#include <stdlib.h>

const char *test_random_model(const char *dir, const char *options) {
    static char path[4096];
    char command[8192];
    const char *tool = getenv("LETHE_MAKE_MODEL");
    snprintf(path, sizeof path, "%s/random.gguf", dir);
    snprintf(command, sizeof command, "'%s' '%s' %s >/dev/null", tool ? tool : "", path, options);
    if (tool && !system(command)) return path;
    fprintf(stderr, "LETHE_MAKE_MODEL must name lethe_make_model, which makes the test's model\n");
    exit(1);
}

const char *test_tiny_model(const char *dir) {
    return test_random_model(dir, "--d 32 --layers 3 --heads 4 --kv-heads 2 --ffn 64 --vocab 300 "
                                  "--ctx 2048 --type f32 --chat 1");
}
