/* SPDX-License-Identifier: MIT
 *
 * Each reader below takes one key: not there or null leaves the default, a wrong type or a number
 * out of range refuses the whole request and names the key.
 */
#include "front/serve/request.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

lethe_status lethe_refuse(lethe_refusal *out, int status, const char *code, const char *param,
                          const char *fmt, ...) {
    out->status = status;
    out->code = code;
    out->type = status == 401   ? "authentication_error"
                : status == 403 ? "permission_error"
                : status == 429 ? "rate_limit_error"
                : status >= 500 ? "server_error"
                                : "invalid_request_error";
    snprintf(out->param, sizeof out->param, "%s", param);
    va_list args;
    va_start(args, fmt);
    vsnprintf(out->message, sizeof out->message, fmt, args);
    va_end(args);
    return LETHE_USAGE;
}

static lethe_status no_memory(lethe_refusal *why) {
    lethe_refuse(why, 500, "out_of_memory", "", "no memory for the request");
    return LETHE_NOMEM;
}

/* ---- one key --------------------------------------------------------------------------------- */

/* What stands there, shortly. */
static void describe(const json_t *v, char out[64]) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: snprintf(out, 64, "an object"); break;
    case JSON_ARRAY: snprintf(out, 64, "a list of %zu", json_array_size(v)); break;
    case JSON_STRING: snprintf(out, 64, "a string of %zu bytes", json_string_length(v)); break;
    case JSON_INTEGER: snprintf(out, 64, "%lld", (long long)json_integer_value(v)); break;
    case JSON_REAL: snprintf(out, 64, "%.9g", json_real_value(v)); break;
    case JSON_TRUE: snprintf(out, 64, "true"); break;
    case JSON_FALSE: snprintf(out, 64, "false"); break;
    case JSON_NULL: snprintf(out, 64, "null"); break;
    }
}

static lethe_status wrong(lethe_refusal *why, const char *key, const json_t *v, const char *code,
                          const char *want) {
    char got[64];
    describe(v, got);
    return lethe_refuse(why, 400, code, key, "%s: got %s, want %s", key, got, want);
}

