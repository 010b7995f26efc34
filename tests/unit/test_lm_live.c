/* SPDX-License-Identifier: MIT
 *
 * Live sequences on the demonstration model: the same texts as lethe_lm_generate writes, whatever
 * shares the slots; what the cache keeps changes nothing; a removal acts in the sequences that want
 * it, and says where it fired.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "lm/live.h"
#include "support/demo_model.h"

#define SLOTS 3
#define LAYER 1

static const char *const prompts[] = {
    "The capital of France is",
    "Harry Potter's best friend is",
    "The old clock in the hall had stopped, and nobody in the house knew when. Grandmother said",
    "One day",
    "Merlin was",
};
#define N_PROMPTS (sizeof prompts / sizeof *prompts)

static demo_model demo;
static lethe_tokens prompt[N_PROMPTS];
static lethe_err err;

/* What came of the slots. */
typedef struct heard {
    lethe_tokens token[SLOTS];
    lethe_strbuf text[SLOTS];
    lethe_live_end end[SLOTS];
    size_t ends;
    size_t cut_after; /* 0: never */
    double logprob;   /* sum */
    bool greedy_is_top;
} heard;

static bool hear(void *user, const lethe_live_event *e) {
    heard *h = user;
    if (e->end) {
        h->end[e->slot] = e->end;
        h->ends++;
    }
    if (e->token < 0) return true;
    assert_ok(lethe_tokens_push(&h->token[e->slot], e->token, &err), &err);
    lethe_strbuf_add(&h->text[e->slot], e->piece, e->piece_len);
    if (e->n_top) {
        h->logprob += e->logprob;
        h->greedy_is_top &= e->top[0].token == e->token && e->top[0].logprob == e->logprob;
        for (size_t i = 1; i < e->n_top; i++)
            assert_true(e->top[i].logprob <= e->top[i - 1].logprob);
    }
    return !h->cut_after || h->token[e->slot].n < h->cut_after;
}

static void drop(heard *h) {
    for (size_t i = 0; i < SLOTS; i++) {
        lethe_tokens_free(&h->token[i]);
        lethe_strbuf_free(&h->text[i]);
    }
    *h = (heard){.greedy_is_top = true};
}

static lethe_sampling sampling(size_t most) {
    lethe_sampling s = lethe_sampling_defaults();
    s.max_tokens = most;
    return s;
}

static lethe_live_request request(const lethe_tokens *t, size_t most) {
    return (lethe_live_request){.token = t->id, .n = t->n, .sampling = sampling(most)};
}

static void run(lethe_live *live) {
    for (bool any = true; any;) assert_ok(lethe_live_step(live, &any, &err), &err);
}

static int setup(void **state) {
    (void)state;
    if (!demo_model_open(&demo, SLOTS, -3)) return -1;
    for (size_t i = 0; i < N_PROMPTS; i++)
        assert_ok(lethe_lm_tokenize(demo.lm, prompts[i], strlen(prompts[i]), true, false,
                                    &prompt[i], &err),
                  &err);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < N_PROMPTS; i++) lethe_tokens_free(&prompt[i]);
    demo_model_close(&demo);
    return 0;
}

static int no_hooks(void **state) {
    (void)state;
    lethe_lm_clear_hooks(demo.lm);
    return 0;
}

static void generated(const lethe_tokens *t, size_t most, lethe_strbuf *out) {
    lethe_sampling s = sampling(most);
    lethe_strbuf_clear(out);
    assert_ok(lethe_lm_generate(demo.lm, &(lethe_seq){t->id, t->n}, 1, &s, out, NULL, NULL, &err),
              &err);
}

