/* SPDX-License-Identifier: MIT
 *
 * Taps, edits, logits and scores on a tiny random model: which rows come, whose they are, and that
 * neither grouping nor stopping early changes them.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "lm/lm.h"
#include "support/tiny_model.h"

enum { D = 32, V = 300, LAYERS = 3, N_SEQS = 40, MAX_TOKENS = 6000 };

static lethe_lm *lm;
static int32_t token[MAX_TOKENS];
static lethe_seq seqs[N_SEQS];
static size_t start[N_SEQS + 1]; /* first row of a sequence in a table of all rows */

/* Lengths of every kind: one token, a few, a whole decode call, several of them. */
static size_t length_of(size_t s) {
    if (s == 3) return 1300;
    if (s == 9) return 512;
    if (s == 10) return 513;
    if (s == 20) return 0;
    return 1 + s * 7 % 50;
}

static int setup(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_lm_opts o = lethe_lm_defaults();
    o.n_seq = 4;
    o.hash = false;
    o.exact = true;
    const char *dir = test_temp_dir();
    assert_ok(lethe_lm_open(&lm, test_tiny_model(dir), &o, NULL, &err), &err);
    test_temp_remove(); /* mapped or read: the file itself is not needed any more */
    lethe_rng rng = lethe_rng_make(3, 0);
    for (size_t i = 0; i < MAX_TOKENS; i++) token[i] = (int32_t)lethe_rng_below(&rng, V);
    for (size_t s = 0; s < N_SEQS; s++) {
        seqs[s] = (lethe_seq){token + start[s], length_of(s)};
        start[s + 1] = start[s] + seqs[s].n;
    }
    assert_true(start[N_SEQS] <= MAX_TOKENS);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    lethe_lm_close(&lm);
    return 0;
}

static int no_hooks(void **state) {
    (void)state;
    lethe_lm_clear_hooks(lm);
    lethe_stop_clear();
    return 0;
}

/* ---- tables of all rows --------------------------------------------------------------------- */

typedef struct table {
    size_t width;
    float *x;       /* [all tokens, width] */
    unsigned *seen; /* [all tokens] */
    size_t base;    /* the call's sequence 0 is this one of seqs */
} table;

static table table_open(size_t width) {
    table t = {.width = width};
    lethe_err err = {0};
    assert_ok(lethe_zalloc(&t.x, start[N_SEQS] * width, sizeof *t.x, "table", &err), &err);
    assert_ok(lethe_zalloc(&t.seen, start[N_SEQS], sizeof *t.seen, "table", &err), &err);
    return t;
}

static void table_close(table *t) {
    lethe_free(t->x);
    lethe_free(t->seen);
}

static size_t row_at(const table *t, size_t seq, size_t pos) {
    size_t s = t->base + seq;
    assert_true(s < N_SEQS && pos < seqs[s].n);
    return start[s] + pos;
}

static lethe_status keep_rows(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    table *t = user;
    assert_int_equal(rows->d, D);
    for (size_t i = 0; i < rows->n; i++) {
        size_t at = row_at(t, (size_t)rows->seq[i], (size_t)rows->pos[i]);
        assert_int_equal(rows->token[i], token[at]);
        memcpy(t->x + at * D, rows->x + i * D, D * sizeof(float));
        t->seen[at]++;
    }
    return LETHE_OK;
}

static lethe_status keep_logits(void *user, size_t seq, size_t pos, const float *logits,
                                lethe_err *err) {
    (void)err;
    table *t = user;
    size_t at = row_at(t, seq, pos);
    memcpy(t->x + at * V, logits, V * sizeof(float));
    t->seen[at]++;
    return LETHE_OK;
}

static void assert_all_once(const table *t) {
    for (size_t i = 0; i < start[N_SEQS]; i++) assert_int_equal(t->seen[i], 1);
}

static void assert_same(const table *a, const table *b) {
    assert_memory_equal(a->x, b->x, start[N_SEQS] * a->width * sizeof(float));
}

