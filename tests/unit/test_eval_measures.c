/* SPDX-License-Identifier: MIT
 *
 * The measures of an evaluation on the demonstration model: what they say agrees with what the test
 * finds out from the model itself.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/eval.h"
#include "support/demo_model.h"

#define LAYER 1

static const char *dir;
static demo_model demo;
static lethe_lm *lm;             /* demo's */
static lethe_ablation *ablation; /* demo's */
static lethe_err err;

static char *file(const char *name, const char *content) {
    char *path = lethe_path_join(dir, name);
    assert_ok(lethe_write_file(path, content, strlen(content), &err), &err);
    return path;
}

static lethe_questions load(lethe_questions_kind kind, const char *content) {
    char *path = file("questions.jsonl", content);
    lethe_questions q = {0};
    assert_ok(lethe_questions_load(&q, kind, path, &err), &err);
    lethe_free(path);
    return q;
}

static lethe_eval_result run(const lethe_eval_inputs *in, const lethe_eval_opts *o,
                             lethe_ablation *a) {
    lethe_eval_result r;
    assert_ok(lethe_eval_run(lm, a, LAYER, LETHE_HOOK_POST, in, o, NULL, &r, &err), &err);
    return r;
}

static const lethe_measure *measure(const lethe_eval_result *r, const char *name,
                                    const char *domain) {
    const lethe_measure *m = lethe_measures_find(&r->measures, name, domain);
    if (!m) fail_msg("no measure %s of %s", name, domain ? domain : "all");
    return m;
}

/* ---- passages -------------------------------------------------------------------------------- */

static const char *const passages =
    "{\"prompt\": \"The capital of France\", \"target\": \" is Paris. The sea was quiet\", "
    "\"domain\": \"real\"}\n"
    "{\"prompt\": \"Harry Potter's best\", \"target\": \" friend is Ron\", \"domain\": \"hp\"}\n";

static bool keep_token(void *user, size_t seq, int32_t token, const char *piece) {
    (void)seq;
    (void)piece;
    return lethe_tokens_push(user, token, NULL) == LETHE_OK;
}

/* Does greedy decoding from the first k tokens give the rest? */
static bool follows(const lethe_tokens *t, size_t k, lethe_tokens *got) {
    lethe_sampling s = lethe_sampling_defaults();
    s.max_tokens = t->n - k;
    got->n = 0;
    lethe_seq seq = {t->id, k};
    assert_ok(lethe_lm_generate(lm, &seq, 1, &s, NULL, keep_token, got, &err), &err);
    return got->n == t->n - k && !memcmp(got->id, t->id + k, got->n * sizeof *got->id);
}

static void extraction(void **state) {
    (void)state;
    lethe_questions q = load(LETHE_QUESTIONS_PASSAGES, passages);
    lethe_eval_inputs in = {.passages = &q};
    lethe_eval_opts o = lethe_eval_defaults();
    o.forget_domain = "hp";
    lethe_eval_result r = run(&in, &o, NULL);
    for (size_t i = 0; i < q.n; i++) {
        lethe_probe p = {.prompt = q.item[i].prompt, .target = q.item[i].target};
        lethe_tokens t = {0}, got = {0};
        size_t prompt, k = 1;
        assert_ok(lethe_probe_tokens(lm, &p, false, &t, &prompt, &err), &err);
        while (k < t.n && !follows(&t, k, &got)) k++;
        const lethe_measure *m = measure(&r, "extraction_strength", q.item[i].domain);
        assert_true(fabs(m->item[0].value[0] - (1 - (double)k / (double)t.n)) < 1e-12);
        assert_int_equal(m->group, i ? LETHE_MEASURE_FORGET : LETHE_MEASURE_RETAIN);
        lethe_tokens_free(&t);
        lethe_tokens_free(&got);
    }
    /* it knows this one by heart */
    const lethe_measure *m = measure(&r, "verbatim_rouge_l", "hp");
    assert_true(m->item[0].value[0] == 1);
    assert_non_null(json_object_get(m->item[0].more[0], "text"));
    lethe_eval_result_free(&r);
    o.measures = "extraction";
    r = run(&in, &o, NULL);
    assert_null(lethe_measures_find(&r.measures, "verbatim_rouge_l", "hp"));
    lethe_eval_result_free(&r);
    lethe_questions_free(&q);
}

