/* SPDX-License-Identifier: MIT
 *
 * A graph begins for us with the node that looks the tokens up, which is its first. Inputs are read
 * when the first node that uses them is asked about: then they are filled, and nothing has reused
 * their memory yet.
 *
 * libllama may cut a batch into several graphs. In a unified KV cache (or with one sequence) they
 * have the batch's tokens in their order, which is checked token by token against the batch that
 * was told; where libllama orders them otherwise this fails instead of guessing.
 */
#include <ggml-backend.h>
#include <ggml.h>
#include <string.h>

#include "foreign.h"
#include "lm_internal.h"

#define OBJECT (3 * sizeof(void *) + 8) /* struct ggml_object, which ggml keeps to itself */

typedef struct ids { /* one number a row */
    int32_t *v;
    size_t n, cap;
    bool known;
} ids;

typedef struct edit {
    int site;
    bool seen; /* in this graph */
    lethe_rows_fn fn;
    void *user;
} edit;

struct lethe_foreign {
    const struct llama_vocab *vocab;
    size_t d;
    int n_layer;
    edit *edit; /* [n] */
    size_t n, cap;

    bool running;                    /* a graph has begun */
    ids token, pos, out;             /* of its rows; out: which rows are left in the last layer */
    ids seq;                         /* of its rows */
    ids row_token, row_pos, row_seq; /* of the rows that are left */
    float *scratch;
    size_t scratch_cap;

    bool told;
    ids told_token, told_pos, told_seq;
    bool begun; /* a graph of the told batch */
    size_t at;  /* its tokens before that graph */

    lethe_status status;
    lethe_err err;
};

lethe_status lethe_foreign_open(lethe_foreign **out, const struct llama_model *model,
                                lethe_err *err) {
    /* The layout of tensors is not part of libllama's interface, but we read them. */
    if (ggml_tensor_overhead() != OBJECT + sizeof(struct ggml_tensor))
        return lethe_fail(err, LETHE_MISMATCH,
                          "the libllama that runs here has other tensors than the one that lethe "
                          "was compiled with (compile lethe with it: -DLETHE_SYSTEM_LLAMA=ON)");
    lethe_foreign *f;
    LETHE_TRY(lethe_zalloc(&f, 1, sizeof *f, "an attachment", err));
    f->vocab = llama_model_get_vocab(model);
    f->d = (size_t)llama_model_n_embd(model);
    f->n_layer = llama_model_n_layer(model);
    *out = f;
    return LETHE_OK;
}

void lethe_foreign_close(lethe_foreign **foreign) {
    lethe_foreign *f = *foreign;
    if (!f) return;
    ids *all[] = {&f->token,   &f->pos,     &f->out,        &f->seq,      &f->row_token,
                  &f->row_pos, &f->row_seq, &f->told_token, &f->told_pos, &f->told_seq};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) lethe_free(all[i]->v);
    lethe_free(f->edit);
    lethe_free(f->scratch);
    lethe_free(f);
    *foreign = NULL;
}

size_t lethe_foreign_width(const lethe_foreign *f) {
    return f->d;
}

bool lethe_foreign_is_special(const lethe_foreign *f, int32_t token) {
    return lethe_lm_vocab_is_special(f->vocab, token);
}

