/* SPDX-License-Identifier: MIT
 *
 * Files of passages, questions and multiple choice: as published, and bad ones.
 */
#include "support/support.h"

#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/questions.h"

static const char *dir;
static lethe_err err;

static char *file(const char *name, const char *content) {
    char *path = lethe_path_join(dir, name);
    assert_ok(lethe_write_file(path, content, strlen(content), &err), &err);
    return path;
}

static lethe_questions load(lethe_questions_kind kind, const char *name, const char *content) {
    char *path = file(name, content);
    lethe_questions q = {0};
    assert_ok(lethe_questions_load(&q, kind, path, &err), &err);
    lethe_free(path);
    return q;
}

static void passages(void **state) {
    (void)state;
    lethe_questions q = load(LETHE_QUESTIONS_PASSAGES, "books.jsonl",
                             "{\"prompt\": \"It was\", \"gt\": \" a night\"}\n\n"
                             "{\"text\": \"one two three four\", \"domain\": \"hp\"}\n");
    assert_int_equal(q.n, 2);
    assert_string_equal(q.item[0].domain, "books"); /* of the file's name */
    assert_string_equal(q.item[0].target, " a night");
    assert_string_equal(q.item[1].domain, "hp");
    assert_string_equal(q.item[1].prompt, "one two three");
    assert_string_equal(q.item[1].target, " four");
    lethe_questions_free(&q);
    /* MUSE: a list of objects */
    q = load(LETHE_QUESTIONS_PASSAGES, "verbmem.json", "[{\"prompt\": \"a\", \"gt\": \" b\"}]");
    assert_int_equal(q.n, 1);
    lethe_questions_free(&q);
}

static void knowledge(void **state) {
    (void)state;
    lethe_questions q = load(
        LETHE_QUESTIONS_KNOWLEDGE, "tofu.json",
        "[{\"question\": \"Who?\", \"answer\": \"Ron \", \"perturbed_answer\": [\"Bob\", "
        "\"Tim\"]}, {\"question\": \"Where?\", \"answer\": \"Here\", \"chat\": true, \"fact\": "
        "\"place\"}]");
    assert_int_equal(q.n, 2);
    assert_string_equal(q.item[0].fact, "ron");
    assert_int_equal(q.item[0].n_options, 2);
    assert_string_equal(q.item[0].option[1], "Tim");
    assert_true(q.item[1].chat);
    assert_string_equal(q.item[1].fact, "place");
    lethe_questions_free(&q);
}

static void choice(void **state) {
    (void)state;
    lethe_questions q = load(
        LETHE_QUESTIONS_CHOICE, "wmdp.jsonl",
        "{\"question\": \"2 + 2?\", \"choices\": [\"3\", \"4\", \"5\", \"6\"], \"answer\": 1}\n"
        "{\"question\": \"1 + 1?\", \"choices\": [\"2\", \"4\"], \"answer\": \"A\"}\n");
    assert_int_equal(q.n, 2);
    assert_string_equal(q.item[0].target, "4");
    assert_int_equal(q.item[1].answer, 0);
    assert_string_equal(q.item[1].target, "2");
    lethe_questions_free(&q);
}

static void chosen(void **state) {
    (void)state;
    lethe_strbuf s = {0};
    for (int i = 0; i < 40; i++)
        lethe_strbuf_addf(&s, "{\"domain\": \"%s\", \"question\": \"q%d\", \"answer\": \"a%d\"}\n",
                          i % 4 ? "x" : "y", i, i);
    lethe_questions all = load(LETHE_QUESTIONS_KNOWLEDGE, "k.jsonl", lethe_strbuf_str(&s)),
                    tune = load(LETHE_QUESTIONS_KNOWLEDGE, "k.jsonl", lethe_strbuf_str(&s)),
                    report = load(LETHE_QUESTIONS_KNOWLEDGE, "k.jsonl", lethe_strbuf_str(&s));
    lethe_questions_keep(&tune, LETHE_SPLIT_TUNE, 0);
    lethe_questions_keep(&report, LETHE_SPLIT_REPORT, 0);
    assert_int_equal(tune.n + report.n, 40);
    assert_true(tune.n && report.n);
    lethe_questions_keep(&all, LETHE_SPLIT_ALL, 6);
    size_t x = 0;
    for (size_t i = 0; i < all.n; i++) x += !strcmp(all.item[i].domain, "x");
    assert_int_equal(x, 6);
    assert_int_equal(all.n - x, 6);
    assert_string_equal(all.item[all.n - 1].prompt, "q39");
    lethe_questions_free(&all);
    lethe_questions_free(&tune);
    lethe_questions_free(&report);
    lethe_strbuf_free(&s);
}

static void bad(void **state) {
    (void)state;
    static const struct {
        lethe_questions_kind kind;
        const char *content, *says;
    } files[] = {
        {LETHE_QUESTIONS_PASSAGES, "", "no items in it"},
        {LETHE_QUESTIONS_PASSAGES, "[]", "no items in it"},
        {LETHE_QUESTIONS_PASSAGES,
         "{\"prompt\": \"a\", \"gt\": \"b\"}\n{\"prompt\": ", "bad.jsonl:2:"},
        {LETHE_QUESTIONS_PASSAGES, "{\"prompt\": \"a\"}", "target"},
        {LETHE_QUESTIONS_PASSAGES, "{\"text\": \"word\"}", "a text of several words"},
        {LETHE_QUESTIONS_PASSAGES, "{\"text\": 3}", "line 1"},
        {LETHE_QUESTIONS_KNOWLEDGE, "{\"question\": \"a\"}", "answer"},
        {LETHE_QUESTIONS_KNOWLEDGE, "{\"question\": \"\", \"answer\": \"b\"}", "not empty"},
        {LETHE_QUESTIONS_KNOWLEDGE, "{\"question\": \"a\", \"answer\": \"b\", \"wrong\": \"c\"}",
         "list"},
        {LETHE_QUESTIONS_CHOICE, "{\"question\": \"a\", \"choices\": [\"x\"], \"answer\": 0}",
         "2 to 8 choices"},
        {LETHE_QUESTIONS_CHOICE,
         "{\"question\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": 2}", "answer"},
        {LETHE_QUESTIONS_CHOICE,
         "{\"question\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": \"C\"}", "letter up to B"},
        {LETHE_QUESTIONS_CHOICE, "{\"question\": \"a\", \"answer\": 0}", "choices"},
        {LETHE_QUESTIONS_CHOICE,
         "{\"question\": \"a\", \"choices\": [\"x\", \"y\"], \"answer\": 0, \"chat\": 1}", "chat"},
        {LETHE_QUESTIONS_CHOICE, "[3]", "object"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = file("bad.jsonl", files[i].content);
        lethe_questions q = {0};
        assert_int_equal(lethe_questions_load(&q, files[i].kind, path, &err), LETHE_FORMAT);
        if (!strstr(err.text, files[i].says) || !strstr(err.text, "bad.jsonl"))
            fail_msg("%zu: \"%s\" does not say \"%s\"", i, err.text, files[i].says);
        lethe_questions_free(&q);
        lethe_free(path);
    }
    lethe_questions q = {0};
    assert_int_equal(lethe_questions_load(&q, LETHE_QUESTIONS_CHOICE, "/none.jsonl", &err),
                     LETHE_NOTFOUND);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passages), cmocka_unit_test(knowledge), cmocka_unit_test(choice),
        cmocka_unit_test(chosen),   cmocka_unit_test(bad),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return rc;
}
