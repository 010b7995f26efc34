/* SPDX-License-Identifier: MIT
 *
 * Harvest: windows of tokens in, rows of one layer's residual stream out. BOS and other special
 * positions are left out, and so are attention sinks: rows whose norm is more than 10 times the
 * median (the median is taken once, from the first rows, so that every pass drops the same ones).
 */
#ifndef LETHE_STAGE_HARVEST_H
#define LETHE_STAGE_HARVEST_H

#include "stage/windows.h"

/* Where windows come from. next writes at most `cap` tokens, *n of them, and *role; *n = 0: the
 * end. restart goes back to the first and passes over `skip` windows. */
typedef struct lethe_window_source {
    lethe_status (*next)(void *user, int32_t *token, size_t cap, size_t *n, lethe_role *role,
                         lethe_err *err);
    lethe_status (*restart)(void *user, uint64_t skip, lethe_err *err);
    void *user;
} lethe_window_source;

lethe_window_source lethe_mix_source(lethe_mix *m); /* m is borrowed */

typedef struct lethe_harvest_opts {
    int layer;
    lethe_hook hook;
    bool keep_special;     /* --keep-bos: BOS and other control tokens too */
    double outlier_factor; /* 10; 0: keep all (--keep-outliers) */
} lethe_harvest_opts;
lethe_harvest_opts lethe_harvest_defaults(void);

typedef struct lethe_harvest_stats {
    uint64_t windows, tokens;
    uint64_t rows, special, outliers; /* rows: handed out; the others: left out */
    double max_norm;                  /* rows above it are outliers; 0: none are */
    double keep_share; /* of all positions, from the first windows: what is handed out */
} lethe_harvest_stats;

/* Rows of a few windows. x [n, d]; token, position, role [n]. Valid until the next call. */
typedef struct lethe_harvest_rows {
    size_t n;
    const float *x;
    const int32_t *token, *position;
    const uint8_t *role;
    size_t windows; /* they come from this many */
} lethe_harvest_rows;

typedef struct lethe_harvester lethe_harvester;

/* lm and source are borrowed; the harvester puts its tap on the model while it runs. Takes the
 * median norm from the first windows, then restarts the source. Fails: USAGE (layer), what the
 * source or the model fails with. */
lethe_status lethe_harvester_open(lethe_harvester **out, lethe_lm *lm, lethe_window_source source,
                                  const lethe_harvest_opts *opts, lethe_err *err);
void lethe_harvester_close(lethe_harvester **h);

/* The rows of up to `max_windows` further windows (at most what the model runs at once); n = 0 and
 * windows = 0 at the end; n may be 0 before it. Fails: STOPPED on request. */
lethe_status lethe_harvester_next(lethe_harvester *h, size_t max_windows, lethe_harvest_rows *rows,
                                  lethe_err *err);
lethe_status lethe_harvester_restart(lethe_harvester *h, uint64_t skip_windows, lethe_err *err);
const lethe_harvest_stats *lethe_harvester_stats(const lethe_harvester *h);

#endif
