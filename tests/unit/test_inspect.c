/* SPDX-License-Identifier: MIT
 *
 * Feature cards: the one-pass collector against a look at everything at once; histogram, share,
 * windows, failing allocations.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "stage/inspect.h"

enum { ROWS = 3000, M = 12, K = 3, CHOSEN = 4 };
static const int32_t chosen[CHOSEN] = {7, 0, 11, 4};
static const float norm[CHOSEN] = {1, 2, 1, 0.5f};

static int32_t token[ROWS], position[ROWS], window[ROWS];
static uint8_t role[ROWS];
static int32_t code[ROWS * K];
static float value[ROWS * K];

/* Windows of several lengths, some positions missing, roles in turn; a few inactive codes. */
static int setup(void **state) {
    (void)state;
    lethe_rng rng = lethe_rng_make(8, 0);
    int32_t at = 0, number = 0, length = 40;
    uint8_t now = LETHE_FORGET;
    for (int i = 0; i < ROWS; i++) {
        if (at >= length) {
            at = (int32_t)lethe_rng_below(&rng, 2);
            length = 1 + (int32_t)lethe_rng_below(&rng, 70);
            now = (uint8_t)lethe_rng_below(&rng, 3);
            number++;
        }
        window[i] = number;
        role[i] = now;
        position[i] = at;
        at += 1 + (lethe_rng_below(&rng, 10) == 0);
        token[i] = (int32_t)lethe_rng_below(&rng, 50000);
        for (int j = 0; j < K; j++) {
            code[i * K + j] = (int32_t)(((uint32_t)i + 5u * (uint32_t)j) % M);
            float x = (float)lethe_rng_below(&rng, 1 << 20) / 4096.0f;
            value[i * K + j] = lethe_rng_below(&rng, 3) ? 0 : x * x / 1000;
        }
    }
    return 0;
}

static lethe_status collect(size_t step, lethe_cards *out, lethe_err *err) {
    lethe_inspector *in;
    lethe_inspect_opts o = {.contexts = 5, .radius = 4};
    LETHE_TRY(lethe_inspector_open(&in, chosen, CHOSEN, M, &o, err));
    lethe_status st = LETHE_OK;
    for (size_t at = 0; at < ROWS && !st; at += step) {
        size_t n = at + step > ROWS ? ROWS - at : step;
        lethe_codes c = {.n = n, .k = K, .index = code + at * K, .value = value + at * K};
        st = lethe_inspector_add(in, &c, role + at, token + at, position + at, err);
    }
    if (!st) st = lethe_inspector_finish(in, norm, out, err);
    lethe_inspector_close(&in);
    return st;
}

static float at(int row, int32_t feature) {
    for (int j = 0; j < K; j++)
        if (code[row * K + j] == feature) return value[row * K + j];
    return 0;
}

static void check_role(const lethe_cards *c, int slot, int r) {
    const lethe_card *card = &c->card[slot];
    const lethe_card_role *of = &card->role[r];
    uint64_t fires = 0, bins = 0;
    double sum = 0, max = 0;
    float best[200] = {0}; /* of each window */
    for (int i = 0; i < ROWS; i++) {
        float z = at(i, chosen[slot]);
        if (role[i] != r || !(z > 0)) continue;
        fires++;
        sum += (double)z;
        if ((double)z > max) max = (double)z;
        assert_true(window[i] < 200);
        if (z > best[window[i]]) best[window[i]] = z;
    }
    assert_int_equal(of->fires, fires);
    assert_true(fabs(of->sum - sum) <= 1e-9 * sum);
    assert_true(of->max == max);
    for (int b = 0; b < LETHE_CARD_BINS; b++) {
        uint64_t n = 0;
        for (int i = 0; i < ROWS; i++) {
            double z = (double)at(i, chosen[slot]);
            n += role[i] == r && z > 0 && z >= b * card->width && z < (b + 1) * card->width;
        }
        assert_int_equal(of->bin[b], n);
        bins += n;
    }
    assert_int_equal(bins, fires);
    size_t want = r == LETHE_FORGET ? 5 : 3;
    assert_int_equal(of->n_contexts, want);
    for (size_t k = 0; k < want; k++) { /* the next best window, its passage around the peak */
        int w = 0;
        for (int i = 1; i < 200; i++)
            if (best[i] > best[w]) w = i;
        const lethe_card_context *p = &of->context[k];
        assert_true(p->peak == best[w] && p->activation[p->at] == p->peak);
        best[w] = 0;
        int peak = 0;
        while (!(window[peak] == w && at(peak, chosen[slot]) == p->peak)) peak++;
        assert_true(p->n <= 9 && p->at <= 4);
        for (size_t i = 0; i < p->n; i++) {
            int row = peak + (int)i - (int)p->at;
            assert_int_equal(window[row], w);
            assert_int_equal(p->token[i], token[row]);
            assert_true(p->activation[i] == at(row, chosen[slot]));
        }
    }
}

