/* SPDX-License-Identifier: MIT
 *
 * Slot s of the live sequences is side s: the removal is off in sequence 0 and on in sequence 1,
 * for good. So a cache never holds rows of the other state, and live.h's rule (what the cache holds
 * of the same beginning is kept) is all that flipping needs.
 */
#include "stage/talk.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "stage/textmetrics.h"

/* Bytes between two looks for repetition: each look reads the whole answer. */
#define LOOK_EVERY 24

/* The second try of an answer that repeats itself. Four tokens: an answer may end like an earlier
 * one, with a word, a full stop and the end, but no phrase comes back. */
#define RETRY_NGRAM 4
#define RETRY_PENALTY 1.1

typedef struct side_state {
    bool again;    /* to be begun once more after this step: */
    bool retry;    /* from scratch, as it repeats itself; else going on behind fewer turns */
    size_t from;   /* first turn the model is shown */
    size_t looked; /* bytes of the answer at the last look for repetition */
    double started;
} side_state;

struct lethe_talk {
    lethe_lm *lm;
    lethe_ablation *ablation;
    lethe_live *live;
    lethe_sampling sampling, asked; /* from the next question on; of this one */
    bool no_retry;
    char *system;
    lethe_talk_turn *turn; /* [n] */
    size_t n, cap;
    side_state side[LETHE_TALK_SIDES];
    lethe_status status; /* of a callback, which cannot fail otherwise */
};

/* ---- texts ------------------------------------------------------------------------------------
 */

static void text_clear(lethe_talk_text *t) {
    lethe_strbuf_clear(&t->text);
    t->n = 0;
}

static void text_free(lethe_talk_text *t) {
    lethe_strbuf_free(&t->text);
    lethe_free(t->token);
    *t = (lethe_talk_text){0};
}

static void turn_free(lethe_talk_turn *t) {
    text_free(&t->prompt);
    for (int s = 0; s < LETHE_TALK_SIDES; s++) text_free(&t->answer[s].text);
    *t = (lethe_talk_turn){0};
}

static lethe_status text_push(lethe_talk_text *t, lethe_talk_token token, lethe_err *err) {
    LETHE_TRY(lethe_grow(&t->token, &t->cap, t->n, t->n + 1, sizeof *t->token, "tokens", err));
    t->token[t->n++] = token;
    return LETHE_OK;
}

/* The last token of an answer is run with the next prompt, so the turn before is looked at, too. */
static void mark(lethe_talk_text *t, const lethe_firing *f) {
    for (size_t i = 0; i < t->n; i++) {
        if (t->token[i].pos != f->pos || t->token[i].id != f->token) continue;
        t->token[i].fired = true;
        t->token[i].acted |= f->acted;
    }
}

static void on_firing(void *user, const lethe_firing *f) {
    lethe_talk *t = user;
    if (f->seq < 0 || f->seq >= LETHE_TALK_SIDES) return;
    for (size_t back = 1; back <= 2 && back <= t->n; back++) {
        lethe_talk_turn *turn = &t->turn[t->n - back];
        mark(&turn->answer[f->seq].text, f);
        if (back == 1) mark(&turn->prompt, f);
    }
}

/* ---- what the model is shown ------------------------------------------------------------------
 */

/* The answer of a turn in the eyes of a side: its own, or else the other's. */
static const lethe_talk_answer *seen(const lethe_talk_turn *turn, int side) {
    return turn->answer[side].there ? &turn->answer[side] : &turn->answer[!side];
}

static lethe_status plain_tokens(const lethe_lm *lm, const lethe_chat_message *m, size_t n,
                                 lethe_tokens *out, lethe_err *err) {
    lethe_strbuf text = {0};
    for (size_t i = 0; i < n; i++) lethe_strbuf_addf(&text, "%s%s", i ? "\n" : "", m[i].content);
    lethe_status st =
        text.status
            ? lethe_fail(err, text.status, "out of memory for the conversation")
            : lethe_lm_tokenize(lm, lethe_strbuf_str(&text), text.len, true, false, out, err);
    lethe_strbuf_free(&text);
    return st;
}

