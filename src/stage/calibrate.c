/* SPDX-License-Identifier: MIT
 *
 * A row's activations are kept as one float a feature: max(a, 0), with the sign bit set where the
 * exact gate fired (so a fired 0 is -0).
 */
#include "stage/calibrate.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sae/encoder.h"
#include "stage/gate.h"

#define BLOCK LETHE_CALIBRATION_BLOCK
#define EVERY 5 /* of so many blocks the last is held out */

typedef struct values {
    float *v;
    size_t n, cap;
} values;

/* What is kept of one feature's calibration rows. */
typedef struct record {
    values fired, quiet; /* at most keep, and 2 keep while they come in */
    uint64_t fires, quiets, stride;
    float floor; /* below it quiet values are left out */
    float most;  /* largest activation seen */
} record;

struct lethe_calibration {
    lethe_encoder encoder;
    const lethe_patch *patch;
    size_t keep;
    int32_t *place; /* [m] of a latent among the features, or -1 */
    lethe_codes codes;
    float *a;       /* [BLOCK, n] */
    record *record; /* [n] */
    uint64_t seen, rows;
    float least_kth; /* smallest k-th-largest activation of a row */

    float *held; /* [held_n, n], whole blocks, of which the last may still be growing */
    size_t held_n, held_cap;
    uint64_t held_blocks, held_every;
};

lethe_status lethe_calibration_open(lethe_calibration **out, const lethe_sae *sae,
                                    const lethe_patch *patch, size_t keep, size_t held,
                                    lethe_err *err) {
    const size_t n = patch->n;
    lethe_calibration *c;
    LETHE_TRY(lethe_zalloc(&c, 1, sizeof *c, "a calibration", err));
    c->patch = patch;
    c->keep = keep ? keep : LETHE_CALIBRATION_KEEP;
    c->held_every = 1;
    c->least_kth = FLT_MAX;
    /* Room for an even number of blocks, so that halving leaves half. */
    size_t blocks = (held ? held : LETHE_CALIBRATION_HELD) / n / BLOCK / 2 * 2;
    c->held_cap = (blocks < 2 ? 2 : blocks) * BLOCK;
    lethe_status st = lethe_encoder_open(&c->encoder, sae, err);
    if (!st) st = lethe_alloc(&c->place, sae->m, sizeof *c->place, "places of latents", err);
    if (!st) st = lethe_codes_alloc(&c->codes, BLOCK, sae->k, err);
    if (!st) st = lethe_alloc(&c->a, BLOCK, n * sizeof *c->a, "activations", err);
    if (!st) st = lethe_zalloc(&c->record, n, sizeof *c->record, "records of features", err);
    if (st) {
        lethe_calibration_close(&c);
        return st;
    }
    for (size_t i = 0; i < sae->m; i++) c->place[i] = -1;
    for (size_t i = 0; i < n; i++) {
        assert(patch->feature[i] >= 0 && (size_t)patch->feature[i] < sae->m);
        c->place[patch->feature[i]] = (int32_t)i;
        c->record[i].stride = 1;
    }
    *out = c;
    return LETHE_OK;
}

void lethe_calibration_close(lethe_calibration **cp) {
    lethe_calibration *c = *cp;
    if (!c) return;
    for (size_t i = 0; c->record && i < c->patch->n; i++) {
        lethe_free(c->record[i].fired.v);
        lethe_free(c->record[i].quiet.v);
    }
    lethe_encoder_close(&c->encoder);
    lethe_codes_free(&c->codes);
    lethe_free(c->place);
    lethe_free(c->a);
    lethe_free(c->record);
    lethe_free(c->held);
    lethe_free(c);
    *cp = NULL;
}

/* ---- calibration rows ------------------------------------------------------------------------ */

static int falling(const void *pa, const void *pb) {
    const float *a = pa, *b = pb;
    return (*a < *b) - (*a > *b);
}

static lethe_status put(values *l, float v, lethe_err *err) {
    LETHE_TRY(lethe_grow(&l->v, &l->cap, l->n, l->n + 1, sizeof *l->v, "activations", err));
    l->v[l->n++] = v;
    return LETHE_OK;
}

static void every_second(values *l) {
    for (size_t i = 0; i < l->n / 2; i++) l->v[i] = l->v[2 * i];
    l->n /= 2;
}

