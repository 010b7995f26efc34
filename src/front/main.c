/* SPDX-License-Identifier: MIT
 *
 * lethe COMMAND [options]: finds the command, reads its options, runs it, says how it ended.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__ /* known once a header of it was read */
#include <malloc.h>
#endif

#include "base/mem.h"
#include "front/command.h"
#include "kernel/kernel.h"
#include "lm/lm.h"

static const lethe_cmd *const commands[] = {
    &lethe_cmd_forget, &lethe_cmd_harvest, &lethe_cmd_train,  &lethe_cmd_features,
    &lethe_cmd_eval,   &lethe_cmd_judge,   &lethe_cmd_encode, &lethe_cmd_convert,
    &lethe_cmd_patch,  &lethe_cmd_tune,    &lethe_cmd_bench,  &lethe_cmd_inspect,
    &lethe_cmd_report, &lethe_cmd_chat,    &lethe_cmd_serve,  &lethe_cmd_pull,
    &lethe_cmd_push,
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static void overview(FILE *to) {
    fprintf(to,
            "lethe %s: makes a language model forget, without touching a weight\n\n"
            "usage: lethe COMMAND [options]\n\n",
            LETHE_VERSION);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  lethe %-9s %s\n", commands[i]->name, commands[i]->brief);
    fprintf(to,
            "\nTry:\n"
            "  lethe forget                  the whole job on the embedded demonstration, offline\n"
            "  lethe forget --model llama-2-7b-chat.Q4_0.gguf --layer 15 \\\n"
            "      --forget potter/ --retain wikitext.txt --probes probes.json\n"
            "  lethe COMMAND --help          options, defaults, examples\n");
}

static int version(void) {
    printf("lethe %s, libllama %s, instruction set %s\n", LETHE_VERSION, lethe_lm_library_version(),
           lethe_kernels_get()->name);
    return 0;
}

static const lethe_cmd *find(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

/* The first Ctrl-C asks the work to stop and save; the second ends the program. */
static void on_signal(int sig) {
    (void)sig;
    if (lethe_stop_requested()) _exit(130);
    lethe_stop_request();
}

static void catch_signals(void) {
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a failed write, with a message */
}

/* What encodes batch after batch asks for the same scratch again and again: without this glibc gives
 * its pages back each time, and the kernel clears them anew. (A trainer keeps its own.) */
static void keep_pages(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

static lethe_status start(const lethe_cmd *cmd, int argc, char **argv, lethe_invocation *in,
                          lethe_err *err) {
    bool help;
    LETHE_TRY(lethe_zalloc(&in->set, lethe_settings_count, sizeof *in->set, "options", err));
    LETHE_TRY(lethe_config_init(&in->config, err));
    LETHE_TRY(lethe_options_parse(cmd, argc, argv, in, &help, err));
    if (help) {
        lethe_options_help(cmd, stdout);
        return LETHE_OK;
    }
    if (in->config.threads < 0 || in->config.threads > 1024)
        return lethe_fail(err, LETHE_USAGE, "--threads: got %lld, want 0 to 1024",
                          (long long)in->config.threads);
    lethe_threads_set((int)in->config.threads);
    const char *cpu = in->config.cpu, *from_env = getenv("LETHE_CPU");
    if (from_env && (!cpu || !strcmp(cpu, "auto"))) cpu = from_env;
    LETHE_TRY(lethe_kernels_force(cpu, err));
    lethe_env env = {0};
    lethe_screen *screen = lethe_screen_open(&in->config, &env);
    if (!screen) return lethe_fail(err, LETHE_NOMEM, "out of memory");
    in->env = &env;
    keep_pages();
    catch_signals();
    lethe_status st = cmd->run(in, err);
    lethe_screen_close(&screen);
    return st;
}

/* GNU OpenMP lets waiting threads spin for milliseconds, which on a machine that is busy with other
 * things slows a run up to fifteen times (measured); tens of microseconds lose nothing on a quiet
 * one. It reads its settings when it is loaded, before main, so the program starts itself once
 * more. */
static void calm_openmp(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "10000", 0) == 0) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    calm_openmp(argv); /* where that fails, the run goes on as it is */
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help")) {
        const lethe_cmd *cmd = argc > 2 ? find(argv[2]) : NULL;
        if (cmd)
            lethe_options_help(cmd, stdout);
        else
            overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (!strcmp(argv[1], "--version")) return version();
    const lethe_cmd *cmd = find(argv[1]);
    if (!cmd) {
        fprintf(stderr, "lethe: unknown command \"%s\" (see: lethe --help)\n", argv[1]);
        return 2;
    }
    lethe_invocation in = {0};
    lethe_err err = {0};
    lethe_status st = start(cmd, argc - 2, argv + 2, &in, &err);
    if (!st && (fflush(stdout) || ferror(stdout)))
        st = lethe_fail_errno(&err, LETHE_IO, "writing the result failed");
    if (st) fprintf(stderr, "lethe: %s\n", err.text);
    lethe_config_free(&in.config);
    lethe_free(in.set);
    return lethe_status_exit_code(st);
}
