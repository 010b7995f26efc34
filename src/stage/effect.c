/* SPDX-License-Identifier: MIT
 *
 * A job is one candidate on one window. Jobs run in the order of the candidates, so that figures do
 * not depend on anything else.
 */
#include "stage/effect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/kernel.h"
#include "sae/encoder.h"

typedef struct window {
    int32_t *token; /* [n] */
    size_t n;
    lethe_role role;
    double *logprob; /* [n] of each token given those before it */
} window;

/* Where a candidate fires in a window. */
typedef struct spot {
    size_t window, fires, first; /* first: position */
} spot;

typedef struct job {
    size_t candidate, window, first;
    double change; /* of the log-probabilities from first on */
} job;

typedef struct effect_run {
    lethe_lm *lm;
    const lethe_sae *sae;
    const lethe_effect_opts *opts;
    const lethe_env *env;
    size_t n; /* candidates */
    const int32_t *candidate;
    int32_t *place; /* [m] of a latent among them, or -1 */
    lethe_encoder encoder;
    lethe_codes codes;
    size_t codes_cap;

    window *window; /* [n_windows] */
    size_t n_windows;
    double tokens[LETHE_ROLES]; /* that are scored in the pool */
    spot *best;                 /* [n, LETHE_ROLES, opts->windows], most fires first */
    size_t *fires;              /* [n, LETHE_ROLES] in the pool */

    /* the call in progress */
    size_t first_window;
    spot *now; /* [sequences, n] */
    const job *job;
    double *change; /* [sequences] */
} effect_run;

static void close_run(effect_run *r) {
    for (size_t i = 0; i < r->n_windows; i++) {
        lethe_free(r->window[i].token);
        lethe_free(r->window[i].logprob);
    }
    lethe_free(r->window);
    lethe_free(r->place);
    lethe_free(r->best);
    lethe_free(r->fires);
    lethe_free(r->now);
    lethe_free(r->change);
    lethe_codes_free(&r->codes);
    lethe_encoder_close(&r->encoder);
}

static size_t group_size(const effect_run *r) {
    return 4 * lethe_lm_n_seq(r->lm);
}

static lethe_status open_run(effect_run *r, lethe_err *err) {
    size_t spots = LETHE_ROLES * r->opts->windows, group = group_size(r);
    LETHE_TRY(lethe_alloc(&r->place, r->sae->m, sizeof *r->place, "candidates", err));
    for (size_t i = 0; i < r->sae->m; i++) r->place[i] = -1;
    for (size_t i = 0; i < r->n; i++) r->place[r->candidate[i]] = (int32_t)i;
    LETHE_TRY(lethe_zalloc(&r->window, (size_t)LETHE_EFFECT_POOL * LETHE_ROLES, sizeof *r->window,
                           "windows", err));
    LETHE_TRY(lethe_zalloc(&r->best, r->n, spots * sizeof *r->best, "windows of candidates", err));
    LETHE_TRY(lethe_zalloc(&r->fires, r->n, LETHE_ROLES * sizeof *r->fires, "candidates", err));
    LETHE_TRY(lethe_alloc(&r->now, r->n, group * sizeof *r->now, "candidates", err));
    LETHE_TRY(lethe_alloc(&r->change, group, sizeof *r->change, "windows", err));
    return lethe_encoder_open(&r->encoder, r->sae, err);
}

static lethe_status stopped(lethe_err *err) {
    return lethe_stop_requested()
               ? lethe_fail(err, LETHE_STOPPED, "stopped while measuring effects")
               : LETHE_OK;
}

static void show(const effect_run *r, const char *stage, const char *unit, size_t done,
                 size_t total) {
    lethe_report_progress(r->env, &(lethe_progress){.stage = stage,
                                                    .done = (double)done,
                                                    .total = (double)total,
                                                    .unit = unit,
                                                    .detail = "",
                                                    .finished = done == total});
}

