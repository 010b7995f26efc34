/* SPDX-License-Identifier: MIT
 *
 * Does a text say a name?
 */
#ifndef LETHE_STAGE_MENTION_H
#define LETHE_STAGE_MENTION_H

#include <stdbool.h>

/* `phrase` without outer blanks and full stops occurs in `text` between places that are no ASCII
 * letter, digit or byte of a longer character. any_case: ASCII letters match in either case. An
 * empty phrase occurs nowhere. */
bool lethe_text_mentions(const char *text, const char *phrase, bool any_case);

#endif
