/* SPDX-License-Identifier: MIT
 *
 * The page's files, from web/dist/, built into the program (cmake/web.cmake), and the policies they
 * are to be served under.
 */
#ifndef LETHE_FRONT_WEB_ASSETS_H
#define LETHE_FRONT_WEB_ASSETS_H

#include <stddef.h>

typedef struct lethe_web_asset {
    const char *path; /* as it is asked for: "/app.js" */
    const unsigned char *data;
    size_t size;
    const char *type; /* of Content-Type */
    const char *etag; /* with its quotes; of the content */
} lethe_web_asset;

/* The file at a path, "/" being the page; NULL: there is none. Paths are compared as they stand: no
 * "..", no decoding, so nothing else can be reached. Static storage. Any thread. */
const lethe_web_asset *lethe_web_asset_find(const char *path);

/* Content-Security-Policy of the page: its own files and nothing else, nothing inline, no markup
 * from strings. */
#define LETHE_WEB_POLICY                                                          \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "   \
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; " \
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

/* Of /report, beside the policy that the report brings along: only the page may show it, and it
 * stays without an origin where it is opened alone, too. */
#define LETHE_WEB_REPORT_POLICY "sandbox allow-scripts; frame-ancestors 'self'; base-uri 'none'"

#endif
