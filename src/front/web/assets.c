/* SPDX-License-Identifier: MIT
 *
 * A handful of files: a linear search.
 */
#include <string.h>

#include "front/web/assets_parts.h"

const lethe_web_asset *lethe_web_asset_find(const char *path) {
    if (!strcmp(path, "/")) path = "/index.html";
    for (const lethe_web_asset *a = lethe_web_assets; a->path; a++)
        if (!strcmp(a->path, path)) return a;
    return NULL;
}
