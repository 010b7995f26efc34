/* SPDX-License-Identifier: MIT
 *
 * The logit lens: the vectors take the place of the last layer's output, and the model itself does
 * the rest. So it is the model's own norm and head whatever its architecture, the head's type
 * (quantised or not, tied to the embeddings or not), what is done to the logits behind it, and the
 * device it lies on; and there is nothing to keep in step with libllama. The layers before run for
 * nothing, one token a vector, which is little beside anything else that is done with a model.
 */
#include <string.h>

#include "lm_internal.h"

typedef struct lens {
    const float *x;
    size_t d, first, n_vocab; /* first: vector of position 0 of the run in progress */
    float *plus;              /* [V] logits of the vector whose negative comes next */
    lethe_lens_fn fn;
    void *user;
} lens;

/* Positions 2i and 2i + 1 are vector i and its negative. */
static lethe_status put_vectors(void *user, const lethe_rows *rows, lethe_err *err) {
    (void)err;
    const lens *l = user;
    for (size_t r = 0; r < rows->n; r++) {
        size_t p = (size_t)rows->pos[r];
        const float *from = l->x + (l->first + p / 2) * l->d;
        for (size_t j = 0; j < l->d; j++) rows->x[r * l->d + j] = p % 2 ? -from[j] : from[j];
    }
    return LETHE_OK;
}

static lethe_status take_logits(void *user, size_t seq, size_t pos, const float *logits,
                                lethe_err *err) {
    (void)seq;
    lens *l = user;
    if (pos % 2 == 0) {
        memcpy(l->plus, logits, l->n_vocab * sizeof *l->plus);
        return LETHE_OK;
    }
    for (size_t v = 0; v < l->n_vocab; v++) l->plus[v] = 0.5f * (l->plus[v] - logits[v]);
    return l->fn(l->user, l->first + pos / 2, l->plus, err);
}

lethe_status lethe_lm_lens(lethe_lm *lm, const float *x, size_t n, lethe_lens_fn fn, void *user,
                           lethe_err *err) {
    size_t most = lm->ctx_len / 2;
    if (!most)
        return lethe_fail(err, LETHE_USAGE, "the logit lens needs a context of at least 2 tokens");
    if (most > n) most = n;
    lens l = {.x = x, .d = lm->info.d_model, .n_vocab = lm->info.n_vocab, .fn = fn, .user = user};
    int32_t *token = NULL;
    lethe_status st = lethe_alloc(&l.plus, l.n_vocab, sizeof *l.plus, "logits", err);
    if (!st) st = lethe_alloc(&token, 2 * most, sizeof *token, "tokens", err);
    for (size_t i = 0; !st && i < 2 * most; i++) token[i] = lm->info.bos >= 0 ? lm->info.bos : 0;
    lethe_lm_clear_hooks(lm);
    if (!st)
        st = lethe_lm_add_edit(lm, lm->info.n_layer - 1, LETHE_HOOK_POST, put_vectors, &l, err);
    for (; !st && l.first < n; l.first += most) {
        size_t left = n - l.first < most ? n - l.first : most;
        st = lethe_lm_forward(lm, &(lethe_seq){token, 2 * left}, 1, NULL, take_logits, &l, err);
    }
    lethe_lm_clear_hooks(lm);
    lethe_free(token);
    lethe_free(l.plus);
    return st;
}
