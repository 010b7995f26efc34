/* SPDX-License-Identifier: MIT
 *
 * Collecting cards in one pass, in memory that does not grow with the text: rows of the window in
 * progress, and for each feature its best passages so far.
 */
#include "stage/inspect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

lethe_inspect_opts lethe_inspect_defaults(void) {
    return (lethe_inspect_opts){.contexts = 6, .radius = 20};
}

typedef struct hit { /* a chosen feature that fired in the window */
    uint32_t row, slot;
    float value;
} hit;

struct lethe_inspector {
    lethe_inspect_opts opts;
    lethe_cards cards;
    size_t m;
    int32_t *slot; /* [m] which card a latent has; -1: none */
    /* The window in progress. */
    lethe_role role;
    int32_t last; /* position */
    int32_t *token;
    size_t rows, token_cap;
    hit *hit;
    size_t n_hits, hit_cap;
    hit *best;     /* [n] of each card, its strongest hit in the window; value 0: none */
    double *moved; /* [n] of each card, sum of z times the token's scale on the forget text */
};

static void context_free(lethe_card_context *c) {
    lethe_free(c->token);
    lethe_free(c->activation);
    *c = (lethe_card_context){0};
}

void lethe_cards_free(lethe_cards *c) {
    for (size_t i = 0; i < c->n; i++)
        for (int r = 0; r < LETHE_ROLES; r++) {
            lethe_card_role *of = &c->card[i].role[r];
            for (size_t k = 0; k < of->n_contexts; k++) context_free(&of->context[k]);
            lethe_free(of->context);
        }
    lethe_free(c->card);
    *c = (lethe_cards){0};
}

/* Passages that a card keeps of a role. */
static size_t room(const lethe_inspector *in, lethe_role r) {
    return r == LETHE_FORGET ? in->opts.contexts : (in->opts.contexts + 1) / 2;
}

static lethe_status open_in(lethe_inspector *in, const int32_t *index, size_t n, lethe_err *err) {
    LETHE_TRY(lethe_alloc(&in->slot, in->m, sizeof *in->slot, "the chosen features", err));
    for (size_t i = 0; i < in->m; i++) in->slot[i] = -1;
    LETHE_TRY(lethe_zalloc(&in->best, n, sizeof *in->best, "the chosen features", err));
    LETHE_TRY(lethe_zalloc(&in->moved, n, sizeof *in->moved, "the chosen features", err));
    LETHE_TRY(lethe_zalloc(&in->cards.card, n, sizeof *in->cards.card, "feature cards", err));
    for (size_t i = 0; i < n; i++) {
        lethe_card *c = &in->cards.card[in->cards.n++];
        *c = (lethe_card){.index = index[i], .share = NAN, .effect = NAN};
        in->slot[index[i]] = (int32_t)i;
        for (int r = 0; r < LETHE_ROLES; r++)
            LETHE_TRY(lethe_zalloc(&c->role[r].context, room(in, (lethe_role)r),
                                   sizeof *c->role[r].context, "feature cards", err));
    }
    return LETHE_OK;
}

lethe_status lethe_inspector_open(lethe_inspector **out, const int32_t *index, size_t n, size_t m,
                                  const lethe_inspect_opts *opts, lethe_err *err) {
    lethe_inspector *in;
    LETHE_TRY(lethe_zalloc(&in, 1, sizeof *in, "feature cards", err));
    in->opts = *opts;
    in->m = m;
    in->last = -1;
    lethe_status st = open_in(in, index, n, err);
    if (st)
        lethe_inspector_close(&in);
    else
        *out = in;
    return st;
}

void lethe_inspector_close(lethe_inspector **in) {
    if (!in || !*in) return;
    lethe_inspector *p = *in;
    lethe_cards_free(&p->cards);
    lethe_free(p->slot);
    lethe_free(p->token);
    lethe_free(p->hit);
    lethe_free(p->best);
    lethe_free(p->moved);
    lethe_free(p);
    *in = NULL;
}

/* ---- one activation ------------------------------------------------------------------------- */

/* The range is not known before: when a value lies beyond it, bins become twice as wide and pairs
 * of them one. The width is a power of two, so that no sum depends on the order of the rows. */
