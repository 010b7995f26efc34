/* SPDX-License-Identifier: MIT
 *
 * The server's pure parts: requests, answers as they grow, replies.
 */
#include <math.h>
#include <string.h>

#include "front/serve/reply.h"
#include "support/support.h"

/* ---- requests -------------------------------------------------------------------------------- */

static lethe_status parse(lethe_ask *a, lethe_ask_kind kind, const char *body, lethe_refusal *why) {
    return lethe_ask_parse(a, kind, body, strlen(body), why);
}

static void defaults(void **state) {
    (void)state;
    lethe_ask a;
    lethe_refusal why;
    assert_int_equal(parse(&a, LETHE_ASK_CHAT,
                           "{\"model\":\"m\",\"stop\":null,\"messages\":[{\"role\":\"developer\","
                           "\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
                           "\"text\":\"b\"}]}]}",
                           &why),
                     LETHE_OK);
    assert_string_equal(a.message[0].role, "system");
    assert_string_equal(a.message[0].content, "ab");
    assert_true(a.sampling.temperature == 1 && a.sampling.top_p == 1 && a.sampling.top_k == 0);
    assert_int_equal(a.sampling.max_tokens, 0);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.forget, -1);
    assert_true(isnan(a.strength) && !a.seeded && !a.stream && !a.trace && !a.logprobs);
    lethe_ask_free(&a);
    assert_int_equal(parse(&a, LETHE_ASK_TEXT, "{\"model\":\"m\",\"prompt\":\"\"}", &why),
                     LETHE_OK);
    assert_int_equal(a.sampling.max_tokens, 16); /* as the OpenAI API has it */
    lethe_ask_free(&a);
}

static void everything(void **state) {
    (void)state;
    lethe_ask a;
    lethe_refusal why;
    assert_int_equal(
        parse(&a, LETHE_ASK_TEXT,
              "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"temperature\":0,\"top_p\":0.5,"
              "\"top_k\":40,\"seed\":-7,\"n\":3,\"max_tokens\":5,\"stop\":[\"x\",\"y\"],"
              "\"frequency_penalty\":-2,\"presence_penalty\":2,\"repeat_penalty\":1.5,"
              "\"logprobs\":5,\"best_of\":3,\"echo\":false,\"stream\":true,"
              "\"stream_options\":{\"include_usage\":true},"
              "\"lethe\":{\"forget\":false,\"strength\":0.5,\"trace\":true}}",
              &why),
        LETHE_OK);
    assert_int_equal(a.n_prompts, 2);
    assert_string_equal(a.prompt[1], "b");
    assert_true(a.sampling.frequency_penalty == -2 && a.sampling.presence_penalty == 2);
    assert_true(a.seeded && a.sampling.seed == (uint64_t)-7);
    assert_true(a.logprobs && a.top == 5 && a.stream && a.usage && a.trace);
    assert_int_equal(a.forget, 0);
    assert_true(a.strength == 0.5);
    assert_int_equal(a.n_stops, 2);
    lethe_ask_free(&a);
}

static void refuse(lethe_ask_kind kind, const char *body, const char *param, const char *part) {
    lethe_ask a;
    lethe_refusal why;
    assert_int_equal(parse(&a, kind, body, &why), LETHE_USAGE);
    assert_int_equal(why.status, 400);
    assert_string_equal(why.type, "invalid_request_error");
    assert_string_equal(why.param, param);
    if (!strstr(why.message, part)) fail_msg("\"%s\" lacks \"%s\"", why.message, part);
}

static void refusals(void **state) {
    (void)state;
    refuse(LETHE_ASK_TEXT, "{\"model\":\"m\",\"prompt\":\"a\",\"temperature\":2.01}", "temperature",
           "got 2.01, want a number from 0 to 2");
    refuse(LETHE_ASK_TEXT, "{\"model\":\"m\",\"prompt\":\"a\",\"n\":1.5}", "n",
           "got 1.5, want a whole number from 1 to 16");
    refuse(LETHE_ASK_TEXT, "{\"model\":\"m\",\"prompt\":\"a\",\"stop\":[1]}", "stop",
           "want a string or a list of 1 to 4 strings");
    refuse(LETHE_ASK_TEXT, "{\"model\":\"m\",\"prompt\":\"a\",\"logprobs\":true}", "logprobs",
           "got true");
    refuse(LETHE_ASK_TEXT, "{\"model\":\"m\",\"prompt\":\"a\",\"logit_bias\":{\"1\":1}}",
           "logit_bias", "not offered");
    refuse(LETHE_ASK_TEXT,
           "{\"model\":\"m\",\"prompt\":\"a\",\"lethe\":{\"scale\":1,\"strength\":1}}", "scale",
           "pass one");
    refuse(LETHE_ASK_TRACE, "{\"prompt\":\"a\",\"messages\":[]}", "prompt", "either");
    refuse(LETHE_ASK_CHAT, "{\"model\":\"m\",\"model\":\"m\"}", "", "duplicate");
}

