/* SPDX-License-Identifier: MIT
 *
 * What can be read only once (standard input, a pipe, <(command) of a shell), kept so that it can
 * be read again: the first who asks copies it into a file without a name, below $TMPDIR or
 * /var/tmp, that goes when the program ends. Copies are of the whole program, so that two who open
 * "-" read the same text. Its size is bounded by the disk alone.
 */
#ifndef LETHE_FORMAT_SPOOL_H
#define LETHE_FORMAT_SPOOL_H

#include <stdbool.h>

#include "base/err.h"

/* "-", or there but neither a regular file nor a folder. */
bool lethe_spool_wants(const char *path);

/* *fd: to be read with pread (its offset is nobody's); borrowed, for as long as the program runs.
 * Fails: USAGE (a terminal), IO (the disk is full, with what to do), STOPPED. Any thread. */
lethe_status lethe_spool_open(const char *path, int *fd, lethe_err *err);

#endif
