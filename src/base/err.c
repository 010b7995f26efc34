/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Messages quote names out of files, and end on somebody's terminal, where control characters move
 * the cursor or worse: those of ASCII but line feed and tab, and U+0080 to U+009F. */
static void make_plain(char *s) {
    for (unsigned char *c = (unsigned char *)s; *c; c++) {
        bool latin = *c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
        if ((*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f) *c = '?';
        if (latin) c[0] = c[1] = '?';
    }
}

lethe_status lethe_fail(lethe_err *err, lethe_status status, const char *fmt, ...) {
    if (!err) return status;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    make_plain(err->text);
    err->status = status;
    return status;
}

lethe_status lethe_fail_errno(lethe_err *err, lethe_status status, const char *fmt, ...) {
    int saved = errno;
    if (!err) return status;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", strerror(saved));
    make_plain(err->text);
    err->status = status;
    return status;
}

lethe_status lethe_err_prefix(lethe_err *err, const char *fmt, ...) {
    if (!err) return LETHE_FAIL;
    char old[LETHE_ERR_TEXT];
    memcpy(old, err->text, sizeof old);
    old[sizeof old - 1] = '\0';
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %.*s",
                 (int)(LETHE_ERR_TEXT - 3 - n), old);
    make_plain(err->text);
    return err->status;
}

int lethe_status_exit_code(lethe_status status) {
    switch (status) {
#define LETHE_STATUS_CODE(name, code, text) \
    case LETHE_##name: return code;
        LETHE_STATUS_MAP(LETHE_STATUS_CODE)
#undef LETHE_STATUS_CODE
    }
    return 1;
}
