/* SPDX-License-Identifier: MIT
 *
 * Texts and terms become code points with single blanks and straight apostrophes; then every term
 * is tried at every place. Lexicons have hundreds of terms and completions hundreds of letters, so
 * nothing cleverer is called for.
 */
#include "stage/lexicon.h"

#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "format/jsonio.h"

struct lethe_lexicon_term {
    char *text;
    uint32_t *cp; /* [n] */
    size_t n;
    bool name;
};

typedef struct points {
    uint32_t *cp;
    size_t n;
} points;

/* ---- letters --------------------------------------------------------------------------------- */

static bool within(uint32_t c, uint32_t lo, uint32_t hi) {
    return c >= lo && c <= hi;
}

static uint32_t lower(uint32_t c) {
    if (within(c, 'A', 'Z')) return c + 32;
    if (within(c, 0xc0, 0xde) && c != 0xd7) return c + 32;    /* Latin-1 */
    if (within(c, 0x391, 0x3a9) && c != 0x3a2) return c + 32; /* Greek */
    if (within(c, 0x410, 0x42f)) return c + 32;               /* Cyrillic */
    if (within(c, 0x400, 0x40f)) return c + 80;
    return c;
}

static bool is_small(uint32_t c) {
    return within(c, 'a', 'z') || (within(c, 0xdf, 0xff) && c != 0xf7) || within(c, 0x3b1, 0x3c9) ||
           within(c, 0x430, 0x45f);
}

static bool is_letter(uint32_t c) {
    if (c < 0x80) return within(c, '0', '9') || within(lower(c), 'a', 'z');
    if (c < 0xc0) return c == 0xaa || c == 0xb5 || c == 0xba;
    if (c == 0xd7 || c == 0xf7 || c == 0xfffd) return false;
    return !within(c, 0x2000, 0x206f) && !within(c, 0x2e00, 0x2e7f) && !within(c, 0x3000, 0x303f) &&
           !within(c, 0xff00, 0xff0f) && !lethe_unicode_is_space(c);
}

/* Scripts that do not part words. */
static bool is_unspaced(uint32_t c) {
    return within(c, 0xe00, 0xeff) || within(c, 0x1000, 0x109f) || within(c, 0x1780, 0x17ff) ||
           within(c, 0x3040, 0x9fff) || within(c, 0xac00, 0xd7a3) || within(c, 0xf900, 0xfaff) ||
           within(c, 0x20000, 0x3ffff);
}

static bool parts(uint32_t a, uint32_t b) {
    return !is_letter(a) || !is_letter(b) || is_unspaced(a) || is_unspaced(b);
}

static lethe_status points_of(const char *text, points *out, lethe_err *err) {
    size_t len = strlen(text), n = 0;
    LETHE_TRY(lethe_alloc(&out->cp, len, sizeof *out->cp, "letters of a text", err));
    for (size_t i = 0; i < len;) {
        uint32_t c = lethe_utf8_next(text, len, &i);
        if (c == 0x2019 || c == 0x2018) c = '\'';
        if (lethe_unicode_is_space(c)) c = ' ';
        if (c == ' ' && (!n || out->cp[n - 1] == ' ')) continue;
        out->cp[n++] = c;
    }
    if (n && out->cp[n - 1] == ' ') n--;
    out->n = n;
    return LETHE_OK;
}

/* ---- terms ----------------------------------------------------------------------------------- */

static lethe_status read_term(const lethe_json_ref *r, lethe_lexicon_term *t, lethe_err *err) {
    const char *text;
    points p = {0};
    LETHE_TRY(lethe_json_want_string(r, &text, err));
    t->text = lethe_strdup(text);
    if (!t->text) return lethe_fail(err, LETHE_NOMEM, "out of memory: a term");
    LETHE_TRY(points_of(text, &p, err));
    t->cp = p.cp;
    t->n = p.n;
    for (size_t i = 0; i < p.n; i++) t->name = t->name || lower(p.cp[i]) != p.cp[i];
    return p.n ? LETHE_OK : lethe_json_fail(r, err, "a term with a letter in it");
}

static lethe_status read_terms(lethe_lexicon *l, int c, const lethe_json_ref *list,
                               lethe_err *err) {
    size_t n;
    LETHE_TRY(lethe_json_want_list(list, &n, err));
    LETHE_TRY(lethe_zalloc(&l->term[c], n, sizeof *l->term[c], "terms of a lexicon", err));
    for (; l->n[c] < n; l->n[c]++) {
        lethe_json_ref item = lethe_json_item(list, l->n[c]);
        lethe_status st = read_term(&item, &l->term[c][l->n[c]], err);
        if (st) {
            l->n[c]++; /* to be released */
            return st;
        }
    }
    return LETHE_OK;
}

static lethe_status read_lexicon(lethe_lexicon *l, const lethe_json_ref *top, lethe_err *err) {
    static const char *const keys[LETHE_JUDGE_NONE] = {"explicit", "thematic", "accidental"};
    const char *key, *topic;
    json_t *value;
    size_t all = 0;
    LETHE_TRY(lethe_json_want_object(top, err));
    json_object_foreach(top->value, key, value) {
        lethe_json_ref r = lethe_json_key(top, key);
        int c = 0;
        while (c < LETHE_JUDGE_NONE && strcmp(key, keys[c]) != 0) c++;
        if (c < LETHE_JUDGE_NONE) {
            LETHE_TRY(read_terms(l, c, &r, err));
            all += l->n[c];
        } else if (!strcmp(key, "topic")) {
            LETHE_TRY(lethe_json_want_string(&r, &topic, err));
            l->topic = lethe_strdup(topic);
            if (!l->topic) return lethe_fail(err, LETHE_NOMEM, "out of memory: a topic");
        } else {
            return lethe_json_fail(&r, err, "only topic, explicit, thematic and accidental");
        }
    }
    return all ? LETHE_OK : lethe_json_fail(top, err, "at least one term");
}

