/* SPDX-License-Identifier: MIT
 *
 * Asking for what was forgotten in other ways. Mechanical attacks are made from any probes; the
 * rest (paraphrases, other languages) come from an attack file:
 *
 *   padding    harmless sentences before the question: a gate that looks at the share of positions
 *              where features fire sees a smaller one
 *   role_play  a frame in which the model is to be somebody who tells everything
 *   typos      letters of the longer words swapped, doubled or left out
 *   few_shot   three other facts of the same domain before the question, with their answers; none
 * of them has the wanted answer in it turns      the question said in two messages of a chat (chat
 * probes only) sampling   many answers at temperature 1 (eval_sample.c; makes no probes)
 *
 * Attack file: a JSON object, domain -> list of {"attack", "prompt", "target", "chat", "fact",
 * "turns"}: probes (probes.h) with the name of an attack each.
 *
 * A set of attacks is a set of probes whose domains are the attacks' names. Attacks are drawn from
 * a seed: the same probes and seed give the same attacks.
 */
#ifndef LETHE_STAGE_ATTACK_H
#define LETHE_STAGE_ATTACK_H

#include "stage/probes.h"

#define LETHE_ATTACK_SAMPLING "sampling"

/* Names of the mechanical attacks; NULL at and behind the end. */
const char *lethe_attack_name(size_t i);

/* True when `list` ("all", "none", or names with commas between) names `name`. */
bool lethe_list_names(const char *list, const char *name);

/* Appends to *out what the mechanical attacks of `list` make of the domain's probes. At most one
 * plain and one chat probe of a fact are taken, the first of each in the file. Fails: NOMEM. */
lethe_status lethe_attacks_make(const lethe_probes *probes, size_t domain, const char *list,
                                uint64_t seed, lethe_probes *out, lethe_err *err);

/* Appends the file's attacks on `domain` that `list` names. Fails: NOTFOUND, FORMAT (also where the
 * file's own attack bears the name of a mechanical one), NOMEM. */
lethe_status lethe_attacks_load(const char *path, const char *domain, const char *list,
                                lethe_probes *out, lethe_err *err);

/* USAGE where `list` names an attack that is neither mechanical nor in the file (path NULL: no
 * file). */
lethe_status lethe_attacks_check(const char *list, const char *path, lethe_err *err);

/* Takes out what is too long for the model's context; *left_out says how many. */
lethe_status lethe_attacks_fit(const lethe_lm *lm, lethe_probes *attacks, size_t *left_out,
                               lethe_err *err);

#endif
