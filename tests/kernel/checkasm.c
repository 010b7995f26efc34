/* SPDX-License-Identifier: MIT
 *
 * checkasm: every slot of every kernel table of this processor against the contract in
 * kernel/kernel.h: the bytes of plain C, and beside that the exact value within a bound.
 *
 *     checkasm [--seed N] [--cpu NAME] [--bench]
 *
 * A difference is told with table, slot, sizes and seed; so is a crash. --cpu checks one table
 * alone; --bench measures its slots (of all tables) after the checks.
 */
#include "kernel/checkasm.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel/kernel_sets.h"

#define SLOT(name) \
    { #name, offsetof(lethe_kernels, name), check_##name, bench_##name }
static const check_slot slots[] = {
    SLOT(dot),        SLOT(sumsq),      SLOT(axpy),   SLOT(scale),
    SLOT(gather_sum), SLOT(gather_dot), SLOT(digits), SLOT(dots_i8),
    SLOT(dots_rows),  SLOT(may_pass),   SLOT(sift),   SLOT(adam),
};
enum { SLOTS = sizeof slots / sizeof *slots, TABLES = 8 };

/* A slot that is missing above would be one that nothing checks. */
_Static_assert(sizeof(lethe_kernels) == sizeof(char *) + SLOTS * sizeof(void (*)(void)),
               "a slot of lethe_kernels is not checked");

/* ---- where we are, and what went wrong --------------------------------------------------------
 */

size_t check_calls;
static const char *at_table = "", *at_slot = "";
static unsigned long long seed;
static size_t failed_here, failed;
static char crash_text[256];

void check_at(const char *table, const char *slot) {
    at_table = table;
    at_slot = slot;
    failed_here = 0;
    snprintf(crash_text, sizeof crash_text, " in table %s, slot %s (--seed %llu)\n", table, slot,
             seed);
}

const char *check_table(void) {
    return at_table;
}

const char *check_slot_name(void) {
    return at_slot;
}

bool check_fail(const char *fmt, ...) {
    failed++;
    if (++failed_here > 5) return false;
    printf("checkasm: %s: %s: ", at_table, at_slot);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf(" (--seed %llu)\n", seed);
    return false;
}

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) _exit(1);
}

static void crashed(int signal) {
    say(signal == SIGILL    ? "checkasm: unknown instruction (SIGILL)"
        : signal == SIGSEGV ? "checkasm: out of bounds (SIGSEGV)"
                            : "checkasm: crash (SIGBUS or SIGFPE)");
    say(crash_text);
    _exit(1);
}

static void catch_crashes(void) {
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE};
    struct sigaction action = {.sa_handler = crashed};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

/* ---- choosing a table -------------------------------------------------------------------------
 */

/* Names that must be there, from the list of sets: ref and those up to the first missing one. */
static size_t expected_names(const char *names[TABLES]) {
    size_t n = 0;
    names[n++] = "ref";
    for (size_t i = 0; n < TABLES && lethe_kernel_sets[i].name && lethe_kernel_sets[i].have(); i++)
        names[n++] = lethe_kernel_sets[i].name;
    return n;
}

/* The environment is read once a process, so each name has its own. */
static void check_environment(const char *wanted, const char *expected) {
    check_at(expected, "LETHE_CPU");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setenv("LETHE_CPU", wanted, 1);
        _exit(strcmp(lethe_kernels_get()->name, expected) ? 3 : 0);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        check_fail("another table runs with LETHE_CPU=%s (status %d)", wanted, status);
}

static void check_names(const char *const *names, size_t n) {
    check_at("all", "lethe_kernels_name");
    for (size_t i = 0; i < n; i++) {
        const char *name = lethe_kernels_name(i);
        if (!name || strcmp(name, names[i])) {
            check_fail("table %zu is %s, want %s", i, name ? name : "missing", names[i]);
            return;
        }
        const lethe_kernels *k = lethe_kernels_find(name);
        if (!k || strcmp(k->name, name)) check_fail("%s is not found", name);
    }
    if (lethe_kernels_name(n)) check_fail("a table %s too many", lethe_kernels_name(n));
    if (lethe_kernels_find("no-such-set")) check_fail("found \"no-such-set\"");
}

