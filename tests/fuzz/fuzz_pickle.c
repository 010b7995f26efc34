/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the pickle of a checkpoint with two small storages, first by itself, then in its
 * archive, which checks what its tensors claim.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/pickle.h"
#include "look.h"
#include "support/containers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const unsigned char storage[96];
    lethe_err err = {0};
    lethe_pickle *p = NULL;
    lethe_status st = lethe_pickle_open(&p, "a.pt", data, n, &err);
    if (st && (st != LETHE_FORMAT || strncmp(err.text, "a.pt: ", 6))) abort();
    if (st) return 0;
    lethe_pickle_close(&p);
    const raw_member member[] = {
        {.name = "a/data.pkl", .data = data, .n = n},
        {.name = "a/data/0", .data = storage, .n = sizeof storage},
        {.name = "a/data/1", .data = storage, .n = 8},
        {.name = "a/byteorder", .data = n % 2 ? "big" : "little", .n = n % 2 ? 3 : 6},
    };
    lethe_strbuf zip = {0};
    raw_zip(&zip, member, 4);
    look_bundle(zip.data, zip.len);
    lethe_strbuf_free(&zip);
    return 0;
}
