/* SPDX-License-Identifier: MIT
 *
 * Probe files and prompt sets: both shapes, file order, and what is refused with which words.
 */
#include "support/support.h"

#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "stage/probes.h"

static const char *dir;
static lethe_err err;

/* A file of this name and text. Static memory. */
static const char *file(const char *name, const char *text) {
    static char path[512];
    char *p = lethe_path_join(dir, name);
    strncpy(path, p, sizeof path - 1);
    lethe_free(p);
    assert_ok(lethe_write_file(path, text, strlen(text), &err), &err);
    return path;
}

static void both_shapes(void **state) {
    (void)state;
    const char *path =
        file("probes.json", "{\"zebra\": [{\"prompt\": \"a\", \"target\": \" b\", "
                            "\"chat\": true, \"note\": 1}, "
                            "{\"prompt\": \"c\", \"target\": \" d\"}],"
                            " \"apple\": {\"prompts\": [\"e\"], \"targets\": [\" f\"]}}");
    lethe_probes p;
    assert_ok(lethe_probes_load(&p, path, &err), &err);
    assert_int_equal(p.n_domains, 2);
    assert_string_equal(p.domain[0], "zebra"); /* the file's order, not the alphabet's */
    assert_string_equal(p.domain[1], "apple");
    assert_int_equal(p.n, 3);
    assert_string_equal(p.item[0].prompt, "a");
    assert_string_equal(p.item[0].target, " b");
    assert_true(p.item[0].chat);
    assert_false(p.item[1].chat);
    assert_int_equal(p.item[2].domain, 1);
    assert_string_equal(p.item[2].target, " f");
    lethe_probes_free(&p);
}

static void bad_probes(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"[]", "the top: got a list of 0, want an object"},
        {"{}", "at least one domain"},
        {"{\"hp\": 3}", "hp: got 3, want a list"},
        {"{\"hp\": []}", "hp: got a list of 0, want at least one probe"},
        {"{\"hp\": [1]}", "hp[0]: got 1, want an object"},
        {"{\"hp\": [{\"prompt\": \"a\"}]}", "hp[0].target: got nothing (missing), want a string"},
        {"{\"hp\": [{\"target\": \"a\"}]}", "hp[0].prompt: got nothing (missing)"},
        {"{\"hp\": [{\"prompt\": \"a\", \"target\": \"b\"}, {\"prompt\": 5, \"target\": \"b\"}]}",
         "hp[1].prompt: got 5, want a string"},
        {"{\"hp\": [{\"prompt\": \"a\", \"target\": [\"b\"]}]}", "hp[0].target: got a list of 1"},
        {"{\"hp\": [{\"prompt\": \"a\", \"target\": \"\"}]}", "want a string that is not empty"},
        {"{\"hp\": [{\"prompt\": \"a\", \"target\": \"b\", \"chat\": 1}]}",
         "hp[0].chat: got 1, want true or false"},
        {"{\"hp\": {\"prompts\": [\"a\"]}}", "hp.targets: got nothing (missing), want a list"},
        {"{\"hp\": {\"prompts\": [\"a\", \"b\"], \"targets\": [\"c\"]}}",
         "hp.targets: got a list of 1, want a list of 2"},
        {"{\"hp\": {\"prompts\": [], \"targets\": []}}", "want at least one prompt"},
        {"{\"hp\": {\"prompts\": [\"a\"], \"targets\": [null]}}", "hp.targets[0]: got null"},
        {"{\"\": [{\"prompt\": \"a\", \"target\": \"b\"}]}", "name that is not empty"},
        {"{\"hp\": [", "line 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lethe_probes p = {0};
        lethe_status st = lethe_probes_load(&p, file("bad.json", bad[i].text), &err);
        assert_int_equal(st, LETHE_FORMAT);
        if (!strstr(err.text, bad[i].message) || !strstr(err.text, "bad.json"))
            fail_msg("case %zu: %s", i, err.text);
        assert_null(p.item);
    }
    lethe_probes p;
    assert_int_equal(lethe_probes_load(&p, "/nonexistent.json", &err), LETHE_NOTFOUND);
}

static void prompt_sets(void **state) {
    (void)state;
    lethe_prompts p;
    const char *path = file("p.json", "[\"one\", {\"prompt\": \"two\", \"chat\": true, \"domain\": "
                                      "\"hp\"}, {\"prompt\": \"three\"}]");
    assert_ok(lethe_prompts_load(&p, path, &err), &err);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.item[0].prompt, "one");
    assert_string_equal(p.item[0].domain, "");
    assert_false(p.item[0].chat);
    assert_true(p.item[1].chat);
    assert_string_equal(p.item[1].domain, "hp");
    assert_string_equal(p.item[2].prompt, "three");
    lethe_prompts_free(&p);

    assert_ok(lethe_prompts_load(&p, file("p.txt", "first\n\n  second \r\nlast"), &err), &err);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.item[0].prompt, "first");
    assert_string_equal(p.item[1].prompt, "  second ");
    assert_string_equal(p.item[2].prompt, "last");
    lethe_prompts_free(&p);
}

static void bad_prompts(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *message;
    } bad[] = {
        {"a.json", "{}", "the top: got an object, want a list"},
        {"a.json", "[]", "no prompts in it"},
        {"a.json", "[\"x\", 2]", "[1]: got 2, want a string or"},
        {"a.json", "[\"\"]", "[0]: got the string \"\", want a string that is not empty"},
        {"a.json", "[{\"text\": \"x\"}]", "[0].prompt: got nothing (missing)"},
        {"a.json", "[{\"prompt\": \"x\", \"domain\": 1}]", "[0].domain: got 1"},
        {"a.json", "[{\"prompt\": \"x\", \"chat\": \"yes\"}]", "[0].chat: got the string"},
        {"a.txt", "", "no prompts in it"},
        {"a.txt", "\n\r\n\n", "no prompts in it"},
        {"a.txt",
         "good\nb\xff"
         "d\n",
         "byte 6: not UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lethe_prompts p = {0};
        lethe_status st = lethe_prompts_load(&p, file(bad[i].name, bad[i].text), &err);
        assert_int_equal(st, LETHE_FORMAT);
        if (!strstr(err.text, bad[i].message)) fail_msg("case %zu: %s", i, err.text);
        assert_null(p.item);
    }
}

/* Fails allocation k = 0, 1, ... until all goes well: NOMEM each time, nothing left behind (the
 * sanitizer build sees to that). */
static void no_memory(void **state) {
    (void)state;
    const char *path =
        file("probes.json", "{\"a\": [{\"prompt\": \"a\", \"target\": \" b\"}],"
                            " \"b\": {\"prompts\": [\"e\"], \"targets\": [\" f\"]}}");
    lethe_status st = LETHE_NOMEM;
    size_t k = 0;
    for (; st != LETHE_OK && k < 100; k++) {
        lethe_probes p = {0};
        lethe_mem_fail_after(k);
        st = lethe_probes_load(&p, path, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK)
            lethe_probes_free(&p);
        else
            assert_int_equal(st, LETHE_NOMEM);
    }
    assert_ok(st, &err);
    assert_true(k > 8);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_shapes), cmocka_unit_test(bad_probes), cmocka_unit_test(prompt_sets),
        cmocka_unit_test(bad_prompts), cmocka_unit_test(no_memory),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return rc;
}
