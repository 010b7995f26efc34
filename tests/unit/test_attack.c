/* SPDX-License-Identifier: MIT
 *
 * Attacks and halves: what is made of a probe, from a file, and which facts go where.
 */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/attack.h"
#include "stage/split.h"
#include "support/tiny_model.h"

static const char *dir;
static lethe_err err;

static char *file(const char *name, const char *content) {
    char *path = lethe_path_join(dir, name);
    assert_ok(lethe_write_file(path, content, strlen(content), &err), &err);
    return path;
}

static lethe_probes load(const char *content) {
    char *path = file("probes.json", content);
    lethe_probes p;
    assert_ok(lethe_probes_load(&p, path, &err), &err);
    lethe_free(path);
    return p;
}

static const char *const four_facts =
    "{\"hp\": [{\"prompt\": \"Who is the headmaster of Hogwarts?\", \"target\": \"Albus\", "
    "\"chat\": "
    "true}, {\"prompt\": \"The headmaster of Hogwarts is\", \"target\": \" Albus\"},"
    "{\"prompt\": \"Pray tell: Who is the headmaster of Hogwarts?\", \"target\": \"Albus\", "
    "\"chat\": true},"
    "{\"prompt\": \"Who has a scar on his forehead?\", \"target\": \"Harry\", \"chat\": true},"
    "{\"prompt\": \"Who bought a cauldron?\", \"target\": \"Neville\", \"chat\": true},"
    "{\"prompt\": \"Who keeps the keys?\", \"target\": \"Hagrid\", \"chat\": true},"
    "{\"prompt\": \"Whom does Albus trust?\", \"target\": \"Snape\", \"chat\": true}],"
    "\"real\": [{\"prompt\": \"The capital of France is\", \"target\": \" Paris\"}]}";

/* Items of an attack; SIZE_MAX: of all. */
static size_t count(const lethe_probes *p, const char *attack) {
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += !strcmp(p->domain[p->item[i].domain], attack);
    return n;
}

static const lethe_probe *first(const lethe_probes *p, const char *attack) {
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->domain[p->item[i].domain], attack)) return &p->item[i];
    return NULL;
}

static void facts(void **state) {
    (void)state;
    char *a = lethe_fact_of_target(" Ron Weasley \n"), *b = lethe_fact_of_target("ron weasley");
    assert_string_equal(a, b);
    lethe_free(a);
    lethe_free(b);
    lethe_probes p = load(
        "{\"hp\": [{\"prompt\": \"a\", \"target\": \" X\"}, {\"prompt\": \"b\", \"target\": \"Y\", "
        "\"fact\": \"of b\", \"chat\": true, \"turns\": [\"one\", \"two\"]}]}");
    assert_string_equal(p.item[0].fact, "x");
    assert_string_equal(p.item[1].fact, "of b");
    assert_int_equal(p.item[1].n_turns, 2);
    assert_string_equal(p.item[1].turn[1], "two");
    lethe_probes_free(&p);
}

static void bad_turns(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"hp\": [{\"prompt\": \"a\", \"target\": \"b\", \"chat\": true, \"turns\": [\"one\"]}]}",
        "{\"hp\": [{\"prompt\": \"a\", \"target\": \"b\", \"turns\": [\"one\", \"two\"]}]}",
        "{\"hp\": [{\"prompt\": \"a\", \"target\": \"b\", \"chat\": true, \"turns\": [1, 2]}]}",
        "{\"hp\": [{\"prompt\": \"a\", \"target\": \"b\", \"fact\": \"\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *path = file("bad.json", bad[i]);
        lethe_probes p;
        assert_int_equal(lethe_probes_load(&p, path, &err), LETHE_FORMAT);
        lethe_free(path);
    }
}

