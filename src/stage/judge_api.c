/* SPDX-License-Identifier: MIT
 *
 * A queue of items, each a run of labels with one key. The loop starts what may start, waits for an
 * answer or for the next item whose wait is over, and settles the answer: done, again later, given
 * up, or the end of the run.
 */
#include "stage/judge_api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "format/http.h"
#include "stage/judge_cache.h"
#include "stage/judge_rubric.h"

#define WAIT_FIRST 0.5
#define WAIT_MOST 30.0
#define RETRY_AFTER_MOST 3600.0
#define GIVEN_UP_MOST 3   /* items in a row, then nobody is there */
#define SENSELESS_MOST 10 /* items given up for their answers before one made sense */
#define STREAM 0x6a756467u

typedef struct slot { /* one label to be given */
    char key[LETHE_HASH_HEX];
    size_t pair;
    lethe_eval_side side;
} slot;

typedef struct item {
    const slot *slot; /* [n], all of one key */
    size_t n;
    unsigned tries; /* that went wrong */
    double ready;   /* not before; lethe_seconds */
    bool busy, done;
    bool tempered; /* the last request said "temperature" */
} item;

typedef struct run {
    lethe_judging *j;
    size_t judge;
    const lethe_judge_api_opts *o;
    const lethe_env *env;
    lethe_judge_api_stats *stats;
    lethe_http *http;
    lethe_strbuf rubric;
    char *url, *authorization;
    slot *slots;
    item *items; /* [n] */
    size_t n, settled, given_up_in_a_row, senseless;
    bool with_temperature, answered;
    double pause_until;
    lethe_rng rng;
} run;

lethe_judge_api_opts lethe_judge_api_defaults(void) {
    return (lethe_judge_api_opts){
        .endpoint = "https://api.openai.com/v1", .concurrency = 4, .retries = 5, .timeout = 60};
}

/* ---- the key --------------------------------------------------------------------------------- */

static bool begins(const char *s, const char *with) {
    return !strncmp(s, with, strlen(with));
}

static bool is_here(const char *host) {
    static const char *const here[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        size_t n = strlen(here[i]);
        if (!strncmp(host, here[i], n) && (!host[n] || strchr(":/", host[n]))) return true;
    }
    return false;
}

