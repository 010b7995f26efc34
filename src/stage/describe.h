/* SPDX-License-Identifier: MIT
 *
 * What a file or folder is: an SAE of any project (with the norms of its rows and the latents that
 * can do nothing), a patch, a list of features, a model, activations, a store, or just tensors.
 */
#ifndef LETHE_STAGE_DESCRIBE_H
#define LETHE_STAGE_DESCRIBE_H

#include <jansson.h>

#include "base/run.h"
#include "base/strbuf.h"

typedef struct lethe_describe_opts {
    size_t k;          /* of an SAE that does not say it; 0: not given */
    const char *model; /* GGUF file that it should fit; NULL: none */
    const lethe_env *env;
} lethe_describe_opts;

/* *out: owned; an object whose "kind" is "SAE", "patch", "features", "model", "store",
 * "activations" or "tensors"; keys in the order to show them. Where a model is given "fit" says
 * whether width and layer are the model's: {"model", "width", "layers", "fits", "why"}. Fails:
 * NOTFOUND, IO, NOMEM; FORMAT (nothing that is known, or an SAE that Lethe cannot use). */
lethe_status lethe_describe(json_t **out, const char *path, const lethe_describe_opts *o,
                            lethe_err *err);

/* A line a key, for people. */
void lethe_describe_text(const json_t *about, lethe_strbuf *out);

#endif
