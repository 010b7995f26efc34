/* SPDX-License-Identifier: MIT
 *
 * Text to tokens and back, and the model's chat template.
 */
#include <string.h>

#include "lm_internal.h"

void lethe_tokens_free(lethe_tokens *t) {
    lethe_free(t->id);
    memset(t, 0, sizeof *t);
}

static lethe_status reserve(lethe_tokens *t, size_t more, lethe_err *err) {
    return lethe_grow(&t->id, &t->cap, t->n, t->n + more, sizeof *t->id, "tokens", err);
}

lethe_status lethe_tokens_push(lethe_tokens *t, int32_t id, lethe_err *err) {
    LETHE_TRY(reserve(t, 1, err));
    t->id[t->n++] = id;
    return LETHE_OK;
}

lethe_status lethe_lm_tokenize(const lethe_lm *lm, const char *text, size_t len, bool add_special,
                               bool parse_special, lethe_tokens *out, lethe_err *err) {
    if (len > INT32_MAX / 2)
        return lethe_fail(err, LETHE_USAGE, "a text of %zu bytes is too long to tokenise at once",
                          len);
    if (lm->no_byte_tokens && len)
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: the vocabulary lacks byte tokens (<0x00> to <0xFF>), so text cannot "
                          "be tokenised safely",
                          lm->path);
    /* Hardly ever more tokens than bytes; where there are, the second try knows how many. */
    int32_t room = (int32_t)len + 16, n = -room;
    for (int try = 0; try < 2 && n < 0; try++) {
        room = -n;
        LETHE_TRY(reserve(out, (size_t)room, err));
        n = llama_tokenize(lm->vocab, text, (int32_t)len, out->id + out->n, room, add_special,
                           parse_special);
        if (n == INT32_MIN) break;
    }
    if (n < 0)
        return lethe_fail(err, LETHE_FAIL, "libllama cannot tokenise a text of %zu bytes", len);
    out->n += (size_t)n;
    return LETHE_OK;
}

static bool in_range(const lethe_lm *lm, int32_t token) {
    return token >= 0 && (size_t)token < lm->info.n_vocab;
}

void lethe_lm_piece(const lethe_lm *lm, int32_t token, bool special, lethe_strbuf *out) {
    if (!in_range(lm, token)) return;
    char small[128];
    int32_t n = llama_token_to_piece(lm->vocab, token, small, sizeof small, 0, special);
    if (n >= 0) {
        lethe_strbuf_add(out, small, (size_t)n);
        return;
    }
    char *big;
    if (lethe_alloc(&big, (size_t)-n, 1, "a token's text", NULL) != LETHE_OK) {
        out->status = LETHE_NOMEM;
        return;
    }
    n = llama_token_to_piece(lm->vocab, token, big, -n, 0, special);
    if (n > 0) lethe_strbuf_add(out, big, (size_t)n);
    lethe_free(big);
}

bool lethe_lm_is_special(const lethe_lm *lm, int32_t token) {
    return lethe_lm_vocab_is_special(lm->vocab, token);
}

bool lethe_lm_is_eog(const lethe_lm *lm, int32_t token) {
    return in_range(lm, token) && llama_vocab_is_eog(lm->vocab, token);
}

/* ---- chat ----------------------------------------------------------------------------------- */

/* text without the blanks around it, as the template's strip() leaves it. */
static void add_stripped(lethe_strbuf *out, const char *text) {
    static const char blank[] = " \t\n\r\f\v";
    text += strspn(text, blank);
    size_t n = strlen(text);
    while (n && strchr(blank, text[n - 1])) n--;
    lethe_strbuf_add(out, text, n);
}

/* Llama-2's own template. libllama knows it, but in a conversation leaves out the blanks around an
 * answer and the <s> before the next question, which the model has always seen there. */
static bool is_llama2(const char *template) {
    return strstr(template, "[INST]") && strstr(template, "<<SYS>>") &&
           strstr(template, "bos_token") && strstr(template, "content.strip()");
}

