/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

lethe_status lethe_fail(lethe_err *err, lethe_status status, const char *fmt, ...) {
    if (!err) return status;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
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