static void count(lethe_card *c, lethe_role r, float value) {
    if (c->width == 0) c->width = exp2(ceil(log2((double)value)) - 4);
    while ((double)value >= c->width * LETHE_CARD_BINS) {
        for (int k = 0; k < LETHE_ROLES; k++) {
            uint64_t *bin = c->role[k].bin;
            for (size_t b = 0; b < LETHE_CARD_BINS; b++)
                bin[b] = 2 * b < LETHE_CARD_BINS ? bin[2 * b] + bin[2 * b + 1] : 0;
        }
        c->width *= 2;
    }
    lethe_card_role *of = &c->role[r];
    of->fires++;
    of->sum += (double)value;
    if ((double)value > of->max) of->max = (double)value;
    of->bin[(size_t)((double)value / c->width)]++;
}

/* ---- the end of a window -------------------------------------------------------------------- */

static lethe_status passage(const lethe_inspector *in, const hit *peak, lethe_card_context *out,
                            lethe_err *err) {
    size_t from = peak->row > in->opts.radius ? peak->row - in->opts.radius : 0,
           to = peak->row + in->opts.radius + 1;
    if (to > in->rows) to = in->rows;
    *out = (lethe_card_context){.peak = peak->value, .n = to - from, .at = peak->row - from};
    lethe_status st = lethe_alloc(&out->token, out->n, sizeof *out->token, "a passage", err);
    if (!st) st = lethe_zalloc(&out->activation, out->n, sizeof *out->activation, "a passage", err);
    if (st) {
        context_free(out);
        return st;
    }
    memcpy(out->token, in->token + from, out->n * sizeof *out->token);
    for (size_t h = 0; h < in->n_hits; h++)
        if (in->hit[h].slot == peak->slot && in->hit[h].row >= from && in->hit[h].row < to)
            out->activation[in->hit[h].row - from] = in->hit[h].value;
    return LETHE_OK;
}

static bool same_text(const lethe_card_context *a, const lethe_card_context *b) {
    return a->n == b->n && !memcmp(a->token, b->token, a->n * sizeof *a->token);
}

/* Puts the passage of a peak where it belongs, if it does; equal peaks keep their order. */
static lethe_status offer(lethe_inspector *in, const hit *peak, lethe_err *err) {
    lethe_card_role *of = &in->cards.card[peak->slot].role[in->role];
    size_t most = room(in, in->role);
    if (!most || (of->n_contexts == most && !(peak->value > of->context[most - 1].peak)))
        return LETHE_OK;
    lethe_card_context c;
    LETHE_TRY(passage(in, peak, &c, err));
    for (size_t i = 0; i < of->n_contexts; i++)
        if (same_text(&of->context[i], &c)) {
            context_free(&c);
            return LETHE_OK;
        }
    if (of->n_contexts == most) context_free(&of->context[--of->n_contexts]);
    size_t at = of->n_contexts++;
    for (; at && of->context[at - 1].peak < c.peak; at--) of->context[at] = of->context[at - 1];
    of->context[at] = c;
    return LETHE_OK;
}

static lethe_status end_window(lethe_inspector *in, lethe_err *err) {
    lethe_status st = LETHE_OK;
    for (size_t h = 0; h < in->n_hits; h++) {
        hit *best = &in->best[in->hit[h].slot];
        if (in->hit[h].value > best->value) *best = in->hit[h];
    }
    for (size_t h = 0; h < in->n_hits; h++) { /* each card once */
        hit *best = &in->best[in->hit[h].slot];
        if (best->value > 0 && !st) st = offer(in, best, err);
        *best = (hit){0};
    }
    in->n_hits = in->rows = 0;
    in->last = -1;
    return st;
}

lethe_status lethe_inspector_add(lethe_inspector *in, const lethe_codes *codes, const uint8_t *role,
                                 const int32_t *token, const int32_t *position, lethe_err *err) {
    for (size_t i = 0; i < codes->n; i++) {
        if (in->rows && (position[i] <= in->last || (lethe_role)role[i] != in->role))
            LETHE_TRY(end_window(in, err));
        in->role = (lethe_role)role[i];
        in->last = position[i];
        in->cards.tokens[role[i]]++;
        LETHE_TRY(lethe_grow(&in->token, &in->token_cap, in->rows, in->rows + 1, sizeof *in->token,
                             "a window", err));
        in->token[in->rows] = token[i];
        for (size_t j = 0; j < codes->k; j++) {
            float value = codes->value[i * codes->k + j];
            int32_t slot = in->slot[codes->index[i * codes->k + j]];
            if (slot < 0 || !(value > 0)) continue;
            count(&in->cards.card[slot], in->role, value);
            if (in->role == LETHE_FORGET)
                in->moved[slot] += (double)value * (codes->scale ? (double)codes->scale[i] : 1);
            LETHE_TRY(lethe_grow(&in->hit, &in->hit_cap, in->n_hits, in->n_hits + 1,
                                 sizeof *in->hit, "a window", err));
            in->hit[in->n_hits++] = (hit){(uint32_t)in->rows, (uint32_t)slot, value};
        }
        in->rows++;
    }
    return LETHE_OK;
}

