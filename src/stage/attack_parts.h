/* SPDX-License-Identifier: MIT
 *
 * One mechanical attack on one probe, for attack.c alone.
 */
#ifndef LETHE_STAGE_ATTACK_PARTS_H
#define LETHE_STAGE_ATTACK_PARTS_H

#include "base/rng.h"
#include "base/strbuf.h"
#include "stage/attack.h"

typedef struct lethe_attack_made {
    lethe_strbuf prompt;
    lethe_strbuf turn[LETHE_PROBE_TURNS]; /* before the prompt */
    size_t n_turns;
} lethe_attack_made;

/* The probe's prompt said otherwise, into an emptied *out; its target stays. others: the domain's
 * probes, to take examples from. false: this attack does not apply to this probe. */
typedef bool (*lethe_attack_fn)(const lethe_probe *probe, const lethe_probes *others,
                                lethe_rng *rng, lethe_attack_made *out);

bool lethe_attack_padding(const lethe_probe *probe, const lethe_probes *others, lethe_rng *rng,
                          lethe_attack_made *out);
bool lethe_attack_role_play(const lethe_probe *probe, const lethe_probes *others, lethe_rng *rng,
                            lethe_attack_made *out);
bool lethe_attack_typos(const lethe_probe *probe, const lethe_probes *others, lethe_rng *rng,
                        lethe_attack_made *out);
bool lethe_attack_few_shot(const lethe_probe *probe, const lethe_probes *others, lethe_rng *rng,
                           lethe_attack_made *out);
bool lethe_attack_turns(const lethe_probe *probe, const lethe_probes *others, lethe_rng *rng,
                        lethe_attack_made *out);

#endif