lethe_status lethe_foreign_add_edit(lethe_foreign *f, int layer, lethe_hook hook, lethe_rows_fn fn,
                                    void *user, lethe_err *err) {
    int site = hook == LETHE_HOOK_POST ? layer : layer - 1;
    if (layer < 0 || layer >= f->n_layer)
        return lethe_fail(err, LETHE_USAGE, "layer %d: the model has layers 0 to %d", layer,
                          f->n_layer - 1);
    if (site < 0)
        return lethe_fail(err, LETHE_USAGE,
                          "a removal before layer 0 cannot be attached to a context of one's own");
    LETHE_TRY(lethe_grow(&f->edit, &f->cap, f->n, f->n + 1, sizeof *f->edit, "edits", err));
    f->edit[f->n++] = (edit){.site = site, .fn = fn, .user = user};
    return LETHE_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static lethe_status room(ids *list, size_t n, lethe_err *err) {
    LETHE_TRY(lethe_grow(&list->v, &list->cap, 0, n ? n : 1, sizeof *list->v, "rows", err));
    list->n = n;
    list->known = true;
    return LETHE_OK;
}

lethe_status lethe_foreign_next(lethe_foreign *f, const struct llama_batch *batch, lethe_err *err) {
    if (!batch->token)
        return lethe_fail(err, LETHE_USAGE,
                          "a batch of embeddings has no tokens, which a removal needs");
    size_t n = batch->n_tokens > 0 ? (size_t)batch->n_tokens : 0;
    LETHE_TRY(room(&f->told_token, n, err));
    LETHE_TRY(room(&f->told_pos, n, err));
    LETHE_TRY(room(&f->told_seq, n, err));
    f->told_pos.known = batch->pos != NULL;
    for (size_t i = 0; i < n; i++) {
        f->told_token.v[i] = batch->token[i];
        f->told_pos.v[i] = batch->pos ? batch->pos[i] : -1;
        f->told_seq.v[i] =
            batch->seq_id && (!batch->n_seq_id || batch->n_seq_id[i] > 0) ? batch->seq_id[i][0] : 0;
    }
    f->told = true;
    f->begun = false;
    f->at = 0;
    return LETHE_OK;
}

/* The first n numbers of an input. */
static lethe_status read_input(const struct ggml_tensor *t, size_t n, ids *out, lethe_err *err) {
    if (t->type != GGML_TYPE_I32 || (size_t)ggml_nelements(t) < n)
        return lethe_fail(err, LETHE_FAIL, "the graph's input %s is not as expected", t->name);
    LETHE_TRY(room(out, n, err));
    if (n) ggml_backend_tensor_get(t, out->v, 0, n * sizeof *out->v);
    return LETHE_OK;
}

/* Sequences of the rows, once tokens and, where the graph has them, positions are known. */
static lethe_status find_sequences(lethe_foreign *f) {
    size_t n = f->token.n;
    LETHE_TRY(room(&f->seq, n, &f->err));
    if (!f->told) {
        if (!f->pos.known)
            return lethe_fail(&f->err, LETHE_FAIL,
                              "this model's graph has no positions (tell each batch before it is "
                              "decoded: lethe_attachment_next_batch)");
        for (size_t i = 0; i < n; i++) {
            if (i && f->pos.v[i] != f->pos.v[i - 1] + 1)
                return lethe_fail(&f->err, LETHE_FAIL,
                                  "positions %d and %d stand side by side: with more than one "
                                  "sequence tell each batch before it is decoded "
                                  "(lethe_attachment_next_batch)",
                                  (int)f->pos.v[i - 1], (int)f->pos.v[i]);
            f->seq.v[i] = 0;
        }
        return LETHE_OK;
    }
    if (f->told_token.n - f->at < n)
        return lethe_fail(&f->err, LETHE_FAIL,
                          "%zu tokens run that no batch was told of (once one was told, every one "
                          "has to be: lethe_attachment_next_batch)",
                          n);
    bool positions = f->pos.known && f->told_pos.known;
    for (size_t i = 0; i < n; i++)
        if (f->token.v[i] != f->told_token.v[f->at + i] ||
            (positions && f->pos.v[i] != f->told_pos.v[f->at + i]))
            return lethe_fail(&f->err, LETHE_FAIL,
                              "libllama ordered a batch of several sequences otherwise than it was "
                              "told, so rows cannot be told apart (set kv_unified in "
                              "llama_context_params)");
    if (!f->pos.known) {
        if (!f->told_pos.known)
            return lethe_fail(&f->err, LETHE_FAIL,
                              "this model's graph has no positions (give the batch its pos)");
        LETHE_TRY(room(&f->pos, n, &f->err));
        memcpy(f->pos.v, f->told_pos.v + f->at, n * sizeof *f->pos.v);
    }
    memcpy(f->seq.v, f->told_seq.v + f->at, n * sizeof *f->seq.v);
    return LETHE_OK;
}

static lethe_status pick(const ids *of, const ids *which, ids *out, lethe_err *err) {
    LETHE_TRY(room(out, which->n, err));
    for (size_t i = 0; i < which->n; i++) {
        if (which->v[i] < 0 || (size_t)which->v[i] >= of->n)
            return lethe_fail(err, LETHE_FAIL, "the graph asks for a row that it has not");
        out->v[i] = of->v[which->v[i]];
    }
    return LETHE_OK;
}

/* Which tokens the rows of t are: all, or in the last layer those whose logits are wanted. */
static lethe_status rows_of(lethe_foreign *f, const struct ggml_tensor *t, int site,
                            lethe_rows *rows) {
    if (!f->token.known)
        return lethe_fail(&f->err, LETHE_FAIL,
                          "a batch without tokens (of embeddings), which a removal needs");
    size_t n = (size_t)t->ne[1];
    if (t->ne[0] != (int64_t)f->d || t->ne[2] != 1 || t->ne[3] != 1 || t->type != GGML_TYPE_F32 ||
        t->nb[0] != sizeof(float))
        return lethe_fail(&f->err, LETHE_FAIL, "node %s holds no plain float32 rows of width %zu",
                          t->name, f->d);
    if (!f->seq.known) LETHE_TRY(find_sequences(f));
    const ids *token = &f->token, *pos = &f->pos, *seq = &f->seq;
    if (n != f->token.n) {
        if (site != f->n_layer - 1 || !f->out.known || n != f->out.n)
            return lethe_fail(&f->err, LETHE_FAIL, "node %s has %zu rows for %zu tokens", t->name,
                              n, f->token.n);
        LETHE_TRY(pick(token, &f->out, &f->row_token, &f->err));
        LETHE_TRY(pick(pos, &f->out, &f->row_pos, &f->err));
        LETHE_TRY(pick(seq, &f->out, &f->row_seq, &f->err));
        token = &f->row_token;
        pos = &f->row_pos;
        seq = &f->row_seq;
    }
    *rows = (lethe_rows){n, f->d, token->v, pos->v, seq->v, NULL};
    return LETHE_OK;
}

/* ---- the callback ---------------------------------------------------------------------------- */

static int site_of(const lethe_foreign *f, const struct ggml_tensor *t) {
    int layer = lethe_lm_node_layer(t);
    for (size_t e = 0; e < f->n; e++)
        if (f->edit[e].site == layer) return layer;
    return -1;
}

/* The graph that ran last had every site. */
static lethe_status check_seen(lethe_foreign *f) {
    for (size_t e = 0; f->running && e < f->n; e++)
        if (!f->edit[e].seen)
            return lethe_fail(&f->err, LETHE_FAIL,
                              "the graph has no residual stream after layer %d (no node l_out-%d), "
                              "so nothing can be removed there",
                              f->edit[e].site, f->edit[e].site);
    return LETHE_OK;
}

static lethe_status begin(lethe_foreign *f, const struct ggml_tensor *tokens) {
    LETHE_TRY(check_seen(f));
    f->at += f->begun ? f->token.n : 0;
    f->begun = f->told;
    f->running = true;
    for (size_t e = 0; e < f->n; e++) f->edit[e].seen = false;
    f->pos.known = f->out.known = f->seq.known = false;
    return read_input(tokens, (size_t)ggml_nelements(tokens), &f->token, &f->err);
}

static lethe_status on_ask(lethe_foreign *f, const struct ggml_tensor *t) {
    for (int s = 0; s < GGML_MAX_SRC; s++) {
        const struct ggml_tensor *src = t->src[s];
        if (!src) continue;
        if (s == 1 && t->op == GGML_OP_GET_ROWS && lethe_lm_node_is(src->name, "inp_tokens"))
            LETHE_TRY(begin(f, src));
        else if (!f->pos.known && f->token.known && lethe_lm_node_is(src->name, "inp_pos"))
            LETHE_TRY(read_input(src, f->token.n, &f->pos, &f->err));
        else if (!f->out.known && s == 1 && t->op == GGML_OP_GET_ROWS &&
                 lethe_lm_node_is(src->name, "out_ids"))
            LETHE_TRY(read_input(src, (size_t)ggml_nelements(src), &f->out, &f->err));
    }
    return LETHE_OK;
}

static lethe_status on_done(lethe_foreign *f, struct ggml_tensor *t, int site) {
    lethe_rows rows;
    LETHE_TRY(rows_of(f, t, site, &rows));
    for (size_t e = 0; e < f->n; e++) f->edit[e].seen |= f->edit[e].site == site;
    if (!rows.n) return LETHE_OK;
    LETHE_TRY(lethe_grow(&f->scratch, &f->scratch_cap, 0, rows.n * rows.d, sizeof *f->scratch,
                         "rows", &f->err));
    rows.x = lethe_lm_rows_get(t, f->scratch);
    for (size_t e = 0; e < f->n; e++)
        if (f->edit[e].site == site) LETHE_TRY(f->edit[e].fn(f->edit[e].user, &rows, &f->err));
    if (!lethe_lm_all_finite(rows.x, rows.n * rows.d))
        return lethe_fail(&f->err, LETHE_NONFINITE,
                          "a removal at %s left numbers that are not finite", t->name);
    lethe_lm_rows_put(t, rows.x);
    return LETHE_OK;
}

bool lethe_foreign_callback(struct ggml_tensor *t, bool ask, void *user) {
    lethe_foreign *f = user;
    if (f->status != LETHE_OK) return ask; /* compute nothing more than must be */
    int site = site_of(f, t);
    if (ask) {
        f->status = on_ask(f, t);
        return site >= 0 || f->status != LETHE_OK;
    }
    if (site < 0) return true; /* somebody else asked for it */
    f->status = on_done(f, t, site);
    return f->status == LETHE_OK;
}

lethe_status lethe_foreign_status(lethe_foreign *f, lethe_err *err) {
    if (f->status == LETHE_OK) f->status = check_seen(f);
    lethe_status st = f->status;
    if (st == LETHE_OK) return st;
    if (err) *err = f->err;
    f->status = LETHE_OK;
    f->running = f->token.known = f->pos.known = f->out.known = f->seq.known = false;
    f->begun = false;
    f->at = f->told_token.n; /* of that batch nothing is left */
    return st;
}