/* Source of the format: Touvron et al., Llama 2 (2023), as in the template that the model's makers
 * publish; instructions go into the first question. The first <s> is left to who tokenises. */
static lethe_status llama2_chat(const lethe_chat_message *messages, size_t n, lethe_strbuf *out,
                                lethe_err *err) {
    bool inside = false, begun = false; /* in a question; anything written */
    for (size_t i = 0; i < n; i++) {
        const char *role = messages[i].role, *content = messages[i].content;
        bool answer = !strcmp(role, "assistant"), system = !strcmp(role, "system");
        if (!answer && !inside) {
            lethe_strbuf_adds(out, begun ? "<s>[INST] " : "[INST] ");
            inside = begun = true;
        }
        if (system) {
            lethe_strbuf_addf(out, "<<SYS>>\n%s\n<</SYS>>\n\n", content);
            continue;
        }
        if (answer) lethe_strbuf_adds(out, " ");
        add_stripped(out, content);
        lethe_strbuf_adds(out, answer ? " </s>" : " [/INST]");
        inside = false;
        begun = true;
    }
    return out->status ? lethe_fail(err, out->status, "no memory for the chat") : LETHE_OK;
}

lethe_status lethe_lm_chat(const lethe_lm *lm, const lethe_chat_message *messages, size_t n,
                           bool add_assistant, lethe_strbuf *out, lethe_err *err) {
    const char *template = llama_model_chat_template(lm->model, NULL);
    if (!template)
        return lethe_fail(err, LETHE_FORMAT, "%s: the model has no chat template", lm->path);
    if (is_llama2(template)) return llama2_chat(messages, n, out, err);
    struct llama_chat_message *m = NULL;
    LETHE_TRY(lethe_alloc(&m, n, sizeof *m, "chat messages", err));
    size_t room = 256;
    for (size_t i = 0; i < n; i++) {
        m[i] = (struct llama_chat_message){messages[i].role, messages[i].content};
        room += strlen(messages[i].role) + 2 * strlen(messages[i].content);
    }
    char *text = NULL;
    lethe_status st = LETHE_OK;
    int32_t got = 0;
    if (room > INT32_MAX / 2) st = lethe_fail(err, LETHE_USAGE, "the chat is too long");
    for (int try = 0; st == LETHE_OK && try < 2; try++) {
        lethe_free(text);
        text = NULL;
        st = lethe_alloc(&text, room, 1, "a rendered chat", err);
        if (st != LETHE_OK) break;
        got = llama_chat_apply_template(template, m, n, add_assistant, text, (int32_t)room);
        if (got >= 0 && (size_t)got <= room) break;
        if (got < 0)
            st = lethe_fail(err, LETHE_FORMAT,
                            "%s: libllama does not know the model's chat template", lm->path);
        else
            room = (size_t)got;
    }
    if (st == LETHE_OK) {
        lethe_strbuf_add(out, text, (size_t)got);
        if (out->status != LETHE_OK) st = lethe_fail(err, out->status, "no memory for the chat");
    }
    lethe_free(text);
    lethe_free(m);
    return st;
}

/* Does the text spell a control token, so that parsing the rendered chat would obey it? */
static lethe_status spells_special(const lethe_lm *lm, const char *text, bool *out,
                                   lethe_err *err) {
    lethe_tokens plain = {0}, parsed = {0};
    size_t len = strlen(text);
    lethe_status st = lethe_lm_tokenize(lm, text, len, false, false, &plain, err);
    if (st == LETHE_OK) st = lethe_lm_tokenize(lm, text, len, false, true, &parsed, err);
    size_t a = 0, b = 0;
    for (size_t i = 0; i < plain.n; i++) a += lethe_lm_is_special(lm, plain.id[i]);
    for (size_t i = 0; i < parsed.n; i++) b += lethe_lm_is_special(lm, parsed.id[i]);
    *out = b > a;
    lethe_tokens_free(&plain);
    lethe_tokens_free(&parsed);
    return st;
}

