/* SPDX-License-Identifier: MIT
 *
 * A processor family for which Lethe has plain C alone.
 */
#include <stddef.h>

#include "kernel/kernel_sets.h"

const lethe_kernel_set lethe_kernel_sets[] = {{NULL, NULL, NULL}};
