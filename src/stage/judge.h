/* SPDX-License-Identifier: MIT
 *
 * Judging the completions of an evaluation: how much of the topic that was to be forgotten is in
 * each, in four classes, by one rule whoever judges: a name or word that is in the prompt already
 * does not count.
 *
 *   Explicit    a name, place, thing or event that only the topic has
 *   Thematic    no such name, yet recognisably the topic's world
 *   Accidental  a word the topic has, too, in an ordinary sense
 *   None        nothing of it
 *
 * This is what the judges share: the pairs of completions, the labels of every judge, judge.json.
 * The judges themselves: lexicon.h, judge_api.h, judge_blind.h (a person).
 *
 * judge.json: {"format": "lethe-judge-1",
 *   "judges": [{"name", "kind": "lexicon"|"api"|"manual",
 *               "counts": {"baseline": {"Explicit", "Thematic", "Accidental", "None"}, "ablated"},
 *               "unjudged": {"baseline", "ablated"},
 *               "explicit_share": {"baseline": {"mean", "low", "high", "n"}, "ablated",
 *                                  "difference"},
 *               "by_domain": {DOMAIN: {"counts", "unjudged", "explicit_share"}}}],
 *   "labels": [{"index", "side", "judge", "class", "reason", "key"}],
 *   "agreement": [{"a", "b", "n", "kappa", "observed", "expected"}]}
 * index counts side_by_side of eval.json from 0. class null: could not be judged, reason says why.
 * key is the fingerprint of prompt and completion: a label without it, or whose completion has
 * changed since, is dropped when the file is read. by_domain has the prompts that name a domain.
 * ablated and difference are absent without an ablation. Shares have bootstrap intervals over pairs
 * (bootstrap.h); undefined figures are null.
 */
#ifndef LETHE_STAGE_JUDGE_H
#define LETHE_STAGE_JUDGE_H

#include <jansson.h>

#include "base/hash.h"
#include "base/strbuf.h"
#include "stage/eval.h"

typedef enum lethe_judge_class {
    LETHE_JUDGE_EXPLICIT,
    LETHE_JUDGE_THEMATIC,
    LETHE_JUDGE_ACCIDENTAL,
    LETHE_JUDGE_NONE,
    LETHE_JUDGE_CLASSES,
    LETHE_JUDGE_OPEN = -1,  /* not judged yet */
    LETHE_JUDGE_FAILED = -2 /* could not be judged */
} lethe_judge_class;

typedef enum lethe_judge_kind {
    LETHE_JUDGE_LEXICON,
    LETHE_JUDGE_API,
    LETHE_JUDGE_MANUAL,
    LETHE_JUDGE_KINDS
} lethe_judge_kind;

const char *lethe_judge_class_name(lethe_judge_class c);  /* "Explicit"; of the four */
lethe_judge_class lethe_judge_class_of(const char *name); /* exactly so; OPEN: none of the four */
const char *lethe_judge_kind_name(lethe_judge_kind k);
const char *lethe_judge_side_name(lethe_eval_side side); /* "baseline", "ablated" */

typedef struct lethe_judge_pair {
    char *prompt, *domain;   /* domain "": none given */
    char *text[LETHE_SIDES]; /* of LETHE_ABLATED: NULL without an ablation */
    char key[LETHE_SIDES][LETHE_HASH_HEX];
} lethe_judge_pair;

typedef struct lethe_judge_label {
    lethe_judge_class is;
    char *reason; /* owned; NULL: none */
} lethe_judge_label;

typedef struct lethe_judge {
    char *name;
    lethe_judge_kind kind;
    lethe_judge_label *label; /* [pairs, sides] */
} lethe_judge;

typedef struct lethe_judging { /* owned throughout */
    char *path;                /* of judge.json */
    lethe_judge_pair *pair;    /* [n] */
    size_t n, sides;           /* 1: only the baseline */
    lethe_judge *judge;
    size_t n_judges, cap;
    size_t dropped; /* labels of judge.json whose completions have changed */
    uint64_t seed;  /* of the intervals; 0 */
} lethe_judging;

/* Reads the completions of eval_path, and judge_path if it is there. Fails: NOTFOUND, IO, FORMAT
 * (no completions; labels that make no sense, with their place), NOMEM. */
lethe_status lethe_judging_open(lethe_judging *out, const char *eval_path, const char *judge_path,
                                lethe_err *err);
void lethe_judging_free(lethe_judging *j); /* accepts a zeroed one; zeroes it */

/* The judge of that name, a new one if there is none. Fails: USAGE (there is one of another kind),
 * NOMEM. Pointers into j->judge are good until the next call. */
lethe_status lethe_judging_judge(lethe_judging *j, const char *name, lethe_judge_kind kind,
                                 size_t *index, lethe_err *err);
void lethe_judging_clear(lethe_judging *j, size_t judge); /* forgets all its labels */

lethe_judge_label *lethe_judging_label(const lethe_judging *j, size_t judge, size_t pair,
                                       lethe_eval_side side);

/* reason: copied, or NULL. Fails: NOMEM (the label is as before). */
lethe_status lethe_judging_set(lethe_judging *j, size_t judge, size_t pair, lethe_eval_side side,
                               lethe_judge_class is, const char *reason, lethe_err *err);

/* How many of the judge's labels are one of the four classes. */
size_t lethe_judging_done(const lethe_judging *j, size_t judge);

/* judge.json as an object (new reference), to its file, and as tables for people. */
lethe_status lethe_judging_json(const lethe_judging *j, json_t **out, lethe_err *err);
lethe_status lethe_judging_save(const lethe_judging *j, lethe_err *err);
lethe_status lethe_judging_table(const lethe_judging *j, lethe_strbuf *out, lethe_err *err);

#endif