static void add_tap(int layer, lethe_hook hook, table *t) {
    lethe_err err = {0};
    assert_ok(lethe_lm_add_tap(lm, layer, hook, keep_rows, t, &err), &err);
}

static void add_edit(int layer, lethe_hook hook, lethe_rows_fn fn) {
    lethe_err err = {0};
    assert_ok(lethe_lm_add_edit(lm, layer, hook, fn, NULL, &err), &err);
}

static void forward(table *t) {
    lethe_err err = {0};
    assert_ok(lethe_lm_forward(lm, seqs, N_SEQS, NULL, keep_logits, t, &err), &err);
}

/* ---- taps ----------------------------------------------------------------------------------- */

static void every_row_once_however_grouped(void **state) {
    (void)state;
    lethe_err err = {0};
    for (int layer = -1; layer < LAYERS; layer++) {
        table grouped = table_open(D), single = table_open(D);
        lethe_hook hook = layer < 0 ? LETHE_HOOK_PRE : LETHE_HOOK_POST;
        add_tap(layer < 0 ? 0 : layer, hook, &grouped);
        assert_ok(lethe_lm_capture(lm, seqs, N_SEQS, &err), &err);
        assert_all_once(&grouped);
        lethe_lm_clear_hooks(lm);
        add_tap(layer < 0 ? 0 : layer, hook, &single);
        for (single.base = 0; single.base < N_SEQS; single.base++)
            assert_ok(lethe_lm_capture(lm, &seqs[single.base], 1, &err), &err);
        assert_all_once(&single);
        assert_close(grouped.x, single.x, start[N_SEQS] * D, 1e-5, "grouped against single");
        lethe_lm_clear_hooks(lm);
        table_close(&grouped);
        table_close(&single);
    }
}

/* A run that stops early, a run that goes on to the logits, and the next layer's other name. */
static void one_site_one_stream(void **state) {
    (void)state;
    lethe_err err = {0};
    table post = table_open(D), pre = table_open(D), whole = table_open(D), logits = table_open(V);
    table last = table_open(D);
    add_tap(1, LETHE_HOOK_POST, &post);
    add_tap(2, LETHE_HOOK_PRE, &pre);
    assert_ok(lethe_lm_capture(lm, seqs, N_SEQS, &err), &err);
    lethe_lm_clear_hooks(lm);
    add_tap(1, LETHE_HOOK_POST, &whole);
    add_tap(2, LETHE_HOOK_POST, &last);
    forward(&logits);
    assert_all_once(&post);
    assert_all_once(&whole);
    assert_all_once(&last);
    assert_all_once(&logits);
    assert_same(&post, &pre);
    assert_same(&post, &whole);
    table_close(&post);
    table_close(&pre);
    table_close(&whole);
    table_close(&last);
    table_close(&logits);
}

/* Without a tap in the last layer an edit there sees only the rows whose logits are wanted. */
static lethe_status count_in_last(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    size_t *seen = user;
    for (size_t i = 0; i < rows->n; i++) {
        size_t s = (size_t)rows->seq[i], pos = (size_t)rows->pos[i];
        assert_int_equal(rows->token[i], seqs[s].token[pos]);
        assert_int_equal(pos, seqs[s].n - 1);
        seen[s]++;
    }
    return LETHE_OK;
}

