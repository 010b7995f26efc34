/* SPDX-License-Identifier: MIT
 *
 * Cards as JSON and as text.
 */
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "format/jsonio.h"
#include "stage/ablate.h"
#include "stage/inspect.h"
#include "stage/report_parts.h" /* texts made harmless */

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *token_text(const lethe_lm *lm, int32_t id, bool *ok) {
    lethe_strbuf b = {0};
    lethe_lm_piece(lm, id, true, &b);
    json_t *s = lethe_json_text(lethe_strbuf_str(&b), b.len);
    if (b.status || !s) *ok = false;
    lethe_strbuf_free(&b);
    return s;
}

static json_t *tokens_json(const lethe_card_token *t, size_t n, const lethe_lm *lm, bool *ok) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        lethe_json_put(o, "token", token_text(lm, t[i].id, ok), ok);
        lethe_json_put(o, "id", json_integer(t[i].id), ok);
        lethe_json_put(o, "logit", lethe_json_real(t[i].logit), ok);
        lethe_json_append(list, o, ok);
    }
    return list;
}

static json_t *context_json(const lethe_card_context *c, int role, const lethe_lm *lm, bool *ok) {
    json_t *o = json_object(), *tokens = json_array(), *z = json_array();
    for (size_t i = 0; i < c->n; i++) {
        lethe_json_append(tokens, token_text(lm, c->token[i], ok), ok);
        lethe_json_append(
            z, c->activation[i] > 0 ? lethe_json_real((double)c->activation[i]) : json_integer(0),
            ok);
    }
    lethe_json_put(o, "role", json_string(lethe_role_name((lethe_role)role)), ok);
    lethe_json_put(o, "peak", lethe_json_real((double)c->peak), ok);
    lethe_json_put(o, "at", json_integer((json_int_t)c->at), ok);
    lethe_json_put(o, "tokens", tokens, ok);
    lethe_json_put(o, "activations", z, ok);
    return o;
}

static double frequency(const lethe_cards *all, const lethe_card *c, int role) {
    return all->tokens[role] ? (double)c->role[role].fires / (double)all->tokens[role] : 0;
}

static json_t *card_json(const lethe_cards *all, const lethe_card *c, const lethe_lm *lm,
                         bool *ok) {
    json_t *o = json_object(), *statistics = json_object(), *histogram = json_object(),
           *contexts = json_array();
    lethe_json_put(o, "index", json_integer(c->index), ok);
    lethe_json_put(o, "share", lethe_json_real(c->share), ok);
    if (!isnan(c->effect)) lethe_json_put(o, "effect", lethe_json_real(c->effect), ok);
    lethe_json_put(histogram, "width", lethe_json_real(c->width), ok);
    for (int r = 0; r < LETHE_ROLES; r++) {
        if (!all->tokens[r]) continue;
        const lethe_card_role *of = &c->role[r];
        const char *name = lethe_role_name((lethe_role)r);
        json_t *s = json_object(), *bins = json_array();
        lethe_json_put(s, "fires", json_integer((json_int_t)of->fires), ok);
        lethe_json_put(s, "freq", lethe_json_real(frequency(all, c, r)), ok);
        lethe_json_put(s, "mean", lethe_json_real(of->fires ? of->sum / (double)of->fires : 0), ok);
        lethe_json_put(s, "max", lethe_json_real(of->max), ok);
        lethe_json_put(statistics, name, s, ok);
        for (size_t b = 0; b < LETHE_CARD_BINS; b++)
            lethe_json_append(bins, json_integer((json_int_t)of->bin[b]), ok);
        lethe_json_put(histogram, name, bins, ok);
        for (size_t k = 0; k < of->n_contexts; k++)
            lethe_json_append(contexts, context_json(&of->context[k], r, lm, ok), ok);
    }
    lethe_json_put(o, "statistics", statistics, ok);
    lethe_json_put(o, "histogram", histogram, ok);
    lethe_json_put(o, "promotes", tokens_json(c->promotes, c->n_promotes, lm, ok), ok);
    lethe_json_put(o, "suppresses", tokens_json(c->suppresses, c->n_suppresses, lm, ok), ok);
    lethe_json_put(o, "contexts", contexts, ok);
    return o;
}

