/* SPDX-License-Identifier: MIT
 *
 * The frame of the program: commands, their options, what they print and how they end. Each command
 * is one file cmd_NAME.c that exports one lethe_cmd; main.c lists them.
 *
 * Results go to standard output, all else to standard error. Exit status: 0 done, 1 failed while
 * running, 2 wrong usage, 3 bad input file.
 */
#ifndef LETHE_FRONT_COMMAND_H
#define LETHE_FRONT_COMMAND_H

#include <stdio.h>

#include "base/run.h"
#include "stage/config.h"

typedef struct lethe_invocation {
    lethe_config config;
    bool *set; /* [lethe_settings_count]: given on the command line */
    const lethe_env *env;
} lethe_invocation;

typedef struct lethe_cmd {
    const char *name, *brief;
    const char *usage;    /* "lethe train [--model FILE] ..." */
    const char *about;    /* a few lines for --help */
    const char *examples; /* invocations, one a line */
    unsigned takes;       /* LETHE_FOR_* */
    const char *word;     /* the setting that a word without an option is for; NULL: none */
    const char *word2;    /* and the second such word; NULL: none */
    lethe_status (*run)(lethe_invocation *in, lethe_err *err);
} lethe_cmd;

extern const lethe_cmd lethe_cmd_forget, lethe_cmd_harvest, lethe_cmd_train, lethe_cmd_features,
    lethe_cmd_eval, lethe_cmd_judge, lethe_cmd_encode, lethe_cmd_tune, lethe_cmd_patch,
    lethe_cmd_bench, lethe_cmd_report, lethe_cmd_inspect, lethe_cmd_chat, lethe_cmd_serve,
    lethe_cmd_pull, lethe_cmd_push, lethe_cmd_convert;

/* Reads the words behind the command into in->config. *help: --help was asked for.
 * Fails: USAGE (unknown option, with the nearest known one; a missing value; a stray word). */
lethe_status lethe_options_parse(const lethe_cmd *cmd, int argc, char **argv, lethe_invocation *in,
                                 bool *help, lethe_err *err);
void lethe_options_help(const lethe_cmd *cmd, FILE *to);

/* What the person at the other end sees: a progress bar on a terminal, a line now and then in a
 * log, nothing with --quiet. */
typedef struct lethe_screen lethe_screen;
lethe_screen *lethe_screen_open(const lethe_config *c, lethe_env *env); /* NULL: no memory */
void lethe_screen_close(lethe_screen **s);

/* Folder that holds models/ and data/ of the embedded default: $LETHE_DATA, beside the program, or
 * the installed share/lethe. Owned. Fails: NOTFOUND (says where it looked). */
lethe_status lethe_share_dir(char **out, lethe_err *err);

#endif
