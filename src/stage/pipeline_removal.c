/* SPDX-License-Identifier: MIT
 *
 * The removal of a run, from its SAE and features or from patches, with its guard calibrated.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/guard.h"
#include "stage/pipeline_run.h"

/* ---- settings -------------------------------------------------------------------------------- */

static lethe_status guard_setting(const lethe_config *c, lethe_intervention *o, bool *is_auto,
                                  lethe_err *err) {
    *is_auto = !strcmp(c->guard, "auto");
    o->guard = strcmp(c->guard, "off") != 0;
    if (!o->guard || *is_auto) return LETHE_OK;
    char *end;
    o->guard_threshold = strtod(c->guard, &end);
    if (end == c->guard || *end)
        return lethe_fail(err, LETHE_USAGE,
                          "--guard: got \"%s\", want off, auto or a number: a share from 0 to 1, "
                          "or nats of evidence",
                          c->guard);
    return LETHE_OK;
}

lethe_status lethe_pipeline_intervention(const lethe_config *c, lethe_intervention *out,
                                         bool *guard_auto, lethe_err *err) {
    lethe_intervention o = {.strength = c->strength, .gated = c->direction_gated};
    if (!lethe_method_from_name(c->method, &o.method))
        return lethe_fail(err, LETHE_USAGE, "--method: got \"%s\", want scale, clamp or direction",
                          c->method);
    if (!lethe_clamp_unit_from_name(c->clamp_unit, &o.unit))
        return lethe_fail(err, LETHE_USAGE, "--clamp-unit: got \"%s\", want activation or norm",
                          c->clamp_unit);
    if (c->guard_window < 0 || c->guard_window > INT32_MAX)
        return lethe_fail(err, LETHE_USAGE, "--guard-window: got %lld, want 0 or more",
                          (long long)c->guard_window);
    o.guard_window = (size_t)c->guard_window;
    if (!lethe_guard_by_from_name(c->guard_by, &o.guard_by))
        return lethe_fail(err, LETHE_USAGE, "--guard-by: got \"%s\", want share or evidence",
                          c->guard_by);
    if (o.method == LETHE_METHOD_SCALE) o.strength = c->scale;
    LETHE_TRY(guard_setting(c, &o, guard_auto, err));
    LETHE_TRY(lethe_intervention_check(&o, err));
    *out = o;
    return LETHE_OK;
}

/* ---- the guard's threshold ------------------------------------------------------------------- */

/* Windows of the texts to keep, and how much they look like the forget text to the guard. */
typedef struct watch {
    lethe_pipeline *p;
    lethe_ablation *ablation;
    uint64_t max_tokens;
    lethe_mix *mix;
    int32_t *token; /* [n_seq, ctx] */
    lethe_seq *seq; /* [n_seq] */
    lethe_role *role;
    double *most[LETHE_ROLES]; /* [n] of the windows of a role */
    size_t n[LETHE_ROLES], cap[LETHE_ROLES];
} watch;

static void watch_close(watch *w) {
    lethe_mix_close(&w->mix);
    lethe_free(w->token);
    lethe_free(w->seq);
    lethe_free(w->role);
    for (int r = 0; r < LETHE_ROLES; r++) lethe_free(w->most[r]);
}

static lethe_status watch_open(watch *w, size_t n_seq, size_t ctx, lethe_err *err) {
    lethe_corpus *keep[LETHE_ROLES] = {
        [LETHE_NEAR] = w->p->corpus[LETHE_NEAR], [LETHE_RETAIN] = w->p->corpus[LETHE_RETAIN]};
    lethe_mix_opts o = lethe_run_mix_opts(w->p);
    o.forget_share = 0;
    if (!o.max_tokens || o.max_tokens > w->max_tokens) o.max_tokens = w->max_tokens;
    LETHE_TRY(lethe_alloc(&w->token, n_seq, ctx * sizeof *w->token, "windows", err));
    LETHE_TRY(lethe_alloc(&w->seq, n_seq, sizeof *w->seq, "windows", err));
    LETHE_TRY(lethe_alloc(&w->role, n_seq, sizeof *w->role, "windows", err));
    return lethe_mix_open(&w->mix, w->p->lm, keep, &o, w->p->env, err);
}

static lethe_status nothing(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)rows;
    (void)err;
    return LETHE_OK;
}

/* The next windows, at once; *n of them. */
static lethe_status watch_some(watch *w, size_t n_seq, size_t ctx, size_t *n, lethe_err *err) {
    for (*n = 0; *n < n_seq; ++*n) {
        size_t tokens;
        int32_t *at = w->token + *n * ctx;
        LETHE_TRY(lethe_mix_next(w->mix, at, &tokens, &w->role[*n], err));
        if (!tokens) break;
        w->seq[*n] = (lethe_seq){at, tokens};
    }
    if (!*n) return LETHE_OK;
    LETHE_TRY(lethe_lm_capture(w->p->lm, w->seq, *n, err));
    for (size_t i = 0; i < *n; i++) {
        lethe_role r = w->role[i];
        LETHE_TRY(lethe_grow(&w->most[r], &w->cap[r], w->n[r], w->n[r] + 1, sizeof *w->most[r],
                             "what windows reached", err));
        w->most[r][w->n[r]++] = lethe_ablation_guard_most(w->ablation, (int32_t)i);
    }
    return LETHE_OK;
}

