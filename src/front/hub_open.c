/* SPDX-License-Identifier: MIT */
#include "front/hub_open.h"

#include <stdlib.h>

lethe_status lethe_hub_use_open(lethe_hub_use *u, const lethe_invocation *in, lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_hub_opts o = lethe_hub_defaults();
    if (c->concurrency < 1 || c->concurrency > 64 || c->retries < 0 || c->retries > 100 ||
        !(c->timeout > 0 && c->timeout <= 86400))
        return lethe_fail(err, LETHE_USAGE,
                          "want --concurrency 1 to 64, --retries 0 to 100, --timeout above 0 and "
                          "at most 86400");
    LETHE_TRY(lethe_hub_places_find(&u->places, c->endpoint, getenv, err));
    if (u->places.offline) return LETHE_OK;
    o.endpoint = u->places.endpoint;
    o.token = u->places.token;
    o.concurrency = (size_t)c->concurrency;
    o.retries = (unsigned)c->retries;
    o.idle = c->timeout;
    return lethe_hub_open(&u->hub, &o, in->env, err);
}

void lethe_hub_use_close(lethe_hub_use *u) {
    lethe_hub_close(&u->hub);
    lethe_hub_places_free(&u->places);
}