/* System message, turns from..t->n - 1 with their answers but for the last. */
static lethe_status shown(const lethe_talk *t, int side, size_t from, lethe_tokens *out,
                          lethe_err *err) {
    lethe_chat_message *m;
    size_t n = 0;
    LETHE_TRY(lethe_alloc(&m, 2 * (t->n - from) + 1, sizeof *m, "messages", err));
    if (t->system) m[n++] = (lethe_chat_message){"system", t->system};
    for (size_t i = from; i < t->n; i++) {
        m[n++] = (lethe_chat_message){"user", lethe_strbuf_str(&t->turn[i].prompt.text)};
        if (i + 1 == t->n) break;
        m[n++] = (lethe_chat_message){"assistant",
                                      lethe_strbuf_str(&seen(&t->turn[i], side)->text.text)};
    }
    out->n = 0;
    lethe_status st = lethe_lm_get_info(t->lm)->has_chat_template
                          ? lethe_lm_chat_tokens(t->lm, m, n, true, out, err)
                          : plain_tokens(t->lm, m, n, out, err);
    lethe_free(m);
    return st;
}

/* Room that an answer should have at least: a quarter of the context, or what it may take. */
static size_t reserve(const lethe_talk *t) {
    size_t quarter = lethe_lm_ctx_len(t->lm) / 4, most = t->asked.max_tokens;
    return most && most < quarter ? most : quarter;
}

/* Drops the oldest turns until the rest leaves `room` tokens; the last turn stays. */
static lethe_status fit(const lethe_talk *t, int side, size_t room, size_t *from, lethe_tokens *out,
                        lethe_err *err) {
    for (;; ++*from) {
        LETHE_TRY(shown(t, side, *from, out, err));
        if (out->n + room <= lethe_lm_ctx_len(t->lm) || *from + 1 == t->n) return LETHE_OK;
    }
}

/* Finds the prompt in the text of all tokens, from the end, and lists the tokens it is made of.
 * Where it is not found as it stands (a normalising tokenizer) there is nothing to mark. */
