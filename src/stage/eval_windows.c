/* SPDX-License-Identifier: MIT
 *
 * Three steps, each pulling from the one before: pieces of the corpus -> segments of one document
 * each -> a queue of one document's tokens -> windows.
 */
#include "stage/eval_windows.h"

#include <string.h>

#include "base/mem.h"
#include "stage/windows.h"

struct lethe_cutter {
    const lethe_lm *lm;
    lethe_corpus *corpus;
    size_t ctx;
    bool paragraphs;
    int32_t bos; /* -1: the model wants none, and windows overlap by a token instead */

    lethe_piece piece; /* what is left of the present piece */
    bool has_piece, text_done;
    bool starts_next; /* the next segment starts a document */

    lethe_tokens queue; /* tokens of the present document, waiting */
    size_t head;        /* of them, already handed out */
    int32_t last;       /* last token handed out of this document; -1: none */
    lethe_tokens next;  /* first segment of the next document */
    bool has_next;
};

lethe_status lethe_cutter_open(lethe_cutter **out, const lethe_lm *lm, lethe_corpus *corpus,
                               size_t ctx, bool paragraphs, lethe_err *err) {
    lethe_cutter *c = NULL;
    LETHE_TRY(lethe_zalloc(&c, 1, sizeof *c, "windows of a text", err));
    const lethe_lm_info *info = lethe_lm_get_info(lm);
    c->lm = lm;
    c->corpus = corpus;
    c->ctx = ctx;
    c->paragraphs = paragraphs;
    c->bos = info->add_bos ? info->bos : -1;
    c->last = -1;
    lethe_corpus_rewind(corpus);
    *out = c;
    return LETHE_OK;
}

void lethe_cutter_close(lethe_cutter **cutter) {
    lethe_cutter *c = *cutter;
    if (!c) return;
    lethe_tokens_free(&c->queue);
    lethe_tokens_free(&c->next);
    lethe_free(c);
    *cutter = NULL;
}

/* ---- segments -------------------------------------------------------------------------------- */

static size_t line_length(const char *s, size_t n) { /* with its newline */
    const char *end = memchr(s, '\n', n);
    return end ? (size_t)(end - s) + 1 : n;
}

static bool is_blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r' && s[i] != '\n') return false;
    return true;
}

/* Takes the text up to the next blank line, without the newline before that, from the piece; blank
 * lines at its start are passed over. seg->len may be 0. */
static void take_paragraph(lethe_cutter *c, lethe_piece *seg) {
    const char *s = c->piece.text;
    size_t n = c->piece.len, start = 0, end;
    while (start < n) {
        size_t line = line_length(s + start, n - start);
        if (!is_blank(s + start, line)) break;
        start += line;
        c->starts_next = true;
    }
    for (end = start; end < n;) {
        size_t line = line_length(s + end, n - end);
        if (is_blank(s + end, line)) break;
        end += line;
    }
    seg->starts_document = c->starts_next;
    seg->text = s + start;
    seg->len = end - start;
    if (end < n) /* a blank line follows: the paragraph's last newline is no part of it */
        while (seg->len && (seg->text[seg->len - 1] == '\n' || seg->text[seg->len - 1] == '\r'))
            seg->len--;
    if (seg->len) c->starts_next = false;
    c->piece.text += end;
    c->piece.len -= end;
    c->has_piece = c->piece.len > 0;
}

/* The next segment; *got = false at the end of the text. */
static lethe_status next_segment(lethe_cutter *c, lethe_piece *seg, bool *got, lethe_err *err) {
    if (!c->has_piece) {
        LETHE_TRY(lethe_corpus_next(c->corpus, &c->piece, &c->has_piece, err));
        if (c->has_piece && c->piece.starts_document) c->starts_next = true;
    }
    *got = c->has_piece;
    if (!*got) return LETHE_OK;
    *seg = c->piece;
    if (c->paragraphs && c->piece.text) {
        take_paragraph(c, seg);
    } else {
        seg->starts_document = c->starts_next;
        c->starts_next = c->has_piece = false;
    }
    return LETHE_OK;
}

/* ---- one document's tokens ------------------------------------------------------------------- */

/* Reads until the queue holds a window's worth or the document ends. */
static lethe_status fill(lethe_cutter *c, lethe_err *err) {
    if (c->head) {
        c->queue.n -= c->head;
        memmove(c->queue.id, c->queue.id + c->head, c->queue.n * sizeof *c->queue.id);
        c->head = 0;
    }
    while (!c->text_done && !c->has_next && c->queue.n < c->ctx) {
        lethe_piece seg;
        bool got;
        LETHE_TRY(next_segment(c, &seg, &got, err));
        c->text_done = !got;
        if (!got) break;
        bool begun = c->queue.n || c->last >= 0;
        c->has_next = seg.starts_document && begun;
        LETHE_TRY(lethe_piece_tokens(c->lm, &seg, c->has_next ? &c->next : &c->queue, err));
    }
    return LETHE_OK;
}

static void next_document(lethe_cutter *c) {
    lethe_tokens empty = c->queue;
    c->queue = c->next;
    c->next = empty;
    c->next.n = 0;
    c->head = 0;
    c->last = -1;
    c->has_next = false;
}

/* ---- windows --------------------------------------------------------------------------------- */

lethe_status lethe_cutter_next(lethe_cutter *c, uint64_t most, lethe_tokens *out, lethe_err *err) {
    out->n = 0;
    for (;;) {
        LETHE_TRY(fill(c, err));
        size_t have = c->queue.n;
        int32_t context = c->bos >= 0 ? c->bos : c->last;
        if (have && context < 0) { /* the document's first token: context for the others */
            context = c->last = c->queue.id[c->head++];
            have--;
        }
        if (have) {
            size_t n = have < c->ctx - 1 ? have : c->ctx - 1;
            if (n > most) n = (size_t)most;
            LETHE_TRY(lethe_tokens_push(out, context, err));
            for (size_t i = 0; i < n; i++)
                LETHE_TRY(lethe_tokens_push(out, c->queue.id[c->head + i], err));
            c->head += n;
            c->last = out->id[n];
            return LETHE_OK;
        }
        if (c->has_next)
            next_document(c);
        else if (c->text_done)
            return LETHE_OK;
    }
}