/* As many rows as are encoded at once from row `at` on: r->codes.n of them. */
static lethe_status encode_rows(effect_run *r, const lethe_rows *rows, size_t at, lethe_err *err) {
    size_t n = lethe_encode_batch(r->sae, rows->n - at);
    if (n > r->codes_cap) {
        lethe_codes_free(&r->codes);
        r->codes_cap = 0;
        LETHE_TRY(lethe_codes_alloc(&r->codes, n, r->sae->k, err));
        r->codes_cap = n;
    }
    r->codes.n = n;
    return lethe_encode(&r->encoder, rows->x + at * r->sae->d, n, &r->codes, NULL, err);
}

/* ---- the pool -------------------------------------------------------------------------------- */

static lethe_status keep_window(effect_run *r, const int32_t *token, size_t n, lethe_role role,
                                lethe_err *err) {
    window *w = &r->window[r->n_windows];
    LETHE_TRY(lethe_alloc(&w->token, n, sizeof *w->token, "a window", err));
    r->n_windows++;
    LETHE_TRY(lethe_zalloc(&w->logprob, n, sizeof *w->logprob, "a window", err));
    memcpy(w->token, token, n * sizeof *token);
    w->n = n;
    w->role = role;
    r->tokens[role] += (double)(n - 1);
    return LETHE_OK;
}

/* Every so many windows of a text, so that they come from all of it. */
static lethe_status fill_pool(effect_run *r, lethe_mix *mix, lethe_err *err) {
    uint64_t seen[LETHE_ROLES] = {0};
    size_t kept[LETHE_ROLES] = {0};
    const lethe_corpus_size *size = lethe_mix_sizes(mix);
    LETHE_TRY(lethe_mix_restart(mix, 0, err));
    for (;;) {
        int32_t token[LETHE_EFFECT_CTX];
        size_t n;
        lethe_role role;
        LETHE_TRY(lethe_mix_next(mix, token, &n, &role, err));
        if (!n) break;
        uint64_t every = size[role].used / LETHE_EFFECT_POOL, number = seen[role]++;
        if (n < 2 || (every > 1 && number % every) || kept[role] == LETHE_EFFECT_POOL) continue;
        kept[role]++;
        LETHE_TRY(keep_window(r, token, n, role, err));
    }
    if (!kept[LETHE_FORGET] || !kept[LETHE_RETAIN])
        return lethe_fail(err, LETHE_USAGE, "no window of the %s text to measure effects on",
                          kept[LETHE_FORGET] ? "retain" : "forget");
    return LETHE_OK;
}

/* Of the rows from `at` on that are encoded. */
static void count_some(effect_run *r, const lethe_rows *rows, size_t at) {
    const lethe_codes *c = &r->codes;
    for (size_t i = 0; i < c->n; i++) {
        size_t t = at + i;
        if (lethe_lm_is_special(r->lm, rows->token[t])) continue;
        for (size_t j = i * c->k; j < (i + 1) * c->k; j++) {
            int32_t place = r->place[c->index[j]];
            if (place < 0 || !(c->value[j] > 0)) continue;
            spot *s = &r->now[(size_t)rows->seq[t] * r->n + (size_t)place];
            if (!s->fires || (size_t)rows->pos[t] < s->first) s->first = (size_t)rows->pos[t];
            s->fires++;
        }
    }
}

static lethe_status count_fires(void *user, const lethe_rows *rows, lethe_err *err) {
    effect_run *r = user;
    for (size_t at = 0; at < rows->n; at += r->codes.n) {
        LETHE_TRY(encode_rows(r, rows, at, err));
        count_some(r, rows, at);
    }
    return LETHE_OK;
}

static lethe_status keep_logprob(void *user, size_t seq, size_t pos, const float *logits,
                                 lethe_err *err) {
    effect_run *r = user;
    (void)err;
    window *w = &r->window[r->first_window + seq];
    if (pos + 1 < w->n)
        w->logprob[pos + 1] =
            lethe_logprob(logits, lethe_lm_get_info(r->lm)->n_vocab, w->token[pos + 1]);
    return LETHE_OK;
}

/* Puts a window among the best of a candidate; of equal ones the earlier stays before. */
static void book(effect_run *r, size_t candidate, lethe_role role, spot s) {
    const size_t most = r->opts->windows;
    spot *best = r->best + (candidate * LETHE_ROLES + role) * most;
    r->fires[candidate * LETHE_ROLES + role] += s.fires;
    for (size_t i = 0; i < most && s.fires; i++) {
        if (best[i].fires >= s.fires) continue;
        spot was = best[i];
        best[i] = s;
        s = was;
    }
}

