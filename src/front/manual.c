/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "base/utf8.h"
#include "front/manual.h"
#include "stage/judge_blind.h"

typedef struct session {
    lethe_judging *j;
    size_t judge;
    lethe_blind_question *q; /* [n] */
    size_t n;
    FILE *to;
} session;

static void help(const session *s, const char *topic) {
    fprintf(
        s->to,
        "How much of the topic%s%s is in each text? What the prompt says already does not count.\n"
        "  e  explicit    a name, place, thing or event that only the topic has\n"
        "  t  thematic    no such name, yet recognisably the topic's world\n"
        "  a  accidental  a word the topic has, too, in an ordinary sense\n"
        "  n  none        nothing of it\n"
        "  s  skip    b  back    q  save and leave    ?  this help\n",
        topic ? " " : "", topic ? topic : "");
}

/* A model's text on somebody's terminal: control characters would move the cursor or worse. */
static void print_text(FILE *to, const char *text) {
    size_t n = strlen(text);
    fputs("  ", to);
    for (size_t i = 0; i < n;) {
        size_t at = i;
        uint32_t c = lethe_utf8_next(text, n, &i);
        bool control = (c < 0x20 && c != '\t') || (c >= 0x7f && c < 0xa0) || c == 0x2028 ||
                       (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
        if (c == '\n')
            fputs("\n  ", to);
        else if (control || (c == 0xfffd && i == at + 1))
            fputc('?', to);
        else
            fwrite(text + at, 1, i - at, to);
    }
    fputc('\n', to);
}

static size_t open_questions(const session *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += !lethe_blind_answered(s->j, s->judge, &s->q[i]);
    return n;
}

/* The next open question at or after i; s->n: none. */
static size_t next_open(const session *s, size_t i) {
    while (i < s->n && lethe_blind_answered(s->j, s->judge, &s->q[i])) i++;
    return i;
}

/* Prompt and texts of the pair of question i. */
static void show(const session *s, size_t i) {
    const lethe_judge_pair *p = &s->j->pair[s->q[i].pair];
    fprintf(s->to, "\n---- %zu of %zu, %zu open\nprompt\n", i + 1, s->n, open_questions(s));
    print_text(s->to, p->prompt);
    size_t first = i && s->q[i - 1].pair == s->q[i].pair ? i - 1 : i;
    for (size_t k = first; k < s->n && s->q[k].pair == s->q[i].pair; k++) {
        fprintf(s->to, "%c%s\n", s->q[k].letter, s->q[k].both ? " (the same text twice)" : "");
        print_text(s->to, p->text[s->q[k].side]);
    }
}

/* One letter of a line; '\n': an empty line, 0: more than one letter, EOF: the end. */
static int read_letter(void) {
    char line[256];
    if (!fgets(line, sizeof line, stdin)) return EOF;
    size_t n = strlen(line);
    if (n && line[n - 1] != '\n')
        for (int c = getchar(); c != '\n' && c != EOF; c = getchar()) n = sizeof line;
    const char *p = line + strspn(line, " \t\r\n");
    if (!*p) return '\n';
    size_t word = strcspn(p, " \t\r\n");
    bool rest = p[word + strspn(p + word, " \t\r\n")] != '\0';
    return word == 1 && !rest && n < sizeof line ? p[0] : 0;
}

static lethe_judge_class class_of(int letter) {
    static const char letters[] = "etan";
    const char *at = letter > 0 ? strchr(letters, letter | 0x20) : NULL;
    return at && *at ? (lethe_judge_class)(at - letters) : LETHE_JUDGE_OPEN;
}

static lethe_status answer(const session *s, size_t i, lethe_judge_class is, lethe_err *err) {
    LETHE_TRY(lethe_blind_answer(s->j, s->judge, &s->q[i], is, err));
    return lethe_judging_save(s->j, err);
}

static lethe_status ask_all(const session *s, const char *topic, lethe_err *err) {
    size_t i = next_open(s, 0), shown = SIZE_MAX; /* the pair on the screen */
    while (i < s->n) {
        if (shown != s->q[i].pair) show(s, i);
        shown = s->q[i].pair;
        fprintf(s->to, "%c [e t a n, s b q ?] ", s->q[i].letter);
        fflush(s->to);
        int c = read_letter();
        if (lethe_stop_requested() || c == EOF) fputc('\n', s->to); /* nobody typed one */
        if (lethe_stop_requested())
            return lethe_fail(
                err, LETHE_STOPPED,
                "stopped (every answer is kept; the same command goes on from there)");
        lethe_judge_class is = class_of(c);
        if (is != LETHE_JUDGE_OPEN) {
            LETHE_TRY(answer(s, i, is, err));
            i = next_open(s, i + 1);
        } else if (c == 's') {
            i = next_open(s, i + 1);
        } else if (c == 'b') {
            i = i ? i - 1 : 0;
            shown = SIZE_MAX;
        } else if (c == 'q' || c == EOF) {
            break;
        } else if (c == '?') {
            help(s, topic);
            shown = SIZE_MAX;
        } else {
            fprintf(s->to, "one of e, t, a, n, s, b, q, ?\n");
        }
    }
    size_t left = open_questions(s);
    fprintf(s->to, left ? "\n%zu of %zu still open: the same command asks for them\n" : "\n", left,
            s->n);
    return LETHE_OK;
}

lethe_status lethe_manual_run(lethe_judging *j, size_t judge, const char *topic, uint64_t seed,
                              FILE *to, lethe_err *err) {
    session s = {.j = j, .judge = judge, .to = to};
    LETHE_TRY(lethe_blind_questions(j, seed, &s.q, &s.n, err));
    if (next_open(&s, 0) < s.n) help(&s, topic);
    lethe_status st = ask_all(&s, topic, err);
    lethe_free(s.q);
    return st;
}