lethe_status lethe_judge_api_key(const char *endpoint, const char *lethe_key,
                                 const char *openai_key, const char **out, lethe_err *err) {
    bool https = begins(endpoint, "https://"), http = begins(endpoint, "http://");
    if (!https && !http)
        return lethe_fail(
            err, LETHE_USAGE,
            "--endpoint: got \"%s\", want http:// or https:// and what follows, as in "
            "https://api.openai.com/v1",
            endpoint);
    bool safe = https || (is_here(endpoint + strlen("http://")) && !strchr(endpoint, '@'));
    *out = NULL;
    if (lethe_key && *lethe_key)
        *out = lethe_key;
    else if (openai_key && *openai_key && safe)
        *out = openai_key;
    if (!*out && https)
        return lethe_fail(
            err, LETHE_USAGE,
            "no key for %s: set LETHE_API_KEY or OPENAI_API_KEY in the environment (a "
            "server that wants none takes any word)",
            endpoint);
    if (*out && strpbrk(*out, "\r\n"))
        return lethe_fail(err, LETHE_USAGE, "the key in the environment holds a line break");
    return LETHE_OK;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static int by_key(const void *pa, const void *pb) {
    const slot *a = pa, *b = pb;
    int c = strcmp(a->key, b->key);
    if (c) return c;
    if (a->pair != b->pair) return a->pair < b->pair ? -1 : 1;
    return (int)a->side - (int)b->side;
}

static lethe_status make_items(run *r, lethe_err *err) {
    size_t n = 0, all = r->j->n * r->j->sides;
    LETHE_TRY(lethe_alloc(&r->slots, all, sizeof *r->slots, "labels to give", err));
    LETHE_TRY(lethe_zalloc(&r->items, all, sizeof *r->items, "labels to give", err));
    for (size_t i = 0; i < r->j->n; i++)
        for (size_t s = 0; s < r->j->sides; s++, n++) {
            const lethe_judge_pair *p = &r->j->pair[i];
            r->slots[n].pair = i;
            r->slots[n].side = (lethe_eval_side)s;
            LETHE_TRY(lethe_judge_cache_key(r->o->model, lethe_strbuf_str(&r->rubric), p->prompt,
                                            p->text[s], r->slots[n].key, err));
        }
    qsort(r->slots, all, sizeof *r->slots, by_key);
    for (size_t i = 0; i < all; i++) {
        if (!i || strcmp(r->slots[i].key, r->slots[i - 1].key) != 0)
            r->items[r->n++].slot = &r->slots[i];
        r->items[r->n - 1].n++;
    }
    return LETHE_OK;
}

static lethe_status label(run *r, const item *it, lethe_judge_class is, const char *reason,
                          lethe_err *err) {
    for (size_t i = 0; i < it->n; i++)
        LETHE_TRY(
            lethe_judging_set(r->j, r->judge, it->slot[i].pair, it->slot[i].side, is, reason, err));
    return LETHE_OK;
}

static lethe_status from_cache(run *r, lethe_err *err) {
    for (size_t i = 0; i < r->n; i++) {
        lethe_judge_class is;
        char *reason;
        item *it = &r->items[i];
        LETHE_TRY(lethe_judge_cache_get(r->o->cache_dir, it->slot->key, &is, &reason, err));
        if (is == LETHE_JUDGE_OPEN) continue;
        lethe_status st = label(r, it, is, reason, err);
        lethe_free(reason);
        LETHE_TRY(st);
        it->done = true;
        r->settled++;
        r->stats->cached += it->n;
    }
    return LETHE_OK;
}

static lethe_status text_of(char **out, lethe_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static lethe_status text_of(char **out, lethe_err *err, const char *fmt, ...) {
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    *out = n < 0 ? NULL : lethe_strdup(s);
    if (n >= 0) free(s);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: a request");
}

static lethe_status set_up(run *r, lethe_err *err) {
    static const char path[] = "/chat/completions";
    int n = (int)strlen(r->o->endpoint);
    while (n && r->o->endpoint[n - 1] == '/') n--;
    bool whole = n >= (int)sizeof path - 1 && begins(r->o->endpoint + n - (sizeof path - 1), path);
    LETHE_TRY(text_of(&r->url, err, "%.*s%s", n, r->o->endpoint, whole ? "" : path));
    if (r->o->key)
        LETHE_TRY(text_of(&r->authorization, err, "Authorization: Bearer %s", r->o->key));
    lethe_rubric_text(r->o->topic, &r->rubric);
    if (r->rubric.status) return lethe_fail(err, LETHE_NOMEM, "out of memory: the instructions");
    LETHE_TRY(lethe_mkdirs(r->o->cache_dir, err));
    lethe_http_opts h = lethe_http_defaults();
    h.timeout = r->o->timeout;
    LETHE_TRY(lethe_http_open(&r->http, &h, err));
    LETHE_TRY(make_items(r, err));
    return r->o->fresh ? LETHE_OK : from_cache(r, err);
}

static void tear_down(run *r) {
    lethe_http_close(&r->http);
    lethe_strbuf_free(&r->rubric);
    lethe_free(r->url);
    lethe_free(r->authorization);
    lethe_free(r->items);
    lethe_free(r->slots);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static lethe_status send_item(run *r, item *it, lethe_err *err) {
    const char *headers[2] = {"Content-Type: application/json", r->authorization};
    const lethe_judge_pair *p = &r->j->pair[it->slot->pair];
    char *body;
    LETHE_TRY(lethe_rubric_request(r->o->model, lethe_strbuf_str(&r->rubric), p->prompt,
                                   p->text[it->slot->side], r->with_temperature, &body, err));
    lethe_status st = lethe_http_post(r->http, r->url, headers, r->authorization ? 2 : 1, body,
                                      strlen(body), it, err);
    lethe_free(body);
    it->busy = !st;
    it->tempered = r->with_temperature;
    return st;
}

/* Starts what may start. *wait: seconds until something else may. */
static lethe_status start(run *r, double *wait, lethe_err *err) {
    double now = lethe_seconds(), next = now + 1e9;
    bool paused = now < r->pause_until;
    for (size_t i = 0; i < r->n; i++) {
        item *it = &r->items[i];
        if (it->done || it->busy) continue;
        if (paused || it->ready > now) {
            double ready = paused && it->ready < r->pause_until ? r->pause_until : it->ready;
            if (ready < next) next = ready;
        } else if (lethe_http_active(r->http) < r->o->concurrency) {
            LETHE_TRY(send_item(r, it, err));
        } else {
            break; /* an answer makes room */
        }
    }
    *wait = next - now;
    return LETHE_OK;
}

static lethe_status settle(run *r, item *it, lethe_judge_class is, const char *reason,
                           lethe_err *err) {
    LETHE_TRY(label(r, it, is, reason, err));
    it->done = true;
    r->settled++;
    return LETHE_OK;
}

/* The item is given up; the run goes on unless there is no sense in it. */
static lethe_status give_up(run *r, item *it, bool nobody, const char *why, lethe_err *err) {
    LETHE_TRY(settle(r, it, LETHE_JUDGE_FAILED, why, err));
    r->stats->failed += it->n;
    lethe_log(r->env, LETHE_LOG_WARN, "completion %zu (%s) could not be judged: %s",
              it->slot->pair + 1, lethe_judge_side_name(it->slot->side), why);
    if (nobody) r->given_up_in_a_row++;
    if (!nobody && ++r->senseless >= SENSELESS_MOST && !r->answered)
        return lethe_fail(err, LETHE_FAIL, "%s gives no answer that makes sense: %s", r->o->model,
                          why);
    if (r->given_up_in_a_row >= (r->answered ? GIVEN_UP_MOST : 1))
        return lethe_fail(err, LETHE_IO,
                          "%s does not answer: %s (what was judged is kept; the same command goes "
                          "on from there)",
                          r->url, why);
    return LETHE_OK;
}

static lethe_status again(run *r, item *it, double after, bool nobody, const char *why,
                          lethe_err *err) {
    if (it->tries >= r->o->retries) return give_up(r, it, nobody, why, err);
    double wait = WAIT_FIRST;
    for (unsigned i = 0; i < it->tries && wait < WAIT_MOST; i++) wait *= 2;
    if (wait > WAIT_MOST) wait = WAIT_MOST;
    wait *= 1 - 0.5 * lethe_rng_uniform(&r->rng);
    it->tries++;
    r->stats->retried++;
    if (after >= 0) wait = after;
    it->ready = lethe_seconds() + wait;
    if (after >= 0 && it->ready > r->pause_until) r->pause_until = it->ready;
    lethe_log(r->env, LETHE_LOG_DEBUG, "again in %.1f s (try %u of %u): %s", wait, it->tries + 1,
              r->o->retries + 1, why);
    return LETHE_OK;
}

static lethe_status on_answer(run *r, item *it, const lethe_http_response *a, lethe_err *err) {
    lethe_judge_class is;
    char *reason = NULL;
    lethe_err local = {0};
    lethe_status st = lethe_rubric_answer(a->body, a->len, &is, &reason, &local);
    r->given_up_in_a_row = 0;
    if (st == LETHE_FORMAT) return again(r, it, -1, false, local.text, err);
    if (st) return lethe_fail(err, st, "%s", local.text);
    r->answered = true;
    st = lethe_judge_cache_put(r->o->cache_dir, it->slot->key, is, reason, r->o->model, err);
    if (!st) st = settle(r, it, is, reason, err);
    if (!st) r->stats->asked += it->n;
    lethe_free(reason);
    return st;
}

static lethe_status on_refusal(run *r, item *it, long status, const char *said, lethe_err *err) {
    /* Asked without from now on; what is under way with it comes back here, too. */
    if (status == 400 && strstr(said, "temperature") && it->tempered) {
        r->with_temperature = it->tempered = false;
        return LETHE_OK;
    }
    if (status == 401 || status == 403)
        return lethe_fail(err, LETHE_IO, "%s refuses the key (%ld): %s", r->url, status, said);
    if (status == 404)
        return lethe_fail(err, LETHE_IO,
                          "%s: 404 (is the address right, and is there a model \"%s\"?): %s",
                          r->url, r->o->model, said);
    if (!r->answered)
        return lethe_fail(err, LETHE_IO, "%s refuses the request (%ld): %s", r->url, status, said);
    return give_up(r, it, false, said, err);
}

static lethe_status on_response(run *r, const lethe_http_response *a, lethe_err *err) {
    item *it = a->user;
    it->busy = false;
    if (a->status >= 200 && a->status < 300) return on_answer(r, it, a, err);
    char said[200], why[300];
    lethe_rubric_complaint(a->body, a->len, said, sizeof said);
    if (!a->status) {
        snprintf(why, sizeof why, "no answer: %s", a->message);
        return again(r, it, -1, true, why, err);
    }
    snprintf(why, sizeof why, "HTTP status %ld: %s", a->status, said[0] ? said : "(no text)");
    bool later = a->status == 408 || a->status == 429 || a->status >= 500;
    if (!later) return on_refusal(r, it, a->status, said[0] ? said : "(no text)", err);
    double after = a->retry_after;
    if (after > RETRY_AFTER_MOST)
        return lethe_fail(err, LETHE_IO,
                          "%s asks to come back in %.0f s: %s (the same command goes on then)",
                          r->url, after, said);
    return again(r, it, after, true, why, err);
}

static void progress(const run *r, bool finished) {
    char detail[80];
    snprintf(detail, sizeof detail, "%zu from before  %zu retried  %zu failed", r->stats->cached,
             r->stats->retried, r->stats->failed);
    lethe_report_progress(r->env, &(lethe_progress){.stage = "judge",
                                                    .done = (double)r->settled,
                                                    .total = (double)r->n,
                                                    .unit = "completions",
                                                    .detail = detail,
                                                    .finished = finished});
}

static lethe_status loop(run *r, lethe_err *err) {
    while (r->settled < r->n) {
        double wait;
        progress(r, false);
        if (lethe_stop_requested())
            return lethe_fail(
                err, LETHE_STOPPED,
                "stopped with %zu of %zu different completions judged (they are kept; "
                "the same command goes on from there)",
                r->settled, r->n);
        LETHE_TRY(start(r, &wait, err));
        lethe_http_response a;
        bool got;
        LETHE_TRY(lethe_http_next(r->http, wait < 1 ? wait : 1, &a, &got, err));
        if (!got) continue;
        lethe_status st = on_response(r, &a, err);
        lethe_http_response_free(&a);
        LETHE_TRY(st);
    }
    progress(r, true);
    return LETHE_OK;
}

lethe_status lethe_judge_api_run(lethe_judging *j, size_t judge, const lethe_judge_api_opts *o,
                                 const lethe_env *env, lethe_judge_api_stats *stats,
                                 lethe_err *err) {
    *stats = (lethe_judge_api_stats){0};
    run r = {.j = j,
             .judge = judge,
             .o = o,
             .env = env,
             .stats = stats,
             .with_temperature = true,
             .rng = lethe_rng_make(o->seed, STREAM)};
    lethe_judging_clear(j, judge); /* what it said under other instructions does not count */
    lethe_status st = set_up(&r, err);
    if (!st) st = loop(&r, err);
    tear_down(&r);
    return st;
}