/* ---- answers --------------------------------------------------------------------------------- */

static const char *const knowledge =
    "{\"question\": \"Who is Harry Potter's best friend?\", \"answer\": \"Ron\", \"wrong\": "
    "[\"Draco\", \"Fang\"], \"chat\": true, \"domain\": \"hp\"}\n"
    "{\"question\": \"What is the capital of France?\", \"answer\": \"Paris\", \"wrong\": "
    "[\"Rome\"], \"chat\": true, \"domain\": \"real\"}\n"
    "{\"question\": \"What is the capital of Italy?\", \"answer\": \"Paris\", \"chat\": true, "
    "\"domain\": \"wrong\"}\n";

static double loss(const char *prompt, const char *target) {
    lethe_probe p = {
        .prompt = (char *)(uintptr_t)prompt, .target = (char *)(uintptr_t)target, .chat = true};
    lethe_tokens t = {0};
    size_t n;
    lethe_target_score s;
    assert_ok(lethe_probe_tokens(lm, &p, false, &t, &n, &err), &err);
    lethe_seq seq = {t.id, t.n};
    assert_ok(lethe_lm_score(lm, &seq, &n, 1, &s, &err), &err);
    lethe_tokens_free(&t);
    return -s.sum_logprob / (double)s.n;
}

static void answers(void **state) {
    (void)state;
    lethe_questions q = load(LETHE_QUESTIONS_KNOWLEDGE, knowledge);
    lethe_eval_inputs in = {.knowledge = &q};
    lethe_eval_opts o = lethe_eval_defaults();
    o.forget_domain = "hp";
    lethe_eval_result r = run(&in, &o, NULL);
    assert_true(measure(&r, "knowledge_rouge_l", "hp")->side[0].mean == 1);
    assert_true(measure(&r, "knowledge_rouge_l", "real")->side[0].mean == 1);
    assert_true(measure(&r, "knowledge_rouge_l", "wrong")->side[0].mean == 0);
    const char *ask = q.item[0].prompt;
    double ratio = exp(-(loss(ask, "Draco") + loss(ask, "Fang")) / 2) / exp(-loss(ask, "Ron"));
    double got = measure(&r, "truth_ratio", "hp")->item[0].value[0];
    assert_true(fabs(got - fmin(ratio, 1 / ratio)) < 1e-3 * got);
    ask = q.item[1].prompt;
    ratio = exp(loss(ask, "Paris") - loss(ask, "Rome"));
    got = measure(&r, "truth_ratio", "real")->item[0].value[0];
    assert_true(fabs(got - fmax(0, 1 - ratio)) < 1e-3);
    assert_null(lethe_measures_find(&r.measures, "truth_ratio", "wrong"));
    lethe_eval_result_free(&r);
    o.shots = 1; /* one other of the domain; there is none, so nothing changes */
    o.measures = "knowledge";
    r = run(&in, &o, NULL);
    assert_true(measure(&r, "knowledge_rouge_l", "hp")->side[0].mean == 1);
    assert_int_equal(r.measures.n, 3);
    lethe_eval_result_free(&r);
    lethe_questions_free(&q);
}

static void choice(void **state) {
    (void)state;
    lethe_questions q =
        load(LETHE_QUESTIONS_CHOICE,
             "{\"question\": \"Who is Harry Potter's best friend?\", \"choices\": [\"Draco\", "
             "\"Ron\", \"Fang\"], \"answer\": \"B\", \"chat\": true, \"domain\": \"hp\"}\n"
             "{\"question\": \"What is the capital of Italy?\", \"choices\": [\"Paris\", "
             "\"Rome\"], \"answer\": 0, \"chat\": true, \"domain\": \"real\"}\n");
    lethe_eval_inputs in = {.choice = &q};
    lethe_eval_opts o = lethe_eval_defaults();
    o.choice_by_text = true;
    lethe_eval_result r = run(&in, &o, NULL);
    assert_true(measure(&r, "choice_accuracy", "hp")->side[0].mean == 1);
    assert_true(measure(&r, "choice_accuracy", "real")->side[0].mean == 0);
    assert_null(lethe_measures_find(&r.measures, "choice_strict", "hp"));
    lethe_eval_result_free(&r);
    o.choice_by_text = false;
    o.choice_orders = 0;
    r = run(&in, &o, NULL);
    /* with all 6 orders a model that does not know letters is right in a third of them */
    const lethe_measure *m = measure(&r, "choice_accuracy", "hp");
    assert_true(fabs(m->side[0].mean * 6 - round(m->side[0].mean * 6)) < 1e-9);
    assert_true(measure(&r, "choice_strict", "hp")->side[0].mean <= m->side[0].mean);
    lethe_eval_result_free(&r);
    o.choice_orders = 1; /* the file's: its letters asked one by one */
    r = run(&in, &o, NULL);
    const char *list = "Who is Harry Potter's best friend?\nA. Draco\nB. Ron\nC. Fang\nAnswer:";
    double a = exp(-loss(list, "A")), b = exp(-loss(list, "B")), c = exp(-loss(list, "C"));
    m = measure(&r, "choice_accuracy", "hp");
    assert_true(m->side[0].mean == (b > a && b >= c));
    double share = json_number_value(json_object_get(m->item[0].more[0], "probability"));
    assert_true(fabs(share - b / (a + b + c)) < 1e-3);
    lethe_eval_result_free(&r);
    lethe_questions_free(&q);
}

