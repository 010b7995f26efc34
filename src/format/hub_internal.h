/* SPDX-License-Identifier: MIT
 *
 * What the files of the Hub share.
 */
#ifndef LETHE_FORMAT_HUB_INTERNAL_H
#define LETHE_FORMAT_HUB_INTERNAL_H

#include "base/rng.h"
#include "base/strbuf.h"
#include "format/hub.h"

struct lethe_hub {
    lethe_hub_opts o;
    const lethe_env *env;
    lethe_http *http;
    char *authorization; /* "Authorization: Bearer ..", NULL: no token */
    bool unreachable;
    void (*tick)(void *user); /* while an answer is waited for; NULL: nothing */
    void *tick_user;
    lethe_rng rng;
};

/* "/models" .. of the API: "models/owner/name" or "datasets/owner/name", escaped. */
void lethe_hub_add_api(lethe_strbuf *b, const lethe_hub_repo *repo);

/* Whether an answer may be better next time: nothing came, 408, 429, 5xx. */
bool lethe_hub_passing(const lethe_http_response *r);

/* Seconds to wait after the n-th failure in a row, from 1; what the server asks for if it does,
 * and -1 when that is more than anybody would wait. */
double lethe_hub_wait(lethe_hub *h, unsigned failures, const lethe_http_response *r);

/* Text of a server for a message: control characters and what is not ASCII become '?'. */
void lethe_hub_plain(const char *text, char *out, size_t size);

#endif
