/* SPDX-License-Identifier: MIT
 *
 * Taps and edits. ggml's scheduler asks about every node of the graph in turn ("ask") and, where
 * the answer is true, computes up to that node and hands it over ("done"). Answering true for the
 * wanted sites alone costs nothing measurable.
 *
 * Sites. The output of layer L is the node `l_out-L`, which the next layer reads both for its norm
 * and for its residual sum: what is written there reaches the whole rest of the model. The input of
 * layer 0 goes by another name in each architecture (the embedding, the embedding scaled, the sum
 * with the positions), so it is found by what it is: the [d, n] float tensor that the first node of
 * layer 0 (the first whose name ends in "-0") reads. One token is run for it, as far as that node;
 * later runs know the node by its place and name and check that layer 0 reads just it.
 *
 * Stopping. "done" answering false ends one split of the graph (the stretch on one device), and the
 * scheduler goes on with the next. So after a stop we ask for the first node of each later split
 * and end the split there: one node of each is computed, on stale numbers that nobody reads.
 */
#include <ggml-backend.h>
#include <ggml.h>
#include <string.h>

#include "lm_internal.h"

/* ---- the list ------------------------------------------------------------------------------- */

static lethe_status add_hook(lethe_lm *lm, int layer, lethe_hook hook, bool edit, lethe_rows_fn fn,
                             void *user, lethe_err *err) {
    LETHE_TRY(lethe_lm_check_layer(lm, layer, err));
    if (lm->n_hooks == LETHE_LM_MAX_HOOKS)
        return lethe_fail(err, LETHE_USAGE, "more than %d hooks at once", LETHE_LM_MAX_HOOKS);
    lm->hook[lm->n_hooks++] = (lm_hook){
        .site = hook == LETHE_HOOK_POST ? layer : layer - 1, .edit = edit, .fn = fn, .user = user};
    return LETHE_OK;
}

lethe_status lethe_lm_add_tap(lethe_lm *lm, int layer, lethe_hook hook, lethe_rows_fn fn,
                              void *user, lethe_err *err) {
    return add_hook(lm, layer, hook, false, fn, user, err);
}

lethe_status lethe_lm_add_edit(lethe_lm *lm, int layer, lethe_hook hook, lethe_rows_fn fn,
                               void *user, lethe_err *err) {
    return add_hook(lm, layer, hook, true, fn, user, err);
}

void lethe_lm_clear_hooks(lethe_lm *lm) {
    lm->n_hooks = 0;
}

bool lethe_lm_has_hook_at(const lethe_lm *lm, int site) {
    for (size_t h = 0; h < lm->n_hooks; h++)
        if (lm->hook[h].site == site) return true;
    return false;
}

bool lethe_lm_has_tap_at(const lethe_lm *lm, int site) {
    for (size_t h = 0; h < lm->n_hooks; h++)
        if (lm->hook[h].site == site && !lm->hook[h].edit) return true;
    return false;
}

lethe_status lethe_lm_check_seen(const lethe_lm *lm, lethe_err *err) {
    for (size_t h = 0; h < lm->n_hooks; h++) {
        if (lm->hook[h].seen || lm->hook[h].site > lm->stop_site) continue;
        return lethe_fail(err, LETHE_FAIL,
                          "architecture %s: the graph has no residual stream after layer %d (no "
                          "node l_out-%d), so it cannot be recorded or edited there",
                          lm->info.arch, lm->hook[h].site, lm->hook[h].site);
    }
    return LETHE_OK;
}

/* ---- recognising nodes ---------------------------------------------------------------------- */

static bool ends_layer0(const char *name) {
    size_t n = strlen(name);
    return n > 2 && name[n - 2] == '-' && name[n - 1] == '0';
}

static bool is_stream(const lethe_lm *lm, const struct ggml_tensor *t) {
    return t && t->type == GGML_TYPE_F32 && t->ne[0] == (int64_t)lm->info.d_model &&
           t->ne[1] == (int64_t)lm->batch.n && t->ne[2] == 1 && t->ne[3] == 1;
}