/* ---- answers --------------------------------------------------------------------------------- */

static lethe_answer answer_with(const char *const *stop, size_t n, bool trace) {
    lethe_answer a = {.stop = stop, .n_stops = n, .trace = trace};
    lethe_answer_open(&a);
    return a;
}

static bool add(lethe_answer *a, const char *piece) {
    return lethe_answer_add(a, &(lethe_said){.piece = piece, .piece_len = strlen(piece)});
}

static void shows(lethe_answer *a, bool last, const char *want) {
    lethe_strbuf text = {0};
    json_t *logprob, *traced;
    bool some = lethe_answer_take(a, last, &text, &logprob, &traced);
    assert_int_equal(some, want != NULL);
    if (want) assert_string_equal(lethe_strbuf_str(&text), want);
    json_decref(logprob);
    json_decref(traced);
    lethe_strbuf_free(&text);
}

static void characters(void **state) {
    (void)state;
    lethe_answer a = answer_with(NULL, 0, false);
    assert_true(add(&a, "a\xf0\x9f"));
    shows(&a, false, "a");
    assert_true(add(&a, "\x98"));
    shows(&a, false, NULL);
    assert_true(add(&a, "\x80z\xc3"));
    shows(&a, false, "\xf0\x9f\x98\x80z");
    shows(&a, true, "\xc3"); /* what never became a character comes at the end */
    lethe_answer_close(&a);
}

static void stops(void **state) {
    (void)state;
    static const char *const stop[] = {"END", "\n\n"};
    lethe_answer a = answer_with(stop, 2, false);
    assert_true(add(&a, "oneE"));
    shows(&a, false, "one");
    assert_true(add(&a, "N"));
    shows(&a, false, NULL);
    assert_true(add(&a, "x\n")); /* it was not the stop string; this may be one */
    shows(&a, false, "ENx");
    assert_true(add(&a, "EN"));
    shows(&a, false, "\n");
    assert_false(add(&a, "D and more"));
    assert_true(a.stopped);
    assert_false(add(&a, "not taken"));
    shows(&a, true, NULL);
    lethe_answer_close(&a);

    a = answer_with(stop, 2, false);
    assert_false(add(&a, "a\n\nEND")); /* the first of them ends it */
    shows(&a, true, "a");
    lethe_answer_close(&a);
}

static void traces(void **state) {
    (void)state;
    lethe_mark mark[] = {{5, 0, 1.5}, {9, 0, 4}}, other[] = {{5, 0, 3}};
    lethe_answer a = answer_with(NULL, 0, true);
    lethe_answer_add(&a, &(lethe_said){"\xc3", 1, .mark = mark, .n_marks = 2, .known = true});
    lethe_answer_add(&a, &(lethe_said){"\xa4", 1, .mark = other, .n_marks = 1, .known = true});
    lethe_strbuf text = {0}, chunk = {0};
    json_t *logprob, *traced;
    assert_true(lethe_answer_take(&a, false, &text, &logprob, &traced));
    assert_int_equal(json_array_size(traced), 2);
    lethe_reply_head h = {.chat = true, .stream = true, .trace = true, .model = "m"};
    lethe_chunk_text(&chunk, &h, 0, &text, 0, logprob, traced);
    /* Both tokens of one chunk: each feature once, with its largest value. */
    assert_non_null(strstr(chunk.data,
                           "\"lethe\":{\"fired\":[{\"feature\":9,\"removal\":0,"
                           "\"value\":4.0},{\"feature\":5,\"removal\":0,\"value\":3.0}]}"));
    lethe_strbuf_free(&chunk);
    chunk = (lethe_strbuf){0};
    lethe_answer_add(&a, &(lethe_said){"z", 1, .known = false});
    assert_true(lethe_answer_take(&a, true, &text, &logprob, &traced));
    lethe_chunk_text(&chunk, &h, 0, &text, 0, logprob, traced);
    assert_non_null(strstr(chunk.data, "\"fired\":null"));
    lethe_strbuf_free(&chunk);
    lethe_strbuf_free(&text);
    lethe_answer_close(&a);
}

/* ---- replies --------------------------------------------------------------------------------- */

static void errors(void **state) {
    (void)state;
    lethe_refusal why = {0};
    lethe_refuse(&why, 429, NULL, "", "%s", "\xff full");
    lethe_strbuf b = {0};
    lethe_reply_error(&b, &why);
    assert_string_equal(b.data, "{\"error\":{\"message\":\"\xef\xbf\xbd full\",\"type\":"
                                "\"rate_limit_error\",\"param\":null,\"code\":null}}");
    lethe_strbuf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),   cmocka_unit_test(everything), cmocka_unit_test(refusals),
        cmocka_unit_test(characters), cmocka_unit_test(stops),      cmocka_unit_test(traces),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
