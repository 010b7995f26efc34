/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: safetensors files and NumPy arrays, as they lie on disk.
 */
#include <stdint.h>

#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    look_bundle(data, n);
    return 0;
}
