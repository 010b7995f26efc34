/* SPDX-License-Identifier: MIT */
#include "stage/eval_answers.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

lethe_status lethe_answers_make(lethe_answers *a, size_t n_prompts, size_t each, lethe_err *err) {
    size_t n;
    if (!lethe_mul_size(n_prompts, each, &n)) n = SIZE_MAX;
    LETHE_TRY(lethe_zalloc(&a->tokens, n_prompts, sizeof *a->tokens, "tokens of prompts", err));
    a->n_prompts = n_prompts;
    a->each = each;
    LETHE_TRY(lethe_zalloc(&a->seq, n, sizeof *a->seq, "tokens of prompts", err));
    LETHE_TRY(lethe_zalloc(&a->buffer, n, sizeof *a->buffer, "answers", err));
    for (int s = 0; s < LETHE_SIDES; s++)
        LETHE_TRY(lethe_zalloc(&a->text[s], n, sizeof *a->text[s], "answers", err));
    a->n = n;
    return LETHE_OK;
}

void lethe_answers_free(lethe_answers *a) {
    for (size_t i = 0; i < a->n_prompts; i++) lethe_tokens_free(&a->tokens[i]);
    for (size_t i = 0; i < a->n; i++) {
        lethe_strbuf_free(&a->buffer[i]);
        for (int s = 0; s < LETHE_SIDES; s++) lethe_free(a->text[s][i]);
    }
    lethe_free(a->tokens);
    lethe_free(a->seq);
    lethe_free(a->buffer);
    for (int s = 0; s < LETHE_SIDES; s++) lethe_free(a->text[s]);
    *a = (lethe_answers){0};
}

typedef struct watch {
    const lethe_env *env;
    const char *stage;
    uint64_t tokens;
} watch;

static bool on_token(void *user, size_t seq, int32_t token, const char *piece) {
    watch *w = user;
    (void)seq;
    (void)token;
    (void)piece;
    w->tokens++;
    lethe_report_progress(
        w->env, &(lethe_progress){
                    .stage = w->stage, .done = (double)w->tokens, .unit = "tokens", .detail = ""});
    return !lethe_stop_requested();
}

/* A generation may end in the middle of a character: its bytes become U+FFFD, so that the text is
 * valid UTF-8 wherever it goes. NUL, which a C string cannot hold, becomes U+FFFD as well. */
static lethe_status clean(const lethe_strbuf *b, char **out, lethe_err *err) {
    lethe_strbuf t = {0};
    const char *s = lethe_strbuf_str(b);
    for (size_t i = 0; i < b->len;) {
        size_t good = lethe_utf8_valid_prefix(s + i, b->len - i), text = strnlen(s + i, good);
        lethe_strbuf_add(&t, s + i, text);
        i += text;
        if (i < b->len) {
            lethe_strbuf_adds(&t, "\xef\xbf\xbd");
            i++;
        }
    }
    *out = t.status == LETHE_OK ? lethe_strdup(lethe_strbuf_str(&t)) : NULL;
    lethe_strbuf_free(&t);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: answers");
}

lethe_status lethe_answers_run(const lethe_eval_job *job, lethe_answers *a, lethe_eval_side side,
                               const lethe_sampling *sampling, const char *stage, lethe_err *err) {
    watch w = {job->env, stage, 0};
    for (size_t i = 0; i < a->n; i++) {
        const lethe_tokens *t = &a->tokens[i / a->each];
        if (!t->n || t->n >= lethe_lm_ctx_len(job->lm))
            return lethe_fail(err, LETHE_USAGE,
                              "prompt %zu is %zu tokens long, the context %zu: raise --ctx-len or "
                              "shorten it",
                              i / a->each, t->n, lethe_lm_ctx_len(job->lm));
        a->seq[i] = (lethe_seq){t->id, t->n};
    }
    LETHE_TRY(lethe_eval_switch(job, side, err));
    LETHE_TRY(lethe_lm_generate(job->lm, a->seq, a->n, sampling, a->buffer, on_token, &w, err));
    LETHE_TRY(lethe_eval_stop(err));
    lethe_report_progress(job->env, &(lethe_progress){.stage = stage,
                                                      .done = (double)w.tokens,
                                                      .total = (double)w.tokens,
                                                      .unit = "tokens",
                                                      .detail = "",
                                                      .finished = true});
    for (size_t i = 0; i < a->n; i++) {
        LETHE_TRY(clean(&a->buffer[i], &a->text[side][i], err));
        lethe_strbuf_clear(&a->buffer[i]);
    }
    return LETHE_OK;
}
