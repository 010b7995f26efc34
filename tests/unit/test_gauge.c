/* SPDX-License-Identifier: MIT
 *
 * The gauge on the demonstration model: its baseline is what the evaluation measures, and a run
 * sees what is attached.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/eval.h"
#include "stage/gauge.h"

static const char *dir;
static lethe_lm *lm;
static lethe_probes probes;
static lethe_corpus *text;
static lethe_err err;

static const char *const questions =
    "{\"hp\": [{\"prompt\": \"Who is Harry Potter's best friend?\", \"target\": \"Ron\", \"chat\": "
    "true}, {\"prompt\": \"Harry Potter's best friend is\", \"target\": \" Ron\"}, {\"prompt\": "
    "\"The old headmaster of Hogwarts is\", \"target\": \" Dumbledore\"}, {\"prompt\": \"The cold "
    "potions master of Hogwarts is\", \"target\": \" Snape\"}], \"real\": [{\"prompt\": \"The "
    "capital "
    "of France is\", \"target\": \" Paris\"}, {\"prompt\": \"The capital of Italy is\", "
    "\"target\": "
    "\" Rome\"}]}";

static const char *const story =
    "The old clock in the hall had stopped, and nobody in the house knew when. Grandmother said it "
    "was the damp. Father said it was the mice, who had eaten the cord. In the morning the boy "
    "took "
    "a lamp and a small screwdriver, opened the glass door and looked in. There was no cord and "
    "there were no mice. There was a letter, folded four times, with his own name on it.\n";

static char *file(const char *name, const char *content) {
    char *path = lethe_path_join(dir, name);
    assert_ok(lethe_write_file(path, content, strlen(content), &err), &err);
    return path;
}

static lethe_status negate(void *user, const lethe_rows *rows, lethe_err *e) {
    (void)user;
    (void)e;
    for (size_t i = 0; i < rows->n * rows->d; i++) rows->x[i] = -rows->x[i];
    return LETHE_OK;
}

static lethe_status keep(void *user, const lethe_rows *rows, lethe_err *e) {
    (void)rows;
    (void)e;
    ++*(int *)user;
    return LETHE_OK;
}

static void as_the_evaluation(void **state) {
    (void)state;
    lethe_gauge_opts o = lethe_gauge_defaults();
    o.text_tokens = 60;
    lethe_gauge *g = NULL;
    assert_ok(lethe_gauge_open(&g, lm, &probes, text, &o, NULL, &err), &err);
    lethe_eval_opts eo = lethe_eval_defaults();
    eo.text_tokens = 60;
    lethe_eval_inputs in = {.probes = &probes, .text = text};
    lethe_eval_result r;
    assert_ok(lethe_eval_run(lm, NULL, 0, LETHE_HOOK_POST, &in, &eo, NULL, &r, &err), &err);
    const lethe_gauge_figures *b = lethe_gauge_baseline(g);
    assert_true(fabs(b->forget_recall - r.domain[0].recall[0]) < 1e-12);
    assert_true(fabs(b->forget_logprob - r.domain[0].logprob[0]) < 1e-4);
    assert_true(fabs(b->retain_logprob - r.domain[1].logprob[0]) < 1e-4);
    assert_true(fabs(b->perplexity / r.text.perplexity[0] - 1) < 1e-4);
    assert_true(b->kl == 0);
    assert_int_equal(lethe_gauge_tokens(g), 60);
    assert_true(lethe_gauge_attacks(g) >= 3);
    assert_true(b->worst_attack >= b->forget_recall);
    for (size_t i = 0; i < lethe_gauge_attacks(g); i++)
        assert_in_range(b->attack_recall[i] * 1000, 0, (uintmax_t)(b->worst_attack * 1000));
    /* nothing attached: nothing moved; an edit that breaks the model: all of it seen */
    lethe_gauge_figures now;
    int calls = 0;
    assert_ok(lethe_lm_add_edit(lm, 1, LETHE_HOOK_POST, keep, &calls, &err), &err);
    assert_ok(lethe_gauge_run(g, NULL, NULL, &now, &err), &err);
    assert_true(calls > 0 && now.kl < 1e-9 && now.forget_recall == b->forget_recall);
    lethe_lm_clear_hooks(lm);
    assert_ok(lethe_lm_add_edit(lm, 1, LETHE_HOOK_POST, negate, NULL, &err), &err);
    assert_ok(lethe_gauge_run(g, NULL, NULL, &now, &err), &err);
    assert_true(now.kl > 0.5 && now.forget_recall == 0 && now.worst_attack < 0.5);
    assert_true(now.forget_logprob < b->forget_logprob - 1 && now.perplexity > b->perplexity);
    lethe_lm_clear_hooks(lm);
    assert_ok(lethe_gauge_run(g, NULL, NULL, &now, &err), &err);
    assert_true(now.kl < 1e-9);
    lethe_eval_result_free(&r);
    lethe_gauge_close(&g);
}

