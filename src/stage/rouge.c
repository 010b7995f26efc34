/* SPDX-License-Identifier: MIT
 *
 * Tokens are pieces of a folded copy of the text (lower case, everything else blank). The longest
 * common subsequence is the usual table, of which one row is kept: after row i, row[j] is the
 * length for the first i tokens of one text and the first j of the other.
 */
#include "stage/rouge.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

typedef struct piece {
    const char *at;
    size_t n;
} piece;

typedef struct pieces {
    char *folded; /* owned */
    piece *item;  /* [n], into folded */
    size_t n;
} pieces;

static void pieces_free(pieces *p) {
    lethe_free(p->item);
    lethe_free(p->folded);
}

/* [a-z0-9] of one code point, or ' '. */
static char fold(uint32_t cp) {
    if (cp >= 'A' && cp <= 'Z') return (char)(cp - 'A' + 'a');
    if ((cp >= 'a' && cp <= 'z') || (cp >= '0' && cp <= '9')) return (char)cp;
    if (cp == 0x212a) return 'k';
    return ' ';
}

static size_t fold_text(const char *text, size_t len, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp = lethe_utf8_next(text, len, &i);
        out[n++] = cp == 0x130 ? 'i' : fold(cp);
        if (cp == 0x130) out[n++] = ' '; /* two bytes in the text, so there is room */
    }
    return n;
}

static lethe_status pieces_of(const char *text, size_t len, pieces *out, lethe_err *err) {
    LETHE_TRY(lethe_alloc(&out->folded, len, 1, "tokens of a text", err));
    size_t n = fold_text(text, len, out->folded);
    LETHE_TRY(lethe_alloc(&out->item, n / 2 + 1, sizeof *out->item, "tokens of a text", err));
    for (size_t i = 0; i < n;) {
        while (i < n && out->folded[i] == ' ') i++;
        size_t start = i;
        while (i < n && out->folded[i] != ' ') i++;
        if (i > start) out->item[out->n++] = (piece){out->folded + start, i - start};
    }
    return LETHE_OK;
}

static bool same(const piece *a, const piece *b) {
    return a->n == b->n && !memcmp(a->at, b->at, a->n);
}

static lethe_status common_length(const pieces *a, const pieces *b, size_t *out, lethe_err *err) {
    size_t *row;
    LETHE_TRY(lethe_zalloc(&row, b->n + 1, sizeof *row, "a row of a common subsequence", err));
    for (size_t i = 0; i < a->n; i++) {
        size_t diagonal = 0; /* row[j] of the row before */
        for (size_t j = 0; j < b->n; j++) {
            size_t above = row[j + 1];
            if (same(&a->item[i], &b->item[j]))
                row[j + 1] = diagonal + 1;
            else if (row[j] > above)
                row[j + 1] = row[j];
            diagonal = above;
        }
    }
    *out = row[b->n];
    lethe_free(row);
    return LETHE_OK;
}

lethe_status lethe_rouge_l(const char *target, size_t target_len, const char *prediction,
                           size_t prediction_len, lethe_rouge *out, lethe_err *err) {
    pieces a = {0}, b = {0};
    lethe_rouge r = {0};
    lethe_status st = pieces_of(target, target_len, &a, err);
    if (!st) st = pieces_of(prediction, prediction_len, &b, err);
    if (!st) st = common_length(&a, &b, &r.common, err);
    if (!st) {
        r.target_tokens = a.n;
        r.prediction_tokens = b.n;
        if (r.common) {
            r.precision = (double)r.common / (double)b.n;
            r.recall = (double)r.common / (double)a.n;
            r.f1 = 2 * r.precision * r.recall / (r.precision + r.recall);
        }
        *out = r;
    }
    pieces_free(&a);
    pieces_free(&b);
    return st;
}
