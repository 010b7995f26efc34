/* SPDX-License-Identifier: MIT
 *
 * Windows: documents tokenised and packed, end to end, into sequences of exactly ctx_len tokens.
 *
 * With BOS (the default, if the model has one): every window and every document begins with it,
 * since models are odd without it; a model without BOS gets its end-of-text token between
 * documents. The tail of a corpus that fills no window is dropped. Without BOS (the reference
 * recipe): plain tokens.
 *
 * Separate documents: each document is a window of its own (a long one several), with BOS before
 * it, so no text is read after another; windows are then of many lengths.
 *
 * A mix deals out the windows of several corpora in one order that the seed decides: each next
 * window comes from corpus c with probability (windows left in c) / (windows left), so the corpora
 * are evenly interleaved and each gives exactly its share. Within a corpus the order of the text is
 * kept.
 */
#ifndef LETHE_STAGE_WINDOWS_H
#define LETHE_STAGE_WINDOWS_H

#include "stage/corpus.h"

typedef enum lethe_role { LETHE_FORGET, LETHE_NEAR, LETHE_RETAIN, LETHE_ROLES } lethe_role;
const char *lethe_role_name(lethe_role r); /* "forget", "near", "retain" */

typedef struct lethe_mix_opts {
    size_t ctx_len;
    bool bos;            /* see above */
    bool separate;       /* see above */
    bool shuffle;        /* false: retain, near, forget, one after the other */
    double forget_share; /* share of forget windows in all; 0: as the texts are; the other side is
                            cut */
    uint64_t max_tokens; /* of all windows together; 0: no limit */
    uint64_t seed;
} lethe_mix_opts;

typedef struct lethe_corpus_size {
    bool given;
    uint64_t documents, tokens; /* as counted; with a limit: of what was looked at */
    uint64_t windows;           /* that exist, */
    uint64_t window_tokens;     /* their tokens, BOS included, and ... */
    uint64_t used;              /* ... that the mix deals out */
} lethe_corpus_size;

typedef struct lethe_mix lethe_mix;

/* corpus [LETHE_ROLES], NULL where a role has none; borrowed, one mix at a time reads them. Counts
 * the corpora first (one pass of the tokenizer). Fails: FORMAT (a corpus shorter than one window;
 * no text), what reading fails with. */
lethe_status lethe_mix_open(lethe_mix **out, const lethe_lm *lm, lethe_corpus *const corpus[],
                            const lethe_mix_opts *opts, const lethe_env *env, lethe_err *err);
void lethe_mix_close(lethe_mix **m);

const lethe_corpus_size *lethe_mix_sizes(const lethe_mix *m); /* [LETHE_ROLES] */
uint64_t lethe_mix_total(const lethe_mix *m);                 /* windows of one round */

/* Tokens of one round, about (a mix of cut-down corpora of separate documents takes the average).
 */
double lethe_mix_tokens(const lethe_mix *m);

/* Next window into token [ctx_len], *n tokens of it; *n = 0 after the last one. token NULL: passes
 * over it. */
lethe_status lethe_mix_next(lethe_mix *m, int32_t *token, size_t *n, lethe_role *role,
                            lethe_err *err);

/* Starts again and passes over `skip` windows; the order is the same each time. */
lethe_status lethe_mix_restart(lethe_mix *m, uint64_t skip, lethe_err *err);

/* Tokens of one piece of a corpus, appended; no BOS before it. */
lethe_status lethe_piece_tokens(const lethe_lm *lm, const lethe_piece *p, lethe_tokens *out,
                                lethe_err *err);

#endif