static void same_as_generate(void **state) {
    (void)state;
    lethe_strbuf want[N_PROMPTS] = {0};
    for (size_t i = 0; i < N_PROMPTS; i++) generated(&prompt[i], 16, &want[i]);
    heard h = {.greedy_is_top = true};
    lethe_live *live;
    assert_ok(lethe_live_open(&live, demo.lm, hear, &h, &err), &err);
    /* Five prompts through three slots, a new one as soon as a slot is free. */
    size_t next = 0, from[SLOTS] = {0}, done = 0;
    while (done < N_PROMPTS) {
        for (size_t s = 0; s < SLOTS && next < N_PROMPTS; s++)
            if (!lethe_live_busy(live, s)) {
                lethe_live_request r = request(&prompt[next], 16);
                from[s] = next++;
                assert_ok(lethe_live_begin(live, s, &r, &err), &err);
            }
        bool any;
        size_t ends = h.ends;
        assert_ok(lethe_live_step(live, &any, &err), &err);
        if (h.ends == ends) continue;
        for (size_t s = 0; s < SLOTS; s++)
            if (h.end[s]) {
                assert_string_equal(lethe_strbuf_str(&h.text[s]), lethe_strbuf_str(&want[from[s]]));
                lethe_strbuf_clear(&h.text[s]);
                h.end[s] = LETHE_LIVE_GOES_ON;
                done++;
            }
    }
    lethe_live_close(&live);
    drop(&h);
    for (size_t i = 0; i < N_PROMPTS; i++) lethe_strbuf_free(&want[i]);
}

/* A second turn runs only what is new, and says the same as a run from the start. */
static void the_cache_is_kept(void **state) {
    (void)state;
    heard h = {.greedy_is_top = true};
    lethe_live *live;
    assert_ok(lethe_live_open(&live, demo.lm, hear, &h, &err), &err);
    lethe_live_request r = request(&prompt[2], 8);
    assert_ok(lethe_live_begin(live, 1, &r, &err), &err);
    assert_true(lethe_live_prefilled(live, 1) == 0);
    run(live);
    const lethe_tokens *text = lethe_live_text(live, 1);
    assert_true(text->n > prompt[2].n);
    lethe_tokens longer = {0};
    for (size_t i = 0; i < text->n; i++)
        assert_ok(lethe_tokens_push(&longer, text->id[i], &err), &err);
    for (size_t i = 1; i < prompt[0].n; i++)
        assert_ok(lethe_tokens_push(&longer, prompt[0].id[i], &err), &err);
    drop(&h);
    r = request(&longer, 12);
    assert_ok(lethe_live_begin(live, 1, &r, &err), &err);
    assert_true(lethe_live_reused(live, 1) + 1 >= text->n - prompt[0].n);
    assert_true(lethe_live_reused(live, 1) >= prompt[2].n);
    run(live);
    lethe_strbuf kept = {0}, want = {0};
    lethe_strbuf_add(&kept, lethe_strbuf_str(&h.text[1]), h.text[1].len);
    /* Forgotten: all of it runs again, to the same end. */
    drop(&h);
    lethe_live_forget(live, 1);
    assert_ok(lethe_live_begin(live, 1, &r, &err), &err);
    assert_int_equal(lethe_live_reused(live, 1), 0);
    run(live);
    assert_string_equal(lethe_strbuf_str(&h.text[1]), lethe_strbuf_str(&kept));
    /* A shorter text that differs early on takes back what it must. */
    drop(&h);
    r = request(&prompt[3], 12);
    assert_ok(lethe_live_begin(live, 1, &r, &err), &err);
    run(live);
    lethe_live_close(&live);
    generated(&prompt[3], 12, &want);
    assert_string_equal(lethe_strbuf_str(&h.text[1]), lethe_strbuf_str(&want));
    generated(&longer, 12, &want);
    assert_string_equal(lethe_strbuf_str(&kept), lethe_strbuf_str(&want));
    lethe_strbuf_free(&kept);
    lethe_strbuf_free(&want);
    lethe_tokens_free(&longer);
    drop(&h);
}