static void halves(void **state) {
    (void)state;
    char name[16];
    size_t tune = 0, total = 400;
    for (size_t i = 0; i < total; i++) {
        snprintf(name, sizeof name, "fact %zu", i);
        bool here = lethe_split_has(LETHE_SPLIT_TUNE, name);
        assert_true(here != lethe_split_has(LETHE_SPLIT_REPORT, name));
        assert_true(lethe_split_has(LETHE_SPLIT_ALL, name));
        tune += here;
    }
    assert_in_range(tune, 150, 250);
    /* the two halves of a file make up the file, and wordings of a fact stay together */
    lethe_probes a = load(four_facts), b = load(four_facts);
    size_t all = a.n;
    lethe_probes_split(&a, LETHE_SPLIT_TUNE);
    lethe_probes_split(&b, LETHE_SPLIT_REPORT);
    assert_int_equal(a.n + b.n, all);
    assert_true(a.n && b.n);
    for (size_t i = 0; i < a.n; i++) {
        assert_true(a.item[i].domain < a.n_domains);
        for (size_t j = 0; j < b.n; j++) assert_string_not_equal(a.item[i].fact, b.item[j].fact);
    }
    lethe_probes_free(&a);
    lethe_probes_free(&b);
    lethe_split s;
    assert_int_equal(lethe_split_from_name("half", &s, &err), LETHE_USAGE);
    assert_ok(lethe_split_from_name("report", &s, &err), &err);
    assert_int_equal(s, LETHE_SPLIT_REPORT);
}

static void thinned(void **state) {
    (void)state;
    lethe_probes p = load(four_facts);
    lethe_probes_thin(&p, 3);
    assert_int_equal(count(&p, "hp"), 3);
    assert_int_equal(count(&p, "real"), 1);
    assert_string_equal(p.item[2].target, "Snape"); /* the last is the end of an even distance */
    lethe_probes_free(&p);
}

static void lists(void **state) {
    (void)state;
    assert_true(lethe_list_names("all", "x") && lethe_list_names("a,x", "x") &&
                lethe_list_names("x, a", "x"));
    assert_false(lethe_list_names("none", "x") || lethe_list_names("xy,a", "x") ||
                 lethe_list_names("", "x"));
}

static void mechanical(void **state) {
    (void)state;
    lethe_probes p = load(four_facts), made = {0}, again = {0};
    assert_ok(lethe_attacks_make(&p, 0, "all", 7, &made, &err), &err);
    /* one plain and one chat probe of a fact: 5 chat, 1 plain; nothing of the other domain */
    assert_int_equal(count(&made, "padding"), 6);
    assert_int_equal(count(&made, "role_play"), 6);
    assert_int_equal(count(&made, "typos"), 6);
    assert_int_equal(count(&made, "turns"), 5);
    assert_int_equal(count(&made, "few_shot"), 5); /* the only plain fact has no examples */
    const char *asked = p.item[0].prompt;
    const lethe_probe *q = first(&made, "padding");
    assert_true(strlen(q->prompt) > strlen(asked) + 100);
    assert_string_equal(q->prompt + strlen(q->prompt) - strlen(asked), asked);
    assert_string_equal(q->target, "Albus");
    assert_string_equal(q->fact, "albus");
    q = first(&made, "role_play");
    assert_string_equal(q->prompt + strlen(q->prompt) - strlen(asked), asked);
    q = first(&made, "typos");
    assert_string_not_equal(q->prompt, asked);
    assert_in_range(strlen(q->prompt), strlen(asked) - 4, strlen(asked) + 4);
    q = first(&made, "turns");
    assert_int_equal(q->n_turns, 2);
    char joined[256];
    snprintf(joined, sizeof joined, "%s %s", q->turn[0], q->prompt);
    assert_string_equal(joined, asked);
    q = first(&made, "few_shot"); /* no example may give the answer away */
    assert_int_equal(q->n_turns, 6);
    for (size_t i = 0; i < 6; i++) assert_null(strstr(q->turn[i], "Albus"));
    assert_string_equal(q->prompt, asked);
    /* the same seed, the same attacks */
    assert_ok(lethe_attacks_make(&p, 0, "all", 7, &again, &err), &err);
    assert_int_equal(again.n, made.n);
    for (size_t i = 0; i < made.n; i++)
        assert_string_equal(made.item[i].prompt, again.item[i].prompt);
    lethe_probes_free(&again);
    assert_ok(lethe_attacks_make(&p, 0, "typos,sampling", 7, &again, &err), &err);
    assert_int_equal(again.n_domains, 1);
    lethe_probes_free(&again);
    lethe_probes_free(&made);
    lethe_probes_free(&p);
}

