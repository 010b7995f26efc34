/* SPDX-License-Identifier: MIT
 *
 * The slot `sift`, where a table has it, against dots_i8 and may_pass of plain C one after the
 * other.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/checkasm.h"

enum { A, B, C, D, E, F, G, H, HIT, SCRATCH };
enum { MOST_TOKENS = 29, MOST_SETS = 2 };

static const lethe_kernels *const ref = &lethe_kernels_ref;

typedef struct sifted {
    size_t nt, nb, ld, sets;
    const uint8_t *a;
    const int8_t *b;
    const int32_t *b_sum;
    lethe_bound bound[MOST_SETS * MOST_TOKENS];
    lethe_hits hits[MOST_SETS * MOST_TOKENS];
    size_t before[MOST_SETS * MOST_TOKENS]; /* hits that were there */
    int32_t first;
} sifted;

static void set_bounds(sifted *s, check_kind kind) {
    size_t outliers = check_below(3), stride = s->nb + 16;
    static float x_out[MOST_TOKENS][2];
    const float *w_scale = check_floats(D, s->nb, kind, check_offset());
    const float *w_norm = check_floats(E, s->nb, kind, check_offset());
    const float *w_err = check_floats(H, s->nb, kind, check_offset());
    const float *bias = check_floats(F, s->sets * s->nb, kind, check_offset());
    const float *w_out = check_floats(G, stride + s->nb, kind, check_offset());
    for (size_t i = 0; i < s->nt; i++) {
        x_out[i][0] = check_draw(kind), x_out[i][1] = check_draw(kind);
        s->bound[i] = (lethe_bound){.scale = check_draw(kind) * 1e-4f,
                                    .err = check_draw(kind),
                                    .norm = check_draw(kind),
                                    .w_scale = w_scale,
                                    .w_norm = w_norm,
                                    .w_err = w_err,
                                    .outliers = outliers,
                                    .x_out = x_out[i],
                                    .w_out = w_out,
                                    .w_out_stride = stride};
    }
    for (size_t r = s->sets * s->nt; r-- > 0;) {
        s->bound[r] = s->bound[r % s->nt];
        s->bound[r].threshold = check_draw(kind);
        s->bound[r].bias = bias + r / s->nt * s->nb;
    }
}

static bool row_is_right(const sifted *s, size_t r, int32_t *product, int32_t *want) {
    size_t i = r % s->nt;
    ref->dots_i8(product, s->nb, s->a + i * s->ld, 1, s->b, s->b_sum, s->nb, s->ld);
    size_t n = ref->may_pass(product, s->nb, &s->bound[r], want);
    const lethe_hits *hits = &s->hits[r];
    if (hits->count != s->before[r] + n) return false;
    for (size_t h = 0; h < s->before[r]; h++)
        if (hits->list[h].place != -1 || hits->list[h].c != -2) return false;
    const lethe_hit *new = hits->list + s->before[r];
    for (size_t h = 0; h < n; h++)
        if (new[h].place != s->first + want[h] || new[h].c != product[want[h]]) return false;
    return true;
}

static void sift_once(const lethe_kernels *k, check_kind kind, size_t nt, size_t nb, size_t ld,
                      size_t sets) {
    sifted s = {.nt = nt, .nb = nb, .ld = ld, .sets = sets};
    uint8_t *a = check_place(A, nt * ld, check_byte_offset());
    int8_t *b = check_place(B, nb * ld, check_byte_offset());
    int32_t *b_sum = check_place(C, nb * sizeof *b_sum, check_offset());
    for (size_t i = 0; i < nt * ld; i++) a[i] = (uint8_t)check_below(256);
    memset(b_sum, 0, nb * sizeof *b_sum);
    for (size_t i = 0; i < nb * ld; i++) {
        b[i] = (int8_t)((int)check_below(255) - 127);
        b_sum[i / ld] += b[i];
    }
    s.a = a, s.b = b, s.b_sum = b_sum;
    set_bounds(&s, kind);
    size_t each = 3 + nb + LETHE_SIFT_SLACK;
    lethe_hit *hit = check_place(HIT, sets * nt * each * sizeof *hit, check_offset());
    size_t room = lethe_sift_scratch(nb, ld, nt, sets, s.bound->outliers);
    void *scratch = check_place(SCRATCH, room, check_offset());
    s.first = (int32_t)check_below(1000);
    for (size_t r = 0; r < sets * nt; r++) {
        s.before[r] = check_below(4);
        s.hits[r] = (lethe_hits){.count = s.before[r], .list = hit + r * each};
        for (size_t h = 0; h < s.before[r]; h++) hit[r * each + h] = (lethe_hit){-1, -2};
    }
    k->sift(a, nt, b, b_sum, nb, ld, s.bound, sets, s.first, s.hits, check_below(2) ? b : NULL,
            scratch);
    check_calls++;
    if (!check_canaries(HIT, "hit") || !check_canaries(SCRATCH, "scratch")) return;
    int32_t product[256], want[256];
    for (size_t r = 0; r < sets * nt; r++)
        if (!row_is_right(&s, r, product, want)) {
            check_fail("%zu tokens, %zu latents, %zu bytes, %zu sets, %s: row %zu differs", nt, nb,
                       ld, sets, check_kind_name(kind), r);
            return;
        }
}

void check_sift(const lethe_kernels *k) {
    if (!k->sift) return;
    static const size_t widths[] = {64, 128, 192, 320, 1024};
    for (check_kind kind = 0; kind < CHECK_KINDS; kind++)
        for (size_t nt = 1; nt <= MOST_TOKENS; nt++)
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                sift_once(k, kind, nt, 16 * (1 + check_below(5)), widths[w], 1 + nt % MOST_SETS);
}
