/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

/* Length of the valid sequence at s (1..4) and its code point, or 0. */
static size_t decode(const unsigned char *s, size_t n, uint32_t *cp) {
    if (!n) return 0;
    unsigned c = s[0];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || n < len) return 0;
    uint32_t v = c & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        v = (v << 6) | (s[i] & 0x3fu);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) return 0;
    *cp = v;
    return len;
}

size_t lethe_utf8_valid_prefix(const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint32_t cp;
        size_t len = decode((const unsigned char *)s + i, n - i, &cp);
        if (!len) break;
        i += len;
    }
    return i;
}

uint32_t lethe_utf8_next(const char *s, size_t n, size_t *pos) {
    uint32_t cp;
    size_t len = decode((const unsigned char *)s + *pos, n - *pos, &cp);
    *pos += len ? len : 1;
    return len ? cp : 0xfffd;
}

bool lethe_unicode_is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}
