/* SPDX-License-Identifier: MIT
 *
 * NEON is part of every 64-bit Arm processor. The dot-product instructions are not: Linux is asked
 * for them; elsewhere (Apple) they are there when the compiler may take them for granted.
 */
#include <stddef.h>

#include "kernel/kernel_sets.h"

static bool have_neon(void) {
    return true;
}

#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

static bool have_neondot(void) {
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}
#elif defined(__ARM_FEATURE_DOTPROD)
static bool have_neondot(void) {
    return true;
}
#else
static bool have_neondot(void) {
    return false;
}
#endif

const lethe_kernel_set lethe_kernel_sets[] = {
    {"neon", have_neon, lethe_overlay_neon},
    {"neondot", have_neondot, lethe_overlay_neondot},
    {NULL, NULL, NULL},
};