/* Learning, at a node before layer 0 or at layer 0's first: true when the search is over. */
static bool learn(lethe_lm *lm, const struct ggml_tensor *t) {
    if (!ends_layer0(t->name)) {
        if (lm->node < 64) strcpy(lm->seen_name[lm->node], t->name); /* both are GGML_MAX_NAME */
        return false;
    }
    for (int s = 0; s < GGML_MAX_SRC; s++) {
        if (!is_stream(lm, t->src[s])) continue;
        for (int n = lm->node < 64 ? lm->node : 64; n-- > 0;) {
            if (!lethe_lm_node_is(t->src[s]->name, lm->seen_name[n])) continue;
            lm->input.known = true;
            lm->input.number = n;
            strcpy(lm->input.name, lm->seen_name[n]);
            return true;
        }
    }
    return true;
}

_Static_assert(GGML_MAX_NAME == 64, "lm_input_node.name and seen_name hold a node's name");

#define NO_SITE INT_MIN

static int site_of(const lethe_lm *lm, const struct ggml_tensor *t) {
    int layer = lethe_lm_node_layer(t);
    if (layer >= 0 && layer < lm->info.n_layer) return layer;
    if (lm->input.known && lm->node == lm->input.number && !strcmp(t->name, lm->input.name))
        return LETHE_LM_SITE_INPUT;
    return NO_SITE;
}

/* ---- checks --------------------------------------------------------------------------------- */

static bool fail(lethe_lm *lm, lethe_status st) {
    lm->status = st;
    return false;
}

/* Rows are in the order of our batch: the tokens that the embedding looks up are the batch's. */
static bool check_order(lethe_lm *lm, const struct ggml_tensor *t) {
    const struct ggml_tensor *ids = t->src[1];
    if (t->op != GGML_OP_GET_ROWS || !ids || !lethe_lm_node_is(ids->name, "inp_tokens"))
        return true;
    if (ids->type != GGML_TYPE_I32 || ggml_nelements(ids) != (int64_t)lm->batch.n)
        return fail(lm, lethe_fail(lm->err, LETHE_FAIL,
                                   "libllama cut a batch of %zu tokens into pieces of %lld, so "
                                   "rows cannot be told apart",
                                   lm->batch.n, (long long)ggml_nelements(ids)));
    int32_t got[LETHE_LM_UBATCH];
    ggml_backend_tensor_get(ids, got, 0, lm->batch.n * sizeof *got);
    if (memcmp(got, lm->batch.raw.token, lm->batch.n * sizeof *got))
        return fail(lm, lethe_fail(lm->err, LETHE_FAIL, "libllama reordered a batch"));
    lm->checked = true;
    return true;
}

/* Layer 0 reads the tensor that the hooks at its input were given. */
static bool check_input(lethe_lm *lm, const struct ggml_tensor *t) {
    if (lm->layer0 || !ends_layer0(t->name)) return true;
    lm->layer0 = true;
    if (!lethe_lm_has_hook_at(lm, LETHE_LM_SITE_INPUT)) return true;
    for (int s = 0; s < GGML_MAX_SRC; s++) {
        const struct ggml_tensor *src = t->src[s];
        if (src && lm->input_tensor &&
            (src == lm->input_tensor || lethe_lm_node_is(src->name, lm->input.name)))
            return true;
    }
    return fail(lm, lethe_fail(lm->err, LETHE_FAIL,
                               "architecture %s: layer 0 does not read the node %s in this run",
                               lm->info.arch, lm->input.name));
}

/* ---- running hooks -------------------------------------------------------------------------- */