static lethe_status add_quiet(record *r, float v, size_t keep, lethe_err *err) {
    if (r->quiets++ % r->stride || v <= r->floor) return LETHE_OK;
    if (r->quiet.n == 2 * keep) {
        qsort(r->quiet.v, r->quiet.n, sizeof v, falling);
        r->quiet.n = keep;
        r->floor = r->quiet.v[keep - 1];
        if (v <= r->floor) return LETHE_OK;
    }
    return put(&r->quiet, v, err);
}

static lethe_status add_fired(record *r, float v, size_t keep, lethe_err *err) {
    if (r->fires++ % r->stride) return LETHE_OK;
    if (r->fired.n == keep) {
        every_second(&r->fired);
        every_second(&r->quiet);
        r->stride *= 2;
    }
    return put(&r->fired, v, err);
}

/* Of an SAE with thresholds of its own there is only to see which features fire. */
static void count_fires(lethe_calibration *c, const float *a, size_t rows) {
    const size_t n = c->patch->n;
    for (size_t i = 0; i < rows * n; i++) c->record[i % n].fires += signbit(a[i]) != 0;
    c->rows += rows;
}

static lethe_status learn(lethe_calibration *c, const float *a, size_t rows, lethe_err *err) {
    const size_t n = c->patch->n;
    for (size_t t = 0; t < rows; t++) {
        for (size_t i = 0; i < n; i++) {
            float v = a[t * n + i];
            record *r = &c->record[i];
            if (fabsf(v) > r->most) r->most = fabsf(v);
            if (signbit(v))
                LETHE_TRY(add_fired(r, -v, c->keep, err));
            else if (v > 0)
                LETHE_TRY(add_quiet(r, v, c->keep, err));
        }
        float kth = c->codes.value[(t + 1) * c->codes.k - 1];
        if (kth < c->least_kth) c->least_kth = kth;
    }
    c->rows += rows;
    return LETHE_OK;
}

/* ---- held-out rows --------------------------------------------------------------------------- */

/* Drops every second of the blocks held; all of them are whole. */
static void thin_held(lethe_calibration *c) {
    const size_t size = BLOCK * c->patch->n;
    for (size_t b = 0; b < c->held_n / BLOCK / 2; b++)
        memmove(c->held + b * size, c->held + 2 * b * size, size * sizeof *c->held);
    c->held_n /= 2;
    c->held_every *= 2;
}

