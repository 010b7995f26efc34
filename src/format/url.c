/* SPDX-License-Identifier: MIT */
#include "format/url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static bool spoken(CURLU *u) {
    char *scheme = NULL;
    bool yes = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
               (!strcasecmp(scheme, "http") || !strcasecmp(scheme, "https"));
    curl_free(scheme);
    return yes;
}

lethe_status lethe_url_check(const char *url, lethe_err *err) {
    CURLU *u = curl_url();
    if (!u) return lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    bool fine =
        curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK && spoken(u);
    curl_url_cleanup(u);
    return fine ? LETHE_OK
                : lethe_fail(err, LETHE_USAGE,
                             "\"%s\" is no address that can be asked (want http:// or https://)",
                             url);
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part) {
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK && !strcasecmp(x, y);
    curl_free(x);
    curl_free(y);
    return same;
}

lethe_status lethe_url_resolve(const char *base, const char *to, char **out, bool *same,
                               lethe_err *err) {
    CURLU *a = curl_url(), *b = curl_url();
    char *text = NULL;
    lethe_status st = LETHE_OK;
    if (!a || !b)
        st = lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    else if (curl_url_set(a, CURLUPART_URL, base, 0) || curl_url_set(b, CURLUPART_URL, base, 0) ||
             curl_url_set(b, CURLUPART_URL, to, CURLU_NON_SUPPORT_SCHEME) || !spoken(b) ||
             curl_url_get(b, CURLUPART_URL, &text, 0))
        st = lethe_fail(err, LETHE_FORMAT, "%s: leads to \"%.200s\", which cannot be asked", base,
                        to);
    else if (!strncasecmp(base, "https:", 6) && strncasecmp(text, "https:", 6) != 0)
        st = lethe_fail(err, LETHE_FORMAT,
                        "%s: leads to \"%.200s\", where anybody on the way can read along", base,
                        to);
    if (!st) {
        *same = same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) &&
                same_part(a, b, CURLUPART_PORT);
        *out = lethe_strdup(text);
        if (!*out) st = lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    }
    curl_free(text);
    curl_url_cleanup(a);
    curl_url_cleanup(b);
    return st;
}

void lethe_url_add(lethe_strbuf *b, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 128 && (isalnum(c) || strchr("-._~/", c)))
            lethe_strbuf_add(b, text, 1);
        else
            lethe_strbuf_addf(b, "%%%02X", c);
    }
}
