/* SPDX-License-Identifier: MIT
 *
 * The reference experiment's list of features (results/MODEL/layer_L_features.pt): "indices", best
 * first, and statistics, each a tensor with an element for every latent or, as freq_diff, for every
 * index. It says neither how many tokens were counted (0 here) nor which SAE it belongs to; the
 * layer is told by its name alone.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "format/bundle.h"
#include "stage/features_parts.h"

typedef struct pt_field {
    const char *name;
    size_t offset; /* in lethe_feature */
    bool count;    /* uint64_t; else double */
    double lo, hi;
} pt_field;

#define F(name) offsetof(lethe_feature, name)
static const pt_field fields[] = {
    {"freq_diff", F(diff), false, -HUGE_VAL, HUGE_VAL},
    {"score", F(score), false, -HUGE_VAL, HUGE_VAL},
    {"act_ratio", F(act_ratio), false, 0, HUGE_VAL},
    {"specificity_ratio", F(ratio), false, 0, HUGE_VAL},
    {"target_freq", F(forget.freq), false, 0, HUGE_VAL},
    {"neutral_freq", F(retain.freq), false, 0, HUGE_VAL},
    {"target_mean_activation", F(forget.mean), false, 0, HUGE_VAL},
    {"neutral_mean_activation", F(retain.mean), false, 0, HUGE_VAL},
    {"target_fire_count", F(forget.fires), true, 0, 9e15},
    {"neutral_fire_count", F(retain.fires), true, 0, 9e15},
};
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static lethe_status read_indices(const lethe_bundle *b, lethe_feature_set *s, lethe_err *err) {
    const lethe_tensor *t;
    LETHE_TRY(lethe_bundle_want(b, "indices", 1, (const size_t[]){0}, &t, err));
    int64_t selected = (int64_t)t->count;
    lethe_json_ref top = lethe_json_top((json_t *)(uintptr_t)lethe_bundle_values(b),
                                        lethe_bundle_path(b)),
                   k = lethe_json_key(&top, "selected_k");
    if (k.value) LETHE_TRY(lethe_json_want_int(&k, 1, selected, &selected, err));
    if (!selected)
        return lethe_fail(err, LETHE_FORMAT, "%s: \"indices\" is empty", lethe_bundle_path(b));
    size_t n = (size_t)selected;
    LETHE_TRY(lethe_zalloc(&s->item, n, sizeof *s->item, "the features of a file", err));
    s->n = n;
    int32_t *index;
    LETHE_TRY(lethe_alloc(&index, n, sizeof *index, "the features of a file", err));
    lethe_status st = lethe_tensor_to_i32(t, 0, n, index, err);
    if (st) lethe_err_prefix(err, "%s", lethe_bundle_path(b));
    for (size_t i = 0; i < n && !st; i++) s->item[i].index = index[i];
    lethe_free(index);
    return st;
}

/* Statistics of all latents say how many there are. */
static lethe_status find_m(const lethe_bundle *b, size_t listed, size_t *m, lethe_err *err) {
    *m = 0;
    for (size_t i = 0; i < COUNT(fields); i++) {
        const lethe_tensor *t = lethe_bundle_find(b, fields[i].name);
        if (t && t->ndim == 1 && t->count > *m) *m = t->count;
    }
    if (*m >= listed && *m <= INT32_MAX && *m) return LETHE_OK;
    return lethe_fail(err, LETHE_FORMAT,
                      "%s: no statistics of all latents, such as \"target_freq\" [m]",
                      lethe_bundle_path(b));
}

static lethe_status read_field(const lethe_bundle *b, const pt_field *f, lethe_feature_set *s,
                               lethe_err *err) {
    const lethe_tensor *t = lethe_bundle_find(b, f->name), *list = lethe_bundle_find(b, "indices");
    if (!t) return LETHE_OK;
    bool all = t->count == s->m;
    if (t->ndim != 1 || (!all && t->count != list->count))
        return lethe_fail(err, LETHE_FORMAT,
                          "%s: \"%s\": got %zu elements, want %zu (the latents) or %zu (the list)",
                          lethe_bundle_path(b), f->name, t->count, s->m, list->count);
    for (size_t i = 0; i < s->n; i++) {
        size_t at = all ? (size_t)s->item[i].index : i;
        float v;
        if (lethe_tensor_to_f32(t, at, 1, &v, err))
            return lethe_err_prefix(err, "%s", lethe_bundle_path(b));
        if (!isfinite(v) || (double)v < f->lo || (double)v > f->hi)
            return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": element %zu is %g, want %s",
                              lethe_bundle_path(b), f->name, at, (double)v,
                              f->lo < 0 ? "a finite number" : "a finite number, not below 0");
        if (f->count) {
            uint64_t n = (uint64_t)v;
            memcpy((char *)&s->item[i] + f->offset, &n, sizeof n);
        } else {
            double d = (double)v;
            memcpy((char *)&s->item[i] + f->offset, &d, sizeof d);
        }
    }
    return LETHE_OK;
}

static void layer_of_name(const char *path, lethe_sae_meta *meta) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int layer, end = 0;
    if (sscanf(name, "layer_%6d_features%n", &layer, &end) == 1 && end && layer >= 0) {
        meta->layer = layer;
        meta->hook = 1;
    }
}

static lethe_status read_all(const lethe_bundle *b, lethe_feature_set *s, lethe_err *err) {
    LETHE_TRY(read_indices(b, s, err));
    LETHE_TRY(find_m(b, s->n, &s->m, err));
    LETHE_TRY(lethe_feature_set_check(s, lethe_bundle_path(b), err));
    for (size_t i = 0; i < COUNT(fields); i++) LETHE_TRY(read_field(b, &fields[i], s, err));
    s->opts = lethe_feature_defaults();
    s->opts.num_features = s->passed = s->n;
    return LETHE_OK;
}

lethe_status lethe_feature_set_load_pt(lethe_feature_set *out, const char *path, lethe_err *err) {
    lethe_bundle *b;
    LETHE_TRY(lethe_bundle_open(&b, path, err));
    lethe_feature_set s = {.sae = {.layer = -1, .hook = -1}};
    layer_of_name(path, &s.sae);
    lethe_status st = read_all(b, &s, err);
    lethe_bundle_close(&b);
    if (st)
        lethe_feature_set_free(&s);
    else
        *out = s;
    return st;
}