static void check_force(const char *const *names, size_t n) {
    lethe_err err = {0};
    const char *best = names[n - 1];
    for (size_t i = 0; i < n; i++) {
        check_at(names[i], "lethe_kernels_force");
        if (lethe_kernels_force(names[i], &err) || strcmp(lethe_kernels_get()->name, names[i]))
            check_fail("forced, but %s runs", lethe_kernels_get()->name);
    }
    check_at("ref", "lethe_kernels_force");
    if (lethe_kernels_force("ref", &err)) check_fail("not forced: %s", err.text);
    if (lethe_kernels_force("no-such-set", &err) != LETHE_USAGE)
        check_fail("\"no-such-set\" was taken");
    for (size_t i = 0; i < n; i++)
        if (!strstr(err.text, names[i])) check_fail("%s is not in \"%s\"", names[i], err.text);
    if (strcmp(lethe_kernels_get()->name, "ref")) check_fail("a failure changed the table");
    if (lethe_kernels_force("auto", &err) || strcmp(lethe_kernels_get()->name, best))
        check_fail("auto takes %s, want %s", lethe_kernels_get()->name, best);
    if (lethe_kernels_force("ref", &err) || lethe_kernels_force(NULL, &err) ||
        strcmp(lethe_kernels_get()->name, best))
        check_fail("NULL takes %s, want %s", lethe_kernels_get()->name, best);
}

/* ---- tables and slots -------------------------------------------------------------------------
 */

static bool same_slot(const lethe_kernels *a, const lethe_kernels *b, const check_slot *s) {
    return !memcmp((const char *)a + s->at, (const char *)b + s->at, sizeof(void (*)(void)));
}

/* Slots that an earlier table of this run has too are passed over. */
static void check_one_table(const lethe_kernels *const *k, size_t i) {
    size_t own = 0, calls = check_calls, before = failed;
    for (size_t s = 0; s < SLOTS; s++) {
        bool known = false;
        for (size_t j = 0; j < i; j++) known = known || same_slot(k[i], k[j], &slots[s]);
        if (known) continue;
        check_at(k[i]->name, slots[s].name);
        slots[s].check(k[i]);
        if (failed_here > 5) printf("checkasm: ... %zu in this slot\n", failed_here);
        own++;
    }
    check_at(k[i]->name, "sieve");
    check_sieve(k[i]);
    printf("checkasm: %-12s %2zu slots, %7zu comparisons: %s\n", k[i]->name, own,
           check_calls - calls, failed == before ? "fine" : "FAILED");
    fflush(stdout);
}

static void bench_tables(const lethe_kernels *const *k, size_t n) {
    for (size_t s = 0; s < SLOTS; s++)
        for (size_t i = 0; i < n; i++) {
            if (i && same_slot(k[i], k[i - 1], &slots[s])) continue;
            check_at(k[i]->name, slots[s].name);
            slots[s].bench(k[i]);
            fflush(stdout);
        }
}

static int usage(const char *why) {
    fprintf(stderr, "checkasm: %s\nusage: checkasm [--seed N] [--cpu NAME] [--bench]\n", why);
    return 2;
}

static bool parse_seed(const char *text) {
    char *end;
    errno = 0;
    seed = strtoull(text, &end, 10);
    return *text && !*end && !errno;
}

int main(int argc, char **argv) {
    const char *cpu = NULL;
    bool bench = false;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = ((unsigned long long)now.tv_nsec << 16 ^ (unsigned long long)getpid()) % 1000000007;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--bench"))
            bench = true;
        else if (!strcmp(argv[i], "--cpu") && i + 1 < argc)
            cpu = argv[++i];
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc && parse_seed(argv[i + 1]))
            i++;
        else
            return usage(argv[i]);
    printf("checkasm: seed %llu\n", seed);
    check_seed(seed);
    catch_crashes();

    const char *names[TABLES];
    size_t n = expected_names(names);
    for (size_t i = 0; i < n; i++) check_environment(names[i], names[i]);
    check_environment("no-such-set", names[n - 1]);
    unsetenv("LETHE_CPU");
    check_names(names, n);
    check_force(names, n);

    const lethe_kernels *tables[TABLES];
    size_t count = 0;
    lethe_err err;
    if (cpu && lethe_kernels_force(cpu, &err)) return usage(err.text);
    if (cpu)
        tables[count++] = lethe_kernels_get();
    else
        for (size_t i = 0; i < n; i++)
            if (lethe_kernels_find(names[i])) tables[count++] = lethe_kernels_find(names[i]);
    for (size_t i = 0; i < count; i++) check_one_table(tables, i);
    if (bench) bench_tables(tables, count);
    if (failed) printf("checkasm: %zu differences (--seed %llu)\n", failed, seed);
    return failed ? 1 : 0;
}
