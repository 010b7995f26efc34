/* SPDX-License-Identifier: MIT */
#include "front/tui/plain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/jsonio.h"

typedef struct plain {
    lethe_session *s;
    bool person; /* a terminal at the other end of standard input */
    bool stream; /* a terminal at standard output: answers appear as they are written */
    int side;    /* whose answer is on the current line; -1: none */
    size_t shown;
    bool retried;
} plain;

static const lethe_talk_turn *turn_of(const plain *p) {
    size_t n;
    const lethe_talk_turn *t = lethe_talk_turns(p->s->talk, &n);
    return n ? &t[n - 1] : NULL;
}

static void put(const char *text, size_t n) {
    lethe_strbuf clean = {0};
    lethe_talk_clean(text, n, &clean);
    fputs(lethe_strbuf_str(&clean), stdout);
    lethe_strbuf_free(&clean);
}

/* What is new of one side's answer. */
static void show(plain *p, int side) {
    const lethe_talk_answer *a = &turn_of(p)->answer[side];
    bool over = a->end != LETHE_TALK_RUNS;
    if (!over && !p->stream) return;
    if (p->side != side) {
        printf("%s: ", lethe_talk_side_name(side));
        p->side = side;
        p->shown = 0;
        p->retried = a->retried;
    }
    if (a->retried && !p->retried) { /* a line that was printed cannot be taken back */
        printf("\n%s: ", lethe_talk_side_name(side));
        p->shown = 0;
        p->retried = true;
    }
    size_t ready = lethe_talk_ready(a);
    if (ready > p->shown) put(lethe_strbuf_str(&a->text.text) + p->shown, ready - p->shown);
    p->shown = ready;
    char remark[200];
    lethe_talk_remark(a, remark, sizeof remark);
    if (over) putchar('\n');
    fflush(stdout);
    if (over && *remark && !p->s->in->config.quiet) fprintf(stderr, "lethe: %s\n", remark);
}

static json_t *answer_json(const lethe_talk_answer *a, int side) {
    static const char *const ends[] = {"", "done", "length", "stopped"};
    size_t fired = 0;
    for (size_t i = 0; i < a->text.n; i++) fired += a->text.token[i].fired;
    return json_pack("{s:b, s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "forgetting",
                     side == LETHE_TALK_FORGETTING, "text",
                     lethe_json_text(lethe_strbuf_str(&a->text.text), a->text.text.len), "end",
                     ends[a->end], "retried", a->retried, "tokens", (json_int_t)a->text.n, "fired",
                     (json_int_t)fired, "prompt_tokens", (json_int_t)a->prompt, "cached_tokens",
                     (json_int_t)a->reused, "unseen_turns", (json_int_t)a->unseen, "seconds",
                     lethe_json_real(a->seconds));
}

static lethe_status print_json(const plain *p, lethe_err *err) {
    const lethe_talk_turn *turn = turn_of(p);
    json_t *answers = json_array();
    for (int i = 0; i < LETHE_TALK_SIDES; i++)
        if (turn->answer[i].there) json_array_append_new(answers, answer_json(&turn->answer[i], i));
    json_t *o =
        json_pack("{s:s, s:o}", "prompt", lethe_strbuf_str(&turn->prompt.text), "answers", answers);
    int bad = !o || json_dumpf(o, stdout, JSON_COMPACT) || putchar('\n') < 0 || fflush(stdout);
    json_decref(o);
    return bad ? lethe_fail(err, LETHE_IO, "writing the result failed") : LETHE_OK;
}

/* One after the other: what the second side has written meanwhile comes when the first is over. */
static void show_all(plain *p, bool printed[LETHE_TALK_SIDES]) {
    for (int i = 0; i < LETHE_TALK_SIDES; i++) {
        const lethe_talk_answer *a = &turn_of(p)->answer[i];
        if (!a->there || printed[i]) continue;
        show(p, i);
        printed[i] = a->end != LETHE_TALK_RUNS;
        if (!printed[i]) return;
    }
}

static lethe_status answer(plain *p, lethe_err *err) {
    bool printed[LETHE_TALK_SIDES] = {false};
    p->side = -1;
    for (bool busy = true; busy;) {
        LETHE_TRY(lethe_talk_step(p->s->talk, &busy, err));
        if (lethe_stop_requested()) {
            lethe_stop_clear();
            lethe_talk_stop(p->s->talk);
            busy = false;
        }
        if (!p->s->in->config.json) show_all(p, printed);
    }
    return p->s->in->config.json ? print_json(p, err) : LETHE_OK;
}

static lethe_status command(plain *p, const char *line, bool *quit, lethe_err *err) {
    lethe_reply r = {0};
    lethe_status st = lethe_session_command(p->s, line, &r, err);
    if (!st && r.help) lethe_session_help(&r.text);
    if (!st && r.text.len && !p->s->in->config.quiet)
        fprintf(stderr, "%s%s", lethe_strbuf_str(&r.text), r.help ? "" : "\n");
    *quit = r.quit;
    lethe_strbuf_free(&r.text);
    return st;
}

static lethe_status line_in(plain *p, char *line, size_t n, bool *quit, lethe_err *err) {
    while (n && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = '\0';
    if (strlen(line) != n) return lethe_fail(err, LETHE_USAGE, "a prompt with a NUL byte in it");
    if (!n) return LETHE_OK;
    if (lethe_session_is_command(line)) return command(p, line, quit, err);
    LETHE_TRY(lethe_session_ask(p->s, line, err));
    return answer(p, err);
}

static lethe_status talk(plain *p, lethe_err *err) {
    char *line = NULL;
    size_t cap = 0;
    bool quit = false;
    lethe_status st = LETHE_OK;
    while (!quit && !st) {
        if (p->person)
            fprintf(stderr, "%s> ",
                    p->s->both         ? "both"
                    : p->s->forgetting ? "forgetting"
                                       : "as it is");
        errno = 0;
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) {
            if (p->person) fputc('\n', stderr);
            if (ferror(stdin) && errno != EINTR)
                st = lethe_fail_errno(err, LETHE_IO, "reading the prompts failed");
            break;
        }
        st = line_in(p, line, (size_t)n, &quit, err);
        if (st == LETHE_USAGE && p->person) {
            fprintf(stderr, "lethe: %s\n", err->text);
            st = LETHE_OK;
        }
    }
    free(line);
    return st;
}

lethe_status lethe_plain_run(lethe_session *s, lethe_err *err) {
    plain p = {.s = s, .person = isatty(STDIN_FILENO) == 1, .stream = isatty(STDOUT_FILENO) == 1};
    LETHE_TRY(lethe_session_load(s, err));
    s->ready = true;
    if (!s->in->config.quiet)
        fprintf(stderr, "lethe: %s; forgetting is %s (/help)\n", s->heading,
                s->forgetting ? "on" : "off");
    lethe_status st = talk(&p, err);
    lethe_session_close(s);
    return st;
}
