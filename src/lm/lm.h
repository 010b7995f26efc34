/* SPDX-License-Identifier: MIT
 *
 * The backbone: a frozen language model behind a narrow door. This folder is the only one that
 * knows libllama; the rest of Lethe sees tokens, rows of the residual stream and logits.
 *
 * Taps hand out the residual stream at a site (before or after a layer), edits rewrite it in place;
 * both see prefill and every decoded token alike. Letters: n rows, d model width, V vocabulary.
 *
 * Thread rule: one lethe_lm belongs to one thread at a time; several may live side by side.
 */
#ifndef LETHE_LM_LM_H
#define LETHE_LM_LM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/run.h"
#include "base/strbuf.h"

typedef enum lethe_hook { LETHE_HOOK_PRE, LETHE_HOOK_POST } lethe_hook;

typedef struct lethe_lm lethe_lm;

const char *lethe_lm_library_version(void); /* of libllama */

typedef struct lethe_lm_opts {
    int gpu_layers; /* layers on a device; 0: none, -1: all */
    size_t
        ctx_len; /* tokens of the longest sequence; 0: the model's training context, at most 4096 */
    size_t n_seq;    /* sequences run at once */
    bool exact;      /* float32 KV cache, no flash attention: for checks against references */
    bool vocab_only; /* tokenizer and metadata, no weights */
    bool hash;       /* compute info.hash (reads the whole file once) */
} lethe_lm_opts;

lethe_lm_opts lethe_lm_defaults(void); /* 0, 0, 1, false, false, true */

typedef struct lethe_lm_info {
    char name[128], arch[64];
    char hash[33]; /* fingerprint of the file's content; "" unless opts.hash */
    int n_layer;
    size_t d_model, n_vocab, ctx_train;
    uint64_t n_params, file_size;
    bool add_bos;     /* the model wants BOS before a text */
    int32_t bos, eos; /* -1: none */
    bool has_chat_template;
} lethe_lm_info;

/* env (may be NULL) is copied. Fails: NOTFOUND; FORMAT (not GGUF, truncated, unsupported
 * architecture: libllama's own words included); USAGE (ctx_len beyond the model's); NOMEM. */
lethe_status lethe_lm_open(lethe_lm **out, const char *path, const lethe_lm_opts *opts,
                           const lethe_env *env, lethe_err *err);
void lethe_lm_close(lethe_lm **lm);
const lethe_lm_info *lethe_lm_get_info(const lethe_lm *lm);
size_t lethe_lm_ctx_len(const lethe_lm *lm); /* tokens a sequence may have */
size_t lethe_lm_n_seq(const lethe_lm *lm);

/* USAGE error that names the model's range, unless 0 <= layer < n_layer. */
lethe_status lethe_lm_check_layer(const lethe_lm *lm, int layer, lethe_err *err);

/* ---- text ----------------------------------------------------------------------------------- */

typedef struct lethe_tokens { /* growable */
    int32_t *id;
    size_t n, cap;
} lethe_tokens;

void lethe_tokens_free(lethe_tokens *t);
lethe_status lethe_tokens_push(lethe_tokens *t, int32_t id, lethe_err *err);

/* Appends the tokens of text[len]. add_special: BOS/EOS by the model's own rules. parse_special:
 * "<|im_end|>" in the text becomes that token (only for templates, never for outside text). */
lethe_status lethe_lm_tokenize(const lethe_lm *lm, const char *text, size_t len, bool add_special,
                               bool parse_special, lethe_tokens *out, lethe_err *err);

/* Appends the text of a token. special: also show control tokens. */
void lethe_lm_piece(const lethe_lm *lm, int32_t token, bool special, lethe_strbuf *out);
bool lethe_lm_is_special(const lethe_lm *lm, int32_t token); /* control token, BOS, EOS */
bool lethe_lm_is_eog(const lethe_lm *lm, int32_t token);     /* ends a generation */

typedef struct lethe_chat_message {
    const char *role, *content; /* borrowed */
} lethe_chat_message;

/* Renders messages by the model's chat template; add_assistant opens the assistant's turn. The
 * result is to be tokenised with parse_special, and add_special as the text lacks BOS. Fails:
 * FORMAT when the model has no template or one that libllama does not know. */
lethe_status lethe_lm_chat(const lethe_lm *lm, const lethe_chat_message *messages, size_t n,
                           bool add_assistant, lethe_strbuf *out, lethe_err *err);

/* messages -> tokens, BOS exactly once whatever template and model say. */
lethe_status lethe_lm_chat_tokens(const lethe_lm *lm, const lethe_chat_message *messages, size_t n,
                                  bool add_assistant, lethe_tokens *out, lethe_err *err);

/* ---- taps and edits ------------------------------------------------------------------------- */

/* Rows of the residual stream as one piece of a batch: row i is token[i] at position pos[i] of the
 * sequence seq[i] (index into the seqs of the call). x [n, d] float32. In the last layer (post) and
 * without taps there, only the rows whose logits were asked for exist. Valid during the call. */
typedef struct lethe_rows {
    size_t n, d;
    const int32_t *token, *pos, *seq;
    float *x; /* a tap must not write; an edit may */
} lethe_rows;

