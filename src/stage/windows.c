/* SPDX-License-Identifier: MIT */
#include "stage/windows.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

/* One corpus being packed: tokens wait in `queue` from `head` on until a window is full. */
typedef struct packer {
    lethe_corpus *corpus;
    lethe_tokens queue;
    size_t head;
    bool ended;
    uint64_t left; /* windows still to deal out in this round */
} packer;

struct lethe_mix {
    const lethe_lm *lm;
    lethe_mix_opts opts;
    int32_t window_start, separator; /* -1: none */
    packer pack[LETHE_ROLES];
    lethe_corpus_size size[LETHE_ROLES];
    lethe_rng rng;
};

const char *lethe_role_name(lethe_role r) {
    static const char *const names[LETHE_ROLES] = {"forget", "near", "retain"};
    return names[r];
}

lethe_status lethe_piece_tokens(const lethe_lm *lm, const lethe_piece *p, lethe_tokens *out,
                                lethe_err *err) {
    if (p->text) return lethe_lm_tokenize(lm, p->text, p->len, false, false, out, err);
    lethe_tokens chat = {0};
    lethe_status st = lethe_lm_chat_tokens(lm, p->message, p->n_messages, false, &chat, err);
    /* The packer puts BOS where it belongs. */
    size_t skip =
        chat.n && chat.id[0] == lethe_lm_get_info(lm)->bos && lethe_lm_get_info(lm)->add_bos;
    for (size_t i = skip; i < chat.n && !st; i++) st = lethe_tokens_push(out, chat.id[i], err);
    lethe_tokens_free(&chat);
    return st;
}

/* ---- packing one corpus --------------------------------------------------------------------- */

static void packer_rewind(packer *p) {
    if (p->corpus) lethe_corpus_rewind(p->corpus);
    p->queue.n = p->head = 0;
    p->ended = false;
}

#define DOCUMENT_START (-2) /* in the queue, between separate documents */

/* Appends what the next piece of text gives; sets p->ended at the end. */
static lethe_status packer_read(lethe_mix *m, packer *p, lethe_corpus_size *size, lethe_err *err) {
    if (p->head) {
        p->queue.n -= p->head;
        memmove(p->queue.id, p->queue.id + p->head, p->queue.n * sizeof *p->queue.id);
        p->head = 0;
    }
    lethe_piece piece;
    bool got;
    LETHE_TRY(lethe_corpus_next(p->corpus, &piece, &got, err));
    p->ended = !got;
    if (!got) return LETHE_OK;
    int32_t before_document = m->opts.separate ? DOCUMENT_START : m->separator;
    if (piece.starts_document && before_document != -1)
        LETHE_TRY(lethe_tokens_push(&p->queue, before_document, err));
    size_t before = p->queue.n;
    LETHE_TRY(lethe_piece_tokens(m->lm, &piece, &p->queue, err));
    if (size) {
        size->documents += piece.starts_document;
        size->tokens += p->queue.n - before;
    }
    return LETHE_OK;
}

/* Tokens of the document at the head of the queue, at most `most`; *whole: they are all there. */
static size_t document_length(const packer *p, size_t most, bool *whole) {
    size_t n = 0;
    while (p->head + n < p->queue.n && n < most && p->queue.id[p->head + n] != DOCUMENT_START) n++;
    *whole = n == most || p->head + n < p->queue.n || p->ended;
    return n;
}

/* Takes the next window of a corpus of separate documents; *n = 0 at the end. */
static lethe_status take_separate(lethe_mix *m, packer *p, int32_t *token, size_t *n,
                                  lethe_corpus_size *size, lethe_err *err) {
    size_t bos = m->window_start >= 0, length = 0;
    for (bool whole = false; !whole || (!length && p->head < p->queue.n);) {
        while (p->head < p->queue.n && p->queue.id[p->head] == DOCUMENT_START) p->head++;
        length = document_length(p, m->opts.ctx_len - bos, &whole);
        if (!whole || (!length && !p->ended)) {
            LETHE_TRY(packer_read(m, p, size, err));
            whole = false;
        }
    }
    *n = length ? length + bos : 0;
    if (token && length) {
        if (bos) token[0] = m->window_start;
        memcpy(token + bos, p->queue.id + p->head, length * sizeof *token);
    }
    p->head += length;
    return LETHE_OK;
}

