/* SPDX-License-Identifier: MIT
 *
 * The chat formats of the model families: a template as their models carry it renders to the text
 * that the family's makers document. Expected texts are written by hand.
 */
#include "support/quantize.h"
#include "support/support.h"
#include "support/tiny_model.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "lm/lm.h"

static const char *tiny;
static char *path;

/* Two turns and a third question, with and without instructions before. */
static const lethe_chat_message chat[] = {{"system", "Be brief."},
                                          {"user", "Who flew?"},
                                          {"assistant", "A witch."},
                                          {"user", "Whereto?"}};

typedef struct family {
    const char *name, *jinja;
    const char *one;    /* the first question alone */
    const char *turns;  /* all but the instructions */
    const char *system; /* all; NULL: as `turns`, with the instructions before the first question */
} family;

static const family families[] = {
    {"Llama-2",
     "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\\n' + "
     "messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% endif %}{% for message in messages %}{% if "
     "message['role'] == 'user' %}{{ bos_token + '[INST] ' + message.content.strip() + ' [/INST]' "
     "}}{% elif message['role'] == 'assistant' %}{{ ' ' + message.content.strip() + ' ' + "
     "eos_token "
     "}}{% endif %}{% endfor %}",
     "[INST] Who flew? [/INST]", "[INST] Who flew? [/INST] A witch. </s><s>[INST] Whereto? [/INST]",
     "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWho flew? [/INST] A witch. </s><s>[INST] Whereto? "
     "[/INST]"},
    {"Mistral 0.2",
     "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + "
     "message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ "
     "message['content'] + eos_token }}{% endif %}{% endfor %}",
     "[INST] Who flew? [/INST]", "[INST] Who flew? [/INST]A witch.</s>[INST] Whereto? [/INST]",
     "[INST] Be brief.\nWho flew? [/INST]A witch.</s>[INST] Whereto? [/INST]"},
    {"Mistral v1",
     "{{ bos_token }}{% for message in loop_messages %}{% if message['role'] == 'user' %}{% if "
     "loop.first and system_message is defined %}{{ ' [INST] ' + system_message + '\\n\\n' + "
     "message['content'] + ' [/INST]' }}{% else %}{{ ' [INST] ' + message['content'] + ' [/INST]' "
     "}}{% endif %}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}",
     " [INST] Who flew? [/INST]", " [INST] Who flew? [/INST] A witch.</s> [INST] Whereto? [/INST]",
     " [INST] Be brief.\n\nWho flew? [/INST] A witch.</s> [INST] Whereto? [/INST]"},
    {"Mistral v3",
     "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{% if tools "
     "%}{{ "
     "'[AVAILABLE_TOOLS] ' + tools + '[/AVAILABLE_TOOLS]' }}{% endif %}{{ '[INST] ' + "
     "message['content'] + '[/INST]' }}{% else %}{{ ' ' + message['content']|trim + eos_token }}{% "
     "endif %}{% endfor %}",
     "[INST] Who flew?[/INST]", "[INST] Who flew?[/INST] A witch.</s>[INST] Whereto?[/INST]",
     "[INST] Be brief.\n\nWho flew?[/INST] A witch.</s>[INST] Whereto?[/INST]"},
    {"Gemma, Gemma-2",
     "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == "
     "'assistant' else message['role'] %}{{ '<start_of_turn>' + role + '\\n' + message['content'] "
     "| "
     "trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
     "'<start_of_turn>model\\n' }}{% endif %}",
     "<start_of_turn>user\nWho flew?<end_of_turn>\n<start_of_turn>model\n",
     "<start_of_turn>user\nWho flew?<end_of_turn>\n<start_of_turn>model\nA "
     "witch.<end_of_turn>\n<start_of_turn>user\nWhereto?<end_of_turn>\n<start_of_turn>model\n",
     "<start_of_turn>user\nBe brief.\n\nWho flew?<end_of_turn>\n<start_of_turn>model\nA "
     "witch.<end_of_turn>\n<start_of_turn>user\nWhereto?<end_of_turn>\n<start_of_turn>model\n"},
};

