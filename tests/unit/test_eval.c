/* SPDX-License-Identifier: MIT
 *
 * The evaluation on the demonstration model with an SAE of random directions: what it says agrees
 * with what the test computes itself from the model's logits.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/eval.h"
#include "support/demo_model.h"

#define LAYER 1
#define CTX 64

static const char *dir;
static demo_model demo;
static lethe_lm *lm;             /* demo's */
static lethe_ablation *ablation; /* demo's */
static lethe_err err;

static const char *const text =
    "The old clock in the hall had stopped, and nobody in the house knew when. Grandmother said it "
    "was the damp. Father said it was the mice, who had eaten the cord.\n\n"
    "In the morning the boy took a lamp and a small screwdriver, opened the glass door and looked "
    "in. There was no cord and there were no mice. There was a letter, folded four times, with his "
    "own name on it in a hand he did not know. He read it twice and then he wound the clock.\n";

/* A file below the temporary folder; owned path. */
static char *file(const char *name, const char *content) {
    char *path = lethe_path_join(dir, name);
    assert_ok(lethe_write_file(path, content, strlen(content), &err), &err);
    return path;
}

static lethe_corpus *corpus(const char *name, const char *content) {
    char *path = file(name, content);
    lethe_corpus *c = NULL;
    assert_ok(lethe_corpus_open(&c, (const char *const[]){path}, 1, NULL, &err), &err);
    lethe_free(path);
    return c;
}

static lethe_probes probes(void) {
    char *path = file(
        "probes.json",
        "{\"hp\": [{\"prompt\": \"Who is Harry Potter's best friend?\", \"target\": \"Ron\", "
        "\"chat\": true}, {\"prompt\": \"Harry Potter's best friend is\", \"target\": \" Ron\"}], "
        "\"real_world\": {\"prompts\": [\"The capital of France is\"], \"targets\": [\" "
        "Paris\"]}}");
    lethe_probes p;
    assert_ok(lethe_probes_load(&p, path, &err), &err);
    lethe_free(path);
    return p;
}

static lethe_prompts prompts(void) {
    char *path = file("prompts.json", "[{\"prompt\": \"Who is Harry Potter's best friend?\", "
                                      "\"chat\": true, \"domain\": \"hp\"}, \"The capital of\"]");
    lethe_prompts p;
    assert_ok(lethe_prompts_load(&p, path, &err), &err);
    lethe_free(path);
    return p;
}

static lethe_eval_opts options(void) {
    lethe_eval_opts o = lethe_eval_defaults();
    o.sampling.max_tokens = 12;
    o.text_ctx = CTX;
    return o;
}

/* ---- KL -------------------------------------------------------------------------------------- */

static void kl_of_known_distributions(void **state) {
    (void)state;
    float p[3] = {logf(0.5f), logf(0.25f), logf(0.25f)}, q[3] = {0, 0, 0}, far[2] = {0, -2000};
    assert_true(lethe_kl_divergence(p, p, 3) == 0);
    double want = 0.5 * log(0.5 * 3) + 2 * 0.25 * log(0.25 * 3);
    assert_true(fabs(lethe_kl_divergence(p, q, 3) - want) < 1e-7);
    want = (log(1.0 / 3 / 0.5) + 2 * log(1.0 / 3 / 0.25)) / 3;
    assert_true(fabs(lethe_kl_divergence(q, p, 3) - want) < 1e-7);
    for (int i = 0; i < 3; i++) p[i] += 100; /* logits are free up to a constant */
    assert_true(fabs(lethe_kl_divergence(q, p, 3) - want) < 1e-5);
    /* a token of probability 0 adds nothing, however unlikely q finds it */
    float two[2] = {0, -INFINITY};
    assert_true(lethe_kl_divergence(far, two, 2) == 0);
}

/* ---- perplexity ------------------------------------------------------------------------------ */

typedef struct sum {
    const int32_t *token;
    double nll;
    size_t n;
} sum;

