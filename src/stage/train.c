/* SPDX-License-Identifier: MIT */
#include "stage/train.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "sae/layout.h"

#define BIAS_ROWS 8192u   /* sample for b_dec's first value */
#define CHECK_ROWS 16384u /* sample for the finished SAE's figures */
#define SKIPS_TO_STOP 3u

typedef struct run {
    lethe_source *source;
    const lethe_train_opts *opts;
    const char *checkpoint;
    const lethe_env *env;
    lethe_trainer *trainer;
    float *x; /* [batch, d] */
    uint64_t tokens, skipped, skipped_in_row, total_steps;
    uint64_t last_shown;
    double started, shown_at;
    uint64_t first_step;  /* of this call */
    double loss, fvu, l0; /* smoothed, for the eye */
    lethe_train_curve *curve;
} run;

lethe_train_opts lethe_train_defaults(void) {
    return (lethe_train_opts){.k = 32,
                              .expansion = 16,
                              .recipe = lethe_recipe_default(),
                              .batch = 1024,
                              .epochs = 3,
                              .save_every = 1000};
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static lethe_status save(run *r, lethe_place p, lethe_err *err) {
    json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "epoch", (json_int_t)p.epoch, "block",
                          (json_int_t)p.block, "row", (json_int_t)p.row, "tokens",
                          (json_int_t)r->tokens, "skipped", (json_int_t)r->skipped, "identity",
                          r->opts->identity ? r->opts->identity : "");
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    lethe_status st = text ? lethe_trainer_save(r->trainer, r->checkpoint, text, err)
                           : lethe_fail(err, LETHE_NOMEM, "out of memory for a checkpoint");
    free(text);
    json_decref(j);
    return st;
}

static lethe_status resume(run *r, lethe_err *err) {
    char *text = NULL;
    LETHE_TRY(lethe_trainer_load(r->trainer, r->checkpoint, &text, err));
    json_t *j = json_loads(text ? text : "", 0, NULL);
    lethe_free(text);
    json_int_t epoch, block, row, tokens, skipped;
    const char *identity;
    lethe_status st = LETHE_OK;
    if (!j ||
        json_unpack(j, "{s:I, s:I, s:I, s:I, s:I, s:s}", "epoch", &epoch, "block", &block, "row",
                    &row, "tokens", &tokens, "skipped", &skipped, "identity", &identity)) {
        st = lethe_fail(err, LETHE_FORMAT,
                        "%s: the checkpoint lacks its place in the data (start "
                        "again without --resume)",
                        r->checkpoint);
    } else if (strcmp(identity, r->opts->identity ? r->opts->identity : "")) {
        st = lethe_fail(err, LETHE_MISMATCH,
                        "%s: this checkpoint was trained on something else: got %s, want %s (start "
                        "again without --resume, or use another --out)",
                        r->checkpoint, identity, r->opts->identity ? r->opts->identity : "\"\"");
    } else {
        r->tokens = (uint64_t)tokens;
        r->skipped = (uint64_t)skipped;
        st = lethe_source_seek(r->source,
                               (lethe_place){(uint64_t)epoch, (uint64_t)block, (uint64_t)row}, err);
    }
    json_decref(j);
    return st;
}

/* ---- the start ------------------------------------------------------------------------------ */

/* Read before the matrices, and before any question of k. */
lethe_status lethe_train_check_init(const char *path, lethe_err *err) {
    lethe_sae_about a;
    LETHE_TRY(lethe_sae_describe(&a, NULL, path, 0, err));
    lethe_status st = LETHE_OK;
    if (a.arch != LETHE_ARCH_TOPK || a.norm != LETHE_NORM_NONE || a.raw_input)
        st = lethe_fail(err, LETHE_USAGE,
                        "%s: only a topk SAE that takes b_dec off its input and has no norm can be "
                        "trained on; this is %s, norm %s%s (leave out --init)",
                        path, lethe_arch_name(a.arch), lethe_norm_name(a.norm),
                        a.raw_input ? ", raw input" : "");
    lethe_sae_about_free(&a);
    return st;
}

static lethe_status first_sae(const run *r, lethe_sae *sae, lethe_err *err) {
    const lethe_train_opts *o = r->opts;
    size_t d = lethe_source_d(r->source),
           m = o->m ? o->m : (size_t)((double)d * o->expansion + 0.5);
    if (!o->init) {
        LETHE_TRY(lethe_sae_alloc(sae, d, m, o->k, err));
        lethe_sae_init(sae, o->seed);
        return LETHE_OK;
    }
    LETHE_TRY(lethe_train_check_init(o->init, err));
    LETHE_TRY(lethe_sae_load(sae, NULL, o->init, o->k, err));
    if (sae->d == d) return LETHE_OK;
    lethe_fail(err, LETHE_MISMATCH,
               "%s: its W_enc is for rows %zu wide, the activations are %zu wide", o->init, sae->d,
               d);
    lethe_sae_free(sae);
    return LETHE_MISMATCH;
}

