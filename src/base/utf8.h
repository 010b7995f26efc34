/* SPDX-License-Identifier: MIT
 *
 * UTF-8 as the metrics and the readers need it: validation and decoding, nothing about locales.
 */
#ifndef LETHE_BASE_UTF8_H
#define LETHE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the longest prefix of s[n] that is valid UTF-8 (no overlongs, surrogates, > U+10FFFF).
 */
size_t lethe_utf8_valid_prefix(const char *s, size_t n);

/* Decodes one code point of valid UTF-8 at s[*pos] and moves *pos; 0xFFFD and one byte on
 * otherwise. */
uint32_t lethe_utf8_next(const char *s, size_t n, size_t *pos);

/* Unicode White_Space plus the separators U+001C..U+001F: the places where words are split. */
bool lethe_unicode_is_space(uint32_t cp);

#endif