static lethe_status add_nll(void *user, size_t seq, size_t pos, const float *logits, lethe_err *e) {
    sum *s = user;
    (void)seq;
    (void)e;
    s->nll -= lethe_logprob(logits, lethe_lm_get_info(lm)->n_vocab, s->token[pos + 1]);
    s->n++;
    return LETHE_OK;
}

/* Windows of ctx tokens by the rule of eval.h, written out for one document. */
static double own_perplexity(lethe_lm *model, const char *s, size_t ctx, size_t *scored) {
    lethe_tokens t = {0};
    assert_ok(lethe_lm_tokenize(model, s, strlen(s), false, false, &t, &err), &err);
    const lethe_lm_info *info = lethe_lm_get_info(model);
    double nll = 0;
    *scored = 0;
    lethe_lm *kept = lm;
    lm = model;
    for (size_t i = info->add_bos ? 0 : 1; i < t.n; i += ctx - 1) {
        size_t n = t.n - i < ctx - 1 ? t.n - i : ctx - 1;
        int32_t window[512]; /* more than any context here */
        assert_true(n < 512);
        window[0] = info->add_bos ? info->bos : t.id[i - 1];
        memcpy(window + 1, t.id + i, n * sizeof *window);
        sum u = {window, 0, 0};
        lethe_seq seq = {window, n};
        assert_ok(lethe_lm_forward(model, &seq, 1, NULL, add_nll, &u, &err), &err);
        nll += u.nll;
        *scored += u.n;
    }
    lm = kept;
    lethe_tokens_free(&t);
    return exp(nll / (double)*scored);
}

static lethe_eval_result run_text(lethe_lm *model, lethe_ablation *a, lethe_corpus *c,
                                  const lethe_eval_opts *o) {
    lethe_eval_inputs in = {.text = c};
    lethe_eval_result r;
    assert_ok(lethe_eval_run(model, a, LAYER, LETHE_HOOK_POST, &in, o, NULL, &r, &err), &err);
    return r;
}

static void perplexity(void **state) {
    (void)state;
    lethe_corpus *c = corpus("text.txt", text);
    lethe_eval_opts o = options();
    lethe_eval_result r = run_text(lm, NULL, c, &o);
    size_t n;
    double want = own_perplexity(lm, text, CTX, &n);
    assert_int_equal(r.text.tokens, n);
    assert_true(r.text.windows > 1);
    assert_true(fabs(r.text.perplexity[LETHE_BASELINE] / want - 1) < 1e-5);
    lethe_eval_result_free(&r);
    o.text_tokens = 70; /* one window and a bit */
    r = run_text(lm, NULL, c, &o);
    assert_int_equal(r.text.tokens, 70);
    assert_int_equal(r.text.windows, 2);
    lethe_eval_result_free(&r);
    lethe_corpus_close(&c);
}

/* Two documents are two texts: the means weigh by tokens. */
static void documents_are_apart(void **state) {
    (void)state;
    const char *one = "The river runs to the sea.", *two = "A queen lived in the tower.";
    char lines[256];
    snprintf(lines, sizeof lines, "{\"text\": \"%s\"}\n{\"text\": \"%s\"}\n", one, two);
    size_t n1, n2;
    double p1 = own_perplexity(lm, one, CTX, &n1), p2 = own_perplexity(lm, two, CTX, &n2);
    double want = exp((log(p1) * (double)n1 + log(p2) * (double)n2) / (double)(n1 + n2));
    lethe_eval_opts o = options();
    for (int paragraphs = 0; paragraphs < 2; paragraphs++) {
        char blank[256]; /* the last paragraph ends with the file, without a newline */
        snprintf(blank, sizeof blank, "\n\n%s\r\n \t\r\n\n%s", one, two);
        lethe_corpus *c = paragraphs ? corpus("two.txt", blank) : corpus("two.jsonl", lines);
        o.paragraphs = paragraphs;
        lethe_eval_result r = run_text(lm, NULL, c, &o);
        assert_int_equal(r.text.tokens, n1 + n2);
        assert_int_equal(r.text.windows, 2);
        assert_true(fabs(r.text.perplexity[LETHE_BASELINE] / want - 1) < 1e-5);
        lethe_eval_result_free(&r);
        lethe_corpus_close(&c);
    }
}

