/* SPDX-License-Identifier: MIT */
#include "stage/judge_blind.h"

#include <string.h>

#include "base/mem.h"
#include "base/perm.h"
#include "base/rng.h"

#define STREAM 0x626c696eu

lethe_status lethe_blind_questions(const lethe_judging *j, uint64_t seed,
                                   lethe_blind_question **out, size_t *n, lethe_err *err) {
    lethe_blind_question *q;
    LETHE_TRY(lethe_alloc(&q, j->n * j->sides, sizeof *q, "questions", err));
    lethe_perm perm = lethe_perm_make(j->n, seed, STREAM);
    *n = 0;
    for (size_t i = 0; i < j->n; i++) {
        size_t pair = (size_t)lethe_perm_at(&perm, i);
        const lethe_judge_pair *p = &j->pair[pair];
        lethe_rng rng = lethe_rng_make(seed, STREAM + 1 + pair);
        bool one = j->sides < LETHE_SIDES, swap = lethe_rng_below(&rng, 2) == 1;
        bool same = !one && !strcmp(p->text[LETHE_BASELINE], p->text[LETHE_ABLATED]);
        if (one || same) {
            q[(*n)++] = (lethe_blind_question){pair, LETHE_BASELINE, same, 'A'};
            continue;
        }
        q[(*n)++] = (lethe_blind_question){pair, swap ? LETHE_ABLATED : LETHE_BASELINE, false, 'A'};
        q[(*n)++] = (lethe_blind_question){pair, swap ? LETHE_BASELINE : LETHE_ABLATED, false, 'B'};
    }
    *out = q;
    return LETHE_OK;
}

lethe_status lethe_blind_answer(lethe_judging *j, size_t judge, const lethe_blind_question *q,
                                lethe_judge_class is, lethe_err *err) {
    LETHE_TRY(lethe_judging_set(j, judge, q->pair, q->side, is, NULL, err));
    if (!q->both) return LETHE_OK;
    return lethe_judging_set(j, judge, q->pair, LETHE_ABLATED, is, NULL, err);
}

bool lethe_blind_answered(const lethe_judging *j, size_t judge, const lethe_blind_question *q) {
    return lethe_judging_label(j, judge, q->pair, q->side)->is >= 0 &&
           (!q->both || lethe_judging_label(j, judge, q->pair, LETHE_ABLATED)->is >= 0);
}
