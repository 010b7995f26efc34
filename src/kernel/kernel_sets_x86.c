/* SPDX-License-Identifier: MIT
 *
 * __builtin_cpu_supports asks the operating system too, whether it keeps the registers.
 */
#include <stddef.h>

#include "kernel/kernel_sets.h"

static bool have_avx2(void) {
    return __builtin_cpu_supports("avx2");
}

static bool have_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool have_avx512vnni(void) {
    return __builtin_cpu_supports("avx512vnni");
}

const lethe_kernel_set lethe_kernel_sets[] = {
    {"avx2", have_avx2, lethe_overlay_avx2},
    {"avx512", have_avx512, lethe_overlay_avx512},
    {"avx512vnni", have_avx512vnni, lethe_overlay_avx512vnni},
    {NULL, NULL, NULL},
};
