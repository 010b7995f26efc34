/* SPDX-License-Identifier: MIT */
#include <llama.h>

#include "lm/lm.h"

const char *lethe_lm_library_version(void) {
    return llama_version();
}
