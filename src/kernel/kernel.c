/* SPDX-License-Identifier: MIT */
#include "kernel/kernel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "kernel/kernel_sets.h"

/* Tables of this processor, the slowest first: each is the one before it with some slots replaced,
 * and the first missing instruction set ends the row. */
enum { MOST = 8 };
static lethe_kernels tables[MOST];
static size_t n_tables;
static _Atomic(const lethe_kernels *) in_use;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void) {
    tables[n_tables++] = lethe_kernels_ref;
    for (size_t i = 0; lethe_kernel_sets[i].name && lethe_kernel_sets[i].have() && n_tables < MOST;
         i++) {
        tables[n_tables] = tables[n_tables - 1];
        tables[n_tables].name = lethe_kernel_sets[i].name;
        lethe_kernel_sets[i].overlay(&tables[n_tables]);
        n_tables++;
    }
    /* An unknown name is no error here: whoever reads the command line reports it. */
    const char *wanted = getenv("LETHE_CPU");
    const lethe_kernels *k = &tables[n_tables - 1];
    for (size_t i = 0; wanted && i < n_tables; i++)
        if (!strcmp(tables[i].name, wanted)) k = &tables[i];
    atomic_store(&in_use, k);
}

const lethe_kernels *lethe_kernels_get(void) {
    const lethe_kernels *k = atomic_load_explicit(&in_use, memory_order_acquire);
    if (k) return k;
    pthread_once(&once, fill);
    return atomic_load(&in_use);
}

const char *lethe_kernels_name(size_t i) {
    pthread_once(&once, fill);
    return i < n_tables ? tables[i].name : NULL;
}

const lethe_kernels *lethe_kernels_find(const char *name) {
    pthread_once(&once, fill);
    for (size_t i = 0; i < n_tables; i++)
        if (!strcmp(tables[i].name, name)) return &tables[i];
    return NULL;
}

lethe_status lethe_kernels_force(const char *name, lethe_err *err) {
    pthread_once(&once, fill);
    bool fastest = !name || !strcmp(name, "auto");
    const lethe_kernels *k = fastest ? &tables[n_tables - 1] : lethe_kernels_find(name);
    if (!k) {
        lethe_strbuf names = {0};
        for (size_t i = 0; i < n_tables; i++)
            lethe_strbuf_addf(&names, "%s%s", i ? ", " : "", tables[i].name);
        lethe_status st = lethe_fail(err, LETHE_USAGE,
                                     "instruction set \"%s\" is not there (this processor and this "
                                     "build have: %s)",
                                     name, lethe_strbuf_str(&names));
        lethe_strbuf_free(&names);
        return st;
    }
    atomic_store(&in_use, k);
    return LETHE_OK;
}
