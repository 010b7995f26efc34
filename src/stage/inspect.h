/* SPDX-License-Identifier: MIT
 *
 * Feature cards: what a feature is, before it is removed. For each: the passages on which it fires
 * most, with its activation on every token; a histogram of its activations and how often it fires,
 * by text; the tokens that its decoder direction makes likelier and less likely (the logit lens,
 * lm.h); and its share of the effect,
 *
 *     share_i = |W_dec_i| sum z_i / sum over the chosen features j of |W_dec_j| sum z_j
 *
 * over the forget text: the intervention moves the residual stream by |scale - 1| z_i |W_dec_i| at
 * each position, so this is feature i's part of all that is moved. Where the SAE norms its input,
 * z_i counts times the scale of its token.
 *
 * cards.json:
 *   format    "lethe-cards-1"
 *   config    model_name, model_hash, layer, hook, sae_hash
 *   tokens    forget, near, retain: how many were looked at
 *   features  by share, largest first: index, share (null for one that is not chosen), effect (of
 *             features.json, where it has one), statistics.{role}: fires, freq, mean, max;
 *             histogram: width of a bin, and the counts of each role; promotes, suppresses: token,
 *             id, logit (less the mean over the vocabulary); contexts: role, peak, at (index of the
 *             peak), tokens, activations
 */
#ifndef LETHE_STAGE_INSPECT_H
#define LETHE_STAGE_INSPECT_H

#include <jansson.h>

#include "base/strbuf.h"
#include "lm/lm.h"
#include "sae/sae.h"
#include "stage/windows.h"

#define LETHE_CARD_BINS 32
#define LETHE_CARD_TOKENS 12 /* promoted, and as many suppressed */

typedef struct lethe_card_context {
    float peak;
    size_t n, at;      /* tokens; which of them the peak is at */
    int32_t *token;    /* [n] owned */
    float *activation; /* [n] owned; 0 where the feature did not fire */
} lethe_card_context;

typedef struct lethe_card_role { /* on the text of one role */
    uint64_t fires;
    double sum, max;
    uint64_t bin[LETHE_CARD_BINS];
    lethe_card_context *context; /* [n_contexts] owned, largest peak first */
    size_t n_contexts;
} lethe_card_role;

typedef struct lethe_card_token {
    int32_t id;
    double logit;
} lethe_card_token;

typedef struct lethe_card {
    int32_t index;
    double share, effect; /* NaN: not known */
    double width;         /* of a bin; the first begins at 0. 0: never fired */
    lethe_card_role role[LETHE_ROLES];
    lethe_card_token promotes[LETHE_CARD_TOKENS], suppresses[LETHE_CARD_TOKENS];
    size_t n_promotes, n_suppresses;
} lethe_card;

typedef struct lethe_cards {
    uint64_t tokens[LETHE_ROLES];
    lethe_card *card; /* [n] owned */
    size_t n;
    lethe_sae_meta sae;
    char sae_hash[33];
} lethe_cards;

void lethe_cards_free(lethe_cards *c); /* accepts a zeroed one; zeroes it */

/* ---- collecting ----------------------------------------------------------------------------- */

typedef struct lethe_inspect_opts {
    size_t contexts; /* of the forget text; half as many of each other text; 6 */
    size_t radius;   /* tokens shown on each side of a peak; 20 */
} lethe_inspect_opts;
lethe_inspect_opts lethe_inspect_defaults(void);

typedef struct lethe_inspector lethe_inspector;

/* For the features index [n] of an SAE with m latents, distinct and in range. */
lethe_status lethe_inspector_open(lethe_inspector **out, const int32_t *index, size_t n, size_t m,
                                  const lethe_inspect_opts *opts, lethe_err *err);
void lethe_inspector_close(lethe_inspector **in);

/* Adds codes->n rows in the order of their windows; a window ends where the position does not rise
 * or the role changes. A feature has at most one passage of a window, and none twice. */
lethe_status lethe_inspector_add(lethe_inspector *in, const lethe_codes *codes, const uint8_t *role,
                                 const int32_t *token, const int32_t *position, lethe_err *err);

/* The cards (moved out), in the order of index; share from norm [n], |W_dec| of each. */
lethe_status lethe_inspector_finish(lethe_inspector *in, const float *norm, lethe_cards *out,
                                    lethe_err *err);

/* Fills promotes and suppresses by the logit lens. Clears the model's hooks. */
lethe_status lethe_cards_lens(lethe_cards *c, const lethe_sae *sae, lethe_lm *lm, lethe_err *err);

void lethe_cards_sort(lethe_cards *c); /* by share; equal ones by index */

/* ---- showing -------------------------------------------------------------------------------- */

/* cards.json; *out is owned. lm: for the text of tokens. */
lethe_status lethe_cards_json(const lethe_cards *c, const lethe_lm *lm, json_t **out,
                              lethe_err *err);

/* As text for people: the first rows (0: all) as a table; one card. colour: tokens stand on a
 * ground as strong as the activation, by escape sequences of a terminal with 256 colours; else the
 * peak stands in brackets. Texts are made harmless for a terminal. */
void lethe_cards_table(const lethe_cards *c, const lethe_lm *lm, size_t rows, lethe_strbuf *out);
void lethe_card_text(const lethe_cards *c, size_t i, const lethe_lm *lm, bool colour,
                     lethe_strbuf *out);

#endif
