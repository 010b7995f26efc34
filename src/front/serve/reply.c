/* SPDX-License-Identifier: MIT */
#include "front/serve/reply.h"

#include <string.h>

#include "format/jsonio.h"

static int add(const char *s, size_t n, void *user) {
    lethe_strbuf *b = user;
    lethe_strbuf_add(b, s, n);
    return b->status ? -1 : 0;
}

void lethe_reply_json(lethe_strbuf *out, json_t *value) {
    if (!value || json_dump_callback(value, add, out,
                                     JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)))
        out->status = LETHE_NOMEM;
    json_decref(value);
}

void lethe_reply_error(lethe_strbuf *out, const lethe_refusal *why) {
    json_t *e = json_pack("{s:{s:o, s:s, s:s?, s:s?}}", "error", "message",
                          lethe_json_text(why->message, strlen(why->message)), "type", why->type,
                          "param", *why->param ? why->param : NULL, "code", why->code);
    lethe_reply_json(out, e);
}

/* ---- log-probabilities ----------------------------------------------------------------------- */

/* The older shape, of completions, from the newer one of chat. */
static json_t *older(const json_t *list, size_t offset) {
    json_t *tokens = json_array(), *values = json_array(), *tops = json_array(),
           *offsets = json_array();
    bool ok = tokens && values && tops && offsets;
    size_t i, j;
    json_t *e, *t;
    json_array_foreach(list, i, e) {
        json_t *top = json_object(), *alternatives = json_object_get(e, "top_logprobs");
        lethe_json_append(tokens, json_incref(json_object_get(e, "token")), &ok);
        lethe_json_append(values, json_incref(json_object_get(e, "logprob")), &ok);
        json_array_foreach(alternatives, j, t) {
            lethe_json_put(top, json_string_value(json_object_get(t, "token")),
                           json_incref(json_object_get(t, "logprob")), &ok);
        }
        lethe_json_append(tops, json_array_size(alternatives) ? json_incref(top) : json_null(),
                          &ok);
        json_decref(top);
        lethe_json_append(offsets, json_integer((json_int_t)offset), &ok);
        offset += json_array_size(json_object_get(e, "bytes"));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", values,
                     "top_logprobs", tops, "text_offset", offsets);
}

/* moved: list; null where none was asked for. */
static json_t *logprobs_json(const lethe_reply_head *h, json_t *list, size_t offset) {
    if (!h->logprobs || !list) {
        json_decref(list);
        return json_null();
    }
    if (h->chat) return json_pack("{s:o, s:n}", "content", list, "refusal");
    json_t *out = older(list, offset);
    json_decref(list);
    return out;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* choices: moved. */
static json_t *frame(const lethe_reply_head *h, json_t *choices) {
    const char *object = !h->chat    ? "text_completion"
                         : h->stream ? "chat.completion.chunk"
                                     : "chat.completion";
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", h->id, "object", object, "created",
                     (json_int_t)h->created, "model", h->model, "system_fingerprint", "lethe",
                     "choices", choices);
}

static void data(lethe_strbuf *out, json_t *value) {
    lethe_strbuf_adds(out, "data: ");
    lethe_reply_json(out, value);
    lethe_strbuf_adds(out, "\n\n");
}

/* choice: moved. */
static void chunk(lethe_strbuf *out, const lethe_reply_head *h, json_t *choice) {
    json_t *f = frame(h, json_pack("[o]", choice));
    if (f && h->usage) json_object_set_new(f, "usage", json_null());
    data(out, f);
}

void lethe_chunk_role(lethe_strbuf *out, const lethe_reply_head *h, size_t index) {
    if (!h->chat) return;
    chunk(out, h,
          json_pack("{s:I, s:{s:s, s:s}, s:n, s:n}", "index", (json_int_t)index, "delta", "role",
                    "assistant", "content", "", "logprobs", "finish_reason"));
}

void lethe_chunk_text(lethe_strbuf *out, const lethe_reply_head *h, size_t index,
                      const lethe_strbuf *text, size_t offset, json_t *logprob, json_t *traced) {
    json_t *words = lethe_json_text(lethe_strbuf_str(text), text->len);
    json_t *lp = logprobs_json(h, logprob, offset);
    json_t *c = h->chat ? json_pack("{s:I, s:{s:o}, s:o, s:n}", "index", (json_int_t)index, "delta",
                                    "content", words, "logprobs", lp, "finish_reason")
                        : json_pack("{s:I, s:o, s:o, s:n}", "index", (json_int_t)index, "text",
                                    words, "logprobs", lp, "finish_reason");
    if (c && h->trace)
        json_object_set_new(c, "lethe", json_pack("{s:o}", "fired", lethe_traced_merge(traced)));
    json_decref(traced);
    chunk(out, h, c);
}

void lethe_chunk_end(lethe_strbuf *out, const lethe_reply_head *h, size_t index,
                     const char *reason) {
    json_t *c = h->chat ? json_pack("{s:I, s:{}, s:n, s:s}", "index", (json_int_t)index, "delta",
                                    "logprobs", "finish_reason", reason)
                        : json_pack("{s:I, s:s, s:n, s:s}", "index", (json_int_t)index, "text", "",
                                    "logprobs", "finish_reason", reason);
    chunk(out, h, c);
}

static json_t *usage_json(const lethe_usage *u) {
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)u->prompt,
                     "completion_tokens", (json_int_t)u->completion, "total_tokens",
                     (json_int_t)(u->prompt + u->completion), "prompt_tokens_details",
                     "cached_tokens", (json_int_t)u->cached);
}

void lethe_chunk_usage(lethe_strbuf *out, const lethe_reply_head *h, const lethe_usage *u) {
    json_t *f = frame(h, json_array());
    if (f) json_object_set_new(f, "usage", usage_json(u));
    data(out, f);
}

void lethe_chunk_error(lethe_strbuf *out, const lethe_refusal *why) {
    lethe_strbuf_adds(out, "data: ");
    lethe_reply_error(out, why);
    lethe_strbuf_adds(out, "\n\n");
}

void lethe_chunk_done(lethe_strbuf *out) {
    lethe_strbuf_adds(out, "data: [DONE]\n\n");
}

/* ---- whole replies --------------------------------------------------------------------------- */

json_t *lethe_reply_choice(const lethe_reply_head *h, size_t index, const lethe_strbuf *text,
                           json_t *logprob, json_t *traced, const char *reason) {
    json_t *words = lethe_json_text(lethe_strbuf_str(text), text->len);
    json_t *lp = logprobs_json(h, logprob, 0);
    json_t *c = h->chat ? json_pack("{s:I, s:{s:s, s:o, s:n}, s:o, s:s}", "index",
                                    (json_int_t)index, "message", "role", "assistant", "content",
                                    words, "refusal", "logprobs", lp, "finish_reason", reason)
                        : json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)index, "text",
                                    words, "logprobs", lp, "finish_reason", reason);
    if (c && h->trace)
        json_object_set_new(
            c, "lethe", json_pack("{s:o}", "tokens", traced ? json_incref(traced) : json_array()));
    json_decref(traced);
    return c;
}

void lethe_reply_whole(lethe_strbuf *out, const lethe_reply_head *h, json_t *choices,
                       const lethe_usage *u) {
    json_t *f = frame(h, choices);
    if (f) json_object_set_new(f, "usage", usage_json(u));
    lethe_reply_json(out, f);
}
