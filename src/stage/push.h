/* SPDX-License-Identifier: MIT
 *
 * lethe push: what of a run is worth sharing, and the card that says what it is. Of a run go
 *
 *     sae.safetensors, features.json, patch.safetensors   as they are, where they are there
 *     eval_summary.json                                   figures and settings out of eval.json
 *     README.md                                           the model card
 *
 * and nothing else: not the texts, not the questions and answers, not run.json, which has paths of
 * this machine.
 */
#ifndef LETHE_STAGE_PUSH_H
#define LETHE_STAGE_PUSH_H

#include "format/hub.h"

#define LETHE_BUNDLE_MOST 8

typedef struct lethe_bundle {
    lethe_hub_upload file[LETHE_BUNDLE_MOST]; /* digested */
    size_t n;
    char *owned[LETHE_BUNDLE_MOST]; /* what the files borrow */
    uint64_t bytes;
    const char *card; /* text of README.md; borrowed from `owned` */
} lethe_bundle;

/* dir: a run directory. repo: the name it is to have, for the card. version: of this program.
 * Fails: NOTFOUND (neither an SAE nor a patch in it), FORMAT (a file is not what it claims to be),
 * IO, NOMEM. */
lethe_status lethe_bundle_make(lethe_bundle *out, const char *dir, const char *repo,
                               const char *version, lethe_err *err);
void lethe_bundle_free(lethe_bundle *b); /* accepts a zeroed one */

/* The card (push_card.c). Everything is from the run's files; what they do not say is left out.
 * Fails: FORMAT, IO, NOMEM. */
lethe_status lethe_bundle_card(const char *dir, const char *repo, const char *version,
                               lethe_strbuf *out, lethe_err *err);

/* "owner/name" of a path in the Hub's cache (".../models--owner--name/snapshots/..") into out
 * [size]; "" for other paths. */
void lethe_bundle_base_model(const char *path, char *out, size_t size);

#endif
