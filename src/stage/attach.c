/* SPDX-License-Identifier: MIT
 *
 * The library's public face (include/lethe/lethe.h): ablations with the compact gate, at the sites
 * of a context that is not ours.
 */
#include "lethe/lethe.h"

#include "base/mem.h"
#include "lm/foreign.h"
#include "stage/ablate.h"
#include "stage/patch.h"

/* ---- patches --------------------------------------------------------------------------------- */

lethe_status lethe_patch_open(lethe_patch **out, const char *path, lethe_err *err) {
    lethe_patch *p;
    LETHE_TRY(lethe_zalloc(&p, 1, sizeof *p, "a patch", err));
    lethe_status st = lethe_patch_load(p, path, err);
    if (st == LETHE_OK)
        *out = p;
    else
        lethe_free(p);
    return st;
}

void lethe_patch_close(lethe_patch **patch) {
    if (!*patch) return;
    lethe_patch_free(*patch);
    lethe_free(*patch);
    *patch = NULL;
}

size_t lethe_patch_features(const lethe_patch *patch) {
    return patch->n;
}

int32_t lethe_patch_feature(const lethe_patch *patch, size_t i) {
    return i < patch->n ? patch->feature[i] : -1;
}

int lethe_patch_layer(const lethe_patch *patch) {
    return patch->layer;
}

const char *lethe_patch_model_name(const lethe_patch *patch) {
    return patch->model_name;
}

double lethe_patch_strength(const lethe_patch *patch) {
    return patch->how.strength;
}

/* ---- attachments ----------------------------------------------------------------------------- */

typedef struct part {
    lethe_attachment *owner;
    const lethe_patch *patch;
    lethe_ablation *ablation;
    int32_t which;
} part;

struct lethe_attachment {
    lethe_foreign *context;
    part *part; /* [n] */
    size_t n;
    bool *skip; /* [skip_cap] */
    size_t skip_cap;
    lethe_fired *fired; /* [n_fired] */
    size_t n_fired, fired_cap;
    bool asked; /* the list was handed out: what fires next begins another */
    lethe_status lost;
    lethe_err lost_err;
};

static void on_firing(void *user, const lethe_firing *f) {
    part *p = user;
    lethe_attachment *a = p->owner;
    size_t room = LETHE_FIRED_MOST - a->n_fired, n = f->n < room ? f->n : room;
    lethe_status st = lethe_grow(&a->fired, &a->fired_cap, a->n_fired, a->n_fired + n,
                                 sizeof *a->fired, "what fired", &a->lost_err);
    if (st != LETHE_OK) {
        a->lost = st;
        return;
    }
    for (size_t i = 0; i < n; i++)
        a->fired[a->n_fired++] = (lethe_fired){.seq = f->seq,
                                               .pos = f->pos,
                                               .token = f->token,
                                               .which = p->which,
                                               .feature = p->patch->feature[f->feature[i]],
                                               .value = f->value[i],
                                               .acted = f->acted};
}

static lethe_status on_rows(void *user, const lethe_rows *rows, lethe_err *err) {
    part *p = user;
    lethe_attachment *a = p->owner;
    if (a->asked) {
        a->asked = false;
        a->n_fired = 0;
    }
    bool *skip = NULL;
    if (!p->patch->special) {
        LETHE_TRY(lethe_grow(&a->skip, &a->skip_cap, 0, rows->n, sizeof *a->skip,
                             "marks of special tokens", err));
        skip = a->skip;
        for (size_t t = 0; t < rows->n; t++)
            skip[t] = lethe_foreign_is_special(a->context, rows->token[t]);
    }
    LETHE_TRY(lethe_ablation_rows(p->ablation, rows, skip, err));
    if (a->lost == LETHE_OK) return LETHE_OK;
    lethe_status st = a->lost;
    a->lost = LETHE_OK;
    return lethe_fail(err, st, "%s", a->lost_err.text);
}