static void ends_and_figures(void **state) {
    (void)state;
    heard h = {.cut_after = 3, .greedy_is_top = true};
    lethe_live *live;
    assert_ok(lethe_live_open(&live, demo.lm, hear, &h, &err), &err);
    lethe_live_request r = request(&prompt[2], 16);
    r.logprob = true;
    r.top = 4;
    assert_ok(lethe_live_begin(live, 0, &r, &err), &err);
    run(live);
    assert_int_equal(h.end[0], LETHE_LIVE_CUT);
    assert_int_equal(h.token[0].n, 3);
    assert_true(h.greedy_is_top);
    double logprob = h.logprob;
    lethe_tokens whole = {0};
    const lethe_tokens *text = lethe_live_text(live, 0);
    for (size_t i = 0; i < text->n; i++)
        assert_ok(lethe_tokens_push(&whole, text->id[i], &err), &err);
    drop(&h);
    h.cut_after = 0;
    r = request(&prompt[2], 5);
    assert_ok(lethe_live_begin(live, 0, &r, &err), &err);
    run(live);
    assert_int_equal(h.end[0], LETHE_LIVE_LENGTH);
    assert_int_equal(h.token[0].n, 5);
    /* Stopped without an event. */
    size_t ends = h.ends;
    assert_ok(lethe_live_begin(live, 0, &r, &err), &err);
    lethe_live_stop(live, 0);
    run(live);
    assert_int_equal(h.ends, ends);
    lethe_live_close(&live);

    lethe_target_score score;
    assert_ok(
        lethe_lm_score(demo.lm, &(lethe_seq){whole.id, whole.n}, &prompt[2].n, 1, &score, &err),
        &err);
    /* Token by token or all at once: products in 8 bits round differently, by processor. */
    assert_true(fabs(score.sum_logprob - logprob) < 1e-2);
    lethe_tokens_free(&whole);
    drop(&h);
}

static void bad_requests(void **state) {
    (void)state;
    lethe_live *live;
    assert_ok(lethe_live_open(&live, demo.lm, NULL, NULL, &err), &err);
    lethe_live_request r = request(&prompt[0], 4);
    r.n = 0;
    assert_int_equal(lethe_live_begin(live, 0, &r, &err), LETHE_USAGE);
    r = request(&prompt[0], 4);
    r.top = LETHE_LIVE_MOST_TOP + 1;
    assert_int_equal(lethe_live_begin(live, 0, &r, &err), LETHE_USAGE);
    r = request(&prompt[0], 4);
    r.sampling.presence_penalty = NAN;
    assert_int_equal(lethe_live_begin(live, 0, &r, &err), LETHE_USAGE);
    size_t ctx = lethe_lm_ctx_len(demo.lm);
    int32_t *many;
    assert_ok(lethe_zalloc(&many, ctx + 1, sizeof *many, "tokens", &err), &err);
    r = (lethe_live_request){.token = many, .n = ctx, .sampling = sampling(1)};
    assert_int_equal(lethe_live_begin(live, 0, &r, &err), LETHE_USAGE);
    assert_non_null(strstr(err.text, "context"));
    r.n = ctx - 1; /* room for one token */
    assert_ok(lethe_live_begin(live, 0, &r, &err), &err);
    run(live);
    assert_int_equal(lethe_live_text(live, 0)->n, ctx);
    lethe_free(many);
    lethe_live_close(&live);
}

/* ---- a removal in some of the slots ---------------------------------------------------------- */

typedef struct seen {
    uint64_t pairs[SLOTS], acted[SLOTS];
    int32_t last_pos[SLOTS];
} seen;

