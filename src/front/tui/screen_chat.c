/* SPDX-License-Identifier: MIT */
#include "front/tui/screen_chat.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "front/tui/terminal.h"
#include "front/tui/view.h"

#define FRAME 0.033 /* seconds between drawings while an answer is written */

typedef struct screen_chat {
    lethe_session *s;
    lethe_grid grid;
    lethe_view view;
    lethe_editline edit;
    char news[1100];
    bool kept;     /* news that the pace of an answer does not replace */
    char *pending; /* a prompt that waits for the model; owned */
    bool quit, busy, stale;
    double drawn;

    /* The loading thread and what it tells. */
    pthread_t thread;
    pthread_mutex_t lock;
    bool loading, loaded; /* loaded: the thread is done, under the lock */
    char told[200];
    lethe_status load_status;
    lethe_err load_err;
    lethe_env env;
} screen_chat;

/* ---- loading ----------------------------------------------------------------------------------
 */

static void tell(screen_chat *c, const char *text) {
    pthread_mutex_lock(&c->lock);
    snprintf(c->told, sizeof c->told, "%s", text);
    pthread_mutex_unlock(&c->lock);
}

/* Nothing may be written beside the screen. */
static void on_log(void *user, lethe_log_level level, const char *text) {
    if (level <= LETHE_LOG_WARN) tell(user, text);
}

static void on_progress(void *user, const lethe_progress *p) {
    char text[200];
    if (p->total > 0)
        snprintf(text, sizeof text, "%s: %.0f of %.0f %s", p->stage, p->done, p->total, p->unit);
    else
        snprintf(text, sizeof text, "%s", p->stage);
    tell(user, text);
}

