/* SPDX-License-Identifier: MIT
 *
 * A dictionary in the layout of another project, so that what was trained here opens there. A
 * target that cannot say what an SAE does is refused by name; nothing is left out silently.
 *
 *   lethe      one file (lethe_sae_save)
 *   plain      one file: encoder.weight [m, d], encoder.bias [m], decoder.weight [d, m], b_dec [d];
 *              topk without a norm; k and the rest are metadata
 *   saelens    a folder: cfg.json of version 6, sae_weights.safetensors; every architecture and
 * norm sparsify   a folder layers.N in a folder: cfg.json, sae.safetensors; topk without a norm,
 * after a layer that is known, or before layer 0 (embed_tokens)
 */
#ifndef LETHE_SAE_EXPORT_H
#define LETHE_SAE_EXPORT_H

#include "sae/sae.h"

typedef enum lethe_sae_format {
    LETHE_SAE_AS_LETHE,
    LETHE_SAE_AS_PLAIN,
    LETHE_SAE_AS_SAELENS,
    LETHE_SAE_AS_SPARSIFY,
    LETHE_SAE_FORMAT_COUNT
} lethe_sae_format;

bool lethe_sae_format_from_name(const char *name, lethe_sae_format *out); /* "saelens", .. */

/* All of it or nothing; a file takes the place of one that is there, a folder must not be there.
 * *written: the path of the weights; owned. Fails: MISMATCH (the target cannot express it: says
 * what), USAGE (a folder is there), IO, NOMEM. */
lethe_status lethe_sae_export(const lethe_sae *sae, const lethe_sae_meta *meta,
                              lethe_sae_format format, const char *path, char **written,
                              lethe_err *err);

#endif
