/* SPDX-License-Identifier: MIT
 *
 * How a call ended, and in words. One list for the library's public face and for its inside.
 */
#ifndef LETHE_STATUS_H
#define LETHE_STATUS_H

/* X(NAME, exit status of the program, short description) */
#define LETHE_STATUS_MAP(X)                                   \
    X(OK, 0, "done")                                          \
    X(FAIL, 1, "failed while running")                        \
    X(NOMEM, 1, "out of memory")                              \
    X(IO, 1, "reading or writing failed")                     \
    X(STOPPED, 1, "stopped on request")                       \
    X(NONFINITE, 1, "the arithmetic left the finite numbers") \
    X(USAGE, 2, "wrong usage")                                \
    X(FORMAT, 3, "a file is not what it claims to be")        \
    X(NOTFOUND, 3, "a file is missing")                       \
    X(MISMATCH, 3, "two inputs do not belong together")

typedef enum lethe_status {
#define LETHE_STATUS_ENUM(name, code, text) LETHE_##name,
    LETHE_STATUS_MAP(LETHE_STATUS_ENUM)
#undef LETHE_STATUS_ENUM
} lethe_status;

#define LETHE_ERR_TEXT 1024

typedef struct lethe_err {
    lethe_status status;
    char text[LETHE_ERR_TEXT]; /* one or a few lines, no newline at the end */
} lethe_err;

#endif
