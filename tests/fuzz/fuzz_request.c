/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the bodies of requests. The first byte says which kind. What is accepted must be
 * within the ranges that docs/serve.md gives, what is refused must have a status and a message that
 * can be told.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "front/serve/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int holds) {
    if (!holds) abort();
}

static void check_accepted(const lethe_ask *a) {
    const lethe_sampling *s = &a->sampling;
    must(a->n_messages || a->n_prompts);
    must(a->n_messages <= LETHE_ASK_MOST_MESSAGES && a->n_prompts <= LETHE_ASK_MOST_PROMPTS);
    for (size_t i = 0; i < a->n_messages; i++) must(a->message[i].role && a->message[i].content);
    for (size_t i = 0; i < a->n_prompts; i++) must(a->prompt[i] != NULL);
    for (size_t i = 0; i < a->n_stops; i++) must(a->stop[i] && *a->stop[i]);
    must(a->n_stops <= LETHE_ASK_MOST_STOPS && a->top <= LETHE_ASK_MOST_TOP);
    must(a->n >= 1 && a->n <= LETHE_ASK_MOST_ANSWERS);
    must(s->temperature >= 0 && s->temperature <= 2 && s->top_p >= 0 && s->top_p <= 1);
    must(s->top_k >= 0 && s->max_tokens <= INT32_MAX);
    must(fabs(s->presence_penalty) <= 2 && fabs(s->frequency_penalty) <= 2);
    must(a->forget >= -1 && a->forget <= 1);
    must(isnan(a->strength) || fabs(a->strength) <= 1e6);
    must(a->model || a->kind == LETHE_ASK_TRACE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (!n) return 0;
    lethe_ask a = {0};
    lethe_refusal why;
    lethe_status st =
        lethe_ask_parse(&a, (lethe_ask_kind)(data[0] % 3), (const char *)data + 1, n - 1, &why);
    if (!st) {
        must(!why.status);
        check_accepted(&a);
        lethe_ask_free(&a);
        return 0;
    }
    must(why.status >= 400 && why.status < 600 && why.type && *why.message);
    lethe_strbuf text = {0};
    lethe_reply_error(&text, &why);
    json_t *j = text.status ? NULL : json_loadb(text.data, text.len, 0, NULL);
    must(json_is_string(json_object_get(json_object_get(j, "error"), "message")));
    json_decref(j);
    lethe_strbuf_free(&text);
    return 0;
}
