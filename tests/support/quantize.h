/* SPDX-License-Identifier: MIT
 *
 * Quantised copies of models, made by libllama.
 */
#ifndef LETHE_TESTS_QUANTIZE_H
#define LETHE_TESTS_QUANTIZE_H

#include <stdbool.h>

/* type: "q8_0" or "q4_0". Says on `say` (stdio's FILE *, NULL: nowhere) which matrices have another
 * type in the end, as their rows are no multiple of a block. False, with a message on stderr, when
 * it fails. */
bool test_quantize(const char *from, const char *to, const char *type, void *say);

/* A copy with another chat template. */
bool test_set_template(const char *from, const char *to, const char *chat_template);

#endif