static void perplexity_of_a_real_model(void **state) {
    (void)state;
    const char *path = test_shared("models/stories260K.gguf");
    if (!path) skip();
    lethe_lm *model = NULL;
    lethe_lm_opts m = lethe_lm_defaults();
    m.ctx_len = 48;
    m.n_seq = 3;
    m.hash = false;
    assert_ok(lethe_lm_open(&model, path, &m, NULL, &err), &err);
    lethe_corpus *c = corpus("real.txt", text);
    lethe_eval_opts o = lethe_eval_defaults();
    lethe_eval_result r = run_text(model, NULL, c, &o);
    size_t n;
    double want = own_perplexity(model, text, 48, &n);
    assert_int_equal(r.text.tokens, n);
    assert_true(r.text.windows > 3);
    assert_true(fabs(r.text.perplexity[LETHE_BASELINE] / want - 1) < 1e-5);
    lethe_eval_result_free(&r);
    lethe_corpus_close(&c);
    lethe_lm_close(&model);
}

/* ---- the ablation in the model --------------------------------------------------------------- */

typedef struct logits {
    float *x; /* [n, V] */
    size_t n_vocab;
} logits;

static lethe_status keep(void *user, size_t seq, size_t pos, const float *x, lethe_err *e) {
    logits *l = user;
    (void)seq;
    (void)e;
    memcpy(l->x + pos * l->n_vocab, x, l->n_vocab * sizeof *x);
    return LETHE_OK;
}

static logits forward(const lethe_tokens *t) {
    logits l = {.n_vocab = lethe_lm_get_info(lm)->n_vocab};
    assert_ok(lethe_alloc(&l.x, t->n * l.n_vocab, sizeof *l.x, "logits", &err), &err);
    lethe_seq seq = {t->id, t->n};
    assert_ok(lethe_lm_forward(lm, &seq, 1, NULL, keep, &l, &err), &err);
    return l;
}

static void attach(double scale, bool special_too) {
    lethe_lm_clear_hooks(lm);
    assert_ok(lethe_ablation_set_strength(ablation, scale, &err), &err);
    lethe_ablation_reset_stats(ablation);
    assert_ok(lethe_ablation_attach(ablation, lm, LAYER, LETHE_HOOK_POST, special_too, &err), &err);
}

static void scale_one_changes_nothing(void **state) {
    (void)state;
    lethe_tokens t = {0};
    assert_ok(lethe_prompt_tokens(lm, "The capital of France is Paris.", false, &t, &err), &err);
    logits base = forward(&t);
    attach(1, false);
    logits one = forward(&t);
    assert_memory_equal(base.x, one.x, t.n * base.n_vocab * sizeof *base.x);
    size_t special = 0;
    for (size_t i = 0; i < t.n; i++) special += lethe_lm_is_special(lm, t.id[i]);
    assert_int_equal(lethe_ablation_stats(ablation)->rows, t.n - special);
    attach(-3, true);
    logits pushed = forward(&t);
    assert_int_equal(lethe_ablation_stats(ablation)->rows, t.n);
    assert_true(test_rel_error(pushed.x, base.x, t.n * base.n_vocab) > 1e-3);
    lethe_lm_clear_hooks(lm);
    logits again = forward(&t);
    assert_memory_equal(base.x, again.x, t.n * base.n_vocab * sizeof *base.x);
    lethe_free(base.x);
    lethe_free(one.x);
    lethe_free(pushed.x);
    lethe_free(again.x);
    lethe_tokens_free(&t);
}

static bool count_token(void *user, size_t seq, int32_t token, const char *piece) {
    size_t *n = user;
    (void)seq;
    (void)piece;
    *n += !lethe_lm_is_special(lm, token);
    return true;
}

