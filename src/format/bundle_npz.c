/* SPDX-License-Identifier: MIT
 *
 * NumPy's files as bundles: .npy is one array, .npz a zip archive of them.
 */
#include <string.h>

#include "base/strbuf.h"
#include "format/bundle_parts.h"
#include "format/npy.h"

/* Adds the array in data[n] under a name; `what` is what messages call it. */
static lethe_status add_array(lethe_bundle *b, const char *what, const char *name, size_t name_len,
                              const void *data, size_t n, lethe_err *err) {
    lethe_npy a;
    LETHE_TRY(lethe_npy_read(&a, what, data, n, err));
    lethe_tensor t = {.dtype = a.dtype, .ndim = a.ndim, .count = a.count, .data = a.data};
    memcpy(t.shape, a.shape, sizeof t.shape);
    lethe_bundle_strides s;
    lethe_bundle_dense(&s, t.ndim, t.shape, a.fortran);
    LETHE_TRY(lethe_bundle_gather(b, &t, &s, a.big_endian, err));
    return lethe_bundle_add(b, &t, name, name_len, err);
}

lethe_status lethe_bundle_read_npy(lethe_bundle *b, lethe_err *err) {
    return add_array(b, b->map.path, LETHE_BUNDLE_ONLY, strlen(LETHE_BUNDLE_ONLY), b->map.data,
                     b->map.size, err);
}

lethe_status lethe_bundle_read_npz(lethe_bundle *b, lethe_err *err) {
    for (size_t i = 0; i < b->n_members; i++) {
        lethe_bundle_member *m = &b->member[i];
        size_t len = strlen(m->name);
        if (len < 5 || strcmp(m->name + len - 4, ".npy"))
            return lethe_fail(err, LETHE_FORMAT,
                              "%s: member \"%.200s\" is not an array (NAME.npy), as all are in a "
                              "NumPy archive",
                              b->map.path, m->name);
        LETHE_TRY(lethe_bundle_member_bytes(b, m, err));
        lethe_strbuf what = {0};
        lethe_strbuf_addf(&what, "%s: \"%.200s\"", b->map.path, m->name);
        lethe_status st =
            what.status
                ? lethe_fail(err, LETHE_NOMEM, "out of memory opening %s", b->map.path)
                : add_array(b, lethe_strbuf_str(&what), m->name, len - 4, m->data, m->size, err);
        lethe_strbuf_free(&what);
        if (st) return st;
    }
    return LETHE_OK;
}