static lethe_status run_pool(effect_run *r, lethe_err *err) {
    size_t group = group_size(r);
    lethe_seq *seq;
    LETHE_TRY(lethe_alloc(&seq, group, sizeof *seq, "windows", err));
    lethe_lm_clear_hooks(r->lm);
    lethe_status st = lethe_lm_add_tap(r->lm, r->opts->layer, r->opts->hook, count_fires, r, err);
    for (size_t at = 0; at < r->n_windows && !st; at += group) {
        size_t n = r->n_windows - at < group ? r->n_windows - at : group;
        for (size_t i = 0; i < n; i++)
            seq[i] = (lethe_seq){r->window[at + i].token, r->window[at + i].n};
        for (size_t i = 0; i < n * r->n; i++) r->now[i] = (spot){.window = at + i / r->n};
        r->first_window = at;
        st = lethe_lm_forward(r->lm, seq, n, NULL, keep_logprob, r, err);
        for (size_t i = 0; i < n * r->n && !st; i++)
            book(r, i % r->n, r->window[at + i / r->n].role, r->now[i]);
        show(r, "effect, baseline", "windows", at + n, r->n_windows);
        if (!st) st = stopped(err);
    }
    lethe_lm_clear_hooks(r->lm);
    lethe_free(seq);
    return st;
}

/* ---- the candidates -------------------------------------------------------------------------- */

static void push_some(const effect_run *r, const lethe_rows *rows, size_t at) {
    const lethe_codes *c = &r->codes;
    const size_t d = r->sae->d;
    for (size_t i = 0; i < c->n; i++) {
        size_t t = at + i;
        if (lethe_lm_is_special(r->lm, rows->token[t])) continue;
        size_t mine = r->job[rows->seq[t]].candidate;
        float factor = c->scale ? -2 * c->scale[i] : -2;
        for (size_t j = i * c->k; j < (i + 1) * c->k; j++) {
            int32_t latent = c->index[j];
            if (r->place[latent] != (int32_t)mine || !(c->value[j] > 0)) continue;
            lethe_kernels_get()->axpy(rows->x + t * d, factor * c->value[j],
                                      r->sae->W_dec + (size_t)latent * d, d);
        }
    }
}

static lethe_status push_back(void *user, const lethe_rows *rows, lethe_err *err) {
    effect_run *r = user;
    for (size_t at = 0; at < rows->n; at += r->codes.n) {
        LETHE_TRY(encode_rows(r, rows, at, err));
        push_some(r, rows, at);
    }
    return LETHE_OK;
}

static lethe_status add_change(void *user, size_t seq, size_t pos, const float *logits,
                               lethe_err *err) {
    effect_run *r = user;
    (void)err;
    const window *w = &r->window[r->job[seq].window];
    if (pos + 1 < w->n)
        r->change[seq] +=
            lethe_logprob(logits, lethe_lm_get_info(r->lm)->n_vocab, w->token[pos + 1]) -
            w->logprob[pos + 1];
    return LETHE_OK;
}

static lethe_status make_jobs(const effect_run *r, job **out, size_t *n, lethe_err *err) {
    const size_t per = LETHE_ROLES * r->opts->windows;
    LETHE_TRY(lethe_alloc(out, r->n, per * sizeof **out, "trials of candidates", err));
    *n = 0;
    for (size_t i = 0; i < r->n * per; i++)
        if (r->best[i].fires)
            (*out)[(*n)++] = (job){i / per, r->best[i].window, r->best[i].first, 0};
    return LETHE_OK;
}