/* What is generated token by token under the ablation is what prefill under it finds likeliest: the
 * ablation reaches decoded tokens as well. */
static void decoding_agrees_with_prefill(void **state) {
    (void)state;
    lethe_tokens t = {0};
    assert_ok(lethe_prompt_tokens(lm, "Tell me a story.", true, &t, &err), &err);
    size_t prompt = t.n, ordinary = 0, generated = 0;
    for (size_t i = 0; i < prompt; i++) ordinary += !lethe_lm_is_special(lm, t.id[i]);
    lethe_sampling s = lethe_sampling_defaults();
    s.max_tokens = 16;
    lethe_strbuf plain = {0}, pushed = {0};
    lethe_seq seq = {t.id, t.n};
    lethe_lm_clear_hooks(lm);
    assert_ok(lethe_lm_generate(lm, &seq, 1, &s, &plain, NULL, NULL, &err), &err);
    attach(-3, false);
    assert_ok(lethe_lm_generate(lm, &seq, 1, &s, &pushed, count_token, &generated, &err), &err);
    assert_true(generated > 8);
    /* every token went through the edit once, but for the last, which nothing follows */
    assert_int_equal(lethe_ablation_stats(ablation)->rows, ordinary + generated - 1);
    assert_string_not_equal(lethe_strbuf_str(&plain), lethe_strbuf_str(&pushed));
    assert_ok(lethe_lm_tokenize(lm, pushed.data, pushed.len, false, false, &t, &err), &err);
    lethe_strbuf again = {0};
    logits l = forward(&t);
    for (size_t i = prompt - 1; i + 1 < t.n; i++) {
        const float *row = l.x + i * l.n_vocab;
        size_t best = 0;
        for (size_t v = 1; v < l.n_vocab; v++)
            if (row[v] > row[best]) best = v;
        lethe_lm_piece(lm, (int32_t)best, false, &again);
    }
    assert_true(again.len > 0);
    assert_memory_equal(again.data, pushed.data, again.len);
    lethe_lm_clear_hooks(lm);
    lethe_free(l.x);
    lethe_strbuf_free(&plain);
    lethe_strbuf_free(&pushed);
    lethe_strbuf_free(&again);
    lethe_tokens_free(&t);
}

static void wrong_width(void **state) {
    (void)state;
    lethe_sae other;
    lethe_ablation *a = NULL;
    assert_ok(lethe_sae_alloc(&other, demo.sae.d + 1, 8, 2, &err), &err);
    assert_ok(lethe_ablation_open(&a, &other, (const int32_t[]){1}, 1, 0, &err), &err);
    lethe_probes p = probes();
    lethe_eval_inputs in = {.probes = &p};
    lethe_eval_opts o = options();
    lethe_eval_result r = {0};
    assert_int_equal(lethe_eval_run(lm, a, LAYER, LETHE_HOOK_POST, &in, &o, NULL, &r, &err),
                     LETHE_MISMATCH);
    assert_int_equal(lethe_eval_run(lm, ablation, 99, LETHE_HOOK_POST, &in, &o, NULL, &r, &err),
                     LETHE_USAGE);
    lethe_ablation_close(&a);
    lethe_patch patch;
    assert_ok(lethe_patch_from_sae(&patch, &other, (const int32_t[]){1}, 1, &err), &err);
    assert_ok(lethe_ablation_open_patch(&a, &patch, &err), &err);
    assert_int_equal(lethe_eval_run(lm, a, LAYER, LETHE_HOOK_POST, &in, &o, NULL, &r, &err),
                     LETHE_MISMATCH);
    assert_non_null(strstr(err.text, "the patch is"));
    assert_null(r.probe);
    lethe_probes_free(&p);
    lethe_ablation_close(&a);
    lethe_patch_free(&patch);
    lethe_sae_free(&other);
}

/* ---- the whole evaluation -------------------------------------------------------------------- */