lethe_status lethe_cards_json(const lethe_cards *c, const lethe_lm *lm, json_t **out,
                              lethe_err *err) {
    bool ok = true;
    json_t *top = json_object(), *config = json_object(), *tokens = json_object(),
           *list = json_array();
    const lethe_sae_meta *a = &c->sae;
    lethe_json_put(top, "format", json_string("lethe-cards-1"), &ok);
    lethe_json_put(config, "model_name", lethe_json_text(a->model_name, strlen(a->model_name)),
                   &ok);
    lethe_json_put(config, "model_hash", lethe_json_text(a->model_hash, strlen(a->model_hash)),
                   &ok);
    lethe_json_put(config, "layer", json_integer(a->layer), &ok);
    lethe_json_put(config, "hook", json_string(lethe_hook_name(a->hook)), &ok);
    lethe_json_put(config, "sae_hash", json_string(c->sae_hash), &ok);
    lethe_json_put(top, "config", config, &ok);
    for (int r = 0; r < LETHE_ROLES; r++)
        if (c->tokens[r])
            lethe_json_put(tokens, lethe_role_name((lethe_role)r),
                           json_integer((json_int_t)c->tokens[r]), &ok);
    lethe_json_put(top, "tokens", tokens, &ok);
    for (size_t i = 0; i < c->n; i++)
        lethe_json_append(list, card_json(c, &c->card[i], lm, &ok), &ok);
    lethe_json_put(top, "features", list, &ok);
    if (ok) {
        *out = top;
        return LETHE_OK;
    }
    json_decref(top);
    return lethe_fail(err, LETHE_NOMEM, "out of memory: feature cards as JSON");
}

/* ---- text ----------------------------------------------------------------------------------- */

static void put_token(const lethe_lm *lm, int32_t id, lethe_strbuf *out) {
    lethe_strbuf piece = {0};
    lethe_lm_piece(lm, id, true, &piece);
    const char *s = lethe_strbuf_str(&piece);
    for (size_t at = 0; at < piece.len;) { /* bytes of a torn character become U+FFFD */
        size_t n = strcspn(s + at, "\n");
        if (n > piece.len - at) n = piece.len - at;
        size_t good = lethe_utf8_valid_prefix(s + at, n);
        lethe_report_plain(out, s + at, good);
        if (good < n) lethe_strbuf_adds(out, "\xEF\xBF\xBD");
        at += good < n ? good + 1 : n;
        if (good == n && at < piece.len) {
            lethe_strbuf_adds(out, "\xE2\x86\xB5"); /* a line break, shown */
            at++;
        }
    }
    if (piece.status) out->status = piece.status;
    lethe_strbuf_free(&piece);
}

static void put_tokens(const lethe_card_token *t, size_t n, size_t most, const lethe_lm *lm,
                       lethe_strbuf *out) {
    for (size_t i = 0; i < n && i < most; i++) {
        lethe_strbuf_adds(out, i ? " |" : "");
        put_token(lm, t[i].id, out);
    }
}

static void put_share(const lethe_card *c, lethe_strbuf *out) {
    if (isnan(c->share))
        lethe_strbuf_adds(out, "      -");
    else
        lethe_strbuf_addf(out, "%5.1f %%", 100 * c->share);
}

void lethe_cards_table(const lethe_cards *c, const lethe_lm *lm, size_t rows, lethe_strbuf *out) {
    if (!rows || rows > c->n) rows = c->n;
    lethe_strbuf_adds(out, "feature    share   forget     near   retain  promotes\n");
    for (size_t i = 0; i < rows; i++) {
        const lethe_card *f = &c->card[i];
        lethe_strbuf_addf(out, "%7d  ", (int)f->index);
        put_share(f, out);
        for (int r = 0; r < LETHE_ROLES; r++)
            lethe_strbuf_addf(out, "  %5.3f %%", 100 * frequency(c, f, r));
        lethe_strbuf_adds(out, " ");
        put_tokens(f->promotes, f->n_promotes, 5, lm, out);
        lethe_strbuf_adds(out, "\n");
    }
    if (rows < c->n) lethe_strbuf_addf(out, "... and %zu more\n", c->n - rows);
    lethe_strbuf_adds(out,
                      "share: of all that the features move on the text to forget; the others: "
                      "of tokens on which it fires\n");
}

