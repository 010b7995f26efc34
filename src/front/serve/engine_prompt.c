/* SPDX-License-Identifier: MIT */
#include "front/serve/engine_parts.h"

#include <math.h>
#include <string.h>

/* "role: text" lines, for models that no template is known of. */
static lethe_status plain_chat(const lethe_lm *lm, const lethe_ask *a, lethe_tokens *out,
                               lethe_err *err) {
    lethe_strbuf b = {0};
    for (size_t i = 0; i < a->n_messages; i++)
        lethe_strbuf_addf(&b, "%s: %s\n", a->message[i].role, a->message[i].content);
    lethe_strbuf_adds(&b, "assistant:");
    lethe_status st =
        b.status ? lethe_fail(err, b.status, "no memory for the chat")
                 : lethe_lm_tokenize(lm, lethe_strbuf_str(&b), b.len, true, false, out, err);
    lethe_strbuf_free(&b);
    return st;
}

static size_t bytes_of(const lethe_ask *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_messages; i++) n += strlen(a->message[i].content);
    for (size_t i = 0; i < a->n_prompts; i++)
        if (strlen(a->prompt[i]) > n) n = strlen(a->prompt[i]);
    return n;
}

static lethe_status too_long(const lethe_engine *e, const lethe_ask *a, lethe_refusal *why) {
    return lethe_refuse(why, 400, "context_length_exceeded", a->n_messages ? "messages" : "prompt",
                        "the prompt does not fit: the context has %zu tokens, at least one of them "
                        "for the answer",
                        lethe_lm_ctx_len(e->lm));
}

lethe_status lethe_engine_tokens(lethe_engine *e, lethe_job *j, lethe_refusal *why) {
    const lethe_ask *a = j->ask;
    lethe_err err = {0};
    lethe_status st = LETHE_OK;
    size_t ctx = lethe_lm_ctx_len(e->lm), n = a->n_messages ? 1 : a->n_prompts;
    /* Not worth the time of tokenising: even of the longest tokens there would be too many. */
    if (bytes_of(a) / e->longest_piece >= ctx) return too_long(e, a, why);
    for (size_t i = 0; i < n && !st; i++) {
        lethe_tokens *t = &j->prompt[i];
        if (!a->n_messages)
            st = lethe_lm_tokenize(e->lm, a->prompt[i], strlen(a->prompt[i]), true, false, t, &err);
        else if (e->plain_chat)
            st = plain_chat(e->lm, a, t, &err);
        else
            st = lethe_lm_chat_tokens(e->lm, a->message, a->n_messages, true, t, &err);
        if (st) break;
        if (!t->n)
            return lethe_refuse(why, 400, "invalid_value", "prompt",
                                "prompt: empty, and the model has no token to begin with");
        if (t->n >= ctx) return too_long(e, a, why);
    }
    return st ? lethe_refuse(why, 500, "server_error", "", "%s", err.text) : LETHE_OK;
}

/* Is the strength one that the methods of the removals know? */
lethe_status lethe_engine_check_strength(const lethe_engine *e, const lethe_job *j,
                                         lethe_refusal *why) {
    const lethe_ablation *r = e->removal;
    for (int i = 0; i < e->n_removals && !isnan(j->how.strength);
         i++, r = lethe_ablation_next(r, NULL, NULL, NULL)) {
        lethe_intervention how = *lethe_ablation_how(r);
        lethe_err err = {0};
        how.strength = j->how.strength;
        if (j->how.scale) how.method = LETHE_METHOD_SCALE;
        if ((j->how.on >> i & 1) && lethe_intervention_check(&how, &err))
            return lethe_refuse(why, 400, "invalid_value", "lethe", "lethe.%s: %s",
                                j->how.scale ? "scale" : "strength", err.text);
    }
    return LETHE_OK;
}

size_t lethe_engine_longest_piece(const lethe_lm *lm) {
    lethe_strbuf b = {0};
    size_t most = 1, v = lethe_lm_get_info(lm)->n_vocab;
    for (size_t i = 0; i < v; i++) {
        lethe_strbuf_clear(&b);
        lethe_lm_piece(lm, (int32_t)i, true, &b);
        if (b.len > most) most = b.len;
    }
    lethe_strbuf_free(&b);
    return most;
}

bool lethe_engine_no_template(const lethe_lm *lm) {
    lethe_strbuf b = {0};
    lethe_chat_message m = {"user", "a"};
    lethe_err err;
    bool none = lethe_lm_chat(lm, &m, 1, true, &b, &err) != LETHE_OK;
    lethe_strbuf_free(&b);
    return none;
}