static lethe_eval_result run_all(double scale) {
    lethe_probes p = probes();
    lethe_prompts q = prompts();
    lethe_corpus *c = corpus("text.txt", text);
    assert_ok(lethe_ablation_set_strength(ablation, scale, &err), &err);
    lethe_eval_inputs in = {.probes = &p, .prompts = &q, .text = c};
    lethe_eval_opts o = options();
    lethe_eval_result r;
    assert_ok(lethe_eval_run(lm, ablation, LAYER, LETHE_HOOK_POST, &in, &o, NULL, &r, &err), &err);
    lethe_probes_free(&p);
    lethe_prompts_free(&q);
    lethe_corpus_close(&c);
    return r;
}

static void at_scale_one_nothing_moves(void **state) {
    (void)state;
    lethe_eval_result r = run_all(1);
    assert_true(r.text.kl == 0);
    assert_true(r.text.top1_agreement == 1);
    assert_true(r.text.perplexity[0] == r.text.perplexity[1]);
    for (size_t i = 0; i < r.n_domains; i++) {
        assert_true(r.domain[i].logprob[0] == r.domain[i].logprob[1]);
        assert_true(r.domain[i].recall[0] == r.domain[i].recall[1]);
    }
    for (size_t i = 0; i < r.n_completions; i++)
        assert_string_equal(r.completion[i].text[0], r.completion[i].text[1]);
    assert_true(r.activity.fired > 0); /* counted all the same */
    lethe_eval_result_free(&r);
}

static void a_strong_push_is_seen(void **state) {
    (void)state;
    lethe_eval_result r = run_all(-20);
    assert_true(r.text.kl > 0.1);
    assert_true(r.text.top1_agreement < 1);
    assert_true(r.text.perplexity[1] > r.text.perplexity[0]);
    assert_int_equal(r.n_domains, 2);
    assert_string_equal(r.domain[0].name, "hp");
    assert_int_equal(r.domain[0].n, 2);
    assert_int_equal(r.n_probes, 3);
    /* a domain's figures are the means of its items' */
    double mean = (r.probe[0].logprob[1] + r.probe[1].logprob[1]) / 2;
    assert_true(fabs(r.domain[0].logprob[1] - mean) < 1e-12);
    assert_true(r.domain[0].logprob[1] < r.domain[0].logprob[0]);
    assert_true(r.domain[0].recall[0] == (r.probe[0].recall[0] + r.probe[1].recall[0]) / 2.0);
    const lethe_hook_stats *a = &r.activity, *p = &r.activity_probes, *c = &r.activity_completions,
                           *t = &r.activity_text;
    assert_int_equal(a->rows, p->rows + c->rows + t->rows);
    assert_int_equal(a->fired, p->fired + c->fired + t->fired);
    assert_int_equal(a->positions, a->rows * r.num_features);
    assert_true(p->rows > 0 && c->rows > 0 && t->rows > 0);
    lethe_eval_result_free(&r);
}

static void must_have(const json_t *o, const char *const *keys) {
    for (; *keys; keys++)
        if (!json_object_get(o, *keys)) fail_msg("%s is missing", *keys);
}

