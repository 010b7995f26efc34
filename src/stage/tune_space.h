/* SPDX-License-Identifier: MIT
 *
 * What a search may try: a removal as a string of genes, each a place in a short list of values.
 * Lists in order (features, strengths, guards) change by a step or two, the others to any value.
 * All draws depend on the seed and the trial's number alone, so a search that was interrupted goes
 * on as if it had not been.
 */
#ifndef LETHE_STAGE_TUNE_SPACE_H
#define LETHE_STAGE_TUNE_SPACE_H

#include <jansson.h>

#include "base/rng.h"
#include "stage/features.h"
#include "stage/intervene.h"

#define LETHE_TUNE_LAYERS 64u  /* at most */
#define LETHE_TUNE_RANKINGS 4u /* and ways to rank features */

/* Goes up when a list changes: genomes of before mean something else then. */
#define LETHE_TUNE_SPACE 4

typedef enum lethe_gene {
    LETHE_GENE_LAYER,
    LETHE_GENE_FEATURES, /* how many */
    LETHE_GENE_SELECT,   /* how they are ranked */
    LETHE_GENE_METHOD,
    LETHE_GENE_STRENGTH,
    LETHE_GENE_GUARD,
    LETHE_GENES
} lethe_gene;

typedef struct lethe_genome {
    uint8_t gene[LETHE_GENES];
} lethe_genome;

typedef struct lethe_tune_space {
    int layer[LETHE_TUNE_LAYERS];
    size_t n_layers;
    bool effect; /* ranking by effect may be tried */
    /* Places of the list of features that differ by a ranking, as no more than that many pass; 0:
     * not known. */
    uint8_t places[LETHE_TUNE_LAYERS][LETHE_TUNE_RANKINGS];
} lethe_tune_space;

/* A removal with its numbers in place of genes. */
typedef struct lethe_tune_params {
    int layer;
    size_t num_features;
    const char *select; /* name of the ranking: lethe_tune_select_name */
    lethe_intervention how;
    bool guard_auto;
} lethe_tune_params;

size_t lethe_tune_gene_size(const lethe_tune_space *s, lethe_gene g);

/* Whether values that stand beside each other in the gene's list are alike. */
bool lethe_gene_in_order(lethe_gene g);

lethe_tune_params lethe_tune_params_of(const lethe_tune_space *s, const lethe_genome *g);

/* Names of the rankings, NULL behind the last, and what a choice of features is with one. */
const char *lethe_tune_select_name(size_t i);
void lethe_tune_select_apply(const char *name, lethe_feature_opts *o);
const char *lethe_tune_select_of(const lethe_feature_opts *o);

/* Trial `number` of the `n` of the start: every value of every list comes up equally often among
 * them (a Latin hypercube). */
lethe_genome lethe_genome_start(const lethe_tune_space *s, uint64_t number, uint64_t n,
                                uint64_t seed);

/* A child of two (they may be the same): each gene of either, then on average one gene changed. */
lethe_genome lethe_genome_child(const lethe_tune_space *s, const lethe_genome *a,
                                const lethe_genome *b, lethe_rng *r);

/* So many features passed for g where more were asked for: from now on, asking for more is the same
 * removal (lethe_genome_settle). */
void lethe_tune_features_end(lethe_tune_space *s, const lethe_genome *g, size_t passed);

/* Of genomes that are known to be the same removal, the one that asks for the fewest features. */
void lethe_genome_settle(const lethe_tune_space *s, lethe_genome *g);

/* The same layer, ranking and method: variants of one removal. */
bool lethe_genome_alike(const lethe_genome *a, const lethe_genome *b);

bool lethe_genome_equal(const lethe_genome *a, const lethe_genome *b);

/* Whether g is one of tried [n], the first left out: that is only the nearest to a removal that is
 * in no list. */
bool lethe_genome_among(const lethe_genome *tried, size_t n, const lethe_genome *g);

/* The genome whose numbers are nearest to these. */
lethe_genome lethe_genome_near(const lethe_tune_space *s, const lethe_tune_params *p);

#endif
