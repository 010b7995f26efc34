/* SPDX-License-Identifier: MIT */
#include "stage/gauge.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stage/attack.h"
#include "stage/eval.h"
#include "stage/eval_windows.h"
#include "stage/probe_batch.h"

#define LOGITS_ROOM ((size_t)512 << 20) /* bytes */

/* A set of probes and, by the domain of each, where its figures go. */
typedef struct asked {
    lethe_probe_batch batch;
    size_t *domain; /* [batch.n] */
} asked;

struct lethe_gauge {
    lethe_lm *lm;
    const lethe_env *env;
    asked forget, retain, attack;
    char **attack_name; /* [n_attacks] */
    size_t n_attacks;
    lethe_tokens *window; /* [n_windows] */
    lethe_seq *seq;       /* [n_windows], without the last token */
    size_t *offset;       /* [n_windows] of its first row in base */
    size_t n_windows, cap_windows, cap_seq, cap_offset, rows, n_vocab;
    float *base; /* [rows, n_vocab] baseline logits */
    lethe_gauge_figures baseline;
};

lethe_gauge_opts lethe_gauge_defaults(void) {
    return (lethe_gauge_opts){.attacks = "all",
                              .forget_items = 200,
                              .attack_items = 60,
                              .retain_items = 60,
                              .text_tokens = 3000};
}

const lethe_gauge_figures *lethe_gauge_baseline(const lethe_gauge *g) {
    return &g->baseline;
}
size_t lethe_gauge_attacks(const lethe_gauge *g) {
    return g->n_attacks;
}
const char *lethe_gauge_attack(const lethe_gauge *g, size_t i) {
    return g->attack_name[i];
}
size_t lethe_gauge_items(const lethe_gauge *g) {
    return g->forget.batch.n + g->retain.batch.n + g->attack.batch.n;
}
uint64_t lethe_gauge_tokens(const lethe_gauge *g) {
    return g->rows;
}
size_t lethe_gauge_windows(const lethe_gauge *g) {
    return g->n_windows;
}

static void asked_free(asked *a) {
    lethe_probe_batch_free(&a->batch);
    lethe_free(a->domain);
}

void lethe_gauge_close(lethe_gauge **gauge) {
    lethe_gauge *g = *gauge;
    if (!g) return;
    asked_free(&g->forget);
    asked_free(&g->retain);
    asked_free(&g->attack);
    for (size_t i = 0; i < g->n_attacks; i++) lethe_free(g->attack_name[i]);
    for (size_t i = 0; i < g->n_windows; i++) lethe_tokens_free(&g->window[i]);
    lethe_free(g->attack_name);
    lethe_free(g->window);
    lethe_free(g->seq);
    lethe_free(g->offset);
    lethe_free(g->base);
    lethe_free(g);
    *gauge = NULL;
}

/* ---- questions ------------------------------------------------------------------------------- */

static lethe_status ask(asked *a, const lethe_lm *lm, const lethe_probes *p, lethe_err *err) {
    LETHE_TRY(lethe_alloc(&a->domain, p->n, sizeof *a->domain, "domains of probes", err));
    for (size_t i = 0; i < p->n; i++) a->domain[i] = p->item[i].domain;
    return lethe_probe_batch_fill(lm, p, false, &a->batch, err);
}

/* Copies the probes of one domain (only), or of all others, of the half. */
static lethe_status take(const lethe_probes *from, size_t domain, bool only, lethe_split split,
                         lethe_probes *out, lethe_err *err) {
    for (size_t i = 0; i < from->n; i++) {
        lethe_probe q = from->item[i];
        if ((q.domain == domain) != only || !lethe_split_has(split, q.fact)) continue;
        LETHE_TRY(lethe_probes_domain(out, from->domain[q.domain], &q.domain, err));
        LETHE_TRY(lethe_probes_add(out, &q, err));
    }
    return LETHE_OK;
}

static lethe_status find_domain(const lethe_probes *p, const char *name, size_t *out,
                                lethe_err *err) {
    *out = 0;
    for (size_t d = 0; name && d < p->n_domains; d++) {
        *out = d;
        if (!strcmp(p->domain[d], name)) return LETHE_OK;
    }
    return !name ? LETHE_OK
                 : lethe_fail(err, LETHE_USAGE, "--forget-domain: the probes have no domain \"%s\"",
                              name);
}

/* forget: the half's probes of the forget domain, before they were thinned, as few-shot examples
 * and wordings are taken from them. */