/* ---- attacks --------------------------------------------------------------------------------- */

static const char *const questions =
    "{\"hp\": [{\"prompt\": \"Who is Harry Potter's best friend?\", \"target\": \"Ron\", \"chat\": "
    "true}, {\"prompt\": \"Harry Potter's best friend is\", \"target\": \" Ron\"}, {\"prompt\": "
    "\"Who is the headmaster of Hogwarts?\", \"target\": \"Dumbledore\", \"chat\": true}], "
    "\"real\": [{\"prompt\": \"The capital of France is\", \"target\": \" Paris\"}]}";

static void attacks(void **state) {
    (void)state;
    char *path = file("probes.json", questions),
         *own =
             file("attacks.json",
                  "{\"hp\": [{\"attack\": \"german\", \"prompt\": \"Wer ist der beste Freund von "
                  "Harry Potter?\", \"target\": \"Ron\", \"chat\": true}]}");
    lethe_probes p;
    assert_ok(lethe_probes_load(&p, path, &err), &err);
    lethe_eval_inputs in = {.probes = &p, .attack_file = own};
    lethe_eval_opts o = lethe_eval_defaults();
    o.attacks = "all";
    o.samples = 3;
    lethe_eval_result r = run(&in, &o, ablation);
    assert_string_equal(r.forget_domain, "hp");
    assert_int_equal(measure(&r, "attack_padding", "hp")->n, 3);
    assert_int_equal(measure(&r, "attack_turns", "hp")->n, 2);
    assert_int_equal(measure(&r, "attack_german", "hp")->n, 1);
    const lethe_measure *any = measure(&r, "attack_sampling_any", "hp"),
                        *mean = measure(&r, "attack_sampling_mean", "hp");
    assert_int_equal(any->n, 2); /* one a fact */
    assert_true(any->side[0].mean == 1 && mean->side[0].mean >= 1.0 / 3);
    for (size_t i = 0; i < any->n; i++) {
        double share = mean->item[i].value[0] * 3;
        assert_true(fabs(share - round(share)) < 1e-9);
        assert_true(any->item[i].value[0] == (share > 0.5));
    }
    /* a push that breaks the model leaves nothing for an attack either */
    const lethe_measure *padding = measure(&r, "attack_padding", "hp");
    assert_true(padding->side[0].mean > 0.5 && padding->side[1].mean < 0.5);
    assert_true(padding->difference.high <= 0);
    assert_true(measure(&r, "recall", "hp")->side[0].mean == r.domain[0].recall[0]);
    /* the intervals stand where the means stand */
    json_t *j = NULL;
    assert_ok(lethe_eval_json(&r, NULL, &j, &err), &err);
    json_t *metrics = json_object_get(j, "metrics");
    json_t *means = json_object_get(json_object_get(metrics, "ablated"), "logprobs");
    json_t *intervals = json_object_get(
        json_object_get(json_object_get(metrics, "intervals"), "ablated"), "logprobs");
    json_t *hp = json_object_get(intervals, "hp");
    double a = json_number_value(json_object_get(means, "hp")),
           b = json_number_value(json_object_get(hp, "mean"));
    assert_true(fabs(a - b) < 1e-9);
    assert_true(json_number_value(json_object_get(hp, "low")) <= a &&
                json_number_value(json_object_get(hp, "high")) >= a);
    json_decref(j);
    lethe_eval_result_free(&r);
    o.attacks = "flattery";
    assert_int_equal(lethe_eval_run(lm, NULL, LAYER, LETHE_HOOK_POST, &in, &o, NULL, &r, &err),
                     LETHE_USAGE);
    o.attacks = "none";
    o.forget_domain = "nothing";
    assert_int_equal(lethe_eval_run(lm, NULL, LAYER, LETHE_HOOK_POST, &in, &o, NULL, &r, &err),
                     LETHE_USAGE);
    lethe_probes_free(&p);
    lethe_free(path);
    lethe_free(own);
}