static void json_keys(void **state) {
    (void)state;
    lethe_eval_result r = run_all(-3);
    char *path = lethe_path_join(dir, "eval.json");
    json_t *config = json_pack("{s:s}", "sae", "sae.safetensors"), *j = NULL;
    assert_ok(lethe_eval_save(&r, config, path, &err), &err);
    json_decref(config);
    assert_ok(lethe_json_load(&j, path, &err), &err);
    must_have(j, (const char *const[]){"config", "metrics", "side_by_side", "probes", NULL});
    json_t *metrics = json_object_get(j, "metrics");
    for (int s = 0; s < LETHE_SIDES; s++) {
        json_t *side = json_object_get(metrics, s ? "ablated" : "baseline");
        must_have(side, (const char *const[]){"logprobs", "recall", "avg_distinct_2",
                                              "avg_distinct_3", "stuttering_rate",
                                              "degeneration_rate", "perplexity", NULL});
        must_have(json_object_get(side, "logprobs"),
                  (const char *const[]){"hp", "real_world", NULL});
        must_have(json_object_get(side, "recall"), (const char *const[]){"hp", "real_world", NULL});
        assert_true(json_real_value(json_object_get(side, "perplexity")) == r.text.perplexity[s]);
    }
    json_t *summary = json_object_get(metrics, "summary");
    must_have(summary, (const char *const[]){"logprob_shifts", "recall_shifts", "ppl_change",
                                             "ppl_change_percent", "kl_retain", "top1_agreement",
                                             "hook_activity", NULL});
    must_have(json_object_get(summary, "hook_activity"),
              (const char *const[]){"positions", "fired", "rate", "activation_sum", NULL});
    double shift =
        json_real_value(json_object_get(json_object_get(summary, "logprob_shifts"), "hp"));
    assert_true(fabs(shift - (r.domain[0].logprob[1] - r.domain[0].logprob[0])) < 1e-12);
    json_t *pair = json_array_get(json_object_get(j, "side_by_side"), 0);
    must_have(pair, (const char *const[]){"prompt", "domain", "baseline", "ablated",
                                          "baseline_distinct_2", "baseline_distinct_3",
                                          "ablated_distinct_2", "ablated_distinct_3",
                                          "baseline_degenerate", "ablated_degenerate", NULL});
    assert_string_equal(json_string_value(json_object_get(pair, "domain")), "hp");
    assert_string_equal(json_string_value(json_object_get(pair, "baseline")),
                        r.completion[0].text[0]);
    must_have(json_array_get(json_object_get(j, "probes"), 2),
              (const char *const[]){"domain", "prompt", "target", "baseline_logprob",
                                    "ablated_logprob", "baseline_recall", "ablated_recall", NULL});
    json_t *c = json_object_get(j, "config");
    assert_string_equal(json_string_value(json_object_get(c, "sae")), "sae.safetensors");
    assert_true(json_real_value(json_object_get(c, "ablation_scale")) == -3);
    json_decref(j);
    lethe_free(path);

    lethe_strbuf b = {0};
    lethe_eval_table(&r, &b);
    lethe_eval_side_by_side(&r, 1, &b);
    const char *s = lethe_strbuf_str(&b);
    static const char *const words[] = {"real_world",
                                        "perplexity",
                                        "KL",
                                        "degeneration",
                                        "4 features at scale -3",
                                        "prompt    Who is Harry"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(s, words[i])) fail_msg("\"%s\" is not in the table:\n%s", words[i], s);
    lethe_strbuf_free(&b);
    lethe_eval_result_free(&r);
}

/* Without an ablation there are no figures that could be mistaken for some. */
static void baseline_alone(void **state) {
    (void)state;
    lethe_probes p = probes();
    lethe_eval_inputs in = {.probes = &p};
    lethe_eval_opts o = options();
    lethe_eval_result r;
    assert_ok(lethe_eval_run(lm, NULL, 0, LETHE_HOOK_POST, &in, &o, NULL, &r, &err), &err);
    json_t *j = NULL;
    r.domain[1].logprob[0] = NAN;
    assert_ok(lethe_eval_json(&r, NULL, &j, &err), &err);
    json_t *metrics = json_object_get(j, "metrics"), *base = json_object_get(metrics, "baseline");
    assert_true(json_is_null(json_object_get(metrics, "ablated")));
    assert_null(json_object_get(base, "perplexity"));
    assert_true(json_is_null(json_object_get(json_object_get(base, "logprobs"), "real_world")));
    assert_null(json_object_get(j, "side_by_side"));
    json_decref(j);
    lethe_eval_result_free(&r);
    lethe_eval_inputs nothing = {0};
    assert_int_equal(lethe_eval_run(lm, NULL, 0, LETHE_HOOK_POST, &nothing, &o, NULL, &r, &err),
                     LETHE_USAGE);
    lethe_probes_free(&p);
}