static lethe_status attack(lethe_gauge *g, const lethe_probes *forget, const lethe_gauge_opts *o,
                           lethe_probes *made, lethe_err *err) {
    size_t left_out;
    LETHE_TRY(lethe_attacks_check(o->attacks, o->attack_file, err));
    LETHE_TRY(lethe_attacks_make(forget, 0, o->attacks, o->seed, made, err));
    if (o->attack_file)
        LETHE_TRY(lethe_attacks_load(o->attack_file, forget->domain[0], o->attacks, made, err));
    LETHE_TRY(lethe_attacks_fit(g->lm, made, &left_out, err));
    if (left_out)
        lethe_log(g->env, LETHE_LOG_WARN, "attacks: %zu are longer than the context, left out",
                  left_out);
    lethe_probes_split(made, o->split);
    lethe_probes_thin(made, o->attack_items);
    if (made->n_domains > LETHE_GAUGE_ATTACKS)
        return lethe_fail(err, LETHE_USAGE, "%zu attacks, at most %u can be gauged: name some",
                          made->n_domains, LETHE_GAUGE_ATTACKS);
    LETHE_TRY(
        lethe_zalloc(&g->attack_name, made->n_domains, sizeof *g->attack_name, "attacks", err));
    for (; g->n_attacks < made->n_domains; g->n_attacks++)
        if (!(g->attack_name[g->n_attacks] = lethe_strdup(made->domain[g->n_attacks])))
            return lethe_fail(err, LETHE_NOMEM, "out of memory: attacks");
    return ask(&g->attack, g->lm, made, err);
}

static lethe_status questions(lethe_gauge *g, const lethe_probes *probes, const lethe_gauge_opts *o,
                              lethe_err *err) {
    lethe_probes forget = {0}, retain = {0}, made = {0};
    size_t domain;
    lethe_status st = find_domain(probes, o->forget_domain, &domain, err);
    if (st == LETHE_OK) st = take(probes, domain, true, o->split, &forget, err);
    if (st == LETHE_OK && !forget.n)
        st = lethe_fail(err, LETHE_USAGE,
                        "no fact of domain \"%s\" is in the half \"%s\": more facts are needed",
                        probes->domain[domain], lethe_split_name(o->split));
    if (st == LETHE_OK) st = attack(g, &forget, o, &made, err);
    if (st == LETHE_OK) st = take(probes, domain, false, o->split, &retain, err);
    lethe_probes_thin(&forget, o->forget_items);
    lethe_probes_thin(&retain, o->retain_items);
    if (st == LETHE_OK) st = ask(&g->forget, g->lm, &forget, err);
    if (st == LETHE_OK) st = ask(&g->retain, g->lm, &retain, err);
    lethe_probes_free(&forget);
    lethe_probes_free(&retain);
    lethe_probes_free(&made);
    return st;
}

/* ---- text ------------------------------------------------------------------------------------ */

static lethe_status add_window(lethe_gauge *g, lethe_tokens *w, lethe_err *err) {
    size_t n = g->n_windows;
    LETHE_TRY(lethe_grow(&g->window, &g->cap_windows, n, n + 1, sizeof *g->window, "text", err));
    LETHE_TRY(lethe_grow(&g->seq, &g->cap_seq, n, n + 1, sizeof *g->seq, "text", err));
    LETHE_TRY(lethe_grow(&g->offset, &g->cap_offset, n, n + 1, sizeof *g->offset, "text", err));
    g->window[n] = *w;
    g->seq[n] = (lethe_seq){w->id, w->n - 1};
    g->offset[n] = g->rows;
    g->rows += w->n - 1;
    g->n_windows++;
    *w = (lethe_tokens){0};
    return LETHE_OK;
}

static lethe_status read_text(lethe_gauge *g, lethe_corpus *text, const lethe_gauge_opts *o,
                              lethe_err *err) {
    size_t most = LOGITS_ROOM / (g->n_vocab * sizeof(float)), ctx = lethe_lm_ctx_len(g->lm);
    if (o->text_tokens < most) most = (size_t)o->text_tokens;
    lethe_cutter *c = NULL;
    lethe_tokens w = {0};
    LETHE_TRY(lethe_cutter_open(&c, g->lm, text, ctx, o->paragraphs, err));
    lethe_status st = LETHE_OK;
    for (uint64_t i = 0; st == LETHE_OK && g->rows < most; i++) {
        st = lethe_cutter_next(c, most - g->rows, &w, err);
        if (st != LETHE_OK || !w.n) break;
        if (lethe_split_has_window(o->split, i)) st = add_window(g, &w, err);
    }
    lethe_tokens_free(&w);
    lethe_cutter_close(&c);
    if (st == LETHE_OK && !g->rows)
        st = lethe_fail(err, LETHE_USAGE, "%s: no text in the half \"%s\"", lethe_corpus_name(text),
                        lethe_split_name(o->split));
    if (st == LETHE_OK)
        st = lethe_alloc(&g->base, g->rows, g->n_vocab * sizeof *g->base, "logits", err);
    return st;
}

typedef struct pass {
    lethe_gauge *g;
    bool baseline;
    double nll, kl;
} pass;