/* Which tokens the rows of t are: all of the batch, or in the last layer only the outputs. */
static bool rows_of(lethe_lm *lm, const struct ggml_tensor *t, int site, lethe_rows *rows) {
    const lm_batch *b = &lm->batch;
    size_t n = (size_t)t->ne[1];
    bool shape = t->ne[0] == (int64_t)lm->info.d_model && t->ne[2] == 1 && t->ne[3] == 1;
    bool all = n == b->n, outputs = !all && site == lm->info.n_layer - 1 && n == b->n_out;
    if (!shape || (!all && !outputs))
        return fail(lm,
                    lethe_fail(lm->err, LETHE_FAIL,
                               "architecture %s: node %s is [%lld, %lld, %lld, %lld], want "
                               "[%zu, %zu] (width, tokens)",
                               lm->info.arch, t->name, (long long)t->ne[0], (long long)t->ne[1],
                               (long long)t->ne[2], (long long)t->ne[3], lm->info.d_model, b->n));
    if (t->type != GGML_TYPE_F32 || t->nb[0] != sizeof(float))
        return fail(lm, lethe_fail(lm->err, LETHE_FAIL,
                                   "architecture %s: node %s holds %s, not plain float32 rows",
                                   lm->info.arch, t->name, ggml_type_name(t->type)));
    *rows = (lethe_rows){.n = n,
                         .d = lm->info.d_model,
                         .token = all ? b->raw.token : b->out_token,
                         .pos = all ? b->raw.pos : b->out_pos,
                         .seq = all ? b->seq : b->out_seq};
    return true;
}

static bool run_hooks(lethe_lm *lm, struct ggml_tensor *t, int site) {
    lethe_rows rows;
    if (!rows_of(lm, t, site, &rows)) return false;
    if (!lm->checked)
        return fail(lm, lethe_fail(lm->err, LETHE_FAIL,
                                   "architecture %s: cannot verify the order of the rows",
                                   lm->info.arch));
    for (size_t h = 0; h < lm->n_hooks; h++) lm->hook[h].seen |= lm->hook[h].site == site;
    if (!rows.n) return true; /* the last layer of a call without outputs: no memory at all */
    rows.x = lethe_lm_rows_get(t, lm->scratch);
    bool edited = false;
    for (size_t h = 0; h < lm->n_hooks; h++) {
        const lm_hook *k = &lm->hook[h];
        if (k->site != site) continue;
        lethe_status st = k->fn(k->user, &rows, lm->err);
        if (st != LETHE_OK) return fail(lm, st);
        if (!k->edit) continue;
        edited = true;
        if (!lethe_lm_all_finite(rows.x, rows.n * rows.d))
            return fail(lm, lethe_fail(lm->err, LETHE_NONFINITE,
                                       "an edit at %s left numbers that are not finite", t->name));
    }
    if (edited) lethe_lm_rows_put(t, rows.x);
    return true;
}

static bool on_ask(lethe_lm *lm, const struct ggml_tensor *t) {
    if (lm->stopped || lm->status != LETHE_OK) return true;
    if (lm->learning) {
        if (learn(lm, t)) return true;
        lm->node++;
        return false;
    }
    int site = site_of(lm, t);
    lm->node++;
    if (!lm->n_hooks) return false;
    if (!check_order(lm, t) || !check_input(lm, t)) return true;
    if (site == NO_SITE || !lethe_lm_has_hook_at(lm, site)) return false;
    if (site == LETHE_LM_SITE_INPUT) lm->input_tensor = t;
    return true;
}

bool lethe_lm_eval_callback(struct ggml_tensor *t, bool ask, void *user) {
    lethe_lm *lm = user;
    if (ask) return on_ask(lm, t);
    if (lm->stopped || lm->status != LETHE_OK) return false;
    if (lm->learning) {
        lm->stopped = true;
        return false;
    }
    int site = t == lm->input_tensor ? LETHE_LM_SITE_INPUT : site_of(lm, t);
    if (!run_hooks(lm, t, site)) return false;
    lm->stopped = site == lm->stop_site;
    return !lm->stopped;
}
