/* SPDX-License-Identifier: MIT */
#include "stage/mention.h"

#include <string.h>
#include <strings.h>

static bool inside_word(char c) {
    unsigned char u = (unsigned char)c;
    return (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || (u >= '0' && u <= '9') || u >= 0x80;
}

bool lethe_text_mentions(const char *text, const char *phrase, bool any_case) {
    phrase += strspn(phrase, " \n");
    size_t n = strlen(phrase);
    while (n && strchr(" \n.", phrase[n - 1])) n--;
    if (!n) return false;
    for (const char *p = text; *p; p++) {
        if (p > text && inside_word(p[-1]) && inside_word(*p)) continue;
        int differs = any_case ? strncasecmp(p, phrase, n) : strncmp(p, phrase, n);
        if (!differs && !(inside_word(p[n]) && inside_word(phrase[n - 1]))) return true;
    }
    return false;
}