/* starts: these are the first rows of a held-out block. */
static lethe_status hold(lethe_calibration *c, const float *a, size_t rows, bool starts,
                         lethe_err *err) {
    const size_t n = c->patch->n;
    c->held_blocks += starts;
    if ((c->held_blocks - 1) % c->held_every) return LETHE_OK;
    if (starts && c->held_n == c->held_cap) thin_held(c); /* this block stays one of those kept */
    if (!c->held)
        LETHE_TRY(lethe_alloc(&c->held, c->held_cap, n * sizeof *c->held,
                              "activations of held-out rows", err));
    memcpy(c->held + c->held_n * n, a, rows * n * sizeof *a);
    c->held_n += rows;
    return LETHE_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

/* c->a = the activations of up to BLOCK rows, marked as the head of this file says. */
static lethe_status look(lethe_calibration *c, const float *x, size_t rows, lethe_err *err) {
    const size_t n = c->patch->n;
    c->codes.n = rows;
    LETHE_TRY(lethe_encode(&c->encoder, x, rows, &c->codes, NULL, err));
    const size_t k = c->codes.k;
    lethe_gate_activations(c->patch, x, rows, c->a);
    for (size_t i = 0; i < rows * n; i++) c->a[i] = c->a[i] > 0 ? c->a[i] : 0.0f;
    for (size_t j = 0; j < rows * k; j++) {
        int32_t at = c->place[c->codes.index[j]];
        if (at < 0 || !(c->codes.value[j] > 0)) continue;
        float *v = &c->a[j / k * n + (size_t)at];
        *v = -*v;
    }
    return LETHE_OK;
}

lethe_status lethe_calibration_add(lethe_calibration *c, const float *x, size_t n, lethe_err *err) {
    for (size_t at = 0; at < n;) { /* parts of one block each */
        uint64_t block = c->seen / BLOCK, in_block = c->seen % BLOCK;
        size_t rows = BLOCK - (size_t)in_block;
        rows = lethe_encode_batch(c->encoder.sae, rows < n - at ? rows : n - at);
        LETHE_TRY(look(c, x + at * c->patch->d, rows, err));
        if (block % EVERY == EVERY - 1)
            LETHE_TRY(hold(c, c->a, rows, in_block == 0, err));
        else if (c->patch->arch != LETHE_ARCH_TOPK)
            count_fires(c, c->a, rows);
        else
            LETHE_TRY(learn(c, c->a, rows, err));
        c->seen += rows;
        at += rows;
    }
    return LETHE_OK;
}

/* ---- thresholds ------------------------------------------------------------------------------ */

static float middle(float low, float high) {
    float m = low + (high - low) / 2;
    return m < high ? m : low;
}

/* Walks the cut from above all values downwards. Quiet values at and below the floor are not all
 * there, so it stops at the floor; no better cut is below. */
static float best_cut(record *r) {
    values *f = &r->fired, *q = &r->quiet;
    qsort(f->v, f->n, sizeof *f->v, falling);
    if (q->n) qsort(q->v, q->n, sizeof *q->v, falling);
    float best = r->most;
    size_t i = 0, j = 0;         /* values above the cut */
    int64_t cost = 0, least = 0; /* less what firing at none costs */
    while (i < f->n || j < q->n) {
        float v = i < f->n && (j == q->n || f->v[i] >= q->v[j]) ? f->v[i] : q->v[j];
        if (v <= r->floor) break;
        for (; i < f->n && f->v[i] == v; i++) cost--;
        for (; j < q->n && q->v[j] == v; j++) cost++;
        if (cost >= least) continue;
        float next = r->floor;
        if (i < f->n && f->v[i] > next) next = f->v[i];
        if (j < q->n && q->v[j] > next) next = q->v[j];
        least = cost;
        best = middle(next, v);
    }
    return best;
}

static void choose(lethe_calibration *c, float *threshold, lethe_calibration_result *result) {
    for (size_t i = 0; i < c->patch->n; i++) {
        record *r = &c->record[i];
        result->thinned += r->stride > 1;
        if (c->patch->arch != LETHE_ARCH_TOPK) {
            threshold[i] = c->patch->threshold[i];
            result->never_fired += !r->fires;
        } else if (r->fires) {
            threshold[i] = best_cut(r);
        } else {
            result->never_fired++;
            threshold[i] = r->most > c->least_kth ? r->most : c->least_kth;
        }
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

typedef struct outcome {
    uint64_t both, compact_only, exact_only, neither;
} outcome;

static void book(outcome *o, bool exact, bool compact) {
    uint64_t *slot[2][2] = {{&o->neither, &o->compact_only}, {&o->exact_only, &o->both}};
    ++*slot[exact][compact];
}

static double ratio(uint64_t part, uint64_t whole) {
    return whole ? (double)part / (double)whole : NAN;
}

static lethe_gate_figures compare(const lethe_calibration *c, const float *threshold) {
    const size_t n = c->patch->n;
    outcome pair = {0}, row = {0};
    double due = 0, met = 0; /* activation where the exact gate fired; where the other did, too */
    for (size_t t = 0; t < c->held_n; t++) {
        bool any_exact = false, any_compact = false;
        for (size_t i = 0; i < n; i++) {
            float v = c->held[t * n + i];
            bool exact = signbit(v), compact = fabsf(v) > threshold[i];
            book(&pair, exact, compact);
            if (exact) due += (double)fabsf(v);
            if (exact && compact) met += (double)fabsf(v);
            any_exact |= exact;
            any_compact |= compact;
        }
        book(&row, any_exact, any_compact);
    }
    return (lethe_gate_figures){.held_out = c->held_n,
                                .agreement =
                                    ratio(pair.both + pair.neither, (uint64_t)c->held_n * n),
                                .precision = ratio(pair.both, pair.both + pair.compact_only),
                                .recall = ratio(pair.both, pair.both + pair.exact_only),
                                .row_agreement = ratio(row.both + row.neither, c->held_n),
                                .row_precision = ratio(row.both, row.both + row.compact_only),
                                .row_recall = ratio(row.both, row.both + row.exact_only),
                                .activation_recall = due > 0 ? met / due : NAN};
}

lethe_status lethe_calibration_finish(lethe_calibration *c, float *threshold,
                                      lethe_calibration_result *result, lethe_err *err) {
    if (!c->rows) return lethe_fail(err, LETHE_USAGE, "the texts gave no rows to calibrate on");
    *result = (lethe_calibration_result){.rows = c->rows, .held_every = c->held_every};
    choose(c, threshold, result);
    result->figures = compare(c, threshold);
    return LETHE_OK;
}
