/* SPDX-License-Identifier: MIT
 *
 * Choosing the next token. libllama's samplers do what they can: penalties over prompt and answer,
 * top-k, top-p, temperature, the draw. The ban on repeated n-grams is ours and comes after the
 * penalties: with h the tokens so far, a token is banned when h's last n - 1 tokens and the token
 * form an n-gram that h already has.
 */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "lm_sample.h"

lethe_sampling lethe_sampling_defaults(void) {
    return (lethe_sampling){.top_p = 1, .repeat_penalty = 1, .max_tokens = 64};
}

lethe_status lethe_lm_check_sampling(const lethe_sampling *s, lethe_err *err) {
    if (!(s->temperature >= 0) || !isfinite(s->temperature))
        return lethe_fail(err, LETHE_USAGE, "temperature %g: use 0 (greedy) or more",
                          s->temperature);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return lethe_fail(err, LETHE_USAGE, "top-p %g: use a share above 0, at most 1", s->top_p);
    if (s->top_k < 0)
        return lethe_fail(err, LETHE_USAGE, "top-k %d: use 0 (off) or more", s->top_k);
    if (!(s->repeat_penalty > 0) || !isfinite(s->repeat_penalty))
        return lethe_fail(err, LETHE_USAGE, "repeat penalty %g: use a number above 0 (1: off)",
                          s->repeat_penalty);
    if (!isfinite(s->frequency_penalty))
        return lethe_fail(err, LETHE_USAGE, "frequency penalty: use a finite number (0: off)");
    if (!isfinite(s->presence_penalty))
        return lethe_fail(err, LETHE_USAGE, "presence penalty: use a finite number (0: off)");
    if (s->no_repeat_ngram < 0)
        return lethe_fail(err, LETHE_USAGE, "no-repeat n-gram %d: use 0 (off) or more",
                          s->no_repeat_ngram);
    return LETHE_OK;
}

/* A chain of samplers out of libllama; NULL elements (no memory) are left to the caller. */
static bool chain_add(struct llama_sampler *chain, struct llama_sampler *s) {
    if (chain && s) llama_sampler_chain_add(chain, s);
    return chain && s;
}

lethe_status lethe_lm_sampler_open(lm_sampler *out, const lethe_lm *lm, const lethe_sampling *s,
                                   size_t seq, lethe_err *err) {
    struct llama_sampler_chain_params p = llama_sampler_chain_default_params();
    memset(out, 0, sizeof *out);
    out->ngram = s->no_repeat_ngram;
    out->n_vocab = lm->info.n_vocab;
    LETHE_TRY(
        lethe_alloc(&out->candidates, out->n_vocab, sizeof *out->candidates, "candidates", err));
    out->penalties =
        llama_sampler_init_penalties((int32_t)out->n_vocab, (int32_t)lm->ctx_len,
                                     (float)s->repeat_penalty, (float)s->frequency_penalty,
                                     (float)s->presence_penalty);
    out->chain = llama_sampler_chain_init(p);
    bool ok = out->penalties && out->chain;
    if (s->temperature > 0) {
        lethe_rng rng = lethe_rng_make(s->seed, seq);
        uint32_t seed =
            (uint32_t)(lethe_rng_u64(&rng) >> 33); /* 31 bits: never the "random" seed */
        ok = ok && chain_add(out->chain, llama_sampler_init_top_k(s->top_k));
        ok = ok && chain_add(out->chain, llama_sampler_init_top_p((float)s->top_p, 1));
        ok = ok && chain_add(out->chain, llama_sampler_init_temp((float)s->temperature));
        ok = ok && chain_add(out->chain, llama_sampler_init_dist(seed));
    } else {
        ok = ok && chain_add(out->chain, llama_sampler_init_greedy());
    }
    if (ok) return LETHE_OK;
    lethe_lm_sampler_close(out);
    return lethe_fail(err, LETHE_NOMEM, "no memory for a sampler");
}

void lethe_lm_sampler_close(lm_sampler *s) {
    if (s->penalties) llama_sampler_free(s->penalties);
    if (s->chain) llama_sampler_free(s->chain);
    lethe_free(s->candidates);
    memset(s, 0, sizeof *s);
}

void lethe_lm_sampler_accept(lm_sampler *s, int32_t token) {
    llama_sampler_accept(s->penalties, token);
    llama_sampler_accept(s->chain, token);
}

static void ban_ngrams(const lm_sampler *s, const lethe_tokens *h) {
    size_t n = (size_t)s->ngram;
    if (!n || h->n < n) return;
    const int32_t *tail = h->id + h->n - (n - 1); /* n - 1 tokens */
    for (size_t i = 0; i + n <= h->n; i++)
        if (!memcmp(h->id + i, tail, (n - 1) * sizeof *tail))
            s->candidates[h->id[i + n - 1]].logit = -INFINITY;
}

lethe_status lethe_lm_sampler_next(lm_sampler *s, const float *logits, const lethe_tokens *history,
                                   int32_t *token, lethe_err *err) {
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (isnan(logits[i]))
            return lethe_fail(err, LETHE_NONFINITE, "the model's logits are not numbers");
        s->candidates[i] = (llama_token_data){(llama_token)i, logits[i], 0};
    }
    llama_token_data_array all = {s->candidates, s->n_vocab, -1, false};
    llama_sampler_apply(s->penalties, &all);
    ban_ngrams(s, history);
    *token = -1;
    bool any = false;
    for (size_t i = 0; i < s->n_vocab && !any; i++) any = s->candidates[i].logit > -INFINITY;
    if (!any) return LETHE_OK;
    llama_sampler_apply(s->chain, &all);
    if (all.selected < 0 || (size_t)all.selected >= all.size)
        return lethe_fail(err, LETHE_FAIL, "libllama's samplers chose no token");
    *token = all.data[all.selected].id;
    return LETHE_OK;
}
