/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "stage/pull.h"

#define WHOLE_MOST 32   /* files of a repository that is pulled whole without being asked for */
#define LISTED_MOST 600 /* bytes of a list in a message */
#define SPLIT "-00001-of-00001.gguf"

void lethe_choice_free(lethe_choice *c) {
    lethe_free(c->index);
    lethe_free(c->point);
    *c = (lethe_choice){0};
}

/* ---- names of GGUF files --------------------------------------------------------------------- */

static bool is_gguf(const char *path) {
    size_t n = strlen(path);
    return n > 5 && !strcasecmp(path + n - 5, ".gguf");
}

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A vision model's projector and an importance matrix are no language models. */
static bool is_model(const char *path) {
    const char *base = base_of(path);
    return is_gguf(path) && !strcasestr(base, "mmproj") && !strcasestr(base, "imatrix");
}

/* "X-00002-of-00003.gguf": *part 2 of *of 3, and the length of X; else 1 of 1 and the length less
 * ".gguf". */
static size_t stem(const char *path, unsigned *part, unsigned *of) {
    size_t n = strlen(path), k = strlen(SPLIT);
    *part = *of = 1;
    if (n > k) {
        const char *s = path + n - k;
        bool split = s[0] == '-' && !strncmp(s + 6, "-of-", 4);
        for (size_t i = 1; split && i < 6; i++)
            split = isdigit((unsigned char)s[i]) && isdigit((unsigned char)s[i + 9]);
        if (split && sscanf(s, "-%5u-of-%5u", part, of) == 2 && *of >= 1 && *part >= 1 &&
            *part <= *of)
            return n - k;
        *part = *of = 1;
    }
    return n - 5;
}

static bool same_model(const char *a, const char *b) {
    unsigned pa, oa, pb, ob;
    size_t n = stem(a, &pa, &oa);
    return stem(b, &pb, &ob) == n && oa == ob && !strncmp(a, b, n);
}

/* Whether the stem has the word, whole: "Q4_K" is not in "Q4_K_M". */
static bool has_word(const char *path, const char *word) {
    unsigned part, of;
    const char *from = base_of(path), *end = path + stem(path, &part, &of);
    size_t n = strlen(word);
    for (const char *p = from; p + n <= end; p++) {
        bool front = p == from || strchr("-._", p[-1]), back = p + n == end || strchr("-.", p[n]);
        if (front && back && !strncasecmp(p, word, n)) return true;
    }
    return false;
}

void lethe_pull_quant(const char *path, char *out, size_t size) {
    static const char *const kinds[] = {
        "Q2_K",  "Q2_K_S",  "Q2_K_L", "Q3_K",     "Q3_K_S",   "Q3_K_M",   "Q3_K_L",  "Q3_K_XL",
        "Q4_0",  "Q4_1",    "Q4_K",   "Q4_K_S",   "Q4_K_M",   "Q4_K_L",   "Q5_0",    "Q5_1",
        "Q5_K",  "Q5_K_S",  "Q5_K_M", "Q5_K_L",   "Q6_K",     "Q6_K_L",   "Q8_0",    "IQ1_S",
        "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S",    "IQ2_M",    "IQ3_XS",   "IQ3_XXS", "IQ3_S",
        "IQ3_M", "IQ4_XS",  "IQ4_NL", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "BF16",    "F16",
        "F32",   "FP16",    "FP32",   "MXFP4"};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (has_word(path, kinds[i])) snprintf(out, size, "%s", kinds[i]);
}

/* ---- the choice ------------------------------------------------------------------------------ */

static lethe_status add(lethe_choice *c, const lethe_hub_listing *l, size_t i, lethe_err *err) {
    if (!c->index)
        LETHE_TRY(lethe_alloc(&c->index, l->n, sizeof *c->index, "a list of files", err));
    c->index[c->n++] = i;
    return LETHE_OK;
}

