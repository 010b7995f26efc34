/* SPDX-License-Identifier: MIT
 *
 * Rows of all the run's corpora in one pass, for the stages behind the training. Both ways give the
 * same rows in the same order; a store's may be rounded to bf16.
 */
#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/pipeline_run.h"

typedef struct pass {
    lethe_pipeline *p;
    const char *stage;
    lethe_run_batch_fn fn;
    void *user;
} pass;

static void show(const pass *a, double done, double total, bool finished) {
    lethe_report_progress(a->p->env, &(lethe_progress){.stage = a->stage,
                                                       .done = done,
                                                       .total = total,
                                                       .unit = "rows",
                                                       .detail = "",
                                                       .finished = finished});
}

static lethe_status from_store(const pass *a, const lethe_store *store, lethe_err *err) {
    uint64_t rows = lethe_store_rows(store);
    size_t d = lethe_store_d(store);
    float *x;
    uint64_t row[LETHE_RUN_ROWS];
    uint8_t role[LETHE_RUN_ROWS];
    int32_t token[LETHE_RUN_ROWS], position[LETHE_RUN_ROWS];
    LETHE_TRY(lethe_alloc(&x, LETHE_RUN_ROWS, d * sizeof *x, "a batch of rows", err));
    lethe_status st = LETHE_OK;
    for (uint64_t at = 0; at < rows && !st; at += LETHE_RUN_ROWS) {
        size_t n = rows - at < LETHE_RUN_ROWS ? (size_t)(rows - at) : LETHE_RUN_ROWS;
        for (size_t i = 0; i < n; i++) row[i] = at + i;
        lethe_store_read(store, row, n, x);
        lethe_store_read_roles(store, at, n, role);
        lethe_store_read_tokens(store, at, n, token, position);
        st = a->fn(a->user, &(lethe_run_batch){x, role, token, position, n}, err);
        show(a, (double)(at + n), (double)rows, at + n == rows);
        if (!st && lethe_stop_requested())
            st = lethe_fail(err, LETHE_STOPPED, "stopped during the stage \"%s\"", a->stage);
    }
    lethe_free(x);
    return st;
}

static lethe_status from_model(const pass *a, lethe_err *err) {
    lethe_pipeline *p = a->p;
    lethe_mix *mix = NULL;
    lethe_harvester *h = NULL;
    lethe_mix_opts mo = lethe_run_mix_opts(p);
    lethe_harvest_opts ho = lethe_run_harvest_opts(p);
    lethe_status st = lethe_mix_open(&mix, p->lm, p->corpus, &mo, p->env, err);
    if (!st) st = lethe_harvester_open(&h, p->lm, lethe_mix_source(mix), &ho, err);
    double total = st ? 0 : lethe_mix_tokens(mix), done = 0;
    size_t d = lethe_lm_get_info(p->lm)->d_model;
    while (!st) {
        lethe_harvest_rows b;
        st = lethe_harvester_next(h, SIZE_MAX, &b, err);
        if (st || !b.windows) break;
        for (size_t at = 0; at < b.n && !st; at += LETHE_RUN_ROWS) {
            size_t n = b.n - at < LETHE_RUN_ROWS ? b.n - at : LETHE_RUN_ROWS;
            lethe_run_batch batch = {b.x + at * d, b.role + at, b.token + at, b.position + at, n};
            st = a->fn(a->user, &batch, err);
        }
        done = (double)lethe_harvester_stats(h)->tokens;
        show(a, done, total, false);
    }
    if (!st) show(a, done, done, true);
    lethe_harvester_close(&h);
    lethe_mix_close(&mix);
    return st;
}

/* The store of the training, if it holds just the rows that are wanted here; NULL otherwise. */
static lethe_store *matching_store(const lethe_pipeline *p) {
    char *dir = lethe_path_join(p->dir, "activations");
    lethe_store *store = NULL;
    if (dir && lethe_store_exists(dir)) {
        json_t *want = lethe_run_rows_identity(p);
        bool ok = want != NULL;
        if (ok) lethe_json_put(want, "no_forget", json_false(), &ok); /* of either dtype */
        lethe_err why = {0};
        if (ok && lethe_store_open(&store, dir, want, &why))
            lethe_log(p->env, LETHE_LOG_DEBUG, "not using the stored activations: %s", why.text);
        json_decref(want);
    }
    lethe_free(dir);
    return store;
}

lethe_status lethe_run_batches(lethe_pipeline *p, const char *stage, lethe_run_batch_fn fn,
                               void *user, lethe_err *err) {
    pass a = {p, stage, fn, user};
    lethe_store *store = matching_store(p);
    lethe_status st = store ? from_store(&a, store, err) : from_model(&a, err);
    lethe_store_close(&store);
    return st;
}

typedef struct plain {
    lethe_run_rows_fn fn;
    void *user;
} plain;

static lethe_status rows_alone(void *user, const lethe_run_batch *b, lethe_err *err) {
    const plain *to = user;
    return to->fn(to->user, b->x, b->role, b->n, err);
}

lethe_status lethe_run_rows(lethe_pipeline *p, const char *stage, lethe_run_rows_fn fn, void *user,
                            lethe_err *err) {
    plain to = {fn, user};
    return lethe_run_batches(p, stage, rows_alone, &to, err);
}