static void test_against_all_at_once(void **state) {
    (void)state;
    static const size_t steps[] = {1, 7, 64, ROWS};
    for (size_t s = 0; s < 4; s++) {
        lethe_cards c = {0};
        lethe_err err = {0};
        assert_ok(collect(steps[s], &c, &err), &err);
        assert_int_equal(c.n, CHOSEN);
        double sum = 0, shares = 0;
        for (int i = 0; i < CHOSEN; i++) {
            assert_int_equal(c.card[i].index, chosen[i]);
            for (int r = 0; r < LETHE_ROLES; r++) check_role(&c, i, r);
            sum += (double)norm[i] * c.card[i].role[LETHE_FORGET].sum;
        }
        for (int i = 0; i < CHOSEN; i++) {
            double want = (double)norm[i] * c.card[i].role[LETHE_FORGET].sum / sum;
            assert_true(fabs(c.card[i].share - want) < 1e-12);
            shares += c.card[i].share;
        }
        assert_true(fabs(shares - 1) < 1e-12);
        lethe_cards_sort(&c);
        for (int i = 1; i < CHOSEN; i++) assert_true(c.card[i - 1].share >= c.card[i].share);
        lethe_cards_free(&c);
    }
}

/* The same passage, met again, is not shown twice. */
static void test_no_passage_twice(void **state) {
    (void)state;
    lethe_err err = {0};
    lethe_inspector *in;
    lethe_inspect_opts o = {.contexts = 5, .radius = 4};
    const int32_t index[1] = {3}, words[3] = {9, 8, 7}, places[3] = {0, 1, 2};
    const uint8_t forget[3] = {LETHE_FORGET, LETHE_FORGET, LETHE_FORGET};
    int32_t fired[3] = {3, 3, 1};
    float z[3] = {1, 2, 5};
    assert_ok(lethe_inspector_open(&in, index, 1, 4, &o, &err), &err);
    lethe_codes c = {.n = 3, .k = 1, .index = fired, .value = z};
    for (int i = 0; i < 3; i++)
        assert_ok(lethe_inspector_add(in, &c, forget, words, places, &err), &err);
    lethe_cards cards = {0};
    const float one = 1;
    assert_ok(lethe_inspector_finish(in, &one, &cards, &err), &err);
    assert_int_equal(cards.card[0].role[LETHE_FORGET].fires, 6);
    assert_int_equal(cards.card[0].role[LETHE_FORGET].n_contexts, 1);
    lethe_cards_free(&cards);
    lethe_inspector_close(&in);
}

static void test_failing_allocations(void **state) {
    (void)state;
    for (size_t n = 0;; n++) {
        lethe_cards c = {0};
        lethe_err err = {0};
        lethe_mem_fail_after(n);
        lethe_status st = collect(64, &c, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK) {
            lethe_cards_free(&c);
            assert_true(n > 20);
            break;
        }
        assert_int_equal(st, LETHE_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_all_at_once),
                                       cmocka_unit_test(test_no_passage_twice),
                                       cmocka_unit_test(test_failing_allocations)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
