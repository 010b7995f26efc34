/* SPDX-License-Identifier: MIT
 *
 * The intervention on a model: which of the chosen features fired at a row is asked of a gate, and
 * intervene.h has what is then done to the row, by one of several methods.
 *
 * There are two gates. The exact one encodes the row with the whole SAE and looks among its active
 * latents. The compact one (gate.h) looks at the chosen features alone, each against a threshold of
 * its own that a patch brings along: it costs nearly nothing and agrees with the exact gate almost
 * always. Method direction acts at rows where nothing fired, too, unless it is gated.
 *
 * With a guard (guard.h) rows are touched only in sequences that are about the forget text.
 *
 * Several removals on one model: lethe_ablation_join hangs one on another, each with its own
 * features, layer, method and guard; they are then attached, counted and closed as one. At one site
 * they run in the order they were joined, and each sees what those before it left.
 */
#ifndef LETHE_STAGE_ABLATE_H
#define LETHE_STAGE_ABLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "lm/lm.h"
#include "sae/sae.h"
#include "stage/features.h"
#include "stage/patch.h"

/* "pre", "post", "unknown" (-1) and back; false for any other name. */
const char *lethe_hook_name(int hook);
bool lethe_hook_from_name(const char *name, int *out);

/* What the intervention saw. Counted at every strength, also where nothing is changed (the
 * reference experiment counts nothing at scale 0), and behind a closed guard. Rows that are skipped
 * are not counted. Of removals joined, the sums: a row counts for each. */
typedef struct lethe_hook_stats {
    uint64_t rows;       /* token positions seen */
    uint64_t rows_fired; /* of them, with at least one chosen feature firing */
    uint64_t
        rows_acted; /* of them, where the method was at work: guard open, and fired or not gated */
    uint64_t positions;    /* rows x chosen features */
    uint64_t fired;        /* (row, feature) pairs that fired */
    double activation_sum; /* sum of their activations */
} lethe_hook_stats;

typedef struct lethe_ablation lethe_ablation;

/* What is known of the chosen features beside the SAE; NULL: not known. Copied. */
typedef struct lethe_feature_facts {
    const float *mean;     /* [n] mean activations on the forget text: clamp by activation */
    const float *evidence; /* [n, 2] as of lethe_feature_set_evidence: a guard by evidence */
} lethe_feature_facts;

/* With the exact gate. sae is borrowed and must outlive the ablation; features [n] are distinct
 * latent indices, each < m, copied; facts (NULL: none) of them. Cheap but for the sieve of the
 * SAE's encoder. Fails: USAGE (n 0 or above m, an index out of range or there twice, a number of
 * `how` out of range, a fact that it needs is missing), NOMEM. One ablation belongs to one thread
 * at a time. */
lethe_status lethe_ablation_open_with(lethe_ablation **out, const lethe_sae *sae,
                                      const int32_t *features, size_t n,
                                      const lethe_feature_facts *facts,
                                      const lethe_intervention *how, lethe_err *err);

/* The same with method scale at this factor, no guard. */
lethe_status lethe_ablation_open(lethe_ablation **out, const lethe_sae *sae,
                                 const int32_t *features, size_t n, double scale, lethe_err *err);

/* The same of a set of features, with what it knows of them. */
lethe_status lethe_ablation_open_set(lethe_ablation **out, const lethe_sae *sae,
                                     const lethe_feature_set *set, const lethe_intervention *how,
                                     lethe_err *err);

/* Other features for an ablation with the exact gate, keeping its open encoder: cheap. Arguments
 * and failures as of lethe_ablation_open_with; after a failure it is as it was. Not while it is
 * attached. */
lethe_status lethe_ablation_choose(lethe_ablation *a, const int32_t *features, size_t n,
                                   const lethe_feature_facts *facts, const lethe_intervention *how,
                                   lethe_err *err);

/* The same of a set of features. */
lethe_status lethe_ablation_choose_set(lethe_ablation *a, const lethe_feature_set *set,
                                       const lethe_intervention *how, lethe_err *err);

/* With the compact gate, as the patch says. patch is borrowed and must outlive the ablation.
 * Fails: USAGE (the patch lacks what its method needs), NOMEM. */
lethe_status lethe_ablation_open_patch(lethe_ablation **out, const lethe_patch *patch,
                                       lethe_err *err);
void lethe_ablation_close(lethe_ablation **a); /* after the model's hooks were cleared */

/* Hangs *more (moved, NULL after success) on a: attached along with it, at a site of its own.
 * special_too: as in lethe_ablation_attach. Never fails. */
void lethe_ablation_join(lethe_ablation *a, lethe_ablation **more, int layer, lethe_hook hook,
                         bool special_too);

