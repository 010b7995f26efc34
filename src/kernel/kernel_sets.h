/* SPDX-License-Identifier: MIT
 *
 * The instruction sets of this build, in the order in which their slots are laid over each other.
 * Each has its own file, the only one that is compiled for it; kernel_sets_*.c holds the list for
 * one processor family and the question whether this processor has them.
 */
#ifndef LETHE_KERNEL_KERNEL_SETS_H
#define LETHE_KERNEL_KERNEL_SETS_H

#include <stdbool.h>

#include "kernel/kernel.h"

typedef struct lethe_kernel_set {
    const char *name;
    bool (*have)(void);
    void (*overlay)(lethe_kernels *k); /* replaces the slots it has */
} lethe_kernel_set;

extern const lethe_kernel_set lethe_kernel_sets[]; /* ends with name NULL */

void lethe_overlay_avx2(lethe_kernels *k);
void lethe_overlay_avx512(lethe_kernels *k);
void lethe_overlay_avx512vnni(lethe_kernels *k);
void lethe_overlay_neon(lethe_kernels *k);
void lethe_overlay_neondot(lethe_kernels *k);

#endif