/* The chat rendered with marks in place of the contents; marks become the contents' tokens, which
 * are not parsed. Tokens at the seams may differ from those of the text in one piece, so this way
 * is only for contents that spell control tokens. */
static lethe_status tokens_by_parts(const lethe_lm *lm, const lethe_chat_message *messages,
                                    size_t n, bool add_assistant, lethe_tokens *out,
                                    lethe_err *err) {
    enum { MARK = 24 };
    lethe_chat_message *marked = NULL;
    char *marks = NULL;
    lethe_strbuf text = {0};
    lethe_status st = lethe_alloc(&marked, n, sizeof *marked, "chat messages", err);
    if (st == LETHE_OK) st = lethe_alloc(&marks, n, MARK, "chat messages", err);
    for (size_t i = 0; st == LETHE_OK && i < n; i++) {
        lethe_strbuf mark = {0};
        lethe_strbuf_addf(&mark, "\x02%zu\x03", i);
        st = mark.status;
        memcpy(marks + i * MARK, lethe_strbuf_str(&mark), mark.len + 1);
        lethe_strbuf_free(&mark);
        marked[i] = (lethe_chat_message){messages[i].role, marks + i * MARK};
    }
    if (st == LETHE_OK) st = lethe_lm_chat(lm, marked, n, add_assistant, &text, err);
    const char *at = lethe_strbuf_str(&text);
    for (size_t i = 0; st == LETHE_OK && i < n; i++) {
        const char *mark = strstr(at, marks + i * MARK), *content = messages[i].content;
        if (!mark) continue; /* a template may leave a message out */
        st = lethe_lm_tokenize(lm, at, (size_t)(mark - at), false, true, out, err);
        if (st == LETHE_OK)
            st = lethe_lm_tokenize(lm, content, strlen(content), false, false, out, err);
        at = mark + strlen(marks + i * MARK);
    }
    if (st == LETHE_OK) st = lethe_lm_tokenize(lm, at, strlen(at), false, true, out, err);
    lethe_strbuf_free(&text);
    lethe_free(marks);
    lethe_free(marked);
    return st;
}

static lethe_status tokens_in_one(const lethe_lm *lm, const lethe_chat_message *messages, size_t n,
                                  bool add_assistant, lethe_tokens *out, lethe_err *err) {
    lethe_strbuf text = {0};
    lethe_status st = lethe_lm_chat(lm, messages, n, add_assistant, &text, err);
    if (st == LETHE_OK)
        st = lethe_lm_tokenize(lm, lethe_strbuf_str(&text), text.len, false, true, out, err);
    lethe_strbuf_free(&text);
    return st;
}

lethe_status lethe_lm_chat_tokens(const lethe_lm *lm, const lethe_chat_message *messages, size_t n,
                                  bool add_assistant, lethe_tokens *out, lethe_err *err) {
    bool parts = false;
    for (size_t i = 0; i < n && !parts; i++)
        LETHE_TRY(spells_special(lm, messages[i].content, &parts, err));
    lethe_tokens body = {0};
    lethe_status st = parts ? tokens_by_parts(lm, messages, n, add_assistant, &body, err)
                            : tokens_in_one(lm, messages, n, add_assistant, &body, err);
    /* BOS exactly once: the template's own one or the model's; a model that wants none and whose
     * template writes none has a BOS only in name. */
    int32_t bos = lm->info.bos;
    size_t skip = 0;
    while (bos >= 0 && skip < body.n && body.id[skip] == bos) skip++;
    if (st == LETHE_OK && bos >= 0 && (skip || lm->info.add_bos))
        st = lethe_tokens_push(out, bos, err);
    for (size_t i = skip; st == LETHE_OK && i < body.n; i++)
        st = lethe_tokens_push(out, body.id[i], err);
    lethe_tokens_free(&body);
    return st;
}
