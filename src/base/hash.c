/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/mem.h"

struct lethe_hasher {
    XXH3_state_t *state;
};

lethe_status lethe_hasher_open(lethe_hasher **out, lethe_err *err) {
    lethe_hasher *h;
    LETHE_TRY(lethe_zalloc(&h, 1, sizeof *h, "a hash", err));
    h->state = XXH3_createState();
    if (!h->state) {
        lethe_free(h);
        return lethe_fail(err, LETHE_NOMEM, "out of memory for a hash");
    }
    XXH3_128bits_reset(h->state);
    *out = h;
    return LETHE_OK;
}

void lethe_hasher_put(lethe_hasher *h, const void *data, size_t n) {
    XXH3_128bits_update(h->state, data, n);
}

static void hex(XXH128_hash_t v, char out[LETHE_HASH_HEX]) {
    snprintf(out, LETHE_HASH_HEX, "%016llx%016llx", (unsigned long long)v.high64,
             (unsigned long long)v.low64);
}

void lethe_hasher_hex(const lethe_hasher *h, char out[LETHE_HASH_HEX]) {
    hex(XXH3_128bits_digest(h->state), out);
}

void lethe_hasher_close(lethe_hasher **hp) {
    if (!*hp) return;
    XXH3_freeState((*hp)->state);
    lethe_free(*hp);
    *hp = NULL;
}

void lethe_hash_bytes(const void *data, size_t n, char out[LETHE_HASH_HEX]) {
    hex(XXH3_128bits(data, n), out);
}

lethe_status lethe_hash_file(const char *path, char out[LETHE_HASH_HEX], lethe_err *err) {
    lethe_map m;
    LETHE_TRY(lethe_map_open(&m, path, err));
    lethe_hash_bytes(m.data, m.size, out);
    lethe_map_close(&m);
    return LETHE_OK;
}