static void *load(void *user) {
    screen_chat *c = user;
    c->load_status = lethe_session_load(c->s, &c->load_err);
    pthread_mutex_lock(&c->lock);
    c->loaded = true;
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static lethe_status start_loading(screen_chat *c, lethe_err *err) {
    c->env = (lethe_env){.log = on_log, .progress = on_progress, .user = c};
    c->s->in->env = &c->env;
    pthread_mutex_init(&c->lock, NULL);
    if (pthread_create(&c->thread, NULL, load, c))
        return lethe_fail(err, LETHE_FAIL, "no thread could be started to load the model");
    c->loading = true;
    return LETHE_OK;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void say(screen_chat *c, const char *text) {
    snprintf(c->news, sizeof c->news, "%s", text);
    c->kept = *text != '\0';
    c->stale = true;
}

static void ask(screen_chat *c, const char *prompt) {
    lethe_err err = {0};
    c->view.scroll = 0;
    c->view.help = false;
    if (lethe_session_ask(c->s, prompt, &err))
        say(c, err.text);
    else
        c->busy = true;
}

static void command(screen_chat *c, const char *line) {
    lethe_reply r = {0};
    lethe_err err = {0};
    lethe_status st = lethe_session_command(c->s, line, &r, &err);
    say(c, st ? err.text : lethe_strbuf_str(&r.text));
    if (!st && r.help) c->view.help = true;
    if (!st && r.quit) c->quit = true;
    lethe_strbuf_free(&r.text);
}

static void send(screen_chat *c) {
    const char *text = lethe_strbuf_str(&c->edit.text);
    bool is_command = lethe_session_is_command(text);
    if (c->busy && !is_command) {
        say(c, "an answer is being written (Esc stops it)");
        return;
    }
    if (c->pending && !is_command) {
        say(c, "a prompt is waiting for the model");
        return;
    }
    char *line = lethe_editline_take(&c->edit);
    if (!line) return;
    say(c, "");
    if (lethe_session_is_command(line)) {
        command(c, line);
    } else if (c->loading) {
        c->pending = line;
        return;
    } else {
        ask(c, line);
    }
    lethe_free(line);
}

/* What came of the loading thread, once it is done. */
static lethe_status take_loaded(screen_chat *c, lethe_err *err) {
    pthread_mutex_lock(&c->lock);
    bool done = c->loaded;
    char told[sizeof c->told];
    memcpy(told, c->told, sizeof told);
    pthread_mutex_unlock(&c->lock);
    if (!done) {
        char text[240];
        snprintf(text, sizeof text, "loading the model ... %s", told);
        if (strcmp(text, c->news) != 0) say(c, text);
        return LETHE_OK;
    }
    pthread_join(c->thread, NULL);
    c->loading = false;
    if (c->load_status) {
        *err = c->load_err;
        return c->load_status;
    }
    c->s->ready = true;
    say(c, "");
    if (c->pending) ask(c, c->pending);
    lethe_free(c->pending);
    c->pending = NULL;
    return LETHE_OK;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void say_speed(screen_chat *c) {
    size_t n, tokens = 0, reused = 0, prompt = 0;
    double seconds = 0;
    const lethe_talk_turn *turn = lethe_talk_turns(c->s->talk, &n);
    for (int i = 0; n && i < LETHE_TALK_SIDES; i++) {
        const lethe_talk_answer *a = &turn[n - 1].answer[i];
        if (!a->there) continue;
        tokens += a->text.n;
        prompt += a->prompt;
        reused += a->reused;
        if (a->seconds > seconds) seconds = a->seconds;
    }
    c->stale = true;
    if (c->kept) return;
    snprintf(c->news, sizeof c->news,
             "%s%zu tokens, %.1f a second; of %zu before them %zu were in the cache",
             c->busy ? "writing: " : "", tokens, seconds > 0 ? (double)tokens / seconds : 0, prompt,
             reused);
}

static void stop(screen_chat *c) {
    if (!c->busy) return;
    lethe_talk_stop(c->s->talk);
    c->busy = false;
    say(c, "stopped");
}

static lethe_status step(screen_chat *c, lethe_err *err) {
    bool busy;
    LETHE_TRY(lethe_talk_step(c->s->talk, &busy, err));
    c->busy = busy;
    say_speed(c);
    return LETHE_OK;
}

/* ---- keys and drawing -------------------------------------------------------------------------
 */

static void flip(screen_chat *c) {
    char text[160];
    c->s->forgetting = !c->s->forgetting;
    lethe_session_flip(c->s, text, sizeof text);
    say(c, text);
}

/* Ctrl+C: the nearest thing that can be ended. */
static void on_break(screen_chat *c) {
    if (c->busy)
        stop(c);
    else if (c->edit.text.len)
        lethe_editline_do(&c->edit, LETHE_EDIT_KILL_LINE);
    else
        c->quit = true;
}

static void on_key(screen_chat *c, const lethe_key *k) {
    if (k->kind == LETHE_KEY_NONE) return;
    c->stale = true;
    int page = c->view.height > 1 ? c->view.height - 1 : 1;
    switch (k->kind) {
    case LETHE_KEY_NONE:
    case LETHE_KEY_RESIZE: break;
    case LETHE_KEY_TEXT: lethe_editline_insert(&c->edit, k->text, strlen(k->text)); break;
    case LETHE_KEY_EDIT: lethe_editline_do(&c->edit, (lethe_edit)k->edit); break;
    case LETHE_KEY_SEND: send(c); break;
    case LETHE_KEY_SWITCH: flip(c); break;
    case LETHE_KEY_CLICK:
        if (lethe_view_on_button(&c->view, k->row, k->col)) flip(c);
        break;
    case LETHE_KEY_BOTH: command(c, "/both"); break;
    case LETHE_KEY_MARKS: command(c, "/marks"); break;
    case LETHE_KEY_STOP:
        c->view.help = false;
        stop(c);
        break;
    case LETHE_KEY_BREAK: on_break(c); break;
    case LETHE_KEY_QUIT: c->quit = true; break;
    case LETHE_KEY_CLEAR:
        c->busy = false;
        command(c, "/clear");
        break;
    case LETHE_KEY_HELP: c->view.help = !c->view.help; break;
    case LETHE_KEY_PAGE_UP: lethe_view_scroll(&c->view, page); break;
    case LETHE_KEY_PAGE_DOWN: lethe_view_scroll(&c->view, -page); break;
    case LETHE_KEY_WHEEL_UP: lethe_view_scroll(&c->view, 3); break;
    case LETHE_KEY_WHEEL_DOWN: lethe_view_scroll(&c->view, -3); break;
    }
}

static lethe_status draw(screen_chat *c, lethe_err *err) {
    int rows, cols;
    double now = lethe_seconds();
    if (!c->stale || (c->busy && now - c->drawn < FRAME)) return LETHE_OK;
    c->stale = false;
    c->drawn = now;
    lethe_terminal_size(&rows, &cols);
    LETHE_TRY(lethe_grid_reset(&c->grid, rows, cols, err));
    lethe_view *v = &c->view;
    v->n = 0;
    if (!c->loading) v->turn = lethe_talk_turns(c->s->talk, &v->n);
    v->edit = &c->edit;
    v->heading = c->loading ? "lethe chat" : c->s->heading;
    v->news = c->news;
    v->pending = c->pending;
    v->forgetting = c->s->forgetting;
    v->both = c->s->both;
    v->marks = c->s->marks;
    LETHE_TRY(lethe_view_draw(v, &c->grid, err));
    lethe_terminal_show(&c->grid);
    return LETHE_OK;
}

static lethe_status loop(screen_chat *c, lethe_err *err) {
    c->stale = true;
    while (!c->quit && !lethe_stop_requested()) {
        if (c->loading) LETHE_TRY(take_loaded(c, err));
        if (c->busy) LETHE_TRY(step(c, err));
        LETHE_TRY(draw(c, err));
        lethe_key k = lethe_terminal_key(c->busy ? 0 : c->loading ? 50 : 200);
        /* All that has come, before anything is drawn: a pasted text is one change. */
        for (; k.kind != LETHE_KEY_NONE && !c->quit; k = lethe_terminal_key(0)) on_key(c, &k);
    }
    return LETHE_OK;
}

lethe_status lethe_screen_chat_run(lethe_session *s, bool *none, lethe_err *err) {
    screen_chat c = {.s = s};
    const lethe_env *before = s->in->env;
    *none = !lethe_terminal_open();
    if (*none) return LETHE_OK;
    lethe_status st = start_loading(&c, err);
    if (!st) st = loop(&c, err);
    lethe_terminal_close();
    /* Loading cannot be broken off, and whoever leaves does not want to wait for it. */
    if (c.loading) _exit(0);
    s->in->env = before;
    lethe_session_close(s);
    pthread_mutex_destroy(&c.lock);
    lethe_free(c.pending);
    lethe_editline_free(&c.edit);
    lethe_grid_free(&c.grid);
    return st;
}