static lethe_status add(lethe_attachment *a, const lethe_patch *patch, lethe_err *err) {
    const lethe_lm_info info = {.name = "given", .d_model = lethe_foreign_width(a->context)};
    LETHE_TRY(lethe_patch_check_model(patch, &info, "the patch", err));
    part *p = &a->part[a->n];
    *p = (part){.owner = a, .patch = patch, .which = (int32_t)a->n};
    LETHE_TRY(lethe_ablation_open_patch(&p->ablation, patch, err));
    a->n++;
    lethe_ablation_watch(p->ablation, on_firing, p);
    return lethe_foreign_add_edit(a->context, patch->layer, patch->hook, on_rows, p, err);
}

lethe_status lethe_attachment_open(lethe_attachment **out, const struct llama_model *model,
                                   const lethe_patch *const *patch, size_t n, lethe_err *err) {
    if (!n) return lethe_fail(err, LETHE_USAGE, "an attachment needs a patch at least");
    lethe_attachment *a;
    LETHE_TRY(lethe_zalloc(&a, 1, sizeof *a, "an attachment", err));
    lethe_status st = lethe_foreign_open(&a->context, model, err);
    if (st == LETHE_OK) st = lethe_zalloc(&a->part, n, sizeof *a->part, "patches", err);
    for (size_t i = 0; i < n && st == LETHE_OK; i++) st = add(a, patch[i], err);
    if (st == LETHE_OK)
        *out = a;
    else
        lethe_attachment_close(&a);
    return st;
}

void lethe_attachment_close(lethe_attachment **attachment) {
    lethe_attachment *a = *attachment;
    if (!a) return;
    for (size_t i = 0; i < a->n; i++) lethe_ablation_close(&a->part[i].ablation);
    lethe_foreign_close(&a->context);
    lethe_free(a->part);
    lethe_free(a->skip);
    lethe_free(a->fired);
    lethe_free(a);
    *attachment = NULL;
}

bool lethe_eval_callback(struct ggml_tensor *t, bool ask, void *user) {
    return lethe_foreign_callback(t, ask, ((lethe_attachment *)user)->context);
}

lethe_status lethe_attachment_next_batch(lethe_attachment *a, const struct llama_batch *batch,
                                         lethe_err *err) {
    return lethe_foreign_next(a->context, batch, err);
}

lethe_status lethe_attachment_status(lethe_attachment *a, lethe_err *err) {
    return lethe_foreign_status(a->context, err);
}

/* ---- tuning ---------------------------------------------------------------------------------- */

static lethe_status check(const lethe_attachment *a, int which, int32_t seq, lethe_err *err) {
    if (which < LETHE_EVERY || (which >= 0 && (size_t)which >= a->n))
        return lethe_fail(err, LETHE_USAGE, "patch %d: there are 0 to %zu", which, a->n - 1);
    if (seq < LETHE_EVERY || seq > UINT16_MAX)
        return lethe_fail(err, LETHE_USAGE, "sequence %d is out of range", (int)seq);
    return LETHE_OK;
}

_Static_assert(LETHE_EVERY == LETHE_ALL_SEQS, "both stand for every sequence");

lethe_status lethe_attachment_switch(lethe_attachment *a, int which, int32_t seq, bool on,
                                     lethe_err *err) {
    LETHE_TRY(check(a, which, seq, err));
    for (size_t i = 0; i < a->n; i++)
        if (which == LETHE_EVERY || (size_t)which == i)
            LETHE_TRY(lethe_ablation_switch(a->part[i].ablation, 0, seq, on, err));
    return LETHE_OK;
}

lethe_status lethe_attachment_strength(lethe_attachment *a, int which, int32_t seq, double strength,
                                       lethe_err *err) {
    LETHE_TRY(check(a, which, seq, err));
    for (size_t i = 0; i < a->n; i++)
        if (which == LETHE_EVERY || (size_t)which == i)
            LETHE_TRY(lethe_ablation_strength_in(a->part[i].ablation, 0, seq, strength, err));
    return LETHE_OK;
}

const lethe_fired *lethe_attachment_fired(lethe_attachment *a, size_t *n) {
    if (a->asked) a->n_fired = 0; /* nothing has run since */
    a->asked = true;
    *n = a->n_fired;
    return a->fired;
}