/* The removal joined to this one, with its site (layer, hook, special_too may be NULL); NULL: none.
 * Borrowed. */
const lethe_ablation *lethe_ablation_next(const lethe_ablation *a, int *layer, lethe_hook *hook,
                                          bool *special_too);

/* Of this removal alone. */
const lethe_intervention *lethe_ablation_how(const lethe_ablation *a);
size_t lethe_ablation_size(const lethe_ablation *a);  /* chosen features */
bool lethe_ablation_compact(const lethe_ablation *a); /* by the compact gate */

/* Another method, strength or guard for the same features; costs nothing, and may be done while it
 * is attached, between runs (but a guard where none was wants attaching again). Forgets the guard's
 * sequences. Fails, leaving it as it was: USAGE. */
lethe_status lethe_ablation_set(lethe_ablation *a, const lethe_intervention *how, lethe_err *err);
lethe_status lethe_ablation_set_strength(lethe_ablation *a, double strength, lethe_err *err);

/* Rewrites x [n, d] in place; those joined are not asked. skip (NULL: none) marks rows to leave
 * alone (BOS and other special tokens). To a guard the rows are positions of sequence 0, going on
 * from call to call. The same bytes at any number of threads and however rows are cut into calls.
 * Nothing is allocated by the compact gate without a guard. Fails: NOMEM. */
lethe_status lethe_ablation_apply(lethe_ablation *a, float *x, size_t n, const bool *skip,
                                  lethe_err *err);

/* The same of rows whose tokens, positions and sequences are known; to a guard they are what they
 * say. */
lethe_status lethe_ablation_rows(lethe_ablation *a, const lethe_rows *rows, const bool *skip,
                                 lethe_err *err);

/* Attaches it, and those joined to it at their sites, to a model as an edit of this site, until
 * lethe_lm_clear_hooks; at most one model at a time. special_too: also at special positions. With a
 * guard in the last layer every token's row is computed there. Fails: MISMATCH (an SAE or patch of
 * another width than the model), USAGE (layer out of range). */
lethe_status lethe_ablation_attach(lethe_ablation *a, lethe_lm *lm, int layer, lethe_hook hook,
                                   bool special_too, lethe_err *err);

/* This one alone, without those joined to it. */
lethe_status lethe_ablation_attach_alone(lethe_ablation *a, lethe_lm *lm, int layer,
                                         lethe_hook hook, bool special_too, lethe_err *err);

/* ---- sequences with settings of their own (chat, server) ---------------------------------------
 * `which`: 0 this removal, 1 the first joined to it, and so on; LETHE_ALL_REMOVALS: each of them.
 */
#define LETHE_ALL_REMOVALS (-1)
#define LETHE_ALL_SEQS (-1) /* as `seq`: every sequence, also those never named */

/* Off: in rows of sequence seq of the runs from now on the removal changes nothing, but looks,
 * counts and tells all the same. A sequence never named is on. Fails: NOMEM. */
lethe_status lethe_ablation_switch(lethe_ablation *a, int which, int32_t seq, bool on,
                                   lethe_err *err);

/* Another strength there, of the removal's method; NAN: its own again. Fails: USAGE (out of range),
 * NOMEM. */
lethe_status lethe_ablation_strength_in(lethe_ablation *a, int which, int32_t seq, double strength,
                                        lethe_err *err);

/* Method scale at this factor there, whatever the removal's method; its guard stays. NAN: the
 * removal's own again. Fails: USAGE (not finite), NOMEM. */
lethe_status lethe_ablation_scale_in(lethe_ablation *a, int which, int32_t seq, double factor,
                                     lethe_err *err);

/* A row where a chosen feature fired. Borrowed: valid during the call. */
typedef struct lethe_firing {
    int which;
    int32_t seq, pos, token;
    const int32_t *feature; /* [n] places among the removal's chosen features */
    const float *value;     /* [n] activations */
    size_t n;
    bool acted; /* the removal was at work at this row */
} lethe_firing;
typedef void (*lethe_firing_fn)(void *user, const lethe_firing *firing);

/* fn is told of each row where something fired, of all removals joined (join first); NULL: nobody.
 * Called from the thread that runs the model. */
void lethe_ablation_watch(lethe_ablation *a, lethe_firing_fn fn, void *user);

/* The latent in the SAE of a chosen feature (the place as above). */
int32_t lethe_ablation_latent(const lethe_ablation *a, int which, int32_t place);

/* The guard's statistic of a sequence of the last run, by its number there; 0 without a guard. */
double lethe_ablation_guard_most(const lethe_ablation *a, int32_t seq);

const lethe_hook_stats *lethe_ablation_stats(const lethe_ablation *a); /* valid until asked again */
void lethe_ablation_reset_stats(lethe_ablation *a);

#endif
