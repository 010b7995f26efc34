/* SPDX-License-Identifier: MIT
 *
 * What a server offers, made once at its start: the names of the models, and the texts of
 * /v1/models, /v1/lethe/info, /v1/lethe/features and /report. Never changes after that, so any
 * thread may read.
 */
#ifndef LETHE_SERVE_CATALOG_H
#define LETHE_SERVE_CATALOG_H

#include <jansson.h>

#include "front/prepare.h"

typedef struct lethe_catalog_model {
    char *id;
    uint64_t on; /* bit r: removal r is at work */
} lethe_catalog_model;

typedef struct lethe_catalog_limits {
    size_t slots, queue, body;
    double seconds;
} lethe_catalog_limits;

typedef struct lethe_catalog {
    lethe_catalog_model *model; /* [n_models] the whole one first, then the one that forgets all */
    size_t n_models;
    json_t *models; /* of /v1/models */
    char *info, *features;
    char *report; /* [report_size] NULL: none */
    size_t report_size;
} lethe_catalog;

/* Statistics, cards and report are looked for where the run is: --out, or the folder of the patch;
 * those of another SAE are left out, and the log says so. Fails: NOMEM, FORMAT, IO. */
lethe_status lethe_catalog_open(lethe_catalog *out, const lethe_use *use, bool out_given,
                                const lethe_catalog_limits *limits, lethe_err *err);
void lethe_catalog_free(lethe_catalog *c); /* accepts a zeroed one; zeroes it */

const lethe_catalog_model *lethe_catalog_find(const lethe_catalog *c, const char *id);

/* {"id", "object": "model", ...}; new reference. */
json_t *lethe_catalog_model_json(const lethe_catalog_model *m);

#endif