lethe_status lethe_inspector_finish(lethe_inspector *in, const float *norm, lethe_cards *out,
                                    lethe_err *err) {
    LETHE_TRY(end_window(in, err));
    double all = 0;
    for (size_t i = 0; i < in->cards.n; i++) all += (double)norm[i] * in->moved[i];
    for (size_t i = 0; i < in->cards.n && all > 0; i++)
        in->cards.card[i].share = (double)norm[i] * in->moved[i] / all;
    *out = in->cards;
    in->cards = (lethe_cards){0};
    return LETHE_OK;
}

static int by_share(const void *a, const void *b) {
    const lethe_card *x = a, *y = b;
    if (x->share > y->share || (isnan(y->share) && !isnan(x->share))) return -1;
    if (x->share < y->share || (isnan(x->share) && !isnan(y->share))) return 1;
    return x->index < y->index ? -1 : 1;
}

void lethe_cards_sort(lethe_cards *c) {
    qsort(c->card, c->n, sizeof *c->card, by_share);
}

/* ---- the logit lens ------------------------------------------------------------------------- */

typedef struct lens {
    lethe_cards *cards;
    size_t n_vocab;
} lens;

/* Inserts into a list of the `most` largest, in falling order; lower ids first where equal. */
static void insert(lethe_card_token *list, size_t *n, int32_t id, double logit, double sign) {
    if (*n == LETHE_CARD_TOKENS && !(sign * logit > sign * list[*n - 1].logit)) return;
    if (*n < LETHE_CARD_TOKENS) ++*n;
    size_t at = *n - 1;
    for (; at && sign * list[at - 1].logit < sign * logit; at--) list[at] = list[at - 1];
    list[at] = (lethe_card_token){id, logit};
}

static lethe_status take(void *user, size_t i, const float *logits, lethe_err *err) {
    (void)err;
    lens *l = user;
    lethe_card *c = &l->cards->card[i];
    double mean = 0;
    size_t n = 0;
    for (size_t v = 0; v < l->n_vocab; v++)
        if (isfinite((double)logits[v])) {
            mean += (double)logits[v];
            n++;
        }
    mean /= n ? (double)n : 1;
    c->n_promotes = c->n_suppresses = 0;
    for (size_t v = 0; v < l->n_vocab; v++) {
        if (!isfinite((double)logits[v])) continue;
        insert(c->promotes, &c->n_promotes, (int32_t)v, (double)logits[v] - mean, 1);
        insert(c->suppresses, &c->n_suppresses, (int32_t)v, (double)logits[v] - mean, -1);
    }
    return LETHE_OK;
}

/* Directions are scaled to sqrt(d), the length that a norm makes of a row anyway, so that its
 * epsilon does not matter. */
lethe_status lethe_cards_lens(lethe_cards *c, const lethe_sae *sae, lethe_lm *lm, lethe_err *err) {
    float *x = NULL;
    size_t d = sae->d;
    LETHE_TRY(lethe_alloc(&x, c->n, d * sizeof *x, "directions of features", err));
    for (size_t i = 0; i < c->n; i++) {
        const float *from = sae->W_dec + (size_t)c->card[i].index * d;
        double squares = 0;
        for (size_t j = 0; j < d; j++) squares += (double)from[j] * (double)from[j];
        double scale = squares > 0 ? sqrt((double)d / squares) : 0;
        for (size_t j = 0; j < d; j++) x[i * d + j] = (float)(scale * (double)from[j]);
    }
    lens l = {c, lethe_lm_get_info(lm)->n_vocab};
    lethe_status st = lethe_lm_lens(lm, x, c->n, take, &l, err);
    lethe_free(x);
    return st;
}