static lethe_status on_logits(void *user, size_t seq, size_t pos, const float *logits,
                              lethe_err *err) {
    pass *p = user;
    lethe_gauge *g = p->g;
    (void)err;
    float *base = g->base + (g->offset[seq] + pos) * g->n_vocab;
    p->nll -= lethe_logprob(logits, g->n_vocab, g->window[seq].id[pos + 1]);
    if (p->baseline)
        memcpy(base, logits, g->n_vocab * sizeof *base);
    else
        p->kl += lethe_kl_divergence(base, logits, g->n_vocab);
    return LETHE_OK;
}

static lethe_status run_text(lethe_gauge *g, bool baseline, size_t windows,
                             lethe_gauge_figures *out, lethe_err *err) {
    out->kl = out->perplexity = NAN;
    if (!windows) return LETHE_OK;
    pass p = {g, baseline, 0, 0};
    LETHE_TRY(lethe_lm_forward(g->lm, g->seq, windows, NULL, on_logits, &p, err));
    double rows = (double)(windows < g->n_windows ? g->offset[windows] : g->rows);
    out->kl = p.kl / rows;
    out->perplexity = exp(p.nll / rows);
    return LETHE_OK;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* Means over the items of one domain (SIZE_MAX: of all). */
static void means(const asked *a, size_t domain, double *recall, double *logprob) {
    size_t n = 0;
    double hits = 0, sum = 0;
    for (size_t i = 0; i < a->batch.n; i++) {
        const lethe_target_score *s = &a->batch.out[i];
        if (domain != SIZE_MAX && a->domain[i] != domain) continue;
        hits += s->all_top1;
        sum += s->sum_logprob / (double)s->n;
        n++;
    }
    *recall = n ? hits / (double)n : NAN;
    *logprob = n ? sum / (double)n : NAN;
}

static lethe_status score(lethe_gauge *g, asked *a, lethe_err *err) {
    return lethe_probe_batch_score(g->lm, &a->batch, "gauge", NULL, err);
}

static lethe_status run_attacks(lethe_gauge *g, lethe_gauge_figures *f, lethe_err *err) {
    double unused;
    LETHE_TRY(score(g, &g->attack, err));
    for (size_t a = 0; a < g->n_attacks; a++) {
        means(&g->attack, a, &f->attack_recall[a], &unused);
        if (f->attack_recall[a] > f->worst_attack) f->worst_attack = f->attack_recall[a];
    }
    return LETHE_OK;
}

static lethe_status measure(lethe_gauge *g, bool baseline, lethe_gauge_enough_fn enough, void *user,
                            lethe_gauge_figures *out, lethe_err *err) {
    lethe_gauge_figures f = {0};
    double start = lethe_seconds();
    LETHE_TRY(run_text(g, baseline, g->n_windows, &f, err));
    LETHE_TRY(score(g, &g->retain, err));
    means(&g->retain, SIZE_MAX, &f.retain_recall, &f.retain_logprob);
    LETHE_TRY(score(g, &g->forget, err));
    means(&g->forget, SIZE_MAX, &f.forget_recall, &f.forget_logprob);
    f.worst_attack = f.forget_recall;
    f.partial = enough && enough(user, &f);
    for (size_t a = 0; f.partial && a < g->n_attacks; a++) f.attack_recall[a] = NAN;
    if (!f.partial) LETHE_TRY(run_attacks(g, &f, err));
    f.seconds = lethe_seconds() - start;
    *out = f;
    return LETHE_OK;
}

lethe_status lethe_gauge_kl(lethe_gauge *g, size_t windows, double *kl, lethe_err *err) {
    lethe_gauge_figures f = {0};
    LETHE_TRY(run_text(g, false, windows < g->n_windows ? windows : g->n_windows, &f, err));
    *kl = f.kl;
    return LETHE_OK;
}

lethe_status lethe_gauge_run(lethe_gauge *g, lethe_gauge_enough_fn enough, void *user,
                             lethe_gauge_figures *out, lethe_err *err) {
    return measure(g, false, enough, user, out, err);
}

lethe_status lethe_gauge_open(lethe_gauge **out, lethe_lm *lm, const lethe_probes *probes,
                              lethe_corpus *text, const lethe_gauge_opts *opts,
                              const lethe_env *env, lethe_err *err) {
    lethe_gauge *g = NULL;
    LETHE_TRY(lethe_zalloc(&g, 1, sizeof *g, "a gauge", err));
    g->lm = lm;
    g->env = env;
    g->n_vocab = lethe_lm_get_info(lm)->n_vocab;
    lethe_lm_clear_hooks(lm);
    lethe_status st = questions(g, probes, opts, err);
    if (st == LETHE_OK && text) st = read_text(g, text, opts, err);
    if (st == LETHE_OK) st = measure(g, true, NULL, NULL, &g->baseline, err);
    if (st == LETHE_OK)
        *out = g;
    else
        lethe_gauge_close(&g);
    return st;
}