static lethe_status place_prompt(lethe_talk *t, const lethe_tokens *all, lethe_err *err) {
    lethe_talk_text *p = &t->turn[t->n - 1].prompt;
    lethe_strbuf text = {0};
    size_t *end = NULL, at = SIZE_MAX;
    p->n = 0;
    LETHE_TRY(lethe_alloc(&end, all->n, sizeof *end, "tokens", err));
    for (size_t i = 0; i < all->n; i++) {
        lethe_lm_piece(t->lm, all->id[i], true, &text);
        end[i] = text.len;
    }
    for (size_t s = text.len >= p->text.len ? text.len - p->text.len + 1 : 0; s-- > 0;)
        if (!memcmp(lethe_strbuf_str(&text) + s, lethe_strbuf_str(&p->text), p->text.len)) {
            at = s;
            break;
        }
    lethe_status st = text.status ? lethe_fail(err, text.status, "out of memory for a text") : 0;
    for (size_t i = 0; !st && at != SIZE_MAX && i < all->n; i++) {
        size_t a = i ? end[i - 1] : 0, b = end[i];
        if (b <= at || a >= at + p->text.len) continue;
        a = a > at ? a - at : 0;
        b = b - at < p->text.len ? b - at : p->text.len;
        st = text_push(p, (lethe_talk_token){a, b - a, all->id[i], (int32_t)i, false, false}, err);
    }
    lethe_free(end);
    lethe_strbuf_free(&text);
    return st;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static lethe_status begin(lethe_talk *t, int side, const lethe_tokens *text,
                          const lethe_sampling *s, lethe_err *err) {
    lethe_live_request r = {.token = text->id, .n = text->n, .sampling = *s, .stream = t->n - 1};
    return lethe_live_begin(t->live, (size_t)side, &r, err);
}

/* Turns have dropped out: what was written before stands elsewhere now. */
static void displace(lethe_talk *t, int side) {
    if (t->n < 2) return;
    lethe_talk_text *text = &t->turn[t->n - 2].answer[side].text;
    for (size_t i = 0; i < text->n; i++) text->token[i].pos = -1;
}

static lethe_status first(lethe_talk *t, int side, lethe_err *err) {
    lethe_talk_answer *a = &t->turn[t->n - 1].answer[side];
    lethe_tokens all = {0};
    side_state *s = &t->side[side];
    size_t before = s->from;
    *s = (side_state){.started = lethe_seconds()};
    lethe_status st = fit(t, side, reserve(t), &s->from, &all, err);
    if (s->from != before) displace(t, side);
    if (!st && all.n >= lethe_lm_ctx_len(t->lm))
        st = lethe_fail(err, LETHE_USAGE,
                        "the prompt has %zu tokens, the context holds %zu (shorten it, or raise "
                        "--ctx-len where the model can)",
                        all.n, lethe_lm_ctx_len(t->lm));
    if (!st) st = place_prompt(t, &all, err);
    if (!st) st = begin(t, side, &all, &t->asked, err);
    if (!st) {
        a->there = true;
        a->unseen = s->from;
        a->prompt = all.n;
        a->reused = lethe_live_reused(t->live, (size_t)side);
    }
    lethe_tokens_free(&all);
    return st;
}

/* From scratch, greedily, with no phrase twice. */
static lethe_status retry(lethe_talk *t, int side, lethe_err *err) {
    lethe_talk_answer *a = &t->turn[t->n - 1].answer[side];
    lethe_sampling s = t->asked;
    s.temperature = 0;
    if (s.repeat_penalty < RETRY_PENALTY) s.repeat_penalty = RETRY_PENALTY;
    s.no_repeat_ngram = RETRY_NGRAM;
    lethe_tokens all = {0};
    text_clear(&a->text);
    a->retried = true;
    lethe_status st = shown(t, side, t->side[side].from, &all, err);
    if (!st) st = begin(t, side, &all, &s, err);
    lethe_tokens_free(&all);
    return st;
}

/* The context is full: older turns make room, and the answer goes on behind what is left. */
static lethe_status go_on(lethe_talk *t, int side, lethe_err *err) {
    lethe_talk_answer *a = &t->turn[t->n - 1].answer[side];
    side_state *s = &t->side[side];
    lethe_tokens all = {0};
    s->from++;
    lethe_status st = fit(t, side, a->text.n + reserve(t), &s->from, &all, err);
    a->unseen = s->from;
    if (!st) st = place_prompt(t, &all, err);
    for (size_t i = 0; !st && i < a->text.n; i++) {
        a->text.token[i].pos = (int32_t)all.n;
        st = lethe_tokens_push(&all, a->text.token[i].id, err);
    }
    lethe_sampling sampling = t->asked;
    if (sampling.max_tokens) sampling.max_tokens -= a->text.n;
    if (!st && all.n >= lethe_lm_ctx_len(t->lm))
        a->end = LETHE_TALK_LENGTH;
    else if (!st)
        st = begin(t, side, &all, &sampling, err);
    lethe_tokens_free(&all);
    return st;
}

static bool repeats(lethe_talk *t, int side) {
    lethe_talk_answer *a = &t->turn[t->n - 1].answer[side];
    side_state *s = &t->side[side];
    bool yes = false;
    if (t->no_retry || a->retried || a->text.text.len < s->looked + LOOK_EVERY) return false;
    s->looked = a->text.text.len;
    lethe_status st =
        lethe_text_stutters(lethe_strbuf_str(&a->text.text), a->text.text.len, &yes, NULL);
    if (st) t->status = st;
    return yes;
}

static bool context_full(const lethe_talk *t, int side, const lethe_talk_answer *a) {
    return (!t->asked.max_tokens || a->text.n < t->asked.max_tokens) &&
           t->side[side].from + 1 < t->n;
}

static void ended(lethe_talk *t, int side, lethe_live_end end) {
    lethe_talk_answer *a = &t->turn[t->n - 1].answer[side];
    side_state *s = &t->side[side];
    if (end == LETHE_LIVE_CUT)
        s->again = s->retry = true;
    else if (end == LETHE_LIVE_LENGTH && context_full(t, side, a))
        s->again = true;
    else
        a->end = end == LETHE_LIVE_EOG ? LETHE_TALK_DONE : LETHE_TALK_LENGTH;
}

static bool on_event(void *user, const lethe_live_event *e) {
    lethe_talk *t = user;
    int side = (int)e->slot;
    lethe_talk_answer *a = &t->turn[t->n - 1].answer[side];
    bool go = true;
    a->seconds = lethe_seconds() - t->side[side].started;
    if (e->token >= 0) {
        lethe_talk_token token = {a->text.text.len,
                                  e->piece_len,
                                  e->token,
                                  (int32_t)lethe_live_text(t->live, e->slot)->n - 1,
                                  false,
                                  false};
        lethe_strbuf_add(&a->text.text, e->piece, e->piece_len);
        lethe_status st = text_push(&a->text, token, NULL);
        if (st || a->text.text.status) t->status = LETHE_NOMEM;
        go = !repeats(t, side);
    }
    if (e->end == LETHE_LIVE_GOES_ON) return go;
    /* An end that comes with a token that shows the repetition is a cut as well. */
    ended(t, side, go ? e->end : LETHE_LIVE_CUT);
    return true;
}

/* ---- the boundary -----------------------------------------------------------------------------
 */

lethe_status lethe_talk_open(lethe_talk **out, lethe_lm *lm, lethe_ablation *a,
                             const lethe_talk_opts *opts, lethe_err *err) {
    lethe_talk *t;
    if (lethe_lm_n_seq(lm) < LETHE_TALK_SIDES)
        return lethe_fail(err, LETHE_USAGE, "a talk needs a model opened for %d sequences",
                          LETHE_TALK_SIDES);
    LETHE_TRY(lethe_zalloc(&t, 1, sizeof *t, "a talk", err));
    t->lm = lm;
    t->ablation = a;
    t->sampling = t->asked = opts->sampling;
    t->no_retry = opts->no_retry;
    t->system = lethe_strdup(opts->system);
    lethe_status st =
        opts->system && !t->system ? lethe_fail(err, LETHE_NOMEM, "out of memory") : 0;
    if (!st) st = lethe_live_open(&t->live, lm, on_event, t, err);
    for (int s = 0; !st && s < LETHE_TALK_SIDES; s++)
        st = lethe_ablation_switch(a, LETHE_ALL_REMOVALS, s, s == LETHE_TALK_FORGETTING, err);
    if (st)
        lethe_talk_close(&t);
    else
        lethe_ablation_watch(a, on_firing, t);
    *out = t;
    return st;
}

void lethe_talk_close(lethe_talk **tp) {
    lethe_talk *t = *tp;
    if (!t) return;
    lethe_ablation_watch(t->ablation, NULL, NULL);
    lethe_live_close(&t->live);
    for (size_t i = 0; i < t->n; i++) turn_free(&t->turn[i]);
    lethe_free(t->turn);
    lethe_free(t->system);
    lethe_free(t);
    *tp = NULL;
}

void lethe_talk_sampling(lethe_talk *t, const lethe_sampling *s) {
    t->sampling = *s;
}

/* What was cached was written under another setting. */
static lethe_status set_anew(lethe_talk *t, lethe_status st) {
    if (!st) lethe_live_forget(t->live, LETHE_TALK_FORGETTING);
    return st;
}

lethe_status lethe_talk_strength(lethe_talk *t, double strength, lethe_err *err) {
    lethe_talk_stop(t);
    return set_anew(t, lethe_ablation_strength_in(t->ablation, LETHE_ALL_REMOVALS,
                                                  LETHE_TALK_FORGETTING, strength, err));
}

lethe_status lethe_talk_scale(lethe_talk *t, double factor, lethe_err *err) {
    lethe_talk_stop(t);
    return set_anew(t, lethe_ablation_scale_in(t->ablation, LETHE_ALL_REMOVALS,
                                               LETHE_TALK_FORGETTING, factor, err));
}

static lethe_status add_turn(lethe_talk *t, const char *prompt, lethe_err *err) {
    size_t len = strlen(prompt);
    if (!len) return lethe_fail(err, LETHE_USAGE, "the prompt is empty");
    if (lethe_utf8_valid_prefix(prompt, len) != len)
        return lethe_fail(err, LETHE_USAGE, "the prompt is not valid UTF-8");
    LETHE_TRY(lethe_grow(&t->turn, &t->cap, t->n, t->n + 1, sizeof *t->turn, "turns", err));
    lethe_talk_turn *turn = &t->turn[t->n];
    *turn = (lethe_talk_turn){0};
    lethe_strbuf_adds(&turn->prompt.text, prompt);
    if (turn->prompt.text.status)
        return lethe_fail(err, turn->prompt.text.status, "out of memory for the prompt");
    t->n++;
    return LETHE_OK;
}

lethe_status lethe_talk_ask(lethe_talk *t, const char *prompt, unsigned sides, lethe_err *err) {
    lethe_talk_stop(t);
    LETHE_TRY(add_turn(t, prompt, err));
    t->asked = t->sampling;
    lethe_status st = LETHE_OK;
    for (int s = 0; !st && s < LETHE_TALK_SIDES; s++)
        if (sides >> s & 1) st = first(t, s, err);
    if (!st) return LETHE_OK;
    for (size_t s = 0; s < LETHE_TALK_SIDES; s++) lethe_live_stop(t->live, s);
    turn_free(&t->turn[--t->n]);
    return st;
}

bool lethe_talk_busy(const lethe_talk *t) {
    for (size_t s = 0; s < LETHE_TALK_SIDES; s++)
        if (lethe_live_busy(t->live, s)) return true;
    return false;
}

lethe_status lethe_talk_step(lethe_talk *t, bool *busy, lethe_err *err) {
    bool any;
    t->status = LETHE_OK;
    lethe_status st = lethe_live_step(t->live, &any, err);
    if (!st && t->status) st = lethe_fail(err, t->status, "out of memory for an answer");
    for (int s = 0; !st && s < LETHE_TALK_SIDES; s++) {
        if (!t->side[s].again) continue;
        bool scratch = t->side[s].retry;
        t->side[s].again = t->side[s].retry = false;
        st = scratch ? retry(t, s, err) : go_on(t, s, err);
    }
    if (st) lethe_talk_stop(t);
    *busy = !st && lethe_talk_busy(t);
    return st;
}

void lethe_talk_stop(lethe_talk *t) {
    for (size_t s = 0; s < LETHE_TALK_SIDES; s++) {
        lethe_live_stop(t->live, s);
        t->side[s].again = t->side[s].retry = false;
        if (!t->n) continue;
        lethe_talk_answer *a = &t->turn[t->n - 1].answer[s];
        if (a->there && a->end == LETHE_TALK_RUNS) a->end = LETHE_TALK_STOPPED;
    }
}

void lethe_talk_clear(lethe_talk *t) {
    lethe_talk_stop(t);
    for (size_t i = 0; i < t->n; i++) turn_free(&t->turn[i]);
    t->n = 0;
}

const lethe_talk_turn *lethe_talk_turns(const lethe_talk *t, size_t *n) {
    *n = t->n;
    return t->turn;
}
