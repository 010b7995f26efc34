/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/hub.h"
#include "format/url.h"

#define TOKEN_MOST 1000

/* ---- names ----------------------------------------------------------------------------------- */

static bool begins(const char *s, const char *with) {
    return !strncmp(s, with, strlen(with));
}

/* The Hub's rule for owners and names: letters, digits, '-', '_' and '.', none of the last two in
 * front or at the end or twice ("--" would also blur the folder's name), no ".git". */
static bool part_fine(const char *s, size_t n) {
    if (!n || n > 96 || strchr("-.", s[0]) || strchr("-.", s[n - 1])) return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i])) return false;
        if (i && strchr("-.", s[i]) && s[i] == s[i - 1]) return false;
    }
    return n < 4 || strncasecmp(s + n - 4, ".git", 4) != 0;
}

static bool name_fine(const char *s, size_t n) {
    const char *slash = memchr(s, '/', n);
    if (!slash) return part_fine(s, n);
    return part_fine(s, (size_t)(slash - s)) && part_fine(slash + 1, n - (size_t)(slash + 1 - s));
}

lethe_status lethe_hub_parse(const char *text, const char *revision, lethe_hub_repo *out,
                             char **what, lethe_err *err) {
    lethe_hub_repo r = {0};
    const char *at = text;
    *what = NULL;
    r.dataset = begins(at, "datasets/");
    if (r.dataset) at += strlen("datasets/");
    size_t n = strcspn(at, ":");
    if (!name_fine(at, n) || !strncmp(at + n, "://", 3))
        return lethe_fail(err, LETHE_USAGE,
                          "\"%.300s\" is no repository (want OWNER/NAME, or datasets/OWNER/NAME, "
                          "and behind a colon a file or a quantisation; short names: lethe pull "
                          "--list)",
                          text);
    snprintf(r.name, sizeof r.name, "%.*s", (int)n, at);
    const char *rev = revision ? revision : "main";
    if (!lethe_hub_path_fine(rev) || strlen(rev) >= sizeof r.revision)
        return lethe_fail(err, LETHE_USAGE,
                          "--revision: got \"%.200s\", want a branch, a tag or a commit", rev);
    snprintf(r.revision, sizeof r.revision, "%s", rev);
    if (at[n] == ':') {
        const char *rest = at + n + 1;
        if (!*rest)
            return lethe_fail(err, LETHE_USAGE,
                              "\"%.300s\": a file or a quantisation is missing behind the colon",
                              text);
        *what = lethe_strdup(rest);
        if (!*what) return lethe_fail(err, LETHE_NOMEM, "out of memory: a name");
    }
    *out = r;
    return LETHE_OK;
}