/* b_dec's first value comes from the first rows, which are then trained on like the others. */
static lethe_status start_b_dec(run *r, lethe_err *err) {
    if (r->opts->init || r->opts->recipe.b_dec_init == LETHE_BDEC_ZERO) return LETHE_OK;
    float *x;
    size_t n = 0;
    LETHE_TRY(
        lethe_alloc(&x, BIAS_ROWS, lethe_source_d(r->source) * sizeof *x, "a sample of rows", err));
    lethe_status st = lethe_source_next(r->source, x, BIAS_ROWS, &n, err);
    if (!st) st = lethe_trainer_init_b_dec(r->trainer, x, n, err);
    lethe_free(x);
    return st ? st : lethe_source_seek(r->source, (lethe_place){0}, err);
}

static lethe_status open_run(run *r, lethe_err *err) {
    const lethe_train_opts *o = r->opts;
    uint64_t per_epoch = (lethe_source_rows(r->source) + o->batch - 1) / o->batch;
    r->total_steps = per_epoch * o->epochs;
    if (o->max_steps && o->max_steps < r->total_steps) r->total_steps = o->max_steps;
    LETHE_TRY(
        lethe_alloc(&r->x, o->batch, lethe_source_d(r->source) * sizeof *r->x, "a batch", err));
    lethe_sae sae = {0};
    LETHE_TRY(first_sae(r, &sae, err));
    lethe_status st =
        lethe_trainer_open(&r->trainer, &sae, &o->recipe, o->batch, r->total_steps, err);
    if (st) {
        lethe_sae_free(&sae);
        return st;
    }
    if (r->checkpoint && lethe_path_exists(r->checkpoint) && o->resume) return resume(r, err);
    return start_b_dec(r, err);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void smooth(double *mean, double x, uint64_t step) {
    double rate = step < 100 ? 1.0 / (double)(step + 1) : 0.01;
    *mean += rate * (x - *mean);
}

static void show(run *r, const lethe_step_stats *s, bool last) {
    uint64_t step = lethe_trainer_steps(r->trainer), done = step - r->first_step;
    if (s && !s->skipped) {
        smooth(&r->loss, s->total_loss, done - 1);
        smooth(&r->fvu, s->fvu, done - 1);
        smooth(&r->l0, s->l0, done - 1);
    }
    double now = lethe_seconds();
    if (!last && now - r->shown_at < 0.1) return;
    r->shown_at = now;
    char detail[160];
    snprintf(detail, sizeof detail, "loss %.4g  FVU %.4f  L0 %.1f  dead %zu  %.0f tokens/s%s",
             r->loss, r->fvu, r->l0, s ? s->dead : 0,
             (double)(done * r->opts->batch) / (now - r->started + 1e-9),
             r->skipped ? "  (steps skipped)" : "");
    lethe_report_progress(r->env, &(lethe_progress){.stage = "train",
                                                    .done = (double)step,
                                                    .total = (double)r->total_steps,
                                                    .unit = "steps",
                                                    .detail = detail,
                                                    .finished = last});
}

static lethe_status note_skip(run *r, const lethe_step_stats *s, lethe_err *err) {
    r->skipped_in_row = s->skipped ? r->skipped_in_row + 1 : 0;
    if (!s->skipped) return LETHE_OK;
    r->skipped++;
    lethe_log(r->env, LETHE_LOG_WARN,
              "step %" PRIu64 " skipped: its loss or gradient is not finite",
              lethe_trainer_steps(r->trainer));
    if (r->skipped_in_row < SKIPS_TO_STOP) return LETHE_OK;
    return lethe_fail(
        err, LETHE_NONFINITE,
        "training stopped at step %" PRIu64 ": the loss was not finite %u times in a row "
        "(activations that are not finite, or a learning rate too high: try --lr %.1g)",
        lethe_trainer_steps(r->trainer), SKIPS_TO_STOP, s->lr / 10);
}

/* place: of the first row that no step has seen. */
static lethe_status stopped(run *r, lethe_place place, lethe_err *err) {
    uint64_t step = lethe_trainer_steps(r->trainer);
    if (!r->checkpoint)
        return lethe_fail(err, LETHE_STOPPED, "stopped at step %" PRIu64 "; nothing was saved",
                          step);
    LETHE_TRY(save(r, place, err));
    return lethe_fail(err, LETHE_STOPPED,
                      "stopped at step %" PRIu64 " of %" PRIu64 "; saved %s (go on with the same "
                      "command and --resume)",
                      step, r->total_steps, r->checkpoint);
}

static lethe_status loop(run *r, lethe_err *err) {
    const lethe_train_opts *o = r->opts;
    uint64_t step;
    while ((step = lethe_trainer_steps(r->trainer)) < r->total_steps &&
           lethe_source_place(r->source).epoch < o->epochs) {
        lethe_place before = lethe_source_place(r->source);
        if (lethe_stop_requested()) return stopped(r, before, err);
        size_t n;
        lethe_status st = lethe_source_next(r->source, r->x, o->batch, &n, err);
        if (st == LETHE_STOPPED) return stopped(r, before, err); /* rows may be half drawn */
        if (st) return st;
        if (!n) continue;
        lethe_step_stats s;
        LETHE_TRY(lethe_trainer_step(r->trainer, r->x, n, &s, err));
        r->tokens += n;
        LETHE_TRY(note_skip(r, &s, err));
        if (!s.skipped) lethe_train_curve_add(r->curve, step + 1, s.total_loss, s.fvu, s.dead);
        show(r, &s, false);
        if (r->checkpoint && o->save_every && (step + 1) % o->save_every == 0)
            LETHE_TRY(save(r, lethe_source_place(r->source), err));
    }
    show(r, NULL, true);
    return LETHE_OK;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* FVU, loss and L0 of the finished SAE over the first rows of the order, in double. */
static lethe_status check(run *r, lethe_train_result *res, lethe_err *err) {
    const lethe_sae *sae = lethe_trainer_sae(r->trainer);
    size_t d = sae->d, batch = r->opts->batch, seen = 0, n;
    lethe_codes codes = {0};
    const lethe_encoder encoder = lethe_trainer_encoder(r->trainer);
    float *hat = NULL;
    double *sum = NULL, *squares = NULL, error = 0, fired = 0;
    lethe_status st = lethe_codes_alloc(&codes, batch, sae->k, err);
    if (!st) st = lethe_alloc(&hat, batch, d * sizeof *hat, "reconstructions", err);
    if (!st) st = lethe_zalloc(&sum, d, sizeof *sum, "sums", err);
    if (!st) st = lethe_zalloc(&squares, d, sizeof *squares, "sums", err);
    if (!st) st = lethe_source_seek(r->source, (lethe_place){0}, err);
    while (!st && seen < CHECK_ROWS) {
        st = lethe_source_next(r->source, r->x, batch, &n, err);
        if (st || !n) break;
        codes.n = n;
        st = lethe_encode(&encoder, r->x, n, &codes, NULL, err);
        if (st) break;
        lethe_sae_decode(sae, &codes, hat);
        for (size_t i = 0; i < n * d; i++) {
            double x = r->x[i], e = x - hat[i];
            error += e * e;
            sum[i % d] += x;
            squares[i % d] += x * x;
        }
        for (size_t i = 0; i < n * sae->k; i++) fired += codes.value[i] > 0;
        seen += n;
        if (n < batch) break; /* the end of the epoch */
    }
    if (!st && seen) {
        double variance = 0;
        for (size_t j = 0; j < d; j++) variance += squares[j] - sum[j] * sum[j] / (double)seen;
        res->recon_loss = error / ((double)seen * (double)d);
        res->fvu = error / variance;
        res->l0 = fired / (double)seen;
    }
    lethe_codes_free(&codes);
    lethe_free(hat);
    lethe_free(sum);
    lethe_free(squares);
    return st;
}

lethe_status lethe_train_run(lethe_source *source, const lethe_train_opts *opts,
                             lethe_sae_meta *meta, const char *sae_path,
                             const char *checkpoint_path, const lethe_env *env,
                             lethe_train_result *result, lethe_err *err) {
    run r = {.source = source,
             .opts = opts,
             .checkpoint = checkpoint_path,
             .env = env,
             .curve = &result->curve,
             .started = lethe_seconds()};
    *result = (lethe_train_result){0};
    lethe_status st = open_run(&r, err);
    if (!st) {
        r.first_step = result->resumed_at = lethe_trainer_steps(r.trainer);
        if (r.first_step)
            lethe_log(env, LETHE_LOG_INFO, "resumed at step %" PRIu64 " of %" PRIu64, r.first_step,
                      r.total_steps);
        st = loop(&r, err);
    }
    if (!st) {
        st = check(&r, result, err);
        if (st == LETHE_STOPPED) st = stopped(&r, (lethe_place){.epoch = opts->epochs}, err);
    }
    if (!st) {
        result->steps = lethe_trainer_steps(r.trainer);
        result->skipped = r.skipped;
        result->tokens = r.tokens;
        result->dead = lethe_trainer_dead(r.trainer);
        result->m = lethe_trainer_sae(r.trainer)->m;
        const lethe_select_stats *looks = lethe_trainer_looks(r.trainer);
        if (looks->tokens) {
            result->second_looks = (double)looks->second / (double)looks->pairs;
            result->exact_per_token = (double)looks->exact / (double)looks->tokens;
            result->full = looks->full;
        }
        snprintf(meta->recipe, sizeof meta->recipe, "%s", opts->recipe.name);
        meta->seed = opts->seed;
        meta->steps = result->steps;
        meta->tokens = result->tokens;
        st = lethe_sae_save(lethe_trainer_sae(r.trainer), meta, sae_path, err);
    }
    if (!st && checkpoint_path) unlink(checkpoint_path);
    result->seconds = lethe_seconds() - r.started;
    lethe_trainer_close(&r.trainer);
    lethe_free(r.x);
    return st;
}