static void the_last_layer_has_the_wanted_rows(void **state) {
    (void)state;
    lethe_err err = {0};
    size_t seen[N_SEQS] = {0}, first[N_SEQS];
    for (size_t s = 0; s < N_SEQS; s++) first[s] = seqs[s].n ? seqs[s].n - 1 : 0;
    table all = table_open(V), some = table_open(V), rows = table_open(D);
    forward(&all);
    assert_ok(lethe_lm_add_edit(lm, LAYERS - 1, LETHE_HOOK_POST, count_in_last, seen, &err), &err);
    assert_ok(lethe_lm_forward(lm, seqs, N_SEQS, first, keep_logits, &some, &err), &err);
    for (size_t s = 0; s < N_SEQS; s++) {
        assert_int_equal(seen[s], seqs[s].n ? 1 : 0);
        if (!seqs[s].n) continue;
        size_t at = start[s + 1] - 1;
        assert_int_equal(some.seen[at], 1);
        assert_close(some.x + at * V, all.x + at * V, V, 1e-5, "logits of the last position");
    }
    lethe_lm_clear_hooks(lm);
    /* With a tap there, every row comes. */
    add_tap(LAYERS - 1, LETHE_HOOK_POST, &rows);
    assert_ok(lethe_lm_forward(lm, seqs, N_SEQS, first, keep_logits, &some, &err), &err);
    assert_all_once(&rows);
    table_close(&all);
    table_close(&some);
    table_close(&rows);
}

/* ---- edits ---------------------------------------------------------------------------------- */

static lethe_status leave(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)err;
    for (size_t i = 0; i < rows->n * rows->d; i++) rows->x[i] *= 1.0f;
    return LETHE_OK;
}

static lethe_status zero(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)err;
    memset(rows->x, 0, rows->n * rows->d * sizeof *rows->x);
    return LETHE_OK;
}

static lethe_status halve(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)err;
    for (size_t i = 0; i < rows->n; i++)
        for (size_t j = 0; j < rows->d / 2; j++) rows->x[i * rows->d + j] *= 0.5f;
    return LETHE_OK;
}

static void an_identity_edit_changes_nothing(void **state) {
    (void)state;
    table plain = table_open(V), edited = table_open(V);
    forward(&plain);
    for (int layer = 0; layer < LAYERS; layer++) {
        add_edit(layer, LETHE_HOOK_PRE, leave);
        add_edit(layer, LETHE_HOOK_POST, leave);
    }
    forward(&edited);
    assert_all_once(&edited);
    assert_same(&plain, &edited);
    table_close(&plain);
    table_close(&edited);
}

/* A stream of zeros at any site leaves no trace of the tokens: the input of layer 0 too. */
static void a_zeroed_stream_forgets_everything(void **state) {
    (void)state;
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int post = 0; post < 2; post++) {
            table t = table_open(V);
            add_edit(layer, post ? LETHE_HOOK_POST : LETHE_HOOK_PRE, zero);
            forward(&t);
            for (size_t i = 0; i < start[N_SEQS] * V; i++) assert_true(t.x[i] == 0);
            lethe_lm_clear_hooks(lm);
            table_close(&t);
        }
    }
}

static void an_edit_reaches_later_taps_and_logits(void **state) {
    (void)state;
    lethe_err err = {0};
    table plain = table_open(D), before = table_open(D), here = table_open(D),
          after = table_open(D);
    table a = table_open(V), b = table_open(V), c = table_open(V);
    add_tap(1, LETHE_HOOK_POST, &plain);
    forward(&a);
    lethe_lm_clear_hooks(lm);
    /* Hooks of one site run in the order they were added: the first tap sees the stream as it was.
     */
    add_tap(1, LETHE_HOOK_POST, &before);
    add_edit(1, LETHE_HOOK_POST, halve);
    add_tap(1, LETHE_HOOK_POST, &here);
    add_tap(2, LETHE_HOOK_PRE, &after);
    forward(&b);
    assert_same(&plain, &before);
    assert_same(&here, &after);
    for (size_t i = 0; i < start[N_SEQS] * D; i++)
        assert_true(here.x[i] == before.x[i] * (i % D < D / 2 ? 0.5f : 1.0f));
    assert_true(test_rel_error(b.x, a.x, start[N_SEQS] * V) > 1e-3);
    lethe_lm_clear_hooks(lm);
    add_edit(2, LETHE_HOOK_PRE, halve);
    forward(&c);
    assert_same(&b, &c);
    lethe_lm_clear_hooks(lm);
    /* Capture runs edits as well. */
    table captured = table_open(D);
    add_edit(1, LETHE_HOOK_POST, halve);
    add_tap(1, LETHE_HOOK_POST, &captured);
    assert_ok(lethe_lm_capture(lm, seqs, N_SEQS, &err), &err);
    assert_same(&here, &captured);
    table *all[] = {&plain, &before, &here, &after, &a, &b, &c, &captured};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) table_close(all[i]);
}