static lethe_status watch_all(watch *w, lethe_err *err) {
    const size_t n_seq = lethe_lm_n_seq(w->p->lm), ctx = (size_t)w->p->config->ctx_len;
    LETHE_TRY(watch_open(w, n_seq, ctx, err));
    double total = (double)lethe_mix_total(w->mix), done = 0;
    for (size_t n = 1; n;) {
        LETHE_TRY(watch_some(w, n_seq, ctx, &n, err));
        done += (double)n;
        lethe_report_progress(w->p->env, &(lethe_progress){.stage = "guard",
                                                           .done = done,
                                                           .total = total,
                                                           .unit = "windows",
                                                           .detail = "",
                                                           .finished = !n});
        if (lethe_stop_requested())
            return lethe_fail(err, LETHE_STOPPED, "stopped while calibrating the guard");
    }
    return LETHE_OK;
}

lethe_status lethe_pipeline_guard(lethe_pipeline *p, lethe_ablation *a, int layer, lethe_hook hook,
                                  uint64_t max_tokens, double *threshold, lethe_err *err) {
    if (!p->config->retain.n)
        return lethe_fail(err, LETHE_USAGE,
                          "--guard auto needs the retain text to calibrate on, which is not known "
                          "here (pass a number, or use the directory of the run)");
    LETHE_TRY(lethe_run_corpora(p, false, err));
    watch w = {.p = p, .ablation = a, .max_tokens = max_tokens ? max_tokens : LETHE_GUARD_TOKENS};
    const lethe_intervention before = *lethe_ablation_how(a);
    /* Never passed: the guard looks on, and nothing is touched. */
    lethe_intervention look = before;
    look.guard = true;
    look.guard_threshold = look.guard_by == LETHE_GUARD_SHARE ? 1 : LETHE_GUARD_NEVER;
    LETHE_TRY(lethe_ablation_set(a, &look, err));
    lethe_lm_clear_hooks(p->lm);
    lethe_status st =
        lethe_ablation_attach_alone(a, p->lm, layer, hook, p->config->special_too, err);
    if (!st) st = lethe_lm_add_tap(p->lm, layer, hook, nothing, NULL, err);
    if (!st) st = watch_all(&w, err);
    lethe_lm_clear_hooks(p->lm);
    lethe_ablation_reset_stats(a);
    if (!st) {
        *threshold = 0;
        for (int r = 0; r < LETHE_ROLES; r++) {
            if (!w.n[r]) continue;
            double q = lethe_guard_quantile(w.most[r], w.n[r], LETHE_GUARD_QUANTILE);
            lethe_log(p->env, LETHE_LOG_DEBUG, "guard: %s windows: %zu, %s passed by few: %.4g",
                      lethe_role_name((lethe_role)r), w.n[r], lethe_guard_by_name(look.guard_by),
                      q);
            if (q > *threshold) *threshold = q;
        }
    }
    watch_close(&w);
    lethe_status back = lethe_ablation_set(a, &before, st ? NULL : err);
    return st ? st : back;
}

/* ---- the removal ----------------------------------------------------------------------------- */

void lethe_removal_close(lethe_removal *r) {
    lethe_ablation_close(&r->ablation);
    lethe_sae_free(&r->sae);
    lethe_feature_set_free(&r->features);
    *r = (lethe_removal){0};
}

static lethe_status from_run(const lethe_pipeline *p, lethe_removal *r,
                             const lethe_intervention *how, lethe_err *err) {
    lethe_sae_meta meta;
    LETHE_TRY(lethe_run_sae(p, &r->sae, &meta, r->hash, err));
    LETHE_TRY(lethe_run_features(p, &r->sae, r->hash, &r->features, err));
    return lethe_ablation_open_set(&r->ablation, &r->sae, &r->features, how, err);
}

static lethe_status join_patch(lethe_removal *r, const lethe_patch *patch, lethe_err *err) {
    lethe_ablation *more;
    LETHE_TRY(lethe_ablation_open_patch(&more, patch, err));
    lethe_ablation_join(r->ablation, &more, patch->layer, patch->hook, patch->special);
    return LETHE_OK;
}

static lethe_status from_patches(const lethe_pipeline *p, lethe_removal *r,
                                 const lethe_intervention *how, lethe_err *err) {
    LETHE_TRY(lethe_ablation_open_patch(&r->ablation, &p->patch[0], err));
    memcpy(r->hash, p->patch_hash[0], sizeof r->hash);
    if (p->n_patches == 1) return lethe_ablation_set(r->ablation, how, err);
    json_t *hashes = json_array();
    for (size_t i = 0; i < p->n_patches; i++)
        json_array_append_new(hashes, json_string(p->patch_hash[i]));
    LETHE_TRY(lethe_run_key(hashes, r->hash, err));
    for (size_t i = 1; i < p->n_patches; i++) LETHE_TRY(join_patch(r, &p->patch[i], err));
    return LETHE_OK;
}

static lethe_status set_guard(lethe_pipeline *p, lethe_ablation *a, lethe_intervention *how,
                              lethe_err *err) {
    LETHE_TRY(
        lethe_pipeline_guard(p, a, (int)p->config->layer, p->hook, 0, &how->guard_threshold, err));
    lethe_log(p->env, LETHE_LOG_INFO, "guard: acts where the %s passes %.4g",
              lethe_guard_by_name(how->guard_by), how->guard_threshold);
    return lethe_ablation_set(a, how, err);
}

lethe_status lethe_pipeline_removal(lethe_pipeline *p, lethe_removal *out, lethe_err *err) {
    lethe_intervention how;
    bool guard_auto;
    LETHE_TRY(lethe_pipeline_intervention(p->config, &how, &guard_auto, err));
    /* In place: the ablation points at the SAE. */
    *out = (lethe_removal){0};
    lethe_status st = p->n_patches ? from_patches(p, out, &how, err) : from_run(p, out, &how, err);
    if (!st && guard_auto && p->n_patches < 2) st = set_guard(p, out->ablation, &how, err);
    if (st) lethe_removal_close(out);
    return st;
}