typedef lethe_status (*lethe_rows_fn)(void *user, const lethe_rows *rows, lethe_err *err);

/* Hooks stay until cleared. At most 64. Before layer L + 1 and after layer L are one site; hooks of
 * one site run in the order they were added, so a tap sees what earlier edits left. An edit that
 * leaves a number that is not finite fails the run with NONFINITE. Fails: USAGE (layer out of
 * range, too many). A run fails with FAIL when the architecture's graph lacks the site. */
lethe_status lethe_lm_add_tap(lethe_lm *lm, int layer, lethe_hook hook, lethe_rows_fn fn,
                              void *user, lethe_err *err);
lethe_status lethe_lm_add_edit(lethe_lm *lm, int layer, lethe_hook hook, lethe_rows_fn fn,
                               void *user, lethe_err *err);
void lethe_lm_clear_hooks(lethe_lm *lm);

/* ---- running -------------------------------------------------------------------------------- */

typedef struct lethe_seq {
    const int32_t *token; /* [n] */
    size_t n;
} lethe_seq;

/* Runs fresh sequences for their taps alone and stops the graph after the last wanted layer;
 * nothing is kept. Any number of seqs; short ones share a decode call. Every row comes exactly
 * once. Fails: USAGE (a sequence longer than ctx_len, a token out of range), what a tap failed
 * with. */
lethe_status lethe_lm_capture(lethe_lm *lm, const lethe_seq *seqs, size_t n_seqs, lethe_err *err);

/* Runs fresh sequences whole and hands out next-token logits [V] at positions first[s] .. n - 1 of
 * every sequence (first NULL: all), each (seq, pos) once, in order within a sequence. */
typedef lethe_status (*lethe_logits_fn)(void *user, size_t seq, size_t pos, const float *logits,
                                        lethe_err *err);
lethe_status lethe_lm_forward(lethe_lm *lm, const lethe_seq *seqs, size_t n_seqs,
                              const size_t *first, lethe_logits_fn fn, void *user, lethe_err *err);

/* The logit lens: what each of n vectors x [n, d] in the place of the last layer's output says of
 * the next token, through the model's own final norm and output head. logits [V] is the odd part,
 * (logits(x) - logits(-x)) / 2, which leaves out what norm and head add whatever x is; it is the
 * whole where they have no bias. Clears the model's hooks. fn is called once a vector, in order.
 * Source: nostalgebraist, "interpreting GPT: the logit lens" (2020). Fails: USAGE, what running the
 * model or fn fails with. */
typedef lethe_status (*lethe_lens_fn)(void *user, size_t i, const float *logits, lethe_err *err);
lethe_status lethe_lm_lens(lethe_lm *lm, const float *x, size_t n, lethe_lens_fn fn, void *user,
                           lethe_err *err);

/* log softmax(logits)[token], in double. */
double lethe_logprob(const float *logits, size_t n_vocab, int32_t token);

/* out[s] = sequences' per-token log-probabilities of the last n - prompt_len[s] tokens:
 * sum and count, and whether each of them was the argmax (ties: lower id). The very last token is
 * not run, as nothing is predicted from it, so hooks do not see it. Fails: USAGE unless
 * 0 < prompt_len[s] < n. */
typedef struct lethe_target_score {
    double sum_logprob;
    size_t n;
    bool all_top1;
} lethe_target_score;
lethe_status lethe_lm_score(lethe_lm *lm, const lethe_seq *seqs, const size_t *prompt_len,
                            size_t n_seqs, lethe_target_score *out, lethe_err *err);

typedef struct lethe_sampling {
    double temperature;       /* 0: greedy */
    double top_p;             /* 1: off */
    int top_k;                /* 0: off */
    double repeat_penalty;    /* 1: off; over the whole sequence, prompt included */
    double frequency_penalty; /* 0: off */
    double presence_penalty;  /* 0: off */
    int no_repeat_ngram;      /* 0: off; no n-gram of this length twice in prompt + answer */
    uint64_t seed;            /* with the sequence's index gives its random stream */
    size_t max_tokens;
} lethe_sampling;
lethe_sampling lethe_sampling_defaults(void); /* greedy, no penalties, 64 tokens */

/* USAGE, naming the number, unless each is in its range. Whatever takes a sampling asks this. */
lethe_status lethe_lm_check_sampling(const lethe_sampling *s, lethe_err *err);

/* Called with each new token of each sequence; piece is its text. Return false to end that
 * sequence. */
typedef bool (*lethe_token_fn)(void *user, size_t seq, int32_t token, const char *piece);

/* Continues each prompt until an end-of-generation token, max_tokens or ctx_len; n_seq at a time in
 * one batch. out[s] gets the text without the prompt (may be NULL); a prompt that fills ctx_len
 * gets none. The end-of-generation token is neither text nor reported to fn. The text does not
 * depend on which sequences share a batch, up to rounding in libllama. */
lethe_status lethe_lm_generate(lethe_lm *lm, const lethe_seq *prompts, size_t n_prompts,
                               const lethe_sampling *s, lethe_strbuf *out, lethe_token_fn fn,
                               void *user, lethe_err *err);

#endif
