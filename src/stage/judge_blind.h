/* SPDX-License-Identifier: MIT
 *
 * A person as the judge: in which order the completions are shown, so that neither the order nor
 * the place tells which side a text is of. Pairs come in a random order, and within a pair a coin
 * says which side is A. Where both sides wrote the same, it is one question. The order depends on
 * seed and number of pairs alone, so a later session goes on in it.
 */
#ifndef LETHE_STAGE_JUDGE_BLIND_H
#define LETHE_STAGE_JUDGE_BLIND_H

#include "stage/judge.h"

typedef struct lethe_blind_question {
    size_t pair;
    lethe_eval_side side;
    bool both;   /* the two sides are the same text: the label is for both */
    char letter; /* 'A' or 'B'; with one text 'A' */
} lethe_blind_question;

/* *out [*n]: owned, release with lethe_free. Questions of one pair follow each other, A first. */
lethe_status lethe_blind_questions(const lethe_judging *j, uint64_t seed,
                                   lethe_blind_question **out, size_t *n, lethe_err *err);

/* Gives the answer's label to the side, or both. Fails: NOMEM. */
lethe_status lethe_blind_answer(lethe_judging *j, size_t judge, const lethe_blind_question *q,
                                lethe_judge_class is, lethe_err *err);

/* The question is answered: its label is one of the four, on both sides where it is about both. */
bool lethe_blind_answered(const lethe_judging *j, size_t judge, const lethe_blind_question *q);

#endif