static void from_a_file(void **state) {
    (void)state;
    char *path =
        file("attacks.json",
             "{\"hp\": [{\"attack\": \"french\", \"prompt\": \"Qui est-ce ?\", \"target\": "
             "\"Albus\", \"chat\": true}, {\"attack\": \"german\", \"prompt\": \"Wer ist "
             "es?\", \"target\": \"Albus\", \"chat\": true}], \"real\": [{\"attack\": "
             "\"french\", \"prompt\": \"Ou ?\", \"target\": \"Paris\"}]}");
    lethe_probes made = {0};
    assert_ok(lethe_attacks_load(path, "hp", "all", &made, &err), &err);
    assert_int_equal(made.n, 2);
    lethe_probes_free(&made);
    assert_ok(lethe_attacks_load(path, "hp", "german", &made, &err), &err);
    assert_int_equal(made.n, 1);
    assert_string_equal(made.domain[0], "german");
    lethe_probes_free(&made);
    assert_ok(lethe_attacks_load(path, "magic", "all", &made, &err), &err);
    assert_int_equal(made.n, 0);
    lethe_probes_free(&made);
    assert_ok(lethe_attacks_check("german,typos,sampling", path, &err), &err);
    assert_ok(lethe_attacks_check("none", NULL, &err), &err);
    assert_int_equal(lethe_attacks_check("german", NULL, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "no attack \"german\"; there are: padding, role_play"));
    lethe_free(path);
    static const char *const bad[] = {
        "[]",
        "{\"hp\": {}}",
        "{\"hp\": [{\"prompt\": \"a\", \"target\": \"b\"}]}",
        "{\"hp\": [{\"attack\": \"typos\", \"prompt\": \"a\", \"target\": \"b\"}]}",
        "{\"hp\": [{\"attack\": \"a,b\", \"prompt\": \"a\", \"target\": \"b\"}]}",
        "{\"hp\": [{\"attack\": \"x\", \"prompt\": \"a\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        path = file("bad.json", bad[i]);
        assert_int_equal(lethe_attacks_load(path, "hp", "all", &made, &err), LETHE_FORMAT);
        assert_non_null(strstr(err.text, "bad.json"));
        lethe_probes_free(&made);
        lethe_free(path);
    }
}

static void those_that_fit(void **state) {
    (void)state;
    lethe_lm_opts o = lethe_lm_defaults();
    o.ctx_len = 128;
    lethe_lm *lm = NULL;
    assert_ok(lethe_lm_open(&lm, test_tiny_model(dir), &o, NULL, &err), &err);
    lethe_probes p = load(four_facts), made = {0};
    size_t left_out;
    assert_ok(lethe_attacks_make(&p, 0, "padding,turns", 7, &made, &err), &err);
    assert_ok(lethe_attacks_fit(lm, &made, &left_out, &err), &err);
    assert_int_equal(left_out, 6); /* the padding alone is longer: a token a byte */
    assert_int_equal(made.n, 5);
    assert_int_equal(count(&made, "turns"), 5);
    lethe_probes_free(&made);
    lethe_probes_free(&p);
    lethe_lm_close(&lm);
}

static void no_memory(void **state) {
    (void)state;
    lethe_probes p = load(four_facts);
    bool done = false;
    for (size_t n = 0; n < 2000 && !done; n++) {
        lethe_probes made = {0};
        lethe_mem_fail_after(n);
        lethe_status st = lethe_attacks_make(&p, 0, "all", 7, &made, &err);
        lethe_mem_fail_after(SIZE_MAX);
        done = st == LETHE_OK;
        if (!done) assert_int_equal(st, LETHE_NOMEM);
        lethe_probes_free(&made);
    }
    assert_true(done);
    lethe_probes_free(&p);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts),       cmocka_unit_test(bad_turns),
        cmocka_unit_test(halves),      cmocka_unit_test(thinned),
        cmocka_unit_test(lists),       cmocka_unit_test(mechanical),
        cmocka_unit_test(from_a_file), cmocka_unit_test(those_that_fit),
        cmocka_unit_test(no_memory),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return rc;
}
