/* SPDX-License-Identifier: MIT
 *
 * What a model is asked: probes (a prompt and the target that ought to follow) and prompt sets for
 * completions.
 *
 * Probe file: a JSON object, domain -> items (an item with "chat": true puts the prompt into the
 * user's turn of the model's chat template, and the target are the assistant's first words):
 *     {"hp": [{"prompt": "Harry's best friend is", "target": " Ron", "chat": false}, ...],
 *      "real_world": {"prompts": ["The capital of France is"], "targets": [" Paris"]}}
 * An item may have a "fact", a name that all wordings of one fact share (the target's words if
 * there is none; see split.h), and, with chat, "turns": what was said before, user and assistant in
 * turn.
 *
 * Prompt set: NAME.json is a list of strings or of {"prompt": "...", "chat": true, "domain": "hp"};
 * any other file has one prompt a line (empty lines are passed over).
 *
 * Keys that are not named here are ignored. A wrong type is a FORMAT error that says file, domain,
 * item, got and wanted.
 */
#ifndef LETHE_STAGE_PROBES_H
#define LETHE_STAGE_PROBES_H

#include <stdbool.h>
#include <stddef.h>

#include "lm/lm.h"

struct lethe_json_ref;

#define LETHE_PROBE_TURNS 16u /* at most, before the prompt */

typedef struct lethe_probe {
    size_t domain; /* index into the domains */
    char *prompt, *target;
    char *fact; /* never NULL; see lethe_fact_of_target */
    bool chat;
    char **turn;    /* [n_turns] what was said before the prompt, the user first; chat only */
    size_t n_turns; /* even */
} lethe_probe;

typedef struct lethe_probes {
    char **domain; /* [n_domains] names, in the file's order */
    size_t n_domains, domain_cap;
    lethe_probe *item; /* [n], domain by domain, in the file's order */
    size_t n, cap;
} lethe_probes;

lethe_status lethe_probes_load(lethe_probes *out, const char *path, lethe_err *err);
void lethe_probes_free(lethe_probes *p); /* accepts a zeroed one; zeroes it */

void lethe_probe_free(lethe_probe *q); /* what one item owns */

/* Index of a domain by name, which is added if it is not there. Fails: NOMEM. */
lethe_status lethe_probes_domain(lethe_probes *p, const char *name, size_t *index, lethe_err *err);

/* Appends a copy of *from, into its `domain`; from->fact may be NULL: the target's. Fails: NOMEM.
 */
lethe_status lethe_probes_add(lethe_probes *p, const lethe_probe *from, lethe_err *err);

/* Reads one item {"prompt", "target", "chat", "fact", "turns"} and appends it to the domain. */
lethe_status lethe_probes_read(lethe_probes *p, size_t domain, const struct lethe_json_ref *item,
                               lethe_err *err);

/* The fact of a probe whose file names none: the target without outer blanks, ASCII letters lower
 * case. Owned; NULL when there is no memory. */
char *lethe_fact_of_target(const char *target);

typedef struct lethe_prompt {
    char *prompt, *domain; /* domain "": none given */
    bool chat;
} lethe_prompt;

typedef struct lethe_prompts {
    lethe_prompt *item; /* [n] */
    size_t n, cap;
} lethe_prompts;

lethe_status lethe_prompts_load(lethe_prompts *out, const char *path, lethe_err *err);
void lethe_prompts_free(lethe_prompts *p);

/* Appends the tokens of a prompt as the model wants them: BOS by its own rule, or the chat
 * template. No EOS at the end. Fails: FORMAT (no chat template), NOMEM. */
lethe_status lethe_prompt_tokens(const lethe_lm *lm, const char *prompt, bool chat,
                                 lethe_tokens *out, lethe_err *err);

/* The same of a probe: its turns and its prompt. */
lethe_status lethe_probe_prompt_tokens(const lethe_lm *lm, const lethe_probe *probe,
                                       lethe_tokens *out, lethe_err *err);

/* out = prompt + target, of which the last n - *prompt_len tokens are scored (at least one).
 *
 * Prompt and target are tokenised together, and the target begins at the first token that the
 * prompt alone does not have. So the tokens are those the model knows from text: tokenised apart,
 * an SPM vocabulary gives " Ron" a lone space token first, which is all but certain and dilutes the
 * average log-probability, and a prompt that ends in a space gives a token no text has there.
 *
 * reference: as the reference experiment does it instead, prompt and target apart and no BOS. */
lethe_status lethe_probe_tokens(const lethe_lm *lm, const lethe_probe *probe, bool reference,
                                lethe_tokens *out, size_t *prompt_len, lethe_err *err);

#endif