/* Takes the next window of a packed corpus; *n = 0 when no whole one is left. */
static lethe_status take_packed(lethe_mix *m, packer *p, int32_t *token, size_t *n,
                                lethe_corpus_size *size, lethe_err *err) {
    size_t ctx = m->opts.ctx_len;
    while (!p->ended && p->queue.n - p->head < ctx) LETHE_TRY(packer_read(m, p, size, err));
    size_t have = p->queue.n - p->head;
    const int32_t *q = p->queue.id + p->head;
    /* A window that begins inside a document still starts with BOS. */
    size_t extra = m->window_start >= 0 && have && q[0] != m->window_start;
    *n = have + extra < ctx ? 0 : ctx;
    if (!*n) return LETHE_OK;
    if (token) {
        if (extra) token[0] = m->window_start;
        memcpy(token + extra, q, (ctx - extra) * sizeof *token);
    }
    p->head += ctx - extra;
    return LETHE_OK;
}

static lethe_status take(lethe_mix *m, packer *p, int32_t *token, size_t *n,
                         lethe_corpus_size *size, lethe_err *err) {
    return m->opts.separate ? take_separate(m, p, token, n, size, err)
                            : take_packed(m, p, token, n, size, err);
}

/* Counts windows until the text ends or there are `enough` tokens of them. */
static lethe_status count(lethe_mix *m, lethe_role role, uint64_t enough, lethe_err *err) {
    packer *p = &m->pack[role];
    lethe_corpus_size *s = &m->size[role];
    s->given = true;
    packer_rewind(p);
    while (s->window_tokens < enough) {
        size_t n;
        LETHE_TRY(take(m, p, NULL, &n, s, err));
        if (!n) break;
        s->windows++;
        s->window_tokens += n;
        if (lethe_stop_requested())
            return lethe_fail(err, LETHE_STOPPED, "stopped while counting the text");
    }
    if (s->windows) return LETHE_OK;
    return lethe_fail(
        err, LETHE_FORMAT,
        "%s: the %s text has only %llu tokens, less than one window of %zu (give more "
        "text, or a smaller --ctx-len)",
        lethe_corpus_name(p->corpus), lethe_role_name(role), (unsigned long long)s->tokens,
        m->opts.ctx_len);
}

/* ---- shares --------------------------------------------------------------------------------- */

/* Scales the roles of `mask` down to `want` windows in all, in proportion; what rounding leaves
 * goes to the last.
 */
static void cut_to(lethe_corpus_size *size, const bool mask[LETHE_ROLES], uint64_t want) {
    uint64_t have = 0, given = 0;
    for (int r = 0; r < LETHE_ROLES; r++)
        if (mask[r]) have += size[r].used;
    if (have <= want) return;
    int last = -1;
    for (int r = 0; r < LETHE_ROLES; r++) {
        if (!mask[r] || !size[r].used) continue;
        size[r].used = (uint64_t)((double)size[r].used / (double)have * (double)want);
        given += size[r].used;
        last = r;
    }
    if (last >= 0) size[last].used += want - given;
}

static void share_out(lethe_mix *m) {
    lethe_corpus_size *s = m->size;
    for (int r = 0; r < LETHE_ROLES; r++) s[r].used = s[r].windows;
    const bool forget[LETHE_ROLES] = {[LETHE_FORGET] = true},
               others[LETHE_ROLES] = {[LETHE_NEAR] = true, [LETHE_RETAIN] = true},
               all[LETHE_ROLES] = {true, true, true};
    double f = m->opts.forget_share;
    if (f > 0 && f < 1) {
        double nf = (double)s[LETHE_FORGET].used,
               no = (double)(s[LETHE_NEAR].used + s[LETHE_RETAIN].used);
        if (nf > 0 && no > 0) {
            cut_to(s, forget, (uint64_t)fmax(1, no * f / (1 - f)));
            cut_to(s, others, (uint64_t)fmax(1, nf * (1 - f) / f));
        }
    }
    if (m->opts.max_tokens) {
        double tokens = lethe_mix_tokens(m), windows = (double)lethe_mix_total(m);
        uint64_t most = (uint64_t)((double)m->opts.max_tokens * windows / tokens);
        cut_to(s, all, most ? most : 1);
    }
}

/* ---- the mix -------------------------------------------------------------------------------- */

