/* SPDX-License-Identifier: MIT
 *
 * Packs files for tests of the program.
 * Usage: pack gz|zst IN OUT
 *        pack zip OUT NAME IN [NAME IN]..
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/packs.h"

int main(int argc, char **argv) {
    if (argc >= 5 && !strcmp(argv[1], "zip") && argc % 2) {
        size_t n = (size_t)(argc - 3) / 2;
        pack_member *m = calloc(n, sizeof *m);
        if (!m) return 1;
        for (size_t i = 0; i < n; i++) {
            m[i].name = argv[3 + 2 * i];
            m[i].data = pack_slurp(argv[4 + 2 * i], &m[i].n);
        }
        pack_zip(argv[2], m, n);
        for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)m[i].data);
        free(m);
        return 0;
    }
    if (argc != 4 || (strcmp(argv[1], "gz") && strcmp(argv[1], "zst"))) {
        fprintf(stderr, "usage: pack gz|zst IN OUT, or pack zip OUT NAME IN..\n");
        return 2;
    }
    size_t n, k;
    unsigned char *data = pack_slurp(argv[2], &n);
    unsigned char *out = !strcmp(argv[1], "gz") ? pack_gzip(data, n, &k) : pack_zstd(data, n, &k);
    pack_spill(argv[3], out, k);
    free(data);
    free(out);
    return 0;
}