/* A histogram in a line, heights by log(1 + count). */
static void bars(const lethe_card *c, int role, lethe_strbuf *out) {
    double most = 0;
    size_t last = 0;
    for (int r = 0; r < LETHE_ROLES; r++)
        for (size_t b = 0; b < LETHE_CARD_BINS; b++) {
            double n = (double)c->role[r].bin[b];
            if (n > most) most = n;
            if (n > 0 && b > last) last = b;
        }
    for (size_t b = 0; b <= last && most > 0; b++) {
        double n = (double)c->role[role].bin[b];
        int tall = n > 0 ? (int)ceil(8 * log1p(n) / log1p(most)) : 0; /* 1 to 8 */
        if (tall)
            lethe_strbuf_addf(out, "\xE2\x96%c", (char)(0x80 + tall)); /* U+2581 and on */
        else
            lethe_strbuf_adds(out, " ");
    }
    lethe_strbuf_addf(out, "  0 to %.3g", c->width * (double)(last + 1));
}

/* Grounds of rising strength, of the 256 colours; the last two with dark letters. */
static const char *const grounds[] = {"\x1b[48;5;23m", "\x1b[48;5;24m", "\x1b[48;5;30m",
                                      "\x1b[30;48;5;37m", "\x1b[30;48;5;80m"};
#define N_GROUNDS ((int)(sizeof grounds / sizeof *grounds))

static void put_context(const lethe_card_context *c, const lethe_lm *lm, bool colour,
                        lethe_strbuf *out) {
    for (size_t i = 0; i < c->n; i++) {
        float z = c->activation[i];
        int level = z > 0 && c->peak > 0 ? (int)ceilf((float)N_GROUNDS * z / c->peak) : 0;
        if (level > N_GROUNDS) level = N_GROUNDS;
        bool mark = colour ? level > 0 : i == c->at;
        if (mark) lethe_strbuf_adds(out, colour ? grounds[level - 1] : "[");
        put_token(lm, c->token[i], out);
        if (mark) lethe_strbuf_adds(out, colour ? "\x1b[0m" : "]");
    }
    lethe_strbuf_adds(out, "\n");
}

void lethe_card_text(const lethe_cards *c, size_t i, const lethe_lm *lm, bool colour,
                     lethe_strbuf *out) {
    const lethe_card *f = &c->card[i];
    lethe_strbuf_addf(out, "%sfeature %d%s", colour ? "\x1b[1m" : "", (int)f->index,
                      colour ? "\x1b[0m" : "");
    if (!isnan(f->share)) lethe_strbuf_addf(out, ", %.1f %% of the effect", 100 * f->share);
    if (!isnan(f->effect)) lethe_strbuf_addf(out, ", measured %+.4g", f->effect);
    lethe_strbuf_adds(out, "\n");
    for (int r = 0; r < LETHE_ROLES; r++) {
        if (!c->tokens[r]) continue;
        const lethe_card_role *of = &f->role[r];
        lethe_strbuf_addf(out, "  %-10s  %6.3f %%  ", lethe_role_name((lethe_role)r),
                          100 * frequency(c, f, r));
        if (of->fires)
            bars(f, r, out);
        else
            lethe_strbuf_adds(out, "never");
        lethe_strbuf_adds(out, "\n");
    }
    lethe_strbuf_adds(out, "  promotes   ");
    put_tokens(f->promotes, f->n_promotes, 10, lm, out);
    lethe_strbuf_adds(out, "\n  suppresses ");
    put_tokens(f->suppresses, f->n_suppresses, 10, lm, out);
    lethe_strbuf_adds(out, "\n");
    for (int r = 0; r < LETHE_ROLES; r++)
        for (size_t k = 0; k < f->role[r].n_contexts; k++) {
            lethe_strbuf_addf(out, "  %-6s %6.3g  ", lethe_role_name((lethe_role)r),
                              (double)f->role[r].context[k].peak);
            put_context(&f->role[r].context[k], lm, colour, out);
        }
}
