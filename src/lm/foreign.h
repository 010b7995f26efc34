/* SPDX-License-Identifier: MIT
 *
 * The residual stream of a context that somebody else made and runs: all that is seen of it is its
 * eval callback. Tokens and positions of the rows are read from the graph's own inputs; sequences
 * are in no input, so whoever runs more than one tells each batch before it is decoded.
 *
 * A failure stays until it is asked for: the graphs in between are cut short, so that nothing is
 * computed with the edit left out.
 *
 * Thread rule: one lethe_foreign belongs to the thread that runs its context.
 */
#ifndef LETHE_LM_FOREIGN_H
#define LETHE_LM_FOREIGN_H

#include "lm/lm.h"

struct ggml_tensor;
struct llama_batch;
struct llama_model;

typedef struct lethe_foreign lethe_foreign;

/* For a context of this model (borrowed). Fails: NOMEM; MISMATCH (another version of libllama than
 * this was compiled for). */
lethe_status lethe_foreign_open(lethe_foreign **out, const struct llama_model *model,
                                lethe_err *err);
void lethe_foreign_close(lethe_foreign **f);

size_t lethe_foreign_width(const lethe_foreign *f);
bool lethe_foreign_is_special(const lethe_foreign *f, int32_t token);

/* As lethe_lm_add_edit. The input of layer 0 cannot be found here. fn is given rows whose seq is
 * the caller's sequence id. Fails: USAGE (layer out of range, before layer 0), NOMEM. */
lethe_status lethe_foreign_add_edit(lethe_foreign *f, int layer, lethe_hook hook, lethe_rows_fn fn,
                                    void *user, lethe_err *err);

/* The batch that is decoded next; copied. Once told, every batch has to be. Fails: USAGE (a batch
 * of embeddings), NOMEM. */
lethe_status lethe_foreign_next(lethe_foreign *f, const struct llama_batch *batch, lethe_err *err);

/* The callback; user is the lethe_foreign. */
bool lethe_foreign_callback(struct ggml_tensor *t, bool ask, void *user);

/* How it went since this was asked last; after a failure it starts afresh. Fails: FAIL (the graph
 * lacks the site, rows cannot be told apart), NONFINITE, what fn failed with. */
lethe_status lethe_foreign_status(lethe_foreign *f, lethe_err *err);

#endif