lethe_status lethe_mix_restart(lethe_mix *m, uint64_t skip, lethe_err *err) {
    m->rng = lethe_rng_make(m->opts.seed, 1);
    for (int r = 0; r < LETHE_ROLES; r++) {
        packer_rewind(&m->pack[r]);
        m->pack[r].left = m->size[r].used;
    }
    for (size_t n = 1; skip && n; skip--) {
        lethe_role role;
        LETHE_TRY(lethe_mix_next(m, NULL, &n, &role, err));
    }
    return LETHE_OK;
}

lethe_status lethe_mix_open(lethe_mix **out, const lethe_lm *lm, lethe_corpus *const corpus[],
                            const lethe_mix_opts *opts, const lethe_env *env, lethe_err *err) {
    const lethe_lm_info *info = lethe_lm_get_info(lm);
    lethe_mix *m;
    LETHE_TRY(lethe_zalloc(&m, 1, sizeof *m, "a mix of texts", err));
    m->lm = lm;
    m->opts = *opts;
    m->window_start = opts->bos && info->add_bos ? info->bos : -1;
    m->separator = !opts->bos ? -1 : info->add_bos ? info->bos : info->eos;
    /* With a limit there is no need to count all of a large corpus: four times the limit of each is
     * enough to keep the proportions of texts of similar size. */
    uint64_t enough = opts->max_tokens ? opts->max_tokens * 4 + opts->ctx_len : UINT64_MAX;
    lethe_status st = LETHE_OK;
    bool any = false;
    for (int r = 0; r < LETHE_ROLES && !st; r++) {
        m->pack[r].corpus = corpus[r];
        if (!corpus[r]) continue;
        any = true;
        lethe_report_progress(env, &(lethe_progress){.stage = "count",
                                                     .unit = "tokens",
                                                     .detail = lethe_role_name((lethe_role)r)});
        st = count(m, (lethe_role)r, enough, err);
    }
    lethe_report_progress(
        env, &(lethe_progress){.stage = "count", .unit = "tokens", .detail = "", .finished = true});
    if (!st && !any)
        st = lethe_fail(err, LETHE_USAGE, "no text given (pass --forget and --retain)");
    if (!st) {
        share_out(m);
        st = lethe_mix_restart(m, 0, err);
    }
    if (st)
        lethe_mix_close(&m);
    else
        *out = m;
    return st;
}

void lethe_mix_close(lethe_mix **mp) {
    lethe_mix *m = *mp;
    if (!m) return;
    for (int r = 0; r < LETHE_ROLES; r++) lethe_tokens_free(&m->pack[r].queue);
    lethe_free(m);
    *mp = NULL;
}

const lethe_corpus_size *lethe_mix_sizes(const lethe_mix *m) {
    return m->size;
}

uint64_t lethe_mix_total(const lethe_mix *m) {
    uint64_t n = 0;
    for (int r = 0; r < LETHE_ROLES; r++) n += m->size[r].used;
    return n;
}

double lethe_mix_tokens(const lethe_mix *m) {
    double n = 0;
    for (int r = 0; r < LETHE_ROLES; r++) {
        const lethe_corpus_size *s = &m->size[r];
        if (s->windows) n += (double)s->window_tokens * (double)s->used / (double)s->windows;
    }
    return n;
}

static lethe_role draw(lethe_mix *m, uint64_t left) {
    if (!m->opts.shuffle) { /* the reference's order: the text to forget comes last */
        static const lethe_role order[LETHE_ROLES] = {LETHE_RETAIN, LETHE_NEAR, LETHE_FORGET};
        int i = 0;
        while (!m->pack[order[i]].left) i++;
        return order[i];
    }
    uint64_t at = lethe_rng_below(&m->rng, left);
    int r = 0;
    while (at >= m->pack[r].left) at -= m->pack[r++].left;
    return (lethe_role)r;
}

lethe_status lethe_mix_next(lethe_mix *m, int32_t *token, size_t *n, lethe_role *role,
                            lethe_err *err) {
    uint64_t left = 0;
    *n = 0;
    for (int r = 0; r < LETHE_ROLES; r++) left += m->pack[r].left;
    if (!left) return LETHE_OK;
    *role = draw(m, left);
    packer *p = &m->pack[*role];
    LETHE_TRY(take(m, p, token, n, NULL, err));
    if (!*n)
        return lethe_fail(err, LETHE_MISMATCH, "%s: the file became shorter while it was read",
                          lethe_corpus_name(p->corpus));
    p->left--;
    return LETHE_OK;
}