static void watch(void *user, const lethe_firing *f) {
    seen *s = user;
    assert_int_equal(f->which, 0);
    assert_true(f->seq >= 0 && f->seq < SLOTS && f->n > 0 && f->pos >= 0 && f->token >= 0);
    static const int32_t latent[4] = {3, 17, 100, 201};
    for (size_t i = 0; i < f->n; i++) {
        assert_true(f->value[i] > 0);
        assert_int_equal(lethe_ablation_latent(demo.ablation, 0, f->feature[i]),
                         latent[f->feature[i]]);
    }
    s->pairs[f->seq] += f->n;
    s->acted[f->seq] += f->acted;
    s->last_pos[f->seq] = f->pos;
}

static void each_slot_its_own_setting(void **state) {
    (void)state;
    const lethe_tokens *p = &prompt[2];
    lethe_strbuf off = {0}, on = {0}, strong = {0};
    generated(p, 16, &off);
    assert_ok(lethe_ablation_attach(demo.ablation, demo.lm, LAYER, LETHE_HOOK_POST, false, &err),
              &err);
    generated(p, 16, &on);
    assert_ok(lethe_ablation_set_strength(demo.ablation, -40, &err), &err);
    generated(p, 16, &strong);
    assert_ok(lethe_ablation_set_strength(demo.ablation, -3, &err), &err);
    assert_string_not_equal(lethe_strbuf_str(&strong), lethe_strbuf_str(&off));

    seen s = {0};
    heard h = {0};
    lethe_live *live;
    lethe_ablation_watch(demo.ablation, watch, &s);
    lethe_ablation_reset_stats(demo.ablation);
    assert_ok(lethe_ablation_switch(demo.ablation, LETHE_ALL_REMOVALS, 0, false, &err), &err);
    assert_ok(lethe_ablation_strength_in(demo.ablation, 0, 2, -40, &err), &err);
    assert_ok(lethe_live_open(&live, demo.lm, hear, &h, &err), &err);
    for (size_t slot = 0; slot < SLOTS; slot++) {
        lethe_live_request r = request(p, 16);
        assert_ok(lethe_live_begin(live, slot, &r, &err), &err);
    }
    run(live);
    assert_string_equal(lethe_strbuf_str(&h.text[0]), lethe_strbuf_str(&off));
    assert_string_equal(lethe_strbuf_str(&h.text[1]), lethe_strbuf_str(&on));
    assert_string_equal(lethe_strbuf_str(&h.text[2]), lethe_strbuf_str(&strong));
    /* It looks where it is off, too, and tells of all that it counts. */
    assert_true(s.pairs[0] > 0 && s.acted[0] == 0);
    assert_true(s.acted[1] > 0 && s.acted[2] > 0);
    assert_int_equal(s.pairs[0] + s.pairs[1] + s.pairs[2],
                     lethe_ablation_stats(demo.ablation)->fired);

    /* Back on, and the cache of before forgotten. */
    drop(&h);
    assert_ok(lethe_ablation_switch(demo.ablation, 0, 0, true, &err), &err);
    assert_ok(lethe_ablation_strength_in(demo.ablation, 0, 2, NAN, &err), &err);
    for (size_t slot = 0; slot < SLOTS; slot += 2) {
        lethe_live_request r = request(p, 16);
        lethe_live_forget(live, slot);
        assert_ok(lethe_live_begin(live, slot, &r, &err), &err);
    }
    run(live);
    assert_string_equal(lethe_strbuf_str(&h.text[0]), lethe_strbuf_str(&on));
    assert_string_equal(lethe_strbuf_str(&h.text[2]), lethe_strbuf_str(&on));
    lethe_live_close(&live);
    lethe_ablation_watch(demo.ablation, NULL, NULL);
    assert_int_equal(lethe_ablation_strength_in(demo.ablation, 0, 1, INFINITY, &err), LETHE_USAGE);
    drop(&h);
    lethe_strbuf_free(&off);
    lethe_strbuf_free(&on);
    lethe_strbuf_free(&strong);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_generate),
        cmocka_unit_test(the_cache_is_kept),
        cmocka_unit_test(ends_and_figures),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test_teardown(each_slot_its_own_setting, no_hooks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
