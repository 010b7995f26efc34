/* SPDX-License-Identifier: MIT
 *
 * Token numbers from a file, as sequences:
 *   *.safetensors   the tensor "tokens" (or the only integer tensor): [n] one sequence, [b, n] b of
 * them
 *   *.json          [1, 2, 3] one sequence, [[1, 2], [3]] several
 *   anything else   numbers separated by white space or commas, one sequence a line
 * Sequences longer than a window are cut into windows, one after the other.
 */
#ifndef LETHE_STAGE_TOKEN_FILE_H
#define LETHE_STAGE_TOKEN_FILE_H

#include "stage/harvest.h"

typedef struct lethe_token_file {
    lethe_tokens all;
    size_t *end; /* [n] end of each sequence in all */
    size_t n, cap;
    size_t longest;

    size_t window; /* longest window handed out; set by the caller before use as a source */
    size_t at_seq, at_token;
} lethe_token_file;

/* Fails: NOTFOUND, FORMAT (file, place, got, wanted; no tokens at all). */
lethe_status lethe_token_file_load(lethe_token_file *out, const char *path, lethe_err *err);
void lethe_token_file_free(lethe_token_file *f);
lethe_window_source lethe_token_file_source(lethe_token_file *f); /* f is borrowed */

#endif
