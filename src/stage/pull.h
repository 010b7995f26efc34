/* SPDX-License-Identifier: MIT
 *
 * lethe pull: which files of a repository are meant, and those files in the cache (format/hub.h).
 */
#ifndef LETHE_STAGE_PULL_H
#define LETHE_STAGE_PULL_H

#include "format/hub.h"

/* ---- short names (pull_names.c) -------------------------------------------------------------- */

typedef struct lethe_short_name {
    const char *name;
    const char *repo; /* as lethe_hub_parse takes it, without a file */
    const char *what; /* NULL: what is chosen without */
    const char *about;
} lethe_short_name;

extern const lethe_short_name lethe_short_names[];
extern const size_t lethe_short_names_count;

const lethe_short_name *lethe_short_name_find(const char *name, size_t n); /* NULL: none */

/* "llama-2-7b-chat", "llama-2-7b-chat:Q8_0" or "owner/name:what" as repository and file or
 * quantisation (owned; NULL: none). Fails: USAGE, NOMEM. */
lethe_status lethe_pull_parse(const char *text, const char *revision, lethe_hub_repo *repo,
                              char **what, lethe_err *err);

/* ---- choosing (pull_choice.c) ---------------------------------------------------------------- */

typedef struct lethe_choice {
    size_t *index; /* [n] of the listing's files, ascending; owned */
    size_t n;
    char *point; /* owned: what a person wants to hear of: a file's path, the first part of a model
                    in several, a folder, or "" for the whole repository */
} lethe_choice;

/* what: a file, a folder, or a quantisation ("Q4_K_M", in either case) of which there is exactly
 * one model; all its parts where it is split ("-00001-of-00003.gguf"). NULL: of GGUF files Q4_K_M
 * or the only one there is; else all of a repository that holds one SAE at its top and few files.
 * all: everything. name: of the repository, for messages. Fails: USAGE (a choice has to be made;
 * says what there is), NOTFOUND (no such thing, or a part is missing), NOMEM. */
lethe_status lethe_pull_choose(const lethe_hub_listing *l, const char *name, const char *what,
                               bool all, lethe_choice *out, lethe_err *err);
void lethe_choice_free(lethe_choice *c); /* accepts a zeroed one */

/* The quantisation in the name of a GGUF file, as "Q4_K_M", into out [size]; "" when none is seen.
 */
void lethe_pull_quant(const char *path, char *out, size_t size);

/* ---- pulling (pull.c) ------------------------------------------------------------------------ */

typedef struct lethe_pulled {
    char *path; /* owned: of choice.point in the snapshot */
    char commit[41];
    size_t files;
    uint64_t bytes, fetched; /* of the files; over the network */
    bool offline;            /* nobody was asked */
} lethe_pulled;

/* hub: NULL: offline, from the cache alone. With a hub that cannot be reached, what is in the cache
 * will do, with a warning. Fails: as lethe_hub_list, lethe_pull_choose and lethe_hub_fetch; IO (not
 * enough room on the disk). */
lethe_status lethe_pull(lethe_hub *hub, const char *cache, const lethe_hub_repo *repo,
                        const char *what, bool all, const lethe_env *env, lethe_pulled *out,
                        lethe_err *err);
void lethe_pulled_free(lethe_pulled *p);

#endif
