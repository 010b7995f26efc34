/* SPDX-License-Identifier: MIT
 *
 * Files of passages, questions and multiple choice, as they are published: JSON lines, or a JSON
 * list of the same objects. Keys that are not named here are ignored.
 *
 *   passages   {"prompt": "It was a", "target": " dark night"}, or MUSE's "gt" for the target; or
 *              {"text": ".."}, of which the first half (cut at a blank) is the prompt
 *   knowledge  {"question": "..", "answer": ".."}, with "wrong" (or TOFU's "perturbed_answer"): a
 *              list of wrong answers of the same form, for the truth ratio
 *   choice     {"question": "..", "choices": ["..", ..], "answer": 2}: an index, or a letter "C"
 *
 * All may have "domain" (else the file's name without its ending), "chat": true (the question is
 * the user's message) and "fact" (see probes.h; else the answer's words, a passage's own).
 */
#ifndef LETHE_STAGE_QUESTIONS_H
#define LETHE_STAGE_QUESTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "stage/split.h"

typedef enum lethe_questions_kind {
    LETHE_QUESTIONS_PASSAGES,
    LETHE_QUESTIONS_KNOWLEDGE,
    LETHE_QUESTIONS_CHOICE
} lethe_questions_kind;

typedef struct lethe_question { /* owned */
    char *domain, *fact;
    bool fact_named;       /* by the file: others may belong to it */
    char *prompt, *target; /* question and right answer, or the two parts of a passage */
    char **option;         /* [n_options] choices, or wrong answers */
    size_t n_options;
    size_t answer; /* choice: index of the right one */
    bool chat;
} lethe_question;

typedef struct lethe_questions {
    lethe_question *item; /* [n] */
    size_t n, cap;
} lethe_questions;

/* The fact that other items may be about, too; NULL where the file names none: unrelated questions
 * often have the same answer. */
static inline const char *lethe_question_shared_fact(const lethe_question *q) {
    return q->fact_named ? q->fact : NULL;
}

/* Appends the file's items. Fails: NOTFOUND, FORMAT (with file, line and key; a file with no
 * items), NOMEM. */
lethe_status lethe_questions_load(lethe_questions *q, lethe_questions_kind kind, const char *path,
                                  lethe_err *err);
void lethe_questions_free(lethe_questions *q); /* accepts a zeroed one; zeroes it */

/* Keeps one half (split.h), then at most `most` of each domain at even distances (0: all). */
void lethe_questions_keep(lethe_questions *q, lethe_split split, size_t most);

#endif