static lethe_status point(lethe_choice *c, const char *path, lethe_err *err) {
    c->point = lethe_strdup(path);
    return c->point ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

/* File i and, where it is a part of a model, all others. */
static lethe_status take_model(lethe_choice *c, const lethe_hub_listing *l, size_t i,
                               const char *name, lethe_err *err) {
    unsigned part, of, seen = 0;
    const char *path = l->file[i].path;
    stem(path, &part, &of);
    for (size_t k = 0; k < l->n; k++) {
        unsigned p, o;
        if (!is_gguf(l->file[k].path) || !same_model(path, l->file[k].path)) continue;
        stem(l->file[k].path, &p, &o);
        if (p == 1 && !c->point) LETHE_TRY(point(c, l->file[k].path, err));
        LETHE_TRY(add(c, l, k, err));
        seen++;
    }
    if (seen != of || !c->point)
        return lethe_fail(err, LETHE_NOTFOUND, "%s: %s: %u of its %u parts are there", name, path,
                          seen, of);
    return LETHE_OK;
}

static bool below(const char *path, const char *folder, size_t n) {
    return !strncmp(path, folder, n) && path[n] == '/';
}

static lethe_status take_below(lethe_choice *c, const lethe_hub_listing *l, const char *folder,
                               size_t n, lethe_err *err) {
    for (size_t i = 0; i < l->n; i++)
        if (!n || below(l->file[i].path, folder, n)) LETHE_TRY(add(c, l, i, err));
    if (!c->n) return LETHE_OK;
    char top[1024];
    snprintf(top, sizeof top, "%.*s", (int)n, folder);
    return point(c, top, err);
}

/* Whether all that was taken is one model. */
static bool one_model(const lethe_choice *c, const lethe_hub_listing *l) {
    for (size_t i = 0; i < c->n; i++) {
        const char *path = l->file[c->index[i]].path;
        if (!is_model(path) || !same_model(l->file[c->index[0]].path, path)) return false;
    }
    return c->n > 0;
}

/* "a, b, c and 5 more" of what is worth choosing among. ggufs: quantisations where they are told
 * apart by them. */
static void list(const lethe_hub_listing *l, bool ggufs, lethe_strbuf *b) {
    size_t left = 0;
    for (size_t i = 0; i < l->n; i++) {
        unsigned part, of;
        const char *path = l->file[i].path;
        if (ggufs && !is_model(path)) continue;
        if (ggufs && (stem(path, &part, &of), part != 1)) continue;
        if (b->len + strlen(path) > LISTED_MOST)
            left++;
        else
            lethe_strbuf_addf(b, "%s%s", b->len ? ", " : "", path);
    }
    if (left) lethe_strbuf_addf(b, " and %zu more", left);
}

static lethe_status ask(const lethe_hub_listing *l, const char *name, bool ggufs, lethe_status st,
                        const char *why, lethe_err *err) {
    lethe_strbuf b = {0};
    list(l, ggufs, &b);
    st = lethe_fail(err, st,
                    "%s: %s. There is: %s (lethe pull %s --list shows all with their sizes, and "
                    "behind a colon stands a file, a folder or a quantisation)",
                    name, why, lethe_strbuf_str(&b), name);
    lethe_strbuf_free(&b);
    return st;
}

/* The only model that has the word (NULL: any). *found: how many there are. */
static size_t only_model(const lethe_hub_listing *l, const char *word, size_t *found) {
    size_t at = 0;
    *found = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (!is_model(l->file[i].path) || (word && !has_word(l->file[i].path, word))) continue;
        if (*found && same_model(l->file[at].path, l->file[i].path)) continue;
        at = i;
        ++*found;
    }
    return at;
}

static bool has(const lethe_hub_listing *l, const char *path) {
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->file[i].path, path)) return true;
    return false;
}

static bool holds_one_sae(const lethe_hub_listing *l) {
    static const char *const weights[] = {
        "sae.safetensors", "sae_weights.safetensors", "ae.pt",
        "params.npz",      "params.safetensors",      "patch.safetensors"};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        if (has(l, weights[i])) return l->n <= WHOLE_MOST;
    return false;
}

static lethe_status choose_default(lethe_choice *c, const lethe_hub_listing *l, const char *name,
                                   lethe_err *err) {
    size_t found, n, i = only_model(l, "Q4_K_M", &n);
    if (n == 1) return take_model(c, l, i, name, err);
    i = only_model(l, NULL, &found);
    if (found == 1) return take_model(c, l, i, name, err);
    if (found)
        return ask(l, name, true, LETHE_USAGE,
                   n ? "several models have Q4_K_M" : "none of its models has Q4_K_M", err);
    if (holds_one_sae(l)) return take_below(c, l, "", 0, err);
    return ask(l, name, false, LETHE_USAGE, "which of its files? (or all of them: --all)", err);
}

static lethe_status choose(lethe_choice *c, const lethe_hub_listing *l, const char *name,
                           const char *what, bool all, lethe_err *err) {
    if (!l->n) return lethe_fail(err, LETHE_NOTFOUND, "%s: an empty repository", name);
    if (all) return take_below(c, l, "", 0, err);
    if (!what) return choose_default(c, l, name, err);
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->file[i].path, what) != 0) continue;
        if (is_gguf(what)) return take_model(c, l, i, name, err);
        LETHE_TRY(add(c, l, i, err));
        return point(c, what, err);
    }
    size_t n = strlen(what), found;
    while (n && what[n - 1] == '/') n--;
    if (n) LETHE_TRY(take_below(c, l, what, n, err));
    if (one_model(c, l)) { /* "Q6_K/model-Q6_K-00001-of-00002.gguf": the file, not the folder */
        size_t first = c->index[0];
        lethe_choice_free(c);
        return take_model(c, l, first, name, err);
    }
    if (c->n) return LETHE_OK;
    size_t i = only_model(l, what, &found);
    if (found == 1) return take_model(c, l, i, name, err);
    char why[300];
    snprintf(why, sizeof why, found ? "several models have \"%.200s\"" : "no \"%.200s\" in it",
             what);
    size_t models;
    only_model(l, NULL, &models);
    return ask(l, name, models > 0, found ? LETHE_USAGE : LETHE_NOTFOUND, why, err);
}

lethe_status lethe_pull_choose(const lethe_hub_listing *l, const char *name, const char *what,
                               bool all, lethe_choice *out, lethe_err *err) {
    lethe_choice c = {0};
    lethe_status st = choose(&c, l, name, what, all, err);
    if (st)
        lethe_choice_free(&c);
    else
        *out = c;
    return st;
}