static lethe_status run_jobs(effect_run *r, job *jobs, size_t n_jobs, lethe_err *err) {
    size_t group = group_size(r), *first = NULL;
    lethe_seq *seq = NULL;
    lethe_lm_clear_hooks(r->lm);
    lethe_status st = lethe_alloc(&seq, group, sizeof *seq, "windows", err);
    if (!st) st = lethe_alloc(&first, group, sizeof *first, "windows", err);
    if (!st) st = lethe_lm_add_edit(r->lm, r->opts->layer, r->opts->hook, push_back, r, err);
    for (size_t at = 0; at < n_jobs && !st; at += group) {
        size_t n = n_jobs - at < group ? n_jobs - at : group;
        r->job = jobs + at;
        for (size_t i = 0; i < n; i++) {
            const window *w = &r->window[jobs[at + i].window];
            seq[i] = (lethe_seq){w->token, w->n};
            first[i] = jobs[at + i].first;
            r->change[i] = 0;
        }
        st = lethe_lm_forward(r->lm, seq, n, first, add_change, r, err);
        for (size_t i = 0; i < n && !st; i++) jobs[at + i].change = r->change[i];
        show(r, "effect", "trials", at + n, n_jobs);
        if (!st) st = stopped(err);
    }
    lethe_lm_clear_hooks(r->lm);
    lethe_free(seq);
    lethe_free(first);
    return st;
}

/* Nats a token of a text that a candidate costs it. */
static double drop_of(const effect_run *r, const job *jobs, size_t n_jobs, size_t candidate,
                      lethe_role role) {
    double change = 0;
    size_t covered = 0;
    const spot *best = r->best + (candidate * LETHE_ROLES + role) * r->opts->windows;
    for (size_t i = 0; i < r->opts->windows; i++) covered += best[i].fires;
    for (size_t i = 0; i < n_jobs; i++)
        if (jobs[i].candidate == candidate && r->window[jobs[i].window].role == role)
            change += jobs[i].change;
    if (!covered) return 0;
    size_t fires = r->fires[candidate * LETHE_ROLES + role];
    return -change * (double)fires / (double)covered / r->tokens[role];
}

lethe_status lethe_effect_measure(lethe_lm *lm, const lethe_sae *sae, lethe_mix *mix,
                                  const int32_t *candidate, size_t n, const lethe_effect_opts *opts,
                                  double *effect, const lethe_env *env, lethe_err *err) {
    LETHE_TRY(lethe_features_check(candidate, n, sae->m, err));
    effect_run r = {.lm = lm, .sae = sae, .opts = opts, .env = env, .n = n, .candidate = candidate};
    job *jobs = NULL;
    size_t n_jobs = 0;
    lethe_status st = open_run(&r, err);
    if (!st) st = fill_pool(&r, mix, err);
    if (!st) st = run_pool(&r, err);
    if (!st) st = make_jobs(&r, &jobs, &n_jobs, err);
    if (!st) st = run_jobs(&r, jobs, n_jobs, err);
    for (size_t i = 0, from = 0; i < n && !st; i++) {
        size_t to = from; /* the candidate's own jobs stand together */
        while (to < n_jobs && jobs[to].candidate == i) to++;
        double drop[LETHE_ROLES];
        for (int role = 0; role < LETHE_ROLES; role++)
            drop[role] = drop_of(&r, jobs + from, to - from, i, (lethe_role)role);
        effect[i] = drop[LETHE_FORGET] - opts->retain_weight * fmax(drop[LETHE_RETAIN], 0) -
                    opts->near_weight * fmax(drop[LETHE_NEAR], 0);
        from = to;
    }
    lethe_free(jobs);
    close_run(&r);
    return st;
}

/* ---- the choice ------------------------------------------------------------------------------ */

static int better_first(const void *pa, const void *pb) {
    const lethe_feature *a = pa, *b = pb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

lethe_status lethe_effect_rank(lethe_feature_set *set, const double *effect, size_t most,
                               lethe_err *err) {
    size_t above = 0;
    for (size_t i = 0; i < set->n; i++) {
        set->item[i].score = effect[i];
        above += effect[i] > 0;
    }
    if (!above)
        return lethe_fail(err, LETHE_FAIL,
                          "none of %zu candidates costs the forget text more than what is to be "
                          "kept (try more with --effect-candidates, or lower --retain-weight and "
                          "--near-weight)",
                          set->n);
    qsort(set->item, set->n, sizeof *set->item, better_first);
    set->n = above < most ? above : most;
    return LETHE_OK;
}
