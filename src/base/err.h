/* SPDX-License-Identifier: MIT
 *
 * Errors. Every function that can fail returns a lethe_status and, when it fails, has written into
 * the caller's lethe_err what went wrong, where, and how to mend it. The library never prints and
 * never exits; src/front decides what a person sees.
 *
 * assert() is for our own bugs; a status is for outside data, the caller and the machine.
 */
#ifndef LETHE_BASE_ERR_H
#define LETHE_BASE_ERR_H

#include "lethe/status.h" /* lethe_status, lethe_err */

/* Writes the message (printf-like, cut at LETHE_ERR_TEXT, control characters but line feed and tab
 * become '?') and returns `status`. err may be NULL. */
lethe_status lethe_fail(lethe_err *err, lethe_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with ": strerror(errno)" behind the message. */
lethe_status lethe_fail_errno(lethe_err *err, lethe_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message that is already there; returns err->status. */
lethe_status lethe_err_prefix(lethe_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The exit status of the program for a status: 0, 1, 2 or 3. */
int lethe_status_exit_code(lethe_status status);

/* Forwards a failure. Only while the function holds nothing that must be released; after that:
 * `if ((st = f()) != LETHE_OK) goto done;` and one label. */
#define LETHE_TRY(call)                                            \
    do {                                                           \
        lethe_status lethe_try_status = (call);                    \
        if (lethe_try_status != LETHE_OK) return lethe_try_status; \
    } while (0)

#endif
