/* SPDX-License-Identifier: MIT
 *
 * A tiny model with random weights for tests that need a model, but no sense: Llama architecture,
 * width 32, 3 layers, 300 tokens, context 2048, ChatML template.
 */
#ifndef LETHE_TESTS_TINY_MODEL_H
#define LETHE_TESTS_TINY_MODEL_H

/* Writes it into dir with the program that LETHE_MAKE_MODEL names (ctest sets it); the path is in
 * static memory. Ends the test program when that fails. */
const char *test_tiny_model(const char *dir);

/* The same with the shape that options give (see tools/make_random_model.c). */
const char *test_random_model(const char *dir, const char *options);

#endif
