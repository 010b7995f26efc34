/* SPDX-License-Identifier: MIT
 *
 * A fuzz target without libFuzzer: runs it over files and folders, and over each file with bytes
 * taken out, changed and put in, at random but always alike.
 * Usage: fuzz_NAME [ROUNDS] FILE_OR_FOLDER..
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned long rounds, done;

/* A copy of its own size, so that the sanitizers see each byte beyond it. */
static void one(const uint8_t *data, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy) abort();
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    done++;
}

static size_t spoil(uint8_t *to, size_t n, size_t cap, lethe_rng *rng) {
    static const char *const word[] = {"null", "-1",      "1e308", "\"\\ud800\"",
                                       "[[[[", "{\"a\":", "true",  "\"\"",
                                       "\xff", "\\u0000", "]",     "999999999999"};
    for (uint64_t k = 1 + lethe_rng_below(rng, 4); k && n; k--) {
        size_t at = (size_t)lethe_rng_below(rng, n);
        switch (lethe_rng_below(rng, 4)) {
        case 0: to[at] = (uint8_t)lethe_rng_below(rng, 256); break;
        case 1: memmove(to + at, to + at + 1, --n - at); break;
        case 2: n = at; break;
        default: {
            const char *w = word[lethe_rng_below(rng, sizeof word / sizeof *word)];
            size_t len = strlen(w);
            if (n + len > cap) break;
            memmove(to + at + len, to + at, n - at);
            memcpy(to + at, w, len);
            n += len;
        }
        }
    }
    return n;
}

static void file(const char *path) {
    static uint8_t data[1 << 16], other[1 << 17];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    one(data, n);
    lethe_rng rng = lethe_rng_make(n, 1);
    for (unsigned long r = 0; r < rounds; r++) {
        memcpy(other, data, n);
        size_t m = spoil(other, n, sizeof other, &rng);
        one(other, m);
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char *end;
        unsigned long number = strtoul(argv[i], &end, 10);
        if (!*end) {
            rounds = number;
            continue;
        }
        DIR *d = opendir(argv[i]);
        if (!d) {
            file(argv[i]);
            continue;
        }
        for (struct dirent *e; (e = readdir(d));) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (e->d_name[0] != '.') file(path);
        }
        closedir(d);
    }
    printf("%lu inputs\n", done);
    return done ? 0 : 1;
}
