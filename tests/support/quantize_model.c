/* SPDX-License-Identifier: MIT
 *
 * Usage: quantize_model IN.gguf OUT.gguf q8_0|q4_0
 */
#include <stdio.h>

#include "support/quantize.h"

int main(int argc, char **argv) {
    if (argc == 4) return test_quantize(argv[1], argv[2], argv[3], stdout) ? 0 : 1;
    fprintf(stderr, "usage: quantize_model IN.gguf OUT.gguf q8_0|q4_0\n");
    return 2;
}