static void stops_when_asked(void **state) {
    (void)state;
    lethe_probes p = probes();
    lethe_prompts q = prompts();
    lethe_corpus *c = corpus("text.txt", text);
    lethe_eval_opts o = options();
    lethe_eval_inputs each[] = {{.probes = &p}, {.prompts = &q}, {.text = c}};
    lethe_stop_request();
    for (size_t i = 0; i < 3; i++) {
        lethe_eval_result r = {0};
        assert_int_equal(
            lethe_eval_run(lm, ablation, LAYER, LETHE_HOOK_POST, &each[i], &o, NULL, &r, &err),
            LETHE_STOPPED);
        assert_null(r.domain);
    }
    lethe_stop_clear();
    lethe_probes_free(&p);
    lethe_prompts_free(&q);
    lethe_corpus_close(&c);
}

/* The k-th allocation fails, for rising k (not all: a run has thousands of alike ones): NOMEM, and
 * nothing left behind, which the sanitizer build sees to. */
static void no_memory(void **state) {
    (void)state;
    lethe_probes p = probes();
    lethe_prompts q = prompts();
    lethe_corpus *c = corpus("text.txt", "A queen lived in the tower.");
    lethe_eval_opts o = options();
    o.sampling.max_tokens = 2;
    lethe_eval_inputs in = {.probes = &p, .prompts = &q, .text = c};
    assert_ok(lethe_ablation_set_strength(ablation, -3, &err), &err);
    lethe_status st = LETHE_NOMEM;
    for (size_t k = 0; st == LETHE_NOMEM; k += 1 + k / 6) {
        lethe_eval_result r = {0};
        lethe_mem_fail_after(k);
        st = lethe_eval_run(lm, ablation, LAYER, LETHE_HOOK_POST, &in, &o, NULL, &r, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_OK)
            lethe_eval_result_free(&r);
        else
            assert_int_equal(st, LETHE_NOMEM);
        assert_true(k < 100000);
    }
    assert_ok(st, &err);
    lethe_probes_free(&p);
    lethe_prompts_free(&q);
    lethe_corpus_close(&c);
}

static void bad_windows(void **state) {
    (void)state;
    lethe_corpus *c = corpus("text.txt", text), *empty = corpus("none.txt", "");
    lethe_eval_opts o = options();
    lethe_eval_inputs in = {.text = c}, none = {.text = empty};
    lethe_eval_result r = {0};
    o.text_ctx = 100000;
    assert_int_equal(lethe_eval_run(lm, NULL, 0, LETHE_HOOK_POST, &in, &o, NULL, &r, &err),
                     LETHE_USAGE);
    assert_non_null(strstr(err.text, "windows of 100000 tokens"));
    o.text_ctx = 1;
    assert_int_equal(lethe_eval_run(lm, NULL, 0, LETHE_HOOK_POST, &in, &o, NULL, &r, &err),
                     LETHE_USAGE);
    o.text_ctx = CTX;
    assert_int_equal(lethe_eval_run(lm, NULL, 0, LETHE_HOOK_POST, &none, &o, NULL, &r, &err),
                     LETHE_FORMAT);
    lethe_corpus_close(&c);
    lethe_corpus_close(&empty);
}

int main(void) {
    dir = test_temp_dir();
    if (!demo_model_open(&demo, 2, -3)) return 1;
    lm = demo.lm;
    ablation = demo.ablation;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kl_of_known_distributions),
        cmocka_unit_test(perplexity),
        cmocka_unit_test(documents_are_apart),
        cmocka_unit_test(perplexity_of_a_real_model),
        cmocka_unit_test(scale_one_changes_nothing),
        cmocka_unit_test(decoding_agrees_with_prefill),
        cmocka_unit_test(wrong_width),
        cmocka_unit_test(at_scale_one_nothing_moves),
        cmocka_unit_test(a_strong_push_is_seen),
        cmocka_unit_test(json_keys),
        cmocka_unit_test(baseline_alone),
        cmocka_unit_test(stops_when_asked),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(bad_windows),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    demo_model_close(&demo);
    test_temp_remove();
    return rc;
}