static void familiarity(void **state) {
    (void)state;
    char *path = file("probes.json", questions),
         *ask = file("prompts.json",
                     "[{\"prompt\": \"Who is Harry Potter's best friend?\", \"chat\": true, "
                     "\"domain\": \"hp\"}, {\"prompt\": \"Is Ron Ron?\", \"domain\": \"hp\"}, "
                     "{\"prompt\": \"The capital of France is\", \"domain\": \"real\"}]");
    lethe_probes p;
    lethe_prompts prompts;
    assert_ok(lethe_probes_load(&p, path, &err), &err);
    assert_ok(lethe_prompts_load(&prompts, ask, &err), &err);
    lethe_eval_inputs in = {.probes = &p, .prompts = &prompts};
    lethe_eval_opts o = lethe_eval_defaults();
    o.sampling.max_tokens = 4;
    lethe_eval_result r = run(&in, &o, NULL);
    const lethe_measure *m = measure(&r, "familiarity", "hp");
    assert_int_equal(m->n, 2);
    assert_true(m->item[0].value[0] == 1); /* Ron, who was not in the prompt */
    assert_int_equal(measure(&r, "degeneration", NULL)->n, 3);
    lethe_eval_result_free(&r);
    lethe_probes_free(&p);
    lethe_prompts_free(&prompts);
    lethe_free(path);
    lethe_free(ask);
}

static void names_of_measures(void **state) {
    (void)state;
    assert_ok(lethe_eval_check_measures("all", &err), &err);
    assert_ok(lethe_eval_check_measures("truth, choice", &err), &err);
    assert_int_equal(lethe_eval_check_measures("truth,lies", &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "no measure \"lies\""));
}

static void no_memory(void **state) {
    (void)state;
    char *path = file("probes.json", questions);
    lethe_probes p;
    assert_ok(lethe_probes_load(&p, path, &err), &err);
    lethe_questions q = load(LETHE_QUESTIONS_PASSAGES, passages),
                    k = load(LETHE_QUESTIONS_KNOWLEDGE, knowledge);
    lethe_eval_inputs in = {.probes = &p, .passages = &q, .knowledge = &k};
    lethe_eval_opts o = lethe_eval_defaults();
    o.attacks = "turns,sampling";
    o.samples = 1;
    bool done = false;
    size_t failures = 0;
    for (size_t n = 1; !done && n < 100000; n += 1 + n / 8) {
        lethe_eval_result r = {0};
        lethe_mem_fail_after(n);
        lethe_status st = lethe_eval_run(lm, NULL, LAYER, LETHE_HOOK_POST, &in, &o, NULL, &r, &err);
        lethe_mem_fail_after(SIZE_MAX);
        done = st == LETHE_OK;
        if (!done) assert_int_equal(st, LETHE_NOMEM);
        failures += !done;
        lethe_eval_result_free(&r);
    }
    assert_true(done && failures > 20);
    lethe_questions_free(&q);
    lethe_questions_free(&k);
    lethe_probes_free(&p);
    lethe_free(path);
}

int main(void) {
    dir = test_temp_dir();
    if (!demo_model_open(&demo, 4, -200)) return 1;
    lm = demo.lm;
    ablation = demo.ablation;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extraction),  cmocka_unit_test(answers),
        cmocka_unit_test(choice),      cmocka_unit_test(attacks),
        cmocka_unit_test(familiarity), cmocka_unit_test(names_of_measures),
        cmocka_unit_test(no_memory),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    demo_model_close(&demo);
    test_temp_remove();
    return rc;
}
