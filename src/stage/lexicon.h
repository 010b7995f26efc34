/* SPDX-License-Identifier: MIT
 *
 * The judge that needs no network: lists of what a topic's texts say.
 *
 * Lexicon file: {"topic": "Harry Potter", "explicit": ["Hogwarts", "Harry Potter", ..],
 *                "thematic": ["wand", ..], "accidental": ["Charlie", ..]}
 * topic and accidental may be left out. What the classes mean is in judge.h.
 *
 * The rule: a completion is of the first class, in the order explicit, thematic, accidental, that
 * has a term which occurs in the completion and not in the prompt; None if there is no such term.
 *
 * A term occurs where its letters stand between word boundaries:
 *   case      a term with a capital is a name and occurs as it is written, or all in capitals; one
 *             without occurs in any case. In the prompt any case will do for both.
 *   ending    a plural's s or es may follow; so may a possessive, whose apostrophe ends the word
 *   boundary  the ends of the text, white space, punctuation. A letter of a script that is written
 *             without blanks (Chinese, Japanese, Thai, ..) needs none beside it.
 *   blanks    a blank in a term is any run of white space; a curly apostrophe is a straight one
 * Case is known of ASCII, Latin-1, Greek and Cyrillic letters.
 */
#ifndef LETHE_STAGE_LEXICON_H
#define LETHE_STAGE_LEXICON_H

#include "stage/judge.h"

typedef struct lethe_lexicon_term lethe_lexicon_term;

typedef struct lethe_lexicon {                  /* owned throughout */
    char *topic;                                /* NULL: the file says none */
    lethe_lexicon_term *term[LETHE_JUDGE_NONE]; /* [n[class]] */
    size_t n[LETHE_JUDGE_NONE];
} lethe_lexicon;

/* Fails: NOTFOUND, IO, FORMAT (an unknown key, an empty term, no term at all), NOMEM. */
lethe_status lethe_lexicon_load(lethe_lexicon *out, const char *path, lethe_err *err);
void lethe_lexicon_free(lethe_lexicon *l); /* accepts a zeroed one; zeroes it */

/* *term: what decided, borrowed from the lexicon; NULL with None. Fails: NOMEM. Threads: safe. */
lethe_status lethe_lexicon_class(const lethe_lexicon *l, const char *prompt, const char *text,
                                 lethe_judge_class *out, const char **term, lethe_err *err);

/* Labels every completion as `judge` (its index); the term becomes the reason. */
lethe_status lethe_lexicon_judge(const lethe_lexicon *l, lethe_judging *j, size_t judge,
                                 lethe_err *err);

/* Judges the completions of dir/eval.json as the judge "lexicon" in dir/judge.json, whose other
 * judges keep their labels as far as the completions are the same. seed: of the intervals. */
lethe_status lethe_lexicon_judge_run(const char *dir, const char *lexicon, uint64_t seed,
                                     lethe_err *err);

#endif
