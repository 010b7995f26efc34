/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: zip archives, of NumPy's arrays and of PyTorch's. The input begins behind the mark
 * of a zip archive, so that none is wasted on another container.
 */
#include <stdint.h>
#include <string.h>

#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static uint8_t file[(1 << 20) + 4] = "PK\3\4";
    if (n > sizeof file - 4) return 0;
    memcpy(file + 4, data, n);
    look_bundle(file, n + 4);
    return 0;
}
