/* SPDX-License-Identifier: MIT */
#include "kernel/kernel.h"

const lethe_kernels *lethe_kernels_get(void) {
    return &lethe_kernels_ref;
}