/* ---- scores --------------------------------------------------------------------------------- */

static void logprob(void **state) {
    (void)state;
    const float logits[] = {1, 3, -2, 3};
    double sum = exp(1) + 2 * exp(3) + exp(-2);
    for (int32_t i = 0; i < 4; i++)
        assert_true(fabs(lethe_logprob(logits, 4, i) - ((double)logits[i] - log(sum))) < 1e-12);
    const float large[] = {1000, 0};
    assert_true(lethe_logprob(large, 2, 0) == 0 && lethe_logprob(large, 2, 1) == -1000);
}

static void scores_are_the_logits(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_seq scored[N_SEQS];
    size_t prompt[N_SEQS], origin[N_SEQS], n = 0;
    for (size_t s = 0; s < N_SEQS; s++) {
        if (seqs[s].n < 2) continue;
        scored[n] = seqs[s];
        origin[n] = s;
        prompt[n++] = 1 + s % (seqs[s].n - 1);
    }
    table t = table_open(V);
    lethe_target_score score[N_SEQS];
    forward(&t);
    assert_ok(lethe_lm_score(lm, scored, prompt, n, score, &err), &err);
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        bool top = true;
        for (size_t p = prompt[i]; p < scored[i].n; p++) {
            const float *l = t.x + (start[origin[i]] + p - 1) * V;
            int32_t best = 0;
            for (int32_t v = 1; v < V; v++)
                if (l[v] > l[best]) best = v;
            sum += lethe_logprob(l, V, scored[i].token[p]);
            top = top && best == scored[i].token[p];
        }
        assert_int_equal(score[i].n, scored[i].n - prompt[i]);
        assert_true(fabs(score[i].sum_logprob - sum) < 1e-4 * fabs(sum));
        assert_int_equal(score[i].all_top1, top);
    }
    /* The model's own choice is top. */
    int32_t best = 0;
    const float *l = t.x + start[1] * V;
    for (int32_t v = 1; v < V; v++)
        if (l[v] > l[best]) best = v;
    int32_t pair[] = {seqs[1].token[0], best};
    lethe_seq own = {pair, 2};
    size_t one = 1;
    assert_ok(lethe_lm_score(lm, &own, &one, 1, score, &err), &err);
    assert_true(score[0].all_top1 && score[0].n == 1);
    one = 2;
    assert_int_equal(lethe_lm_score(lm, &own, &one, 1, score, &err), LETHE_USAGE);
    one = 0;
    assert_int_equal(lethe_lm_score(lm, &own, &one, 1, score, &err), LETHE_USAGE);
    table_close(&t);
}

/* ---- failures ------------------------------------------------------------------------------- */

static lethe_status refuse(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)rows;
    return lethe_fail(err, LETHE_IO, "the disk is full");
}

static lethe_status not_a_number(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)err;
    if (rows->n) rows->x[rows->n * rows->d - 1] = NAN;
    return LETHE_OK;
}

static lethe_status stop_now(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)user;
    (void)rows;
    (void)err;
    lethe_stop_request();
    return LETHE_OK;
}