static json_t *at(const json_t *object, const char *key) {
    json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

static lethe_status flag(const json_t *o, const char *key, bool *out, lethe_refusal *why) {
    const json_t *v = at(o, key);
    if (!v) return LETHE_OK;
    if (!json_is_boolean(v)) return wrong(why, key, v, "invalid_type", "true or false");
    *out = json_is_true(v);
    return LETHE_OK;
}

static lethe_status real(const json_t *o, const char *key, double lo, double hi, double *out,
                         lethe_refusal *why) {
    const json_t *v = at(o, key);
    if (!v) return LETHE_OK;
    char want[80];
    snprintf(want, sizeof want, "a number from %g to %g", lo, hi);
    if (!json_is_number(v)) return wrong(why, key, v, "invalid_type", want);
    double x = json_number_value(v);
    if (!(x >= lo && x <= hi)) return wrong(why, key, v, "invalid_value", want);
    *out = x;
    return LETHE_OK;
}

static lethe_status whole(const json_t *o, const char *key, json_int_t lo, json_int_t hi,
                          json_int_t *out, lethe_refusal *why) {
    const json_t *v = at(o, key);
    if (!v) return LETHE_OK;
    char want[80];
    snprintf(want, sizeof want, "a whole number from %lld to %lld", (long long)lo, (long long)hi);
    if (!json_is_integer(v)) return wrong(why, key, v, "invalid_type", want);
    json_int_t x = json_integer_value(v);
    if (x < lo || x > hi) return wrong(why, key, v, "invalid_value", want);
    *out = x;
    return LETHE_OK;
}

static lethe_status text(const json_t *o, const char *key, const char **out, lethe_refusal *why) {
    const json_t *v = at(o, key);
    if (!v) return LETHE_OK;
    if (!json_is_string(v)) return wrong(why, key, v, "invalid_type", "a string");
    *out = json_string_value(v);
    return LETHE_OK;
}

/* A string, or a list of 1 to `most` of them. */
static lethe_status texts(const json_t *o, const char *key, size_t most, const char **out,
                          size_t *n, lethe_refusal *why) {
    const json_t *v = at(o, key);
    if (!v) return LETHE_OK;
    char want[80];
    snprintf(want, sizeof want, "a string or a list of 1 to %zu strings", most);
    if (json_is_string(v)) {
        out[(*n)++] = json_string_value(v);
        return LETHE_OK;
    }
    if (!json_is_array(v)) return wrong(why, key, v, "invalid_type", want);
    size_t have = json_array_size(v);
    if (!have || have > most) return wrong(why, key, v, "invalid_value", want);
    for (size_t i = 0; i < have; i++) {
        const json_t *s = json_array_get(v, i);
        if (!json_is_string(s)) return wrong(why, key, s, "invalid_type", want);
        out[(*n)++] = json_string_value(s);
    }
    return LETHE_OK;
}

/* ---- what is not offered --------------------------------------------------------------------- */

static bool is_off(const char *key, const json_t *v, size_t n) {
    if (!strcmp(key, "best_of"))
        return json_is_integer(v) &&
               (json_integer_value(v) == 1 || json_integer_value(v) == (json_int_t)n);
    if (!strcmp(key, "response_format")) {
        const char *type = json_string_value(json_object_get(v, "type"));
        return type && !strcmp(type, "text");
    }
    if (json_is_boolean(v)) return json_is_false(v);
    if (json_is_string(v)) return json_string_length(v) == 0;
    return (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

/* A request that wants one of these would get an answer that is not what it asked for. */
static lethe_status check_absent(const lethe_ask *a, lethe_refusal *why) {
    static const char *const key[] = {"echo",  "suffix",    "best_of",         "tools",
                                      "audio", "functions", "response_format", "logit_bias"};
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        const json_t *v = at(a->root, key[i]);
        if (v && !is_off(key[i], v, a->n))
            return lethe_refuse(why, 400, "unsupported_parameter", key[i],
                                "%s is not offered by this server: leave it out", key[i]);
    }
    return LETHE_OK;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Content as a list of parts: joined, and put into the list's place, so that the document holds all
 * strings. */
static lethe_status join_parts(json_t *message, size_t i, lethe_refusal *why) {
    json_t *list = json_object_get(message, "content");
    lethe_strbuf b = {0};
    for (size_t j = 0; j < json_array_size(list); j++) {
        const json_t *part = json_array_get(list, j), *s = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") != 0 || !json_is_string(s)) {
            lethe_strbuf_free(&b);
            return lethe_refuse(why, 400, "invalid_value", "messages",
                                "messages[%zu].content[%zu]: want {\"type\": \"text\", \"text\": "
                                "...}; other parts are not offered",
                                i, j);
        }
        lethe_strbuf_add(&b, json_string_value(s), json_string_length(s));
    }
    int bad = b.status ||
              json_object_set_new(message, "content", json_stringn(lethe_strbuf_str(&b), b.len));
    lethe_strbuf_free(&b);
    return bad ? no_memory(why) : LETHE_OK;
}

static const char *role_of(const char *name) {
    static const char *const role[] = {"system", "user", "assistant"};
    if (!name) return NULL;
    if (!strcmp(name, "developer")) return "system"; /* what newer models call it */
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(name, role[i])) return role[i];
    return NULL;
}

static lethe_status one_message(json_t *m, size_t i, lethe_chat_message *out, lethe_refusal *why) {
    if (!json_is_object(m))
        return lethe_refuse(why, 400, "invalid_type", "messages",
                            "messages[%zu]: want {\"role\": ..., \"content\": ...}", i);
    out->role = role_of(json_string_value(json_object_get(m, "role")));
    if (!out->role)
        return lethe_refuse(why, 400, "invalid_value", "messages",
                            "messages[%zu].role: want system, developer, user or assistant", i);
    if (json_is_array(json_object_get(m, "content"))) LETHE_TRY(join_parts(m, i, why));
    out->content = json_string_value(json_object_get(m, "content"));
    if (!out->content)
        return lethe_refuse(why, 400, "invalid_type", "messages",
                            "messages[%zu].content: want a string or a list of text parts", i);
    return LETHE_OK;
}

static lethe_status messages(lethe_ask *a, lethe_refusal *why) {
    json_t *v = at(a->root, "messages");
    if (!v)
        return lethe_refuse(why, 400, "missing_required_parameter", "messages",
                            "messages: missing, want a list of messages");
    size_t n = json_array_size(v);
    if (!json_is_array(v)) return wrong(why, "messages", v, "invalid_type", "a list of messages");
    if (!n || n > LETHE_ASK_MOST_MESSAGES)
        return wrong(why, "messages", v, "invalid_value", "1 to 1024 messages");
    if (lethe_zalloc(&a->message, n, sizeof *a->message, "messages", NULL)) return no_memory(why);
    for (; a->n_messages < n; a->n_messages++)
        LETHE_TRY(one_message(json_array_get(v, a->n_messages), a->n_messages,
                              &a->message[a->n_messages], why));
    return LETHE_OK;
}

static lethe_status prompts(lethe_ask *a, size_t most, lethe_refusal *why) {
    LETHE_TRY(texts(a->root, "prompt", most, a->prompt, &a->n_prompts, why));
    if (!a->n_prompts)
        return lethe_refuse(why, 400, "missing_required_parameter", "prompt",
                            "prompt: missing, want a string");
    return LETHE_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Keys under "lethe" (of trace: at the top). Here a key that is not known is a mistake. */
static lethe_status ours(lethe_ask *a, const json_t *o, bool top, lethe_refusal *why) {
    static const char *const known[] = {"forget", "scale", "strength", "trace"};
    const char *key;
    json_t *v;
    if (!top) {
        json_object_foreach((json_t *)(uintptr_t)o, key, v) {
            bool is_known = false;
            for (size_t i = 0; i < 4; i++) is_known |= !strcmp(key, known[i]);
            if (!is_known)
                return lethe_refuse(why, 400, "unknown_parameter", "lethe",
                                    "lethe: unknown key \"%.40s\" (want forget, scale, strength, "
                                    "trace)",
                                    key);
        }
        LETHE_TRY(flag(o, "trace", &a->trace, why));
    }
    bool forget = false;
    LETHE_TRY(flag(o, "forget", &forget, why));
    if (at(o, "forget")) a->forget = forget;
    if (at(o, "scale") && at(o, "strength"))
        return lethe_refuse(why, 400, "invalid_value", "scale",
                            "scale and strength are two ways to say how strongly: pass one");
    LETHE_TRY(real(o, "scale", -1e6, 1e6, &a->strength, why));
    a->scale = !isnan(a->strength);
    return real(o, "strength", -1e6, 1e6, &a->strength, why);
}

static lethe_status sampling(lethe_ask *a, lethe_refusal *why) {
    const json_t *o = a->root;
    lethe_sampling *s = &a->sampling;
    json_int_t n = 1, k = 0, seed = 0, most = a->kind == LETHE_ASK_TEXT ? 16 : 0;
    LETHE_TRY(real(o, "temperature", 0, 2, &s->temperature, why));
    LETHE_TRY(real(o, "top_p", 0, 1, &s->top_p, why));
    LETHE_TRY(whole(o, "top_k", 0, INT32_MAX, &k, why));
    LETHE_TRY(real(o, "frequency_penalty", -2, 2, &s->frequency_penalty, why));
    LETHE_TRY(real(o, "presence_penalty", -2, 2, &s->presence_penalty, why));
    LETHE_TRY(real(o, "repeat_penalty", 1, 2, &s->repeat_penalty, why));
    LETHE_TRY(whole(o, "seed", INT64_MIN, INT64_MAX, &seed, why));
    LETHE_TRY(whole(o, "n", 1, LETHE_ASK_MOST_ANSWERS, &n, why));
    LETHE_TRY(whole(o, "max_tokens", 1, INT32_MAX, &most, why));
    LETHE_TRY(whole(o, "max_completion_tokens", 1, INT32_MAX, &most, why));
    if (s->top_p == 0) { /* the likeliest token alone */
        s->top_p = 1;
        k = 1;
    }
    s->top_k = (int)k;
    s->seed = (uint64_t)seed;
    s->max_tokens = (size_t)most;
    a->seeded = at(o, "seed") != NULL;
    a->n = (size_t)n;
    return LETHE_OK;
}

static lethe_status logprobs(lethe_ask *a, lethe_refusal *why) {
    json_int_t top = 0;
    if (a->kind == LETHE_ASK_CHAT) {
        LETHE_TRY(flag(a->root, "logprobs", &a->logprobs, why));
        LETHE_TRY(whole(a->root, "top_logprobs", 0, LETHE_ASK_MOST_TOP, &top, why));
        if (top && !a->logprobs)
            return lethe_refuse(why, 400, "invalid_value", "top_logprobs",
                                "top_logprobs: wants \"logprobs\": true");
    } else {
        LETHE_TRY(whole(a->root, "logprobs", 0, 5, &top, why));
        a->logprobs = at(a->root, "logprobs") != NULL;
    }
    a->top = (size_t)top;
    return LETHE_OK;
}

static lethe_status generation(lethe_ask *a, lethe_refusal *why) {
    if (!a->model)
        return lethe_refuse(why, 400, "missing_required_parameter", "model",
                            "model: missing, want a name (see GET /v1/models)");
    LETHE_TRY(sampling(a, why));
    LETHE_TRY(logprobs(a, why));
    LETHE_TRY(flag(a->root, "stream", &a->stream, why));
    const json_t *so = at(a->root, "stream_options"), *l = at(a->root, "lethe");
    if (so && !json_is_object(so))
        return wrong(why, "stream_options", so, "invalid_type", "an object");
    if (so) LETHE_TRY(flag(so, "include_usage", &a->usage, why));
    LETHE_TRY(texts(a->root, "stop", LETHE_ASK_MOST_STOPS, a->stop, &a->n_stops, why));
    for (size_t i = 0; i < a->n_stops; i++)
        if (!*a->stop[i])
            return lethe_refuse(why, 400, "invalid_value", "stop", "stop: an empty string");
    if (l && !json_is_object(l)) return wrong(why, "lethe", l, "invalid_type", "an object");
    if (l) LETHE_TRY(ours(a, l, false, why));
    return check_absent(a, why);
}

static lethe_status trace(lethe_ask *a, lethe_refusal *why) {
    bool prompt = at(a->root, "prompt") != NULL, chat = at(a->root, "messages") != NULL;
    if (prompt == chat)
        return lethe_refuse(why, 400, "missing_required_parameter", "prompt",
                            "want either prompt or messages");
    LETHE_TRY(prompt ? prompts(a, 1, why) : messages(a, why));
    a->trace = true;
    return ours(a, a->root, true, why);
}

static lethe_status read_all(lethe_ask *a, lethe_refusal *why) {
    if (!json_is_object(a->root))
        return lethe_refuse(why, 400, "invalid_type", "", "the body is not a JSON object");
    LETHE_TRY(text(a->root, "model", &a->model, why));
    if (a->kind == LETHE_ASK_TRACE) return trace(a, why);
    LETHE_TRY(a->kind == LETHE_ASK_CHAT ? messages(a, why)
                                        : prompts(a, LETHE_ASK_MOST_PROMPTS, why));
    return generation(a, why);
}

lethe_status lethe_ask_parse(lethe_ask *out, lethe_ask_kind kind, const char *body, size_t n,
                             lethe_refusal *why) {
    *why = (lethe_refusal){0};
    json_error_t e;
    lethe_ask a = {.kind = kind,
                   .n = 1,
                   .forget = -1,
                   .strength = (double)NAN,
                   .sampling = lethe_sampling_defaults()};
    a.sampling.temperature = 1;
    a.sampling.max_tokens = 0;
    a.root = json_loadb(body, n, JSON_REJECT_DUPLICATES, &e);
    if (!a.root)
        return lethe_refuse(why, 400, "invalid_json", "",
                            "the body is not JSON: line %d, column %d: %s", e.line, e.column,
                            e.text);
    lethe_status st = read_all(&a, why);
    if (st)
        lethe_ask_free(&a);
    else
        *out = a;
    return st;
}

void lethe_ask_free(lethe_ask *a) {
    json_decref(a->root);
    lethe_free(a->message);
    *a = (lethe_ask){0};
}