lethe_status lethe_lexicon_load(lethe_lexicon *out, const char *path, lethe_err *err) {
    lethe_lexicon l = {0};
    json_t *value;
    LETHE_TRY(lethe_json_load(&value, path, err));
    lethe_json_ref top = lethe_json_top(value, path);
    lethe_status st = read_lexicon(&l, &top, err);
    json_decref(value);
    if (st)
        lethe_lexicon_free(&l);
    else
        *out = l;
    return st;
}

void lethe_lexicon_free(lethe_lexicon *l) {
    for (int c = 0; c < LETHE_JUDGE_NONE; c++) {
        for (size_t i = 0; i < l->n[c]; i++) {
            lethe_free(l->term[c][i].text);
            lethe_free(l->term[c][i].cp);
        }
        lethe_free(l->term[c]);
    }
    lethe_free(l->topic);
    *l = (lethe_lexicon){0};
}

/* ---- the rule -------------------------------------------------------------------------------- */

/* Do the letters of t stand at x[i]? any_case: the capitals of a name are not looked at. */
static bool stands_at(const lethe_lexicon_term *t, const points *x, size_t i, bool any_case) {
    bool as_written = true, in_capitals = true;
    if (x->n - i < t->n) return false;
    for (size_t k = 0; k < t->n; k++) {
        uint32_t c = x->cp[i + k];
        if (lower(c) != lower(t->cp[k])) return false;
        as_written = as_written && c == t->cp[k];
        in_capitals = in_capitals && !is_small(c);
    }
    return any_case || !t->name || as_written || in_capitals;
}

static bool ends_at(const points *x, size_t end) {
    return end == x->n || (end < x->n && parts(x->cp[end - 1], x->cp[end]));
}

static bool letter_at(const points *x, size_t i, uint32_t c) {
    return i < x->n && lower(x->cp[i]) == c;
}

static bool occurs(const lethe_lexicon_term *t, const points *x, bool any_case) {
    for (size_t i = 0; i + t->n <= x->n; i++) {
        if (i && !parts(x->cp[i - 1], x->cp[i])) continue;
        if (!stands_at(t, x, i, any_case)) continue;
        size_t end = i + t->n;
        if (ends_at(x, end)) return true;
        if (letter_at(x, end, 's') && ends_at(x, end + 1)) return true;
        if (letter_at(x, end, 'e') && letter_at(x, end + 1, 's') && ends_at(x, end + 2))
            return true;
    }
    return false;
}

lethe_status lethe_lexicon_class(const lethe_lexicon *l, const char *prompt, const char *text,
                                 lethe_judge_class *out, const char **term, lethe_err *err) {
    points p = {0}, x = {0};
    lethe_status st = points_of(prompt, &p, err);
    if (!st) st = points_of(text, &x, err);
    *out = LETHE_JUDGE_NONE;
    *term = NULL;
    for (int c = 0; !st && c < LETHE_JUDGE_NONE && !*term; c++)
        for (size_t i = 0; i < l->n[c] && !*term; i++) {
            const lethe_lexicon_term *t = &l->term[c][i];
            if (!occurs(t, &x, false) || occurs(t, &p, true)) continue;
            *out = (lethe_judge_class)c;
            *term = t->text;
        }
    lethe_free(p.cp);
    lethe_free(x.cp);
    return st;
}

lethe_status lethe_lexicon_judge(const lethe_lexicon *l, lethe_judging *j, size_t judge,
                                 lethe_err *err) {
    lethe_judging_clear(j, judge);
    for (size_t i = 0; i < j->n; i++)
        for (size_t s = 0; s < j->sides; s++) {
            lethe_judge_class is;
            const char *term;
            LETHE_TRY(
                lethe_lexicon_class(l, j->pair[i].prompt, j->pair[i].text[s], &is, &term, err));
            LETHE_TRY(lethe_judging_set(j, judge, i, (lethe_eval_side)s, is, term, err));
        }
    return LETHE_OK;
}

lethe_status lethe_lexicon_judge_run(const char *dir, const char *lexicon, uint64_t seed,
                                     lethe_err *err) {
    lethe_lexicon l;
    lethe_judging j = {0};
    size_t judge;
    LETHE_TRY(lethe_lexicon_load(&l, lexicon, err));
    char *eval = lethe_path_join(dir, "eval.json"), *labels = lethe_path_join(dir, "judge.json");
    lethe_status st = eval && labels ? lethe_judging_open(&j, eval, labels, err)
                                     : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
    j.seed = seed;
    if (!st) st = lethe_judging_judge(&j, "lexicon", LETHE_JUDGE_LEXICON, &judge, err);
    if (!st) st = lethe_lexicon_judge(&l, &j, judge, err);
    if (!st) st = lethe_judging_save(&j, err);
    lethe_judging_free(&j);
    lethe_free(eval);
    lethe_free(labels);
    lethe_lexicon_free(&l);
    return st;
}