static void failures_pass_and_leave_no_trace(void **state) {
    (void)state;
    lethe_err err = {0};
    table before = table_open(V), after = table_open(V), t = table_open(V);
    forward(&before);
    add_edit(1, LETHE_HOOK_POST, refuse);
    assert_int_equal(lethe_lm_forward(lm, seqs, N_SEQS, NULL, keep_logits, &t, &err), LETHE_IO);
    assert_string_equal(err.text, "the disk is full");
    lethe_lm_clear_hooks(lm);
    add_edit(0, LETHE_HOOK_POST, not_a_number);
    assert_int_equal(lethe_lm_forward(lm, seqs, N_SEQS, NULL, keep_logits, &t, &err),
                     LETHE_NONFINITE);
    lethe_lm_clear_hooks(lm);
    add_edit(0, LETHE_HOOK_POST, stop_now);
    assert_int_equal(lethe_lm_forward(lm, seqs, N_SEQS, NULL, keep_logits, &t, &err),
                     LETHE_STOPPED);
    assert_int_equal(lethe_lm_capture(lm, seqs, N_SEQS, &err), LETHE_USAGE); /* no tap */
    lethe_lm_clear_hooks(lm);
    lethe_stop_clear();
    forward(&after);
    assert_same(&before, &after);
    table_close(&before);
    table_close(&after);
    table_close(&t);
}

static void bad_calls(void **state) {
    (void)state;
    lethe_err err = {0};
    table t = table_open(V);
    int32_t bad[] = {1, V, 2};
    lethe_seq seq = {bad, 3}, longer = {token, 2049};
    assert_int_equal(lethe_lm_forward(lm, &seq, 1, NULL, keep_logits, &t, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "token 300"));
    bad[1] = -1;
    assert_int_equal(lethe_lm_forward(lm, &seq, 1, NULL, keep_logits, &t, &err), LETHE_USAGE);
    assert_int_equal(lethe_lm_forward(lm, &longer, 1, NULL, keep_logits, &t, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "2048"));
    assert_int_equal(lethe_lm_add_tap(lm, LAYERS, LETHE_HOOK_PRE, keep_rows, &t, &err),
                     LETHE_USAGE);
    for (size_t i = 0; i < 64; i++) add_tap(0, LETHE_HOOK_PRE, &t);
    assert_int_equal(lethe_lm_add_tap(lm, 0, LETHE_HOOK_PRE, keep_rows, &t, &err), LETHE_USAGE);
    table_close(&t);
}

/* libllama's sums do not depend on the number of threads: a model large enough to get several. */
static void threads_change_nothing(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_lm *small = lm;
    const char *dir = test_temp_dir();
    lethe_lm_opts o = lethe_lm_defaults();
    o.hash = false;
    const char *path = test_random_model(dir, "--d 256 --layers 2 --heads 8 --ffn 512 --vocab 300 "
                                              "--ctx 600 --type f16");
    assert_ok(lethe_lm_open(&lm, path, &o, NULL, &err), &err);
    table one = table_open(V), three = table_open(V);
    lethe_threads_set(1);
    one.base = three.base = 10; /* 513 tokens: a whole call and a single token */
    assert_ok(lethe_lm_forward(lm, &seqs[10], 1, NULL, keep_logits, &one, &err), &err);
    lethe_threads_set(3);
    assert_ok(lethe_lm_forward(lm, &seqs[10], 1, NULL, keep_logits, &three, &err), &err);
    lethe_threads_set(0);
    assert_same(&one, &three);
    lethe_lm_close(&lm);
    lm = small;
    table_close(&one);
    table_close(&three);
    test_temp_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_row_once_however_grouped, no_hooks),
        cmocka_unit_test_teardown(one_site_one_stream, no_hooks),
        cmocka_unit_test_teardown(the_last_layer_has_the_wanted_rows, no_hooks),
        cmocka_unit_test_teardown(an_identity_edit_changes_nothing, no_hooks),
        cmocka_unit_test_teardown(a_zeroed_stream_forgets_everything, no_hooks),
        cmocka_unit_test_teardown(an_edit_reaches_later_taps_and_logits, no_hooks),
        cmocka_unit_test_teardown(logprob, no_hooks),
        cmocka_unit_test_teardown(scores_are_the_logits, no_hooks),
        cmocka_unit_test_teardown(failures_pass_and_leave_no_trace, no_hooks),
        cmocka_unit_test_teardown(bad_calls, no_hooks),
        cmocka_unit_test_teardown(threads_change_nothing, no_hooks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