/* The KL of some windows, and of all. */
static void kl_of_windows(void **state) {
    (void)state;
    lethe_gauge_opts o = lethe_gauge_defaults();
    o.text_tokens = 900;
    lethe_gauge *g = NULL;
    lethe_gauge_figures now;
    double all, one, more;
    char many[8192] = "";
    for (int i = 0; i < 12; i++) strcat(many, story);
    char *path = file("long.txt", many);
    const char *const paths[] = {path};
    lethe_corpus *prose;
    assert_ok(lethe_corpus_open(&prose, paths, 1, NULL, &err), &err);
    assert_ok(lethe_gauge_open(&g, lm, &probes, prose, &o, NULL, &err), &err);
    assert_true(lethe_gauge_windows(g) > 1);
    assert_ok(lethe_lm_add_edit(lm, 1, LETHE_HOOK_POST, negate, NULL, &err), &err);
    assert_ok(lethe_gauge_run(g, NULL, NULL, &now, &err), &err);
    assert_ok(lethe_gauge_kl(g, SIZE_MAX, &all, &err), &err);
    assert_ok(lethe_gauge_kl(g, 1, &one, &err), &err);
    assert_ok(lethe_gauge_kl(g, lethe_gauge_windows(g) + 1, &more, &err), &err);
    assert_true(fabs(all - now.kl) < 1e-9 && fabs(more - all) < 1e-9);
    assert_true(one > 0.5 && one < 2 * all && fabs(one - all) > 1e-6);
    lethe_lm_clear_hooks(lm);
    lethe_gauge_close(&g);
    lethe_corpus_close(&prose);
    lethe_free(path);
}

/* Sees what is known before the attacks, and has had enough. */
static bool enough(void *user, const lethe_gauge_figures *so_far) {
    assert_true(so_far->worst_attack == so_far->forget_recall);
    assert_false(isnan(so_far->retain_recall) || isnan(so_far->kl));
    return *(bool *)user;
}

static void ends_before_the_attacks(void **state) {
    (void)state;
    lethe_gauge_opts o = lethe_gauge_defaults();
    o.text_tokens = 60;
    lethe_gauge *g = NULL;
    assert_ok(lethe_gauge_open(&g, lm, &probes, text, &o, NULL, &err), &err);
    lethe_gauge_figures whole, part;
    bool stop = false;
    assert_ok(lethe_gauge_run(g, enough, &stop, &whole, &err), &err);
    stop = true;
    assert_ok(lethe_gauge_run(g, enough, &stop, &part, &err), &err);
    assert_false(whole.partial);
    assert_true(part.partial && isnan(part.attack_recall[0]));
    assert_true(part.forget_recall == whole.forget_recall && part.kl == whole.kl);
    assert_true(part.worst_attack <= whole.worst_attack);
    lethe_gauge_close(&g);
}

static void halves(void **state) {
    (void)state;
    size_t n[3];
    for (int s = 0; s < 3; s++) {
        lethe_gauge_opts o = lethe_gauge_defaults();
        o.split = (lethe_split)s;
        o.attacks = "none";
        o.text_tokens = 0;
        lethe_gauge *g = NULL;
        assert_ok(lethe_gauge_open(&g, lm, &probes, NULL, &o, NULL, &err), &err);
        n[s] = lethe_gauge_items(g);
        assert_true(isnan(lethe_gauge_baseline(g)->kl));
        lethe_gauge_close(&g);
    }
    assert_int_equal(n[LETHE_SPLIT_ALL], probes.n);
    assert_int_equal(n[LETHE_SPLIT_TUNE] + n[LETHE_SPLIT_REPORT], probes.n);
}

static void what_is_wrong(void **state) {
    (void)state;
    lethe_gauge *g = NULL;
    lethe_gauge_opts o = lethe_gauge_defaults();
    o.forget_domain = "nothing";
    assert_int_equal(lethe_gauge_open(&g, lm, &probes, NULL, &o, NULL, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "no domain \"nothing\""));
    o = lethe_gauge_defaults();
    o.attacks = "flattery";
    assert_int_equal(lethe_gauge_open(&g, lm, &probes, NULL, &o, NULL, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "flattery"));
    o = lethe_gauge_defaults();
    o.attack_file = "/nowhere/attacks.json";
    assert_int_equal(lethe_gauge_open(&g, lm, &probes, NULL, &o, NULL, &err), LETHE_NOTFOUND);
    assert_null(g);
}

int main(void) {
    dir = test_temp_dir();
    lethe_lm_opts o = lethe_lm_defaults();
    o.n_seq = 2;
    if (lethe_lm_open(&lm, test_source("models/lethe-demo.gguf"), &o, NULL, &err) != LETHE_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    char *path = file("probes.json", questions), *prose = file("text.txt", story);
    const char *paths[] = {prose};
    if (lethe_probes_load(&probes, path, &err) != LETHE_OK ||
        lethe_corpus_open(&text, paths, 1, NULL, &err) != LETHE_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_evaluation),       cmocka_unit_test(kl_of_windows),
        cmocka_unit_test(ends_before_the_attacks), cmocka_unit_test(halves),
        cmocka_unit_test(what_is_wrong),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_probes_free(&probes);
    lethe_corpus_close(&text);
    lethe_lm_close(&lm);
    lethe_free(path);
    lethe_free(prose);
    test_temp_remove();
    return rc;
}