static lethe_lm *open_with(const char *file) {
    lethe_lm *lm;
    lethe_err err = {0};
    lethe_lm_opts o = lethe_lm_defaults();
    o.vocab_only = true;
    assert_ok(lethe_lm_open(&lm, file, &o, NULL, &err), &err);
    return lm;
}

static void renders(const lethe_lm *lm, size_t from, size_t n, const char *want) {
    lethe_strbuf got = {0};
    lethe_err err = {0};
    assert_ok(lethe_lm_chat(lm, chat + from, n, true, &got, &err), &err);
    assert_string_equal(lethe_strbuf_str(&got), want);
    lethe_strbuf_free(&got);
}

static size_t count(const lethe_tokens *t, int32_t id) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) n += t->id[i] == id;
    return n;
}

static void check_family(void **state) {
    const family *f = *state;
    assert_true(test_set_template(tiny, path, f->jinja));
    lethe_lm *lm = open_with(path);
    assert_true(lethe_lm_get_info(lm)->has_chat_template);
    renders(lm, 1, 1, f->one);
    renders(lm, 1, 3, f->turns);
    renders(lm, 0, 4, f->system);
    lethe_tokens t = {0}; /* the beginning once, and again only where the format says so */
    lethe_err err = {0};
    int32_t bos = lethe_lm_get_info(lm)->bos;
    assert_ok(lethe_lm_chat_tokens(lm, chat, 4, true, &t, &err), &err);
    assert_int_equal(t.id[0], bos);
    assert_int_not_equal(t.id[1], bos);
    assert_int_equal(count(&t, bos), strstr(f->turns, "<s>") ? 2 : 1);
    assert_int_equal(count(&t, lethe_lm_get_info(lm)->eos), strstr(f->turns, "</s>") ? 1 : 0);
    lethe_tokens_free(&t);
    lethe_lm_close(&lm);
}

/* GPT-2 has no chat format: said, and no other format taken in its place. */
static void no_template(void **state) {
    (void)state;
    const char *gpt2 = test_shared("golden/backbone/gpt2.gguf");
    if (!gpt2) skip();
    lethe_lm *lm = open_with(gpt2);
    assert_false(lethe_lm_get_info(lm)->has_chat_template);
    lethe_strbuf got = {0};
    lethe_tokens t = {0};
    lethe_err err = {0};
    assert_int_equal(lethe_lm_chat(lm, chat, 2, true, &got, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "gpt2.gguf: the model has no chat template"));
    assert_int_equal(lethe_lm_chat_tokens(lm, chat, 2, true, &t, &err), LETHE_FORMAT);
    assert_int_equal(got.len + t.n, 0);
    lethe_strbuf_free(&got);
    lethe_tokens_free(&t);
    lethe_lm_close(&lm);
}

static void unknown_template(void **state) {
    (void)state;
    assert_true(test_set_template(tiny, path, "{{ messages[0].content }} and nothing known"));
    lethe_lm *lm = open_with(path);
    lethe_strbuf got = {0};
    lethe_err err = {0};
    assert_int_equal(lethe_lm_chat(lm, chat, 2, true, &got, &err), LETHE_FORMAT);
    assert_non_null(strstr(err.text, "libllama does not know the model's chat template"));
    lethe_strbuf_free(&got);
    lethe_lm_close(&lm);
}

int main(void) {
    tiny = test_tiny_model(test_temp_dir());
    path = lethe_path_join(test_temp_dir(), "chat.gguf");
    struct CMUnitTest tests[sizeof families / sizeof *families + 2];
    size_t n = 0;
    for (; n < sizeof families / sizeof *families; n++)
        tests[n] = (struct CMUnitTest){families[n].name, check_family, NULL, NULL,
                                       (void *)(uintptr_t)&families[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(no_template);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(unknown_template);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lethe_free(path);
    test_temp_remove();
    return failed;
}
