/* SPDX-License-Identifier: MIT
 *
 * For the targets that open files of tensors: the input as a file in memory, and a look at all that
 * came out of it.
 */
#ifndef LETHE_FUZZ_LOOK_H
#define LETHE_FUZZ_LOOK_H

#include <stddef.h>

/* Opens the bytes as a bundle, reads every tensor from end to end and the values; whatever opens
 * must be as bundle.h says, whatever is refused must have a message that names the file. */
void look_bundle(const void *data, size_t n);

#endif
