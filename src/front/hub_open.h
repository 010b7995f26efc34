/* SPDX-License-Identifier: MIT
 *
 * The Hub as the command line and the environment ask for it; what pull and push share.
 */
#ifndef LETHE_FRONT_HUB_OPEN_H
#define LETHE_FRONT_HUB_OPEN_H

#include "format/hub.h"
#include "front/command.h"

typedef struct lethe_hub_use {
    lethe_hub_places places;
    lethe_hub *hub; /* NULL: offline */
} lethe_hub_use;

/* Fails: USAGE, IO, NOMEM. */
lethe_status lethe_hub_use_open(lethe_hub_use *u, const lethe_invocation *in, lethe_err *err);
void lethe_hub_use_close(lethe_hub_use *u); /* accepts a zeroed one */

#endif
