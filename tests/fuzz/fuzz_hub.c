/* SPDX-License-Identifier: MIT
 *
 * What a Hub says: the list of files as JSON, header lines, addresses it redirects to, names.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/hub.h"
#include "format/url.h"
#include "stage/pull.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char *text = malloc(n + 1), value[64], next[256];
    if (!text) return 0;
    memcpy(text, data, n);
    text[n] = '\0';

    lethe_hub_listing l = {0};
    lethe_choice c = {0};
    lethe_err err;
    if (!lethe_hub_read_tree(&l, text, "fuzz", &err)) {
        for (size_t i = 0; i < l.n; i++) {
            assert(lethe_hub_path_fine(l.file[i].path));
            assert(l.file[i].path[0] != '/' && !strstr(l.file[i].path, "/../"));
            assert(lethe_hub_is_hex(l.file[i].oid, 40) || lethe_hub_is_hex(l.file[i].oid, 64));
        }
        if (!lethe_pull_choose(&l, "fuzz", NULL, false, &c, &err)) {
            assert(c.n >= 1 && c.n <= l.n);
            lethe_choice_free(&c);
        }
        if (!lethe_pull_choose(&l, "fuzz", "Q8_0", false, &c, &err)) lethe_choice_free(&c);
    }
    lethe_hub_listing_free(&l);

    if (lethe_http_header(text, "ETag", value, sizeof value)) assert(strlen(value) < sizeof value);
    lethe_hub_next_page(text, next, sizeof next);
    assert(strlen(next) < sizeof next);

    char *out = NULL, *what = NULL;
    bool same;
    if (!lethe_url_resolve("https://hub.co/a/b?c", text, &out, &same, &err)) {
        assert(!strncmp(out, "https://", 8));
        lethe_free(out);
    }
    lethe_hub_repo r;
    if (!lethe_hub_parse(text, NULL, &r, &what, &err)) {
        assert(!strstr(r.name, "..") && r.name[0] != '/');
        lethe_free(what);
    }
    free(text);
    return 0;
}