bool lethe_hub_path_fine(const char *path) {
    size_t len = strlen(path);
    if (!len || len > 1000) return false;
    for (const char *part = path;;) {
        size_t n = strcspn(part, "/");
        if (!n || n > 240) return false;
        if (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.'))) return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)part[i] < 32 || part[i] == 127 || part[i] == '\\') return false;
        if (!part[n]) return true;
        part += n + 1;
    }
}

bool lethe_hub_is_hex(const char *s, size_t n) {
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

/* ---- the environment ------------------------------------------------------------------------- */

static const char *value(char *(*env)(const char *), const char *name) {
    const char *v = env(name);
    return v && *v ? v : NULL;
}

/* "~/x" of a variable, as Hugging Face's tools read it. */
static char *expand(const char *path, const char *home) {
    return home && begins(path, "~/") ? lethe_path_join(home, path + 2) : lethe_strdup(path);
}

/* $HF_HOME, or "huggingface" below the cache of the person. NULL without an error: no home. */
static lethe_status hf_home(char *(*env)(const char *), char **out, lethe_err *err) {
    const char *home = value(env, "HOME"), *given = value(env, "HF_HOME"),
               *xdg = value(env, "XDG_CACHE_HOME");
    *out = NULL;
    if (!given && !xdg && !home) return LETHE_OK;
    if (given)
        *out = expand(given, home);
    else if (xdg)
        *out = lethe_path_join(xdg, "huggingface");
    else
        *out = lethe_path_join(home, ".cache/huggingface");
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

static lethe_status find_cache(char *(*env)(const char *), const char *hf, char **out,
                               lethe_err *err) {
    const char *given = value(env, "HF_HUB_CACHE");
    if (!given) given = value(env, "HUGGINGFACE_HUB_CACHE");
    if (!given && !hf)
        return lethe_fail(err, LETHE_USAGE,
                          "where is the cache? neither HF_HOME nor HF_HUB_CACHE nor HOME is set");
    *out = given ? expand(given, value(env, "HOME")) : lethe_path_join(hf, "hub");
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

/* Without blanks at its ends; the rest must be what a header may hold. */
static lethe_status keep_token(const char *text, size_t n, const char *from, char **out,
                               lethe_err *err) {
    while (n && isspace((unsigned char)*text)) text++, n--;
    while (n && isspace((unsigned char)text[n - 1])) n--;
    if (!n) return LETHE_OK;
    bool fine = n <= TOKEN_MOST;
    for (size_t i = 0; fine && i < n; i++) fine = text[i] > 32 && text[i] < 127;
    if (!fine) return lethe_fail(err, LETHE_USAGE, "%s holds no token (hf_..)", from);
    LETHE_TRY(lethe_alloc(out, n + 1, 1, "a token", err));
    memcpy(*out, text, n);
    (*out)[n] = '\0';
    return LETHE_OK;
}

static lethe_status find_token(char *(*env)(const char *), const char *hf, char **out,
                               lethe_err *err) {
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    for (size_t i = 0; i < 2; i++) {
        const char *v = value(env, names[i]);
        if (v) return keep_token(v, strlen(v), names[i], out, err);
    }
    const char *given = value(env, "HF_TOKEN_PATH");
    if (!given && !hf) return LETHE_OK;
    char *path = given ? expand(given, value(env, "HOME")) : lethe_path_join(hf, "token");
    if (!path) return lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    lethe_status st = LETHE_OK;
    if (lethe_path_exists(path)) {
        lethe_map m;
        st = lethe_map_open(&m, path, err);
        if (!st) {
            st = keep_token((const char *)m.data, m.size, path, out, err);
            lethe_map_close(&m);
        }
    }
    lethe_free(path);
    return st;
}

static bool is_on(const char *v) {
    static const char *const on[] = {"1", "on", "yes", "true"};
    for (size_t i = 0; v && i < 4; i++)
        if (!strcasecmp(v, on[i])) return true;
    return false;
}

lethe_status lethe_hub_places_find(lethe_hub_places *out, const char *endpoint,
                                   char *(*env)(const char *), lethe_err *err) {
    lethe_hub_places p = {0};
    char *hf = NULL;
    if (!endpoint) endpoint = value(env, "HF_ENDPOINT");
    if (!endpoint) endpoint = LETHE_HUB_ENDPOINT;
    lethe_status st = lethe_url_check(endpoint, err);
    if (!st) st = hf_home(env, &hf, err);
    if (!st) st = find_cache(env, hf, &p.cache, err);
    if (!st) st = find_token(env, hf, &p.token, err);
    if (!st && !(p.endpoint = lethe_strdup(endpoint)))
        st = lethe_fail(err, LETHE_NOMEM, "out of memory: an address");
    lethe_free(hf);
    if (st) {
        lethe_hub_places_free(&p);
        return st;
    }
    for (size_t n = strlen(p.endpoint); n && p.endpoint[n - 1] == '/';) p.endpoint[--n] = '\0';
    p.offline = is_on(value(env, "HF_HUB_OFFLINE"));
    *out = p;
    return LETHE_OK;
}

void lethe_hub_places_free(lethe_hub_places *p) {
    lethe_free(p->cache);
    lethe_free(p->token);
    lethe_free(p->endpoint);
    *p = (lethe_hub_places){0};
}
