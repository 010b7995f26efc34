/* SPDX-License-Identifier: MIT
 *
 * Addresses: whether one can be asked, where a redirect leads, what a name looks like inside one.
 * On libcurl's parser, so that what is checked is what is asked.
 */
#ifndef LETHE_FORMAT_URL_H
#define LETHE_FORMAT_URL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/strbuf.h"

/* Fails: USAGE (not http:// or https://), NOMEM. */
lethe_status lethe_url_check(const char *url, lethe_err *err);

/* Where `to`, absolute or relative, leads from `base`. *out: owned. *same: scheme, host and port
 * are those of base, so that a key meant for base may go along. Fails: FORMAT (no address that can
 * be asked; from https to http), NOMEM. */
lethe_status lethe_url_resolve(const char *base, const char *to, char **out, bool *same,
                               lethe_err *err);

/* Appends text with all but letters, digits and "-._~" as %XX; slashes stay. */
void lethe_url_add(lethe_strbuf *b, const char *text);

#endif
