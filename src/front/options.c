/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front/command.h"

static bool takes(const lethe_cmd *cmd, const lethe_setting *s) {
    return (s->commands & (cmd->takes | LETHE_FOR_ALL)) != 0;
}

/* Edit distance, for "did you mean". Names are short. */
static size_t distance(const char *a, const char *b) {
    size_t row[64], n = strlen(b);
    if (n >= 64) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t best = row[j - 1] < row[j] ? row[j - 1] + 1 : row[j] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[n];
}

static lethe_status unknown(const lethe_cmd *cmd, const char *name, lethe_err *err) {
    const lethe_setting *s = lethe_setting_find(name);
    if (s)
        return lethe_fail(err, LETHE_USAGE,
                          "--%s is not an option of \"lethe %s\" (see: lethe %s "
                          "--help)",
                          s->name, cmd->name, cmd->name);
    const char *near = NULL;
    size_t best = 4;
    for (size_t i = 0; i < lethe_settings_count; i++) {
        if (!takes(cmd, &lethe_settings[i])) continue;
        size_t dist = distance(name, lethe_settings[i].name);
        if (dist >= best) continue;
        best = dist;
        near = lethe_settings[i].name;
    }
    if (near)
        return lethe_fail(err, LETHE_USAGE, "unknown option --%s (did you mean --%s?)", name, near);
    return lethe_fail(err, LETHE_USAGE, "unknown option --%s (see: lethe %s --help)", name,
                      cmd->name);
}

/* The words that belong to an option: a value may begin with '-' only if it is a number. */
static bool is_option(const char *word) {
    if (word[0] != '-' || !word[1]) return false;
    char *end;
    strtod(word, &end);
    return *end != '\0';
}

/* Splits "--name=value" or "--name"; returns the setting. */
static lethe_status name_of(const lethe_cmd *cmd, const char *word, const lethe_setting **s,
                            const char **value, lethe_err *err) {
    char name[64];
    const char *start = word + 1 + (word[1] == '-'), *eq = strchr(start, '=');
    size_t n = eq ? (size_t)(eq - start) : strlen(start);
    if (n == 0 || n >= sizeof name)
        return lethe_fail(err, LETHE_USAGE, "unknown option %s (see: lethe %s --help)", word,
                          cmd->name);
    memcpy(name, start, n);
    name[n] = '\0';
    *value = eq ? eq + 1 : NULL;
    *s = lethe_setting_find(name);
    return *s && takes(cmd, *s) ? LETHE_OK : unknown(cmd, name, err);
}

/* The setting that the next word without an option is for; NULL: none is left. */
static const lethe_setting *bare_word(const lethe_cmd *cmd, const lethe_invocation *in) {
    const char *const words[] = {cmd->word, cmd->word2};
    for (size_t i = 0; i < 2; i++) {
        const lethe_setting *s = words[i] ? lethe_setting_find(words[i]) : NULL;
        if (s && !in->set[s - lethe_settings]) return s;
    }
    return NULL;
}

lethe_status lethe_options_parse(const lethe_cmd *cmd, int argc, char **argv, lethe_invocation *in,
                                 bool *help, lethe_err *err) {
    *help = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *value;
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            *help = true;
            return LETHE_OK;
        }
        const lethe_setting *bare = is_option(word) ? NULL : bare_word(cmd, in);
        if (bare) {
            in->set[bare - lethe_settings] = true;
            LETHE_TRY(lethe_config_set(&in->config, bare, word, true, err));
            continue;
        }
        if (!is_option(word))
            return lethe_fail(err, LETHE_USAGE, "stray word \"%s\" (see: lethe %s --help)", word,
                              cmd->name);
        const lethe_setting *s;
        LETHE_TRY(name_of(cmd, word, &s, &value, err));
        bool first = !in->set[s - lethe_settings];
        in->set[s - lethe_settings] = true;
        if (s->kind == LETHE_KIND_FLAG) {
            LETHE_TRY(lethe_config_set(&in->config, s, value ? value : "true", true, err));
            continue;
        }
        if (!value && (i + 1 >= argc || is_option(argv[i + 1])))
            return lethe_fail(err, LETHE_USAGE, "--%s needs a value: %s", s->name, s->arg);
        LETHE_TRY(lethe_config_set(&in->config, s, value ? value : argv[++i], first, err));
        while (s->kind == LETHE_KIND_PATHS && i + 1 < argc && !is_option(argv[i + 1]))
            LETHE_TRY(lethe_config_set(&in->config, s, argv[++i], false, err));
    }
    return LETHE_OK;
}

static void help_line(const lethe_setting *s, FILE *to) {
    char left[64];
    snprintf(left, sizeof left, "--%s %s", s->name, s->arg ? s->arg : "");
    fprintf(to, "  %-26s ", left);
    size_t column = 0;
    for (const char *p = s->help; *p;) { /* wrapped at 70 columns */
        size_t word = strcspn(p, " ");
        if (column && column + word > 70) {
            fprintf(to, "\n%29s", "");
            column = 0;
        }
        fprintf(to, "%s%.*s", column ? " " : "", (int)word, p);
        column += word + 1;
        p += word + strspn(p + word, " ");
    }
    if (s->fallback)
        fprintf(to, "%s[default: %s]", column > 55 ? "\n                             " : " ",
                s->fallback);
    if (s->aliases) fprintf(to, " (also %s%s)", strlen(s->aliases) > 3 ? "--" : "-", s->aliases);
    fputc('\n', to);
}

void lethe_options_help(const lethe_cmd *cmd, FILE *to) {
    static const struct {
        unsigned mask;
        const char *title;
    } groups[] = {
        {LETHE_FOR_MODEL, "Model"},
        {LETHE_FOR_TEXT | LETHE_FOR_HARVEST, "Text"},
        {LETHE_FOR_TRAIN, "Training"},
        {LETHE_FOR_FEATURES, "Features"},
        {LETHE_FOR_EVAL, "Intervention and evaluation"},
        {LETHE_FOR_JUDGE, "Judge"},
        {LETHE_FOR_SAE | LETHE_FOR_ENCODE | LETHE_FOR_RUN | LETHE_FOR_PATCH | LETHE_FOR_REMOVAL |
             LETHE_FOR_CONVERT,
         "Files"},
        {LETHE_FOR_REPORT | LETHE_FOR_INSPECT, "What to show"},
        {LETHE_FOR_TUNE, "Search"},
        {LETHE_FOR_CHAT, "Chat"},
        {LETHE_FOR_SERVE, "Server"},
        {LETHE_FOR_PULL | LETHE_FOR_PUSH, "Hub"},
        {LETHE_FOR_BENCH, "Measurement"},
        {LETHE_FOR_ALL, "General"},
    };
    fprintf(to, "%s\n\n%s\n\nExamples:\n%s\n", cmd->usage, cmd->about, cmd->examples);
    bool shown[256] = {false};
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        bool title = false;
        for (size_t i = 0; i < lethe_settings_count; i++) {
            const lethe_setting *s = &lethe_settings[i];
            if (shown[i] || !takes(cmd, s) || !(s->commands & groups[g].mask)) continue;
            if (!title) fprintf(to, "\n%s:\n", groups[g].title);
            title = shown[i] = true;
            help_line(s, to);
        }
    }
    fprintf(to,
            "\n'_' and '-' are the same in an option's name. Exit status: 0 done, 1 failed while\n"
            "running, 2 wrong usage, 3 bad input file.\n");
}
